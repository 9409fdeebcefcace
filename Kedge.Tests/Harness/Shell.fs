namespace Kedge.Tests.Harness

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks

/// What a command line came to.
type ShellOutcome =
    {
        Code: int
        Output: string
        Errors: string
    }

/// Lines as people paste them into a shell. `kedge` in them is the executable under test.
[<RequireQualifiedAccess>]
module Shell =

    /// In a directory, with more environment variables.
    let runIn (directory: string) (environment: (string * string) list) (line: string) : Task<ShellOutcome> =
        task {
            let info =
                ProcessStartInfo(
                    "bash",
                    [ "-c"; line ],
                    WorkingDirectory = directory,
                    RedirectStandardInput = true,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true
                )

            let kedge = nonNull (Path.GetDirectoryName(Executable.path: string))
            info.Environment["PATH"] <- $"{kedge}:{Executable.searchPath}"

            for name, value in environment do
                info.Environment[name] <- value

            use bash = nonNull (Process.Start info)
            bash.StandardInput.Close()
            let output = bash.StandardOutput.ReadToEndAsync()
            let errors = bash.StandardError.ReadToEndAsync()

            try
                let! output = within line output
                let! errors = within line errors
                do! finishes line (bash.WaitForExitAsync())

                return
                    {
                        Code = bash.ExitCode
                        Output = output
                        Errors = errors
                    }
            finally
                if not bash.HasExited then
                    bash.Kill true
        }

    /// In the root of the checkout.
    let run (line: string) : Task<ShellOutcome> = runIn Executable.root [] line

    /// The lines of both streams, as a terminal shows them.
    let terminal (directory: string) (environment: (string * string) list) (line: string) : Task<string list> =
        task {
            let! outcome = runIn directory environment ("exec 2>&1\n" + line)
            return List.ofArray (outcome.Output.TrimEnd('\n').Split '\n')
        }
