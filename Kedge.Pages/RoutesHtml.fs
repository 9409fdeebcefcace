namespace Kedge.Pages

open System
open Giraffe.ViewEngine

/// `/debug/routes`: a search over all routes, page by page. It works without JavaScript.
[<RequireQualifiedAccess>]
module RoutesHtml =

    let private pageLink (view: RoutesView) (page: int) (word: string) (relation: string) =
        if page < 1 || page > view.Pages then
            span [ _class "detail" ] [ str word ]
        else
            a
                [
                    _href $"/debug/routes?q={Uri.EscapeDataString view.Query}&page={page}"
                    _rel relation
                ]
                [ str word ]

    let render (view: RoutesView) : string =
        Layout.page
            "/debug/routes"
            "Routes"
            false
            view.Server
            [
                h1 [] [ str "Routes" ]
                form
                    [
                        _class "explain"
                        _action "/debug/routes"
                        _method "get"
                        attr "role" "search"
                    ]
                    [
                        label [ _for "q" ] [ str "Search" ]
                        input
                            [
                                _type "text"
                                _id "q"
                                _name "q"
                                _value view.Query
                                _placeholder "words of a host, path, backend, permission or file"
                                attr "autocapitalize" "off"
                                attr "spellcheck" "false"
                            ]
                        button [ _type "submit" ] [ str "Find" ]
                    ]
                p
                    [ _class "empty" ]
                    [
                        str
                            $"{Layout.number (int64 view.Found)} of {Layout.number (int64 view.All)} routes, in the order in which requests meet them."
                    ]
                Layout.listing
                    "routes"
                    RouteRow.columns
                    "No route has all these words."
                    (view.Routes |> Array.map RouteRow.render |> Array.toList)
                if view.Pages > 1 then
                    nav
                        [ _class "pages"; attr "aria-label" "Pages of routes" ]
                        [
                            pageLink view (view.Page - 1) "previous" "prev"
                            span [] [ str $"page {view.Page} of {view.Pages}" ]
                            pageLink view (view.Page + 1) "next" "next"
                        ]
            ]
