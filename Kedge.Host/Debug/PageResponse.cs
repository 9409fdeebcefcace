using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kedge.Host.Debug;

/// <summary>The formats of the debug pages.</summary>
public static class PageResponse
{
    private static readonly JsonSerializerOptions SnakeCase = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public static Task TextAsync(HttpContext context, int status, string text) =>
        WriteAsync(context, status, "text/plain; charset=utf-8", text + "\n");

    public static Task JsonAsync<T>(HttpContext context, T value) =>
        WriteAsync(
            context,
            StatusCodes.Status200OK,
            "application/json",
            JsonSerializer.Serialize(value, JsonSerializerOptions.Web) + "\n");

    /// <summary>
    /// A page from its view model: as HTML, or the model itself as JSON for clients that accept JSON and not HTML.
    /// </summary>
    public static Task ViewAsync<T>(HttpContext context, T view, Func<T, string> render)
    {
        var accept = context.Request.Headers.Accept.ToString();
        context.Response.Headers.Vary = "Accept";
        if (accept.Contains("application/json", StringComparison.OrdinalIgnoreCase)
            && !accept.Contains("text/html", StringComparison.OrdinalIgnoreCase))
        {
            return WriteAsync(
                context, StatusCodes.Status200OK, "application/json", JsonSerializer.Serialize(view, SnakeCase) + "\n");
        }
        context.Response.Headers.ContentSecurityPolicy =
            "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'";
        return WriteAsync(context, StatusCodes.Status200OK, "text/html; charset=utf-8", render(view));
    }

    public static Task WriteAsync(HttpContext context, int status, string contentType, string body)
    {
        var bytes = Encoding.UTF8.GetBytes(body);
        context.Response.StatusCode = status;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = bytes.Length;
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : context.Response.Body.WriteAsync(bytes, context.RequestAborted).AsTask();
    }
}
