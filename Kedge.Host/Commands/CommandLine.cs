using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Kedge.Domain;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>An executable and its commands.</summary>
/// <param name="Name">The name that users type.</param>
/// <param name="Description">A few words for the help text.</param>
/// <param name="Commands">In the order of the help text. The first is the default.</param>
public sealed record CommandSet(string Name, string Description, IReadOnlyList<ICommand> Commands)
{
    /// <summary>The commands of <c>kedge</c>.</summary>
    public static CommandSet Kedge { get; } = new(
        "kedge",
        "Kubernetes edge proxy for HTTP and gRPC",
        [
            new ServeCommand(),
            new DemoCommand(),
            new CheckCommand(),
            new ExplainCommand(),
            new DiffCommand(),
            new DiscoverCommand(),
            new ResolveCommand(),
            new TopCommand(),
        ]);

    public ICommand Default => Commands[0];
}

/// <summary>The command line of an executable: its commands, their flags, help and version.</summary>
public static class CommandLine
{
    /// <summary>Runs the command that the arguments name, and returns the exit code of the process.</summary>
    /// <param name="set">The executable's commands.</param>
    /// <param name="arguments">The arguments as the shell passes them.</param>
    /// <param name="output">Where the command writes its result.</param>
    /// <param name="error">Where errors in the command line go.</param>
    /// <param name="colours">Whether the output is a terminal that shows colours.</param>
    public static async Task<int> RunAsync(
        CommandSet set, string[] arguments, TextWriter output, TextWriter error, bool colours)
    {
        var root = Build(set);
        var parser = new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null };
        var plain = new InvocationConfiguration { Output = output, Error = error };
        // The directive [suggest] is how a shell asks for completions. The line that follows is unfinished.
        if (arguments is [['[', ..], ..])
        {
            return await root.Parse(arguments, parser).InvokeAsync(plain);
        }
        if (arguments is ["help", .. { Length: <= 1 } about]
            && about.All(name => set.Commands.Any(command => command.Name == name)))
        {
            arguments = [.. about, "--help"];
        }
        var words = FlagWords.Read(
            arguments,
            set.Commands.SelectMany(command => command.AcceptedFlags).Distinct(),
            set.Commands.Select(command => command.Name));
        var parsed = root.Parse(words.Words, parser);
        if (parsed.Action is HelpTextAction or VersionAction)
        {
            return await parsed.InvokeAsync(plain);
        }
        var command = set.Commands.FirstOrDefault(
            command => command.Name == parsed.CommandResult.Command.Name, set.Default);
        var flags = Read(parsed, command, out var unreadable);
        // After an unknown flag, its value may look like an argument, so unexpected arguments are not reported.
        IReadOnlyList<string> errors =
            [.. words.Errors, .. unreadable, .. words.Errors.Count > 0 ? [] : Unmatched(set, parsed, command)];
        string[] operands = [.. command.Arguments.SelectMany(name => OperandsOf(parsed, name))];
        if (errors.Count == 0 && operands.Length < command.Arguments.Count(IsRequired))
        {
            errors = [$"{command.Name}: <{command.Arguments[operands.Length]}> is missing; see {HelpOf(set, command)}"];
        }
        var invocation = new Invocation(flags, output, error)
        {
            Program = set.Name,
            Arguments = operands,
            Colours = colours,
        };
        return errors.Count > 0 ? invocation.Refuse(errors) : await command.RunAsync(invocation);
    }

    private static RootCommand Build(CommandSet set)
    {
        var root = new RootCommand(set.Description);
        Fill(root, set.Default);
        foreach (var command in set.Commands)
        {
            var child = new Command(command.Name, command.Summary);
            Fill(child, command);
            root.Subcommands.Add(child);
        }
        foreach (var option in root.Options)
        {
            option.Action = option switch
            {
                HelpOption => new HelpTextAction(set),
                VersionOption => new VersionAction(set.Name),
                _ => option.Action,
            };
        }
        return root;
    }

    private static void Fill(Command target, ICommand command)
    {
        foreach (var flag in command.AcceptedFlags)
        {
            target.Options.Add(flag.ToOption());
        }
        foreach (var name in command.Arguments)
        {
            target.Arguments.Add(IsRest(name)
                ? new Argument<string[]>(name) { Arity = ArgumentArity.ZeroOrMore }
                : new Argument<string>(name) { Arity = ArgumentArity.ZeroOrOne });
        }
    }

    private static bool IsRest(string argument) => argument.EndsWith('…');

    private static bool IsRequired(string argument) => !IsRest(argument) && !argument.StartsWith('[');

    private static string[] OperandsOf(ParseResult parsed, string argument) =>
        IsRest(argument) ? parsed.GetValue<string[]>(argument) ?? []
        : parsed.GetValue<string>(argument) is { } one ? [one]
        : [];

    /// <summary>The values of the given flags, and a line for each value that is invalid.</summary>
    private static FlagValues Read(ParseResult parsed, ICommand command, out IReadOnlyList<string> errors)
    {
        var values = new Dictionary<Flag, FlagValue>();
        var problems = new List<string>();
        foreach (var flag in command.AcceptedFlags)
        {
            var words = parsed.GetResult($"--{flag.Name}") is OptionResult { Implicit: false } result
                ? result.Tokens.Select(token => FlagWords.ValueOf(token.Value)).ToArray()
                : [];
            if (words.Length == 0)
            {
                continue;
            }
            if (flag.Read(words, out var value) is { } problem)
            {
                problems.Add($"{flag}: {problem}");
            }
            else
            {
                values[flag] = value;
            }
        }
        errors = problems;
        return new(values);
    }

    private static string HelpOf(CommandSet set, ICommand command) =>
        command == set.Default ? $"{set.Name} --help" : $"{set.Name} {command.Name} --help";

    /// <summary>
    /// A line for each word that this command does not accept: another command's flag, or a surplus argument.
    /// </summary>
    private static IEnumerable<string> Unmatched(CommandSet set, ParseResult parsed, ICommand command)
    {
        foreach (var word in parsed.UnmatchedTokens)
        {
            if (word.StartsWith('='))
            {
                continue;
            }
            if (word.StartsWith("--", StringComparison.Ordinal))
            {
                yield return $"{word}: is not a flag of {set.Name} {command.Name}";
            }
            else
            {
                var suggestion = Suggestion.ClosestOrNull(set.Commands.Select(known => known.Name), word);
                yield return suggestion is null
                    ? $"'{word}': unexpected argument; see {HelpOf(set, command)}"
                    : $"'{word}': unexpected argument (did you mean {suggestion}?)";
            }
        }
    }
}
