using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Kedge.Client;
using Kedge.Client.Domain.Decoded;

namespace Kedge.Winch.Sources;

/// <summary>
/// Tokens of an OpenID Connect provider: obtained by a user's login, stored, and refreshed before they expire.
/// </summary>
internal sealed class OidcSource : ITokenSource, IDisposable
{
    // A token may expire while its request is on the way.
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(10);

    // How long a request waits for a refresh. It never waits for a user.
    private static readonly TimeSpan RefreshTimeout = TimeSpan.FromSeconds(3);

    // How long to wait after a failure before asking the provider again.
    private static readonly TimeSpan RefreshPause = TimeSpan.FromSeconds(2);

    // The pause between two browser tabs; doubled for each tab that led to no login, so that few open overnight.
    private static readonly TimeSpan FirstTabPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LongestTabPause = TimeSpan.FromHours(8);
    private static readonly TimeSpan LoginLifetime = TimeSpan.FromMinutes(3);

    // Of an access token whose expiry the provider does not state.
    private static readonly TimeSpan UnknownLifetime = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan LockTimeout = TimeSpan.FromSeconds(30);

    private readonly Oidc _settings;
    private readonly OidcProvider _provider;
    private readonly ITokenStore _store;
    private readonly TimeProvider _clock;
    private readonly Lock _lock = new();
    private AuthToken? _token;
    private string _invalidated = "";
    private DateTimeOffset _since;
    private DateTimeOffset _retryAt;
    private TokenException? _lastFailure;
    private Task<AuthToken>? _refreshing;
    private PendingLogin? _login;
    private DateTimeOffset _nextTab;
    private TimeSpan _tabPause = FirstTabPause;

    public OidcSource(string name, Oidc settings, OidcProvider provider, ITokenStore store, TimeProvider clock)
    {
        Name = name;
        _settings = settings;
        _provider = provider;
        _store = store;
        _clock = clock;
    }

    public string Name { get; }

    public Oidc Settings => _settings;

    public OidcProvider Provider => _provider;

    /// <summary>Where the login is stored.</summary>
    public string StorePlace => _store.Place;

    /// <summary>Called after a refresh that showed that a login is needed.</summary>
    public Action<OidcSource>? OnLoginNeeded { get; set; }

    public long Refreshes { get; private set; }

    public long FailedRefreshes { get; private set; }

    /// <summary>The expiry of the current token; null = there is none.</summary>
    public DateTimeOffset? ExpiresAt
    {
        get
        {
            lock (_lock)
            {
                return _token?.ExpiresAt;
            }
        }
    }

    /// <summary>Why the last refresh failed; null = it did not.</summary>
    public string? Problem
    {
        get
        {
            lock (_lock)
            {
                return _lastFailure?.Message;
            }
        }
    }

    public async ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel)
    {
        Task<AuthToken> refreshing;
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            if (_token is { ExpiresAt: { } end } token && now < end - Margin)
            {
                if (now >= _since + (end - _since) * 0.8 && now >= _retryAt)
                {
                    _ = Refresh();
                }
                return token;
            }
            if (now < _retryAt && _lastFailure is { } failure && _refreshing is null)
            {
                throw failure;
            }
            refreshing = Refresh();
        }
        try
        {
            return await refreshing.WaitAsync(RefreshTimeout, cancel);
        }
        catch (TimeoutException)
        {
            throw new TokenException(
                Name,
                $"the provider {_settings.Provider} has not answered within {RefreshTimeout.TotalSeconds:0} s");
        }
    }

    public void Invalidate(AuthToken token)
    {
        lock (_lock)
        {
            if (_token == token)
            {
                _token = null;
                _invalidated = token.Value;
            }
        }
    }

    /// <summary>Forgets the tokens that winch sends, but keeps the login.</summary>
    /// <exception cref="TokenException">The store cannot be written.</exception>
    public void Clear()
    {
        lock (_lock)
        {
            _token = null;
            _lastFailure = null;
            _retryAt = default;
        }
        Store(() =>
        {
            if (_store.Read() is { } stored)
            {
                _store.Write(stored with { AccessToken = "", IdToken = "", Expiry = null });
            }
        });
    }

    /// <summary>Allows a new attempt although the last one has only just failed.</summary>
    public void Forgive()
    {
        lock (_lock)
        {
            _retryAt = default;
        }
    }

    /// <summary>Forgets everything.</summary>
    /// <exception cref="TokenException">The store cannot be written.</exception>
    public void Logout()
    {
        lock (_lock)
        {
            _token = null;
            _lastFailure = null;
            _retryAt = default;
        }
        Store(() => _store.Write(null));
    }

    /// <summary>Begins a login in a browser, or continues the login that is already in progress.</summary>
    /// <param name="redirectUri">The URI that the provider sends the browser back to.</param>
    /// <param name="returnTo">The URL that the user wanted; empty = none.</param>
    /// <param name="cancel">Ends the wait for the provider.</param>
    public async Task<Uri> BeginLoginAsync(string redirectUri, string returnTo, CancellationToken cancel)
    {
        PendingLogin login;
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            if (_login is not { } pending || now > pending.Until || pending.RedirectUri != redirectUri)
            {
                _login = new(Random(), Random(), Random(), redirectUri, now + LoginLifetime);
            }
            _login = _login with { ReturnTo = returnTo };
            login = _login;
        }
        var challenge = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(login.Verifier)));
        return await _provider.AuthorizeUrlAsync(redirectUri, login.State, challenge, login.Nonce, cancel);
    }

    /// <summary>Completes a login with the values that the browser brought back.</summary>
    /// <returns>The URL that the user wanted.</returns>
    /// <exception cref="TokenException">The login failed.</exception>
    public async Task<string> CompleteLoginAsync(string state, string code, string error, CancellationToken cancel)
    {
        PendingLogin login;
        lock (_lock)
        {
            if (_login is not { } pending
                || _clock.GetUtcNow() > pending.Until
                || !CryptographicOperations.FixedTimeEquals(
                    Encoding.UTF8.GetBytes(pending.State),
                    Encoding.UTF8.GetBytes(state)))
            {
                throw new UnknownLoginException(Name);
            }
            login = pending;
            // A code is valid only once.
            _login = null;
        }
        if (error.Length > 0)
        {
            throw new TokenException(Name, $"the provider refused the login: {error}");
        }
        await StoreAsync(() => _provider.RedeemAsync(code, login.RedirectUri, login.Verifier, login.Nonce, cancel));
        return login.ReturnTo;
    }

    /// <summary>Logs in with a code that the user enters on another device.</summary>
    public async Task LoginByDeviceAsync(Action<DeviceLogin> show, CancellationToken cancel)
    {
        await StoreAsync(async () =>
        {
            var login = await _provider.BeginDeviceAsync(cancel);
            show(login);
            return await _provider.FinishDeviceAsync(login, cancel);
        });
    }

    /// <summary>Whether a browser may open now; true once per pause.</summary>
    public bool MayOpenTab()
    {
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            if (now < _nextTab)
            {
                return false;
            }
            _nextTab = now + _tabPause;
            _tabPause = _tabPause * 2 < LongestTabPause ? _tabPause * 2 : LongestTabPause;
            return true;
        }
    }

    public void Dispose() => _provider.Dispose();

    private void Store(Action change)
    {
        try
        {
            change();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenException(Name, e.Message, e);
        }
    }

    private static string Random() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    private async Task StoreAsync(Func<Task<StoredTokens>> login)
    {
        StoredTokens tokens;
        try
        {
            tokens = await login();
        }
        catch (OperationCanceledException e)
        {
            throw new TokenException(Name, "nobody logged in in time", e);
        }
        catch (Exception e) when (e is ProviderException or HttpRequestException)
        {
            throw new TokenException(Name, e.Message, e);
        }
        try
        {
            using (await LockAsync())
            {
                _store.Write(tokens);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenException(Name, $"the login cannot be kept: {e.Message}", e);
        }
        Adopt(tokens);
    }

    /// <summary>Call it with the lock held. It does not adopt the current token from the store again.</summary>
    private Task<AuthToken> Refresh() => _refreshing ??= RefreshAsync(_token?.Value ?? "");

    private async Task<AuthToken> RefreshAsync(string old)
    {
        await Task.Yield();
        TokenException failure;
        try
        {
            var token = await FetchAsync(old);
            lock (_lock)
            {
                _lastFailure = null;
                _refreshing = null;
                Refreshes++;
            }
            return token;
        }
        catch (TokenException e)
        {
            failure = e;
        }
        catch (Exception e) when (e is ProviderException or HttpRequestException or IOException
            or UnauthorizedAccessException)
        {
            failure = new TokenException(Name, e.Message, e);
        }
        catch (Exception e)
        {
            // Whatever the error is, the next request must be able to try again. The message of an unknown exception
            // may contain a secret.
            failure = new TokenException(Name, $"the refresh failed ({e.GetType().Name})", e);
        }
        lock (_lock)
        {
            _lastFailure = failure;
            _retryAt = _clock.GetUtcNow() + RefreshPause;
            _refreshing = null;
            FailedRefreshes++;
        }
        if (failure is LoginRequiredException)
        {
            OnLoginNeeded?.Invoke(this);
        }
        throw failure;
    }

    private async Task<AuthToken> FetchAsync(string old)
    {
        if (_store.Read() is { } first && TryAdopt(first, old) is { } kept)
        {
            return kept;
        }
        using (await LockAsync())
        {
            // Another process may have refreshed in the meantime; then the refresh token that was read first is used
            // up.
            if (_store.Read() is not { } stored)
            {
                throw LoginRequired("nobody has logged in yet");
            }
            if (TryAdopt(stored, old) is { } fresh)
            {
                return fresh;
            }
            if (stored.RefreshToken.Length == 0)
            {
                throw LoginRequired("the login has ended");
            }
            StoredTokens refreshed;
            try
            {
                refreshed = await _provider.RefreshAsync(stored, CancellationToken.None);
            }
            catch (ProviderException e) when (e.Error is "invalid_grant" or "invalid_token")
            {
                _store.Write(null);
                throw LoginRequired($"the provider no longer takes the login ({e.Message})");
            }
            _store.Write(refreshed);
            return Adopt(refreshed);
        }
    }

    private async Task<IDisposable> LockAsync()
    {
        using var limit = new CancellationTokenSource(LockTimeout);
        try
        {
            return await _store.LockAsync(limit.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TokenException(
                Name, $"another process has locked the token file for {LockTimeout.TotalSeconds:0} s", e);
        }
    }

    private LoginRequiredException LoginRequired(string reason) => new(Name, $"{reason}; run: winch login {Name}");

    /// <summary>The token in the store, if it is valid, was not rejected, and is not the one to replace.</summary>
    private AuthToken? TryAdopt(StoredTokens stored, string old)
    {
        var value = Value(stored);
        if (value.Length == 0 || value == _invalidated || value == old)
        {
            return null;
        }
        // It was verified when it was stored, and the kedge verifies it again: this works while the provider is down.
        var end = _settings.Use == OidcToken.IdToken ? _provider.ExpiryOf(stored.IdToken) : stored.Expiry;
        return end > _clock.GetUtcNow() + Margin ? Adopt(value, end.Value) : null;
    }

    private string Value(StoredTokens stored) =>
        _settings.Use == OidcToken.IdToken ? stored.IdToken : stored.AccessToken;

    /// <summary>Uses tokens that the provider has just issued.</summary>
    private AuthToken Adopt(StoredTokens fresh) => Adopt(
        Value(fresh),
        (_settings.Use == OidcToken.IdToken ? _provider.ExpiryOf(fresh.IdToken) : fresh.Expiry)
        ?? _clock.GetUtcNow() + UnknownLifetime);

    private AuthToken Adopt(string value, DateTimeOffset end)
    {
        var token = new AuthToken(value, ExpiresAt: end);
        lock (_lock)
        {
            (_token, _since, _invalidated, _lastFailure) = (token, _clock.GetUtcNow(), "", null);
            _retryAt = default;
            (_nextTab, _tabPause) = (default, FirstTabPause);
        }
        return token;
    }

    private sealed record PendingLogin(
        string State,
        string Verifier,
        string Nonce,
        string RedirectUri,
        DateTimeOffset Until)
    {
        public string ReturnTo { get; init; } = "";
    }
}

/// <summary>
/// The browser brought a response that belongs to no login in progress: from an earlier one, or forged.
/// </summary>
internal sealed class UnknownLoginException(string source)
    : TokenException(source, "this answer belongs to no login in progress; log in again");
