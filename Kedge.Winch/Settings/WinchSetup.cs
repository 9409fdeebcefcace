using System.Text;
using Kedge.Client;
using Kedge.Client.Domain;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Flags;

namespace Kedge.Winch.Settings;

/// <summary>Reads and checks the files that the flags name.</summary>
internal static class WinchSetup
{
    /// <summary>The files, or null with a line for each error.</summary>
    public static ClientFiles? Load(FlagValues flags, out IReadOnlyList<string> errors)
    {
        var problems = new List<string>();
        var mapper = Read(flags, WinchFlags.MapperPath, WinchFlags.MapperText, problems);
        var sources = Read(flags, WinchFlags.SourcesPath, WinchFlags.SourcesText, problems);
        if (problems.Count == 0 && mapper is null)
        {
            problems.Add($"{WinchFlags.MapperPath} or {WinchFlags.MapperText} is needed");
        }
        if (problems.Count > 0)
        {
            errors = problems;
            return null;
        }
        var loaded = ClientFiles.Load(
            mapper!.Value.Name,
            mapper.Value.Bytes,
            sources?.Name ?? "",
            sources?.Bytes ?? default(ReadOnlyMemory<byte>),
            new MapperOptions([.. flags.Get(WinchFlags.AllowedKedges)], flags.Get(WinchFlags.UnsafeTemplates)));
        errors = loaded.Errors;
        return loaded.Value;
    }

    /// <summary>The auth sources alone, which need no mapper, or null with a line for each error.</summary>
    public static IReadOnlyList<AuthSource>? LoadSources(FlagValues flags, out IReadOnlyList<string> errors)
    {
        var problems = new List<string>();
        errors = problems;
        var sources = Read(flags, WinchFlags.SourcesPath, WinchFlags.SourcesText, problems);
        if (problems.Count == 0 && sources is null)
        {
            problems.Add($"{WinchFlags.SourcesPath} or {WinchFlags.SourcesText} is needed");
        }
        if (problems.Count > 0)
        {
            return null;
        }
        var loaded = ClientFiles.LoadSources(sources!.Value.Name, sources.Value.Bytes);
        errors = loaded.Errors;
        return loaded.Value;
    }

    /// <summary>TLS for routes that do not configure it.</summary>
    public static KedgeTls TlsOf(FlagValues flags)
    {
        var (certificate, key) = (flags.Get(WinchFlags.ClientCert), flags.Get(WinchFlags.ClientKey));
        // As in the original, whose key flag defaults to ".": only both together count.
        var hasBoth = certificate.Length > 0 && key.Length > 0 && key != ".";
        return new KedgeTls
        {
            CaFiles = flags.Get(WinchFlags.RootCas),
            ClientCertFile = hasBoth ? certificate : null,
            ClientKeyFile = hasBoth ? key : null,
            Insecure = flags.Get(WinchFlags.Insecure),
        };
    }

    /// <summary>The PAC, or null with the problem.</summary>
    public static string? Pac(FlagValues flags, Mapper mapper, string proxy, out string problem)
    {
        problem = "";
        var expressions = flags.Get(WinchFlags.PacExpressions);
        var file = flags.Get(WinchFlags.PacFile);
        if (file.Length > 0)
        {
            if (expressions.Count > 0)
            {
                problem = $"{WinchFlags.PacFile} and {WinchFlags.PacExpressions} exclude each other";
                return null;
            }
            return FlagFiles.Read(WinchFlags.PacFile, file, out problem) is { } bytes
                ? Encoding.UTF8.GetString(bytes)
                : null;
        }
        var upstream = "";
        if (flags.Get(WinchFlags.PacUpstream) is { Length: > 0 } wrapped)
        {
            if (FlagFiles.Read(WinchFlags.PacUpstream, wrapped, out problem) is not { } bytes)
            {
                return null;
            }
            upstream = Encoding.UTF8.GetString(bytes);
        }
        var options = new PacOptions(proxy, flags.Get(WinchFlags.PacFallback), upstream);
        return expressions.Count > 0
            ? Client.Domain.Pac.OfPatterns(expressions, options)
            : Client.Domain.Pac.OfMapper(mapper, options);
    }

    private static (string Name, byte[] Bytes)? Read(
        FlagValues flags,
        Flag<string> path,
        Flag<string> text,
        List<string> problems)
    {
        var (file, inline) = (flags.Get(path), flags.Get(text));
        if (file.Length > 0 && inline.Length > 0)
        {
            problems.Add($"{path} and {text} exclude each other");
            return null;
        }
        if (inline.Length > 0)
        {
            return (text.Name, Encoding.UTF8.GetBytes(inline));
        }
        if (file.Length == 0)
        {
            return null;
        }
        if (FlagFiles.Read(path, file, out var problem) is { } bytes)
        {
            return (file, bytes);
        }
        problems.Add(problem);
        return null;
    }
}
