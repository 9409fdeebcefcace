namespace Kedge.Domain

open Kedge.Domain.Decoded

/// A backend pool file all of whose entries are sound: names well-formed and unique, one resolver each, every
/// `config_name` known. Made only by validation; the entries keep their decoded form, which already says it all.
[<Sealed>]
type BackendPool internal (file: Decoded.BackendPool) =
    member _.TlsServerConfigs: TlsServerConfig list = file.TlsServerConfigs
    member _.GrpcBackends: Backend list = file.GrpcBackends
    member _.HttpBackends: Backend list = file.HttpBackends

[<RequireQualifiedAccess>]
module BackendPool =

    let empty =
        BackendPool
            {
                TlsServerConfigs = []
                GrpcBackends = []
                HttpBackends = []
            }

    /// All that is wrong with a decoded file, or its second shape.
    let validate (file: Decoded.BackendPool) : Result<BackendPool, Violation list> = failwith "contract"
