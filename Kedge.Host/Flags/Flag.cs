using System.CommandLine;

namespace Kedge.Host.Flags;

/// <summary>The sections of the help text, in its order.</summary>
public enum FlagGroup
{
    Command,
    Configuration,
    Listeners,
    Tls,
    Authorization,
    Forwarding,
    Discovery,
    Kubernetes,
    Logging,
    Tracing,
    WithoutEffect,
}

/// <summary>One flag, as parsing, help, completion and the flags page see it.</summary>
public abstract class Flag
{
    /// <summary>Without the leading dashes, words joined with underscores.</summary>
    public required string Name { get; init; }

    public required FlagGroup Group { get; init; }

    /// <summary>One or two sentences, lower case, no full stop at the end.</summary>
    public required string Help { get; init; }

    /// <summary>Alternative names, without dashes.</summary>
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>A one-letter name, such as curl's -H; null = none.</summary>
    public char? Letter { get; init; }

    /// <summary>Whether its value must never appear in errors, logs or pages.</summary>
    public bool IsSecret { get; init; }

    /// <summary>The default as the help text describes it, when it depends on the environment.</summary>
    public string? DefaultHelp { get; init; }

    /// <summary>Whether the flag may be given without a value.</summary>
    public abstract bool IsSwitch { get; }

    public abstract string Placeholder { get; }

    /// <summary>The default, written as on the command line.</summary>
    public abstract string DefaultText { get; }

    /// <summary>Reads the words given for this flag, one for each time it was given.</summary>
    /// <returns>What is wrong, or null.</returns>
    public abstract string? Read(IReadOnlyList<string> words, out FlagValue value);

    /// <summary>The option that makes System.CommandLine accept this flag.</summary>
    public Option<string[]> ToOption()
    {
        var option = new Option<string[]>($"--{Name}", [.. Aliases.Select(alias => $"--{alias}")])
        {
            Description = Help,
            HelpName = Placeholder,
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = false,
        };
        option.CompletionSources.Add([.. Choices]);
        return option;
    }

    protected abstract IReadOnlyList<string> Choices { get; }

    public override string ToString() => $"--{Name}";
}

/// <summary>The value of a flag, typed and as text; the text of a secret is <see cref="Mask"/>.</summary>
public readonly record struct FlagValue(object? Value, string Text)
{
    /// <summary>Replaces the text of a secret.</summary>
    public const string Mask = "******";
}

/// <inheritdoc/>
public sealed class Flag<T> : Flag
{
    public required FlagType<T> Type { get; init; }

    public required T Default { get; init; }

    public override bool IsSwitch => typeof(T) == typeof(bool);

    public override string Placeholder => Type.Placeholder;

    public override string DefaultText => Type.Write(Default);

    protected override IReadOnlyList<string> Choices => Type.Choices;

    public override string? Read(IReadOnlyList<string> words, out FlagValue value)
    {
        var result = Default;
        var first = true;
        foreach (var word in words)
        {
            if (Type.Read(word, out var one) is { } problem)
            {
                value = default;
                return IsSecret ? $"the value (a secret, not shown here) is not a valid {Placeholder}" : problem;
            }
            result = first || Type.Join is not { } join ? one : join(result, one);
            first = false;
        }
        var text = Type.Write(result);
        value = new(result, IsSecret && text.Length > 0 ? FlagValue.Mask : text);
        return null;
    }
}
