using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using k8s.KubeConfigModels;

namespace Kedge.Host.Kubernetes;

/// <summary>What a credential plugin printed. At least one of token and certificate is set.</summary>
/// <param name="Token">Empty = none.</param>
/// <param name="Certificate">In PEM; empty = none.</param>
/// <param name="Key">In PEM; empty = none.</param>
/// <param name="ExpiresAt">Null = not specified.</param>
internal sealed record ExecCredential(string Token, string Certificate, string Key, DateTimeOffset? ExpiresAt)
{
    /// <summary>The header with the token; null = it has none.</summary>
    public AuthenticationHeaderValue? Authorization => Token.Length == 0 ? null : new("Bearer", Token);

    /// <summary>Leaves out the credentials, which a record would print.</summary>
    public override string ToString() => $"{nameof(ExecCredential)} {{ ExpiresAt = {ExpiresAt} }}";
}

/// <summary>
/// Runs the credential plugin of a kubeconfig user, as <c>client.authentication.k8s.io</c> specifies: no standard
/// input, the request in <c>KUBERNETES_EXEC_INFO</c>, the response on standard output.
/// </summary>
/// <param name="exec">The plugin, as the kubeconfig names it.</param>
/// <param name="directory">The directory of the kubeconfig, to resolve a relative path of the plugin.</param>
/// <param name="cluster">The cluster that the credentials are for.</param>
/// <param name="timeout">How long the plugin may run before it is killed, with its children.</param>
internal sealed class ExecPlugin(
    ExternalExecution exec, string directory, ClusterEndpoint cluster, TimeSpan timeout)
{
    private const int MaxOutput = 1 << 20;
    private const int MaxErrors = 4 << 10;

    // Long enough for the reason, and short enough for one log line.
    private const int MaxReason = 400;

    // A child that the plugin leaves behind may keep the pipes open.
    private static readonly TimeSpan PipeTimeout = TimeSpan.FromSeconds(1);

    private static readonly string[] Versions =
        ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

    /// <exception cref="KubernetesAccessException">It provided no credentials; the message says why.</exception>
    public async Task<ExecCredential> RunAsync(CancellationToken stop)
    {
        if (!Versions.Contains(exec.ApiVersion))
        {
            throw Failure($"its apiVersion '{exec.ApiVersion}' is none of {string.Join(", ", Versions)}");
        }
        using var process = new Process { StartInfo = StartInfo() };
        try
        {
            process.Start();
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException)
        {
            throw Failure($"it cannot be started: {e.Message}");
        }
        var output = new StringBuilder();
        var errors = new StringBuilder();
        try
        {
            process.StandardInput.Close();
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
            limit.CancelAfter(timeout);
            var pipes = Task.WhenAll(
                CopyAsync(process.StandardOutput, output, MaxOutput),
                CopyAsync(process.StandardError, errors, MaxErrors));
            await process.WaitForExitAsync(limit.Token);
            await Task.WhenAny(pipes, Task.Delay(PipeTimeout, limit.Token));
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw Failure($"it gave no credentials within {timeout.TotalSeconds:0.###} s and was killed", errors);
        }
        finally
        {
            // Does nothing when the process has ended.
            process.Kill(entireProcessTree: true);
        }
        return process.ExitCode == 0
            ? Read(Text(output))
            : throw Failure($"it ended with exit code {process.ExitCode}", errors);
    }

    private ProcessStartInfo StartInfo()
    {
        var info = new ProcessStartInfo(Executable())
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in exec.Arguments ?? [])
        {
            info.ArgumentList.Add(argument);
        }
        foreach (var variable in exec.EnvironmentVariables ?? [])
        {
            if (variable.GetValueOrDefault("name") is { Length: > 0 } name)
            {
                info.Environment[name] = variable.GetValueOrDefault("value") ?? "";
            }
        }
        info.Environment["KUBERNETES_EXEC_INFO"] = Request().ToJsonString();
        return info;
    }

    /// <summary>
    /// The file to start. Not left to the framework, which searches kedge's own directory and the current directory
    /// before <c>PATH</c>.
    /// </summary>
    private string Executable()
    {
        if (exec.Command.Contains('/'))
        {
            return Path.GetFullPath(exec.Command, directory);
        }
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        var found = folders.Where(Path.IsPathRooted).Select(folder => Path.Combine(folder, exec.Command))
            .FirstOrDefault(File.Exists);
        return found ?? throw Failure(
            "there is no such program in PATH"
            + (string.IsNullOrWhiteSpace(exec.InstallHint) ? "" : $"; {OneLine(exec.InstallHint)}"));
    }

    private JsonObject Request()
    {
        var spec = new JsonObject { ["interactive"] = false };
        if (exec.ProvideClusterInfo)
        {
            var authority = cluster.CertificateAuthorityData;
            if (string.IsNullOrEmpty(authority) && !string.IsNullOrEmpty(cluster.CertificateAuthority))
            {
                var file = Path.GetFullPath(cluster.CertificateAuthority, directory);
                authority = Convert.ToBase64String(File.ReadAllBytes(file));
            }
            spec["cluster"] = new JsonObject
            {
                ["server"] = cluster.Server,
                ["insecure-skip-tls-verify"] = cluster.SkipTlsVerify,
                ["tls-server-name"] = cluster.TlsServerName,
                ["certificate-authority-data"] = authority,
            };
        }
        return new() { ["apiVersion"] = exec.ApiVersion, ["kind"] = "ExecCredential", ["spec"] = spec };
    }

    private ExecCredential Read(string output)
    {
        JsonElement root;
        try
        {
            root = JsonElement.Parse(output);
        }
        catch (JsonException)
        {
            // Without the output, which may contain a credential all the same.
            throw Failure("its output is not JSON");
        }
        if (Of(root, "kind") != "ExecCredential" || Of(root, "apiVersion") != exec.ApiVersion)
        {
            throw Failure($"its output is not an ExecCredential of {exec.ApiVersion}");
        }
        var status = root.TryGetProperty("status", out var found) ? found : default;
        var certificate = Of(status, "clientCertificateData");
        var credential = new ExecCredential(
            Of(status, "token"),
            certificate,
            Of(status, "clientKeyData"),
            DateTimeOffset.TryParse(
                Of(status, "expirationTimestamp"),
                CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal,
                out var expires) ? expires : null);
        if ((certificate.Length == 0) != (credential.Key.Length == 0))
        {
            throw Failure("its output has only one of clientCertificateData and clientKeyData");
        }
        return credential is { Token: "", Certificate: "" }
            ? throw Failure("its output has neither a token nor a client certificate")
            : credential;
    }

    private KubernetesAccessException Failure(string reason, StringBuilder? errors = null)
    {
        var said = errors is null ? "" : OneLine(Text(errors));
        return new($"credential plugin {exec.Command}: {reason}{(said.Length == 0 ? "" : $": {said}")}");
    }

    private static async Task CopyAsync(StreamReader from, StringBuilder to, int max)
    {
        var buffer = new char[1024];
        try
        {
            // Read to the end, even beyond the maximum: a plugin that writes to a full pipe would hang.
            while (await from.ReadAsync(buffer) is > 0 and var count)
            {
                lock (to)
                {
                    to.Append(buffer, 0, Math.Min(count, max - to.Length));
                }
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The plugin was killed.
        }
    }

    private static string Text(StringBuilder builder)
    {
        lock (builder)
        {
            return builder.ToString();
        }
    }

    private static string OneLine(string text)
    {
        var words = text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var line = string.Concat(string.Join(' ', words).Where(c => !char.IsControl(c)));
        return line.Length <= MaxReason ? line : line[..MaxReason] + " (and more)";
    }

    private static string Of(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object
        && element.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : "";
}
