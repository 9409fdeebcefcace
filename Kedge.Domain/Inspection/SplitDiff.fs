namespace Kedge.Domain

open System
open System.Text
open Kedge.Domain.Decoded

/// What a change of weights moves.
[<RequireQualifiedAccess>]
module internal SplitDiff =

    /// The most keys that are tried for a witness.
    [<Literal>]
    let private MostKeys = 20_000

    /// The split of a route that forwards; one backend is a split without a choice. None for any other route.
    let private splitOf (info: RouteInfo) : Split option =
        match info.Action with
        | Splits split -> Some split
        | ToBackend backend ->
            Some
                {
                    Backends = [ { Name = backend; Weight = 1u } ]
                    Key = None
                    OnUnavailable = OnUnavailable.Fail
                }
        | _ -> None

    /// The request with a key, and the caller in words when the key is not in the request itself.
    let private withKey (key: SplitKey) (text: string) (request: Request) : struct (Request * string) =
        let header name value =
            match request with
            | Http request ->
                Http
                    { request with
                        Headers = request.Headers @ [ (name, value) ]
                    }
            | Grpc call ->
                Grpc
                    { call with
                        Metadata = call.Metadata @ [ (name, value) ]
                    }

        match key, request with
        | SplitKey.Header name, _ -> struct (header name text, "")
        | SplitKey.Cookie name, _ -> struct (header "cookie" $"{name}={text}", "")
        | SplitKey.Query name, Http request ->
            let parameter = QueryText.render [ (name, text) ]

            let query =
                if request.Query = "" then
                    parameter
                else
                    $"{request.Query}&{parameter}"

            struct (Http { request with Query = query }, "")
        | SplitKey.ClientAddress, _ -> struct (request, $"from {text}")
        | key, _ -> struct (request, $"{Split.KeyText key} {text}")

    let private keyText (key: SplitKey) (number: int) : string =
        match key with
        | SplitKey.ClientAddress -> $"10.0.{number / 256}.{number % 256}"
        | _ -> string number

    let private hashOf (key: SplitKey) (text: string) (request: Request) : uint64 option =
        match key with
        | SplitKey.ClientAddress
        | SplitKey.TokenSubject
        | SplitKey.ClientSan -> Some(KeyHash.ofText (text.AsSpan()))
        | key -> SplitText.keyOf key request |> Option.map snd

    /// A key whose request goes elsewhere: the request, its caller, and the backends before and after. `isTaken` says
    /// whether the routes still take a request that has a key.
    let private witness (before: SplitChoice) (after: SplitChoice) key (isTaken: Request -> bool) (request: Request) =
        Seq.init MostKeys (keyText key)
        |> Seq.tryPick (fun text ->
            let struct (request, caller) = withKey key text request

            match hashOf key text request with
            | Some hash ->
                let was = before.Split.Backends[before.ByKey(hash, 0u)].Name
                let now = after.Split.Backends[after.ByKey(hash, 0u)].Name

                if was <> now && isTaken request then
                    Some(request, caller, was, now)
                else
                    None
            | None -> None)

    /// The difference between the splits of a route before and after, if any. `request` is one that reaches the route
    /// in both configurations, if any does.
    let difference
        (entryBefore: string)
        (entryAfter: string)
        (before: RouteInfo)
        (after: RouteInfo)
        (isTaken: Request -> bool)
        (request: Request option)
        : Difference option =
        match splitOf before, splitOf after with
        | Some was, Some now when
            (was.Backends <> now.Backends
             || was.Key <> now.Key
             || (was.Key.IsSome && before.Key <> after.Key))
            ->
            // With a single backend, any key gives the same choice.
            let key =
                match was.Key, now.Key with
                | None, Some key when was.Backends.Length = 1 -> Some key
                | Some key, None when now.Backends.Length = 1 -> Some key
                | wasKey, nowKey when wasKey = nowKey -> wasKey
                | _ -> None

            let isOtherKey = key.IsNone && was.Key <> now.Key

            let hasOtherSalt =
                key.IsSome
                && before.Key <> after.Key
                && was.Backends.Length > 1
                && now.Backends.Length > 1

            let share =
                if isOtherKey || hasOtherSalt then
                    MovedShare.ofOtherDraws was now
                elif key.IsSome then
                    MovedShare.ofKeys was now
                else
                    MovedShare.ofDraws was now

            let what = if key.IsSome then "callers" else "requests"

            let reason =
                if hasOtherSalt && before.Name = "" && after.Name = "" then
                    ": a route without a name draws again when its conditions change"
                elif hasOtherSalt then
                    ": the route has another name"
                elif isOtherKey then
                    ": the key is another one"
                else
                    ""

            let moved = $"; {share.Text} of the {what} move{reason}"

            let found =
                match key, request with
                | Some key, Some request when not share.IsZero ->
                    witness (SplitChoice(was, before.Key)) (SplitChoice(now, after.Key)) key isTaken request
                | _ -> None

            match found with
            | Some(request, caller, wentTo, goesTo) ->
                let witness = RequestText.render request
                Some(Difference("weights-changed", entryBefore, entryAfter + moved, witness, wentTo, goesTo, caller))
            | None -> Some(Difference("weights-changed", entryBefore, entryAfter + moved, "", "", ""))
        | _ -> None

    /// Whether only the weights and the list of backends differ: then the difference between the splits describes the
    /// whole change of the route.
    let isAll (before: Outcome) (after: Outcome) : bool =
        match before.Action, after.Action with
        | Splits was, Splits now ->
            was.Key = now.Key
            && was.OnUnavailable = now.OnUnavailable
            && { before with Action = after.Action } = after
        | _ -> false
