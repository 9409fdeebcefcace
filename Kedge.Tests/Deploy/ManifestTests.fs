/// The manifests of misc/deploy, as `kubectl` makes them: they are what the API's types say, and fit together, kedge and the
/// words of docs/kubernetes.md.
module Kedge.Tests.Deploy.ManifestTests

open System
open System.Collections.Generic
open System.IO
open System.Text
open System.Text.RegularExpressions
open Expecto
open k8s
open k8s.Models
open Kedge.Domain
open Kedge.Tests.Core
open Kedge.Tests.EndToEnd
open Kedge.Tests.Harness

let private folders = [ "misc/deploy/base"; "misc/deploy/overlays/example" ]

let private rendered =
    folders
    |> List.map (fun folder ->
        folder,
        lazy
            (task {
                let! outcome = Shell.run $"kubectl kustomize {folder}"
                Expect.equal outcome.Code 0 $"kubectl kustomize, of kubectl 1.22 or later: {outcome.Errors}"
                Expect.equal outcome.Errors "" "no warning"
                // Strictly: a field that the type does not have is an error.
                return List.ofSeq (KubernetesYaml.LoadAllFromString(outcome.Output, null, true))
            }))
    |> Map

let private all<'kind> (objects: obj list) = objects |> List.choose (tryUnbox<'kind>)
let private one<'kind> (objects: obj list) = List.exactlyOne (all<'kind> objects)

let private container (objects: obj list) = Seq.exactlyOne (one<V1Deployment> objects).Spec.Template.Spec.Containers

let private holds (selector: IDictionary<string, string>) (labels: IDictionary<string, string>) =
    selector.Count > 0
    && selector
       |> Seq.forall (fun entry -> labels.ContainsKey entry.Key && labels[entry.Key] = entry.Value)

/// The value of an argument `--name=value`.
let private argument (objects: obj list) (name: string) =
    (container objects).Args
    |> Seq.pick (fun argument ->
        if argument.StartsWith($"--{name}=", StringComparison.Ordinal) then
            Some(argument.Substring(name.Length + 3))
        else
            None)

let private inBoth name (check: obj list -> unit) =
    [
        for folder in folders do
            case $"{name} ({folder})" (fun () ->
                task {
                    let! objects = rendered[folder].Value
                    check objects
                })
    ]

[<Tests>]
let tests =
    testList
        "manifests"
        [
            yield!
                inBoth "every object is of its kind, none is missing, all are in the namespace" (fun objects ->
                    let kinds =
                        objects |> List.map (fun o -> (o :?> IKubernetesObject).Kind) |> List.sort

                    Expect.equal
                        kinds
                        [
                            "ClusterRole"
                            "ClusterRoleBinding"
                            "ConfigMap"
                            "Deployment"
                            "HorizontalPodAutoscaler"
                            "Namespace"
                            "NetworkPolicy"
                            "PodDisruptionBudget"
                            "Service"
                            "ServiceAccount"
                        ]
                        "kinds"

                    let space = (one<V1Namespace> objects).Metadata.Name

                    for each in all<IMetadata<V1ObjectMeta>> objects do
                        match each with
                        | :? V1Namespace
                        | :? V1ClusterRole
                        | :? V1ClusterRoleBinding -> ()
                        | other -> Expect.equal other.Metadata.NamespaceProperty space other.Metadata.Name

                    let binding = one<V1ClusterRoleBinding> objects
                    let subject = Seq.exactlyOne binding.Subjects
                    Expect.equal (subject.Name, subject.NamespaceProperty) ("kedge", space) "who is bound"
                    Expect.equal binding.RoleRef.Name (one<V1ClusterRole> objects).Metadata.Name "to what"
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec

                    Expect.equal
                        pod.ServiceAccountName
                        (one<V1ServiceAccount> objects).Metadata.Name
                        "and runs the pod")

            yield!
                inBoth "selectors hold for the pods" (fun objects ->
                    let deployment = one<V1Deployment> objects
                    let labels = deployment.Spec.Template.Metadata.Labels

                    for selector in
                        [
                            deployment.Spec.Selector.MatchLabels
                            (one<V1Service> objects).Spec.Selector
                            (one<V1PodDisruptionBudget> objects).Spec.Selector.MatchLabels
                            (one<V1NetworkPolicy> objects).Spec.PodSelector.MatchLabels
                            yield!
                                deployment.Spec.Template.Spec.TopologySpreadConstraints
                                |> Seq.map _.LabelSelector.MatchLabels
                        ] do
                        Expect.isTrue (holds selector labels) "a selector"

                    let target = (one<V1HorizontalPodAutoscaler> objects).Spec.ScaleTargetRef
                    Expect.equal (target.Kind, target.Name) ("Deployment", deployment.Metadata.Name) "who is scaled")

            yield!
                inBoth "ports are those that kedge listens on" (fun objects ->
                    let container = container objects
                    let ports = [ for port in container.Ports -> port.Name, port.ContainerPort ]
                    Expect.equal ports [ "https", 8443; "grpctls", 8444; "debug", 8080 ] "the defaults of the flags"
                    let names = List.map fst ports

                    for port in (one<V1Service> objects).Spec.Ports do
                        Expect.contains names (string port.TargetPort) port.Name

                    for probe in [ container.ReadinessProbe; container.LivenessProbe ] do
                        Expect.equal (string probe.HttpGet.Port) "debug" "where the probes go")

            yield!
                inBoth "flags, mounts and configuration fit together" (fun objects ->
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec
                    let container = container objects
                    let config = one<V1ConfigMap> objects

                    let volumeOf (file: string) =
                        let folder = Path.GetDirectoryName file

                        let mount =
                            container.VolumeMounts |> Seq.find (fun mount -> mount.MountPath = folder)

                        Expect.isNull mount.SubPath "a file mounted alone never changes"
                        pod.Volumes |> Seq.find (fun volume -> volume.Name = mount.Name)

                    for flag in [ "kedge_config_director_config_path"; "kedge_config_backendpool_config_path" ] do
                        let file = argument objects flag
                        Expect.equal (volumeOf file).ConfigMap.Name config.Metadata.Name flag
                        Expect.isTrue (config.Data.ContainsKey(string (Path.GetFileName file))) $"{flag}: {file}"

                    for flag, key in [ "server_tls_cert_file", "tls.crt"; "server_tls_key_file", "tls.key" ] do
                        let file = argument objects flag
                        Expect.equal (volumeOf file).Secret.SecretName "kedge-tls" flag
                        // What a secret of the type kubernetes.io/tls has.
                        Expect.equal (Path.GetFileName file) key flag

                    let bytes (key: string) = ReadOnlyMemory(Encoding.UTF8.GetBytes config.Data[key])
                    Expect.isOk (ConfigFile.loadDirector "director.json" (bytes "director.json")) "the routes"

                    Expect.isOk
                        (ConfigFile.loadBackendPool "backendpool.json" (bytes "backendpool.json"))
                        "the backends")

            yield!
                inBoth "the pod has time to drain" (fun objects ->
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec
                    let delay = (argument objects "server_sigterm_delay").TrimEnd 's' |> int64
                    Expect.isGreaterThan delay 0L "load balancers have time to notice"
                    // The default of --server_sigterm_timeout.
                    Expect.isGreaterThan
                        (pod.TerminationGracePeriodSeconds.GetValueOrDefault())
                        (delay + 40L)
                        "seconds"

                    // The image has no shell and no other program.
                    Expect.isNull (container objects).Lifecycle "no command that the image does not have"
                    Expect.isNull (container objects).Command "kedge is what runs")

            yield!
                inBoth "the role may list and watch what kedge watches, and nothing else" (fun objects ->
                    let rules =
                        [
                            for rule in (one<V1ClusterRole> objects).Rules do
                                for group in rule.ApiGroups do
                                    for resource in rule.Resources do
                                        $"{group}/{resource}", List.sort (List.ofSeq rule.Verbs)
                        ]

                    Expect.equal
                        (List.sort rules)
                        [
                            "/services", [ "list"; "watch" ]
                            "discovery.k8s.io/endpointslices", [ "list"; "watch" ]
                        ]
                        "rules")

            yield!
                inBoth "outgoing connections reach the cluster and HTTPS, but no metadata service" (fun objects ->
                    let policy = (one<V1NetworkPolicy> objects).Spec
                    Expect.equal (List.ofSeq policy.PolicyTypes) [ "Ingress"; "Egress" ] "both directions"

                    let blocks =
                        [
                            for rule in policy.Egress do
                                for peer in rule.To do
                                    if not (isNull peer.IpBlock) then
                                        peer.IpBlock,
                                        rule.Ports |> Seq.map (fun port -> string port.Port) |> List.ofSeq
                        ]

                    for block, ports in blocks do
                        Expect.isNonEmpty ports $"{block.Cidr}: ports"

                    let cut =
                        blocks
                        |> List.collect (fun (block, _) ->
                            match block.Except with
                            | null -> []
                            | cut -> List.ofSeq cut)

                    for metadata in [ "169.254.0.0/16"; "fd00:ec2::/32" ] do
                        Expect.contains cut metadata "cut out"

                    Expect.exists
                        policy.Egress
                        (fun rule ->
                            rule.To
                            |> Seq.exists (fun peer ->
                                not (isNull peer.NamespaceSelector)
                                && isNull peer.NamespaceSelector.MatchLabels
                                && isNull rule.Ports))
                        "pods of every namespace, on every port")

            yield!
                inBoth "the namespace admits restricted pods only, and the pod is one" (fun objects ->
                    let labels = (one<V1Namespace> objects).Metadata.Labels
                    Expect.equal labels["pod-security.kubernetes.io/enforce"] "restricted" "the label"
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec
                    let context = (container objects).SecurityContext
                    Expect.isTrue (pod.SecurityContext.RunAsNonRoot.GetValueOrDefault()) "not as root"
                    Expect.equal pod.SecurityContext.SeccompProfile.Type "RuntimeDefault" "seccomp"
                    Expect.isFalse (context.AllowPrivilegeEscalation.GetValueOrDefault true) "no escalation"
                    Expect.equal (List.ofSeq context.Capabilities.Drop) [ "ALL" ] "capabilities"
                    Expect.isTrue (isNull context.Capabilities.Add) "and none is added")

            yield!
                inBoth "the pod has a token of the API server exactly with discovery" (fun objects ->
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec

                    let discovers =
                        (container objects).Args |> Seq.contains "--kedge_dynamic_routings_enabled"

                    Expect.equal pod.AutomountServiceAccountToken (Nullable discovers) "the pod"

                    Expect.equal
                        (one<V1ServiceAccount> objects).AutomountServiceAccountToken
                        (Nullable false)
                        "the account's other pods")

            case "kedge takes the flags, and answers the probes" (fun () ->
                task {
                    let! help = Shell.run "kedge --help"

                    for folder in folders do
                        let! objects = rendered[folder].Value

                        for argument in (container objects).Args do
                            let flag = argument.Split('=')[0]
                            Expect.isMatch help.Output $@"(?m)^\s+{flag}(=|$)" $"{folder}: {argument}"

                        for probe in [ (container objects).ReadinessProbe; (container objects).LivenessProbe ] do
                            let path = probe.HttpGet.Path
                            use! answer = DebugPort.send Stage.kedge.Value Net.Http.HttpMethod.Get path ""
                            Expect.equal (int answer.StatusCode) 200 path
                })

            test "the image is built as CI builds, and exposes the ports of the flags" {
                let text = File.ReadAllText(SourceTree.path "Dockerfile")
                let ci = File.ReadAllText(SourceTree.path ".ci/run")
                let publish = Regex.Match(text, @"RUN (dotnet publish .*) -o /app").Groups[1].Value
                Expect.stringContains ci $"""must {publish.Replace("-a $TARGETARCH", "-r linux-x64")} """ "the command"
                let restore = Regex.Match(text, @"RUN (dotnet restore .*)").Groups[1].Value
                Expect.stringContains ci $"must {restore}\n" "and its restore"
                Expect.stringContains restore "--locked-mode" "packages of the lock files"
                Expect.stringContains publish "--no-restore" "and no others"
                Expect.isMatch text "(?m)^COPY --from=build /app /app$" "its outcome"
                Expect.isMatch text "(?m)^ENTRYPOINT \\[\"/app/kedge\"\\]$" "is what runs"
                Expect.isMatch text "(?m)^EXPOSE 8443 8444 8080$" "ports"
                let project = File.ReadAllText(SourceTree.path "Kedge.Host/Kedge.Host.csproj")
                Expect.stringContains project "<ContainerPort Include=\"8443;8444;8080\"" "those of the SDK's image"
            }

            case "the images are chiselled, for both architectures, and their user is the pod's" (fun () ->
                task {
                    let! objects = rendered["misc/deploy/base"].Value
                    let pod = (one<V1Deployment> objects).Spec.Template.Spec

                    let names =
                        [
                            "ContainerBaseImage"
                            "ContainerUser"
                            "RuntimeIdentifiers"
                            "InvariantGlobalization"
                        ]

                    for project, program in [ "Kedge.Host", "kedge"; "Kedge.Winch", "winch" ] do
                        let! outcome =
                            Shell.run (
                                $"dotnet msbuild {project}/{project}.csproj -getItem:ContainerAppCommand "
                                + String.Join(' ', [ for name in names -> $"-getProperty:{name}" ])
                            )

                        Expect.equal outcome.Code 0 $"{project}: {outcome.Output}{outcome.Errors}"
                        use json = Json.JsonDocument.Parse outcome.Output

                        let property (name: string) =
                            string (json.RootElement.GetProperty("Properties").GetProperty name)

                        let commands =
                            json.RootElement.GetProperty("Items").GetProperty("ContainerAppCommand").EnumerateArray()

                        let command = Seq.exactlyOne commands
                        Expect.equal (string (command.GetProperty "Identity")) $"/app/{program}" "what runs"
                        let image = property "ContainerBaseImage"
                        Expect.stringEnds image "-chiseled" project
                        let dockerfile = File.ReadAllText(SourceTree.path "Dockerfile")
                        Expect.stringContains dockerfile $"ARG RUNTIME={image}\n" "the Dockerfile has the same"
                        Expect.equal (property "RuntimeIdentifiers") "linux-x64;linux-arm64" project
                        let user = pod.SecurityContext.RunAsUser.GetValueOrDefault()
                        Expect.equal (property "ContainerUser") (string user) "by number"
                        // Such an image has no ICU.
                        Expect.equal (property "InvariantGlobalization") "true" project
                })

            case "the commands of docs/kubernetes.md name what is there" (fun () ->
                task {
                    let! objects = rendered["misc/deploy/overlays/example"].Value
                    let text = File.ReadAllText(SourceTree.path "docs/kubernetes.md")

                    let named pattern =
                        let found = [ for found in Regex.Matches(text, pattern) -> found.Groups[1].Value ]
                        Expect.isNonEmpty found pattern
                        List.distinct found

                    let space = (one<V1Namespace> objects).Metadata.Name
                    Expect.equal (named @"kubectl -n (\S+)") [ space ] "the namespace"
                    Expect.equal (named @"create namespace (\S+)") [ space ] "the namespace that is made"

                    Expect.equal
                        (named @"deployment/(\S+?)[`\s]")
                        [ (one<V1Deployment> objects).Metadata.Name ]
                        "deployment"

                    Expect.equal
                        (named @"-n \S+ get service (\S+)")
                        [ (one<V1Service> objects).Metadata.Name ]
                        "service"

                    Expect.equal (named @"create secret tls (\S+)") [ "kedge-tls" ] "the secret that is mounted"
                    Expect.equal (named @"apply -k (\S+)") [ "misc/deploy/overlays/example" ] "the overlay"
                })
        ]
