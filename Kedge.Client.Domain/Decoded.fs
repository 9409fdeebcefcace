// The client's files as they are written. Absent fields have proto3's defaults: an empty text, 0, an empty list.
namespace Kedge.Client.Domain.Decoded

open System

/// Which requests a route matches. The numbers are those of the protocol buffer enum.
type RouteProtocol =
    | Any = 0
    | Http = 1
    | Grpc = 2

/// What happens to a TLS connection that arrives in a CONNECT tunnel.
type ConnectPolicy =
    /// It is closed with a reason.
    | Refuse = 0
    /// It is passed on to the kedge through CONNECT.
    | Passthrough = 1

/// What happens to hosts that no route matches.
type UnmappedPolicy =
    | Direct = 0
    | Refuse = 1

type Destination =
    | Direct of key: string * url: string
    | Regexp of exp: string * url: string
    | Suffix of pattern: string * suffix: string * scheme: string * port: uint32
    | Single of url: string

/// How a kedge is verified, and the certificate that the client presents.
type Tls =
    {
        /// PEM bundles that replace the system's roots.
        CaFiles: string list
        ClientCertFile: string
        ClientKeyFile: string
        /// The name to verify; empty = the kedge's host.
        ServerName: string
        Insecure: bool
    }

type RouteEntry =
    {
        BackendAuth: string
        ProxyAuth: string
        Protocol: RouteProtocol
        Destination: Destination
        Tls: Tls option
        /// The time limit until the kedge's response begins; zero = no limit.
        Timeout: TimeSpan
        Headers: Map<string, string>
        /// None = only when the route has `backend_auth`.
        RequireSameSite: bool option
        Connect: ConnectPolicy
        AllowedKedges: string list
        Unsafe: bool
    }

type MapperFile =
    {
        Routes: RouteEntry list
        Unmapped: UnmappedPolicy
        AllowedKedges: string list
    }

/// How a user logs in.
type LoginFlow =
    | Auto = 0
    | Browser = 1
    | Device = 2
    | Keyboard = 3

type OidcToken =
    | IdToken = 0
    | AccessToken = 1

/// Where the tokens of a login are stored.
type TokenStore =
    /// The keyring if there is one and the source names no folder; otherwise the file.
    | Auto = 0
    | File = 1
    | Memory = 2
    | Keyring = 3

type Kube = { User: string; Path: string }

type Oidc =
    {
        Provider: string
        ClientId: string
        Secret: string
        Scopes: string list
        /// The folder of the token file; environment variables are expanded.
        Path: string
        LoginCallbackPath: string
        Flow: LoginFlow
        /// `host:port` pairs on which `winch login` waits for the browser.
        Listen: string list
        RedirectHost: string
        BrowserCommand: string
        OpenBrowser: bool
        ExtraParams: Map<string, string>
        Audience: string
        CaFiles: string list
        Use: OidcToken
        Store: TokenStore
    }

type ServiceAccount =
    {
        Provider: string
        ClientId: string
        Secret: string
        Scopes: string list
        KeyPath: string
        TargetAudience: string
        /// Posts the key file itself to the provider, as one provider requires.
        UnsafePostKey: bool
    }

type Exec =
    {
        Command: string
        Args: string list
        Environment: Map<string, string>
        /// Zero = 30 s.
        Timeout: TimeSpan
    }

/// Where a credential comes from.
type SourceKind =
    | Dummy of value: string
    | Token of token: string
    | Kube of Kube
    | Oidc of Oidc
    | ServiceAccount of ServiceAccount
    | Exec of Exec
    | File of path: string
    | Environment of name: string
    | ClientCertificate of certFile: string * keyFile: string

type AuthSource = { Name: string; Kind: SourceKind }

type SourcesFile = { AuthSources: AuthSource list }
