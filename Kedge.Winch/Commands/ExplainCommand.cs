using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Pages;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Says where a URL goes, and why.</summary>
public sealed class ExplainCommand : ICommand
{
    private static readonly Flag<bool> Grpc = new()
    {
        Name = "grpc",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "explains a gRPC call instead of an HTTP request",
    };

    public string Name => "explain";

    public string Summary => "explains where a URL goes: rule, kedge, credentials, and what the PAC says";

    public IEnumerable<Flag> Flags => [Grpc, .. WinchFlags.OfPac];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Arguments => ["URL"];

    public IReadOnlyList<string> Examples =>
        ["winch explain http://svc.ns.prod.example/ --server_mapper_config_path=winch_mapper.json"];

    public Task<int> RunAsync(Invocation invocation)
    {
        if (WinchSetup.Load(invocation.Flags, out var errors) is not { } files)
        {
            return Task.FromResult(invocation.Refuse(errors));
        }
        var (url, isGrpc) = (invocation.Arguments[0], invocation.Flags.Get(Grpc));
        if (Explanations.OfUrl(files.Mapper, url, isGrpc) is not { } lines)
        {
            return Task.FromResult(invocation.Refuse([$"'{url}' is not a URL with a host"]));
        }
        foreach (var line in lines)
        {
            invocation.Output.WriteLine(line);
        }
        if (!isGrpc)
        {
            invocation.Output.WriteLine($"PAC: {PacCommand.Say(invocation.Flags, files.Mapper, url)}");
        }
        return Task.FromResult(ExitCodes.Success);
    }
}
