using Kedge.Bench;

// kedge-bench run …     the side-by-side bench
// kedge-bench idle …    the time to the first response, and the memory of idle connections
// kedge-bench backend … the backends of all proxies
// kedge-bench bare …    a bare YARP direct forwarder: the cost of the framework alone
return args switch
{
    ["backend", var http, var grpc] => await Backend.RunAsync(Ports.Parse(http), Ports.Parse(grpc)),
    ["bare", var tls, var grpcTls, var http, var grpc, var certificate, var key] =>
        await BareForwarder.RunAsync(
            Ports.Parse(tls), Ports.Parse(grpcTls), Ports.Parse(http), Ports.Parse(grpc), certificate, key),
    ["run", "--help"] => Usage(),
    ["run", .. var options] => await RunAsync(options, Run.MainAsync),
    ["idle", .. var options] => await RunAsync(options, Idle.MainAsync),
    _ => Usage(),
};

static async Task<int> RunAsync(string[] words, Func<RunOptions, Task<int>> measure)
{
    RunOptions options;
    try
    {
        options = RunOptions.Parse(words);
    }
    catch (Exception e) when (e is ArgumentException or FormatException)
    {
        Console.Error.WriteLine(e.Message);
        return 2;
    }
    return await measure(options);
}

static int Usage()
{
    Console.Error.WriteLine(RunOptions.Help);
    return 2;
}
