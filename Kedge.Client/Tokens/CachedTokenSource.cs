namespace Kedge.Client;

/// <summary>
/// Keeps the tokens of a source that takes time: one fetch at a time for all who wait, a new token ahead of the old
/// one's end.
/// </summary>
/// <param name="name">For messages.</param>
/// <param name="fetch">
/// Fetches a token, or throws <see cref="TokenException"/>. Not cancelled by those who wait.
/// </param>
/// <param name="clock">Null = the system's.</param>
public sealed class CachedTokenSource(
    string name, Func<CancellationToken, Task<AuthToken>> fetch, TimeProvider? clock = null) : ITokenSource
{
    // A token may expire while its request is on the way.
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(10);

    // A source that fails is not asked again at once.
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly Lock _lock = new();
    private AuthToken? _token;
    private DateTimeOffset _fetchedAt;
    private DateTimeOffset _retryAt;
    private Task<AuthToken>? _fetching;

    /// <inheritdoc/>
    public string Name { get; } = name;

    /// <summary>The token that is kept, whether or not it is still valid; null = none.</summary>
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
                    // Ahead of time, so nobody waits and a failure does no harm yet.
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
