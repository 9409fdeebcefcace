namespace Kedge.Domain

open System
open System.Collections.Generic

/// Why a server does not use a certificate.
type CertificateFault =
    /// The key next to it belongs to another certificate.
    | WrongKey
    | Expired
    /// The certificate, its key or both are missing or not valid.
    | Unusable
    /// Nothing is known about it: the named file or directory does not exist on this machine.
    | Absent

/// A certificate that a server with the same flags would not use.
type RejectedCertificate =
    {
        Source: string
        Fault: CertificateFault
        Problem: string
    }

/// What `kedge check` reports about the certificates of the TLS listeners.
[<AbstractClass; Sealed>]
type CertificateFindings private () =

    /// The same as for the alert in misc/deploy and the warning in the server's log.
    static let soon = TimeSpan.FromDays 14.0

    static let finding severity kind source message =
        let location =
            {
                File = source
                Line = 0
                Column = 0
                Path = []
            }

        Finding(severity, kind, location, message, [])

    static let letters = [ for c in 'a' .. 'z' -> string c ]

    /// A host name one label below `parent` that no route or certificate names. For the longest names there may be
    /// none.
    static let unnamedBelow (isNamed: string -> bool) (labels: string list) (parent: string) =
        Seq.append labels (Seq.init 10_000 (fun i -> $"a{i}"))
        |> Seq.map (fun label -> $"{label}.{parent}")
        |> Seq.tryFind (fun host -> host.Length <= HostName.MaxLength && not (isNamed host))

    static let isAddress (host: string) = HostName.isIPv4 (host.AsSpan()) || host.Contains ':'

    /// The hosts that show whether all hosts of a route have a certificate: if any host has none, one of these has
    /// none. Which routes take an unnamed host of a wildcard depends only on the earlier wildcards, which are the same
    /// for all such hosts.
    static let hostsOf isNamed (host: HostMatcher) =
        match host with
        | AnyHost -> []
        | ExactHost host -> if isAddress host then [] else [ host ]
        | HostBelow parent ->
            [
                yield! Option.toList (unnamedBelow isNamed letters parent)

                yield!
                    unnamedBelow isNamed (List.tail letters) parent
                    |> Option.bind (unnamedBelow isNamed letters)
                    |> Option.toList
            ]

    static let withoutCertificate
        (configuration: Configuration)
        (certificates: ServerCertificates)
        (semantics: RouteSemantics<'route, 'request>)
        =
        let list = CheckedList.Routes(configuration, semantics.Protocol)
        let routes = semantics.Routes configuration.Director
        let conditions = routes |> Array.map semantics.Conditions
        let space = lazy (RouteSemantics.space semantics conditions)
        let winner = lazy (semantics.Winner routes)

        // The names that a route or a certificate distinguishes from others.
        let named =
            lazy
                (let names = HashSet<string>()

                 for c in conditions do
                     match c.Host with
                     | ExactHost name
                     | HostBelow name -> names.Add name |> ignore
                     | AnyHost -> ()

                 for certificate in Seq.append (Option.toList certificates.Fallback) certificates.Named do
                     for name in certificate.Facts.Names do
                         names.Add(
                             (if name.StartsWith("*.", StringComparison.Ordinal) then
                                  name.Substring 2
                              else
                                  name)
                                 .ToLowerInvariant()
                         )
                         |> ignore

                 names)

        let witness route host =
            ServedHosts.Reverse conditions[route]
            |> Option.bind (fun own ->
                space.Value.Representatives { own with Host = ExactHost host }
                |> Seq.map semantics.Request
                |> Seq.tryFind (fun request -> winner.Value request = route))
            |> Option.map (semantics.Wrap >> RequestText.render)

        let consequence =
            match certificates.Fallback with
            | _ when not certificates.IsComplete -> "if none does that is not known here, it gets the default one"
            | _ when certificates.IsStrict -> "its handshakes are refused"
            | Some fallback -> $"it gets the default one, {fallback.Source}"
            | None -> "it gets the default one"

        // With one certificate for the whole process, callers reach internal names through its name on purpose.
        let hasNamed = certificates.IsStrict || not (Seq.isEmpty certificates.Named)

        let severity =
            if certificates.IsComplete && hasNamed then
                Severity.Warning
            else
                Severity.Info

        let field =
            match semantics.Protocol with
            | Protocol.Http -> "host_matcher"
            | Protocol.Grpc -> "authority_host_matcher"

        let reported = HashSet<HostMatcher>()

        [
            for route in 0 .. routes.Length - 1 do
                let host = conditions[route].Host

                if not (reported.Contains host) then
                    let hosts = hostsOf (fun name -> named.Value.Contains name) host

                    match List.tryFind (certificates.Covers >> not) hosts with
                    | None -> ()
                    | Some name ->
                        match witness route name with
                        | None -> ()
                        | Some witness ->
                            reported.Add host |> ignore

                            let covered =
                                match host with
                                | HostBelow _ when name <> hosts.Head ->
                                    $"the certificate for {host.Text} covers one label only; "
                                | _ -> ""

                            list.Finding(
                                severity,
                                "host-without-certificate",
                                route,
                                [ Field field ],
                                $"{covered}no certificate names {name}: {consequence}",
                                [ witness ]
                            )
        ]

    /// Whether the configuration takes requests for a name for which the certificate is chosen.
    static let serves (hosts: ServedHosts) (certificates: ServerCertificates) index =
        let has name = certificates.Find name = index && hosts.Takes name

        (Seq.item index certificates.Named).Facts.Names
        |> List.exists (fun name ->
            let name = name.ToLowerInvariant()

            if name.StartsWith("*.", StringComparison.Ordinal) then
                let parent = name.Substring 2

                (certificates.FindBelow parent = index && hosts.TakesMostBelow parent)
                || hosts.OneLabelBelow parent |> List.exists has
            else
                has name)

    static let unused (configuration: Configuration) (certificates: ServerCertificates) =
        let hosts = lazy (ServedHosts.Of configuration)

        [
            for index, certificate in Seq.indexed certificates.Named do
                let report message = finding Severity.Warning "certificate-unused" certificate.Source message

                if certificate.Facts.Names.IsEmpty then
                    report "it has no DNS name, so it is never chosen"
                elif not (certificates.IsUsed index) then
                    report "other certificates are used for all of its names"
                elif not (serves hosts.Value certificates index) then
                    let names = String.Join(", ", certificate.Facts.Names)
                    report $"no route takes requests for its names: {names}"
        ]

    static let expiring (certificates: ServerCertificates) =
        [
            for certificate in Seq.append (Option.toList certificates.Fallback) certificates.Named do
                let left = certificate.Facts.NotAfter - certificates.Now

                if left < TimeSpan.Zero then
                    finding
                        Severity.Warning
                        "certificate-expires"
                        certificate.Source
                        $"it expired on {certificate.Until}"
                elif left < soon then
                    let days = int left.TotalDays

                    let days =
                        match days with
                        | 0 -> "in less than a day"
                        | 1 -> "in 1 day"
                        | _ -> $"in {days} days"

                    finding
                        Severity.Warning
                        "certificate-expires"
                        certificate.Source
                        $"it expires on {certificate.Until}, {days}"
        ]

    static let ofRejected (rejected: RejectedCertificate) =
        let severity, kind =
            match rejected.Fault with
            | WrongKey -> Severity.Error, "certificate-key-mismatch"
            | Unusable -> Severity.Error, "certificate-invalid"
            | Expired -> Severity.Warning, "certificate-expires"
            | Absent -> Severity.Info, "certificate-unknown"

        finding severity kind rejected.Source rejected.Problem

    /// `certificate-key-mismatch`, `certificate-invalid`, `certificate-unknown` and `certificate-expires` for
    /// certificates; `host-without-certificate` for the first route of each host, with a request that reaches the route
    /// and whose name no certificate has; `certificate-unused` for certificates that are not chosen for the name of any
    /// request that a route or an ad-hoc rule takes.
    static member Findings
        (configuration: Configuration, certificates: ServerCertificates, rejected: RejectedCertificate seq)
        : IReadOnlyList<Finding> =
        [|
            yield! Seq.map ofRejected rejected
            yield! withoutCertificate configuration certificates RouteSemantics.http
            yield! withoutCertificate configuration certificates RouteSemantics.grpc
            yield! unused configuration certificates
            yield! expiring certificates
        |]
