using System.Security.Cryptography;
using Kedge.Host.Flags;

namespace Kedge.Host.Configurations;

/// <summary>
/// Files that belong together, told from an earlier state of theirs by their content: a ConfigMap's or Secret's file changes
/// by a swapped link above it, which no notification of the file system tells reliably.
/// </summary>
public sealed class WatchedFiles
{
    private const int MostReads = 20;

    // Whoever writes two files one after the other has this long between them.
    private static readonly TimeSpan Settling = TimeSpan.FromMilliseconds(150);

    private readonly string[] _paths;

    public WatchedFiles(IEnumerable<string> paths)
    {
        _paths = [.. paths.Where(path => path.Length > 0)];
        Seen = Fingerprint();
    }

    public static WatchedFiles None => new([]);

    public static WatchedFiles Of(ConfigurationOptions options) => new([options.DirectorPath, options.PoolPath]);

    public static WatchedFiles Of(TlsOptions options) => new([options.CertFile, options.KeyFile, .. options.ClientCaFiles]);

    public bool IsEmpty => _paths.Length == 0;

    /// <summary>The content that was read last; at first, that of the construction.</summary>
    public string Seen { get; private set; }

    /// <summary>Whether the content is another than the one seen last.</summary>
    public bool HaveChanged => !IsEmpty && Fingerprint() != Seen;

    /// <summary>
    /// Reads the files until they stand still: what is read is of one state of all of them, and a second file that is
    /// written shortly after the first is waited for.
    /// </summary>
    public async Task<T> ReadSettledAsync<T>(Func<T> read, CancellationToken cancel)
    {
        for (var reads = 1; ; reads++)
        {
            var before = Fingerprint();
            await Task.Delay(Settling, cancel);
            var value = read();
            Seen = Fingerprint();
            // Files that never stand still are read all the same: their errors, if any, are worth telling.
            if (before == Seen || reads == MostReads)
            {
                return value;
            }
        }
    }

    private string Fingerprint() => string.Join('|', _paths.Select(static path =>
    {
        try
        {
            return Convert.ToHexString(SHA256.HashData(SmallFile.Read(path)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.GetType().Name + e.Message;
        }
    }));
}
