using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>A sub-command of the executable.</summary>
public interface ICommand
{
    string Name { get; }

    /// <summary>One line for the list of commands.</summary>
    string Summary { get; }

    /// <summary>The flags that it takes, in the order of its help text.</summary>
    IEnumerable<Flag> Flags { get; }

    /// <summary>The words that it wants beside its flags, in order, as the help text names them.</summary>
    IReadOnlyList<string> Arguments => [];

    /// <summary>What its help text says of exit codes and the like, in sentences.</summary>
    string Notes => "";

    /// <summary>Command lines to learn from; the first is the plainest.</summary>
    IReadOnlyList<string> Examples => [];

    /// <summary>Runs it. What is wrong with its flags is an error of use: <see cref="ExitCodes.Usage"/>.</summary>
    Task<int> RunAsync(Invocation invocation);
}

/// <summary>What a command is run with.</summary>
public sealed record Invocation(FlagValues Flags, TextWriter Output, TextWriter Error)
{
    /// <summary>The words beside the flags, one for each of <see cref="ICommand.Arguments"/>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Whether the output is read by a person on a terminal that shows colours.</summary>
    public bool Colours { get; init; }

    /// <summary>Writes the output's text in colour, or not.</summary>
    public Paint Paint => new(Colours);

    /// <summary>Prints a line for each error of use.</summary>
    /// <returns>The exit code for it.</returns>
    public int Refuse(IEnumerable<string> errors)
    {
        foreach (var error in errors)
        {
            Error.WriteLine($"kedge: {error}");
        }
        return ExitCodes.Usage;
    }
}
