namespace Kedge.Pages

open System
open System.Globalization
open Giraffe.ViewEngine

/// Small line charts of the last 15 minutes, drawn on the server.
[<RequireQualifiedAccess>]
module Sparkline =

    let private width, height = 180.0, 36.0
    let private points = 90

    let private text (value: float) =
        if value >= 100.0 then
            value.ToString("F0", CultureInfo.InvariantCulture)
        else
            value.ToString("0.##", CultureInfo.InvariantCulture)

    let private coordinate (value: float) = value.ToString("F1", CultureInfo.InvariantCulture)

    /// `label`: what the values are, such as `requests`. `unit`: follows a value, such as `/s`.
    let render (label: string) (unit: string) (values: float array) : XmlNode =
        let last = if values.Length = 0 then 0.0 else values[values.Length - 1]
        let highest = if values.Length = 0 then 0.0 else Array.max values
        let scale = if highest > 0.0 then highest else 1.0

        // The newest point is at the right edge, however few there are.
        let line =
            values
            |> Seq.mapi (fun i value ->
                let x = width * float (points - values.Length + i) / float (points - 1)
                let y = 1.0 + (height - 2.0) * (1.0 - value / scale)
                coordinate x + "," + coordinate y)
            |> String.concat " "

        let words =
            $"{label} in the last 15 minutes: now {text last}{unit}, at most {text highest}{unit}"

        figure
            [ _class "spark" ]
            [
                figcaption
                    []
                    [
                        str label
                        strong [] [ str (text last + unit) ]
                        span [ _class "detail" ] [ str $"at most {text highest}{unit}" ]
                    ]
                tag
                    "svg"
                    [
                        attr "viewBox" $"0 0 {coordinate width} {coordinate height}"
                        attr "role" "img"
                        attr "aria-label" words
                        attr "preserveAspectRatio" "none"
                    ]
                    [ tag "title" [] [ str words ]; tag "polyline" [ attr "points" line ] [] ]
            ]

    /// Rate, errors and p99.
    let traffic (name: string) (view: TrafficView) : XmlNode =
        div
            [ _class "sparks"; attr "role" "group"; attr "aria-label" $"traffic of {name}" ]
            [
                render "requests" "/s" view.RequestsPerSecond
                render "errors" "/s" view.ErrorsPerSecond
                render "p99" " ms" view.P99Ms
            ]
