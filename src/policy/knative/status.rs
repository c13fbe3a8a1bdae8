//! The states of a revision's autoscaler: whether it is active, and whether the activator is in the path.
//!
//! After knative/serving `pkg/reconciler/autoscaling/kpa/kpa.go` (98e5ef90).

/// The `Active` condition of a PodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// `True`: enough pods are ready.
    Active,
    /// `False`: nothing is wanted.
    Inactive,
    /// `Unknown`: pods are wanted and not ready.
    Activating,
}

/// The mode of a revision's ServerlessService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SksMode {
    /// Requests go to the pods.
    Serve,
    /// Requests go through the activator.
    Proxy,
}

/// The condition after a reconcile. `min_ready` is the number of ready pods that makes a
/// revision active; it is 0 only for an initial scale of 0 that was not reached yet.
pub fn active_condition(want: i32, ready: i32, min_ready: i32, before: Active) -> Active {
    let sleeps_on = want < 0 && before == Active::Inactive;
    if want == 0 || min_ready == 0 || sleeps_on {
        Active::Inactive
    } else if ready < min_ready {
        Active::Activating
    } else {
        Active::Active
    }
}

/// The mode after a reconcile; an unknown scale of an inactive revision is one that sleeps.
pub fn sks_mode(want: i32, excess_burst_capacity: i32, inactive: bool) -> SksMode {
    if want == 0 || excess_burst_capacity < 0 || (want == super::decider::SCALE_UNKNOWN && inactive) {
        SksMode::Proxy
    } else {
        SksMode::Serve
    }
}

/// Whether requests go through the activator: in proxy mode, and while there is no pod to go to.
/// (`pkg/reconciler/serverlessservice`)
pub fn activator_in_path(mode: SksMode, ready: i32) -> bool {
    mode == SksMode::Proxy || ready == 0
}
