using Kedge.Client;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Prints a token, for scripts.</summary>
public sealed class TokenCommand : ICommand
{
    public string Name => "token";

    public string Summary => "prints the token of an auth source";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Arguments => ["[source]"];

    public string Notes =>
        "Exits with 0 after printing the token, with 1 if there is none (the reason is on standard error), and with 2 "
        + "for a usage error.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: false, out var errors) is not { } source)
        {
            return invocation.Refuse(errors);
        }
        try
        {
            invocation.Output.WriteLine((await source.GetTokenAsync(CancellationToken.None)).Value);
            return ExitCodes.Success;
        }
        catch (TokenException e)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
    }
}
