//! What lies before a pod: the activator's queue and the queue-proxy's.
//!
//! After knative/serving `pkg/activator/net/{throttler,lb_policy}.go`, `pkg/queue/breaker.go` and
//! `cmd/queue` (98e5ef90). The queues themselves are the gateway's business.

use crate::kernel::SimDuration;
use crate::policy::api::{Balancing, PodLimit};

/// Requests an activator holds for a revision; the next is answered 503.
pub const QUEUE_DEPTH: u32 = 10_000;
/// Time between two probes of a pod that does not answer yet.
pub const PROBE_PERIOD: SimDuration = SimDuration::from_millis(200);
/// Requests the queue-proxy holds per request it lets through; the next is answered 503.
pub const PROXY_QUEUE_FACTOR: u32 = 10;
/// Default of `timeoutSeconds` (`pkg/apis/config/defaults.go`).
pub const REQUEST_TIMEOUT: SimDuration = SimDuration::from_secs(300);
/// The fewest activators of a revision.
pub const MIN_ACTIVATORS: i32 = 2;

/// How an activator picks among pods of a concurrency limit; 0 is without limit.
pub fn load_balancing(container_concurrency: u32) -> Balancing {
    match container_concurrency {
        0 => Balancing::RandomChoiceOfTwo,
        1..=3 => Balancing::FirstAvailable,
        _ => Balancing::RoundRobin,
    }
}

/// What the queue-proxy of a pod lets through and holds; `None` is without limit.
pub fn pod_limit(container_concurrency: u32) -> Option<PodLimit> {
    let queue = container_concurrency.saturating_mul(PROXY_QUEUE_FACTOR);
    (container_concurrency > 0).then_some(PodLimit { concurrency: container_concurrency, queue })
}

/// How many activators stand before a revision (`pkg/reconciler/autoscaling/kpa/kpa.go`).
/// `total` is the most a pod carries; capacity and burst capacity are in requests.
pub fn num_activators(ready: i32, total: f64, target_burst_capacity: f64, activator_capacity: f64) -> i32 {
    if target_burst_capacity == 0.0 {
        return MIN_ACTIVATORS;
    }
    let to_cover = f64::from(ready) * total + target_burst_capacity.max(0.0);
    (to_cover / activator_capacity).ceil().max(f64::from(MIN_ACTIVATORS)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_decides_how_pods_are_picked() {
        use Balancing::{FirstAvailable, RandomChoiceOfTwo, RoundRobin};
        let picked = [0, 1, 3, 4, 100].map(load_balancing);
        assert_eq!(picked, [RandomChoiceOfTwo, FirstAvailable, FirstAvailable, RoundRobin, RoundRobin]);
        assert_eq!([0, 2].map(pod_limit), [None, Some(PodLimit { concurrency: 2, queue: 20 })]);
    }
}
