//! Dynamo's planner as a scenario writes it, under upstream's names, and everything that can be wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::predictor::{Arima, Kalman, Method, Predictor};
use super::throughput::Sla;
use crate::kernel::SimDuration;
use crate::policy::{Fault, Setting, scraped::reads_vllm};

/// NVIDIA Dynamo's planner, for aggregated serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DynamoSpec {
    /// Name of the workers' Deployment; its pods are named after it. Default: `decode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which workers there are. Default: `agg`, the only mode that is simulated; upstream's is `disagg`.
    pub mode: Mode,
    /// What it scales for. Default: `throughput`. `throughput` and `latency` go by how full the KV cache is, `sla` by `ttft` and `itl`.
    pub optimization_target: OptimizationTarget,
    /// `sla`: target of the time to first token, ms. Default: 500.
    pub ttft: f64,
    /// `sla`: target of the time between two tokens, ms. Default: 50.
    pub itl: f64,
    /// `sla`: scale on the requests that are forecast for the next interval. Default: true.
    pub enable_throughput_scaling: bool,
    /// `sla`: scale by one on latencies that are estimated now; the forecast is then the least. Default: false. The other targets do
    /// nothing else.
    pub enable_load_scaling: bool,
    /// From one forecast to the next, s. Default: 180.
    pub throughput_adjustment_interval: u32,
    /// From one look at the workers to the next, s. Default: 5.
    pub load_adjustment_interval: u32,
    /// Most GPUs; below 0 without limit. Default: 8.
    pub max_gpu_budget: i64,
    /// Fewest workers. Default: 1.
    pub min_endpoint: u32,
    /// GPUs of a worker. Default: the replica's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_engine_num_gpu: Option<u32>,
    /// How requests, prompts and outputs are forecast. Default: `arima`.
    pub load_predictor: LoadPredictor,
    /// Forecast the logarithms. Default: false.
    pub load_predictor_log1p: bool,
    /// Process noise of a Kalman filter's level. Default: 1.
    pub kalman_q_level: f64,
    /// Process noise of a Kalman filter's trend. Default: 0.1.
    pub kalman_q_trend: f64,
    /// Measurement noise of a Kalman filter. Default: 10.
    pub kalman_r: f64,
    /// Steps that the model of the engine is fitted to. Default: 64.
    pub max_num_fpm_samples: u32,
    /// Buckets that these steps are kept spread over, a square. Default: 16.
    pub fpm_sample_bucket_size: u32,
    /// Steps that the model needs. Default: 5.
    pub load_min_observations: u32,
    /// Share of a target that must hold after a worker is gone, percent. Default: 80.
    pub load_scaling_down_sensitivity: u32,
    /// Time of the first look and of the first forecast, each within its interval. Default: drawn for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SimDuration>,
}

impl Default for DynamoSpec {
    fn default() -> Self {
        Self {
            name: None,
            mode: Mode::Agg,
            optimization_target: OptimizationTarget::Throughput,
            ttft: 500.0,
            itl: 50.0,
            enable_throughput_scaling: true,
            enable_load_scaling: false,
            throughput_adjustment_interval: 180,
            load_adjustment_interval: 5,
            max_gpu_budget: 8,
            min_endpoint: 1,
            decode_engine_num_gpu: None,
            load_predictor: LoadPredictor::Arima,
            load_predictor_log1p: false,
            kalman_q_level: 1.0,
            kalman_q_trend: 0.1,
            kalman_r: 10.0,
            max_num_fpm_samples: 64,
            fpm_sample_bucket_size: 16,
            load_min_observations: 5,
            load_scaling_down_sensitivity: 80,
            phase: None,
        }
    }
}

/// Which workers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Each prefills and decodes.
    Agg,
    /// Some prefill, the others decode.
    Disagg,
    /// Those that prefill, of a disaggregated deployment.
    Prefill,
    /// Those that decode, of a disaggregated deployment.
    Decode,
}

/// What the planner scales for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OptimizationTarget {
    /// Full KV caches: one more above 100 % with what waits, one fewer below 60 %.
    Throughput,
    /// Empty KV caches: one more above 40 %, one fewer below 10 %.
    Latency,
    /// `ttft` and `itl`.
    Sla,
}

/// How the next interval is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoadPredictor {
    /// As the last.
    Constant,
    /// By an autoregression, which stands for upstream's automatic ARIMA.
    Arima,
    /// By a Kalman filter of level and trend.
    Kalman,
    /// By Prophet, which is not simulated.
    Prophet,
}

/// Longest interval, s.
const LONGEST_S: u32 = 86_400;
/// Most samples and buckets.
const SAMPLES_MAX: u32 = 4096;

impl DynamoSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_kind(setting, &mut faults);
        self.check_counts(setting, &mut faults);
        self.check_model(&mut faults);
        if let Some(fault) = reads_vllm(setting, "optimization_target") {
            faults.push(fault);
        } else {
            faults.extend(super::autoscaler::Queries::new(self, setting).err().unwrap_or_default());
        }
        faults
    }

    fn check_kind(&self, setting: &Setting, faults: &mut Vec<Fault>) {
        let mut add = |path: &str, message: &str, help: &str| {
            faults.push((path.to_owned(), message.to_owned(), help.to_owned()));
        };
        if self.mode != Mode::Agg {
            let message = "workers that only prefill or only decode are not simulated";
            add("mode", message, "write agg, where each worker does both");
        }
        if self.load_predictor == LoadPredictor::Prophet {
            add("load_predictor", "Prophet is not simulated", "write constant, arima or kalman");
        }
        if setting.engine.is_none() {
            let message = "the planner reads the KV cache and the steps of a batching engine, which this scenario does not run";
            add(
                "optimization_target",
                message,
                "use an engine: { continuous: .. } and a profile with step times",
            );
        }
        let own = Self::default();
        match self.optimization_target {
            OptimizationTarget::Sla => {
                if !self.enable_throughput_scaling && !self.enable_load_scaling {
                    let message = "neither throughput nor load scaling is enabled, and nothing would scale";
                    add("enable_throughput_scaling", message, "enable one of them");
                }
            }
            OptimizationTarget::Throughput | OptimizationTarget::Latency => {
                for (path, value, default) in [("ttft", self.ttft, own.ttft), ("itl", self.itl, own.itl)] {
                    // Exactly the default is no wish.
                    if value.to_bits() != default.to_bits() {
                        let message = format!("{path} counts with optimization_target: sla only");
                        add(path, &message, "write optimization_target: sla, or leave it out");
                    }
                }
            }
        }
    }

    fn check_counts(&self, setting: &Setting, faults: &mut Vec<Fault>) {
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        for (path, value) in [("ttft", self.ttft), ("itl", self.itl)] {
            if !(value > 0.0 && value.is_finite()) {
                add(path, format!("{path} is {value}"), "write milliseconds above 0");
            }
        }
        for (path, value) in [
            ("throughput_adjustment_interval", self.throughput_adjustment_interval),
            ("load_adjustment_interval", self.load_adjustment_interval),
        ] {
            if !(1..=LONGEST_S).contains(&value) {
                add(path, format!("{path} is {value}"), "write seconds: 1 to 86400");
            }
        }
        if self.uses_throughput() && self.load_adjustment_interval >= self.throughput_adjustment_interval {
            let message = format!(
                "load_adjustment_interval {} is not shorter than throughput_adjustment_interval {}",
                self.load_adjustment_interval, self.throughput_adjustment_interval
            );
            add(
                "load_adjustment_interval",
                message,
                "shorten it: looks are the fast loop, forecasts the slow one",
            );
        }
        if self.min_endpoint == 0 {
            add("min_endpoint", "min_endpoint is 0, which leaves no worker".to_owned(), "write at least 1");
        }
        if self.decode_engine_num_gpu == Some(0) {
            add(
                "decode_engine_num_gpu",
                "a worker without a GPU".to_owned(),
                "write at least 1, or leave it out",
            );
        }
        let least = i64::from(self.min_endpoint.max(1)) * i64::from(self.gpus(setting));
        if (0..least).contains(&self.max_gpu_budget) {
            let message = format!(
                "max_gpu_budget {} is below what min_endpoint takes, {least}: the planner would ask for no worker",
                self.max_gpu_budget
            );
            add("max_gpu_budget", message, "raise it, or write -1 for no limit");
        }
    }

    fn check_model(&self, faults: &mut Vec<Fault>) {
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        for (path, value) in [
            ("kalman_q_level", self.kalman_q_level),
            ("kalman_q_trend", self.kalman_q_trend),
            ("kalman_r", self.kalman_r),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                add(path, format!("{path} is {value}"), "write a variance: 0 or more");
            }
        }
        if !(2..=SAMPLES_MAX).contains(&self.max_num_fpm_samples) {
            let message = format!("max_num_fpm_samples is {}", self.max_num_fpm_samples);
            add("max_num_fpm_samples", message, "write 2 to 4096");
        }
        if !(1..=self.max_num_fpm_samples).contains(&self.load_min_observations) {
            let message = format!(
                "load_min_observations {} is not between 1 and max_num_fpm_samples {}",
                self.load_min_observations, self.max_num_fpm_samples
            );
            add("load_min_observations", message, "write a number between them, e.g. 5");
        }
        let buckets = self.fpm_sample_bucket_size;
        if !(1..=SAMPLES_MAX).contains(&buckets) || buckets.isqrt().pow(2) != buckets {
            let message = format!("fpm_sample_bucket_size {buckets} is no square");
            add("fpm_sample_bucket_size", message, "write a square, e.g. 16");
        }
        if self.load_scaling_down_sensitivity > 100 {
            let message =
                format!("load_scaling_down_sensitivity is {} %", self.load_scaling_down_sensitivity);
            add("load_scaling_down_sensitivity", message, "write 0 to 100");
        }
    }

    /// Whether it forecasts.
    pub fn uses_throughput(&self) -> bool {
        self.optimization_target == OptimizationTarget::Sla && self.enable_throughput_scaling
    }

    /// Whether it scales on what workers do now.
    pub fn uses_load(&self) -> bool {
        self.optimization_target != OptimizationTarget::Sla || self.enable_load_scaling
    }

    /// GPUs of a worker.
    pub fn gpus(&self, setting: &Setting) -> u32 {
        let of_replica = setting.engine.as_ref().map_or(1, |engine| engine.gpus);
        self.decode_engine_num_gpu.unwrap_or(of_replica).max(1)
    }

    /// The targets.
    pub fn sla(&self) -> Sla {
        Sla { ttft_ms: self.ttft, itl_ms: self.itl }
    }

    /// A forecast of one series.
    pub fn predictor(&self) -> Predictor {
        let method = match self.load_predictor {
            LoadPredictor::Constant | LoadPredictor::Prophet => Method::Constant,
            LoadPredictor::Arima => Method::Arima(Arima::default()),
            LoadPredictor::Kalman => {
                Method::Kalman(Kalman::new(self.kalman_q_level, self.kalman_q_trend, self.kalman_r))
            }
        };
        Predictor::new(method, self.load_predictor_log1p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::dynamo::autoscaler::tests::setting;

    #[test]
    fn every_fault_is_found_at_once() {
        let check = |json: &str, setting: &Setting, expected: &[&str]| {
            let spec: DynamoSpec = serde_json::from_str(json).expect(json);
            let faults = spec.check(setting);
            assert!(
                faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()),
                "{json}"
            );
            assert_eq!(faults.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), expected, "{json}");
        };
        check("{}", &setting(), &[]);
        check(r#"{"optimization_target": "sla", "ttft": 800.0, "max_gpu_budget": -1}"#, &setting(), &[]);
        check("{}", &Setting::default(), &["optimization_target"]);
        check(r#"{"ttft": 800.0, "itl": 60.0}"#, &setting(), &["ttft", "itl"]);
        check(
            r#"{"mode": "disagg", "load_predictor": "prophet", "optimization_target": "sla",
                "enable_throughput_scaling": false, "ttft": 0.0, "itl": -1.0, "throughput_adjustment_interval": 0,
                "load_adjustment_interval": 0, "min_endpoint": 0, "decode_engine_num_gpu": 0, "max_gpu_budget": 0,
                "kalman_q_level": -1.0, "kalman_q_trend": -1.0, "kalman_r": -1.0, "max_num_fpm_samples": 1,
                "load_min_observations": 2, "fpm_sample_bucket_size": 15, "load_scaling_down_sensitivity": 101}"#,
            &setting(),
            &[
                "mode",
                "load_predictor",
                "enable_throughput_scaling",
                "ttft",
                "itl",
                "throughput_adjustment_interval",
                "load_adjustment_interval",
                "min_endpoint",
                "decode_engine_num_gpu",
                "max_gpu_budget",
                "kalman_q_level",
                "kalman_q_trend",
                "kalman_r",
                "max_num_fpm_samples",
                "load_min_observations",
                "fpm_sample_bucket_size",
                "load_scaling_down_sensitivity",
            ],
        );
        check(
            r#"{"optimization_target": "sla", "load_adjustment_interval": 180, "min_endpoint": 3,
                "decode_engine_num_gpu": 4}"#,
            &setting(),
            &["load_adjustment_interval", "max_gpu_budget"],
        );
        let nan = DynamoSpec {
            ttft: f64::NAN,
            kalman_r: f64::NAN,
            optimization_target: OptimizationTarget::Sla,
            ..DynamoSpec::default()
        };
        assert_eq!(nan.check(&setting()).len(), 2);
    }
}
