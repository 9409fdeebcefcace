using Kedge.Domain;

namespace Kedge.Host.Flags;

/// <summary>
/// Rewrites the accepted spellings of a flag into one, before System.CommandLine sees them: <c>--name=value</c>,
/// <c>--name value</c>, <c>--name = value</c> in three words, and bare <c>--switch</c>.
/// </summary>
/// <remarks>
/// Each flag becomes two words, <c>--name</c> and <c>=value</c>. The value keeps its equals sign, so that an empty
/// value, or one that looks like a flag, cannot be mistaken for something else. <see cref="ValueOf"/> removes it.
/// </remarks>
public sealed class FlagWords
{
    private readonly Dictionary<string, Flag> _flags = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _letters = new(StringComparer.Ordinal);
    private readonly HashSet<string> _commands;
    private readonly List<string> _words = [];
    private readonly List<string> _errors = [];
    private string? _command;

    private FlagWords(IEnumerable<Flag> known, IEnumerable<string> commands)
    {
        _commands = [.. commands];
        foreach (var flag in known)
        {
            _flags.TryAdd($"--{flag.Name}", flag);
            foreach (var alias in flag.Aliases)
            {
                _flags.TryAdd($"--{alias}", flag);
            }
            if (flag.Letter is { } letter)
            {
                _letters.TryAdd($"-{letter}", $"--{flag.Name}");
            }
        }
    }

    /// <summary>The words for System.CommandLine. The sub-command comes first, even when flags preceded it.</summary>
    public IReadOnlyList<string> Words => _command is null ? _words : [_command, .. _words];

    /// <summary>A line for each unknown flag or missing value.</summary>
    public IReadOnlyList<string> Errors => _errors;

    /// <summary>The value in a word that follows a flag.</summary>
    public static string ValueOf(string word) => word[1..];

    /// <summary>Reads the arguments of the process.</summary>
    /// <param name="arguments">The arguments as the shell passes them.</param>
    /// <param name="known">The flags of all commands. Whether the command accepts a flag is checked later.</param>
    /// <param name="commands">The names of the sub-commands.</param>
    public static FlagWords Read(IReadOnlyList<string> arguments, IEnumerable<Flag> known, IEnumerable<string> commands)
    {
        var result = new FlagWords(known, commands);
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] == "--")
            {
                result._words.AddRange(arguments.Skip(i));
                break;
            }
            i += result.Take(arguments, i);
        }
        return result;
    }

    /// <summary>Processes the argument at an index.</summary>
    /// <returns>How many of the following arguments belong to it.</returns>
    private int Take(IReadOnlyList<string> arguments, int index)
    {
        var argument = _letters.GetValueOrDefault(arguments[index], arguments[index]);
        if (!argument.StartsWith("--", StringComparison.Ordinal) || argument is "--help" or "--version")
        {
            if (_command is null && _commands.Contains(argument)
                && !_words.Exists(word => !word.StartsWith('-') && !word.StartsWith('=')))
            {
                _command = argument;
            }
            else
            {
                _words.Add(argument);
            }
            return 0;
        }
        var equals = argument.IndexOf('=');
        var name = equals < 0 ? argument : argument[..equals];
        var threeWords = equals < 0 && index + 1 < arguments.Count && arguments[index + 1] == "=";
        if (!_flags.TryGetValue(name, out var flag))
        {
            var suggestion = Suggestion.ClosestOrNull(_flags.Keys, name);
            _errors.Add($"{name}: unknown flag" + (suggestion is null ? "" : $" (did you mean {suggestion}?)"));
            return threeWords ? Math.Min(2, arguments.Count - index - 1) : 0;
        }
        if (equals >= 0)
        {
            return Add(name, argument[(equals + 1)..], 0);
        }
        if (threeWords)
        {
            return index + 2 < arguments.Count ? Add(name, arguments[index + 2], 2) : Missing(name, 1);
        }
        var next = index + 1 < arguments.Count ? arguments[index + 1] : null;
        if (flag.IsSwitch)
        {
            return next is "true" or "false" ? Add(name, next, 1) : Add(name, "true", 0);
        }
        // A flag where a value is expected means that the value was forgotten. A value that looks like a flag
        // must be joined with an equals sign.
        return next is null || next.StartsWith("--", StringComparison.Ordinal) ? Missing(name, 0) : Add(name, next, 1);
    }

    private int Add(string name, string value, int taken)
    {
        _words.Add(name);
        _words.Add("=" + value);
        return taken;
    }

    private int Missing(string name, int taken)
    {
        _errors.Add($"{name}: a value is missing");
        return taken;
    }
}
