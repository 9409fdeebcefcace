namespace Kedge.Domain.Discovery

open System.Text.Json

/// Reads endpoint slices from the API server's JSON.
[<RequireQualifiedAccess>]
module EndpointSliceJson =

    let private readPort (element: JsonElement) : SlicePort option =
        match LenientJson.text "protocol" element with
        | ""
        | "TCP" ->
            match LenientJson.tryField "port" element with
            | ValueNone ->
                Some
                    {
                        Name = LenientJson.text "name" element
                        Number = ValueNone
                    }
            | ValueSome value ->
                match LenientJson.number value with
                | ValueSome number when number >= 1 && number <= 65535 ->
                    Some
                        {
                            Name = LenientJson.text "name" element
                            Number = ValueSome(uint16 number)
                        }
                | _ -> None
        | _ -> None

    let private readEndpoint (element: JsonElement) : SliceEndpoint =
        let condition name =
            match LenientJson.tryField "conditions" element with
            | ValueSome conditions -> LenientJson.flag name conditions
            | ValueNone -> ValueNone

        {
            Address =
                match LenientJson.items "addresses" element with
                | first :: _ -> LenientJson.asText first |> ValueOption.defaultValue ""
                | [] -> ""
            Ready = condition "ready"
            Serving = condition "serving"
            Terminating = condition "terminating"
            Pod =
                match LenientJson.tryField "targetRef" element with
                | ValueSome target when LenientJson.text "kind" target = "Pod" ->
                    match LenientJson.text "uid" target with
                    | "" -> LenientJson.text "name" target
                    | uid -> uid
                | _ -> ""
        }

    let private readObject (element: JsonElement) : EndpointSlice voption =
        match LenientJson.tryField "metadata" element with
        | ValueSome metadata when LenientJson.text "name" metadata <> "" ->
            ValueSome
                {
                    Namespace = LenientJson.text "namespace" metadata
                    Name = LenientJson.text "name" metadata
                    Service =
                        match LenientJson.tryField "labels" metadata with
                        | ValueSome labels -> LenientJson.text EndpointSlices.ServiceLabel labels
                        | ValueNone -> ""
                    AddressType =
                        match LenientJson.text "addressType" element with
                        | "IPv4" -> IPv4
                        | "IPv6" -> IPv6
                        | _ -> OtherAddress
                    Ports = LenientJson.items "ports" element |> List.choose readPort
                    Endpoints = LenientJson.items "endpoints" element |> List.map readEndpoint
                    ResourceVersion = LenientJson.text "resourceVersion" metadata
                }
        | _ -> ValueNone

    /// Reads a `discovery.k8s.io/v1` EndpointSlice. ValueNone when it is not an object with a name. Never throws.
    let read (element: JsonElement) : EndpointSlice voption = LenientJson.guarded readObject element

    /// The same for C#: null when it is not a slice.
    let tryRead (element: JsonElement) : EndpointSlice | null =
        match read element with
        | ValueSome slice -> slice
        | ValueNone -> null
