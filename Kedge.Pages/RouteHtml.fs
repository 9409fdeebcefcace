namespace Kedge.Pages

open Giraffe.ViewEngine

/// `/debug/route`: one route with its conditions, its demands, and the latest requests that it matched.
[<RequireQualifiedAccess>]
module RouteHtml =

    let private entry (name: string) (value: XmlNode list) = [ dt [] [ str name ]; dd [] value ]

    let private facts (route: RouteView) =
        dl
            [ _class "facts" ]
            [
                yield! entry "matches" [ span [ _class "code" ] [ str route.Rule ] ]
                yield!
                    entry
                        "backend"
                        [
                            if route.BackendExists then
                                a
                                    [ _href $"/debug/status#backend-{route.Protocol}-{route.Backend}" ]
                                    [ str route.Backend ]
                            else
                                yield! RouteRow.backend route
                        ]
                yield! entry "callers" [ str route.Demands ]
                yield! entry "defined in" [ span [ _class "code" ] [ str route.Owner ] ]
                yield! entry "hits" [ str (Layout.number route.Hits) ]
            ]

    let render (view: RouteDetailView) : string =
        let title =
            match view.Route with
            | [| route |] -> $"{route.Protocol} route {route.Index}"
            | _ -> "No such route"

        Layout.page
            "/debug/route"
            title
            true
            view.Server
            [
                h1 [] [ str title ]
                match view.Route with
                | [| route |] ->
                    facts route

                    if view.Traffic.RequestsPerSecond.Length > 0 then
                        h2 [] [ str $"Traffic of the backend {route.Backend}" ]
                        Sparkline.traffic route.Backend view.Traffic

                    h2 [] [ str "Latest requests" ]

                    Layout.listing
                        "requests"
                        RequestRow.columns
                        "None of the latest 256 requests."
                        (view.Requests |> Array.map (RequestRow.render view.Server) |> Array.toList)
                | _ ->
                    p
                        [ _class "empty" ]
                        [
                            str "The configuration has no route at this place. "
                            a [ _href "/debug/routes" ] [ str "All routes" ]
                        ]
            ]
