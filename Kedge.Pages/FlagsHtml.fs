namespace Kedge.Pages

open Giraffe.ViewEngine

/// `/debug/flagz`: every flag with its value and default.
[<RequireQualifiedAccess>]
module FlagsHtml =

    let private row (flag: FlagView) =
        tr
            [
                if flag.Given then
                    _class "given"
            ]
            [
                td [ _class "code" ] [ str ("--" + flag.Name) ]
                td [ _class "code" ] [ str flag.Value ]
                td [ _class "code" ] [ str flag.Default ]
                td [] [ str flag.Help ]
            ]

    let render (view: FlagsView) : string =
        Layout.page
            "/debug/flagz"
            "Flags"
            false
            view.Server
            [
                h1 [] [ str "Flags" ]
                p [ _class "empty" ] [ str "Flags set on the command line are in bold. Secrets are masked." ]
                for group, flags in view.Flags |> Array.groupBy (fun flag -> flag.Group) do
                    section
                        []
                        [
                            h2 [] [ str group ]
                            Layout.listing
                                group
                                [ "flag"; "value"; "default"; "meaning" ]
                                ""
                                (flags |> Array.map row |> Array.toList)
                        ]
            ]
