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
        RequestsHtml.render);

    private static Tone ToneOf(RequestRecord record) => record switch
    {
        { Failure: not null } => Tone.Bad,
        { CallerLeft: true } => Tone.Quiet,
        { Protocol.IsGrpc: true, Status: not 0 } or { Protocol.IsGrpc: false, Status: >= 500 } => Tone.Warning,
        _ => Tone.Good,
    };

    private static RecentRequestView RequestOf(RequestRecord record) => new(
        new DateTimeOffset(record.At),
        record.RequestId,
        record.Describe(),
        record.Protocol.IsGrpc ? GrpcStatuses.NameOf(record.Status) : record.Status.ToString(),
        ToneOf(record),
        record.Rule?.Info.Title ?? "",
        record.BackendName,
        record.Endpoint ?? "",
        record.Attempts,
        record.FirstByte == 0 ? 0 : Stopwatch.GetElapsedTime(record.Started, record.FirstByte).TotalMilliseconds,
        record.Total.TotalMilliseconds,
        record.Failure?.Type ?? (record.CallerLeft ? "the caller left" : ""));
}
