using System.Text.Json;

namespace Kedge.Host.Authorization;

/// <summary>Finds a claim by its name, or by a path with dots such as <c>realm_access.roles</c>.</summary>
internal static class ClaimPath
{
    /// <summary>
    /// The claim whose name is the whole path; otherwise the one that the path leads to, through objects whose names
    /// may themselves contain dots. Null when there is none.
    /// </summary>
    public static JsonElement? Find(JsonElement claims, string path)
    {
        if (claims.ValueKind != JsonValueKind.Object)
        {
            return null;
        }
        if (claims.TryGetProperty(path, out var claim))
        {
            return claim;
        }
        for (var dot = path.IndexOf('.'); dot >= 0; dot = path.IndexOf('.', dot + 1))
        {
            if (claims.TryGetProperty(path.AsSpan(0, dot), out var inner)
                && Find(inner, path[(dot + 1)..]) is { } found)
            {
                return found;
            }
        }
        return null;
    }
}
