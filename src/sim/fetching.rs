//! What starts fetch: the storage's events, and what they wake.

use super::replica::Work;
use super::run::{Event, Run};
use super::storage::Storage;
use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, ReplicaId, SimTime};
use crate::outcome::Phase;

/// The next stage of a start that takes time: what its node has already takes none.
pub(super) fn fetched(
    storage: &mut Option<Storage>,
    now: SimTime,
    node: Option<NodeId>,
    (id, version): (ReplicaId, u32),
    stages: &mut Vec<(Phase, Work)>,
) -> Option<(Phase, Work)> {
    loop {
        let (phase, work) = stages.pop()?;
        let (Work::Fetch(want) | Work::Beside(want, _), Some(storage), Some(node)) =
            (work, storage.as_mut(), node)
        else {
            return Some((phase, work));
        };
        let is_there = storage.want(now, node, want, id, version);
        match work {
            Work::Beside(_, time) if is_there => return Some((phase, Work::For(time))),
            _ if is_there => {}
            _ => return Some((phase, work)),
        }
    }
}

impl Run<'_> {
    /// Has the next thing that happens to images and weights come up.
    pub(super) fn watch_storage(&mut self) {
        let Some(at) = self.storage.as_mut().and_then(Storage::next_event) else { return };
        if self.storage_event.0 != Some(at) {
            self.storage_event = (Some(at), self.storage_event.1.wrapping_add(1));
            let generation = self.storage_event.1;
            self.queue.push(at, Rank::Phase, u32::MAX, generation, Event::Storage(generation));
        }
    }

    /// Something happened to images and weights: whoever waited for it goes on.
    pub(super) fn storage_due(&mut self, generation: u32) {
        if self.storage_event.1 != generation {
            return;
        }
        self.storage_event.0 = None;
        let served = self.storage.as_mut().map_or_else(Vec::new, |storage| storage.advance(self.now));
        for (_, id) in served {
            self.next_stage(id);
        }
        self.watch_storage();
    }
}
