using System.Text.Json.Nodes;
using Kedge.Client;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Prints a token in the format that kubectl expects from an exec plugin.</summary>
public sealed class KubectlCredentialCommand : ICommand
{
    public string Name => "kubectl-credential";

    public string Summary =>
        "prints the token of an auth source as an ExecCredential, for the exec section of a kubeconfig";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Arguments => ["source"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: false, out var errors) is not { } source)
        {
            return invocation.Refuse(errors);
        }
        try
        {
            var token = await source.GetTokenAsync(CancellationToken.None);
            var status = new JsonObject { ["token"] = token.Value };
            if (token.ExpiresAt is { } end)
            {
                status["expirationTimestamp"] = end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ");
            }
            invocation.Output.WriteLine(new JsonObject
            {
                ["apiVersion"] = "client.authentication.k8s.io/v1",
                ["kind"] = "ExecCredential",
                ["status"] = status,
            }.ToJsonString());
            return ExitCodes.Success;
        }
        catch (TokenException e)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
    }
}
