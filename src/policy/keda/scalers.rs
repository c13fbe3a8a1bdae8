//! The external triggers of an object, as the operator's polls and the HPA's reads see them.
//!
//! After kedacore/keda `pkg/scaling/scale_handler.go` `getScaledObjectState` and `GetScaledObjectMetrics`, and
//! `pkg/fallback/fallback.go` (8b4f083c).

use super::fallback::{Context, MetricTarget, ModifiersTarget, Reading, read_with_fallback};
use super::interceptor::Interceptor;
use super::modifiers::{COMPOSITE_METRIC, CompositeError, ScalingModifiers};
use super::quantity::metric_milli;
use super::sensor::{Sample, Sensor};
use super::spec::FallbackSpec;
use super::triggers::ExternalTrigger;
use crate::policy::api::View;
use crate::policy::hpa::detail::decimal;
use crate::policy::hpa::types::Milli;
use crate::promql::Query;

/// One external trigger.
#[derive(Clone, Debug)]
pub struct Scaler {
    /// Its settings.
    pub trigger: ExternalTrigger,
    /// What it reads.
    pub sensor: Sensor,
    /// Failures in a row, counted where a fallback works.
    failures: i32,
    /// What the last poll found, if the HPA is to have that.
    cached: Option<Result<Sample, String>>,
}

/// The external triggers.
#[derive(Clone, Debug)]
pub struct Scalers {
    all: Vec<Scaler>,
    fallback: Option<FallbackSpec>,
    modifiers: Option<ScalingModifiers>,
}

/// What KEDA's metrics server answers of a metric, by its name.
pub type Answers = Vec<(String, Result<Milli, String>)>;

/// How the reading of one trigger went.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Name of its metric.
    pub metric: String,
    /// What it found.
    pub found: Result<Sample, String>,
    /// What became of that.
    pub reading: Reading,
    /// Failures in a row so far, and how many there may be; `None` without a fallback.
    pub failures: Option<(i32, i32)>,
    /// Its target, per replica or of the whole.
    pub target: f64,
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// Each external trigger, in order.
    pub reads: Vec<Read>,
    /// The composite metric, if there is a formula.
    pub composite: Option<Result<Milli, CompositeError>>,
    /// Whether the composite metric is active.
    pub composite_active: Option<bool>,
}

impl Scaler {
    /// A trigger that nothing was read of yet.
    pub fn new(trigger: ExternalTrigger, sensor: Sensor) -> Self {
        Self { trigger, sensor, failures: 0, cached: None }
    }
}

impl Scalers {
    /// All of an object.
    pub fn new(
        all: Vec<Scaler>,
        fallback: Option<FallbackSpec>,
        modifiers: Option<ScalingModifiers>,
    ) -> Self {
        Self { all, fallback, modifiers }
    }

    /// The queries they ask.
    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.all.iter().filter_map(|scaler| scaler.sensor.query())
    }

    /// A poll of the operator: each is read, and those that the HPA is to have so are kept.
    pub fn poll(&mut self, view: &View<'_>, mut interceptor: Option<&mut Interceptor>) -> Polled {
        let reads: Vec<Read> = (0..self.all.len())
            .map(|index| {
                let scaler = &mut self.all[index];
                let found = scaler.sensor.read(view, interceptor.as_deref_mut(), scaler.trigger.activation);
                if scaler.trigger.cached {
                    scaler.cached = Some(found.clone());
                }
                self.with_fallback(index, found, view)
            })
            .collect();
        let composite = self.modifiers.as_ref().map(|own| self.composite(own, &reads));
        let composite_active = self
            .modifiers
            .as_ref()
            .zip(composite.as_ref())
            .and_then(|(own, composite)| composite.as_ref().ok().map(|value| own.is_active(*value)));
        Polled { reads, composite, composite_active }
    }

    /// Whether a formula makes one metric of all.
    pub fn has_formula(&self) -> bool {
        self.modifiers.is_some()
    }

    /// What KEDA's metrics server answers the HPA, by name of the metric, and how each trigger's reading went.
    pub fn answers(
        &mut self,
        view: &View<'_>,
        mut interceptor: Option<&mut Interceptor>,
    ) -> (Answers, Vec<Read>) {
        let reads: Vec<Read> = (0..self.all.len())
            .map(|index| {
                let scaler = &mut self.all[index];
                let found = match &scaler.cached {
                    Some(found) => found.clone(),
                    None => scaler.sensor.read(view, interceptor.as_deref_mut(), scaler.trigger.activation),
                };
                self.with_fallback(index, found, view)
            })
            .collect();
        let answers = match &self.modifiers {
            Some(own) => {
                let composite = self.composite(own, &reads).map_err(|error| error.to_string());
                vec![(COMPOSITE_METRIC.to_owned(), composite)]
            }
            None => reads.iter().map(|read| (read.metric.clone(), read.answer())).collect(),
        };
        (answers, reads)
    }

    fn with_fallback(&mut self, index: usize, found: Result<Sample, String>, view: &View<'_>) -> Read {
        let modifiers = self.modifiers.as_ref();
        let modifiers =
            modifiers.map(|own| ModifiersTarget { target: &own.target, of_the_whole: own.of_the_whole });
        let scaler = &mut self.all[index];
        let trigger = &scaler.trigger;
        let target = trigger.threshold.unwrap_or(1.0);
        let context = Context {
            fallback: self.fallback,
            modifiers,
            target: MetricTarget { of_the_whole: trigger.of_the_whole, value: target },
            current: count(view.spec_replicas),
            ready: count(view.ready()),
        };
        let metric = found.as_ref().ok().map(|sample| metric_milli(sample.value));
        let reading = read_with_fallback(&context, metric, &mut scaler.failures);
        let valid = self.fallback.filter(|fallback| fallback.is_valid(modifiers));
        Read {
            metric: trigger.metric_name.clone(),
            found,
            reading,
            failures: valid.map(|fallback| (scaler.failures, fallback.failure_threshold)),
            target,
        }
    }

    fn composite(&self, own: &ScalingModifiers, reads: &[Read]) -> Result<Milli, CompositeError> {
        // Validation has seen to it that each has a name.
        let named = self
            .all
            .iter()
            .zip(reads)
            .map(|(scaler, read)| (scaler.trigger.name.clone().unwrap_or_default(), read.reading));
        own.of_readings(&named.collect::<Vec<_>>(), self.fallback)
    }
}

impl Polled {
    /// Whether each trigger is active; `None` of one that failed. One that falls back is.
    pub fn activity(&self) -> Vec<Option<bool>> {
        let of = |read: &Read| match read.reading {
            Reading::Value(_) => Some(read.found.as_ref().is_ok_and(|sample| sample.is_active)),
            Reading::Fallback(_) => Some(true),
            Reading::Nil => Some(false),
            Reading::Error => None,
        };
        self.reads.iter().map(of).collect()
    }
}

impl Read {
    /// The figures, for the decision log.
    pub fn text(&self) -> String {
        let metric = &self.metric;
        let error = match &self.found {
            Ok(sample) => {
                let (value, target) =
                    (decimal(metric_milli(sample.value)), decimal(metric_milli(self.target)));
                let active = if sample.is_active { "active" } else { "not active" };
                return format!("{metric} {value} against {target}, {active}");
            }
            Err(error) => error,
        };
        match (self.reading, self.failures) {
            (Reading::Fallback(value), Some((failures, threshold))) => {
                let value = decimal(value);
                format!("{metric}: {error}; failure {failures}, beyond {threshold}: fallback to {value}")
            }
            (Reading::Nil, Some((failures, threshold))) => {
                format!("{metric}: {error}; failure {failures}, beyond {threshold}: nil in the formula")
            }
            (_, Some((failures, threshold))) => {
                format!("{metric}: {error}; failure {failures} of {threshold}")
            }
            (_, None) => format!("{metric}: {error}"),
        }
    }

    /// What the HPA's own figures do not tell: not plainly a value, or an error, whose text they have.
    pub fn note(&self) -> Option<String> {
        match (self.reading, self.failures) {
            (Reading::Value(_), _) | (Reading::Error, None) => None,
            (Reading::Error, Some((failures, threshold))) => {
                Some(format!("failure {failures} of {threshold} of {}", self.metric))
            }
            (Reading::Fallback(_) | Reading::Nil, _) => Some(self.text()),
        }
    }

    /// Its value for the HPA.
    fn answer(&self) -> Result<Milli, String> {
        match (&self.reading, &self.found) {
            (Reading::Value(value) | Reading::Fallback(value), _) => Ok(*value),
            (Reading::Nil | Reading::Error, Err(error)) => Err(error.clone()),
            (Reading::Nil | Reading::Error, Ok(_)) => Err("no value".to_owned()),
        }
    }
}

fn count(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}
