namespace Kedge.Pages

open System.Globalization
open Giraffe.ViewEngine

/// A recent request as a row of a table.
[<RequireQualifiedAccess>]
module RequestRow =

    let columns =
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

    let private milliseconds (value: float) = value.ToString("F1", CultureInfo.InvariantCulture)

    let render (server: ServerView) (request: RecentRequestView) =
        tr
            []
            [
                td [] [ Layout.ago server.Now request.At ]
                td [] [ Layout.pill request.Tone request.Status ]
                td [ _class "code" ] [ a [ _href request.Explain ] [ str request.Request ] ]
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
