namespace Kedge.Host.Configurations;

/// <summary>An attempt to change the configuration.</summary>
/// <param name="Number">The number of the generation; 0 when the change was rejected.</param>
/// <param name="At">When it was made.</param>
/// <param name="Source"><c>start</c>, <c>file</c>, <c>SIGHUP</c> or <c>discovery</c>.</param>
/// <param name="Lines">What changed, or why the change was rejected, line by line.</param>
public sealed record ConfigurationAttempt(long Number, DateTimeOffset At, string Source, IReadOnlyList<string> Lines)
{
    public bool IsAccepted => Number > 0;
}

/// <summary>The state of the configuration, with the journal of the attempts to change it. Immutable.</summary>
/// <param name="Generation">Counts the configurations that became active, from 1.</param>
/// <param name="Since">When the current one became active.</param>
/// <param name="Errors">
/// The errors of the latest attempt; empty when it was accepted, or when the files hold the active content again.
/// </param>
/// <param name="Rejected">How many attempts were rejected.</param>
/// <param name="Attempts">The latest attempts, the newest first.</param>
public sealed record ConfigurationStatus(
    long Generation,
    DateTimeOffset Since,
    IReadOnlyList<string> Errors,
    long Rejected,
    IReadOnlyList<ConfigurationAttempt> Attempts);
