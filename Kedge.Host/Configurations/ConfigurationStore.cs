using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>
/// Merges what the files say with what discovery generates, compiles the result once, and publishes it as a whole:
/// routes and backends change together or not at all. Keeps a journal of the attempts.
/// </summary>
public sealed class ConfigurationStore
{
    private const int MaxAttempts = 20;

    // Enough to explain the requests of a few reloads; each may be large.
    private const int MaxKept = 3;

    // In characters per log line. The journal contains more, and the status page shows it.
    private const int MaxLoggedChanges = 600;

    private readonly Action<Configuration> _apply;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private LoadedFiles _files;
    private Configuration _current = Configuration.Empty!;
    private Func<LoadedFiles, GeneratedEntries>? _generate;
    private ConfigurationStatus _status;
    private (long Number, Configuration Configuration)[] _kept = [];

    /// <param name="files">The content of the files at the start. It is published at once.</param>
    /// <param name="apply">Makes a configuration the active one. Must not fail.</param>
    /// <param name="logger">Where attempts are logged.</param>
    /// <param name="time">The clock of the journal.</param>
    public ConfigurationStore(LoadedFiles files, Action<Configuration> apply, ILogger logger, TimeProvider time)
    {
        _files = files;
        _apply = apply;
        _logger = logger;
        _time = time;
        _status = new(0, time.GetUtcNow(), [], 0, []);
        Publish("start");
    }

    /// <summary>The content of the files, without what discovery generates.</summary>
    public LoadedFiles Files => Volatile.Read(ref _files);

    /// <summary>The active configuration.</summary>
    public Configuration Current => Volatile.Read(ref _current);

    public ConfigurationStatus Status => Volatile.Read(ref _status);

    /// <summary>The number of a configuration that is active or among the last few that were.</summary>
    /// <returns>Null when it is none of them.</returns>
    public long? NumberOf(Configuration configuration)
    {
        foreach (var (number, kept) in Volatile.Read(ref _kept))
        {
            if (ReferenceEquals(kept, configuration))
            {
                return number;
            }
        }
        return null;
    }

    /// <summary>Publishes new, valid content of the files.</summary>
    public void SetFiles(LoadedFiles files, string source)
    {
        lock (_lock)
        {
            Volatile.Write(ref _files, files);
            Publish(source);
        }
    }

    /// <summary>Records that the files have invalid content. The active configuration stays.</summary>
    /// <param name="source">Why the files were read.</param>
    /// <param name="errors">One line for each error, at least one.</param>
    public void Reject(string source, IReadOnlyList<string> errors)
    {
        lock (_lock)
        {
            var status = Status;
            AddToJournal(
                status with { Errors = errors, Rejected = status.Rejected + 1 },
                new(0, _time.GetUtcNow(), source, errors));
        }
        _logger.LogError(
            "configuration rejected ({Errors}); the previous one stays active",
            errors.Count == 1 ? "1 error" : $"{errors.Count} errors");
        foreach (var error in errors)
        {
            _logger.LogError("{Error}", error);
        }
    }

    /// <summary>Records that the files still have, or have again, the active content.</summary>
    public void MarkUnchanged(string source)
    {
        lock (_lock)
        {
            Volatile.Write(ref _status, Status with { Errors = [] });
        }
        _logger.LogInformation("configuration unchanged ({Source})", source);
    }

    /// <summary>From now on, adds generated entries after the files' entries.</summary>
    /// <param name="generate">
    /// Generates the entries that go with the content of the files, whose own routes and backends take precedence.
    /// Called at once, and again whenever the files change, so that both change in one step. Must be pure and quick.
    /// </param>
    public void SetGenerated(Func<LoadedFiles, GeneratedEntries> generate)
    {
        lock (_lock)
        {
            _generate = generate;
            Publish("discovery");
        }
    }

    private void Publish(string source)
    {
        var before = _current;
        var generated = _generate?.Invoke(_files) ?? GeneratedEntries.Empty;
        var (next, rejected) = Configuration.Build(_files, generated, before);
        foreach (var error in rejected)
        {
            _logger.LogWarning("generated entry rejected: {Error}", ConfigErrorModule.describe(error));
        }
        _apply(next!);
        Volatile.Write(ref _current, next!);
        var number = Status.Generation + 1;
        Volatile.Write(ref _kept, [(number, next!), .. _kept.Take(MaxKept - 1)]);
        var now = _time.GetUtcNow();
        // Discovery does not fix errors in the files.
        var errors = source == "discovery" ? Status.Errors : [];
        var status = Status with { Generation = number, Since = now, Errors = errors };
        AddToJournal(status, new(number, now, source, []));
        // Compared once it is active: neither requests nor the status page wait for the journal's text.
        var lines = number == 1 ? [ConfigurationChanges.Size(next!)] : ConfigurationChanges.Describe(before, next!);
        AddToJournal(status, new(number, now, source, lines));
        _logger.LogInformation(
            "configuration {Generation} active ({Source}): {Changes}", number, source, Logged(lines));
        foreach (var warning in ConfigurationWarnings.Of(next!))
        {
            _logger.LogWarning("{Warning}", warning);
        }
    }

    private static string Logged(IReadOnlyList<string> lines)
    {
        var length = 0;
        var fitting = lines.TakeWhile(line => (length += line.Length + 2) <= MaxLoggedChanges).ToList();
        var more = lines.Count - fitting.Count;
        return string.Join("; ", more == 0 ? fitting : [.. fitting, $"{more} more on /debug/status"]);
    }

    private void AddToJournal(ConfigurationStatus status, ConfigurationAttempt attempt) =>
        Volatile.Write(ref _status, status with { Attempts = [attempt, .. status.Attempts.Take(MaxAttempts - 1)] });
}
