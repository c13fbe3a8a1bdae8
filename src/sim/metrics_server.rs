//! The metrics server: CPU and memory of each container, read at an interval.
//!
//! CPU usage is a difference of two readings, so a container must have been there at the one before;
//! memory is the newer reading (kubernetes-sigs/metrics-server `pkg/storage/pod.go`, v0.7).

use super::ReplicaParams;
use super::replica::{Replica, State};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::api::{PodResources, UsageSample};

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: SimTime,
    busy: SimDuration,
    sample: Option<UsageSample>,
}

/// The last reading of each replica.
#[derive(Clone, Debug, Default)]
pub struct MetricsServer {
    readings: Vec<Option<Reading>>,
}

impl MetricsServer {
    /// What is known of a replica.
    pub fn sample(&self, replica: &Replica) -> Option<UsageSample> {
        self.readings.get(replica.id.index()).copied().flatten()?.sample
    }

    /// A replica's container is no more, and what was read of it. The next one is known from its second reading on.
    pub fn forget(&mut self, id: ReplicaId) {
        if let Some(reading) = self.readings.get_mut(id.index()) {
            *reading = None;
        }
    }

    /// Reads a replica's container, if it runs. The engine's facts must be settled.
    pub fn read(&mut self, now: SimTime, replica: &mut Replica, params: &ReplicaParams) {
        let index = replica.id.index();
        if self.readings.len() <= index {
            self.readings.resize(index + 1, None);
        }
        if replica.container_started.is_none() || matches!(replica.state, State::Lost(_)) {
            return;
        }
        // How much CPU loading takes is not in a profile: it counts as idle.
        let busy = replica.serving().map_or(SimDuration::ZERO, |serving| serving.engine.busy(now));
        let last = self.readings[index];
        let sample = last.filter(|last| last.at < now).map(|last| {
            let window = now.since(last.at);
            let share = (busy - last.busy).as_secs_f64() / window.as_secs_f64();
            let cpu_milli = params.cpu.map(|cpu| cpu.milli(share));
            UsageSample {
                at: now,
                window,
                used: PodResources { cpu_milli, memory_bytes: params.memory_usage },
            }
        });
        self.readings[index] = Some(Reading { at: now, busy, sample });
    }
}
