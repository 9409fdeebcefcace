using System.Net.Security;
using System.Security.Authentication;
using TlsVersion = Kedge.Domain.Decoded.TlsVersion;

namespace Kedge.Host.Certificates;

/// <summary>The versions of TLS and the cipher suites that callers may use.</summary>
public sealed class TlsPolicy
{
    /// <summary>TLS 1.2 and 1.3, with the runtime's suites.</summary>
    public static readonly TlsPolicy Default = new(TlsVersion.Tls12, []);

    private readonly SslProtocols _protocols;
    private readonly CipherSuitesPolicy? _ciphers;

    /// <param name="minVersion">The lowest version.</param>
    /// <param name="ciphers">The suites of all versions; empty = the runtime's.</param>
    public TlsPolicy(TlsVersion minVersion, IReadOnlyList<TlsCipherSuite> ciphers)
    {
        _protocols = minVersion == TlsVersion.Tls13
            ? SslProtocols.Tls13
            : SslProtocols.Tls12 | SslProtocols.Tls13;
        _ciphers = ciphers.Count == 0 || OperatingSystem.IsWindows() ? null : new CipherSuitesPolicy(ciphers);
    }

    /// <summary>Whether TLS 1.2 is off.</summary>
    public bool IsTls13Only => _protocols == SslProtocols.Tls13;

    /// <summary>Whether the policy names cipher suites.</summary>
    public bool HasCiphers => _ciphers is not null;

    public void ApplyTo(SslServerAuthenticationOptions options)
    {
        options.EnabledSslProtocols = _protocols;
        // With a suite policy, the runtime creates a context for each connection, so TLS sessions are not resumed.
        options.CipherSuitesPolicy = _ciphers;
    }
}
