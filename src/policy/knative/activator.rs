//! What lies before a pod: the activator's queue and the queue-proxy's.
//!
//! After knative/serving `pkg/activator/net/{throttler,lb_policy}.go`, `pkg/queue/breaker.go` and
//! `cmd/queue` (98e5ef90). The queues themselves are the gateway's business.

use super::SECOND;
use crate::policy::hpa::types::Nanos;

/// Requests an activator holds for a revision; the next is answered 503.
pub const QUEUE_DEPTH: u32 = 10_000;
/// Time between two probes of a pod that does not answer yet.
pub const PROBE_PERIOD: Nanos = SECOND / 5;
/// How long a probe waits for the answer.
pub const PROBE_TIMEOUT: Nanos = 3 * SECOND / 10;
/// Requests the queue-proxy holds per request it lets through; the next is answered 503.
pub const PROXY_QUEUE_FACTOR: u32 = 10;
/// Default timeout of a request.
pub const REQUEST_TIMEOUT: Nanos = 300 * SECOND;
/// The fewest activators of a revision.
pub const MIN_ACTIVATORS: i32 = 2;

/// How an activator picks a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancing {
    /// The less loaded of two drawn at random.
    RandomChoiceOfTwo,
    /// The first that has room.
    FirstAvailable,
    /// In turn, passing over those without room.
    RoundRobin,
}

/// How an activator picks among pods of a concurrency limit; 0 is without limit.
pub fn load_balancing(container_concurrency: i64) -> LoadBalancing {
    match container_concurrency {
        0 => LoadBalancing::RandomChoiceOfTwo,
        1..=3 => LoadBalancing::FirstAvailable,
        _ => LoadBalancing::RoundRobin,
    }
}

/// Requests the queue-proxy of a pod holds beside those it lets through; `None` is without limit.
pub fn proxy_queue_depth(container_concurrency: u32) -> Option<u32> {
    (container_concurrency > 0).then(|| container_concurrency.saturating_mul(PROXY_QUEUE_FACTOR))
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
        use LoadBalancing::{FirstAvailable, RandomChoiceOfTwo, RoundRobin};
        let picked = [0, 1, 3, 4, 100].map(load_balancing);
        assert_eq!(picked, [RandomChoiceOfTwo, FirstAvailable, FirstAvailable, RoundRobin, RoundRobin]);
        assert_eq!([0, 2].map(proxy_queue_depth), [None, Some(20)]);
    }
}
