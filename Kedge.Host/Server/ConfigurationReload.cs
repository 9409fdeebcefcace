using Kedge.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;

namespace Kedge.Host.Server;

/// <summary>Reloads the two configuration files and the files that they name.</summary>
public sealed class ConfigurationReload(ConfigurationOptions options, WatchedFiles watched, ConfigurationStore store)
    : IReloadable<LoadedFiles>
{
    public LoadedFiles? Load(out IReadOnlyList<string> errors)
    {
        var named = new List<string>();
        var files = ConfigurationLoader.Load(options, out errors, named.Add);
        // A configuration that cannot be read names nothing: the files of the active one stay watched.
        if (files is not null || named.Count > 0)
        {
            watched.Include([.. named.Distinct()]);
        }
        return files;
    }

    public void Replace(LoadedFiles value, string source) => store.SetFiles(value, source);

    public void MarkUnchanged(string source) => store.MarkUnchanged(source);

    public void Reject(IReadOnlyList<string> errors, string source) => store.Reject(source, errors);
}
