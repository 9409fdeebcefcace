using System.Diagnostics;
using Kedge.Host.Telemetry;
using Kedge.Pages;
using GrpcStatuses = Kedge.Host.Http.GrpcStatuses;

namespace Kedge.Host.Debug;

/// <summary>Recent requests as the pages show them.</summary>
internal static class RequestViews
{
    public static RecentRequestView Of(RequestRecord record) => new(
        new DateTimeOffset(record.At),
        record.RequestId,
        record.Describe(),
        ExplainLink(record),
        record.Protocol.IsGrpc ? GrpcStatuses.NameOf(record.Status) : record.Status.ToString(),
        ToneOf(record),
        record.Rule?.Info.Title ?? "",
        record.BackendName,
        record.Endpoints,
        record.Attempts,
        record.FirstByte == 0 ? 0 : Stopwatch.GetElapsedTime(record.Started, record.FirstByte).TotalMilliseconds,
        record.Total.TotalMilliseconds,
        record.Failure?.Type ?? (record.CallerLeft ? "the caller left" : ""));

    /// <summary>The page that explains where the request went.</summary>
    private static string ExplainLink(RequestRecord record) =>
        $"/debug/explain?request={Uri.EscapeDataString(record.RequestId)}";

    private static Tone ToneOf(RequestRecord record) => record switch
    {
        { Failure: not null } => Tone.Bad,
        { CallerLeft: true } => Tone.Quiet,
        { Protocol.IsGrpc: true, Status: not 0 } or { Protocol.IsGrpc: false, Status: >= 500 } => Tone.Warning,
        _ => Tone.Good,
    };
}
