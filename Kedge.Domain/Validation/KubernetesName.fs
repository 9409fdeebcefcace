namespace Kedge.Domain

open System

/// The names of Kubernetes objects. They are stricter than the host names of requests (`HostName`).
[<RequireQualifiedAccess>]
module KubernetesName =

    let private isLetterOrDigit c = Char.IsAsciiLetterLower c || Char.IsAsciiDigit c

    /// An RFC 1123 label in lower case: 1 to 63 letters, digits and inner hyphens. The names of services, namespaces
    /// and service ports are labels.
    let isLabel (text: string) =
        text.Length >= 1
        && text.Length <= 63
        && isLetterOrDigit text[0]
        && isLetterOrDigit text[text.Length - 1]
        && text |> Seq.forall (fun c -> isLetterOrDigit c || c = '-')

    /// What Kubernetes calls a DNS subdomain: labels with dots between them, at most 253 characters.
    let isSubdomain (text: string) = text.Length <= HostName.MaxLength && text.Split '.' |> Array.forall isLabel

    /// The name of a pod's port, which is an IANA service name (RFC 6335, 5.1): a label of at most 15 characters with
    /// at least one letter and no two adjacent hyphens. So it is never a number.
    let isPortName (text: string) =
        text.Length <= 15
        && isLabel text
        && text |> Seq.exists Char.IsAsciiLetterLower
        && not (text.Contains("--", StringComparison.Ordinal))

    /// The key of a label or annotation: a name of at most 63 characters, optionally after a DNS subdomain and a `/`.
    let isLabelKey (text: string) =
        let isName (name: string) =
            name.Length >= 1
            && name.Length <= 63
            && Char.IsAsciiLetterOrDigit name[0]
            && Char.IsAsciiLetterOrDigit name[name.Length - 1]
            && name
               |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-' || c = '_' || c = '.')

        match text.Split '/' with
        | [| name |] -> isName name
        | [| domain; name |] -> isSubdomain domain && isName name
        | _ -> false
