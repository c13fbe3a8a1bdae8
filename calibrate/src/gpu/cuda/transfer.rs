//! Copies as they are timed: plain ones both ways, and a weight file through a ring of buffers.

use std::time::Instant;

use cudarc::driver::CudaEvent;

use super::super::backend::{Direction, Host};
use super::memory::{DeviceMemory, Gpu, PinnedMemory, failed};
use crate::{Result, fault};

/// Host memory that copies come from or go to is at most this large, and used again: larger than
/// any cache, small enough to be page-locked anywhere.
const HOST_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are kept of the beginning and of the end of a block, to be compared with the device's.
const WITNESS: usize = 4096;

/// Memory of the host of either kind.
#[derive(Debug)]
enum HostMemory {
    Pageable(Vec<u8>),
    Pinned(PinnedMemory),
}

impl HostMemory {
    /// `len` bytes, all touched, no two pages alike.
    fn allocate(gpu: &Gpu, host: Host, len: usize) -> Result<Self> {
        let mut memory = match host {
            Host::Pageable => Self::Pageable(vec![0; len]),
            Host::Pinned => Self::Pinned(PinnedMemory::allocate(gpu, len)?),
        };
        for (page, bytes) in memory.bytes_mut().chunks_mut(4096).enumerate() {
            bytes.fill(page.to_le_bytes()[0] | 1);
        }
        Ok(memory)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Pageable(bytes) => bytes,
            Self::Pinned(memory) => memory.bytes(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pageable(bytes) => bytes,
            Self::Pinned(memory) => memory.bytes_mut(),
        }
    }
}

fn size(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| fault("E0709", format!("{bytes} bytes are too many")))
}

/// Copies `bytes` in blocks and returns the seconds from the first to the end of the last.
///
/// # Errors
/// Out of memory, and what the device reports.
pub(super) fn copy(gpu: &Gpu, direction: Direction, host: Host, bytes: u64, block: u64) -> Result<f64> {
    if block == 0 || bytes == 0 {
        return Err(fault("E0709", "a copy of no bytes"));
    }
    let block = block.min(bytes);
    let room = size((HOST_BYTES_MAX / block).max(1).min(bytes.div_ceil(block)) * block)?;
    let device = gpu.allocate(bytes)?;
    let mut memory = HostMemory::allocate(gpu, host, room)?;
    if direction == Direction::ToHost {
        // So that what is fetched was written once.
        for offset in (0..bytes).step_by(room) {
            let some = size((bytes - offset).min(room as u64))?;
            device.write(offset, &memory.bytes()[..some])?;
        }
    }
    gpu.synchronize()?;
    let started = Instant::now();
    let mut copied = Ok(());
    for (index, offset) in (0..bytes).step_by(size(block)?).enumerate() {
        let some = size((bytes - offset).min(block))?;
        let first = index * size(block)? % room;
        copied = match direction {
            Direction::ToDevice => device.write(offset, &memory.bytes()[first..first + some]),
            Direction::ToHost => device.read_into(offset, &mut memory.bytes_mut()[first..first + some]),
        };
        if copied.is_err() {
            break;
        }
    }
    // Copies may still be running when one of them could not be sent.
    gpu.synchronize()?;
    copied.map(|()| started.elapsed().as_secs_f64())
}

/// A buffer of the ring.
#[derive(Debug)]
struct Slot {
    memory: HostMemory,
    /// Recorded behind the copy that used it last.
    copied: CudaEvent,
    busy: bool,
}

/// The beginning and the end of a block as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    parts: Vec<(u64, Vec<u8>)>,
}

impl Witness {
    fn of(offset: u64, block: &[u8]) -> Self {
        let head = block.len().min(WITNESS);
        let tail = block.len() - head;
        Self { parts: vec![(offset, block[..head].to_vec()), (offset + tail as u64, block[tail..].to_vec())] }
    }
}

/// A weight file on its way to the device.
#[derive(Debug)]
pub(super) struct Upload {
    target: DeviceMemory,
    slots: Vec<Slot>,
    next: usize,
    handed_out: Option<usize>,
    first: Option<Witness>,
    last: Option<Witness>,
    gpu: Gpu,
}

impl Upload {
    /// Allocates the target and the ring.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn begin(gpu: &Gpu, bytes: u64, host: Host, block: u64, buffers: u32) -> Result<Self> {
        let slots = (0..buffers).map(|_| {
            let memory = HostMemory::allocate(gpu, host, size(block)?)?;
            Ok(Slot { memory, copied: gpu.event()?, busy: false })
        });
        let slots = slots.collect::<Result<_>>()?;
        let target = gpu.allocate(bytes)?;
        Ok(Self { target, slots, next: 0, handed_out: None, first: None, last: None, gpu: gpu.clone() })
    }

    /// The next buffer of the ring, free again.
    ///
    /// # Errors
    /// No buffers, and what the device reports.
    pub(super) fn buffer(&mut self) -> Result<&mut [u8]> {
        let count = self.slots.len();
        let index = self.next;
        let Some(slot) = self.slots.get_mut(index) else {
            return Err(fault("E0709", "an upload without buffers was asked for one"));
        };
        if slot.busy {
            slot.copied.synchronize().map_err(failed("a copy failed"))?;
            slot.busy = false;
        }
        self.handed_out = Some(index);
        self.next = (index + 1) % count;
        Ok(slot.memory.bytes_mut())
    }

    /// Sends the beginning of the buffer handed out last.
    ///
    /// # Errors
    /// No buffer, too many bytes, and what the device reports.
    pub(super) fn send(&mut self, offset: u64, bytes: u64) -> Result<()> {
        let index = self.handed_out.take();
        let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) else {
            return Err(fault("E0709", "no buffer was handed out"));
        };
        let Some(block) = slot.memory.bytes().get(..size(bytes)?) else {
            return Err(fault("E0709", format!("{bytes} bytes are more than a buffer holds")));
        };
        let witness = Witness::of(offset, block);
        // Busy even if an error comes back: part of it may be under way.
        slot.busy = true;
        self.target.write(offset, block)?;
        self.gpu.record(&slot.copied)?;
        self.remember(witness);
        Ok(())
    }

    /// Sends the caller's own memory and waits.
    ///
    /// # Errors
    /// Too many bytes, and what the device reports.
    pub(super) fn send_slice(&mut self, offset: u64, source: &[u8]) -> Result<()> {
        let sent = self.target.write(offset, source);
        self.gpu.synchronize()?;
        sent?;
        self.remember(Witness::of(offset, source));
        Ok(())
    }

    fn remember(&mut self, witness: Witness) {
        if self.first.is_none() {
            self.first = Some(witness.clone());
        }
        self.last = Some(witness);
    }

    /// Waits for all copies and compares the first and the last block with what was sent.
    ///
    /// # Errors
    /// Bytes that did not arrive, and what the device reports.
    pub(super) fn end(self) -> Result<()> {
        self.gpu.synchronize()?;
        for (offset, sent) in self.first.iter().chain(&self.last).flat_map(|witness| &witness.parts) {
            let arrived: Vec<u8> = self.target.read(*offset, sent.len())?;
            if arrived != *sent {
                return Err(fault("E0709", format!("the bytes at {offset} of the upload did not arrive")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_keeps_both_ends_of_a_block() {
        let block: Vec<u8> = (0..10_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let witness = Witness::of(100, &block);
        let [(head_at, head), (tail_at, tail)] = &witness.parts[..] else { panic!("{witness:?}") };
        assert_eq!((*head_at, &head[..]), (100, &block[..4096]));
        assert_eq!((*tail_at, &tail[..]), (100 + 10_000 - 4096, &block[10_000 - 4096..]));
        let short = Witness::of(7, &block[..3]);
        assert_eq!(short.parts, [(7, vec![0, 1, 2]), (7, vec![0, 1, 2])]);
    }
}
