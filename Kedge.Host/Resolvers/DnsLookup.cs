using System.Net;
using DnsClient;
using DnsClient.Protocol;

namespace Kedge.Host.Resolvers;

/// <summary>A lookup without a result; the message says why.</summary>
public sealed class DnsLookupException(string message) : Exception(message);

/// <param name="Ttl">How long the answer is valid.</param>
public readonly record struct DnsAnswer<T>(IReadOnlyList<T> Records, TimeSpan Ttl);

/// <param name="Target">Without a trailing dot.</param>
public readonly record struct SrvTarget(string Target, ushort Port, ushort Priority, ushort Weight);

/// <summary>
/// Resolves names like the system's resolver, but with their TTLs: /etc/hosts first, then the name servers and search
/// list of /etc/resolv.conf. Does not cache; callers decide how long they keep an answer.
/// </summary>
public sealed class DnsLookup
{
    // For answers without a TTL: /etc/hosts and localhost.
    private static readonly TimeSpan LocalTtl = TimeSpan.FromSeconds(5);

    private readonly Lazy<LookupClient> _client;
    private readonly ResolvConf _resolvConf;
    private readonly HostsFile _hosts;

    /// <param name="nameservers">Empty = those of /etc/resolv.conf.</param>
    public DnsLookup(IReadOnlyList<IPEndPoint> nameservers)
    {
        _resolvConf = ResolvConf.Read("/etc/resolv.conf");
        _hosts = new HostsFile("/etc/hosts");
        _client = new Lazy<LookupClient>(() =>
        {
            var options = nameservers.Count > 0 ? new LookupClientOptions([.. nameservers]) : new LookupClientOptions();
            options.UseCache = false;
            options.Timeout = TimeSpan.FromSeconds(2);
            options.Retries = 1;
            options.ThrowDnsErrors = false;
            options.ContinueOnDnsError = true;
            return new LookupClient(options);
        });
    }

    /// <summary>The addresses of a name, A and AAAA. An IP address resolves to itself, with an infinite TTL.</summary>
    /// <exception cref="DnsLookupException">There are none.</exception>
    public async Task<DnsAnswer<IPAddress>> AddressesAsync(string name, CancellationToken cancel)
    {
        if (IPAddress.TryParse(name, out var literal))
        {
            return new([literal], Timeout.InfiniteTimeSpan);
        }
        if (_hosts.Find(name) is { Count: > 0 } local)
        {
            return new(local, LocalTtl);
        }
        // RFC 6761, 6.3: localhost and names below it are never sent to a DNS server.
        if (IsLocalhost(name))
        {
            return new([IPAddress.Loopback], LocalTtl);
        }
        return await SearchAsync(name, async candidate =>
        {
            var v4 = QueryAsync(candidate, QueryType.A, cancel);
            var v6 = QueryAsync(candidate, QueryType.AAAA, cancel);
            var answers = await Task.WhenAll(OutcomeAsync(v4), OutcomeAsync(v6));
            var addresses = new List<IPAddress>();
            var ttl = uint.MaxValue;
            foreach (var (records, _) in answers)
            {
                foreach (var record in records)
                {
                    ttl = Math.Min(ttl, (uint)record.InitialTimeToLive);
                    if (record is AddressRecord address)
                    {
                        addresses.Add(address.Address);
                    }
                }
            }
            if (addresses.Count > 0)
            {
                return new DnsAnswer<IPAddress>(addresses, TimeSpan.FromSeconds(ttl));
            }
            throw new DnsLookupException($"{candidate}: {answers[0].Error ?? answers[1].Error ?? "no address"}");
        });
    }

    /// <summary>The SRV records of a name.</summary>
    /// <exception cref="DnsLookupException">There are none.</exception>
    public Task<DnsAnswer<SrvTarget>> ServicesAsync(string name, CancellationToken cancel) =>
        SearchAsync(name, async candidate =>
        {
            var records = await QueryAsync(candidate, QueryType.SRV, cancel);
            var targets = new List<SrvTarget>();
            var ttl = uint.MaxValue;
            foreach (var record in records)
            {
                if (record is SrvRecord srv)
                {
                    ttl = Math.Min(ttl, (uint)srv.InitialTimeToLive);
                    var target = srv.Target.Value.TrimEnd('.');
                    // RFC 2782: "." means that the service is not available at this domain.
                    if (target.Length > 0)
                    {
                        targets.Add(new SrvTarget(target, srv.Port, srv.Priority, srv.Weight));
                    }
                }
            }
            return targets.Count > 0
                ? new DnsAnswer<SrvTarget>(targets, TimeSpan.FromSeconds(ttl))
                : throw new DnsLookupException($"{candidate}: no SRV record");
        });

    private static bool IsLocalhost(string name)
    {
        var bare = name.AsSpan().TrimEnd('.');
        return bare.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || bare.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>
    /// Looks up the candidates of the search list in the order of resolv.conf(5); the first answer wins.
    /// </summary>
    private async Task<DnsAnswer<T>> SearchAsync<T>(string name, Func<string, Task<DnsAnswer<T>>> lookUp)
    {
        DnsLookupException? first = null;
        foreach (var candidate in _resolvConf.Candidates(name))
        {
            try
            {
                return await lookUp(candidate);
            }
            catch (DnsLookupException e)
            {
                first ??= e;
            }
        }
        throw first ?? new DnsLookupException($"{name}: not a valid name");
    }

    private async Task<IReadOnlyList<DnsResourceRecord>> QueryAsync(
        string name, QueryType type, CancellationToken cancel)
    {
        IDnsQueryResponse response;
        try
        {
            response = await _client.Value.QueryAsync(name, type, cancellationToken: cancel);
        }
        catch (DnsResponseException e)
        {
            throw new DnsLookupException($"{name}: {e.Message}");
        }
        catch (ArgumentException e)
        {
            throw new DnsLookupException($"{name}: {e.Message}");
        }
        return response.HasError
            ? throw new DnsLookupException($"{name}: {response.ErrorMessage}")
            : response.Answers;
    }

    private static async Task<(IReadOnlyList<DnsResourceRecord> Records, string? Error)> OutcomeAsync(
        Task<IReadOnlyList<DnsResourceRecord>> query)
    {
        try
        {
            return (await query, null);
        }
        catch (DnsLookupException e)
        {
            return ([], e.Message);
        }
    }
}
