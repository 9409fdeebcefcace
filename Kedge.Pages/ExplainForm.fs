namespace Kedge.Pages

open Giraffe.ViewEngine

/// The form that asks where a request would go. It works without JavaScript.
[<RequireQualifiedAccess>]
module ExplainForm =

    let private methods = [ "GET"; "POST"; "PUT"; "PATCH"; "DELETE"; "HEAD"; "OPTIONS" ]

    let private box (name: string) (text: string) (isChecked: bool) =
        label
            [ _class "check" ]
            [
                input
                    [
                        _type "checkbox"
                        _name name
                        _value "true"
                        if isChecked then
                            _checked
                    ]
                str text
            ]

    let render (method: string) (url: string) (headers: string) (grpc: bool) (forward: bool) =
        let choice (name: string) =
            option
                [
                    _value name
                    if name = method then
                        _selected
                ]
                [ str name ]

        form
            [ _class "explain"; _action "/debug/explain"; _method "get" ]
            [
                label [ _for "method" ] [ str "Where does a request go?" ]
                select [ _id "method"; _name "method"; attr "aria-label" "Method" ] (methods |> List.map choice)
                input
                    [
                        _type "text"
                        _name "url"
                        _id "url"
                        _value url
                        _required
                        _placeholder "https://service.example.com/path"
                        attr "aria-label" "URL"
                        attr "autocapitalize" "off"
                        attr "spellcheck" "false"
                    ]
                input
                    [
                        _type "text"
                        _name "headers"
                        _value headers
                        _placeholder "x-env: prod; x-user: me"
                        attr "aria-label" "Headers, separated by semicolons"
                    ]
                box "grpc" "gRPC" grpc
                box "forward" "forward proxy" forward
                button [ _type "submit" ] [ str "Explain" ]
            ]
