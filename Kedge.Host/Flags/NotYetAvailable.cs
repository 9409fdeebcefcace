namespace Kedge.Host.Flags;

/// <summary>Flags whose feature is still to come. Nobody is to believe that one of them protects or routes anything.</summary>
public static class NotYetAvailable
{
    private static readonly IReadOnlyList<Flag> Flags =
    [
        FlagCatalogue.DynamicRoutings,
    ];

    /// <summary>An error for each of them that is asked for.</summary>
    public static IEnumerable<string> Errors(FlagValues flags) =>
        Flags.Where(flags.IsChanged).Select(flag => $"{flag}: not available yet");
}
