//! Routers: which ready replica gets a request. Every choice and update is O(1) in the
//! number of replicas, or a scan of one bit each.

use rand::Rng;
use rand::rngs::ChaCha8Rng;

use super::config::RouterKind;
use crate::kernel::ReplicaId;
use crate::policy::api::{Balancing, DataPath, Path};

/// How a replica is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one with the fewest requests; ties go round.
    LeastOutstanding,
    /// In turn.
    RoundRobin,
    /// The less loaded of two drawn at random.
    PowerOfTwo,
    /// The first one.
    First,
}

impl From<RouterKind> for Choice {
    fn from(kind: RouterKind) -> Self {
        match kind {
            RouterKind::LeastOutstanding => Self::LeastOutstanding,
            RouterKind::RoundRobin => Self::RoundRobin,
            RouterKind::PowerOfTwo => Self::PowerOfTwo,
        }
    }
}

impl From<Balancing> for Choice {
    fn from(balancing: Balancing) -> Self {
        match balancing {
            Balancing::RandomChoiceOfTwo => Self::PowerOfTwo,
            Balancing::FirstAvailable => Self::First,
            Balancing::RoundRobin => Self::RoundRobin,
        }
    }
}

/// Replicas in rotation and how many requests each has.
#[derive(Debug)]
pub struct Router {
    /// How the gateway chooses.
    direct: Choice,
    /// How the policy's proxy does, among replicas with room if there is a limit.
    proxied: Choice,
    /// Most requests that the proxy gives to a replica.
    limit: Option<u32>,
    rng: ChaCha8Rng,
    /// Replicas in rotation; a replica's seat is its index here.
    seats: Vec<ReplicaId>,
    /// Requests of each seat not yet ended.
    loads: Vec<u32>,
    /// Seat of each replica that ever was in rotation.
    seat_of: Vec<u32>,
    /// For least outstanding: the seats with each load, as bits.
    levels: Vec<Vec<u64>>,
    /// With a limit: the seats with room, as bits.
    free: Vec<u64>,
    /// No level below this has a seat.
    lowest: usize,
    /// Last seat chosen on each path.
    last: [usize; 2],
}

const NO_SEAT: u32 = u32::MAX;

impl Router {
    /// A router with nobody in rotation.
    pub fn new(kind: RouterKind, data_path: &DataPath, rng: ChaCha8Rng) -> Self {
        Self {
            direct: kind.into(),
            proxied: data_path.balancing.into(),
            limit: data_path.pod_limit.map(|limit| limit.concurrency),
            rng,
            seats: Vec::new(),
            loads: Vec::new(),
            seat_of: Vec::new(),
            levels: Vec::new(),
            free: Vec::new(),
            lowest: 0,
            last: [0; 2],
        }
    }

    /// Replicas in rotation.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody is in rotation.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Whether some replica can take a request that comes this way.
    pub fn has_room(&self, path: Path) -> bool {
        match (path, self.limit) {
            (Path::Proxied, Some(_)) => self.free.iter().any(|word| *word != 0),
            _ => !self.is_empty(),
        }
    }

    /// Puts a replica with `load` requests into rotation.
    pub fn add(&mut self, replica: ReplicaId, load: u32) {
        if self.seat_of.len() <= replica.index() {
            self.seat_of.resize(replica.index() + 1, NO_SEAT);
        }
        self.seat_of[replica.index()] = self.seats.len() as u32;
        self.seats.push(replica);
        self.loads.push(load);
        self.mark(self.seats.len() - 1, load, true);
    }

    /// Whether a replica is in rotation.
    pub fn has(&self, replica: ReplicaId) -> bool {
        self.seat_of.get(replica.index()).is_some_and(|seat| *seat != NO_SEAT)
    }

    /// Takes a replica out of rotation; the last seat moves into its place.
    pub fn remove(&mut self, replica: ReplicaId) {
        let seat = self.seat_of[replica.index()] as usize;
        let end = self.seats.len() - 1;
        self.mark(seat, self.loads[seat], false);
        if seat != end {
            self.mark(end, self.loads[end], false);
            self.mark(seat, self.loads[end], true);
            self.seat_of[self.seats[end].index()] = seat as u32;
        }
        self.seats.swap_remove(seat);
        self.loads.swap_remove(seat);
        self.seat_of[replica.index()] = NO_SEAT;
    }

    /// One of a replica's requests ended. Replicas out of rotation are nobody's concern.
    pub fn ended(&mut self, replica: ReplicaId) {
        let seat = self.seat_of.get(replica.index()).copied().unwrap_or(NO_SEAT);
        if seat == NO_SEAT {
            return;
        }
        let seat = seat as usize;
        let load = self.loads[seat];
        self.move_level(seat, load, load - 1);
    }

    /// Chooses a replica for a request that comes this way and counts the request there. `None` if there is none, or
    /// none with room for the proxy.
    pub fn pick(&mut self, path: Path) -> Option<ReplicaId> {
        let seat = match path {
            Path::Direct => self.choose(self.direct, path)?,
            Path::Proxied if self.limit.is_none() => self.choose(self.proxied, path)?,
            Path::Proxied => {
                let first = self.proxied == Choice::First;
                let from = if first { 0 } else { self.last[path as usize] + 1 };
                next_seat(&self.free, from)?
            }
        };
        self.last[path as usize] = seat;
        let load = self.loads[seat];
        self.move_level(seat, load, load + 1);
        Some(self.seats[seat])
    }

    /// Chooses among all seats.
    fn choose(&mut self, choice: Choice, path: Path) -> Option<usize> {
        let count = self.seats.len();
        Some(match (count, choice) {
            (0, _) => return None,
            (1, _) | (_, Choice::First) => 0,
            (_, Choice::LeastOutstanding) => self.least_loaded(path),
            (_, Choice::RoundRobin) => (self.last[path as usize] + 1) % count,
            (_, Choice::PowerOfTwo) => {
                let first = self.below(count);
                let other = (first + 1 + self.below(count - 1)) % count;
                if self.loads[other] < self.loads[first] { other } else { first }
            }
        })
    }

    /// A uniform index below `n`, by multiplication; the bias is below 2^-32 for any real fleet.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// The next seat after the last choice, going round, among those with the lowest load.
    fn least_loaded(&mut self, path: Path) -> usize {
        while self.levels[self.lowest].iter().all(|word| *word == 0) {
            self.lowest += 1;
        }
        next_seat(&self.levels[self.lowest], self.last[path as usize] + 1).expect("the level has a seat")
    }

    fn move_level(&mut self, seat: usize, from: u32, to: u32) {
        self.mark(seat, from, false);
        self.loads[seat] = to;
        self.mark(seat, to, true);
    }

    fn mark(&mut self, seat: usize, load: u32, on: bool) {
        if let Some(limit) = self.limit {
            set(&mut self.free, seat, on && load < limit);
        }
        if self.direct != Choice::LeastOutstanding {
            return;
        }
        let level = load as usize;
        if self.levels.len() <= level {
            self.levels.resize(level + 1, Vec::new());
        }
        set(&mut self.levels[level], seat, on);
        if on {
            self.lowest = self.lowest.min(level);
        }
    }
}

/// The first seat of a set from `start` on, going round.
fn next_seat(words: &[u64], start: usize) -> Option<usize> {
    let (word, bit) = (start / 64, start % 64);
    let after = words.get(word).map_or(0, |w| w >> bit << bit);
    if after != 0 {
        return Some(word * 64 + after.trailing_zeros() as usize);
    }
    let later = words.iter().enumerate().skip(word + 1);
    let (index, bits) = later.chain(words.iter().enumerate()).find(|(_, w)| **w != 0)?;
    Some(index * 64 + bits.trailing_zeros() as usize)
}

fn set(words: &mut Vec<u64>, seat: usize, on: bool) {
    if words.len() <= seat / 64 {
        words.resize(seat / 64 + 1, 0);
    }
    let bit = 1u64 << (seat % 64);
    if on {
        words[seat / 64] |= bit;
    } else {
        words[seat / 64] &= !bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::{Purpose, Streams};
    use crate::policy::api::PodLimit;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn router(kind: RouterKind) -> Router {
        Router::new(kind, &DataPath::default(), Streams::new(1, 0).stream(Purpose::Router, 0))
    }

    /// A router whose proxy gives at most so many requests to a replica.
    fn limited(balancing: Balancing, concurrency: u32) -> Router {
        let pod_limit = Some(PodLimit { concurrency, queue: 0 });
        let data_path = DataPath { pod_limit, balancing, ..DataPath::default() };
        Router::new(RouterKind::LeastOutstanding, &data_path, Streams::new(1, 0).stream(Purpose::Router, 0))
    }

    proptest! {
        #[test]
        fn least_outstanding_is_least(ops in prop::collection::vec((0u8..6, 0u32..150), 1..400)) {
            let mut router = router(RouterKind::LeastOutstanding);
            let mut loads: BTreeMap<u32, u32> = BTreeMap::new();
            for (op, who) in ops {
                match op {
                    0 | 1 if !loads.contains_key(&who) => {
                        router.add(ReplicaId(who), 0);
                        loads.insert(who, 0);
                    }
                    2 => {
                        if loads.remove(&who).is_some() {
                            router.remove(ReplicaId(who));
                        }
                    }
                    3 => {
                        if let Some((id, load)) = loads.iter_mut().find(|(_, load)| **load > 0) {
                            *load -= 1;
                            router.ended(ReplicaId(*id));
                        }
                    }
                    _ => {
                        let picked = router.pick(Path::Direct);
                        let least = loads.values().min().copied();
                        prop_assert_eq!(picked.map(|p| loads[&p.0]), least);
                        if let Some(id) = picked {
                            *loads.get_mut(&id.0).unwrap() += 1;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn ties_and_turns_go_round() {
        for kind in [RouterKind::LeastOutstanding, RouterKind::RoundRobin] {
            let mut router = router(kind);
            (0..4).for_each(|i| router.add(ReplicaId(i), 0));
            let picked: Vec<_> = (0..8).map(|_| router.pick(Path::Direct).unwrap().0).collect();
            assert_eq!(picked, [1, 2, 3, 0, 1, 2, 3, 0], "{kind:?}");
        }
    }

    #[test]
    fn power_of_two_prefers_the_less_loaded_and_never_the_same_twice() {
        let mut router = router(RouterKind::PowerOfTwo);
        (0..10).for_each(|i| router.add(ReplicaId(i), 0));
        let mut loads = [0u32; 10];
        for _ in 0..10_000 {
            loads[router.pick(Path::Direct).unwrap().index()] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 6, "{loads:?}");
    }

    #[test]
    fn a_proxy_passes_over_replicas_without_room() {
        let picks = |router: &mut Router, count: u32| -> Vec<Option<u32>> {
            (0..count).map(|_| router.pick(Path::Proxied).map(|id| id.0)).collect()
        };
        let mut first = limited(Balancing::FirstAvailable, 2);
        assert!(!first.has_room(Path::Proxied));
        (0..3).for_each(|i| first.add(ReplicaId(i), 0));
        assert_eq!(picks(&mut first, 7), [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
        assert!(!first.has_room(Path::Proxied) && first.has_room(Path::Direct));
        first.ended(ReplicaId(1));
        first.ended(ReplicaId(0));
        assert_eq!(picks(&mut first, 3), [Some(0), Some(1), None]);

        let mut turns = limited(Balancing::RoundRobin, 2);
        (0..3).for_each(|i| turns.add(ReplicaId(i), u32::from(i == 1)));
        assert_eq!(picks(&mut turns, 6), [Some(1), Some(2), Some(0), Some(2), Some(0), None]);
    }

    #[test]
    fn what_came_directly_takes_room_from_the_proxy() {
        let mut router = limited(Balancing::FirstAvailable, 1);
        (0..2).for_each(|i| router.add(ReplicaId(i), 0));
        // The gateway takes the least loaded, whether it has room or not.
        let direct: Vec<u32> = (0..3).map(|_| router.pick(Path::Direct).unwrap().0).collect();
        assert_eq!(direct, [1, 0, 1]);
        assert_eq!(router.pick(Path::Proxied), None);
        router.ended(ReplicaId(1));
        assert_eq!(router.pick(Path::Proxied), None, "one of two ended");
        router.remove(ReplicaId(0));
        router.ended(ReplicaId(1));
        assert_eq!(router.pick(Path::Proxied), Some(ReplicaId(1)));
    }
}
