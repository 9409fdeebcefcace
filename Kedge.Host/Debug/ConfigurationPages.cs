using Kedge.Domain;
using Kedge.Host.Configurations;

namespace Kedge.Host.Debug;

/// <summary>
/// The active configuration, with the entries that discovery generates: both files in one JSON object, under
/// <c>director</c> and <c>backendpool</c>.
/// </summary>
public sealed class ConfigurationPage(ConfigurationStore store) : IDebugPage
{
    public string Path => "/debug/config";

    public Task AnswerAsync(HttpContext context)
    {
        var current = store.Current;
        return PageResponse.WriteAsync(
            context,
            StatusCodes.Status200OK,
            "application/json",
            $$"""
            {
            "director": {{current.DirectorJson}},
            "backendpool": {{current.PoolJson}}
            }

            """);
    }
}

/// <summary>One file of the active configuration. Kedge can start from it.</summary>
/// <param name="store">Holds the configuration.</param>
/// <param name="name">The name of the file: <c>director.json</c>.</param>
/// <param name="render">The text of the file.</param>
public sealed class ConfigurationFilePage(
    ConfigurationStore store, string name, Func<Configuration, string> render) : IDebugPage
{
    public string Path => $"/debug/config/{name}";

    public Task AnswerAsync(HttpContext context)
    {
        context.Response.Headers.ContentDisposition = $"inline; filename=\"{name}\"";
        return PageResponse.WriteAsync(
            context, StatusCodes.Status200OK, "application/json", render(store.Current) + "\n");
    }
}
