namespace Kedge.Host.Commands;

/// <summary>Colours text for a terminal, or leaves it as it is.</summary>
public readonly record struct Paint(bool IsOn)
{
    /// <summary>
    /// Whether to use colours: the output is a terminal that supports them, and NO_COLOR (no-color.org) is not set.
    /// </summary>
    public static bool IsWanted(bool redirected) =>
        !redirected
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"))
        && Environment.GetEnvironmentVariable("TERM") is not ("dumb" or null);

    public string Red(string text) => In("31", text);

    public string Green(string text) => In("32", text);

    public string Yellow(string text) => In("33", text);

    public string Cyan(string text) => In("36", text);

    public string Faint(string text) => In("2", text);

    private string In(string code, string text) => IsOn ? $"\u001b[{code}m{text}\u001b[0m" : text;
}
