using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>An attempt to change the configuration.</summary>
/// <param name="Number">Of the generation; 0 when it was refused.</param>
/// <param name="Source"><c>start</c>, <c>file</c>, <c>SIGHUP</c> or <c>discovery</c>.</param>
/// <param name="Lines">What changed, or why it was refused; a line each.</param>
public sealed record ConfigurationAttempt(long Number, DateTimeOffset At, string Source, IReadOnlyList<string> Lines)
{
    public bool IsAccepted => Number > 0;
}

/// <summary>Where the configuration stands. Immutable.</summary>
/// <param name="Generation">Counts the configurations in force, from 1.</param>
/// <param name="Since">When the current one came into force.</param>
/// <param name="Errors">Those of the last attempt; empty when it was accepted, or when what is in force is back in the files.</param>
/// <param name="Refused">How many attempts were refused.</param>
/// <param name="Attempts">The latest, the newest first.</param>
public sealed record ConfigurationStanding(
    long Generation, DateTimeOffset Since, IReadOnlyList<string> Errors, long Refused, IReadOnlyList<ConfigurationAttempt> Attempts);
