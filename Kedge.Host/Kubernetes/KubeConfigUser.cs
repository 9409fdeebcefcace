using System.Text;
using k8s;
using k8s.KubeConfigModels;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kedge.Host.Kubernetes;

/// <summary>The fields of a kubeconfig user that the Kubernetes library does not read.</summary>
/// <param name="TokenFile">Empty = none. Replaces <c>token</c>, and is read for each request.</param>
/// <param name="InteractiveMode">The mode of its credential plugin; empty = not specified.</param>
/// <param name="Impersonation">The headers that name the identity to impersonate.</param>
internal sealed record KubeConfigUser(
    string TokenFile, string InteractiveMode, IReadOnlyList<KeyValuePair<string, string>> Impersonation)
{
    private const string Extra = "as-user-extra";

    /// <summary>Reads a kubeconfig: the file as the library understands it, and this user.</summary>
    public static async Task<(K8SConfiguration File, KubeConfigUser User)> ReadAsync(
        string path, string name, CancellationToken stop)
    {
        var yaml = new YamlStream();
        yaml.Load(new MergingParser(new Parser(new StringReader(await File.ReadAllTextAsync(path, stop)))));
        var root = yaml.Documents.Count == 0 ? null : yaml.Documents[0].RootNode;
        var users = Items(root, "users").ToArray();
        var user = Read(name, Child(users.FirstOrDefault(entry => Text(entry, "name") == name), "user"));
        foreach (var entry in users)
        {
            // The library expects its values to be strings, but they are lists.
            (Child(entry, "user") as YamlMappingNode)?.Children.Remove(new YamlScalarNode(Extra));
        }
        using var text = new StringWriter();
        yaml.Save(text, assignAnchors: false);
        using var stream = new MemoryStream(Encoding.UTF8.GetBytes(text.ToString()));
        var file = await KubernetesClientConfiguration.LoadKubeConfigAsync(stream).WaitAsync(stop);
        file.FileName = Path.GetFullPath(path);
        return (file, user);
    }

    private static KubeConfigUser Read(string name, YamlNode? user)
    {
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
        if (Child(user, Extra) is YamlMappingNode extra)
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
            // Without Impersonate-User, the API server would ignore the others, and the user would act as itself.
            throw new KubernetesAccessException(
                $"kubeconfig user '{name}': as-uid, as-groups and as-user-extra need 'as'");
        }
        if (headers.GroupBy(header => header.Key).FirstOrDefault(group => group.Count() > 1) is { Key: var repeated })
        {
            // The HTTP client joins several values into one, which the API server treats as a single name.
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
