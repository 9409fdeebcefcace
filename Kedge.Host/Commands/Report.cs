using System.Text.Encodings.Web;
using System.Text.Json;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

public enum OutputFormat
{
    Text,
    Json,
}

/// <summary>Shared by the commands that print a report: the flag <c>--output</c> and the JSON format.</summary>
public static class Report
{
    public static readonly Flag<OutputFormat> Format = new()
    {
        Name = "output",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<OutputFormat>(),
        Default = OutputFormat.Text,
        Help = "format of the output: text for people, json for machines",
    };

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NewLine = "\n",
        // The output never becomes part of a web page, so characters such as < and & need no escapes.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static bool IsJson(Invocation invocation) => invocation.Flags.Get(Format) == OutputFormat.Json;

    /// <summary>Writes the properties of an object, in their order, in snake_case.</summary>
    public static void WriteJson(TextWriter output, object report) =>
        output.WriteLine(JsonSerializer.Serialize(report, Options));
}
