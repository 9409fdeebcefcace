using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>
/// The one place where what the files say and what discovery makes meet, and from which the whole is published: director
/// and pool together, all or nothing. Keeps a journal of the attempts.
/// </summary>
public sealed class ConfigurationStore
{
    private const int Remembered = 20;

    private readonly Action<Configuration> _publish;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private Configuration _files;
    private Configuration _current;
    private Func<Configuration, GeneratedEntries>? _generate;
    private ConfigurationStanding _standing;

    /// <param name="initial">What the files say at the start. It is published at once.</param>
    /// <param name="publish">Brings a configuration into force. Must not fail.</param>
    /// <param name="logger">Where attempts are logged.</param>
    /// <param name="time">The clock of the journal.</param>
    public ConfigurationStore(Configuration initial, Action<Configuration> publish, ILogger logger, TimeProvider time)
    {
        _publish = publish;
        _logger = logger;
        _time = time;
        _files = _current = initial;
        var now = time.GetUtcNow();
        _standing = new(1, now, [], 0, [new(1, now, "start", [ConfigurationChanges.Size(initial)])]);
        publish(initial);
    }

    /// <summary>What the files say, without what discovery makes.</summary>
    public Configuration Files => Volatile.Read(ref _files);

    /// <summary>What is in force.</summary>
    public Configuration Current => Volatile.Read(ref _current);

    public ConfigurationStanding Standing => Volatile.Read(ref _standing);

    /// <summary>The files have a new, valid content.</summary>
    public void SetFiles(Configuration files, string source)
    {
        lock (_lock)
        {
            _files = files;
            Bring(source);
        }
    }

    /// <summary>The files have a content that cannot be used: what is in force stays.</summary>
    /// <param name="source">Why the files were read.</param>
    /// <param name="errors">A line each, at least one.</param>
    public void Refuse(string source, IReadOnlyList<string> errors)
    {
        lock (_lock)
        {
            var standing = Standing;
            Remember(standing with { Errors = errors, Refused = standing.Refused + 1 }, new(0, _time.GetUtcNow(), source, errors));
        }
        _logger.LogError("the changed configuration is refused, the one before serves on: {Count} errors", errors.Count);
        foreach (var error in errors)
        {
            _logger.LogError("{Error}", error);
        }
    }

    /// <summary>The files have again, or still, the content that is in force.</summary>
    public void Confirm(string source)
    {
        lock (_lock)
        {
            Volatile.Write(ref _standing, Standing with { Errors = [] });
        }
        _logger.LogInformation("configuration read again ({Source}): the files hold what is in force", source);
    }

    /// <summary>
    /// Puts generated entries behind those of the files, from now on.
    /// </summary>
    /// <param name="generate">
    /// The entries that go with a content of the files, whose own routes and backends come first. Called at once, and again
    /// whenever the files change, so that both change in one step. Pure and quick.
    /// </param>
    public void SetGenerated(Func<Configuration, GeneratedEntries> generate)
    {
        lock (_lock)
        {
            _generate = generate;
            Bring("discovery");
        }
    }

    private void Bring(string source)
    {
        var next = _files;
        if (_generate is { } generate)
        {
            var (built, rejected) = Configuration.Build(_files.Files, generate(_files), _current);
            next = built!;
            foreach (var error in rejected)
            {
                _logger.LogWarning("generated entry left out: {Error}", ConfigErrorModule.describe(error));
            }
        }
        var before = _current;
        _publish(next);
        Volatile.Write(ref _current, next);
        var standing = Standing;
        var number = standing.Generation + 1;
        var now = _time.GetUtcNow();
        // Discovery does not mend the files.
        var errors = source == "discovery" ? standing.Errors : [];
        standing = standing with { Generation = number, Since = now, Errors = errors };
        Remember(standing, new(number, now, source, []));
        // Compared when it serves already: neither requests nor the page wait for the journal's words.
        var lines = ConfigurationChanges.Describe(before, next);
        Remember(standing, new(number, now, source, lines));
        _logger.LogInformation(
            "configuration {Generation} is in force ({Source}): {Changes}", number, source, string.Join("; ", lines));
        foreach (var warning in ConfigurationWarnings.Of(next))
        {
            _logger.LogWarning("{Warning}", warning);
        }
    }

    private void Remember(ConfigurationStanding standing, ConfigurationAttempt attempt) =>
        Volatile.Write(ref _standing, standing with { Attempts = [attempt, .. standing.Attempts.Take(Remembered - 1)] });
}
