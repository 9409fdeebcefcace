using System.Runtime.InteropServices;
using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;

namespace Kedge.Host.Server;

/// <summary>The files of a server, as they were when it was started from them.</summary>
/// <param name="Configuration">Those of the configuration; none for inline configuration.</param>
/// <param name="Certificates">Those of the server's TLS identity.</param>
public sealed record ServerFiles(WatchedFiles Configuration, WatchedFiles Certificates)
{
    public static ServerFiles None => new(WatchedFiles.None, WatchedFiles.None);

    /// <summary>To be made before the files are read, so that no change between the two is missed.</summary>
    public static ServerFiles Of(ServerOptions options) =>
        new(WatchedFiles.Of(options.Configuration), options.Listeners.HasTls ? WatchedFiles.Of(options.Tls) : WatchedFiles.None);
}

/// <summary>
/// Reads changed files again: looks every second, and at once on SIGHUP. Warns of certificates that will soon expire.
/// A file that cannot be read in time, such as one on a file system that hangs, is reported; it does not delay the end of
/// the process.
/// </summary>
public sealed class Reloader : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ReadLimit = TimeSpan.FromSeconds(10);

    private readonly ServerOptions _options;
    private readonly ServerFiles _files;
    private readonly ConfigurationStore _store;
    private readonly CertificateStore? _certificates;
    private readonly CertificateExpiry? _expiry;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _hangup = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly PosixSignalRegistration _registration;
    private string _inForce;
    private Task _loop = Task.CompletedTask;

    public Reloader(
        ServerOptions options, ServerFiles files, ConfigurationStore store, CertificateStore? certificates, ILogger<Reloader> logger)
    {
        _options = options;
        _files = files;
        _store = store;
        _certificates = certificates;
        _expiry = certificates is null ? null : new(certificates, logger, TimeProvider.System);
        _logger = logger;
        _inForce = files.Configuration.Seen;
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
        await _loop;
    }

    private async Task RunAsync()
    {
        await Task.Yield();
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                _expiry?.Look();
                var isAsked = await _hangup.WaitAsync(Interval, _stop.Token);
                // On a thread of its own, which a file system may hold for any time.
                await FinishAsync(Task.Run(async () =>
                {
                    await ReloadConfigurationAsync(isAsked);
                    await ReloadCertificateAsync(isAsked);
                }));
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                _logger.LogError(e, "reading the files again failed");
            }
        }
    }

    /// <summary>Waits for the work, however long it takes, but reports once when that is too long.</summary>
    private async Task FinishAsync(Task work)
    {
        try
        {
            await work.WaitAsync(ReadLimit, _stop.Token);
        }
        catch (TimeoutException) when (!work.IsCompleted)
        {
            _store.Refuse("file", [$"the files cannot be read within {(int)ReadLimit.TotalSeconds} s"]);
            await work.WaitAsync(_stop.Token);
        }
    }

    private async Task ReloadConfigurationAsync(bool isAsked)
    {
        var files = _files.Configuration;
        if (files.IsEmpty)
        {
            if (isAsked)
            {
                _logger.LogInformation("SIGHUP: there is no configuration file to read again");
            }
            return;
        }
        if (!isAsked && !files.HaveChanged)
        {
            return;
        }
        var source = isAsked ? "SIGHUP" : "file";
        var (configuration, errors) = await files.ReadSettledAsync(
            () => (ConfigurationLoader.Load(_options.Configuration, out var problems), problems), _stop.Token);
        if (configuration is null)
        {
            _store.Refuse(source, errors);
        }
        else if (files.Seen == _inForce)
        {
            _store.Confirm(source);
        }
        else
        {
            _inForce = files.Seen;
            _store.SetFiles(configuration, source);
        }
    }

    private async Task ReloadCertificateAsync(bool isAsked)
    {
        var files = _files.Certificates;
        if (_certificates is null || files.IsEmpty || (!isAsked && !files.HaveChanged))
        {
            return;
        }
        var before = files.Seen;
        var (identity, errors) = await files.ReadSettledAsync(
            () => (TlsFiles.Load(_options.Tls, out var problems), problems), _stop.Token);
        if (identity is null)
        {
            _certificates.Refuse(errors);
            foreach (var error in errors)
            {
                _logger.LogError("the changed certificate files are refused, the ones before serve on: {Error}", error);
            }
        }
        else if (before != files.Seen || _certificates.Errors.Count > 0)
        {
            _certificates.Replace(identity);
            _logger.LogInformation(
                "new connections get the certificate {Subject}, which expires {Expiry}",
                identity.Certificate.Subject,
                identity.Certificate.NotAfter.ToUniversalTime().ToString("u", System.Globalization.CultureInfo.InvariantCulture));
        }
    }
}
