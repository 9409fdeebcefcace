using System.Net;
using System.Text.Json;
using Kedge.Host.Flags;

namespace Kedge.Host.Kubernetes;

/// <summary>Reads from the API server, with the credentials that are valid at the time.</summary>
internal sealed class KubernetesApi : IDisposable
{
    private readonly IKubernetesAccessSource _source;
    private readonly SemaphoreSlim _finding = new(1);
    private ApiSession? _current;

    // Not disposed at once: a request may be about to use it.
    private ApiSession? _previous;

    public KubernetesApi(KubernetesOptions options)
        : this(options.KubeConfigUser.Length == 0 ? new FlagAccess(options) : new KubeConfigAccess(options))
    {
    }

    public KubernetesApi(IKubernetesAccessSource source) => _source = source;

    /// <summary>Sends a GET request. Returns when the headers have arrived; the body can be streamed.</summary>
    /// <exception cref="KubernetesApiException">The status is not 200.</exception>
    /// <exception cref="KubernetesAccessException">The server cannot be reached.</exception>
    public async Task<HttpResponseMessage> GetAsync(string pathAndQuery, CancellationToken stop)
    {
        var session = await SessionAsync(stop);
        var access = session.Access;
        using var request = new HttpRequestMessage(
            HttpMethod.Get, access.Server.AbsoluteUri.TrimEnd('/') + pathAndQuery)
        {
            Headers = { Authorization = await access.Authorization(stop) },
        };
        var response = await session.SendAsync(request, stop);
        if (response.StatusCode == HttpStatusCode.OK)
        {
            return response;
        }
        using (response)
        {
            if (response.StatusCode == HttpStatusCode.Unauthorized)
            {
                session.Reject();
            }
            var isAnonymous = response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden
                && request.Headers.Authorization is null && access.ClientCertificate is null;
            throw new KubernetesApiException(
                response.StatusCode,
                $"the API server answered {(int)response.StatusCode}: {await ReasonAsync(response, stop)}"
                    + (isAnonymous ? " (no credentials were sent: there is no token file)" : ""),
                response.Headers.RetryAfter?.Delta);
        }
    }

    /// <summary>Opens a new connection for the next request, and leaves the existing ones open.</summary>
    public async Task ReconnectAsync(CancellationToken stop)
    {
        await _finding.WaitAsync(stop);
        try
        {
            if (_current is { } session)
            {
                Replace(new ApiSession(session.Access));
            }
        }
        finally
        {
            _finding.Release();
        }
    }

    public void Dispose()
    {
        _current?.Dispose();
        _previous?.Dispose();
        _finding.Dispose();
    }

    private async Task<ApiSession> SessionAsync(CancellationToken stop)
    {
        if (Volatile.Read(ref _current) is { IsOver: false } known)
        {
            return known;
        }
        await _finding.WaitAsync(stop);
        try
        {
            if (_current is null or { IsOver: true })
            {
                Replace(new ApiSession(await _source.FindAsync(stop)));
            }
            return _current!;
        }
        finally
        {
            _finding.Release();
        }
    }

    private void Replace(ApiSession next)
    {
        _previous?.Dispose();
        _previous = _current;
        Volatile.Write(ref _current, next);
    }

    /// <summary>The <c>message</c> of a Status object, or the reason phrase.</summary>
    private static async Task<string> ReasonAsync(HttpResponseMessage response, CancellationToken stop)
    {
        try
        {
            await using var body = await response.Content.ReadAsStreamAsync(stop);
            using var status = await JsonDocument.ParseAsync(body, default, stop);
            return status.RootElement.GetProperty("message").GetString() ?? "";
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException
            or IOException)
        {
            return response.ReasonPhrase ?? "";
        }
    }
}
