using System.CommandLine;
using System.CommandLine.Invocation;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>Prints what a command does and its flags, by group.</summary>
public sealed class HelpTextAction(CommandSet set) : SynchronousCommandLineAction
{
    private const int Width = 100;
    private const string Indent = "      ";

    public override bool Terminating => true;

    public override int Invoke(ParseResult parseResult)
    {
        var output = parseResult.InvocationConfiguration.Output;
        var name = parseResult.CommandResult.Command.Name;
        var command = set.Commands.FirstOrDefault(command => command.Name == name);
        if (command is null)
        {
            WriteOverview(output);
        }
        else
        {
            output.WriteLine($"{set.Name} {command.Name}: {command.Summary}");
            output.WriteLine();
            var arguments = string.Concat(command.Arguments.Select(argument =>
                argument.StartsWith('[') || argument.EndsWith('…') ? $"{argument} " : $"<{argument}> "));
            output.WriteLine($"Usage: {set.Name} {command.Name} {arguments}[flags]");
            WriteMore(output, command);
        }
        WriteFlags(output, (command ?? set.Default).Flags);
        if (command is { TakesServerFlags: true })
        {
            output.WriteLine();
            WriteWrapped(
                output,
                "All other flags of the server (kedge --help) are accepted, checked and otherwise ignored.",
                "");
        }
        return ExitCodes.Success;
    }

    private void WriteOverview(TextWriter output)
    {
        output.WriteLine($"{set.Name}: {set.Description}");
        output.WriteLine();
        output.WriteLine($"Usage: {set.Name} [command] [flags]");
        output.WriteLine();
        output.WriteLine($"Commands (for details: {set.Name} <command> --help)");
        var column = set.Commands.Max(command => command.Name.Length) + 2;
        foreach (var command in set.Commands)
        {
            var note = command == set.Default ? " (the default)" : "";
            output.WriteLine($"  {command.Name.PadRight(column)}{command.Summary}{note}");
        }
        output.WriteLine();
        output.WriteLine(
            "Write flags as --name=value or --name value, and switches also as --name alone. Separate the items of");
        output.WriteLine("a list with commas, or repeat the flag. Durations look like 300ms, 2s, 1m30s or 1h.");
        WriteExamples(output, set.Commands.SelectMany(command => command.Examples.Take(1)).ToArray());
    }

    private static void WriteMore(TextWriter output, ICommand command)
    {
        if (command.Notes.Length > 0)
        {
            output.WriteLine();
            WriteWrapped(output, command.Notes, "");
        }
        WriteExamples(output, command.Examples);
    }

    private static void WriteExamples(TextWriter output, IReadOnlyList<string> examples)
    {
        if (examples.Count == 0)
        {
            return;
        }
        output.WriteLine();
        output.WriteLine("Examples");
        foreach (var example in examples)
        {
            output.WriteLine($"  {example}");
        }
    }

    private static void WriteFlags(TextWriter output, IEnumerable<Flag> flags)
    {
        foreach (var group in flags.GroupBy(flag => flag.Group))
        {
            output.WriteLine();
            output.WriteLine(TitleOf(group.Key));
            foreach (var flag in group)
            {
                var letter = flag.Letter is { } one ? $"-{one}, " : "";
                output.WriteLine($"  {letter}--{flag.Name}{(flag.IsSwitch ? "" : $"=<{flag.Placeholder}>")}");
                var byDefault = flag.DefaultHelp ?? flag.DefaultText;
                var isObvious = byDefault.Length == 0 || (flag.IsSwitch && byDefault == "false");
                var text = isObvious ? flag.Help : $"{flag.Help} [{byDefault}]";
                WriteWrapped(output, text, Indent);
                if (flag.Aliases.Count > 0)
                {
                    WriteWrapped(output, "alias: --" + string.Join(", --", flag.Aliases), Indent);
                }
            }
        }
        output.WriteLine();
        output.WriteLine("Other");
        output.WriteLine("  --help, -h, -?");
        output.WriteLine("  --version");
    }

    private static void WriteWrapped(TextWriter output, string text, string indent)
    {
        var line = indent;
        foreach (var word in text.Split(' '))
        {
            if (line.Length + word.Length + 1 > Width && line.Length > indent.Length)
            {
                output.WriteLine(line.TrimEnd());
                line = indent;
            }
            line += word + " ";
        }
        output.WriteLine(line.TrimEnd());
    }

    private static string TitleOf(FlagGroup group) => group switch
    {
        FlagGroup.Command => "Flags of this command",
        FlagGroup.Configuration => "Configuration",
        FlagGroup.Listeners => "Listeners",
        FlagGroup.Tls => "TLS",
        FlagGroup.Authorization => "Authorization of callers",
        FlagGroup.Forwarding => "Forwarding",
        FlagGroup.Discovery => "Dynamic discovery of routes",
        FlagGroup.Kubernetes => "Kubernetes client",
        FlagGroup.Logging => "Logging",
        FlagGroup.Tracing => "Tracing",
        FlagGroup.WithoutEffect => "Accepted for compatibility, without effect",
        _ => throw new ArgumentOutOfRangeException(nameof(group), group, null),
    };
}
