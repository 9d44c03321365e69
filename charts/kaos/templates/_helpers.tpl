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
  type: {{ .Values.agent.seccompProfile }}
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
{{- with .Values.agent.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kaos.agent.volumes" -}}
- name: btf
  hostPath: {path: /sys/kernel/btf, type: Directory}
- name: tracing
  hostPath: {path: /sys/kernel/tracing, type: Directory}
- name: cgroup
  hostPath: {path: /sys/fs/cgroup, type: Directory}
{{- with .Values.agent.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Whether all taints of .node that keep Pods away are among .tolerations, as "true" or nothing. Those that Kubernetes
sets by itself pass, but for that of a node which is cordoned: a DaemonSet tolerates it, a Pod would wait there. */}}
{{- define "kaos.tolerated" -}}
{{- $tolerated := true }}
{{- range $taint := .node.spec.taints }}
{{- $passes := and (hasPrefix "node.kubernetes.io/" $taint.key) (ne $taint.key "node.kubernetes.io/unschedulable") }}
{{- $this := or $passes (eq $taint.effect "PreferNoSchedule") }}
{{- range $.tolerations }}
{{- $key := or (not .key) (eq .key $taint.key) }}
{{- $value := or (eq (.operator | default "Equal") "Exists") (eq (.value | default "") ($taint.value | default "")) }}
{{- $effect := or (not .effect) (eq .effect $taint.effect) }}
{{- if and $key $value $effect }}{{ $this = true }}{{ end }}
{{- end }}
{{- if not $this }}{{ $tolerated = false }}{{ end }}
{{- end }}
{{- if $tolerated }}true{{ end }}
{{- end }}

{{- /* Names of the nodes that the DaemonSet runs on, as they are now, as YAML. None where no cluster is asked (`helm template`),
or where `agent.affinity` says which: only the scheduler knows that. */}}
{{- define "kaos.agent.nodes" -}}
{{- $names := list }}
{{- if not .Values.agent.affinity.nodeAffinity }}
{{- range $node := (lookup "v1" "Node" "" "").items }}
{{- $labels := $node.metadata.labels | default dict }}
{{- $selected := true }}
{{- range $key, $value := $.Values.agent.nodeSelector }}
{{- if ne (get $labels $key) $value }}{{ $selected = false }}{{ end }}
{{- end }}
{{- if and $selected (include "kaos.tolerated" (dict "node" $node "tolerations" $.Values.agent.tolerations)) }}
{{- $names = append $names $node.metadata.name }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $names }}
{{- end }}
