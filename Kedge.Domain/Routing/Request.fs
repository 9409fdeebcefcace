namespace Kedge.Domain

/// An HTTP request as the rules see it. This form is for the reference router, explanations, analysis and scripts; the
/// proxy matches live requests as spans and never builds these values.
type HttpRequest =
    {
        /// A WebSocket over HTTP/2 (RFC 8441) counts as `GET`, the method of the same handshake in HTTP/1.1.
        Method: string
        /// Without port and brackets.
        Host: string
        Ports: AuthorityPorts
        /// Canonical, with its leading `/`, without query.
        Path: string
        /// As it was sent, without its `?`; empty when there is none.
        Query: string
        /// `ReverseProxy` or `ForwardProxy`; a request is never `Any`.
        Mode: Decoded.ProxyMode
        /// `Tls` or `Plain`; a request is never on `Any` listener.
        Listener: Decoded.Listener
        Headers: (string * string) list
    }

/// A gRPC request as the rules see it.
type GrpcRequest =
    {
        /// Without port and brackets. May be empty.
        Host: string
        Ports: AuthorityPorts
        /// `package.Service`
        Service: string
        Method: string
        /// `Tls` or `Plain`.
        Listener: Decoded.Listener
        Metadata: (string * string) list
    }

/// A request of either protocol.
type Request =
    | Http of HttpRequest
    | Grpc of GrpcRequest

    member request.Protocol =
        match request with
        | Http _ -> Protocol.Http
        | Grpc _ -> Protocol.Grpc

    member request.Host =
        match request with
        | Http request -> request.Host
        | Grpc request -> request.Host

    member request.Listener =
        match request with
        | Http request -> request.Listener
        | Grpc request -> request.Listener

    member request.Ports =
        match request with
        | Http request -> request.Ports
        | Grpc request -> request.Ports

[<RequireQualifiedAccess>]
module HttpRequest =

    /// The `Location` of a redirect in response to the request.
    let location (redirect: Redirect) (request: HttpRequest) : string =
        let scheme = Redirect.SchemeOf(request.Listener, request.Mode, request.Ports)
        redirect.Location(scheme, request.Host, request.Ports, request.Path, request.Query)
