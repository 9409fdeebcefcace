using System.Security.Cryptography;
using Kedge.Host.Flags;

namespace Kedge.Host.Configurations;

/// <summary>
/// Files that belong together. Changes are detected by comparing content: the files of a ConfigMap or Secret change
/// when a symbolic link above them is replaced, which no file system notification reports reliably.
/// </summary>
public sealed class WatchedFiles
{
    private const int MaxReads = 20;

    // How much time may pass between the writes of two files that belong together.
    private static readonly TimeSpan SettlingTime = TimeSpan.FromMilliseconds(150);

    private readonly string[] _paths;

    public WatchedFiles(IEnumerable<string> paths)
    {
        _paths = [.. paths.Where(path => path.Length > 0)];
        Seen = Fingerprint();
    }

    public static WatchedFiles None => new([]);

    public static WatchedFiles Of(ConfigurationOptions options) => new([options.DirectorPath, options.PoolPath]);

    public static WatchedFiles Of(TlsOptions options) =>
        new([options.CertFile, options.KeyFile, .. options.ClientCaFiles]);

    public bool IsEmpty => _paths.Length == 0;

    /// <summary>A fingerprint of the content that was read last; at first, of the content at construction.</summary>
    public string Seen { get; private set; }

    /// <summary>Whether the content differs from what was read last.</summary>
    public bool HaveChanged => !IsEmpty && Fingerprint() != Seen;

    /// <summary>
    /// Reads the files, again and again until they no longer change. The result comes from one state of all files,
    /// including one that is written shortly after another.
    /// </summary>
    public async Task<T> ReadSettledAsync<T>(Func<T> read, CancellationToken cancel)
    {
        for (var reads = 1; ; reads++)
        {
            var before = Fingerprint();
            await Task.Delay(SettlingTime, cancel);
            var value = read();
            Seen = Fingerprint();
            // Files that never settle are read all the same, so that at least their errors are reported.
            if (before == Seen || reads == MaxReads)
            {
                return value;
            }
        }
    }

    private string Fingerprint() => string.Join('|', _paths.Select(static path =>
    {
        try
        {
            return Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.GetType().Name;
        }
    }));
}
