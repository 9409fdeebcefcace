using System.Text;
using System.Text.Json;

namespace Kedge.Host.Debug;

/// <summary>The forms in which debug pages answer.</summary>
public static class Answers
{
    public static Task TextAsync(HttpContext context, int status, string text) =>
        WriteAsync(context, status, "text/plain; charset=utf-8", text + "\n");

    public static Task JsonAsync<T>(HttpContext context, T value) =>
        WriteAsync(context, StatusCodes.Status200OK, "application/json", JsonSerializer.Serialize(value, JsonSerializerOptions.Web) + "\n");

    private static Task WriteAsync(HttpContext context, int status, string contentType, string body)
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
