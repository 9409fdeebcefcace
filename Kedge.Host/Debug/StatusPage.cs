using Kedge.Host.Backends;
using Kedge.Host.Configurations;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Pages;
using Resolver = Kedge.Domain.Decoded.Resolver;

namespace Kedge.Host.Debug;

/// <summary>What kedge is doing right now: routes, backends, configuration, failures.</summary>
public sealed class StatusPage(DebugFacts facts) : IDebugPage
{
    public string Path => "/debug/status";

    public Task AnswerAsync(HttpContext context) => PageResponse.ViewAsync(context, View(), StatusHtml.render);

    private StatusView View()
    {
        var serving = facts.Router.Serving;
        var status = facts.Store.Status;
        return new StatusView(
            facts.Server,
            status.Generation,
            status.Since,
            [.. status.Errors],
            facts.Telemetry.Total,
            facts.Telemetry.Failed,
            facts.Telemetry.Errors.Where(error => LocalReply.IsCallersMistake(error.Type)).Sum(error => error.Count),
            facts.Telemetry.InFlight,
            TrafficViews.Of(facts.History.All),
            [.. RouteViews.Of(serving.Routes)],
            [.. RouteViews.Of(serving.AdhocRules)],
            [.. facts.Router.LiveBackends.Select(BackendOf)],
            [.. status.Attempts.Select(GenerationOf)],
            [.. facts.Discovery is { } discovery ? ClusterViews.Notices(discovery) : []],
            [.. facts.Certificates is { } certificates ? CertificateViews.Of(certificates, DateTimeOffset.UtcNow) : []],
            [.. ClusterViews.Watches(facts.Cluster)],
            [.. facts.Telemetry.Failures.Latest().Select(FailureOf)]);
    }

    private static GenerationView GenerationOf(ConfigurationAttempt attempt) =>
        new(attempt.Number, attempt.At, attempt.Source, attempt.IsAccepted, [.. attempt.Lines]);

    private BackendView BackendOf(Backend backend)
    {
        var now = Clock.Now;
        var set = backend.Endpoints;
        var endpoints = set.Endpoints;
        var ready = endpoints.Count(endpoint => endpoint.Health.IsAvailable(now));
        return new BackendView(
            backend.Protocol.Section,
            backend.Name,
            backend.Info.Balancer.ToString(),
            Target(backend.Info.Resolver),
            backend.Info.Tls switch
            {
                null => "plain text",
                { InsecureSkipVerify: true } => "TLS, not verified",
                _ => "TLS",
            },
            ToneOf(backend, ready, endpoints.Length),
            backend.ResolvedAt,
            backend.LastError ?? "",
            backend.Counters.Traffic.ByDuration().Sum(),
            backend.Counters.Traffic.Errors,
            TrafficViews.Of(facts.History.Of(backend.Counters)),
            [.. endpoints.Select(endpoint => EndpointOf(endpoint, set.AreTerminating, now))]);
    }

    private static Tone ToneOf(Backend backend, int ready, int all)
    {
        if (backend.LastError is null && !backend.FirstOutcome.IsCompleted)
        {
            return Tone.Quiet;
        }
        return ready == 0 ? Tone.Bad
            : ready < all || backend.LastError is not null ? Tone.Warning
            : Tone.Good;
    }

    private static string Target(Resolver resolver) => resolver switch
    {
        Resolver.Host host => $"host {host.dnsName}:{host.port}",
        Resolver.Srv srv => $"srv {srv.dnsName}",
        Resolver.K8s k8s => $"k8s {k8s.dnsPortName}",
        _ => "",
    };

    private static EndpointView EndpointOf(Backends.Endpoint endpoint, bool isTerminating, long now)
    {
        var health = endpoint.Health;
        var left = TimeSpan.FromTicks(Math.Max(0, Math.Max(health.BackoffUntil, health.EjectedUntil) - now));
        var (state, tone) = health switch
        {
            _ when health.IsAvailable(now) => isTerminating ? ("terminating", Tone.Warning) : ("ready", Tone.Good),
            { IsUnhealthy: true } => ("unhealthy", Tone.Bad),
            _ when health.IsEjected(now) => ($"ejected for {left.TotalSeconds:F1} s", Tone.Warning),
            _ => ($"in backoff for {left.TotalSeconds:F1} s", Tone.Warning),
        };
        return new EndpointView(
            endpoint.Name, state, tone, endpoint.InFlight, endpoint.Requests, endpoint.Failures);
    }

    private static FailureView FailureOf(RequestRecord record) => new(
        new DateTimeOffset(record.At),
        record.RequestId,
        record.Describe(),
        record.Rule?.Info.Title ?? "",
        record.BackendName,
        record.Endpoint ?? "",
        record.Failure!.Type,
        record.Failure.Reason);
}
