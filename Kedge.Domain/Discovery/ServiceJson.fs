namespace Kedge.Domain.Discovery

open System
open System.Text.Json

/// Reads Kubernetes services from the API server's JSON.
[<RequireQualifiedAccess>]
module ServiceJson =

    let private readPort (element: JsonElement) : ServicePort =
        let number name = LenientJson.tryField name element |> ValueOption.bind LenientJson.number

        {
            Name = LenientJson.text "name" element
            Port = number "port" |> ValueOption.defaultValue 0
            TargetPort =
                match LenientJson.tryField "targetPort" element with
                | ValueSome value ->
                    match LenientJson.asText value with
                    | ValueSome name -> ValueSome(TargetName name)
                    | ValueNone -> LenientJson.number value |> ValueOption.map TargetNumber
                | ValueNone -> ValueNone
            Protocol =
                match LenientJson.text "protocol" element with
                | "" -> "TCP"
                | protocol -> protocol
        }

    let private readObject (prefix: string) (element: JsonElement) : Service voption =
        match LenientJson.tryField "metadata" element with
        | ValueSome metadata when LenientJson.text "name" metadata <> "" ->
            let ours (key: string) = key.StartsWith(prefix, StringComparison.Ordinal)

            let spec = LenientJson.tryField "spec" element

            ValueSome
                {
                    Namespace = LenientJson.text "namespace" metadata
                    Name = LenientJson.text "name" metadata
                    Uid = LenientJson.text "uid" metadata
                    Created =
                        match LenientJson.tryField "creationTimestamp" metadata with
                        | ValueSome value when value.ValueKind = JsonValueKind.String ->
                            match value.TryGetDateTimeOffset() with
                            | true, time -> time.ToUniversalTime()
                            | _ -> DateTimeOffset.MaxValue
                        | _ -> DateTimeOffset.MaxValue
                    Labels = LenientJson.texts ours "labels" metadata
                    Annotations = LenientJson.texts ours "annotations" metadata
                    Type = spec |> ValueOption.map (LenientJson.text "type") |> ValueOption.defaultValue ""
                    Ports =
                        match spec with
                        | ValueSome spec -> LenientJson.items "ports" spec |> List.map readPort
                        | ValueNone -> []
                    ResourceVersion = LenientJson.text "resourceVersion" metadata
                }
        | _ -> ValueNone

    /// Reads a `v1/Service`. Keeps only the labels and annotations that start with `prefix`: the others can be large
    /// and mean nothing to discovery. ValueNone when it is not an object with a name. Never throws.
    let read (prefix: string) (element: JsonElement) : Service voption = LenientJson.guarded (readObject prefix) element

    /// The same for C#: null when it is not a service.
    [<CompiledName "TryRead">]
    let tryRead (prefix: string) (element: JsonElement) : Service | null =
        match read prefix element with
        | ValueSome service -> service
        | ValueNone -> null
