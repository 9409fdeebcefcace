using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kedge.Winch.Sources;

/// <summary>
/// The tokens from an identity provider. The file has the format of the Go implementation, so that its logins stay
/// valid.
/// </summary>
/// <param name="Expiry">The expiry of the access token; null = unknown.</param>
internal sealed record StoredTokens(string AccessToken, DateTimeOffset? Expiry, string RefreshToken, string IdToken)
{
    public string ToJson() =>
        new JsonObject
        {
            ["access_token"] = AccessToken,
            ["token_type"] = "Bearer",
            ["refresh_token"] = RefreshToken,
            ["expiry"] = (Expiry ?? default).UtcDateTime.ToString("O", CultureInfo.InvariantCulture),
            ["id_token"] = IdToken,
        }.ToJsonString();

    /// <summary>Null if the text is not what <see cref="ToJson"/> writes.</summary>
    public static StoredTokens? Parse(string text)
    {
        try
        {
            return JsonNode.Parse(text) is JsonObject json
                ? new(Text(json, "access_token"), Time(json), Text(json, "refresh_token"), Text(json, "id_token"))
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public override string ToString() => "******";

    private static string Text(JsonObject json, string name) =>
        json[name] is JsonValue value && value.TryGetValue(out string? text) ? text : "";

    private static DateTimeOffset? Time(JsonObject json) =>
        DateTimeOffset.TryParse(
            Text(json, "expiry"),
            CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal,
            out var time)
        && time.Year > 1
            ? time
            : null;
}

/// <summary>Stores tokens across runs, and across the processes of one user.</summary>
internal interface ITokenStore
{
    /// <summary>The stored tokens; null = none, or none that can be read.</summary>
    StoredTokens? Read();

    void Write(StoredTokens? tokens);

    /// <summary>
    /// Waits until no other process refreshes. Rotating refresh tokens are valid only once: two refreshes at the same
    /// time end the session.
    /// </summary>
    Task<IDisposable> LockAsync(CancellationToken cancel);

    /// <summary>Where tokens are stored, for messages.</summary>
    string Place { get; }
}

/// <summary>A store for one process only.</summary>
internal sealed class MemoryStore : ITokenStore
{
    private StoredTokens? _tokens;

    public StoredTokens? Read() => Volatile.Read(ref _tokens);

    public void Write(StoredTokens? tokens) => Volatile.Write(ref _tokens, tokens);

    public Task<IDisposable> LockAsync(CancellationToken cancel) => Task.FromResult<IDisposable>(new Nothing());

    public string Place => "memory";

    private sealed class Nothing : IDisposable
    {
        public void Dispose()
        {
        }
    }
}

/// <summary>A file that only its user can read, replaced as a whole.</summary>
internal sealed class FileStore : ITokenStore
{
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(30);

    private readonly string _path;

    /// <param name="folder">Environment variables are expanded; empty = the user's state folder.</param>
    /// <param name="clientId">A part of the file's name.</param>
    public FileStore(string folder, string clientId)
    {
        var expanded = Expand(folder);
        var name = string.Concat(clientId.Select(c => Path.GetInvalidFileNameChars().Contains(c) ? '_' : c));
        _path = Path.Combine(expanded.Length > 0 ? expanded : StateFolder, $"token_winch_{name}");
    }

    public string Place => _path;

    /// <summary>Whether a user has logged in with this file.</summary>
    public bool Exists => File.Exists(_path);

    private static string StateFolder =>
        Path.Combine(
            Environment.GetFolderPath(
                Environment.SpecialFolder.LocalApplicationData,
                Environment.SpecialFolderOption.DoNotVerify),
            "winch");

    public StoredTokens? Read()
    {
        try
        {
            return StoredTokens.Parse(File.ReadAllText(_path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Write(StoredTokens? tokens)
    {
        if (tokens is null)
        {
            File.Delete(_path);
            return;
        }
        MakeFolder();
        var temporary = $"{_path}.{Environment.ProcessId}.new";
        using (var file = Open(temporary, FileMode.Create, FileShare.None))
        {
            file.Write(Encoding.UTF8.GetBytes(tokens.ToJson()));
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, _path, overwrite: true);
    }

    public async Task<IDisposable> LockAsync(CancellationToken cancel)
    {
        MakeFolder();
        while (true)
        {
            try
            {
                return Open($"{_path}.lock", FileMode.OpenOrCreate, FileShare.None);
            }
            catch (IOException)
            {
                await Task.Delay(Retry, cancel);
            }
        }
    }

    private static FileStream Open(string path, FileMode mode, FileShare share)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.ReadWrite, Share = share };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }
        return new FileStream(path, options);
    }

    private void MakeFolder()
    {
        var folder = Path.GetDirectoryName(_path)!;
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
        }
        else
        {
            Directory.CreateDirectory(
                folder,
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    /// <summary>Expands <c>$NAME</c>, <c>${NAME}</c> and a leading <c>~/</c>.</summary>
    internal static string Expand(string path)
    {
        var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        var expanded = System.Text.RegularExpressions.Regex.Replace(
            path,
            @"\$(?:\{(\w+)\}|(\w+))",
            match => Environment.GetEnvironmentVariable(match.Groups[1].Value + match.Groups[2].Value) ?? "");
        return expanded.StartsWith("~/", StringComparison.Ordinal) ? Path.Combine(home, expanded[2..]) : expanded;
    }
}
