namespace Kedge.Client.Domain

open System
open System.Net
open Kedge.Domain
open Kedge.Client.Domain.Decoded

/// Validates the file of auth sources. Messages contain no secrets.
[<RequireQualifiedAccess>]
module internal AuthSources =

    let private providerRule =
        "must be an https:// URL, or http:// on a loopback address"

    let private isProvider (text: string) =
        let mutable parsed: Uri | null = null

        Uri.TryCreate(text, UriKind.Absolute, &parsed)
        && (match parsed with
            | null -> false
            | url ->
                url.Query = ""
                && url.Fragment = ""
                && url.UserInfo = ""
                && (url.Scheme = Uri.UriSchemeHttps
                    || (url.Scheme = Uri.UriSchemeHttp && url.IsLoopback)))

    let private listenRule =
        "must be a loopback address and a port, such as 127.0.0.1:8000"

    let private isListen (text: string) =
        match Target.TryParse(text, 0) with
        | true, (NonNull target) when target.Port > 0 ->
            target.Host = "localhost"
            || (match IPAddress.TryParse target.Host with
                | true, (NonNull address) -> IPAddress.IsLoopback address
                | _ -> false)
        | _ -> false

    let private isSecret (text: string) = text |> String.forall (fun c -> c > ' ' && c < '\127')

    /// Parameters of a login that winch sets itself (OpenID Connect Core, 3.1.2.1; RFC 7636).
    let private ownParameters =
        set
            [
                "client_id"
                "code_challenge"
                "code_challenge_method"
                "nonce"
                "redirect_uri"
                "response_type"
                "scope"
                "state"
            ]

    let private check (checks: Checks) (path: Step list) (source: AuthSource) =
        let needs (kind: string) (field: string) (value: string) =
            if value = "" then
                checks.Report(Field kind :: path, Missing field)

        let provider kind (value: string) =
            needs kind "provider" value

            if value <> "" then
                checks.Require(Field "provider" :: Field kind :: path, providerRule, value, isProvider value)

        match source.Kind with
        | Dummy _ -> ()
        | Token token ->
            needs "token" "token" token

            if not (isSecret token) then
                checks.Report(
                    Field "token" :: Field "token" :: path,
                    Malformed("must be visible ASCII characters without blanks", "not shown")
                )
        | SourceKind.Kube kube -> needs "kube" "user" kube.User
        | SourceKind.Oidc oidc ->
            provider "oidc" oidc.Provider
            needs "oidc" "client_id" oidc.ClientId
            let path = Field "oidc" :: path

            checks.Require(
                Field "login_callback_path" :: path,
                "must be empty, or begin with / and be a plain path",
                oidc.LoginCallbackPath,
                oidc.LoginCallbackPath = ""
                || (oidc.LoginCallbackPath.StartsWith '/'
                    && NameRule.isPlainText oidc.LoginCallbackPath
                    && oidc.LoginCallbackPath.IndexOfAny [| '?'; '#'; '%'; '\\' |] < 0)
            )

            oidc.Listen
            |> List.iteri (fun i listen ->
                checks.Require(Step.Index i :: Field "listen" :: path, listenRule, listen, isListen listen))

            checks.Require(
                Field "redirect_host" :: path,
                "must be empty or a host name",
                oidc.RedirectHost,
                oidc.RedirectHost = "" || NameRule.isHost oidc.RedirectHost
            )

            for name in oidc.ExtraParams.Keys do
                checks.Require(
                    Field name :: Field "extra_params" :: path,
                    "is set by winch itself",
                    name,
                    not (ownParameters.Contains name)
                )
        | SourceKind.ServiceAccount account ->
            provider "service_account_oidc" account.Provider
            needs "service_account_oidc" "client_id" account.ClientId
            needs "service_account_oidc" "service_account_json_path" account.KeyPath
        | SourceKind.Exec exec ->
            needs "exec" "command" exec.Command

            checks.DurationInRange(
                Field "timeout" :: Field "exec" :: path,
                TimeSpan.FromMilliseconds 100.0,
                TimeSpan.FromMinutes 10.0,
                exec.Timeout
            )
        | SourceKind.File file -> needs "file" "path" file
        | Environment name -> needs "env" "name" name
        | ClientCertificate(certFile, keyFile) ->
            needs "client_certificate" "cert_file" certFile
            needs "client_certificate" "key_file" keyFile

    let validate (file: SourcesFile) : Result<AuthSource list, Violation list> =
        let checks = Checks()
        let root = [ Field "auth_sources" ]

        file.AuthSources
        |> List.iteri (fun i source ->
            let path = Step.Index i :: root

            if source.Name = "" then
                checks.Report(path, Missing "name")
            else
                checks.Require(
                    Field "name" :: path,
                    "must be letters, digits, `.`, `_` and `-`",
                    source.Name,
                    source.Name
                    |> String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '.' || c = '_' || c = '-')
                )

            check checks path source)

        checks.Unique(root, "name", file.AuthSources |> Seq.map _.Name)

        match checks.Violations with
        | [] -> Ok file.AuthSources
        | violations -> Error violations
