namespace Kedge.Domain

open System
open System.Net
open System.Text
open Kedge.Domain.Decoded

/// The split of a route in reports.
[<RequireQualifiedAccess>]
module internal SplitText =

    /// The key of a request, as text and hash, where the request itself contains it; none when it has no key.
    let keyOf (key: SplitKey) (request: Request) : (string * uint64) option =
        let headers =
            match request with
            | Http request -> HeaderList request.Headers
            | Grpc call -> HeaderList call.Metadata

        let found (text: string) =
            if text = "" then
                None
            else
                Some(text, KeyHash.ofText (text.AsSpan()))

        match key, request with
        | SplitKey.Header name, _ -> headers.Values name |> List.tryHead |> Option.bind found
        | SplitKey.Cookie name, _ ->
            headers.Values "cookie"
            |> List.tryPick (fun header ->
                let struct (start, length) = RequestKey.cookie (header.AsSpan()) (name.AsSpan())
                found (header.Substring(start, length)))
        | SplitKey.Query name, Http request ->
            let struct (start, length) =
                RequestKey.query (request.Query.AsSpan()) (ReadOnlySpan(Encoding.UTF8.GetBytes name))

            if length = 0 then
                None
            else
                let value = request.Query.Substring(start, length)
                Some(QueryText.decode value, KeyHash.ofQueryValue (value.AsSpan()))
        | _ -> None

    /// `shop_next, 5 of 100`
    let chosen (choice: SplitChoice) (key: uint64) : string =
        let backend = choice.Split.Backends[choice.ByKey(key, 0u)]
        $"{backend.Name}, {backend.Weight} of {choice.Split.Total}"

    let private keyName (key: SplitKey) : string =
        match key with
        | SplitKey.Cookie name
        | SplitKey.Header name
        | SplitKey.Query name -> name
        | SplitKey.ClientAddress
        | SplitKey.TokenSubject
        | SplitKey.ClientSan -> Split.KeyText key

    /// The distribution and, as far as the request shows it, the backend that gets it: lines of `kedge explain`.
    let lines (split: Split) (salt: string) (request: Request) : string list =
        let choice = SplitChoice(split, salt)

        [
            for backend in split.Backends do
                $"split: {backend.Weight} of {split.Total} to {backend.Name}"

            match split.Key with
            | None -> "choice: a draw for each request"
            | Some(SplitKey.ClientAddress | SplitKey.TokenSubject | SplitKey.ClientSan as key) ->
                $"choice: by the caller's {Split.KeyText key}"
            | Some key ->
                match keyOf key request with
                | Some(text, hash) -> $"choice: {keyName key}={Excerpt.ofText text} -> {chosen choice hash}"
                | None -> $"choice: a draw, since the request has no {Split.KeyText key}"
        ]

    /// The header changes of single backends: lines of `kedge explain`.
    let headers (filters: Map<string, Filters>) : string list =
        let text (what: string) (changes: HeaderChange list) =
            if changes.IsEmpty then
                []
            else
                let all = changes |> List.map _.Text |> String.concat ", "
                [ $"{what}: {all}" ]

        [
            for KeyValue(name, own) in filters do
                let parts = text "request" own.RequestHeaders @ text "response" own.ResponseHeaders

                let all = String.concat "; " parts
                $"headers for {name}: {all}"
        ]

    /// The same, to be appended to where a request goes.
    let changedHeaders (filters: Map<string, Filters>) : string =
        if filters.IsEmpty then
            ", no headers of single backends"
        else
            ", " + String.concat ", " (headers filters)

    /// The address as a key.
    let addressKey (address: IPAddress) : uint64 =
        let address =
            if address.IsIPv4MappedToIPv6 then
                address.MapToIPv4()
            else
                address

        KeyHash.ofText (address.ToString().AsSpan())

    /// The backend that a caller with this address gets; None when the address does not matter.
    let ofAddress (split: Split) (salt: string) (address: IPAddress) : string option =
        if split.Key = Some SplitKey.ClientAddress then
            Some $"from {address}: {chosen (SplitChoice(split, salt)) (addressKey address)}"
        else
            None
