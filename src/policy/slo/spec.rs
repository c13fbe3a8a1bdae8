//! The `slo` policy as a scenario writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forecast::ForecasterSpec;
use crate::kernel::SimDuration;
use crate::policy::{Fault, ReplicaRead, Setting};

/// As few replicas as keep the SLO: sized by what a replica serves within it, for the load that is forecast over the time that a new
/// one takes to come, and for the queue that will have built up by then; what is on its way counts from when it will serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SloPolicySpec {
    /// How the load goes on. Default: a mixture of models, of which the one that was best of late speaks; with `season`, seasonal ones
    /// among them.
    #[serde(default)]
    pub forecaster: Option<ForecasterSpec>,
    /// The season of the default forecaster, a whole number of steps: `24h`. Default: none.
    #[serde(default)]
    pub season: Option<SimDuration>,
    /// From one decision to the next, and what a value of the forecast series covers.
    #[serde(default = "half_a_minute")]
    pub step: SimDuration,
    /// The load that is ordered for is this quantile of what is forecast, by the forecaster's own last errors.
    #[serde(default = "nine_tenths")]
    pub quantile: f64,
    /// From the order of a replica until it serves. Default: the cold start that the profile and the cluster give, nodes included, at
    /// its 90th percentile.
    #[serde(default)]
    pub lead: Option<SimDuration>,
    /// Requests/s that a replica serves. Default: searched, the highest rate of this workload's mix that one warm replica serves within
    /// the SLO.
    #[serde(default)]
    pub capacity: Option<f64>,
    /// Whether what replicas are seen to serve corrects that capacity, down to half of it and up again.
    #[serde(default = "yes")]
    pub correct: bool,
    /// How soon a queue that will have built up should be worked off by what is ordered.
    #[serde(default = "one_minute")]
    pub work_off: SimDuration,
    /// Least replicas.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
}

fn half_a_minute() -> SimDuration {
    SimDuration::from_secs(30)
}
fn one_minute() -> SimDuration {
    SimDuration::from_secs(60)
}
fn nine_tenths() -> f64 {
    0.9
}
fn yes() -> bool {
    true
}
fn one() -> u32 {
    1
}

/// The quantile of a cold start that is the lead where nobody says.
const LEAD_QUANTILE: f64 = 0.9;
/// Most steps that it looks ahead.
pub(super) const STEPS_AHEAD_MAX: u64 = 500;
/// Shortest step: each is a turn.
const STEP_MIN: SimDuration = SimDuration::from_secs(1);

impl SloPolicySpec {
    /// Its forecaster.
    pub(super) fn forecaster(&self) -> ForecasterSpec {
        self.forecaster.clone().unwrap_or_else(|| ForecasterSpec::standard(self.season))
    }

    /// Every season it has, with its path.
    pub fn seasons(&self) -> Vec<(String, SimDuration)> {
        ForecasterSpec::seasons_given(self.season, self.forecaster.as_ref())
    }

    /// The lead that holds in a setting; of an estimate, whole seconds.
    pub fn lead_in(&self, setting: &Setting) -> SimDuration {
        let whole = |time: SimDuration| SimDuration::from_secs(time.as_nanos().div_ceil(1_000_000_000));
        self.lead.unwrap_or_else(|| whole(setting.replica.start_with_node.at(LEAD_QUANTILE)))
    }

    /// What of a replica it is not told.
    pub(in crate::policy) fn reads_replica(&self) -> ReplicaRead {
        ReplicaRead { capacity: self.capacity.is_none(), start: true }
    }

    /// Everything that is wrong with it; paths are relative to it.
    pub(in crate::policy) fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.forecaster.is_some() && self.season.is_some() {
            let message = "the season is that of the default forecaster, and another one is given";
            add("season", message.to_owned(), "write it in the forecaster, or leave `forecaster` out");
        }
        let step_fits = self.step >= STEP_MIN;
        if !step_fits {
            add(
                "step",
                format!("a step of {} is below the shortest, {STEP_MIN}", self.step),
                "write e.g. 30s",
            );
        }
        if !(self.quantile > 0.0 && self.quantile < 1.0) {
            let message = format!("a quantile lies between 0 and 1, not at {}", self.quantile);
            add("quantile", message, "0.9 falls short in one step of ten, 0.5 in every second");
        }
        let steps = |time: SimDuration| time.as_nanos() / self.step.as_nanos().max(1);
        if let Some(lead) = self.lead.filter(|lead| step_fits && steps(*lead) > STEPS_AHEAD_MAX) {
            let message = format!("a lead of {lead} is more than {STEPS_AHEAD_MAX} steps of {}", self.step);
            add("lead", message, "lengthen `step`");
        }
        if let Some(capacity) = self.capacity.filter(|own| !own.is_finite() || *own <= 0.0) {
            let message = format!("a replica serves more than 0 requests/s, not {capacity}");
            add("capacity", message, "leave it out to have it searched");
        }
        if self.work_off.is_zero() {
            add("workOff", "a queue cannot be worked off in no time".to_owned(), "write e.g. 1m");
        }
        if self.max_replicas == 0 {
            add("maxReplicas", "0 replicas serve nothing".to_owned(), "write at least 1");
        } else if self.min_replicas > self.max_replicas {
            let message =
                format!("minReplicas {} is above maxReplicas {}", self.min_replicas, self.max_replicas);
            add("minReplicas", message, "lower it");
        } else if self.min_replicas == 0 {
            let message = "at 0 replicas the first request waits for a whole start".to_owned();
            add("minReplicas", message, "write at least 1");
        }
        if step_fits {
            let own = self.forecaster().check(self.step);
            let is_given = self.forecaster.is_some();
            faults.extend(own.into_iter().map(|(path, m, h)| {
                (if is_given { format!("forecaster.{path}") } else { "season".to_owned() }, m, h)
            }));
        }
        faults
    }
}
