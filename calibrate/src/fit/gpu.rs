//! From the timings of whole steps on a device to grids, fits and stages.

use thawline::kernel::{Bytes, Distribution};
use thawline::profile::schema::{DecodeSpec, LinearCurve, PrefillSpec, Stage, StartUpStage};

use super::decode;
use super::grid::{self, GridCell};
use super::nnls;
use super::parts::{Origin, Part, Quality, secs};
use super::points::{DecodePoint, PrefillPoint, Spread, quantile, rounded};
use super::prefill;
use crate::raw::{
    Cache, DecodeSample, Launch, LinearSample, PrefillSample, Record, Timing, TransferSample, WarmUpSample,
};

/// Batch sizes at which engines and kernels change their ways.
const HINGES: [u32; 4] = [16, 64, 128, 256];
/// More drift than this between the first and the last timing of a point is flagged.
const DRIFT: f64 = 0.03;
/// Times beyond this many times the roofline's do not represent a serving engine's kernels.
const ROOFLINE_MOST: f64 = 2.5;

/// A point that was timed, possibly more than once.
struct Timed<K> {
    at: K,
    spread: Spread,
    roofline_us: Option<f64>,
}

/// The timings of each point: graph launches before eager ones, the steadiest of several attempts.
/// Repeats at the end only tell drift.
fn timed<S, K: Ord + Copy>(
    samples: &[&S],
    key: impl Fn(&S) -> K,
    timing: impl Fn(&S) -> &Timing,
    part: &mut Part,
    what: &str,
) -> Vec<Timed<K>> {
    let graphs = samples.iter().any(|s| timing(s).launch == Some(Launch::Graph));
    let launched = |s: &&&S| !graphs || timing(s).launch == Some(Launch::Graph);
    let mut points: Vec<Timed<K>> = Vec::new();
    for sample in samples.iter().filter(launched).filter(|s| !timing(s).repeat) {
        let Some(spread) = Spread::of_timing(timing(sample)) else { continue };
        let new = Timed { at: key(sample), spread, roofline_us: timing(sample).roofline_us };
        match points.iter_mut().find(|p| p.at == new.at) {
            Some(old) if new.spread.mad / new.spread.median < old.spread.mad / old.spread.median => {
                *old = new;
            }
            Some(_) => {}
            None => points.push(new),
        }
    }
    points.sort_by_key(|p| p.at);
    let mut drifts = Vec::new();
    for sample in samples.iter().filter(launched).filter(|s| timing(s).repeat) {
        let again = Spread::of_timing(timing(sample));
        let before = points.iter().find(|p| p.at == key(sample));
        if let (Some(again), Some(before)) = (again, before) {
            drifts.push(again.median / before.spread.median - 1.0);
        }
    }
    let worst =
        drifts.iter().copied().fold(0.0, |worst: f64, d| if d.abs() > worst.abs() { d } else { worst });
    if worst.abs() > DRIFT {
        part.flag(
            "drift",
            format!("{what}: timings at the end differ by {:+.1} % from those at the start", worst * 100.0),
        );
    }
    points
}

/// Fits decode steps: a grid where a rectangle was measured, and the summary form.
pub fn decode(samples: &[&DecodeSample], origin: &Origin, part: &mut Part) {
    let points = timed(samples, |s| (s.batch, s.kv_tokens), |s| &s.timing, part, "decode");
    if points.is_empty() {
        return;
    }
    let cell = |p: &Timed<(u32, u64)>| GridCell {
        row: u64::from(p.at.0),
        column: p.at.1,
        us: p.spread.median,
        roofline_us: p.roofline_us,
    };
    let table = grid::table(&points.iter().map(cell).collect::<Vec<_>>(), 2);
    if let Some(table) = &table {
        roofline(table, "decode", part);
    } else {
        part.note("decode: no full rectangle of batch sizes and KV tokens, so no grid; the fit is simulated");
    }
    let steady: Vec<DecodePoint> = points
        .iter()
        .filter(|p| !p.spread.is_noisy())
        .map(|p| DecodePoint { batch: p.at.0, kv_tokens: p.at.1 as f64, us: p.spread.median })
        .collect();
    let fitted = decode_fit(&steady, &HINGES, points.len() - steady.len(), part);
    let measured = (points.iter().map(|p| p.at.0).max(), points.iter().map(|p| p.at.1).max());
    let spec = DecodeSpec {
        fit: fitted.map(|fit| {
            origin.derived(fit.spec(), "Least squares on relative errors; see `errors`.".to_owned())
        }),
        grid: table.map(|t| {
            origin.measured(t.decode(), Some("Medians; falls below 3 % are averaged away.".to_owned()))
        }),
    };
    if let ((Some(batch), Some(kv)), true) = (measured, spec.fit.is_some() || spec.grid.is_some()) {
        part.decode = Some((spec, batch, kv.max(1)));
    }
}

/// Fits decode points and reports on it; all sources go through here.
pub fn decode_fit(
    points: &[DecodePoint],
    hinges: &[u32],
    dropped: usize,
    part: &mut Part,
) -> Option<decode::Decode> {
    let Some(fit) = decode::fit(points, hinges) else {
        part.note(format!(
            "decode: not fitted; {} steady points, and it takes three over two batch sizes",
            points.len()
        ));
        return None;
    };
    if !fit.kv_known {
        let about = "decode: every batch size was measured at the same context, so the cost of KV tokens is inside that of a sequence";
        part.flag("oneContext", about);
    }
    let regions = ["B <= 8", "8 < B <= 64", "B > 64"];
    let region_of = |p: &DecodePoint| usize::from(p.batch > 8) + usize::from(p.batch > 64);
    let mut quality = Quality::new("decode step", fit.errors(), points, &fit.held_out, &regions, region_of);
    if dropped > 0 {
        quality.dropped = format!("{dropped} that scatter by more than 5 %");
    }
    part.quality.push(quality);
    Some(fit)
}

/// Fits prefill steps likewise.
pub fn prefill(samples: &[&PrefillSample], origin: &Origin, part: &mut Part) {
    let points = timed(samples, |s| (s.tokens, s.context), |s| &s.timing, part, "prefill");
    if points.is_empty() {
        return;
    }
    let cell = |p: &Timed<(u64, u64)>| GridCell {
        row: p.at.0,
        column: p.at.1,
        us: p.spread.median,
        roofline_us: p.roofline_us,
    };
    let table = grid::table(&points.iter().map(cell).collect::<Vec<_>>(), 1);
    if let Some(table) = &table {
        roofline(table, "prefill", part);
    }
    let steady: Vec<PrefillPoint> = points
        .iter()
        .filter(|p| !p.spread.is_noisy())
        .map(|p| PrefillPoint { tokens: p.at.0 as f64, context: p.at.1 as f64, us: p.spread.median })
        .collect();
    let fitted = prefill_fit(&steady, points.len() - steady.len(), part);
    let spec = PrefillSpec {
        max_planes: fitted.map(|fit| {
            origin.derived(fit.spec(), "Least squares on relative errors; see `errors`.".to_owned())
        }),
        grid: table.map(|t| {
            origin.measured(t.prefill(), Some("Medians; falls below 3 % are averaged away.".to_owned()))
        }),
    };
    let most = points.iter().map(|p| p.at.0).max().unwrap_or(1);
    if spec.max_planes.is_some() || spec.grid.is_some() {
        part.prefill = Some((spec, most));
    }
}

/// Fits prefill points and reports on it; all sources go through here.
pub fn prefill_fit(points: &[PrefillPoint], dropped: usize, part: &mut Part) -> Option<prefill::Prefill> {
    let Some(fit) = prefill::fit(points) else {
        part.note(format!(
            "prefill: not fitted; {} steady points, and it takes three lengths that cost more and more",
            points.len()
        ));
        return None;
    };
    let regions = ["n <= 256", "n > 256"];
    let region_of = |p: &PrefillPoint| usize::from(p.tokens > 256.0);
    let mut quality = Quality::new("prefill step", fit.errors(), points, &fit.held_out, &regions, region_of);
    if dropped > 0 {
        quality.dropped = format!("{dropped} that scatter by more than 5 %");
    }
    part.quality.push(quality);
    Some(fit)
}

fn roofline(table: &grid::Table, what: &str, part: &mut Part) {
    for flag in &table.flags {
        part.flag("grid", format!("{what}: {flag}"));
    }
    let Some((least, most)) = table.ratio_range() else { return };
    if least < 1.0 {
        part.flag(
            "belowRoofline",
            format!("{what}: {least:.2} times the roofline's time, faster than the hardware allows"),
        );
    }
    if most > ROOFLINE_MOST {
        part.flag("farFromRoofline", format!("{what}: up to {most:.1} times the roofline's time"));
    }
    part.note(format!("{what}: {least:.2} to {most:.2} times the roofline's time"));
}

/// The linear layers, with the slope of prefill attention: together they give the sum rule.
pub fn linear(linear: &[&LinearSample], attention: &[&PrefillSample], origin: &Origin, part: &mut Part) {
    let points = timed(linear, |s| s.tokens, |s| &s.timing, part, "linear layers");
    let works = timed(attention, |s| (s.tokens, s.context), |s| &s.timing, part, "prefill attention");
    if points.len() < 2 {
        return;
    }
    let rows: Vec<Vec<f64>> = works
        .iter()
        .map(|p| {
            let point = PrefillPoint { tokens: p.at.0 as f64, context: p.at.1 as f64, us: p.spread.median };
            vec![1.0, point.work()]
        })
        .collect();
    let times: Vec<f64> = works.iter().map(|p| p.spread.median).collect();
    let Some(x) = nnls::relative(&rows, &times).filter(|x| x[1] > 0.0) else {
        part.note("linear layers: prefill attention was not measured beside them, so mixed steps follow the difference rule");
        return;
    };
    let mut times_us: Vec<f64> = points.iter().map(|p| p.spread.median).collect();
    let falls = grid::mend(&mut times_us);
    if falls > 0 {
        part.flag(
            "grid",
            format!("linear layers: {falls} times lie over 3 % below their neighbour with fewer tokens"),
        );
    }
    let curve = LinearCurve {
        tokens: points.iter().map(|p| p.at).collect(),
        times_us: times_us.iter().map(|t| rounded(*t)).collect(),
        attention_per_work_ns: rounded(x[1] * 1e3),
    };
    part.linear_layers = Some(origin.measured(curve, None));
}

/// Weight load from transfers of a file as large as one GPU's share of the `weights`, graph capture,
/// and the penalty of first passes.
pub fn start_up(records: &[Record], weights: Option<u64>, cache: Cache, origin: &Origin, part: &mut Part) {
    let transfers: Vec<&TransferSample> = records
        .iter()
        .filter_map(|r| match r {
            Record::Transfer(t) if t.what.starts_with("weight load") => Some(t),
            _ => None,
        })
        .collect();
    let has = |stage: Stage| records.iter().any(|r| matches!(r, Record::Stage(s) if s.stage == stage));
    if !transfers.is_empty() && !has(Stage::WeightLoad) {
        match weights {
            Some(bytes) => part.start_up.extend(weight_load(&transfers, bytes, cache, origin)),
            None => part.note("weight load: measured, but the bytes of the weights are not known"),
        }
    }
    let captures = records.iter().filter_map(|r| match r {
        Record::GraphCapture(c) => Some(c.capture_us + c.first_launch_us),
        _ => None,
    });
    let captures: Vec<f64> = captures.collect();
    if let Some(time) = secs(captures.iter().sum::<f64>() / 1e6).filter(|t| !t.is_zero()) {
        part.start_up.push(StartUpStage {
            stage: Stage::WarmUp,
            label: Some("graph capture".to_owned()),
            time: origin
                .derived(Distribution::Constant(time), format!("Sum over {} batch sizes.", captures.len())),
            cached: None,
        });
    }
    let curves: Vec<&WarmUpSample> = records
        .iter()
        .filter_map(|r| match r {
            Record::WarmUp(w) => Some(w),
            _ => None,
        })
        .collect();
    part.first_requests = first_passes(&curves, origin);
}

/// `s = a + bytes / bandwidth` for the fastest way that was measured, at the model's bytes.
fn weight_load(
    transfers: &[&TransferSample],
    weights: u64,
    wanted: Cache,
    origin: &Origin,
) -> Option<StartUpStage> {
    let known = |cache: Option<Cache>| transfers.iter().any(|t| t.cache == cache);
    let other = if wanted == Cache::Cold { Cache::Warm } else { Cache::Cold };
    let cache = [Some(wanted), None, Some(other)].into_iter().find(|c| known(*c))?;
    let mut ways: Vec<&str> = Vec::new();
    for transfer in transfers.iter().filter(|t| t.cache == cache) {
        if !ways.contains(&transfer.what.as_str()) {
            ways.push(&transfer.what);
        }
    }
    let line = |way: &str| -> Option<(f64, f64)> {
        let mine = transfers.iter().filter(|t| t.cache == cache && t.what == way && t.bytes > 0);
        let points: Vec<(f64, f64)> =
            mine.filter_map(|t| Some((t.bytes as f64, quantile(&t.seconds, 0.5)?))).collect();
        let sizes = points.iter().map(|p| p.0);
        let one_size = sizes.clone().fold(f64::INFINITY, f64::min) >= 0.99 * sizes.fold(0.0, f64::max);
        let rows: Vec<Vec<f64>> =
            points.iter().map(|p| vec![if one_size { 0.0 } else { 1.0 }, p.0]).collect();
        let times: Vec<f64> = points.iter().map(|p| p.1).filter(|t| *t > 0.0).collect();
        let x = (times.len() == rows.len()).then(|| nnls::relative(&rows, &times)).flatten()?;
        (x[1] > 0.0).then(|| (x[0], 1.0 / x[1]))
    };
    let time = |(base, bandwidth): (f64, f64)| base + weights as f64 / bandwidth;
    let mut lines: Vec<(&str, (f64, f64))> = ways.iter().filter_map(|way| Some((*way, line(way)?))).collect();
    lines.sort_by(|a, b| time(a.1).total_cmp(&time(b.1)));
    let (way, best) = *lines.first()?;
    let rates: Vec<String> = lines
        .iter()
        .map(|(way, (base, bandwidth))| format!("{way}: {base:.3} s + bytes / {:.2} GB/s", bandwidth / 1e9))
        .collect();
    let caches = match cache {
        Some(Cache::Cold) => "Cold page cache",
        Some(Cache::Warm) => "Warm page cache",
        None => "Page cache in an unknown state",
    };
    // A share of the bandwidth's own time that small is inside its noise.
    let value = if best.0 < 0.02 * time(best) {
        let bandwidth = Bytes(rounded(weights as f64 / time(best)) as u64);
        Distribution::Transfer { bytes: Bytes(weights), bytes_per_second: bandwidth }
    } else {
        Distribution::Constant(secs(time(best))?)
    };
    let note = format!("{caches}; one GPU's share, the fastest of {}.", rates.join("; "));
    let time = origin.with(way).derived(value, note);
    Some(StartUpStage { stage: Stage::WeightLoad, label: None, time, cached: None })
}

/// What the first passes of a fresh process cost more than later ones. A request prefills once, so
/// a prefill curve is the penalty of request 1, 2, ..; the excess of a decode curve falls on the first.
fn first_passes(
    curves: &[&WarmUpSample],
    origin: &Origin,
) -> Option<thawline::profile::Sourced<Vec<thawline::kernel::SimDuration>>> {
    let chosen = curves.iter().find(|c| c.pass.starts_with("prefill")).or_else(|| curves.first())?;
    let settled = quantile(&chosen.samples_us[chosen.samples_us.len() / 2..], 0.5)?;
    let mut excess: Vec<f64> = chosen.samples_us.iter().map(|t| (t - settled).max(0.0)).collect();
    // Beyond the last pass that stands out by a tenth, it is noise.
    let end =
        excess.iter().rposition(|e| *e > 0.1 * settled).map_or(0, |last| last + 1).min(excess.len() / 2);
    excess.truncate(end);
    if !chosen.pass.starts_with("prefill") {
        excess = vec![excess.iter().sum()];
    }
    let penalties: Vec<_> = excess.iter().filter_map(|us| secs(us / 1e6)).collect();
    let any = penalties.iter().any(|p| !p.is_zero());
    let note = format!(
        "Passes `{}` of a fresh process over their later median; an engine that warms up before it is ready pays them then.",
        chosen.pass
    );
    any.then(|| origin.derived(penalties, note))
}
