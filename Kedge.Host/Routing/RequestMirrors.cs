using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Routing;

/// <summary>
/// The copies of one request. The request never waits for them: once all of it has arrived, another thread sends each
/// copy, with the headers that the backend itself gets, and reads and drops the response. The outcome of a copy affects
/// no endpoint's health and no retry budget. The size of the body that is kept is bounded, and so is the number of
/// copies in flight, from here to the end of the response.
/// </summary>
internal sealed class RequestMirrors(Protocol protocol, MirrorAgreement? agreement)
{
    /// <summary>The time for a copy, from its connection to the last byte of its response.</summary>
    public static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(10);

    // How much of a response is read, in bytes.
    private const int MaxAnswer = 1024 * 1024;

    private readonly Lock _lock = new();

    // At first the chosen copies, then those that wait for the body.
    private readonly List<Copy> _copies = new(1);
    private ArrayBufferWriter<byte>? _body;
    private List<int>? _answers;
    private int? _status;
    private bool _hasBegun;
    private bool _hasEnded;

    /// <summary>Adds a copy. Call it before <see cref="Begin"/>.</summary>
    /// <param name="backend">Null when the pool does not contain it.</param>
    public void Add(RouteMirror mirror, Backend? backend, MirrorCounters counters) =>
        _copies.Add(new Copy(mirror, backend, counters));

    /// <summary>Begins the copies: the request is about to be sent to its backend.</summary>
    /// <param name="request">The request, with the fields that the backend gets.</param>
    public void Begin(UpstreamRequest request, RequestRecord record)
    {
        var parent = Tracing.ContextOf(record);
        lock (_lock)
        {
            _hasBegun = true;
            for (var i = _copies.Count - 1; i >= 0; i--)
            {
                var copy = _copies[i];
                if (copy.Backend is null)
                {
                    copy.Counters.Count(MirrorResult.Failed);
                }
                else if (request.Content is not null && request.ContentLength > copy.Mirror.MaxBody)
                {
                    copy.Counters.Count(MirrorResult.BodyTooLarge);
                }
                else if (!copy.Counters.TryEnter())
                {
                    copy.Counters.Count(MirrorResult.Busy);
                }
                else
                {
                    copy.Request = CopyOf(request, copy.Mirror, copy.Backend);
                    copy.Parent = parent;
                    if (request.Content is not null)
                    {
                        continue;
                    }
                    Send(copy);
                }
                _copies.RemoveAt(i);
            }
        }
    }

    /// <summary>Keeps a part of the body that has been read from the caller.</summary>
    public void Note(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            var length = (_body?.WrittenCount ?? 0) + bytes.Length;
            for (var i = _copies.Count - 1; i >= 0; i--)
            {
                if (length > _copies[i].Mirror.MaxBody)
                {
                    Drop(i, MirrorResult.BodyTooLarge);
                }
            }
            if (_copies.Count > 0)
            {
                (_body ??= new()).Write(bytes);
            }
            else
            {
                _body = null;
            }
        }
    }

    /// <summary>Sends the copies that wait for the body: it has been read to its end.</summary>
    public void BodyCompleted()
    {
        lock (_lock)
        {
            var body = _body?.WrittenMemory ?? ReadOnlyMemory<byte>.Empty;
            foreach (var copy in _copies)
            {
                copy.Request!.Content = new ReadOnlyMemoryContent(body);
                copy.Request.ContentLength = protocol.IsGrpc ? null : body.Length;
                Send(copy);
            }
            _copies.Clear();
        }
    }

    /// <summary>The request has ended.</summary>
    /// <param name="status">The status that the caller got; null when it left.</param>
    public void End(int? status)
    {
        lock (_lock)
        {
            _hasEnded = true;
            _status = status;
            foreach (var answer in _answers ?? [])
            {
                Compare(answer);
            }
            // Their body was not read to its end.
            for (var i = _copies.Count - 1; _hasBegun && i >= 0; i--)
            {
                Drop(i, MirrorResult.Failed);
            }
            _body = null;
        }
    }

    private static UpstreamRequest CopyOf(UpstreamRequest request, RouteMirror mirror, Backend backend)
    {
        var copy = new UpstreamRequest
        {
            Method = request.Method,
            Target = request.Target,
            Scheme = backend.Client.Scheme,
            Authority = request.Authority,
            ContentLength = request.ContentLength,
        };
        foreach (ref readonly var field in request.Fields.AsSpan())
        {
            if (!Is(field.Name, HeaderNames.Expect) && (mirror.WithCredentials || !IsCredential(field.Name)))
            {
                copy.Fields.Add(field.Name, field.Value);
            }
        }
        copy.Fields.Add(ProxyHeaders.Mirror, "1");
        return copy;
    }

    private static bool IsCredential(string name) =>
        Is(name, HeaderNames.Authorization)
        || Is(name, HeaderNames.Cookie)
        || Is(name, ProxyHeaders.ForwardedClientCert);

    private static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);

    /// <summary>Call it under the lock.</summary>
    private void Drop(int index, MirrorResult result)
    {
        var copy = _copies[index];
        _copies.RemoveAt(index);
        copy.Counters.Count(result);
        copy.Counters.Leave();
    }

    /// <summary>Sends a copy on another thread, and outside the spans of the request.</summary>
    private void Send(Copy copy) =>
        ThreadPool.UnsafeQueueUserWorkItem(
            static work => _ = work.Owner.SendAsync(work.Copy), (Owner: this, Copy: copy), preferLocal: false);

    private async Task SendAsync(Copy copy)
    {
        var result = MirrorResult.Failed;
        var span = Tracing.StartMirror(copy.Parent, copy.Backend!.Name, copy.Request!.Fields);
        try
        {
            result = await ExchangeAsync(copy, span);
        }
        catch (Exception e)
        {
            // Whatever it is, it concerns only the mirror.
            span?.SetStatus(ActivityStatusCode.Error, e.Message);
        }
        finally
        {
            span?.Dispose();
            copy.Counters.Leave();
            copy.Counters.Count(result);
        }
    }

    private async Task<MirrorResult> ExchangeAsync(Copy copy, Activity? span)
    {
        var (backend, request) = (copy.Backend!, copy.Request!);
        if (!backend.TryEnter())
        {
            return MirrorResult.Busy;
        }
        try
        {
            if (backend.Endpoints.Pick(copy.Counters.NextTicket(), tried: null) is not { } endpoint)
            {
                throw new IOException("the backend has no endpoint");
            }
            using var limit = new CancellationTokenSource(TimeLimit);
            endpoint.RequestStarted();
            try
            {
                if (request.Authority.Length == 0)
                {
                    request.Authority = endpoint.Name;
                }
                using var response = await backend.Client.SendAsync(
                    endpoint, request, onNewConnection: false, backend.Connections, limit.Token);
                if (await ReadStatusAsync(response, limit.Token) is { } status)
                {
                    Tracing.MirrorAnswered(span, protocol, status);
                    Answered(status);
                }
                return MirrorResult.Sent;
            }
            finally
            {
                endpoint.RequestEnded();
            }
        }
        finally
        {
            backend.Leave();
        }
    }

    /// <summary>Reads the response to its end, up to the maximum size.</summary>
    /// <returns>The HTTP status, or the gRPC status; null when the gRPC status is not known.</returns>
    private async Task<int?> ReadStatusAsync(UpstreamResponse response, CancellationToken cancel)
    {
        if (!response.HasNoContent)
        {
            var body = response.Content.ReadAsStream(cancel);
            // Not from a pool: a read may still write to it when the response has been dropped.
            var buffer = new byte[16 * 1024];
            for (var total = 0; total < MaxAnswer;)
            {
                var read = await body.ReadAsync(buffer, cancel);
                if (read == 0)
                {
                    break;
                }
                total += read;
            }
        }
        if (protocol.IsHttp)
        {
            return (int)response.StatusCode;
        }
        string? text = null;
        var hasStatus = response.Trailers?.TryGet(GrpcHeaders.Status, out text) == true
            || response.Fields.TryGet(GrpcHeaders.Status, out text);
        return hasStatus && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var status)
            ? status
            : null;
    }

    private void Answered(int status)
    {
        lock (_lock)
        {
            if (_hasEnded)
            {
                Compare(status);
            }
            else
            {
                (_answers ??= []).Add(status);
            }
        }
    }

    private void Compare(int answer)
    {
        if (_status is { } status)
        {
            agreement?.Count(answer == status);
        }
    }

    private sealed class Copy(RouteMirror mirror, Backend? backend, MirrorCounters counters)
    {
        public RouteMirror Mirror => mirror;

        public Backend? Backend => backend;

        public MirrorCounters Counters => counters;

        public UpstreamRequest? Request { get; set; }

        public ActivityContext Parent { get; set; }
    }
}
