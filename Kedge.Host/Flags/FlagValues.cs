namespace Kedge.Host.Flags;

/// <summary>The flags that were given, each with its value; every other flag has its default.</summary>
public sealed class FlagValues(IReadOnlyDictionary<Flag, FlagValue> given)
{
    /// <summary>Stands for the value of a secret.</summary>
    public const string Mask = "******";

    public T Get<T>(Flag<T> flag) => given.TryGetValue(flag, out var value) ? (T)value.Value! : flag.Default;

    /// <summary>Whether the command line sets the flag, be it to its default.</summary>
    public bool IsGiven(Flag flag) => given.ContainsKey(flag);

    /// <summary>The value as text, fit for a page or a log: a secret is masked.</summary>
    public string TextOf(Flag flag) => given.TryGetValue(flag, out var value) ? value.Text : flag.DefaultText;

    /// <summary>Whether the flag has another value than its default.</summary>
    public bool IsChanged(Flag flag) => TextOf(flag) != flag.DefaultText;
}
