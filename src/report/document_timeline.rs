//! The timeline of a run in `outcome.json`, a column a series.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::outcome::timeline::Point;
use crate::outcome::{Phase, Timeline};

/// A run over time, in equal steps. Counts are over a step, states are at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineDoc {
    /// Length of a step, ns. The last step may be cut short by the end of the trace.
    pub step_ns: u64,
    /// Requests that arrived.
    pub arrived: Vec<u32>,
    /// Requests that were answered in full.
    pub finished: Vec<u32>,
    /// Breaching requests, by the time they ended.
    pub breached: Vec<u32>,
    /// Requests held at the gateway.
    pub held_requests: Vec<u32>,
    /// Requests in the replicas.
    pub in_replicas: Vec<u32>,
    /// Replicas by phase; phases that never occur are left out.
    pub replicas: IndexMap<String, Vec<u32>>,
    /// `spec.replicas`.
    pub ordered: Vec<u32>,
    /// What the billed nodes cost an hour, millionths of a US dollar.
    pub rate_micro_usd: Vec<u64>,
    /// Median time to first token of those that arrived in the step, ns, at most 6.3 % too high; `null` without any,
    /// [`NEVER_NS`] where it was never reached.
    pub ttft_p50_ns: Vec<Option<u64>>,
    /// The 99th percentile, likewise.
    pub ttft_p99_ns: Vec<Option<u64>>,
}

/// What stands for a first token that never came.
pub const NEVER_NS: u64 = u64::MAX;

impl From<&Timeline> for TimelineDoc {
    fn from(timeline: &Timeline) -> Self {
        let points = &timeline.points;
        let column = |of: fn(&Point) -> u32| points.iter().map(of).collect::<Vec<u32>>();
        let occurs = |phase: &Phase| points.iter().any(|point| point.replicas[*phase as usize] > 0);
        let replicas = |phase: Phase| {
            let counts = points.iter().map(|point| point.replicas[phase as usize]).collect();
            (phase.label().to_owned(), counts)
        };
        let ttft = |q: f64| {
            let of = |index: usize| timeline.ttft.get(index).and_then(|sketch| sketch.quantile(q));
            (0..points.len())
                .map(|index| of(index).map(super::super::kernel::time::SimDuration::as_nanos))
                .collect()
        };
        Self {
            step_ns: timeline.step.as_nanos(),
            arrived: column(|point| point.arrived),
            finished: column(|point| point.finished),
            breached: column(|point| point.breached),
            held_requests: column(|point| point.held_requests),
            in_replicas: column(|point| point.in_replicas),
            replicas: Phase::ALL.into_iter().filter(occurs).map(replicas).collect(),
            ordered: column(|point| point.ordered),
            rate_micro_usd: points.iter().map(|point| point.rate_micro_usd).collect(),
            ttft_p50_ns: ttft(0.5),
            ttft_p99_ns: ttft(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{SimDuration, SimTime};

    #[test]
    fn columns() {
        let mut timeline = Timeline { step: SimDuration::from_secs(15), ..Timeline::default() };
        for ready in [0, 3] {
            let mut point = Point { arrived: 7, rate_micro_usd: 3_600_000, ..Point::default() };
            point.replicas[Phase::Serving as usize] = ready;
            timeline.points.push(point);
        }
        timeline.note_ttft(SimTime::from_secs(16), SimDuration::from_millis(100));
        timeline.note_ttft(SimTime::from_secs(29), SimDuration::MAX);
        let doc = TimelineDoc::from(&timeline);
        assert_eq!(doc.replicas.into_iter().collect::<Vec<_>>(), [("serving".to_owned(), vec![0, 3])]);
        assert_eq!(
            (doc.step_ns, doc.arrived, doc.rate_micro_usd),
            (15_000_000_000, vec![7, 7], vec![3_600_000; 2])
        );
        assert_eq!(doc.ttft_p99_ns, [None, Some(NEVER_NS)]);
        let median = doc.ttft_p50_ns[1].unwrap();
        assert!((100_000_000..106_400_000).contains(&median), "{median}");
        // Halving keeps every value.
        timeline.halve();
        assert_eq!(TimelineDoc::from(&timeline).ttft_p99_ns, [Some(NEVER_NS)]);
    }
}
