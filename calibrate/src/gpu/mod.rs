//! `gpu`: our own kernels on a device, through one plan that any [`Backend`] can run.

pub mod backend;
pub mod cuda;
pub mod shape;

pub use backend::{Backend, Device, Direction, FirstUse, Host, Part, Prepared, Work};
pub use shape::{Gemm, Shape};
