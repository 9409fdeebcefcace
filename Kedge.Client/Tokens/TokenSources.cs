using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;

namespace Kedge.Client;

/// <summary>Creates the auth sources that need no login.</summary>
public static class TokenSources
{
    // A command that prints more than this prints something other than a token.
    private const int MaxOutput = 1024 * 1024;

    /// <summary>Always the same token.</summary>
    public static ITokenSource Static(string name, string token) => new StaticSource(name, new AuthToken(token));

    /// <summary>The token of an environment variable of this process.</summary>
    public static ITokenSource Environment(string name, string variable) => new ReadSource(name, () =>
        System.Environment.GetEnvironmentVariable(variable) is { Length: > 0 } token
            ? token
            : throw new TokenException(name, $"the environment variable {variable} is not set"));

    /// <summary>
    /// The content of a file without surrounding blanks, read for each request because other programs write it.
    /// </summary>
    public static ITokenSource File(string name, string path) => new ReadSource(name, () =>
    {
        try
        {
            return System.IO.File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenException(name, e.Message, e);
        }
    });

    /// <summary>
    /// The output of a command: an <c>ExecCredential</c> of client.authentication.k8s.io, as kubectl's plugins print
    /// it, or the token alone. The command runs when the last token expires; a token without an expiry is kept until it
    /// is rejected.
    /// </summary>
    /// <param name="name">The name of the source, for messages.</param>
    /// <param name="command">The command, found in PATH and not run by a shell.</param>
    /// <param name="arguments">The arguments of the command.</param>
    /// <param name="environment">Variables in addition to those of this process.</param>
    /// <param name="timeout">The time after which the command is killed.</param>
    public static ITokenSource Exec(
        string name,
        string command,
        IReadOnlyList<string> arguments,
        IReadOnlyDictionary<string, string> environment,
        TimeSpan timeout) =>
        new CachedTokenSource(name, _ => RunAsync(name, command, arguments, environment, timeout));

    private static async Task<AuthToken> RunAsync(
        string name,
        string command,
        IReadOnlyList<string> arguments,
        IReadOnlyDictionary<string, string> environment,
        TimeSpan timeout)
    {
        var info = new ProcessStartInfo(command, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            // Left to the terminal: plugins talk to the user there.
            RedirectStandardError = false,
        };
        info.Environment["KUBERNETES_EXEC_INFO"] =
            """{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}""";
        foreach (var (variable, value) in environment)
        {
            info.Environment[variable] = value;
        }
        using var limit = new CancellationTokenSource(timeout);
        Process process;
        try
        {
            process = Process.Start(info) ?? throw new TokenException(name, $"{command} did not start");
        }
        catch (Win32Exception e)
        {
            throw new TokenException(name, $"{command}: {e.Message}", e);
        }
        using (process)
        {
            try
            {
                process.StandardInput.Close();
                var output = await ReadAsync(process.StandardOutput, limit.Token)
                    ?? throw new TokenException(name, $"{command} printed more than {MaxOutput} characters");
                await process.WaitForExitAsync(limit.Token);
                return process.ExitCode == 0
                    ? Parse(name, command, output.Trim())
                    : throw new TokenException(name, $"{command} ended with exit code {process.ExitCode}");
            }
            catch (OperationCanceledException)
            {
                throw new TokenException(name, $"{command} printed no token within {timeout.TotalSeconds:0.#} s");
            }
            finally
            {
                if (!process.HasExited)
                {
                    process.Kill(entireProcessTree: true);
                }
            }
        }
    }

    private static async Task<string?> ReadAsync(StreamReader reader, CancellationToken cancel)
    {
        var buffer = new char[4096];
        var text = new System.Text.StringBuilder();
        for (int read; (read = await reader.ReadAsync(buffer, cancel)) > 0;)
        {
            text.Append(buffer, 0, read);
            if (text.Length > MaxOutput)
            {
                return null;
            }
        }
        return text.ToString();
    }

    private static AuthToken Parse(string name, string command, string output)
    {
        if (!output.StartsWith('{'))
        {
            return new(Checked(name, output));
        }
        try
        {
            using var json = JsonDocument.Parse(output);
            if (json.RootElement.TryGetProperty("status", out var status)
                && status.TryGetProperty("token", out var token)
                && token.GetString() is { Length: > 0 } value)
            {
                DateTimeOffset? end = status.TryGetProperty("expirationTimestamp", out var time)
                    && time.ValueKind == JsonValueKind.String
                    && time.TryGetDateTimeOffset(out var parsed) ? parsed : null;
                return new(Checked(name, value), ExpiresAt: end);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The exception's message may contain the token, so it is not shown.
        }
        throw new TokenException(name, $"{command} printed no ExecCredential with status.token");
    }

    /// <summary>The token without surrounding blanks; characters that would end a header early are refused.</summary>
    private static string Checked(string name, string token)
    {
        token = token.Trim();
        return token.Length == 0 ? throw new TokenException(name, "the token is empty")
            : token.AsSpan().ContainsAnyExceptInRange('!', '~')
                ? throw new TokenException(name, "the token has characters that no token has")
                : token;
    }

    private sealed class StaticSource(string name, AuthToken token) : ITokenSource
    {
        public string Name { get; } = name;

        public ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel) => ValueTask.FromResult(token);
    }

    private sealed class ReadSource(string name, Func<string> read) : ITokenSource
    {
        public string Name { get; } = name;

        public ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel) =>
            ValueTask.FromResult(new AuthToken(Checked(Name, read())));
    }
}
