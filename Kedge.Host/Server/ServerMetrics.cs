using System.Diagnostics.Metrics;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Http;
using Kedge.Host.Listeners;
using Kedge.Host.Logging;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Server;

/// <summary>
/// The metrics that are computed when they are read. Existing dashboards rely on their names and labels
/// (docs/operation.md#metrics).
/// </summary>
public static class ServerMetrics
{
    // To a proxy every call is a stream of messages in both directions. Existing dashboards expect this value.
    private static readonly KeyValuePair<string, object?> GrpcType = new("grpc_type", "bidi_stream");

    public static void Register(
        ProxyTelemetry telemetry,
        RequestRouter router,
        ConfigurationStore store,
        CertificateStore? certificates,
        LogOutput logging)
    {
        var meter = telemetry.Meter;
        ProcessMetrics.Register(meter);
        Requests(meter, telemetry);
        Http(meter, "http_handler", "that callers send", telemetry.HttpServer);
        Http(meter, "http_tripper", "sent to backends and ad-hoc targets", telemetry.HttpClient);
        Grpc(meter, "grpc_server", "answered by the proxy", telemetry.GrpcServer);
        Grpc(meter, "grpc_client", "sent to backends with the prometheus interceptor", telemetry.GrpcClient);
        Endpoints(meter, router);
        Retries(meter, telemetry, router);
        SplitMetrics.Register(meter, telemetry);
        MirrorMetrics.Register(meter, telemetry);
        Connections(meter, telemetry, router);
        Configuration(meter, store);
        ProxyProtocol(meter, telemetry.ProxyProtocol);
        if (certificates is not null)
        {
            Certificates(meter, certificates);
            Handshakes(meter, telemetry.HandshakeFailures);
        }
        meter.CreateObservableCounter("kedge_log_lines_dropped_total", () => logging.DroppedLines,
            description: "Log lines dropped because there was no room, on standard error or for logstash.");
        meter.CreateObservableGauge("kedge_build_info",
            () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", BuildInfo.Version)),
            description: "The version of kedge.");
    }

    /// <summary>Registers the metrics of callers' connections, and of the memory held for callers.</summary>
    public static void RegisterConnections(Meter meter, ConnectionGate gate)
    {
        meter.CreateObservableGauge("kedge_connections_limit", () => gate.Limit,
            description: "How many connections callers can have open, on all proxy listeners together.");
        meter.CreateObservableGauge("kedge_connections_open", () => gate.Open,
            description: "Connections of callers that are open, on all proxy listeners together.");
        meter.CreateObservableCounter("kedge_connections_evicted_total", () => gate.Evicted,
            description: "Idle connections of callers that were closed to make room for new ones.");
        meter.CreateObservableGauge("kedge_held_bytes", () => gate.Memory.Held,
            description: "Memory held for callers: responses they do not read, and requests that wait for backends.");
        meter.CreateObservableGauge("kedge_held_bytes_limit", () => gate.Memory.Limit,
            description: "The limit on the memory held for all callers together.");
        meter.CreateObservableCounter("kedge_connections_closed_for_memory_total", () => gate.Memory.Closed,
            description: "Connections of callers that were closed to stay below the limit on held memory.");
    }

    private static void Requests(Meter meter, ProxyTelemetry telemetry)
    {
        meter.CreateObservableCounter("kedge_requests_total",
            () => from backend in telemetry.Backends
                  from entry in backend.Codes.All()
                  select new Measurement<long>(entry.Count, [.. backend.Labels, new("code", entry.Code)]),
            description: "Completed requests, by HTTP status or gRPC code.");
        meter.CreateObservableCounter("kedge_route_requests_total",
            () => from route in telemetry.Routes
                  from entry in route.Codes.All()
                  select new Measurement<long>(entry.Count, [.. route.Labels, new("code", entry.Code)]),
            description: "Completed requests of each named route, by HTTP status or gRPC code.");
        meter.CreateObservableCounter("kedge_proxy_errors_total",
            () => from error in telemetry.Errors
                  select new Measurement<long>(
                      error.Count, new("backend_name", error.Backend), new("type", error.Type)),
            description: "Requests that the proxy answered with an error of its own, by type of error.");
        meter.CreateObservableGauge("kedge_requests_in_flight",
            () => from backend in telemetry.Backends
                  select new Measurement<int>(backend.InFlight, backend.Labels),
            description: "Requests in flight to a backend.");
        meter.CreateObservableCounter("net_conntrack_listener_conn_accepted_total",
            () => from listener in telemetry.Listeners
                  select new Measurement<long>(listener.Accepted, ListenerLabel(listener)),
            description: "Connections accepted by a listener.");
        meter.CreateObservableCounter("net_conntrack_listener_conn_closed_total",
            () => from listener in telemetry.Listeners
                  select new Measurement<long>(listener.Closed, ListenerLabel(listener)),
            description: "Closed connections of a listener.");
        meter.CreateObservableCounter("kedge_connections_aged_total",
            () => from listener in telemetry.Listeners
                  select new Measurement<long>(listener.Aged, ListenerLabel(listener)),
            description: "Connections of a listener that were asked to end because of their age.");
    }

    private static void ProxyProtocol(Meter meter, ProxyProtocolCounters counters) =>
        meter.CreateObservableCounter("kedge_proxy_protocol_connections_total",
            () => from entry in counters.All select new Measurement<long>(entry.Count, Result(entry.Result)),
            description: "Connections that began with a PROXY header, and those closed because of one or its absence.");

    private static KeyValuePair<string, object?> Result(string result) => new("result", result);

    private static void Handshakes(Meter meter, HandshakeFailures failures) =>
        meter.CreateObservableCounter("kedge_tls_handshake_failures_total",
            () => from failure in failures.All
                  select new Measurement<long>(
                      failure.Count, new("listener", failure.Listener.Name()), new("reason", failure.Reason.Label())),
            description: "Failed TLS handshakes of callers.");

    private static void Http(Meter meter, string prefix, string what, HttpMethodTable methods)
    {
        meter.CreateObservableCounter($"{prefix}_started_requests_total",
            () => from method in methods.All select new Measurement<long>(method.Started, HttpLabels(method)),
            description: $"HTTP requests started, {what}.");
        meter.CreateObservableCounter($"{prefix}_completed_requests_total",
            () => from method in methods.All
                  from completed in method.Completed()
                  select new Measurement<long>(
                      completed.Count, [.. HttpLabels(method), new("status", completed.Status.ToString())]),
            description: $"HTTP requests completed, {what}; status 599 = no response.");
    }

    // The Go implementation of kedge has all these labels, and leaves four of them empty.
    private static KeyValuePair<string, object?>[] HttpLabels(HttpMethodCounters method) =>
        [new("name", ""), new("handler", ""), new("host", ""), new("path", ""), new("method", method.Method)];

    private static KeyValuePair<string, object?> ListenerLabel(ListenerCounters listener) =>
        new("listener_name", listener.Name);

    private static void Grpc(Meter meter, string prefix, string what, GrpcMethods methods)
    {
        meter.CreateObservableCounter($"{prefix}_started_total",
            () => from method in methods.All select new Measurement<long>(method.Started, GrpcLabels(method)),
            description: $"gRPC calls started, {what}.");
        meter.CreateObservableCounter($"{prefix}_handled_total",
            () => from method in methods.All
                  from code in Enumerable.Range(0, GrpcStatuses.Count)
                  let count = method.Handled(code)
                  where count > 0
                  select new Measurement<long>(
                      count, [.. GrpcLabels(method), new("grpc_code", GrpcStatuses.NameOf(code))]),
            description: $"gRPC calls completed, {what}.");
        meter.CreateObservableCounter($"{prefix}_msg_received_total",
            () => from method in methods.All select new Measurement<long>(method.Received, GrpcLabels(method)),
            description: $"Messages received, of gRPC calls {what}.");
        meter.CreateObservableCounter($"{prefix}_msg_sent_total",
            () => from method in methods.All select new Measurement<long>(method.Sent, GrpcLabels(method)),
            description: $"Messages sent, of gRPC calls {what}.");
    }

    private static KeyValuePair<string, object?>[] GrpcLabels(GrpcMethodCounters method) =>
        [GrpcType, new("grpc_service", method.Service), new("grpc_method", method.Method)];

    private static void Connections(Meter meter, ProxyTelemetry telemetry, RequestRouter router)
    {
        meter.CreateObservableCounter("net_conntrack_dialer_conn_attempted_total",
            () => from dialer in telemetry.Dialers select new Measurement<long>(dialer.Attempted, DialerLabel(dialer)),
            description: "Connections to a backend that were attempted.");
        meter.CreateObservableCounter("net_conntrack_dialer_conn_established_total",
            () => from dialer in telemetry.Dialers
                  select new Measurement<long>(dialer.Established, DialerLabel(dialer)),
            description: "Connections to a backend that were opened.");
        meter.CreateObservableCounter("net_conntrack_dialer_conn_failed_total",
            () => from dialer in telemetry.Dialers
                  from entry in dialer.Failed()
                  select new Measurement<long>(entry.Count, DialerLabel(dialer), new("reason", entry.Reason)),
            description: "Connections to a backend that could not be opened.");
        meter.CreateObservableCounter("net_conntrack_dialer_conn_closed_total",
            () => from dialer in telemetry.Dialers select new Measurement<long>(dialer.Closed, DialerLabel(dialer)),
            description: "Connections to a backend that were opened and have closed.");
        meter.CreateObservableCounter("kedge_backend_stream_resets_total",
            () => from dialer in telemetry.Dialers
                  from entry in dialer.Resets()
                  select new Measurement<long>(
                      entry.Count, new("backend_name", dialer.Backend), new("code", entry.Code), new("by", entry.By)),
            description: "HTTP/2 streams to a backend that were reset, by the error code.");
        meter.CreateObservableCounter("kedge_backend_goaways_total",
            () => from dialer in telemetry.Dialers
                  from entry in dialer.GoAways()
                  select new Measurement<long>(
                      entry.Count, new("backend_name", dialer.Backend), new("code", entry.Code)),
            description: "HTTP/2 connections that a backend ended, by the error code.");
        meter.CreateObservableGauge("kedge_backend_connections",
            () => from client in router.Clients
                  group client.Count() by client.Protocol into counts
                  from entry in new[]
                  {
                      (State: "idle", Count: counts.Sum(count => count.Idle)),
                      (State: "in_use", Count: counts.Sum(count => count.Open - count.Idle)),
                  }
                  select new Measurement<int>(entry.Count, ProtocolLabel(counts.Key), new("state", entry.State)),
            description: "Open connections to backends.");
        meter.CreateObservableGauge("kedge_backend_streams",
            () => from client in router.Clients
                  group client.Count() by client.Protocol into counts
                  from entry in new[]
                  {
                      (State: "open", Count: counts.Sum(count => count.Streams)),
                      (State: "waiting", Count: counts.Sum(count => count.Waiting)),
                  }
                  select new Measurement<int>(entry.Count, ProtocolLabel(counts.Key), new("state", entry.State)),
            description: "Requests on connections to backends (open), and requests that wait for one (waiting).");
    }

    private static KeyValuePair<string, object?> DialerLabel(DialerCounters dialer) => new("dialer_name", dialer.Name);

    private static KeyValuePair<string, object?> ProtocolLabel(Protocol protocol) =>
        new("protocol", protocol.Section);

    private static void Retries(Meter meter, ProxyTelemetry telemetry, RequestRouter router)
    {
        meter.CreateObservableCounter("kedge_retries_total",
            () => from retry in telemetry.Retries
                  select new Measurement<long>(
                      retry.Count,
                      new("backend_name", retry.Backend),
                      new("reason", retry.Reason),
                      new("outcome", retry.Outcome)),
            description: "Requests sent again because of the policy of their route, and those that were not.");
        meter.CreateObservableGauge("kedge_retry_budget_tokens",
            () => from backend in router.LiveBackends
                  where backend.Budget.IsUsed
                  select new Measurement<double>(backend.Budget.Tokens, backend.Counters.Labels),
            description: "How many retries the budget of a backend allows at once.");
    }

    private static void Endpoints(Meter meter, RequestRouter router)
    {
        meter.CreateObservableGauge("kedge_adhoc_lookups", () => router.AdhocLookups,
            description: "Ad-hoc names that are being looked up.");
        meter.CreateObservableGauge("kedge_adhoc_answers", () => router.AdhocAnswers,
            description: "Ad-hoc names that are kept with their addresses.");
        var readiness = new EndpointReadiness(router);
        meter.CreateObservableGauge("kedge_backend_endpoints",
            () => router.LiveBackends.SelectMany(backend =>
            {
                var now = Clock.Now;
                var all = backend.Endpoints;
                var available = all.Endpoints.Count(endpoint => endpoint.Health.IsAvailable(now));
                var aside = all.Endpoints.Length - available;
                var (ready, terminating) = all.AreTerminating ? (0, available) : (available, 0);
                return new[]
                {
                    new Measurement<int>(ready, [.. backend.Counters.Labels, new("state", "ready")]),
                    new Measurement<int>(aside, [.. backend.Counters.Labels, new("state", "aside")]),
                    new Measurement<int>(terminating, [.. backend.Counters.Labels, new("state", "terminating")]),
                };
            }),
            description: "Endpoints of a backend that get requests (ready), are left out for a while (aside), or get "
                + "requests while they terminate, because none is ready (terminating).");
        meter.CreateObservableGauge("kedge_backend_endpoint_ready", readiness.Measure,
            description: "1 = an endpoint gets requests, 0 = it is left out or gone.");
        meter.CreateObservableGauge("kedge_backend_resolution_age_seconds",
            () => from backend in router.LiveBackends
                  where backend.ResolvedAt is not null
                  let age = DateTimeOffset.UtcNow - backend.ResolvedAt!.Value
                  select new Measurement<double>(age.TotalSeconds, backend.Counters.Labels),
            description: "Time since the endpoints of a backend were last confirmed.");
        meter.CreateObservableGauge("kedge_backend_resolution_failing",
            () => from backend in router.LiveBackends
                  select new Measurement<int>(backend.LastError is null ? 0 : 1, backend.Counters.Labels),
            description: "1 = the last lookup of a backend's endpoints failed.");
    }

    private static void Configuration(Meter meter, ConfigurationStore store)
    {
        meter.CreateObservableGauge("kedge_configuration_generation", () => store.Status.Generation,
            description: "Number of the active configuration, counted from 1.");
        meter.CreateObservableCounter("kedge_configuration_reload_failures_total", () => store.Status.Rejected,
            description: "Configuration changes that were rejected.");
        meter.CreateObservableGauge("kedge_configuration_refused", () => store.Status.Errors.Count > 0 ? 1 : 0,
            description: "1 = the files hold an invalid configuration; an earlier one is active.");
        meter.CreateObservableGauge("kedge_configuration_applied_timestamp_seconds",
            () => store.Status.Since.ToUnixTimeSeconds(),
            description: "When the active configuration became active.");
    }

    private static void Certificates(Meter meter, CertificateStore certificates)
    {
        meter.CreateObservableGauge("kedge_certificate_expiry_timestamp_seconds",
            () => from certificate in certificates.InUse
                  select new Measurement<long>(
                      certificate.Identity.Facts.NotAfter.ToUnixTimeSeconds(),
                      new KeyValuePair<string, object?>("certificate", certificate.Name)),
            description: "When a certificate of the server expires.");
        meter.CreateObservableGauge("kedge_certificates",
            () => from entry in CertificateStates.Count(certificates)
                  select new Measurement<int>(
                      entry.Count, new("source", entry.Source), new("state", entry.State)),
            description: "Certificates that are used (serving), are used for none of their names (unused), or are "
                + "invalid (quarantined).");
        meter.CreateObservableCounter("kedge_tls_handshakes_total",
            () => from certificate in certificates.InUse
                  from entry in certificate.Handshakes.All
                  select new Measurement<long>(
                      entry.Count, new("certificate", certificate.Name), new("version", entry.Version)),
            description: "TLS handshakes of callers that succeeded.");
        meter.CreateObservableGauge("kedge_client_ca_expiry_timestamp_seconds",
            () => FirstEnd(certificates.Current.Demands.Authorities),
            description: "When the first of the client CA certificates expires.");
        meter.CreateObservableCounter("kedge_certificate_reload_failures_total", () => certificates.Rejected,
            description: "Changes of certificate files that were rejected.");
    }

    /// <summary>The earliest expiry; no value without certificates.</summary>
    private static IEnumerable<Measurement<long>> FirstEnd(X509Certificate2Collection certificates)
    {
        if (certificates.Count > 0)
        {
            yield return new(
                new DateTimeOffset(certificates.Min(static certificate => certificate.NotAfter)).ToUnixTimeSeconds());
        }
    }
}
