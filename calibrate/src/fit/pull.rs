//! The pull model from timed pulls: non-negative least squares over layers.
//!
//! Downloads: while few are under way each has the rate of a connection, `s`; from `m` on
//! they share the link, `W`. For each `m` a download's bytes are linear in `s` and `W`; the
//! `m` whose `min(s, W / n)` comes nearest is taken. Unpacking is linear in compressed
//! bytes, bytes, entries and layers, and decompression alone in compressed bytes.
//! The variance of a time grows with the time, so rows are weighted with `1 / sqrt`.

use std::collections::BTreeMap;

use thawline::kernel::{Bytes, Distribution, SimDuration};
use thawline::profile::image::{Compression, ImageLayer, ImageSpec, PullModel};
use thawline::profile::schema::{Stage, StartUpStage, Validation};

use super::parts::{Origin, Part};
use super::{cross, nnls};
use crate::pull::manifest::compression;
use crate::raw::{LayerSample, PullSample, Record};
use crate::{Fault, Result, fault};

/// containerd's `max_concurrent_downloads`, where no network was measured.
const CONNECTIONS: u32 = 3;

/// What pulls tell.
#[derive(Clone, Debug, PartialEq)]
pub struct PullFit {
    /// The image's layers.
    pub layers: Vec<ImageLayer>,
    /// The fitted model.
    pub model: PullModel,
    /// Whether there were downloads; without, the model knows no network.
    pub network: bool,
    /// Each pull as measured and as the model has it.
    pub pulls: Vec<PullCheck>,
}

/// One pull, measured and predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PullCheck {
    /// Its number.
    pub pull: u32,
    /// Parallel downloads; 0 where a layout was read.
    pub connections: u32,
    /// End of the last download and of the pull, s, as measured.
    pub measured_s: [f64; 2],
    /// The same as predicted.
    pub predicted_s: [f64; 2],
}

impl PullCheck {
    /// Predicted over measured, less 1, of the whole pull.
    pub fn relative_error(&self) -> f64 {
        self.predicted_s[1] / self.measured_s[1] - 1.0
    }
}

/// Fits the pull model; records of other kinds are passed over.
///
/// # Errors
/// No complete pull, or pulls of different images.
pub fn fit(records: &[Record]) -> Result<PullFit> {
    let pulls = complete_pulls(records)?;
    let samples: Vec<&LayerSample> = pulls.iter().flat_map(|(_, layers)| layers.iter().copied()).collect();
    let layers = image_layers(&pulls)?;
    let unpack = fit_unpack(&samples);
    let network = samples.iter().any(|layer| layer.download_ns.is_some());
    let (connection, link) = fit_download(&pulls);
    let waits =
        samples.iter().filter_map(|l| l.download_ns).map(|[asked, first, _]| first - asked.min(first));
    let most = pulls.iter().map(|(pull, _)| pull.connections).max().filter(|most| *most > 0);
    let model = PullModel {
        connections: most.unwrap_or(CONNECTIONS),
        manifest: SimDuration::from_nanos(median(pulls.iter().map(|(pull, _)| pull.manifest_ns).collect())),
        per_request: SimDuration::from_nanos(median(waits.collect())),
        link_bytes_per_second: link,
        connection_bytes_per_second: connection,
        gzip_bytes_per_second: rate(unpack[0]),
        zstd_bytes_per_second: rate(unpack[1]),
        write_bytes_per_second: rate(unpack[2]),
        per_file: time(unpack[3]),
        per_layer: time(unpack[4]),
    };
    let pulls = pulls.iter().map(|(pull, samples)| check(&model, &layers, pull, samples)).collect();
    Ok(PullFit { layers, model, network, pulls })
}

/// The pulls that ended, each with its layers in order.
type Pulls<'a> = Vec<(&'a PullSample, Vec<&'a LayerSample>)>;

fn complete_pulls(records: &[Record]) -> Result<Pulls<'_>> {
    // A pull that a kill cut off is measured again under its number: the last record holds.
    let mut layers: BTreeMap<(u32, u32), &LayerSample> = BTreeMap::new();
    let mut pulls: BTreeMap<u32, &PullSample> = BTreeMap::new();
    for record in records {
        match record {
            Record::Layer(layer) => drop(layers.insert((layer.pull, layer.layer), layer)),
            Record::Pull(pull) => drop(pulls.insert(pull.pull, pull)),
            _ => {}
        }
    }
    let of = |number: u32| layers.range((number, 0)..=(number, u32::MAX)).map(|(_, layer)| *layer).collect();
    let found: Pulls<'_> = pulls.values().map(|pull| (*pull, of(pull.pull))).collect();
    if found.is_empty() || found.iter().any(|(_, layers)| layers.is_empty()) {
        let why = "there is no complete image pull in the raw file";
        return Err(vec![Fault::error("E0707", why).helped("measure one: thawline-calibrate pull IMAGE")]);
    }
    Ok(found)
}

fn image_layers(pulls: &Pulls<'_>) -> Result<Vec<ImageLayer>> {
    let layers = |samples: &[&LayerSample]| -> Result<Vec<ImageLayer>> {
        let layer = |sample: &&LayerSample| {
            Ok(ImageLayer {
                compression: compression(&sample.media_type)
                    .map_err(|why| fault("E0706", format!("layer {} {why}", sample.layer)))?,
                compressed: Bytes(sample.compressed_bytes),
                uncompressed: Bytes(sample.raw_bytes),
                files: sample.files,
            })
        };
        samples.iter().map(layer).collect()
    };
    let first = layers(&pulls[0].1)?;
    for (pull, samples) in pulls {
        let in_order = samples.iter().zip(0..).all(|(sample, i)| sample.layer == i);
        if !in_order || layers(samples)? != first {
            return Err(fault("E0706", format!("pull {} is not of the image of the first one", pull.pull)));
        }
    }
    Ok(first)
}

/// Seconds per compressed gzip byte, compressed zstd byte, byte, entry, layer.
fn fit_unpack(samples: &[&LayerSample]) -> [f64; 5] {
    let (mut rows, mut seconds) = (Vec::new(), Vec::new());
    let mut add = |row: [f64; 5], ns: u64| {
        let weight = (ns.max(1) as f64 / 1e9).sqrt();
        rows.push(row.map(|value| value / weight).to_vec());
        seconds.push(weight);
    };
    for layer in samples {
        let compressed = layer.compressed_bytes as f64;
        let (gzip, zstd) = match compression(&layer.media_type) {
            Ok(Compression::Gzip) => (compressed, 0.0),
            Ok(Compression::Zstd) => (0.0, compressed),
            _ => (0.0, 0.0),
        };
        let [begin, end] = layer.unpack_ns;
        add([gzip, zstd, layer.raw_bytes as f64, layer.files as f64, 1.0], end.saturating_sub(begin));
        if gzip + zstd > 0.0 {
            add([gzip, zstd, 0.0, 0.0, 0.0], layer.decompress_ns);
        }
    }
    let found = nnls::solve(&rows, &seconds).unwrap_or_default();
    std::array::from_fn(|i| found.get(i).copied().unwrap_or(0.0))
}

/// One download: its bytes, and for how many seconds it shared with how many, itself included.
struct Shared {
    bytes: f64,
    seconds: Vec<(usize, f64)>,
}

/// Rates of a connection and of the link; `None` where it was never the limit.
fn fit_download(pulls: &Pulls<'_>) -> (Option<Bytes>, Option<Bytes>) {
    let downloads: Vec<Shared> = pulls.iter().flat_map(|(_, layers)| shares(layers)).collect();
    let most = downloads.iter().flat_map(|d| d.seconds.iter().map(|(n, _)| *n)).max().unwrap_or(0);
    // Misses below 0.1 % of the bytes tell nothing.
    let floor = 1e-6 * downloads.iter().map(|d| d.bytes).sum::<f64>();
    let mut best: Option<(f64, [f64; 2])> = None;
    // From `m` parallel downloads on the link is the limit: never, always, or in between.
    for m in [most + 1, 1].into_iter().chain((2..=most).rev()) {
        let row = |d: &Shared| {
            let alone = d.seconds.iter().filter(|(n, _)| *n < m).map(|(_, s)| s).sum::<f64>();
            let shared = d.seconds.iter().filter(|(n, _)| *n >= m).map(|(n, s)| s / *n as f64).sum::<f64>();
            [alone, shared].map(|value| value / d.bytes.sqrt()).to_vec()
        };
        let rows: Vec<Vec<f64>> = downloads.iter().map(row).collect();
        let bytes: Vec<f64> = downloads.iter().map(|d| d.bytes.sqrt()).collect();
        let Some(found) = nnls::solve(&rows, &bytes) else { continue };
        let rates = [found[0], found[1]].map(|rate| if rate > 0.0 { rate } else { f64::INFINITY });
        if rates.iter().all(|rate| rate.is_infinite()) {
            continue;
        }
        let miss = |d: &Shared| {
            let came = |(n, s): &(usize, f64)| s * rates[0].min(rates[1] / *n as f64);
            let come: f64 = d.seconds.iter().map(came).sum();
            (come - d.bytes).powi(2) / d.bytes
        };
        let misses: f64 = downloads.iter().map(miss).sum();
        // One per cent better, or the simpler explanation holds.
        if best.is_none_or(|(least, _)| misses + floor < 0.99 * (least + floor)) {
            best = Some((misses, rates));
        }
    }
    let bytes = |rate: f64| rate.is_finite().then(|| Bytes((rate.round() as u64).max(1)));
    best.map_or((None, None), |(_, [connection, link])| (bytes(connection), bytes(link)))
}

/// The downloads of one pull that took time, cut where another one began or ended.
fn shares(layers: &[&LayerSample]) -> Vec<Shared> {
    let spans: Vec<(f64, u64, u64)> = layers
        .iter()
        .filter_map(|l| l.download_ns.map(|[_, first, last]| (l.compressed_bytes as f64, first, last)))
        .filter(|(bytes, first, last)| last > first && *bytes > 0.0)
        .collect();
    let mut cuts: Vec<u64> = spans.iter().flat_map(|(_, first, last)| [*first, *last]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let under_way = |from: u64, to: u64| spans.iter().filter(|(_, f, l)| *f <= from && *l >= to).count();
    let shared = |(bytes, first, last): &(f64, u64, u64)| {
        let own = cuts.windows(2).filter(|w| w[0] >= *first && w[1] <= *last);
        let seconds = own.map(|w| (under_way(w[0], w[1]), (w[1] - w[0]) as f64 / 1e9)).collect();
        Shared { bytes: *bytes, seconds }
    };
    spans.iter().map(shared).collect()
}

fn check(model: &PullModel, layers: &[ImageLayer], pull: &PullSample, samples: &[&LayerSample]) -> PullCheck {
    let mut model = model.clone();
    model.connections = pull.connections;
    if pull.connections == 0 {
        // Everything was there.
        model.manifest = SimDuration::from_nanos(pull.manifest_ns);
        model.per_request = SimDuration::ZERO;
        (model.connection_bytes_per_second, model.link_bytes_per_second) = (None, None);
    }
    let times = model.predict(layers);
    let downloaded = |all: f64, end: f64| all.max(end);
    let last = samples.iter().filter_map(|l| l.download_ns).map(|[.., last]| last).max();
    let predicted = times.iter().map(|t| t.downloaded_s).fold(0.0, downloaded);
    PullCheck {
        pull: pull.pull,
        connections: pull.connections,
        measured_s: [last.unwrap_or(pull.manifest_ns), pull.total_ns].map(|ns| ns as f64 / 1e9),
        predicted_s: [predicted, times.last().map_or(0.0, |t| t.unpacked_s)],
    }
}

/// The lower median; 0 of nothing.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// Bytes a second from seconds a byte; none if no time goes with the bytes.
fn rate(seconds: f64) -> Option<Bytes> {
    let rate = (1.0 / seconds).round();
    (seconds > 0.0 && rate < 1e15).then(|| Bytes((rate as u64).max(1)))
}

fn time(seconds: f64) -> SimDuration {
    SimDuration::from_secs_f64(seconds).unwrap_or_default()
}

/// What the pulls of a raw file contribute to a profile.
pub(super) fn contribute(records: &[Record], origin: &Origin, part: &mut Part) {
    if !records.iter().any(|record| matches!(record, Record::Layer(_) | Record::Pull(_))) {
        return;
    }
    match fit(records) {
        Ok(pull) => {
            part.image = Some(pull.image(origin));
            part.start_up.extend(pull.stage(origin));
            part.validation.extend(pull.validation(origin));
        }
        Err(faults) => part.notes.extend(faults.into_iter().map(|f| format!("image pull: {}", f.message))),
    }
}

impl PullFit {
    /// The `image` section of a profile.
    fn image(&self, origin: &Origin) -> ImageSpec {
        let network = if self.network { "" } else { "The network was not measured: unpacking only. " };
        let worst = self.pulls.iter().map(|p| p.relative_error().abs()).fold(0.0, f64::max);
        let note = format!("{network}Has the pulls it was fitted to within {:.0} %.", worst * 100.0);
        ImageSpec {
            layers: origin.measured(self.layers.clone(), None),
            pull: origin.measured(self.model.clone(), Some(note)),
        }
    }

    /// The `imagePull` stage: whole pulls over several connections, as measured. None from a layout.
    fn stage(&self, origin: &Origin) -> Option<StartUpStage> {
        let whole = |pull: &&PullCheck| self.network && pull.connections == self.model.connections;
        let samples: Vec<SimDuration> =
            self.pulls.iter().filter(whole).map(|pull| time(pull.measured_s[1])).collect();
        let value = match samples[..] {
            [] => return None,
            [only] => Distribution::Constant(only),
            _ => Distribution::Samples(samples),
        };
        let time = origin.measured(value, None);
        Some(StartUpStage { stage: Stage::ImagePull, label: None, time, cached: None })
    }

    /// How well the model has the pulls it was fitted to.
    fn validation(&self, origin: &Origin) -> Option<Validation> {
        let errors: Vec<f64> = self.pulls.iter().map(PullCheck::relative_error).collect();
        Some(Validation {
            quantity: "image pull".to_owned(),
            against: format!("the {} pulls the model was fitted to", errors.len()),
            date: origin.date,
            errors: cross::summary(&errors)?,
        })
    }
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
