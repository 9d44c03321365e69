{{- define "kaos.operator.name" -}}
{{ .Release.Name }}-operator
{{- end }}

{{- define "kaos.operator.selector" -}}
app.kubernetes.io/name: kaos-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kaos.operator.labels" -}}
{{ include "kaos.operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: kaos
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
