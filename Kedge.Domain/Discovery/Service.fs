namespace Kedge.Domain.Discovery

open System
open System.Text.Json

[<Struct>]
type ServiceKey =
    {
        Namespace: string
        Name: string
    }

    /// `namespace/name`
    override key.ToString() = key.Namespace + "/" + key.Name

/// `spec.ports[].targetPort`: the port of the pod.
type TargetPort =
    | TargetNumber of number: int
    | TargetName of name: string

type ServicePort =
    {
        /// Empty when it has none.
        Name: string
        Port: int
        /// ValueNone = the same number as `Port`.
        TargetPort: TargetPort voption
        /// `TCP`, `UDP` or `SCTP`.
        Protocol: string
    }

/// What discovery reads of a Kubernetes service. Nothing here is checked yet.
type Service =
    {
        Namespace: string
        Name: string
        /// Tells a service from an earlier one of the same name. Empty = not known.
        Uid: string
        /// `DateTimeOffset.MaxValue` when it is not known: such a service is the youngest.
        Created: DateTimeOffset
        Labels: Map<string, string>
        Annotations: Map<string, string>
        Ports: ServicePort list
        ResourceVersion: string
    }

    member service.Key: ServiceKey =
        {
            Namespace = service.Namespace
            Name = service.Name
        }

/// Versions of objects, as the API server numbers them.
[<RequireQualifiedAccess>]
module ResourceVersion =

    /// Whether `left` is certainly older than `right`. Versions are decimal numbers without leading zeros; of others
    /// nothing is known, and what comes later counts as newer.
    let isOlder (left: string) (right: string) =
        let isNumber (text: string) = text <> "" && text |> Seq.forall Char.IsAsciiDigit

        isNumber left
        && isNumber right
        && (left.Length < right.Length
            || left.Length = right.Length && String.CompareOrdinal(left, right) < 0)

/// Reading the API server's JSON leniently: what has another type than expected counts as absent.
module internal Json =

    let tryField (name: string) (element: JsonElement) : JsonElement voption =
        let mutable value = Unchecked.defaultof<JsonElement>

        if
            element.ValueKind = JsonValueKind.Object
            && element.TryGetProperty(name, &value)
            && value.ValueKind <> JsonValueKind.Null
        then
            ValueSome value
        else
            ValueNone

    /// ValueNone when it is no text.
    let asText (element: JsonElement) : string voption =
        if element.ValueKind = JsonValueKind.String then
            match element.GetString() with
            | null -> ValueNone
            | text -> ValueSome text
        else
            ValueNone

    /// Empty when there is no such text.
    let text (name: string) (element: JsonElement) : string =
        tryField name element |> ValueOption.bind asText |> ValueOption.defaultValue ""

    let number (element: JsonElement) : int voption =
        let mutable value = 0

        if element.ValueKind = JsonValueKind.Number && element.TryGetInt32(&value) then
            ValueSome value
        else
            ValueNone

    let flag (name: string) (element: JsonElement) : bool voption =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.True -> ValueSome true
        | ValueSome value when value.ValueKind = JsonValueKind.False -> ValueSome false
        | _ -> ValueNone

    /// Empty when there is no such array.
    let items (name: string) (element: JsonElement) : JsonElement list =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.Array -> List.ofSeq (value.EnumerateArray())
        | _ -> []

    /// The entries of an object of texts whose keys are kept.
    let texts (keep: string -> bool) (name: string) (element: JsonElement) : Map<string, string> =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.Object ->
            (Map.empty, value.EnumerateObject())
            ||> Seq.fold (fun map entry ->
                match asText entry.Value with
                | ValueSome text when keep entry.Name -> map.Add(entry.Name, text)
                | _ -> map)
        | _ -> Map.empty

    /// Runs a reader. JSON can hold half of a surrogate pair, at which `JsonElement` throws: ValueNone then.
    let guarded (read: JsonElement -> 'value voption) (element: JsonElement) : 'value voption =
        try
            read element
        with :? InvalidOperationException ->
            ValueNone

[<RequireQualifiedAccess>]
module ServiceJson =

    let private readPort (element: JsonElement) : ServicePort =
        let number name = Json.tryField name element |> ValueOption.bind Json.number

        {
            Name = Json.text "name" element
            Port = number "port" |> ValueOption.defaultValue 0
            TargetPort =
                match Json.tryField "targetPort" element with
                | ValueSome value ->
                    match Json.asText value with
                    | ValueSome name -> ValueSome(TargetName name)
                    | ValueNone -> Json.number value |> ValueOption.map TargetNumber
                | ValueNone -> ValueNone
            Protocol =
                match Json.text "protocol" element with
                | "" -> "TCP"
                | protocol -> protocol
        }

    let private readObject (prefix: string) (element: JsonElement) : Service voption =
        match Json.tryField "metadata" element with
        | ValueSome metadata when Json.text "name" metadata <> "" ->
            let ours (key: string) = key.StartsWith(prefix, StringComparison.Ordinal)

            let spec = Json.tryField "spec" element

            ValueSome
                {
                    Namespace = Json.text "namespace" metadata
                    Name = Json.text "name" metadata
                    Uid = Json.text "uid" metadata
                    Created =
                        match Json.tryField "creationTimestamp" metadata with
                        | ValueSome value when value.ValueKind = JsonValueKind.String ->
                            match value.TryGetDateTimeOffset() with
                            | true, time -> time.ToUniversalTime()
                            | _ -> DateTimeOffset.MaxValue
                        | _ -> DateTimeOffset.MaxValue
                    Labels = Json.texts ours "labels" metadata
                    Annotations = Json.texts ours "annotations" metadata
                    Ports =
                        match spec with
                        | ValueSome spec -> Json.items "ports" spec |> List.map readPort
                        | ValueNone -> []
                    ResourceVersion = Json.text "resourceVersion" metadata
                }
        | _ -> ValueNone

    /// Reads a `v1/Service`. Of its labels and annotations only those that start with `prefix` are kept: others can be
    /// large and say nothing to discovery. ValueNone when it is no object with a name. Never throws.
    let read (prefix: string) (element: JsonElement) : Service voption = Json.guarded (readObject prefix) element

    /// The same for C#: null when it is no service.
    [<CompiledName "TryRead">]
    let tryRead (prefix: string) (element: JsonElement) : Service | null =
        match read prefix element with
        | ValueSome service -> service
        | ValueNone -> null
