using System.Net;
using DnsClient;
using DnsClient.Protocol;
using Kedge.Domain;

namespace Kedge.Host.Resolvers;

/// <param name="Ttl">How long the answer is valid.</param>
public readonly record struct DnsAnswer<T>(IReadOnlyList<T> Records, TimeSpan Ttl);

/// <param name="Target">Without a trailing dot.</param>
public readonly record struct SrvTarget(string Target, ushort Port, ushort Priority, ushort Weight);

/// <summary>
/// Resolves names like the system's resolver, but with their TTLs: /etc/hosts first, then the name servers and search
/// list of /etc/resolv.conf. Does not cache; callers decide how long they keep an answer.
/// </summary>
/// <param name="servers">Where to send the queries.</param>
/// <param name="queries">
/// Limits the queries in flight, each of which needs a socket. Further queries wait.
/// </param>
public sealed class DnsLookup(NameServers servers, SemaphoreSlim queries)
{
    // For answers without a TTL: /etc/hosts and localhost.
    private static readonly TimeSpan LocalTtl = TimeSpan.FromSeconds(5);

    private readonly HostsFile _hosts = new("/etc/hosts");

    /// <summary>Completes when the name servers or the search list change.</summary>
    public Task ServersChanged => servers.Changed;

    /// <summary>The addresses of a name, A and AAAA. An IP address resolves to itself, with an infinite TTL.</summary>
    /// <exception cref="DnsLookupException">There are none.</exception>
    public async Task<DnsAnswer<IPAddress>> AddressesAsync(string name, CancellationToken cancel)
    {
        // The parser also accepts other spellings of IPv4 addresses, such as 10.1, which kedge treats as names.
        if (IPAddress.TryParse(name, out var literal) && (name.Contains(':') || HostName.isIPv4(name)))
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
        return await SearchAsync(name, async (client, candidate) =>
        {
            var v4 = QueryAsync(client, candidate, QueryType.A, cancel);
            var v6 = QueryAsync(client, candidate, QueryType.AAAA, cancel);
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
            var (ipv4, ipv6) = (answers[0].Failure, answers[1].Failure);
            throw new DnsLookupException(
                (ipv4 ?? ipv6)?.Message ?? $"{candidate}: no address",
                isAbsent: ipv4 is null or { IsAbsent: true } && ipv6 is null or { IsAbsent: true });
        });
    }

    /// <summary>The SRV records of a name.</summary>
    /// <exception cref="DnsLookupException">There are none, or the service is not available.</exception>
    public Task<DnsAnswer<SrvTarget>> ServicesAsync(string name, CancellationToken cancel) =>
        SearchAsync(name, async (client, candidate) =>
        {
            var records = await QueryAsync(client, candidate, QueryType.SRV, cancel);
            var targets = new List<SrvTarget>();
            var ttl = uint.MaxValue;
            var isUnavailable = false;
            foreach (var record in records)
            {
                if (record is SrvRecord srv)
                {
                    ttl = Math.Min(ttl, (uint)srv.InitialTimeToLive);
                    var target = srv.Target.Value.TrimEnd('.');
                    if (target.Length > 0)
                    {
                        targets.Add(new SrvTarget(target, srv.Port, srv.Priority, srv.Weight));
                    }
                    else
                    {
                        isUnavailable = true;
                    }
                }
            }
            return targets.Count > 0
                ? new DnsAnswer<SrvTarget>(targets, TimeSpan.FromSeconds(ttl))
                : throw (isUnavailable
                    // RFC 2782: the target "." has this meaning.
                    ? new DnsLookupException($"{candidate}: the service is not available (its SRV target is \".\")")
                    {
                        IsServiceUnavailable = true,
                    }
                    : new DnsLookupException($"{candidate}: no SRV record", isAbsent: true));
        });

    private static bool IsLocalhost(string name)
    {
        var bare = name.AsSpan().TrimEnd('.');
        return bare.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || bare.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>
    /// Looks up the candidates of the search list in the order of resolv.conf(5); the first answer wins. The name is
    /// absent when all candidates are.
    /// </summary>
    private async Task<DnsAnswer<T>> SearchAsync<T>(
        string name, Func<LookupClient, string, Task<DnsAnswer<T>>> lookUp)
    {
        var current = servers.Current;
        var client = current.RequireClient(name);
        DnsLookupException? first = null;
        var isAbsent = true;
        foreach (var candidate in current.Conf.Candidates(name))
        {
            try
            {
                return await lookUp(client, candidate);
            }
            catch (DnsLookupException e) when (!e.IsServiceUnavailable)
            {
                first ??= e;
                isAbsent &= e.IsAbsent;
            }
        }
        throw first is null
            ? new DnsLookupException($"{name}: not a valid name")
            : new DnsLookupException(first.Message, isAbsent);
    }

    private async Task<IReadOnlyList<DnsResourceRecord>> QueryAsync(
        LookupClient client, string name, QueryType type, CancellationToken cancel)
    {
        IDnsQueryResponse response;
        await queries.WaitAsync(cancel);
        try
        {
            response = await client.QueryAsync(name, type, cancellationToken: cancel);
        }
        catch (DnsResponseException e)
        {
            throw new DnsLookupException($"{name}: {e.Message}");
        }
        catch (ArgumentException e)
        {
            throw new DnsLookupException($"{name}: {e.Message}");
        }
        finally
        {
            queries.Release();
        }
        return response.HasError
            ? throw new DnsLookupException(
                $"{name}: {response.ErrorMessage}",
                response.Header.ResponseCode == DnsHeaderResponseCode.NotExistentDomain)
            : response.Answers;
    }

    private static async Task<(IReadOnlyList<DnsResourceRecord> Records, DnsLookupException? Failure)> OutcomeAsync(
        Task<IReadOnlyList<DnsResourceRecord>> query)
    {
        try
        {
            return (await query, null);
        }
        catch (DnsLookupException e)
        {
            return ([], e);
        }
    }
}
