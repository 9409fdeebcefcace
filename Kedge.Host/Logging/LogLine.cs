using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Host.Logging;

/// <summary>A log event as one line of text.</summary>
public static class LogLine
{
    // A buffer that had to grow beyond this for a long line is not reused.
    private const int MaxKeptBuffer = 64 * 1024;

    // In characters.
    private const int MaxLogstashText = 16 * 1024;

    [ThreadStatic]
    private static (ArrayBufferWriter<byte> Buffer, Utf8JsonWriter Json)? _json;

    private static readonly SearchValues<char> Breaks = SearchValues.Create("\r\n\u0085\u2028\u2029\u001b");

    /// <summary>The text without line breaks and escape characters, so that no caller can forge a log line.</summary>
    public static string OneLine(string text) =>
        text.AsSpan().ContainsAny(Breaks)
            ? string.Create(text.Length, text, (span, source) =>
            {
                source.CopyTo(span);
                span.ReplaceAny(Breaks, ' ');
            })
            : text;

    /// <summary>For people: <c>12:03:44.120 info  message</c>. UTF-8, with a line break at the end.</summary>
    public static byte[] ToText<TState>(in LogEntry<TState> entry, DateTime time)
    {
        var text = new StringBuilder(200);
        text.Append(time.ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture));
        text.Append(entry.LogLevel switch
        {
            LogLevel.Trace or LogLevel.Debug => " debug ",
            LogLevel.Information => " info  ",
            LogLevel.Warning => " warn  ",
            _ => " error ",
        });
        text.Append(OneLine(entry.Formatter(entry.State, entry.Exception)));
        if (entry.Exception is { } exception)
        {
            text.Append(": ").Append(OneLine(exception.Message));
            if (entry.LogLevel >= LogLevel.Error)
            {
                // Indented, so that no line of it looks like an entry of the log.
                text.Append("\n    ").Append(exception.ToString().ReplaceLineEndings("\n    "));
            }
        }
        return Encoding.UTF8.GetBytes(text.Append('\n').ToString());
    }

    /// <summary>
    /// For machines: a JSON object with the time, level, logger, message, and each of the message's values by its name.
    /// UTF-8, with a line break at the end.
    /// </summary>
    public static byte[] ToJson<TState>(in LogEntry<TState> entry, DateTimeOffset time)
    {
        var json = Begin();
        WriteTime(json, "time", time);
        json.WriteString("level", entry.LogLevel switch
        {
            LogLevel.Trace or LogLevel.Debug => "debug",
            LogLevel.Information => "info",
            LogLevel.Warning => "warning",
            _ => "error",
        });
        json.WriteString("logger", entry.Category);
        json.WriteString("message", entry.Formatter(entry.State, entry.Exception));
        if (entry.State is IReadOnlyList<KeyValuePair<string, object?>> { Count: > 1 } values)
        {
            json.WriteStartObject("fields");
            WriteFields(json, values);
            json.WriteEndObject();
        }
        if (entry.Exception is { } exception)
        {
            json.WriteString("error", ErrorText(entry.LogLevel, exception));
        }
        return End();
    }

    /// <summary>
    /// For Logstash: a JSON object with the field names of the Go implementation of kedge, which saved searches use.
    /// The message's values are at the top level. UTF-8, with a line break at the end.
    /// </summary>
    /// <param name="entry">The event.</param>
    /// <param name="time">When it happened.</param>
    /// <param name="tags">The tags of the line; empty = the line has no such field.</param>
    public static byte[] ToLogstash<TState>(
        in LogEntry<TState> entry, DateTimeOffset time, ReadOnlySpan<string> tags)
    {
        var json = Begin();
        WriteTime(json, "@timestamp", time);
        json.WriteNumber("@version", 1);
        json.WriteString("HOSTNAME", Environment.MachineName);
        json.WriteString("level", entry.LogLevel switch
        {
            LogLevel.Trace or LogLevel.Debug => "DEBUG",
            LogLevel.Information => "INFO",
            LogLevel.Warning => "WARN",
            _ => "ERROR",
        });
        json.WriteString("logger", entry.Category);
        if (tags.Length > 0)
        {
            json.WriteStartArray("@tags");
            foreach (var tag in tags)
            {
                json.WriteStringValue(tag);
            }
            json.WriteEndArray();
        }
        var message = entry.Formatter(entry.State, entry.Exception);
        json.WriteString(
            "message", Trimmed(entry.Exception is { } cause ? $"{message}: {cause.Message}" : message));
        if (entry.State is IReadOnlyList<KeyValuePair<string, object?>> { Count: > 1 } values)
        {
            WriteFields(json, values);
        }
        if (entry.Exception is { } exception)
        {
            json.WriteString("error", Trimmed(ErrorText(entry.LogLevel, exception)));
        }
        return End();
    }

    private static string ErrorText(LogLevel level, Exception exception) =>
        level >= LogLevel.Error ? exception.ToString() : exception.Message;

    /// <summary>Logstash inputs reject very long fields.</summary>
    private static string Trimmed(string text) =>
        text.Length <= MaxLogstashText ? text : text[..MaxLogstashText] + " ... (trimmed)";

    private static void WriteTime(Utf8JsonWriter json, string name, DateTimeOffset time)
    {
        Span<char> stamp = stackalloc char[24];
        time.TryFormat(stamp, out var length, "yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
        json.WriteString(name, stamp[..length]);
    }

    private static Utf8JsonWriter Begin()
    {
        // Writing a line never logs another one, so one buffer per thread is enough.
        var (buffer, json) = _json ??= NewJson();
        buffer.ResetWrittenCount();
        json.Reset();
        json.WriteStartObject();
        return json;
    }

    private static byte[] End()
    {
        var (buffer, json) = _json!.Value;
        json.WriteEndObject();
        json.Flush();
        buffer.Write("\n"u8);
        if (buffer.Capacity > MaxKeptBuffer)
        {
            _json = null;
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static (ArrayBufferWriter<byte>, Utf8JsonWriter) NewJson()
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        return (buffer, new Utf8JsonWriter(buffer));
    }

    private static void WriteFields(Utf8JsonWriter json, IReadOnlyList<KeyValuePair<string, object?>> values)
    {
        foreach (var (name, value) in values)
        {
            // The values include the message template, under this name.
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
