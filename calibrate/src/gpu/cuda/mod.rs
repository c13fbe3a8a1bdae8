//! The CUDA backend: finds the driver and the libraries when it runs, never when it is built.
//!
//! `library` looks for everything before anything is called; `compile` has NVRTC make the kernels
//! of `kernels/`; `launch` runs them, `blas` and `product` the matrix products; `model`, `plan`
//! and `pass` are a decoder-only transformer made of both; `transfer` copies; `sensors` and
//! `roofline` tell what the device is; `verify` compares kernels with plain computations on the
//! host. All `unsafe` code of this crate is in here, each block with its reason.

mod blas;
mod compile;
mod first_use;
mod launch;
mod library;
mod memory;
mod model;
mod pass;
mod plan;
mod product;
mod roofline;
mod sensors;
mod transfer;
mod verify;

use std::time::Instant;

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaGraph};

pub use first_use::first_use;

use super::backend::{Backend, Device, Direction, Host, Prepared, Work};
use super::shape::Shape;
use crate::raw::{DeviceReading, Flag, Launch};
use crate::{Result, fault};
use blas::Blas;
use launch::Kernels;
use memory::{Gpu, failed};
use model::Model;
use pass::{Engine, Pass};
use sensors::Sensors;
use transfer::Upload;

/// Opens a device.
///
/// # Errors
/// E0701 with what is missing: the driver, a library, a device.
pub fn open(device: u32) -> Result<Box<dyn Backend>> {
    library::require(device)?;
    let gpu = Gpu::open(device)?;
    let context = &gpu.context;
    let bytes = context.uuid().map_err(failed("the device has no UUID"))?.bytes;
    let sensors = Sensors::open(bytes.map(|byte| byte.to_le_bytes()[0]));
    let mut described = Device {
        name: context.name().map_err(failed("the device has no name"))?,
        memory: context.total_mem().map_err(failed("the device has no memory"))? as u64,
        driver: sensors.driver(),
        bandwidth: 0.0,
        flops: 0.0,
        roofline_source: String::new(),
    };
    let attributes = attributes(context)?;
    roofline::describe(&mut described, &attributes);
    let kernels = Kernels::load(&gpu, compile_kernels(attributes.capability)?)?;
    let blas = Blas::open(&gpu)?;
    let multiprocessors = attributes.multiprocessors.cast_unsigned();
    Ok(Box::new(Cuda {
        graph: None,
        pass: None,
        upload: None,
        model: None,
        blas,
        kernels,
        sensors,
        device: described,
        multiprocessors,
        gpu,
    }))
}

fn attributes(context: &CudaContext) -> Result<roofline::Attributes> {
    let read =
        |attribute| context.attribute(attribute).map_err(failed("the device does not describe itself"));
    Ok(roofline::Attributes {
        capability: context.compute_capability().map_err(failed("the device does not describe itself"))?,
        multiprocessors: read(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        clock_khz: read(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
        memory_clock_khz: read(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
        bus_bits: read(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
    })
}

fn compile_kernels((major, minor): (i32, i32)) -> Result<Vec<u8>> {
    let target = compile::Target::choose(major, minor, &compile::known_architectures()?)?;
    compile::compile(compile::SOURCE, target)
}

/// A device, what is loaded on it, and what is prepared. Fields are dropped in this order: a graph
/// before the buffers it names, everything before the context.
struct Cuda {
    graph: Option<CudaGraph>,
    pass: Option<Pass>,
    upload: Option<Upload>,
    model: Option<Model>,
    blas: Blas,
    kernels: Kernels,
    sensors: Sensors,
    device: Device,
    multiprocessors: u32,
    gpu: Gpu,
}

impl Cuda {
    /// Sends one pass, kernel by kernel.
    fn send_pass(&self) -> Result<()> {
        let (Some(pass), Some(model)) = (&self.pass, &self.model) else {
            return Err(fault("E0709", "nothing is prepared"));
        };
        pass.send(&Engine { kernels: &self.kernels, blas: &self.blas, model })
    }

    fn run_prepared(&self) -> Result<()> {
        match &self.graph {
            Some(graph) => graph.launch().map_err(failed("cannot launch a graph")),
            None => self.send_pass(),
        }
    }

    /// Records one pass as a graph and puts it on the device.
    fn capture(&self) -> Result<CudaGraph> {
        let stream = &self.gpu.stream;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(failed("cannot capture"))?;
        let sent = self.send_pass();
        // The stream must leave capture, whatever was sent.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        sent?;
        let graph = graph.map_err(failed("cannot make a graph"))?;
        let graph = graph.ok_or_else(|| fault("E0709", "the captured graph is empty"))?;
        graph.upload().map_err(failed("cannot put a graph on the device"))?;
        self.gpu.synchronize()?;
        Ok(graph)
    }

    fn upload(&mut self) -> Result<&mut Upload> {
        self.upload.as_mut().ok_or_else(|| fault("E0709", "no upload was begun"))
    }
}

impl Backend for Cuda {
    fn device(&self) -> &Device {
        &self.device
    }

    fn load(&mut self, shape: &Shape, kv_tokens: u64) -> Result<()> {
        self.graph = None;
        self.pass = None;
        self.model = None;
        self.model = Some(Model::load(&self.gpu, &self.kernels, shape, kv_tokens)?);
        Ok(())
    }

    fn verify(&mut self) -> Result<Vec<Flag>> {
        verify::verify(&self.gpu, &self.kernels, &mut self.blas)
    }

    fn prepare(&mut self, work: &Work, launch: Launch) -> Result<Prepared> {
        self.graph = None;
        self.pass = None;
        let Some(model) = &self.model else {
            return Err(fault("E0709", "no model is loaded"));
        };
        let pass = Pass::new(&self.gpu, &self.kernels, model, work, self.multiprocessors)?;
        pass.plan_products(&mut self.blas, model)?;
        self.gpu.synchronize()?;
        self.pass = Some(pass);
        let started = Instant::now();
        self.send_pass()?;
        self.gpu.synchronize()?;
        let first_pass = started.elapsed();
        if launch == Launch::Eager {
            return Ok(Prepared { capture: None, first_pass });
        }
        // The eager pass has loaded every kernel, which must not happen during a capture.
        let started = Instant::now();
        self.graph = Some(self.capture()?);
        let capture = Some(started.elapsed());
        let started = Instant::now();
        self.run_prepared()?;
        self.gpu.synchronize()?;
        Ok(Prepared { capture, first_pass: started.elapsed() })
    }

    fn time(&mut self, passes: u32) -> Result<f64> {
        let (start, end) = (self.gpu.event()?, self.gpu.event()?);
        self.gpu.record(&start)?;
        for _ in 0..passes {
            self.run_prepared()?;
        }
        self.gpu.record(&end)?;
        let milliseconds = start.elapsed_ms(&end).map_err(failed("cannot time a pass"))?;
        Ok(f64::from(milliseconds) * 1e3 / f64::from(passes.max(1)))
    }

    fn copy(&mut self, direction: Direction, host: Host, bytes: u64, block: u64) -> Result<f64> {
        transfer::copy(&self.gpu, direction, host, bytes, block)
    }

    fn begin_upload(&mut self, bytes: u64, host: Host, block: u64, buffers: u32) -> Result<()> {
        self.upload = None;
        self.upload = Some(Upload::begin(&self.gpu, bytes, host, block, buffers)?);
        Ok(())
    }

    fn upload_buffer(&mut self) -> Result<&mut [u8]> {
        self.upload()?.buffer()
    }

    fn send(&mut self, offset: u64, bytes: u64) -> Result<()> {
        self.upload()?.send(offset, bytes)
    }

    fn send_slice(&mut self, offset: u64, source: &[u8]) -> Result<()> {
        self.upload()?.send_slice(offset, source)
    }

    fn end_upload(&mut self) -> Result<()> {
        match self.upload.take() {
            Some(upload) => upload.end(),
            None => Err(fault("E0709", "no upload was begun")),
        }
    }

    fn reading(&mut self, when: &str) -> DeviceReading {
        self.sensors.read(when)
    }
}
