namespace Kedge.Pages

open Giraffe.ViewEngine

/// A route as a row of a table.
[<RequireQualifiedAccess>]
module RouteRow =

    let columns =
        [ "protocol"; "index"; "matches"; "backend"; "callers"; "defined in"; "hits" ]

    /// The page of the route.
    let link (route: RouteView) = $"/debug/route?protocol={route.Protocol}&index={route.Index}"

    let backend (route: RouteView) : XmlNode list =
        [
            str route.Backend
            if not route.BackendExists then
                Layout.pill Tone.Bad "no such backend"
        ]

    let render (route: RouteView) : XmlNode =
        tr
            []
            [
                td [] [ str route.Protocol ]
                td [ _class "number" ] [ a [ _href (link route) ] [ str (string route.Index) ] ]
                td [ _class "code" ] [ str route.Rule ]
                td [] (backend route)
                td [] [ str route.Demands ]
                td [ _class "code" ] [ str route.Owner ]
                td [ _class "number" ] [ str (Layout.number route.Hits) ]
            ]
