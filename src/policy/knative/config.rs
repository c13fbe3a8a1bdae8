//! `config-autoscaler`: the cluster's defaults for every revision, from the strings of a ConfigMap.
//!
//! After knative/serving `pkg/autoscaler/config/config.go` (98e5ef90).

use std::collections::BTreeMap;

use super::SECOND;
use super::parse::{Reader, boolean, duration, integer, number, shown};
use crate::policy::Fault;
use crate::policy::hpa::types::Nanos;

/// The lowest target a pod may be given (`autoscaling.TargetMin`).
pub const TARGET_MIN: f64 = 0.01;
/// The shortest stable window (`autoscaling.WindowMin`).
pub const WINDOW_MIN: Nanos = 6 * SECOND;
/// The longest stable window, delay and retention (`autoscaling.WindowMax`).
pub const WINDOW_MAX: Nanos = 3600 * SECOND;
/// The lowest panic window, percent of the stable one.
pub const PANIC_WINDOW_PERCENTAGE_MIN: f64 = 1.0;
/// The highest panic window, percent of the stable one.
pub const PANIC_WINDOW_PERCENTAGE_MAX: f64 = 100.0;

/// Whether a burst capacity is -1: the activator stays in the path for ever.
#[expect(clippy::float_cmp, reason = "-1 is a word here and no measurement")]
pub fn is_unlimited(target_burst_capacity: f64) -> bool {
    target_burst_capacity == -1.0
}

/// The class of revisions that this autoscaler looks after.
pub const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";

/// The cluster's configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalerConfig {
    /// `pod-autoscaler-class`.
    pub pod_autoscaler_class: String,
    /// `enable-scale-to-zero`.
    pub enable_scale_to_zero: bool,
    /// `allow-zero-initial-scale`.
    pub allow_zero_initial_scale: bool,
    /// `container-concurrency-target-percentage` as a fraction, over 0 to 1.
    pub container_concurrency_target_fraction: f64,
    /// `container-concurrency-target-default`, requests in flight in a pod.
    pub container_concurrency_target_default: f64,
    /// Share of the target that other metrics aim for; no key sets it.
    pub target_utilization: f64,
    /// `requests-per-second-target-default`, requests per second of a pod.
    pub rps_target_default: f64,
    /// `target-burst-capacity`, requests; 0 keeps the activator out of the path, -1 in it.
    pub target_burst_capacity: f64,
    /// `activator-capacity`, requests in flight in one activator.
    pub activator_capacity: f64,
    /// `max-scale-up-rate`, the most pods per ready pod.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`, the most ready pods per pod kept.
    pub max_scale_down_rate: f64,
    /// `panic-window-percentage` of the stable window.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage` of what the ready pods are meant to carry.
    pub panic_threshold_percentage: f64,
    /// `stable-window`.
    pub stable_window: Nanos,
    /// `scale-down-delay`.
    pub scale_down_delay: Nanos,
    /// `scale-to-zero-grace-period`.
    pub scale_to_zero_grace_period: Nanos,
    /// `scale-to-zero-pod-retention-period`.
    pub scale_to_zero_pod_retention_period: Nanos,
    /// `initial-scale`, pods.
    pub initial_scale: i32,
    /// `min-scale`, pods.
    pub min_scale: i32,
    /// `max-scale`, pods; 0 is without limit.
    pub max_scale: i32,
    /// `max-scale-limit`, the most that a revision may set as its own; 0 is without limit.
    pub max_scale_limit: i32,
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        Self {
            pod_autoscaler_class: KPA_CLASS.to_owned(),
            enable_scale_to_zero: true,
            allow_zero_initial_scale: false,
            container_concurrency_target_fraction: 0.7,
            container_concurrency_target_default: 100.0,
            target_utilization: 0.7,
            rps_target_default: 200.0,
            target_burst_capacity: 211.0,
            activator_capacity: 100.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            stable_window: 60 * SECOND,
            scale_down_delay: 0,
            scale_to_zero_grace_period: 30 * SECOND,
            scale_to_zero_pod_retention_period: 0,
            initial_scale: 1,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
        }
    }
}

/// The keys that are read. Others are ignored, as upstream ignores `_example`; a caller may warn of them.
pub const KEYS: [&str; 20] = [
    "pod-autoscaler-class",
    "enable-scale-to-zero",
    "allow-zero-initial-scale",
    "container-concurrency-target-percentage",
    "container-concurrency-target-default",
    "requests-per-second-target-default",
    "target-burst-capacity",
    "activator-capacity",
    "max-scale-up-rate",
    "max-scale-down-rate",
    "panic-window-percentage",
    "panic-threshold-percentage",
    "stable-window",
    "scale-down-delay",
    "scale-to-zero-grace-period",
    "scale-to-zero-pod-retention-period",
    "initial-scale",
    "min-scale",
    "max-scale",
    "max-scale-limit",
];

impl AutoscalerConfig {
    /// Reads the `data` of the ConfigMap over the defaults.
    ///
    /// # Errors
    /// Every fault, each with its key as the path.
    pub fn from_data(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(data);
        let mut config = Self::default();
        config.read_numbers(&mut reader);
        config.read_others(&mut reader);
        if !reader.faults.is_empty() {
            return Err(reader.faults);
        }
        // A fraction may be written as such, so that a percentage must be above 1.
        if config.container_concurrency_target_fraction > 1.0 {
            config.container_concurrency_target_fraction /= 100.0;
        }
        config.check_targets(&mut reader);
        config.check_times(&mut reader);
        config.check_scales(&mut reader);
        if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
    }

    fn read_numbers(&mut self, reader: &mut Reader<'_>) {
        for (key, field) in [
            ("container-concurrency-target-percentage", &mut self.container_concurrency_target_fraction),
            ("container-concurrency-target-default", &mut self.container_concurrency_target_default),
            ("requests-per-second-target-default", &mut self.rps_target_default),
            ("target-burst-capacity", &mut self.target_burst_capacity),
            ("activator-capacity", &mut self.activator_capacity),
            ("max-scale-up-rate", &mut self.max_scale_up_rate),
            ("max-scale-down-rate", &mut self.max_scale_down_rate),
            ("panic-window-percentage", &mut self.panic_window_percentage),
            ("panic-threshold-percentage", &mut self.panic_threshold_percentage),
        ] {
            *field = reader.value(&[key], number).unwrap_or(*field);
        }
    }

    fn read_others(&mut self, reader: &mut Reader<'_>) {
        if let Some((_, class)) = reader.text(&["pod-autoscaler-class"]) {
            class.clone_into(&mut self.pod_autoscaler_class);
        }
        for (key, field) in [
            ("enable-scale-to-zero", &mut self.enable_scale_to_zero),
            ("allow-zero-initial-scale", &mut self.allow_zero_initial_scale),
        ] {
            *field = reader.value(&[key], boolean).unwrap_or(*field);
        }
        for (key, field) in [
            ("stable-window", &mut self.stable_window),
            ("scale-down-delay", &mut self.scale_down_delay),
            ("scale-to-zero-grace-period", &mut self.scale_to_zero_grace_period),
            ("scale-to-zero-pod-retention-period", &mut self.scale_to_zero_pod_retention_period),
        ] {
            *field = reader.value(&[key], duration).unwrap_or(*field);
        }
        for (key, field) in [
            ("initial-scale", &mut self.initial_scale),
            ("min-scale", &mut self.min_scale),
            ("max-scale", &mut self.max_scale),
            ("max-scale-limit", &mut self.max_scale_limit),
        ] {
            *field = reader.value(&[key], integer).unwrap_or(*field);
        }
    }

    fn check_targets(&self, reader: &mut Reader<'_>) {
        let mut demand =
            |holds: bool, key: &str, message: String, help: &str| reader.demand(holds, key, message, help);
        let burst = self.target_burst_capacity;
        let message = format!("a burst capacity of {burst}");
        demand(
            burst >= 0.0 || is_unlimited(burst),
            "target-burst-capacity",
            message,
            "write 0 or more, or -1 to keep the activator in the path",
        );
        let fraction = self.container_concurrency_target_fraction;
        let key = "container-concurrency-target-percentage";
        let in_range = fraction > 0.0 && fraction <= 1.0;
        demand(
            in_range,
            key,
            format!("{fraction} of the concurrency limit"),
            "write a percentage over 1 to 100, or a fraction over 0 to 1",
        );
        let product = fraction * self.container_concurrency_target_default;
        let message = format!("a target concurrency of {product} in a pod");
        demand(
            !in_range || product >= TARGET_MIN,
            "container-concurrency-target-default",
            message,
            "write a default which times the percentage is at least 0.01",
        );
        let rps = self.rps_target_default;
        let message = format!("a target of {rps} requests per second");
        demand(
            rps >= TARGET_MIN,
            "requests-per-second-target-default",
            message,
            "write at least 0.01, e.g. 200",
        );
        let capacity = self.activator_capacity;
        demand(
            capacity >= 1.0,
            "activator-capacity",
            format!("an activator for {capacity} requests"),
            "write at least 1, e.g. 100",
        );
        for (key, rate) in
            [("max-scale-up-rate", self.max_scale_up_rate), ("max-scale-down-rate", self.max_scale_down_rate)]
        {
            demand(rate > 1.0, key, format!("a rate of {rate} allows no change"), "write more than 1");
        }
        let panic = self.panic_window_percentage;
        demand(
            (PANIC_WINDOW_PERCENTAGE_MIN..=PANIC_WINDOW_PERCENTAGE_MAX).contains(&panic),
            "panic-window-percentage",
            format!("a panic window of {panic} % of the stable one"),
            "write 1 to 100",
        );
    }

    fn check_times(&self, reader: &mut Reader<'_>) {
        let (grace, retention) = (self.scale_to_zero_grace_period, self.scale_to_zero_pod_retention_period);
        let message = format!("a grace period of {}", shown(grace));
        reader.demand(
            grace > 0,
            "scale-to-zero-grace-period",
            message,
            "write more than 0, e.g. 30s: the activator needs the time to take over",
        );
        let message = format!("a retention of {}", shown(retention));
        reader.demand(retention >= 0, "scale-to-zero-pod-retention-period", message, "write 0s or more");
        let (delay, window) = (self.scale_down_delay, self.stable_window);
        let message = format!("a delay of {}", shown(delay));
        reader.demand(
            delay >= 0 && delay % SECOND == 0,
            "scale-down-delay",
            message,
            "write 0s or more, in whole seconds",
        );
        let message = format!("a stable window of {}", shown(window));
        reader.demand(
            (WINDOW_MIN..=WINDOW_MAX).contains(&window) && window % SECOND == 0,
            "stable-window",
            message,
            "write 6s to 1h, in whole seconds",
        );
    }

    fn check_scales(&self, reader: &mut Reader<'_>) {
        let (initial, min, max, limit) =
            (self.initial_scale, self.min_scale, self.max_scale, self.max_scale_limit);
        let least = i32::from(!self.allow_zero_initial_scale);
        reader.demand(
            initial >= least,
            "initial-scale",
            format!("an initial scale of {initial}"),
            "write at least 1, or 0 with allow-zero-initial-scale: \"true\"",
        );
        reader.demand(limit >= 0, "max-scale-limit", format!("a limit of {limit}"), "write 0 or more");
        // A limit on what revisions may ask for needs a default below it.
        let least = i32::from(limit > 0);
        reader.demand(
            max >= least && (limit <= 0 || max <= limit),
            "max-scale",
            format!("a maximum of {max} under a limit of {limit}"),
            "write 0 (none) or more; with max-scale-limit, 1 up to the limit",
        );
        reader.demand(
            min >= 0 && (max <= 0 || min <= max),
            "min-scale",
            format!("a minimum of {min} under a maximum of {max}"),
            "write 0 up to max-scale",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(pairs: &[(&str, &str)]) -> Vec<String> {
        let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match AutoscalerConfig::from_data(&data) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|(path, ..)| path).collect(),
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        assert_eq!(paths(&[]), [""; 0]);
        assert_eq!(
            paths(&[("stable-window", "1s"), ("max-scale-up-rate", "1"), ("_example", "x")]),
            ["max-scale-up-rate", "stable-window"]
        );
        assert_eq!(paths(&[("initial-scale", "a"), ("max-scale", "1.5")]), ["initial-scale", "max-scale"]);
        assert_eq!(paths(&[("min-scale", "-1")]), ["min-scale"]);
        assert_eq!(paths(&[("min-scale", "3"), ("max-scale", "2")]), ["min-scale"]);
        assert_eq!(paths(&[("max-scale", "3"), ("max-scale-limit", "2")]), ["max-scale"]);
        assert_eq!(paths(&[("stable-window", "6500ms")]), ["stable-window"]);
        assert_eq!(paths(&[("enable-scale-to-zero", "perhaps")]), ["enable-scale-to-zero"]);
    }

    #[test]
    fn keys_are_those_that_are_read() {
        for key in KEYS {
            // No key takes an empty value, but the class, which is a free text.
            let read = !paths(&[(key, "")]).is_empty();
            assert_eq!(read, key != "pod-autoscaler-class", "{key}");
        }
    }
}
