//! `gpu`: our own kernels on a device, through one plan that any [`Backend`] can run.

pub mod backend;
pub mod config;
pub mod cpu;
pub mod cuda;
mod doubts;
#[cfg(test)]
mod fake;
pub mod fresh;
pub mod log;
pub mod measure;
pub mod plan;
pub mod points;
pub mod progress;
pub mod roofline;
pub mod sample;
pub mod shape;
pub mod storage;
pub mod transfer;
pub mod weights;

pub use backend::{Backend, Device, Direction, FirstUse, Host, Part, Prepared, Work};
pub use progress::Progress;
pub use shape::{Gemm, Shape};

use crate::Result;

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An NVIDIA GPU.
    Cuda,
    /// The CPU.
    Cpu,
}

impl Kind {
    /// As `--backend` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }

    /// Opens a device of this kind.
    ///
    /// # Errors
    /// E0701 if there is none that can be used.
    pub fn open(self, device: u32) -> Result<Box<dyn Backend>> {
        match self {
            Self::Cuda => cuda::open(device),
            Self::Cpu => cpu::open(device),
        }
    }

    /// Times what only a fresh process pays.
    ///
    /// # Errors
    /// E0701 if there is no such device, and whatever it reports.
    pub fn first_use(self, device: u32, probe: FirstUse) -> Result<Vec<Part>> {
        match self {
            Self::Cuda => cuda::first_use(device, probe),
            Self::Cpu => cpu::first_use(device, probe),
        }
    }
}
