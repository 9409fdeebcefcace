namespace Kedge.Client.Domain

open Kedge.Domain
open Kedge.Client.Domain.Decoded

/// The fields of the file of auth sources.
[<RequireQualifiedAccess>]
module internal SourcesJson =

    open Decode

    /// A text that must not appear in messages.
    let private secret: Decoder<string> =
        {
            Default = ""
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonString text -> text
                    | _ ->
                        decoding.Report(node.Start, path, WrongType("a text", "not shown: it may be a secret"))
                        ""
        }

    /// An object of texts that must not appear in messages.
    let private secrets: Decoder<Map<string, string>> =
        {
            Default = Map.empty
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonObject members ->
                        members
                        |> Array.map (fun entry ->
                            entry.Name, secret.Read decoding (Field entry.Name :: path) entry.Node)
                        |> Map.ofArray
                    | _ ->
                        decoding.Report(node.Start, path, WrongType("an object of texts", "not shown"))
                        Map.empty
        }

    let private flows =
        [
            "auto", LoginFlow.Auto
            "browser", LoginFlow.Browser
            "device", LoginFlow.Device
            "keyboard", LoginFlow.Keyboard
        ]

    let private uses =
        [ "id_token", OidcToken.IdToken; "access_token", OidcToken.AccessToken ]

    let private stores =
        [
            "auto", TokenStore.Auto
            "file", TokenStore.File
            "memory", TokenStore.Memory
            "keyring", TokenStore.Keyring
        ]

    /// True unless the file says otherwise.
    let private flagOn: Decoder<bool> = { flag with Default = true }

    let private dummy =
        message (
            fields {
                let! value = field "value" secret
                return Dummy value
            }
        )

    let private token =
        message (
            fields {
                let! token = field "token" secret
                return Token token
            }
        )

    let private kube =
        message (
            fields {
                let! user = field "user" text
                and! path = field "path" text
                return SourceKind.Kube { User = user; Path = path }
            }
        )

    let private oidc =
        message (
            fields {
                let! provider = field "provider" text
                and! clientId = field "client_id" text
                and! secret = field "secret" secret
                and! scopes = field "scopes" (list text)
                and! path = field "path" text
                and! callback = field "login_callback_path" text
                and! flow = field "flow" (enumeration flows enum<LoginFlow>)
                and! listen = field "listen" (list text)
                and! redirectHost = field "redirect_host" text
                and! browser = field "browser_command" text
                and! opens = field "open_browser" flagOn
                and! extra = field "extra_params" textMap
                and! audience = field "audience" text
                and! caFiles = field "ca_files" (list text)
                and! usage = field "use" (enumeration uses enum<OidcToken>)
                and! store = field "store" (enumeration stores enum<TokenStore>)

                return
                    SourceKind.Oidc
                        {
                            Provider = provider
                            ClientId = clientId
                            Secret = secret
                            Scopes = scopes
                            Path = path
                            LoginCallbackPath = callback
                            Flow = flow
                            Listen = listen
                            RedirectHost = redirectHost
                            BrowserCommand = browser
                            OpenBrowser = opens
                            ExtraParams = extra
                            Audience = audience
                            CaFiles = caFiles
                            Use = usage
                            Store = store
                        }
            }
        )

    let private serviceAccount =
        message (
            fields {
                let! provider = field "provider" text
                and! clientId = field "client_id" text
                and! secret = field "secret" secret
                and! scopes = field "scopes" (list text)
                and! keyPath = field "service_account_json_path" text
                and! audience = field "target_audience" text
                and! postsKey = field "unsafe_post_key" flag

                return
                    SourceKind.ServiceAccount
                        {
                            Provider = provider
                            ClientId = clientId
                            Secret = secret
                            Scopes = scopes
                            KeyPath = keyPath
                            TargetAudience = audience
                            UnsafePostKey = postsKey
                        }
            }
        )

    let private exec =
        message (
            fields {
                let! command = field "command" text
                and! args = field "args" (list text)
                and! environment = field "env" secrets
                and! timeout = field "timeout" duration

                return
                    SourceKind.Exec
                        {
                            Command = command
                            Args = args
                            Environment = environment
                            Timeout = timeout
                        }
            }
        )

    let private file =
        message (
            fields {
                let! path = field "path" text
                return SourceKind.File path
            }
        )

    let private environment =
        message (
            fields {
                let! name = field "name" text
                return Environment name
            }
        )

    let private certificate =
        message (
            fields {
                let! certFile = field "cert_file" text
                and! keyFile = field "key_file" text
                return ClientCertificate(certFile, keyFile)
            }
        )

    let private source: Decoder<AuthSource> =
        message (
            fields {
                let! name = field "name" text

                and! kind =
                    oneOf
                        [
                            optional "dummy" dummy
                            optional "token" token
                            optional "kube" kube
                            optional "oidc" oidc
                            optional "service_account_oidc" serviceAccount
                            optional "exec" exec
                            optional "file" file
                            optional "env" environment
                            optional "client_certificate" certificate
                        ]
                        (Token "")

                return { Name = name; Kind = kind }
            }
        )

    let sources: Decoder<SourcesFile> =
        message (
            fields {
                let! sources = field "auth_sources" (list source)
                return { AuthSources = sources }
            }
        )
