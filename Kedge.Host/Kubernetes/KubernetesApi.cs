using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Kubernetes;

/// <summary>Reads from the API server, with the credentials that are valid at the time.</summary>
internal sealed class KubernetesApi : IDisposable
{
    // A server that comes back must be noticed within seconds.
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(15);

    private readonly IKubernetesAccessSource _source;
    private readonly SemaphoreSlim _finding = new(1);
    private readonly HttpClient _client;
    private KubernetesAccess? _access;
    private bool _isRejected;
    private string _trustError = "";

    public KubernetesApi(KubernetesOptions options)
    {
        _source = options.KubeConfigUser.Length == 0 ? new FlagAccess(options) : new KubeConfigAccess(options);
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectTimeout = ConnectTimeout,
            ConnectCallback = ConnectAsync,
            PooledConnectionLifetime = TimeSpan.FromMinutes(15),
            EnableMultipleHttp2Connections = true,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            KeepAlivePingDelay = TimeSpan.FromSeconds(15),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            AutomaticDecompression = DecompressionMethods.GZip,
            AllowAutoRedirect = false,
            UseCookies = false,
            SslOptions =
            {
                RemoteCertificateValidationCallback = IsTrusted,
                LocalCertificateSelectionCallback = (_, _, _, _, _) => Volatile.Read(ref _access)?.ClientCertificate!,
            },
        })
        {
            // For the headers; the reader of a body sets its own limit.
            Timeout = TimeSpan.FromSeconds(30),
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        _client.DefaultRequestHeaders.UserAgent.ParseAdd("kedge");
        _client.DefaultRequestHeaders.Accept.ParseAdd("application/json");
    }

    /// <summary>Sends a GET request. Returns when the headers have arrived; the body can be streamed.</summary>
    /// <exception cref="KubernetesApiException">The status is not 200.</exception>
    /// <exception cref="KubernetesAccessException">The server cannot be reached.</exception>
    public async Task<HttpResponseMessage> GetAsync(string pathAndQuery, CancellationToken stop)
    {
        var access = await AccessAsync(stop);
        using var request = new HttpRequestMessage(
            HttpMethod.Get, access.Server.AbsoluteUri.TrimEnd('/') + pathAndQuery)
        {
            Headers = { Authorization = await access.Authorization(stop) },
        };
        var response = await SendAsync(request, stop);
        if (response.StatusCode == HttpStatusCode.OK)
        {
            return response;
        }
        using (response)
        {
            if (response.StatusCode == HttpStatusCode.Unauthorized)
            {
                Volatile.Write(ref _isRejected, true);
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

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken stop)
    {
        try
        {
            return await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop);
        }
        catch (HttpRequestException e)
        {
            var reason = e.HttpRequestError == HttpRequestError.SecureConnectionError
                && Volatile.Read(ref _trustError) is { Length: > 0 } error
                ? $"its certificate is not trusted: {error}"
                : e.GetBaseException().Message;
            throw new KubernetesAccessException(
                $"the API server {request.RequestUri!.Authority} cannot be reached: {reason}", e);
        }
    }

    public void Dispose()
    {
        _client.Dispose();
        _finding.Dispose();
    }

    private async Task<KubernetesAccess> AccessAsync(CancellationToken stop)
    {
        if (Volatile.Read(ref _access) is { } known && !Volatile.Read(ref _isRejected))
        {
            return known;
        }
        await _finding.WaitAsync(stop);
        try
        {
            if (_access is null || _isRejected)
            {
                Volatile.Write(ref _access, await _source.FindAsync(stop));
                Volatile.Write(ref _isRejected, false);
            }
            return _access!;
        }
        finally
        {
            _finding.Release();
        }
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

    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken stop)
    {
        // HTTP/1.1 has no pings: TCP keep-alive is what ends a watch on a dead connection.
        var socket = await TcpConnection.ConnectAsync(context.DnsEndPoint, KeepAlive, stop);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private bool IsTrusted(object sender, X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        var access = Volatile.Read(ref _access);
        if (access is { Insecure: true })
        {
            return true;
        }
        if (certificate is not X509Certificate2 server || errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
        {
            Volatile.Write(
                ref _trustError,
                certificate is null ? "it has none" : $"it is for another host ({certificate.Subject})");
            return false;
        }
        if (access?.Trusted() is not { } roots)
        {
            Volatile.Write(
                ref _trustError,
                errors == SslPolicyErrors.None ? "" : "no root of the system signed it, and there is no CA file");
            return errors == SslPolicyErrors.None;
        }
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(roots);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        if (presented is not null)
        {
            chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
        }
        var isTrusted = chain.Build(server);
        Volatile.Write(
            ref _trustError,
            isTrusted ? "" : string.Join("; ", chain.ChainStatus.Select(status => status.StatusInformation.Trim())));
        return isTrusted;
    }
}
