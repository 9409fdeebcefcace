using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using TlsVersion = Kedge.Domain.Decoded.TlsVersion;

namespace Kedge.Host.Backends.Connections;

/// <summary>The certificates of TLS settings, loaded from their files and reloaded when these change.</summary>
internal sealed class TlsMaterial(UpstreamTls tls)
{
    private readonly Lock _lock = new();
    private readonly string[] _files =
        [.. tls.CaFiles!, .. new[] { tls.ClientCertFile, tls.ClientKeyFile }.Where(file => file.Length > 0)];
    private string _stamp = "";
    private X509Certificate2Collection? _roots;
    private SslStreamCertificateContext? _client;

    /// <summary>The options of one handshake.</summary>
    /// <exception cref="AuthenticationException">
    /// A file cannot be read and has never been read successfully. The message contains no file name, because callers
    /// see it.
    /// </exception>
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
        if (tls.MinVersion == TlsVersion.Tls13)
        {
            options.EnabledSslProtocols = SslProtocols.Tls13;
        }
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
            foreach (var file in tls.CaFiles!)
            {
                roots ??= [];
                roots.ImportFromPem(SmallFile.ReadText(file));
            }
            SslStreamCertificateContext? client = null;
            if (tls.ClientCertFile.Length > 0)
            {
                var certificates = SmallFile.ReadText(tls.ClientCertFile);
                var chain = new X509Certificate2Collection();
                chain.ImportFromPem(certificates);
                client = SslStreamCertificateContext.Create(
                    KeyForTls.Of(
                        X509Certificate2.CreateFromPem(certificates, SmallFile.ReadText(tls.ClientKeyFile))),
                    chain,
                    offline: true);
            }
            (_roots, _client, _stamp) = (roots, client, stamp);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            // The file may be half-written: the previous certificates stay in use, and the next connection tries again.
            if (_stamp.Length == 0)
            {
                throw new AuthenticationException("a CA file, client certificate or key of kedge cannot be read", e);
            }
        }
    }
}
