using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>Tells two configurations apart in lines for people.</summary>
public static class ConfigurationChanges
{
    private const int MostLines = 40;

    // Comparing finds requests that go elsewhere, which takes long for very large tables.
    private const int MostRules = 2000;

    public static IReadOnlyList<string> Describe(Configuration before, Configuration after)
    {
        if (Rules(before) > MostRules || Rules(after) > MostRules)
        {
            return [$"{Size(before)} before, {Size(after)} now"];
        }
        var differences = DiffReport.Differences(before, after);
        if (differences.Count == 0)
        {
            return ["the text changed, not its meaning"];
        }
        var lines = differences.Take(MostLines).Select(difference => Line(difference!)).ToList();
        if (differences.Count > MostLines)
        {
            lines.Add($"and {differences.Count - MostLines} more");
        }
        return lines;
    }

    /// <summary>How much there is, such as <c>3 routes, 2 backends</c>.</summary>
    public static string Size(Configuration configuration) =>
        $"{Rules(configuration)} routes, {configuration.HttpBackends!.Count + configuration.GrpcBackends!.Count} backends";

    private static int Rules(Configuration configuration) => configuration.HttpRoutes!.Count + configuration.GrpcRoutes!.Count;

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
