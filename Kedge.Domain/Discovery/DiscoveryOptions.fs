namespace Kedge.Domain.Discovery

open System
open Kedge.Domain

/// The values of the `discovery_*` flags, validated.
[<Sealed>]
type DiscoveryOptions private (prefix: string, suffix: string, template: string) =

    /// The placeholders that a host template may contain.
    static let placeholders = [ "{service}"; "{namespace}"; "{suffix}" ]

    /// The prefix of the names of the label and the annotations: `kedge.com/`.
    member _.Prefix = prefix
    /// The host of a generated route: `{service}.{suffix}`.
    member _.Template = template
    member _.ExposedLabel = prefix + "kedge-exposed"
    member _.HostMatcherAnnotation = prefix + "host-matcher"
    member _.ServiceNameMatcherAnnotation = prefix + "service-name-matcher"
    member _.TlsConfigAnnotation = prefix + "tls-config"

    /// The host of a service's routes unless an annotation gives another. Not every service name results in a valid
    /// host.
    member _.HostOf(key: ServiceKey) : string =
        template.Replace("{service}", key.Name).Replace("{namespace}", key.Namespace).Replace("{suffix}", suffix)

    /// The options, or everything that is wrong with them. Each error begins with the name of its flag.
    static member Create(prefix: string, suffix: string, template: string) : Result<DiscoveryOptions, string list> =
        let suffix = suffix.ToLowerInvariant()
        let template = template.ToLowerInvariant()

        let rest =
            (template, placeholders)
            ||> List.fold (fun text placeholder -> text.Replace(placeholder, "x"))

        let errors =
            [
                if not (KubernetesName.isLabelKey (prefix + "kedge-exposed")) then
                    $"discovery_label_annotation_prefix: '{prefix}kedge-exposed' is not a valid label key"

                if suffix = "" then
                    "discovery_external_domain_suffix: required with discovery"
                elif not (KubernetesName.isSubdomain suffix) then
                    $"discovery_external_domain_suffix: not a domain name ('{suffix}')"

                if rest.Contains '{' || rest.Contains '}' then
                    let known = String.Join(", ", placeholders)
                    $"discovery_host_template: only {known} may be in braces ('{template}')"
                elif not (template.Contains "{service}") then
                    $"discovery_host_template: without {{service}} all services would claim one host ('{template}')"
                elif not (KubernetesName.isSubdomain rest) then
                    $"discovery_host_template: does not make a host name ('{template}')"
            ]

        match errors with
        | [] -> Ok(DiscoveryOptions(prefix, suffix, template))
        | errors -> Error errors
