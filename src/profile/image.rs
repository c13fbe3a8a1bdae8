//! The container image of a replica and how fast a node pulls it: the parameters, and the
//! time they predict for each layer.
//!
//! A pull is two queues. Layers are downloaded a few at a time, in the order of the
//! manifest, and share the link; one after the other they are then decompressed and
//! written, since each builds on the one below it:
//! `D_i` = end of download `i` under processor sharing, `F_i = max(F_{i-1}, D_i) + U_i`.
//! `U_i` adds decompression and writing up: the common runtimes decompress in the thread
//! that writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sourced::Sourced;
use crate::kernel::{Bytes, SimDuration};

/// The container image: what is pulled, and how fast a node pulls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// The layers, in the order of the manifest.
    pub layers: Sourced<Vec<ImageLayer>>,
    /// How fast they come and are unpacked.
    pub pull: Sourced<PullModel>,
}

/// One layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageLayer {
    /// How the registry stores it.
    pub compression: Compression,
    /// Size in the registry.
    pub compressed: Bytes,
    /// Size of its tar.
    pub uncompressed: Bytes,
    /// Entries of its tar.
    pub files: u64,
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// As a plain tar.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// How fast a node pulls an image. A rate that is left out was never the limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullModel {
    /// Layers downloaded at a time; containerd's default is 3.
    pub connections: u32,
    /// Until the manifest is there: round trips and authentication.
    pub manifest: SimDuration,
    /// From asking for a layer to its first byte.
    pub per_request: SimDuration,
    /// Rate of all downloads together, bytes/s: the link, or the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_bytes_per_second: Option<Bytes>,
    /// Rate of one connection, bytes/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_bytes_per_second: Option<Bytes>,
    /// Rate of gzip decompression on one core, compressed bytes/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip_bytes_per_second: Option<Bytes>,
    /// Rate of Zstandard decompression on one core, compressed bytes/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd_bytes_per_second: Option<Bytes>,
    /// Rate of writing, bytes of the tar/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second: Option<Bytes>,
    /// Added for each entry of the tar.
    pub per_file: SimDuration,
    /// Added for each layer: snapshot, flush.
    pub per_layer: SimDuration,
}

/// When a layer is there, in seconds since the pull began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerTimes {
    /// End of its download.
    pub downloaded_s: f64,
    /// End of its unpacking; of the last layer, the end of the pull.
    pub unpacked_s: f64,
}

/// Seconds that `bytes` take at a rate; none without one.
fn seconds(bytes: Bytes, rate: Option<Bytes>) -> f64 {
    rate.map_or(0.0, |rate| bytes.0 as f64 / rate.0 as f64)
}

impl PullModel {
    /// Decompression alone of a layer, s.
    pub fn decompress_s(&self, layer: &ImageLayer) -> f64 {
        match layer.compression {
            Compression::None => 0.0,
            Compression::Gzip => seconds(layer.compressed, self.gzip_bytes_per_second),
            Compression::Zstd => seconds(layer.compressed, self.zstd_bytes_per_second),
        }
    }

    /// Decompressing and unpacking a layer, s: `U_i`.
    pub fn unpack_s(&self, layer: &ImageLayer) -> f64 {
        self.per_layer.as_secs_f64()
            + self.decompress_s(layer)
            + seconds(layer.uncompressed, self.write_bytes_per_second)
            + layer.files as f64 * self.per_file.as_secs_f64()
    }

    /// When each layer is downloaded and unpacked, in the order of the manifest.
    pub fn predict(&self, layers: &[ImageLayer]) -> Vec<LayerTimes> {
        let sizes: Vec<Bytes> = layers.iter().map(|layer| layer.compressed).collect();
        let mut free_at = self.manifest.as_secs_f64();
        let unpack = |(layer, downloaded_s): (&ImageLayer, f64)| {
            free_at = downloaded_s.max(free_at) + self.unpack_s(layer);
            LayerTimes { downloaded_s, unpacked_s: free_at }
        };
        layers.iter().zip(self.download_ends_s(&sizes)).map(unpack).collect()
    }

    /// The end of each download, s since the pull began: `D_i`.
    ///
    /// A slot asks for the next layer when its last one is there. What is under way gets
    /// `min(connection, link / downloads under way)`; waiting for a first byte takes none of it.
    pub fn download_ends_s(&self, sizes: &[Bytes]) -> Vec<f64> {
        let rate = |sharing: usize| {
            let rate = |limit: Option<Bytes>| limit.map_or(f64::INFINITY, |bytes| bytes.0 as f64);
            rate(self.connection_bytes_per_second).min(rate(self.link_bytes_per_second) / sharing as f64)
        };
        let latency = self.per_request.as_secs_f64();
        let mut ends = vec![0.0; sizes.len()];
        let mut now = self.manifest.as_secs_f64();
        let mut next = 0;
        let mut running: Vec<Download> = Vec::new();
        loop {
            while running.len() < self.connections.max(1) as usize && next < sizes.len() {
                running.push(Download { layer: next, begins_at: now + latency, left: sizes[next].0 as f64 });
                next += 1;
            }
            let sharing = running.iter().filter(|d| d.begins_at <= now).count();
            let rate = rate(sharing.max(1));
            // The next event: a first byte, or the end of the download that has least left.
            let until = |d: &Download| if d.begins_at > now { d.begins_at } else { now + d.left / rate };
            let Some(at) = running.iter().map(until).min_by(f64::total_cmp) else { break };
            let due: Vec<usize> =
                running.iter().filter(|d| d.begins_at <= now && until(d) <= at).map(|d| d.layer).collect();
            for download in running.iter_mut().filter(|d| d.begins_at <= now) {
                download.left -= rate * (at - now);
            }
            now = at;
            running.retain(|d| !due.contains(&d.layer));
            for layer in due {
                ends[layer] = now;
            }
        }
        ends
    }
}

/// A download under way.
struct Download {
    layer: usize,
    /// When its first byte arrives, s.
    begins_at: f64,
    /// Bytes still to come.
    left: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model() -> PullModel {
        PullModel {
            connections: 3,
            manifest: SimDuration::from_secs(1),
            per_request: SimDuration::ZERO,
            link_bytes_per_second: Some(Bytes(200)),
            connection_bytes_per_second: Some(Bytes(100)),
            gzip_bytes_per_second: Some(Bytes(50)),
            zstd_bytes_per_second: Some(Bytes(500)),
            write_bytes_per_second: Some(Bytes(1_000)),
            per_file: SimDuration::from_millis(10),
            per_layer: SimDuration::from_millis(250),
        }
    }

    fn layer(compression: Compression, compressed: u64, uncompressed: u64, files: u64) -> ImageLayer {
        ImageLayer { compression, compressed: Bytes(compressed), uncompressed: Bytes(uncompressed), files }
    }

    #[test]
    fn downloads_share_the_link_exactly() {
        let check = |change: &dyn Fn(&mut PullModel), sizes: &[u64], expected: &[f64]| {
            let mut model = model();
            change(&mut model);
            let sizes: Vec<Bytes> = sizes.iter().map(|bytes| Bytes(*bytes)).collect();
            let ends = model.download_ends_s(&sizes);
            let near = ends.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near && ends.len() == expected.len(), "{sizes:?}: {ends:?}, not {expected:?}");
        };
        let same = |_: &mut PullModel| {};
        // Alone: 100 B/s; two: 100 each, which is all the link has; three: 66.7 each.
        check(&same, &[], &[]);
        check(&same, &[500], &[6.0]);
        check(&same, &[500, 200], &[6.0, 3.0]);
        check(&same, &[200, 200, 200], &[4.0, 4.0, 4.0]);
        // Three at 66.7 until the first ends at 1 + 3 s; then two at 100 B/s.
        check(&same, &[200, 300, 400], &[4.0, 5.0, 6.0]);
        // The fourth waits for a slot: asked at 4 s, it shares with the two others.
        // Left then: 100 and 200 of 300 and 400; three at 66.7 until 5.5 s, then two at 100.
        check(&same, &[200, 300, 400, 150], &[4.0, 5.5, 6.5, 6.0]);
        check(&|m| m.connections = 1, &[200, 300], &[3.0, 6.0]);
        check(&|m| m.connection_bytes_per_second = None, &[200, 300], &[3.0, 3.5]);
        check(&|m| m.link_bytes_per_second = None, &[200, 300, 100], &[3.0, 4.0, 2.0]);
        let free = |m: &mut PullModel| {
            (m.link_bytes_per_second, m.connection_bytes_per_second) = (None, None);
        };
        check(&free, &[5, 6, 7, 8], &[1.0; 4]);
        let slow_start = |m: &mut PullModel| m.per_request = SimDuration::from_secs(1);
        check(&slow_start, &[200, 100], &[4.0, 3.0]);
        // While the fourth waits until 4.5 s, the others get 100 B/s each; with it, 66.7 for their last 50.
        check(&slow_start, &[100, 250, 250, 200], &[3.5, 5.25, 5.25, 6.75]);
    }

    #[test]
    fn unpacking_waits_for_the_download_and_for_the_layer_below() {
        let mut model = model();
        model.link_bytes_per_second = None;
        let gzip = layer(Compression::Gzip, 100, 1_000, 25);
        let zstd = layer(Compression::Zstd, 100, 1_000, 0);
        let plain = layer(Compression::None, 500, 500, 0);
        // 0.25 a layer, 1 for the 1000 bytes, 2 for gzip and 0.25 for the 25 files.
        for (layer, expected) in [(gzip, 3.5), (zstd, 1.45), (plain, 0.75)] {
            assert!((model.unpack_s(&layer) - expected).abs() < 1e-12, "{layer:?}");
        }
        let times = model.predict(&[gzip, zstd, plain]);
        let expected = [(2.0, 5.5), (2.0, 6.95), (6.0, 7.7)];
        for (time, (downloaded, unpacked)) in times.iter().zip(expected) {
            assert!((time.downloaded_s - downloaded).abs() < 1e-9, "{times:?}");
            assert!((time.unpacked_s - unpacked).abs() < 1e-9, "{times:?}");
        }
        // A large last layer waits for its download and not for the ones below.
        let late = model.predict(&[zstd, layer(Compression::None, 900, 0, 0)]);
        assert!((late[1].unpacked_s - 10.25).abs() < 1e-9, "{late:?}");
    }

    proptest! {
        #[test]
        fn the_link_is_never_exceeded_and_never_idle(
            sizes in prop::collection::vec(1_u64..10_000, 1..12),
            connections in 1_u32..6,
        ) {
            let mut model = model();
            (model.connections, model.manifest) = (connections, SimDuration::ZERO);
            let total: u64 = sizes.iter().sum();
            let bytes: Vec<Bytes> = sizes.iter().map(|s| Bytes(*s)).collect();
            let end = model.download_ends_s(&bytes).into_iter().fold(0.0, f64::max);
            prop_assert!(end >= total as f64 / 200.0 - 1e-6);
            prop_assert!(end <= total as f64 / 100.0 + 1e-6);
            if connections == 1 {
                prop_assert!((end - total as f64 / 100.0).abs() < 1e-6);
            }
        }
    }
}
