using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// The connections to the API server with one set of credentials. Different credentials need a different session,
/// because a client certificate belongs to a connection, not to a request.
/// </summary>
internal sealed class ApiSession : IDisposable
{
    // A server that comes back must be noticed within seconds.
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    // A silent connection gets a ping after the delay. Without a response within the timeout, it is dead.
    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(5);

    // The same for servers without HTTP/2, as far as TCP can detect it.
    private static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(15);

    private readonly HttpClient _client;
    private string _trustError = "";

    public ApiSession(KubernetesAccess access)
    {
        Access = access;
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectTimeout = ConnectTimeout,
            ConnectCallback = ConnectAsync,
            PooledConnectionLifetime = TimeSpan.FromMinutes(15),
            EnableMultipleHttp2Connections = true,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            KeepAlivePingDelay = PingDelay,
            KeepAlivePingTimeout = PingTimeout,
            AutomaticDecompression = DecompressionMethods.GZip,
            AllowAutoRedirect = false,
            UseCookies = false,
            SslOptions =
            {
                // A resumed TLS session would bring back the certificate of the previous credentials.
                AllowTlsResume = false,
                RemoteCertificateValidationCallback = IsTrusted,
                LocalCertificateSelectionCallback = (_, _, _, _, _) => access.ClientCertificate!,
            },
        })
        {
            // For the headers; the reader of a body sets its own limit.
            Timeout = TimeSpan.FromSeconds(30),
        };
        _client.DefaultRequestHeaders.UserAgent.ParseAdd("kedge");
        _client.DefaultRequestHeaders.Accept.ParseAdd("application/json");
        foreach (var (name, value) in access.Impersonation)
        {
            _client.DefaultRequestHeaders.TryAddWithoutValidation(name, value);
        }
    }

    public KubernetesAccess Access { get; }

    /// <summary>Whether the API server has rejected the credentials.</summary>
    public bool IsRejected { get; private set; }

    /// <summary>Whether new credentials are needed.</summary>
    public bool IsOver => IsRejected || Access.ExpiresAt <= DateTimeOffset.UtcNow;

    public void Reject() => IsRejected = true;

    /// <exception cref="KubernetesAccessException">The server cannot be reached.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken stop)
    {
        // An HttpClient's defaults do not apply to messages that its caller creates.
        request.Version = HttpVersion.Version20;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
        try
        {
            return await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop);
        }
        catch (HttpRequestException e)
        {
            var isTls = e.HttpRequestError == HttpRequestError.SecureConnectionError;
            if (isTls && Access.ClientCertificate is not null)
            {
                // The server, or a proxy in front of it, may reject all connections with this certificate.
                Reject();
            }
            var reason = isTls && Volatile.Read(ref _trustError) is { Length: > 0 } error
                ? $"its certificate is not trusted: {error}"
                : e.GetBaseException().Message;
            throw new KubernetesAccessException(
                $"the API server {request.RequestUri!.Authority} cannot be reached: {reason}", e);
        }
    }

    /// <summary>Closes the connections, each when its last response has ended.</summary>
    public void Dispose() => _client.Dispose();

    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken stop)
    {
        var socket = await TcpConnection.ConnectAsync(context.DnsEndPoint, KeepAlive, stop);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private bool IsTrusted(object sender, X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        if (Access.Insecure)
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
        if (Access.Trusted() is not { } roots)
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
