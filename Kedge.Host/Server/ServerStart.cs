using Kedge.Domain;
using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;

namespace Kedge.Host.Server;

/// <summary>What a server starts from.</summary>
/// <param name="Configuration">The content of the configuration files.</param>
/// <param name="Certificates">Null only when both TLS listeners are off.</param>
/// <param name="Files">The files to reload when they change.</param>
public sealed record ServerStart(LoadedFiles Configuration, CertificateStore? Certificates, ServerFiles Files);

/// <summary>The files of a server, in their state when the server started from them.</summary>
/// <param name="Configuration">The configuration files; none for inline configuration.</param>
/// <param name="Certificates">The files of the server's TLS identity.</param>
/// <param name="NamedCertificates">The files in directories of certificates.</param>
public sealed record ServerFiles(
    WatchedFiles Configuration, WatchedFiles Certificates, WatchedFiles NamedCertificates)
{
    public static ServerFiles None => new(WatchedFiles.None, WatchedFiles.None, WatchedFiles.None);

    /// <summary>Create this before reading the files, so that no change in between goes unnoticed.</summary>
    public static ServerFiles Of(ServerOptions options) => new(
        WatchedFiles.Of(options.Configuration),
        options.Listeners.HasTls ? WatchedFiles.Of(options.Tls) : WatchedFiles.None,
        options.Listeners.HasTls ? WatchedFiles.OfDirectories(options.Tls.CertDirs) : WatchedFiles.None);
}
