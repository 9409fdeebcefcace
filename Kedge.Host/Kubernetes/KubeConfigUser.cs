using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kedge.Host.Kubernetes;

/// <summary>The fields of a kubeconfig user that the Kubernetes library does not read.</summary>
/// <param name="TokenFile">Empty = none. Replaces <c>token</c>, and is read for each request.</param>
/// <param name="InteractiveMode">Of its credential plugin; empty = not said.</param>
/// <param name="Impersonation">The headers that name whom the user acts as.</param>
internal sealed record KubeConfigUser(
    string TokenFile, string InteractiveMode, IReadOnlyList<KeyValuePair<string, string>> Impersonation)
{
    public static KubeConfigUser Read(string path, string name)
    {
        var yaml = new YamlStream();
        using (var reader = File.OpenText(path))
        {
            yaml.Load(new MergingParser(new Parser(reader)));
        }
        var root = yaml.Documents.Count == 0 ? null : yaml.Documents[0].RootNode;
        var entry = Items(root, "users").FirstOrDefault(user => Text(user, "name") == name);
        var user = Child(entry, "user");
        var headers = new List<KeyValuePair<string, string>>();
        void Add(string header, string value)
        {
            if (value.Length > 0)
            {
                headers.Add(new(header, value));
            }
        }
        Add("Impersonate-User", Text(user, "as"));
        Add("Impersonate-Uid", Text(user, "as-uid"));
        foreach (var group in Items(user, "as-groups"))
        {
            Add("Impersonate-Group", (group as YamlScalarNode)?.Value ?? "");
        }
        if (Child(user, "as-user-extra") is YamlMappingNode extra)
        {
            foreach (var (key, values) in extra.Children)
            {
                var header = $"Impersonate-Extra-{Uri.EscapeDataString((key as YamlScalarNode)?.Value ?? "")}";
                foreach (var value in values is YamlSequenceNode list ? list.Children : [values])
                {
                    Add(header, (value as YamlScalarNode)?.Value ?? "");
                }
            }
        }
        if (headers.Count > 0 && headers[0].Key != "Impersonate-User")
        {
            // The API server would ignore the others, and the user would act as itself.
            throw new KubernetesAccessException(
                $"kubeconfig user '{name}': as-uid, as-groups and as-user-extra need 'as'");
        }
        if (headers.GroupBy(header => header.Key).FirstOrDefault(group => group.Count() > 1) is { Key: var repeated })
        {
            // The HTTP client joins several values into one, which the API server takes for a single name.
            throw new KubernetesAccessException(
                $"kubeconfig user '{name}': kedge can act for one group and one value of each extra "
                + $"({repeated} has several)");
        }
        return new(Text(user, "tokenFile"), Text(Child(user, "exec"), "interactiveMode"), headers);
    }

    private static YamlNode? Child(YamlNode? node, string name) =>
        node is YamlMappingNode mapping && mapping.Children.TryGetValue(new YamlScalarNode(name), out var child)
            ? child
            : null;

    private static IEnumerable<YamlNode> Items(YamlNode? node, string name) =>
        Child(node, name) is YamlSequenceNode list ? list.Children : [];

    private static string Text(YamlNode? node, string name) => (Child(node, name) as YamlScalarNode)?.Value ?? "";
}
