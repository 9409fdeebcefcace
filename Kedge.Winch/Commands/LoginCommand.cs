using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;
using Microsoft.AspNetCore.WebUtilities;

namespace Kedge.Winch.Commands;

/// <summary>Logs a user in.</summary>
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
        Help = "logs in again even if the login is still valid",
    };

    private static readonly TimeSpan LoginTimeout = TimeSpan.FromMinutes(3);

    public string Name => "login";

    public string Summary => "logs in to an auth source, in a browser here or, with a code, on any device";

    public IEnumerable<Flag> Flags => [Device, Force, .. WinchFlags.OfSources];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public IReadOnlyList<string> Arguments => ["[source]"];

    public string Notes =>
        "The provider sends the browser back to http://127.0.0.1:<server_http_port><login_callback_path>, which a "
        + "running winch or this command answers. Exits with 0 if the login succeeds, with 1 if it does not, and with "
        + "2 for a usage error.";

    public IReadOnlyList<string> Examples => ["winch login kedge-prod --server_auth_config_path=winch_auth.json"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (SourceLookup.Find(invocation, onlyLogins: true, out var errors) is not OidcSource source)
        {
            return invocation.Refuse(errors);
        }
        if (source.Settings.Store == TokenStore.Memory)
        {
            return invocation.Refuse(
            [
                $"auth source {source.Name} keeps its login in memory: log in on the status page of the running winch",
            ]);
        }
        using var limit = new CancellationTokenSource(LoginTimeout);
        try
        {
            if (!invocation.Flags.Get(Force) && await IsLoggedInAsync(source))
            {
                invocation.Output.WriteLine($"already logged in to {source.Name}");
                return ExitCodes.Success;
            }
            switch (Flow(source.Settings, invocation.Flags.Get(Device)))
            {
                case LoginFlow.Device:
                    await source.LoginByDeviceAsync(login => Show(invocation.Output, login), limit.Token);
                    break;
                case LoginFlow.Keyboard:
                    await ByKeyboardAsync(invocation, source, limit.Token);
                    break;
                default:
                    await ByBrowserAsync(invocation, source, limit.Token);
                    break;
            }
            invocation.Output.WriteLine($"logged in to {source.Name}; the login is kept in {source.StorePlace}");
            return ExitCodes.Success;
        }
        catch (Exception e) when (e is TokenException or HttpRequestException or ProviderException or IOException)
        {
            invocation.Error.WriteLine($"winch: {e.Message}");
            return ExitCodes.Failure;
        }
        catch (OperationCanceledException)
        {
            invocation.Error.WriteLine($"winch: nobody logged in within {LoginTimeout.TotalMinutes:0} minutes");
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

    /// <summary>The user opens the URL in a browser anywhere, and pastes the address where it ends up.</summary>
    private static async Task ByKeyboardAsync(Invocation invocation, OidcSource source, CancellationToken cancel)
    {
        var port = invocation.Flags.Get(WinchFlags.HttpPort);
        var url = await source.BeginLoginAsync(LoginCallback.RedirectUri(source.Settings, port), "", cancel);
        invocation.Output.WriteLine($"Open {url.AbsoluteUri}");
        invocation.Output.WriteLine(
            "Log in, and paste the address at which the browser ends (the page need not load):");
        invocation.Output.Flush();
        var line = await Console.In.ReadLineAsync(cancel) ?? "";
        if (!Uri.TryCreate(line.Trim(), UriKind.Absolute, out var answer))
        {
            throw new TokenException(source.Name, "this is not the address of a page");
        }
        var query = QueryHelpers.ParseQuery(answer.Query);
        await source.CompleteLoginAsync(
            query.GetValueOrDefault("state").ToString(),
            query.GetValueOrDefault("code").ToString(),
            query.GetValueOrDefault("error").ToString(),
            cancel);
    }

    private static async Task ByBrowserAsync(Invocation invocation, OidcSource source, CancellationToken cancel)
    {
        var port = invocation.Flags.Get(WinchFlags.HttpPort);
        await using var callback = await LoginCallback.TryListenAsync(source, port);
        if (callback is null)
        {
            await WinchClient.LoginAsync(invocation, source, port, cancel);
            return;
        }
        Show(invocation, source, await source.BeginLoginAsync(callback.Redirect, "", cancel));
        await callback.Completed.WaitAsync(cancel);
    }

    /// <summary>Prints the URL, and opens it in a browser if that is possible and wanted.</summary>
    internal static void Show(Invocation invocation, OidcSource source, Uri url)
    {
        invocation.Output.WriteLine($"Log in at {url.AbsoluteUri}");
        invocation.Output.Flush();
        if (source.Settings.OpenBrowser && BrowserTab.IsPossible(source.Settings.BrowserCommand))
        {
            BrowserTab.TryStart(source.Settings.BrowserCommand, url);
        }
    }
}
