using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Text.Json;
using Kedge.Host.Timing;

namespace Kedge.Host.Kubernetes;

/// <summary>A collection to watch.</summary>
/// <param name="Name">Its name in messages and metrics.</param>
/// <param name="Path">The path of the collection, such as <c>/api/v1/services</c> for all namespaces.</param>
/// <param name="LabelSelector">Empty = all objects.</param>
/// <param name="SilenceTimeout">
/// A watch that receives no event for this long, not even a bookmark, is considered dead. At most
/// <see cref="MaxSilence"/>.
/// </param>
/// <param name="WhenMissing">
/// The likely reason when the API server does not have the collection; empty = unknown.
/// </param>
/// <param name="FieldSelector">Empty = all objects.</param>
internal sealed record WatchTarget(
    string Name, string Path, string LabelSelector, TimeSpan SilenceTimeout, string WhenMissing = "",
    string FieldSelector = "")
{
    /// <summary>Three bookmarks: the API server sends one about once a minute.</summary>
    public static readonly TimeSpan MaxSilence = TimeSpan.FromMinutes(3);

    public TimeSpan SilenceTimeout { get; } = SilenceTimeout < MaxSilence ? SilenceTimeout : MaxSilence;
}

/// <summary>
/// Lists a collection, then watches it from that version on, until stopped. No change is lost: a watch resumes from the
/// last version that it has seen, and where that is impossible (410, or an API server that may have been replaced
/// in the meantime), it lists everything again.
/// </summary>
/// <remarks>
/// One round of <see cref="RunAsync"/> is: list, unless a version is known; watch until the connection ends; then wait,
/// unless the watch ended normally. A list comes in pages, and reaches the sink only when it is complete.
/// </remarks>
/// <param name="read">Decodes an object; null = it is malformed, and is skipped.</param>
/// <param name="reportFailure">Records an error; returns whether to log it.</param>
internal sealed class ResourceWatch<T>(
    KubernetesApi api,
    WatchTarget target,
    Func<JsonElement, T?> read,
    IWatchSink<T> sink,
    Func<WatchHealth, string, bool> reportFailure,
    ILogger logger)
    where T : class
{
    // The page size of kubectl. The memory for a response is bounded by a page, not by the size of the cluster.
    private const int PageSize = 500;

    private static readonly TimeSpan PageTimeout = TimeSpan.FromSeconds(60);

    // The API server ends a watch after a time that the client may choose. This shows that the connection still works.
    private const int MinWatchSeconds = 240;
    private const int MaxWatchSeconds = 480;
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    // The API server limits objects to 1.5 MB.
    private const int MaxEventBytes = 8 << 20;

    // The longest wait, even if the API server asks for more.
    private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromSeconds(30);

    // A watch that was up for this long is not counted as a failed attempt.
    private static readonly TimeSpan StablePeriod = TimeSpan.FromSeconds(10);

    // Short, so that an API server that comes back is found within seconds.
    private readonly Backoff _backoff = new(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(2));

    // The last version that was seen; null = a list is needed.
    private string? _version;

    // Whether the last attempt was an immediate list, because the previous version was gone.
    private bool _hasRelisted;

    public WatchHealth Health { get; } = new(target.Name, target.SilenceTimeout);

    public async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            TimeSpan? retryAfter = null;
            var begun = Environment.TickCount64;
            try
            {
                _version ??= await ListAsync(stop);
                if (await WatchAsync(_version, stop))
                {
                    continue;
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (KubernetesApiException e)
            {
                var meaning = e.Status == HttpStatusCode.NotFound && target.WhenMissing.Length > 0
                    ? $" ({target.WhenMissing})"
                    : "";
                MarkDown(e.IsGone ? LogLevel.Debug : LogLevel.Warning, e.Message + meaning);
                retryAfter = e.RetryAfter;
                // Not only after 410: after any other error, too, the server may no longer know the version.
                _version = null;
                if (e.IsGone && !_hasRelisted)
                {
                    // A normal response: list again immediately, unless the last immediate list did not help.
                    _hasRelisted = true;
                    Health.NoteRestart();
                    continue;
                }
            }
            catch (Exception e) when (e is HttpIOException or IOException)
            {
                MarkDown(LogLevel.Debug, e.Message);
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException or JsonException
                or KubernetesAccessException or UnauthorizedAccessException)
            {
                MarkDown(LogLevel.Warning, e is OperationCanceledException ? "no answer in time" : e.Message);
                _version = null;
            }
            catch (Exception e)
            {
                logger.LogError(e, "watch of {Watch} failed unexpectedly", target.Name);
                Health.MarkDown(e.Message);
                _version = null;
            }
            Health.NoteRestart();
            _hasRelisted = false;
            if (Environment.TickCount64 - begun > StablePeriod.TotalMilliseconds)
            {
                _backoff.Reset();
            }
            try
            {
                await Task.Delay(PauseAfter(retryAfter), stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>Passes the whole collection to the sink, and returns its version.</summary>
    private async Task<string> ListAsync(CancellationToken stop)
    {
        var items = new List<T>();
        var continuation = "";
        var limit = PageSize;
        while (true)
        {
            var query = Query(
                ("labelSelector", target.LabelSelector),
                ("fieldSelector", target.FieldSelector),
                ("limit", limit == 0 ? "" : limit.ToString(CultureInfo.InvariantCulture)),
                ("continue", continuation));
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(stop);
            timeout.CancelAfter(PageTimeout);
            try
            {
                using var response = await api.GetAsync(target.Path + query, timeout.Token);
                await using var body = await response.Content.ReadAsStreamAsync(timeout.Token);
                using var page = await JsonDocument.ParseAsync(body, default, timeout.Token);
                var metadata = page.RootElement.GetProperty("metadata");
                if (page.RootElement.TryGetProperty("items", out var array) && array.ValueKind == JsonValueKind.Array)
                {
                    foreach (var element in array.EnumerateArray())
                    {
                        if (Read(element) is { } item)
                        {
                            items.Add(item);
                        }
                    }
                }
                continuation = Text(metadata, "continue");
                if (continuation.Length == 0)
                {
                    sink.Replace(items);
                    Health.NoteList();
                    MarkUp();
                    logger.LogDebug("watch of {Watch}: {Count} listed", target.Name, items.Count);
                    return Text(metadata, "resourceVersion");
                }
            }
            catch (KubernetesApiException e) when (e.IsGone && continuation.Length > 0)
            {
                // The version expired between two pages: list everything in a single response instead.
                items.Clear();
                continuation = "";
                limit = 0;
            }
            catch (KeyNotFoundException)
            {
                throw new JsonException("a list without metadata");
            }
        }
    }

    /// <summary>Passes on events until the watch ends. Returns whether it may be restarted at once.</summary>
    private async Task<bool> WatchAsync(string version, CancellationToken stop)
    {
        var seconds = Random.Shared.Next(MinWatchSeconds, MaxWatchSeconds);
        var query = Query(
            ("labelSelector", target.LabelSelector),
            ("fieldSelector", target.FieldSelector),
            ("watch", "true"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds.ToString(CultureInfo.InvariantCulture)));
        using var response = await api.GetAsync(target.Path + query, stop);
        Health.NoteHeard();
        await using var body = await response.Content.ReadAsStreamAsync(stop);
        var reader = PipeReader.Create(body);
        var begun = Environment.TickCount64;
        var hasEvents = false;
        MarkUp();
        try
        {
            using var silence = CancellationTokenSource.CreateLinkedTokenSource(stop);
            while (true)
            {
                var elapsed = TimeSpan.FromMilliseconds(Environment.TickCount64 - begun);
                var left = TimeSpan.FromSeconds(seconds) + Grace - elapsed;
                left = left > TimeSpan.Zero ? left : TimeSpan.Zero;
                silence.CancelAfter(left < target.SilenceTimeout ? left : target.SilenceTimeout);
                var result = await reader.ReadAsync(silence.Token);
                var buffer = result.Buffer;
                while (TryReadLine(ref buffer, out var line))
                {
                    Handle(line);
                    hasEvents = true;
                }
                if (result.IsCompleted && !buffer.IsEmpty && !IsBlank(buffer))
                {
                    Handle(buffer);
                    buffer = buffer.Slice(buffer.End);
                }
                if (buffer.Length > MaxEventBytes)
                {
                    throw new JsonException($"an event of more than {MaxEventBytes} bytes");
                }
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                {
                    Health.NoteRestart();
                    // A server that ends every watch at once must not be called in a tight loop.
                    return hasEvents || Environment.TickCount64 - begun > 1000;
                }
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            logger.LogInformation("watch of {Watch}: no event for too long, restarting", target.Name);
            Health.NoteRestart();
            // A proxy in front of the API server may keep a connection open that leads nowhere.
            await api.ReconnectAsync(stop);
            return true;
        }
        finally
        {
            await reader.CompleteAsync();
        }
    }

    private void Handle(ReadOnlySequence<byte> line)
    {
        using var document = JsonDocument.Parse(line);
        var type = Text(document.RootElement, "type");
        if (!document.RootElement.TryGetProperty("object", out var @object)
            || @object.ValueKind != JsonValueKind.Object)
        {
            throw new JsonException("an event without an object");
        }
        if (type == "ERROR")
        {
            var code = @object.TryGetProperty("code", out var number) && number.TryGetInt32(out var value)
                ? value
                : 500;
            throw new KubernetesApiException(
                (HttpStatusCode)code, $"the watch ended with {code}: {Text(@object, "message")}");
        }
        Health.NoteEvent();
        _backoff.Reset();
        _hasRelisted = false;
        if (type != "BOOKMARK" && Read(@object) is { } item)
        {
            if (type == "DELETED")
            {
                sink.Delete(item);
            }
            else
            {
                sink.Upsert(item);
            }
        }
        if (@object.TryGetProperty("metadata", out var metadata)
            && Text(metadata, "resourceVersion") is { Length: > 0 } version)
        {
            _version = version;
        }
    }

    private T? Read(JsonElement element)
    {
        var item = read(element);
        if (item is null)
        {
            logger.LogWarning("watch of {Watch}: ignored a malformed object", target.Name);
        }
        return item;
    }

    private void MarkUp()
    {
        if (Health.Error is not null)
        {
            logger.LogInformation("watch of {Watch} re-established", target.Name);
        }
        Health.MarkUp();
    }

    private void MarkDown(LogLevel level, string error)
    {
        // A repeated error gets one line.
        logger.Log(
            reportFailure(Health, error) ? level : LogLevel.Debug, "watch of {Watch}: {Error}", target.Name, error);
        sink.Failed();
    }

    private TimeSpan PauseAfter(TimeSpan? retryAfter)
    {
        var pause = _backoff.Next();
        if (retryAfter is not { } requested || requested < pause)
        {
            return pause;
        }
        return requested < MaxRetryAfter ? requested : MaxRetryAfter;
    }

    private static bool TryReadLine(ref ReadOnlySequence<byte> buffer, out ReadOnlySequence<byte> line)
    {
        while (buffer.PositionOf((byte)'\n') is { } end)
        {
            line = buffer.Slice(0, end);
            buffer = buffer.Slice(buffer.GetPosition(1, end));
            if (!IsBlank(line))
            {
                return true;
            }
        }
        line = default;
        return false;
    }

    private static bool IsBlank(ReadOnlySequence<byte> bytes)
    {
        foreach (var part in bytes)
        {
            if (part.Span.ContainsAnyExcept(" \t\r\n"u8))
            {
                return false;
            }
        }
        return true;
    }

    private static string Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object
        && element.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : "";

    private static string Query(params ReadOnlySpan<(string Name, string Value)> parameters)
    {
        var query = "";
        foreach (var (name, value) in parameters)
        {
            if (value.Length > 0)
            {
                query += (query.Length == 0 ? "?" : "&") + name + "=" + Uri.EscapeDataString(value);
            }
        }
        return query;
    }
}
