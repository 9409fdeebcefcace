using System.Text.Json;
using Kedge.Host.Timing;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>
/// Keeps an issuer's signing keys up to date: fetches its discovery document and key set in the background, at regular
/// intervals, and at once when a token names an unknown key. While the issuer is unavailable, the last keys stay in
/// use.
/// </summary>
public sealed class OidcProvider : IAsyncDisposable
{
    private const long MaxDocumentBytes = 1024 * 1024;

    private static readonly TimeSpan RefreshInterval = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxRetry = TimeSpan.FromSeconds(30);

    private readonly string _issuer;
    private readonly string _keySet;
    private readonly TimeSpan _demandInterval;
    private readonly TimeProvider _time;
    private readonly ILogger<OidcProvider> _logger;
    private readonly HttpClient _client;
    private readonly HttpDocumentRetriever _documents;
    private readonly CancellationTokenSource _disposed = new();
    private readonly SemaphoreSlim _fetching = new(1);
    private readonly TaskCompletionSource _firstAttempt = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _demandLock = new();
    private readonly Task _loop;
    private Task? _demand;
    private long _demandBegan;
    private volatile SigningKeys? _keys;
    private volatile bool _isUnavailable = true;
    private long _fetched;

    /// <param name="issuer">The issuer's name, exactly as in its tokens; the discovery document is below it.</param>
    /// <param name="keySet">The URL of the key set; empty = where the discovery document says.</param>
    /// <param name="demandInterval">Tokens with invented key IDs cause at most one fetch per interval.</param>
    /// <param name="time">The clock for intervals.</param>
    /// <param name="logger">Where new keys and failures are reported.</param>
    public OidcProvider(
        string issuer, string keySet, TimeSpan demandInterval, TimeProvider time, ILogger<OidcProvider> logger)
    {
        _issuer = issuer;
        _keySet = keySet;
        _demandInterval = demandInterval;
        _time = time;
        _logger = logger;
        _client = new(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
        {
            Timeout = TimeSpan.FromSeconds(10),
            MaxResponseContentBufferSize = MaxDocumentBytes,
        };
        // An issuer with an https name must not point to keys in clear text.
        var root = keySet.Length > 0 ? keySet : issuer;
        _documents = new(_client) { RequireHttps = root.StartsWith("https:", StringComparison.OrdinalIgnoreCase) };
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Null until the first successful fetch.</summary>
    public SigningKeys? Keys => _keys;

    /// <summary>Whether the last fetch failed; also true before the first one.</summary>
    public bool IsUnavailable => _isUnavailable;

    /// <summary>How long ago the keys were fetched; null until the first successful fetch.</summary>
    public TimeSpan? Age => _keys is null ? null : _time.GetElapsedTime(Volatile.Read(ref _fetched));

    /// <summary>Completes when the first fetch has ended, successfully or not.</summary>
    public Task FirstAttempt => _firstAttempt.Task;

    /// <summary>
    /// Fetches the keys, for a token that no current key fits. Concurrent callers share a fetch. Soon after a fetch,
    /// starts no other: the returned task is then already complete. Never fails.
    /// </summary>
    public Task RefreshOnDemandAsync()
    {
        lock (_demandLock)
        {
            if (_demand is null || (_demand.IsCompleted && _time.GetElapsedTime(_demandBegan) >= _demandInterval))
            {
                _demandBegan = _time.GetTimestamp();
                _demand = Task.Run(RefreshAsync);
            }
            return _demand;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _disposed.CancelAsync();
        await _loop;
        if (_demand is { } last)
        {
            await last;
        }
        // A request that still holds the provider finds it canceled, and fetches nothing.
        _client.Dispose();
    }

    private async Task RunAsync()
    {
        var backoff = new Backoff(FirstRetry, MaxRetry);
        while (!_disposed.IsCancellationRequested)
        {
            await RefreshAsync();
            _firstAttempt.TrySetResult();
            TimeSpan pause;
            if (_isUnavailable)
            {
                pause = backoff.Next();
            }
            else
            {
                backoff.Reset();
                // Instances that start together must not refresh together.
                pause = Backoff.Jitter(RefreshInterval);
            }
            await Task.Delay(pause, _time, _disposed.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task RefreshAsync()
    {
        try
        {
            await _fetching.WaitAsync(_disposed.Token);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        try
        {
            var fetched = SigningKeys.Of(_keySet.Length > 0 ? await FetchKeySetAsync() : await DiscoverAsync());
            Volatile.Write(ref _fetched, _time.GetTimestamp());
            if (fetched.Count == 0 && _keys is not { Count: 0 })
            {
                // The provider says so itself: keys that it has withdrawn are no longer trusted.
                _logger.LogWarning(
                    "the key set of OIDC provider {Issuer} is empty: no token can be verified", _issuer);
            }
            if (_keys is not { } present || !present.HasSameKeys(fetched))
            {
                _keys = fetched;
                _logger.LogInformation("fetched the keys of OIDC provider {Issuer}: {Count}", _issuer, fetched.Count);
            }
            _isUnavailable = false;
        }
        catch (OperationCanceledException) when (_disposed.IsCancellationRequested)
        {
            // The server is shutting down.
        }
        catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException
            or InvalidDataException or ArgumentException or InvalidOperationException or JsonException)
        {
            _isUnavailable = true;
            _logger.LogWarning("cannot fetch the keys of OIDC provider {Issuer} ({State}): {Problem}",
                _issuer,
                _keys is null ? "no token can be verified" : "the previous keys stay in use",
                Innermost(e).Message);
        }
        finally
        {
            _fetching.Release();
        }
    }

    private async Task<IEnumerable<SecurityKey>> DiscoverAsync()
    {
        var address = _issuer.TrimEnd('/') + "/.well-known/openid-configuration";
        var configuration = await OpenIdConnectConfigurationRetriever.GetAsync(address, _documents, _disposed.Token);
        return configuration.Issuer == _issuer
            ? configuration.SigningKeys
            : throw new InvalidDataException($"it calls itself '{configuration.Issuer}'");
    }

    private async Task<IEnumerable<SecurityKey>> FetchKeySetAsync() =>
        new JsonWebKeySet(await _documents.GetDocumentAsync(_keySet, _disposed.Token)).GetSigningKeys();

    private static Exception Innermost(Exception e) => e.InnerException is { } inner ? Innermost(inner) : e;
}
