using System.Text;
using System.Text.Json;
using Kedge.Host.Certificates;

namespace Kedge.Host.Kubernetes;

/// <summary>A Secret of the type <c>kubernetes.io/tls</c>. Holds a private key, so it has no text form.</summary>
internal sealed class CertificateSecret
{
    private const string TlsType = "kubernetes.io/tls";

    private CertificateSecret(LoadedPair loaded) => Loaded = loaded;

    /// <summary>Its certificate and key. The source is <c>secret:namespace/name</c>.</summary>
    public LoadedPair Loaded { get; }

    /// <summary>Null when the object has no name, or is not a Secret of this type.</summary>
    public static CertificateSecret? TryRead(JsonElement element)
    {
        try
        {
            var metadata = Field(element, "metadata");
            var (space, name) = (Text(metadata, "namespace"), Text(metadata, "name"));
            if (space.Length == 0 || name.Length == 0 || Text(element, "type") != TlsType)
            {
                return null;
            }
            var source = $"secret:{space}/{name}";
            var problems = new List<PairProblem>();
            var data = Field(element, "data");
            var pair = PemPair.Read(
                Decode(data, "tls.crt", problems), "tls.crt", Decode(data, "tls.key", problems), "tls.key", problems);
            return new(new LoadedPair(source, pair, problems));
        }
        catch (InvalidOperationException)
        {
            // A string contains half of a surrogate pair.
            return null;
        }
    }

    private static string? Decode(JsonElement data, string name, List<PairProblem> problems)
    {
        var text = Text(data, name);
        if (text.Length == 0)
        {
            problems.Add(new(PairFault.Unreadable, $"{name}: is missing"));
            return null;
        }
        try
        {
            return Encoding.UTF8.GetString(Convert.FromBase64String(text)).TrimStart('\uFEFF');
        }
        catch (FormatException)
        {
            problems.Add(new(PairFault.Invalid, $"{name}: is not Base64"));
            return null;
        }
    }

    private static JsonElement Field(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) ? value : default;

    private static string Text(JsonElement element, string name) =>
        Field(element, name) is { ValueKind: JsonValueKind.String } value ? value.GetString()! : "";
}
