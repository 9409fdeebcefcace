namespace Kedge.Host.Flags;

/// <summary>The values of the flags: those that were given, and the defaults of all others.</summary>
public sealed class FlagValues(IReadOnlyDictionary<Flag, FlagValue> given)
{
    public T Get<T>(Flag<T> flag) => given.TryGetValue(flag, out var value) ? (T)value.Value! : flag.Default;

    /// <summary>Whether the command line sets the flag, even if to its default.</summary>
    public bool IsGiven(Flag flag) => given.ContainsKey(flag);

    /// <summary>The value as text that is safe for a page or a log: secrets are masked.</summary>
    public string TextOf(Flag flag) => given.TryGetValue(flag, out var value) ? value.Text : flag.DefaultText;

    /// <summary>Whether the value differs from the default.</summary>
    public bool IsChanged(Flag flag) => TextOf(flag) != flag.DefaultText;
}
