using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>Describes the differences between two configurations in human-readable lines.</summary>
public static class ConfigurationChanges
{
    private const int MaxLines = 40;

    // The comparison searches for requests whose destination changes, which takes long for very large tables.
    private const int MaxRules = 2000;

    public static IReadOnlyList<string> Describe(Configuration before, Configuration after)
    {
        if (Rules(before) > MaxRules || Rules(after) > MaxRules)
        {
            return [$"{Size(before)} before, {Size(after)} now"];
        }
        var differences = DiffReport.Differences(before, after);
        if (differences.Count == 0)
        {
            return ["no change in meaning"];
        }
        var lines = differences.Take(MaxLines).Select(difference => Line(difference!)).ToList();
        if (differences.Count > MaxLines)
        {
            lines.Add($"and {differences.Count - MaxLines} more");
        }
        return lines;
    }

    /// <summary>The number of entries, such as <c>3 routes, 2 backends</c>.</summary>
    public static string Size(Configuration configuration) =>
        $"{Rules(configuration)} routes, {Count(configuration.Backends)} backends";

    private static int Rules(Configuration configuration) => Count(configuration.Routes);

    private static int Count<T>(PerProtocol<IReadOnlyList<T>> lists) => lists.Http.Count + lists.Grpc.Count;

    private static string Line(Difference difference)
    {
        var kind = difference.Kind.Replace('-', ' ');
        var entry = (difference.Before, difference.After) switch
        {
            ("", "") => "",
            ("", var after) => after,
            (var before, "") => before,
            (var before, var after) when before == after => after,
            (var before, var after) => $"{before} => {after}",
        };
        var move = difference.Witness.Length == 0
            ? ""
            : $"; {difference.Witness}: {difference.WitnessBefore} => {difference.WitnessAfter}";
        return $"{kind}: {entry}{move}";
    }
}
