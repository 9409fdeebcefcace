using BenchmarkDotNet.Attributes;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using GrpcRoute = Kedge.Domain.GrpcRoute;
using HttpRoute = Kedge.Domain.HttpRoute;

namespace Kedge.Benchmarks;

/// <summary>A request without headers that a rule could ask for.</summary>
public readonly struct NoHeaders : IHeaders
{
    public bool Has(string name, string value) => false;

    public bool HasPrefix(string name, string prefix) => false;
}

/// <summary>The position of the route that matches the request in the table.</summary>
public enum Hit
{
    First,
    Last,
    Miss,
}

/// <summary>
/// One route for each host, as discovery generates them, compared with the linear scan that the table replaces.
/// </summary>
[MemoryDiagnoser]
public class HttpMatching
{
    private HttpRoute[] _routes = [];
    private HttpRouteTable _table = new([]);
    private string _host = "";

    [Params(10, 1_000, 10_000)]
    public int Routes { get; set; }

    [Params(Hit.First, Hit.Last, Hit.Miss)]
    public Hit Hit { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _routes = Tables.Http(Routes, Route);
        _table = new HttpRouteTable(_routes);
        _host = Hit switch
        {
            Hit.First => Host(0),
            Hit.Last => Host(Routes - 1),
            _ => "service-x.namespace.ext.cluster.example",
        };
    }

    [Benchmark]
    public int Table()
    {
        var headers = default(NoHeaders);
        return _table.Match(
            "GET",
            _host,
            AuthorityPorts.Unspecified,
            "/api/v1/things/42",
            "",
            ProxyMode.ReverseProxy,
            Listener.Tls,
            in headers);
    }

    [Benchmark(Baseline = true)]
    public int LinearScan()
    {
        var host = _host.AsSpan();
        var path = "/api/v1/things/42".AsSpan();

        for (var index = 0; index < _routes.Length; index++)
        {
            var route = _routes[index];

            if (route.Host.Holds(host)
                && route.Port.Holds(AuthorityPorts.Unspecified)
                && (route.Paths.Length == 0 || route.Paths[0].Holds(path))
                && route.Mode == ProxyMode.Any)
            {
                return index;
            }
        }

        return -1;
    }

    private static string Host(int number) => $"service-{number}.namespace.ext.cluster.example";

    private static object Route(int number) => new
    {
        backend_name = "backend",
        host_matcher = Host(number),
        port_matcher = 443,
        path_rules = new[] { "/api/*" },
    };
}

/// <summary>All routes are for one host and differ in their paths.</summary>
[MemoryDiagnoser]
public class HttpPathMatching
{
    private HttpRouteTable _table = new([]);
    private string _path = "";

    [Params(10, 1_000, 10_000)]
    public int Routes { get; set; }

    [Params(Hit.First, Hit.Last, Hit.Miss)]
    public Hit Hit { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _table = new HttpRouteTable(Tables.Http(Routes, Route));
        _path = Hit switch
        {
            Hit.First => "/api/v1/service-0/things/42",
            Hit.Last => $"/api/v1/service-{Routes - 1}/things/42",
            _ => "/api/v1/service-x/things/42",
        };
    }

    [Benchmark]
    public int Table()
    {
        var headers = default(NoHeaders);
        return _table.Match(
            "GET",
            "ext.cluster.example",
            AuthorityPorts.Of(443),
            _path,
            "",
            ProxyMode.ReverseProxy,
            Listener.Tls,
            in headers);
    }

    private static object Route(int number) => new
    {
        backend_name = "backend",
        host_matcher = "ext.cluster.example",
        path_rules = new[] { $"/api/v1/service-{number}/*" },
    };
}

/// <summary>
/// 10,000 routes, of which 1,000 are for wildcard hosts and the others differ in methods and queries.
/// </summary>
[MemoryDiagnoser]
public class HttpConditionMatching
{
    private const int Routes = 10_000;

    private static readonly string[] Reading = ["GET", "HEAD"];
    private static readonly string[] Writing = ["POST", "PUT"];

    private HttpRouteTable _table = new([]);
    private string _host = "";

    /// <summary>The host of the request, and what decides about its route.</summary>
    [Params("wildcard", "method", "query", "no route")]
    public string Case { get; set; } = "";

    [GlobalSetup]
    public void SetUp()
    {
        _table = new HttpRouteTable(Tables.Http(Routes, Route));
        _host = Case switch
        {
            "wildcard" => "a.b.tenant-999.namespace.ext.cluster.example",
            "method" => "service-1002.namespace.ext.cluster.example",
            "query" => "service-1003.namespace.ext.cluster.example",
            _ => "a.b.tenant-x.namespace.ext.cluster.example",
        };
    }

    [Benchmark]
    public int Table()
    {
        var headers = default(NoHeaders);
        var ports = AuthorityPorts.Of(443);
        return _table.Match(
            "POST",
            _host,
            ports,
            "/api/v1/things/42",
            "page=3&v=2",
            ProxyMode.ReverseProxy,
            Listener.Tls,
            in headers);
    }

    private static object Route(int number) => number switch
    {
        < 1_000 => new { backend_name = "backend", host_matcher = $"*.tenant-{number}.namespace.ext.cluster.example" },
        _ when number % 4 < 2 => new
        {
            backend_name = "backend",
            host_matcher = $"service-{number / 4 * 4 + 2}.namespace.ext.cluster.example",
            methods = number % 4 == 0 ? Reading : Writing,
        },
        _ => new
        {
            backend_name = "backend",
            host_matcher = $"service-{number / 4 * 4 + 3}.namespace.ext.cluster.example",
            query_matcher = new { v = number % 4 == 2 ? "1" : "2" },
        },
    };
}

/// <summary>Routes without a host that differ in the service.</summary>
[MemoryDiagnoser]
public class GrpcMatching
{
    private GrpcRoute[] _routes = [];
    private GrpcRouteTable _table = new([]);
    private string _service = "";
    private string _fullMethod = "";

    [Params(10, 1_000, 10_000)]
    public int Routes { get; set; }

    [Params(Hit.First, Hit.Last, Hit.Miss)]
    public Hit Hit { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _routes = Tables.Grpc(Routes, Route);
        _table = new GrpcRouteTable(_routes);
        _service = Hit switch
        {
            Hit.First => "company.package.v1.Service0",
            Hit.Last => $"company.package.v1.Service{Routes - 1}",
            _ => "company.package.v1.ServiceX",
        };
        _fullMethod = _service + "/GetThing";
    }

    [Benchmark]
    public int Table()
    {
        var metadata = default(NoHeaders);
        return _table.Match(
            "grpc.ext.cluster.example", AuthorityPorts.Unspecified, _service, _fullMethod, Listener.Tls, in metadata);
    }

    [Benchmark(Baseline = true)]
    public int LinearScan()
    {
        var host = "grpc.ext.cluster.example".AsSpan();

        for (var index = 0; index < _routes.Length; index++)
        {
            var route = _routes[index];

            if (route.Host.Holds(host)
                && route.Port.Holds(AuthorityPorts.Unspecified)
                && route.Service.Holds(_service, _fullMethod))
            {
                return index;
            }
        }

        return -1;
    }

    private static object Route(int number) => new
    {
        backend_name = "backend",
        service_name_matcher = $"company.package.v1.Service{number}",
    };
}

/// <summary>The parsing of every request before matching, and the compilation of 10,000 routes.</summary>
[MemoryDiagnoser]
public class Reading
{
    private readonly string _authority = "service-42.namespace.ext.cluster.example:8443";
    private readonly string _target = "/api/v1/things/42?page=3";
    private readonly string _plain = "/api/v1/things/42";
    private readonly string _escaped = "/api/../v1/%7ethings/%2f42";
    private HttpRoute[] _routes = [];

    private static readonly string[] Paths = ["/api/*"];

    [GlobalSetup]
    public void SetUp() => _routes = Tables.Http(10_000, number => new
    {
        backend_name = "backend",
        host_matcher = $"service-{number}.namespace.ext.cluster.example",
        port_matcher = 443,
        path_rules = Paths,
    });

    [Benchmark]
    public bool ReadAuthority() => Authority.TryParse(_authority, out _);

    [Benchmark]
    public bool SplitTarget() => RequestTarget.TryParse(_target, out _);

    [Benchmark]
    public bool PlainPath() => RequestPath.canonicalise(_plain).IsOk;

    [Benchmark]
    public bool EscapedPath() => RequestPath.canonicalise(_escaped).IsOk;

    [Benchmark]
    public HttpRouteTable CompileTenThousandRoutes() => new(_routes);
}
