using System.Text;
using Kedge.Domain;
using Kedge.Host.Flags;
using Microsoft.FSharp.Core;

namespace Kedge.Host.Configurations;

/// <summary>
/// Reads the two configuration files from where the flags say, and has the core decode and validate them.
/// </summary>
public static class ConfigurationLoader
{
    /// <summary>The validated content of both files, or null and a line for each error.</summary>
    /// <param name="options">Where the files are.</param>
    /// <param name="errors">A line for each error.</param>
    /// <param name="named">Called with each further file that the two name, whether it can be read or not.</param>
    public static LoadedFiles? Load(
        ConfigurationOptions options, out IReadOnlyList<string> errors, Action<string>? named = null)
    {
        var files = Load(options, out var unreadable, out var problems, named);
        errors = [.. unreadable, .. problems.Select(ConfigErrorModule.describe)];
        return files;
    }

    /// <summary>
    /// The validated content of both files, or null, a line for each file that cannot be read, and the errors in the
    /// others.
    /// </summary>
    public static LoadedFiles? Load(
        ConfigurationOptions options,
        out IReadOnlyList<string> unreadable,
        out IReadOnlyList<ConfigError> errors,
        Action<string>? named = null)
    {
        var problems = new List<string>();
        var director = Text(
            FlagCatalogue.DirectorConfig,
            options.Director,
            FlagCatalogue.DirectorConfigPath,
            options.DirectorPath,
            problems);
        var pool = Text(
            FlagCatalogue.PoolConfig, options.Pool, FlagCatalogue.PoolConfigPath, options.PoolPath, problems);
        var loaded = LoadedFiles.Load(director.Name, director.Content, pool.Name, pool.Content);
        if (loaded.Value is { } files)
        {
            loaded = files.ReadBodies(path =>
            {
                named?.Invoke(path);
                return Body(path);
            });
        }
        unreadable = problems;
        errors = loaded.Problems;
        return unreadable.Count + errors.Count == 0 ? loaded.Value : null;
    }

    /// <summary>A line for each file that is not given, with the flags that would provide it.</summary>
    public static IEnumerable<string> Absent(ConfigurationOptions options)
    {
        if (options.Director.Length == 0 && options.DirectorPath.Length == 0)
        {
            yield return
                $"no routes: neither {FlagCatalogue.DirectorConfigPath} nor {FlagCatalogue.DirectorConfig} is given";
        }
        if (options.Pool.Length == 0 && options.PoolPath.Length == 0)
        {
            yield return $"no backends: neither {FlagCatalogue.PoolConfigPath} nor {FlagCatalogue.PoolConfig} is given";
        }
    }

    /// <summary>The content of a file that a fixed answer names, or what is wrong with it.</summary>
    private static FSharpResult<byte[], string> Body(string path)
    {
        try
        {
            return FSharpResult<byte[], string>.NewOk(SmallFile.Read(path));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return FSharpResult<byte[], string>.NewError("no such file");
        }
        catch (UnauthorizedAccessException)
        {
            return FSharpResult<byte[], string>.NewError(
                Directory.Exists(path) ? "is a directory" : "permission denied");
        }
        catch (Exception e) when (e is IOException or ArgumentException)
        {
            return FSharpResult<byte[], string>.NewError(e.Message);
        }
    }

    private static (string Name, byte[] Content) Text(
        Flag inlineFlag, string inline, Flag pathFlag, string path, List<string> problems)
    {
        if (inline.Length > 0)
        {
            return (inlineFlag.ToString(), Encoding.UTF8.GetBytes(inline));
        }
        if (path.Length == 0)
        {
            return ("", []);
        }
        if (FlagFiles.Read(pathFlag, path, out var problem) is { } content)
        {
            return (path, content);
        }
        problems.Add(problem);
        return ("", []);
    }
}
