namespace Kedge.Tests.Kubernetes

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Net
open System.Text
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core
open Kedge.Tests.Harness

/// How the API server says that a version is no longer kept.
type GoneForm =
    | HttpStatus
    /// 200, and an ERROR event as the only one of the watch.
    | ErrorEvent

/// What can happen at an API server, in the order of a script.
type Happening =
    /// Creates or changes an object, given as JSON with its kind.
    | Put of json: string
    | Delete of kind: string * space: string * name: string
    /// Every watch hears the current version.
    | Bookmark
    /// Every watch is cut off.
    | DropWatches
    /// Every watch ends as it does after its timeout.
    | EndWatches
    /// The watches that stand stay open and say nothing any more.
    | SilenceWatches
    /// What has happened so far is no longer kept: a watch from an earlier version is answered with 410.
    | Compact

type private Message =
    | Line of string
    | Cut
    | End

type private Watcher =
    {
        Kind: string
        Sees: JsonObject -> bool
        Messages: Channel<Message>
        mutable IsSilent: bool
    }

type private Change =
    {
        Version: int64
        Kind: string
        /// None = it was not there.
        Before: JsonObject option
        /// None = it is deleted.
        After: JsonObject option
        /// The last state, with the version of the change.
        Object: JsonObject
    }

module private Objects =

    let text (name: string) (node: JsonNode | null) : string =
        match node with
        | :? JsonObject as o ->
            match o[name] with
            | null -> ""
            | value -> value.ToString()
        | _ -> ""

    let metadata (o: JsonObject) : JsonObject =
        match o["metadata"] with
        | :? JsonObject as metadata -> metadata
        | _ -> failwith "an object without metadata"

    /// `key`, `key=value` and `key!=value`, with commas between them.
    let matches (selector: string) (o: JsonObject) : bool =
        let labels = (metadata o)["labels"]

        let has (key: string) =
            match labels with
            | :? JsonObject as labels -> labels.ContainsKey key
            | _ -> false

        selector.Split(',', StringSplitOptions.RemoveEmptyEntries)
        |> Array.forall (fun condition ->
            match condition.Split "!=" with
            | [| key; value |] -> text key labels <> value
            | _ ->
                match condition.Split '=' with
                | [| key; value |] -> text key labels = value
                | _ -> has condition)

    /// Whether an object is in the collection of that path and passes the selectors of labels and of the type.
    let isWanted (path: string) (labels: string) (fields: string) (o: JsonObject) : bool =
        let isThere =
            match path.Split '/' with
            | [| ""; "api"; "v1"; "namespaces"; space; _ |] -> text "namespace" (metadata o) = space
            | _ -> true

        let hasType =
            match fields.Split '=' with
            | [| "type"; wanted |] -> text "type" o = wanted
            | _ -> true

        isThere && hasType && matches labels o

    /// What clients ask for before they use a kind that they do not know, such as kubectl.
    let discovery (path: string) : string option =
        match path with
        | "/api" -> Some """{"kind":"APIVersions","versions":["v1"]}"""
        | "/apis" -> Some """{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"""
        | "/api/v1" ->
            Some
                """{"kind":"APIResourceList","groupVersion":"v1","resources":[
                    {"name":"services","singularName":"service","namespaced":true,"kind":"Service","verbs":["get","list","watch"]}]}"""
        | _ -> None

    let status (code: int) (reason: string) (message: string) =
        $"""{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"""

/// The part of a Kubernetes API server that kedge uses, with its contracts: versions, paged lists, watches from a version
/// on with bookmarks, 410, label selectors, bearer tokens, HTTPS. Everything that a script makes happen is what the real one does.
type ApiServerDouble(identity: Identity) =
    let port = Ports.free ()
    let sync = obj ()
    let mutable version = 1000L
    let mutable forgotten = 0L

    let objects =
        Dictionary<string, SortedDictionary<struct (string * string), JsonObject>>()

    let history = List<Change>()
    let watchers = List<Watcher>()
    let snapshots = Dictionary<string, struct (int64 * JsonObject array)>()
    let requests = ConcurrentQueue<string>()
    let refused = ConcurrentQueue<string option>()
    let mutable app: WebApplication option = None

    let collection kind =
        match objects.TryGetValue kind with
        | true, found -> found
        | _ ->
            let made = SortedDictionary<struct (string * string), JsonObject>()
            objects[kind] <- made
            made

    let kindOf (path: string) =
        match path.Split '/' with
        | [| ""; "api"; "v1"; "services" |] -> Some "Service"
        | [| ""; "api"; "v1"; "namespaces"; _; "secrets" |] -> Some "Secret"
        | [| ""; "apis"; "discovery.k8s.io"; "v1"; "endpointslices" |] -> Some "EndpointSlice"
        | _ -> None

    let wantedBy (request: HttpRequest) =
        Objects.isWanted
            (string request.Path)
            (string request.Query["labelSelector"])
            (string request.Query["fieldSelector"])

    /// What a watch of these objects hears of a change.
    let eventOf (isWanted: JsonObject -> bool) (change: Change) : string option =
        let seen = change.Before |> Option.exists isWanted
        let sees = change.After |> Option.exists isWanted

        let kind =
            match seen, sees with
            | false, false -> None
            | false, true -> Some "ADDED"
            | true, true -> Some "MODIFIED"
            | true, false -> Some "DELETED"

        kind
        |> Option.map (fun kind -> $"{{\"type\":\"{kind}\",\"object\":{change.Object.ToJsonString()}}}\n")

    let record kind before after (last: JsonObject) =
        let change =
            {
                Version = version
                Kind = kind
                Before = before
                After = after
                Object = last
            }

        history.Add change

        for watcher in watchers do
            if watcher.Kind = kind && not watcher.IsSilent then
                eventOf watcher.Sees change
                |> Option.iter (fun line -> watcher.Messages.Writer.TryWrite(Line line) |> ignore)

    let tellAll (message: Message) =
        for watcher in watchers do
            if not watcher.IsSilent then
                watcher.Messages.Writer.TryWrite message |> ignore

    let happen (happening: Happening) =
        match happening with
        | Put json ->
            let o = nonNull (JsonNode.Parse json) :?> JsonObject
            let kind = Objects.text "kind" o
            let metadata = Objects.metadata o
            let key = struct (Objects.text "namespace" metadata, Objects.text "name" metadata)
            version <- version + 1L

            let before =
                match (collection kind).TryGetValue key with
                | true, before -> Some before
                | _ -> None

            let kept name (fresh: string) =
                if not (metadata.ContainsKey name) then
                    let value =
                        match before with
                        | Some before -> Objects.text name (Objects.metadata before)
                        | None -> fresh

                    metadata[name] <- JsonValue.Create value

            kept "uid" (string (Guid.NewGuid()))
            kept "creationTimestamp" "2020-01-01T00:00:00Z"
            metadata["resourceVersion"] <- JsonValue.Create(string version)
            (collection kind)[key] <- o
            record kind before (Some o) o
        | Delete(kind, space, name) ->
            match (collection kind).TryGetValue(struct (space, name)) with
            | true, before ->
                version <- version + 1L
                (collection kind).Remove(struct (space, name)) |> ignore
                let last = before.DeepClone() :?> JsonObject
                (Objects.metadata last)["resourceVersion"] <- JsonValue.Create(string version)
                record kind (Some before) None last
            | _ -> failwith $"no {kind} {space}/{name} to delete"
        | Bookmark ->
            for watcher in watchers do
                if not watcher.IsSilent then
                    let line =
                        $"{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{watcher.Kind}\",\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}\n"

                    watcher.Messages.Writer.TryWrite(Line line) |> ignore
        | DropWatches -> tellAll Cut
        | EndWatches -> tellAll End
        | SilenceWatches ->
            for watcher in watchers do
                watcher.IsSilent <- true
        | Compact ->
            version <- version + 1L
            forgotten <- version
            snapshots.Clear()

    let answer (context: HttpContext) (code: int) (body: string) : Task =
        context.Response.StatusCode <- code
        context.Response.ContentType <- "application/json"
        context.Response.WriteAsync body

    member val Token = "" with get, set
    member val Gone = ErrorEvent with get, set

    /// The server gives no more objects in a page, whatever the client asks for.
    member val LargestPage = Int32.MaxValue with get, set

    /// Whether it has endpoint slices in the version that kedge reads: 1.20 has not.
    member val HasSlices = true with get, set

    /// Answers every request with this status instead. 0 = does not.
    member val RefuseWith = 0 with get, set

    /// Answers every watch with 410, whatever its version.
    member val IsForgetful = false with get, set

    /// The `Retry-After` of an answer 410 to a watch, in seconds. 0 = none.
    member val RetryAfterGone = 0 with get, set

    /// What it speaks from the next start on.
    member val Protocols = HttpProtocols.Http1AndHttp2 with get, set

    /// The subject of the only client certificate that lets callers in. Empty = every certificate does.
    member val CertifiedSubject = "" with get, set

    /// The headers of the last request that was let in, but for `Authorization`, with names in lower case.
    member val LastHeaders: (string * string) list = [] with get, set

    member _.Port = port

    member _.Url = Uri $"https://127.0.0.1:{port}"

    /// Path and query of each request that was let in.
    member _.Requests = requests.ToArray()

    /// How many requests for objects of this kind were refused.
    member _.Refusals(kind: string) = refused |> Seq.filter ((=) (Some kind)) |> Seq.length

    member this.Lists(kind: string) =
        this.Requests
        |> Seq.filter (fun r ->
            kindOf ((r.Split '?')[0]) = Some kind
            && not (r.Contains "watch=true")
            && not (r.Contains "continue="))
        |> Seq.length

    member _.Watches =
        lock sync (fun () -> watchers |> Seq.filter (fun w -> not w.IsSilent) |> Seq.length)

    member _.Play(script: Happening list) = lock sync (fun () -> List.iter happen script)

    member private this.List(context: HttpContext, kind: string) : Task =
        let query name = string context.Request.Query[name]

        let body =
            lock sync (fun () ->
                let struct (at, all), start =
                    match query "continue" with
                    | "" ->
                        struct (version,
                                (collection kind).Values |> Seq.filter (wantedBy context.Request) |> Array.ofSeq),
                        Some 0
                    | token ->
                        match token.Split '/' with
                        | [| id; start |] when snapshots.ContainsKey id -> snapshots[id], Some(int start)
                        | _ -> struct (0L, [||]), None

                match start with
                | None -> None
                | Some start ->
                    let limit =
                        match Int32.TryParse(query "limit") with
                        | true, limit when limit > 0 -> min limit this.LargestPage
                        | _ -> Int32.MaxValue

                    let items = all |> Array.skip start |> Array.truncate limit
                    let next = start + items.Length

                    let token =
                        if next < all.Length then
                            let id = Guid.NewGuid().ToString "N"
                            snapshots[id] <- struct (at, all)
                            $"{id}/{next}"
                        else
                            ""

                    let items = String.Join(",", items |> Seq.map (fun o -> o.ToJsonString()))

                    Some
                        $"""{{"kind":"{kind}List","apiVersion":"v1","metadata":{{"resourceVersion":"{at}","continue":"{token}"}},"items":[{items}]}}""")

        match body with
        | Some body -> answer context 200 body
        | None -> answer context 410 (Objects.status 410 "Expired" "The provided continue parameter is too old")

    member private this.Watch(context: HttpContext, kind: string) : Task =
        let query name = string context.Request.Query[name]

        task {
            let watcher =
                {
                    Kind = kind
                    Sees = wantedBy context.Request
                    Messages = Channel.CreateUnbounded<Message>()
                    IsSilent = false
                }

            let isGone =
                lock sync (fun () ->
                    let from = Int64.Parse(query "resourceVersion")

                    if from < forgotten || this.IsForgetful then
                        true
                    else
                        for change in history do
                            if change.Version > from && change.Kind = kind then
                                eventOf watcher.Sees change
                                |> Option.iter (fun line -> watcher.Messages.Writer.TryWrite(Line line) |> ignore)

                        watchers.Add watcher
                        false)

            let gone = Objects.status 410 "Expired" "too old resource version"

            if isGone && this.RetryAfterGone > 0 then
                context.Response.Headers["Retry-After"] <- string this.RetryAfterGone

            if isGone && this.Gone = HttpStatus then
                do! answer context 410 gone
            elif isGone then
                do! answer context 200 $"{{\"type\":\"ERROR\",\"object\":{gone}}}\n"
            else
                context.Response.ContentType <- "application/json"
                do! context.Response.StartAsync()
                do! context.Response.Body.FlushAsync()
                use ended = CancellationTokenSource.CreateLinkedTokenSource context.RequestAborted

                // kubectl asks for no end.
                match query "timeoutSeconds" with
                | "" -> ()
                | seconds -> ended.CancelAfter(TimeSpan.FromSeconds(float seconds))

                let mutable going = true

                try
                    try
                        while going do
                            match! watcher.Messages.Reader.ReadAsync ended.Token with
                            | Line line ->
                                do! context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes line, ended.Token)
                                do! context.Response.Body.FlushAsync ended.Token
                            | Cut ->
                                context.Abort()
                                going <- false
                            | End -> going <- false
                    with :? OperationCanceledException ->
                        ()
                finally
                    lock sync (fun () -> watchers.Remove watcher |> ignore)
        }

    member private this.Handle(context: HttpContext) : Task =
        let request = context.Request

        let isCertified =
            match context.Connection.ClientCertificate with
            | null -> false
            | certificate -> this.CertifiedSubject = "" || certificate.Subject = this.CertifiedSubject

        let authorization = string request.Headers.Authorization

        if not isCertified && authorization <> $"Bearer {this.Token}" then
            refused.Enqueue(kindOf (string request.Path))
            answer context 401 (Objects.status 401 "Unauthorized" "Unauthorized")
        elif this.RefuseWith <> 0 then
            refused.Enqueue(kindOf (string request.Path))
            answer context this.RefuseWith (Objects.status this.RefuseWith "Refused" "not now")
        else
            requests.Enqueue(string request.Path + string request.QueryString)

            this.LastHeaders <-
                [
                    for header in request.Headers do
                        if header.Key <> "Authorization" then
                            for value in header.Value do
                                header.Key.ToLowerInvariant(), string value
                ]

            match kindOf (string request.Path) with
            | Some "EndpointSlice" when not this.HasSlices ->
                answer context 404 (Objects.status 404 "NotFound" "the server could not find the requested resource")
            | None ->
                match Objects.discovery (string request.Path) with
                | Some document -> answer context 200 document
                | None ->
                    answer
                        context
                        404
                        (Objects.status 404 "NotFound" "the server could not find the requested resource")
            | Some kind when string request.Query["watch"] = "true" -> this.Watch(context, kind)
            | Some kind -> this.List(context, kind)

    member this.Start() =
        let host =
            PeerHost(ignore, this.Protocols, Some identity, IPEndPoint(IPAddress.Loopback, port))

        app <- Some(host.Start(fun app -> app.Run(RequestDelegate(fun context -> this.Handle context))))

    /// Ends it as a kill does; it can be started again, on the same port and with the same objects.
    member _.Stop() =
        Option.iter PeerHost.Stop app
        app <- None
        lock sync watchers.Clear

    interface IDisposable with
        member this.Dispose() = this.Stop()
