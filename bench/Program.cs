using Kedge.Bench;

// kedge-bench run …     the side-by-side bench
// kedge-bench idle …    the time to the first response, and the memory of idle connections
// kedge-bench soak …    kedge under a constant mixed load
// kedge-bench backend … the backends of all proxies
// kedge-bench bare …    a bare YARP direct forwarder: the cost of the framework alone
return args switch
{
    ["backend", var http, var grpc] => await Backend.RunAsync(Ports.Parse(http), Ports.Parse(grpc)),
    ["bare", var tls, var grpcTls, var http, var grpc, var certificate, var key] =>
        await BareForwarder.RunAsync(
            Ports.Parse(tls), Ports.Parse(grpcTls), Ports.Parse(http), Ports.Parse(grpc), certificate, key),
    ["run", "--help"] => Usage(RunOptions.Help),
    ["run", .. var options] => await WithAsync(RunOptions.Parse, options, Run.MainAsync),
    ["idle", "--help"] => Usage(RunOptions.Help),
    ["idle", .. var options] => await WithAsync(RunOptions.Parse, options, Idle.MainAsync),
    ["soak", "--help"] => Usage(SoakOptions.Help),
    ["soak", .. var options] => await WithAsync(SoakOptions.Parse, options, Soak.MainAsync),
    _ => Usage($"{RunOptions.Help}\n\n{SoakOptions.Help}"),
};

static async Task<int> WithAsync<T>(Func<string[], T> parse, string[] words, Func<T, Task<int>> run)
{
    T options;
    try
    {
        options = parse(words);
    }
    catch (Exception e) when (e is ArgumentException or FormatException)
    {
        Console.Error.WriteLine(e.Message);
        return 2;
    }
    return await run(options);
}

static int Usage(string text)
{
    Console.Error.WriteLine(text);
    return 2;
}
