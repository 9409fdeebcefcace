using System.Security.Cryptography;
using Kedge.Host.Certificates;
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

    private readonly Func<IReadOnlyList<string>> _find;
    private IReadOnlyList<string> _named = [];

    public WatchedFiles(IEnumerable<string> paths)
    {
        string[] files = [.. paths.Where(path => path.Length > 0)];
        _find = () => files;
        Seen = Fingerprint();
    }

    private WatchedFiles(Func<IReadOnlyList<string>> find)
    {
        _find = find;
        Seen = Fingerprint();
    }

    public static WatchedFiles None => new([]);

    public static WatchedFiles Of(ConfigurationOptions options) => new([options.DirectorPath, options.PoolPath]);

    public static WatchedFiles Of(TlsOptions options) =>
        new([options.CertFile, options.KeyFile, .. options.ClientCaFiles]);

    /// <summary>The certificates in these directories, which come and go.</summary>
    public static WatchedFiles OfDirectories(IReadOnlyList<string> directories) =>
        directories.Count == 0
            ? None
            : new(() =>
            [
                .. CertificateDirectories.Pairs(directories, out _)
                    .SelectMany(static pair => new[] { pair.CertFile, pair.KeyFile }),
                // So that a directory that appears or vanishes counts as a change, even an empty one.
                .. directories,
            ]);

    /// <summary>Whether there is nothing to watch.</summary>
    public bool IsEmpty => _find().Count == 0 && _named.Count == 0;

    /// <summary>A fingerprint of the content that was read last; at first, of the content at construction.</summary>
    public string Seen { get; private set; }

    /// <summary>Whether the content differs from what was read last.</summary>
    public bool HaveChanged => !IsEmpty && Fingerprint() != Seen;

    /// <summary>
    /// Also watches files that the others name. The caller has just read them together with the others, which had the
    /// content that was seen last.
    /// </summary>
    public void Include(IReadOnlyDictionary<string, byte[]> named)
    {
        _named = [.. named.Keys];
        Seen = string.Join('|', [Seen, .. named.Select(file => Fingerprint(file.Key, file.Value))]);
    }

    /// <summary>Watches files that the others name, instead of those that they named before.</summary>
    public void Include(IReadOnlyList<string> named) => _named = named;

    /// <summary>
    /// Reads the files repeatedly until they no longer change. The result comes from one state of all files, even if
    /// one is written shortly after another.
    /// </summary>
    public async Task<T> ReadSettledAsync<T>(Func<T> read, CancellationToken cancel)
    {
        for (var reads = 1; ; reads++)
        {
            var before = Fingerprint();
            await Task.Delay(SettlingTime, cancel);
            var value = read();
            Seen = Fingerprint();
            // Returns even when the files never settle, so that at least their errors are reported.
            if (before == Seen || reads == MaxReads)
            {
                return value;
            }
        }
    }

    private string Fingerprint() => string.Join('|', _find().Concat(_named).Select(static path =>
    {
        try
        {
            return Fingerprint(path, SmallFile.Read(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.GetType().Name + e.Message;
        }
    }));

    private static string Fingerprint(string path, byte[] content) =>
        path + Convert.ToHexString(SHA256.HashData(content));
}
