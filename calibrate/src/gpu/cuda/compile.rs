//! Compiles the kernels with NVRTC when they are needed, for the very device they will run on.
//!
//! No compiled kernel is kept in this repository: PTX would have to be made by a compiler no
//! newer than the oldest driver, and NVRTC has to be there anyway, since a compile on the host is
//! one of the things to be timed. If NVRTC knows the device, it makes machine code, which any
//! driver of its major version loads; if the device is newer than NVRTC, it makes PTX of the
//! newest architecture it knows, which the driver compiles. Machine code needs no compile by the
//! driver, so the driver's cache (`CUDA_CACHE_PATH`) changes nothing about it: each start pays all.

use std::ffi::{CStr, CString, c_char};

use cudarc::nvrtc::{result, sys};

use crate::{Result, fault};

/// All kernels in one text.
pub(super) const SOURCE: &str = concat!(
    include_str!("kernels/common.cu"),
    include_str!("kernels/warp.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/layers.cu"),
    include_str!("kernels/prefill.cu"),
);

/// The oldest architecture with products of bf16 on tensor cores.
const ARCHITECTURE_MIN: i32 = 80;

/// What to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code of this compute capability, times 10.
    Machine(i32),
    /// PTX of this compute capability, times 10.
    Ptx(i32),
}

impl Target {
    /// For a device of this compute capability, given what the compiler knows.
    ///
    /// # Errors
    /// A device or a compiler that is too old.
    pub(super) fn choose(major: i32, minor: i32, known: &[i32]) -> Result<Self> {
        let device = 10 * major + minor;
        if device < ARCHITECTURE_MIN {
            let text = format!(
                "the GPU has compute capability {major}.{minor}; the kernels need 8.0 (bf16) or newer"
            );
            return Err(fault("E0701", text));
        }
        if known.contains(&device) {
            return Ok(Self::Machine(device));
        }
        let older = known.iter().copied().filter(|a| (ARCHITECTURE_MIN..device).contains(a)).max();
        older.map(Self::Ptx).ok_or_else(|| {
            let text = format!("this NVRTC compiles for none of compute capability 8.0 to {major}.{minor}");
            let mut faults = fault("E0701", text);
            faults[0].help.push("install a newer NVRTC: `pip install nvidia-cuda-nvrtc`".to_owned());
            faults
        })
    }

    fn option(self) -> String {
        match self {
            Self::Machine(number) => format!("--gpu-architecture=sm_{number}"),
            Self::Ptx(number) => format!("--gpu-architecture=compute_{number}"),
        }
    }
}

/// The architectures that NVRTC knows, as compute capability times 10.
///
/// # Errors
/// What NVRTC reports.
#[allow(unsafe_code)]
pub(super) fn known_architectures() -> Result<Vec<i32>> {
    let failed =
        |e: result::NvrtcError| fault("E0701", format!("NVRTC does not list its architectures: {e:?}"));
    let mut count = 0;
    // SAFETY: writes one int.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(failed)?;
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: writes as many ints as the call before has counted.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(failed)?;
    Ok(known)
}

/// A program in NVRTC's memory.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `create_program`, and destroyed only here.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Compiles `source`: machine code, or PTX with a zero byte at its end.
///
/// # Errors
/// The compiler's own words.
#[allow(unsafe_code)]
pub(super) fn compile(source: &str, target: Target) -> Result<Vec<u8>> {
    let failed = |e: result::NvrtcError| fault("E0709", format!("NVRTC failed: {e:?}"));
    let text = CString::new(source).map_err(|_| fault("E0709", "the kernels hold a zero byte"))?;
    let program = Program(result::create_program(&text, Some(c"kernels.cu")).map_err(failed)?);
    let options = [target.option(), "--std=c++17".to_owned()];
    // SAFETY: the program is alive, and so is the text it may point to.
    if let Err(error) = unsafe { result::compile_program(program.0, &options) } {
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|&c| c.cast_unsigned()).collect();
        let log = CStr::from_bytes_until_nul(&bytes).map(CStr::to_string_lossy).unwrap_or_default();
        let message =
            format!("NVRTC cannot compile the kernels for {}: {error:?}\n{}", target.option(), log.trim());
        let mut faults = fault("E0709", message);
        let builtins = "NVRTC needs libnvrtc-builtins.so of its own version in LD_LIBRARY_PATH, too";
        faults[0].help.push(builtins.to_owned());
        return Err(faults);
    }
    let mut size = 0;
    let image: Vec<c_char> = match target {
        // SAFETY: the program is alive and was compiled.
        Target::Ptx(_) => unsafe { result::get_ptx(program.0) }.map_err(failed)?,
        Target::Machine(_) => {
            // SAFETY: writes one size.
            unsafe { sys::nvrtcGetCUBINSize(program.0, &raw mut size) }.result().map_err(failed)?;
            let mut image = vec![0; size];
            // SAFETY: writes as many bytes as the call before has said.
            unsafe { sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr()) }.result().map_err(failed)?;
            image
        }
    };
    Ok(image.into_iter().map(c_char::cast_unsigned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_device_or_the_newest_before_it() {
        let known = [52, 75, 80, 86, 89, 90];
        let check = |major, minor, expected: Option<Target>| {
            assert_eq!(Target::choose(major, minor, &known).ok(), expected, "{major}.{minor}");
        };
        check(9, 0, Some(Target::Machine(90)));
        check(8, 6, Some(Target::Machine(86)));
        check(10, 0, Some(Target::Ptx(90)));
        check(8, 7, Some(Target::Ptx(86)));
        check(7, 5, None);
        assert!(Target::choose(9, 0, &[52, 75]).is_err());
    }

    #[test]
    #[allow(unsafe_code)]
    fn the_kernels_compile_for_every_architecture_or_the_missing_compiler_is_named() {
        // SAFETY: only tries to load a shared library.
        if !unsafe { sys::is_culib_present() } {
            let faults = super::super::library::require(0).unwrap_err();
            assert!(faults.iter().any(|f| f.message.contains("NVRTC (libnvrtc.so)")), "{faults:?}");
            return;
        }
        let known = known_architectures().unwrap();
        let targets: Vec<_> = known.iter().filter(|a| [80, 86, 89, 90, 100].contains(a)).collect();
        assert!(targets.len() >= 4, "{known:?}");
        for &&target in &targets {
            let code = compile(SOURCE, Target::Machine(target)).unwrap();
            assert_eq!(&code[..4], b"\x7fELF", "sm_{target}");
        }
        let ptx = compile(SOURCE, Target::Ptx(80)).unwrap();
        assert!(ptx.ends_with(b"\0") && String::from_utf8_lossy(&ptx).contains(".target sm_80"));
        let wrong = compile("no kernel", Target::Machine(90)).unwrap_err();
        assert!(wrong[0].message.contains("kernels.cu(1)"), "{wrong:?}");
    }
}
