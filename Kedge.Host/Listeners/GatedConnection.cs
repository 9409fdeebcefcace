using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using Kedge.Host.Http;
using Kedge.Wire.Transport;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// A connection that a <see cref="ConnectionGate"/> counts, from when it is accepted until its socket is closed.
/// </summary>
internal sealed class GatedConnection : ConnectionContext, ICallerConnection, IMemoryPoolFeature, IHolder
{
    /// <summary>
    /// How much memory the headers of the requests in flight on one connection may occupy, in bytes. HPACK can encode a
    /// large field in one byte, so their size on the wire says nothing.
    /// </summary>
    public const long MaxHeldHeaders = 2 * 1024 * 1024;

    /// <summary>The charge for a request in flight beyond the buffers that it fills, in bytes.</summary>
    public const long RequestCost = 16 * 1024;

    // The budget need not follow each request: most connections never hold that much.
    private const long Step = 32 * 1024;

    private readonly ConnectionContext _inner;
    private readonly ConnectionGate _gate;
    private bool _hasReceived;
    private int _requests;
    private long _heldHeaders;
    private long _held;
    private readonly Lock _lock = new();
    // The bytes already reported to the budget.
    private long _reported;
    private bool _isClosed;
    private long _idleSince = Environment.TickCount64;

    /// <summary>Adds itself to the features of the connection, where the server's requests find it.</summary>
    public GatedConnection(ConnectionContext inner, ConnectionGate gate)
    {
        _inner = inner;
        _gate = gate;
        inner.Features.Set<ICallerConnection>(this);
        MemoryPool = new AccountedMemoryPool(
            inner.Features.Get<IMemoryPoolFeature>()?.MemoryPool ?? MemoryPool<byte>.Shared, this);
        inner.Features.Set<IMemoryPoolFeature>(this);
        if (inner is LoopConnection loop)
        {
            loop.Account = this;
        }
    }

    /// <summary>Whether it ever carried a request.</summary>
    public bool HasServed { get; private set; }

    /// <summary>Whether its peer has sent anything.</summary>
    public bool HasReceived =>
        HasServed
        || (_hasReceived |= TcpInfo.Of(Features) is { } info && info.BytesReceived > (ulong)PrefaceLength);

    /// <summary>How many of the first bytes come from a load balancer, not from the peer.</summary>
    public int PrefaceLength { get; set; }

    /// <summary>The server's buffers.</summary>
    public MemoryPool<byte> MemoryPool { get; }

    public long Held => Math.Max(0, Volatile.Read(ref _held));

    public bool IsEvicted { get; private set; }

    public EndPoint? Address => RemoteEndPoint;

    public override string ConnectionId
    {
        get => _inner.ConnectionId;
        set => _inner.ConnectionId = value;
    }

    public override IFeatureCollection Features => _inner.Features;

    public override IDictionary<object, object?> Items
    {
        get => _inner.Items;
        set => _inner.Items = value;
    }

    public override IDuplexPipe Transport
    {
        get => _inner.Transport;
        set => _inner.Transport = value;
    }

    public override CancellationToken ConnectionClosed
    {
        get => _inner.ConnectionClosed;
        set => _inner.ConnectionClosed = value;
    }

    public override EndPoint? LocalEndPoint
    {
        get => _inner.LocalEndPoint;
        set => _inner.LocalEndPoint = value;
    }

    public override EndPoint? RemoteEndPoint
    {
        get => _inner.RemoteEndPoint;
        set => _inner.RemoteEndPoint = value;
    }

    /// <summary>How many requests are in flight.</summary>
    public int Requests => Volatile.Read(ref _requests);

    public int RequestStarted()
    {
        HasServed = true;
        Add(RequestCost);
        return Interlocked.Increment(ref _requests);
    }

    public bool TryHold(long bytes)
    {
        if (Interlocked.Add(ref _heldHeaders, bytes) <= MaxHeldHeaders)
        {
            Add(bytes);
            return true;
        }
        Interlocked.Add(ref _heldHeaders, -bytes);
        return false;
    }

    public void RequestEnded(long held)
    {
        if (held > 0)
        {
            Interlocked.Add(ref _heldHeaders, -held);
        }
        Add(-held - RequestCost);
        Volatile.Write(ref _idleSince, Environment.TickCount64);
        Interlocked.Decrement(ref _requests);
    }

    public void Add(long bytes)
    {
        var held = Interlocked.Add(ref _held, bytes);
        if (Math.Abs(held - Volatile.Read(ref _reported)) < Step)
        {
            return;
        }
        lock (_lock)
        {
            if (!_isClosed)
            {
                Report(Volatile.Read(ref _held));
            }
        }
    }

    public void Evict(ConnectionAbortedException reason)
    {
        IsEvicted = true;
        Abort(reason);
    }

    /// <summary>How many milliseconds it has been idle; -1 while a request is in flight.</summary>
    /// <param name="now">As <see cref="Environment.TickCount64"/>.</param>
    public long IdleFor(long now) => Requests > 0 ? -1 : now - Volatile.Read(ref _idleSince);

    public override void Abort(ConnectionAbortedException abortReason) => _inner.Abort(abortReason);

    public override void Abort() => _inner.Abort();

    public override async ValueTask DisposeAsync()
    {
        await _inner.DisposeAsync();
        await base.DisposeAsync();
        _gate.Closed(this);
        lock (_lock)
        {
            _isClosed = true;
            Report(0);
        }
    }

    private void Report(long held)
    {
        _gate.Memory.Add(held - _reported);
        Volatile.Write(ref _reported, held);
    }
}
