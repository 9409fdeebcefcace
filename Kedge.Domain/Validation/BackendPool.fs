namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// A backend pool file whose entries are all valid: names well-formed and unique, one resolver each, every
/// `config_name` known. Created only by validation. The entries keep their decoded form, which needs no further
/// parsing.
[<Sealed>]
type BackendPool internal (tlsServerConfigs, backends) =
    member _.TlsServerConfigs: TlsServerConfig list = tlsServerConfigs
    member _.Backends: PerProtocol<Backend list> = backends

[<RequireQualifiedAccess>]
module BackendPool =

    let empty = BackendPool([], PerProtocol.Both [])

    let private required (checks: Checks) path (field: string) (rule: string) (text: string) holds =
        if text = "" then
            checks.Report(path, Missing field)
        else
            checks.Require(Field field :: path, rule, text, holds text)

    let private resolver (checks: Checks) path (resolver: Resolver) =
        match resolver with
        | Srv(dnsName, portOverride) ->
            let path = Field "srv" :: path
            required checks path "dns_name" "must be a DNS name" dnsName NameRule.isDnsName
            checks.InRange(Field "port_override" :: path, NumberRange.optionalPort, portOverride)
        | Host(dnsName, port) ->
            let path = Field "host" :: path

            let rule =
                if dnsName.Contains ':' then
                    "must be a DNS name or IP address without a port; write the port in the field port"
                else
                    "must be a DNS name or IP address"

            required checks path "dns_name" rule dnsName NameRule.isHost

            if port = 0u then
                checks.Report(path, Missing "port")
            else
                checks.InRange(Field "port" :: path, NumberRange.port, port)
        | K8s dnsPortName ->
            let path = Field "k8s" :: path

            if dnsPortName = "" then
                checks.Report(path, Missing "dns_port_name")
            else
                match K8sTarget.tryParse dnsPortName with
                | Ok _ -> ()
                | Error rule -> checks.Malformed(Field "dns_port_name" :: path, "must be " + rule, dnsPortName)

    let private security (checks: Checks) path (configNames: Set<string>) (security: Security) =
        let path = Field "security" :: path

        if security.ConfigName <> "" then
            let configPath = Field "config_name" :: path

            if security.InsecureSkipVerify then
                // Whoever names a CA bundle expects certificates to be checked against it.
                checks.Malformed(configPath, "has no effect with insecure_skip_verify: keep one", security.ConfigName)

            if not (configNames.Contains security.ConfigName) then
                let suggestion = Suggestion.closest configNames security.ConfigName
                checks.Report(configPath, UnknownReference("tls_server_configs entry", security.ConfigName, suggestion))

    let private healthCheck (checks: Checks) path (protocol: Protocol) (check: HealthCheck) =
        let path = Field "health_check" :: path
        let day = TimeSpan.FromDays 1.0

        match protocol with
        | Protocol.Grpc ->
            if check.HttpPath <> "" then
                checks.Malformed(Field "http_path" :: path, "is for HTTP backends only", check.HttpPath)
        | Protocol.Http ->
            let isPath (text: string) = text.StartsWith '/' && NameRule.isPlainText text && not (text.Contains '#')

            required checks path "http_path" "must be a path that starts with `/`" check.HttpPath isPath

            if check.GrpcService <> "" then
                checks.Malformed(Field "grpc_service" :: path, "is for gRPC backends only", check.GrpcService)

        checks.DurationInRange(Field "interval" :: path, TimeSpan.FromMilliseconds 10.0, day, check.Interval)
        checks.DurationInRange(Field "timeout" :: path, TimeSpan.FromMilliseconds 1.0, day, check.Timeout)
        checks.InRange(Field "healthy_threshold" :: path, NumberRange.threshold, check.HealthyThreshold)
        checks.InRange(Field "unhealthy_threshold" :: path, NumberRange.threshold, check.UnhealthyThreshold)

    let private outlierDetection (checks: Checks) path (outlier: OutlierDetection) =
        let path = Field "outlier_detection" :: path
        checks.InRange(Field "consecutive_failures" :: path, NumberRange.threshold, outlier.ConsecutiveFailures)
        checks.InRange(Field "max_ejection_percent" :: path, NumberRange.percent, outlier.MaxEjectionPercent)

        checks.DurationInRange(
            Field "ejection_time" :: path,
            TimeSpan.FromMilliseconds 1.0,
            TimeSpan.FromDays 1.0,
            outlier.EjectionTime
        )

    let internal backend (checks: Checks) path (protocol: Protocol) (configNames: Set<string>) (backend: Backend) =
        required checks path "name" NameRule.backend backend.Name NameRule.isBackend
        resolver checks path backend.Resolver
        checks.InRange(Field "max_requests" :: path, NumberRange.requests, backend.MaxRequests)
        backend.Security |> Option.iter (security checks path configNames)
        backend.HealthCheck |> Option.iter (healthCheck checks path protocol)
        backend.OutlierDetection |> Option.iter (outlierDetection checks path)
        backend.RetryBudget |> Option.iter (RetryRules.budget checks path)

        if protocol.IsHttp && not backend.Interceptors.IsEmpty then
            let rule = "is for gRPC backends only; HTTP backends are measured without it"

            let found =
                backend.Interceptors
                |> List.map (fun i -> if i.Prometheus then "prometheus" else "none")
                |> String.concat ", "

            checks.Report(Field "interceptors" :: path, Malformed(rule, found))

    let private tlsServerConfig (checks: Checks) path (config: TlsServerConfig) =
        required checks path "name" NameRule.backend config.Name NameRule.isBackend

        config.CaFiles
        |> List.iteri (fun i file ->
            checks.Require(Step.Index i :: Field "ca_files" :: path, "must be a file name", file, file <> ""))

        if config.ServerName <> "" then
            let rule = "must be a DNS name or IP address"
            checks.Require(Field "server_name" :: path, rule, config.ServerName, NameRule.isHost config.ServerName)

        if config.ClientCertFile <> "" && config.ClientKeyFile = "" then
            checks.Report(path, Missing "client_key_file")
        elif config.ClientKeyFile <> "" && config.ClientCertFile = "" then
            checks.Report(path, Missing "client_cert_file")

    /// The second shape of a decoded file, or everything that is wrong with it.
    let validate (file: Decoded.BackendPool) : Result<BackendPool, Violation list> =
        let checks = Checks()
        let configs = [ Field "tls_server_configs" ]
        let configNames = file.TlsServerConfigs |> Seq.map _.Name |> Set.ofSeq

        file.TlsServerConfigs
        |> List.iteri (fun i config -> tlsServerConfig checks (Step.Index i :: configs) config)

        checks.Unique(configs, "name", file.TlsServerConfigs |> Seq.map _.Name)

        for struct (protocol, backends) in file.Backends.Pairs do
            let path = [ Field "backends"; Field protocol.Section ]

            backends
            |> List.iteri (fun i entry -> backend checks (Step.Index i :: path) protocol configNames entry)

            checks.Unique(path, "name", backends |> Seq.map _.Name)

        match checks.Violations with
        | [] -> Ok(BackendPool(file.TlsServerConfigs, file.Backends))
        | violations -> Error violations
