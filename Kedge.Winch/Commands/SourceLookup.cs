using Kedge.Client;
using Kedge.Host.Commands;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>Shared by the commands about auth sources.</summary>
internal static class SourceLookup
{
    /// <summary>
    /// The source that the command line names, or the only possible one. Null, with errors, if there is none.
    /// </summary>
    public static ITokenSource? Find(Invocation invocation, bool onlyLogins, out IReadOnlyList<string> errors)
    {
        if (WinchSetup.LoadSources(invocation.Flags, out errors) is not { } sources)
        {
            return null;
        }
        var all = SourceFactory.Create(sources, invocation.Flags.Get(WinchFlags.AuthTimeout));
        if (invocation.Arguments.Count > 0)
        {
            var name = invocation.Arguments[0];
            if (!all.TryGetValue(name, out var named))
            {
                errors = [$"there is no auth source {name} (there are: {string.Join(", ", all.Keys)})"];
            }
            else if (onlyLogins && named is not OidcSource)
            {
                errors = [$"auth source {name} needs no login"];
            }
            return errors.Count > 0 ? null : named;
        }
        ITokenSource[] possible = [.. all.Values.Where(source => !onlyLogins || source is OidcSource)];
        if (possible.Length == 1)
        {
            return possible[0];
        }
        errors = [possible.Length == 0
            ? "no auth source needs a login"
            : $"name one of the auth sources: {string.Join(", ", possible.Select(source => source.Name))}"];
        return null;
    }
}
