namespace Kedge.Tests.Harness

open System.Threading.Tasks
open Microsoft.Playwright

/// Debian's Chromium, which `.ci/run` installs.
[<RequireQualifiedAccess>]
module Browser =

    /// Starts it with these arguments. What it would ask of its maker's servers is switched off by Playwright.
    let launch (playwright: IPlaywright) (arguments: string list) : Task<IBrowser> =
        playwright.Chromium.LaunchAsync(
            BrowserTypeLaunchOptions(
                ExecutablePath = "/usr/bin/chromium",
                Args = [ "--no-sandbox"; "--disable-gpu" ] @ arguments
            )
        )
