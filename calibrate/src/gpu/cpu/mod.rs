//! The CPU backend: the same plan with real work in f32 on one thread, for hosts without a GPU
//! and for tests. Its figures describe no serving engine, and say so.

mod kernels;
mod model;
mod verify;

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::Kernels;
use model::Model;

use super::backend::{Backend, Device, Direction, FirstUse, Host, Part, Prepared, Work};
use super::shape::Shape;
use crate::raw::{DeviceReading, Flag, Launch};
use crate::{Result, fault};

/// Bytes of the arrays that probes touch: more than the caches of most CPUs.
const PROBE_BYTES: usize = 64 << 20;

/// A CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    device: Device,
    kernels: Kernels,
    model: Option<Loaded>,
    upload: Option<Upload>,
}

struct Loaded {
    model: Model,
    prepared: Option<model::Prepared>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loaded")
    }
}

#[derive(Debug)]
struct Upload {
    device: Vec<u8>,
    buffer: Vec<u8>,
}

/// Opens the CPU and measures what its roofline is.
///
/// # Errors
/// None today; the signature is that of every backend.
pub fn open(_device: u32) -> Result<Box<dyn Backend>> {
    let (bandwidth, flops) = (copy_bandwidth(), product_flops());
    let device = Device {
        name: cpu_name(),
        memory: memory_bytes(),
        driver: None,
        // The plan counts bytes of bf16; an f32 takes two of them.
        bandwidth: bandwidth / 2.0,
        flops,
        roofline_source: "measured: copy of 64 MiB and product of 256 x 256 matrices, f32, one thread"
            .to_owned(),
    };
    Ok(Box::new(Cpu { device, kernels: Kernels::default(), model: None, upload: None }))
}

/// What a fresh process pays on a CPU: page faults of the first buffer, and the choice of the
/// matrix kernel. There is nothing to compile.
///
/// # Errors
/// None today; the signature is that of every backend.
pub fn first_use(_device: u32, probe: FirstUse) -> Result<Vec<Part>> {
    let began = Instant::now();
    let label = match probe {
        FirstUse::Context => {
            black_box(vec![1_u8; PROBE_BYTES]);
            "first allocation"
        }
        FirstUse::Compile => return Ok(Vec::new()),
        FirstUse::Blas => {
            multiply(64);
            "first matrix product"
        }
    };
    Ok(vec![Part { label: label.to_owned(), seconds: began.elapsed().as_secs_f64() }])
}

/// Bytes read and written by a copy, bytes/s: the best of three.
fn copy_bandwidth() -> f64 {
    let (source, mut target) = (vec![1_u8; PROBE_BYTES], vec![0_u8; PROBE_BYTES]);
    let once = || {
        let began = thread_time();
        black_box(&mut target[..]).copy_from_slice(black_box(&source));
        thread_time().saturating_sub(began)
    };
    2.0 * PROBE_BYTES as f64 / best_of_three(once).as_secs_f64()
}

/// FLOP/s of the matrix product: the best of three.
fn product_flops() -> f64 {
    let time = best_of_three(|| multiply(256));
    2.0 * 256_f64.powi(3) / time.as_secs_f64()
}

fn multiply(n: usize) -> Duration {
    let (a, b, mut c) = (vec![0.5_f32; n * n], vec![0.25_f32; n * n], vec![0.0_f32; n * n]);
    let began = thread_time();
    kernels::product(n, n, n, &a, &b, &mut c);
    black_box(&c);
    thread_time().saturating_sub(began)
}

/// The device's own clock: CPU time of this thread, without what other programs take meanwhile.
#[allow(unsafe_code)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for the answer, and the only thing written to.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "every Linux has a clock for each thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn best_of_three(once: impl FnMut() -> Duration) -> Duration {
    let best = std::iter::repeat_with(once).take(3).min();
    best.expect("three is more than none").max(Duration::from_nanos(1))
}

fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let plain = |name: &str| name.trim().replace("(R)", "").replace("(TM)", "");
    name.map_or_else(|| format!("{} CPU", std::env::consts::ARCH), |(_, name)| plain(name))
}

/// The machine, without its name: CPU, threads, memory.
pub fn host() -> String {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {threads} threads, {:.0} GiB", cpu_name(), memory_bytes() as f64 / f64::from(1 << 30))
}

fn memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram as u64 * u64::from(system.mem_unit)
}

impl Cpu {
    fn loaded(&mut self) -> Result<&mut Loaded> {
        self.model.as_mut().ok_or_else(|| fault("E0709", "no model is loaded"))
    }

    fn uploading(&mut self) -> Result<&mut Upload> {
        self.upload.as_mut().ok_or_else(|| fault("E0709", "no upload was begun"))
    }
}

impl Backend for Cpu {
    fn device(&self) -> &Device {
        &self.device
    }

    fn load(&mut self, shape: &Shape, kv_tokens: u64) -> Result<()> {
        self.model = None;
        let model = Model::new(shape, kv_tokens, self.device.memory)?;
        self.model = Some(Loaded { model, prepared: None });
        Ok(())
    }

    fn verify(&mut self) -> Result<Vec<Flag>> {
        Ok(verify::verify(&self.kernels))
    }

    fn prepare(&mut self, work: &Work, launch: Launch) -> Result<Prepared> {
        let kernels = self.kernels;
        let loaded = self.loaded()?;
        loaded.prepared = None;
        let mut prepared = model::Prepared::new(work, &loaded.model, kernels)?;
        let began = Instant::now();
        if launch == Launch::Graph {
            prepared.capture(&loaded.model);
        }
        let capture = (launch == Launch::Graph).then(|| began.elapsed());
        let began = Instant::now();
        prepared.pass(&mut loaded.model);
        let first_pass = began.elapsed();
        loaded.prepared = Some(prepared);
        Ok(Prepared { capture, first_pass })
    }

    fn time(&mut self, passes: u32) -> Result<f64> {
        let Loaded { model, prepared: Some(prepared) } = self.loaded()? else {
            return Err(fault("E0709", "nothing was prepared"));
        };
        let began = thread_time();
        for _ in 0..passes {
            prepared.pass(model);
        }
        Ok(thread_time().saturating_sub(began).as_secs_f64() * 1e6 / f64::from(passes.max(1)))
    }

    fn copy(&mut self, _: Direction, _: Host, bytes: u64, block: u64) -> Result<f64> {
        let (source, mut target) = (vec![1_u8; bytes as usize], vec![0_u8; bytes as usize]);
        let block = block.max(1) as usize;
        let began = Instant::now();
        for (from, to) in source.chunks(block).zip(target.chunks_mut(block)) {
            to.copy_from_slice(from);
        }
        black_box(&target);
        Ok(began.elapsed().as_secs_f64())
    }

    fn begin_upload(&mut self, bytes: u64, _: Host, block: u64, buffers: u32) -> Result<()> {
        let buffer = if buffers == 0 { 0 } else { block as usize };
        self.upload = Some(Upload { device: vec![0; bytes as usize], buffer: vec![0; buffer] });
        Ok(())
    }

    fn upload_buffer(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.uploading()?.buffer)
    }

    fn send(&mut self, offset: u64, bytes: u64) -> Result<()> {
        let Upload { device, buffer } = self.uploading()?;
        receive(device, offset, buffer.get(..bytes as usize).unwrap_or(buffer))
    }

    fn send_slice(&mut self, offset: u64, source: &[u8]) -> Result<()> {
        receive(&mut self.uploading()?.device, offset, source)
    }

    fn end_upload(&mut self) -> Result<()> {
        self.upload
            .take()
            .map(|upload| drop(black_box(upload)))
            .ok_or_else(|| fault("E0709", "no upload was begun"))
    }

    fn reading(&mut self, when: &str) -> DeviceReading {
        DeviceReading {
            when: when.to_owned(),
            sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_c: None,
            power_w: None,
            throttle: Vec::new(),
        }
    }
}

fn receive(device: &mut [u8], offset: u64, source: &[u8]) -> Result<()> {
    let place = device.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..source.len()));
    place.ok_or_else(|| fault("E0709", "bytes sent beyond the end of the upload"))?.copy_from_slice(source);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shape::built_in;

    #[test]
    fn more_work_takes_more_time() {
        let mut cpu = open(0).unwrap();
        assert!(cpu.device().bandwidth > 1e8 && cpu.device().flops > 1e8, "{:?}", cpu.device());
        cpu.load(&built_in("tiny").unwrap(), 4096).unwrap();
        let mut fastest = |work| {
            cpu.prepare(&work, Launch::Graph).unwrap();
            (0..5).map(|_| cpu.time(3).unwrap()).fold(f64::INFINITY, f64::min)
        };
        let decode = |batch, context| Work::Forward { batch, context, prefill: 0, prefill_context: 0 };
        let short = fastest(decode(1, 16));
        assert!(fastest(decode(1, 4000)) > 2.0 * short);
        assert!(fastest(Work::Linear { tokens: 256 }) > 2.0 * fastest(Work::Linear { tokens: 1 }));
    }

    #[test]
    fn a_broken_kernel_is_flagged_by_the_backend() {
        let device = open(0).unwrap().device().clone();
        let kernels = Kernels { product: |_, _, _, _, _, out| out.fill(1.0), ..Kernels::default() };
        let mut cpu = Cpu { device, kernels, model: None, upload: None };
        assert_eq!(cpu.verify().unwrap()[0].flag, "kernelWrong");
    }

    #[test]
    fn misuse_is_an_error() {
        let mut cpu = open(0).unwrap();
        let work = Work::Linear { tokens: 1 };
        assert!(cpu.prepare(&work, Launch::Eager).is_err() && cpu.time(1).is_err());
        assert!(cpu.end_upload().is_err() && cpu.upload_buffer().is_err());
        cpu.begin_upload(10, Host::Pinned, 4, 2).unwrap();
        assert!(cpu.send(8, 4).is_err() && cpu.send_slice(0, &[0; 11]).is_err());
        assert!(cpu.send(6, 4).is_ok() && cpu.end_upload().is_ok());
    }
}
