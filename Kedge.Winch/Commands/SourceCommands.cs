using System.Net;
using System.Text;
using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>What commands about auth sources share.</summary>
internal static class SourceLookup
{
    /// <summary>The source that is meant: the one named, or the only one that can be meant. Null with what is wrong.</summary>
    public static ITokenSource? Find(Invocation invocation, bool onlyLogins, out IReadOnlyList<string> errors)
    {
        if (WinchSetup.Load(invocation.Flags, out errors) is not { } files)
        {
            return null;
        }
        var all = SourceFactory.Create(files, invocation.Flags.Get(WinchFlags.AuthTimeout));
        if (invocation.Arguments.Count > 0)
        {
            var name = invocation.Arguments[0];
            if (!all.TryGetValue(name, out var named))
            {
                errors = [$"there is no auth source {name} (there are: {string.Join(", ", all.Keys)})"];
            }
            else if (onlyLogins && named is not OidcSource)
            {
                errors = [$"auth source {name} needs no login"];
            }
            return errors.Count > 0 ? null : named;
        }
        ITokenSource[] possible = [.. all.Values.Where(source => !onlyLogins || source is OidcSource)];
        if (possible.Length == 1)
        {
            return possible[0];
        }
        errors = [possible.Length == 0
            ? "no auth source needs a login"
            : $"name one of the auth sources: {string.Join(", ", possible.Select(source => source.Name))}"];
        return null;
    }
}

/// <summary>Logs a person in.</summary>
public sealed class LoginCommand : ICommand
{
    private static readonly Flag<bool> Device = new()
    {
        Name = "device",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "shows a code to enter in a browser on any machine",
    };

    private static readonly Flag<bool> Force = new()
    {
        Name = "force",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "logs in again although the login is still good",
    };

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public string Name => "login";

    public string Summary => "logs in to an auth source, in a browser here or, with a code, anywhere";

    public IEnumerable<Flag> Flags => [Device, Force, .. WinchFlags.OfSources];

    public IReadOnlyList<string> Arguments => ["[source]"];

    public string Notes =>
        "With a browser, the provider sends it back to http://127.0.0.1:<server_http_port><login_callback_path>, which a running winch or "
        + "this command answers. Exit codes: 0 when logged in, 1 when not, 2 for a usage error.";

    public IReadOnlyList<string> Examples => ["winch login kedge-prod --server_mapper_config_path=m.json --server_auth_config_path=a.json"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: true, out var errors) is not OidcSource source)
        {
            return invocation.Refuse(errors);
        }
        if (source.Settings.Store == TokenStore.Memory)
        {
            return invocation.Refuse([$"auth source {source.Name} keeps its login in the running winch (store: memory): log in on its status page"]);
        }
        using var limit = new CancellationTokenSource(Patience);
        try
        {
            if (!invocation.Flags.Get(Force) && await IsLoggedInAsync(source))
            {
                invocation.Output.WriteLine($"already logged in to {source.Name}, until {source.ExpiresAt:u} and then as long as the provider refreshes");
                return ExitCodes.Success;
            }
            var flow = Flow(source.Settings, invocation.Flags.Get(Device));
            if (flow == LoginFlow.Device)
            {
                await source.LoginByDeviceAsync(login => Show(invocation.Output, login), limit.Token);
            }
            else if (flow == LoginFlow.Keyboard)
            {
                await ByKeyboardAsync(invocation, source, limit.Token);
            }
            else
            {
                await ByBrowserAsync(invocation, source, limit.Token);
            }
            invocation.Output.WriteLine($"logged in to {source.Name}");
            return ExitCodes.Success;
        }
        catch (Exception e) when (e is TokenException or HttpRequestException or ProviderException)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
        catch (OperationCanceledException)
        {
            invocation.Error.WriteLine($"winch: nobody logged in within {Patience.TotalMinutes:0} minutes");
            return ExitCodes.Failure;
        }
    }

    private static async Task<bool> IsLoggedInAsync(OidcSource source)
    {
        try
        {
            _ = await source.GetTokenAsync(CancellationToken.None);
            return true;
        }
        catch (LoginRequiredException)
        {
            return false;
        }
    }

    private static LoginFlow Flow(Oidc settings, bool device) =>
        device ? LoginFlow.Device
        : settings.Flow != LoginFlow.Auto ? settings.Flow
        : settings.LoginCallbackPath.Length > 0 && BrowserTab.IsPossible(settings.BrowserCommand) ? LoginFlow.Browser
        : LoginFlow.Device;

    private static void Show(TextWriter output, DeviceLogin login)
    {
        output.WriteLine($"Open {login.VerificationUri} and enter the code {login.UserCode}");
        if (login.VerificationUriComplete.Length > 0)
        {
            output.WriteLine($"or open {login.VerificationUriComplete}");
        }
        output.Flush();
    }

    /// <summary>The person carries the URL to a browser anywhere, and what the browser ends at back.</summary>
    private static async Task ByKeyboardAsync(Invocation invocation, OidcSource source, CancellationToken cancel)
    {
        var redirect = RedirectUri(source.Settings, invocation.Flags.Get(WinchFlags.HttpPort));
        var url = await source.BeginLoginAsync(redirect, "", cancel);
        invocation.Output.WriteLine($"Open {url.AbsoluteUri}");
        invocation.Output.WriteLine("Log in, and paste here the address at which the browser ends (it need not load):");
        invocation.Output.Flush();
        var line = await Console.In.ReadLineAsync(cancel) ?? "";
        if (!Uri.TryCreate(line.Trim(), UriKind.Absolute, out var answer))
        {
            throw new TokenException(source.Name, "that is no address");
        }
        var query = Microsoft.AspNetCore.WebUtilities.QueryHelpers.ParseQuery(answer.Query);
        await source.CompleteLoginAsync(query["state"].ToString(), query["code"].ToString(), query["error"].ToString(), cancel);
    }

    private static async Task ByBrowserAsync(Invocation invocation, OidcSource source, CancellationToken cancel)
    {
        var port = invocation.Flags.Get(WinchFlags.HttpPort);
        foreach (var address in source.Settings.Listen.IsEmpty ? [$"127.0.0.1:{port}"] : (string[])[.. source.Settings.Listen])
        {
            using var listener = TryListen(address);
            if (listener is null)
            {
                continue;
            }
            var actual = int.Parse(address[(address.LastIndexOf(':') + 1)..]);
            await ShowAsync(invocation, source, await source.BeginLoginAsync(RedirectUri(source.Settings, actual), "", cancel));
            await AnswerAsync(listener, source, cancel);
            return;
        }
        await WinchClient.LoginAsync(invocation, source, port, cancel);
    }

    private static Task ShowAsync(Invocation invocation, OidcSource source, Uri url)
    {
        invocation.Output.WriteLine($"Log in at {url.AbsoluteUri}");
        invocation.Output.Flush();
        if (source.Settings.OpenBrowser && BrowserTab.IsPossible(source.Settings.BrowserCommand))
        {
            BrowserTab.TryStart(source.Settings.BrowserCommand, url);
        }
        return Task.CompletedTask;
    }

    private static HttpListener? TryListen(string address)
    {
        var listener = new HttpListener();
        listener.Prefixes.Add($"http://{address}/");
        try
        {
            listener.Start();
            return listener;
        }
        catch (HttpListenerException)
        {
            ((IDisposable)listener).Dispose();
            return null;
        }
    }

    private static async Task AnswerAsync(HttpListener listener, OidcSource source, CancellationToken cancel)
    {
        while (true)
        {
            var context = await listener.GetContextAsync().WaitAsync(cancel);
            var request = context.Request;
            if (request.Url?.AbsolutePath != source.Settings.LoginCallbackPath)
            {
                // A stray request, such as for an icon, ends no login.
                context.Response.StatusCode = 404;
                context.Response.Close();
                continue;
            }
            var query = request.QueryString;
            string said;
            TokenException? failure = null;
            try
            {
                await source.CompleteLoginAsync(query["state"] ?? "", query["code"] ?? "", query["error"] ?? "", cancel);
                said = $"Logged in to {source.Name}. You can close this tab.";
            }
            catch (TokenException e)
            {
                failure = e;
                said = $"The login failed: {e.Message}";
            }
            context.Response.StatusCode = failure is null ? 200 : 400;
            context.Response.ContentType = "text/plain; charset=utf-8";
            var bytes = Encoding.UTF8.GetBytes(said);
            await context.Response.OutputStream.WriteAsync(bytes, cancel);
            context.Response.Close();
            if (failure is not null)
            {
                throw failure;
            }
            return;
        }
    }

    private static string RedirectUri(Oidc settings, int port)
    {
        var host = settings.RedirectHost.Length > 0 ? settings.RedirectHost : "127.0.0.1";
        var path = settings.LoginCallbackPath.Length > 0 ? settings.LoginCallbackPath : "/winch/callback";
        return $"http://{host}:{port}{path}";
    }
}

/// <summary>Forgets a login.</summary>
public sealed class LogoutCommand : ICommand
{
    public string Name => "logout";

    public string Summary => "forgets the login to an auth source";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IReadOnlyList<string> Arguments => ["[source]"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: true, out var errors) is not OidcSource source)
        {
            return invocation.Refuse(errors);
        }
        source.Logout();
        // A running winch has the token in memory, too.
        await WinchClient.TryPostAsync(invocation.Flags.Get(WinchFlags.HttpPort), $"/winch/logout/{source.Name}");
        invocation.Output.WriteLine($"logged out of {source.Name}");
        return ExitCodes.Success;
    }
}

/// <summary>Prints a token, for scripts.</summary>
public sealed class TokenCommand : ICommand
{
    public string Name => "token";

    public string Summary => "prints the token of an auth source";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IReadOnlyList<string> Arguments => ["[source]"];

    public string Notes => "Exit codes: 0 with the token, 1 when there is none (the reason is on standard error), 2 for a usage error.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: false, out var errors) is not { } source)
        {
            return invocation.Refuse(errors);
        }
        try
        {
            invocation.Output.WriteLine((await source.GetTokenAsync(CancellationToken.None)).Value);
            return ExitCodes.Success;
        }
        catch (TokenException e)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
    }
}

/// <summary>Prints a token as kubectl takes it from an exec plugin.</summary>
public sealed class KubectlCredentialCommand : ICommand
{
    public string Name => "kubectl-credential";

    public string Summary => "prints the token of an auth source as an ExecCredential, for the exec section of a kubeconfig";

    public IEnumerable<Flag> Flags => WinchFlags.OfSources;

    public IReadOnlyList<string> Arguments => ["source"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: false, out var errors) is not { } source)
        {
            return invocation.Refuse(errors);
        }
        try
        {
            var token = await source.GetTokenAsync(CancellationToken.None);
            var status = new System.Text.Json.Nodes.JsonObject { ["token"] = token.Value };
            if (token.ExpiresAt is { } end)
            {
                status["expirationTimestamp"] = end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ");
            }
            invocation.Output.WriteLine(new System.Text.Json.Nodes.JsonObject
            {
                ["apiVersion"] = "client.authentication.k8s.io/v1",
                ["kind"] = "ExecCredential",
                ["status"] = status,
            }.ToJsonString());
            return ExitCodes.Success;
        }
        catch (TokenException e)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
    }
}
