using System.Collections.Concurrent;
using Kedge.Host.Flags;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Logging;

/// <summary>
/// Writes log lines to standard error, many at a time where many wait. Whoever logs never waits, also when nobody reads
/// standard error: lines that find no room are dropped and counted, and a line says so as soon as one can be written.
/// </summary>
public sealed class StandardErrorLog : ILoggerProvider
{
    // In bytes: lines can be long, and callers have a say in it.
    private const int MostWaiting = 4 * 1024 * 1024;
    private const int MostBytesAtOnce = 64 * 1024;
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    private readonly BlockingCollection<byte[]> _lines = [];
    private readonly Stream _output;
    private readonly bool _asJson;
    private readonly Thread _writing;
    private long _waiting;
    private long _dropped;

    /// <param name="format">What a line looks like; <see cref="LogFormat.Auto"/>: text on a terminal, else JSON.</param>
    public StandardErrorLog(LogFormat format)
    {
        _output = Console.OpenStandardError();
        _asJson = format == LogFormat.Json || (format == LogFormat.Auto && Console.IsErrorRedirected);
        // A thread of its own, since the writes block for as long as nobody reads.
        _writing = new Thread(Write) { IsBackground = true, Name = "kedge log" };
        _writing.Start();
    }

    /// <summary>Lines for which there was no room.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    public ILogger CreateLogger(string categoryName) => new Lines(this, categoryName);

    /// <summary>What is still waiting has a second to be written.</summary>
    public void Dispose()
    {
        _lines.CompleteAdding();
        if (_writing.Join(LastWords))
        {
            _lines.Dispose();
        }
    }

    private void Add(byte[] line)
    {
        try
        {
            if (Interlocked.Add(ref _waiting, line.Length) <= MostWaiting)
            {
                _lines.Add(line);
                return;
            }
            Interlocked.Add(ref _waiting, -line.Length);
            Interlocked.Increment(ref _dropped);
        }
        catch (InvalidOperationException)
        {
            // The log has ended before whoever logs.
        }
    }

    private void Write()
    {
        var batch = new MemoryStream(MostBytesAtOnce);
        var reported = 0L;
        foreach (var first in _lines.GetConsumingEnumerable())
        {
            batch.Write(first);
            while (batch.Length < MostBytesAtOnce && _lines.TryTake(out var next))
            {
                batch.Write(next);
            }
            Interlocked.Add(ref _waiting, -batch.Length);
            if (Dropped is var dropped && dropped > reported)
            {
                batch.Write(DroppedLine(dropped - reported));
                reported = dropped;
            }
            try
            {
                _output.Write(batch.GetBuffer(), 0, (int)batch.Length);
            }
            catch (IOException)
            {
                // Closed at the other end: there is nobody to tell.
            }
            batch.SetLength(0);
        }
    }

    private byte[] DroppedLine(long count)
    {
        KeyValuePair<string, object?>[] values = [new("Count", count), new("{OriginalFormat}", "")];
        return Format(new LogEntry<KeyValuePair<string, object?>[]>(
            LogLevel.Warning, "kedge.log", default, values, null,
            (_, _) => $"{count} log lines were dropped: standard error was not read as fast as they came"));
    }

    private byte[] Format<TState>(in LogEntry<TState> entry) =>
        _asJson ? LogLine.ToJson(entry, DateTimeOffset.UtcNow) : LogLine.ToText(entry, DateTime.Now);

    private sealed class Lines(StandardErrorLog log, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            log.Add(log.Format(new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter)));
    }
}
