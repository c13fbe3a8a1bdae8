//! Memory of the device and page-locked memory of the host, and copies between them.
//!
//! All work goes through one stream, so copies and kernels keep the order they were sent in. An
//! allocation is freed when it is dropped, after the stream is done with it.

use std::sync::Arc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, sys};

use crate::{Fault, Result, fault};

/// Numbers that are nothing but their bytes, on both sides.
pub(super) trait Plain: Copy + Default {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for i32 {}
impl Plain for f32 {}

/// A context and its one stream.
#[derive(Clone, Debug)]
pub(super) struct Gpu {
    /// The primary context.
    pub(super) context: Arc<CudaContext>,
    /// Where all work goes.
    pub(super) stream: Arc<CudaStream>,
}

/// What the driver says, as a fault.
pub(super) fn failed(what: &str) -> impl FnOnce(DriverError) -> Vec<Fault> {
    move |error| {
        let mut faults = fault("E0709", format!("{what}: {error}"));
        if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            faults[0].help.push("end other programs on this GPU, or take a smaller --shape".to_owned());
        }
        faults
    }
}

/// With what mends a library that the driver is too old for.
pub(super) fn newer(mut faults: Vec<Fault>) -> Vec<Fault> {
    let help = "if the libraries are of CUDA 13 and the driver is of CUDA 12 (older than 580), install a newer driver, \
                or nvidia-cuda-nvrtc-cu12 and nvidia-cublas-cu12";
    faults[0].help.push(help.to_owned());
    faults
}

impl Gpu {
    /// Retains the primary context of a device and makes a stream.
    ///
    /// # Errors
    /// What the driver reports.
    #[allow(unsafe_code)]
    pub(super) fn open(device: u32) -> Result<Self> {
        let context = CudaContext::new(device as usize).map_err(failed("cannot create a context"))?;
        // SAFETY: no buffer of cudarc's own is ever made here, and there is one stream only, so
        // there is nothing that events would have to keep in order.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed("cannot create a stream"))?;
        Ok(Self { context, stream })
    }

    /// Waits until the stream is empty; an error of any kernel before shows here.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("the device failed"))
    }

    /// An event that keeps time.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn event(&self) -> Result<CudaEvent> {
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        self.context.new_event(flags).map_err(failed("cannot create an event"))
    }

    /// Marks this point of the stream.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn record(&self, event: &CudaEvent) -> Result<()> {
        event.record(&self.stream).map_err(failed("cannot record an event"))
    }

    /// Device memory of at least `bytes`, on a boundary of 256 bytes, its content undefined.
    ///
    /// # Errors
    /// Out of memory.
    #[allow(unsafe_code)]
    pub(super) fn allocate(&self, bytes: u64) -> Result<DeviceMemory> {
        let bytes = bytes.max(1).next_multiple_of(256);
        let what = format!("cannot allocate {bytes} bytes on the device");
        self.context.bind_to_thread().map_err(failed(&what))?;
        let size = usize::try_from(bytes).map_err(|_| fault("E0709", what.clone()))?;
        // SAFETY: a plain allocation in the context that was just bound; it is freed once, by Drop.
        let address = unsafe { result::malloc_sync(size) }.map_err(failed(&what))?;
        Ok(DeviceMemory { address, bytes, gpu: self.clone() })
    }

    /// Device memory that holds a copy of `data`.
    ///
    /// # Errors
    /// Out of memory, and what the driver reports.
    pub(super) fn upload<T: Plain>(&self, data: &[T]) -> Result<DeviceMemory> {
        let memory = self.allocate(size_of_val(data) as u64)?;
        memory.write(0, data)?;
        self.synchronize()?;
        Ok(memory)
    }
}

/// Memory on the device.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    address: sys::CUdeviceptr,
    bytes: u64,
    gpu: Gpu,
}

impl DeviceMemory {
    /// Where it is on the device.
    pub(super) const fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends `data` to `offset` bytes from the beginning. Pageable memory may be reused at once;
    /// of page-locked memory the stream must have got past this point.
    ///
    /// # Errors
    /// Out of bounds, and what the driver reports.
    #[allow(unsafe_code)]
    pub(super) fn write<T: Plain>(&self, offset: u64, data: &[T]) -> Result<()> {
        self.check(offset, size_of_val(data) as u64)?;
        let what = failed("cannot copy to the device");
        if let Err(error) = self.gpu.context.bind_to_thread() {
            return Err(what(error));
        }
        // SAFETY: the range lies in this allocation. The driver stages pageable memory before it
        // returns; owners of page-locked memory keep it until the stream has passed.
        unsafe { result::memcpy_htod_async(self.address + offset, data, self.gpu.stream.cu_stream()) }
            .map_err(what)
    }

    /// Fetches into `data` from `offset` bytes from the beginning. Into page-locked memory the
    /// bytes have arrived once the stream has passed.
    ///
    /// # Errors
    /// Out of bounds, and what the driver reports.
    #[allow(unsafe_code)]
    pub(super) fn read_into<T: Plain>(&self, offset: u64, data: &mut [T]) -> Result<()> {
        self.check(offset, size_of_val(data) as u64)?;
        let what = failed("cannot copy from the device");
        if let Err(error) = self.gpu.context.bind_to_thread() {
            return Err(what(error));
        }
        // SAFETY: the range lies in this allocation, any bytes are a valid `T`, and every caller
        // synchronizes before it looks at or frees `data`.
        unsafe { result::memcpy_dtoh_async(data, self.address + offset, self.gpu.stream.cu_stream()) }
            .map_err(what)
    }

    /// The first `len` numbers.
    ///
    /// # Errors
    /// Out of bounds, and what the driver reports.
    pub(super) fn read<T: Plain>(&self, offset: u64, len: usize) -> Result<Vec<T>> {
        let mut data = vec![T::default(); len];
        let copied = self.read_into(offset, &mut data);
        // The copy may still be running, whatever came back.
        self.gpu.synchronize()?;
        copied.map(|()| data)
    }

    fn check(&self, offset: u64, bytes: u64) -> Result<()> {
        if offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            return Ok(());
        }
        let text =
            format!("{bytes} bytes at {offset} are outside of a device buffer of {} bytes", self.bytes);
        Err(fault("E0709", text))
    }
}

impl Drop for DeviceMemory {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // What went wrong before has been or will be reported by the call that waits for it.
        let _ = self.gpu.stream.synchronize();
        // SAFETY: the address came from `malloc_sync`, is freed only here, and no work of the
        // stream is left that could use it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Page-locked memory of the host.
#[derive(Debug)]
pub(super) struct PinnedMemory {
    start: *mut u8,
    len: usize,
    gpu: Gpu,
}

impl PinnedMemory {
    /// `len` bytes, zero. Not write-combined, so that the host may read them.
    ///
    /// # Errors
    /// Out of memory.
    #[allow(unsafe_code)]
    pub(super) fn allocate(gpu: &Gpu, len: usize) -> Result<Self> {
        let what = format!("cannot allocate {len} bytes of page-locked memory");
        gpu.context.bind_to_thread().map_err(failed(&what))?;
        // SAFETY: a plain allocation in the context that was just bound; it is freed once, by Drop.
        let start = unsafe { result::malloc_host(len.max(1), 0) }.map_err(failed(&what))?.cast::<u8>();
        // SAFETY: `start` is `len` writable bytes that nothing else knows of.
        unsafe { start.write_bytes(0, len) };
        Ok(Self { start, len, gpu: gpu.clone() })
    }

    /// The bytes, to be read.
    #[allow(unsafe_code)]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes, to be written.
    #[allow(unsafe_code)]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for PinnedMemory {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let _ = self.gpu.stream.synchronize();
        // SAFETY: it came from `malloc_host`, is freed only here, and no copy is under way.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}
