//! The worst rise of an order within a lead: how many spares a policy would have needed while a replica starts.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Setting};
use crate::kernel::{SimDuration, SimTime};

/// How the worst rise is found: over the last `lookBack`, the most by which the order of the policy below rose within any `lead`.
/// Until it has risen once, that is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RiseSpec {
    /// How long a replica takes from its order until it serves. Default: the cold start that the profile and the cluster give, nodes
    /// included, at its 90th percentile.
    #[serde(default)]
    pub lead: Option<SimDuration>,
    /// How far back rises count.
    #[serde(default = "hour")]
    pub look_back: SimDuration,
}

fn hour() -> SimDuration {
    SimDuration::from_secs(3600)
}

/// The quantile of a cold start that is the lead where nobody says.
const LEAD_QUANTILE: f64 = 0.9;

impl RiseSpec {
    /// The lead that holds in a setting; of an estimate, whole seconds.
    pub fn lead_in(&self, setting: &Setting) -> SimDuration {
        let start = setting.replica.start_with_node.at(LEAD_QUANTILE);
        self.lead.unwrap_or(SimDuration::from_secs(start.as_nanos().div_ceil(1_000_000_000)))
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.lead.is_some_and(SimDuration::is_zero) {
            add(
                "lead",
                "replicas that start in no time need no spares".to_owned(),
                "write e.g. 3m, what a start takes",
            );
        }
        if let Some(lead) = self.lead.filter(|lead| self.look_back < *lead) {
            let message = format!("{} are less than the lead, {lead}", self.look_back);
            add("lookBack", message, "write a multiple of the lead, e.g. 1h");
        }
        faults
    }
}

/// The orders of the look-back, and their worst rise.
#[derive(Clone, Debug)]
pub struct Rises {
    lead: SimDuration,
    look_back: SimDuration,
    /// Since when each order was in force; the first may be older than the look-back.
    orders: VecDeque<(SimTime, u32)>,
    now: SimTime,
}

impl Rises {
    /// None yet.
    pub fn new(lead: SimDuration, look_back: SimDuration) -> Self {
        Self { lead, look_back, orders: VecDeque::new(), now: SimTime::ZERO }
    }

    /// So many are ordered from an instant on.
    pub fn note(&mut self, now: SimTime, replicas: u32) {
        self.now = now;
        if self.orders.back().is_none_or(|(_, last)| *last != replicas) {
            self.orders.push_back((now, replicas));
        }
        // What was in force as the look-back began counts.
        while self.orders.get(1).is_some_and(|(at, _)| now.since(*at) >= self.look_back) {
            self.orders.pop_front();
        }
    }

    /// The most by which an order of the look-back exceeded one that was in force less than a lead before it began.
    pub fn worst(&self) -> u32 {
        let mut worst = 0;
        // The orders before the one that is looked at that were in force within the lead before it, the lowest first: one that is
        // no lower than a later one is never the lowest again.
        let mut low: VecDeque<(usize, u32)> = VecDeque::new();
        for (index, (at, replicas)) in self.orders.iter().enumerate() {
            let is_past = |(order, _): &(usize, u32)| {
                self.orders.get(order + 1).is_some_and(|(until, _)| *until + self.lead <= *at)
            };
            while low.front().is_some_and(is_past) {
                low.pop_front();
            }
            if let Some((_, lowest)) = low.front() {
                worst = worst.max(replicas.saturating_sub(*lowest));
            }
            while low.back().is_some_and(|(_, other)| other >= replicas) {
                low.pop_back();
            }
            low.push_back((index, *replicas));
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Distribution, Quantiles};
    use crate::policy::ReplicaModel;
    use proptest::prelude::*;

    fn rises(lead_s: u64, look_back_s: u64) -> Rises {
        Rises::new(SimDuration::from_secs(lead_s), SimDuration::from_secs(look_back_s))
    }

    /// The worst rise after each of these orders, (s, replicas).
    fn worst(mut rises: Rises, orders: &[(u64, u32)]) -> Vec<u32> {
        let note = |(at, replicas): &(u64, u32)| {
            rises.note(SimTime::from_secs(*at), *replicas);
            rises.worst()
        };
        orders.iter().map(note).collect()
    }

    #[test]
    fn the_lead_is_that_of_a_start_where_nobody_says() {
        let start =
            |s: u64| Quantiles::of(&Distribution::Constant(SimDuration::from_millis(1_000 * s - 500)));
        let replica =
            ReplicaModel { start: start(100), start_with_node: start(190), ..ReplicaModel::default() };
        let setting = Setting { replica, ..Setting::default() };
        let given = RiseSpec { lead: Some(SimDuration::from_secs(7)), look_back: hour() };
        assert_eq!(given.lead_in(&setting), SimDuration::from_secs(7));
        let own = RiseSpec { lead: None, look_back: hour() };
        assert_eq!((own.lead_in(&setting), own.check()), (SimDuration::from_secs(190), vec![]));
    }

    #[test]
    fn a_rise_counts_within_a_lead_and_within_the_look_back() {
        // 2 to 3 to 5 within 60 s is 3; by 60 s after, 2 was no longer in force within the lead.
        assert_eq!(worst(rises(60, 600), &[(0, 2), (100, 3), (159, 5)]), [0, 1, 3]);
        assert_eq!(worst(rises(60, 600), &[(0, 2), (100, 3), (160, 5)]), [0, 1, 2]);
        // Down and up again is a rise from the lowest.
        assert_eq!(worst(rises(60, 600), &[(0, 4), (100, 1), (110, 4), (400, 4)]), [0, 0, 3, 3]);
        // The rise is forgotten once it lies as far back as the look-back.
        assert_eq!(worst(rises(60, 600), &[(0, 1), (100, 4), (699, 4), (700, 4)]), [0, 3, 3, 0]);
        assert_eq!(worst(rises(60, 600), &[(0, 6), (10, 5)]), [0, 0]);
    }

    proptest! {
        /// Against every pair of seconds: what a second begins with, less what was in force in one of the lead before it.
        #[test]
        fn the_worst_rise_is_that_of_all_pairs(
            steps in proptest::collection::vec((1usize..40, 0u32..9), 1..30),
            lead in 1usize..60,
            more in 0usize..200,
        ) {
            let look_back = lead + more;
            let mut rises = rises(lead as u64, look_back as u64);
            // What is ordered in each second from its beginning to its end.
            let mut seconds: Vec<u32> = Vec::new();
            for (lasts, replicas) in steps {
                let now = seconds.len();
                rises.note(SimTime::from_secs(now as u64), replicas);
                seconds.push(replicas);
                let rise = |late: usize| {
                    let early = late.saturating_sub(lead).max(now.saturating_sub(look_back))..late;
                    early.map(|early| seconds[late].saturating_sub(seconds[early])).max().unwrap_or(0)
                };
                let expected = (0..=now).map(rise).max().unwrap_or(0);
                prop_assert_eq!(rises.worst(), expected, "at {}", now);
                seconds.extend(std::iter::repeat_n(replicas, lasts - 1));
            }
        }
    }
}
