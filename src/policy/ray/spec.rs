//! A Ray Serve deployment as a scenario writes it, under upstream's names, and everything that can be wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{Rules, delay_ticks};
use crate::kernel::SimDuration;
use crate::policy::Fault;

/// Ray Serve: a deployment that scales on its ongoing requests, with the router and the replicas' limit before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RaySpec {
    /// Name of the deployment; its pods are named after it. Default: `deployment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Requests that a replica works on at a time; the others wait in the routers. Default: 5, far below what an LLM engine
    /// batches.
    pub max_ongoing_requests: u32,
    /// Requests that wait in the routers, all together; the next is refused. Upstream counts them by router. Default: -1, no limit.
    pub max_queued_requests: i64,
    /// How the number of replicas follows the requests.
    pub autoscaling_config: AutoscalingConfig,
    /// Time of the first report, from which the control loop's ticks count. Default: drawn within the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SimDuration>,
}

impl Default for RaySpec {
    fn default() -> Self {
        Self {
            name: None,
            max_ongoing_requests: 5,
            max_queued_requests: -1,
            autoscaling_config: AutoscalingConfig::default(),
            phase: None,
        }
    }
}

/// `autoscaling_config` of a Ray Serve deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscalingConfig {
    /// Fewest replicas. Default: 1.
    pub min_replicas: u32,
    /// Replicas at the start. Default: `min_replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_replicas: Option<u32>,
    /// Most replicas. Default: 1, which never scales; `num_replicas: auto` has 100.
    pub max_replicas: u32,
    /// Requests, running and waiting, that a replica is meant to have. Default: 2.
    pub target_ongoing_requests: f64,
    /// From one report of replicas and routers to the next, s. Default: 10.
    pub metrics_interval_s: f64,
    /// What a report's mean is taken over, s. Default: 30.
    pub look_back_period_s: f64,
    /// Share of the way up that one decision takes. Default: 1.
    pub upscaling_factor: f64,
    /// Share of the way down that one decision takes. Default: 1.
    pub downscaling_factor: f64,
    /// How long more replicas must be wanted without a break, s. Default: 30.
    pub upscale_delay_s: f64,
    /// How long fewer replicas must be wanted without a break, s. Default: 600.
    pub downscale_delay_s: f64,
    /// The same of the last replica, s. Default: `downscale_delay_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downscale_to_zero_delay_s: Option<f64>,
}

impl Default for AutoscalingConfig {
    fn default() -> Self {
        Self {
            min_replicas: 1,
            initial_replicas: None,
            max_replicas: 1,
            target_ongoing_requests: 2.0,
            metrics_interval_s: 10.0,
            look_back_period_s: 30.0,
            upscaling_factor: 1.0,
            downscaling_factor: 1.0,
            upscale_delay_s: 30.0,
            downscale_delay_s: 600.0,
            downscale_to_zero_delay_s: None,
        }
    }
}

/// Longest time that a setting may name, s: a year.
const LONGEST_S: f64 = 366.0 * 86_400.0;
/// Shortest time between two reports, s: a tick of the control loop.
const SHORTEST_INTERVAL_S: f64 = 0.1;

impl RaySpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.max_ongoing_requests == 0 {
            add(
                "max_ongoing_requests",
                "a replica that may work on 0 requests serves nothing".to_owned(),
                "write at least 1",
            );
        }
        if self.max_queued_requests < -1 || u32::try_from(self.max_queued_requests.max(0)).is_err() {
            let message = format!("max_queued_requests is {}", self.max_queued_requests);
            add("max_queued_requests", message, "write -1 (no limit) or 0 and more");
        }
        faults.extend(
            self.autoscaling_config
                .check()
                .into_iter()
                .map(|(p, m, h)| (format!("autoscaling_config.{p}"), m, h)),
        );
        faults
    }
}

impl AutoscalingConfig {
    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.max_replicas == 0 {
            add("max_replicas", "max_replicas is 0, which leaves no replica".to_owned(), "write at least 1");
        }
        if self.min_replicas > self.max_replicas {
            let message =
                format!("min_replicas {} is above max_replicas {}", self.min_replicas, self.max_replicas);
            add("min_replicas", message, "lower min_replicas or raise max_replicas");
        }
        if let Some(initial) =
            self.initial_replicas.filter(|n| !(self.min_replicas..=self.max_replicas).contains(n))
        {
            let message = format!(
                "initial_replicas {initial} is not between min_replicas {} and max_replicas {}",
                self.min_replicas, self.max_replicas
            );
            add("initial_replicas", message, "write a number between them, or leave it out");
        }
        // Negated, so that what is no number is caught, too.
        let positive = |value: f64| value > 0.0 && value.is_finite();
        for (path, value) in [
            ("target_ongoing_requests", self.target_ongoing_requests),
            ("upscaling_factor", self.upscaling_factor),
            ("downscaling_factor", self.downscaling_factor),
        ] {
            if !positive(value) {
                add(path, format!("{path} is {value}"), "write a number above 0");
            }
        }
        for (path, value) in
            [("metrics_interval_s", self.metrics_interval_s), ("look_back_period_s", self.look_back_period_s)]
        {
            if !(SHORTEST_INTERVAL_S..=LONGEST_S).contains(&value) {
                add(path, format!("{path} is {value}"), "write seconds: at least 0.1, and at most a year");
            }
        }
        if self.look_back_period_s < self.metrics_interval_s {
            let message = format!(
                "look_back_period_s {} is shorter than metrics_interval_s {}, which is not simulated",
                self.look_back_period_s, self.metrics_interval_s
            );
            add("look_back_period_s", message, "write a period of one interval or several");
        }
        let to_zero = self.downscale_to_zero_delay_s.unwrap_or(0.0);
        for (path, value) in [
            ("upscale_delay_s", self.upscale_delay_s),
            ("downscale_delay_s", self.downscale_delay_s),
            ("downscale_to_zero_delay_s", to_zero),
        ] {
            if !(0.0..=LONGEST_S).contains(&value) {
                add(path, format!("{path} is {value}"), "write seconds: 0 and more, and at most a year");
            }
        }
        faults
    }

    /// What the control loop goes by.
    pub fn rules(&self) -> Rules {
        Rules {
            min: self.min_replicas,
            max: self.max_replicas,
            target_ongoing_requests: self.target_ongoing_requests,
            upscaling_factor: self.upscaling_factor,
            downscaling_factor: self.downscaling_factor,
            upscale_ticks: delay_ticks(self.upscale_delay_s),
            downscale_ticks: delay_ticks(self.downscale_delay_s),
            downscale_to_zero_ticks: delay_ticks(
                self.downscale_to_zero_delay_s.unwrap_or(self.downscale_delay_s),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_at_once() {
        let check = |json: &str, expected: &[&str]| {
            let spec: RaySpec = serde_json::from_str(json).expect(json);
            let faults = spec.check();
            assert!(
                faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()),
                "{json}"
            );
            assert_eq!(faults.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), expected, "{json}");
        };
        check("{}", &[]);
        check(
            r#"{"max_queued_requests": 0, "autoscaling_config": {"min_replicas": 0, "max_replicas": 100}}"#,
            &[],
        );
        check(
            r#"{"max_ongoing_requests": 0, "max_queued_requests": -2, "autoscaling_config": {"min_replicas": 3,
                "max_replicas": 2, "initial_replicas": 9, "target_ongoing_requests": 0.0, "upscaling_factor": -1.0,
                "downscaling_factor": 0.0, "metrics_interval_s": 20.0, "look_back_period_s": 0.01,
                "upscale_delay_s": -1.0, "downscale_delay_s": 1e300, "downscale_to_zero_delay_s": -0.5}}"#,
            &[
                "max_ongoing_requests",
                "max_queued_requests",
                "autoscaling_config.min_replicas",
                "autoscaling_config.initial_replicas",
                "autoscaling_config.target_ongoing_requests",
                "autoscaling_config.upscaling_factor",
                "autoscaling_config.downscaling_factor",
                "autoscaling_config.look_back_period_s",
                "autoscaling_config.look_back_period_s",
                "autoscaling_config.upscale_delay_s",
                "autoscaling_config.downscale_delay_s",
                "autoscaling_config.downscale_to_zero_delay_s",
            ],
        );
        check(
            r#"{"autoscaling_config": {"min_replicas": 0, "max_replicas": 0}}"#,
            &["autoscaling_config.max_replicas"],
        );
        let mut spec = RaySpec::default();
        spec.autoscaling_config.target_ongoing_requests = f64::NAN;
        spec.autoscaling_config.upscale_delay_s = f64::NAN;
        assert_eq!(spec.check().len(), 2);
    }

    #[test]
    fn the_last_replica_waits_as_long_as_the_others_unless_it_is_said() {
        let config = AutoscalingConfig::default();
        let own = AutoscalingConfig { downscale_to_zero_delay_s: Some(60.0), ..config.clone() };
        let ticks = |config: &AutoscalingConfig| {
            let rules = config.rules();
            (rules.upscale_ticks, rules.downscale_ticks, rules.downscale_to_zero_ticks)
        };
        assert_eq!((ticks(&config), ticks(&own)), ((300, 6000, 6000), (300, 6000, 600)));
    }
}
