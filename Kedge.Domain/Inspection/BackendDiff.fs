namespace Kedge.Domain

open System.Collections.Generic

/// How the backends of one protocol differ, by name.
type BackendChange =
    | BackendAdded of name: string
    | BackendRemoved of name: string
    | BackendChanged of name: string

[<RequireQualifiedAccess>]
module BackendDiff =

    /// A backend also counts as changed when the TLS settings that it names have changed.
    let backends (protocol: Protocol) (before: BackendPool) (after: BackendPool) : BackendChange list =
        let definitions (pool: BackendPool) =
            let tls = Dictionary<string, Decoded.TlsServerConfig>()

            for config in pool.TlsServerConfigs do
                tls[config.Name] <- config

            let tlsOf (backend: Decoded.Backend) =
                match backend.Security with
                | Some security ->
                    match tls.TryGetValue security.ConfigName with
                    | true, config -> Some config
                    | _ -> None
                | None -> None

            let definitions =
                Dictionary<string, struct (Decoded.Backend * Decoded.TlsServerConfig option)>()

            for backend in pool.Backends[protocol] do
                definitions[backend.Name] <- struct (backend, tlsOf backend)

            definitions

        let old = definitions before
        let current = definitions after

        [
            for backend in before.Backends[protocol] do
                match current.TryGetValue backend.Name with
                | true, definition when definition = old[backend.Name] -> ()
                | true, _ -> BackendChanged backend.Name
                | _ -> BackendRemoved backend.Name

            for backend in after.Backends[protocol] do
                if not (old.ContainsKey backend.Name) then
                    BackendAdded backend.Name
        ]
