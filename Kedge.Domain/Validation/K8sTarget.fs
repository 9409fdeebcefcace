namespace Kedge.Domain

open System
open System.Globalization

/// The port of a Kubernetes target. See docs/configuration.md.
type K8sPort =
    /// None was given: the service must have a single port.
    | OnlyPort
    /// 1 to 65535: the number of a service port or target port.
    | PortNumber of uint16
    /// The name of a service port or target port.
    | PortName of string

/// What `dns_port_name` of a Kubernetes backend means.
type K8sTarget =
    {
        Service: string
        Namespace: string
        Port: K8sPort
    }

[<RequireQualifiedAccess>]
module K8sTarget =

    [<Literal>]
    let private DefaultNamespace = "default"

    let private parsePort (text: string) =
        if text <> "" && String.forall Char.IsAsciiDigit text then
            match UInt16.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
            | true, port when port > 0us -> Ok(PortNumber port)
            | _ -> Error "a target whose port number is 1 to 65535"
        elif KubernetesName.isLabel text then
            Ok(PortName text)
        else
            Error "a target whose port after the `:` is a number, or a name of a-z, 0-9 and `-`"

    /// Reads `<service>[.<namespace>][.<any suffix>][:<port name or number>]`; the suffix (`svc.cluster.local`)
    /// has no meaning. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<K8sTarget, string> =
        let colon = text.IndexOf ':'
        let name = if colon < 0 then text else text.Substring(0, colon)
        let labels = name.Split '.'

        let port =
            if colon < 0 then
                Ok OnlyPort
            else
                parsePort (text.Substring(colon + 1))

        if not (Array.forall KubernetesName.isLabel labels) then
            Error "`<service>[.<namespace>][.<suffix>][:<port>]`, each part of a-z, 0-9 and `-`"
        else
            port
            |> Result.map (fun port ->
                {
                    Service = labels[0]
                    Namespace = if labels.Length > 1 then labels[1] else DefaultNamespace
                    Port = port
                })
