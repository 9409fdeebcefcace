using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Kedge.Client;
using Kedge.Client.Domain;
using Kedge.Host.Telemetry;
using Kedge.Winch.Proxying;
using Kedge.Winch.Sources;
using static System.Net.WebUtility;

namespace Kedge.Winch.Pages;

/// <summary>
/// winch's own pages: status, PAC, logins, metrics. A GET changes nothing, and a POST needs a token that is on the
/// page: another site can send a form here, but cannot read that token.
/// </summary>
internal sealed class OwnPages(
    WinchStates states, WinchMetrics metrics, KedgeConnections connections, PageSettings settings, ILogger logger)
{
    public const string TokenHeader = "X-Winch-Page-Token";

    private readonly string _pageToken = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
    private readonly DateTimeOffset _started = DateTimeOffset.UtcNow;

    /// <summary>Serves the pages of the main port.</summary>
    public async Task ServeAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "/";
        context.Response.Headers["X-Content-Type-Options"] = "nosniff";
        context.Response.Headers["X-Frame-Options"] = "DENY";
        context.Response.Headers["Content-Security-Policy"] =
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' https: http:";
        if (states.Current.Logins.FirstOrDefault(source => source.Settings.LoginCallbackPath == path) is not null)
        {
            await CallbackAsync(context, path);
            return;
        }
        switch (path)
        {
            case "/wpad.dat" or "/proxy.pac":
                await PacAsync(context);
                return;
            case "/" when IsGet(context):
                await HtmlAsync(
                    context,
                    StatusPage.Render(
                        states, metrics, connections, settings, _pageToken, _started, context.Request.Query));
                return;
            case "/winch/status" when IsGet(context):
                await JsonAsync(context);
                return;
            case "/winch/page-token" when IsGet(context):
                await TextAsync(context, 200, _pageToken);
                return;
            case "/quitquitquit" when settings.Quit is { } quit && HttpMethods.IsPost(context.Request.Method):
                // Browsers send Origin with each POST; web pages must not end winch.
                if (context.Request.Headers.Origin.Count > 0)
                {
                    await TextAsync(context, 403, "this is not for pages\n");
                    return;
                }
                await TextAsync(context, 200, "ending\n");
                quit();
                return;
        }
        if (
            path.StartsWith("/winch/", StringComparison.Ordinal)
            && path.Split('/') is ["", "winch", var action, var name]
            && action is "login" or "logout" or "cleartoken")
        {
            await ActAsync(context, action, name);
            return;
        }
        if (settings.HasDebugPages)
        {
            await ServeDebugAsync(context);
            return;
        }
        await TextAsync(context, 404, "no such page\n");
    }

    /// <summary>Serves metrics and debug pages, on the main port or on their own port.</summary>
    public Task ServeDebugAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "/";
        if (path == settings.MetricsPath)
        {
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            return context.Response.WriteAsync(metrics.Render(states.Current));
        }
        return path switch
        {
            "/_healthz" or "/_readyz" => TextAsync(context, 200, "OK\n"),
            "/version" or "/debug/version" => TextAsync(context, 200, $"winch {BuildInfo.Version}\n"),
            "/debug/flagz" => TextAsync(context, 200, settings.Flags),
            _ => TextAsync(context, 404, "no such page\n"),
        };
    }

    private static bool IsGet(HttpContext context) =>
        HttpMethods.IsGet(context.Request.Method) || HttpMethods.IsHead(context.Request.Method);

    private Task PacAsync(HttpContext context)
    {
        var pac = states.Current.Pac;
        var tag = $"\"{Pac.Version(pac)}\"";
        context.Response.Headers.ETag = tag;
        context.Response.Headers.CacheControl = "no-cache";
        if (context.Request.Headers.IfNoneMatch == tag)
        {
            context.Response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }
        context.Response.ContentType = "application/x-ns-proxy-autoconfig";
        return context.Response.WriteAsync(pac);
    }

    private async Task JsonAsync(HttpContext context)
    {
        context.Response.ContentType = "application/json";
        var state = states.Current;
        await context.Response.WriteAsync(JsonSerializer.Serialize(new
        {
            version = BuildInfo.Version,
            routes = state.Mapper.Routes.Count,
            pac = $"/proxy.pac?v={Pac.Version(state.Pac)}",
            errors = states.Rejected,
            sources = state.Sources.Values.Select(source => new
            {
                name = source.Name,
                login = source is OidcSource,
                expires = (source as OidcSource)?.ExpiresAt,
                problem = (source as OidcSource)?.Problem,
            }),
            kedges = connections.Latest.Select(latest => new
            {
                name = latest.Kedge,
                at = latest.At,
                milliseconds = Math.Round(latest.Elapsed.TotalMilliseconds, 1),
                certificateUntil = latest.CertificateEnd,
                problem = latest.Problem,
            }),
        }));
    }

    private async Task ActAsync(HttpContext context, string action, string name)
    {
        if (!states.Current.Sources.TryGetValue(name, out var source))
        {
            await TextAsync(context, 404, $"there is no auth source {name}\n");
            return;
        }
        if (IsGet(context))
        {
            await HtmlAsync(context, Html.Page(
                $"{action} {name}",
                $"""
                <h1>{HtmlEncode(action)} {HtmlEncode(name)}?</h1>
                {Html.Button($"/winch/{action}/{name}", _pageToken, "Yes")}
                """));
            return;
        }
        if (!HttpMethods.IsPost(context.Request.Method) || !await HasTokenAsync(context))
        {
            await TextAsync(context, 403, "this needs a POST with the page's token\n");
            return;
        }
        try
        {
            switch (action, source)
            {
                case ("login", OidcSource oidc):
                    await BeginAsync(context, oidc);
                    return;
                case ("login", _):
                    await TextAsync(context, 400, $"{name} needs no login\n");
                    return;
                case ("logout", OidcSource oidc):
                    oidc.Logout();
                    break;
                case ("cleartoken", OidcSource oidc):
                    oidc.Clear();
                    break;
                default:
                    if (await CurrentAsync(source) is { } token)
                    {
                        source.Invalidate(token);
                    }
                    break;
            }
        }
        catch (TokenException e)
        {
            await TextAsync(context, 502, $"{e.Message}\n");
            return;
        }
        logger.LogInformation("{Action} {Source}", action, name);
        await TextAsync(context, 200, action == "logout" ? "Logged out\n" : "Token cleared\n");
    }

    private static async Task<AuthToken?> CurrentAsync(ITokenSource source)
    {
        try
        {
            return await source.GetTokenAsync(CancellationToken.None);
        }
        catch (TokenException)
        {
            return null;
        }
    }

    private async Task BeginAsync(HttpContext context, OidcSource source)
    {
        if (settings.RedirectUri(source) is not { } redirect)
        {
            await TextAsync(
                context,
                400,
                $"{source.Name} has no login_callback_path; run: winch login --device {source.Name}\n");
            return;
        }
        try
        {
            var form = context.Request.HasFormContentType ? await context.Request.ReadFormAsync() : null;
            var url = await source.BeginLoginAsync(
                redirect,
                form?["return_to"].ToString() ?? "",
                context.RequestAborted);
            if (context.Request.Headers.Accept.ToString().Contains("text/html"))
            {
                context.Response.StatusCode = StatusCodes.Status303SeeOther;
                context.Response.Headers.Location = url.AbsoluteUri;
                return;
            }
            await TextAsync(context, 200, url.AbsoluteUri);
        }
        catch (Exception e) when (e is HttpRequestException or ProviderException)
        {
            await TextAsync(context, 502, $"{e.Message}\n");
        }
    }

    private async Task CallbackAsync(HttpContext context, string path)
    {
        var query = context.Request.Query;
        var (state, code) = (query["state"].ToString(), query["code"].ToString());
        var error = query["error"].ToString() is { Length: > 0 } said
            ? $"{said} {query["error_description"]}".Trim()
            : "";
        TokenException? failure = null;
        foreach (var source in states.Current.Logins.Where(source => source.Settings.LoginCallbackPath == path))
        {
            try
            {
                var returnTo = await source.CompleteLoginAsync(state, code, error, context.RequestAborted);
                logger.LogInformation("logged in to {Source}", source.Name);
                var back =
                    Uri.TryCreate(returnTo, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
                        ? $"<p><a href=\"{HtmlEncode(returnTo)}\">Continue to {HtmlEncode(url.Host)}</a></p>"
                        : "<p>You can close this tab.</p>";
                await HtmlAsync(
                    context,
                    Html.Page("Logged in", $"<h1>Logged in to {HtmlEncode(source.Name)}</h1>{back}"));
                return;
            }
            catch (TokenException e)
            {
                failure = e;
            }
        }
        logger.LogWarning("a login failed: {Reason}", failure!.Message);
        context.Response.StatusCode = StatusCodes.Status400BadRequest;
        await HtmlAsync(
            context,
            Html.Page("Not logged in", $"<h1>The login failed</h1><p>{HtmlEncode(failure.Message)}</p>"));
    }

    private async Task<bool> HasTokenAsync(HttpContext context)
    {
        var given = context.Request.Headers[TokenHeader].ToString();
        if (given.Length == 0 && context.Request.HasFormContentType)
        {
            given = (await context.Request.ReadFormAsync())["page_token"].ToString();
        }
        return CryptographicOperations.FixedTimeEquals(
            Encoding.UTF8.GetBytes(given),
            Encoding.UTF8.GetBytes(_pageToken));
    }

    private static Task HtmlAsync(HttpContext context, string html)
    {
        context.Response.ContentType = "text/html; charset=utf-8";
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteAsync(html);
    }

    private static Task TextAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteAsync(text);
    }
}

/// <summary>What pages need to know about the process.</summary>
/// <param name="Port">The main port.</param>
/// <param name="HasDebugPages">Whether metrics and debug pages are on the main port.</param>
/// <param name="Flags">The text of the flags page, secrets masked.</param>
/// <param name="Quit">Ends winch; null = pages cannot end it.</param>
internal sealed record PageSettings(int Port, string MetricsPath, bool HasDebugPages, string Flags, Action? Quit)
{
    /// <summary>The URI that a provider sends the browser back to; null = the source has no such login.</summary>
    public string? RedirectUri(OidcSource source) =>
        source.Settings.LoginCallbackPath is { Length: > 0 } path
            ? $"http://{(source.Settings.RedirectHost is { Length: > 0 } host ? host : "127.0.0.1")}:{Port}{path}"
            : null;
}
