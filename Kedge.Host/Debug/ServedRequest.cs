using System.Globalization;
using Kedge.Domain;
using Kedge.Host.Telemetry;
using Kedge.Pages;
using Microsoft.Extensions.Primitives;
using GrpcStatuses = Kedge.Host.Http.GrpcStatuses;
using Listener = Kedge.Domain.Decoded.Listener;

namespace Kedge.Host.Debug;

/// <summary>Explains a request that was served, according to the configuration that routed it.</summary>
internal static class ServedRequest
{
    public static ExplainView View(DebugFacts facts, RequestRecord record)
    {
        var isGrpc = record.Protocol.IsGrpc;
        var isForward = record.Form == RequestForm.Absolute;
        // For routes, a WebSocket over HTTP/2 counts as a GET, as it is over HTTP/1.1 (RFC 8441).
        var method = record.Method == HttpMethods.Connect && record.Form != RequestForm.Tunnel
            ? HttpMethods.Get
            : record.Method;
        string[] headers = [];
        var url = UrlOf(record, "");
        var (verdict, tone, lines) = Explain();
        return new ExplainView(
            facts.Server, method, url, string.Join("; ", headers), isGrpc, isForward, verdict, tone, record.RequestId,
            [.. Facts(record), .. lines]);

        (string Verdict, Tone Tone, IEnumerable<string> Lines) Explain()
        {
            if (record.RoutedBy is not { } weak)
            {
                return ($"answered before it was routed: {record.Failure?.Type}", Tone.Bad, []);
            }
            if (record.Form == RequestForm.Tunnel)
            {
                return (
                    $"a tunnel that {record.Rule?.Info.Title ?? "no rule"} admits",
                    record.Rule is null ? Tone.Warning : Tone.Good,
                    ["Only ad-hoc rules decide about tunnels; routes are not asked."]);
            }
            if (!weak.TryGetTarget(out var configuration) || facts.Store.NumberOf(configuration) is not { } number)
            {
                return (
                    "the configuration that routed it is no longer kept",
                    Tone.Warning,
                    [$"Several newer ones followed; configuration {facts.Store.Status.Generation} is active."]);
            }
            var names = configuration.MatchedNames;
            headers = [.. HeadersOf(record, names)];
            url = UrlOf(record, names.QueryOf(record.ConditionQuery.TrimStart('?')));
            var listener = record.IsPlain ? Listener.Plain : Listener.Tls;
            if (RequestText.tryParse(method, url, headers, isGrpc, isForward, listener, out var error)
                is not { } request)
            {
                return (error, Tone.Bad, []);
            }
            var report = ExplainReport.Of(configuration, request);
            var (text, color) = ExplainPage.Verdict(report);
            var isActive = number == facts.Store.Status.Generation;
            return (
                text,
                color,
                [
                    $"routed by configuration {number}, {(isActive ? "which is active" : "which has been replaced")}",
                    .. report.Lines,
                    .. Doubt(record, report),
                ]);
        }
    }

    /// <summary>What happened to the request.</summary>
    private static IEnumerable<string> Facts(RequestRecord record)
    {
        var at = new DateTimeOffset(record.At).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var status = record.Protocol.IsGrpc ? GrpcStatuses.NameOf(record.Status) : $"{record.Status}";
        var milliseconds = record.Total.TotalMilliseconds.ToString("0.0", CultureInfo.InvariantCulture);
        yield return $"{record.Describe()} at {at}: {status} after {milliseconds} ms";
        if (record.Failure is { } failure)
        {
            yield return $"answered by kedge itself: {failure.Type}";
        }
        if (record.Endpoints.Length > 0)
        {
            yield return $"sent to backend {record.BackendName} at {record.Endpoints}, attempts: {record.Attempts}";
        }
    }

    /// <summary>Headers with credentials are not recorded, so the explanation can differ.</summary>
    private static IEnumerable<string> Doubt(RequestRecord record, ExplainReport report) =>
        record.Rule?.Info is { } taken && report.Winner?.Title != taken.Title
            ? [
                $"note: {taken.Title} took the request. Values of Authorization, Proxy-Authorization and Cookie are "
                    + "not recorded, so the conditions on them cannot be explained."
            ]
            : [];

    private static string UrlOf(RequestRecord record, string query) =>
        // A request to a forward proxy has the port of its scheme.
        (record.IsPlain || (record.Form == RequestForm.Absolute && !record.IsHttpsTarget) ? "http://" : "https://")
        + record.Authority
        + (record.Path == "*" ? "/*" : record.Path)
        + (query.Length > 0 ? "?" + query : "");

    private static IEnumerable<string> HeadersOf(RequestRecord record, MatchedNames names) =>
        from pair in names.Headers.Zip(record.ConditionHeaders ?? Enumerable.Empty<StringValues>())
        from value in pair.Second
        select $"{pair.First}: {value}";
}
