using Kedge.Domain;
using Kedge.Host.Telemetry;
using Kedge.Pages;
using Listener = Kedge.Domain.Decoded.Listener;

namespace Kedge.Host.Debug;

/// <summary>
/// Where a request would go: <c>?method=&amp;url=</c>, and <c>headers</c> (<c>name: value; name: value</c>),
/// <c>grpc</c>, <c>forward</c>. With <c>?request=</c> and the ID of a recent request: where that request went,
/// according to the configuration that routed it.
/// </summary>
public sealed class ExplainPage(DebugFacts facts) : IDebugPage
{
    private const StringSplitOptions Tidy = StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries;

    public string Path => "/debug/explain";

    public Task AnswerAsync(HttpContext context)
    {
        var query = context.Request.Query;
        if (query["request"].ToString() is not { Length: > 0 } id)
        {
            return PageResponse.ViewAsync(context, View(query), ExplainHtml.render);
        }
        if (facts.Telemetry.Requests.Latest().FirstOrDefault(record => record.RequestId == id) is not { } record)
        {
            return PageResponse.TextAsync(
                context,
                StatusCodes.Status404NotFound,
                $"request {Excerpt.ofText(id)} is not among the latest {ProxyTelemetry.KeptRequests} requests");
        }
        return PageResponse.ViewAsync(context, ServedRequest.View(facts, record), ExplainHtml.render);
    }

    private ExplainView View(IQueryCollection query)
    {
        var method = query["method"].ToString() is { Length: > 0 } given ? given : "GET";
        var url = query["url"].ToString();
        var headers = query["headers"].ToString();
        var grpc = PageResponse.IsOn(query, "grpc");
        var forward = PageResponse.IsOn(query, "forward");
        var (verdict, tone, lines) = url.Length == 0
            ? ("", Tone.Quiet, [])
            : Explain(method, url, headers.Split(';', Tidy), grpc, forward);
        return new ExplainView(facts.Server, method, url, headers, grpc, forward, verdict, tone, "", lines);
    }

    private (string Verdict, Tone Tone, string[] Lines) Explain(
        string method, string url, string[] headers, bool grpc, bool forward)
    {
        if (RequestText.tryParse(method, url, headers, grpc, forward, Listener.Tls, out var error) is not { } request)
        {
            return (error, Tone.Bad, []);
        }
        var report = ExplainReport.Of(facts.Store.Current, request);
        var (verdict, tone) = Verdict(report);
        return (verdict, tone, [.. report.Lines]);
    }

    /// <summary>What happens to the request, in one sentence.</summary>
    internal static (string Text, Tone Tone) Verdict(ExplainReport report)
    {
        string[] lines = [.. report.Lines];
        return report.Winner switch
        {
            { Action.Backends.IsEmpty: true } => (lines[^2], Tone.Good),
            { Split: not null } winner => (
                $"goes to one of {winner.ActionText}", report.BackendKnown ? Tone.Good : Tone.Bad),
            { } winner when report.BackendKnown => ($"goes to backend {winner.BackendName}", Tone.Good),
            { } winner => ($"goes to backend {winner.BackendName}, which does not exist: no-backend", Tone.Bad),
            _ => (lines.Length > 0 ? lines[^1] : "no route", Tone.Warning),
        };
    }
}
