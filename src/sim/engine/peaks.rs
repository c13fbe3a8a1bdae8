//! The largest step time since a given step, for per-request inter-token limits.

use std::collections::VecDeque;

/// Step times as a staircase: each kept entry is larger than every later one.
#[derive(Clone, Debug, Default)]
pub struct Peaks {
    /// (step after which it ended, ns), steps increasing, ns decreasing.
    stairs: VecDeque<(u64, u64)>,
}

impl Peaks {
    /// Steps up to number `end` took at most `ns`.
    pub fn push(&mut self, end: u64, ns: u64) {
        while self.stairs.back().is_some_and(|&(_, lower)| lower <= ns) {
            self.stairs.pop_back();
        }
        self.stairs.push_back((end, ns));
    }

    /// The largest step time after step `join`, ns; 0 if there was none.
    pub fn since(&self, join: u64) -> u64 {
        let index = self.stairs.partition_point(|&(end, _)| end <= join);
        self.stairs.get(index).map_or(0, |&(_, ns)| ns)
    }

    /// Forgets steps up to `join`: no sequence is left that could ask for them.
    pub fn forget(&mut self, join: u64) {
        let old = self.stairs.partition_point(|&(end, _)| end <= join);
        self.stairs.drain(..old);
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.stairs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_scanning(times in prop::collection::vec(1u64..50, 1..60), join in 0usize..60) {
            let mut peaks = Peaks::default();
            for (i, ns) in times.iter().enumerate() {
                peaks.push(i as u64 + 1, *ns);
            }
            let expected = times.iter().skip(join).max().copied().unwrap_or(0);
            prop_assert_eq!(peaks.since(join as u64), expected);
        }
    }
}
