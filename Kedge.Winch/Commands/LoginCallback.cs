using System.Net;
using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Listeners;
using Kedge.Winch.Sources;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kedge.Winch.Commands;

/// <summary>Waits on a port of this machine for the browser that the provider sends back after a login.</summary>
internal sealed class LoginCallback : IAsyncDisposable
{
    // The browser shows the last page only if it has been sent.
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(1);

    private readonly OidcSource _source;
    private readonly WebApplication _app;
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private LoginCallback(OidcSource source, IPEndPoint address)
    {
        _source = source;
        Redirect = RedirectUri(source.Settings, address.Port);
        _app = ListenerHost.Create(
            NullLoggerFactory.Instance, gate: null, kestrel => kestrel.Listen(address), AnswerAsync);
    }

    /// <summary>The URI that the provider must send the browser back to.</summary>
    public string Redirect { get; }

    /// <summary>Completes when the login does, and fails when it fails.</summary>
    public Task Completed => _completed.Task;

    /// <summary>Listens on the first free address of the source; null when all are in use.</summary>
    /// <param name="source">The source with the addresses; if it has none, winch's port on 127.0.0.1 is used.</param>
    /// <param name="port">The port of winch.</param>
    public static async Task<LoginCallback?> TryListenAsync(OidcSource source, int port)
    {
        var listen = source.Settings.Listen;
        foreach (var text in listen.IsEmpty ? [$"127.0.0.1:{port}"] : listen.AsEnumerable())
        {
            if (!IPEndPoint.TryParse(text.Replace("localhost", "127.0.0.1"), out var address))
            {
                continue;
            }
            var callback = new LoginCallback(source, address);
            try
            {
                await callback._app.StartAsync();
                return callback;
            }
            catch (Exception e) when (e is ListenFailedException or IOException)
            {
                await callback._app.DisposeAsync();
            }
        }
        return null;
    }

    /// <summary>The URI that a provider sends the browser back to.</summary>
    public static string RedirectUri(Oidc settings, int port)
    {
        var host = settings.RedirectHost.Length > 0 ? settings.RedirectHost : "127.0.0.1";
        var path = settings.LoginCallbackPath.Length > 0 ? settings.LoginCallbackPath : "/winch/callback";
        return $"http://{host}:{port}{path}";
    }

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(CloseTimeout);
        try
        {
            await _app.StopAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
        }
        await _app.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        if (context.Request.Path != new Uri(Redirect).AbsolutePath)
        {
            // A stray request, such as for an icon, must not end the login.
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }
        var query = context.Request.Query;
        try
        {
            await _source.CompleteLoginAsync(
                query["state"].ToString(), query["code"].ToString(), query["error"].ToString(), context.RequestAborted);
            await context.Response.WriteAsync($"Logged in to {_source.Name}. You can close this tab.\n");
            _completed.TrySetResult();
        }
        catch (UnknownLoginException e)
        {
            // From an earlier attempt, or forged: the current login may still succeed.
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            await context.Response.WriteAsync($"{e.Message}\n");
        }
        catch (TokenException e)
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            await context.Response.WriteAsync($"The login failed: {e.Message}\n");
            _completed.TrySetException(e);
        }
    }
}
