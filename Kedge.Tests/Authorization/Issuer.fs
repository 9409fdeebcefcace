namespace Kedge.Tests.Authorization

open System
open System.Buffers.Text
open System.Net
open System.Security.Cryptography
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// A key pair that an issuer signs with.
type SigningKey
    private
    (id: string, algorithm: string, sign: byte array -> byte array, publicJwk: (string * objnull) list, spki: string) =
    static let base64 (bytes: byte array) = Base64Url.EncodeToString(ReadOnlySpan bytes)

    static let hashOf (algorithm: string) =
        match algorithm.Substring 2 with
        | "256" -> HashAlgorithmName.SHA256
        | "384" -> HashAlgorithmName.SHA384
        | _ -> HashAlgorithmName.SHA512

    /// For RS and PS algorithms.
    static member Rsa(id: string, algorithm: string) =
        let key = RSA.Create 2048
        let parameters = key.ExportParameters false

        let padding =
            if algorithm.StartsWith("PS", StringComparison.Ordinal) then
                RSASignaturePadding.Pss
            else
                RSASignaturePadding.Pkcs1

        SigningKey(
            id,
            algorithm,
            (fun data -> key.SignData(data, hashOf algorithm, padding)),
            [
                "kty", "RSA"
                "n", base64 (nonNull parameters.Modulus)
                "e", base64 (nonNull parameters.Exponent)
            ],
            key.ExportSubjectPublicKeyInfoPem()
        )

    /// For ES256.
    static member Ec(id: string) =
        let key = ECDsa.Create ECCurve.NamedCurves.nistP256
        let point = key.ExportParameters(false).Q

        SigningKey(
            id,
            "ES256",
            (fun data -> key.SignData(data, HashAlgorithmName.SHA256)),
            [
                "kty", "EC"
                "crv", "P-256"
                "x", base64 (nonNull point.X)
                "y", base64 (nonNull point.Y)
            ],
            key.ExportSubjectPublicKeyInfoPem()
        )

    member _.Id = id
    member _.Algorithm = algorithm
    member _.Sign(data: byte array) = sign data
    /// As the key set lists it.
    member _.Jwk = ("kid", box id) :: ("use", box "sig") :: publicJwk |> dict
    member _.PublicPem = spki

/// A JSON Web Token in the making. Claims that are given twice: the last one counts.
type Token =
    {
        Header: (string * objnull) list
        Claims: (string * objnull) list
        Sign: byte array -> byte array
    }

    /// As it is sent. It is a secret from then on.
    member token.Text =
        let part (members: (string * objnull) list) =
            let content = Collections.Generic.Dictionary<string, objnull>()

            for name, value in members do
                content[name] <- value

            Base64Url.EncodeToString(ReadOnlySpan(JsonSerializer.SerializeToUtf8Bytes content))

        let signed = $"{part token.Header}.{part token.Claims}"
        let signature = token.Sign(Encoding.ASCII.GetBytes signed)
        let text = $"{signed}.{Base64Url.EncodeToString(ReadOnlySpan signature)}"
        Secrets.addToken text
        text

    member token.With(claims: (string * objnull) list) =
        { token with
            Claims = token.Claims @ claims
        }

    member token.WithHeader(header: (string * objnull) list) =
        { token with
            Header = token.Header @ header
        }

    member token.Without(claim: string) =
        { token with
            Claims = token.Claims |> List.filter (fun (name, _) -> name <> claim)
        }

/// An OpenID Connect provider on 127.0.0.1: discovery document, keys that rotate, and tokens of every kind.
type Issuer(port: int) =
    let mutable keys = [ SigningKey.Rsa("first", "RS256") ]
    let mutable isAway = false
    let mutable fetches = 0

    let json (context: HttpContext) (value: obj) : Task =
        context.Response.ContentType <- "application/json"
        context.Response.WriteAsync(JsonSerializer.Serialize value)

    let nameOf (port: int) = $"http://127.0.0.1:{port}/realm"

    let handle (name: unit -> string) (context: HttpContext) : Task =
        if Volatile.Read(&isAway) then
            context.Abort()
            Task.CompletedTask
        else
            match string context.Request.Path with
            | "/realm/.well-known/openid-configuration" ->
                json context (dict [ "issuer", name (); "jwks_uri", $"{name ()}/keys" ])
            | "/realm/keys" ->
                Interlocked.Increment &fetches |> ignore
                json context (dict [ "keys", [ for key in keys -> key.Jwk ] ])
            | _ ->
                context.Response.StatusCode <- 404
                Task.CompletedTask

    let mutable boundPort = port

    let app =
        PeerHost(ignore, HttpProtocols.Http1, None, IPEndPoint(IPAddress.Loopback, port))
            .Start(fun app -> app.Run(RequestDelegate(handle (fun () -> nameOf boundPort))))

    do boundPort <- PeerHost.PortOf app

    let mutable disposed = 0

    new() = new Issuer 0

    /// The issuer's name, for `server_oidc_provider_url` and in tokens.
    member _.Name = nameOf boundPort

    /// The one that tokens are meant for.
    member _.Audience = "kedge-tests"

    /// While away it breaks off every connection.
    member _.IsAway
        with get () = Volatile.Read &isAway
        and set (value: bool) = Volatile.Write(&isAway, value)

    /// How often the key set was fetched.
    member _.KeyFetches = Volatile.Read &fetches

    /// The keys that are listed; new tokens are signed with the first.
    member _.Keys
        with get () = keys
        and set (value: SigningKey list) = keys <- value

    /// A valid token, for five minutes, signed with a key that need not be listed.
    member issuer.TokenBy(key: SigningKey, permissions: string list) : Token =
        let now = DateTimeOffset.UtcNow.ToUnixTimeSeconds()

        {
            Header = [ "alg", key.Algorithm; "typ", "JWT"; "kid", key.Id ]
            Claims =
                [
                    "iss", box issuer.Name
                    "aud", box issuer.Audience
                    "sub", box "tester"
                    "iat", box now
                    "exp", box (now + 300L)
                    "jti", box (Guid.NewGuid())
                    "perms", box permissions
                ]
            Sign = key.Sign
        }

    /// A valid token with these permissions.
    member issuer.Token(permissions: string list) : Token = issuer.TokenBy(keys.Head, permissions)

    /// The flags of a server that trusts it and looks for permissions in `perms`, each in three words, as the command
    /// that operators know has them.
    member issuer.Flags =
        [
            yield! [ "--server_oidc_provider_url"; "="; issuer.Name ]
            yield! [ "--server_oidc_client_id"; "="; issuer.Audience ]
            yield! [ "--server_oidc_perms_claim"; "="; "perms" ]
        ]

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                PeerHost.Stop app

/// What can be wrong with a token that is otherwise valid.
[<RequireQualifiedAccess>]
module TokenFaults =

    let private inSeconds (seconds: int64) = DateTimeOffset.UtcNow.ToUnixTimeSeconds() + seconds

    /// Tokens that say they are the issuer's and permit what they like, each with what is wrong with it and the answer's words.
    /// Beyond the clock skew where times are wrong.
    let all (issuer: Issuer) (permissions: string list) : (string * string * string) list =
        let good = issuer.Token permissions
        let key = issuer.Keys.Head
        let dots = good.Text.Split '.'

        let hmac =
            { good with
                Header = [ "alg", "HS256"; "typ", "JWT"; "kid", key.Id ]
                Sign = fun data -> HMACSHA256.HashData(Encoding.ASCII.GetBytes key.PublicPem, data)
            }

        let unsigned =
            { good with
                Header = [ "alg", "none"; "typ", "JWT" ]
                Sign = fun _ -> [||]
            }

        let otherClaims = (issuer.Token [ "everything" ]).Text.Split('.')[1]
        let impostor = SigningKey.Rsa(key.Id, key.Algorithm)

        [
            "expired", good.With([ "exp", box (inSeconds -120L) ]).Text, "expired"
            "not valid yet", good.With([ "nbf", box (inSeconds 120L) ]).Text, "not valid yet"
            "without expiry", good.Without("exp").Text, "no expiry"
            "of another issuer", good.With([ "iss", "https://elsewhere.example" ]).Text, "another issuer"
            "for another audience", good.With([ "aud", box [ "others" ] ]).Text, "another audience"
            "without audience", good.Without("aud").Text, "another audience"
            "alg none", unsigned.Text, "algorithm"
            "alg none, in capitals", unsigned.WithHeader([ "alg", "NONE" ]).Text, "algorithm"
            "HS256 with the public key", hmac.Text, "algorithm"
            "signed by an impostor with the same key id", issuer.TokenBy(impostor, permissions).Text, "signature"
            "truncated", good.Text.Substring(0, good.Text.Length - 12), "signature"
            "without signature", $"{dots[0]}.{dots[1]}.", "signature"
            "with other claims than were signed", $"{dots[0]}.{otherClaims}.{dots[2]}", "signature"
            "with an extension that must be understood",
            good.WithHeader([ "crit", box [ "x" ]; "x", box 1 ]).Text,
            "malformed"
            "of a type for another purpose", good.WithHeader([ "typ", "logout+jwt" ]).Text, "malformed"
            "of no type of token", good.WithHeader([ "typ", "JOSE" ]).Text, "malformed"
            "encrypted in form", $"{good.Text}.e30.e30", "malformed"
            "no token at all", "open sesame", "malformed"
            "three dots' worth of nothing", "..", "malformed"
            "JSON of another kind", "W10.W10.W10", "malformed"
        ]
