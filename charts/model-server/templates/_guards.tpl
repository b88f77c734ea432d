{{/* What is refused before anything reaches a cluster: one block a topic, one `if` a rule, the way out in the text.
values.schema.json has checked types, ranges and spelling before; here stand the rules between values. */}}

{{- define "model-server.guards" -}}
{{ include "model-server.guard.image" (dict "image" .Values.image "key" "image") }}
{{ include "model-server.guard.model" (dict "model" .Values.model "key" "model") }}
{{ include "model-server.guard.names" . }}
{{ include "model-server.guard.server" . }}
{{ include "model-server.guard.probes" . }}
{{ include "model-server.guard.scaling" . }}
{{ include "model-server.guard.canary" . }}
{{ include "model-server.guard.security" . }}
{{ include "model-server.guard.monitoring" . }}
{{ include "model-server.guard.pdb" . }}
{{ include "model-server.guard.networkPolicy" . }}
{{ include "model-server.guard.scheduling" . }}
{{ include "model-server.guard.extras" . }}
{{- end -}}

{{- define "model-server.guard.image" -}}
{{- if not (or .image.tag .image.digest) }}
- {{ .key }}.tag: is empty; name a version, or better set {{ .key }}.digest
{{- end }}
{{- if and (eq (.image.tag | default "") "latest") (not .image.digest) }}
- {{ .key }}.tag: latest is another image every day; name a version, or better set {{ .key }}.digest
{{- end }}
{{- end -}}

{{- define "model-server.guard.model" -}}
{{- if not .model.name }}
- {{ .key }}.name: is empty; give the name that goes on the routes, usually the one in the bundle's manifest
{{- end }}
{{- if not (regexMatch "^(bundled$|(pvc|s3|gs|hf|hdfs|webhdfs|https?|oci|oci\\+native|git|modelscope)://.+)" .model.storageUri) }}
- {{ .key }}.storageUri: {{ ternary "has no scheme that KServe knows" "is empty" (ne .model.storageUri "") }}; give the bundle's place, such as pvc://claim/churn/1.0.0 or s3://bucket/churn/1.0.0, or bundled when the image holds it
{{- end }}
{{- end -}}

{{- define "model-server.guard.names" -}}
{{- $name := include "model-server.name" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
- nameOverride: the InferenceService would be called {{ $name }}, but KServe wants a letter first, then a-z, 0-9 and -; set nameOverride or take another release name
{{- end }}
{{- if gt (len $name) 48 }}
- nameOverride: the name {{ $name }} has {{ len $name }} characters, and KServe's labels and host names leave room for 48; set a shorter nameOverride
{{- end }}
{{- if and (eq .Values.mode "standard") (le (len $name) 48) (gt (add (len $name) (len .Release.Namespace)) 52) }}
- nameOverride: {{ $name }} and the namespace {{ .Release.Namespace }} have {{ add (len $name) (len .Release.Namespace) }} characters together, and KServe's host name in Standard mode leaves room for 52; shorten one of them
{{- end }}
{{- end -}}

{{- define "model-server.guard.server" -}}
{{- $server := .Values.server -}}
{{- if and (eq .Values.mode "knative") (eq (toString $server.grpc) "true") }}
- server.grpc: Knative lets a pod have one port, and REST has it; set server.grpc to false or null, or mode to standard
{{- end }}
{{- if and (include "model-server.grpc" .) (eq ($server.httpPort | int) ($server.grpcPort | int)) }}
- server.grpcPort: is the same as server.httpPort; give gRPC a port of its own
{{- end }}
{{- if and (eq .Values.mode "knative") (has ($server.httpPort | int) (list 8012 8013 8022 8112 9090 9091)) }}
- server.httpPort: Knative's queue-proxy listens on {{ $server.httpPort | int }} itself; take another one, such as 8080
{{- end }}
{{- if and (eq .Values.mode "knative") (not (kindIs "invalid" $server.terminationGracePeriodSeconds)) }}
- server.terminationGracePeriodSeconds: Knative refuses the field and takes scaling.timeoutSeconds instead; leave it null
{{- end }}
{{- if and (eq .Values.mode "standard") (lt (include "model-server.terminationGrace" . | int) (include "model-server.shutdownSeconds" . | int)) }}
- server.terminationGracePeriodSeconds: {{ include "model-server.terminationGrace" . }} s end before preStopSleepSeconds and shutdownGraceSeconds, {{ include "model-server.shutdownSeconds" . }} s together, are over; raise it or leave it null
{{- end }}
{{- if and $server.adminToken.value $server.adminToken.existingSecret }}
- server.adminToken: has a value and an existingSecret; keep one of them
{{- end }}
{{- end -}}

{{- define "model-server.guard.probes" -}}
{{- $budget := include "model-server.startupBudget" . | int -}}
{{- if lt $budget (.Values.server.startupTimeoutSeconds | int) }}
- probes.startup: gives up after {{ $budget }} s, before server.startupTimeoutSeconds ({{ .Values.server.startupTimeoutSeconds | int }} s) is over, so a slow start would never end; raise failureThreshold or leave it null
{{- end }}
{{- if and (eq .Values.mode "knative") (ge $budget 600) }}
- probes.startup: waits {{ $budget }} s, but Knative gives a revision up after 600 s; lower server.startupTimeoutSeconds or failureThreshold
{{- end }}
{{- end -}}

{{- define "model-server.guard.scaling" -}}
{{- $scaling := .Values.scaling -}}
{{- if and (eq .Values.mode "knative") (has $scaling.autoscaler (list "hpa" "keda")) }}
- scaling.autoscaler: {{ $scaling.autoscaler }} works in Standard mode only; set knative, or none for a fixed number of replicas
{{- end }}
{{- if and (eq .Values.mode "standard") (eq $scaling.autoscaler "knative") }}
- scaling.autoscaler: knative works in Knative mode only; set hpa, keda or none
{{- end }}
{{- if and (eq ($scaling.minReplicas | int) 0) (has $scaling.autoscaler (list "none" "hpa")) }}
- scaling.minReplicas: with autoscaler {{ $scaling.autoscaler }} nothing scales up from 0; set 1 or more
{{- end }}
{{- if and (ne $scaling.autoscaler "none") (gt ($scaling.minReplicas | int) ($scaling.maxReplicas | int)) }}
- scaling.maxReplicas: is below scaling.minReplicas; raise it
{{- end }}
{{- if and $scaling.metric (eq $scaling.autoscaler "hpa") (not (has $scaling.metric (list "cpu" "memory"))) }}
- scaling.metric: hpa knows cpu and memory; {{ $scaling.metric }} is Knative's
{{- end }}
{{- if and $scaling.metric (eq $scaling.autoscaler "knative") (not (has $scaling.metric (list "concurrency" "rps"))) }}
- scaling.metric: knative knows concurrency and rps; {{ $scaling.metric }} is hpa's
{{- end }}
{{- if and $scaling.metric (has $scaling.autoscaler (list "none" "keda")) }}
- scaling.metric: has no effect with autoscaler {{ $scaling.autoscaler }}; leave it null{{ if eq $scaling.autoscaler "keda" }} and use kedaMetrics{{ end }}
{{- end }}
{{- if and (not (kindIs "invalid" $scaling.target)) (has $scaling.autoscaler (list "none" "keda")) }}
- scaling.target: has no effect with autoscaler {{ $scaling.autoscaler }}; leave it null{{ if eq $scaling.autoscaler "keda" }} and use kedaMetrics{{ end }}
{{- end }}
{{- if and (eq $scaling.autoscaler "hpa") (gt ($scaling.target | default 1 | int) 100) }}
- scaling.target: is a percentage of the request for hpa; set 1 to 100
{{- end }}
{{- if and (eq $scaling.autoscaler "keda") (not $scaling.kedaMetrics) }}
- scaling.kedaMetrics: keda needs at least one metric; the values file has the form
{{- end }}
{{- if and (ne $scaling.autoscaler "keda") $scaling.kedaMetrics }}
- scaling.kedaMetrics: has no effect with autoscaler {{ $scaling.autoscaler }}; set autoscaler to keda or leave the list empty
{{- end }}
{{- if and $scaling.behavior (ne $scaling.autoscaler "keda") }}
- scaling.behavior: KServe gives it to KEDA alone, so it has no effect with autoscaler {{ $scaling.autoscaler }}; leave it empty
{{- end }}
{{- range $direction, $rules := $scaling.behavior }}
{{- range $rule, $_ := $rules }}
{{- if ne $rule "stabilizationWindowSeconds" }}
- scaling.behavior.{{ $direction }}.{{ $rule }}: of the behavior KServe gives KEDA the stabilizationWindowSeconds alone; leave {{ $rule }} out
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.mode "standard") (not (kindIs "invalid" $scaling.containerConcurrency)) }}
- scaling.containerConcurrency: KServe ignores it in Standard mode; leave it null
{{- end }}
{{- if and (eq .Values.mode "knative") (not (kindIs "invalid" $scaling.timeoutSeconds)) (lt ($scaling.timeoutSeconds | int) (.Values.server.shutdownGraceSeconds | int)) }}
- scaling.timeoutSeconds: Knative kills a stopping pod after {{ $scaling.timeoutSeconds | int }} s, before server.shutdownGraceSeconds ({{ .Values.server.shutdownGraceSeconds | int }} s) is over; lower that one or raise this
{{- end }}
{{- end -}}

{{- define "model-server.guard.canary" -}}
{{- $canary := .Values.canary -}}
{{- if and (eq .Values.mode "standard") (not (kindIs "invalid" $canary.trafficPercent)) }}
- canary.trafficPercent: KServe ignores canaryTrafficPercent in Standard mode and would send all requests to the new version at once; set mode to knative, or use canary.predictors
{{- end }}
{{- if and (eq .Values.mode "standard") $canary.tagRouting }}
- canary.tagRouting: KServe ignores it in Standard mode; set mode to knative or leave it false
{{- end }}
{{- if and (eq .Values.mode "knative") $canary.predictors }}
- canary.predictors: KServe takes spec.canary in Standard mode only; use canary.trafficPercent
{{- end }}
{{- if and $canary.predictors (not $canary.kserveIsNewerThan020) }}
- canary.predictors: KServe up to 0.20 starts the pods and sends them no traffic; update KServe, then set canary.kserveIsNewerThan020
{{- end }}
{{- if and $canary.predictors (ne .Values.scaling.autoscaler "none") }}
- canary.predictors: KServe leaves the canary's autoscaler behind when the canary goes; set scaling.autoscaler to none meanwhile
{{- end }}
{{- $names := list -}}
{{- $sum := 0 -}}
{{- range $i, $entry := $canary.predictors }}
{{- $key := printf "canary.predictors[%d]" $i -}}
{{- $names = append $names $entry.name -}}
{{- $sum = add $sum $entry.trafficPercent -}}
{{- include "model-server.guard.canaryEntry" (dict "root" $ "entry" $entry "key" $key) -}}
{{- end }}
{{- if ne (len $names) (len (uniq $names)) }}
- canary.predictors: two of them have one name; KServe wants different ones
{{- end }}
{{- if gt ($sum | int) 100 }}
- canary.predictors: their trafficPercent is {{ $sum }} together; 100 is all there is
{{- end }}
{{- end -}}

{{- define "model-server.guard.canaryEntry" -}}
{{- $parts := include "model-server.canaryParts" . | fromYaml -}}
{{- include "model-server.guard.image" (dict "image" $parts.image "key" (printf "%s.image" .key)) }}
{{- include "model-server.guard.model" (dict "model" (set $parts.model "name" "set") "key" (printf "%s.model" .key)) }}
{{- if and (eq (.entry.trafficPercent | int) 0) (eq (include "model-server.canaryReplicas" .entry | int) 0) }}
- {{ .key }}.minReplicas: with 0 percent and 0 replicas no pod would ever start; set 1 for a canary that is tested first
{{- end }}
{{- if gt (include "model-server.canaryReplicas" .entry | int) (.root.Values.scaling.minReplicas | int) }}
- {{ .key }}.minReplicas: KServe refuses more than the stable predictor's scaling.minReplicas ({{ .root.Values.scaling.minReplicas | int }}); raise that one or lower this
{{- end }}
{{- if gt (add (len (include "model-server.name" .root)) (len .entry.name) (len .root.Release.Namespace)) 51 }}
- {{ .key }}.name: with the InferenceService's name and the namespace it is longer than the 51 characters that KServe's host name leaves room for; shorten one of them
{{- end }}
{{- end -}}

{{- define "model-server.guard.security" -}}
{{- $account := .Values.security.serviceAccount -}}
{{- if and (not $account.create) (not $account.name) }}
- security.serviceAccount.name: is empty and none is created; name one that exists, or set create to true
{{- end }}
{{- if and (not $account.create) (or $account.secrets $account.annotations) }}
- security.serviceAccount: secrets and annotations have no effect on an account that the release does not make; set them there, or create to true
{{- end }}
{{- if and .Values.security.podSecurityContext (include "model-server.lacksFeature" (dict "root" . "feature" "kubernetes.podspec-securitycontext")) }}
- security.podSecurityContext: Knative refuses it unless its feature flag kubernetes.podspec-securitycontext is on; list that in scheduling.knativeFeatures, or leave this empty: the container's own context is complete
{{- end }}
{{- end -}}

{{- define "model-server.guard.monitoring" -}}
{{- with .Values.monitoring.podMonitor }}
{{- if and .enabled (eq .renderMode "failIfMissing") (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) }}
- monitoring.podMonitor: the cluster has no PodMonitor; install the Prometheus operator, or set renderMode to skipIfMissing or alwaysRender
{{- end }}
{{- end }}
{{- end -}}

{{- define "model-server.guard.pdb" -}}
{{- with .Values.pdb }}
{{- if and .enabled (not (kindIs "invalid" .minAvailable)) (not (kindIs "invalid" .maxUnavailable)) }}
- pdb: minAvailable and maxUnavailable exclude each other; set one of them to null
{{- end }}
{{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) }}
- pdb: needs minAvailable or maxUnavailable; set one of them
{{- end }}
{{- if and .enabled (lt ($.Values.scaling.minReplicas | int) 2) }}
- pdb: with less than two replicas a budget either says nothing or stops every node drain; raise scaling.minReplicas or leave pdb.enabled false
{{- end }}
{{- end }}
{{- end -}}

{{- define "model-server.guard.networkPolicy" -}}
{{- with .Values.networkPolicy }}
{{- if and .enabled (not .from) }}
- networkPolicy.from: an empty list of peers would let everybody in; name at least one, such as podSelector {}
{{- end }}
{{- if and .enabled (kindIs "slice" .egress) (not .egress) (not (regexMatch "^(bundled$|(pvc|oci|oci\\+native)://)" $.Values.model.storageUri)) }}
- networkPolicy.egress: is closed, but the bundle is downloaded inside the pod; allow that egress, or use pvc://, oci+native:// or bundled
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes {root, feature}: "true" where Knative would refuse what that flag allows. */}}
{{- define "model-server.lacksFeature" -}}
{{- if and (eq .root.Values.mode "knative") (not (has .feature .root.Values.scheduling.knativeFeatures)) }}true{{ end -}}
{{- end -}}

{{- define "model-server.guard.scheduling" -}}
{{- $flags := dict "nodeSelector" "nodeselector" "tolerations" "tolerations" "affinity" "affinity" "topologySpreadConstraints" "topologyspreadconstraints" "priorityClassName" "priorityclassname" -}}
{{- range $key, $flag := $flags }}
{{- $feature := printf "kubernetes.podspec-%s" $flag }}
{{- if and (index $.Values.scheduling $key) (include "model-server.lacksFeature" (dict "root" $ "feature" $feature)) }}
- scheduling.{{ $key }}: Knative refuses it unless its feature flag {{ $feature }} is on; list that in scheduling.knativeFeatures, or leave this empty
{{- end }}
{{- end }}
{{- end -}}

{{- define "model-server.guard.extras" -}}
{{- range .Values.extraArgs }}
{{- if has (regexReplaceAll "^--|=.*$" . "" | replace "-" "_") (list "model_name" "model_dir" "model_version" "model_digest" "http_port" "grpc_port" "enable_grpc" "startup_timeout_s" "shutdown_grace_s" "log_level" "enable_latency_logging" "enable_docs_url" "v1_output" "workers" "max_body_bytes" "max_rows" "api_admin_token") }}
- extraArgs: the chart sets {{ regexReplaceAll "=.*$" . "" }} itself; use the value under model or server
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if or (has .name (list "STORAGE_URI" "MODEL_NAME" "MODEL_DIR" "MODEL_URI" "MODEL_PATH" "MODEL_VERSION" "MODEL_DIGEST" "HTTP_PORT" "PORT" "GRPC_PORT" "LOG_LEVEL" "API_ADMIN_TOKEN")) }}
- extraEnv: the chart sets what {{ .name }} is for; use the value under model or server
{{- end }}
{{- if eq .name "PYTHONPATH" }}
- extraEnv: KServe's webhook refuses PYTHONPATH; build an image that has the code installed
{{- end }}
{{- end }}
{{- range $key := list "app.kubernetes.io/version" "helm.sh/chart" }}
{{- if or (hasKey $.Values.extraLabels $key) (hasKey $.Values.extraPodLabels $key) }}
- extraLabels: {{ $key }} would make every new chart version a new revision of the model; leave it out
{{- end }}
{{- end }}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" }}
{{- if hasKey $.Values.extraLabels $key }}
- extraLabels: the chart sets {{ $key }} itself; leave it out
{{- end }}
{{- end }}
{{- range $key := list "serving.kserve.io/deploymentMode" "serving.kserve.io/autoscalerClass" "serving.kserve.io/enable-tag-routing" }}
{{- if hasKey $.Values.extraAnnotations $key }}
- extraAnnotations: the chart sets {{ $key }} itself; use mode, scaling.autoscaler or canary.tagRouting
{{- end }}
{{- end }}
{{- $volumeFlags := dict "persistentVolumeClaim" "kubernetes.podspec-persistent-volume-claim" "hostPath" "kubernetes.podspec-volumes-hostpath" "csi" "kubernetes.podspec-volumes-csi" -}}
{{- range $volume := .Values.extraVolumes }}
{{- range $kind := keys (omit $volume "name" "configMap" "secret" "projected" "emptyDir") | sortAlpha }}
{{- $feature := get $volumeFlags $kind | default "none" }}
{{- if include "model-server.lacksFeature" (dict "root" $ "feature" $feature) }}
- extraVolumes: Knative takes configMap, secret, projected and emptyDir{{ if ne $feature "none" }}, and {{ $kind }} if its feature flag {{ $feature }} is on; list that in scheduling.knativeFeatures, or{{ else }};{{ end }} use one of those for {{ $volume.name }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
