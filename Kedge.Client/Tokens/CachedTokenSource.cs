namespace Kedge.Client;

/// <summary>
/// Caches the tokens of a slow source: one fetch at a time for all waiting callers, and a new token before the old one
/// expires.
/// </summary>
/// <param name="name">The name of the source, for messages.</param>
/// <param name="fetch">
/// Fetches a token, or throws <see cref="TokenException"/>. Callers that stop waiting do not cancel it.
/// </param>
/// <param name="clock">The clock; null = the system's.</param>
public sealed class CachedTokenSource(
    string name, Func<CancellationToken, Task<AuthToken>> fetch, TimeProvider? clock = null) : ITokenSource
{
    // A token may expire while its request is on the way.
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(10);

    // After a fetch, even a failed one, no token is refreshed ahead of time for this long.
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly Lock _lock = new();
    private AuthToken? _token;
    private DateTimeOffset _fetchedAt;
    private DateTimeOffset _retryAt;
    private Task<AuthToken>? _fetching;

    /// <inheritdoc/>
    public string Name { get; } = name;

    /// <summary>The cached token, whether or not it is still valid; null = none.</summary>
    public AuthToken? Current
    {
        get
        {
            lock (_lock)
            {
                return _token;
            }
        }
    }

    /// <inheritdoc/>
    public ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel)
    {
        Task<AuthToken> fetching;
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            if (_token is { } token && (token.ExpiresAt is not { } end || now < end - Margin))
            {
                if (token.ExpiresAt is { } expiry && now >= _fetchedAt + (expiry - _fetchedAt) * 0.8 && now >= _retryAt)
                {
                    // Ahead of time, so no caller waits and a failure does no harm yet.
                    _ = Fetch();
                }
                return ValueTask.FromResult(token);
            }
            fetching = Fetch();
        }
        return new(fetching.WaitAsync(cancel));
    }

    /// <inheritdoc/>
    public void Invalidate(AuthToken token)
    {
        lock (_lock)
        {
            if (_token == token)
            {
                _token = null;
            }
        }
    }

    private Task<AuthToken> Fetch() => _fetching ??= FetchAsync();

    private async Task<AuthToken> FetchAsync()
    {
        await Task.Yield();
        try
        {
            var token = await fetch(CancellationToken.None);
            lock (_lock)
            {
                (_token, _fetchedAt) = (token, _clock.GetUtcNow());
            }
            return token;
        }
        catch (Exception e) when (e is not TokenException)
        {
            throw new TokenException(Name, e.Message, e);
        }
        finally
        {
            lock (_lock)
            {
                _fetching = null;
                _retryAt = _clock.GetUtcNow() + Pause;
            }
        }
    }
}
