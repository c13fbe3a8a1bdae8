//! What capacity there was at each instant, and what stood in the way of more: what breaches are explained by.

use super::run::Run;
use crate::kernel::SimTime;
use crate::outcome::breach::Capacity;
use crate::outcome::{Cause, Phase};

/// How things stood at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Replicas there were and could be.
    pub capacity: Capacity,
    /// Why a request that waits, and for which none is on its way, waits.
    pub lacking: Cause,
}

/// How things stood over time: an entry for each instant at whose end they were other than before.
#[derive(Clone, Debug, Default)]
pub(super) struct StandingLog {
    entries: Vec<(SimTime, Standing)>,
}

impl StandingLog {
    /// This is how things stand now. Of several notes of an instant the last one counts.
    pub fn note(&mut self, now: SimTime, standing: Standing) {
        self.entries.pop_if(|(at, _)| *at == now);
        if self.entries.last().is_none_or(|(_, last)| *last != standing) {
            self.entries.push((now, standing));
        }
    }

    /// How things stood at the end of an instant, `None` before the first note, and until when they stayed so.
    pub fn at(&self, at: SimTime) -> (Option<Standing>, SimTime) {
        let next = self.entries.partition_point(|(from, _)| *from <= at);
        let standing = next.checked_sub(1).map(|last| self.entries[last].1);
        (standing, self.entries.get(next).map_or(SimTime::MAX, |(until, _)| *until))
    }
}

impl Run<'_> {
    /// How things stand.
    fn standing(&self) -> Standing {
        let maximum = self.policy.maximum();
        let lacking = match maximum {
            _ if self.by_phase[Phase::Pending as usize] > 0 && !self.cluster.can_be_ordered(self.now) => {
                Cause::NoNode
            }
            // The provisioner has not looked yet.
            _ if self.by_phase[Phase::Pending as usize] > 0 => Cause::StartUp(Phase::Pending),
            None => Cause::Saturation,
            Some(most) if self.ordered >= most => Cause::AtMaximum,
            Some(_) => Cause::NotOrdered,
        };
        let capacity = Capacity {
            serving: self.by_phase[Phase::Serving as usize],
            held: self.by_phase[Phase::Held as usize],
            starting: self.starting.len() as u32,
            ordered: self.ordered,
            // A policy without a limit says the most there is.
            maximum: maximum.filter(|most| *most < u32::MAX),
        };
        Standing { capacity, lacking }
    }

    /// Replicas or orders have changed: keeps how things stand.
    pub(super) fn note_standing(&mut self) {
        let standing = self.standing();
        self.standing.note(self.now, standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_of_an_instant_counts_and_what_stays_is_no_entry() {
        let standing =
            |lacking| Standing { capacity: Capacity { serving: 1, ..Capacity::default() }, lacking };
        let (one, other) = (standing(Cause::NotOrdered), standing(Cause::NoNode));
        let at = SimTime::from_secs;
        let mut log = StandingLog::default();
        assert_eq!(log.at(at(0)), (None, SimTime::MAX));
        for (secs, noted) in [(1, one), (3, other), (3, one), (5, other), (7, other), (9, one)] {
            log.note(at(secs), noted);
        }
        let end = SimTime::MAX;
        for (secs, expected, until) in [
            (0, None, at(1)),
            (1, Some(one), at(5)),
            (4, Some(one), at(5)),
            (5, Some(other), at(9)),
            (8, Some(other), at(9)),
            (10, Some(one), end),
        ] {
            assert_eq!(log.at(at(secs)), (expected, until), "{secs}");
        }
    }
}
