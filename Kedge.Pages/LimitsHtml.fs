namespace Kedge.Pages

open Giraffe.ViewEngine

/// `/debug/limits`: rate limits and the callers that have used most of them.
[<RequireQualifiedAccess>]
module LimitsHtml =

    let private limit (view: LimitView) =
        let key =
            if view.Key = "" then
                "one bucket"
            else
                $"for each {view.Key}"

        section
            []
            [
                h2 [] [ str view.Name ]
                p
                    [ _class "empty" ]
                    [
                        str
                            $"{view.Rate}, {key}. {Layout.number view.Allowed} requests allowed, {Layout.number view.Refused} refused, {Layout.number view.ShadowRefused} beyond it in shadow mode, {Layout.number view.Overflow} without room for their key; {Layout.number (int64 view.Keys)} of {Layout.number (int64 view.MaxKeys)} keys in use."
                    ]
                Layout.listing
                    view.Name
                    [ "key"; "seconds until its bucket is empty" ]
                    "No key is in use."
                    [
                        for key in view.Busiest do
                            tr [] [ td [] [ code [] [ str key.Key ] ]; td [] [ str $"%.1f{key.Seconds}" ] ]
                    ]
            ]

    let render (view: LimitsView) : string =
        Layout.page
            "/debug/limits"
            "Rate limits"
            true
            view.Server
            [
                h1 [] [ str "Rate limits" ]
                p
                    [ _class "empty" ]
                    [
                        str
                            $"Limits of all replicas are divided by {view.Replicas}. Keys that are not addresses are shown as hashes."
                    ]
                if view.Limits.Length = 0 then
                    p [] [ str "The configuration has no rate limits." ]
                for view in view.Limits do
                    limit view
            ]
