namespace Kedge.Domain.Discovery

open System

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
        /// Empty without a name.
        Name: string
        Port: int
        /// ValueNone = the same number as `Port`.
        TargetPort: TargetPort voption
        /// `TCP`, `UDP` or `SCTP`.
        Protocol: string
    }

/// The parts of a Kubernetes service that discovery reads. Nothing in it is validated yet.
type Service =
    {
        Namespace: string
        Name: string
        /// Distinguishes a service from an earlier one of the same name. Empty = unknown.
        Uid: string
        /// `DateTimeOffset.MaxValue` when unknown: such a service counts as the youngest.
        Created: DateTimeOffset
        Labels: Map<string, string>
        Annotations: Map<string, string>
        /// `spec.type`; empty = `ClusterIP`.
        Type: string
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

    /// Whether `left` is certainly older than `right`. Versions are decimal numbers without leading zeros. Others
    /// cannot be compared: then the one that arrives later counts as newer.
    let isOlder (left: string) (right: string) =
        let isNumber (text: string) = text <> "" && text |> Seq.forall Char.IsAsciiDigit

        isNumber left
        && isNumber right
        && (left.Length < right.Length
            || left.Length = right.Length && String.CompareOrdinal(left, right) < 0)
