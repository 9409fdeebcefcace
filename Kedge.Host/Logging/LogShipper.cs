using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Kedge.Host.Timing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Logging;

/// <summary>
/// Sends log lines as JSON over TCP, in the form that Logstash's <c>json_lines</c> codec reads. Logging never waits:
/// lines that find no room are dropped and counted, and the log reports that once for as long as it lasts. Reopens a
/// broken connection after increasing pauses.
/// </summary>
public sealed class LogShipper : ILoggerProvider
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan MaxPause = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(1);

    // A server that does not read still accepts some lines on each new connection: that alone is not a recovery.
    private static readonly TimeSpan RecoveryPeriod = TimeSpan.FromSeconds(5);

    private readonly DnsEndPoint _target;
    private readonly string[] _tags;
    private readonly TimeSpan _writeTimeout;
    private readonly Channel<byte[]> _lines;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _sending;
    private ILogger _log = NullLogger.Instance;
    private long _dropped;
    private long _reportedDrops;
    private long _latestDrop;
    private int _isDropping;

    /// <param name="target">Where the lines go.</param>
    /// <param name="options">The tags of the lines, and the limits on sending them.</param>
    public LogShipper(DnsEndPoint target, LoggingOptions options)
    {
        _target = target;
        _tags = [.. options.LogstashTags];
        _writeTimeout = options.LogstashWriteTimeout > TimeSpan.Zero
            ? options.LogstashWriteTimeout
            : Timeout.InfiniteTimeSpan;
        _lines = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(Math.Max(1, options.LogstashBufferSize))
        {
            SingleReader = true,
            FullMode = BoundedChannelFullMode.Wait,
        });
        _sending = Task.Run(SendAsync);
    }

    /// <summary>How many lines were dropped because there was no room.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    /// <summary>
    /// Sets the log that reports when lines start to be dropped, and when they no longer are. The reports are shipped
    /// too, if there is room.
    /// </summary>
    public void ReportTo(ILogger log) => Volatile.Write(ref _log, log);

    public ILogger CreateLogger(string categoryName) => new ShippingLogger(this, categoryName);

    /// <summary>Gives pending lines a second to be sent.</summary>
    public void Dispose()
    {
        _lines.Writer.TryComplete();
        if (!_sending.Wait(FlushTimeout))
        {
            _stop.Cancel();
            _sending.Wait(FlushTimeout);
        }
        _stop.Dispose();
    }

    private void Ship(byte[] line)
    {
        if (!_lines.Writer.TryWrite(line))
        {
            Interlocked.Increment(ref _dropped);
            Volatile.Write(ref _latestDrop, Environment.TickCount64);
            // Set first: the warning comes through here as well, and finds no room.
            if (Interlocked.Exchange(ref _isDropping, 1) == 0)
            {
                Volatile.Read(ref _log).LogWarning(
                    "logstash at {Host}:{Port} is slower than the log: lines without room in the buffer are dropped, "
                    + "and counted in kedge_log_lines_dropped_total",
                    _target.Host,
                    _target.Port);
            }
        }
    }

    private void ReportRecovery()
    {
        var sinceDrop = TimeSpan.FromMilliseconds(Environment.TickCount64 - Volatile.Read(ref _latestDrop));
        if (_lines.Reader.Count == 0 && sinceDrop >= RecoveryPeriod && Interlocked.Exchange(ref _isDropping, 0) == 1)
        {
            var dropped = Dropped;
            Volatile.Read(ref _log).LogInformation(
                "logstash at {Host}:{Port} keeps up again; {Dropped} lines were dropped",
                _target.Host,
                _target.Port,
                dropped - _reportedDrops);
            _reportedDrops = dropped;
        }
    }

    private async Task SendAsync()
    {
        var backoff = new Backoff(FirstPause, MaxPause);
        while (!_stop.IsCancellationRequested && await WaitForLineAsync())
        {
            try
            {
                using var client = new TcpClient { NoDelay = true };
                using (var connecting = WriteLimit())
                {
                    await client.ConnectAsync(_target.Host, _target.Port, connecting.Token);
                }
                var stream = client.GetStream();
                backoff.Reset();
                while (await WaitForLineAsync())
                {
                    if (_lines.Reader.TryPeek(out var line))
                    {
                        using var writing = WriteLimit();
                        await stream.WriteAsync(line, writing.Token);
                        // Removed only once it is written: a line that breaks a connection is sent again on the next.
                        _lines.Reader.TryRead(out _);
                        ReportRecovery();
                    }
                }
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // Not logged: the line would end up here.
            }
            if (_stop.IsCancellationRequested || _lines.Reader.Completion.IsCompleted)
            {
                return;
            }
            await Task.Delay(backoff.Next(), _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async ValueTask<bool> WaitForLineAsync()
    {
        try
        {
            return await _lines.Reader.WaitToReadAsync(_stop.Token);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private CancellationTokenSource WriteLimit()
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        limit.CancelAfter(_writeTimeout);
        return limit;
    }

    private sealed class ShippingLogger(LogShipper shipper, string category) : ILogger
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
            if (exception is ResponseCutException)
            {
                return;
            }
            var entry = new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter);
            shipper.Ship(LogLine.ToLogstash(entry, DateTimeOffset.UtcNow, shipper._tags));
        }
    }
}
