using Kedge.Client;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>Forgets a login.</summary>
public sealed class LogoutCommand : ICommand
{
    public string Name => "logout";

    public string Summary => "forgets the login to an auth source";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Arguments => ["[source]"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: true, out var errors) is not OidcSource source)
        {
            return invocation.Refuse(errors);
        }
        try
        {
            source.Logout();
        }
        catch (TokenException e)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
        // A running winch has the token in memory, too.
        await WinchClient.TryPostAsync(invocation.Flags.Get(WinchFlags.HttpPort), $"/winch/logout/{source.Name}");
        invocation.Output.WriteLine($"logged out of {source.Name}");
        return ExitCodes.Success;
    }
}
