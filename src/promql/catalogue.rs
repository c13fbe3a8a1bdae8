//! The metrics that real exporters publish, by their real names, and which quantity of the simulation each is.
//!
//! From it a validator tells a name that nobody publishes from one that exists and is not simulated, and the
//! simulation knows what to publish for the engine a scenario names.

use super::plan::Selector;

/// Who publishes a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exporter {
    /// vLLM's engine (vllm/v1/metrics/loggers.py, 0.33; older names as they were).
    Vllm,
    /// The router of vLLM's production-stack (src/vllm_router/services/metrics_service).
    VllmRouter,
    /// SGLang (python/sglang/srt/observability/metrics_collector.py, 0.5).
    Sglang,
    /// Text Generation Inference (router/src/server.rs, v3).
    Tgi,
    /// Triton Inference Server (docs/user_guide/metrics.md) and its TensorRT-LLM backend.
    Triton,
    /// llama.cpp's `llama-server --metrics` (tools/server/README.md).
    LlamaCpp,
    /// NVIDIA's dcgm-exporter (etc/default-counters.csv).
    Dcgm,
    /// Knative's queue-proxy (pkg/queue, docs of v1.18).
    QueueProxy,
    /// The simulated gateway in front of the replicas.
    Gateway,
    /// Prometheus itself, of every target.
    Prometheus,
}

impl Exporter {
    /// Its name, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::VllmRouter => "vLLM production-stack's router",
            Self::Sglang => "SGLang",
            Self::Tgi => "TGI",
            Self::Triton => "Triton",
            Self::LlamaCpp => "llama.cpp",
            Self::Dcgm => "dcgm-exporter",
            Self::QueueProxy => "Knative's queue-proxy",
            Self::Gateway => "the gateway",
            Self::Prometheus => "Prometheus",
        }
    }

    /// Whether each pod of the workload has its own, and not the cluster one for all.
    pub const fn is_of_pods(self) -> bool {
        !matches!(self, Self::VllmRouter | Self::Gateway)
    }
}

/// What kind of metric it is; a histogram is the series `_bucket`, `_sum` and `_count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It counts up, and starts at 0 with its process.
    Counter,
    /// Cumulative buckets by `le`.
    Histogram,
}

/// In what a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests, tokens, events.
    Count,
    /// A share, 0 to 1.
    Ratio,
    /// A share, 0 to 100.
    Percent,
    /// s.
    Seconds,
    /// ms.
    Milliseconds,
    /// us.
    Microseconds,
    /// 1/s.
    PerSecond,
    /// bytes.
    Bytes,
    /// MiB.
    Mebibytes,
}

/// A quantity that the simulation knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Sequences in the running batch.
    Running,
    /// Requests waiting in the engine.
    Waiting,
    /// Share of the KV blocks in use.
    KvUsage,
    /// Prompt tokens prefilled.
    PromptTokens,
    /// Tokens generated.
    GenerationTokens,
    /// Requests that the engine has taken.
    Arrived,
    /// Requests that ended well.
    Finished,
    /// Preemptions.
    Preemptions,
    /// Share of time in which a step was running.
    Busy,
    /// From the engine's arrival to the first token.
    TimeToFirstToken,
    /// Between two tokens of a request.
    InterTokenLatency,
    /// From the engine's arrival to the last token.
    RequestLatency,
    /// From the engine's arrival to the first step.
    QueueTime,
    /// Prompt tokens of a request.
    PromptLength,
    /// Generated tokens of a request.
    OutputLength,
    /// Requests in the replica, mean over the last second.
    Concurrency,
    /// Requests that reached the replica over the last second.
    RequestRate,
    /// Requests that the gateway holds.
    Held,
    /// Requests in the system.
    InFlight,
    /// Requests that reached the gateway.
    GatewayArrived,
    /// Requests that reached the gateway, per second since the last scrape.
    GatewayRate,
    /// Whether the last scrape succeeded.
    Up,
}

/// One metric of one exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name; of a histogram, without suffix.
    pub name: &'static str,
    /// Who publishes it.
    pub exporter: Exporter,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// What it is in the simulation; `None` where the simulation has no such thing.
    pub quantity: Option<Quantity>,
    /// Labels it has beside those of its target.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($exporter:ident $labels:expr => { $($name:literal $kind:ident $unit:ident $quantity:expr;)* })*) => {
        /// Every metric known.
        pub const METRICS: &[Metric] = &[$($(Metric {
            name: $name,
            exporter: Exporter::$exporter,
            kind: Kind::$kind,
            unit: Unit::$unit,
            quantity: $quantity,
            labels: $labels,
        },)*)*];
    };
}

use Quantity as Q;

metrics! {
    Vllm &["model_name", "engine"] => {
        "vllm:num_requests_running" Gauge Count Some(Q::Running);
        "vllm:num_requests_waiting" Gauge Count Some(Q::Waiting);
        "vllm:kv_cache_usage_perc" Gauge Ratio Some(Q::KvUsage);
        // Until 0.11 or so; manifests still have it.
        "vllm:gpu_cache_usage_perc" Gauge Ratio Some(Q::KvUsage);
        "vllm:num_preemptions_total" Counter Count Some(Q::Preemptions);
        "vllm:prompt_tokens_total" Counter Count Some(Q::PromptTokens);
        "vllm:generation_tokens_total" Counter Count Some(Q::GenerationTokens);
        "vllm:time_to_first_token_seconds" Histogram Seconds Some(Q::TimeToFirstToken);
        "vllm:inter_token_latency_seconds" Histogram Seconds Some(Q::InterTokenLatency);
        "vllm:time_per_output_token_seconds" Histogram Seconds Some(Q::InterTokenLatency);
        "vllm:e2e_request_latency_seconds" Histogram Seconds Some(Q::RequestLatency);
        "vllm:request_queue_time_seconds" Histogram Seconds Some(Q::QueueTime);
        "vllm:request_prompt_tokens" Histogram Count Some(Q::PromptLength);
        "vllm:request_generation_tokens" Histogram Count Some(Q::OutputLength);
        "vllm:request_time_per_output_token_seconds" Histogram Seconds None;
        "vllm:request_prefill_time_seconds" Histogram Seconds None;
        "vllm:request_decode_time_seconds" Histogram Seconds None;
        "vllm:request_inference_time_seconds" Histogram Seconds None;
        "vllm:iteration_tokens_total" Histogram Count None;
        "vllm:prefix_cache_queries_total" Counter Count None;
        "vllm:prefix_cache_hits_total" Counter Count None;
        "vllm:engine_sleep_state" Gauge Count None;
        "vllm:cache_config_info" Gauge Count None;
    }
    Vllm &["model_name", "engine", "finished_reason"] => {
        "vllm:request_success_total" Counter Count Some(Q::Finished);
    }
    Vllm &["model_name", "engine", "reason"] => {
        "vllm:num_requests_waiting_by_reason" Gauge Count None;
    }
    VllmRouter &["model"] => {
        "vllm:num_incoming_requests_total" Counter Count Some(Q::GatewayArrived);
    }
    VllmRouter &["server"] => {
        "vllm:current_qps" Gauge PerSecond None;
        "vllm:healthy_pods_total" Gauge Count None;
    }
    Sglang &["model_name"] => {
        "sglang:num_running_reqs" Gauge Count Some(Q::Running);
        "sglang:num_queue_reqs" Gauge Count Some(Q::Waiting);
        "sglang:token_usage" Gauge Ratio Some(Q::KvUsage);
        "sglang:num_requests_total" Counter Count Some(Q::Finished);
        "sglang:prompt_tokens_total" Counter Count Some(Q::PromptTokens);
        "sglang:generation_tokens_total" Counter Count Some(Q::GenerationTokens);
        "sglang:time_to_first_token_seconds" Histogram Seconds Some(Q::TimeToFirstToken);
        "sglang:inter_token_latency_seconds" Histogram Seconds Some(Q::InterTokenLatency);
        "sglang:e2e_request_latency_seconds" Histogram Seconds Some(Q::RequestLatency);
        "sglang:num_used_tokens" Gauge Count None;
        "sglang:gen_throughput" Gauge PerSecond None;
        "sglang:cache_hit_rate" Gauge Ratio None;
    }
    Tgi &[] => {
        "tgi_queue_size" Gauge Count Some(Q::Waiting);
        "tgi_batch_current_size" Gauge Count Some(Q::Running);
        "tgi_request_count" Counter Count Some(Q::Arrived);
        "tgi_request_success" Counter Count Some(Q::Finished);
        "tgi_request_duration" Histogram Seconds Some(Q::RequestLatency);
        "tgi_request_queue_duration" Histogram Seconds Some(Q::QueueTime);
        "tgi_request_input_length" Histogram Count Some(Q::PromptLength);
        "tgi_request_generated_tokens" Histogram Count Some(Q::OutputLength);
        "tgi_request_mean_time_per_token_duration" Histogram Seconds None;
        "tgi_request_inference_duration" Histogram Seconds None;
        "tgi_request_failure" Counter Count None;
        "tgi_batch_current_max_tokens" Gauge Count None;
    }
    Triton &["model", "version"] => {
        "nv_inference_request_success" Counter Count Some(Q::Finished);
        "nv_inference_pending_request_count" Gauge Count Some(Q::Waiting);
        "nv_inference_request_failure" Counter Count None;
        "nv_inference_count" Counter Count None;
        "nv_inference_exec_count" Counter Count None;
        "nv_inference_request_duration_us" Counter Microseconds None;
        "nv_inference_queue_duration_us" Counter Microseconds None;
        "nv_inference_compute_infer_duration_us" Counter Microseconds None;
    }
    Triton &["gpu_uuid"] => {
        "nv_gpu_utilization" Gauge Ratio Some(Q::Busy);
        "nv_gpu_memory_used_bytes" Gauge Bytes None;
        "nv_gpu_power_usage" Gauge Count None;
    }
    Triton &["model", "version", "request_type"] => {
        "nv_trt_llm_request_metrics" Gauge Count None;
    }
    Triton &["model", "version", "kv_cache_block_type"] => {
        "nv_trt_llm_kv_cache_block_metrics" Gauge Count None;
    }
    LlamaCpp &[] => {
        "llamacpp:requests_processing" Gauge Count Some(Q::Running);
        "llamacpp:requests_deferred" Gauge Count Some(Q::Waiting);
        "llamacpp:kv_cache_usage_ratio" Gauge Ratio Some(Q::KvUsage);
        "llamacpp:prompt_tokens_total" Counter Count Some(Q::PromptTokens);
        "llamacpp:tokens_predicted_total" Counter Count Some(Q::GenerationTokens);
        "llamacpp:prompt_seconds_total" Counter Seconds None;
        "llamacpp:tokens_predicted_seconds_total" Counter Seconds None;
        "llamacpp:prompt_tokens_seconds" Gauge PerSecond None;
        "llamacpp:predicted_tokens_seconds" Gauge PerSecond None;
        "llamacpp:n_decode_total" Counter Count None;
        "llamacpp:n_busy_slots_per_decode" Gauge Count None;
    }
    Dcgm &["gpu", "UUID", "device", "modelName", "Hostname"] => {
        "DCGM_FI_DEV_GPU_UTIL" Gauge Percent Some(Q::Busy);
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE" Gauge Ratio Some(Q::Busy);
        "DCGM_FI_PROF_SM_ACTIVE" Gauge Ratio None;
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE" Gauge Ratio None;
        "DCGM_FI_PROF_DRAM_ACTIVE" Gauge Ratio None;
        "DCGM_FI_DEV_MEM_COPY_UTIL" Gauge Percent None;
        "DCGM_FI_DEV_FB_USED" Gauge Mebibytes None;
        "DCGM_FI_DEV_FB_FREE" Gauge Mebibytes None;
        "DCGM_FI_DEV_POWER_USAGE" Gauge Count None;
        "DCGM_FI_DEV_GPU_TEMP" Gauge Count None;
    }
    QueueProxy &["destination_namespace", "destination_configuration", "destination_revision",
        "destination_pod"] =>
    {
        "queue_average_concurrent_requests" Gauge Count Some(Q::Concurrency);
        "queue_requests_per_second" Gauge PerSecond Some(Q::RequestRate);
        "queue_average_proxied_concurrent_requests" Gauge Count None;
        "queue_proxied_operations_per_second" Gauge PerSecond None;
    }
    QueueProxy &["namespace_name", "service_name", "configuration_name", "revision_name", "pod_name",
        "response_code"] =>
    {
        "revision_request_count" Counter Count Some(Q::Finished);
        "revision_request_latencies" Histogram Milliseconds Some(Q::RequestLatency);
        "revision_app_request_count" Counter Count Some(Q::Finished);
        "revision_app_request_latencies" Histogram Milliseconds Some(Q::RequestLatency);
        "revision_queue_depth" Gauge Count None;
    }
    Gateway &[] => {
        "gateway_queue_length" Gauge Count Some(Q::Held);
        "gateway_requests_in_flight" Gauge Count Some(Q::InFlight);
        "gateway_requests_per_second" Gauge PerSecond Some(Q::GatewayRate);
        "gateway_requests_total" Counter Count Some(Q::GatewayArrived);
    }
    Prometheus &[] => {
        "up" Gauge Count Some(Q::Up);
    }
}

impl Metric {
    /// The metric that a series of this name belongs to: a histogram's by `_bucket`, `_sum` and `_count`.
    pub fn of_series(name: &str) -> Option<&'static Self> {
        let named = |wanted: &str, histogram: bool| {
            METRICS.iter().find(|m| m.name == wanted && (m.kind == Kind::Histogram) == histogram)
        };
        let mut parts =
            ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| name.strip_suffix(suffix));
        named(name, false).or_else(|| parts.find_map(|base| named(base, true)))
    }

    /// The names of its series.
    pub fn series(&self) -> Vec<String> {
        match self.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", self.name)).to_vec()
            }
            Kind::Gauge | Kind::Counter => vec![self.name.to_owned()],
        }
    }
}

/// What is wrong with what a query reads: (message, help).
///
/// `published` is what the simulation has of a metric; nothing is wrong with a selector that names no metric.
pub fn check_read(read: &Selector, published: impl Fn(&Metric) -> bool) -> Option<(String, String)> {
    let name = read.name.as_deref()?;
    match Metric::of_series(name) {
        Some(metric) if published(metric) => None,
        Some(metric) => {
            let message = match metric.quantity {
                Some(_) => format!(
                    "`{name}` is a metric of {}, which this scenario does not run",
                    metric.exporter.name()
                ),
                None => format!("`{name}` is a metric of {} that is not simulated", metric.exporter.name()),
            };
            Some((message, "the query would find no series: read a metric that is published".to_owned()))
        }
        None => {
            let known: Vec<String> =
                METRICS.iter().filter(|m| published(m)).flat_map(Metric::series).collect();
            let histogram = METRICS.iter().find(|m| m.name == name);
            let help = match (histogram, crate::yaml::suggest(name, known.iter().map(String::as_str))) {
                (Some(_), _) => {
                    format!("it is a histogram: read `{name}_bucket`, `{name}_sum` or `{name}_count`")
                }
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => "the query would find no series: read a metric that is published".to_owned(),
            };
            Some((format!("no exporter publishes `{name}`"), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::Query;

    #[test]
    fn names_are_metric_names_and_each_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{}", metric.name);
            let query = Query::compile(metric.name).unwrap();
            assert_eq!(query.reads()[0].name.as_deref(), Some(metric.name));
            for series in metric.series() {
                assert_eq!(Metric::of_series(&series), Some(metric), "{series}");
            }
        }
    }

    #[test]
    fn reads_are_held_against_what_is_published() {
        let check = |query: &str, expected: Option<(&str, &str)>| {
            let query = Query::compile(query).unwrap();
            let found =
                check_read(&query.reads()[0], |m| m.exporter == Exporter::Vllm && m.quantity.is_some());
            let expected = expected.map(|(message, help)| (message.to_owned(), help.to_owned()));
            assert_eq!(found, expected, "{}", query.text());
        };
        let nothing = "the query would find no series: read a metric that is published";
        check("sum(vllm:num_requests_waiting)", None);
        check("rate(vllm:time_to_first_token_seconds_bucket[1m])", None);
        check("{job=\"vllm\"}", None);
        check(
            "vllm_num_requests_waiting",
            Some((
                "no exporter publishes `vllm_num_requests_waiting`",
                "did you mean `vllm:num_requests_waiting`?",
            )),
        );
        check(
            "vllm:time_to_first_token_seconds",
            Some((
                "no exporter publishes `vllm:time_to_first_token_seconds`",
                "it is a histogram: read `vllm:time_to_first_token_seconds_bucket`, \
                 `vllm:time_to_first_token_seconds_sum` or `vllm:time_to_first_token_seconds_count`",
            )),
        );
        check(
            "sglang:num_queue_reqs",
            Some((
                "`sglang:num_queue_reqs` is a metric of SGLang, which this scenario does not run",
                nothing,
            )),
        );
        check(
            "vllm:engine_sleep_state",
            Some(("`vllm:engine_sleep_state` is a metric of vLLM that is not simulated", nothing)),
        );
        check("http_requests_total", Some(("no exporter publishes `http_requests_total`", nothing)));
    }
}
