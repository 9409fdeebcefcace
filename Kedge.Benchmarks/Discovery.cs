using System.Text.Json;
using BenchmarkDotNet.Attributes;
using Kedge.Domain;
using Kedge.Domain.Discovery;

namespace Kedge.Benchmarks;

/// <summary>Turns 10,000 exposed services into a configuration, at first and after one more appears.</summary>
[MemoryDiagnoser]
public class Discovery
{
    private const int Services = 10_000;
    private const string Prefix = "kedge.com/";

    private readonly Service[] _services = [.. Enumerable.Range(0, Services).Select(number => Read(number, "1"))];
    private readonly Service _changed = Read(Services, "2");
    private DiscoveryState _empty = null!;
    private DiscoveryState _state = null!;
    private Configuration _configuration = null!;

    [GlobalSetup]
    public void SetUp()
    {
        var options = DiscoveryOptions.Create(Prefix, "ext.cluster.example", "{service}.{suffix}").ResultValue;
        _empty = DiscoveryState.Create(options, LoadedFiles.Empty);
        _state = _empty.Replace(_services);
        _configuration = Build(_state, Configuration.Empty);
        if (_configuration.Routes.Http.Count != Services)
        {
            throw new InvalidOperationException($"{_configuration.Routes.Http.Count} routes of {Services} services");
        }
    }

    [Benchmark]
    public Configuration AllServices() => Build(_empty.Replace(_services), Configuration.Empty);

    [Benchmark]
    public Configuration OneMore() => Build(_state.Upsert(_changed), _configuration);

    private static Configuration Build(DiscoveryState state, Configuration before) =>
        Configuration.Build(LoadedFiles.Empty, state.Generate().Entries, before).Item1;

    private static Service Read(int number, string version)
    {
        var manifest = JsonSerializer.SerializeToElement(new
        {
            metadata = new
            {
                name = $"service-{number}",
                @namespace = $"space-{number % 50}",
                uid = $"{number}",
                resourceVersion = version,
                creationTimestamp = "2026-01-05T09:00:00Z",
                labels = new Dictionary<string, string> { [Prefix + "kedge-exposed"] = "true" },
            },
            spec = new { ports = new[] { new { name = "http", port = 80, targetPort = "web", protocol = "TCP" } } },
        });
        return ServiceJson.TryRead(Prefix, manifest)!;
    }
}
