namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Text.Json
open System.Threading
open System.Threading.Tasks

module private Posix =
    [<DllImport "libc">]
    extern int kill(int pid, int signal)

/// A `kedge`, or another executable of the project, that was started with any arguments: its output, its end, signals.
/// Killed on dispose. With a limit on open files other than that of the tests, unless `openFiles` is 0.
type KedgeProgram
    (
        executable: string,
        arguments: string list,
        workingDirectory: string,
        environment: (string * string) list,
        readsErrors: bool,
        openFiles: int
    ) =
    let stdout = ConcurrentQueue<string>()
    let stderr = ConcurrentQueue<string>()

    // `exec` keeps the process id.
    let command, words =
        if openFiles = 0 then
            executable, arguments
        else
            // With KEDGE_CGROUP, it starts in that control group.
            let enter =
                match Environment.GetEnvironmentVariable "KEDGE_CGROUP" with
                | null
                | "" -> ""
                | group -> "echo $$ > '" + group + "/cgroup.procs' && "

            "bash",
            [ "-c"; $"{enter}ulimit -n {openFiles} && exec \"$0\" \"$@\""; executable ]
            @ arguments

    let info =
        ProcessStartInfo(
            command,
            words,
            WorkingDirectory = workingDirectory,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false
        )

    do
        info.Environment["PATH"] <- Executable.searchPath
        // The tests start hundreds of processes; without W^X, which is not under test, each takes a fifth less time.
        info.Environment["DOTNET_EnableWriteXorExecute"] <- "0"

        for name, value in environment do
            info.Environment[name] <- value

    let started =
        let running = new Process(StartInfo = info)

        running.OutputDataReceived.Add(fun e ->
            match e.Data with
            | null -> ()
            | line -> stdout.Enqueue line)

        running.ErrorDataReceived.Add(fun e ->
            match e.Data with
            | null -> ()
            | line -> stderr.Enqueue line)

        running.Start() |> ignore
        running.StandardInput.Close()
        running.BeginOutputReadLine()

        if readsErrors then
            running.BeginErrorReadLine()

        running

    let mutable disposed = 0

    new(arguments, workingDirectory, environment, readsErrors, openFiles) =
        new KedgeProgram(Executable.path, arguments, workingDirectory, environment, readsErrors, openFiles)

    new(executable, arguments, workingDirectory, environment, readsErrors) =
        new KedgeProgram(executable, arguments, workingDirectory, environment, readsErrors, 0)

    new(arguments, workingDirectory, environment) =
        new KedgeProgram(Executable.path, arguments, workingDirectory, environment, true, 0)

    new(arguments) = new KedgeProgram(arguments, Executable.root, [])

    /// Runs it to its end, away from all files: exit code, lines on standard output and on standard error.
    static member RunToEnd(arguments: string list) : Task<int * string array * string array> =
        task {
            use scratch = new Scratch()
            use program = new KedgeProgram(arguments, scratch.Path, [])
            let! code = program.Exit()
            return code, program.Stdout, program.Stderr
        }

    member _.Id = started.Id
    /// Begins to read standard error, where nobody has so far.
    member _.ReadErrors() = started.BeginErrorReadLine()
    member _.HasExited = Volatile.Read &disposed = 1 || started.HasExited
    /// Lines so far.
    member _.Stdout = stdout.ToArray()
    member _.Stderr = stderr.ToArray()

    /// Both streams, for a failure's message.
    member this.Output = String.Join('\n', Array.append this.Stdout this.Stderr)

    /// Waits for the end and all output, and yields the exit code.
    member this.Exit() : Task<int> =
        task {
            use limit = new CancellationTokenSource(patience)

            try
                do! started.WaitForExitAsync limit.Token
            with :? OperationCanceledException ->
                failwithf "%s %s did not end\n%s" executable (String.Join(' ', arguments)) this.Output

            return started.ExitCode
        }

    /// Sends a signal; nothing happens when the program has ended.
    member _.Signal(signal: PosixSignal) =
        let number =
            match signal with
            | PosixSignal.SIGHUP -> 1
            | PosixSignal.SIGINT -> 2
            | PosixSignal.SIGTERM -> 15
            | other when int other > 0 -> int other
            | other -> failwithf "the number of %A is not known here" other

        Posix.kill (started.Id, number) |> ignore

    /// How many files it has open, from /proc.
    member _.OpenFiles = Directory.GetFileSystemEntries($"/proc/{started.Id}/fd").Length

    /// Resident set in bytes, from /proc.
    member _.ResidentBytes: int64 =
        File.ReadLines $"/proc/{started.Id}/status"
        |> Seq.find (fun line -> line.StartsWith("VmRSS:", StringComparison.Ordinal))
        |> fun line -> line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]
        |> fun kilobytes -> Int64.Parse kilobytes * 1024L

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                if not started.HasExited then
                    started.Kill true

                started.WaitForExit()
                started.Dispose()
                Secrets.look "output of kedge" (String.Join('\n', Seq.append stdout stderr))

/// How to start a server.
type KedgeSettings =
    {
        Director: string
        BackendPool: string
        /// Beside ports, certificate and configuration files.
        Flags: string list
        Environment: (string * string) list
        /// Whether somebody reads standard error from the start.
        ReadsErrors: bool
        /// The limit on open files; 0 = that of the tests.
        OpenFiles: int
        /// The debug page whose 200 says that the server is up.
        UpWhen: string
    }

/// A serving `kedge` on three ports of its own, with two configuration files in a directory of its own.
type Kedge private (scratch: Scratch, program: KedgeProgram, grpcPort: int, httpsPort: int, debugPort: int) =

    static let probe =
        lazy new HttpClient(new SocketsHttpHandler(UseProxy = false), Timeout = patience)

    static let answers (debugPort: int) (page: string) =
        task {
            try
                use! response = probe.Value.GetAsync $"http://127.0.0.1:{debugPort}{page}"
                return response.IsSuccessStatusCode
            with
            | :? HttpRequestException
            | :? OperationCanceledException -> return false
        }

    /// Searches the debug pages for secrets, as far as they are there and open.
    static member private Search(debugPort: int) =
        let search (page: string) =
            task {
                try
                    use limit = new CancellationTokenSource(TimeSpan.FromSeconds 1.0)

                    let! text =
                        probe.Value.GetStringAsync($"http://127.0.0.1:{debugPort}{page}", limit.Token)

                    Secrets.look page text
                with
                | :? HttpRequestException
                | :? OperationCanceledException -> ()
            }

        [ "/debug/status"; "/debug/requests"; "/debug/flagz"; "/metrics" ]
        |> List.map (fun page -> search page :> Task)
        |> Task.WhenAll
        |> _.Wait()

    static member Defaults =
        {
            Director = "{}"
            BackendPool = "{}"
            Flags = []
            Environment = []
            ReadsErrors = true
            OpenFiles = 0
            UpWhen = "/_readyz"
        }

    /// What the environment of the tests adds: with KEDGE_TRANSPORT, all servers use that transport.
    static member val private Transport =
        match Environment.GetEnvironmentVariable "KEDGE_TRANSPORT" with
        | null
        | "" -> []
        | transport -> [ $"--transport={transport}" ]

    /// Starts it and waits until its listeners are open. Another try when a port was taken meanwhile.
    static member Start(settings: KedgeSettings) : Task<Kedge> =
        let rec attempt left =
            task {
                let scratch = new Scratch()
                let grpcPort, httpsPort, debugPort = Ports.free (), Ports.free (), Ports.free ()
                let server = Certificates.server.Value

                let given (flag: string) =
                    settings.Flags
                    |> List.exists (fun f -> f.StartsWith($"--{flag}", StringComparison.Ordinal))

                let arguments =
                    [
                        $"--server_grpc_tls_port={grpcPort}"
                        $"--server_http_tls_port={httpsPort}"
                        $"--server_http_port={debugPort}"
                        if not (given "server_bind_address") then
                            "--server_bind_address=127.0.0.1"
                        if not (given "server_tls_cert_file") then
                            $"--server_tls_cert_file={server.CertFile}"
                            $"--server_tls_key_file={server.KeyFile}"
                        let director = scratch.Write("director.json", settings.Director)
                        let pool = scratch.Write("backendpool.json", settings.BackendPool)
                        $"--kedge_config_director_config_path={director}"
                        $"--kedge_config_backendpool_config_path={pool}"

                        if not (given "transport") then
                            yield! Kedge.Transport

                        yield! settings.Flags
                    ]

                let program =
                    new KedgeProgram(
                        arguments,
                        scratch.Path,
                        settings.Environment,
                        settings.ReadsErrors,
                        settings.OpenFiles
                    )

                let deadline = DateTime.UtcNow + patience
                let mutable healthy = false

                while not healthy && not program.HasExited && DateTime.UtcNow < deadline do
                    let! answer = answers debugPort settings.UpWhen
                    healthy <- answer

                    if not healthy then
                        do! Task.Delay 25

                if healthy then
                    return new Kedge(scratch, program, grpcPort, httpsPort, debugPort)
                else
                    if program.HasExited then
                        let! _ = program.Exit()
                        ()

                    let output = program.Output
                    (program :> IDisposable).Dispose()
                    (scratch :> IDisposable).Dispose()

                    if left > 0 && output.Contains("in use", StringComparison.OrdinalIgnoreCase) then
                        return! attempt (left - 1)
                    else
                        return failwithf "kedge did not start:\n%s" output
            }

        attempt 3

    /// Starts it with two configuration files and more flags.
    static member Start(director: string, backendPool: string, flags: string list) =
        Kedge.Start
            { Kedge.Defaults with
                Director = director
                BackendPool = backendPool
                Flags = flags
            }

    member _.Program = program
    member _.Scratch = scratch
    member _.GrpcPort = grpcPort
    member _.HttpsPort = httpsPort
    member _.DebugPort = debugPort
    member _.DirectorFile = scratch.File "director.json"
    member _.BackendPoolFile = scratch.File "backendpool.json"

    /// `http://127.0.0.1:<debug port><path>`
    member _.DebugUrl(path: string) = $"http://127.0.0.1:{debugPort}{path}"

    interface IDisposable with
        member _.Dispose() =
            if not program.HasExited then
                Kedge.Search debugPort

            (program :> IDisposable).Dispose()
            (scratch :> IDisposable).Dispose()

/// Configuration files as text, from parts.
[<RequireQualifiedAccess>]
module Json =

    /// A value as JSON text.
    let value (content: 'a) = JsonSerializer.Serialize content

    let private list (items: string list) = "[" + String.Join(", ", items) + "]"

    let director (http: string list) (grpc: string list) =
        $$"""{ "http": { "routes": {{list http}} }, "grpc": { "routes": {{list grpc}} } }"""

    /// With ad-hoc rules, used for both protocols.
    let directorWithAdhoc (http: string list) (grpc: string list) (rules: string list) =
        $$"""{ "http": { "routes": {{list http}}, "adhoc_rules": {{list rules}} },
               "grpc": { "routes": {{list grpc}}, "adhoc_rules": {{list rules}} } }"""

    let pool (http: string list) (grpc: string list) =
        $$"""{ "http": { "backends": {{list http}} }, "grpc": { "backends": {{list grpc}} } }"""

    /// A backend on a port of 127.0.0.1.
    let backend (name: string) (port: int) =
        $$"""{ "name": {{value name}}, "host": { "dns_name": "127.0.0.1", "port": {{port}} } }"""

    let httpRoute (backend: string) (host: string) =
        $$"""{ "backend_name": {{value backend}}, "host_matcher": {{value host}} }"""

    let grpcRoute (backend: string) (host: string) =
        $$"""{ "backend_name": {{value backend}}, "authority_host_matcher": {{value host}} }"""

/// Servers that many tests need.
[<AutoOpen>]
module Serving =

    /// HTTP backends by name on ports of 127.0.0.1; the host of each is `name.example`.
    let servingAll (backends: (string * int) list) (flags: string list) : Task<Kedge> =
        Kedge.Start(
            Json.director [ for name, _ in backends -> Json.httpRoute name $"{name}.example" ] [],
            Json.pool [ for name, port in backends -> Json.backend name port ] [],
            flags
        )

    /// One HTTP backend of that name on that port of 127.0.0.1; its host is `name.example`.
    let serving (name: string) (port: int) (flags: string list) : Task<Kedge> = servingAll [ name, port ] flags
