{{/* The name of the objects: the release's, which should say what it is. */}}
{{- define "kedge.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "kedge.selector" -}}
app.kubernetes.io/name: kedge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kedge.labels" -}}
{{ include "kedge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "kedge.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "kedge.name" .) }}
{{- end -}}

{{- define "kedge.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The flags that the chart sets itself. Giving one of them in `flags` would give it twice. */}}
{{- define "kedge.flags" -}}
{{- $own := dict
      "server_tls_cert_file" "/etc/kedge/tls/tls.crt"
      "server_tls_key_file" "/etc/kedge/tls/tls.key"
      "kedge_config_director_config_path" "/etc/kedge/config/director.json"
      "kedge_config_backendpool_config_path" "/etc/kedge/config/backendpool.json" -}}
{{- if .Values.discovery.enabled -}}
{{- $_ := set $own "kedge_dynamic_routings_enabled" true -}}
{{- $_ := set $own "discovery_external_domain_suffix"
      (required "discovery.externalDomainSuffix is needed with discovery: the domain that services get names below, such as ext.example.com" .Values.discovery.externalDomainSuffix) -}}
{{- end -}}
{{- with .Values.tls.secretNamespaces -}}
{{- $_ := set $own "server_tls_secret_namespaces" (join "," .) -}}
{{- end -}}
{{- range $name, $value := .Values.flags -}}
{{- if hasKey $own $name -}}
{{- fail (printf "flags.%s: the chart sets this flag; use the values tls, director, backendpool and discovery instead" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $own }}
- --{{ $name }}{{ if not (eq (toString $value) "true") }}={{ $value }}{{ end }}
{{- end }}
{{- range $name, $value := .Values.flags }}
- {{ if kindIs "bool" $value }}{{ printf "--%s=%t" $name $value | quote }}{{ else }}{{ printf "--%s=%v" $name $value | quote }}{{ end }}
{{- end }}
{{- end -}}
