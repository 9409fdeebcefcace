namespace Kedge.Host.Flags;

/// <summary>The "did you mean" of an unknown name.</summary>
public static class Suggestion
{
    /// <summary>The candidate nearest to what was written, or null when none is near enough to be meant.</summary>
    public static string? For(string written, IEnumerable<string> candidates)
    {
        var (best, distance) = candidates
            .Select(candidate => (candidate, distance: Distance(written, candidate)))
            .DefaultIfEmpty((candidate: "", distance: int.MaxValue))
            .MinBy(pair => pair.distance);
        return distance <= Math.Max(2, written.Length / 4) ? best : null;
    }

    /// <summary>Levenshtein's distance, with one row of the table in memory.</summary>
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[b.Length];
    }
}
