namespace Kedge.Domain

open Kedge.Domain.Decoded

/// Validation of `mirror`. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal MirrorRules =

    /// The largest request body that kedge keeps for mirrors, in bytes.
    let private maxBody = 1024u * 1024u

    let private mirror (checks: Checks) path (protocol: Protocol) (own: string list) (mirror: Mirror) : RouteMirror =
        let namePath = Field "backend_name" :: path

        if mirror.BackendName = "" then
            checks.Report(path, Missing "backend_name")
        else
            checks.Require(namePath, NameRule.backend, mirror.BackendName, NameRule.isBackend mirror.BackendName)

        if List.contains mirror.BackendName own then
            checks.Malformed(
                namePath,
                "mirror-of-itself: must not be a backend that gets the requests themselves",
                mirror.BackendName
            )

        mirror.Percent
        |> Option.iter (fun value -> checks.InRange(Field "percent" :: path, NumberRange.percent, value))

        match mirror.MaxBody with
        | Some size when size > maxBody ->
            let allowed = $"0B to {ByteSize.format maxBody}"
            checks.Report(Field "max_body" :: path, OutOfRange(allowed, Excerpt.quote (ByteSize.format size)))
        | _ -> ()

        if protocol.IsGrpc && not mirror.UnsafeMethods then
            let rule =
                "must be true: each gRPC call is a POST, and kedge cannot know whether it may be processed twice"

            checks.Report(Field "unsafe_methods" :: path, Malformed(rule, "false"))

        {
            Backend = mirror.BackendName
            Percent = int (Option.defaultValue 100u mirror.Percent)
            MaxBody = int (min maxBody (Option.defaultValue (64u * 1024u) mirror.MaxBody))
            UnsafeMethods = mirror.UnsafeMethods
            WithCredentials = mirror.WithCredentials
        }

    /// `own` are the backends that the route forwards to.
    let validate (checks: Checks) path protocol (own: string list) (mirrors: Mirror list) : RouteMirror list =
        let list = Field "mirror" :: path

        if not mirrors.IsEmpty && own.IsEmpty then
            checks.Report(list, Malformed("must be omitted: the route forwards no request", "mirror"))

        checks.Unique(list, "backend_name", mirrors |> Seq.map _.BackendName)

        if mirrors.Length > RouteMirror.Most then
            checks.Report(list, OutOfRange($"at most {RouteMirror.Most} mirrors", string mirrors.Length))

        mirrors
        |> List.mapi (fun i entry -> mirror checks (Step.Index i :: list) protocol own entry)
