using System.Collections.Concurrent;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Logging;

/// <summary>
/// Writes log lines to standard error, in batches when several are pending. Logging never waits, even while no process
/// reads standard error: lines that find no room are dropped and counted, and a line reports that as soon as one can be
/// written.
/// </summary>
public sealed class StandardErrorLog : ILoggerProvider
{
    // In bytes: lines can be long, and callers influence how long.
    private const int MaxPendingBytes = 4 * 1024 * 1024;
    private const int MaxBatchBytes = 64 * 1024;
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(1);

    private readonly BlockingCollection<byte[]> _lines = [];
    private readonly Stream _output;
    private readonly bool _asJson;
    private readonly Thread _writing;
    private long _pendingBytes;
    private long _dropped;

    /// <param name="format">
    /// The format of a line; <see cref="LogFormat.Auto"/> means text on a terminal, otherwise JSON.
    /// </param>
    public StandardErrorLog(LogFormat format)
    {
        _output = Console.OpenStandardError();
        _asJson = format == LogFormat.Json || (format == LogFormat.Auto && Console.IsErrorRedirected);
        // On its own thread, because writes block while no process reads standard error.
        _writing = new Thread(Write) { IsBackground = true, Name = "kedge log" };
        _writing.Start();
    }

    /// <summary>How many lines were dropped because there was no room.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    public ILogger CreateLogger(string categoryName) => new LineLogger(this, categoryName);

    /// <summary>Gives pending lines a second to be written.</summary>
    public void Dispose()
    {
        _lines.CompleteAdding();
        if (_writing.Join(FlushTimeout))
        {
            _lines.Dispose();
        }
    }

    private void Add(byte[] line)
    {
        try
        {
            if (Interlocked.Add(ref _pendingBytes, line.Length) <= MaxPendingBytes)
            {
                _lines.Add(line);
                return;
            }
            Interlocked.Add(ref _pendingBytes, -line.Length);
            Interlocked.Increment(ref _dropped);
        }
        catch (InvalidOperationException)
        {
            // Logged after the log was disposed of.
        }
    }

    private void Write()
    {
        var batch = new MemoryStream(MaxBatchBytes);
        var reported = 0L;
        foreach (var first in _lines.GetConsumingEnumerable())
        {
            batch.Write(first);
            while (batch.Length < MaxBatchBytes && _lines.TryTake(out var next))
            {
                batch.Write(next);
            }
            Interlocked.Add(ref _pendingBytes, -batch.Length);
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
                // The reader has closed standard error, so the line is lost.
            }
            batch.SetLength(0);
        }
    }

    private byte[] DroppedLine(long count)
    {
        KeyValuePair<string, object?>[] values = [new("Count", count), new("{OriginalFormat}", "")];
        return Format(new LogEntry<KeyValuePair<string, object?>[]>(
            LogLevel.Warning, "kedge.log", default, values, null,
            (_, _) => $"{count} log lines were dropped: standard error was read too slowly"));
    }

    private byte[] Format<TState>(in LogEntry<TState> entry) =>
        _asJson ? LogLine.ToJson(entry, DateTimeOffset.UtcNow) : LogLine.ToText(entry, DateTime.Now);

    private sealed class LineLogger(StandardErrorLog log, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (exception is not ResponseCutException)
            {
                log.Add(log.Format(new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter)));
            }
        }
    }
}
