using System.Net;

namespace Kedge.Host.Resolvers;

/// <summary>hosts(5), reloaded when the file changes.</summary>
internal sealed class HostsFile(string path)
{
    private readonly Lock _lock = new();
    private DateTime _lastWrite = DateTime.MinValue;
    private Dictionary<string, List<IPAddress>> _names = [];

    /// <summary>The addresses of a name; null when the file does not contain it.</summary>
    public IReadOnlyList<IPAddress>? Find(string name)
    {
        lock (_lock)
        {
            try
            {
                var written = File.GetLastWriteTimeUtc(path);
                if (written != _lastWrite)
                {
                    _names = Parse(File.ReadAllLines(path));
                    _lastWrite = written;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It may come back with the time that it had before.
                _lastWrite = DateTime.MinValue;
                _names = [];
            }
            return _names.GetValueOrDefault(name.TrimEnd('.'));
        }
    }

    private static Dictionary<string, List<IPAddress>> Parse(string[] lines)
    {
        var names = new Dictionary<string, List<IPAddress>>(StringComparer.OrdinalIgnoreCase);
        foreach (var line in lines)
        {
            var comment = line.IndexOf('#');
            var words = (comment < 0 ? line : line[..comment])
                .Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length < 2 || !IPAddress.TryParse(words[0], out var address))
            {
                continue;
            }
            foreach (var name in words.AsSpan(1))
            {
                if (!names.TryGetValue(name, out var addresses))
                {
                    names[name] = addresses = [];
                }
                if (!addresses.Contains(address))
                {
                    addresses.Add(address);
                }
            }
        }
        return names;
    }
}
