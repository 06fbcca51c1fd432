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

{{/* The image of operations: the operator's own unless another one is named. */}}
{{- define "paybill.operationImage" -}}
{{- with .Values.operations.image -}}
{{- if not .repository -}}
{{ include "paybill.image" $ }}
{{- else if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a selector picks the pods of operations by. */}}
{{- define "paybill.operationSelectorLabels" -}}
app.kubernetes.io/name: paybill
app.kubernetes.io/component: operation
{{- end }}

{{/* What pods of operations are made of, as the operator reads it. */}}
{{- define "paybill.operationPods" -}}
{{- $own := .Values.operations -}}
{{- $pods := dict "image" (include "paybill.operationImage" .) "imagePullPolicy" $own.image.pullPolicy -}}
{{- $_ := set $pods "imagePullSecrets" .Values.imagePullSecrets -}}
{{- $_ := set $pods "serviceAccountName" $own.serviceAccount.name -}}
{{- range $field, $value := dict "labels" "podLabels" "env" "extraEnv" "volumes" "extraVolumes" "volumeMounts" "extraVolumeMounts" -}}
{{- $_ := set $pods $field (get $own $value) -}}
{{- end -}}
{{- range $field := list "resources" "folderSize" "nodeSelector" "tolerations" "affinity" -}}
{{- $_ := set $pods $field (get $own $field) -}}
{{- end -}}
{{- with $own.priorityClassName -}}
{{- $_ := set $pods "priorityClassName" . -}}
{{- end -}}
{{- toJson $pods -}}
{{- end }}

{{/* What gateways of agents are made of, as the operator reads it. */}}
{{- define "paybill.agentGateway" -}}
{{- $own := .Values.agents.gateway -}}
{{- $pods := dict "image" (include "paybill.image" .) "imagePullPolicy" .Values.image.pullPolicy -}}
{{- $_ := set $pods "imagePullSecrets" .Values.imagePullSecrets -}}
{{- $_ := set $pods "serviceAccountName" $own.serviceAccount.name -}}
{{- $_ := set $pods "apiServerPorts" .Values.networkPolicy.apiServerPorts -}}
{{- $_ := set $pods "metricsFrom" .Values.networkPolicy.metricsFrom -}}
{{- $_ := set $pods "labels" $own.podLabels -}}
{{- range $field := list "listen" "resources" "nodeSelector" "tolerations" "affinity" -}}
{{- $_ := set $pods $field (get $own $field) -}}
{{- end -}}
{{- with $own.priorityClassName -}}
{{- $_ := set $pods "priorityClassName" . -}}
{{- end -}}
{{- toJson $pods -}}
{{- end }}

{{/* The template of those who sign up by paying, as the operator reads it. */}}
{{- define "paybill.signup" -}}
{{- if not .Values.stripe.existingSecret -}}
{{- fail "signup.plans needs stripe.existingSecret: who signs up by paying is asked of Stripe" -}}
{{- end -}}
{{- $own := deepCopy .Values.signup -}}
{{- if not $own.cell -}}
{{- $_ := unset $own "cell" -}}
{{- end -}}
{{- toJson $own -}}
{{- end }}

{{/* What selectors pick the pooler's pod by. */}}
{{- define "paybill.poolerSelectorLabels" -}}
app.kubernetes.io/name: paybill
app.kubernetes.io/component: pooler
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "paybill.poolerLabels" -}}
{{- toYaml (merge (include "paybill.poolerSelectorLabels" . | fromYaml) (include "paybill.labels" . | fromYaml)) }}
{{- end }}

{{/* What selectors pick the webhook receiver's pods by. */}}
{{- define "paybill.webhookSelectorLabels" -}}
app.kubernetes.io/name: paybill
app.kubernetes.io/component: webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "paybill.webhookLabels" -}}
{{- toYaml (merge (include "paybill.webhookSelectorLabels" . | fromYaml) (include "paybill.labels" . | fromYaml)) }}
{{- end }}
