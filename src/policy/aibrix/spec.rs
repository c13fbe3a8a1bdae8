//! A PodAutoscaler as a scenario writes it, and everything that can be wrong with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::Limits;
use crate::kernel::{Quantity, SimDuration};
use crate::policy::hpa::spec::ObjectReference;
use crate::policy::knative::parse;
use crate::policy::{Fault, Setting, closest};
use crate::promql::Query;
use crate::promql::catalogue::{Kind, METRICS, Metric};
use crate::yaml::Path;

/// Annotations of this domain are the PodAutoscaler's.
const DOMAIN: &str = "autoscaling.aibrix.ai/";
/// Longest window of a metric, s (upstream's own limit).
const LONGEST_WINDOW_S: u32 = 3600;

/// AIBrix: a PodAutoscaler of the strategies APA and KPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AibrixSpec {
    /// What it scales. A run has one workload, which is it; its pods are named after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_target_ref: Option<ObjectReference>,
    /// How the number of replicas follows the metrics.
    pub scaling_strategy: ScalingStrategy,
    /// Fewest replicas. Default: 1.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// What to scale on; the highest recommendation wins.
    pub metrics_sources: Vec<MetricSource>,
    /// The stable window, s, 1 to 3600. Default: 180. APA goes by it alone.
    #[serde(default = "stable_window")]
    pub observe_window_seconds: u32,
    /// KPA's panic window, s, no longer than the stable one. Default: 60.
    #[serde(default = "panic_window")]
    pub panic_window_seconds: u32,
    /// `metadata.annotations`; of `autoscaling.aibrix.ai/` these count: `max-scale-up-rate` (2), `max-scale-down-rate` (2),
    /// `scale-up-tolerance` (0.1), `scale-down-tolerance` (0.1), `panic-threshold` (2), `scale-up-cooldown-window` (0s),
    /// `scale-down-cooldown-window` (300s), `scale-to-zero` (false).
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Time of the first reconcile; there is one every 10 s. Default: drawn within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<SimDuration>,
}

const fn one() -> u32 {
    1
}

const fn stable_window() -> u32 {
    180
}

const fn panic_window() -> u32 {
    60
}

/// How the number of replicas follows a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingStrategy {
    /// The replicas there are, times the ratio of the mean use to the target.
    #[serde(rename = "APA")]
    Apa,
    /// The mean use divided by the target, over a stable and a panic window.
    #[serde(rename = "KPA")]
    Kpa,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSource {
    /// Where it comes from. Default: `pod`, each pod's own endpoint, which is the only one that is simulated.
    #[serde(default)]
    pub metric_source_type: MetricSourceType,
    /// Name of the series, with its engine's prefix (`vllm:kv_cache_usage_perc`) or without.
    pub target_metric: String,
    /// Target, of a pod.
    pub target_value: Quantity,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricSourceType {
    /// Each pod's own endpoint.
    #[default]
    Pod,
    /// CPU or memory.
    Resource,
    /// The custom metrics API.
    Custom,
    /// The external metrics API.
    External,
    /// Another service, such as AIBrix's GPU optimizer.
    Domain,
}

/// What the annotations say.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Rates and tolerances.
    pub limits: Limits,
    /// `panic-threshold`.
    pub panic_threshold: f64,
    /// `scale-up-cooldown-window`.
    pub up_cooldown: SimDuration,
    /// `scale-down-cooldown-window`.
    pub down_cooldown: SimDuration,
}

impl Default for Tuning {
    /// Those of `context/context.go` `NewBaseScalingContext`.
    fn default() -> Self {
        Self {
            limits: Limits { max_up: 2.0, max_down: 2.0, up_tolerance: 0.1, down_tolerance: 0.1 },
            panic_threshold: 2.0,
            up_cooldown: SimDuration::ZERO,
            down_cooldown: SimDuration::from_secs(300),
        }
    }
}

/// The annotations that the controller reads, below their domain.
const KEYS: [&str; 8] = [
    "max-scale-up-rate",
    "max-scale-down-rate",
    "scale-up-tolerance",
    "scale-down-tolerance",
    "panic-threshold",
    "scale-up-cooldown-window",
    "scale-down-cooldown-window",
    "scale-to-zero",
];

impl AibrixSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.max_replicas == 0 {
            add("maxReplicas", "maxReplicas is 0, which leaves no replica".to_owned(), "write at least 1");
        }
        if self.min_replicas == 0 {
            let message = "minReplicas 0: a pod's metric cannot wake a workload that has no pod".to_owned();
            add("minReplicas", message, "write at least 1");
        }
        if self.min_replicas > self.max_replicas {
            let message =
                format!("minReplicas {} is above maxReplicas {}", self.min_replicas, self.max_replicas);
            add("minReplicas", message, "lower minReplicas or raise maxReplicas");
        }
        for (path, seconds) in [
            ("observeWindowSeconds", self.observe_window_seconds),
            ("panicWindowSeconds", self.panic_window_seconds),
        ] {
            if !(1..=LONGEST_WINDOW_S).contains(&seconds) {
                add(path, format!("a window of {seconds} s"), "write 1 to 3600");
            }
        }
        if self.panic_window_seconds > self.observe_window_seconds {
            let message = format!(
                "a panic window of {} s is longer than the stable one of {} s",
                self.panic_window_seconds, self.observe_window_seconds
            );
            add("panicWindowSeconds", message, "shorten it, or lengthen observeWindowSeconds");
        }
        if self.metrics_sources.is_empty() {
            add(
                "metricsSources",
                "there is no metric to scale on".to_owned(),
                "add one, e.g. vllm:kv_cache_usage_perc",
            );
        }
        for (index, source) in self.metrics_sources.iter().enumerate() {
            let below = source.check(setting);
            faults.extend(below.into_iter().map(|(p, m, h)| (format!("metricsSources[{index}].{p}"), m, h)));
        }
        if let Err(found) = self.tuning() {
            faults.extend(found);
        }
        faults
    }

    /// What the annotations say.
    ///
    /// # Errors
    /// Everything that is wrong with them; paths are relative to the spec.
    pub fn tuning(&self) -> Result<Tuning, Vec<Fault>> {
        let (mut tuning, mut faults) = (Tuning::default(), Vec::new());
        for (key, text) in &self.annotations {
            let Some(name) = key.strip_prefix(DOMAIN) else {
                // Keys that the controller read once, and reads no more.
                if key.ends_with(&format!(".{}", &DOMAIN[..DOMAIN.len() - 1]))
                    || key.contains(&format!(".{DOMAIN}"))
                {
                    faults.push(fault(key, "the controller does not read this annotation", &known()));
                }
                continue;
            };
            if let Err((message, help)) = tuning.set(name, text) {
                faults.push(fault(key, &message, &help));
            }
        }
        if faults.is_empty() { Ok(tuning) } else { Err(faults) }
    }
}

fn fault(key: &str, message: &str, help: &str) -> Fault {
    (Path::keys(["annotations", key]).to_string(), message.to_owned(), help.to_owned())
}

fn known() -> String {
    format!("known are {DOMAIN}{{{}}}", KEYS.join(", "))
}

impl Tuning {
    /// The error is (message, help).
    fn set(&mut self, name: &str, text: &str) -> Result<(), (String, String)> {
        let number = |least: f64, exclusive: bool| {
            let wanted =
                || format!("write a number {} {least}", if exclusive { "above" } else { "of at least" });
            let value = parse::number(text).map_err(|message| (message, wanted()))?;
            let fits = if exclusive { value > least } else { value >= least };
            if fits { Ok(value) } else { Err((format!("{name} is {text}"), wanted())) }
        };
        let window = || -> Result<SimDuration, (String, String)> {
            let help = || "write a duration such as 300s".to_owned();
            let nanos = parse::duration(text).map_err(|message| (message, help()))?;
            let nanos = u64::try_from(nanos).map_err(|_| (format!("{name} is {text}"), help()))?;
            Ok(SimDuration::from_nanos(nanos))
        };
        match name {
            "max-scale-up-rate" => self.limits.max_up = number(1.0, true)?,
            "max-scale-down-rate" => self.limits.max_down = number(1.0, true)?,
            "scale-up-tolerance" => self.limits.up_tolerance = number(0.0, false)?,
            "scale-down-tolerance" => self.limits.down_tolerance = number(0.0, false)?,
            "panic-threshold" => self.panic_threshold = number(0.0, true)?,
            "scale-up-cooldown-window" => self.up_cooldown = window()?,
            "scale-down-cooldown-window" => self.down_cooldown = window()?,
            "scale-to-zero" => match parse::boolean(text) {
                Ok(false) => {}
                Ok(true) => {
                    let message =
                        "scale-to-zero is not simulated: a pod's metric cannot wake a workload again"
                            .to_owned();
                    return Err((message, "leave it out".to_owned()));
                }
                Err(message) => return Err((message, "write \"false\"".to_owned())),
            },
            other => {
                let help = closest(other, KEYS.into_iter())
                    .map_or_else(known, |near| format!("did you mean `{DOMAIN}{near}`?"));
                return Err((format!("unknown annotation `{DOMAIN}{other}`"), help));
            }
        }
        Ok(())
    }
}

impl MetricSource {
    fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.metric_source_type != MetricSourceType::Pod {
            let message = format!("metrics of type {:?} are not simulated", self.metric_source_type);
            faults.push((
                "metricSourceType".to_owned(),
                message,
                "write pod, and a metric of the engine".to_owned(),
            ));
        } else if let Err(found) = self.query(setting) {
            faults.extend(found);
        }
        if self.target_value <= Quantity::default() {
            let message = format!("a target of {}", self.target_value);
            faults.push(("targetValue".to_owned(), message, "write a positive number".to_owned()));
        }
        faults
    }

    /// The query of its series.
    ///
    /// # Errors
    /// Nobody publishes it, or it is no gauge.
    pub fn query(&self, setting: &Setting) -> Result<Query, Vec<Fault>> {
        let asked = self.target_metric.as_str();
        let bare = |metric: &Metric| metric.name.rsplit_once(':').is_some_and(|(_, bare)| bare == asked);
        let mut own = METRICS.iter().filter(|m| m.exporter.is_of_pods() && setting.publishes(m));
        let path = || "targetMetric".to_owned();
        let Some(metric) = own.clone().find(|m| m.name == asked).or_else(|| own.clone().find(|m| bare(m)))
        else {
            let gauges = own.by_ref().filter(|m| m.kind == Kind::Gauge).map(|m| m.name).collect::<Vec<_>>();
            let help = closest(asked, gauges.iter().copied()).map_or_else(
                || format!("one of {}", gauges.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(vec![(path(), format!("no pod publishes `{asked}`"), help)]);
        };
        if metric.kind != Kind::Gauge {
            let message = format!("`{asked}` is no gauge, and its value grows for ever");
            return Err(vec![(
                path(),
                message,
                "scale on a gauge, e.g. vllm:num_requests_waiting".to_owned(),
            )]);
        }
        setting.query(metric.name, "targetMetric")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(changes: &Value) -> AibrixSpec {
        let mut spec = json!({"scalingStrategy": "KPA", "maxReplicas": 4,
            "metricsSources": [{"targetMetric": "kv_cache_usage_perc", "targetValue": "0.5"}]});
        spec.as_object_mut().expect("it is one").extend(changes.as_object().expect("it is one").clone());
        serde_json::from_value(spec).expect("the types are right")
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let check = |changes: Value, expected: &[(&str, &str)]| {
            let faults = spec(&changes).check(&Setting::default());
            let found: Vec<_> = faults.iter().map(|(path, _, help)| (path.as_str(), help.as_str())).collect();
            assert_eq!(found, expected, "{changes}");
            assert!(faults.iter().all(|(path, ..)| Path::parse(path).is_ok()));
        };
        check(json!({}), &[]);
        check(
            json!({"minReplicas": 5, "observeWindowSeconds": 30, "panicWindowSeconds": 3601}),
            &[
                ("minReplicas", "lower minReplicas or raise maxReplicas"),
                ("panicWindowSeconds", "write 1 to 3600"),
                ("panicWindowSeconds", "shorten it, or lengthen observeWindowSeconds"),
            ],
        );
        check(
            json!({"minReplicas": 0, "maxReplicas": 0, "metricsSources": []}),
            &[
                ("maxReplicas", "write at least 1"),
                ("minReplicas", "write at least 1"),
                ("metricsSources", "add one, e.g. vllm:kv_cache_usage_perc"),
            ],
        );
        let (source, domain) = (
            json!({"targetMetric": "num_request_waiting", "targetValue": "0"}),
            json!({"targetMetric": "x", "targetValue": "-1", "metricSourceType": "domain"}),
        );
        let counter = json!({"targetMetric": "prompt_tokens_total", "targetValue": "5"});
        check(
            json!({"metricsSources": [source, domain, counter]}),
            &[
                ("metricsSources[0].targetMetric", "did you mean `vllm:num_requests_waiting`?"),
                ("metricsSources[0].targetValue", "write a positive number"),
                ("metricsSources[1].metricSourceType", "write pod, and a metric of the engine"),
                ("metricsSources[1].targetValue", "write a positive number"),
                ("metricsSources[2].targetMetric", "scale on a gauge, e.g. vllm:num_requests_waiting"),
            ],
        );
    }

    #[test]
    fn annotations_are_read_or_refused() {
        let faults = |key: &str, value: &str| {
            let found = spec(&json!({"annotations": {key: value}})).tuning().err().unwrap_or_default();
            found.into_iter().map(|(_, _, help)| help).collect::<Vec<_>>()
        };
        let key = |name: &str| format!("autoscaling.aibrix.ai/{name}");
        assert_eq!(faults(&key("max-scale-up-rate"), "1"), ["write a number above 1"]);
        assert_eq!(faults(&key("max-scale-down-rate"), "NaN"), ["write a number above 1"]);
        assert_eq!(faults(&key("scale-up-tolerance"), "-0.1"), ["write a number of at least 0"]);
        assert_eq!(faults(&key("scale-down-cooldown-window"), "300"), ["write a duration such as 300s"]);
        assert_eq!(faults(&key("scale-to-zero"), "true"), ["leave it out"]);
        assert_eq!(faults(&key("scale-to-zero"), "false"), Vec::<String>::new());
        assert_eq!(
            faults(&key("scale-up-tolerence"), "1"),
            ["did you mean `autoscaling.aibrix.ai/scale-up-tolerance`?"]
        );
        // A key of an older controller, which this one passes over in silence.
        assert_eq!(faults("kpa.autoscaling.aibrix.ai/scale-down-delay", "0s"), [known()]);
        assert_eq!(faults("example.com/scale", "x"), Vec::<String>::new());
        let own = spec(
            &json!({"annotations": {key("panic-threshold"): "3", key("scale-down-cooldown-window"): "1m"}}),
        );
        let expected =
            Tuning { panic_threshold: 3.0, down_cooldown: SimDuration::from_secs(60), ..Tuning::default() };
        assert_eq!(own.tuning(), Ok(expected));
    }
}
