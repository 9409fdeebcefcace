using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kedge.Host.Debug;

/// <summary>The formats of the debug pages.</summary>
public static class PageResponse
{
    /// <summary>The JSON form of the view models.</summary>
    public static readonly JsonSerializerOptions SnakeCase = new()
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
        context.Response.Headers.Vary = "Accept";
        return Accepts(context, "application/json") && !Accepts(context, "text/html")
            ? DataAsync(context, view)
            : HtmlAsync(context, render(view));
    }

    /// <summary>Whether the caller names this media type in <c>Accept</c>.</summary>
    public static bool Accepts(HttpContext context, string mediaType) =>
        context.Request.Headers.Accept.ToString().Contains(mediaType, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a switch in the query is on: <c>?name</c>, <c>?name=true</c>.</summary>
    public static bool IsOn(IQueryCollection query, string name) =>
        query.TryGetValue(name, out var value) && (value.ToString() is "" or "true" or "on" or "1");

    /// <summary>A view model as JSON.</summary>
    public static Task DataAsync<T>(HttpContext context, T view) => WriteAsync(
        context, StatusCodes.Status200OK, "application/json", JsonSerializer.Serialize(view, SnakeCase) + "\n");

    public static Task HtmlAsync(HttpContext context, string html)
    {
        context.Response.Headers.ContentSecurityPolicy =
            "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'";
        return WriteAsync(context, StatusCodes.Status200OK, "text/html; charset=utf-8", html);
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
