using System.Text.Encodings.Web;
using System.Text.Json;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

public enum OutputFormat
{
    Text,
    Json,
}

/// <summary>What commands that report have in common: <c>--output</c> and how JSON is written.</summary>
public static class Report
{
    public static readonly Flag<OutputFormat> Format = new()
    {
        Name = "output",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<OutputFormat>(),
        Default = OutputFormat.Text,
        Help = "text for people, or json for machines",
    };

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NewLine = "\n",
        // The text is read by machines and people, not put into a page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static bool IsJson(Invocation invocation) => invocation.Flags.Get(Format) == OutputFormat.Json;

    /// <summary>Writes the properties of an object, in their order, in snake_case.</summary>
    public static void WriteJson(TextWriter output, object report) =>
        output.WriteLine(JsonSerializer.Serialize(report, Options));
}
