using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>What became of a copy of a request.</summary>
public enum MirrorResult
{
    /// <summary>An endpoint responded to it.</summary>
    Sent,

    /// <summary>The body of the request is larger than a copy may be.</summary>
    BodyTooLarge,

    /// <summary>Too many copies were in flight, or too many requests at the backend.</summary>
    Busy,

    /// <summary>
    /// There was no endpoint, or it did not respond in time, or the request itself did not arrive in full.
    /// </summary>
    Failed,
}

/// <summary>
/// The copies of requests for one backend, both in flight and ended. Lives as long as the process, so
/// that the bound on copies in flight holds across changes of the configuration.
/// </summary>
public sealed class MirrorCounters(string backend)
{
    /// <summary>The maximum number of copies in flight.</summary>
    public const int MaxInFlight = 100;

    private static readonly MirrorResult[] Results = Enum.GetValues<MirrorResult>();

    private readonly long[] _results = new long[Results.Length];
    private int _inFlight;
    private long _tickets;

    public string Backend => backend;

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>The number of copies with each result, which is a label.</summary>
    public IEnumerable<(string Result, long Count)> All() =>
        Results.Select(result => (LabelOf(result), Volatile.Read(ref _results[(int)result])));

    /// <summary>Counts a copy as in flight; false when there are too many.</summary>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref _inFlight) <= MaxInFlight)
        {
            return true;
        }
        Interlocked.Decrement(ref _inFlight);
        return false;
    }

    /// <summary>Ends a copy that entered.</summary>
    public void Leave() => Interlocked.Decrement(ref _inFlight);

    public void Count(MirrorResult result) => Interlocked.Increment(ref _results[(int)result]);

    /// <summary>
    /// Decides which endpoint the balancer picks. Not the backend's own counter: copies must not change which endpoint
    /// its requests get.
    /// </summary>
    public ulong NextTicket() => (ulong)Interlocked.Increment(ref _tickets);

    private static string LabelOf(MirrorResult result) => result switch
    {
        MirrorResult.Sent => "sent",
        MirrorResult.BodyTooLarge => "body_too_large",
        MirrorResult.Busy => "busy",
        _ => "failed",
    };
}

/// <summary>How often the mirrors of a named route responded with the status that the caller got.</summary>
public sealed class MirrorAgreement(Protocol protocol, string route)
{
    private long _same;
    private long _different;

    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", protocol.Section), new("route", route)];

    public long Same => Volatile.Read(ref _same);

    public long Different => Volatile.Read(ref _different);

    public void Count(bool isSame) => Interlocked.Increment(ref isSame ? ref _same : ref _different);
}
