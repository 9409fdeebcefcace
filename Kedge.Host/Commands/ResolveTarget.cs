using System.Globalization;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Decoded;

namespace Kedge.Host.Commands;

/// <summary>The argument of `kedge resolve`: a backend of the configuration, or an explicit resolver target.</summary>
/// <param name="Title">How the output names it.</param>
public sealed record ResolveTarget(string Title, Resolver Resolver)
{
    private const string HostPrefix = "host:";
    private const string SrvPrefix = "srv:";
    private const string K8sPrefix = "k8s:";

    /// <summary>
    /// The backends with that name, of both protocols; failing those, the target. Empty when the word is neither.
    /// </summary>
    public static IReadOnlyList<ResolveTarget> Find(string word, PerProtocol<IReadOnlyList<BackendInfo>> backends)
    {
        ResolveTarget[] named =
        [
            .. from pair in backends.Pairs
               from backend in pair.Item2
               where backend.Name == word
               select new ResolveTarget($"{word} ({pair.Item1.DisplayName})", backend.Resolver),
        ];
        return named.Length > 0 ? named : Parse(word) is { } resolver ? [new(word, resolver)] : [];
    }

    /// <summary>
    /// <c>[host:]name:port</c>, <c>srv:name[:port_override]</c> or a name that starts with an underscore,
    /// <c>k8s:service.namespace:port</c>. Null for anything else.
    /// </summary>
    public static Resolver? Parse(string word)
    {
        if (word.StartsWith(K8sPrefix, StringComparison.Ordinal))
        {
            return K8sTargetModule.tryParse(word[K8sPrefix.Length..]).IsOk
                ? Resolver.NewK8s(word[K8sPrefix.Length..])
                : null;
        }
        if (word.StartsWith(SrvPrefix, StringComparison.Ordinal) || word.StartsWith('_'))
        {
            var service = word.StartsWith('_') ? word : word[SrvPrefix.Length..];
            return Split(service) is { Name.Length: > 0 } overridden ? Resolver.NewSrv(overridden.Name, overridden.Port)
                : service.Length > 0 && !service.Contains(':') ? Resolver.NewSrv(service, 0)
                : null;
        }
        var host = word.StartsWith(HostPrefix, StringComparison.Ordinal) ? word[HostPrefix.Length..] : word;
        return Split(host) is { Name.Length: > 0 } target
            && (!target.Name.Contains(':') || IPAddress.TryParse(target.Name, out _))
            ? Resolver.NewHost(target.Name, target.Port)
            : null;
    }

    /// <summary>The name and port, without the brackets of an IPv6 address. Null without a port.</summary>
    private static (string Name, uint Port)? Split(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0
            && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && port != 0
            ? (text[..colon] is ['[', .. var inner, ']'] ? inner : text[..colon], port)
            : null;
    }
}
