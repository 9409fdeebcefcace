using System.Diagnostics;
using Kedge.Host.Telemetry;
using Kedge.Pages;
using GrpcStatuses = Kedge.Host.Http.GrpcStatuses;

namespace Kedge.Host.Debug;

/// <summary>The latest requests, with their timings.</summary>
public sealed class RequestsPage(DebugFacts facts) : IDebugPage
{
    public string Path => "/debug/requests";

    public Task AnswerAsync(HttpContext context) => PageResponse.ViewAsync(
        context,
        new RequestsView(facts.Server, [.. facts.Telemetry.Requests.Latest().Select(RequestOf)]),
        Pages.RequestsPage.render);

    private static RequestView RequestOf(RequestRecord record) => new(
        new DateTimeOffset(record.At),
        record.RequestId,
        record.Describe(),
        record.IsGrpc ? GrpcStatuses.NameOf(record.Status) : record.Status.ToString(),
        record.Failure is not null ? Tone.Bad
            : record.CallerLeft ? Tone.Quiet
            : (record.IsGrpc ? record.Status != 0 : record.Status >= 500) ? Tone.Warning
            : Tone.Good,
        record.Rule?.Info.Rule ?? "",
        record.BackendName,
        record.Endpoint ?? "",
        record.Attempts,
        record.FirstByte == 0 ? 0 : Stopwatch.GetElapsedTime(record.Started, record.FirstByte).TotalMilliseconds,
        record.Total.TotalMilliseconds,
        record.Failure?.Type ?? (record.CallerLeft ? "the caller left" : ""));
}
