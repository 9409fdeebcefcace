using System.Net;
using DnsClient;

namespace Kedge.Host.Resolvers;

/// <summary>
/// The name servers and the search list that are in force. Follows changes of /etc/resolv.conf, as the system's own
/// resolver does: a lease, a VPN or a node-local cache may replace it at any time.
/// </summary>
public sealed class NameServers : IDisposable
{
    private const string Path = "/etc/resolv.conf";
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly IReadOnlyList<IPEndPoint> _fixedServers;
    private readonly Timer _timer;
    private readonly Lock _checking = new();
    private string? _text;
    private State _current;
    private TaskCompletionSource _changed = NewChange();

    /// <param name="fixedServers">Empty = those of /etc/resolv.conf. The search list comes from there anyway.</param>
    public NameServers(IReadOnlyList<IPEndPoint> fixedServers)
    {
        _fixedServers = fixedServers;
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
        // A check that takes long must not queue up others.
        if (!_checking.TryEnter())
        {
            return;
        }
        try
        {
            var text = File.ReadAllText(Path);
            if (text != _text)
            {
                _text = text;
                Volatile.Write(ref _current, StateOf(ResolvConf.Parse(text)));
                Interlocked.Exchange(ref _changed, NewChange()).SetResult();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The file is absent or being replaced: what is in force stays in force.
        }
        finally
        {
            _checking.Exit();
        }
    }

    private State StateOf(ResolvConf conf)
    {
        var servers = _fixedServers.Count > 0 ? _fixedServers : conf.NameServers;
        return new State(conf, servers.Count > 0 ? CreateClient(servers) : null);
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

    /// <param name="Conf">Its search list.</param>
    /// <param name="Client">Null when there is no name server.</param>
    internal sealed record State(ResolvConf Conf, LookupClient? Client)
    {
        /// <exception cref="DnsLookupException">There is no name server.</exception>
        public LookupClient RequireClient(string name) => Client ?? throw new DnsLookupException(
            $"{name}: no name server is known: {Path} has no nameserver line, and --dns_nameservers is not set");
    }
}
