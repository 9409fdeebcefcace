using System.Net.Http.Headers;
using System.Text.Json;
using Kedge.Host.Debug;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>Queries the debug pages of a running kedge.</summary>
internal sealed class DebugPortClient : IDisposable
{
    public static readonly Flag<string> TokenFile = new()
    {
        Name = "token_file",
        Group = FlagGroup.Command,
        Type = FlagTypes.File,
        Default = "",
        Help = "file with the bearer token for debug pages that require one",
    };

    private readonly HttpClient _client = new() { Timeout = TimeSpan.FromSeconds(5) };
    private readonly Uri _server;

    private DebugPortClient(Uri server)
    {
        _server = server;
        _client.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
    }

    /// <param name="server">The debug port.</param>
    /// <param name="flags">The flags, including <see cref="TokenFile"/>.</param>
    /// <param name="errors">Receives a line when the file cannot be read.</param>
    public static async Task<DebugPortClient> OpenAsync(Uri server, FlagValues flags, List<string> errors)
    {
        var port = new DebugPortClient(server);
        var file = flags.Get(TokenFile);
        if (file.Length > 0)
        {
            try
            {
                port._client.DefaultRequestHeaders.Authorization =
                    new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(file)).Trim());
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                errors.Add($"{TokenFile}: {e.Message}");
            }
        }
        return port;
    }

    public Uri UrlOf(string page) => new(_server, page);

    /// <summary>Requests the view model of a page.</summary>
    /// <returns>The view, or null and the problem, worded as a sentence that begins with the page's URL.</returns>
    public async Task<(T? View, string Problem)> AskAsync<T>(string page)
        where T : class
    {
        try
        {
            using var answer = await _client.GetAsync(UrlOf(page));
            var text = await answer.Content.ReadAsStringAsync();
            if (!answer.IsSuccessStatusCode)
            {
                return (null, (int)answer.StatusCode switch
                {
                    var status and (401 or 403) =>
                        $"answered {status} (the debug pages require a token: give {TokenFile})",
                    404 when IsOneLine(answer, text) => text.Trim(),
                    404 => "answered 404 (is it the debug port of a running kedge?)",
                    var status => $"answered {status}",
                });
            }
            return JsonSerializer.Deserialize<T>(text, PageResponse.SnakeCase) is { } view
                ? (view, "")
                : (null, "is not a page of kedge");
        }
        catch (JsonException)
        {
            return (null, "is not a page of kedge, or of another version");
        }
        catch (HttpRequestException e)
        {
            return (null, $"{e.InnerException?.Message ?? e.Message} (is it the debug port of a running kedge?)");
        }
        catch (TaskCanceledException)
        {
            return (null, $"no answer within {(int)_client.Timeout.TotalSeconds} s");
        }
    }

    public void Dispose() => _client.Dispose();

    private static bool IsOneLine(HttpResponseMessage answer, string text) =>
        answer.Content.Headers.ContentType?.MediaType == "text/plain"
        && text.Length < 1000
        && !text.Trim().Contains('\n');
}
