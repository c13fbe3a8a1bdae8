//! Ready replicas in rotation and out of it: endpoints, and the books.

use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::ReplicaId;
use crate::kernel::queue::Rank;
use crate::outcome::{Account, Phase};

impl Run<'_> {
    /// Has requests routed to a replica, which may be in the endpoints still, from before its container exited.
    pub(super) fn add_endpoint(&mut self, id: ReplicaId, load: u32) {
        self.replicas[id.index()].endpoint += 1;
        if !self.router.has(id) {
            self.router.add(id, load);
        }
    }

    /// Has no more requests routed to a replica, once the endpoints are everywhere.
    pub(super) fn remove_endpoint(&mut self, id: ReplicaId) {
        let delay = self.sim.replica.endpoint_removal_delay;
        let endpoint = self.replicas[id.index()].endpoint;
        if delay.is_zero() {
            self.endpoint_gone(id, endpoint);
        } else {
            let at = self.now.saturating_add(delay);
            self.queue.push(at, Rank::Phase, id.0, u32::MAX - 2, Event::EndpointGone(id, endpoint));
        }
    }

    pub(super) fn endpoint_gone(&mut self, id: ReplicaId, endpoint: u32) {
        if self.replicas[id.index()].endpoint == endpoint && self.router.has(id) {
            self.router.remove(id);
        }
    }

    /// Books a ready replica's arrival in, or departure from, rotation or the spares.
    pub(super) fn count_ready(&mut self, id: ReplicaId, in_rotation: bool, comes: bool) {
        let now = self.now;
        let lot = self.lot_of(id);
        let (phase, account) =
            if in_rotation { (Phase::Serving, Account::ServingIdle) } else { (Phase::Held, Account::Held) };
        if comes {
            self.by_phase[phase as usize] += 1;
            self.books.enter(now, account, lot);
        } else {
            self.book_keep_warm(id);
            if in_rotation {
                self.book_busy(id);
            }
            self.by_phase[phase as usize] -= 1;
            self.books.leave(now, account, lot);
        }
        let ready = self.by_phase[Phase::Serving as usize] + self.by_phase[Phase::Held as usize];
        if let Some(needed) = &mut self.needed {
            needed.set_ready(now, ready);
        }
        self.note_standing();
        self.policy.pods_changed(now);
    }

    /// Books how long a replica in rotation has been busy since it was last asked.
    pub(super) fn book_busy(&mut self, id: ReplicaId) {
        let now = self.now;
        let lot = self.lot_of(id);
        if let State::Ready(serving, true) = &mut self.replicas[id.index()].state {
            let busy = serving.engine.busy(now);
            let since = busy - serving.busy_base;
            serving.busy_base = busy;
            self.books.busy(since, lot);
        }
    }

    /// Moves a ready replica into or out of rotation.
    pub(super) fn rotate(&mut self, id: ReplicaId, into: bool) {
        self.count_ready(id, !into, false);
        let now = self.now;
        if let State::Ready(serving, in_rotation) = &mut self.replicas[id.index()].state {
            *in_rotation = into;
            serving.busy_base = serving.engine.busy(now);
            let outstanding = serving.outstanding;
            if into {
                self.add_endpoint(id, outstanding);
            } else if self.router.has(id) {
                self.router.remove(id);
            }
        }
        self.count_ready(id, into, true);
        self.lie_down(id);
    }
}
