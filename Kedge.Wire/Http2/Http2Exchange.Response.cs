using System.Buffers;
using System.Net;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// The response: what the session reports, and the content that is kept until it is read.
internal sealed partial class Http2Exchange
{
    // The head of the response, and whether the caller has yet to receive it.
    private UpstreamResponse? _head;
    private bool _isHeadDue;
    private Queue<(int Status, FieldList Fields)>? _informational;
    private bool _isInforming;

    // Content that was received but not read yet, and the reader that waits for more.
    private byte[] _buffer = [];
    private int _start;
    private int _end;
    private FieldList? _trailers;
    private bool _isReading;
    private Memory<byte> _readBuffer;
    private int _readCount;
    private bool _isDisposed;
    private CancellationTokenRegistration _readRegistration;
    private ManualResetValueTaskSourceCore<int> _read;

    private bool HasContent => _end > _start;

    /// <summary>Reads content of the response.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel)
    {
        int count;
        bool isOver;
        lock (_connection.Lock)
        {
            if (HasContent)
            {
                count = TakeContent(buffer.Span);
                isOver = IsOver;
            }
            else if (_error is not null)
            {
                return ValueTask.FromException<int>(_error);
            }
            else if (IsRemoteClosed || _isDisposed)
            {
                _head!.Trailers = _trailers;
                return new(0);
            }
            else
            {
                _isReading = true;
                _readBuffer = buffer;
                _readCount = -1;
                _read.Reset();
                if (cancel.CanBeCanceled && cancel != _cancel)
                {
                    _readRegistration = cancel.UnsafeRegister(
                        static exchange => ((Http2Exchange)exchange!).Cancel(), this);
                }
                return new(this, _read.Version);
            }
        }
        if (isOver)
        {
            _registration.Unregister();
        }
        else
        {
            // The read may have opened the window.
            _connection.Flush();
        }
        return new(count);
    }

    protected internal override void OnInformational(int status, FieldList fields)
    {
        if (status == 100)
        {
            _mayContinue?.TrySetResult(true);
        }
        else if (_request.OnInformational is not null)
        {
            (_informational ??= []).Enqueue((status, fields));
            Change();
        }
    }

    protected internal override void OnHead(int status, FieldList fields, long? contentLength, bool isEnd)
    {
        _head = new UpstreamResponse(status, fields)
        {
            ContentLength = contentLength,
            HasNoContent = isEnd,
            Version = HttpVersion.Version20,
            Content = new StreamedContent(new Http2ResponseStream(this)),
        };
        _isHeadDue = true;
        Change();
    }

    protected internal override void OnData(ReadOnlySpan<byte> content)
    {
        if (_isReading && _readBuffer.Length > 0)
        {
            // Straight into the reader's buffer.
            var size = Math.Min(content.Length, _readBuffer.Length);
            content[..size].CopyTo(_readBuffer.Span);
            _readBuffer = _readBuffer[size..];
            _readCount = Math.Max(0, _readCount) + size;
            content = content[size..];
            _connection.Session.Consumed(this, size, content.IsEmpty);
        }
        else if (_isReading && _readCount < 0)
        {
            // A read into an empty buffer only waits for content.
            _readCount = 0;
        }
        Keep(content);
        Change();
    }

    protected internal override void OnEnd(FieldList? trailers)
    {
        _trailers = trailers;
        Change();
    }

    private void Keep(ReadOnlySpan<byte> content)
    {
        if (content.IsEmpty)
        {
            return;
        }
        if (_isDisposed)
        {
            _connection.Session.Consumed(this, content.Length, isWaiting: false);
            return;
        }
        if (_buffer.Length - _end < content.Length)
        {
            MakeRoom(content.Length);
        }
        content.CopyTo(_buffer.AsSpan(_end));
        _end += content.Length;
    }

    private void MakeRoom(int size)
    {
        var kept = _buffer.AsSpan(_start, _end - _start);
        if (_buffer.Length - kept.Length >= size)
        {
            kept.CopyTo(_buffer);
        }
        else
        {
            // The window of the stream bounds it.
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(1024, Math.Max(kept.Length + size, 2 * kept.Length)));
            kept.CopyTo(larger);
            ReturnBuffer();
            _buffer = larger;
            _request.Account?.Add(larger.Length);
        }
        _end -= _start;
        _start = 0;
    }

    private int TakeContent(Span<byte> destination)
    {
        var count = Math.Min(destination.Length, _end - _start);
        _buffer.AsSpan(_start, count).CopyTo(destination);
        _start += count;
        if (_start == _end)
        {
            _start = _end = 0;
            ReturnBuffer();
        }
        _connection.Session.Consumed(this, count, !HasContent);
        return count;
    }

    private void DropContent()
    {
        _start = _end = 0;
        ReturnBuffer();
    }

    private void ReturnBuffer()
    {
        if (_buffer.Length > 0)
        {
            _request.Account?.Add(-_buffer.Length);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }
    }

    /// <summary>Passes on informational responses one by one, and then whatever has arrived in the meantime.</summary>
    private async Task InformAsync()
    {
        while (true)
        {
            (int Status, FieldList Fields) next;
            lock (_connection.Lock)
            {
                if (!_informational!.TryDequeue(out next))
                {
                    _informational = null;
                    _isInforming = false;
                    break;
                }
            }
            try
            {
                await _request.OnInformational!(_request.State, next.Status, next.Fields);
            }
            catch (Exception)
            {
                // The callback no longer accepts them; the final response will show why.
            }
        }
        Signal();
    }
}
