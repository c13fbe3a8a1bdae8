//! KV blocks: how many a sequence holds, and how many a batch will ask for over the next steps.

use super::BLOCK_TOKENS;

/// Blocks that hold `tokens` tokens.
pub const fn blocks(tokens: u64) -> u64 {
    tokens.div_ceil(BLOCK_TOKENS)
}

/// Sequences of a batch by the residue at which they cross into a new block.
///
/// A decoding sequence with `computed` tokens at step `s` keeps `(computed - s) mod 16`
/// for as long as it decodes, and asks for a block whenever `computed` is a multiple of
/// 16. One counter per residue therefore tells what any stretch of steps will need.
#[derive(Clone, Debug, Default)]
pub struct Residues {
    counts: [u32; BLOCK_TOKENS as usize],
    total: u64,
}

impl Residues {
    fn class(computed: u64, step: u64) -> usize {
        (computed.wrapping_sub(step) % BLOCK_TOKENS) as usize
    }

    /// A sequence joins with `computed` tokens before step `step`.
    pub fn join(&mut self, computed: u64, step: u64) {
        self.counts[Self::class(computed, step)] += 1;
        self.total += 1;
    }

    /// A sequence leaves with `computed` tokens before step `step`.
    pub fn leave(&mut self, computed: u64, step: u64) {
        self.counts[Self::class(computed, step)] -= 1;
        self.total -= 1;
    }

    /// Blocks asked for at the start of step `step`.
    pub fn need(&self, step: u64) -> u64 {
        u64::from(self.counts[Self::class(0, step)])
    }

    /// Blocks asked for over `steps` steps from `from` on.
    pub fn need_over(&self, from: u64, steps: u64) -> u64 {
        let (cycles, rest) = (steps / BLOCK_TOKENS, steps % BLOCK_TOKENS);
        cycles * self.total + (0..rest).map(|i| self.need(from + i)).sum::<u64>()
    }

    /// How many steps from `from` on `free` blocks last, at most `limit`.
    pub fn steps_within(&self, from: u64, free: u64, limit: u64) -> u64 {
        // The common case, without walking: even if every sequence crossed once more than it can.
        if self.total * (limit / BLOCK_TOKENS + 1) <= free {
            return limit;
        }
        let cycles = (free / self.total.max(1)).min(limit / BLOCK_TOKENS);
        let mut left = free - cycles * self.total;
        let mut steps = cycles * BLOCK_TOKENS;
        while steps < limit {
            let need = self.need(from + steps);
            if need > left {
                break;
            }
            left -= need;
            steps += 1;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_counting(
            computed in prop::collection::vec(1u64..200, 1..20), start in 0u64..100, free in 0u64..300, limit in 1u64..400
        ) {
            let mut residues = Residues::default();
            for c in &computed {
                residues.join(*c, start);
            }
            let held = |after: u64| computed.iter().map(|c| blocks(c + after)).sum::<u64>();
            let needed = |steps: u64| held(steps) - held(0);
            let steps = residues.steps_within(start, free, limit);
            prop_assert_eq!(residues.need_over(start, steps), needed(steps));
            prop_assert!(needed(steps) <= free);
            prop_assert!(steps == limit || needed(steps + 1) > free);
        }
    }
}
