namespace Kedge.Client.Tests.Winch

open System
open System.IO
open System.Net.Http
open System.Threading.Tasks
open Kedge.Tests.Harness

/// A running `winch` on ports of its own, with its files in a directory of its own.
type Winch private (scratch: Scratch, program: KedgeProgram, httpPort: int, grpcPort: int) =

    static let executable = Executable.find "WINCH_EXECUTABLE" "Kedge.Winch" "winch"

    static let probe =
        lazy new HttpClient(new SocketsHttpHandler(UseProxy = false), Timeout = patience)

    static let answers (url: string) =
        task {
            try
                use! response = probe.Value.GetAsync url
                return response.IsSuccessStatusCode
            with
            | :? HttpRequestException
            | :? OperationCanceledException -> return false
        }

    static member Executable = executable

    /// A client that uses no proxy.
    static member Direct = probe.Value

    /// Runs a command of `winch` to its end, with the state of the user in that directory: exit code, lines on standard
    /// output and on standard error.
    static member Run
        (home: string, arguments: string list, environment: (string * string) list)
        : Task<int * string array * string array> =
        task {
            use program =
                new KedgeProgram(executable, arguments, home, Winch.Home home @ environment, true)

            let! code = program.Exit()
            return code, program.Stdout, program.Stderr
        }

    /// The variables that make a directory the home of the user, without a display.
    static member Home(home: string) =
        [
            "HOME", home
            "XDG_DATA_HOME", Path.Combine(home, "data")
            "XDG_STATE_HOME", Path.Combine(home, "state")
            "DISPLAY", ""
            "WAYLAND_DISPLAY", ""
            "KUBECONFIG", ""
            "DBUS_SESSION_BUS_ADDRESS", ""
        ]

    /// Starts it in a directory and waits until it serves.
    static member StartIn
        (scratch: Scratch, flags: string list, environment: (string * string) list, httpPort: int)
        : Task<Winch> =
        task {
            let grpcPort = Ports.free ()

            let arguments =
                [
                    $"--server_http_port={httpPort}"
                    $"--server_grpc_port={grpcPort}"
                    yield! flags
                ]

            let program =
                new KedgeProgram(executable, arguments, scratch.Path, Winch.Home scratch.Path @ environment, true)

            let deadline = DateTime.UtcNow + patience
            let mutable isUp = false

            while not isUp && not program.HasExited && DateTime.UtcNow < deadline do
                let! up = answers $"http://127.0.0.1:{httpPort}/winch/status"
                isUp <- up

                if not isUp then
                    do! Task.Delay 25

            if not isUp then
                let output = program.Output
                (program :> IDisposable).Dispose()
                failwithf "winch did not start:\n%s" output

            return new Winch(scratch, program, httpPort, grpcPort)
        }

    /// Starts it with a mapper file and a file of auth sources (empty = none).
    static member Start(mapper: string, sources: string, flags: string list) : Task<Winch> =
        let scratch = new Scratch()

        let files =
            [
                $"""--server_mapper_config_path={scratch.Write("mapper.json", mapper)}"""
                if sources <> "" then
                    $"""--server_auth_config_path={scratch.Write("auth.json", sources)}"""
            ]

        Winch.StartIn(scratch, files @ flags, [], Ports.free ())

    member _.Program = program
    member _.Scratch = scratch
    member _.Port = httpPort
    member _.GrpcPort = grpcPort
    member _.Proxy = $"http://127.0.0.1:{httpPort}"
    member _.Url(path: string) = $"http://127.0.0.1:{httpPort}{path}"

    interface IDisposable with
        member _.Dispose() =
            if not program.HasExited then
                for page in [ "/"; "/winch/status"; "/metrics"; "/debug/flagz"; "/proxy.pac" ] do
                    try
                        Secrets.look
                            $"winch{page}"
                            (probe.Value.GetStringAsync($"http://127.0.0.1:{httpPort}{page}").GetAwaiter().GetResult())
                    with
                    | :? HttpRequestException
                    | :? OperationCanceledException -> ()

            (program :> IDisposable).Dispose()
            (scratch :> IDisposable).Dispose()
