using System.Text.Json;
using System.Text.Json.Nodes;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Prints the state of the running winch.</summary>
public sealed class StatusCommand : ICommand
{
    public string Name => "status";

    public string Summary => "prints the state of the running winch: auth sources, kedges, and what is wrong";

    public IEnumerable<Flag> Flags => [Report.Format, WinchFlags.HttpPort];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public string Notes => "Exits with 0 if winch is running, with 1 if it is not, and with 2 for a usage error.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        var port = invocation.Flags.Get(WinchFlags.HttpPort);
        if (
            await WinchClient.TryGetAsync(port, "/winch/status") is not { } text
            || JsonNode.Parse(text) is not JsonObject status)
        {
            invocation.Error.WriteLine($"winch: no winch answers on port {port}");
            return ExitCodes.Failure;
        }
        if (Report.IsJson(invocation))
        {
            invocation.Output.WriteLine(status.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
            return ExitCodes.Success;
        }
        invocation.Output.WriteLine(
            $"winch {status["version"]} on port {port}, {status["routes"]} routes, PAC {status["pac"]}");
        foreach (var error in (status["errors"] as JsonArray)!)
        {
            invocation.Output.WriteLine($"rejected: {error}");
        }
        foreach (var source in (status["sources"] as JsonArray)!)
        {
            var state =
                source!["expires"] is { } end ? $"valid until {end}"
                : source["problem"] is { } problem ? $"{problem}"
                : "ready";
            invocation.Output.WriteLine($"{source["name"]}: {state}");
        }
        foreach (var kedge in (status["kedges"] as JsonArray)!)
        {
            var state = kedge!["problem"] is { } problem ? $"{problem}"
                : kedge["certificateUntil"] is { } end
                    ? $"connected in {kedge["milliseconds"]} ms, certificate valid until {end}"
                    : $"connected in {kedge["milliseconds"]} ms";
            invocation.Output.WriteLine($"kedge {kedge["name"]}: {state}");
        }
        return ExitCodes.Success;
    }
}
