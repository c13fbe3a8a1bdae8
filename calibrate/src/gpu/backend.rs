//! What the plan asks of a device. The CUDA backend and the CPU backend answer alike, so
//! that everything but the CUDA calls is exercised where there is no GPU.

use std::time::Duration;

use super::shape::Shape;
use crate::Result;
use crate::raw::{DeviceReading, Flag, Launch};

/// A device, as profiles and rooflines need to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// `NVIDIA H200`, or the CPU's model.
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Driver version, where there is one.
    pub driver: Option<String>,
    /// Memory bandwidth the roofline divides by, bytes/s, and where the figure comes from.
    pub bandwidth: f64,
    /// Dense bf16 FLOP/s the roofline divides by.
    pub flops: f64,
    /// Where these two come from: `published: ...`, `measured: ...`.
    pub roofline_source: String,
}

/// A piece of work that can be prepared once and timed often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// The linear layers over `tokens` rows, and the output embedding over [`Work::head_rows`].
    Linear {
        /// Rows.
        tokens: u32,
    },
    /// Decode attention of all layers.
    DecodeAttention {
        /// Sequences.
        batch: u32,
        /// KV tokens of each.
        context: u32,
    },
    /// Prefill attention of all layers: `tokens` new ones after `context` cached ones.
    PrefillAttention {
        /// New tokens.
        tokens: u32,
        /// Cached tokens.
        context: u32,
    },
    /// A whole forward pass. Either part may be 0. As in serving engines, the output embedding
    /// runs over the rows that yield a token: [`Work::head_rows`].
    Forward {
        /// Sequences that decode.
        batch: u32,
        /// KV tokens of each of them.
        context: u32,
        /// New tokens of one sequence's prefill chunk.
        prefill: u32,
        /// Cached tokens of that sequence.
        prefill_context: u32,
    },
}

/// [`Work::Linear`] computes logits for at most this many rows: a step of more rows is mostly
/// prefill, which yields one token a chunk.
pub const LINEAR_HEAD_ROWS_MAX: u32 = 256;

impl Work {
    /// Rows that go through the layers.
    pub const fn rows(&self) -> u32 {
        match *self {
            Self::Linear { tokens } | Self::PrefillAttention { tokens, .. } => tokens,
            Self::DecodeAttention { batch, .. } => batch,
            Self::Forward { batch, prefill, .. } => batch + prefill,
        }
    }

    /// Rows that go through the output embedding.
    pub const fn head_rows(&self) -> u32 {
        match *self {
            Self::Linear { tokens } if tokens > LINEAR_HEAD_ROWS_MAX => LINEAR_HEAD_ROWS_MAX,
            Self::Linear { tokens } => tokens,
            Self::DecodeAttention { .. } | Self::PrefillAttention { .. } => 0,
            Self::Forward { batch, prefill, .. } => batch + (prefill > 0) as u32,
        }
    }

    /// Tokens the KV cache must hold for it, new ones included, in whole blocks of `block` tokens.
    pub fn cache_tokens(&self, block: u64) -> u64 {
        let blocks = |sequences: u32, tokens: u32| sequences as u64 * (tokens as u64).div_ceil(block) * block;
        match *self {
            Self::Linear { .. } => 0,
            Self::DecodeAttention { batch, context } => blocks(batch, context),
            Self::PrefillAttention { tokens, context } => blocks(1, tokens + context),
            Self::Forward { batch, context, prefill, prefill_context } => {
                blocks(batch, context) + blocks(1, prefill + prefill_context)
            }
        }
    }
}

/// What only a fresh process pays; each is timed in a child process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FirstUse {
    /// Driver initialisation, context creation, first allocations.
    Context,
    /// Compile of the kernels and load of their module (context creation not counted).
    Compile,
    /// Handle of the matrix library and the first product (context creation not counted).
    Blas,
}

/// A part of a [`FirstUse`] probe. Every start pays all parts, so they add up: a comparison
/// that no start pays (a second compile, a tenth product) does not belong here.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `context creation`, `kernel compile`, `module load`, `first matrix product`.
    pub label: String,
    /// s.
    pub seconds: f64,
}

/// Tokens of a block of the paged KV cache, as in vLLM.
pub const KV_BLOCK: u64 = 16;

/// What preparing cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prepared {
    /// Graph capture and instantiation, if the work is launched as a graph.
    pub capture: Option<Duration>,
    /// The first, untimed pass, seen from the host.
    pub first_pass: Duration,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the device.
    ToDevice,
    /// Out of it.
    ToHost,
}

/// What host memory is copied from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// As `malloc` gives it.
    Pageable,
    /// Page-locked.
    Pinned,
}

/// A device under test. Dropping it frees everything.
pub trait Backend {
    /// What it is.
    fn device(&self) -> &Device;

    /// Allocates weights with random values, a buffer of its own for each layer (a cache
    /// must not hold them), and a paged KV cache of [`KV_BLOCK`]-token blocks for `kv_tokens`.
    /// What was loaded before is freed first. The plan prepares no work that needs more
    /// ([`Work::cache_tokens`]).
    ///
    /// # Errors
    /// Out of memory, and whatever the device reports.
    fn load(&mut self, shape: &Shape, kv_tokens: u64) -> Result<()>;

    /// Compares each kernel's result on a small case with a plain computation on the host.
    /// What deviates comes back as flags, never silently.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn verify(&mut self) -> Result<Vec<Flag>>;

    /// Makes `work` the thing that [`Backend::time`] runs: buffers, block tables, algorithm
    /// choice, graph capture, one untimed pass.
    ///
    /// # Errors
    /// Work that does not fit what was loaded, and whatever the device reports.
    fn prepare(&mut self, work: &Work, launch: Launch) -> Result<Prepared>;

    /// Runs what was prepared `passes` times in a row and returns the mean time of one, µs,
    /// by the device's own clock.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn time(&mut self, passes: u32) -> Result<f64>;

    /// Copies `bytes` in blocks of `block` bytes once; s.
    ///
    /// # Errors
    /// Out of memory, and whatever the device reports.
    fn copy(&mut self, direction: Direction, host: Host, bytes: u64, block: u64) -> Result<f64>;

    /// Begins to receive a weight file of `bytes` through `buffers` host buffers of `block` bytes.
    ///
    /// # Errors
    /// Out of memory, and whatever the device reports.
    fn begin_upload(&mut self, bytes: u64, host: Host, block: u64, buffers: u32) -> Result<()>;

    /// Hands out the next free host buffer, once the copy that used it last is over.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn upload_buffer(&mut self) -> Result<&mut [u8]>;

    /// Sends the first `bytes` of the buffer handed out last to `offset` of the device's buffer,
    /// without waiting for it.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn send(&mut self, offset: u64, bytes: u64) -> Result<()>;

    /// Copies the caller's own pageable memory (a mapped file) to `offset` of the device's buffer
    /// and waits: the naive way. Needs [`Backend::begin_upload`], which may then have 0 buffers.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn send_slice(&mut self, offset: u64, source: &[u8]) -> Result<()>;

    /// Waits for all copies, checks the first and last block on the device, frees the buffers.
    ///
    /// # Errors
    /// Whatever the device reports, or bytes that did not arrive.
    fn end_upload(&mut self) -> Result<()>;

    /// Clocks, power, temperature, throttling, as far as the device tells.
    fn reading(&mut self, when: &str) -> DeviceReading;
}
