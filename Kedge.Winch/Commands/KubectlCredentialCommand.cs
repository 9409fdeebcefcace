using System.Net;
using System.Text;
using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>Prints a token as kubectl takes it from an exec plugin.</summary>
public sealed class KubectlCredentialCommand : ICommand
{
    public string Name => "kubectl-credential";

    public string Summary =>
        "prints the token of an auth source as an ExecCredential, for the exec section of a kubeconfig";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

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
            var status = new System.Text.Json.Nodes.JsonObject { ["token"] = token.Value };
            if (token.ExpiresAt is { } end)
            {
                status["expirationTimestamp"] = end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ");
            }
            invocation.Output.WriteLine(new System.Text.Json.Nodes.JsonObject
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
