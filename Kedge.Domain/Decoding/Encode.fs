namespace Kedge.Domain

open System
open System.IO
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open Kedge.Domain.Decoded

/// Encodes decoded configurations as JSON: `snake_case`, without defaults. Decoding the result gives the same value.
[<RequireQualifiedAccess>]
module Encode =

    let private writeText (json: Utf8JsonWriter) (name: string) (value: string) =
        if value <> "" then
            json.WriteString(name, value)

    /// Writes an empty text too, which is not the same as none.
    let private writeAnyText (json: Utf8JsonWriter) (name: string) (value: string) = json.WriteString(name, value)

    let private writeNumber (json: Utf8JsonWriter) (name: string) (value: uint32) =
        if value <> 0u then
            json.WriteNumber(name, value)

    let private writeBool (json: Utf8JsonWriter) (name: string) (value: bool) =
        if value then
            json.WriteBoolean(name, true)

    let private writeDuration json name (value: TimeSpan) =
        if value <> TimeSpan.Zero then
            writeText json name (Duration.FormatSeconds value)

    let private writeEnum json name (names: (string * 'enum) list) (value: 'enum) =
        match names |> List.tryFind (fun (_, v) -> v = value) with
        | Some(text, _) when value <> snd names.Head -> writeText json name text
        | _ -> ()

    let private writeList (json: Utf8JsonWriter) (name: string) (write: 'item -> unit) (items: 'item list) =
        if not items.IsEmpty then
            json.WriteStartArray name
            List.iter write items
            json.WriteEndArray()

    let private writeTexts (json: Utf8JsonWriter) name (items: string list) =
        writeList json name (fun (item: string) -> json.WriteStringValue item) items

    let private writeMap (json: Utf8JsonWriter) (name: string) (map: Map<string, string>) =
        if not map.IsEmpty then
            json.WriteStartObject name

            for KeyValue(key, value) in map do
                json.WriteString(key, value)

            json.WriteEndObject()

    let private writeHeaders (json: Utf8JsonWriter) (name: string) (map: Map<string, HeaderCondition>) =
        if not map.IsEmpty then
            json.WriteStartObject name

            for KeyValue(key, condition) in map do
                match condition with
                | HeaderCondition.Is value -> json.WriteString(key, value)
                | HeaderCondition.StartsWith prefix ->
                    json.WriteStartObject key
                    json.WriteString("prefix", prefix)
                    json.WriteEndObject()
                | HeaderCondition.Present ->
                    json.WriteStartObject key
                    json.WriteBoolean("present", true)
                    json.WriteEndObject()

            json.WriteEndObject()

    let private writeObject (json: Utf8JsonWriter) (name: string) (write: 'value -> unit) (value: 'value option) =
        match value with
        | Some value ->
            json.WriteStartObject name
            write value
            json.WriteEndObject()
        | None -> ()

    /// An item of a list.
    let private item (json: Utf8JsonWriter) (write: 'value -> unit) (value: 'value) =
        json.WriteStartObject()
        write value
        json.WriteEndObject()

    /// Writes empty lists too: they are invalid, and must stay so when they are read again.
    let private writeLists (json: Utf8JsonWriter) (name: string) (lists: Map<string, string list>) =
        if not lists.IsEmpty then
            json.WriteStartObject name

            for KeyValue(key, values) in lists do
                json.WriteStartArray key

                for value in values do
                    json.WriteStringValue value

                json.WriteEndArray()

            json.WriteEndObject()

    let private authorization json (value: Authorization) =
        writeTexts json "any_perms" value.AnyPerms
        writeTexts json "all_perms" value.AllPerms
        writeTexts json "client_cert_sans" value.ClientCertSans
        writeTexts json "client_networks" value.ClientNetworks
        writeTexts json "denied_client_networks" value.DeniedClientNetworks
        writeTexts json "token_issuers" value.TokenIssuers
        writeLists json "claims" value.Claims
        writeBool json "anonymous" value.Anonymous

    let private writeRewrite (json: Utf8JsonWriter) (rewrite: Rewrite) =
        // An empty text removes the prefix, so it is written too.
        rewrite.ReplacePrefix
        |> Option.iter (fun prefix -> json.WriteString("replace_prefix", prefix))

        rewrite.ReplaceFull
        |> Option.iter (fun full -> json.WriteString("replace_full", full))

        writeText json "host" rewrite.Host
        writeBool json "reverse_location" rewrite.ReverseLocation

    let private writeHeaderChanges json (changes: HeaderChanges) =
        writeMap json "set" changes.Set
        writeMap json "add" changes.Add
        writeTexts json "remove" changes.Remove

    let private pathChange json (change: PathChange) =
        match change with
        | ReplaceFull path -> writeAnyText json "replace_full" path
        | ReplacePrefix replacement -> writeAnyText json "replace_prefix" replacement

    let private redirect json (redirect: Redirect) =
        writeText json "scheme" redirect.Scheme
        writeText json "host" redirect.Host
        writeNumber json "port" redirect.Port
        writeObject json "path" (pathChange json) redirect.Path
        writeNumber json "status" redirect.Status
        writeBool json "strip_query" redirect.StripQuery

    let private respond json (respond: Respond) =
        writeNumber json "status" respond.Status
        writeText json "body" respond.Body
        writeText json "body_file" respond.BodyFile
        writeText json "content_type" respond.ContentType
        writeMap json "headers" respond.Headers
        writeDuration json "retry_after" respond.RetryAfter

    let private grpcRespond json (respond: GrpcRespond) =
        writeEnum json "grpc_status" ActionJson.grpcStatuses respond.GrpcStatus
        writeText json "message" respond.Message

    let private writeTimeouts json (timeouts: Timeouts) =
        writeDuration json "request" timeouts.Request
        writeDuration json "attempt" timeouts.Attempt

    let private writeRetry json (retry: Retry) =
        writeNumber json "attempts" retry.Attempts
        writeTexts json "on" retry.On
        writeEnum json "methods" RetryJson.methods retry.Methods
        retry.MaxBody |> Option.iter (ByteSize.format >> writeText json "max_body")

        retry.Backoff
        |> writeObject json "backoff" (fun backoff ->
            writeDuration json "base" backoff.Base
            writeDuration json "max" backoff.Max)

    let private writeGrpcRetry (json: Utf8JsonWriter) (retry: GrpcRetry) =
        let name status = ActionJson.grpcStatuses |> List.find (fun (_, known) -> known = status) |> fst
        writeRetry json retry.Retry
        writeTexts json "grpc_on" (List.map name retry.GrpcOn)

    let private writeSplit (json: Utf8JsonWriter) (backends: WeightedBackend list) key onUnavailable =
        backends
        |> writeList
            json
            "backends"
            (item json (fun backend ->
                writeText json "name" backend.Name
                backend.Weight |> Option.iter (fun weight -> json.WriteNumber("weight", weight))
                writeObject json "request_headers" (writeHeaderChanges json) backend.RequestHeaders
                writeObject json "response_headers" (writeHeaderChanges json) backend.ResponseHeaders))

        key
        |> writeObject json "split_by" (fun key ->
            match key with
            | SplitKey.Cookie name -> writeAnyText json "cookie" name
            | SplitKey.Header name -> writeAnyText json "header" name
            | SplitKey.Query name -> writeAnyText json "query" name
            | SplitKey.ClientAddress -> writeBool json "client_address" true
            | SplitKey.TokenSubject -> writeBool json "token_subject" true
            | SplitKey.ClientSan -> writeBool json "client_san" true)

        writeEnum json "on_unavailable" SplitJson.onUnavailable onUnavailable

    let private writeMirror (json: Utf8JsonWriter) (mirror: Mirror) =
        writeText json "backend_name" mirror.BackendName

        mirror.Percent
        |> Option.iter (fun percent -> json.WriteNumber("percent", percent))

        mirror.MaxBody |> Option.iter (ByteSize.format >> writeText json "max_body")
        writeBool json "unsafe_methods" mirror.UnsafeMethods
        writeBool json "with_credentials" mirror.WithCredentials

    let private rateLimit json (limit: RateLimit) =
        writeText json "name" limit.Name
        writeNumber json "limit" limit.Limit
        writeDuration json "period" limit.Period
        writeNumber json "burst" limit.Burst
        writeTexts json "key" limit.Key
        writeNumber json "ipv6_prefix" limit.Ipv6Prefix
        writeEnum json "on_missing_key" RateLimitJson.onMissingKey limit.OnMissingKey
        writeNumber json "max_keys" limit.MaxKeys
        writeEnum json "scale" RateLimitJson.scales limit.Scale
        writeBool json "shadow" limit.Shadow

    let private tokenIssuer json (issuer: TokenIssuer) =
        writeText json "name" issuer.Name
        writeText json "issuer" issuer.Issuer
        writeText json "jwks_uri" issuer.JwksUri
        writeTexts json "audiences" issuer.Audiences
        writeEnum json "header" IssuerJson.headers issuer.Header
        writeText json "perms_claim" issuer.PermsClaim
        writeTexts json "algorithms" issuer.Algorithms
        writeDuration json "clock_skew" issuer.ClockSkew
        writeEnum json "forward" IssuerJson.forwardings issuer.Forward
        writeMap json "forward_claims" issuer.ForwardClaims

    let private writeHttpRoute json (route: HttpRoute) =
        writeText json "name" route.Name
        writeText json "backend_name" route.BackendName
        writeSplit json route.Backends route.SplitBy route.OnUnavailable
        writeList json "mirror" (item json (writeMirror json)) route.Mirror
        writeText json "host_matcher" route.HostMatcher
        writeNumber json "port_matcher" route.PortMatcher
        writeTexts json "methods" route.Methods
        writeTexts json "path_rules" route.PathRules
        writeMap json "query_matcher" route.QueryMatcher
        writeHeaders json "header_matcher" route.HeaderMatcher
        writeEnum json "proxy_mode" DirectorJson.proxyModes route.ProxyMode
        writeObject json "rewrite" (writeRewrite json) route.Rewrite
        writeObject json "request_headers" (writeHeaderChanges json) route.RequestHeaders
        writeObject json "response_headers" (writeHeaderChanges json) route.ResponseHeaders
        writeEnum json "listener" ActionJson.listeners route.Listener
        writeObject json "redirect" (redirect json) route.Redirect
        writeObject json "respond" (respond json) route.Respond
        writeObject json "timeouts" (writeTimeouts json) route.Timeouts
        writeObject json "retry" (writeRetry json) route.Retry
        writeObject json "authorization" (authorization json) route.Authorization
        writeTexts json "rate_limits" route.RateLimits
        writeBool json "rate_limit_headers" route.RateLimitHeaders
        writeBool json "autogenerated" route.Autogenerated

    let private writeGrpcRoute json (route: GrpcRoute) =
        writeText json "name" route.Name
        writeText json "backend_name" route.BackendName
        writeSplit json route.Backends route.SplitBy route.OnUnavailable
        writeList json "mirror" (item json (writeMirror json)) route.Mirror
        writeText json "service_name_matcher" route.ServiceNameMatcher
        writeText json "authority_host_matcher" route.AuthorityHostMatcher
        writeNumber json "authority_port_matcher" route.AuthorityPortMatcher
        writeHeaders json "metadata_matcher" route.MetadataMatcher
        writeObject json "rewrite" (fun rewrite -> writeText json "host" rewrite.Host) route.Rewrite
        writeObject json "request_headers" (writeHeaderChanges json) route.RequestHeaders
        writeObject json "response_headers" (writeHeaderChanges json) route.ResponseHeaders
        writeEnum json "listener" ActionJson.listeners route.Listener
        writeObject json "respond" (grpcRespond json) route.Respond
        writeObject json "timeouts" (writeTimeouts json) route.Timeouts
        writeObject json "retry" (writeGrpcRetry json) route.Retry
        writeObject json "authorization" (authorization json) route.Authorization
        writeTexts json "rate_limits" route.RateLimits
        writeBool json "rate_limit_headers" route.RateLimitHeaders
        writeBool json "autogenerated" route.Autogenerated

    let private adhocPort json (port: AdhocPort) =
        writeNumber json "default" port.Default
        writeList json "allowed" (fun (port: uint32) -> json.WriteNumberValue port) port.Allowed

        port.AllowedRanges
        |> writeList
            json
            "allowed_ranges"
            (item json (fun range ->
                writeNumber json "from" range.From
                writeNumber json "to" range.To))

    let private adhocRule json (rule: AdhocRule) =
        writeText json "dns_name_matcher" rule.DnsNameMatcher
        writeObject json "port" (adhocPort json) rule.Port

        rule.DnsNameReplace
        |> writeObject json "dns_name_replace" (fun replace ->
            writeText json "pattern" replace.Pattern
            writeText json "substitution" replace.Substitution)

        writeObject json "authorization" (authorization json) rule.Authorization

    let private writeResolver json (resolver: Resolver) =
        match resolver with
        | Srv(dnsName, portOverride) ->
            Some()
            |> writeObject json "srv" (fun () ->
                writeText json "dns_name" dnsName
                writeNumber json "port_override" portOverride)
        | Host(dnsName, port) ->
            Some()
            |> writeObject json "host" (fun () ->
                writeText json "dns_name" dnsName
                writeNumber json "port" port)
        | K8s dnsPortName ->
            Some()
            |> writeObject json "k8s" (fun () -> writeText json "dns_port_name" dnsPortName)

    let private writeBackend (json: Utf8JsonWriter) (backend: Backend) =
        writeText json "name" backend.Name
        writeEnum json "balancer" BackendPoolJson.balancers backend.Balancer
        writeBool json "disable_conntracking" backend.DisableConntracking

        backend.Security
        |> writeObject json "security" (fun security ->
            writeBool json "insecure_skip_verify" security.InsecureSkipVerify
            writeText json "config_name" security.ConfigName)

        backend.Interceptors
        |> writeList json "interceptors" (item json (fun i -> writeBool json "prometheus" i.Prometheus))

        writeResolver json backend.Resolver
        writeNumber json "max_requests" backend.MaxRequests

        backend.HealthCheck
        |> writeObject json "health_check" (fun check ->
            writeText json "http_path" check.HttpPath
            writeText json "grpc_service" check.GrpcService
            writeDuration json "interval" check.Interval
            writeDuration json "timeout" check.Timeout
            writeNumber json "healthy_threshold" check.HealthyThreshold
            writeNumber json "unhealthy_threshold" check.UnhealthyThreshold)

        backend.OutlierDetection
        |> writeObject json "outlier_detection" (fun outlier ->
            writeNumber json "consecutive_failures" outlier.ConsecutiveFailures
            writeDuration json "ejection_time" outlier.EjectionTime
            writeNumber json "max_ejection_percent" outlier.MaxEjectionPercent)

        backend.RetryBudget
        |> writeObject json "retry_budget" (fun budget ->
            budget.Percent
            |> Option.iter (fun percent -> json.WriteNumber("percent", percent))

            writeDuration json "interval" budget.Interval

            budget.MinPerSecond
            |> Option.iter (fun floor -> json.WriteNumber("min_per_second", floor)))

        writeBool json "autogenerated" backend.Autogenerated

    let private tlsServerConfig json (config: TlsServerConfig) =
        writeText json "name" config.Name
        writeTexts json "ca_files" config.CaFiles
        writeText json "server_name" config.ServerName
        writeText json "client_cert_file" config.ClientCertFile
        writeText json "client_key_file" config.ClientKeyFile
        writeEnum json "min_version" BackendPoolJson.tlsVersions config.MinVersion

    /// People read the configuration, and it is never embedded in a web page: only what JSON requires is escaped.
    let private options indented =
        JsonWriterOptions(
            Indented = indented,
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            MaxDepth = 64,
            NewLine = "\n"
        )

    let private render (indented: bool) (write: Utf8JsonWriter -> unit) : string =
        use buffer = new MemoryStream()

        do
            use json = new Utf8JsonWriter(buffer, options indented)
            json.WriteStartObject()
            write json
            json.WriteEndObject()

        Encoding.UTF8.GetString(buffer.GetBuffer(), 0, int buffer.Length)

    /// One route on one line.
    let httpRoute (route: HttpRoute) : string = render false (fun json -> writeHttpRoute json route)

    /// One route on one line.
    let grpcRoute (route: GrpcRoute) : string = render false (fun json -> writeGrpcRoute json route)

    /// One backend on one line.
    let backend (backend: Backend) : string = render false (fun json -> writeBackend json backend)

    /// `director.json`
    let director (file: Director) : string =
        let section json name routes rules write =
            if not (List.isEmpty routes && List.isEmpty rules) then
                Some()
                |> writeObject json name (fun () ->
                    writeList json "routes" (item json (write json)) routes
                    writeList json "adhoc_rules" (item json (adhocRule json)) rules)

        render true (fun json ->
            writeList json "rate_limits" (item json (rateLimit json)) file.RateLimits
            writeBool json "rate_limit_headers" file.RateLimitHeaders
            writeList json "token_issuers" (item json (tokenIssuer json)) file.TokenIssuers
            section json "grpc" file.GrpcRoutes file.AdhocRules.Grpc writeGrpcRoute
            section json "http" file.HttpRoutes file.AdhocRules.Http writeHttpRoute)

    /// `backendpool.json`
    let backendPool (file: BackendPool) : string =
        let section (json: Utf8JsonWriter) name backends =
            if not (List.isEmpty backends) then
                Some()
                |> writeObject json name (fun () -> writeList json "backends" (item json (writeBackend json)) backends)

        render true (fun json ->
            writeList json "tls_server_configs" (item json (tlsServerConfig json)) file.TlsServerConfigs
            section json "grpc" file.Backends.Grpc
            section json "http" file.Backends.Http)
