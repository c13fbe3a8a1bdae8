//! Synthetic arrivals: what a scenario may ask for, and the renewal process behind each.
//!
//! A new process is one spec struct with `impl ArrivalSpec` and one arm in the registry.

use rand::rngs::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::SimDuration;
use crate::kernel::dist::{exponential, gamma_unit_mean, weibull_unit_mean};

use super::rate::{Phase, Rate, Stretch};

/// A rate above this is taken for a slip, requests/s.
const MAX_RATE: f64 = 1e8;
/// The CVs that the renewal processes are good for.
const CV_RANGE: std::ops::RangeInclusive<f64> = 0.05..=20.0;

/// How unit gaps are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gap {
    /// Always 1; the first arrival is at once.
    Even,
    /// Exponential.
    Exponential,
    /// Gamma of this shape.
    Gamma(f64),
    /// Weibull of this shape.
    Weibull(f64),
}

impl Gap {
    /// Draws a gap with mean 1.
    pub fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Exponential => exponential(rng),
            Self::Gamma(shape) => gamma_unit_mean(shape, rng),
            Self::Weibull(shape) => weibull_unit_mean(shape, rng),
        }
    }
}

/// A renewal process run along a rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Process {
    pub gap: Gap,
    pub rate: Rate,
}

/// What is wrong with a field of a spec: the field and the reason.
pub(super) type Complaints = Vec<(&'static str, String)>;

/// A synthetic arrival process of the registry.
pub(super) trait ArrivalSpec {
    /// Everything that is out of range.
    fn complaints(&self) -> Complaints;
    /// The process; called only if there are no complaints.
    fn process(&self) -> Process;
    /// A few words for the head of a report.
    fn label(&self) -> String;
}

fn check_rate(field: &'static str, rate: f64, zero_allowed: bool, out: &mut Complaints) {
    let low_enough = rate.is_finite() && rate <= MAX_RATE;
    if !low_enough || rate < 0.0 || (rate == 0.0 && !zero_allowed) {
        let least = if zero_allowed { "0 or more" } else { "more than 0" };
        out.push((field, format!("a rate is {least} requests/s and at most 100 million, not {rate}")));
    }
}

fn check_cv(cv: f64, out: &mut Complaints) {
    if !CV_RANGE.contains(&cv) {
        out.push(("cv", format!("a CV is between 0.05 and 20, not {cv} (Poisson has 1)")));
    }
}

fn check_length(field: &'static str, length: SimDuration, out: &mut Complaints) {
    if length < SimDuration::from_millis(1) {
        out.push((field, format!("{length} is shorter than 1ms")));
    }
}

/// How requests are spaced under a rate that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spacing {
    /// As a Poisson process.
    #[default]
    Poisson,
    /// Evenly: each request comes when exactly one more is due.
    Even,
}

impl Spacing {
    fn gap(self) -> Gap {
        match self {
            Self::Poisson => Gap::Exponential,
            Self::Even => Gap::Even,
        }
    }
}

/// Requests at fixed intervals; the first at time 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstantRateSpec {
    /// Requests/s.
    pub rate: f64,
}

impl ArrivalSpec for ConstantRateSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("rate", self.rate, false, &mut out);
        out
    }
    fn process(&self) -> Process {
        Process { gap: Gap::Even, rate: Rate::Flat(self.rate) }
    }
    fn label(&self) -> String {
        format!("constant {} requests/s", self.rate)
    }
}

/// A Poisson process: independent users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoissonSpec {
    /// Mean requests/s.
    pub rate: f64,
}

impl ArrivalSpec for PoissonSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("rate", self.rate, false, &mut out);
        out
    }
    fn process(&self) -> Process {
        Process { gap: Gap::Exponential, rate: Rate::Flat(self.rate) }
    }
    fn label(&self) -> String {
        format!("Poisson {} requests/s", self.rate)
    }
}

/// A renewal process of a given burstiness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewalSpec {
    /// Mean requests/s.
    pub rate: f64,
    /// Coefficient of variation of the inter-arrival times: 1 is as bursty as Poisson, more is burstier.
    pub cv: f64,
}

/// `gamma`: gaps from a Gamma distribution.
pub(super) struct Gamma<'a>(pub &'a RenewalSpec);
/// `weibull`: gaps from a Weibull distribution.
pub(super) struct Weibull<'a>(pub &'a RenewalSpec);

impl RenewalSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("rate", self.rate, false, &mut out);
        check_cv(self.cv, &mut out);
        out
    }
}

impl ArrivalSpec for Gamma<'_> {
    fn complaints(&self) -> Complaints {
        self.0.complaints()
    }
    fn process(&self) -> Process {
        Process { gap: Gap::Gamma(1.0 / (self.0.cv * self.0.cv)), rate: Rate::Flat(self.0.rate) }
    }
    fn label(&self) -> String {
        format!("Gamma {} requests/s, CV {}", self.0.rate, self.0.cv)
    }
}

impl ArrivalSpec for Weibull<'_> {
    fn complaints(&self) -> Complaints {
        self.0.complaints()
    }
    fn process(&self) -> Process {
        Process { gap: Gap::Weibull(weibull_shape(self.0.cv)), rate: Rate::Flat(self.0.rate) }
    }
    fn label(&self) -> String {
        format!("Weibull {} requests/s, CV {}", self.0.rate, self.0.cv)
    }
}

/// The Weibull shape with this CV: `cv² + 1 = Γ(1 + 2/k) / Γ(1 + 1/k)²`, which falls as k grows.
fn weibull_shape(cv: f64) -> f64 {
    let excess =
        |k: f64| libm::lgamma(1.0 + 2.0 / k) - 2.0 * libm::lgamma(1.0 + 1.0 / k) - libm::log(1.0 + cv * cv);
    let (mut low, mut high) = (0.05, 100.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if excess(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Bursts: Poisson traffic at two rates that take turns, each for an exponential time. It begins off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnOffSpec {
    /// Requests/s in a burst.
    pub on_rate: f64,
    /// Requests/s between bursts.
    #[serde(default)]
    pub off_rate: f64,
    /// Mean length of a burst.
    pub on: SimDuration,
    /// Mean time between bursts.
    pub off: SimDuration,
}

impl ArrivalSpec for OnOffSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("onRate", self.on_rate, false, &mut out);
        check_rate("offRate", self.off_rate, true, &mut out);
        check_length("on", self.on, &mut out);
        check_length("off", self.off, &mut out);
        out
    }
    fn process(&self) -> Process {
        let on = Phase { mean_secs: self.on.as_secs_f64(), rate: self.on_rate };
        let off = Phase { mean_secs: self.off.as_secs_f64(), rate: self.off_rate };
        Process { gap: Gap::Exponential, rate: Rate::OnOff { on, off } }
    }
    fn label(&self) -> String {
        format!("bursts of {} over {} requests/s", self.on_rate, self.off_rate)
    }
}

/// A rate given piece by piece; after the last piece it starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PiecewiseSpec {
    /// The pieces, in order.
    pub steps: Vec<RateStepSpec>,
    /// How requests are spaced.
    #[serde(default)]
    pub spacing: Spacing,
}

/// One piece of a piecewise rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateStepSpec {
    /// How long it lasts.
    pub r#for: SimDuration,
    /// Requests/s, at its beginning if `toRate` is given.
    pub rate: f64,
    /// Requests/s at its end, reached in a straight line. Default: `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_rate: Option<f64>,
}

impl ArrivalSpec for PiecewiseSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        for step in &self.steps {
            check_rate("steps", step.rate, true, &mut out);
            check_rate("steps", step.to_rate.unwrap_or(step.rate), true, &mut out);
            check_length("steps", step.r#for, &mut out);
        }
        if self.steps.iter().all(|s| s.rate == 0.0 && s.to_rate.unwrap_or(0.0) == 0.0) {
            out.push(("steps", "no step has a rate above 0".to_owned()));
        }
        out.dedup();
        out
    }
    fn process(&self) -> Process {
        let stretch = |s: &RateStepSpec| Stretch {
            secs: s.r#for.as_secs_f64(),
            from: s.rate,
            to: s.to_rate.unwrap_or(s.rate),
        };
        let stretches = self.steps.iter().map(stretch).collect();
        Process { gap: self.spacing.gap(), rate: Rate::Stretches { stretches, again: true } }
    }
    fn label(&self) -> String {
        format!("piecewise rate of {} steps", self.steps.len())
    }
}

/// A daily cycle: `rate (1 + swing cos(2 pi (t - peakAt) / period))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiurnalSpec {
    /// Mean requests/s over a period.
    pub rate: f64,
    /// How far the rate swings about its mean, from 0 to 1: 0.5 goes from half to one and a half times the mean.
    pub swing: f64,
    /// Length of a cycle.
    #[serde(default = "day")]
    pub period: SimDuration,
    /// When the first peak comes, from the start of the workload.
    #[serde(default)]
    pub peak_at: SimDuration,
    /// How requests are spaced.
    #[serde(default)]
    pub spacing: Spacing,
}

fn day() -> SimDuration {
    SimDuration::from_secs(86_400)
}

impl ArrivalSpec for DiurnalSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("rate", self.rate, false, &mut out);
        check_length("period", self.period, &mut out);
        if !(0.0..=1.0).contains(&self.swing) {
            out.push(("swing", format!("a swing is between 0 and 1, not {}", self.swing)));
        }
        out
    }
    fn process(&self) -> Process {
        let (period, peak) = (self.period.as_secs_f64(), self.peak_at.as_secs_f64());
        let rate = Rate::Cosine { mean: self.rate, swing: self.swing, period, peak };
        Process { gap: self.spacing.gap(), rate }
    }
    fn label(&self) -> String {
        format!("diurnal {} requests/s ±{}%", self.rate, self.swing * 100.0)
    }
}

/// A step up and down again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpikeSpec {
    /// Requests/s before and after.
    pub base_rate: f64,
    /// Requests/s during the spike.
    pub peak_rate: f64,
    /// When it begins, from the start of the workload.
    pub from: SimDuration,
    /// How long it lasts.
    pub r#for: SimDuration,
    /// How requests are spaced.
    #[serde(default)]
    pub spacing: Spacing,
}

impl ArrivalSpec for SpikeSpec {
    fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        check_rate("baseRate", self.base_rate, true, &mut out);
        check_rate("peakRate", self.peak_rate, false, &mut out);
        check_length("for", self.r#for, &mut out);
        out
    }
    fn process(&self) -> Process {
        let stretches = vec![
            Stretch::flat(self.from.as_secs_f64(), self.base_rate),
            Stretch::flat(self.r#for.as_secs_f64(), self.peak_rate),
            Stretch::flat(f64::INFINITY, self.base_rate),
        ];
        Process { gap: self.spacing.gap(), rate: Rate::Stretches { stretches, again: false } }
    }
    fn label(&self) -> String {
        format!("spike from {} to {} requests/s", self.base_rate, self.peak_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weibull_shapes_have_the_cv_asked_for() {
        // Exponential at 1; the others by the closed forms Γ(1+4) / Γ(1+2)² = 6 and Γ(2) / Γ(1.5)² = 4/π.
        let check = |cv: f64, shape: f64| assert!((weibull_shape(cv) - shape).abs() < 1e-9, "{cv}");
        check(1.0, 1.0);
        check(5.0_f64.sqrt(), 0.5);
        check((4.0 / std::f64::consts::PI - 1.0).sqrt(), 2.0);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let check = |spec: &dyn ArrivalSpec, expected: &[&str]| {
            let fields: Vec<&str> = spec.complaints().iter().map(|c| c.0).collect();
            assert_eq!(fields, expected, "{}", spec.label());
        };
        check(&PoissonSpec { rate: 1.0 }, &[]);
        check(&PoissonSpec { rate: 0.0 }, &["rate"]);
        check(&ConstantRateSpec { rate: f64::NAN }, &["rate"]);
        check(&Gamma(&RenewalSpec { rate: -1.0, cv: 0.0 }), &["rate", "cv"]);
        check(&PiecewiseSpec { steps: vec![], spacing: Spacing::Even }, &["steps"]);
        let second = SimDuration::from_secs(1);
        check(&OnOffSpec { on_rate: 1.0, off_rate: 0.0, on: SimDuration::ZERO, off: second }, &["on"]);
        let spike =
            SpikeSpec { base_rate: 0.0, peak_rate: 0.0, from: second, r#for: second, spacing: Spacing::Even };
        check(&spike, &["peakRate"]);
    }
}
