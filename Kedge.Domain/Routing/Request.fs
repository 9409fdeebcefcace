namespace Kedge.Domain

open System

/// An HTTP request as the rules see it. This form is for the reference router, explanations, analysis and scripts; a
/// request on its way through the proxy is matched from spans and never becomes one of these.
type HttpRequest =
    {
        /// Without port and brackets.
        Host: string
        Ports: AuthorityPorts
        /// Canonical; with its leading `/`, without query.
        Path: string
        /// `ReverseProxy` or `ForwardProxy`; a request is never `Any`.
        Mode: Decoded.ProxyMode
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
        Metadata: (string * string) list
    }

/// A list of headers, for requests that are values.
[<Struct>]
type HeaderList(headers: (string * string) list) =
    interface IHeaders with
        member _.Has(name, value) =
            headers
            |> List.exists (fun (n, v) -> String.Equals(n, name, StringComparison.OrdinalIgnoreCase) && v = value)
