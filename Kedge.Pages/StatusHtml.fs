namespace Kedge.Pages

open System
open System.Globalization
open Giraffe.ViewEngine

/// `/debug/status`: the current state of kedge, for the person on call.
[<RequireQualifiedAccess>]
module StatusHtml =

    let private tile (tone: Tone) (value: string) (label: string) (detail: XmlNode list) =
        div
            [ _class ("tile " + Layout.toneClass tone) ]
            [
                div [ _class "value" ] [ str value ]
                div [ _class "label" ] [ str label ]
                div [ _class "detail" ] detail
            ]

    let private tiles (view: StatusView) =
        let ready =
            view.Backends
            |> Array.filter (fun backend -> backend.Tone = Tone.Good)
            |> Array.length

        let backendTone =
            if view.Backends |> Array.exists (fun backend -> backend.Tone = Tone.Bad) then
                Tone.Bad
            elif ready < view.Backends.Length then
                Tone.Warning
            else
                Tone.Good

        // Refused callers do not mean that kedge or a backend fails.
        let failed = max 0L (view.Failed - view.Refused)

        let failedShare =
            if view.Requests = 0L then
                0.0
            else
                float failed / float view.Requests

        let failedTone =
            if failedShare > 0.05 then Tone.Bad
            elif failed > 0L then Tone.Warning
            else Tone.Good

        let problems =
            view.Notices
            |> Array.filter (fun notice -> notice.Tone = Tone.Bad || notice.Tone = Tone.Warning)

        section
            [ _class "tiles"; attr "aria-label" "Health at a glance" ]
            [
                tile
                    (if view.ConfigurationErrors.Length > 0 then
                         Tone.Bad
                     else
                         Tone.Good)
                    $"#{view.Generation}"
                    "configuration"
                    [ Layout.ago view.Server.Now view.ConfiguredAt ]
                tile
                    Tone.Quiet
                    (Layout.number (int64 view.Routes.Length))
                    "routes"
                    [ str (Layout.counted view.AdhocRules.Length "ad-hoc rule") ]
                tile
                    backendTone
                    $"{ready}/{view.Backends.Length}"
                    "backends healthy"
                    [
                        str (Layout.counted (view.Backends |> Array.sumBy _.Endpoints.Length) "endpoint")
                    ]
                tile Tone.Quiet (Layout.number view.Requests) "requests" [ str $"{view.InFlight} in flight" ]
                tile
                    failedTone
                    (Layout.number failed)
                    "failed by kedge"
                    [
                        str $"{failedShare * 100.0:F2}%%"
                        if view.Refused > 0L then
                            str $", and {Layout.number view.Refused} refused"
                    ]
                tile
                    (if problems.Length > 0 then Tone.Warning else Tone.Good)
                    (string problems.Length)
                    "notices"
                    [ str "from discovery" ]
            ]

    let private heading (id: string) (title: string) =
        h2 [ _id (id + "-heading") ] [ a [ _href ("#" + id + "-heading") ] [ str title ] ]

    let private adhocRow (rule: RouteView) =
        tr
            []
            [
                td [] [ str rule.Protocol ]
                td [ _class "number" ] [ str (string rule.Index) ]
                td [ _class "code" ] [ str rule.Rule ]
                td [] [ str rule.Demands ]
                td [ _class "code" ] [ str rule.Owner ]
                td [ _class "number" ] [ str (Layout.number rule.Hits) ]
            ]

    let private endpointRow (endpoint: EndpointView) =
        tr
            []
            [
                td [ _class "code" ] [ str endpoint.Address ]
                td [] [ Layout.pill endpoint.Tone endpoint.State ]
                td [ _class "number" ] [ str (string endpoint.InFlight) ]
                td [ _class "number" ] [ str (Layout.number endpoint.Requests) ]
                td [ _class "number" ] [ str (Layout.number endpoint.Failures) ]
            ]

    /// The latest point, in words.
    let private rates (traffic: TrafficView) =
        let last (values: float array) = values[values.Length - 1]

        String.Format(
            CultureInfo.InvariantCulture,
            "{0:0.#}/s, {1:0.#} errors/s, p99 {2:0.#} ms",
            last traffic.RequestsPerSecond,
            last traffic.ErrorsPerSecond,
            last traffic.P99Ms
        )

    let private backend (view: StatusView) (backend: BackendView) =
        let resolved =
            if backend.Resolved.HasValue then
                span
                    []
                    [
                        str "endpoints confirmed "
                        Layout.ago view.Server.Now backend.Resolved.Value
                    ]
            else
                span [] [ str "never resolved" ]

        details
            [
                _class ("backend " + Layout.toneClass backend.Tone)
                _id $"backend-{backend.Protocol}-{backend.Name}"
                if backend.Tone <> Tone.Good then
                    flag "open"
            ]
            [
                summary
                    []
                    [
                        strong [] [ str backend.Name ]
                        Layout.pill Tone.Quiet backend.Protocol
                        Layout.pill backend.Tone (Layout.counted backend.Endpoints.Length "endpoint")
                        if backend.Traffic.RequestsPerSecond.Length > 0 then
                            span [ _class "detail" ] [ str (rates backend.Traffic) ]
                        span [ _class "code" ] [ str backend.Target ]
                    ]
                p
                    [ _class "detail" ]
                    [
                        str $"{backend.Balancer}, {backend.Security}, "
                        resolved
                        if backend.LastError <> "" then
                            span [ _class "error" ] [ str (" · " + backend.LastError) ]
                    ]
                if backend.Traffic.RequestsPerSecond.Length > 0 then
                    Sparkline.traffic backend.Name backend.Traffic
                Layout.listing
                    $"endpoints of {backend.Name}"
                    [ "endpoint"; "state"; "in flight"; "requests"; "failures" ]
                    "No endpoints are known: requests fail with no-resolution-available."
                    (backend.Endpoints |> Array.map endpointRow |> Array.toList)
            ]

    let private generationRow (view: StatusView) (generation: GenerationView) =
        tr
            []
            [
                td
                    []
                    [
                        if generation.Accepted then
                            Layout.pill Tone.Good $"#{generation.Number}"
                        else
                            Layout.pill Tone.Bad "rejected"
                    ]
                td [] [ Layout.ago view.Server.Now generation.At ]
                td [] [ str generation.Source ]
                td [ _class "code" ] (generation.Lines |> Array.map (fun line -> div [] [ str line ]) |> Array.toList)
            ]

    let private noticeRow (notice: NoticeView) =
        tr
            []
            [
                td [] [ Layout.pill notice.Tone notice.Kind ]
                td [ _class "code" ] [ str notice.Subject ]
                td [] [ str notice.Detail ]
            ]

    let private certificateRow (certificate: CertificateView) =
        tr
            []
            [
                td [ _class "code" ] [ str certificate.Name ]
                td [ _class "code" ] [ str certificate.Names ]
                td [] [ Layout.pill certificate.Tone certificate.State ]
                td
                    []
                    [
                        if certificate.Expires.HasValue then
                            str (certificate.Expires.Value.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture))
                    ]
                td [] [ str certificate.Detail ]
            ]

    let private dependencyRow (dependency: DependencyView) =
        tr
            []
            [
                td [] [ str dependency.Name ]
                td [] [ Layout.pill dependency.Tone dependency.State ]
                td [] [ str dependency.Detail ]
            ]

    let private failureRow (view: StatusView) (failure: FailureView) =
        tr
            []
            [
                td [] [ Layout.ago view.Server.Now failure.At ]
                td [] [ Layout.pill Tone.Bad failure.Type ]
                td [ _class "code" ] [ str failure.Request ]
                td [ _class "code" ] [ str failure.Rule ]
                td [] [ str failure.Backend ]
                td [ _class "code" ] [ str failure.Endpoint ]
                td [] [ str failure.Reason ]
                td [ _class "code" ] [ str failure.RequestId ]
            ]

    /// How many rows of a long table are shown; the JSON form has them all.
    let private maxRows = 200

    let private firstRows (row: 'view -> XmlNode) (items: 'view array) =
        items |> Seq.truncate maxRows |> Seq.map row |> Seq.toList

    let private moreNote (items: 'view array) =
        if items.Length > maxRows then
            [
                p [ _class "empty" ] [ str $"{items.Length - maxRows} more are in the JSON form of this page." ]
            ]
        else
            []

    let render (view: StatusView) : string =
        let byHits =
            view.Routes
            |> Array.sortBy (fun route -> -route.Hits, route.Protocol, route.Index)

        let worstFirst =
            view.Backends
            |> Array.sortBy (fun backend ->
                (match backend.Tone with
                 | Tone.Bad -> 0
                 | Tone.Warning -> 1
                 | _ -> 2),
                backend.Name)

        Layout.page
            "/debug/status"
            "Status"
            true
            view.Server
            [
                h1 [] [ str "Status" ]
                tiles view
                if view.ConfigurationErrors.Length > 0 then
                    section
                        [ _class "alarm"; attr "role" "alert" ]
                        [
                            h2 [] [ str "The last configuration change was rejected" ]
                            p
                                []
                                [
                                    str
                                        "The previous configuration stays active. Fix these errors; kedge then reloads the files automatically:"
                                ]
                            ul
                                [ _class "code" ]
                                (view.ConfigurationErrors
                                 |> Array.map (fun error -> li [] [ str error ])
                                 |> Array.toList)
                        ]
                Sparkline.traffic "all backends" view.Traffic
                ExplainForm.render "GET" "" "" false false
                section
                    []
                    [
                        heading "backends" "Backends"
                        if view.Backends.Length = 0 then
                            p [ _class "empty" ] [ str "The backend pool is empty." ]
                        yield! firstRows (backend view) worstFirst
                        yield! moreNote view.Backends
                    ]
                section
                    []
                    [
                        heading "routes" "Routes, by hits"
                        Layout.listing
                            "routes"
                            RouteRow.columns
                            "No routes: requests are taken by an ad-hoc rule or fail with no-route."
                            (firstRows RouteRow.render byHits)
                        if view.Routes.Length > maxRows then
                            p
                                [ _class "empty" ]
                                [
                                    str $"These are {maxRows} of {Layout.number (int64 view.Routes.Length)}. "
                                    a [ _href "/debug/routes" ] [ str "Search all of them" ]
                                    str "."
                                ]
                        if view.AdhocRules.Length > 0 then
                            h3 [] [ str "Ad-hoc rules" ]

                            Layout.listing
                                "adhoc-rules"
                                [ "protocol"; "index"; "matches"; "callers"; "defined in"; "hits" ]
                                ""
                                (firstRows adhocRow view.AdhocRules)
                    ]
                section
                    []
                    [
                        heading "failures" "Recent failures"
                        Layout.listing
                            "failures"
                            [
                                "when"
                                "type"
                                "request"
                                "rule"
                                "backend"
                                "endpoint"
                                "reason"
                                "request id"
                            ]
                            "None: kedge has not failed any request."
                            (firstRows (failureRow view) view.Failures)
                    ]
                section
                    []
                    [
                        heading "notices" "Discovery"
                        Layout.listing
                            "notices"
                            [ "notice"; "subject"; "detail" ]
                            "Nothing to report."
                            (firstRows noticeRow view.Notices)
                        yield! moreNote view.Notices
                    ]
                section
                    []
                    [
                        heading "generations" "Configuration history"
                        Layout.listing
                            "generations"
                            [ "generation"; "when"; "trigger"; "what changed" ]
                            "Nothing yet."
                            (firstRows (generationRow view) view.Generations)
                    ]
                section
                    []
                    [
                        heading "certificates" "Certificates"
                        Layout.listing
                            "certificates"
                            [ "certificate"; "for"; "state"; "expires"; "problem" ]
                            "None: no listener uses TLS."
                            (firstRows certificateRow view.Certificates)
                        yield! moreNote view.Certificates
                    ]
                section
                    []
                    [
                        heading "dependencies" "Dependencies"
                        Layout.listing
                            "dependencies"
                            [ "name"; "state"; "detail" ]
                            "None, apart from the backends."
                            (firstRows dependencyRow view.Dependencies)
                    ]
            ]
