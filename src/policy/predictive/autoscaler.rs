//! A running predictive policy.

use super::spec::PredictiveSpec;
use crate::forecast::Intervals;
use crate::kernel::{SimDuration, SimTime};
use crate::policy::Setting;
use crate::policy::api::{Autoscaler, DataPath, Decision, Loop, Path, Reason, SleepTimes, View};
use crate::promql::Query;

/// What the forecast asks for.
#[derive(Clone, Debug, PartialEq)]
struct Need {
    /// What must be ordered now.
    order: u32,
    /// What must not be taken away; at least `order`.
    keep: u32,
    /// The figures behind it.
    figures: String,
}

/// What the policy beside it said last.
struct Wish {
    replicas: u32,
    spare: u32,
    path: Path,
    why: Reason,
}

/// A running predictive policy.
pub struct Predictive {
    step: SimDuration,
    window: (u32, u32),
    /// What its figures begin and end with.
    figures: (String, String),
    quantile: f64,
    capacity: f64,
    bounds: (u32, u32),
    intervals: Intervals,
    /// Requests that had arrived at the last turn.
    arrived: u64,
    ahead: Vec<f64>,
    need: Option<Need>,
    over: Option<Box<dyn Autoscaler>>,
    wish: Option<Wish>,
}

impl Predictive {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &PredictiveSpec, setting: &Setting) -> Self {
        let lead = spec.lead_in(setting);
        let window = spec.window(lead);
        let model = spec.forecaster().build(spec.step, window.1);
        let horizons: Vec<u32> = (window.0..=window.1).collect();
        let mut own = Self {
            step: spec.step,
            window,
            figures: (
                format!("from {lead} to {} ahead ", lead + spec.step),
                format!(" at {}", spec.quantile),
            ),
            quantile: spec.quantile,
            // Without a figure no load needs more than the least; a scenario does not get here without.
            capacity: spec.capacity.or(setting.replica.capacity_per_s).unwrap_or(f64::INFINITY),
            bounds: (spec.min_replicas, spec.max_replicas),
            intervals: Intervals::new(model, &horizons, true),
            arrived: 0,
            ahead: Vec::with_capacity(window.1 as usize),
            need: None,
            over: spec.over.as_ref().map(|over| over.build(setting)),
            wish: None,
        };
        let history = spec.history.as_ref().and_then(|of| Some((of, setting.histories.get(&of.file)?)));
        if let Some((of, series)) = history {
            for value in &of.rates(series, spec.step).values {
                own.intervals.observe(*value);
            }
            own.need = Some(own.forecast());
        }
        own
    }

    /// Replicas for a load.
    fn replicas(&self, load: f64) -> u32 {
        // A load that is a hair above what they serve is what they serve.
        let count = (load / self.capacity - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX));
        (count as u32).clamp(self.bounds.0, self.bounds.1)
    }

    /// What the load ahead needs.
    fn forecast(&mut self) -> Need {
        let (first, last) = self.window;
        let mut ahead = std::mem::take(&mut self.ahead);
        self.intervals.path(last, &mut ahead);
        let (mut peak, mut peak_at, mut before) = (f64::NEG_INFINITY, first, 0.0_f64);
        for (steps, expected) in (1..).zip(&ahead) {
            let load = self.intervals.quantile_of(steps, *expected, self.quantile);
            if steps < first {
                before = before.max(load);
            } else if load > peak {
                (peak, peak_at) = (load, steps);
            }
        }
        let (order, keep) = (self.replicas(peak), self.replicas(peak.max(before)));
        let expected = ahead[peak_at as usize - 1];
        let errors = if self.intervals.errors(peak_at) == 0 { ", of no errors yet" } else { "" };
        let (from, at) = &self.figures;
        let model = self.intervals.model(peak_at);
        let mut figures = format!(
            "{from}{expected:.3} requests/s ({model}), {peak:.3}{at}{errors}; {:.3} a replica: {order}",
            self.capacity
        );
        if keep > order {
            figures.push_str(&format!(", and {keep} until then"));
        }
        self.ahead = ahead;
        Need { order, keep, figures }
    }

    /// The larger of what both want, and fewer only where both allow it.
    fn combined(&self, view: &View<'_>) -> Decision {
        // Before the first turn the forecast has no opinion.
        let own = self.need.as_ref().map(|need| view.spec_replicas.clamp(need.order, need.keep));
        let own_figures = self.need.as_ref().map_or("nothing seen yet", |need| &need.figures);
        let rule = |own: u32| match own.cmp(&view.spec_replicas) {
            std::cmp::Ordering::Greater => "ForecastScaleUp",
            std::cmp::Ordering::Less => "ForecastScaleDown",
            std::cmp::Ordering::Equal => "ForecastKept",
        };
        let Some(wish) = &self.wish else {
            let replicas = own.unwrap_or(view.spec_replicas);
            // Until the policy beside it has spoken, nothing of what there is is taken away.
            let replicas = if self.over.is_some() { replicas.max(view.spec_replicas) } else { replicas };
            let why = Reason::new(rule(replicas), own_figures);
            return Decision { replicas, spare: self.initial_spare(), path: self.initial_path(), why };
        };
        let replicas = own.map_or(wish.replicas, |own| own.max(wish.replicas));
        let rule = if own.is_some_and(|own| own > wish.replicas) { rule(replicas) } else { wish.why.rule };
        let detail = format!("{own_figures}; beside it {}: {}", wish.replicas, wish.why.detail);
        let why = Reason { conditions: wish.why.conditions.clone(), ..Reason::new(rule, detail) };
        Decision { replicas, spare: wish.spare, path: wish.path, why }
    }

    fn initial_spare(&self) -> u32 {
        self.over.as_ref().map_or(0, |over| over.initial().1)
    }

    fn initial_path(&self) -> Path {
        let begins = self.over.as_ref().is_some_and(|over| over.data_path().begins_proxied);
        if begins { Path::Proxied } else { Path::Direct }
    }

    fn hear(&mut self, said: Decision) {
        let Decision { replicas, spare, path, why } = said;
        self.wish = Some(Wish { replicas, spare, path, why });
    }
}

impl Autoscaler for Predictive {
    /// Its own, whose first turn is when the first step is over, then those of the policy beside it.
    fn loops(&self) -> Vec<Loop> {
        let own = Loop { name: "predictive", period: self.step, phase: Some(self.step) };
        let others = self.over.as_ref().map(|over| over.loops()).unwrap_or_default();
        std::iter::once(own).chain(others).collect()
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        if let Some(below) = which.checked_sub(1) {
            let said = self.over.as_mut()?.decide(below, view)?;
            self.hear(said);
        } else {
            let new = view.gateway.arrived.saturating_sub(self.arrived);
            self.arrived = view.gateway.arrived;
            self.intervals.observe(Some(new as f64 / self.step.as_secs_f64()));
            self.need = Some(self.forecast());
        }
        Some(self.combined(view))
    }

    /// The larger of the least, of what the history forecasts, and of what the policy beside it begins with.
    fn initial(&self) -> (u32, u32) {
        let own = self.need.as_ref().map_or(self.bounds.0, |need| need.keep);
        let (replicas, spare) = self.over.as_ref().map_or((0, 0), |over| over.initial());
        (own.max(replicas), spare)
    }

    fn maximum(&self) -> Option<u32> {
        let over = self.over.as_ref().map_or(Some(0), |over| over.maximum());
        Some(over.unwrap_or(0).max(self.bounds.1))
    }

    fn queries(&self) -> Vec<&Query> {
        self.over.as_ref().map(|over| over.queries()).unwrap_or_default()
    }

    fn reads_usage(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over.reads_usage())
    }

    fn workload(&self) -> Option<&str> {
        self.over.as_ref().and_then(|over| over.workload())
    }

    fn data_path(&self) -> DataPath {
        self.over.as_ref().map(|over| over.data_path()).unwrap_or_default()
    }

    fn sleep(&self) -> Option<SleepTimes> {
        self.over.as_ref().and_then(|over| over.sleep())
    }

    fn timer(&self) -> Option<SimTime> {
        self.over.as_ref().and_then(|over| over.timer())
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let (of, said) = self.over.as_mut()?.timed(view)?;
        self.hear(said);
        Some((of, self.combined(view)))
    }

    fn request_held(&mut self, now: SimTime) {
        if let Some(over) = &mut self.over {
            over.request_held(now);
        }
    }

    fn proxy_entered(&mut self, now: SimTime) {
        if let Some(over) = &mut self.over {
            over.proxy_entered(now);
        }
    }

    fn pods_changed(&mut self, now: SimTime) {
        if let Some(over) = &mut self.over {
            over.pods_changed(now);
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
