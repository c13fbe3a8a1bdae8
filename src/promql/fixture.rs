//! Stores for tests, written as upstream's test scripts write series (promql/promqltest).

use super::store::{Settings, Store};
use super::{Answer, Query};
use crate::kernel::{SimDuration, SimTime};

/// A store with series sampled every `interval` seconds from 0 on: `("a{b=\"c\"}", "1 2 _ 3+5x2 stale")`,
/// where `3+5x2` is 3 8 13 and `_` is no sample.
pub(super) fn store_with(settings: Settings, interval: u64, series: &[(&str, &str)]) -> Store {
    let mut store = Store::new(settings, SimDuration::from_secs(86_400));
    for (selector, values) in series {
        // A target each, so that each may have its gaps.
        let target = store.add_target(&[]);
        let query = Query::compile(selector).unwrap();
        let read = &query.reads()[0];
        let labels: Vec<(&str, &str)> =
            read.matchers.iter().map(|m| (m.label.as_str(), m.value.as_str())).collect();
        let id = store.add_series(target, read.name.as_deref().unwrap(), &labels);
        for (index, value) in values.split_whitespace().flat_map(values_of).enumerate() {
            let at = SimTime::from_secs(index as u64 * interval);
            match value {
                Some(value) => assert!(store.append(id, at, value), "{selector} {values}"),
                None if values.contains("stale") && index + 1 == count(values) => store.mark_stale(id, at),
                None => {}
            }
        }
    }
    store
}

pub(super) fn store(interval: u64, series: &[(&str, &str)]) -> Store {
    store_with(Settings::default(), interval, series)
}

fn count(values: &str) -> usize {
    values.split_whitespace().flat_map(values_of).count()
}

fn values_of(word: &str) -> Vec<Option<f64>> {
    if matches!(word, "_" | "stale") {
        return vec![None];
    }
    let Some((line, times)) = word.split_once('x') else { return vec![Some(number(word))] };
    let sign = line[1..].find(['+', '-']).unwrap() + 1;
    let (start, step) = (number(&line[..sign]), number(&line[sign..]));
    (0..=times.parse().unwrap()).map(|i: u32| Some(start + step * f64::from(i))).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// An answer in words, one series each: `a{b="c"} 1`, sorted unless the order counts.
pub(super) fn shown(answer: &Answer) -> Vec<String> {
    let samples = match answer {
        Answer::Scalar(value) => return vec![format!("scalar {}", rounded(*value))],
        Answer::Vector(samples) => samples,
    };
    let line = |sample: &super::Sample| {
        let labels: Vec<String> = sample
            .labels
            .iter()
            .filter(|(name, _)| name != "__name__")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let name = sample.label("__name__").unwrap_or_default();
        format!("{name}{{{}}} {}", labels.join(","), rounded(sample.value))
    };
    samples.iter().map(line).collect()
}

/// To 12 digits, so that a rounding of the last one is no difference.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() { value } else { format!("{value:.11e}").parse().unwrap() }
}
