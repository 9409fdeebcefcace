using Kedge.Client;
using Kedge.Host.Commands;
using Kedge.Winch.Pages;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>Talks to the winch that runs on this machine.</summary>
internal static class WinchClient
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(300);

    /// <summary>Its response to a GET; null when no winch runs there.</summary>
    public static async Task<string?> TryGetAsync(int port, string path)
    {
        using var http = Http();
        try
        {
            return await http.GetStringAsync($"http://127.0.0.1:{port}{path}");
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>Its response to a POST with its page token; null when no winch runs there.</summary>
    public static async Task<(bool Ok, string Text)?> TryPostAsync(int port, string path)
    {
        if (await TryGetAsync(port, "/winch/page-token") is not { } token)
        {
            return null;
        }
        using var http = Http();
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://127.0.0.1:{port}{path}");
        request.Headers.Add(OwnPages.TokenHeader, token);
        try
        {
            using var response = await http.SendAsync(request);
            return (response.IsSuccessStatusCode, (await response.Content.ReadAsStringAsync()).Trim());
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>
    /// Logs in through the running winch, which holds the port that the provider sends the browser back to.
    /// </summary>
    public static async Task LoginAsync(Invocation invocation, OidcSource source, int port, CancellationToken cancel)
    {
        var begun =
            await TryPostAsync(port, $"/winch/login/{source.Name}")
            ?? throw new TokenException(
                source.Name,
                $"port {port} is in use, and by no winch; free it, or use --device");
        if (!begun.Ok)
        {
            throw new TokenException(source.Name, begun.Text);
        }
        LoginCommand.Show(invocation, source, new Uri(begun.Text));
        while (true)
        {
            await Task.Delay(Poll, cancel);
            source.Forgive();
            try
            {
                _ = await source.GetTokenAsync(cancel);
                return;
            }
            catch (LoginRequiredException)
            {
            }
        }
    }

    private static HttpClient Http() =>
        new(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(15) };
}
