//! What starts fetch: the storage's events, and what they wake.

use super::replica::{Starting, Work};
use super::run::{Event, Run};
use super::storage::{Storage, Want};
use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, ReplicaId, SimTime};
use crate::outcome::Phase;

/// The next stage of a start that takes time: what its node has already takes none.
pub(super) fn fetched(
    storage: &mut Option<Storage>,
    now: SimTime,
    nodes: &[NodeId],
    (id, version): (ReplicaId, u32),
    starting: &mut Starting,
) -> Option<(Phase, Work)> {
    loop {
        let (phase, work) = starting.stages.pop()?;
        let (Work::Fetch(want) | Work::Beside(want, _), Some(storage)) = (work, storage.as_mut()) else {
            return Some((phase, work));
        };
        // The stage is over when the last of its pods has it.
        let lacks = |node: &&NodeId| !storage.want(now, **node, want, id, version);
        starting.awaits = nodes.iter().filter(lacks).count() as u32;
        let is_there = starting.awaits == 0;
        match work {
            Work::Beside(_, time) if is_there => return Some((phase, Work::For(time))),
            _ if is_there => {}
            _ => return Some((phase, work)),
        }
    }
}

impl Run<'_> {
    /// From when on a start only waits in a stage that begins now. A server that is up waits for its probe, a container that was
    /// killed for its back-off.
    pub(super) fn waits_from(&self, id: ReplicaId, phase: Phase, work: Work) -> SimTime {
        if phase == Phase::Probing {
            return self.now;
        }
        match work {
            Work::BackOff(_) => self.now,
            Work::Fetch(want) => self.fetch_waits_from(id, want),
            // Beside it the stage takes time of itself.
            Work::Beside(want, time) => self.fetch_waits_from(id, want).max(self.now.saturating_add(time)),
            Work::For(_) | Work::Compile { .. } => SimTime::MAX,
        }
    }

    /// What a start fetches would be there by then, had the node and the links nothing else to do and no disturbance. A fetch that
    /// was under way when the pod came is another's, and the pod waits for all that is left of it.
    fn fetch_waits_from(&self, id: ReplicaId, want: Want) -> SimTime {
        let replica = &self.replicas[id.index()];
        let Some((storage, bound)) = self.storage.as_ref().zip(replica.bound_at) else { return self.now };
        let fetches = replica.nodes.iter().filter_map(|node| storage.under_way(*node, want, replica.version));
        fetches.filter(|(begun, _)| *begun >= bound).map(|(_, alone)| alone).fold(self.now, SimTime::max)
    }

    /// A node that was there before the run has what its replica once fetched and compiled.
    pub(super) fn fill_node(&mut self, node: NodeId) {
        if let Some(storage) = &mut self.storage {
            storage.fill(node);
            storage.pod_came(node);
        }
        if let Some(cache) = &mut self.compile_cache {
            cache.fill(node);
        }
    }

    /// A node is gone, with what was on it.
    pub(super) fn forget_node(&mut self, node: NodeId) {
        if let Some(storage) = &mut self.storage {
            storage.node_gone(self.now, node);
        }
        if let Some(cache) = &mut self.compile_cache {
            cache.node_gone(node);
        }
        self.watch_storage();
    }

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
            if self.all_have(id) {
                self.next_stage(id);
            }
        }
        self.watch_storage();
    }
}
