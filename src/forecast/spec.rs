//! Forecasters as a scenario writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Ar, Ewma, Fault, Forecaster, HoltWinters, KalmanTrend, LastValue, Mixture, MovingAverage, SeasonalNaive,
    Seasonality, Smoothing,
};
use crate::kernel::SimDuration;

/// Most steps of a season or a window: each is kept.
const STEPS_MAX: u64 = 100_000;
/// Most lags of an autoregression: its work grows with their square.
const LAGS_MAX: u32 = 24;
/// Most members of a mixture: each is asked at each step.
const MEMBERS_MAX: usize = 16;
/// Steps after which the average among the standard members has forgotten half.
const STANDARD_HALF_LIFE_STEPS: u64 = 3;
/// Steps after which an error counts half in a mixture that does not say.
const MIXTURE_HALF_LIFE_STEPS: u64 = 100;

/// A model of how a load goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForecasterSpec {
    /// Nothing changes: the last value.
    LastValue,
    /// The mean of the last values.
    MovingAverage(MovingAverageSpec),
    /// A mean that forgets (simple exponential smoothing).
    Ewma(EwmaSpec),
    /// What was a season ago.
    SeasonalNaive(SeasonalNaiveSpec),
    /// Level, trend and season, each smoothed exponentially.
    HoltWinters(HoltWintersSpec),
    /// An autoregression, with lags about a season ago if it has one.
    Ar(ArSpec),
    /// The Kalman filter of a local linear trend, as NVIDIA Dynamo's planner has it (its predictor `kalman`).
    KalmanTrend(KalmanTrendSpec),
    /// Several models, of which the one that was best of late speaks, for each horizon apart.
    Mixture(MixtureSpec),
}

/// The mean of the last values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MovingAverageSpec {
    /// How far it looks back.
    pub window: SimDuration,
}

/// A mean that forgets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EwmaSpec {
    /// Age at which a value counts half as much as a new one.
    pub half_life: SimDuration,
}

/// What was a season ago; the last value until a season is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeasonalNaiveSpec {
    /// The season, a whole number of steps: `24h`, `168h`.
    pub season: SimDuration,
}

/// Level, trend and season, each smoothed exponentially. It is fitted to the last four seasons, or 512 steps if these are more (least squares of one step ahead) when
/// three seasons are over, and again when twice as many are; the last value until two are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoltWintersSpec {
    /// The season, a whole number of steps. Default: none, which leaves level and trend (Holt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<SimDuration>,
    /// How the season goes into the level.
    #[serde(default)]
    pub seasonality: SeasonalitySpec,
    /// Whether the trend fades: an undamped one goes on for ever.
    #[serde(default = "yes")]
    pub damped: bool,
    /// The parameters. Default: fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<SmoothingSpec>,
}

/// How a season goes into the level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SeasonalitySpec {
    /// It is added: nights are so many requests quieter.
    #[default]
    Additive,
    /// It multiplies: nights have a third of the load.
    Multiplicative,
}

/// The parameters of Holt-Winters, each from 0 (never learns) to 1 (believes only the last).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmoothingSpec {
    /// Of the level.
    pub alpha: f64,
    /// Of the trend.
    pub beta: f64,
    /// Of the season.
    #[serde(default)]
    pub gamma: f64,
    /// What a step leaves of the trend, if it is damped.
    #[serde(default = "one")]
    pub phi: f64,
}

/// An autoregression: least squares on the last values and, with a season, on those about a season ago. Every value is learned from at
/// once and for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArSpec {
    /// How many of the last values it looks at, and how many more a season ago.
    #[serde(default = "three")]
    pub lags: u32,
    /// The season, a whole number of steps. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<SimDuration>,
}

/// A local linear trend. The variances are those of requests/s, whatever the load is: for one that is far from Dynamo's, scale them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KalmanTrendSpec {
    /// Variance by which the level wanders in a step (Dynamo's `kalman_q_level`).
    #[serde(default = "one")]
    pub q_level: f64,
    /// Variance by which the trend wanders in a step (`kalman_q_trend`).
    #[serde(default = "tenth")]
    pub q_trend: f64,
    /// Variance of the noise (`kalman_r`).
    #[serde(default = "ten")]
    pub r: f64,
}

/// Several models, of which the one that was best of late speaks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MixtureSpec {
    /// The models. Default: last value, average, Holt and autoregression; with a season also seasonal naive, Holt-Winters
    /// and an autoregression with that season.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<ForecasterSpec>,
    /// The season of the default members, a whole number of steps. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<SimDuration>,
    /// Age at which an error counts half. Default: 100 steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life: Option<SimDuration>,
}

fn yes() -> bool {
    true
}
fn one() -> f64 {
    1.0
}
fn tenth() -> f64 {
    0.1
}
fn ten() -> f64 {
    10.0
}
fn three() -> u32 {
    3
}

/// Steps of a duration, the nearest whole number and 1 at least.
fn steps(duration: SimDuration, step: SimDuration) -> usize {
    let (duration, step) = (duration.as_nanos(), step.as_nanos().max(1));
    (duration.saturating_add(step / 2) / step).clamp(1, STEPS_MAX) as usize
}

impl ForecasterSpec {
    /// The models by the names that a scenario writes.
    pub const KINDS: [&'static str; 8] = [
        "lastValue",
        "movingAverage",
        "ewma",
        "seasonalNaive",
        "holtWinters",
        "ar",
        "kalmanTrend",
        "mixture",
    ];

    /// What speaks where nobody chose: the mixture of the standard members.
    pub fn standard(season: Option<SimDuration>) -> Self {
        Self::Mixture(MixtureSpec { season, ..MixtureSpec::default() })
    }

    /// Every season of a policy with a `season` for the standard forecaster and a `forecaster` beside it, with its path.
    pub fn seasons_given(season: Option<SimDuration>, given: Option<&Self>) -> Vec<(String, SimDuration)> {
        let own = season.map(|season| ("season".to_owned(), season));
        let given = given.into_iter().flat_map(Self::seasons);
        own.into_iter().chain(given.map(|(path, season)| (format!("forecaster.{path}"), season))).collect()
    }

    /// Its kind, as a scenario names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::LastValue => "lastValue",
            Self::MovingAverage(_) => "movingAverage",
            Self::Ewma(_) => "ewma",
            Self::SeasonalNaive(_) => "seasonalNaive",
            Self::HoltWinters(_) => "holtWinters",
            Self::Ar(_) => "ar",
            Self::KalmanTrend(_) => "kalmanTrend",
            Self::Mixture(_) => "mixture",
        }
    }

    /// A running model at this step, for forecasts of up to `steps_max` steps; [`ForecasterSpec::check`] found nothing
    /// wrong with it.
    pub fn build(&self, step: SimDuration, steps_max: u32) -> Box<dyn Forecaster> {
        let season = |own: Option<SimDuration>| own.map(|own| steps(own, step));
        match self {
            Self::LastValue => Box::new(LastValue::default()),
            Self::MovingAverage(spec) => Box::new(MovingAverage::new(steps(spec.window, step))),
            Self::Ewma(spec) => Box::new(Ewma::of_half_life(ratio(spec.half_life, step))),
            Self::SeasonalNaive(spec) => Box::new(SeasonalNaive::new(steps(spec.season, step))),
            Self::HoltWinters(spec) => {
                let seasonality = match (spec.season, spec.seasonality) {
                    (None, _) => Seasonality::None,
                    (Some(_), SeasonalitySpec::Additive) => Seasonality::Additive,
                    (Some(_), SeasonalitySpec::Multiplicative) => Seasonality::Multiplicative,
                };
                let given = spec.smoothing.as_ref().map(|own| Smoothing {
                    alpha: own.alpha,
                    beta: own.beta,
                    gamma: own.gamma,
                    phi: own.phi,
                });
                let season = season(spec.season).unwrap_or(0);
                Box::new(HoltWinters::new(seasonality, season, spec.damped, given))
            }
            Self::Ar(spec) => Box::new(Ar::new(spec.lags as usize, season(spec.season))),
            Self::KalmanTrend(spec) => Box::new(KalmanTrend::new(spec.q_level, spec.q_trend, spec.r)),
            Self::Mixture(spec) => {
                let members = spec.members(step);
                let members = members.iter().map(|member| member.build(step, steps_max)).collect();
                let half_life = spec.half_life.unwrap_or(step * MIXTURE_HALF_LIFE_STEPS);
                Box::new(Mixture::new(members, steps_max, ratio(half_life, step)))
            }
        }
    }

    /// Everything that is wrong with it at this step; paths begin with its kind.
    pub fn check(&self, step: SimDuration) -> Vec<Fault> {
        let mut faults = Faults { step, found: Vec::new() };
        match self {
            Self::LastValue => {}
            Self::MovingAverage(spec) => faults.duration("window", spec.window),
            Self::Ewma(spec) => faults.duration("halfLife", spec.half_life),
            Self::SeasonalNaive(spec) => faults.season("season", Some(spec.season), 1),
            Self::HoltWinters(spec) => {
                faults.season("season", spec.season, 2);
                for (name, value) in spec.smoothing.iter().flat_map(SmoothingSpec::values) {
                    if !(0.0..=1.0).contains(&value) {
                        let message = format!("a smoothing parameter is between 0 and 1, not {value}");
                        faults.add(
                            &format!("smoothing.{name}"),
                            message,
                            "leave `smoothing` out to have it fitted",
                        );
                    }
                }
            }
            Self::Ar(spec) => {
                if !(1..=LAGS_MAX).contains(&spec.lags) {
                    let message =
                        format!("an autoregression looks at 1 to {LAGS_MAX} lags, not {}", spec.lags);
                    faults.add("lags", message, "3 are enough for most loads");
                }
                faults.season("season", spec.season, u64::from(spec.lags) + 1);
            }
            Self::KalmanTrend(spec) => {
                let values = [("qLevel", spec.q_level), ("qTrend", spec.q_trend), ("r", spec.r)];
                for (name, value) in values.into_iter().filter(|(_, v)| !v.is_finite() || *v <= 0.0) {
                    faults.add(
                        name,
                        format!("a variance is more than 0, not {value}"),
                        "Dynamo's are 1, 0.1 and 10",
                    );
                }
            }
            Self::Mixture(spec) => faults.mixture(spec),
        }
        let kind = self.kind();
        faults.found.into_iter().map(|(path, m, h)| (format!("{kind}.{path}"), m, h)).collect()
    }

    /// Every season it has, with its path.
    pub fn seasons(&self) -> Vec<(String, SimDuration)> {
        let own = |season: Option<SimDuration>| {
            season.map(|season| (format!("{}.season", self.kind()), season)).into_iter().collect()
        };
        match self {
            Self::SeasonalNaive(spec) => own(Some(spec.season)),
            Self::HoltWinters(spec) => own(spec.season),
            Self::Ar(spec) => own(spec.season),
            Self::Mixture(spec) => {
                let members = spec.members.iter().enumerate().flat_map(|(index, member)| {
                    let below = member.seasons().into_iter();
                    below.map(move |(path, season)| (format!("mixture.members[{index}].{path}"), season))
                });
                own(spec.season).into_iter().chain(members).collect()
            }
            Self::LastValue | Self::MovingAverage(_) | Self::Ewma(_) | Self::KalmanTrend(_) => Vec::new(),
        }
    }
}

fn ratio(duration: SimDuration, step: SimDuration) -> f64 {
    duration.as_nanos() as f64 / step.as_nanos().max(1) as f64
}

impl SmoothingSpec {
    fn values(&self) -> [(&'static str, f64); 4] {
        [("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma), ("phi", self.phi)]
    }
}

impl MixtureSpec {
    /// Its members, the standard ones if it names none.
    fn members(&self, step: SimDuration) -> Vec<ForecasterSpec> {
        if !self.members.is_empty() {
            return self.members.clone();
        }
        let holt_winters = |season| {
            ForecasterSpec::HoltWinters(HoltWintersSpec {
                season,
                seasonality: SeasonalitySpec::Additive,
                damped: true,
                smoothing: None,
            })
        };
        let ar = |season| ForecasterSpec::Ar(ArSpec { lags: three(), season });
        let mut members = vec![
            ForecasterSpec::LastValue,
            ForecasterSpec::Ewma(EwmaSpec { half_life: step * STANDARD_HALF_LIFE_STEPS }),
            holt_winters(None),
            ar(None),
        ];
        if let Some(season) = self.season {
            members.push(ForecasterSpec::SeasonalNaive(SeasonalNaiveSpec { season }));
            members.extend([holt_winters(Some(season)), ar(Some(season))]);
        }
        members
    }
}

/// What is wrong so far.
struct Faults {
    step: SimDuration,
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, path: &str, message: impl Into<String>, help: &str) {
        self.found.push((path.to_owned(), message.into(), help.to_owned()));
    }

    fn duration(&mut self, path: &str, duration: SimDuration) {
        if duration.is_zero() {
            self.add(path, format!("`{path}` must not be zero"), "a few steps are usual");
        } else if duration.as_nanos() / self.step.as_nanos().max(1) > STEPS_MAX {
            let message = format!("{duration} are more than {STEPS_MAX} steps of {}", self.step);
            self.add(path, message, "shorten it, or use longer steps");
        }
    }

    /// A season is a whole number of steps, and more than so many.
    fn season(&mut self, path: &str, season: Option<SimDuration>, more_than: u64) {
        let Some(season) = season else { return };
        let (own, step) = (season.as_nanos(), self.step.as_nanos().max(1));
        if own % step != 0 {
            let message = format!("a season of {season} is no whole number of steps of {}", self.step);
            self.add(path, message, "its phase would drift: change the step, or the season");
        } else if own / step <= more_than {
            let message = format!(
                "a season of {season} has {} steps of {}, and needs more than {more_than}",
                own / step,
                self.step
            );
            self.add(path, message, "leave the season out, or use shorter steps");
        } else {
            self.duration(path, season);
        }
    }

    fn mixture(&mut self, spec: &MixtureSpec) {
        if let Some(half_life) = spec.half_life {
            self.duration("halfLife", half_life);
        }
        if spec.members.len() > MEMBERS_MAX {
            let message = format!("{} members are more than {MEMBERS_MAX}", spec.members.len());
            self.add("members", message, "each is asked at each step: name those that differ");
        }
        if !spec.members.is_empty() && spec.season.is_some() {
            let message = "the season is that of the default members, and these are named";
            self.add("season", message, "write it in the members that have one");
        }
        self.season("season", spec.season, u64::from(three()) + 1);
        for (index, member) in spec.members.iter().enumerate() {
            if matches!(member, ForecasterSpec::Mixture(_)) {
                let message = "a mixture among the members of a mixture";
                self.add(&format!("members[{index}].mixture"), message, "name its members here");
                continue;
            }
            let below = member.check(self.step).into_iter();
            self.found.extend(below.map(|(path, m, h)| (format!("members[{index}].{path}"), m, h)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: SimDuration = SimDuration::from_secs(60);

    fn spec(json: &str) -> ForecasterSpec {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn specs_are_written_by_their_kind_and_build_what_they_name() {
        let all = [
            r#""lastValue""#,
            r#"{"movingAverage": {"window": "5m"}}"#,
            r#"{"ewma": {"halfLife": "5m"}}"#,
            r#"{"seasonalNaive": {"season": "24h"}}"#,
            r#"{"holtWinters": {"season": "24h", "seasonality": "multiplicative", "damped": false}}"#,
            r#"{"ar": {"season": "24h"}}"#,
            r#"{"kalmanTrend": {}}"#,
            r#"{"mixture": {"season": "24h"}}"#,
        ];
        for (json, kind) in all.into_iter().zip(ForecasterSpec::KINDS) {
            let own = spec(json);
            assert_eq!((own.kind(), own.check(MINUTE)), (kind, vec![]), "{json}");
            let written = serde_json::to_string(&own).unwrap();
            assert_eq!(spec(&written), own);
            // All of them say a constant, sooner or later.
            let mut model = own.build(MINUTE, 10);
            (0..5000).for_each(|_| model.observe(4.0));
            assert!((model.forecast(10) - 4.0).abs() < 1e-6, "{json}: {}", model.forecast(10));
            let speaks = if kind == "mixture" { "lastValue" } else { kind };
            assert_eq!(model.model(10), speaks);
        }
        assert!(serde_json::from_str::<ForecasterSpec>(r#"{"ewma": {"halflife": "5m"}}"#).is_err());
    }

    #[test]
    fn faults_are_named_with_their_paths() {
        let check = |json: &str, expected: &[&str]| {
            let faults = spec(json).check(MINUTE);
            assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()));
            let paths: Vec<&str> = faults.iter().map(|(path, ..)| path.as_str()).collect();
            assert_eq!(paths, expected, "{json}");
        };
        check(r#"{"movingAverage": {"window": "0s"}}"#, &["movingAverage.window"]);
        check(r#"{"ewma": {"halfLife": "99999h"}}"#, &["ewma.halfLife"]);
        check(r#"{"seasonalNaive": {"season": "90s"}}"#, &["seasonalNaive.season"]);
        check(r#"{"seasonalNaive": {"season": "1m"}}"#, &["seasonalNaive.season"]);
        check(
            r#"{"holtWinters": {"season": "24h", "smoothing": {"alpha": 1.5, "beta": -1, "phi": 2}}}"#,
            &["holtWinters.smoothing.alpha", "holtWinters.smoothing.beta", "holtWinters.smoothing.phi"],
        );
        check(r#"{"ar": {"lags": 0}}"#, &["ar.lags"]);
        check(r#"{"ar": {"lags": 24, "season": "20m"}}"#, &["ar.season"]);
        check(r#"{"kalmanTrend": {"r": 0}}"#, &["kalmanTrend.r"]);
        check(
            r#"{"mixture": {"season": "24h", "members": ["lastValue", {"ar": {"lags": 99}}, {"mixture": {}}]}}"#,
            &["mixture.season", "mixture.members[1].ar.lags", "mixture.members[2].mixture"],
        );
    }

    #[test]
    fn seasons_are_found_wherever_they_are() {
        let own = spec(
            r#"{"mixture": {"members": ["lastValue", {"ar": {"season": "1h"}}, {"seasonalNaive": {"season": "24h"}}]}}"#,
        );
        let found = own.seasons();
        let paths: Vec<(&str, SimDuration)> = found.iter().map(|(path, s)| (path.as_str(), *s)).collect();
        assert_eq!(
            paths,
            [
                ("mixture.members[1].ar.season", MINUTE * 60),
                ("mixture.members[2].seasonalNaive.season", MINUTE * 1440),
            ]
        );
        assert_eq!(ForecasterSpec::standard(Some(MINUTE * 1440)).seasons().len(), 1);
        assert_eq!(ForecasterSpec::LastValue.seasons(), []);
    }
}
