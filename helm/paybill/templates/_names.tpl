{{/* The name of everything in the release. Fixed, as the roles that tenants are bound to are: one release per cluster. */}}
{{- define "paybill.name" -}}
paybill-operator
{{- end }}

{{/* What a selector picks the operator's pods by; a Deployment can never change it. */}}
{{- define "paybill.selectorLabels" -}}
app.kubernetes.io/name: paybill
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of an object; the user's come last and cannot replace ours. */}}
{{- define "paybill.labels" -}}
{{- $ours := include "paybill.selectorLabels" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_")) -}}
{{- toYaml (merge $ours .Values.commonLabels) }}
{{- end }}

{{/* The labels of a pod. */}}
{{- define "paybill.podLabels" -}}
{{- toYaml (merge (include "paybill.labels" . | fromYaml) .Values.podLabels) }}
{{- end }}

{{- define "paybill.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}
