using System.Globalization;
using System.Text;
using Kedge.Pages;

namespace Kedge.Host.Commands;

/// <summary>One picture of <c>kedge top</c>.</summary>
internal static class TopText
{
    private const int RuleWidth = 56;
    private const int NameWidth = 30;

    /// <param name="now">The status to show.</param>
    /// <param name="before">An earlier status of the same server, to compute rates from; null = no rates yet.</param>
    /// <param name="rows">The maximum number of backends and of routes.</param>
    /// <param name="paint">Colours.</param>
    public static string Of(StatusView now, StatusView? before, int rows, Paint paint)
    {
        // A restart sets the counts back to 0.
        if (before is not null && before.Server.Started != now.Server.Started)
        {
            before = null;
        }
        var seconds = before is null ? 0 : (now.Server.Now - before.Server.Now).TotalSeconds;
        var text = new StringBuilder();
        var state = now.Server.StateTone == Tone.Good ? paint.Green(now.Server.State) : paint.Yellow(now.Server.State);
        text.Append(CultureInfo.InvariantCulture,
            $"kedge {now.Server.Version}: {state}, configuration #{now.Generation}, {now.Server.Now:HH:mm:ss} UTC\n");
        if (now.ConfigurationErrors.Length > 0)
        {
            text.Append(paint.Red($"the last configuration change was rejected: {now.ConfigurationErrors[0]}"))
                .Append('\n');
        }
        text.Append(CultureInfo.InvariantCulture,
            $"requests {now.Requests} ({Rate(now.Requests, before?.Requests, seconds)}/s), "
            + $"failed by kedge {now.Failed} ({Rate(now.Failed, before?.Failed, seconds)}/s), "
            + $"in flight {now.InFlight}\n\n");
        Backends(text, now, before, seconds, rows, paint);
        text.Append('\n');
        Routes(text, now, before, seconds, rows, paint);
        return text.ToString();
    }

    private static void Backends(
        StringBuilder text, StatusView now, StatusView? before, double seconds, int rows, Paint paint)
    {
        var known = before?.Backends.ToDictionary(backend => (backend.Protocol, backend.Name));
        var heading = $"{"BACKEND",-NameWidth - 5} {"READY",7} {"REQ/S",9} {"ERR/S",9} "
            + $"{"P50 MS",8} {"P99 MS",8} {"REQUESTS",10}";
        text.Append(paint.Faint(heading)).Append('\n');
        var lines =
            from backend in now.Backends
            let earlier = known?.GetValueOrDefault((backend.Protocol, backend.Name))
            orderby backend.Requests - (earlier?.Requests ?? 0) descending, backend.Requests descending, backend.Name
            select (backend, earlier);
        foreach (var (backend, earlier) in lines.Take(rows))
        {
            var ready = backend.Endpoints.Count(endpoint => endpoint.Tone == Tone.Good);
            var line = string.Create(CultureInfo.InvariantCulture,
                $"{backend.Protocol,-4} {Cut(backend.Name, NameWidth),-NameWidth} "
                + $"{$"{ready}/{backend.Endpoints.Length}",7} "
                + $"{Rate(backend.Requests, earlier?.Requests, seconds),9} "
                + $"{Rate(backend.Errors, earlier?.Errors, seconds),9} "
                + $"{Last(backend.Traffic.P50Ms),8} {Last(backend.Traffic.P99Ms),8} {backend.Requests,10}");
            text.Append(backend.Tone switch
            {
                Tone.Bad => paint.Red(line),
                Tone.Warning => paint.Yellow(line),
                _ => line,
            }).Append('\n');
        }
        More(text, now.Backends.Length - rows, "backend");
    }

    private static void Routes(
        StringBuilder text, StatusView now, StatusView? before, double seconds, int rows, Paint paint)
    {
        // Keyed by what routes match, because a reload may have moved them.
        var known = before?.Routes.ToLookup(route => (route.Protocol, route.Rule, route.Backend));
        text.Append(paint.Faint($"{"ROUTE",-RuleWidth - 10} {"BACKEND",-NameWidth} {"REQ/S",9} {"HITS",10}"))
            .Append('\n');
        var lines =
            from route in now.Routes
            let earlier = known?[(route.Protocol, route.Rule, route.Backend)].FirstOrDefault()
            orderby route.Hits - (earlier?.Hits ?? 0) descending, route.Hits descending, route.Protocol, route.Index
            select (route, earlier);
        foreach (var (route, earlier) in lines.Take(rows))
        {
            text.Append(CultureInfo.InvariantCulture,
                $"{route.Protocol,-4} {route.Index,4} {Cut(route.Rule, RuleWidth),-RuleWidth} "
                + $"{Cut(route.Backend, NameWidth),-NameWidth} "
                + $"{Rate(route.Hits, earlier?.Hits, seconds),9} {route.Hits,10}\n");
        }
        More(text, now.Routes.Length - rows, "route");
    }

    private static void More(StringBuilder text, int left, string what)
    {
        if (left > 0)
        {
            var noun = left == 1 ? what : what + "s";
            text.Append(CultureInfo.InvariantCulture, $"and {left} more {noun}; --rows shows more\n");
        }
    }

    private static string Rate(long now, long? before, double seconds) =>
        before is { } earlier && seconds > 0
            ? (Math.Max(0, now - earlier) / seconds).ToString("F1", CultureInfo.InvariantCulture)
            : "-";

    private static string Last(double[] values) =>
        values.Length == 0 || values[^1] == 0 ? "-" : values[^1].ToString("F1", CultureInfo.InvariantCulture);

    private static string Cut(string text, int width) => text.Length <= width ? text : text[..(width - 1)] + "…";
}
