//! `autoscaling.knative.dev/...` annotations of a revision: what each overrides, and what is allowed.
//!
//! After knative/serving `pkg/apis/autoscaling/{register,annotation_validation}.go` (98e5ef90).

use std::collections::BTreeMap;

use super::buckets::Aggregation;
use super::config::{
    AutoscalerConfig, KPA_CLASS, PANIC_WINDOW_PERCENTAGE_MAX, PANIC_WINDOW_PERCENTAGE_MIN, TARGET_MIN,
    WINDOW_MAX, WINDOW_MIN, is_unlimited,
};
use super::parse::{Reader, duration, integer, number, shown};
use super::target::ScalingMetric;
use super::{PROGRESS_DEADLINE, SECOND};
use crate::policy::Fault;
use crate::policy::hpa::types::Nanos;

/// Each annotation by its name and, where it has one, by its older spelling; the former wins.
macro_rules! keys {
    ($($name:ident = [$($key:literal),+];)*) => {
        $(pub(super) const $name: &[&str] = &[$($key),+];)*
        /// Every annotation that is read.
        pub const KEYS: &[&[&str]] = &[$($name),*];
    };
}

keys! {
    CLASS = ["autoscaling.knative.dev/class"];
    METRIC = ["autoscaling.knative.dev/metric"];
    TARGET = ["autoscaling.knative.dev/target"];
    UTILIZATION = ["autoscaling.knative.dev/target-utilization-percentage", "autoscaling.knative.dev/targetUtilizationPercentage"];
    BURST_CAPACITY = ["autoscaling.knative.dev/target-burst-capacity", "autoscaling.knative.dev/targetBurstCapacity"];
    WINDOW = ["autoscaling.knative.dev/window"];
    AGGREGATION = ["autoscaling.knative.dev/metric-aggregation-algorithm"];
    PANIC_WINDOW = ["autoscaling.knative.dev/panic-window-percentage", "autoscaling.knative.dev/panicWindowPercentage"];
    PANIC_THRESHOLD = ["autoscaling.knative.dev/panic-threshold-percentage", "autoscaling.knative.dev/panicThresholdPercentage"];
    MIN_SCALE = ["autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale"];
    MAX_SCALE = ["autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale"];
    INITIAL_SCALE = ["autoscaling.knative.dev/initial-scale", "autoscaling.knative.dev/initialScale"];
    ACTIVATION_SCALE = ["autoscaling.knative.dev/activation-scale"];
    SCALE_DOWN_DELAY = ["autoscaling.knative.dev/scale-down-delay", "autoscaling.knative.dev/scaleDownDelay"];
    POD_RETENTION = ["autoscaling.knative.dev/scale-to-zero-pod-retention-period", "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod"];
    PROGRESS = ["serving.knative.dev/progress-deadline"];
}

/// Lowest panic threshold, percent.
const PANIC_THRESHOLD_MIN: f64 = 110.0;
/// Highest panic threshold, percent.
const PANIC_THRESHOLD_MAX: f64 = 1000.0;

/// What a revision overrides; `None` leaves it to the cluster's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// `metric`.
    pub metric: ScalingMetric,
    /// `metric-aggregation-algorithm`.
    pub aggregation: Aggregation,
    /// `target`, per pod.
    pub target: Option<f64>,
    /// `target-utilization-percentage`.
    pub target_utilization_percentage: Option<f64>,
    /// `target-burst-capacity`, requests.
    pub target_burst_capacity: Option<f64>,
    /// `window`: the stable window.
    pub window: Option<Nanos>,
    /// `panic-window-percentage`.
    pub panic_window_percentage: Option<f64>,
    /// `panic-threshold-percentage`.
    pub panic_threshold_percentage: Option<f64>,
    /// `min-scale`, pods.
    pub min_scale: Option<i32>,
    /// `max-scale`, pods; 0 is without limit.
    pub max_scale: Option<i32>,
    /// `initial-scale`, pods.
    pub initial_scale: Option<i32>,
    /// `activation-scale`: the fewest pods when there is anything to do at all.
    pub activation_scale: Option<i32>,
    /// `scale-down-delay`.
    pub scale_down_delay: Option<Nanos>,
    /// `scale-to-zero-pod-retention-period`.
    pub pod_retention_period: Option<Nanos>,
    /// `serving.knative.dev/progress-deadline`.
    pub progress_deadline: Option<Nanos>,
}

impl Annotations {
    /// Reads the annotations of a revision; other annotations are left alone.
    ///
    /// # Errors
    /// Every fault, each with its annotation as the path.
    pub fn from_map(map: &BTreeMap<String, String>, config: &AutoscalerConfig) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(map);
        let mut own = Self::default();
        own.read_kinds(&mut reader, config);
        own.read_numbers(&mut reader);
        own.read_times(&mut reader);
        own.read_scales(&mut reader, config);
        if reader.faults.is_empty() { Ok(own) } else { Err(reader.faults) }
    }

    /// The progress deadline that holds.
    pub fn progress_deadline(&self) -> Nanos {
        self.progress_deadline.unwrap_or(PROGRESS_DEADLINE)
    }

    fn read_kinds(&mut self, reader: &mut Reader<'_>, config: &AutoscalerConfig) {
        let class = reader.text(CLASS).map_or(config.pod_autoscaler_class.as_str(), |(_, class)| class);
        let message = format!("the class {class} is not the KPA");
        let help = format!("leave it out, or write {KPA_CLASS}; for the HPA write an HPA's manifest");
        reader.demand(class == KPA_CLASS, CLASS[0], message, &help);
        if let Some((key, metric)) = reader.text(METRIC) {
            self.metric = if metric == "rps" { ScalingMetric::Rps } else { ScalingMetric::Concurrency };
            let message = format!("the KPA does not scale on `{metric}`");
            reader.demand(["concurrency", "rps"].contains(&metric), key, message, "write concurrency or rps");
        }
        if let Some((key, name)) = reader.text(AGGREGATION) {
            let weighted = ["weighted-exponential", "weightedExponential"].contains(&name);
            if weighted {
                self.aggregation = Aggregation::WeightedExponential;
            }
            let known = weighted || ["", "linear"].contains(&name);
            let message = format!("the aggregation `{name}` is not known");
            reader.demand(known, key, message, "write linear or weighted-exponential");
        }
    }

    fn read_numbers(&mut self, reader: &mut Reader<'_>) {
        for (keys, field, low, high) in [
            (TARGET, &mut self.target, TARGET_MIN, f64::INFINITY),
            (UTILIZATION, &mut self.target_utilization_percentage, 1.0, 100.0),
            (
                PANIC_WINDOW,
                &mut self.panic_window_percentage,
                PANIC_WINDOW_PERCENTAGE_MIN,
                PANIC_WINDOW_PERCENTAGE_MAX,
            ),
            (PANIC_THRESHOLD, &mut self.panic_threshold_percentage, PANIC_THRESHOLD_MIN, PANIC_THRESHOLD_MAX),
        ] {
            *field = reader.value(keys, number);
            let Some(value) = *field else { continue };
            let help = match high {
                f64::INFINITY => format!("write at least {low}"),
                _ => format!("write {low} to {high}"),
            };
            reader.demand((low..=high).contains(&value), keys[0], format!("{value} is out of range"), &help);
        }
        self.target_burst_capacity = reader.value(BURST_CAPACITY, number);
        if let Some(burst) = self.target_burst_capacity {
            let message = format!("a burst capacity of {burst}");
            let help = "write 0 or more, or -1 to keep the activator in the path";
            reader.demand(burst >= 0.0 || is_unlimited(burst), BURST_CAPACITY[0], message, help);
        }
    }

    fn read_times(&mut self, reader: &mut Reader<'_>) {
        let whole = |nanos: Nanos| nanos % SECOND == 0;
        self.window = reader.value(WINDOW, duration);
        if let Some(window) = self.window {
            let holds = (WINDOW_MIN..=WINDOW_MAX).contains(&window) && whole(window);
            reader.demand(
                holds,
                WINDOW[0],
                format!("a window of {}", shown(window)),
                "write 6s to 1h, in whole seconds",
            );
        }
        self.scale_down_delay = reader.value(SCALE_DOWN_DELAY, duration);
        if let Some(delay) = self.scale_down_delay {
            let holds = (0..=WINDOW_MAX).contains(&delay) && whole(delay);
            let message = format!("a delay of {}", shown(delay));
            reader.demand(holds, SCALE_DOWN_DELAY[0], message, "write 0s to 1h, in whole seconds");
        }
        self.pod_retention_period = reader.value(POD_RETENTION, duration);
        if let Some(retention) = self.pod_retention_period {
            let message = format!("a retention of {}", shown(retention));
            reader.demand((0..=WINDOW_MAX).contains(&retention), POD_RETENTION[0], message, "write 0s to 1h");
        }
        self.progress_deadline = reader.value(PROGRESS, duration);
        if let Some(deadline) = self.progress_deadline {
            let message = format!("a deadline of {}", shown(deadline));
            let holds = deadline >= SECOND && whole(deadline);
            reader.demand(holds, PROGRESS[0], message, "write 1s or more, in whole seconds");
        }
    }

    fn read_scales(&mut self, reader: &mut Reader<'_>, config: &AutoscalerConfig) {
        for (keys, field) in [(MIN_SCALE, &mut self.min_scale), (MAX_SCALE, &mut self.max_scale)] {
            *field = reader.value(keys, integer);
            let holds = field.is_none_or(|scale| scale >= 0);
            reader.demand(holds, keys[0], "a negative scale".to_owned(), "write 0 or more");
        }
        let (min, max) = (self.min_scale.unwrap_or(0), self.max_scale.unwrap_or(0));
        let message = format!("a maximum of {max} under a minimum of {min}");
        reader.demand(max <= 0 || max >= min, MAX_SCALE[0], message, "raise it, or write 0 for no limit");
        let limit = config.max_scale_limit;
        let within = self.max_scale.is_none_or(|max| limit == 0 || (1..=limit).contains(&max));
        let message = format!("a maximum of {max} under the cluster's limit of {limit}");
        reader.demand(within, MAX_SCALE[0], message, "write 1 up to max-scale-limit");
        self.activation_scale = reader.value(ACTIVATION_SCALE, integer);
        if let Some(scale) = self.activation_scale {
            let message = format!("an activation scale of {scale} beside {min} to {max}");
            let holds = scale >= 2 && scale >= min && (max == 0 || scale <= max);
            reader.demand(
                holds,
                ACTIVATION_SCALE[0],
                message,
                "write at least 2, within min-scale and max-scale",
            );
        }
        self.initial_scale = reader.value(INITIAL_SCALE, integer);
        if let Some(scale) = self.initial_scale {
            let holds = scale >= i32::from(!config.allow_zero_initial_scale);
            let message = format!("an initial scale of {scale}");
            let help = "write at least 1, or 0 with allow-zero-initial-scale: \"true\" in config-autoscaler";
            reader.demand(holds, INITIAL_SCALE[0], message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Annotations, Vec<String>> {
        let map = pairs
            .iter()
            .map(|(key, value)| (format!("autoscaling.knative.dev/{key}"), (*value).to_owned()))
            .collect();
        let paths = |faults: Vec<Fault>| {
            faults.into_iter().map(|(path, ..)| path.replace("autoscaling.knative.dev/", "")).collect()
        };
        Annotations::from_map(&map, &AutoscalerConfig::default()).map_err(paths)
    }

    #[test]
    fn the_newer_spelling_wins() {
        let own =
            read(&[("minScale", "2"), ("min-scale", "3"), ("targetBurstCapacity", "-1")]).expect("valid");
        assert_eq!((own.min_scale, own.target_burst_capacity), (Some(3), Some(-1.0)));
    }

    #[test]
    fn upstreams_rules_hold() {
        for (bad, path) in [
            (&[("class", "hpa.autoscaling.knative.dev")][..], "class"),
            (&[("metric", "cpu")], "metric"),
            (&[("metric-aggregation-algorithm", "mean")], "metric-aggregation-algorithm"),
            (&[("target", "0.001")], "target"),
            (&[("target-utilization-percentage", "0.7")], "target-utilization-percentage"),
            (&[("panic-threshold-percentage", "109")], "panic-threshold-percentage"),
            (&[("panic-window-percentage", "101")], "panic-window-percentage"),
            (&[("target-burst-capacity", "-2")], "target-burst-capacity"),
            (&[("window", "5s")], "window"),
            (&[("window", "6500ms")], "window"),
            (&[("scale-down-delay", "2h")], "scale-down-delay"),
            (&[("scale-to-zero-pod-retention-period", "-1s")], "scale-to-zero-pod-retention-period"),
            (&[("max-scale", "-1")], "max-scale"),
            (&[("min-scale", "3"), ("max-scale", "2")], "max-scale"),
            (&[("activation-scale", "1")], "activation-scale"),
            (&[("min-scale", "3"), ("activation-scale", "2")], "activation-scale"),
            (&[("initial-scale", "0")], "initial-scale"),
        ] {
            assert_eq!(read(bad), Err(vec![path.to_owned()]), "{bad:?}");
        }
        assert!(read(&[("min-scale", "3"), ("max-scale", "0"), ("activation-scale", "3")]).is_ok());
    }
}
