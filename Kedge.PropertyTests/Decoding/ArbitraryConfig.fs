namespace Kedge.PropertyTests

open System
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

/// Configuration files in their first shape, with arbitrary texts and numbers, as decoding yields them.
module ArbitraryConfig =

    /// All that a JSON text can carry: quotation marks, control characters, characters of up to four bytes.
    let private anyText =
        Gen.elements
            [
                "a"
                "B"
                "é"
                "\u2028"
                "𝄞"
                "\""
                "\\"
                "\n"
                "\000"
                "/"
                "*"
                ":"
                "."
                " "
                "//"
                "5s"
            ]
        |> Gen.listOf
        |> Gen.resize 6
        |> Gen.map (String.concat "")

    let private anyNumber =
        Gen.frequency
            [
                (2, Gen.elements [ 0u; 1u; 80u; 443u; 65535u; 65536u; UInt32.MaxValue ])
                (1, Gen.choose (0, Int32.MaxValue) |> Gen.map uint32)
            ]

    let private anyFlag = Gen.elements [ true; false ]
    let private few item = Gen.listOf item |> Gen.resize 3
    let private anyTexts = few anyText

    let private anyMap = few (Gen.zip anyText anyText) |> Gen.map Map.ofList

    let private anyHeaders =
        let condition =
            Gen.oneof
                [
                    Gen.map HeaderCondition.Is anyText
                    Gen.map HeaderCondition.StartsWith anyText
                    Gen.constant HeaderCondition.Present
                ]

        few (Gen.zip anyText condition) |> Gen.map Map.ofList

    let private anyDuration =
        Gen.oneof
            [
                Gen.constant TimeSpan.Zero
                Gen.choose (0, 100_000)
                |> Gen.map (fun ms -> TimeSpan.FromMilliseconds(float ms))
                Gen.choose (0, Int32.MaxValue)
                |> Gen.map (fun ticks -> TimeSpan.FromTicks(int64 ticks))
            ]

    let private anyAuthorization =
        gen {
            let! anyPerms = anyTexts
            let! allPerms = anyTexts
            let! sans = anyTexts
            let! networks = anyTexts
            let! denied = anyTexts
            let! issuers = anyTexts
            let! claims = few (Gen.zip anyText anyTexts) |> Gen.map Map.ofList
            let! anonymous = anyFlag

            return
                {
                    AnyPerms = anyPerms
                    AllPerms = allPerms
                    ClientCertSans = sans
                    ClientNetworks = networks
                    DeniedClientNetworks = denied
                    TokenIssuers = issuers
                    Claims = claims
                    Anonymous = anonymous
                }
        }

    let private anyRewrite =
        gen {
            let! prefix = Gen.optionOf anyText
            let! full = Gen.optionOf anyText
            let! host = anyText
            let! reverse = anyFlag

            return
                {
                    ReplacePrefix = prefix
                    ReplaceFull = full
                    Host = host
                    ReverseLocation = reverse
                }
        }

    let private anyHeaderChanges =
        gen {
            let! set = anyMap
            let! add = anyMap
            let! remove = anyTexts

            return
                {
                    Set = set
                    Add = add
                    Remove = remove
                }
        }

    let private anyTimeouts =
        Gen.zip anyDuration anyDuration
        |> Gen.map (fun (request, attempt) -> { Request = request; Attempt = attempt })

    let private anyRetry =
        gen {
            let! attempts = anyNumber
            let! on = anyTexts
            let! methods = Gen.elements (Enum.GetValues<RetryMethods>())
            let! maxBody = Gen.optionOf anyNumber
            let! backoff = Gen.optionOf (Gen.zip anyDuration anyDuration)

            return
                {
                    Attempts = attempts
                    On = on
                    Methods = methods
                    MaxBody = maxBody
                    Backoff = backoff |> Option.map (fun (first, longest) -> { Base = first; Max = longest })
                }
        }

    let private anyGrpcRetry =
        Gen.zip anyRetry (few (Gen.elements (Enum.GetValues<GrpcStatus>())))
        |> Gen.map (fun (retry, statuses) -> { Retry = retry; GrpcOn = statuses })

    let private anyRetryBudget =
        gen {
            let! percent = Gen.optionOf anyNumber
            let! interval = anyDuration
            let! floor = Gen.optionOf anyNumber

            return
                {
                    Percent = percent
                    Interval = interval
                    MinPerSecond = floor
                }
        }

    let private anyListener = Gen.elements (Enum.GetValues<Listener>())

    let private anyRedirect =
        gen {
            let! scheme = anyText
            let! host = anyText
            let! port = anyNumber

            let! path =
                Gen.oneof [ Gen.map ReplaceFull anyText; Gen.map ReplacePrefix anyText ]
                |> Gen.optionOf

            let! status = anyNumber
            let! stripQuery = anyFlag

            return
                ({
                    Scheme = scheme
                    Host = host
                    Port = port
                    Path = path
                    Status = status
                    StripQuery = stripQuery
                }
                : Redirect)
        }

    let private anyRespond =
        gen {
            let! status = anyNumber
            let! body = anyText
            let! file = anyText
            let! contentType = anyText
            let! headers = anyMap
            let! retryAfter = anyDuration

            return
                ({
                    Status = status
                    Body = body
                    BodyFile = file
                    ContentType = contentType
                    Headers = headers
                    RetryAfter = retryAfter
                }
                : Respond)
        }

    let private anyGrpcRespond =
        gen {
            let! status = Gen.elements (Enum.GetValues<GrpcStatus>())
            let! message = anyText

            return
                {
                    GrpcStatus = status
                    Message = message
                }
        }

    let private anyBackends =
        few (
            gen {
                let! name = anyText
                let! weight = Gen.optionOf anyNumber
                let! requestHeaders = Gen.optionOf anyHeaderChanges
                let! responseHeaders = Gen.optionOf anyHeaderChanges

                return
                    {
                        WeightedBackend.Name = name
                        Weight = weight
                        RequestHeaders = requestHeaders
                        ResponseHeaders = responseHeaders
                    }
            }
        )

    let private anyMirrors =
        few (
            gen {
                let! backend = anyText
                let! percent = Gen.optionOf anyNumber
                let! maxBody = Gen.optionOf anyNumber
                let! unsafeMethods = anyFlag
                let! withCredentials = anyFlag

                return
                    {
                        Mirror.BackendName = backend
                        Percent = percent
                        MaxBody = maxBody
                        UnsafeMethods = unsafeMethods
                        WithCredentials = withCredentials
                    }
            }
        )

    let private anySplitKey =
        Gen.oneof
            [
                Gen.map SplitKey.Cookie anyText
                Gen.map SplitKey.Header anyText
                Gen.map SplitKey.Query anyText
                Gen.elements [ SplitKey.ClientAddress; SplitKey.TokenSubject; SplitKey.ClientSan ]
            ]

    let private anyHttpRoute =
        gen {
            let! name = anyText
            let! backend = anyText
            let! backends = anyBackends
            let! splitBy = Gen.optionOf anySplitKey
            let! onUnavailable = Gen.elements (Enum.GetValues<OnUnavailable>())
            let! mirrors = anyMirrors
            let! host = anyText
            let! port = anyNumber
            let! methods = anyTexts
            let! paths = anyTexts
            let! query = anyMap
            let! headers = anyHeaders
            let! mode = Gen.elements (Enum.GetValues<ProxyMode>())
            let! rewrite = Gen.optionOf anyRewrite
            let! requestHeaders = Gen.optionOf anyHeaderChanges
            let! responseHeaders = Gen.optionOf anyHeaderChanges
            let! listener = anyListener
            let! redirect = Gen.optionOf anyRedirect
            let! respond = Gen.optionOf anyRespond
            let! timeouts = Gen.optionOf anyTimeouts
            let! retry = Gen.optionOf anyRetry
            let! autogenerated = anyFlag
            let! authorization = Gen.optionOf anyAuthorization
            let! rateLimits = anyTexts
            let! rateLimitHeaders = anyFlag

            return
                {
                    Name = name
                    BackendName = backend
                    Backends = backends
                    SplitBy = splitBy
                    OnUnavailable = onUnavailable
                    Mirror = mirrors
                    HostMatcher = host
                    PortMatcher = port
                    Methods = methods
                    PathRules = paths
                    QueryMatcher = query
                    HeaderMatcher = headers
                    ProxyMode = mode
                    Rewrite = rewrite
                    RequestHeaders = requestHeaders
                    ResponseHeaders = responseHeaders
                    Listener = listener
                    Redirect = redirect
                    Respond = respond
                    Timeouts = timeouts
                    Retry = retry
                    Autogenerated = autogenerated
                    Authorization = authorization
                    RateLimits = rateLimits
                    RateLimitHeaders = rateLimitHeaders
                }
        }

    let private anyGrpcRoute =
        gen {
            let! name = anyText
            let! backend = anyText
            let! backends = anyBackends
            let! splitBy = Gen.optionOf anySplitKey
            let! onUnavailable = Gen.elements (Enum.GetValues<OnUnavailable>())
            let! mirrors = anyMirrors
            let! service = anyText
            let! host = anyText
            let! port = anyNumber
            let! metadata = anyHeaders
            let! rewrite = Gen.optionOf anyText
            let! requestHeaders = Gen.optionOf anyHeaderChanges
            let! responseHeaders = Gen.optionOf anyHeaderChanges
            let! listener = anyListener
            let! respond = Gen.optionOf anyGrpcRespond
            let! timeouts = Gen.optionOf anyTimeouts
            let! retry = Gen.optionOf anyGrpcRetry
            let! autogenerated = anyFlag
            let! authorization = Gen.optionOf anyAuthorization
            let! rateLimits = anyTexts
            let! rateLimitHeaders = anyFlag

            return
                {
                    Name = name
                    BackendName = backend
                    Backends = backends
                    SplitBy = splitBy
                    OnUnavailable = onUnavailable
                    Mirror = mirrors
                    ServiceNameMatcher = service
                    AuthorityHostMatcher = host
                    AuthorityPortMatcher = port
                    MetadataMatcher = metadata
                    Rewrite = rewrite |> Option.map (fun host -> { GrpcRewrite.Host = host })
                    RequestHeaders = requestHeaders
                    ResponseHeaders = responseHeaders
                    Listener = listener
                    Respond = respond
                    Timeouts = timeouts
                    Retry = retry
                    Autogenerated = autogenerated
                    Authorization = authorization
                    RateLimits = rateLimits
                    RateLimitHeaders = rateLimitHeaders
                }
        }

    let private anyAdhocRule =
        let port =
            gen {
                let! standard = anyNumber
                let! allowed = few anyNumber
                let! ranges = few (Gen.zip anyNumber anyNumber)

                return
                    {
                        Default = standard
                        Allowed = allowed
                        AllowedRanges = [ for from, until in ranges -> { From = from; To = until } ]
                    }
            }

        gen {
            let! name = anyText
            let! port = Gen.optionOf port
            let! replace = Gen.optionOf (Gen.zip anyText anyText)
            let! authorization = Gen.optionOf anyAuthorization

            return
                {
                    DnsNameMatcher = name
                    Port = port
                    DnsNameReplace =
                        replace
                        |> Option.map (fun (pattern, substitution) ->
                            {
                                Pattern = pattern
                                Substitution = substitution
                            })
                    Authorization = authorization
                }
        }

    let private anyRateLimit =
        gen {
            let! name = anyText
            let! limit = anyNumber
            let! period = anyDuration
            let! burst = anyNumber
            let! key = anyTexts
            let! prefix = anyNumber
            let! missing = Gen.elements (Enum.GetValues<OnMissingKey>())
            let! maxKeys = anyNumber
            let! scale = Gen.elements (Enum.GetValues<LimitScale>())
            let! shadow = anyFlag

            return
                ({
                    Name = name
                    Limit = limit
                    Period = period
                    Burst = burst
                    Key = key
                    Ipv6Prefix = prefix
                    OnMissingKey = missing
                    MaxKeys = maxKeys
                    Scale = scale
                    Shadow = shadow
                }
                : RateLimit)
        }

    let private anyTokenIssuer =
        gen {
            let! name = anyText
            let! issuer = anyText
            let! keys = anyText
            let! audiences = anyTexts
            let! header = Gen.elements (Enum.GetValues<TokenHeader>())
            let! perms = anyText
            let! algorithms = anyTexts
            let! skew = anyDuration
            let! forward = Gen.elements (Enum.GetValues<TokenForwarding>())
            let! claims = anyMap

            return
                ({
                    Name = name
                    Issuer = issuer
                    JwksUri = keys
                    Audiences = audiences
                    Header = header
                    PermsClaim = perms
                    Algorithms = algorithms
                    ClockSkew = skew
                    Forward = forward
                    ForwardClaims = claims
                }
                : TokenIssuer)
        }

    let anyDirector =
        gen {
            let! grpcRoutes = few anyGrpcRoute
            let! grpcRules = few anyAdhocRule
            let! httpRoutes = few anyHttpRoute
            let! httpRules = few anyAdhocRule
            let! rateLimits = few anyRateLimit
            let! rateLimitHeaders = anyFlag
            let! tokenIssuers = few anyTokenIssuer

            return
                {
                    HttpRoutes = httpRoutes
                    GrpcRoutes = grpcRoutes
                    AdhocRules = { Http = httpRules; Grpc = grpcRules }
                    RateLimits = rateLimits
                    RateLimitHeaders = rateLimitHeaders
                    TokenIssuers = tokenIssuers
                }
        }

    let private anyResolver =
        Gen.oneof
            [
                Gen.map2 (fun name port -> Srv(name, port)) anyText anyNumber
                Gen.map2 (fun name port -> Host(name, port)) anyText anyNumber
                Gen.map K8s anyText
            ]

    let private anyHealthCheck =
        gen {
            let! path = anyText
            let! service = anyText
            let! interval = anyDuration
            let! timeout = anyDuration
            let! healthy = anyNumber
            let! unhealthy = anyNumber

            return
                {
                    HttpPath = path
                    GrpcService = service
                    Interval = interval
                    Timeout = timeout
                    HealthyThreshold = healthy
                    UnhealthyThreshold = unhealthy
                }
        }

    let private anyOutlierDetection =
        gen {
            let! failures = anyNumber
            let! time = anyDuration
            let! percent = anyNumber

            return
                {
                    ConsecutiveFailures = failures
                    EjectionTime = time
                    MaxEjectionPercent = percent
                }
        }

    let private anyBackend =
        gen {
            let! name = anyText
            let! balancer = Gen.elements (Enum.GetValues<Balancer>())
            let! disable = anyFlag
            let! security = Gen.optionOf (Gen.zip anyFlag anyText)
            let! interceptors = few anyFlag
            let! resolver = anyResolver
            let! autogenerated = anyFlag
            let! maxRequests = anyNumber
            let! health = Gen.optionOf anyHealthCheck
            let! outlier = Gen.optionOf anyOutlierDetection
            let! retryBudget = Gen.optionOf anyRetryBudget

            return
                {
                    Name = name
                    Balancer = balancer
                    DisableConntracking = disable
                    Security =
                        security
                        |> Option.map (fun (insecure, config) ->
                            {
                                InsecureSkipVerify = insecure
                                ConfigName = config
                            })
                    Interceptors = [ for prometheus in interceptors -> { Prometheus = prometheus } ]
                    Resolver = resolver
                    Autogenerated = autogenerated
                    MaxRequests = maxRequests
                    HealthCheck = health
                    OutlierDetection = outlier
                    RetryBudget = retryBudget
                }
        }

    let anyPool =
        let tlsConfig =
            gen {
                let! name = anyText
                let! caFiles = anyTexts
                let! serverName = anyText
                let! cert = anyText
                let! key = anyText
                let! minVersion = Gen.elements [ TlsVersion.Tls12; TlsVersion.Tls13 ]

                return
                    {
                        Name = name
                        CaFiles = caFiles
                        ServerName = serverName
                        ClientCertFile = cert
                        ClientKeyFile = key
                        MinVersion = minVersion
                    }
            }

        gen {
            let! configs = few tlsConfig
            let! grpc = few anyBackend
            let! http = few anyBackend

            return
                {
                    TlsServerConfigs = configs
                    Backends = { Http = http; Grpc = grpc }
                }
        }
