//! `gpu`: our own kernels on a device, through one plan that any [`Backend`] can run.

pub mod backend;
pub mod shape;

pub use backend::{Backend, Device, Direction, Host, Prepared, Work};
pub use shape::Shape;
