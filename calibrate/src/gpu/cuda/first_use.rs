//! What only a fresh process pays, timed call by call: run in a process of its own.

use std::time::Instant;

use cudarc::driver::{CudaContext, result};

use super::super::backend::{FirstUse, Part};
use super::blas::{Blas, Operands};
use super::launch::Kernels;
use super::memory::{Gpu, PinnedMemory, failed};
use super::product::Product;
use super::{compile_kernels, library};
use crate::Result;

/// Bytes of the first allocations: a buffer of a weight loader.
const ALLOCATION: usize = 64 << 20;
/// Rows, outputs and inputs of the first product: a small batch through a layer of an 8B model.
const PRODUCT: (u32, u32, u32) = (16, 4096, 4096);

/// Times what only a fresh process pays.
///
/// # Errors
/// E0701 with what is missing, and whatever the device reports.
pub fn first_use(device: u32, probe: FirstUse) -> Result<Vec<Part>> {
    // Not `library::require`, which starts the driver: that is to be timed.
    library::require_files()?;
    let mut parts = Vec::new();
    match probe {
        FirstUse::Context => {
            timed(&mut parts, "driver initialisation", || {
                result::init().map_err(failed("the driver does not start"))
            })?;
            library::require(device)?;
            let gpu = timed(&mut parts, "context creation", || Gpu::open(device))?;
            timed(&mut parts, "first device allocation", || gpu.allocate(ALLOCATION as u64).map(drop))?;
            timed(&mut parts, "first page-locked allocation", || {
                PinnedMemory::allocate(&gpu, ALLOCATION).map(drop)
            })?;
        }
        FirstUse::Compile => {
            library::require(device)?;
            let gpu = Gpu::open(device)?;
            let capability = capability(&gpu.context)?;
            let image = timed(&mut parts, "kernel compile", || compile_kernels(capability))?;
            let kernels = timed(&mut parts, "module load", || Kernels::load(&gpu, image))?;
            let memory = gpu.allocate(ALLOCATION as u64)?;
            timed(&mut parts, "first kernel", || {
                kernels.fill(&memory, 1, super::model::SMALL).and(gpu.synchronize())
            })?;
        }
        FirstUse::Blas => {
            library::require(device)?;
            let gpu = Gpu::open(device)?;
            let (rows, outputs, inputs) = PRODUCT;
            let bytes = |a: u32, b: u32| 2 * u64::from(a) * u64::from(b);
            let (left, right) = (gpu.allocate(bytes(rows, inputs))?, gpu.allocate(bytes(outputs, inputs))?);
            let out = gpu.allocate(bytes(rows, outputs))?;
            let kernels = Kernels::load(&gpu, compile_kernels(capability(&gpu.context)?)?)?;
            kernels.fill(&left, 1, super::model::SMALL)?;
            kernels.fill(&right, 2, super::model::SMALL)?;
            gpu.synchronize()?;
            let mut blas = timed(&mut parts, "matrix library handle", || Blas::open(&gpu))?;
            let product = Product::linear(rows, outputs, inputs);
            let operands = Operands { left: left.address(), right: right.address(), out: out.address() };
            timed(&mut parts, "first matrix product", || {
                // Engines take the library's first proposal; they do not try others.
                blas.plan(&product, &[])?;
                blas.multiply(&product, &operands)?;
                gpu.synchronize()
            })?;
        }
    }
    Ok(parts)
}

fn capability(context: &CudaContext) -> Result<(i32, i32)> {
    context.compute_capability().map_err(failed("the device does not describe itself"))
}

fn timed<T>(parts: &mut Vec<Part>, label: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let made = run()?;
    parts.push(Part { label: label.to_owned(), seconds: started.elapsed().as_secs_f64() });
    Ok(made)
}
