using System.ComponentModel;
using System.Diagnostics;

namespace Kedge.Winch.Sources;

/// <summary>There is no keyring, or a request to it failed.</summary>
internal sealed class KeyringException(string reason) : IOException($"the keyring cannot be used: {reason}");

/// <summary>
/// Keeps tokens in the keyring of a Linux desktop (the Secret Service of GNOME, KDE and others), through libsecret's
/// <c>secret-tool</c>. Tokens are passed on its standard streams, never as arguments, which other users can read.
/// </summary>
internal sealed class KeyringStore : ITokenStore
{
    // A locked keyring asks its user for a password.
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    private readonly string[] _attributes;
    private readonly string _label;
    private readonly FileStore _lock;

    /// <param name="provider">The provider of the login.</param>
    /// <param name="clientId">The client ID of the login.</param>
    /// <param name="file">The file whose lock is used, because the keyring has none.</param>
    public KeyringStore(string provider, string clientId, FileStore file)
    {
        _attributes = ["application", "winch", "provider", provider, "client_id", clientId];
        _label = $"winch: {clientId} at {provider}";
        _lock = file;
    }

    public string Place => "the keyring";

    /// <summary>Why there is no keyring; null = there is one.</summary>
    public string? Problem()
    {
        if (!OperatingSystem.IsLinux())
        {
            return "winch has no support for the keyring of this system";
        }
        try
        {
            Lookup();
            return null;
        }
        catch (KeyringException e)
        {
            return e.Message;
        }
    }

    public StoredTokens? Read() => StoredTokens.Parse(Lookup());

    public void Write(StoredTokens? tokens)
    {
        var (code, _, error) = tokens is null
            ? Run(["clear", .. _attributes], "")
            : Run(["store", $"--label={_label}", .. _attributes], tokens.ToJson());
        // Clearing fails without a message when there is nothing to clear.
        if (code != 0 && (tokens is not null || error.Length > 0))
        {
            throw Failure(code, error);
        }
    }

    public Task<IDisposable> LockAsync(CancellationToken cancel) => _lock.LockAsync(cancel);

    /// <summary>The stored text; empty = none.</summary>
    private string Lookup()
    {
        var (code, output, error) = Run(["lookup", .. _attributes], "");
        // Exit code 1 without a message: the item does not exist.
        return code == 0 ? output : error.Length == 0 ? "" : throw Failure(code, error);
    }

    private static KeyringException Failure(int code, string error) =>
        new(error.Length > 0 ? error.ReplaceLineEndings(" ") : $"secret-tool ended with exit code {code}");

    private static (int Code, string Output, string Error) Run(IEnumerable<string> arguments, string input)
    {
        var info = new ProcessStartInfo("secret-tool", arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Start(info);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync();
            var error = process.StandardError.ReadToEndAsync();
            try
            {
                process.StandardInput.Write(input);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // secret-tool ended before it read everything; its exit code and message say why.
            }
            return Task.WaitAll([output, error], Timeout) && process.WaitForExit(Timeout)
                ? (process.ExitCode, output.Result, error.Result.Trim())
                : throw new KeyringException($"secret-tool has not ended within {Timeout.TotalSeconds:0} s");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }

    private static Process Start(ProcessStartInfo info)
    {
        try
        {
            return Process.Start(info)!;
        }
        catch (Win32Exception)
        {
            throw new KeyringException("secret-tool is not installed (Debian and Ubuntu: libsecret-tools)");
        }
    }
}

/// <summary>
/// The keyring, or the file if there is no keyring. An existing file is used even if there is a keyring, so that a
/// login without a desktop (over SSH) and a login on the desktop are the same.
/// </summary>
internal sealed class KeyringOrFile(KeyringStore keyring, FileStore file) : ITokenStore
{
    private readonly Lock _lock = new();
    private (ITokenStore Store, string Place)? _chosen;

    public string Place => Choose().Place;

    public StoredTokens? Read() => Choose().Store.Read();

    public void Write(StoredTokens? tokens) => Choose().Store.Write(tokens);

    public Task<IDisposable> LockAsync(CancellationToken cancel) => file.LockAsync(cancel);

    private (ITokenStore Store, string Place) Choose()
    {
        lock (_lock)
        {
            // Another process may have written the file since.
            if (_chosen is not { } chosen || (chosen.Store != file && file.Exists))
            {
                chosen =
                    file.Exists ? (file, file.Place)
                    : keyring.Problem() is { } problem ? (file, $"{file.Place}, because {problem}")
                    : (keyring, keyring.Place);
                _chosen = chosen;
            }
            return chosen;
        }
    }
}
