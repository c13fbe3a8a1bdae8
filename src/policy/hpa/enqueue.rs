//! When an event on an HPA object leads to a reconcile: at once, or one sync period later.
//!
//! After Kubernetes' `horizontal.go` (1.33 to 1.37).

use super::version::KubernetesVersion;

/// An event on an HPA object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEvent {
    /// It is new.
    Add,
    /// It changed.
    Update {
        /// `metadata.generation` before; `None` if that object is of an unknown type.
        old_generation: Option<i64>,
        /// `metadata.generation` now; `None` if that object is of an unknown type.
        new_generation: Option<i64>,
        /// Gate `HPAGeneration`.
        generation_gate: bool,
    },
}

/// How its key is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// At once.
    pub immediate: bool,
    /// After one sync period.
    pub rate_limited: bool,
    /// The selector is known before the key is, so that the first reconcile sees rivals.
    pub selector_registered_before_enqueue: bool,
}

/// How an event is queued by a release. A status update changes no generation, so it waits.
pub fn enqueue(event: ObjectEvent, version: KubernetesVersion) -> Enqueued {
    let immediate = version.reconciles_new_objects_at_once()
        && match event {
            ObjectEvent::Add => true,
            ObjectEvent::Update { old_generation: Some(old), new_generation: Some(new), generation_gate } => {
                generation_gate && old != new
            }
            ObjectEvent::Update { .. } => false,
        };
    Enqueued { immediate, rate_limited: !immediate, selector_registered_before_enqueue: true }
}
