namespace Kedge.Pages

open Giraffe.ViewEngine

/// `/debug/requests`: recent requests with their rules, backends, endpoints and timings.
[<RequireQualifiedAccess>]
module RequestsHtml =

    let render (view: RequestsView) : string =
        Layout.page
            "/debug/requests"
            "Requests"
            true
            view.Server
            [
                h1 [] [ str "Recent requests" ]
                Layout.listing
                    "requests"
                    RequestRow.columns
                    "None yet."
                    (view.Requests |> Array.map (RequestRow.render view.Server) |> Array.toList)
            ]
