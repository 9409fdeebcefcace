using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Backends.Connections;

/// <summary>The certificates of a TLS identity, read from their files, and again when those have changed.</summary>
internal sealed class TlsMaterial(TlsIdentity identity)
{
    private readonly Lock _lock = new();
    private readonly string[] _files =
    [
        .. identity.CaFiles.Split('\n', StringSplitOptions.RemoveEmptyEntries),
        .. new[] { identity.ClientCertFile, identity.ClientKeyFile }.Where(file => file.Length > 0),
    ];
    private string _stamp = "";
    private X509Certificate2Collection? _roots;
    private SslStreamCertificateContext? _client;

    /// <summary>
    /// Options for one handshake. Throws <see cref="AuthenticationException"/> when a file cannot be read and nothing good
    /// was read before. Its message has no file name: callers read it, too.
    /// </summary>
    public SslClientAuthenticationOptions Options(string targetHost, bool offerHttp2, bool offerHttp11)
    {
        X509Certificate2Collection? roots;
        SslStreamCertificateContext? client;
        lock (_lock)
        {
            Refresh();
            roots = _roots;
            client = _client;
        }
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = targetHost,
            ApplicationProtocols = [],
            ClientCertificateContext = client,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (offerHttp2)
        {
            options.ApplicationProtocols.Add(SslApplicationProtocol.Http2);
        }
        if (offerHttp11)
        {
            options.ApplicationProtocols.Add(SslApplicationProtocol.Http11);
        }
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
        var stamp = string.Join('\n', _files.Select(static file =>
        {
            var info = new FileInfo(file);
            return $"{info.LinkTarget} {info.LastWriteTimeUtc.Ticks} {(info.Exists ? info.Length : -1)}";
        }));
        if (stamp == _stamp)
        {
            return;
        }
        try
        {
            X509Certificate2Collection? roots = null;
            if (identity.CaFiles.Length > 0)
            {
                roots = [];
                foreach (var file in identity.CaFiles.Split('\n'))
                {
                    roots.ImportFromPemFile(file);
                }
            }
            SslStreamCertificateContext? client = null;
            if (identity.ClientCertFile.Length > 0)
            {
                var chain = new X509Certificate2Collection();
                chain.ImportFromPemFile(identity.ClientCertFile);
                client = SslStreamCertificateContext.Create(
                    X509Certificate2.CreateFromPemFile(identity.ClientCertFile, identity.ClientKeyFile), chain, offline: true);
            }
            (_roots, _client, _stamp) = (roots, client, stamp);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            // Half-written while it is replaced: what was good before serves on, and the next connection looks again.
            if (_stamp.Length == 0)
            {
                throw new AuthenticationException("a CA file, client certificate or key of kedge's own cannot be read", e);
            }
        }
    }
}
