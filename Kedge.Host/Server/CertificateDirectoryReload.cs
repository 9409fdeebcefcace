using Kedge.Host.Certificates;

namespace Kedge.Host.Server;

/// <summary>Reloads the certificates in directories. One that is invalid does not affect the others.</summary>
public sealed class CertificateDirectoryReload(
    IReadOnlyList<string> directories, CertificateStore store, ILogger logger) : IReloadable<LoadedSources>
{
    public LoadedSources? Load(out IReadOnlyList<string> errors)
    {
        errors = [];
        return CertificateDirectories.Read(directories);
    }

    public void Replace(LoadedSources value, string source) => store.Replace(value).Log(logger);

    public void MarkUnchanged(string source) =>
        logger.LogInformation("certificates in directories unchanged ({Source})", source);

    public void Reject(IReadOnlyList<string> errors, string source)
    {
        foreach (var error in errors)
        {
            logger.LogError("the certificates in directories stay as they are: {Error}", error);
        }
    }
}
