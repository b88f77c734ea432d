{{/* The server's container: flags, environment, ports, probes, security. */}}

{{/* "true" or "": whether gRPC is served. */}}
{{- define "model-server.grpc" -}}
{{- if kindIs "invalid" .Values.server.grpc }}{{ eq .Values.mode "standard" | ternary "true" "" }}{{ else }}{{ .Values.server.grpc | ternary "true" "" }}{{ end -}}
{{- end -}}

{{/* Failures of the startup probe: enough for the server's own timeout and 30 s for the process around it. */}}
{{- define "model-server.startupFailures" -}}
{{- $probe := .Values.probes.startup -}}
{{- $needed := add .Values.server.startupTimeoutSeconds 30 -}}
{{- if kindIs "invalid" $probe.failureThreshold }}{{ div (sub (add $needed $probe.periodSeconds) 1) $probe.periodSeconds }}{{ else }}{{ $probe.failureThreshold | int }}{{ end -}}
{{- end -}}

{{/* Seconds from the container's start until the kubelet gives up on it. */}}
{{- define "model-server.startupBudget" -}}
{{- add .Values.probes.startup.initialDelaySeconds (mul (include "model-server.startupFailures" . | int) .Values.probes.startup.periodSeconds) -}}
{{- end -}}

{{/* Seconds that an orderly shutdown may need. */}}
{{- define "model-server.shutdownSeconds" -}}
{{- add .Values.server.preStopSleepSeconds .Values.server.shutdownGraceSeconds -}}
{{- end -}}

{{- define "model-server.terminationGrace" -}}
{{- if kindIs "invalid" .Values.server.terminationGracePeriodSeconds }}{{ add (include "model-server.shutdownSeconds" .) 10 }}{{ else }}{{ .Values.server.terminationGracePeriodSeconds | int }}{{ end -}}
{{- end -}}

{{- define "model-server.args" -}}
- --model_name={{ .Values.model.name }}
- --model_dir=/mnt/models
- --http_port={{ .Values.server.httpPort | int }}
- --enable_grpc={{ include "model-server.grpc" . | default "false" }}
{{- if include "model-server.grpc" . }}
- --grpc_port={{ .Values.server.grpcPort | int }}
{{- end }}
- --startup_timeout_s={{ .Values.server.startupTimeoutSeconds | int }}
- --shutdown_grace_s={{ .Values.server.shutdownGraceSeconds | int }}
- --log_level={{ .Values.server.logLevel }}
- --enable_latency_logging={{ .Values.server.requestLog }}
- --enable_docs_url={{ .Values.server.apiPages }}
- --v1_output={{ .Values.server.v1Output }}
- --workers={{ .Values.server.workers | int }}
- --max_body_bytes={{ .Values.server.maxBodyBytes | int64 }}
- --max_rows={{ .Values.server.maxRows | int64 }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes {root, model}; STORAGE_URI wherever the bundle is not in the image, because KServe mounts it by that. */}}
{{- define "model-server.env" -}}
{{- if ne .model.storageUri "bundled" }}
- name: STORAGE_URI
  value: {{ .model.storageUri | quote }}
{{- end }}
{{- with .model.version }}
- name: MODEL_VERSION
  value: {{ . | quote }}
{{- end }}
{{- with .model.digest }}
- name: MODEL_DIGEST
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.server.adminToken }}
{{- if or .value .existingSecret }}
- name: API_ADMIN_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "model-server.adminSecretName" $.root }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Knative takes one port only. KServe's Service maps port 80 to the first one, and the others to their own number. */}}
{{- define "model-server.ports" -}}
- name: http1
  containerPort: {{ .Values.server.httpPort | int }}
  protocol: TCP
{{- if include "model-server.grpc" . }}
- name: grpc
  containerPort: {{ .Values.server.grpcPort | int }}
  protocol: TCP
{{- end }}
{{- end -}}

{{- define "model-server.probes" -}}
startupProbe:
  httpGet:
    path: /v2/models/{{ .Values.model.name }}/ready
    port: {{ .Values.server.httpPort | int }}
  {{- with .Values.probes.startup }}
  initialDelaySeconds: {{ .initialDelaySeconds | int }}
  periodSeconds: {{ .periodSeconds | int }}
  timeoutSeconds: {{ .timeoutSeconds | int }}
  {{- end }}
  failureThreshold: {{ include "model-server.startupFailures" . }}
readinessProbe:
  httpGet:
    path: /v2/models/{{ .Values.model.name }}/ready
    port: {{ .Values.server.httpPort | int }}
  {{- with .Values.probes.readiness }}
  periodSeconds: {{ .periodSeconds | int }}
  timeoutSeconds: {{ .timeoutSeconds | int }}
  failureThreshold: {{ .failureThreshold | int }}
  {{- end }}
livenessProbe:
  httpGet:
    path: /v2/health/live
    port: {{ .Values.server.httpPort | int }}
  {{- with .Values.probes.liveness }}
  periodSeconds: {{ .periodSeconds | int }}
  timeoutSeconds: {{ .timeoutSeconds | int }}
  failureThreshold: {{ .failureThreshold | int }}
  {{- end }}
{{- end -}}

{{/* All that Pod Security 'restricted' asks for, on the container: Knative lets no pod-level context through. */}}
{{- define "model-server.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop:
    - ALL
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- if not (kindIs "invalid" .Values.security.runAsUser) }}
runAsUser: {{ .Values.security.runAsUser | int64 }}
{{- end }}
{{- if not (kindIs "invalid" .Values.security.runAsGroup) }}
runAsGroup: {{ .Values.security.runAsGroup | int64 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Takes {root, image, model}: the stable predictor's container and a canary's differ in these alone. */}}
{{- define "model-server.container" -}}
name: kserve-container
image: {{ include "model-server.image" .image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  {{- include "model-server.args" .root | nindent 2 }}
{{- with include "model-server.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .root.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- include "model-server.ports" .root | nindent 2 }}
{{ include "model-server.probes" .root }}
resources:
  {{- toYaml .root.Values.resources | nindent 2 }}
securityContext:
  {{- include "model-server.securityContext" .root | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if eq .root.Values.mode "standard" }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ .root.Values.server.preStopSleepSeconds | int }}
{{- end }}
{{- end -}}

{{/* Ports that requests come in by. In Knative mode queue-proxy is in front: HTTP/1, HTTP/2, TLS, health, its metrics. */}}
{{- define "model-server.openPorts" -}}
- port: {{ .Values.server.httpPort | int }}
  protocol: TCP
{{- if include "model-server.grpc" . }}
- port: {{ .Values.server.grpcPort | int }}
  protocol: TCP
{{- end }}
{{- if eq .Values.mode "knative" }}
{{- range list 8012 8013 8112 8022 9090 9091 }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}
{{- end -}}
