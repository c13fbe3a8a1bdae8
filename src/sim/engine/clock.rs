//! An engine's clock: ns and femtoseconds, so that thousands of steps add up exactly.

use crate::kernel::{SimDuration, SimTime};
use crate::profile::step_time::FS_PER_NS;

/// An instant, exact to the femtosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    ns: u64,
    /// Below [`FS_PER_NS`].
    fs: u64,
}

impl Clock {
    /// The clock at a whole nanosecond.
    pub const fn at(time: SimTime) -> Self {
        Self { ns: time.as_nanos(), fs: 0 }
    }

    /// Later by `fs` femtoseconds.
    #[must_use]
    pub const fn plus(self, fs: u64) -> Self {
        let total = self.fs + fs;
        Self { ns: self.ns + total / FS_PER_NS, fs: total % FS_PER_NS }
    }

    /// The instant as a fact shows it: rounded up to the ns.
    pub const fn ceil(self) -> SimTime {
        SimTime::from_nanos(self.ns + (self.fs > 0) as u64)
    }

    /// Femtoseconds from here until `time`; `None` if `time` is earlier, at most 2^62.
    pub fn fs_until(self, time: SimTime) -> Option<u64> {
        let ns = time.as_nanos().checked_sub(self.ns)?;
        ns.min((1 << 62) / FS_PER_NS).saturating_mul(FS_PER_NS).checked_sub(self.fs)
    }

    /// Time since `earlier`, rounded up to the ns.
    pub fn since(self, earlier: Self) -> SimDuration {
        let whole = self.ns - earlier.ns;
        SimDuration::from_nanos(if self.fs > earlier.fs { whole + 1 } else { whole })
    }
}

/// fs as ns, rounded up.
pub const fn ceil_ns(fs: u64) -> u64 {
    fs.div_ceil(FS_PER_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_exactly_and_rounds_up_only_when_read() {
        let start = Clock::at(SimTime::from_nanos(5));
        let clock = (0..1000).fold(start, |c, _| c.plus(1_500));
        assert_eq!(clock, start.plus(1_500_000));
        assert_eq!(clock.ceil(), SimTime::from_nanos(7));
        assert_eq!(clock.since(start), SimDuration::from_nanos(2));
        assert_eq!(start.fs_until(SimTime::from_nanos(4)), None);
        assert_eq!(clock.fs_until(SimTime::from_nanos(7)), Some(500_000));
        assert_eq!(clock.fs_until(SimTime::from_nanos(6)), None);
    }
}
