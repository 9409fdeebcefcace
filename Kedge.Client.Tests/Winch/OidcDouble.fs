namespace Kedge.Client.Tests.Winch

open System
open System.Buffers.Text
open System.Collections.Concurrent
open System.Net
open System.Security.Cryptography
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Authorization
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// An OpenID Connect provider on 127.0.0.1 in which everybody is logged in at once: authorization code with PKCE, device
/// codes, refresh tokens that are good once. It checks what it gets as a strict provider does.
type OidcDouble(port: int) =
    let key = SigningKey.Rsa("double", "RS256")
    let codes = ConcurrentDictionary<string, string * string * string>()
    let devices = ConcurrentDictionary<string, int ref>()
    let accounts = ConcurrentDictionary<string, RSA>()
    let received = ConcurrentQueue<string>()
    let mutable refreshToken = ""
    let mutable isAway = false
    let mutable isSilent = false
    let mutable lifetime = 300
    let mutable refreshes = 0
    let mutable reuses = 0
    let mutable authorizations = 0
    let mutable boundPort = port

    let random () = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes 16)
    let name () = $"http://127.0.0.1:{boundPort}"

    let json (context: HttpContext) (status: int) (value: obj) : Task =
        context.Response.StatusCode <- status
        context.Response.ContentType <- "application/json"
        context.Response.WriteAsync(JsonSerializer.Serialize value)

    let refuse context (error: string) = json context 400 {| error = error |}

    let idToken (audience: string) (subject: string) (more: (string * objnull) list) =
        let now = DateTimeOffset.UtcNow.ToUnixTimeSeconds()

        {
            Header = [ "alg", key.Algorithm; "typ", "JWT"; "kid", key.Id ]
            Claims =
                [
                    "iss", box (name ())
                    "aud", box audience
                    "sub", box subject
                    "iat", box now
                    "exp", box (now + int64 lifetime)
                    "jti", box (random ())
                    yield! more
                ]
            Sign = key.Sign
        }
            .Text

    let tokens context (nonce: string) =
        let fresh = "refresh-" + random ()
        Secrets.add fresh
        lock codes (fun () -> refreshToken <- fresh)

        json
            context
            200
            {|
                access_token = "access-" + random ()
                token_type = "Bearer"
                expires_in = lifetime
                refresh_token = fresh
                id_token =
                    idToken
                        "winch-tests"
                        "somebody"
                        [
                            if nonce <> "" then
                                "nonce", box nonce
                        ]
            |}

    /// A token for an account that signed the assertion (RFC 7523, 3).
    let assertion context (text: string) =
        let part (index: int) =
            let part = (text.Split '.')[index]
            Base64Url.DecodeFromChars(part.AsSpan())

        let claims = JsonDocument.Parse(ReadOnlyMemory(part 1)).RootElement
        let claim (name: string) = claims.GetProperty(name).GetString() |> string
        let signed = text.Substring(0, text.LastIndexOf '.')

        let isGood =
            match accounts.TryGetValue(claim "iss") with
            | true, key ->
                key.VerifyData(
                    Encoding.ASCII.GetBytes signed,
                    part 2,
                    HashAlgorithmName.SHA256,
                    RSASignaturePadding.Pkcs1
                )
            | _ -> false

        let now = DateTimeOffset.UtcNow.ToUnixTimeSeconds()

        if
            isGood
            && claim "aud" = $"{name ()}/token"
            && claims.GetProperty("exp").GetInt64() > now
        then
            let audience =
                match claims.TryGetProperty "target_audience" with
                | true, target -> string (target.GetString())
                | _ -> "winch-tests"

            json
                context
                200
                {|
                    id_token = idToken audience (claim "sub") []
                |}
        else
            refuse context "invalid_grant"

    let token (context: HttpContext) : Task =
        task {
            let! form = context.Request.ReadFormAsync()
            let field (name: string) = string form[name]

            for value in form do
                received.Enqueue(string value.Value)

            if field "client_id" <> "winch-tests" then
                do! refuse context "invalid_client"
            else
                match field "grant_type" with
                | "authorization_code" ->
                    match codes.TryRemove(field "code") with
                    | true, (challenge, redirect, nonce) ->
                        let hash = SHA256.HashData(Encoding.ASCII.GetBytes(field "code_verifier"))

                        if
                            Base64Url.EncodeToString(ReadOnlySpan hash) = challenge
                            && redirect = field "redirect_uri"
                        then
                            do! tokens context nonce
                        else
                            do! refuse context "invalid_grant"
                    | _ -> do! refuse context "invalid_grant"
                | "refresh_token" ->
                    let isGood =
                        lock codes (fun () ->
                            let isGood = refreshToken <> "" && field "refresh_token" = refreshToken
                            // Rotation (RFC 9700, 4.14.2): one that comes again ends the session.
                            if not isGood then
                                reuses <- reuses + 1

                            refreshToken <- ""
                            isGood)

                    if isGood then
                        Interlocked.Increment &refreshes |> ignore
                        // Long enough for another process to come with the same one.
                        do! Task.Delay 300
                        do! tokens context ""
                    else
                        do! refuse context "invalid_grant"
                | "urn:ietf:params:oauth:grant-type:device_code" ->
                    match devices.TryGetValue(field "device_code") with
                    | true, polls when Interlocked.Increment polls < 2 -> do! refuse context "authorization_pending"
                    | true, _ -> do! tokens context ""
                    | _ -> do! refuse context "invalid_grant"
                | "urn:ietf:params:oauth:grant-type:jwt-bearer" -> do! assertion context (field "assertion")
                | _ -> do! refuse context "unsupported_grant_type"
        }

    let handle (context: HttpContext) : Task =
        let query (name: string) = string context.Request.Query[name]

        if Volatile.Read(&isAway) then
            context.Abort()
            Task.CompletedTask
        elif Volatile.Read(&isSilent) then
            Task.Delay(Timeout.Infinite, context.RequestAborted)
        else
            match string context.Request.Path with
            | "/.well-known/openid-configuration" ->
                json
                    context
                    200
                    {|
                        issuer = name ()
                        authorization_endpoint = $"{name ()}/authorize"
                        token_endpoint = $"{name ()}/token"
                        device_authorization_endpoint = $"{name ()}/device"
                        jwks_uri = $"{name ()}/keys"
                    |}
            | "/keys" -> json context 200 {| keys = [ key.Jwk ] |}
            | "/authorize" ->
                Interlocked.Increment &authorizations |> ignore

                if query "code_challenge_method" <> "S256" || query "client_id" <> "winch-tests" then
                    refuse context "invalid_request"
                else
                    let code = random ()
                    codes[code] <- (query "code_challenge", query "redirect_uri", query "nonce")
                    let state = Uri.EscapeDataString(query "state")
                    context.Response.Redirect(query "redirect_uri" + $"?code={code}&state={state}")
                    Task.CompletedTask
            | "/device" ->
                let device = random ()
                devices[device] <- ref 0

                json
                    context
                    200
                    {|
                        device_code = device
                        user_code = "WDJB-MJHT"
                        verification_uri = $"{name ()}/enter"
                        interval = 1
                        expires_in = 60
                    |}
            | "/token" -> token context
            | _ ->
                context.Response.StatusCode <- 404
                Task.CompletedTask

    let app =
        PeerHost(ignore, HttpProtocols.Http1, None, IPEndPoint(IPAddress.Loopback, port))
            .Start(fun app -> app.Run(RequestDelegate handle))

    do boundPort <- PeerHost.PortOf app

    let mutable disposed = 0

    new() = new OidcDouble 0

    member _.Name = name ()

    /// Seconds for which tokens are valid.
    member _.Lifetime
        with set (seconds: int) = lifetime <- seconds

    /// While away it breaks off every connection.
    member _.IsAway
        with set (value: bool) = Volatile.Write(&isAway, value)

    /// While silent it takes requests and answers none.
    member _.IsSilent
        with set (value: bool) = Volatile.Write(&isSilent, value)

    /// How often a refresh token was redeemed, and how often one came that was not the latest.
    member _.Refreshes = Volatile.Read &refreshes
    member _.Reuses = Volatile.Read &reuses
    /// How often a browser began a login.
    member _.Authorizations = Volatile.Read &authorizations
    /// The values that the token endpoint has received.
    member _.Received = received.ToArray()

    /// An account whose assertions it takes.
    member _.AddServiceAccount(email: string, key: RSA) = accounts[email] <- key

    /// Ends all sessions.
    member _.Revoke() = lock codes (fun () -> refreshToken <- "revoked-by-the-provider")

    /// A file with one auth source, and more fields for it.
    member double.Sources(more: string) =
        $$"""{ "auth_sources": [ { "name": "sso", "oidc": {
                 "provider": "{{double.Name}}", "client_id": "winch-tests", "scopes": [ "openid", "offline_access" ],
                 "path": "$HOME/tokens", "login_callback_path": "/winch/callback"{{more}} } } ] }"""

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                PeerHost.Stop app
