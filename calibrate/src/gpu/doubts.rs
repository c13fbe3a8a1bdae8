//! What must be said about measured points: those that scatter, drift, or lie where no kernel can
//! be or none should.

use super::backend::Work;
use super::measure::{describe, point_of};
use super::points::{Phase, Point, Purpose};
use super::sample::{self, SCATTER_MAX, median};
use crate::raw::{Launch, Record, Timing};

/// Below this share of the memory bandwidth our decode attention does not stand for that of
/// serving engines.
pub const ATTENTION_BANDWIDTH_LEAST: f64 = 0.6;
/// More of a difference between the beginning and the end is drift.
pub const DRIFT_MAX: f64 = 0.03;
/// Times beyond this many times the roofline's are not representative.
pub const ROOFLINE_RATIO_MAX: f64 = 2.5;
fn timing_of(record: &Record) -> Option<&Timing> {
    match record {
        Record::Linear(s) => Some(&s.timing),
        Record::Decode(s) | Record::DecodeAttention(s) => Some(&s.timing),
        Record::Prefill(s) | Record::PrefillAttention(s) => Some(&s.timing),
        Record::Mixed(s) => Some(&s.timing),
        _ => None,
    }
}

/// A measured point: its median over the roofline's time, and its scatter.
struct Seen<'a> {
    point: Point,
    timing: &'a Timing,
    ratio: f64,
    scatter: f64,
}

/// What must be said about the points of a phase: one flag a kind, with the worst point.
pub fn doubts(phase: &Phase, records: &[Record]) -> Vec<(&'static str, String)> {
    let seen: Vec<Seen<'_>> = records
        .iter()
        .filter_map(|record| {
            let (point, timing) = (point_of(record)?, timing_of(record)?);
            let middle = median(&timing.samples_us);
            let ratio = middle / timing.roofline_us.unwrap_or(f64::NAN);
            let scatter = sample::scatter(&timing.samples_us);
            phase.points.contains(&point).then_some(Seen { point, timing, ratio, scatter })
        })
        .collect();
    let mut doubts = Vec::new();
    let mut doubt = |flag, worst: Option<&Seen<'_>>, count: usize, text: &dyn Fn(&Seen<'_>) -> String| {
        if let Some(worst) = worst {
            let (all, at) = (seen.len(), describe(&worst.point.work));
            doubts.push((flag, format!("{}: {count} of {all} points {}, at {at}", phase.name, text(worst))));
        }
    };
    let mut pick = |flag,
                    bad: &dyn Fn(&Seen<'_>) -> bool,
                    of: fn(&Seen<'_>) -> f64,
                    text: &dyn Fn(&Seen<'_>) -> String| {
        let bad: Vec<&Seen<'_>> = seen.iter().filter(|s| bad(s)).collect();
        let worst = bad.iter().max_by(|a, b| of(a).total_cmp(&of(b))).copied();
        doubt(flag, worst, bad.len(), text);
    };
    pick("scatter", &|s| s.scatter > SCATTER_MAX, |s| s.scatter, &|s| {
        format!("scatter by more than {:.0} %, most by {:.1} %", SCATTER_MAX * 100.0, s.scatter * 100.0)
    });
    pick("belowRoofline", &|s| s.ratio < 1.0, |s| -s.ratio, &|s| {
        format!("are faster than the hardware allows, most with {:.2} of the roofline's time", s.ratio)
    });
    // Launch overhead, not the kernel, makes eager steps and attention over few tokens slow.
    let far = |s: &Seen<'_>| {
        let steps = matches!(s.point.work, Work::Linear { .. } | Work::Forward { .. });
        steps && s.point.launch == Launch::Graph && s.ratio > ROOFLINE_RATIO_MAX
    };
    pick("farFromRoofline", &far, |s| s.ratio, &|s| {
        format!("take over {ROOFLINE_RATIO_MAX} times the roofline's time, most {:.1} times", s.ratio)
    });
    let longest = seen.iter().filter_map(|s| attended(&s.point.work)).max();
    let slow = |s: &Seen<'_>| {
        attended(&s.point.work).is_some_and(|kv| Some(kv) == longest)
            && 1.0 / s.ratio < ATTENTION_BANDWIDTH_LEAST
    };
    pick("attentionKernelSlow", &slow, |s| s.ratio, &|s| {
        format!(
            "over the most KV tokens reach less than {:.0} % of the memory bandwidth, the slowest {:.0} %",
            ATTENTION_BANDWIDTH_LEAST * 100.0,
            100.0 / s.ratio
        )
    });
    let drift = |s: &Seen<'_>| drift_of(s, records).unwrap_or(0.0).abs();
    let drifts: Vec<f64> = seen.iter().map(drift).collect();
    if let Some(worst) =
        (0..seen.len()).filter(|i| drifts[*i] > DRIFT_MAX).max_by(|a, b| drifts[*a].total_cmp(&drifts[*b]))
    {
        let percent = 100.0 * drift_of(&seen[worst], records).unwrap_or(0.0);
        let at = describe(&seen[worst].point.work);
        doubts.push(("drift", format!("{at} takes {percent:+.1} % at the end compared with the beginning")));
    }
    doubts
}

/// KV tokens that decode attention alone reads.
pub(super) fn attended(work: &Work) -> Option<u64> {
    match *work {
        Work::DecodeAttention { batch, context } => Some(u64::from(batch) * u64::from(context)),
        _ => None,
    }
}

/// Change of a repeated point against its first timing.
fn drift_of(again: &Seen<'_>, records: &[Record]) -> Option<f64> {
    if again.point.purpose != Purpose::Repeat {
        return None;
    }
    let first = Point { purpose: Purpose::Time, ..again.point };
    let before = records.iter().find(|r| point_of(r) == Some(first)).and_then(timing_of)?;
    Some(median(&again.timing.samples_us) / median(&before.samples_us) - 1.0)
}
