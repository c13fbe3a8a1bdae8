//! Weight files: those of a model's directory, or written for the occasion with random values
//! under the names and sizes of a shape's tensors.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::shape::{BF16, Shape};
use super::storage::unreadable;
use crate::raw::Cache;
use crate::{Fault, Result, disk, fault, page_cache};

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
        if let Some(free) = disk::free_bytes(folder).ok().filter(|free| *free < bytes + SPARE_BYTES) {
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
    pub(super) fn pieces(&self, bytes: u64, block: u64) -> Vec<(usize, u64, u64, u64)> {
        let (mut pieces, mut before) = (Vec::new(), 0);
        for (i, (_, length)) in self.files.iter().enumerate() {
            let wanted = bytes.saturating_sub(before).min(*length);
            let offsets = (0..wanted).step_by(block as usize);
            pieces.extend(offsets.map(|at| (i, at, before + at, block.min(wanted - at))));
            before += wanted;
        }
        pieces
    }

    pub(super) fn open(&self) -> Result<Vec<File>> {
        let open = |path: &Path| {
            File::open(path).map_err(|e| fault("E0401", format!("cannot read {}: {e}", path.display())))
        };
        self.files.iter().map(|(path, _)| open(path)).collect()
    }

    /// Brings the page cache into a state; the largest share that is cached, if the system says.
    pub(super) fn prepare(&self, cache: Cache) -> Result<Option<f64>> {
        let mut most: Option<f64> = None;
        for (file, (path, _)) in self.open()?.iter().zip(&self.files) {
            match cache {
                Cache::Cold => page_cache::forget(file),
                Cache::Warm => page_cache::read_through(path),
            }
            .map_err(|e| unreadable(path, &e))?;
            let share = page_cache::cached_share(file);
            most = share.map_or(most, |share| Some(most.map_or(share, |m| m.max(share))));
        }
        Ok(most)
    }
}

/// A file whose header is sound.
fn checked(path: PathBuf) -> Result<(PathBuf, u64)> {
    let unsound = |e: String| fault("E0401", format!("{}: {e}", path.display()));
    let mapped =
        File::open(&path).and_then(|file| page_cache::map(&file)).map_err(|e| unsound(e.to_string()))?;
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

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_directory_without_weights_is_refused_and_every_broken_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = WeightFiles::of_directory(folder.path()).unwrap_err();
        assert!(none[0].message.contains("no *.safetensors"), "{none:?}");
        std::fs::write(folder.path().join("a.safetensors"), "x").unwrap();
        std::fs::write(folder.path().join("b.safetensors"), vec![255_u8; 64]).unwrap();
        assert_eq!(WeightFiles::of_directory(folder.path()).unwrap_err().len(), 2);
    }
}
