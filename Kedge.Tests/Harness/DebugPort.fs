namespace Kedge.Tests.Harness

open System
open System.Globalization
open System.Net.Http
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks

/// One sample of the Prometheus text format.
type Sample =
    {
        Name: string
        Labels: Map<string, string>
        Value: float
    }

/// The Prometheus text format (version 0.0.4), read strictly: whatever the grammar does not know is an error.
[<RequireQualifiedAccess>]
module Prometheus =

    let private name = "[a-zA-Z_:][a-zA-Z0-9_:]*"

    let private label =
        """([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)" """.TrimEnd()

    let private comment = Regex $"^# HELP {name}( [^\n]*)?$"

    let private kind =
        Regex $"^# TYPE ({name}) (counter|gauge|histogram|summary|untyped)$"

    let private sample =
        Regex $"^({name})(\\{{(?:{label}(?:,{label})*,?)?\\}})? (\\S+)( -?[0-9]+)?$"

    let private value (text: string) =
        match text with
        | "+Inf" -> Some Double.PositiveInfinity
        | "-Inf" -> Some Double.NegativeInfinity
        | "NaN" -> Some Double.NaN
        | _ ->
            match Double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture) with
            | true, number -> Some number
            | _ -> None

    let private family (name: string) =
        [ "_bucket"; "_sum"; "_count" ]
        |> List.tryPick (fun suffix ->
            if name.EndsWith(suffix, StringComparison.Ordinal) then
                Some(name.Substring(0, name.Length - suffix.Length))
            else
                None)

    /// The types by name and the samples; or the first line that breaks a rule of the format.
    let parse (text: string) : Result<Map<string, string> * Sample list, string> =
        let rec go types samples (lines: string list) =
            match lines with
            | [] -> Ok(types, List.rev samples)
            | "" :: rest -> go types samples rest
            | line :: rest when kind.IsMatch line ->
                let found = kind.Match line

                if Map.containsKey found.Groups[1].Value types then
                    Error $"a second type: {line}"
                else
                    go (Map.add found.Groups[1].Value found.Groups[2].Value types) samples rest
            | line :: rest when comment.IsMatch line -> go types samples rest
            | line :: rest ->
                let found = sample.Match line

                if not found.Success then
                    Error $"no sample: {line}"
                else
                    let labels =
                        Regex.Matches(found.Groups[2].Value, label)
                        |> Seq.map (fun m -> m.Groups[1].Value, m.Groups[2].Value)
                        |> List.ofSeq

                    let sample =
                        {
                            Name = found.Groups[1].Value
                            Labels = Map labels
                            Value = nan
                        }

                    let isTyped =
                        types.ContainsKey sample.Name
                        || family sample.Name
                           |> Option.exists (fun f -> types.TryFind f = Some "histogram")

                    match value found.Groups[7].Value with
                    | None -> Error $"no number: {line}"
                    | Some _ when sample.Labels.Count <> labels.Length -> Error $"a label twice: {line}"
                    | Some _ when not isTyped -> Error $"no type: {line}"
                    | Some _ when
                        samples
                        |> List.exists (fun s -> s.Name = sample.Name && s.Labels = sample.Labels)
                        ->
                        Error $"a series twice: {line}"
                    | Some number -> go types ({ sample with Value = number } :: samples) rest

        if text.EndsWith '\n' then
            go Map.empty [] (List.ofArray (text.Split '\n'))
        else
            Error "the last line has no end"

/// The pages of a running kedge.
[<RequireQualifiedAccess>]
module DebugPort =

    let private client =
        lazy new HttpClient(new SocketsHttpHandler(UseProxy = false), Timeout = patience)

    let send (kedge: Kedge) (method: HttpMethod) (page: string) (accept: string) : Task<HttpResponseMessage> =
        let request = new HttpRequestMessage(method, kedge.DebugUrl page)

        if accept <> "" then
            request.Headers.TryAddWithoutValidation("Accept", accept) |> ignore

        client.Value.SendAsync request

    let text (kedge: Kedge) (page: string) : Task<string> =
        task {
            use! response = send kedge HttpMethod.Get page ""
            return! response.Content.ReadAsStringAsync()
        }

    /// A page's JSON form.
    let json (kedge: Kedge) (page: string) : Task<JsonElement> =
        task {
            use! response = send kedge HttpMethod.Get page "application/json"
            let! body = response.Content.ReadAsStringAsync()
            return JsonDocument.Parse(body).RootElement
        }

    /// The metrics of a scrape; fails when the text is not sound.
    let samples (kedge: Kedge) : Task<Sample list> =
        task {
            let! text = text kedge "/metrics"

            match Prometheus.parse text with
            | Ok(_, samples) -> return samples
            | Error error -> return failwithf "the metrics do not parse: %s" error
        }

    /// The value of the only series of that name with these labels among its own; 0 when there is none.
    let metric (kedge: Kedge) (name: string) (labels: (string * string) list) : Task<float> =
        task {
            let! samples = samples kedge

            return
                samples
                |> List.filter (fun s ->
                    s.Name = name
                    && labels |> List.forall (fun (k, v) -> s.Labels.TryFind k = Some v))
                |> function
                    | [] -> 0.0
                    | [ one ] -> one.Value
                    | several -> failwithf "%d series of %s" several.Length name
        }
