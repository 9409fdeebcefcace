namespace Kedge.Tests.Deploy

open System.Text.RegularExpressions

/// What an expression of PromQL names. Whether it is one at all says promtool.
type PromQl =
    {
        /// Metrics, each with the labels that it is selected by.
        Selectors: (string * string list) list
        /// Of `by`, `without`, `on` and `ignoring`.
        Grouping: string list
    }

[<RequireQualifiedAccess>]
module PromQl =

    let private words =
        [
            "and"
            "or"
            "unless"
            "bool"
            "offset"
            "group_left"
            "group_right"
            "inf"
            "nan"
        ]

    let private labels (text: string) =
        text.Split(
            ',',
            System.StringSplitOptions.TrimEntries
            ||| System.StringSplitOptions.RemoveEmptyEntries
        )
        |> List.ofArray

    let read (expression: string) : PromQl =
        let bare = Regex.Replace(expression, "\"(?:[^\"\\\\]|\\\\.)*\"", "")
        let bare = Regex.Replace(bare, @"\[[^\]]*\]", "")
        let grouping = Regex @"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)"

        let selectors =
            Regex.Matches(grouping.Replace(bare, ""), @"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?!\s*\()(?:\s*\{([^}]*)\})?")
            |> Seq.filter (fun found -> not (List.contains (found.Groups[1].Value.ToLowerInvariant()) words))
            |> Seq.map (fun found ->
                let matchers = labels found.Groups[2].Value
                found.Groups[1].Value, matchers |> List.map (fun m -> Regex.Match(m, @"^\w+").Value))

        {
            Selectors = List.ofSeq selectors
            Grouping =
                [ for found in grouping.Matches bare -> labels found.Groups[1].Value ]
                |> List.concat
        }
