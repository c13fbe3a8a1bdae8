//! The kernels as loaded on a device, with the kinds of their arguments checked at each launch.

use cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

use super::memory::{Gpu, failed, newer};
use crate::{Result, fault};

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Argument {
    /// A pointer to device memory; 0 is none.
    Address(u64),
    /// `int`.
    Int(i32),
    /// `float`.
    Float(f32),
    /// `u64`.
    Long(u64),
    /// `u32`.
    Word(u32),
}

impl Argument {
    const fn kind(self) -> u8 {
        match self {
            Self::Address(_) => b'p',
            Self::Int(_) => b'i',
            Self::Float(_) => b'f',
            Self::Long(_) => b'l',
            Self::Word(_) => b'w',
        }
    }
}

/// Every kernel and the kinds of its arguments, as [`Argument`] names them: a test compares them
/// with the source.
const SIGNATURES: [(&str, &str); 12] = [
    ("decode_attention_64", "ppppppppiiiif"),
    ("decode_attention_128", "ppppppppiiiif"),
    ("combine", "pppi"),
    ("embed", "pppi"),
    ("add_rms_norm", "ppppifi"),
    ("rotate_and_store", "ppppppiiii"),
    ("silu_multiply", "ppi"),
    ("sample", "ppii"),
    ("fill", "pllw"),
    ("gather", "pppppi"),
    ("causal_softmax", "piiiif"),
    ("scatter", "ppiii"),
];

/// The loaded kernels.
#[derive(Debug)]
pub(super) struct Kernels {
    functions: Vec<CudaFunction>,
    gpu: Gpu,
}

impl Kernels {
    /// Loads what the compiler made.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn load(gpu: &Gpu, image: Vec<u8>) -> Result<Self> {
        let module = gpu.context.load_module(Ptx::from_binary(image));
        let module = module.map_err(|e| newer(failed("cannot load the kernels")(e)))?;
        let load = |name: &str| module.load_function(name).map_err(failed("cannot find a kernel"));
        let functions = SIGNATURES.iter().map(|(name, _)| load(name)).collect::<Result<_>>()?;
        Ok(Self { functions, gpu: gpu.clone() })
    }

    /// Sends a kernel to the stream.
    ///
    /// # Errors
    /// Arguments of other kinds than the kernel's, and what the driver reports.
    #[allow(unsafe_code)]
    pub(super) fn launch(
        &self,
        name: &str,
        grid: [u32; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        let kinds = arguments.iter().map(|a| a.kind());
        let index =
            SIGNATURES.iter().position(|(known, kind)| *known == name && kinds.clone().eq(kind.bytes()));
        let Some(index) = index else {
            return Err(fault("E0709", format!("no kernel {name} takes {arguments:?}")));
        };
        let mut builder = self.gpu.stream.launch_builder(&self.functions[index]);
        for argument in arguments {
            match argument {
                Argument::Address(value) | Argument::Long(value) => builder.arg(value),
                Argument::Int(value) => builder.arg(value),
                Argument::Float(value) => builder.arg(value),
                Argument::Word(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig { grid_dim: grid.into(), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: number and sizes of the arguments are those of the kernel. That the addresses
        // name as much memory as the kernel touches is what the callers' sizes are made for, and
        // what the test on the CPU checks with guard pages.
        unsafe { builder.launch(config) }.map_err(failed(name))?;
        Ok(())
    }

    /// Fills a whole buffer with random bf16 of exponents `exponent..exponent + 4` (127 is 1.0).
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn fill(&self, memory: &super::memory::DeviceMemory, seed: u64, exponent: u32) -> Result<()> {
        let eights = memory.bytes() / 16;
        let blocks = u32::try_from(eights.div_ceil(256)).unwrap_or(u32::MAX).clamp(1, 4096);
        let arguments = [
            Argument::Address(memory.address()),
            Argument::Long(eights),
            Argument::Long(seed << 40),
            Argument::Word(exponent),
        ];
        self.launch("fill", [blocks, 1, 1], 256, &arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile::SOURCE;
    use super::*;

    /// The kinds of the parameters that the source declares, by kernel.
    fn declared() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for part in SOURCE.split("extern \"C\" __global__ void").skip(1) {
            let part = match part.trim_start().strip_prefix("__launch_bounds__") {
                Some(rest) => rest.split_once(')').unwrap().1,
                None => part,
            };
            let (name, rest) = part.split_once('(').unwrap();
            let parameters = rest.split_once(')').unwrap().0;
            let kinds = parameters.split(',').map(|parameter| match parameter.trim() {
                p if p.contains('*') => 'p',
                p if p.starts_with("int ") => 'i',
                p if p.starts_with("float ") => 'f',
                p if p.starts_with("u64 ") => 'l',
                p if p.starts_with("u32 ") => 'w',
                other => panic!("{other}"),
            });
            found.push((name.trim().to_owned(), kinds.collect()));
        }
        found
    }

    #[test]
    fn signatures_are_those_of_the_source() {
        let expected: Vec<_> = SIGNATURES.iter().map(|(n, k)| ((*n).to_owned(), (*k).to_owned())).collect();
        assert_eq!(declared(), expected);
    }
}
