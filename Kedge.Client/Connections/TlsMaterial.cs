using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Client.Connections;

/// <summary>The certificates of a <see cref="KedgeTls"/>, read from their files, and again when these change.</summary>
internal sealed class TlsMaterial(KedgeTls tls)
{
    private readonly Lock _lock = new();
    private readonly string[] _files =
    [
        .. tls.CaFiles,
        .. new[] { tls.ClientCertFile, tls.ClientKeyFile }.OfType<string>(),
    ];
    private string? _stamp;
    private X509Certificate2Collection? _roots;
    private SslStreamCertificateContext? _client;

    /// <summary>
    /// The options for one handshake. Throws <see cref="AuthenticationException"/> if a file is invalid and no earlier
    /// version was valid.
    /// </summary>
    public SslClientAuthenticationOptions Options(string host, IEnumerable<SslApplicationProtocol> protocols)
    {
        X509Certificate2Collection? roots;
        SslStreamCertificateContext? client;
        lock (_lock)
        {
            Refresh();
            (roots, client) = (_roots, _client);
        }
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = tls.ServerName ?? host,
            ApplicationProtocols = [.. protocols],
            ClientCertificateContext = client,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (roots is not null)
        {
            options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(roots);
        }
        return options;
    }

    private void Refresh()
    {
        var stamp = string.Join('\n', _files.Select(file =>
        {
            var info = new FileInfo(file);
            return $"{info.LinkTarget} {info.LastWriteTimeUtc.Ticks} {(info.Exists ? info.Length : -1)}";
        }));
        if (stamp == _stamp)
        {
            return;
        }
        var file = "";
        try
        {
            X509Certificate2Collection? roots = null;
            foreach (var bundle in tls.CaFiles)
            {
                file = bundle;
                (roots ??= []).ImportFromPemFile(bundle);
            }
            SslStreamCertificateContext? client = null;
            if (tls is { ClientCertFile: { } certificate, ClientKeyFile: { } key })
            {
                file = certificate;
                var chain = new X509Certificate2Collection();
                chain.ImportFromPemFile(certificate);
                client = SslStreamCertificateContext.Create(
                    X509Certificate2.CreateFromPemFile(certificate, key), chain, offline: true);
            }
            (_roots, _client, _stamp) = (roots, client, stamp);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            // A file may be half written while it is replaced: keep the previous certificates; the next connection
            // looks again.
            if (_stamp is null)
            {
                throw new AuthenticationException($"{file} (or its key) cannot be used: {e.Message}", e);
            }
        }
    }
}
