//! Bytes on their way over links that they share: max-min fair (processor sharing), event by event.
//!
//! Every transfer crosses one or more links (a registry's uplink, a node's network interface) and may have a
//! limit of its own (one connection's). Rates are the max-min fair ones: they rise together until a link is full
//! or a transfer at its limit; what is held back leaves its share to the others (Bertsekas and Gallager, *Data
//! Networks*, 6.5.2). They change only when a transfer begins or ends or a link's rate does, so between these
//! instants everything is a multiplication.
//!
//! All in integers: rates are bytes/s, amounts nanobytes, times ns. A share that is no integer is rounded down, so
//! that no link ever carries more than its rate; what that loses is under a byte a second and transfer.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::kernel::{SimDuration, SimTime};

/// Nanobytes of a byte: what a rate of 1 byte/s carries in a second.
pub const NANOBYTES: u128 = 1_000_000_000;

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(u32);

/// One transfer; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(u64);

#[derive(Clone, Debug)]
struct Transfer<T> {
    /// What ends with it.
    of: T,
    links: SmallVec<[LinkId; 3]>,
    /// Bytes/s at most.
    limit: u64,
    /// Bytes/s.
    rate: u64,
    /// Nanobytes.
    left: u128,
}

/// Links and what is on its way over them. `T` says what a transfer is of.
#[derive(Clone, Debug)]
pub struct Links<T> {
    /// Bytes/s of each.
    rates: Vec<u64>,
    /// In order of their beginnings.
    transfers: BTreeMap<TransferId, Transfer<T>>,
    begun: u64,
    /// Until when the transfers have been advanced.
    at: SimTime,
    /// Whether the rates are those of the transfers and links there are.
    settled: bool,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self { rates: Vec::new(), transfers: BTreeMap::new(), begun: 0, at: SimTime::ZERO, settled: true }
    }
}

impl<T: Copy> Links<T> {
    /// A new link.
    pub fn add(&mut self, bytes_per_second: u64) -> LinkId {
        self.rates.push(bytes_per_second);
        LinkId(self.rates.len() as u32 - 1)
    }

    /// Gives a link another rate from now on.
    pub fn set_rate(&mut self, now: SimTime, link: LinkId, bytes_per_second: u64) {
        self.advance(now);
        self.rates[link.0 as usize] = bytes_per_second;
        self.settled = false;
    }

    /// Begins a transfer of `amount` nanobytes over these links, with `limit` bytes/s at most.
    pub fn begin(
        &mut self,
        now: SimTime,
        of: T,
        links: &[LinkId],
        limit: Option<u64>,
        amount: u128,
    ) -> TransferId {
        self.advance(now);
        let id = TransferId(self.begun);
        self.begun += 1;
        let limit = limit.unwrap_or(u64::MAX);
        self.transfers
            .insert(id, Transfer { of, links: SmallVec::from_slice(links), limit, rate: 0, left: amount });
        self.settled = false;
        id
    }

    /// Ends a transfer early; gives what was left of it, nanobytes.
    pub fn cancel(&mut self, now: SimTime, id: TransferId) -> Option<u128> {
        self.advance(now);
        let transfer = self.transfers.remove(&id)?;
        self.settled = false;
        Some(transfer.left)
    }

    /// Ends all transfers of some kind early; gives what was left of each, nanobytes.
    pub fn take_if(&mut self, now: SimTime, is_over: impl Fn(&T) -> bool) -> Vec<(T, u128)> {
        self.advance(now);
        let mut taken = Vec::new();
        self.transfers.retain(|_, transfer| {
            let goes = is_over(&transfer.of);
            if goes {
                taken.push((transfer.of, transfer.left));
            }
            !goes
        });
        self.settled &= taken.is_empty();
        taken
    }

    /// How many transfers there are of some kind.
    pub fn count(&self, is: impl Fn(&T) -> bool) -> usize {
        self.transfers.values().filter(|transfer| is(&transfer.of)).count()
    }

    /// When the next transfer ends, if things stay as they are.
    pub fn next_end(&mut self) -> Option<SimTime> {
        self.settle();
        let wait =
            |t: &Transfer<T>| (t.rate > 0 || t.left == 0).then(|| t.left.div_ceil(u128::from(t.rate).max(1)));
        let soonest = self.transfers.values().filter_map(wait).min()?;
        Some(self.at.saturating_add(SimDuration::from_nanos(u64::try_from(soonest).unwrap_or(u64::MAX))))
    }

    /// Takes out the transfers that have ended by now, in order of their beginnings.
    pub fn ended(&mut self, now: SimTime) -> Vec<(TransferId, T)> {
        self.advance(now);
        let ended: Vec<_> = self
            .transfers
            .iter()
            .filter(|(_, t)| t.left == 0)
            .map(|(id, transfer)| (*id, transfer.of))
            .collect();
        for (id, _) in &ended {
            self.transfers.remove(id);
            self.settled = false;
        }
        ended
    }

    /// Bytes/s of a transfer now.
    pub fn rate(&mut self, id: TransferId) -> Option<u64> {
        self.settle();
        self.transfers.get(&id).map(|transfer| transfer.rate)
    }

    fn advance(&mut self, now: SimTime) {
        if now <= self.at {
            return;
        }
        self.settle();
        let span = u128::from(now.since(self.at).as_nanos());
        for transfer in self.transfers.values_mut() {
            transfer.left = transfer.left.saturating_sub(u128::from(transfer.rate) * span);
        }
        self.at = now;
    }

    /// Max-min fair rates, by progressive filling: the link whose equal shares are the smallest fixes those of its
    /// transfers, and so on with what is left.
    fn settle(&mut self) {
        if self.settled {
            return;
        }
        self.settled = true;
        // Links that nothing crosses are left out: nodes that are gone leave theirs behind.
        let mut crossed: Vec<LinkId> =
            self.transfers.values().flat_map(|t| t.links.iter().copied()).collect();
        crossed.sort_unstable();
        let mut users: Vec<u64> = crossed.chunk_by(|a, b| a == b).map(|same| same.len() as u64).collect();
        crossed.dedup();
        let place = |link: &LinkId| crossed.binary_search(link).expect("it is crossed");
        let mut room: Vec<u64> = crossed.iter().map(|link| self.rates[link.0 as usize]).collect();
        let mut open: Vec<&mut Transfer<T>> = self.transfers.values_mut().collect();
        while !open.is_empty() {
            let shares =
                room.iter().zip(&users).filter(|(_, users)| **users > 0).map(|(room, users)| room / users);
            let limits = open.iter().map(|transfer| transfer.limit);
            let share = shares.chain(limits).min().unwrap_or(u64::MAX);
            // Whoever is at its limit, or on a link that is full at this share, stays there.
            let full: Vec<bool> =
                room.iter().zip(&users).map(|(room, users)| *users > 0 && room / users <= share).collect();
            open.retain_mut(|transfer| {
                let stays = transfer.limit <= share || transfer.links.iter().any(|link| full[place(link)]);
                if stays {
                    transfer.rate = share;
                    for link in &transfer.links {
                        room[place(link)] -= share;
                        users[place(link)] -= 1;
                    }
                }
                !stays
            });
        }
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
