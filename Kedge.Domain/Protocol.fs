namespace Kedge.Domain

open System

/// The two kinds of traffic. Each has its own routes, ad-hoc rules and backends.
[<Struct; RequireQualifiedAccess>]
type Protocol =
    | Http
    | Grpc

    /// The protocol's section in both configuration files, which is also its name in reports: `http` or `grpc`.
    member protocol.Section =
        match protocol with
        | Protocol.Http -> "http"
        | Protocol.Grpc -> "grpc"

    /// The protocol's name in prose: `HTTP` or `gRPC`.
    member protocol.DisplayName =
        match protocol with
        | Protocol.Http -> "HTTP"
        | Protocol.Grpc -> "gRPC"

    override protocol.ToString() = protocol.Section

    /// Both, HTTP first.
    static member All: Protocol array = [| Protocol.Http; Protocol.Grpc |]

/// One value for each protocol.
type PerProtocol<'value> =
    {
        Http: 'value
        Grpc: 'value
    }

    member values.Item
        with get (protocol: Protocol): 'value =
            match protocol with
            | Protocol.Http -> values.Http
            | Protocol.Grpc -> values.Grpc

    /// The values with their protocols, HTTP first.
    member values.Pairs: struct (Protocol * 'value) array =
        [| struct (Protocol.Http, values.Http); struct (Protocol.Grpc, values.Grpc) |]

    /// The result of the function for each value.
    member values.Map(map: Func<'value, 'other>) : PerProtocol<'other> =
        {
            Http = map.Invoke values.Http
            Grpc = map.Invoke values.Grpc
        }

/// Creates values for each protocol.
[<AbstractClass; Sealed>]
type PerProtocol private () =

    /// The result of the function for each protocol, HTTP first.
    static member Init(make: Func<Protocol, 'value>) : PerProtocol<'value> =
        {
            Http = make.Invoke Protocol.Http
            Grpc = make.Invoke Protocol.Grpc
        }

    /// The same value for both.
    static member Both(value: 'value) : PerProtocol<'value> = { Http = value; Grpc = value }
