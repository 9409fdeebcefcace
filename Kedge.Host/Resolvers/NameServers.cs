using System.Net;
using DnsClient;

namespace Kedge.Host.Resolvers;

/// <summary>
/// The current name servers and search list. Follows changes to /etc/resolv.conf, as the system's own resolver does: a
/// DHCP lease, a VPN or a node-local cache may replace it at any time.
/// </summary>
public sealed class NameServers : IDisposable
{
    private const int DnsPort = 53;
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly IReadOnlyList<IPEndPoint> _fixedServers;
    private readonly string _path;
    private readonly int _port;
    private readonly Timer _timer;
    private readonly Lock _checking = new();
    private string? _text;
    private State _current;
    private TaskCompletionSource _changed = NewChange();

    /// <param name="fixedServers">Empty = those in the file. The search list always comes from the file.</param>
    /// <param name="path">The file.</param>
    /// <param name="port">The port of the name servers in the file, which cannot specify one.</param>
    public NameServers(
        IReadOnlyList<IPEndPoint> fixedServers, string path = "/etc/resolv.conf", int port = DnsPort)
    {
        _fixedServers = fixedServers;
        _path = path;
        _port = port;
        _current = StateOf(ResolvConf.Empty);
        Check();
        _timer = new Timer(static self => ((NameServers)self!).Check(), this, CheckInterval, CheckInterval);
    }

    internal State Current => Volatile.Read(ref _current);

    /// <summary>Completes at the next change.</summary>
    public Task Changed => Volatile.Read(ref _changed).Task;

    public void Dispose() => _timer.Dispose();

    private static TaskCompletionSource NewChange() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Check()
    {
        // A slow check must not make others queue up.
        if (!_checking.TryEnter())
        {
            return;
        }
        try
        {
            var text = File.ReadAllText(_path);
            if (text != _text)
            {
                _text = text;
                Volatile.Write(ref _current, StateOf(ResolvConf.Parse(text)));
                Interlocked.Exchange(ref _changed, NewChange()).SetResult();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The file is absent or being replaced: the current settings remain.
        }
        finally
        {
            _checking.Exit();
        }
    }

    private State StateOf(ResolvConf conf)
    {
        IReadOnlyList<IPEndPoint> servers = _fixedServers.Count > 0
            ? _fixedServers
            : [.. conf.NameServers.Select(address => new IPEndPoint(address, _port))];
        return new State(conf, servers.Count > 0 ? CreateClient(servers) : null, _path);
    }

    private static LookupClient CreateClient(IReadOnlyList<IPEndPoint> servers) =>
        new(new LookupClientOptions([.. servers])
        {
            UseCache = false,
            Timeout = TimeSpan.FromSeconds(2),
            Retries = 1,
            ThrowDnsErrors = false,
            ContinueOnDnsError = true,
        });

    /// <param name="Conf">Supplies the search list.</param>
    /// <param name="Client">Null when there is no name server.</param>
    /// <param name="Path">The file, for messages.</param>
    internal sealed record State(ResolvConf Conf, LookupClient? Client, string Path)
    {
        /// <exception cref="DnsLookupException">There is no name server.</exception>
        public LookupClient RequireClient(string name) => Client ?? throw new DnsLookupException(
            $"{name}: no name server is known: {Path} has no nameserver line, and --dns_nameservers is not set");
    }
}
