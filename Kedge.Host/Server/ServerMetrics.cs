using System.Diagnostics.Metrics;
using System.Security.Cryptography.X509Certificates;
using Kedge.Host.Backends;
using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Http;
using Kedge.Host.Listeners;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Server;

/// <summary>
/// The metrics that are read off the server when somebody asks. Names and labels of the original proxy's metrics are kept:
/// SPEC section 9.
/// </summary>
public static class ServerMetrics
{
    // To a proxy every call is a stream of messages both ways; the original said so, too.
    private static readonly KeyValuePair<string, object?> GrpcType = new("grpc_type", "bidi_stream");

    public static void Register(
        ProxyTelemetry telemetry, RequestRouter router, ConfigurationStore store, CertificateStore? certificates, Func<long> droppedLogLines)
    {
        var meter = telemetry.Meter;
        Requests(meter, telemetry);
        Grpc(meter, "grpc_server", "answered by the proxy", telemetry.GrpcServer);
        Grpc(meter, "grpc_client", "sent to backends with the prometheus interceptor", telemetry.GrpcClient);
        Endpoints(meter, router);
        Configuration(meter, store);
        if (certificates is not null)
        {
            Certificates(meter, certificates);
        }
        meter.CreateObservableCounter("kedge_log_lines_dropped_total", droppedLogLines,
            description: "Log lines for which there was no room, on standard error or for logstash.");
        meter.CreateObservableGauge("kedge_build_info", () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", BuildInfo.Version)),
            description: "What runs here.");
    }

    /// <summary>The bound on callers' connections that the limit on open files sets.</summary>
    public static void Connections(Meter meter, ConnectionGate gate)
    {
        meter.CreateObservableGauge("kedge_connections_limit", () => gate.Limit,
            description: "How many connections callers can have open, on both proxy listeners together.");
        meter.CreateObservableGauge("kedge_connections_open", () => gate.Open,
            description: "Connections of callers that are open, on both proxy listeners together.");
        meter.CreateObservableCounter("kedge_connections_evicted_total", () => gate.Evicted,
            description: "Idle connections of callers that were closed to make room for new ones.");
    }

    private static void Requests(Meter meter, ProxyTelemetry telemetry)
    {
        meter.CreateObservableCounter("kedge_requests_total",
            () => from backend in telemetry.Backends
                  from entry in backend.Codes()
                  select new Measurement<long>(entry.Count, [.. backend.Labels, new("code", entry.Code)]),
            description: "Requests that are over, by the HTTP status or gRPC code of their answer.");
        meter.CreateObservableCounter("kedge_proxy_errors_total",
            () => from error in telemetry.Errors
                  select new Measurement<long>(error.Count, new("backend_name", error.Backend), new("type", error.Type)),
            description: "Requests that the proxy failed, by the type of the error.");
        meter.CreateObservableGauge("kedge_requests_in_flight",
            () => from backend in telemetry.Backends
                  select new Measurement<int>(backend.InFlight, backend.Labels),
            description: "Requests under way at a backend.");
        meter.CreateObservableCounter("net_conntrack_listener_conn_accepted_total",
            () => from listener in telemetry.Listeners select new Measurement<long>(listener.Accepted, ListenerLabel(listener)),
            description: "Connections that a listener accepted.");
        meter.CreateObservableCounter("net_conntrack_listener_conn_closed_total",
            () => from listener in telemetry.Listeners select new Measurement<long>(listener.Closed, ListenerLabel(listener)),
            description: "Connections of a listener that are closed.");
    }

    private static KeyValuePair<string, object?> ListenerLabel(ListenerCounters listener) => new("listener_name", listener.Name);

    private static void Grpc(Meter meter, string prefix, string what, GrpcMethods methods)
    {
        meter.CreateObservableCounter($"{prefix}_started_total",
            () => from method in methods.All select new Measurement<long>(method.Started, GrpcLabels(method)),
            description: $"gRPC calls that began, {what}.");
        meter.CreateObservableCounter($"{prefix}_handled_total",
            () => from method in methods.All
                  from code in Enumerable.Range(0, GrpcStatuses.Count)
                  let count = method.Handled(code)
                  where count > 0
                  select new Measurement<long>(count, [.. GrpcLabels(method), new("grpc_code", GrpcStatuses.NameOf(code))]),
            description: $"gRPC calls that are over, {what}.");
    }

    private static KeyValuePair<string, object?>[] GrpcLabels(GrpcMethodCounters method) =>
        [GrpcType, new("grpc_service", method.Service), new("grpc_method", method.Method)];

    private static void Endpoints(Meter meter, RequestRouter router)
    {
        var readiness = new EndpointReadiness(router);
        meter.CreateObservableGauge("kedge_backend_endpoints",
            () => router.LiveBackends.SelectMany(backend =>
            {
                var now = Clock.Now;
                var all = backend.Endpoints.Endpoints;
                var ready = all.Count(endpoint => endpoint.Health.IsAvailable(now));
                return new[]
                {
                    new Measurement<int>(ready, [.. backend.Counters.Labels, new("state", "ready")]),
                    new Measurement<int>(all.Length - ready, [.. backend.Counters.Labels, new("state", "aside")]),
                };
            }),
            description: "Endpoints of a backend that get requests (ready), and that are left out for a while (aside).");
        meter.CreateObservableGauge("kedge_backend_endpoint_ready", readiness.Measure,
            description: "Whether an endpoint gets requests: 1 = it does, 0 = it is left out, or gone.");
        meter.CreateObservableGauge("kedge_backend_resolution_age_seconds",
            () => from backend in router.LiveBackends
                  where backend.ResolvedAt is not null
                  select new Measurement<double>((DateTimeOffset.UtcNow - backend.ResolvedAt!.Value).TotalSeconds, backend.Counters.Labels),
            description: "Time since the endpoints of a backend were confirmed.");
        meter.CreateObservableGauge("kedge_backend_resolution_failing",
            () => from backend in router.LiveBackends
                  select new Measurement<int>(backend.LastError is null ? 0 : 1, backend.Counters.Labels),
            description: "1 = the last look-up of a backend's endpoints failed.");
    }

    private static void Configuration(Meter meter, ConfigurationStore store)
    {
        meter.CreateObservableGauge("kedge_configuration_generation", () => store.Standing.Generation,
            description: "Counts the configurations that came into force.");
        meter.CreateObservableCounter("kedge_configuration_reload_failures_total", () => store.Standing.Refused,
            description: "Changed configurations that were refused.");
        meter.CreateObservableGauge("kedge_configuration_refused", () => store.Standing.Errors.Count > 0 ? 1 : 0,
            description: "1 = the files hold a configuration that is refused; an earlier one serves.");
        meter.CreateObservableGauge("kedge_configuration_applied_timestamp_seconds", () => store.Standing.Since.ToUnixTimeSeconds(),
            description: "When the configuration in force came into force.");
    }

    private static void Certificates(Meter meter, CertificateStore certificates)
    {
        meter.CreateObservableGauge("kedge_certificate_expiry_timestamp_seconds",
            () => new DateTimeOffset(certificates.Current.Certificate.NotAfter).ToUnixTimeSeconds(),
            description: "When the server's certificate expires.");
        meter.CreateObservableGauge("kedge_client_ca_expiry_timestamp_seconds",
            () => FirstEnd(certificates.Current.ClientAuthorities),
            description: "When the first of the certificates that clients must chain to expires.");
        meter.CreateObservableCounter("kedge_certificate_reload_failures_total", () => certificates.Refused,
            description: "Changed certificate files that were refused.");
    }

    /// <summary>No value without certificates.</summary>
    private static IEnumerable<Measurement<long>> FirstEnd(X509Certificate2Collection certificates)
    {
        if (certificates.Count > 0)
        {
            yield return new(new DateTimeOffset(certificates.Min(static certificate => certificate.NotAfter)).ToUnixTimeSeconds());
        }
    }
}

/// <summary>
/// The state of each endpoint. A metric keeps the last value of a series for good, so one that goes is told once more to be
/// not ready, to everyone who reads within some minutes.
/// </summary>
internal sealed class EndpointReadiness(RequestRouter router)
{
    private const int MostGone = 1000;
    private static readonly TimeSpan Remembered = TimeSpan.FromMinutes(5);

    private readonly Lock _lock = new();
    private Dictionary<(BackendCounters, string), DateTime> _known = [];

    public IEnumerable<Measurement<int>> Measure()
    {
        var clock = Clock.Now;
        var now = DateTime.UtcNow;
        var measurements = new List<Measurement<int>>();
        var known = new Dictionary<(BackendCounters, string), DateTime>();
        foreach (var backend in router.LiveBackends)
        {
            foreach (var endpoint in backend.Endpoints.Endpoints)
            {
                var address = endpoint.Name;
                known[(backend.Counters, address)] = now;
                measurements.Add(Of(backend.Counters, address, endpoint.Health.IsAvailable(clock) ? 1 : 0));
            }
        }
        lock (_lock)
        {
            var gone = _known.Where(entry => !known.ContainsKey(entry.Key) && now - entry.Value < Remembered).Take(MostGone).ToArray();
            foreach (var (key, lastSeen) in gone)
            {
                known[key] = lastSeen;
                measurements.Add(Of(key.Item1, key.Item2, 0));
            }
            _known = known;
        }
        return measurements;
    }

    private static Measurement<int> Of(BackendCounters backend, string address, int value) =>
        new(value, [.. backend.Labels, new("endpoint", address)]);
}
