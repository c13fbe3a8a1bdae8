//! Intervals in which no node is to be had.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FaultSpec;
use crate::kernel::{SimDuration, SimTime};
use crate::sim::cluster::Plan;

/// An interval without capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoCapacitySpec {
    /// When it begins, from the start of the run.
    pub from: SimDuration,
    /// How long it lasts.
    pub lasts: SimDuration,
    /// Of which pools. Default: all.
    #[serde(default)]
    pub pools: Vec<String>,
    /// In which of their zones. Default: all.
    #[serde(default)]
    pub zones: Vec<String>,
}

/// When no node is to be had, and where.
#[derive(Clone, Debug, Default)]
pub struct Shortages {
    list: Vec<Shortage>,
}

#[derive(Clone, Debug)]
struct Shortage {
    from: SimTime,
    to: SimTime,
    /// The pools' places; `None`: all.
    pools: Option<Vec<usize>>,
    /// Names of zones; none: all.
    zones: Vec<String>,
}

impl Shortages {
    /// Of a scenario's faults.
    pub fn new(faults: &[FaultSpec], cluster: &Plan) -> Self {
        let shortage = |fault: &FaultSpec| match fault {
            FaultSpec::NoCapacity(NoCapacitySpec { from, lasts, pools, zones }) => {
                let from = SimTime::ZERO + *from;
                let place = |name: &String| cluster.pools.iter().position(|pool| pool.name == *name);
                Some(Shortage {
                    from,
                    to: from.saturating_add(*lasts),
                    pools: (!pools.is_empty()).then(|| pools.iter().filter_map(place).collect()),
                    zones: zones.clone(),
                })
            }
            _ => None,
        };
        Self { list: faults.iter().filter_map(shortage).collect() }
    }

    /// Whether nodes of a pool are to be had in a zone now.
    pub fn has(&self, now: SimTime, pool: usize, zone: &str) -> bool {
        !self.list.iter().any(|shortage| {
            (shortage.from..shortage.to).contains(&now)
                && shortage.pools.as_ref().is_none_or(|pools| pools.contains(&pool))
                && (shortage.zones.is_empty() || shortage.zones.iter().any(|name| name == zone))
        })
    }
}
