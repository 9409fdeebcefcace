using Kedge.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;

namespace Kedge.Host.Server;

/// <summary>Reloads the two configuration files.</summary>
public sealed class ConfigurationReload(ConfigurationOptions options, ConfigurationStore store)
    : IReloadable<LoadedFiles>
{
    public LoadedFiles? Load(out IReadOnlyList<string> errors) => ConfigurationLoader.Load(options, out errors);

    public void Replace(LoadedFiles value, string source) => store.SetFiles(value, source);

    public void MarkUnchanged(string source) => store.MarkUnchanged(source);

    public void Reject(IReadOnlyList<string> errors, string source) => store.Reject(source, errors);
}
