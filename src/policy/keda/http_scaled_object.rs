//! An HTTPScaledObject's `spec` as its manifest writes it, and the ScaledObject that the add-on makes of it.
//!
//! After kedacore/http-add-on `operator/apis/http/v1alpha1/httpscaledobject_types.go`, `pkg/k8s/scaledobject.go`
//! and `scaler/handlers.go` (59b2f6a1).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_add_on::{
    DEFAULT_TARGET, FALLBACK_TIMEOUT, HttpMetric, POLLING_INTERVAL_S, RESPONSE_HEADER_TIMEOUT,
    SCALEDOWN_PERIOD_S,
};
use super::spec::{AdvancedSpec, ScaleTarget, ScaledObjectSpec, TriggerSpec};
use crate::kernel::SimDuration;
use crate::policy::Fault;
use crate::policy::api::DataPath;
use crate::policy::hpa::types::Nanos;

/// Address of the add-on's scaler in the ScaledObject that it makes, as its chart names the service.
pub const SCALER_ADDRESS: &str = "keda-add-ons-http-external-scaler.keda:9090";

/// Most buckets of a request rate: more would be a slip of the finger.
const BUCKETS_MAX: u64 = 100_000;

/// An HTTPScaledObject of the HTTP add-on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpScaledObjectSpec {
    /// Hosts whose requests are routed; all of a run's are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Paths whose requests are routed; all of a run's are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// Headers of the requests that are routed; all of a run's are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeader>,
    /// What is scaled, and the service before it.
    pub scale_target_ref: HttpTarget,
    /// Where requests go that were held too long; they are lost to the run. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start_timeout_failover_ref: Option<FailoverRef>,
    /// Bounds of the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<HttpReplicas>,
    /// Requests in flight per replica. Deprecated: `scalingMetric` says it, and wins. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_pending_requests: Option<i32>,
    /// Seconds from the last activity until the target may sleep: the `cooldownPeriod`. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaledown_period: Option<i32>,
    /// The same from the object's creation, as long as nothing was active yet. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_cooldown_period: Option<i32>,
    /// What it scales on. Default: requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_metric: Option<ScalingMetricSpec>,
    /// Times that the interceptors go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpTimeouts>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What is scaled, and the service before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpTarget {
    /// Its name.
    pub name: String,
    /// Its API group and version. Default: `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind. Default: `Deployment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The service.
    pub service: String,
    /// Its port, or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// the port's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
}

/// Where requests go that were held too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailoverRef {
    /// The service.
    pub service: String,
    /// Its port, or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// the port's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// Seconds a request is held before. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// Bounds of the replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpReplicas {
    /// Fewest replicas. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// Most replicas. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
}

/// What it scales on: one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingMetricSpec {
    /// Requests in flight, held ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencySpec>,
    /// Requests that come, per `granularity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<RequestRateSpec>,
}

/// Requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencySpec {
    /// Their number per replica. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_value: Option<i32>,
}

/// Requests that come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRateSpec {
    /// Their number per `granularity` and replica. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_value: Option<i32>,
    /// The time they are averaged over. Default: 1 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<SimDuration>,
    /// The time they are counted by. Default: 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<SimDuration>,
}

/// Times that the interceptors go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpTimeouts {
    /// How long a request is held while no pod is ready. Default: as long as the request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_wait: Option<SimDuration>,
    /// From a request's way to a pod until the headers of the answer, which come with its first token.
    /// Default: 300 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header: Option<SimDuration>,
}

impl HttpScaledObjectSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut note = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        let target = &self.scale_target_ref;
        let failover = self.cold_start_timeout_failover_ref.as_ref();
        let ports =
            [("scaleTargetRef", target.port.is_some(), target.port_name.is_some())].into_iter().chain(
                failover
                    .map(|own| ("coldStartTimeoutFailoverRef", own.port.is_some(), own.port_name.is_some())),
            );
        for (path, port, name) in ports.filter(|(_, port, name)| port == name) {
            let which =
                if port && name { "both `port` and `portName`" } else { "neither `port` nor `portName`" };
            note(path, which.to_owned(), "write one of them");
        }
        let replicas = self.replicas.unwrap_or_default();
        for (path, value, least) in [
            ("replicas.min", replicas.min, 0),
            ("replicas.max", replicas.max, 1),
            ("targetPendingRequests", self.target_pending_requests, 1),
            ("scaledownPeriod", self.scaledown_period, 0),
            ("initialCooldownPeriod", self.initial_cooldown_period, 0),
            ("coldStartTimeoutFailoverRef.timeoutSeconds", failover.and_then(|own| own.timeout_seconds), 0),
        ] {
            if let Some(value) = value.filter(|value| *value < least) {
                note(path, format!("{value} is below {least}"), &format!("write at least {least}"));
            }
        }
        if let (Some(min), Some(max)) = (replicas.min, replicas.max)
            && min > max
        {
            note("replicas.min", format!("a minimum of {min} above the maximum of {max}"), "lower it");
        }
        faults.extend(self.scaling_metric.iter().flat_map(ScalingMetricSpec::check));
        faults
    }

    /// What it scales on. A request rate wins over concurrency, and that over the older field.
    pub fn metric(&self) -> HttpMetric {
        let target = |value: Option<i32>| value.map_or(DEFAULT_TARGET, f64::from);
        let own = self.scaling_metric.unwrap_or_default();
        if let Some(rate) = own.request_rate {
            let HttpMetric::RequestRate { target, window, granularity } =
                HttpMetric::request_rate(target(rate.target_value))
            else {
                return HttpMetric::default();
            };
            let or = |given: Option<SimDuration>, default| given.map_or(default, nanos);
            let (window, granularity) = (or(rate.window, window), or(rate.granularity, granularity));
            return HttpMetric::RequestRate { target, window, granularity };
        }
        let target = match own.concurrency {
            Some(concurrency) => target(concurrency.target_value),
            None => target(self.target_pending_requests),
        };
        HttpMetric::Concurrency { target }
    }

    /// The ScaledObject that the add-on makes of it.
    pub fn scaled_object(&self, name: &str) -> ScaledObjectSpec {
        let target = &self.scale_target_ref;
        let metadata = [("scalerAddress", SCALER_ADDRESS), ("httpScaledObject", name)];
        let metadata: BTreeMap<String, String> =
            metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let replicas = self.replicas.unwrap_or_default();
        ScaledObjectSpec {
            scale_target_ref: ScaleTarget {
                api_version: target.api_version.clone(),
                kind: target.kind.clone(),
                name: target.name.clone(),
                env_source_container_name: None,
            },
            polling_interval: Some(POLLING_INTERVAL_S),
            cooldown_period: Some(self.scaledown_period.unwrap_or(SCALEDOWN_PERIOD_S)),
            initial_cooldown_period: self.initial_cooldown_period,
            idle_replica_count: None,
            min_replica_count: replicas.min,
            max_replica_count: replicas.max,
            fallback: None,
            advanced: Some(AdvancedSpec {
                restore_to_original_replica_count: true,
                ..AdvancedSpec::default()
            }),
            triggers: vec![TriggerSpec {
                kind: "external-push".to_owned(),
                name: None,
                use_cached_metrics: false,
                metadata,
                authentication_ref: None,
                metric_type: None,
            }],
        }
    }

    /// What the interceptors do with requests. With a failover there is a limit to holding in any case; a request
    /// that goes there is given up, as the run has no such service.
    pub fn data_path(&self) -> DataPath {
        let timeouts = self.timeouts.unwrap_or_default();
        let wait = timeouts.condition_wait.filter(|wait| !wait.is_zero());
        let default = SimDuration::from_nanos(FALLBACK_TIMEOUT.unsigned_abs());
        let failover = self.cold_start_timeout_failover_ref.as_ref().map(|own| match own.timeout_seconds {
            None => default,
            Some(0) => wait.unwrap_or(default),
            Some(seconds) => SimDuration::from_secs(u64::from(seconds.unsigned_abs())),
        });
        let header = SimDuration::from_nanos(RESPONSE_HEADER_TIMEOUT.unsigned_abs());
        let header = timeouts.response_header.filter(|time| !time.is_zero()).unwrap_or(header);
        DataPath { hold_timeout: failover.or(wait), header_timeout: Some(header), ..DataPath::default() }
    }
}

impl ScalingMetricSpec {
    fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut note = |path: &str, message: String, help: &str| {
            faults.push((format!("scalingMetric.{path}"), message, help.to_owned()));
        };
        if self.concurrency.is_some() && self.request_rate.is_some() {
            let message = "both a concurrency and a request rate".to_owned();
            note("requestRate", message, "an HTTPScaledObject scales on one of them");
        }
        for (path, target) in [
            ("concurrency.targetValue", self.concurrency.and_then(|own| own.target_value)),
            ("requestRate.targetValue", self.request_rate.and_then(|own| own.target_value)),
        ] {
            if let Some(target) = target.filter(|target| *target < 1) {
                note(path, format!("a target of {target}"), "write at least 1");
            }
        }
        let Some(rate) = self.request_rate else { return faults };
        let window = rate.window.unwrap_or(SimDuration::from_secs(60));
        let granularity = rate.granularity.unwrap_or(SimDuration::from_secs(1));
        if granularity.is_zero() {
            note("requestRate.granularity", "no time to count by".to_owned(), "write e.g. 1s");
        } else if window < granularity {
            note("requestRate.window", format!("{window} is shorter than {granularity}"), "write e.g. 1m");
        } else if window.as_nanos() / granularity.as_nanos() > BUCKETS_MAX {
            let message = format!("{window} in parts of {granularity} are more than {BUCKETS_MAX} parts");
            note("requestRate.granularity", message, "write e.g. 1s");
        }
        faults
    }
}

fn nanos(time: SimDuration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(changes: &Value) -> HttpScaledObjectSpec {
        let mut spec = json!({"scaleTargetRef": {"name": "vllm", "service": "vllm", "port": 8000}});
        spec.as_object_mut().expect("it is one").extend(changes.as_object().expect("it is one").clone());
        serde_json::from_value(spec).expect("the types are right")
    }

    #[test]
    fn the_scaled_object_is_the_add_ons() {
        let own = spec(&json!({"replicas": {"max": 7}, "scaledownPeriod": 60})).scaled_object("llm");
        assert_eq!((own.polling_interval, own.cooldown_period), (Some(15), Some(60)));
        assert_eq!((own.min_replica_count, own.max_replica_count), (None, Some(7)));
        assert_eq!(own.triggers[0].kind, "external-push");
        assert_eq!(spec(&json!({})).scaled_object("llm").cooldown_period, Some(300));
    }

    #[test]
    fn metrics_have_upstreams_defaults() {
        let second = 1_000_000_000;
        let rate = |target, window, granularity| HttpMetric::RequestRate { target, window, granularity };
        for (changes, expected) in [
            (json!({}), HttpMetric::Concurrency { target: 100.0 }),
            (json!({"targetPendingRequests": 7}), HttpMetric::Concurrency { target: 7.0 }),
            (
                json!({"targetPendingRequests": 7, "scalingMetric": {"concurrency": {}}}),
                HttpMetric::Concurrency { target: 100.0 },
            ),
            (json!({"scalingMetric": {"requestRate": {}}}), rate(100.0, 60 * second, second)),
            (
                json!({"scalingMetric": {"requestRate": {"targetValue": 3, "window": "2m", "granularity": "500ms"}}}),
                rate(3.0, 120 * second, second / 2),
            ),
        ] {
            assert_eq!(spec(&changes).metric(), expected, "{changes}");
        }
    }

    #[test]
    fn requests_are_held_as_long_as_the_object_says() {
        let secs = SimDuration::from_secs;
        let failover = |timeout: Value| {
            let mut own = json!({"service": "other", "port": 80});
            own["timeoutSeconds"] = timeout;
            json!({"coldStartTimeoutFailoverRef": own, "timeouts": {"conditionWait": "20s"}})
        };
        for (changes, hold, header) in [
            (json!({}), None, 300),
            (json!({"timeouts": {"conditionWait": "90s", "responseHeader": "7s"}}), Some(90), 7),
            (json!({"timeouts": {"conditionWait": "0s", "responseHeader": "0s"}}), None, 300),
            (failover(json!(45)), Some(45), 300),
            (failover(Value::Null), Some(30), 300),
            (failover(json!(0)), Some(20), 300),
        ] {
            let path = spec(&changes).data_path();
            assert_eq!(
                (path.hold_timeout, path.header_timeout),
                (hold.map(secs), Some(secs(header))),
                "{changes}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (changes, path) in [
            (json!({"scaleTargetRef": {"name": "a", "service": "b"}}), "scaleTargetRef"),
            (
                json!({"scaleTargetRef": {"name": "a", "service": "b", "port": 1, "portName": "http"}}),
                "scaleTargetRef",
            ),
            (json!({"coldStartTimeoutFailoverRef": {"service": "b"}}), "coldStartTimeoutFailoverRef"),
            (json!({"replicas": {"min": 3, "max": 2}}), "replicas.min"),
            (json!({"replicas": {"max": 0}}), "replicas.max"),
            (json!({"scaledownPeriod": -1}), "scaledownPeriod"),
            (json!({"targetPendingRequests": 0}), "targetPendingRequests"),
            (json!({"scalingMetric": {"concurrency": {}, "requestRate": {}}}), "scalingMetric.requestRate"),
            (
                json!({"scalingMetric": {"concurrency": {"targetValue": 0}}}),
                "scalingMetric.concurrency.targetValue",
            ),
            (
                json!({"scalingMetric": {"requestRate": {"granularity": "0s"}}}),
                "scalingMetric.requestRate.granularity",
            ),
            (
                json!({"scalingMetric": {"requestRate": {"window": "10ms"}}}),
                "scalingMetric.requestRate.window",
            ),
            (
                json!({"scalingMetric": {"requestRate": {"granularity": "1ns"}}}),
                "scalingMetric.requestRate.granularity",
            ),
        ] {
            let paths: Vec<String> = spec(&changes).check().into_iter().map(|(path, ..)| path).collect();
            assert_eq!(paths, [path], "{changes}");
        }
        assert_eq!(spec(&json!({})).check(), vec![]);
    }
}
