using System.Text.Json;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace Kedge.Host.Authorization;

/// <summary>
/// Keeps a provider's signing keys at hand: fetches its discovery document and key set in the background, now and then again,
/// and once more when a token names a key that is not among them. While the provider is away the last keys stay in use.
/// </summary>
public sealed class OidcProvider : IAsyncDisposable
{
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LastRetry = TimeSpan.FromSeconds(30);
    // Whoever sends tokens with invented key ids can cause one fetch in that time.
    private static readonly TimeSpan DemandInterval = TimeSpan.FromSeconds(10);
    private const long MaxDocumentBytes = 1024 * 1024;

    private readonly string issuer;
    private readonly TimeProvider time;
    private readonly ILogger<OidcProvider> logger;
    private readonly HttpClient client;
    private readonly HttpDocumentRetriever documents;
    private readonly CancellationTokenSource disposed = new();
    private readonly SemaphoreSlim oneAtATime = new(1);
    private readonly TaskCompletionSource firstAttempt = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock demandGate = new();
    private readonly Task loop;
    private Task? demand;
    private long demandBegan;
    private volatile SigningKeys? keys;
    private volatile bool isAway = true;

    /// <param name="issuer">The provider's name, exactly as it is in its tokens; the discovery document lies below it.</param>
    /// <param name="time">For intervals.</param>
    /// <param name="logger">Gets a line when keys are fetched or cannot be.</param>
    public OidcProvider(string issuer, TimeProvider time, ILogger<OidcProvider> logger)
    {
        this.issuer = issuer;
        this.time = time;
        this.logger = logger;
        client = new(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
        {
            Timeout = TimeSpan.FromSeconds(10),
            MaxResponseContentBufferSize = MaxDocumentBytes,
        };
        // A provider with an https name cannot point to keys that come in clear text.
        documents = new(client) { RequireHttps = issuer.StartsWith("https:", StringComparison.OrdinalIgnoreCase) };
        loop = Task.Run(RunAsync);
    }

    /// <summary>Null until they were fetched for the first time.</summary>
    public SigningKeys? Keys => keys;

    /// <summary>The last fetch failed, or there was none yet.</summary>
    public bool IsAway => isAway;

    /// <summary>Completes when the first fetch has ended, well or not.</summary>
    public Task FirstAttempt => firstAttempt.Task;

    /// <summary>
    /// Fetches the keys for a token that the present ones do not fit. Callers at one time share a fetch; soon after one there
    /// is no other, and the task is complete. Never fails.
    /// </summary>
    public Task RefreshOnDemandAsync()
    {
        lock (demandGate)
        {
            if (demand is null || (demand.IsCompleted && time.GetElapsedTime(demandBegan) >= DemandInterval))
            {
                demandBegan = time.GetTimestamp();
                demand = Task.Run(RefreshAsync);
            }
            return demand;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await disposed.CancelAsync();
        await loop;
        if (demand is { } last)
        {
            await last;
        }
        client.Dispose();
        oneAtATime.Dispose();
        disposed.Dispose();
    }

    private async Task RunAsync()
    {
        var retry = FirstRetry;
        while (!disposed.IsCancellationRequested)
        {
            await RefreshAsync();
            firstAttempt.TrySetResult();
            var wait = isAway ? retry : RefreshInterval;
            retry = isAway ? TimeSpan.FromTicks(Math.Min(retry.Ticks * 2, LastRetry.Ticks)) : FirstRetry;
            // Many instances that start together shall not come back together.
            var jittered = wait * (0.8 + 0.4 * Random.Shared.NextDouble());
            await Task.Delay(jittered, time, disposed.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task RefreshAsync()
    {
        try
        {
            await oneAtATime.WaitAsync(disposed.Token);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        try
        {
            var address = issuer.TrimEnd('/') + "/.well-known/openid-configuration";
            var configuration = await OpenIdConnectConfigurationRetriever.GetAsync(address, documents, disposed.Token);
            if (configuration.Issuer != issuer)
            {
                throw new InvalidDataException($"it calls itself '{configuration.Issuer}'");
            }
            var fetched = SigningKeys.Of(configuration, time);
            if (fetched.Count == 0 && keys is not { Count: 0 })
            {
                // The provider says so itself: keys that it has withdrawn are no longer trusted.
                logger.LogWarning(
                    "the key set of OIDC provider {Issuer} is empty: no token can be verified", issuer);
            }
            if (keys is not { } present || !present.HasSameKeys(fetched))
            {
                keys = fetched;
                logger.LogInformation("fetched the keys of OIDC provider {Issuer}: {Count}", issuer, fetched.Count);
            }
            isAway = false;
        }
        catch (OperationCanceledException) when (disposed.IsCancellationRequested)
        {
            // The server ends.
        }
        catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException or InvalidDataException
            or ArgumentException or InvalidOperationException or JsonException)
        {
            isAway = true;
            logger.LogWarning("cannot fetch the keys of OIDC provider {Issuer} ({State}): {Problem}",
                issuer, keys is null ? "no token can be verified" : "the last ones stay in use", Innermost(e).Message);
        }
        finally
        {
            oneAtATime.Release();
        }
    }

    private static Exception Innermost(Exception e) => e.InnerException is { } inner ? Innermost(inner) : e;
}
