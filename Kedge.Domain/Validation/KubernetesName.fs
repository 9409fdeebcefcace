namespace Kedge.Domain

open System

/// The rules by which Kubernetes and DNS write names.
[<RequireQualifiedAccess>]
module KubernetesName =

    let private isLetterOrDigit c = Char.IsAsciiLetterLower c || Char.IsAsciiDigit c

    /// An RFC 1123 label in lower case: 1 to 63 letters, digits and inner hyphens. Names of services, namespaces and
    /// service ports are such.
    let isLabel (text: string) =
        text.Length >= 1
        && text.Length <= 63
        && isLetterOrDigit text[0]
        && isLetterOrDigit text[text.Length - 1]
        && text |> Seq.forall (fun c -> isLetterOrDigit c || c = '-')

    /// Labels with dots between them, 253 characters at most, in lower case.
    let isHostName (text: string) = text.Length <= 253 && text.Split '.' |> Array.forall isLabel

    /// An IANA service name (RFC 6335, 5.1), as a pod names its ports: a label of at most 15 characters with a letter
    /// in it and no two hyphens together. So it is never a number.
    let isPortName (text: string) =
        text.Length <= 15
        && isLabel text
        && text |> Seq.exists Char.IsAsciiLetterLower
        && not (text.Contains("--", StringComparison.Ordinal))

    /// A key of a label or annotation: a name of at most 63 characters, perhaps with a DNS name and a `/` before it.
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
        | [| domain; name |] -> isHostName domain && isName name
        | _ -> false
