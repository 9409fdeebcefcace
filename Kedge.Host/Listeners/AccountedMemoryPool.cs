using System.Buffers;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Listeners;

/// <summary>
/// The server's buffers for one connection, which is charged for each of them. They contain the bytes received but not
/// yet passed to a backend, and those that the caller has not read.
/// </summary>
/// <param name="inner">Provides the buffers; not disposed of here.</param>
internal sealed class AccountedMemoryPool(MemoryPool<byte> inner, IMemoryAccount account) : MemoryPool<byte>
{
    public override int MaxBufferSize => inner.MaxBufferSize;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        var block = new Block(inner.Rent(minBufferSize), account);
        account.Add(block.Memory.Length);
        return block;
    }

    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Block(IMemoryOwner<byte> inner, IMemoryAccount account) : IMemoryOwner<byte>
    {
        private IMemoryOwner<byte>? _inner = inner;

        public Memory<byte> Memory => (_inner ?? throw new ObjectDisposedException(nameof(Block))).Memory;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _inner, null) is { } block)
            {
                account.Add(-block.Memory.Length);
                block.Dispose();
            }
        }
    }
}
