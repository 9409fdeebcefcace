namespace Kedge.Pages

open System.Globalization
open Giraffe.ViewEngine

/// `/debug/requests`: recent requests with their rules, backends, endpoints and timings.
[<RequireQualifiedAccess>]
module RequestsHtml =

    let private milliseconds (value: float) = value.ToString("F1", CultureInfo.InvariantCulture)

    let private row (view: RequestsView) (request: RecentRequestView) =
        tr
            []
            [
                td [] [ Layout.ago view.Server.Now request.At ]
                td [] [ Layout.pill request.Tone request.Status ]
                td [ _class "code" ] [ str request.Request ]
                td [ _class "code" ] [ str request.Rule ]
                td [] [ str request.Backend ]
                td
                    [ _class "code" ]
                    [
                        str request.Endpoint
                        if request.Attempts > 1 then
                            Layout.pill Tone.Warning $"{request.Attempts} attempts"
                    ]
                td [ _class "number" ] [ str (milliseconds request.FirstByteMs) ]
                td [ _class "number" ] [ str (milliseconds request.TotalMs) ]
                td [] [ str request.Error ]
                td [ _class "code" ] [ str request.RequestId ]
            ]

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
                    [
                        "when"
                        "status"
                        "request"
                        "rule"
                        "backend"
                        "endpoint"
                        "first byte ms"
                        "total ms"
                        "error"
                        "request id"
                    ]
                    "None yet."
                    (view.Requests |> Array.map (row view) |> Array.toList)
            ]
