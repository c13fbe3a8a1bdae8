//! A view made by hand, for tests of policies.

use super::api::{GatewayView, PodResources, PodView, PrometheusView, UsageSample, View, pod_name};
use super::meter::Meter;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::promql::{Settings, Store};

/// What the pods of [`World`] are named after.
pub const WORKLOAD: &str = "vllm";

/// A cluster as a test wants it.
#[derive(Debug)]
pub struct World {
    /// The instant.
    pub now: SimTime,
    /// `spec.replicas`.
    pub replicas: u32,
    /// The pods.
    pub pods: Vec<PodView>,
    /// What Prometheus holds.
    pub store: Store,
    /// The gateway.
    pub gateway: GatewayView,
}

impl World {
    /// So many ready pods at an instant, in s.
    pub fn ready(now_s: u64, count: u32) -> Self {
        Self {
            now: SimTime::from_secs(now_s),
            replicas: count,
            pods: (0..count).map(pod).collect(),
            store: Store::new(Settings::default(), SimDuration::from_secs(3600)),
            gateway: GatewayView::default(),
        }
    }

    /// A sample of a series of a pod, scraped at an instant, in s. Call it once a series.
    #[must_use]
    pub fn with_sample(mut self, pod: u32, name: &str, at_s: u64, value: f64) -> Self {
        let pod = pod_name(WORKLOAD, ReplicaId(pod));
        let target = self.store.add_target(&[("pod", pod.as_str())]);
        let series = self.store.add_series(target, name, &[]);
        self.store.append(series, SimTime::from_secs(at_s), value);
        self
    }

    /// A sample of a series of the gateway, scraped now.
    #[must_use]
    pub fn with_gateway(mut self, name: &str, value: f64) -> Self {
        let target = self.store.add_target(&[]);
        let series = self.store.add_series(target, name, &[]);
        self.store.append(series, self.now, value);
        self
    }

    /// What a policy sees of it.
    pub fn view(&self) -> View<'_> {
        View {
            now: self.now,
            spec_replicas: self.replicas,
            status_replicas: self.pods.iter().filter(|pod| !pod.deleting).count() as u32,
            pods: &self.pods,
            workload: WORKLOAD,
            prometheus: PrometheusView { store: &self.store, at: self.now, is_out: false },
            gateway: self.gateway,
        }
    }
}

/// A pod that is ready since the start.
pub fn pod(id: u32) -> PodView {
    PodView {
        id: ReplicaId(id),
        created: SimTime::ZERO,
        running: true,
        started: Some(SimTime::ZERO),
        ready: true,
        ready_changed: SimTime::ZERO,
        deleting: false,
        requests: PodResources { cpu_milli: Some(4_000), memory_bytes: Some(64 << 30) },
        usage: None,
        meter: Meter::default(),
    }
}

/// A sample of the metrics server over 15 s.
pub fn usage(at_s: u64, cpu_milli: i64, memory_bytes: i64) -> UsageSample {
    let used = PodResources { cpu_milli: Some(cpu_milli), memory_bytes: Some(memory_bytes) };
    UsageSample { at: SimTime::from_secs(at_s), window: SimDuration::from_secs(15), used }
}
