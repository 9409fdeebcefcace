using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>A sub-command of the executable.</summary>
public interface ICommand
{
    string Name { get; }

    /// <summary>One line for the list of commands.</summary>
    string Summary { get; }

    /// <summary>The flags that the command uses, in the order of its help text.</summary>
    IEnumerable<Flag> Flags { get; }

    /// <summary>
    /// Whether it also accepts all other flags of the server, so that it can be run with the server's own command line.
    /// Their values are checked and otherwise ignored.
    /// </summary>
    bool TakesServerFlags => false;

    /// <summary>All flags that may be given to the command.</summary>
    IEnumerable<Flag> AcceptedFlags => TakesServerFlags ? Flags.Concat(FlagCatalogue.All).Distinct() : Flags;

    /// <summary>
    /// The names of its positional arguments, in order, as the help text shows them. One in brackets is optional, and
    /// one that ends in an ellipsis takes all remaining words.
    /// </summary>
    IReadOnlyList<string> Arguments => [];

    /// <summary>Full sentences for the help text, for example about exit codes.</summary>
    string Notes => "";

    /// <summary>Example command lines, the simplest first.</summary>
    IReadOnlyList<string> Examples => [];

    /// <summary>Runs the command. Invalid flags are a usage error: <see cref="ExitCodes.Usage"/>.</summary>
    Task<int> RunAsync(Invocation invocation);
}

/// <summary>The flags and the output streams of one run of a command.</summary>
public sealed record Invocation(FlagValues Flags, TextWriter Output, TextWriter Error)
{
    /// <summary>The name of the executable, for messages.</summary>
    public string Program { get; init; } = "kedge";

    /// <summary>The positional arguments, one for each of <see cref="ICommand.Arguments"/>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Whether the output is a terminal that shows colours.</summary>
    public bool Colours { get; init; }

    /// <summary>Colours the output's text if the output shows colours.</summary>
    public Paint Paint => new(Colours);

    /// <summary>Prints a line for each usage error.</summary>
    /// <returns>The exit code for usage errors.</returns>
    public int Refuse(IEnumerable<string> errors)
    {
        foreach (var error in errors)
        {
            Error.WriteLine($"{Program}: {error}");
        }
        return ExitCodes.Usage;
    }
}
