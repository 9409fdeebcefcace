namespace Kedge.Pages

open Giraffe.ViewEngine

/// `/debug/explain`: where a request goes, and why no earlier rule matches it.
[<RequireQualifiedAccess>]
module ExplainHtml =

    let render (view: ExplainView) : string =
        Layout.page
            "/debug/explain"
            "Explain"
            false
            view.Server
            [
                h1 [] [ str "Where does a request go?" ]
                ExplainForm.render view.Method view.Url view.Headers view.Grpc view.Forward
                if view.Verdict = "" then
                    p
                        [ _class "empty" ]
                        [
                            str
                                "Enter a method and a URL. The answer shows the rule that takes the request, and why each earlier rule does not."
                        ]
                else
                    section
                        [ attr "aria-live" "polite" ]
                        [
                            p [ _class ("verdict " + Layout.toneClass view.VerdictTone) ] [ str view.Verdict ]
                            pre [ _class "code" ] [ str (String.concat "\n" view.Lines) ]
                        ]
            ]
