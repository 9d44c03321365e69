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

{{- define "kaos.agent.name" -}}
{{ .Release.Name }}-node-agent
{{- end }}

{{- define "kaos.agent.selector" -}}
app.kubernetes.io/name: kaos-node-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kaos.agent.labels" -}}
{{ include "kaos.agent.selector" . }}
app.kubernetes.io/component: node-agent
app.kubernetes.io/part-of: kaos
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "kaos.agent.image" -}}
{{ .Values.agent.image.repository }}:{{ .Values.agent.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What the agent needs of the node, the same for the DaemonSet and for `helm test`. */}}
{{- define "kaos.agent.securityContext" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile:
  type: RuntimeDefault
appArmorProfile:
  type: {{ .Values.agent.appArmorProfile }}
capabilities:
  drop: [ALL]
  add:
  - BPF
  - PERFMON
  - SYS_PTRACE
  - DAC_READ_SEARCH
  - CHECKPOINT_RESTORE
  {{- if .Values.agent.sysAdmin }}
  - SYS_ADMIN
  {{- end }}
{{- end }}

{{- define "kaos.agent.volumeMounts" -}}
- {name: btf, mountPath: /sys/kernel/btf, readOnly: true}
- {name: tracing, mountPath: /sys/kernel/tracing, readOnly: true}
- {name: cgroup, mountPath: /sys/fs/cgroup, readOnly: true}
{{- end }}

{{- define "kaos.agent.volumes" -}}
- name: btf
  hostPath: {path: /sys/kernel/btf, type: Directory}
- name: tracing
  hostPath: {path: /sys/kernel/tracing, type: Directory}
- name: cgroup
  hostPath: {path: /sys/fs/cgroup, type: Directory}
{{- end }}
