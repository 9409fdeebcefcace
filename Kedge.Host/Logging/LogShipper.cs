using System.Net.Sockets;
using System.Threading.Channels;
using Kedge.Host.Flags;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Logging;

/// <summary>
/// Sends log lines as JSON over TCP, as Logstash's <c>json_lines</c> codec takes them. Whoever logs never waits: lines that find
/// no room are dropped and counted, and the log says so once for as long as it goes on. A connection that breaks is made again, with
/// growing pauses.
/// </summary>
public sealed class LogShipper : ILoggerProvider
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    // A server that does not read takes a while of lines with each connection: that alone is no recovery.
    private static readonly TimeSpan Calm = TimeSpan.FromSeconds(5);

    private readonly string _host;
    private readonly int _port;
    private readonly string[] _tags;
    private readonly TimeSpan _writeTimeout;
    private readonly Channel<byte[]> _lines;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _sending;
    private ILogger _log = NullLogger.Instance;
    private long _dropped;
    private long _droppedBefore;
    private long _latestDrop;
    private int _isDropping;

    /// <param name="options">With a host and port that <see cref="TrySplit"/> takes.</param>
    public LogShipper(LoggingOptions options)
    {
        if (!TrySplit(options.LogstashHostPort, out _host, out _port))
        {
            throw new ArgumentException("not a host and port", nameof(options));
        }
        _tags = [.. options.LogstashTags];
        _writeTimeout = options.LogstashWriteTimeout > TimeSpan.Zero ? options.LogstashWriteTimeout : Timeout.InfiniteTimeSpan;
        _lines = Channel.CreateBounded<byte[]>(
            new BoundedChannelOptions(Math.Max(1, options.LogstashBufferSize)) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
        _sending = Task.Run(SendAsync);
    }

    /// <summary>Lines for which there was no room.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    public static bool TrySplit(string hostPort, out string host, out int port)
    {
        var colon = hostPort.LastIndexOf(':');
        host = colon < 0 ? "" : hostPort[..colon].Trim('[', ']');
        port = 0;
        return host.Length > 0 && int.TryParse(hostPort.AsSpan(colon + 1), out port) && port is > 0 and <= 65535;
    }

    /// <summary>Where the shipper says that it drops lines, and that it no longer does. Its own lines are shipped too, where there is room.</summary>
    public void ReportTo(ILogger log) => Volatile.Write(ref _log, log);

    public ILogger CreateLogger(string categoryName) => new Shipping(this, categoryName);

    /// <summary>What is still waiting has a second to be sent.</summary>
    public void Dispose()
    {
        _lines.Writer.TryComplete();
        if (!_sending.Wait(LastWords))
        {
            _stop.Cancel();
            _sending.Wait(LastWords);
        }
        _stop.Dispose();
    }

    private void Ship(byte[] line)
    {
        if (!_lines.Writer.TryWrite(line))
        {
            Interlocked.Increment(ref _dropped);
            Volatile.Write(ref _latestDrop, Environment.TickCount64);
            // Set first: the warning comes here as well, and finds no room.
            if (Interlocked.Exchange(ref _isDropping, 1) == 0)
            {
                Volatile.Read(ref _log).LogWarning(
                    "logstash at {Host}:{Port} does not take lines as fast as they come: what finds no room is dropped, and counted in kedge_log_lines_dropped_total",
                    _host,
                    _port);
            }
        }
    }

    private void SayThatLinesFlow()
    {
        var calmFor = TimeSpan.FromMilliseconds(Environment.TickCount64 - Volatile.Read(ref _latestDrop));
        if (_lines.Reader.Count == 0 && calmFor >= Calm && Interlocked.Exchange(ref _isDropping, 0) == 1)
        {
            var dropped = Dropped;
            Volatile.Read(ref _log).LogInformation(
                "logstash at {Host}:{Port} takes all lines again; {Dropped} were dropped", _host, _port, dropped - _droppedBefore);
            _droppedBefore = dropped;
        }
    }

    private async Task SendAsync()
    {
        var pause = FirstPause;
        while (!_stop.IsCancellationRequested && await MoreAsync())
        {
            try
            {
                using var client = new TcpClient { NoDelay = true };
                using (var connecting = Limit())
                {
                    await client.ConnectAsync(_host, _port, connecting.Token);
                }
                var stream = client.GetStream();
                pause = FirstPause;
                while (await MoreAsync())
                {
                    if (_lines.Reader.TryPeek(out var line))
                    {
                        using var writing = Limit();
                        await stream.WriteAsync(line, writing.Token);
                        // Only what was written is taken; a line that broke a connection is sent again on the next.
                        _lines.Reader.TryRead(out _);
                        SayThatLinesFlow();
                    }
                }
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // Not logged: the line would come back here.
            }
            if (_stop.IsCancellationRequested || _lines.Reader.Completion.IsCompleted)
            {
                return;
            }
            await Task.Delay(pause, _stop.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
            pause = pause * 2 > LongestPause ? LongestPause : pause * 2;
        }
    }

    private async ValueTask<bool> MoreAsync()
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

    private CancellationTokenSource Limit()
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        limit.CancelAfter(_writeTimeout);
        return limit;
    }

    private sealed class Shipping(LogShipper shipper, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            var entry = new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter);
            shipper.Ship(LogLine.ToJson(entry, DateTimeOffset.UtcNow, shipper._tags));
        }
    }
}
