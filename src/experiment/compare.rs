//! Two sets of runs held against each other, metric by metric: what became worse or better beyond chance, and what regressed.
//!
//! Runs that share their random numbers are compared pair by pair, others by Welch's t. Each mark is a claim that something
//! changed, and each regression a claim that it became worse by more than its margins; either family is corrected as a whole
//! (Holm), so that a change that changes nothing is blamed for something at most as often as the level says.
//!
//! A metric may be infinite (a latency that was never reached) or absent (no start, so no median of starts). No t judges that:
//! how often it happens is counted, and what happens always on one side and never on the other is taken for certain.

use statrs::distribution::{Binomial, DiscreteCDF, Hypergeometric};

use super::fail_on::{Margin, RELATIVE_MARGIN, floor};
use super::metric::{Better, Metric};
use super::welch::{Contrast, holm, less, paired, rounded, welch};

/// One metric of one policy on both sides.
#[derive(Clone, Debug)]
pub struct Sides<'a> {
    /// The metric.
    pub metric: &'static Metric,
    /// Its value in each run of the base.
    pub base: Vec<Option<f64>>,
    /// Its value in each run of the new side; of pairs, in the same order.
    pub new: Vec<Option<f64>>,
    /// Whether the runs are pairs that share their random numbers.
    pub paired: bool,
    /// If it is judged: how much worse it may be.
    pub margins: Option<&'a [Margin]>,
}

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// For the worse.
    Worse,
    /// For the better.
    Better,
    /// It changed, and neither side is better.
    Different,
    /// No change that chance would not explain.
    Unchanged,
}

/// What the judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// Differences of pairs.
    Paired,
    /// Welch's t.
    Welch,
    /// How often it is infinite.
    Counts,
    /// It is infinite or absent on one side only, or on both.
    Certain,
    /// A single run of a side: nothing can be said of noise.
    Single,
}

/// One side over its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Runs {
    /// How many runs.
    pub runs: usize,
    /// In how many there is no such figure.
    pub absent: usize,
    /// In how many it is infinite.
    pub infinite: usize,
}

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The base's mean: infinite if a run is, `None` without a figure.
    pub base: Option<f64>,
    /// The new mean, likewise.
    pub new: Option<f64>,
    /// What the base's mean rests on.
    pub base_runs: Runs,
    /// What the new mean rests on.
    pub new_runs: Runs,
    /// New less base; `None` unless both are finite.
    pub difference: Option<f64>,
    /// The interval of the difference.
    pub interval: Option<(f64, f64)>,
    /// What the judgement rests on.
    pub basis: Basis,
    /// Which way it went.
    pub standing: Standing,
    /// The p-value of "no change" after Holm's correction over all metrics shown; `None` without one.
    pub p: Option<f64>,
    /// Whether it could have failed the comparison.
    pub judged: bool,
    /// Whether it fails it: worse, by more than every margin.
    pub regressed: bool,
    /// The p-value of "not worse by more than the margins" after Holm's correction over all that is judged.
    pub regression_p: Option<f64>,
}

impl Finding {
    /// A difference as a share of the base's mean; `None` where that is nothing.
    pub fn relative(&self, difference: f64) -> Option<f64> {
        let base = self.base.filter(|base| base.is_finite() && base.abs() > 0.0)?;
        let share = difference / base.abs();
        share.is_finite().then_some(share)
    }
}

/// A finding before any correction.
struct Raw {
    finding: Finding,
    /// Of "no change".
    p: Option<f64>,
    /// Of "not worse by more than the margins".
    regression_p: Option<f64>,
}

/// Compares all of it at a level, such as 0.05. The findings are in the order of the sides.
pub fn compare(sides: &[Sides<'_>], level: f64) -> Vec<Finding> {
    let raw: Vec<Raw> = sides.iter().map(|sides| one(sides, level)).collect();
    let changed = corrected(raw.iter().map(|raw| raw.p));
    let regressed = corrected(raw.iter().map(|raw| raw.regression_p));
    let findings =
        raw.into_iter().zip(changed).zip(regressed).map(|((Raw { mut finding, .. }, p), worse)| {
            finding.p = p;
            if p.is_some_and(|p| p > level) {
                finding.standing = Standing::Unchanged;
            }
            finding.regression_p = worse;
            finding.regressed |= worse.is_some_and(|p| p <= level);
            if finding.regressed {
                // Worse by more than a margin is worse.
                finding.standing = Standing::Worse;
            }
            finding
        });
    findings.collect()
}

/// Holm's correction over those that have a p-value.
fn corrected(p_values: impl Iterator<Item = Option<f64>>) -> Vec<Option<f64>> {
    let all: Vec<Option<f64>> = p_values.collect();
    let known: Vec<f64> = all.iter().copied().flatten().collect();
    let mut adjusted = holm(&known).into_iter();
    all.into_iter().map(|p| p.and_then(|_| adjusted.next())).collect()
}

fn numbers(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().copied().flatten().filter(|value| !value.is_nan()).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        return Some(first);
    }
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn counted(values: &[Option<f64>]) -> Runs {
    let present = numbers(values);
    Runs {
        runs: values.len(),
        absent: values.len() - present.len(),
        infinite: present.iter().filter(|value| value.is_infinite()).count(),
    }
}

/// The values that can be compared, pairs side by side.
struct Values {
    base: Vec<f64>,
    new: Vec<f64>,
    paired: bool,
}

impl Values {
    /// Pairs without a figure on a side are left out; without a single whole pair, the sides are taken as they are.
    fn of(sides: &Sides<'_>) -> Self {
        if sides.paired {
            let pairs = sides.base.iter().zip(&sides.new);
            let whole = pairs.filter_map(|(base, new)| Some((base.as_ref()?, new.as_ref()?)));
            let (base, new): (Vec<f64>, Vec<f64>) =
                whole.filter(|(base, new)| !base.is_nan() && !new.is_nan()).unzip();
            if !base.is_empty() {
                return Self { base, new, paired: true };
            }
        }
        Self { base: numbers(&sides.base), new: numbers(&sides.new), paired: false }
    }

    /// What infinite values say, if they settle it; else they are gone from what is left.
    fn infinite(&mut self) -> Option<Evidence> {
        let infinite = |values: &[f64]| values.iter().filter(|value| value.is_infinite()).count() as u64;
        let (in_base, in_new) = (infinite(&self.base), infinite(&self.new));
        if in_base == 0 && in_new == 0 {
            return None;
        }
        if !self.paired {
            let (base, new) = (self.base.len() as u64, self.new.len() as u64);
            return Some(match (in_base, in_new) {
                (0, up) if up == new => Evidence::Infinite { up: true },
                (down, 0) if down == base => Evidence::Infinite { up: false },
                (b, n) if b == base && n == new => Evidence::Nothing,
                _ => fisher(in_base, base, in_new, new),
            });
        }
        let pairs = || self.base.iter().zip(&self.new);
        let up = pairs().filter(|(base, new)| base.is_finite() && new.is_infinite()).count() as u64;
        let down = pairs().filter(|(base, new)| base.is_infinite() && new.is_finite()).count() as u64;
        match (up, down) {
            (0, 0) => {
                self.base.retain(|value| value.is_finite());
                self.new.retain(|value| value.is_finite());
                self.base.is_empty().then_some(Evidence::Nothing)
            }
            (_, 0) => Some(Evidence::Infinite { up: true }),
            (0, _) => Some(Evidence::Infinite { up: false }),
            _ => Some(sign_test(up, down)),
        }
    }

    fn contrast(&self, weight: f64) -> Option<Contrast> {
        if self.paired { paired(&self.base, &self.new, weight) } else { welch(&self.base, &self.new, weight) }
    }
}

/// What speaks for a change, where no t can.
#[derive(Clone, Copy, Debug)]
enum Evidence {
    /// Nothing does.
    Nothing,
    /// It became infinite, or is so no longer.
    Infinite { up: bool },
    /// It is infinite more often on one side.
    Often { up: bool, one_sided: f64 },
}

/// Fisher's exact test of how many are infinite.
fn fisher(in_base: u64, base: u64, in_new: u64, new: u64) -> Evidence {
    let up = in_new * base > in_base * new;
    let (draws, found) = if up { (new, in_new) } else { (base, in_base) };
    let one_sided = match (Hypergeometric::new(base + new, in_base + in_new, draws), found) {
        (Ok(by_chance), 1..) => by_chance.sf(found - 1),
        _ => 1.0,
    };
    Evidence::Often { up, one_sided: rounded(one_sided) }
}

/// The sign test of pairs of which one is infinite.
fn sign_test(up: u64, down: u64) -> Evidence {
    let one_sided = Binomial::new(0.5, up + down).map_or(1.0, |by_chance| by_chance.sf(up.max(down) - 1));
    Evidence::Often { up: up > down, one_sided: rounded(one_sided) }
}

/// The standing of what went up, or down.
const fn standing(better: Better, up: bool) -> Standing {
    match (better, up) {
        (Better::Lower, true) | (Better::Higher, false) => Standing::Worse,
        (Better::Lower, false) | (Better::Higher, true) => Standing::Better,
        (Better::Neither, _) => Standing::Different,
    }
}

/// One metric by itself.
fn one(sides: &Sides<'_>, level: f64) -> Raw {
    let (base_runs, new_runs) = (counted(&sides.base), counted(&sides.new));
    let mut values = Values::of(sides);
    let (base, new) = (mean(&values.base), mean(&values.new));
    let judged = sides.margins.is_some() && sides.metric.better != Better::Neither;
    let finding = Finding {
        base,
        new,
        base_runs,
        new_runs,
        difference: None,
        interval: None,
        basis: Basis::Certain,
        standing: Standing::Unchanged,
        p: None,
        judged,
        regressed: false,
        regression_p: None,
    };
    let (Some(from), Some(to)) = (base, new) else { return appeared(sides, finding) };
    if let Some(evidence) = values.infinite() {
        return uncountable(sides, finding, evidence);
    }
    let (from, to) = (mean(&values.base).unwrap_or(from), mean(&values.new).unwrap_or(to));
    match values.contrast(1.0) {
        Some(contrast) => tested(sides, finding, &values, contrast, level),
        None => single(sides, finding, from, to),
    }
}

/// Only one side has the figure, or none.
fn appeared(sides: &Sides<'_>, mut finding: Finding) -> Raw {
    let (Some(value), up) = (finding.base.or(finding.new), finding.new.is_some()) else {
        return Raw { finding, p: None, regression_p: None };
    };
    // A figure of nothing is as good as none.
    let changed = value > 0.0;
    if changed {
        finding.standing = standing(sides.metric.better, up);
    }
    let exceeds = |margin: &Margin| match margin {
        Margin::Relative(share) => up || *share < 1.0,
        Margin::Absolute(amount) => value > *amount,
    };
    let worse = finding.standing == Standing::Worse && sides.margins.is_some_and(|m| m.iter().all(exceeds));
    let regression_p = finding.judged.then_some(if worse { 0.0 } else { 1.0 });
    Raw { finding, p: Some(if changed { 0.0 } else { 1.0 }), regression_p }
}

/// Infinite values settle it.
fn uncountable(sides: &Sides<'_>, mut finding: Finding, evidence: Evidence) -> Raw {
    let (up, one_sided) = match evidence {
        Evidence::Nothing => (None, 1.0),
        Evidence::Infinite { up } => (Some(up), 0.0),
        Evidence::Often { up, one_sided } => {
            finding.basis = Basis::Counts;
            (Some(up), one_sided)
        }
    };
    finding.standing = up.map_or(Standing::Unchanged, |up| standing(sides.metric.better, up));
    let worse = finding.standing == Standing::Worse;
    let regression_p = finding.judged.then_some(if worse { one_sided } else { 1.0 });
    Raw { finding, p: Some((2.0 * one_sided).min(1.0)), regression_p }
}

/// A t test of finite values.
fn tested(sides: &Sides<'_>, finding: Finding, values: &Values, contrast: Contrast, level: f64) -> Raw {
    let better = sides.metric.better;
    let sign = if better == Better::Higher { -1.0 } else { 1.0 };
    // `worse > share * base` is `sign * (new - (1 + sign * share) * base) > 0`.
    let p_of = |margin: &Margin| {
        let (weight, limit) = match margin {
            Margin::Relative(share) => (1.0 + sign * share, 0.0),
            Margin::Absolute(amount) => (1.0, *amount),
        };
        let weighed = values.contrast(weight).unwrap_or(contrast);
        Contrast { estimate: sign * weighed.estimate, ..weighed }.above(limit)
    };
    let margins = sides.margins.filter(|_| finding.judged);
    let regression_p = margins.map(|margins| margins.iter().map(p_of).fold(0.0, f64::max));
    let changed = contrast.estimate.abs() > 0.0;
    let finding = Finding {
        base: mean(&values.base),
        new: mean(&values.new),
        difference: Some(contrast.estimate),
        interval: Some(contrast.interval(level)),
        basis: if values.paired { Basis::Paired } else { Basis::Welch },
        standing: if changed { standing(better, contrast.estimate > 0.0) } else { Standing::Unchanged },
        ..finding
    };
    Raw { finding, p: Some(contrast.two_sided()), regression_p }
}

/// A single run on a side: the plain difference against thresholds.
fn single(sides: &Sides<'_>, finding: Finding, from: f64, to: f64) -> Raw {
    let metric = sides.metric;
    let difference = less(to, from);
    let worse = if metric.better == Better::Higher { -difference } else { difference };
    let exceeds = |margin: &Margin| match margin {
        Margin::Relative(share) => worse > share * from.abs(),
        Margin::Absolute(amount) => worse > *amount,
    };
    let margins = sides.margins.filter(|_| finding.judged);
    // The same margin seen from either side.
    let largest = from.abs().max(to.abs());
    let matters = difference.abs() > floor(metric).max(RELATIVE_MARGIN * largest);
    let finding = Finding {
        difference: Some(difference),
        basis: Basis::Single,
        standing: if matters { standing(metric.better, difference > 0.0) } else { Standing::Unchanged },
        regressed: margins.is_some_and(|margins| worse > 0.0 && margins.iter().all(exceeds)),
        ..finding
    };
    Raw { finding, p: None, regression_p: None }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
