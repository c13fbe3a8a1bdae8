//! What a single change brings: the figures of a scenario with it beside those as it is, paired by replication.
//!
//! Both see the same traffic and draw the same numbers, so that a difference is the change's own and not luck; its interval says
//! how far that can be told from so many replications.

use super::gate::{Gate, GateStatus};
use super::metric::{Better, METRICS, Metric};
use super::statistics::{Estimate, paired_difference};
use crate::outcome::RunOutcome;

/// Every figure of a run: what is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// In the order of [`METRICS`].
    values: Vec<Option<f64>>,
    /// Digest of the run's facts.
    pub facts_digest: String,
}

impl Figures {
    /// Of a run.
    pub fn of(run: &RunOutcome) -> Self {
        let values = METRICS.iter().map(|metric| metric.value(run)).collect();
        Self { values, facts_digest: run.facts_digest.clone() }
    }

    /// Its value of a metric; see [`Metric::value`].
    pub fn value(&self, metric: &Metric) -> Option<f64> {
        self.values[metric.index()]
    }
}

/// Which way a figure went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It is better.
    Better,
    /// It is worse.
    Worse,
    /// It went up or down, which is neither by itself.
    Other,
    /// The interval of the difference holds nothing at all: no change can be told.
    Undetected,
    /// There is no such figure in one of the two.
    Absent,
}

impl Effect {
    fn of(better: Better, difference: &Estimate) -> Self {
        // One replication has no interval: its difference is all there is.
        let (low, high) = difference.interval.unwrap_or((difference.mean, difference.mean));
        match better {
            _ if low <= 0.0 && high >= 0.0 => Self::Undetected,
            Better::Neither => Self::Other,
            Better::Lower if high < 0.0 => Self::Better,
            Better::Higher if low > 0.0 => Self::Better,
            _ => Self::Worse,
        }
    }

    /// Whether there is a change.
    pub const fn is_detected(self) -> bool {
        matches!(self, Self::Better | Self::Worse | Self::Other)
    }
}

/// A metric with a change beside the same as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// With the change.
    pub estimate: Option<Estimate>,
    /// With the change less as it is, paired by replication. Infinite where requests never got there in one of the two.
    pub difference: Option<Estimate>,
    /// Which way it went.
    pub effect: Effect,
}

impl Change {
    /// What became of a metric. Replications in which either side has no such figure are left out of the difference.
    pub fn of(metric: &Metric, base: &[Figures], changed: &[Figures]) -> Self {
        let estimate = metric.estimate(changed.iter().map(|run| run.value(metric)));
        let both: (Vec<f64>, Vec<f64>) = base
            .iter()
            .zip(changed)
            .filter_map(|(base, changed)| Some((base.value(metric)?, changed.value(metric)?)))
            // Never and never again is no change.
            .map(|(base, changed)| if base == changed { (0.0, 0.0) } else { (base, changed) })
            .unzip();
        let difference = paired_difference(&both.0, &both.1);
        // Of infinite differences the mean tells nothing unless all are.
        let is_settled = |difference: &Estimate| {
            difference.mean.is_finite() || both.0.iter().zip(&both.1).all(|(a, b)| (b - a).is_infinite())
        };
        let effect = match &difference {
            None => Effect::Absent,
            Some(difference) if is_settled(difference) => Effect::of(metric.better, difference),
            Some(_) => Effect::Undetected,
        };
        Self { estimate, difference, effect }
    }

    /// The difference, nothing where none is detected.
    pub fn detected(&self) -> f64 {
        if self.effect.is_detected() { self.difference.map_or(0.0, |own| own.mean) } else { 0.0 }
    }
}

/// Judges a gate on the figures of all replications.
pub fn judge(gate: &Gate, runs: &[Figures]) -> GateStatus {
    gate.judge(gate.metric.estimate(runs.iter().map(|run| run.value(gate.metric))).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of runs that have this metric and no other.
    fn figures(name: &str, values: &[Option<f64>]) -> Vec<Figures> {
        let metric = Metric::find(name).unwrap();
        let run = |value: &Option<f64>| {
            let mut values = vec![None; METRICS.len()];
            values[metric.index()] = *value;
            Figures { values, facts_digest: String::new() }
        };
        values.iter().map(run).collect()
    }

    #[test]
    fn a_change_is_told_by_its_interval() {
        let never = f64::INFINITY;
        let check =
            |name: &str, base: &[Option<f64>], changed: &[Option<f64>], mean: Option<f64>, effect: Effect| {
                let metric = Metric::find(name).unwrap();
                let change = Change::of(metric, &figures(name, base), &figures(name, changed));
                assert_eq!(change.effect, effect, "{name} {base:?} {changed:?}: {change:?}");
                let found = change.difference.map(|own| own.mean);
                match (found, mean) {
                    (Some(found), Some(mean)) if mean.is_finite() => assert!((found - mean).abs() < 1e-12),
                    (found, mean) => assert_eq!(found, mean, "{name} {base:?} {changed:?}"),
                }
            };
        let some = |values: &[f64]| -> Vec<Option<f64>> { values.iter().copied().map(Some).collect() };
        // The level differs from run to run, the change does not.
        check("ttft.p99", &some(&[1.0, 5.0, 9.0]), &some(&[0.5, 4.5, 8.5]), Some(-0.5), Effect::Better);
        check("ttft.p99", &some(&[1.0, 5.0, 9.0]), &some(&[1.5, 5.5, 9.5]), Some(0.5), Effect::Worse);
        check("utilisation", &some(&[0.1, 0.2]), &some(&[0.3, 0.4]), Some(0.2), Effect::Better);
        check("replicas.max", &some(&[1.0, 2.0]), &some(&[2.0, 3.0]), Some(1.0), Effect::Other);
        // It helps once and hurts twice.
        check(
            "ttft.p99",
            &some(&[1.0, 1.0, 1.0]),
            &some(&[0.0, 2.0, 1.5]),
            Some(1.0 / 6.0),
            Effect::Undetected,
        );
        check("ttft.p99", &some(&[1.0, 2.0]), &some(&[1.0, 2.0]), Some(0.0), Effect::Undetected);
        // One replication has no interval.
        check("ttft.p99", &some(&[1.0]), &some(&[0.5]), Some(-0.5), Effect::Better);
        check("ttft.p99", &some(&[never, never]), &some(&[never, never]), Some(0.0), Effect::Undetected);
        check("ttft.p99", &some(&[never, never]), &some(&[1.0, 2.0]), Some(-never), Effect::Better);
        check("ttft.p99", &some(&[1.0, 2.0]), &some(&[never, never]), Some(never), Effect::Worse);
        check("ttft.p99", &some(&[1.0, 2.0]), &some(&[1.0, never]), Some(never), Effect::Undetected);
        check("ttft.p99", &some(&[1.0, never]), &some(&[never, 2.0]), None, Effect::Absent);
        check("coldStarts.median", &[None, Some(8.0)], &[None, Some(6.0)], Some(-2.0), Effect::Better);
        check("coldStarts.median", &[None, Some(8.0)], &[Some(9.0), None], None, Effect::Absent);
    }

    #[test]
    fn gates_are_judged_on_all_replications() {
        let gate = Gate::parse("slo.breach < 1%").unwrap();
        let check = |values: &[f64], expected: GateStatus| {
            let values: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
            assert_eq!(judge(&gate, &figures("slo.breach", &values)), expected, "{values:?}");
        };
        check(&[0.001, 0.001], GateStatus::Pass);
        check(&[0.02, 0.02], GateStatus::Fail);
        check(&[0.001, 0.03], GateStatus::Straddles);
        check(&[], GateStatus::Absent);
    }
}
