using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Telemetry;

/// <summary>A log event as one line of text.</summary>
public static class LogLine
{
    private static readonly SearchValues<char> Breaks = SearchValues.Create("\r\n\u0085\u2028\u2029\u001b");

    /// <summary>The text without line breaks and escape characters: what a caller sends must not forge a line of its own.</summary>
    public static string OneLine(string text) =>
        text.AsSpan().ContainsAny(Breaks)
            ? string.Create(text.Length, text, (span, source) =>
            {
                source.CopyTo(span);
                span.ReplaceAny(Breaks, ' ');
            })
            : text;

    /// <summary>The event as a JSON object: time, level, logger, message, and each of the message's values by its name.</summary>
    /// <param name="tags">Go with the line; none = no such field.</param>
    public static string ToJson<TState>(in LogEntry<TState> entry, DateTimeOffset time, params ReadOnlySpan<string> tags)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("time", time.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
            json.WriteString("level", entry.LogLevel switch
            {
                LogLevel.Trace or LogLevel.Debug => "debug",
                LogLevel.Information => "info",
                LogLevel.Warning => "warning",
                _ => "error",
            });
            json.WriteString("logger", entry.Category);
            if (tags.Length > 0)
            {
                json.WriteStartArray("tags");
                foreach (var tag in tags)
                {
                    json.WriteStringValue(tag);
                }
                json.WriteEndArray();
            }
            json.WriteString("message", entry.Formatter(entry.State, entry.Exception));
            if (entry.State is IReadOnlyList<KeyValuePair<string, object?>> { Count: > 1 } values)
            {
                json.WriteStartObject("fields");
                WriteFields(json, values);
                json.WriteEndObject();
            }
            if (entry.Exception is { } exception)
            {
                json.WriteString("error", entry.LogLevel >= LogLevel.Error ? exception.ToString() : exception.Message);
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static void WriteFields(Utf8JsonWriter json, IReadOnlyList<KeyValuePair<string, object?>> values)
    {
        foreach (var (name, value) in values)
        {
            // The template itself is among the values, under this name.
            if (name == "{OriginalFormat}")
            {
                continue;
            }
            json.WritePropertyName(name);
            switch (value)
            {
                case null: json.WriteNullValue(); break;
                case bool truth: json.WriteBooleanValue(truth); break;
                case int number: json.WriteNumberValue(number); break;
                case long number: json.WriteNumberValue(number); break;
                case double number when double.IsFinite(number): json.WriteNumberValue(number); break;
                default: json.WriteStringValue(Convert.ToString(value, CultureInfo.InvariantCulture)); break;
            }
        }
    }
}
