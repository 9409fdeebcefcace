using System.Runtime.InteropServices;
using Kedge.Host.Configurations;

namespace Kedge.Host.Server;

/// <summary>Loads files that belong together, and applies their content.</summary>
/// <typeparam name="T">What the files contain.</typeparam>
public interface IReloadable<T>
    where T : class
{
    /// <summary>Loads the files. Returns null and a line for each error when they are invalid.</summary>
    T? Load(out IReadOnlyList<string> errors);

    /// <summary>Applies new, valid content of the files.</summary>
    /// <param name="value">The new content.</param>
    /// <param name="source">What caused the reload: <c>file</c> or <c>SIGHUP</c>.</param>
    void Replace(T value, string source);

    /// <summary>Notes that the files still have, or have again, the active content.</summary>
    void MarkUnchanged(string source);

    /// <summary>Rejects invalid content of the files: what was loaded before stays active.</summary>
    void Reject(IReadOnlyList<string> errors, string source);

    /// <summary>Called before each check of the files.</summary>
    void BeforeCheck()
    {
    }
}

/// <summary>
/// Reloads files when their content changes, which it checks every second, and at once on SIGHUP. It reports files that
/// cannot be read in time, such as those on a file system that hangs; they do not delay the end of the process.
/// </summary>
public sealed class FileReload<T> : IAsyncDisposable
    where T : class
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(10);

    private readonly string _subject;
    private readonly WatchedFiles _files;
    private readonly IReloadable<T> _target;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _hangup = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly PosixSignalRegistration _registration;
    private string _active;
    private bool _wasLate;
    private Task _loop = Task.CompletedTask;

    /// <param name="subject">The name of the files in log messages, such as <c>configuration</c>.</param>
    /// <param name="files">The files, in the state that is already active.</param>
    /// <param name="target">Loads the files and applies their content.</param>
    /// <param name="logger">Where failures are logged.</param>
    public FileReload(string subject, WatchedFiles files, IReloadable<T> target, ILogger logger)
    {
        _subject = subject;
        _files = files;
        _target = target;
        _logger = logger;
        _active = files.Seen;
        _registration = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            _hangup.Release();
        });
    }

    public void Start() => _loop = RunAsync();

    public async ValueTask DisposeAsync()
    {
        _registration.Dispose();
        await _stop.CancelAsync();
        // The semaphore and the token source are not disposed: a read that hangs may still use them.
        await _loop;
    }

    private async Task RunAsync()
    {
        await Task.Yield();
        try
        {
            var isRequested = false;
            while (true)
            {
                await TryCheckAsync(isRequested);
                isRequested = await _hangup.WaitAsync(Interval, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The server is shutting down.
        }
    }

    private async Task TryCheckAsync(bool isRequested)
    {
        try
        {
            _target.BeforeCheck();
            // On another thread, which a file system may block for any length of time.
            await FinishAsync(Task.Run(() => CheckAsync(isRequested)), SourceOf(isRequested));
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            _logger.LogError(e, "failed to reload the {Subject}", _subject);
        }
    }

    /// <summary>Waits for a check, however long it takes, but reports when it takes too long.</summary>
    private async Task FinishAsync(Task check, string source)
    {
        try
        {
            await check.WaitAsync(ReadTimeout, _stop.Token);
        }
        catch (TimeoutException) when (!check.IsCompleted)
        {
            _target.Reject([$"the files cannot be read within {(int)ReadTimeout.TotalSeconds} s"], source);
            await check.WaitAsync(_stop.Token);
            _wasLate = true;
        }
    }

    private static string SourceOf(bool isRequested) => isRequested ? "SIGHUP" : "file";

    private async Task CheckAsync(bool isRequested)
    {
        if (_files.IsEmpty)
        {
            if (isRequested)
            {
                _logger.LogInformation("SIGHUP: there are no {Subject} files to reload", _subject);
            }
            return;
        }
        if (!isRequested && !_wasLate && !_files.HaveChanged)
        {
            return;
        }
        _wasLate = false;
        var source = SourceOf(isRequested);
        var (value, errors) = await _files.ReadSettledAsync(
            () => (_target.Load(out var problems), problems), _stop.Token);
        if (value is null)
        {
            _target.Reject(errors, source);
        }
        else if (_files.Seen == _active)
        {
            _target.MarkUnchanged(source);
        }
        else
        {
            _active = _files.Seen;
            _target.Replace(value, source);
        }
    }
}
