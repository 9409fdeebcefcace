using System.Text;
using System.Text.Json;
using BenchmarkDotNet.Attributes;
using Kedge.Domain;

namespace Kedge.Benchmarks;

/// <summary>Reads and compiles a file of 10,000 routes, and compares it with its next version.</summary>
[MemoryDiagnoser]
public class Files
{
    private const int Routes = 10_000;

    private static readonly byte[] Pool = Encoding.UTF8.GetBytes(
        """{ "http": { "backends": [ { "name": "web", "host": { "dns_name": "127.0.0.1", "port": 80 } } ] } }""");

    private static readonly string[] Paths = ["/api/*"];

    private readonly byte[] _director = Director("service-5000");
    private Configuration? _before;
    private Configuration? _after;

    [GlobalSetup]
    public void SetUp() => (_before, _after) = (Load(_director), Load(Director("moved")));

    /// <summary>Decodes, checks and compiles.</summary>
    [Benchmark]
    public Configuration LoadFiles() => Load(_director);

    /// <summary>One route has another host.</summary>
    [Benchmark]
    public int Diff() => DiffReport.Differences(_before!, _after!).Count;

    private static Configuration Load(byte[] director) =>
        Configuration.Load("director.json", director, "backendpool.json", Pool).Value!;

    private static byte[] Director(string middle)
    {
        var routes = Enumerable.Range(0, Routes).Select(number => new
        {
            backend_name = "web",
            host_matcher = (number == Routes / 2 ? middle : $"service-{number}") + ".ext.cluster.example",
            path_rules = Paths,
        });
        return JsonSerializer.SerializeToUtf8Bytes(new { http = new { routes } });
    }
}

/// <summary>Routes, read from JSON like those of a file.</summary>
internal static class Tables
{
    /// <summary>HTTP routes; <paramref name="route"/> creates each, with the fields that it has in a file.</summary>
    public static HttpRoute[] Http(int count, Func<int, object> route) => Load("http", count, route).HttpRoutes;

    /// <summary>gRPC routes; <paramref name="route"/> creates each, with the fields that it has in a file.</summary>
    public static GrpcRoute[] Grpc(int count, Func<int, object> route) => Load("grpc", count, route).GrpcRoutes;

    private static Director Load(string section, int count, Func<int, object> route)
    {
        var routes = Enumerable.Range(0, count).Select(route);
        var file = new Dictionary<string, object> { [section] = new { routes } };
        var loaded = Configuration.Load("director.json", JsonSerializer.SerializeToUtf8Bytes(file), "", default);
        return loaded.Value?.Director ?? throw new InvalidOperationException(string.Join('\n', loaded.Errors));
    }
}
