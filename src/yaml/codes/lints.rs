//! The pages of lints, W03xx: why each is a trap, what to write, and whose rule it is.
//!
//! W0301 to W0319: KEDA. W0320 to W0339: what is scaled on. W0340 on: an HPA's behavior. W0350 on: Knative. W0360 on: pods
//! and the room for them. W0380 on: schedules. W0390 on: gates. The rules themselves are `scenario/lint/`.

use super::{Code, code};

/// A page: the trap, what not to write, what to write, and where the rule comes from.
macro_rules! lint {
    ($code:literal, $title:literal, $trap:literal, $not:literal, $but:literal, $source:literal) => {
        code(
            $code,
            $title,
            concat!($trap, "\n\n    instead of  ", $not, "\n    write       ", $but, "\n\nSource: ", $source),
        )
    };
}

/// All of them, in order.
pub(super) const LINTS: &[Code] = &[
    lint!(
        "W0301",
        "a query with a value per pod",
        "KEDA's prometheus scaler takes one value. A query that is not aggregated answers with one for each pod: it \
         works as long as there is one replica and fails with two (`returned multiple elements`). The HPA then has no \
         metric and stays where it is, or the fallback stands in: the first step up is the last, in the middle of the \
         first rise.",
        "query: vllm:num_requests_waiting",
        "query: sum(vllm:num_requests_waiting)",
        "kedacore/keda pkg/scalers/prometheus_scaler.go `ExecutePromQuery` (8b4f083c)."
    ),
    lint!(
        "W0302",
        "a query that answers with a scalar",
        "Prometheus answers `scalar(..)`, `time()` and plain arithmetic with a scalar. KEDA decodes vectors only, so \
         every read of such a trigger fails.",
        "query: scalar(sum(vllm:num_requests_waiting))",
        "query: sum(vllm:num_requests_waiting)",
        "kedacore/keda pkg/scalers/prometheus_scaler.go (8b4f083c): the answer's `result` is read as a list of series."
    ),
    lint!(
        "W0303",
        "settings of sleep without sleep",
        "`cooldownPeriod`, `initialCooldownPeriod` and the activation thresholds decide one thing: when the target goes \
         to zero (or to `idleReplicaCount`) and when it wakes up. With a minReplicaCount above 0 they do nothing. \
         `cooldownPeriod` is often taken for the delay of a scale-down; from N to N-1 the HPA decides, with its own \
         stabilization window, 300 s by default.",
        "cooldownPeriod: 360   # minReplicaCount: 1",
        "advanced: { horizontalPodAutoscalerConfig: { behavior: { scaleDown: { stabilizationWindowSeconds: 360 } } } }",
        "kedacore/keda pkg/scaling/executor/scale_scaledobjects.go (8b4f083c)."
    ),
    lint!(
        "W0304",
        "a cooldown shorter than a start",
        "A target that sleeps after `cooldownPeriod` without load pays a whole start for the next request. Where a start \
         takes longer than the cooldown, most of the GPU time of sparse traffic goes into starts, and every pause makes \
         somebody wait for minutes. The start is estimated from the profile: the medians of its stages and the probe, \
         without a node.",
        "cooldownPeriod: 300   # a start takes 420 s",
        "cooldownPeriod: 1800",
        "kedacore/keda pkg/scaling/executor/scale_scaledobjects.go (8b4f083c)."
    ),
    lint!(
        "W0305",
        "a polling interval that speeds up nothing",
        "`pollingInterval` is the period of the operator's loop, which decides between zero and one. From one replica on, \
         the HPA asks KEDA every 15 s, and each time KEDA runs the query, whatever the polling interval is (unless \
         `useCachedMetrics` is set). A shorter one does not add replicas sooner; it does let failures count faster \
         towards a fallback.",
        "pollingInterval: 5   # minReplicaCount: 1",
        "a shorter scrape interval, or a shorter range in the query",
        "kedacore/keda pkg/scaling/scale_handler.go `GetScaledObjectMetrics` (8b4f083c)."
    ),
    lint!(
        "W0306",
        "metrics from the last poll",
        "With `useCachedMetrics` the HPA gets what the operator's last poll found. With a `pollingInterval` above the \
         HPA's period of 15 s it decides several times on the same value, and a rise is seen up to a poll later.",
        "useCachedMetrics: true   # pollingInterval: 60",
        "useCachedMetrics: true   # pollingInterval: 15",
        "kedacore/keda pkg/scaling/scale_handler.go (8b4f083c)."
    ),
    lint!(
        "W0307",
        "a hole between cron windows",
        "A window of a cron trigger holds its start and not its end: with `end: 59 23 * * *` it is over at 23:59:00, and \
         a window from midnight on leaves a minute in which nothing asks for replicas. What bridges the hole is a \
         cooldown or a scale-down window that is longer; with neither, replicas go and are started again.",
        "end: 59 23 * * *",
        "end: 0 0 * * *",
        "kedacore/keda pkg/scalers/cron_scaler.go (8b4f083c): active unless the next start comes before the next end."
    ),
    lint!(
        "W0308",
        "a cron window that changes nothing",
        "A cron trigger is one metric among others: the HPA takes the highest proposal and holds it between minReplicas \
         and maxReplicas. A window that asks for no more than the minimum, or for more than the maximum, does not do what \
         it says.",
        "desiredReplicas: \"12\"   # maxReplicaCount: 10",
        "desiredReplicas: \"10\"",
        "kedacore/keda pkg/scalers/cron_scaler.go, controllers/keda/hpa.go (8b4f083c)."
    ),
    lint!(
        "W0309",
        "a fallback that is off",
        "With scaling modifiers, KEDA computes the fallback's value from their target, and only if that is a whole number \
         above 0. With any other it says nothing, counts no failures, and passes each failure on to the HPA.",
        "scalingModifiers: { formula: \"waiting + running / 4\", target: \"2.5\" }",
        "scalingModifiers: { formula: \"2 * waiting + running / 2\", target: \"5\" }",
        "kedacore/keda pkg/fallback/fallback.go (8b4f083c)."
    ),
    lint!(
        "W0310",
        "a fallback outside of the bounds",
        "The fallback makes up the value of a metric, and the HPA treats it as any other: what it asks for is held between \
         the minimum and maxReplicaCount.",
        "fallback: { failureThreshold: 3, replicas: 20 }   # maxReplicaCount: 10",
        "fallback: { failureThreshold: 3, replicas: 10 }",
        "kedacore/keda pkg/fallback/fallback.go (8b4f083c)."
    ),
    lint!(
        "W0311",
        "a fallback that takes replicas away",
        "The behavior `static`, the default, asks for `replicas` whatever runs: when Prometheus fails at the peak, the HPA \
         scales a large fleet down to them as soon as its window allows. Both polls and the HPA's own reads count as \
         failures, about one in 10 s with the defaults, so `failureThreshold: 3` is reached in 40 s and not in 90 s.",
        "fallback: { failureThreshold: 3, replicas: 2 }",
        "fallback: { failureThreshold: 3, replicas: 2, behavior: currentReplicasIfHigher }",
        "kedacore/keda pkg/fallback/fallback.go (8b4f083c)."
    ),
    lint!(
        "W0312",
        "a fallback that missing series do not reach",
        "`ignoreNullValues` is \"true\" by default: an answer without a value counts as 0. Series go missing when scrapes \
         fail, a label changes or a metric is renamed. The fallback was written for such a day and does not stand in; \
         the HPA sees no load and scales down.",
        "metadata: { query: sum(vllm:num_requests_waiting), .. }",
        "metadata: { query: sum(vllm:num_requests_waiting), ignoreNullValues: \"false\", .. }",
        "kedacore/keda pkg/scalers/prometheus_scaler.go (8b4f083c)."
    ),
    lint!(
        "W0313",
        "never zero on CPU or memory",
        "CPU and memory are measured on running pods. An object with no other trigger counts as always active, so it \
         never goes to zero, and its HPA keeps one replica although the manifest says 0.",
        "triggers: [{ type: cpu, .. }]   # minReplicaCount: 0",
        "triggers: [{ type: cpu, .. }, { type: prometheus, .. }]",
        "kedacore/keda pkg/scaling/scale_handler.go (8b4f083c); KEDA's documentation of the CPU scaler (2.18)."
    ),
    lint!(
        "W0314",
        "an activation that leaves requests waiting",
        "At zero only the activation counts, and it must be exceeded: with a threshold of 10 and an activation of 50, a \
         value of 40 is served by nobody although the HPA would want four replicas. On a queue, an activation of 1 already \
         leaves a single request waiting until it times out.",
        "activationThreshold: \"1\"   # query: sum(gateway_queue_length)",
        "activationThreshold: \"0\"",
        "kedacore/keda pkg/scalers/prometheus_scaler.go (8b4f083c): active means above, not at."
    ),
    lint!(
        "W0315",
        "idle replicas other than 0",
        "KEDA's documentation allows no value of `idleReplicaCount` but 0: an HPA is off at zero replicas only. At any \
         other number the HPA scales to its minimum while the operator scales to the idle count.",
        "idleReplicaCount: 1   # minReplicaCount: 3",
        "idleReplicaCount: 0",
        "KEDA's ScaledObject specification (2.18), kedacore/keda issue 2314."
    ),
    lint!(
        "W0316",
        "a paused object",
        "The `autoscaling.keda.sh/paused..` annotations keep an object from scaling, wholly or in one direction. A value \
         that is no boolean, such as `no`, counts as true.",
        "autoscaling.keda.sh/paused: \"no\"",
        "autoscaling.keda.sh/paused: \"false\"",
        "kedacore/keda apis/keda/v1alpha1/scaledobject_types.go, controllers/keda/scaledobject_controller.go (8b4f083c)."
    ),
    lint!(
        "W0317",
        "a setting of a trigger that KEDA does not know",
        "The `metadata` of a trigger is text by name, and KEDA's scalers read the names that they know and no other. A name \
         with a slip in it is accepted, says nothing, and leaves the default in force: `activationTreshold` wakes the \
         service up at the first request. Names that are much like one that the trigger has are warned of; others may be of a \
         version that is not known here.",
        "ignoreNulValues: \"false\"",
        "ignoreNullValues: \"false\"",
        "kedacore/keda pkg/scalers/{prometheus,cron,cpu_memory}_scaler.go, the metadata that each reads; names of several versions."
    ),
    lint!(
        "W0320",
        "nothing wakes it up",
        "What an engine publishes is there while a pod runs. At zero replicas the query finds no series; KEDA takes that \
         for 0 and an HPA for a missing metric, and the target stays at zero while requests wait in front of it. To wake \
         up, scale on something that sees requests without pods: a gateway, a router, a queue.",
        "query: sum(vllm:num_requests_waiting)   # minReplicaCount: 0",
        "a second trigger with query: sum(gateway_queue_length)",
        "kedacore/keda pkg/scalers/prometheus_scaler.go (8b4f083c); vLLM production-stack's guide adds such a trigger."
    ),
    lint!(
        "W0321",
        "a mean against a target per replica",
        "With `AverageValue` an external or object metric is a total: replicas = ceil(value / target), and the replicas \
         there are do not matter. A p95, a mean or a maximum is no total. A p95 of 6 s against 5 s gives 2 replicas, \
         whether one runs or ten: from the third on, the metric asks to scale down while the SLO is broken. Either scale \
         on a total, or use `Value`, which multiplies the replicas there are by value / target.",
        "query: histogram_quantile(0.95, ..), threshold: \"5\"",
        "query: histogram_quantile(0.95, ..), threshold: \"5\", with metricType: Value beside metadata",
        "kubernetes pkg/controller/podautoscaler/replica_calculator.go `GetExternalPerPodMetricReplicas` (1.34)."
    ),
    lint!(
        "W0322",
        "a total against a target of the whole",
        "With `Value`, replicas = ceil(replicas x value / target). That settles where more replicas lower the value, as \
         with a latency. The requests in flight or per second of the whole service stay what they are, so above the \
         target the replicas grow to the maximum, and below it they shrink to the minimum.",
        "metricType: Value, threshold: \"100\"   # query: sum(vllm:num_requests_running)",
        "metricType: AverageValue, threshold: \"10\"   # 10 for each replica",
        "kubernetes pkg/controller/podautoscaler/replica_calculator.go `GetExternalMetricReplicas` (1.34)."
    ),
    lint!(
        "W0323",
        "a counter without a rate",
        "A counter, or a part of a histogram, holds what has happened since its process started. It rises for ever, so a \
         target is exceeded sooner or later and stays so; when a pod goes, its count goes with it.",
        "query: sum(vllm:request_success_total)",
        "query: sum(rate(vllm:request_success_total[1m]))",
        "Prometheus's documentation of metric types."
    ),
    lint!(
        "W0324",
        "a target out of reach",
        "An HPA adds replicas once the value is above the target by more than its tolerance (10 % by default). A cache \
         usage goes from 0 to 1 (although its name says `perc`), a utilization to 100, and a replica never runs more \
         requests than `--max-num-seqs`: a target at or near that end is never exceeded.",
        "averageValue: 80   # vllm:kv_cache_usage_perc",
        "averageValue: 800m",
        "kubernetes pkg/controller/podautoscaler/replica_calculator.go (1.34); vllm/v1/metrics/loggers.py."
    ),
    lint!(
        "W0325",
        "GPU utilisation as a measure of load",
        "NVIDIA's GPU utilisation is the share of time in which any kernel ran. With continuous batching one request \
         makes it nearly full and a hundred make it no fuller, so it tells busy from idle and nothing in between: a \
         target below it scales to the maximum, one above it never scales.",
        "metric: { name: DCGM_FI_DEV_GPU_UTIL }",
        "metric: { name: vllm:num_requests_waiting }",
        "NVIDIA DCGM's field reference; Google's guide to autoscaling LLM inference on GKE prefers queue and batch size."
    ),
    lint!(
        "W0326",
        "CPU or memory as a measure of load",
        "The work of an inference server is on the GPU. Its CPU feeds the engine, and takes about the same for a batch of \
         one and of many; its memory is taken at the start and kept. Neither says how many requests there are. An HPA \
         without metrics scales on CPU.",
        "resource: { name: cpu, .. }",
        "pods: { metric: { name: vllm:num_requests_waiting }, .. }",
        "kubernetes pkg/apis/autoscaling/v2/defaults.go (1.34) for the default; the profile's `cpu` section for the rest."
    ),
    lint!(
        "W0327",
        "a queue that stays empty",
        "Continuous batching takes requests into the batch until `--max-num-seqs` or the KV cache is full; only then do \
         they wait. With a large limit every answer slows down and the queue stays empty, so the SLO is long broken when \
         the autoscaler sees anything. The estimate is of decoding alone, with requests of mean length, in the batch at \
         which the busiest minute would settle on the fewest replicas.",
        "engine: { continuous: {} }   # vLLM's default of 1024 sequences",
        "engine: { continuous: { maxNumSeqs: 16 } }",
        "vllm/v1/core/sched/scheduler.py; the step times of the profile."
    ),
    lint!(
        "W0328",
        "a metric that was renamed",
        "vLLM renames metrics over three releases: deprecated, hidden, removed. A query for an older name finds nothing \
         on a newer server, and nothing counts as no load.",
        "query: sum(vllm:gpu_cache_usage_perc)",
        "query: sum(vllm:kv_cache_usage_perc)",
        "vllm-project/vllm pull requests 18354, 24110 and 29330."
    ),
    lint!(
        "W0329",
        "a range shorter than its scrapes",
        "`rate` and its like need two samples in the range; with scrapes every 15 s, `[20s]` holds one or two, by chance, \
         and answers nothing in between. Nothing counts as no load. Four scrapes are the usual range, so that one of them \
         may fail.",
        "rate(vllm:request_success_total[20s])",
        "rate(vllm:request_success_total[1m])",
        "Prometheus promql/functions.go `extrapolatedRate` (3.x)."
    ),
    lint!(
        "W0330",
        "samples older than the decisions are apart",
        "An HPA decides every 15 s. Where Prometheus scrapes every 30 s or more, or an adapter caches for longer, it \
         decides several times on one sample, and sees a rise up to that much later. The charts of kube-prometheus-stack \
         scrape every 30 s unless a ServiceMonitor says otherwise.",
        "scrapeInterval: 60s",
        "scrapeInterval: 15s",
        "kubernetes pkg/controller/podautoscaler/horizontal.go (1.34), `--horizontal-pod-autoscaler-sync-period`."
    ),
    lint!(
        "W0331",
        "a lookback shorter than the scrape interval",
        "An instant query takes the newest sample that is no older than the lookback. Where scrapes are further apart, \
         every series is gone for the rest of each interval.",
        "lookback: 10s   # scrapeInterval: 15s",
        "lookback: 5m",
        "Prometheus `--query.lookback-delta` (3.x)."
    ),
    lint!(
        "W0332",
        "a replica meant to carry more than it can",
        "Autoscalers on concurrency add replicas once the mean is above the target. Defaults are made for web servers: the \
         KPA aims at 70 % of `containerConcurrency`, or of 100 where that is 0; the HTTP add-on at 100. An engine that works \
         on fewer at a time queues the rest inside the replica, where no other can take them; one that takes them all into \
         its batch slows every answer down. The estimate is the largest batch whose decoding alone keeps the SLO's time \
         per token, or what the engine's settings and KV cache allow.",
        "containerConcurrency: 0   # the engine runs 16",
        "autoscaling.knative.dev/target: \"12\", containerConcurrency: 16",
        "knative/serving pkg/reconciler/autoscaling/resources/target.go (98e5ef90); kedacore/http-add-on (59b2f6a1)."
    ),
    lint!(
        "W0340",
        "a scale-down window shorter than a start",
        "The HPA holds its highest recommendation for the scale-down window. Where a start takes longer, a rise that is \
         over is forgotten before the replicas it ordered serve; they are the first to be deleted, since a ReplicaSet \
         deletes pods that are not ready before those that are. The next rise orders them again. The start is \
         estimated from the profile: the medians of its stages and the probe, without a node.",
        "stabilizationWindowSeconds: 60   # a start takes 420 s",
        "stabilizationWindowSeconds: 900",
        "kubernetes pkg/controller/podautoscaler/horizontal.go, pkg/controller/controller_utils.go `ActivePodsWithRanks` (1.34)."
    ),
    lint!(
        "W0341",
        "limits upwards slower than a start",
        "Starts run side by side: ten replicas ordered at once are ready after one start. A limit of one pod in two \
         minutes makes the tenth 18 minutes later than it had to be. It saves little, because what is ordered in vain can \
         be taken back.",
        "policies: [{ type: Pods, value: 1, periodSeconds: 120 }]",
        "policies: [{ type: Pods, value: 4, periodSeconds: 60 }]",
        "kubernetes pkg/controller/podautoscaler/horizontal.go `calculateScaleUpLimitWithScalingRules` (1.34)."
    ),
    lint!(
        "W0342",
        "a tolerance that is dropped",
        "`behavior.scaleUp.tolerance` and `scaleDown.tolerance` are behind the feature gate HPAConfigurableTolerance, which \
         is off by default before 1.35 (and unknown before 1.33). With the gate off the API server removes the field \
         without a word, and the controller's own tolerance of 10 % holds.",
        "behavior: { scaleUp: { tolerance: \"0.02\" } }   # Kubernetes 1.34",
        "the same, with --feature-gates=HPAConfigurableTolerance=true on the API server and the controller manager",
        "kubernetes KEP-4951; pkg/features/kube_features.go (1.33 to 1.37)."
    ),
    lint!(
        "W0351",
        "asleep sooner than it wakes up",
        "After the last request the KPA waits for the stable window (60 s) and the grace period (30 s), and then removes \
         the last pod. Where a start takes minutes, each pause longer than a minute and a half costs the next request \
         all of them.",
        "autoscaling.knative.dev/min-scale: \"0\"",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period: 30m",
        "knative/serving pkg/reconciler/autoscaling/kpa/scaler.go (98e5ef90)."
    ),
    lint!(
        "W0352",
        "a stable window shorter than a start",
        "Concurrency counts the requests that wait for a pod. While pods start, the queue grows, and with it the wanted \
         number: after two minutes of a seven-minute start, it is that of the queue and not of the traffic. As ready pods \
         stay few, the KPA is in panic mode, in which the number does not fall until a stable window has passed since the \
         last excess. The default window of 60 s is made for pods that start in seconds.",
        "autoscaling.knative.dev/window: 60s",
        "autoscaling.knative.dev/window: 480s, autoscaling.knative.dev/max-scale: \"8\"",
        "knative/serving pkg/autoscaler/scaling/autoscaler.go (98e5ef90)."
    ),
    lint!(
        "W0353",
        "a hard limit without burst capacity",
        "With `target-burst-capacity: 0` the activator is in the path at zero pods only. What exceeds \
         `containerConcurrency` then waits in the queue-proxy that it happened to reach, ten times the limit at most, and \
         is refused with 503 beyond that.",
        "autoscaling.knative.dev/target-burst-capacity: \"0\"",
        "autoscaling.knative.dev/target-burst-capacity: \"-1\"",
        "knative/serving pkg/autoscaler/scaling/autoscaler.go, pkg/queue/breaker.go (98e5ef90)."
    ),
    lint!(
        "W0354",
        "given up before it is ready",
        "A revision that is not ready within its progress deadline, 600 s by default, is marked as failed, and what was \
         being woken up from zero is scaled down again. The estimate is the 95th percentile of a start, a node's \
         provisioning and setup included where the pool can grow.",
        "no annotation   # 1 start in 20 takes 15 min",
        "serving.knative.dev/progress-deadline: 1800s",
        "knative/serving pkg/deployment/config.go, pkg/reconciler/autoscaling/kpa/scaler.go (98e5ef90)."
    ),
    lint!(
        "W0360",
        "more replicas than the pool holds",
        "Replicas beyond the pool's room stay pending. The autoscaler counts them as its own: an HPA takes them for \
         replicas to come, and whoever reads dashboards sees the number that was asked for. A ScaledObject without a \
         maximum has one of 100, a Knative revision without one has none.",
        "maxReplicas: 20   # maxNodes: 8",
        "maxReplicas: 8",
        "kubernetes pkg/controller/podautoscaler/replica_calculator.go (1.34); KEDA's and Knative's defaults."
    ),
    lint!(
        "W0361",
        "a start outside of the bounds",
        "The first decision takes the replicas to the nearer bound. The run then begins with a scaling that the traffic \
         did not ask for. At 0 replicas there is no first decision: an HPA takes its target for switched off \
         (`ScalingDisabled`) and leaves it there.",
        "initial: { replicas: 1 }   # minReplicas: 2",
        "initial: { replicas: 2 }",
        "kubernetes pkg/controller/podautoscaler/horizontal.go (1.34)."
    ),
    lint!(
        "W0362",
        "held requests that time out",
        "At zero replicas a gateway, an interceptor or an activator holds requests until a pod is ready. Where its timeout \
         is shorter than a start, the requests that wake the service up are never answered, and a client that tries again \
         meets the same. The HTTP add-on with a failover service holds for 30 s by default, and then all that wakes the \
         service up goes there.",
        "requestTimeout: 300s   # a start takes 420 s",
        "requestTimeout: 900s",
        "knative/serving `timeoutSeconds`, 300 by default; kedacore/http-add-on interceptor (59b2f6a1)."
    ),
    lint!(
        "W0363",
        "ready before it is warm",
        "A health endpoint answers when the weights are loaded. The first request then pays for compilation, autotuning \
         and graph capture, while the gateway sends more: they look like ordinary latency outliers after each scale-up. A \
         probe that sends a request waits for all of it.",
        "readiness: { after: weights }",
        "readiness: { after: warmUp }",
        "the profile's warm-up stage and its `firstRequests`."
    ),
    lint!(
        "W0364",
        "a grace period shorter than an answer",
        "A pod that is deleted may finish what it has within terminationGracePeriodSeconds, 30 by default; then it is \
         killed, and streams end in the middle. Long answers take longer than that. The estimate is the 99th percentile of \
         the output length, times the time per token in the batch at which the busiest minute would settle on the fewest \
         replicas (decoding alone).",
        "terminationGracePeriod: 30s   # 1 answer in 100 takes 70 s",
        "terminationGracePeriod: 150s",
        "kubernetes pod lifecycle (1.34): the countdown begins with the deletion and includes the preStop hook."
    ),
    lint!(
        "W0365",
        "a probe that begins late",
        "`initialDelaySeconds` is waited for by every start, the quick ones included. A readiness probe that fails while \
         the server loads does no harm, so the delay only adds to a start.",
        "readiness: { initialDelay: 10m }   # ready after 3 min",
        "readiness: { initialDelay: 0s }",
        "kubernetes pod lifecycle (1.34)."
    ),
    lint!(
        "W0366",
        "told to stop while requests still come",
        "When a pod is deleted, two things begin at once: its containers are told to stop, after the preStop hook, and \
         its endpoint is taken out of every proxy, which takes a moment (and with a cloud's load balancer many seconds). A \
         preStop sleep that is shorter than that makes each scale-down refuse requests.",
        "preStop: 0s   # endpointRemovalDelay: 5s",
        "preStop: 10s",
        "kubernetes pod lifecycle (1.34), `lifecycle.preStop.sleep`."
    ),
    lint!(
        "W0367",
        "a probe that kills starts",
        "A startup probe, or a liveness probe without one, has a container killed that does not answer in time:          `initialDelaySeconds` and `failureThreshold` periods after its start. It starts again from the beginning, the next time          after a back-off of 10 s, 20 s, up to 5 min, and a model that takes longer to load than that never serves. Where it          takes a little less, the first slow disk has all starts of a rise killed at once. The start is estimated from the          profile: the medians of its stages, without the image's pull.",
        "livenessProbe: { period: 10s, failureThreshold: 3 }   # up after 3 min",
        "startupProbe: { period: 10s, failureThreshold: 36 }",
        "kubernetes pkg/kubelet/prober/worker.go; pkg/kubelet/kubelet.go `backOffPeriod`, `MaxContainerBackOff` (1.34)."
    ),
    lint!(
        "W0368",
        "keep-warm requests that keep nothing warm",
        "A keep-warm request helps if it comes before the replica is cold. One that comes later pays the penalty itself, and \
         so does a user who comes before it. And in a scenario without cooling nothing goes cold: the requests cost time in \
         the engine and buy nothing.",
        "cooling: { after: 45s }   # keepWarm: { idleThreshold: 60s }",
        "keepWarm: { idleThreshold: 20s, period: 20s }",
        "`replica.cooling` and `replica.keepWarm` of the scenario."
    ),
    lint!(
        "W0369",
        "kept awake by its own keep-warm requests",
        "A keep-warm request goes straight to the engine's port. The engine's counters and histograms count it, and \
         dcgm-exporter sees the GPU work; the gateway, an interceptor or an activator does not see it. An autoscaler that is to \
         go to zero and reads the former finds traffic for ever: it pays for one replica, and its cooldown never ends. Gauges \
         such as vllm:num_requests_running show such a request only if they are scraped while it runs, so that the step to zero \
         comes late now and then, and is not warned of.",
        "query: sum(rate(vllm:request_success_total[2m]))",
        "query: sum(gateway_requests_in_flight)",
        "vllm/v1/metrics/loggers.py counts requests whoever sent them; `replica.keepWarm` of the scenario."
    ),
    lint!(
        "W0370",
        "replicas that are moved to save a node",
        "cluster-autoscaler drains a node whose pods hold less than half of its GPUs if they would find room on others, and Karpenter \
         consolidates nodes likewise, by default as soon as it can. Both know what pods ask for and nothing of what they do: a replica \
         that serves is deleted, its ReplicaSet makes another, and that one starts from nothing, often for longer than the node \
         would have cost anything worth speaking of.",
        "provisioner: { karpenter: {} }",
        "replica: { safeToEvict: false }",
        "cluster-autoscaler FAQ, what types of pods can prevent CA from removing a node; Karpenter, disruption, pod-level controls."
    ),
    lint!(
        "W0371",
        "ready before the server answers",
        "A container without a readiness probe counts as ready as soon as it runs. An engine that takes minutes to load refuses every \
         request until then, and a router that picks the replica with the fewest requests in flight picks the one that refuses, because \
         it never has any: each scale-up loses requests instead of helping.",
        "readiness: { after: process }",
        "readiness: { after: warmUp }",
        "Kubernetes, Configure Liveness, Readiness and Startup Probes; pkg/kubelet/prober: without a probe a container that runs is ready."
    ),
    lint!(
        "W0380",
        "a lead that a start does not fit into",
        "A schedule that knows when the traffic comes and orders at that instant is as late as an autoscaler that sees it come: by \
         a whole start, node and image included. A window's `leadTime` orders its floor or exact count that much earlier, and takes \
         nothing away until the window opens. Where a warm pool is above the schedule, its spares serve meanwhile, and nothing is \
         warned of.",
        "{ start: 30 9 * * 1-5, end: 0 16 * * 1-5, floor: 6 }",
        "{ start: 30 9 * * 1-5, end: 0 16 * * 1-5, floor: 6, leadTime: 10m }",
        "`schedule` of the scenario, and the median of the starts that it comes to."
    ),
    lint!(
        "W0381",
        "a window that orders more than the pool holds",
        "Replicas beyond the pool's room stay pending for as long as the window is open, and the hour that was planned for is short \
         of what was planned.",
        "floor: 12   # maxNodes: 8",
        "floor: 8",
        "`schedule` and `cluster.pools` of the scenario."
    ),
    lint!(
        "W0390",
        "a gate that nothing depends on",
        "What is measured is never below 0, and no share is above 1. A gate with its limit there holds for every run, or for \
         none: it guards nothing, or stops everything. Most often a `%` is missing: `slo.breach < 1` is a limit of 100 %.",
        "slo.breach < 1",
        "slo.breach < 1%",
        "`gates` of the scenario; `thawline explain metrics`."
    ),
];
