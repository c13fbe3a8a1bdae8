//! Start-up: the samples of each stage as a distribution, cold or warm caches apart.

use thawline::kernel::{Distribution, SimDuration};
use thawline::profile::schema::{Stage, StartUpStage};

use super::parts::{Origin, secs};
use super::points::quantile;
use crate::raw::{Cache, StageSample};

/// One entry for each stage and label, in the order of stages. `notes` takes what a reader
/// should know.
pub fn stages(
    samples: &[&StageSample],
    wanted: Cache,
    origin: &Origin,
    notes: &mut Vec<String>,
) -> Vec<StartUpStage> {
    let mut keys: Vec<(Stage, Option<&str>)> = Vec::new();
    for sample in samples {
        let key = (sample.stage, sample.label.as_deref());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    // Parts of a stage stay in the order they were seen.
    keys.sort_by_key(|(stage, _)| *stage);
    let mut stages = Vec::new();
    for (stage, label) in keys {
        let mine: Vec<&StageSample> =
            samples.iter().copied().filter(|s| (s.stage, s.label.as_deref()) == (stage, label)).collect();
        stages.extend(one(stage, label, &mine, wanted, origin, notes));
    }
    stages
}

fn one(
    stage: Stage,
    label: Option<&str>,
    samples: &[&StageSample],
    wanted: Cache,
    origin: &Origin,
    notes: &mut Vec<String>,
) -> Option<StartUpStage> {
    let of = |cache: Option<Cache>| -> Vec<f64> {
        let sound = samples.iter().filter(|s| s.cache == cache && s.seconds.is_finite() && s.seconds >= 0.0);
        sound.map(|s| s.seconds).collect()
    };
    let other = if wanted == Cache::Cold { Cache::Warm } else { Cache::Cold };
    let order = [Some(wanted), None, Some(other)];
    let cache = order.into_iter().find(|cache| !of(*cache).is_empty())?;
    let times: Vec<SimDuration> = of(cache).into_iter().filter_map(secs).collect();
    let name = label.map_or_else(|| stage.label().to_owned(), |label| format!("{} ({label})", stage.label()));
    let mut remarks = Vec::new();
    match cache {
        Some(cache) if cache == wanted => remarks.push(format!("{} caches", word(cache))),
        Some(cache) => {
            remarks.push(format!("{} caches: it was not measured with {} ones", word(cache), word(wanted)));
            notes.push(format!("{name}: measured with {} caches only", word(cache)));
        }
        None => {}
    }
    if let Some(median) = quantile(&of(Some(other)), 0.5).filter(|_| cache != Some(other)) {
        remarks.push(format!("{} caches: median {median:.3} s", word(other)));
    }
    let mut sources: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|s| s.cache == cache) {
        if !sources.contains(&sample.source.as_str()) {
            sources.push(&sample.source);
        }
    }
    let first = times.first().copied()?;
    let value = if times.iter().all(|t| *t == first) {
        Distribution::Constant(first)
    } else {
        Distribution::Samples(times)
    };
    let note = (!remarks.is_empty()).then(|| format!("{}.", capital(&remarks.join("; "))));
    let time = origin.with(&sources.join(", ")).measured(value, note);
    Some(StartUpStage { stage, label: label.map(ToOwned::to_owned), time, cached: None })
}

fn word(cache: Cache) -> &'static str {
    match cache {
        Cache::Cold => "cold",
        Cache::Warm => "warm",
    }
}

/// With a capital first letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(stage: Stage, cache: Option<Cache>, run: u32, seconds: f64) -> StageSample {
        StageSample { stage, label: None, cache, run, seconds, bytes: None, source: "a log".to_owned() }
    }

    fn fitted(samples: &[StageSample], wanted: Cache) -> (Vec<StartUpStage>, Vec<String>) {
        let origin = Origin::of_test();
        let mut notes = Vec::new();
        (stages(&samples.iter().collect::<Vec<_>>(), wanted, &origin, &mut notes), notes)
    }

    #[test]
    fn cold_and_warm_starts_are_kept_apart() {
        let samples = [
            sample(Stage::WarmUp, None, 0, 6.0),
            sample(Stage::WeightLoad, Some(Cache::Cold), 0, 30.0),
            sample(Stage::WeightLoad, Some(Cache::Warm), 1, 3.0),
            sample(Stage::WeightLoad, Some(Cache::Warm), 2, 5.0),
        ];
        let (cold, notes) = fitted(&samples, Cache::Cold);
        assert_eq!(cold.iter().map(|s| s.stage).collect::<Vec<_>>(), [Stage::WeightLoad, Stage::WarmUp]);
        assert_eq!(cold[0].time.value, Distribution::Constant(SimDuration::from_secs(30)));
        assert_eq!(cold[0].time.note.as_deref(), Some("Cold caches; warm caches: median 4.000 s."));
        assert_eq!(notes, Vec::<String>::new());
        let (warm, _) = fitted(&samples, Cache::Warm);
        let times = [3, 5].map(SimDuration::from_secs).to_vec();
        assert_eq!(warm[0].time.value, Distribution::Samples(times));
    }

    #[test]
    fn what_was_only_measured_warm_says_so() {
        let (stages, notes) = fitted(&[sample(Stage::WeightLoad, Some(Cache::Warm), 0, 3.0)], Cache::Cold);
        assert_eq!(stages.len(), 1);
        assert_eq!(notes, ["weight load: measured with warm caches only"]);
    }
}
