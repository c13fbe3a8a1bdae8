//! The ordered event queue: a binary heap with a total order that does not depend on
//! the order of insertion.
//!
//! Two engines that reach the same instant by different routes must break ties alike,
//! so the key is (time, rank, entity) and nothing else. An event is never cancelled:
//! whoever schedules a newer one for the same entity bumps a generation it keeps in
//! the event, and ignores the older one when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::time::SimTime;

/// What orders two events at the same nanosecond.
///
/// Lower ranks first: a policy that decides at an instant sees it settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// A batch ends: tokens and completions.
    Completion = 0,
    /// A replica or node changes phase.
    Phase = 1,
    /// A request arrives. Arrivals are merged in by the loop and never enter the heap.
    Arrival = 2,
    /// An idle engine takes up what has arrived: all of the instant's arrivals together.
    Wake = 3,
    /// A request's deadline passes.
    Deadline = 4,
    /// Metrics are scraped.
    Scrape = 5,
    /// A control loop decides.
    Decide = 6,
    /// The trace ends: books are closed on the settled instant.
    End = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time: SimTime,
    rank: Rank,
    entity: u32,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    key: Key,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// A min-heap of future events keyed by (time, rank, entity, generation).
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<E> EventQueue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Schedules `event` for `entity` at `time`.
    pub fn push(&mut self, time: SimTime, rank: Rank, entity: u32, generation: u32, event: E) {
        let key = Key { time, rank, entity, generation };
        self.heap.push(Reverse(Entry { key, event }));
    }

    /// The time and rank of the next event, if any.
    pub fn peek(&self) -> Option<(SimTime, Rank)> {
        self.heap.peek().map(|Reverse(entry)| (entry.key.time, entry.key.rank))
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        self.heap.pop().map(|Reverse(entry)| (entry.key.time, entry.event))
    }

    /// How many events are pending, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank(n: u8) -> Rank {
        [Rank::Completion, Rank::Phase, Rank::Scrape, Rank::Decide][n as usize % 4]
    }

    proptest! {
        #[test]
        fn pops_in_the_order_of_a_sorted_vector(
            keys in prop::collection::hash_set((0u64..50, 0u8..4, 0u32..8, 0u32..4), 0..200)
        ) {
            let mut queue = EventQueue::new();
            let mut sorted = Vec::new();
            for (time, r, entity, generation) in keys {
                let key = (SimTime::from_nanos(time), rank(r), entity, generation);
                queue.push(key.0, key.1, key.2, key.3, key);
                sorted.push(key);
            }
            sorted.sort_unstable();
            for expected in sorted {
                prop_assert_eq!(queue.pop(), Some((expected.0, expected)));
            }
            prop_assert!(queue.is_empty());
        }
    }
}
