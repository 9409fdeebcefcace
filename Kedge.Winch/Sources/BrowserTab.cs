using System.ComponentModel;
using System.Diagnostics;

namespace Kedge.Winch.Sources;

/// <summary>
/// Opens the browser for a login: one tab, and no further one for a while, however many requests wait.
/// </summary>
internal sealed class BrowserTab(ILogger logger)
{
    private static readonly TimeSpan ProviderTimeout = TimeSpan.FromSeconds(10);

    /// <summary>The URI that a provider sends the browser back to; null = the source has no such login.</summary>
    public Func<OidcSource, string?> Redirect { get; set; } = static _ => null;

    /// <summary>Begins a login if the source and the environment allow one.</summary>
    public void Open(OidcSource source)
    {
        var settings = source.Settings;
        var wantsBrowser =
            settings.Flow is Client.Domain.Decoded.LoginFlow.Browser or Client.Domain.Decoded.LoginFlow.Auto;
        if (
            wantsBrowser
            && settings.OpenBrowser
            && Redirect(source) is { } redirect
            && IsPossible(settings.BrowserCommand)
            && source.MayOpenTab())
        {
            _ = OpenAsync(source, redirect);
        }
    }

    /// <summary>Whether a browser can open where a user sees it.</summary>
    public static bool IsPossible(string command) =>
        command.Length > 0
        || OperatingSystem.IsWindows()
        || OperatingSystem.IsMacOS()
        || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("DISPLAY"))
        || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("WAYLAND_DISPLAY"));

    /// <summary>Starts the browser. False if it does not start.</summary>
    /// <param name="command">The command with the arguments before the URL; empty = the system's browser.</param>
    /// <param name="url">The URL to show.</param>
    public static bool TryStart(string command, Uri url)
    {
        var words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var info = words.Length > 0 ? new ProcessStartInfo(words[0], [.. words[1..], url.AbsoluteUri])
            : OperatingSystem.IsWindows() ? new ProcessStartInfo(url.AbsoluteUri) { UseShellExecute = true }
            : new ProcessStartInfo(OperatingSystem.IsMacOS() ? "open" : "xdg-open", [url.AbsoluteUri]);
        try
        {
            using var process = Process.Start(info);
            return true;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException)
        {
            return false;
        }
    }

    private async Task OpenAsync(OidcSource source, string redirect)
    {
        using var limit = new CancellationTokenSource(ProviderTimeout);
        try
        {
            var url = await source.BeginLoginAsync(redirect, "", limit.Token);
            if (!TryStart(source.Settings.BrowserCommand, url))
            {
                logger.LogWarning(
                    "no browser starts; to log in to {Source}, run: winch login {Name}",
                    source.Name,
                    source.Name);
            }
        }
        catch (Exception e) when (e is HttpRequestException or ProviderException or OperationCanceledException)
        {
            logger.LogWarning("no login to {Source}: {Reason}", source.Name, e.Message);
        }
    }
}
