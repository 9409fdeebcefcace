namespace Kedge.Pages

open System
open System.Globalization
open System.IO
open Giraffe.ViewEngine

/// The frame that all pages share.
[<RequireQualifiedAccess>]
module Layout =

    let toneClass (tone: Tone) =
        match tone with
        | Tone.Good -> "good"
        | Tone.Warning -> "warning"
        | Tone.Bad -> "bad"
        | _ -> "quiet"

    /// A word in a coloured pill. The word carries the meaning; the colour only draws the eye.
    let pill (tone: Tone) (word: string) = span [ _class ("pill " + toneClass tone) ] [ str word ]

    /// `3 s`, `12 min`, `5 h`, `9 d`
    let duration (span: TimeSpan) =
        if span < TimeSpan.FromSeconds 1.0 then
            "0 s"
        elif span < TimeSpan.FromMinutes 2.0 then
            $"{int span.TotalSeconds} s"
        elif span < TimeSpan.FromHours 2.0 then
            $"{int span.TotalMinutes} min"
        elif span < TimeSpan.FromDays 2.0 then
            $"{int span.TotalHours} h"
        else
            $"{int span.TotalDays} d"

    /// How long ago a moment was. Hovering over it shows the exact time.
    let ago (now: DateTimeOffset) (at: DateTimeOffset) =
        time
            [
                _datetime (at.ToString("O", CultureInfo.InvariantCulture))
                _title (at.ToString("u", CultureInfo.InvariantCulture))
            ]
            [ str (duration (now - at) + " ago") ]

    let number (n: int64) = n.ToString("#,0", CultureInfo.InvariantCulture).Replace(',', '\u202f')

    /// `1 endpoint`, `2 endpoints`
    let counted (n: int) (noun: string) = if n = 1 then $"1 {noun}" else $"{n} {noun}s"

    /// A table that scrolls on its own when the window is too narrow, or a sentence in place of an empty table.
    let listing (id: string) (columns: string list) (empty: string) (rows: XmlNode list) =
        if rows.IsEmpty then
            p [ _class "empty" ] [ str empty ]
        else
            div
                [ _class "scroll"; _tabindex "0"; attr "role" "region"; attr "aria-label" id ]
                [
                    table
                        [ _id id ]
                        [
                            thead
                                []
                                [
                                    tr [] (columns |> List.map (fun column -> th [ attr "scope" "col" ] [ str column ]))
                                ]
                            tbody [] rows
                        ]
                ]

    let private navigation =
        [
            "/debug/status", "Status"
            "/debug/routes", "Routes"
            "/debug/explain", "Explain"
            "/debug/requests", "Requests"
            "/debug/limits", "Limits"
            "/debug/flagz", "Flags"
        ]

    /// `live`: the page refreshes itself when JavaScript is enabled.
    let page (path: string) (title: string) (live: bool) (server: ServerView) (content: XmlNode list) : string =
        let entry (target, name) =
            let current = if target = path then [ attr "aria-current" "page" ] else []
            a (_href target :: current) [ str name ]

        html
            [ _lang "en" ]
            [
                head
                    []
                    [
                        meta [ _charset "utf-8" ]
                        meta [ _name "viewport"; _content "width=device-width, initial-scale=1" ]
                        meta [ _name "color-scheme"; _content "light dark" ]
                        Giraffe.ViewEngine.HtmlElements.title [] [ str (title + " · kedge") ]
                        link [ _rel "stylesheet"; _href "/debug/kedge.css" ]
                        link [ _rel "icon"; _href "data:," ]
                        script [ _src "/debug/kedge.js"; _defer ] []
                    ]
                body
                    []
                    [
                        header
                            []
                            [
                                strong [ _class "brand" ] [ str "kedge" ]
                                pill server.StateTone server.State
                                nav [ attr "aria-label" "Pages" ] (navigation |> List.map entry)
                                span
                                    [ _class "meta" ]
                                    [ str $"version {server.Version}, up {duration (server.Now - server.Started)}" ]
                            ]
                        main (if live then [ attr "data-live" "" ] else []) content
                    ]
            ]
        |> RenderView.AsString.htmlDocument

/// The stylesheet and the script of the pages.
[<RequireQualifiedAccess>]
module Assets =

    let private read (name: string) =
        use stream = nonNull (typeof<Tone>.Assembly.GetManifestResourceStream name)
        use reader = new StreamReader(stream)
        reader.ReadToEnd()

    let css = read "kedge.css"
    let script = read "kedge.js"
