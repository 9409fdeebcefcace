using System.Globalization;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;

namespace Kedge.Host.Server;

/// <summary>Reloads the certificate, key and client CA files. Warns of certificates that expire soon.</summary>
public sealed class CertificateReload(TlsOptions options, CertificateStore store, ILogger logger)
    : IReloadable<ServerIdentity>
{
    private readonly CertificateExpiry _expiry = new(store, logger, TimeProvider.System);

    public void BeforeCheck() => _expiry.Check();

    public ServerIdentity? Load(out IReadOnlyList<string> errors) => TlsFiles.Load(options, out errors);

    public void Replace(ServerIdentity value, string source)
    {
        store.Replace(value);
        logger.LogInformation(
            "new connections get the certificate {Subject}, which expires on {Expiry}",
            value.Certificate.Subject,
            value.Certificate.NotAfter.ToUniversalTime().ToString("u", CultureInfo.InvariantCulture));
    }

    public void MarkUnchanged(string source)
    {
        store.MarkUnchanged();
        logger.LogInformation("certificates unchanged ({Source})", source);
    }

    public void Reject(IReadOnlyList<string> errors, string source)
    {
        store.Reject(errors);
        foreach (var error in errors)
        {
            logger.LogError("certificate files rejected; the previous ones stay active: {Error}", error);
        }
    }
}
