using Kedge.Client.Domain;
using Kedge.Domain;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Prints the proxy auto-configuration, or its result for a URL.</summary>
public sealed class PacCommand : ICommand
{
    private static readonly Flag<string> Test = new()
    {
        Name = "test",
        Group = FlagGroup.Command,
        Type = FlagTypes.Text,
        Default = "",
        Help = "a URL: prints whether the PAC sends it to winch",
    };

    public string Name => "pac";

    public string Summary => "prints the proxy auto-configuration for browsers";

    public IEnumerable<Flag> Flags => [Test, .. WinchFlags.OfPac];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Examples =>
        ["winch pac --test=http://svc.ns.prod.example/ --server_mapper_config_path=winch_mapper.json"];

    public Task<int> RunAsync(Invocation invocation)
    {
        if (WinchSetup.Load(invocation.Flags, out var errors) is not { } files)
        {
            return Task.FromResult(invocation.Refuse(errors));
        }
        var url = invocation.Flags.Get(Test);
        if (url.Length > 0)
        {
            invocation.Output.WriteLine(Say(invocation.Flags, files.Mapper, url));
            return Task.FromResult(ExitCodes.Success);
        }
        var proxy = $"127.0.0.1:{invocation.Flags.Get(WinchFlags.HttpPort)}";
        if (WinchSetup.Pac(invocation.Flags, files.Mapper, proxy, out var problem) is not { } pac)
        {
            return Task.FromResult(invocation.Refuse([problem]));
        }
        invocation.Output.Write(pac);
        return Task.FromResult(ExitCodes.Success);
    }

    /// <summary>
    /// The PAC's result for a URL, as the mapper decides it: a property test checks that the script agrees.
    /// </summary>
    internal static string Say(FlagValues flags, Mapper mapper, string url)
    {
        if (flags.Get(WinchFlags.PacFile).Length > 0)
        {
            return "whatever the file of --pac_file says";
        }
        var text = url.Contains("://", StringComparison.Ordinal) ? url : $"http://{url}";
        if (
            !Uri.TryCreate(text, UriKind.Absolute, out var parsed)
            || !Target.TryCreate(parsed.IdnHost, Math.Max(parsed.Port, 1), out var target))
        {
            return "DIRECT";
        }
        var isSecure = parsed.Scheme is "https" or "wss";
        var isHttp = isSecure || parsed.Scheme is "http" or "ws";
        var expressions = flags.Get(WinchFlags.PacExpressions);
        var goesToWinch =
            isHttp
            && (
                expressions.Count > 0
                    ? !isSecure
                        && target.Host.Contains('.')
                        && expressions.Any(expression => HostGlob.IsMatch(expression, target.Host))
                    : mapper.Decide(Protocol.Http, target) switch
                    {
                        Decision.Kedge mapped => !isSecure || mapped.route.TakesConnect,
                        Decision.BadMapping bad => !isSecure || bad.route.TakesConnect,
                        _ => false,
                    });
        return goesToWinch
                ? $"PROXY 127.0.0.1:{flags.Get(WinchFlags.HttpPort)}"
                + (flags.Get(WinchFlags.PacFallback) == PacFallback.Direct ? "; DIRECT" : "")
            : flags.Get(WinchFlags.PacUpstream).Length > 0 ? "whatever the script of --pac_upstream says"
            : "DIRECT";
    }
}
