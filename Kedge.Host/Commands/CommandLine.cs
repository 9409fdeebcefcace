using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Kedge.Domain;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>The command line of the executable: its commands, their flags, help and version.</summary>
public static class CommandLine
{
    private static readonly ServeCommand Serve = new();
    private static readonly IReadOnlyList<ICommand> Commands =
    [
        Serve,
        new DemoCommand(),
        new CheckCommand(),
        new ExplainCommand(),
        new DiffCommand(),
        new DiscoverCommand(),
        new ResolveCommand(),
    ];

    /// <summary>Runs the command that the arguments name, and returns the exit code of the process.</summary>
    /// <param name="arguments">The arguments as the shell passes them.</param>
    /// <param name="output">Where the command writes its result.</param>
    /// <param name="error">Where errors in the command line go.</param>
    /// <param name="colours">Whether the output is a terminal that shows colours.</param>
    public static async Task<int> RunAsync(string[] arguments, TextWriter output, TextWriter error, bool colours)
    {
        var root = Build();
        var parser = new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null };
        var plain = new InvocationConfiguration { Output = output, Error = error };
        // The directive [suggest] is how a shell asks for completions. The line that follows is unfinished.
        if (arguments is [['[', ..], ..])
        {
            return await root.Parse(arguments, parser).InvokeAsync(plain);
        }
        var words = FlagWords.Read(
            arguments,
            Commands.SelectMany(command => command.AcceptedFlags).Distinct(),
            Commands.Select(command => command.Name));
        var parsed = root.Parse(words.Words, parser);
        if (parsed.Action is HelpTextAction or VersionAction)
        {
            return await parsed.InvokeAsync(plain);
        }
        var command = Commands.FirstOrDefault(command => command.Name == parsed.CommandResult.Command.Name, Serve);
        var flags = Read(parsed, command, out var unreadable);
        // After an unknown flag, values and arguments cannot be told apart, so unexpected arguments are not reported.
        IReadOnlyList<string> errors =
            [.. words.Errors, .. unreadable, .. words.Errors.Count > 0 ? [] : Unmatched(parsed, command)];
        string[] operands = [.. command.Arguments.Select(parsed.GetValue<string>).OfType<string>()];
        if (errors.Count == 0 && operands.Length < command.Arguments.Count)
        {
            errors = [$"{command.Name}: <{command.Arguments[operands.Length]}> is missing"];
        }
        var invocation = new Invocation(flags, output, error) { Arguments = operands, Colours = colours };
        return errors.Count > 0 ? invocation.Refuse(errors) : await command.RunAsync(invocation);
    }

    private static RootCommand Build()
    {
        var root = new RootCommand("Kubernetes edge proxy for HTTP and gRPC");
        Fill(root, Serve);
        foreach (var command in Commands)
        {
            var child = new Command(command.Name, command.Summary);
            Fill(child, command);
            root.Subcommands.Add(child);
        }
        foreach (var option in root.Options)
        {
            option.Action = option switch
            {
                HelpOption => new HelpTextAction(Commands, Serve),
                VersionOption => new VersionAction(),
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
            target.Arguments.Add(new Argument<string>(name) { Arity = ArgumentArity.ZeroOrOne });
        }
    }

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

    /// <summary>
    /// A line for each word that this command does not take: another command's flag, or a surplus argument.
    /// </summary>
    private static IEnumerable<string> Unmatched(ParseResult parsed, ICommand command)
    {
        foreach (var word in parsed.UnmatchedTokens)
        {
            if (word.StartsWith('='))
            {
                continue;
            }
            if (word.StartsWith("--", StringComparison.Ordinal))
            {
                yield return $"{word}: is not a flag of kedge {command.Name}";
            }
            else
            {
                var suggestion = Suggestion.ClosestOrNull(Commands.Select(known => known.Name), word);
                yield return suggestion is null
                    ? $"'{word}': unexpected argument"
                    : $"'{word}': unexpected argument (did you mean {suggestion}?)";
            }
        }
    }
}
