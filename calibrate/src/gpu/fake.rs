//! A device that answers what a test tells it to, so that the plan can be tested alone.

use std::collections::VecDeque;
use std::time::Duration;

use super::backend::{Backend, Device, Direction, Host, Prepared, Work};
use super::shape::Shape;
use crate::raw::{DeviceReading, Flag, Launch};
use crate::{Result, fault};

/// Times by [`Fake::times`], the last one for ever; without any, by [`Fake::model`].
pub(crate) struct Fake {
    pub device: Device,
    pub times: VecDeque<f64>,
    pub passes: Vec<u32>,
    /// Sleep as long as is claimed.
    pub really: bool,
    /// µs of a piece of work.
    pub model: fn(&Work) -> f64,
    /// Work that fails.
    pub broken: fn(&Work) -> bool,
    /// More KV tokens than this are out of memory.
    pub kv_tokens_max: u64,
    pub prepared: Vec<(Work, Launch)>,
    pub uploaded: Vec<u8>,
    pub block: Vec<u8>,
    pub throttle: Vec<String>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            device: Device {
                name: "fake".to_owned(),
                memory: 16 << 30,
                driver: None,
                bandwidth: 1e12,
                flops: 1e14,
                roofline_source: "invented for a test".to_owned(),
            },
            times: VecDeque::new(),
            passes: Vec::new(),
            really: false,
            model: |_| 1000.0,
            broken: |_| false,
            kv_tokens_max: u64::MAX,
            prepared: Vec::new(),
            uploaded: Vec::new(),
            block: Vec::new(),
            throttle: Vec::new(),
        }
    }
}

impl Backend for Fake {
    fn device(&self) -> &Device {
        &self.device
    }

    fn load(&mut self, _: &Shape, kv_tokens: u64) -> Result<()> {
        if kv_tokens > self.kv_tokens_max { Err(fault("E0709", "out of memory")) } else { Ok(()) }
    }

    fn verify(&mut self) -> Result<Vec<Flag>> {
        Ok(Vec::new())
    }

    fn prepare(&mut self, work: &Work, launch: Launch) -> Result<Prepared> {
        if (self.broken)(work) {
            return Err(fault("E0709", "the kernel failed"));
        }
        self.prepared.push((*work, launch));
        let capture = (launch == Launch::Graph).then_some(Duration::from_millis(2));
        Ok(Prepared { capture, first_pass: Duration::from_millis(1) })
    }

    fn time(&mut self, passes: u32) -> Result<f64> {
        self.passes.push(passes);
        let us = match (self.times.len(), self.prepared.last()) {
            (0, Some((work, _))) => (self.model)(work),
            (0, None) => 1000.0,
            (1, _) => self.times[0],
            _ => self.times.pop_front().expect("there are several"),
        };
        if self.really {
            std::thread::sleep(Duration::from_secs_f64(us * f64::from(passes) / 1e6));
        }
        Ok(us)
    }

    fn copy(&mut self, _: Direction, _: Host, bytes: u64, _: u64) -> Result<f64> {
        Ok(bytes as f64 / 1e10)
    }

    fn begin_upload(&mut self, bytes: u64, _: Host, block: u64, _: u32) -> Result<()> {
        self.uploaded = vec![0; bytes as usize];
        self.block = vec![0; block as usize];
        Ok(())
    }

    fn upload_buffer(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.block)
    }

    fn send(&mut self, offset: u64, bytes: u64) -> Result<()> {
        let (offset, bytes) = (offset as usize, bytes as usize);
        self.uploaded[offset..offset + bytes].copy_from_slice(&self.block[..bytes]);
        Ok(())
    }

    fn send_slice(&mut self, offset: u64, source: &[u8]) -> Result<()> {
        self.uploaded[offset as usize..offset as usize + source.len()].copy_from_slice(source);
        Ok(())
    }

    fn end_upload(&mut self) -> Result<()> {
        Ok(())
    }

    fn reading(&mut self, when: &str) -> DeviceReading {
        DeviceReading {
            when: when.to_owned(),
            sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_c: None,
            power_w: None,
            throttle: self.throttle.clone(),
        }
    }
}
