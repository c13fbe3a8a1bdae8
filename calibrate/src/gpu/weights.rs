//! Weights end to end, from safetensors files to the device: the naive way (map the file, copy
//! from pageable memory) and double-buffered (threads read one block while the last one is on
//! its way), with a cold and a warm page cache, at three sizes, so that `fit` can separate a
//! base from a bandwidth.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::backend::{Backend, Direction, Host};
use super::log::Log;
use super::pages;
use super::progress::Progress;
use super::shape::{BF16, Shape};
use super::storage::{flag_warm_pages, temperature};
use crate::raw::{Cache, Record, TransferSample};
use crate::{Fault, Result, fault};

/// Bytes of a host buffer of the double-buffered load, and of one copy of the naive one.
const BLOCK: u64 = 16 << 20;
/// Host buffers: one on its way, one being filled, one to spare.
const BUFFERS: u32 = 3;
/// Threads that fill a buffer.
const READERS: u32 = 4;
/// Disk that must stay free.
const SPARE_BYTES: u64 = 1 << 30;
/// Largest file written, as model hubs split them.
const SHARD_BYTES: u64 = 5_000_000_000;

/// Weight files in the order they are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFiles {
    /// Paths and bytes.
    pub files: Vec<(PathBuf, u64)>,
}

impl WeightFiles {
    /// The safetensors files of a model's directory.
    ///
    /// # Errors
    /// E0401 if there are none, or for each that is none.
    pub fn of_directory(folder: &Path) -> Result<Self> {
        let unreadable = |e: std::io::Error| fault("E0401", format!("cannot read {}: {e}", folder.display()));
        let entries = std::fs::read_dir(folder).map_err(unreadable)?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
        paths.sort();
        if paths.is_empty() {
            return Err(fault("E0401", format!("{} holds no *.safetensors files", folder.display())));
        }
        let checked: Vec<Result<(PathBuf, u64)>> = paths.into_iter().map(checked).collect();
        let faults: Vec<Fault> = checked.iter().filter_map(|c| c.as_ref().err()).flatten().cloned().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { files: checked.into_iter().flatten().collect() })
    }

    /// Writes the first `bytes` of a shape's tensors, with random values, under their usual names.
    ///
    /// # Errors
    /// E0709 if the disk has no room or fails.
    pub fn write(folder: &Path, shape: &Shape, bytes: u64) -> Result<Self> {
        if let Some(free) = pages::free_bytes(folder).filter(|free| *free < bytes + SPARE_BYTES) {
            let gb = |bytes: u64| bytes as f64 / 1e9;
            let text = format!("{:.1} GB of disk are free, and weights take {:.1} GB", gb(free), gb(bytes));
            let mut faults = fault("E0709", text);
            faults[0].help.push("name another --work-dir, or fewer --weight-bytes".to_owned());
            return Err(faults);
        }
        let mut shards: Vec<Vec<(String, RandomTensor)>> = vec![Vec::new()];
        let (mut all, mut shard) = (0, 0);
        for (seed, (name, rows, columns)) in tensors(shape).into_iter().enumerate() {
            let tensor = RandomTensor { shape: [rows as usize, columns as usize], seed: seed as u64 };
            if all >= bytes {
                break;
            }
            if shard > 0 && shard + tensor.bytes() > SHARD_BYTES {
                shards.push(Vec::new());
                shard = 0;
            }
            (all, shard) = (all + tensor.bytes(), shard + tensor.bytes());
            shards.last_mut().expect("there is always one").push((name, tensor));
        }
        let count = shards.len();
        let mut files = Vec::new();
        for (i, shard) in shards.into_iter().enumerate() {
            let path = folder.join(format!("model-{:05}-of-{count:05}.safetensors", i + 1));
            let failed = |e: String| fault("E0709", format!("cannot write weights: {e}"));
            safetensors::serialize_to_file(shard, None, &path).map_err(|e| failed(e.to_string()))?;
            let file = File::open(&path).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
            files.push((path, file.map_err(|e| failed(e.to_string()))?.len()));
        }
        Ok(Self { files })
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Pieces of at most `block` bytes of the first `bytes`: file, offset in it, offset in all, bytes.
    fn pieces(&self, bytes: u64, block: u64) -> Vec<(usize, u64, u64, u64)> {
        let (mut pieces, mut before) = (Vec::new(), 0);
        for (i, (_, length)) in self.files.iter().enumerate() {
            let wanted = bytes.saturating_sub(before).min(*length);
            let offsets = (0..wanted).step_by(block as usize);
            pieces.extend(offsets.map(|at| (i, at, before + at, block.min(wanted - at))));
            before += wanted;
        }
        pieces
    }

    fn open(&self) -> Result<Vec<File>> {
        let open = |path: &Path| {
            File::open(path).map_err(|e| fault("E0401", format!("cannot read {}: {e}", path.display())))
        };
        self.files.iter().map(|(path, _)| open(path)).collect()
    }

    /// Brings the page cache into a state; the largest share that is cached, if the system says.
    fn prepare(&self, cache: Cache) -> Result<Option<f64>> {
        let mut most: Option<f64> = None;
        for (file, (path, _)) in self.open()?.iter().zip(&self.files) {
            match cache {
                Cache::Cold => pages::forget(file)?,
                Cache::Warm => drop(pages::read_through(path)?),
            }
            let share = pages::cached_share(file);
            most = share.map_or(most, |share| Some(most.map_or(share, |m| m.max(share))));
        }
        Ok(most)
    }
}

/// A file whose header is sound.
fn checked(path: PathBuf) -> Result<(PathBuf, u64)> {
    let unsound = |e: String| fault("E0401", format!("{}: {e}", path.display()));
    let mapped = File::open(&path).map_err(|e| unsound(e.to_string())).and_then(|file| pages::map(&file))?;
    SafeTensors::read_metadata(&mapped).map_err(|e| unsound(format!("not a safetensors file: {e}")))?;
    let bytes = mapped.len() as u64;
    Ok((path, bytes))
}

/// Names and sizes of a shape's tensors in the order of the layers.
fn tensors(shape: &Shape) -> Vec<(String, u32, u32)> {
    let Shape { hidden, feed_forward, vocabulary, .. } = *shape;
    let (queries, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vocabulary, hidden)];
    for layer in 0..shape.layers {
        let parts = [
            ("self_attn.q_proj", queries, hidden),
            ("self_attn.k_proj", keys, hidden),
            ("self_attn.v_proj", keys, hidden),
            ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", feed_forward, hidden),
            ("mlp.up_proj", feed_forward, hidden),
            ("mlp.down_proj", hidden, feed_forward),
            ("input_layernorm", 1, hidden),
            ("post_attention_layernorm", 1, hidden),
        ];
        let named = |(part, rows, columns)| (format!("model.layers.{layer}.{part}.weight"), rows, columns);
        all.extend(parts.map(named));
    }
    all.push(("model.norm.weight".to_owned(), 1, hidden));
    if !shape.tied_embedding {
        all.push(("lm_head.weight".to_owned(), vocabulary, hidden));
    }
    all
}

/// A tensor whose values are made when it is written.
struct RandomTensor {
    shape: [usize; 2],
    seed: u64,
}

impl RandomTensor {
    fn bytes(&self) -> u64 {
        self.shape[0] as u64 * self.shape[1] as u64 * BF16
    }
}

impl View for RandomTensor {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0_u8; self.bytes() as usize];
        ChaCha8Rng::seed_from_u64(self.seed).fill_bytes(&mut bytes);
        // Without the top bit of the exponent a bf16 is below 2: finite, and no file system
        // or link can compress it away.
        bytes.iter_mut().skip(1).step_by(2).for_each(|high| *high &= 0xbf);
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes() as usize
    }
}

/// A way to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Naive,
    Buffered,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Naive => "weight load, mapped and pageable",
            Self::Buffered => "weight load, double-buffered and pinned",
        }
    }
}

/// Loads the first `bytes_max` bytes of the files, a half and an eighth, each way, cold and warm.
///
/// # Errors
/// Whatever the files, the device or the raw file's disk report.
pub fn run(
    files: &WeightFiles,
    bytes_max: u64,
    backend: &mut dyn Backend,
    limit: Duration,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    let all = files.bytes().min(bytes_max);
    let sizes = [all, all / 2, all / 8].map(|bytes| bytes.max(1));
    progress.phase("weight load", sizes.len() * 4);
    let began = Instant::now();
    for bytes in sizes {
        for (way, cache) in cross([Way::Naive, Way::Buffered], [Cache::Cold, Cache::Warm]) {
            let done = |r: &Record| matches!(r, Record::Transfer(t) if (t.what.as_str(), t.cache, t.bytes) == (way.name(), Some(cache), bytes));
            if log.has(done) {
                continue;
            }
            if began.elapsed() > limit {
                let text = format!(
                    "weight load: sizes from {bytes} bytes on left out after {:.0} s",
                    limit.as_secs_f64()
                );
                return log.flag("timeLimit", text);
            }
            progress.point(&format!(
                "{}{}, {:.2} GB",
                way.name(),
                temperature(Some(cache)),
                bytes as f64 / 1e9
            ));
            let share = files.prepare(cache)?;
            flag_warm_pages(way.name(), Some(cache), share, log)?;
            let seconds = vec![load(way, files, bytes, backend)?];
            log.push(Record::Transfer(TransferSample {
                what: way.name().to_owned(),
                cache: Some(cache),
                cached_share: share,
                file_system: pages::file_system(&files.files[0].0),
                bytes,
                threads: if way == Way::Naive { 1 } else { READERS },
                block_bytes: BLOCK.min(bytes),
                seconds,
            }))?;
        }
    }
    log.note_elapsed()
}

fn cross<A: Copy, B: Copy>(a: [A; 2], b: [B; 2]) -> [(A, B); 4] {
    [(a[0], b[0]), (a[0], b[1]), (a[1], b[0]), (a[1], b[1])]
}

/// s from opening the files until the device has all bytes, buffers allocated on the way.
fn load(way: Way, files: &WeightFiles, bytes: u64, backend: &mut dyn Backend) -> Result<f64> {
    let began = Instant::now();
    let open = files.open()?;
    match way {
        Way::Naive => {
            backend.begin_upload(bytes, Host::Pageable, BLOCK, 0)?;
            let mapped: Vec<_> = open.iter().map(pages::map).collect::<Result<_>>()?;
            for (file, at, offset, length) in files.pieces(bytes, BLOCK) {
                backend.send_slice(offset, &mapped[file][at as usize..(at + length) as usize])?;
            }
        }
        Way::Buffered => {
            backend.begin_upload(bytes, Host::Pinned, BLOCK, BUFFERS)?;
            for (file, at, offset, length) in files.pieces(bytes, BLOCK) {
                let buffer = backend.upload_buffer()?;
                fill(&open[file], at, &mut buffer[..length as usize])
                    .map_err(|e| fault("E0709", format!("cannot read weights: {e}")))?;
                backend.send(offset, length)?;
            }
        }
    }
    backend.end_upload()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Fills a buffer from a file, several threads a part each.
fn fill(file: &File, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    let part = buffer.len().div_ceil(READERS as usize).max(1);
    std::thread::scope(|scope| {
        let parts = buffer.chunks_mut(part).enumerate();
        let readers: Vec<_> = parts
            .map(|(i, chunk)| scope.spawn(move || file.read_exact_at(chunk, at + (i * part) as u64)))
            .collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("readers do not panic"))
    })
}

/// Copies between host and device alone, over block sizes.
///
/// # Errors
/// Whatever the device or the raw file's disk report.
pub fn copies(
    bytes: u64,
    samples: usize,
    backend: &mut dyn Backend,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    let plan = [
        (Direction::ToDevice, Host::Pageable, bytes),
        (Direction::ToDevice, Host::Pageable, bytes / 16),
        (Direction::ToDevice, Host::Pinned, bytes),
        (Direction::ToDevice, Host::Pinned, bytes / 4),
        (Direction::ToDevice, Host::Pinned, bytes / 16),
        (Direction::ToDevice, Host::Pinned, bytes / 64),
        (Direction::ToHost, Host::Pageable, bytes),
        (Direction::ToHost, Host::Pinned, bytes),
    ];
    progress.phase("copies", plan.len());
    for (direction, host, block) in plan {
        let way = if direction == Direction::ToDevice { "host to device" } else { "device to host" };
        let what = format!("{way}, {}", if host == Host::Pinned { "pinned" } else { "pageable" });
        let done = |r: &Record| matches!(r, Record::Transfer(t) if t.what == what && t.block_bytes == block);
        if log.has(done) {
            continue;
        }
        progress.point(&format!("{what}, blocks of {block} bytes"));
        let seconds: Vec<f64> =
            (0..samples).map(|_| backend.copy(direction, host, bytes, block)).collect::<Result<_>>()?;
        log.push(Record::Transfer(TransferSample {
            what,
            cache: None,
            cached_share: None,
            file_system: None,
            bytes,
            threads: 1,
            block_bytes: block,
            seconds,
        }))?;
    }
    log.note_elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::fake::Fake;
    use crate::gpu::shape::built_in;

    #[test]
    fn written_files_hold_every_tensor_of_the_shape() {
        let folder = tempfile::tempdir().unwrap();
        let shape = built_in("tiny").unwrap();
        let written = WeightFiles::write(folder.path(), &shape, shape.weight_bytes()).unwrap();
        assert_eq!(WeightFiles::of_directory(folder.path()).unwrap(), written);
        let bytes = std::fs::read(&written.files[0].0).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.len(), 2 + 9 * 2 + 1);
        let values: u64 = tensors.iter().map(|(_, t)| t.data().len() as u64).sum();
        assert_eq!(values, shape.weight_bytes());
        let down = tensors.tensor("model.layers.1.mlp.down_proj.weight").unwrap();
        assert_eq!((down.dtype(), down.shape()), (Dtype::BF16, &[64, 128][..]));
        let finite = |pair: &[u8]| half::bf16::from_le_bytes([pair[0], pair[1]]).to_f32().abs() < 2.0;
        assert!(down.data().chunks(2).all(finite) && down.data().iter().any(|b| *b != 0));
    }

    #[test]
    fn a_part_of_the_weights_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let shape = built_in("tiny").unwrap();
        let part = WeightFiles::write(folder.path(), &shape, 100_000).unwrap();
        assert!(part.bytes() >= 100_000 && part.bytes() < shape.weight_bytes());
        let refused = WeightFiles::write(folder.path(), &shape, 1 << 60).unwrap_err();
        assert!(refused[0].message.contains("of disk are free"), "{refused:?}");
    }

    #[test]
    fn both_ways_bring_every_byte_to_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        for (name, length) in [("a", 40_000_000_usize), ("b", 3), ("c", 5_000_001)] {
            let content: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
            let path = folder.path().join(name);
            std::fs::write(&path, &content).unwrap();
            files.push((path, length as u64));
            expected.extend(content);
        }
        let files = WeightFiles { files };
        for bytes in [files.bytes(), 40_000_002, 7] {
            for way in [Way::Naive, Way::Buffered] {
                let mut backend = Fake::default();
                assert!(load(way, &files, bytes, &mut backend).unwrap() > 0.0);
                assert!(backend.uploaded == expected[..bytes as usize], "{way:?}, {bytes} bytes");
            }
        }
    }

    #[test]
    fn a_directory_without_weights_is_refused_and_every_broken_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = WeightFiles::of_directory(folder.path()).unwrap_err();
        assert!(none[0].message.contains("no *.safetensors"), "{none:?}");
        std::fs::write(folder.path().join("a.safetensors"), "x").unwrap();
        std::fs::write(folder.path().join("b.safetensors"), vec![255_u8; 64]).unwrap();
        assert_eq!(WeightFiles::of_directory(folder.path()).unwrap_err().len(), 2);
    }
}
