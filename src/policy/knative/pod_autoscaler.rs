//! A revision's autoscaler between reconciles: its condition, its service's mode, and since when.
//!
//! After knative/serving `pkg/reconciler/autoscaling/kpa/kpa.go` (98e5ef90).

use super::SECOND;
use super::apply::{Applied, Situation, apply};
use super::decider::ScaleResult;
use super::revision::Revision;
use super::status::{Active, SksMode, activator_in_path, active_condition, sks_mode};
use crate::policy::hpa::types::Nanos;

/// An instant as a condition's `lastTransitionTime` keeps it.
fn whole_second(at: Nanos) -> Nanos {
    at - at.rem_euclid(SECOND)
}

/// What a reconcile sees of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// `spec.replicas` of the deployment.
    pub replicas: i32,
    /// Ready pods.
    pub ready: i32,
    /// The activator answers a probe of the service: endpoints have followed the mode.
    pub activator_answers: bool,
}

/// What a reconcile did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// What to do to the deployment, and when to come back.
    pub applied: Applied,
    /// The condition from now on.
    pub active: Active,
    /// The mode of the service from now on.
    pub mode: SksMode,
    /// Activators before the revision.
    pub num_activators: i32,
}

/// A revision's autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct PodAutoscaler {
    active: Active,
    active_since: Nanos,
    initialized: bool,
    mode: SksMode,
    proxied_since: Option<Nanos>,
}

impl PodAutoscaler {
    /// A new revision's: activating, its service serving.
    pub fn new(now: Nanos) -> Self {
        Self {
            active: Active::Activating,
            active_since: now,
            initialized: false,
            mode: SksMode::Serve,
            proxied_since: None,
        }
    }

    /// One that sleeps: it was ready once, and nothing has been wanted since an instant.
    pub fn asleep(now: Nanos) -> Self {
        Self {
            active: Active::Inactive,
            active_since: now,
            initialized: true,
            mode: SksMode::Proxy,
            proxied_since: Some(now),
        }
    }

    /// The condition.
    pub fn active(&self) -> Active {
        self.active
    }

    /// The mode of the service.
    pub fn mode(&self) -> SksMode {
        self.mode
    }

    /// Since when the activator is in the path, if it is; to the nanosecond.
    pub fn proxied_since(&self) -> Option<Nanos> {
        self.proxied_since
    }

    /// One reconcile, with the decider's last result.
    pub fn reconcile(
        &mut self,
        revision: &Revision,
        result: ScaleResult,
        cluster: ClusterState,
        now: Nanos,
    ) -> Reconciled {
        let situation = Situation {
            current: cluster.replicas,
            active: self.active,
            active_since: self.active_since,
            initialized: self.initialized,
            mode: self.mode,
            proxied_since: self.proxied_since.map(whole_second),
            activator_answers: cluster.activator_answers,
        };
        let bounds = revision.bounds();
        let applied = apply(result.desired, bounds, &revision.scale_to_zero(), &situation, now);
        self.mode = sks_mode(applied.want, result.excess_burst_capacity, self.active == Active::Inactive);
        if activator_in_path(self.mode, cluster.ready) {
            self.proxied_since.get_or_insert(now);
        } else {
            self.proxied_since = None;
        }
        let min_ready = if self.initialized { bounds.min.max(1) } else { bounds.min.max(bounds.initial) };
        self.initialized |= cluster.ready >= min_ready;
        let active = active_condition(applied.want, cluster.ready, min_ready, self.active);
        if active != self.active {
            self.active = active;
            self.active_since = whole_second(now);
        }
        Reconciled { applied, active, mode: self.mode, num_activators: result.num_activators }
    }
}

#[cfg(test)]
mod tests {
    use super::super::annotations::Annotations;
    use super::super::config::AutoscalerConfig;
    use super::super::revision::Reachability;
    use super::*;

    /// Reconciles one pod whose decider wants 0 from `idle` on, each second and whenever asked for,
    /// and returns when its last pod goes.
    fn last_pod_goes(annotations: Annotations, idle: i64, takeover: i64) -> i64 {
        let revision = Revision {
            annotations,
            config: AutoscalerConfig::default(),
            container_concurrency: 0,
            reachability: Reachability::Reachable,
        };
        let spec = revision.decider();
        let mut autoscaler = PodAutoscaler::new(0);
        let mut proxied_for = 0;
        for second in 0..1000 {
            let desired = i32::from(second < idle);
            let excess = (spec.total_value - spec.target_burst_capacity.max(0.0)) as i32;
            let excess_burst_capacity = if spec.target_burst_capacity < 0.0 { -1 } else { excess };
            let result = ScaleResult { desired, excess_burst_capacity, num_activators: 2 };
            let cluster = ClusterState { replicas: 1, ready: 1, activator_answers: proxied_for > takeover };
            let done = autoscaler.reconcile(&revision, result, cluster, second * SECOND);
            proxied_for = if done.mode == SksMode::Proxy { proxied_for + 1 } else { 0 };
            if done.applied.write {
                assert_eq!((done.applied.want, done.active), (0, Active::Inactive));
                return second;
            }
        }
        panic!("it never goes");
    }

    #[test]
    fn the_way_to_zero_takes_the_grace_period_or_none_of_it() {
        let with_burst =
            |capacity| Annotations { target_burst_capacity: Some(capacity), ..Annotations::default() };
        // In the path from the start: the fast path, one reconcile after it turned inactive.
        assert_eq!(last_pod_goes(Annotations::default(), 100, 2), 101);
        assert_eq!(last_pod_goes(with_burst(-1.0), 100, 2), 101);
        // Put in the path as it turns inactive: the grace period counts from there.
        assert_eq!(last_pod_goes(with_burst(0.0), 100, 2), 130);
        // An activator that takes long to take over holds it up.
        assert_eq!(last_pod_goes(with_burst(0.0), 100, 50), 151);
        // Active since the first second, it stays so for the stable window.
        assert_eq!(last_pod_goes(with_burst(-1.0), 10, 2), 61);
        let kept = Annotations { pod_retention_period: Some(200 * SECOND), ..with_burst(-1.0) };
        assert_eq!(last_pod_goes(kept, 100, 2), 300);
    }

    #[test]
    fn an_initial_scale_holds_until_it_was_reached() {
        let revision = Revision {
            annotations: Annotations { initial_scale: Some(3), ..Annotations::default() },
            config: AutoscalerConfig::default(),
            container_concurrency: 0,
            reachability: Reachability::Reachable,
        };
        let mut autoscaler = PodAutoscaler::new(0);
        let result = ScaleResult { desired: 1, excess_burst_capacity: 0, num_activators: 2 };
        let mut step = |ready, second: i64| {
            let cluster = ClusterState { replicas: 3, ready, activator_answers: false };
            let done = autoscaler.reconcile(&revision, result, cluster, second * SECOND);
            (done.applied.want, done.active)
        };
        assert_eq!(step(2, 0), (3, Active::Activating));
        assert_eq!(step(3, 1), (3, Active::Active));
        assert_eq!(step(3, 2), (1, Active::Active));
    }
}
