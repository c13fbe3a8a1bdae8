//! The CUDA backend: finds the driver and the libraries when it runs, never when it is built.

use super::backend::{Backend, FirstUse, Part};
use crate::Result;
use crate::fault;

/// Opens a device.
///
/// # Errors
/// E0701 with what is missing: the driver, a library, a device.
pub fn open(_device: u32) -> Result<Box<dyn Backend>> {
    require_libraries()?;
    Err(fault("E0701", "this build has no CUDA kernels"))
}

/// Times what only a fresh process pays.
///
/// # Errors
/// E0701 with what is missing, and whatever the device reports.
pub fn first_use(_device: u32, _probe: FirstUse) -> Result<Vec<Part>> {
    require_libraries()?;
    Err(fault("E0701", "this build has no CUDA kernels"))
}

/// Every library that is missing, at once: `cudarc` panics where one is used that is not there.
#[allow(unsafe_code)]
fn require_libraries() -> Result<()> {
    // SAFETY: these only try to load a shared library and say whether that worked.
    let found = unsafe {
        [
            ("the NVIDIA driver (libcuda.so.1)", cudarc::driver::sys::is_culib_present()),
            ("NVRTC (libnvrtc.so)", cudarc::nvrtc::sys::is_culib_present()),
            ("cuBLAS (libcublas.so)", cudarc::cublas::sys::is_culib_present()),
            ("cuBLASLt (libcublasLt.so)", cudarc::cublaslt::sys::is_culib_present()),
        ]
    };
    let missing: Vec<_> = found.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut faults = fault("E0701", format!("not found: {}", missing.join(", ")));
    faults[0].help.push(
        "libraries of a pip install are found through LD_LIBRARY_PATH; without a GPU, `--backend cpu` runs the \
         same plan on small shapes"
            .to_owned(),
    );
    Err(faults)
}
