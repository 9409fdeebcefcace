using Kedge.Host.Flags;
using Kedge.Pages;

namespace Kedge.Host.Commands;

/// <summary>Shows the traffic of a running kedge, refreshed like Unix <c>top</c>.</summary>
public sealed class TopCommand : ICommand
{
    private static readonly Flag<Uri?> From = new()
    {
        Name = "from",
        Group = FlagGroup.Command,
        Type = FlagTypes.Url,
        Default = new Uri("http://localhost:8080"),
        Help = "the debug port of the kedge to watch",
    };

    private static readonly Flag<TimeSpan> Interval = new()
    {
        Name = "interval",
        Group = FlagGroup.Command,
        Type = FlagTypes.Duration,
        Default = TimeSpan.FromSeconds(2),
        Help = "time between two refreshes, at least 100ms",
    };

    private static readonly Flag<int> Count = new()
    {
        Name = "count",
        Group = FlagGroup.Command,
        Type = FlagTypes.Count,
        Default = 0,
        Help = "ends after showing the traffic this many times; 0 = runs until Ctrl-C",
    };

    private static readonly Flag<int> Rows = new()
    {
        Name = "rows",
        Group = FlagGroup.Command,
        Type = FlagTypes.AtLeast(1),
        Default = 15,
        Help = "maximum number of backends and of routes, those with the most traffic first",
    };

    private const string Page = "/debug/status";

    private static readonly TimeSpan ShortestInterval = TimeSpan.FromMilliseconds(100);

    public string Name => "top";

    public string Summary => "shows the traffic of a running kedge by backend and route, and refreshes it";

    public string Notes =>
        "Rates are averages since the previous refresh; p50 and p99 cover the last ten seconds. "
        + "On a terminal each refresh replaces the previous text; in a pipe it follows that text. "
        + "Exits with 1 if the debug port of kedge does not answer.";

    public IReadOnlyList<string> Examples =>
    [
        "kedge top",
        "kedge top --from=http://10.1.2.3:8080 --count=2 | tail -n 30",
    ];

    public IEnumerable<Flag> Flags => [From, Interval, Count, Rows, DebugPortClient.TokenFile];

    public async Task<int> RunAsync(Invocation invocation)
    {
        var flags = invocation.Flags;
        var interval = flags.Get(Interval);
        List<string> errors = [];
        if (interval < ShortestInterval)
        {
            errors.Add($"{Interval}: must be at least 100ms");
        }
        if (flags.Get(From) is not { } from)
        {
            errors.Add($"{From}: is missing");
            return invocation.Refuse(errors);
        }
        using var port = await DebugPortClient.OpenAsync(from, flags, errors);
        return errors.Count > 0
            ? invocation.Refuse(errors)
            : await WatchAsync(invocation, port, interval);
    }

    private static async Task<int> WatchAsync(Invocation invocation, DebugPortClient port, TimeSpan interval)
    {
        using var signal = new ShutdownSignal();
        var rows = invocation.Flags.Get(Rows);
        var pictures = invocation.Flags.Get(Count);
        StatusView? before = null;
        for (var picture = 1; ; picture++)
        {
            var (status, problem) = await port.AskAsync<StatusView>(Page);
            if (status is null)
            {
                if (before is null)
                {
                    invocation.Error.WriteLine($"kedge: {port.UrlOf(Page)}: {problem}");
                    return ExitCodes.Failure;
                }
                invocation.Output.WriteLine($"{port.UrlOf(Page)}: {problem}; asking again");
            }
            else
            {
                var text = TopText.Of(status, before, rows, invocation.Paint);
                // One write, so that a picture never appears in parts: move the cursor home, write the picture, and
                // erase the rest of the previous one.
                invocation.Output.Write(
                    invocation.Colours
                        ? $"\u001b[H{text.Replace("\n", "\u001b[K\n", StringComparison.Ordinal)}\u001b[J"
                        : (before is null ? text : "\n" + text));
                before = status;
            }
            invocation.Output.Flush();
            if (picture == pictures
                || await Task.WhenAny(signal.Requested, Task.Delay(interval)) == signal.Requested)
            {
                return ExitCodes.Success;
            }
        }
    }
}
