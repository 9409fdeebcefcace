namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The mirrors of a route in reports.
[<RequireQualifiedAccess>]
module internal MirrorText =

    /// What the mirrors get of one request, as far as the request shows it: lines of `kedge explain`. `isKnown` says
    /// whether the pool has a backend with a name.
    let lines (isKnown: string -> bool) (outcome: Outcome) (salt: string) (request: Request) : string list =
        let method =
            match request with
            | Http request -> request.Method
            | Grpc _ -> "POST"

        let key =
            match outcome.Action with
            | Splits split -> split.Key
            | _ -> None

        let share (mirror: RouteMirror) =
            let name = mirror.Backend

            if not (isKnown name) then
                $"no copy to {name}, which is not in the backend pool"
            elif not (mirror.Allows method) then
                $"no copy to {name}: {method} is not a safe method"
            elif mirror.Percent = 0 then
                $"no copy to {name}, which gets 0 %%"
            elif mirror.Percent = 100 then
                $"a copy to {name}"
            else
                match key |> Option.map (fun key -> SplitText.keyOf key request) with
                | Some(Some(text, hash)) ->
                    let what =
                        if MirrorChoice(mirror, salt).ByKey hash then
                            "a copy"
                        else
                            "no copy"

                    $"{what} to {name}, which gets {mirror.Percent} %%: by the key {Excerpt.ofText text}"
                | _ ->
                    match key with
                    | Some(SplitKey.ClientAddress | SplitKey.TokenSubject | SplitKey.ClientSan as key) ->
                        $"a copy of {mirror.Percent} %% to {name}: by the caller's {Split.KeyText key}"
                    | _ -> $"a copy of {mirror.Percent} %% to {name}: a draw for each request"

        [
            for mirror in outcome.Mirrors do
                let credentials =
                    if mirror.WithCredentials then
                        "with credentials"
                    else
                        "without credentials"

                $"mirror: {share mirror}; {credentials}, a body to {ByteSize.format (uint32 mirror.MaxBody)}"
        ]
