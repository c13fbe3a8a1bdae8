//! Looks for the driver and the libraries before anything calls them: cudarc loads a library at
//! its first use and panics if there is none.

use cudarc::driver::{CudaContext, sys};

use crate::{Fault, Result};

/// `cuEventElapsedTime_v2`, which cudarc's bindings of CUDA 13 call, came with CUDA 12.8.
const DRIVER_VERSION_MIN: i32 = 12080;

/// Libraries beside the driver: what they are and what file they are looked for in.
const LIBRARIES: [(&str, &str); 2] = [("NVRTC", "libnvrtc.so"), ("cuBLASLt", "libcublasLt.so")];
const PIP: &str = "libraries are looked for in LD_LIBRARY_PATH and the system's folders. A CUDA toolkit has them in \
                   /usr/local/cuda/lib64; `pip install nvidia-cuda-nvrtc nvidia-cublas` (for CUDA 12: \
                   nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12) has them, and then: export \
                   LD_LIBRARY_PATH=$(python3 -c 'import glob,nvidia;print(\":\".join(d for p in nvidia.__path__ \
                   for d in glob.glob(p+\"/*/lib\")))')";
const WITHOUT_GPU: &str = "without a GPU, `--backend cpu` runs the same plan on small shapes; `server`, `pull` and \
                           `import` need none";

/// Passes if device number `device` can be used: libraries, driver version and device are there.
///
/// # Errors
/// E0701 with everything that is missing.
pub(super) fn require(device: u32) -> Result<()> {
    report(driver_fault().or_else(|| device_fault(device)))
}

/// Passes if libraries and driver version are there; starts nothing.
///
/// # Errors
/// E0701 with everything that is missing.
pub(super) fn require_files() -> Result<()> {
    report(driver_fault())
}

fn report(driver: Option<Fault>) -> Result<()> {
    let mut faults: Vec<Fault> = driver.into_iter().collect();
    let missing = missing_libraries();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, file)| format!("{name} ({file})")).collect();
        faults.push(Fault::error("E0701", format!("not found: {}", names.join(", "))).helped(PIP));
    }
    match faults.last_mut() {
        None => Ok(()),
        Some(last) => {
            last.help.push(WITHOUT_GPU.to_owned());
            Err(faults)
        }
    }
}

#[allow(unsafe_code)]
fn missing_libraries() -> Vec<(&'static str, &'static str)> {
    // SAFETY: both only try to load a shared library; NVIDIA's initialise nothing when loaded.
    let found =
        unsafe { [cudarc::nvrtc::sys::is_culib_present(), cudarc::cublaslt::sys::is_culib_present()] };
    LIBRARIES.into_iter().zip(found).filter(|(_, found)| !found).map(|(library, _)| library).collect()
}

#[allow(unsafe_code)]
fn driver_fault() -> Option<Fault> {
    // SAFETY: only tries to load a shared library.
    if !unsafe { sys::is_culib_present() } {
        let help = "install the NVIDIA driver; start a container with the NVIDIA runtime (`--gpus all`)";
        return Some(Fault::error("E0701", "not found: the NVIDIA driver (libcuda.so.1)").helped(help));
    }
    let mut version = 0;
    // SAFETY: the library is there, this function is in every one of them, needs no
    // initialisation, and writes one int.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    if answer.result().is_ok() && version >= DRIVER_VERSION_MIN {
        return None;
    }
    let (major, minor) = (version / 1000, version % 1000 / 10);
    let message =
        format!("the NVIDIA driver is of CUDA {major}.{minor}, and 12.8 is the oldest that will do");
    Some(Fault::error("E0701", message).helped("install driver 570 or newer"))
}

/// Only after [`driver_fault`] has found nothing.
fn device_fault(device: u32) -> Option<Fault> {
    let fault = |message: String, help: &str| Some(Fault::error("E0701", message).helped(help));
    match CudaContext::device_count() {
        Err(error) => fault(format!("the NVIDIA driver does not start: {error}"), "`nvidia-smi` may say why"),
        Ok(0) => fault(
            "the NVIDIA driver has no device".to_owned(),
            "`nvidia-smi -L` lists devices; see CUDA_VISIBLE_DEVICES",
        ),
        Ok(count) if i64::from(count) <= i64::from(device) => {
            fault(format!("there is no device {device}; there are {count}, from 0"), "give another --device")
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_at_once_and_nothing_panics() {
        // Whatever this machine has, the text must be about what it lacks and nothing else.
        let missing = missing_libraries();
        let driver = driver_fault().or_else(|| device_fault(0));
        match require(0) {
            Ok(()) => assert!(missing.is_empty() && driver.is_none()),
            Err(faults) => {
                let text = faults.iter().map(|f| f.message.clone()).collect::<Vec<_>>().join("\n");
                for library in LIBRARIES {
                    assert_eq!(text.contains(library.1), missing.contains(&library), "{text}");
                }
                let of_libraries = usize::from(!missing.is_empty());
                assert_eq!(driver.is_some_and(|d| text.contains(&d.message)), faults.len() > of_libraries);
                assert!(faults.iter().all(|f| f.code == "E0701" && !f.help.is_empty()), "{faults:?}");
                assert!(faults.last().unwrap().help.last().unwrap().contains("--backend cpu"));
            }
        }
    }

    #[test]
    fn a_device_that_cannot_exist_is_refused() {
        assert!(require(u32::MAX).is_err());
    }
}
