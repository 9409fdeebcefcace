/// Mapper files and files of auth sources in tests.
module Kedge.Client.Tests.Mapping.Files

open System
open System.IO
open System.Text
open Expecto
open Jint
open Kedge.Domain
open Kedge.Client.Domain

let bytes (text: string) = ReadOnlyMemory(Encoding.UTF8.GetBytes text)

/// The checkout's file.
let asset (name: string) =
    let rec climb (directory: DirectoryInfo | null) =
        match directory with
        | null -> failwith "no checkout around the tests"
        | d when File.Exists(Path.Combine(d.FullName, "Kedge.sln")) -> d.FullName
        | d -> climb d.Parent

    Path.Combine(climb (DirectoryInfo AppContext.BaseDirectory), "Kedge.Client.Tests", "testassets", name)

let load (options: MapperOptions) (mapper: string) (sources: string) : Loaded<ClientFiles> =
    ClientFiles.Load("mapper.json", bytes mapper, "auth.json", bytes sources, options)

/// The mapper of a file that is known to be good and names no sources.
let mapperOf (text: string) : Mapper =
    let loaded = load MapperOptions.Default text ""

    match loaded.Value with
    | null -> failtestf "%s" (String.Join('\n', loaded.Errors))
    | files -> files.Mapper

let errorsOf (mapper: string) (sources: string) : string list =
    (load MapperOptions.Default mapper sources).Errors |> List.ofSeq

let target (authority: string) : Target =
    match Target.TryParse(authority, 80) with
    | true, NonNull target -> target
    | _ -> failtestf "%s is no target" authority

/// A proxy auto-configuration script, run as a browser runs it.
type Script(text: string) =
    let engine = new Engine()

    do
        // What browsers offer to the script (https://developer.mozilla.org/docs/Web/HTTP/Proxy_servers_and_tunneling).
        engine.SetValue("isPlainHostName", Func<string, bool>(fun host -> not (host.Contains '.')))
        |> ignore

        engine.SetValue("shExpMatch", Func<string, string, bool>(fun text pattern -> HostGlob.isMatch pattern text))
        |> ignore

        engine.Execute text |> ignore

    /// The proxy for a URL.
    member _.Find(url: string, host: string) : string = engine.Invoke("FindProxyForURL", url, host).AsString()
