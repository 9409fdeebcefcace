namespace Kedge.Host.Flags;

/// <summary>Reads the files that flags name.</summary>
public static class FlagFiles
{
    /// <summary>
    /// The path with a leading <c>~/</c> replaced by the user's home directory. A shell does not expand it after
    /// an equals sign.
    /// </summary>
    public static string ExpandHome(string path) =>
        path.StartsWith("~/", StringComparison.Ordinal)
            ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), path[2..])
            : path;

    /// <summary>The content of a file, or null and a line that names the flag and gives the reason.</summary>
    public static byte[]? Read(Flag flag, string path, out string problem)
    {
        problem = "";
        try
        {
            return SmallFile.Read(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            problem = $"{flag}: {path}: no such file";
        }
        catch (ArgumentException)
        {
            problem = $"{flag}: '{path}' is not a file name";
        }
        catch (UnauthorizedAccessException)
        {
            problem = Directory.Exists(path) ? $"{flag}: {path}: is a directory" : $"{flag}: {path}: permission denied";
        }
        catch (IOException e)
        {
            problem = $"{flag}: {path}: {e.Message}";
        }
        return null;
    }
}
