using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Text.Json;

namespace Kedge.Host.Kubernetes;

/// <summary>Learns of the objects of a watch. Called by one thread at a time.</summary>
internal interface IWatchSink<in T>
{
    /// <summary>All there are; what was known before and is not here is gone.</summary>
    void Replace(IReadOnlyList<T> all);

    /// <summary>Added or changed.</summary>
    void Upsert(T item);

    void Delete(T item);

    /// <summary>The API server cannot be reached, or refuses: for now there is no news.</summary>
    void Failed()
    {
    }
}

/// <param name="Name">For messages and metrics.</param>
/// <param name="Path">Of the collection, over all namespaces: <c>/api/v1/services</c>.</param>
/// <param name="LabelSelector">Empty = all objects.</param>
/// <param name="SilenceTimeout">After so long without a word, bookmarks included, the watch is taken for dead.</param>
/// <param name="WhenMissing">What it means that the API server does not have the collection; empty = nothing is known.</param>
internal sealed record WatchTarget(string Name, string Path, string LabelSelector, TimeSpan SilenceTimeout, string WhenMissing = "");

/// <summary>
/// Lists a collection, then watches it from that version on, for ever. Nothing is lost: a watch goes on from the version
/// that it has seen last, and where that cannot be (410, or an API server that was away and may be another) everything is
/// listed again. The sink gets a list only when it is whole.
/// </summary>
/// <param name="read">Null = not what it should be; such an object is left out.</param>
/// <param name="fails">Notes an error; yields whether it is news. When another watch has it too, it is none.</param>
internal sealed class ResourceWatch<T>(
    KubernetesApi api, WatchTarget target, Func<JsonElement, T?> read, IWatchSink<T> sink, Func<WatchHealth, string, bool> fails, ILogger logger)
    where T : class
{
    // The size that kubectl asks for. Memory for a list is bounded by a page, not by the cluster.
    private const int PageSize = 500;

    private static readonly TimeSpan PageTimeout = TimeSpan.FromSeconds(60);

    // The API server ends a watch after a time that the client may choose. That it does proves the connection.
    private const int ShortestWatchSeconds = 240;
    private const int LongestWatchSeconds = 480;
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    // The API server's objects are 1.5 MB at most.
    private const int LongestEvent = 8 << 20;

    // A watch that stood for so long was no failed attempt.
    private static readonly TimeSpan LongEnough = TimeSpan.FromSeconds(10);

    private readonly Backoff _backoff = new();

    // What has been seen of the collection; null = a list is needed.
    private string? _version;

    public WatchHealth Health { get; } = new(target.Name);

    public async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            TimeSpan? askedFor = null;
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
                var meaning = e.Status == HttpStatusCode.NotFound && target.WhenMissing.Length > 0 ? $" ({target.WhenMissing})" : "";
                Fails(e.IsGone ? LogLevel.Debug : LogLevel.Warning, e.Message + meaning);
                askedFor = e.RetryAfter;
                // 410, and after every other refusal too: what the server makes of the version is not known.
                _version = null;
            }
            catch (Exception e) when (e is HttpIOException or IOException)
            {
                Fails(LogLevel.Debug, e.Message);
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException or JsonException
                or KubernetesAccessException or UnauthorizedAccessException)
            {
                Fails(LogLevel.Warning, e is OperationCanceledException ? "no answer in time" : e.Message);
                _version = null;
            }
            catch (Exception e)
            {
                logger.LogError(e, "watch of {Watch} failed unexpectedly", target.Name);
                Health.Fails(e.Message);
                _version = null;
            }
            Health.Restarted();
            if (Environment.TickCount64 - begun > LongEnough.TotalMilliseconds)
            {
                _backoff.Reset();
            }
            try
            {
                await _backoff.WaitAsync(askedFor, stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>Hands the whole collection to the sink, and yields its version.</summary>
    private async Task<string> ListAsync(CancellationToken stop)
    {
        var items = new List<T>();
        var continuation = "";
        var limit = PageSize;
        while (true)
        {
            var query = Query(
                ("labelSelector", target.LabelSelector),
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
                    Health.Listed();
                    Stands();
                    logger.LogDebug("watch of {Watch}: {Count} listed", target.Name, items.Count);
                    return Text(metadata, "resourceVersion");
                }
            }
            catch (KubernetesApiException e) when (e.IsGone && continuation.Length > 0)
            {
                // The pages took longer than the version is kept: all at once, then.
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

    /// <summary>Hands on events until the watch ends. True when it may be begun again at once.</summary>
    private async Task<bool> WatchAsync(string version, CancellationToken stop)
    {
        var seconds = Random.Shared.Next(ShortestWatchSeconds, LongestWatchSeconds);
        var query = Query(
            ("labelSelector", target.LabelSelector),
            ("watch", "true"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds.ToString(CultureInfo.InvariantCulture)));
        using var response = await api.GetAsync(target.Path + query, stop);
        await using var body = await response.Content.ReadAsStreamAsync(stop);
        var reader = PipeReader.Create(body);
        var begun = Environment.TickCount64;
        var heard = false;
        Stands();
        try
        {
            using var silence = CancellationTokenSource.CreateLinkedTokenSource(stop);
            while (true)
            {
                var left = TimeSpan.FromSeconds(seconds) + Grace - TimeSpan.FromMilliseconds(Environment.TickCount64 - begun);
                silence.CancelAfter(left < target.SilenceTimeout ? (left > TimeSpan.Zero ? left : TimeSpan.Zero) : target.SilenceTimeout);
                var result = await reader.ReadAsync(silence.Token);
                var buffer = result.Buffer;
                while (TryReadLine(ref buffer, out var line))
                {
                    Handle(line);
                    heard = true;
                }
                if (result.IsCompleted && !buffer.IsEmpty && !IsBlank(buffer))
                {
                    Handle(buffer);
                    buffer = buffer.Slice(buffer.End);
                }
                if (buffer.Length > LongestEvent)
                {
                    throw new JsonException($"an event of more than {LongestEvent} bytes");
                }
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                {
                    Health.Restarted();
                    // A server that ends every watch at once must not be asked in a loop.
                    return heard || Environment.TickCount64 - begun > 1000;
                }
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            logger.LogInformation("watch of {Watch}: silent for too long, starting again", target.Name);
            Health.Restarted();
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
        if (!document.RootElement.TryGetProperty("object", out var @object) || @object.ValueKind != JsonValueKind.Object)
        {
            throw new JsonException("an event without an object");
        }
        if (type == "ERROR")
        {
            var code = @object.TryGetProperty("code", out var number) && number.TryGetInt32(out var value) ? value : 500;
            throw new KubernetesApiException((HttpStatusCode)code, $"the watch ended with {code}: {Text(@object, "message")}");
        }
        Health.Heard();
        _backoff.Reset();
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
        if (@object.TryGetProperty("metadata", out var metadata) && Text(metadata, "resourceVersion") is { Length: > 0 } version)
        {
            _version = version;
        }
    }

    private T? Read(JsonElement element)
    {
        var item = read(element);
        if (item is null)
        {
            logger.LogWarning("watch of {Watch}: an object that cannot be read is left out", target.Name);
        }
        return item;
    }

    private void Stands()
    {
        if (Health.Error is not null)
        {
            logger.LogInformation("watch of {Watch} stands again", target.Name);
        }
        Health.Stands();
    }

    private void Fails(LogLevel level, string error)
    {
        // The same error again and again is worth one line.
        logger.Log(fails(Health, error) ? level : LogLevel.Debug, "watch of {Watch}: {Error}", target.Name, error);
        sink.Failed();
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
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
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
