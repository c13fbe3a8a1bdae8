//! A predictive policy as a scenario writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forecast::{ForecasterSpec, Series};
use crate::kernel::SimDuration;
use crate::policy::{Fault, PolicySpec, ReplicaRead, Setting};

/// As many replicas as the load needs that is forecast for when they serve. Beside a reactive policy (`over`) the larger of both
/// counts holds, and fewer only if both allow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PredictiveSpec {
    /// How the load goes on. Default: a mixture of models, of which the one that was best of late speaks; with `season`, seasonal ones
    /// among them.
    #[serde(default)]
    pub forecaster: Option<ForecasterSpec>,
    /// The season of the default forecaster, a whole number of steps: `24h`, `168h`. Default: none.
    #[serde(default)]
    pub season: Option<SimDuration>,
    /// From one decision to the next, and what a value of the forecast series covers.
    #[serde(default = "minute")]
    pub step: SimDuration,
    /// From the order of a replica until it serves. Default: the cold start that the profile and the cluster give, at `leadQuantile`.
    #[serde(default)]
    pub lead: Option<SimDuration>,
    /// Which quantile of the cold start is the lead. Default: 0.9.
    #[serde(default)]
    pub lead_quantile: Option<f64>,
    /// Whether that cold start begins with the order of a node. False where nodes wait for replicas.
    #[serde(default = "yes")]
    pub lead_includes_node: bool,
    /// The load that is ordered for is this quantile of what is forecast, by the forecaster's own last errors: 0.9 falls short
    /// in one step of ten.
    #[serde(default = "nine_tenths")]
    pub quantile: f64,
    /// Requests/s that a replica serves. Default: searched, the highest rate of this workload's mix that one warm replica serves within
    /// the SLO.
    #[serde(default)]
    pub capacity: Option<f64>,
    /// Least replicas that a forecast asks for.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas that a forecast asks for.
    pub max_replicas: u32,
    /// The load before the run. Default: none, everything is learned on line.
    #[serde(default)]
    pub history: Option<HistorySpec>,
    /// The policy beside it. Default: none, the forecast decides alone.
    #[serde(default)]
    pub over: Option<PolicySpec>,
}

/// A load from before the run: its last row is the step before the first request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistorySpec {
    /// A CSV file of times and values with a header, plain or gzip, relative to the scenario; times are dates or numbers of seconds. A row
    /// that is missing is a gap, in which the forecaster goes by its own forecast.
    pub file: String,
    /// What its values are.
    pub values: HistoryValues,
    /// What they are multiplied by: as the workload is scaled.
    #[serde(default = "whole")]
    pub scale: f64,
}

/// What the values of a history are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HistoryValues {
    /// Requests/s.
    PerSecond,
    /// Requests in the time from one row to the next.
    PerRow,
}

fn minute() -> SimDuration {
    SimDuration::from_secs(60)
}
fn yes() -> bool {
    true
}
fn nine_tenths() -> f64 {
    0.9
}
fn one() -> u32 {
    1
}
fn whole() -> f64 {
    1.0
}

/// The quantile of a cold start that is the lead where nobody says.
const LEAD_QUANTILE: f64 = 0.9;
/// Most steps that a forecast looks ahead: each is asked for at each turn.
const STEPS_AHEAD_MAX: u64 = 1_000;
/// Shortest step: each is a turn.
const STEP_MIN: SimDuration = SimDuration::from_secs(1);

impl HistorySpec {
    /// Its values as requests/s at a step.
    pub(super) fn rates(&self, series: &Series, step: SimDuration) -> Series {
        let per_s = match self.values {
            HistoryValues::PerSecond => 1.0,
            HistoryValues::PerRow => 1.0 / series.step.as_secs_f64().max(f64::MIN_POSITIVE),
        };
        let mut series = series.clone();
        for value in series.values.iter_mut().flatten() {
            *value *= per_s * self.scale;
        }
        series.resampled(step)
    }
}

impl PredictiveSpec {
    /// Its forecaster.
    pub(super) fn forecaster(&self) -> ForecasterSpec {
        self.forecaster.clone().unwrap_or_else(|| ForecasterSpec::standard(self.season))
    }

    /// Every season it has, with its path.
    pub fn seasons(&self) -> Vec<(String, SimDuration)> {
        ForecasterSpec::seasons_given(self.season, self.forecaster.as_ref())
    }

    /// The lead that holds in a setting.
    pub fn lead_in(&self, setting: &Setting) -> SimDuration {
        let replica = &setting.replica;
        let start = if self.lead_includes_node { &replica.start_with_node } else { &replica.start };
        // Of an estimate, whole seconds.
        let whole = |time: SimDuration| SimDuration::from_secs(time.as_nanos().div_ceil(1_000_000_000));
        self.lead.unwrap_or_else(|| whole(start.at(self.lead_quantile.unwrap_or(LEAD_QUANTILE))))
    }

    /// What of a replica it is not told.
    pub(in crate::policy) fn reads_replica(&self) -> ReplicaRead {
        ReplicaRead { capacity: self.capacity.is_none(), start: self.lead.is_none() }
    }

    /// The first and the last step ahead that replicas are ordered for: those that lie in part between `lead` and `lead + step` from now.
    pub(super) fn window(&self, lead: SimDuration) -> (u32, u32) {
        let (lead, step) = (lead.as_nanos(), self.step.as_nanos().max(1));
        let ahead = |steps: u64| steps.min(STEPS_AHEAD_MAX) as u32 + 1;
        (ahead(lead / step), ahead(lead.div_ceil(step)))
    }

    /// Everything that is wrong with it; paths are relative to it.
    pub(in crate::policy) fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if self.forecaster.is_some() && self.season.is_some() {
            let message = "the season is that of the default forecaster, and this one is named".to_owned();
            add("season", message, "write it in the forecaster");
        }
        let step_fits = self.step >= STEP_MIN;
        if !step_fits {
            let message = format!("a step of {} is below the shortest, {STEP_MIN}", self.step);
            add("step", message, "a minute is usual: a forecast of noise helps nobody");
        }
        let unit = |p: f64| p > 0.0 && p < 1.0;
        if !unit(self.quantile) {
            let message = format!("a quantile lies between 0 and 1, not at {}", self.quantile);
            add("quantile", message, "0.9 falls short in one step of ten, 0.5 in every second");
        }
        match (self.lead, self.lead_quantile) {
            (Some(lead), Some(_)) => {
                let message = format!("the lead is {lead}, and a quantile of it makes no other");
                add("leadQuantile", message, "leave out `lead`, or this");
            }
            (None, Some(p)) if !unit(p) => {
                let message = format!("a quantile lies between 0 and 1, not at {p}");
                add("leadQuantile", message, "0.9 is late for one start of ten");
            }
            (Some(lead), None) if step_fits && lead.as_nanos() / self.step.as_nanos() > STEPS_AHEAD_MAX => {
                let message =
                    format!("a lead of {lead} is more than {STEPS_AHEAD_MAX} steps of {}", self.step);
                add("lead", message, "lengthen `step`");
            }
            _ => {}
        }
        if let Some(capacity) = self.capacity.filter(|own| !own.is_finite() || *own <= 0.0) {
            let message = format!("a replica serves more than 0 requests/s, not {capacity}");
            add("capacity", message, "leave it out to have it searched");
        }
        if self.max_replicas == 0 {
            add("maxReplicas", "0 replicas serve nothing".to_owned(), "write at least 1");
        } else if self.min_replicas > self.max_replicas {
            let message =
                format!("minReplicas {} is above maxReplicas {}", self.min_replicas, self.max_replicas);
            add("minReplicas", message, "lower it");
        } else if self.min_replicas == 0 && self.over.is_none() {
            let message = "at 0 replicas nothing would wake it: a forecast of nothing goes on".to_owned();
            add("minReplicas", message, "write at least 1, or an `over` that wakes");
        }
        if let Some(PolicySpec::Predictive(_)) = self.over {
            let message = "a forecast beside a forecast".to_owned();
            add("over.predictive", message, "write one, with a `mixture` of forecasters");
        }
        if step_fits {
            let own = self.forecaster().check(self.step);
            let is_given = self.forecaster.is_some();
            faults.extend(own.into_iter().map(|(path, m, h)| {
                // What is wrong with the default forecaster is its season.
                (if is_given { format!("forecaster.{path}") } else { "season".to_owned() }, m, h)
            }));
            faults.extend(self.check_history(setting));
        }
        faults
    }

    /// What is wrong with the history, if its file could be read.
    fn check_history(&self, setting: &Setting) -> Vec<Fault> {
        let Some(history) = &self.history else { return Vec::new() };
        let mut faults = Vec::new();
        if !history.scale.is_finite() || history.scale <= 0.0 {
            let message = format!("a scale is more than 0, not {}", history.scale);
            faults.push(("history.scale".to_owned(), message, "1 leaves the values as they are".to_owned()));
            return faults;
        }
        let Some(series) = setting.histories.get(&history.file) else { return faults };
        let own = history.rates(series, self.step);
        if own.values.iter().flatten().count() < 2 {
            let message =
                format!("the history of {} has less than two steps of {}", series.span(), self.step);
            faults.push((
                "history".to_owned(),
                message,
                "shorten `step`, or give it more history".to_owned(),
            ));
            return faults;
        }
        if own.values.iter().flatten().any(|value| *value < 0.0) {
            let message = "the history has a load below zero".to_owned();
            faults.push((
                "history.file".to_owned(),
                message,
                "its values are requests, or requests/s".to_owned(),
            ));
        }
        for (path, season) in self.seasons().into_iter().filter(|(_, season)| *season > series.span()) {
            let message = format!("a season of {season} is longer than the history of {}", series.span());
            let help = "give it a season of history at least, or a shorter season, or learn on line: leave `history` out";
            faults.push((path, message, help.to_owned()));
        }
        faults
    }
}
