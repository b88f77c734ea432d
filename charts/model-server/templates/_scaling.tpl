{{/* Replicas and what changes them. */}}

{{- define "model-server.scaling" -}}
{{- $scaling := .Values.scaling -}}
minReplicas: {{ $scaling.minReplicas | int }}
{{- if ne $scaling.autoscaler "none" }}
maxReplicas: {{ $scaling.maxReplicas | int }}
{{- else if eq .Values.mode "knative" }}
maxReplicas: {{ $scaling.minReplicas | int }}
{{- end }}
{{- if has $scaling.autoscaler (list "hpa" "knative") }}
scaleMetric: {{ $scaling.metric | default (eq $scaling.autoscaler "hpa" | ternary "cpu" "concurrency") }}
{{- end }}
{{- if not (kindIs "invalid" $scaling.target) }}
scaleTarget: {{ $scaling.target | int }}
{{- end }}
{{- with $scaling.kedaMetrics }}
autoScaling:
  metrics:
    {{- toYaml . | nindent 4 }}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if not (kindIs "invalid" $scaling.containerConcurrency) }}
containerConcurrency: {{ $scaling.containerConcurrency | int }}
{{- end }}
{{- if not (kindIs "invalid" $scaling.timeoutSeconds) }}
timeout: {{ $scaling.timeoutSeconds | int }}
{{- end }}
{{- end -}}

{{- define "model-server.scheduling" -}}
{{- with .Values.scheduling.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
