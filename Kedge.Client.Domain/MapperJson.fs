namespace Kedge.Client.Domain

open Kedge.Domain
open Kedge.Client.Domain.Decoded

/// The fields of the mapper file.
[<RequireQualifiedAccess>]
module internal MapperJson =

    open Decode

    let private protocols =
        [
            "ANY", RouteProtocol.Any
            "HTTP", RouteProtocol.Http
            "GRPC", RouteProtocol.Grpc
        ]

    let private connect =
        [ "refuse", ConnectPolicy.Refuse; "passthrough", ConnectPolicy.Passthrough ]

    let private unmapped =
        [ "direct", UnmappedPolicy.Direct; "refuse", UnmappedPolicy.Refuse ]

    let private direct =
        message (
            fields {
                let! key = field "key" text
                and! url = field "url" text
                return Direct(key, url)
            }
        )

    let private regexp =
        message (
            fields {
                let! exp = field "exp" text
                and! url = field "url" text
                return Regexp(exp, url)
            }
        )

    let private suffix =
        message (
            fields {
                let! pattern = field "pattern" text
                and! suffix = field "suffix" text
                and! scheme = field "scheme" text
                and! port = field "port" (number NumberRange.optionalPort)
                return Suffix(pattern, suffix, scheme, port)
            }
        )

    let private single =
        message (
            fields {
                let! url = field "url" text
                return Single url
            }
        )

    let private tls =
        message (
            fields {
                let! caFiles = field "ca_files" (list text)
                and! certFile = field "client_cert_file" text
                and! keyFile = field "client_key_file" text
                and! serverName = field "server_name" text
                and! isInsecure = field "insecure" flag

                return
                    {
                        CaFiles = caFiles
                        ClientCertFile = certFile
                        ClientKeyFile = keyFile
                        ServerName = serverName
                        Insecure = isInsecure
                    }
            }
        )

    let private destination: Fields<Destination> =
        oneOf
            [
                optional "direct" direct
                optional "regexp" regexp
                optional "suffix" suffix
                optional "single" single
            ]
            (Single "")

    let private route: Decoder<RouteEntry> =
        message (
            fields {
                let! backendAuth = field "backend_auth" text
                and! proxyAuth = field "proxy_auth" text
                and! protocol = field "protocol" (enumeration protocols enum<RouteProtocol>)
                and! destination = destination
                and! tls = optional "tls" tls
                and! timeout = field "timeout" duration
                and! headers = field "headers" textMap
                and! sameSite = optional "require_same_site" flag
                and! connect = field "connect" (enumeration connect enum<ConnectPolicy>)
                and! allowed = field "allowed_kedges" (list text)
                and! isUnsafe = field "unsafe" flag

                return
                    {
                        BackendAuth = backendAuth
                        ProxyAuth = proxyAuth
                        Protocol = protocol
                        Destination = destination
                        Tls = tls
                        Timeout = timeout
                        Headers = headers
                        RequireSameSite = sameSite
                        Connect = connect
                        AllowedKedges = allowed
                        Unsafe = isUnsafe
                    }
            }
        )

    let mapper: Decoder<MapperFile> =
        message (
            fields {
                let! routes = field "routes" (list route)
                and! unmapped = field "unmapped" (enumeration unmapped enum<UnmappedPolicy>)
                and! allowed = field "allowed_kedges" (list text)

                return
                    {
                        Routes = routes
                        Unmapped = unmapped
                        AllowedKedges = allowed
                    }
            }
        )
