//! A latency distribution small enough to have one for each step of a timeline.

use smallvec::SmallVec;

use crate::kernel::SimDuration;

/// Bits of a value that are kept below its leading one: buckets are at most 1/16 of their value wide.
const BITS: u32 = 4;

/// The bucket of values that were never reached.
const NEVER: u16 = u16::MAX;

/// Counts by bucket; [`Sketch::quantile`] gives a bucket's upper end, which is at most 6.3 % too high.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// (bucket, count), sorted by bucket.
    counts: SmallVec<[(u16, u32); 4]>,
}

impl Sketch {
    /// Records one value; [`SimDuration::MAX`] is one that was never reached.
    pub fn record(&mut self, value: SimDuration) {
        self.add(bucket(value), 1);
    }

    fn add(&mut self, bucket: u16, count: u32) {
        let at = self.counts.partition_point(|(known, _)| *known < bucket);
        match self.counts.get_mut(at) {
            Some((known, sum)) if *known == bucket => *sum += count,
            _ => self.counts.insert(at, (bucket, count)),
        }
    }

    /// Takes in all values of another.
    pub fn merge(&mut self, other: &Self) {
        for &(bucket, count) in &other.counts {
            self.add(bucket, count);
        }
    }

    /// The quantile at `q` in [0, 1]: `None` without values, [`SimDuration::MAX`] where that many were never reached.
    pub fn quantile(&self, q: f64) -> Option<SimDuration> {
        let total: u64 = self.counts.iter().map(|(_, count)| u64::from(*count)).sum();
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        });
        found.map(|(bucket, _)| upper_end(*bucket))
    }
}

/// Microseconds are enough: nothing that is drawn is shorter.
fn bucket(value: SimDuration) -> u16 {
    if value == SimDuration::MAX {
        return NEVER;
    }
    let micros = value.as_nanos() / 1000;
    let leading = micros.max(1).ilog2();
    if leading <= BITS {
        return micros as u16;
    }
    let shift = leading - BITS;
    ((shift << BITS) + (micros >> shift) as u32) as u16
}

fn upper_end(bucket: u16) -> SimDuration {
    if bucket == NEVER {
        return SimDuration::MAX;
    }
    let bucket = u64::from(bucket);
    let micros = if bucket < 2 << BITS {
        bucket
    } else {
        // The inverse of `bucket`: its mantissa has its leading one.
        let shift = (bucket >> BITS) - 1;
        let mantissa = bucket - (shift << BITS);
        ((mantissa + 1) << shift) - 1
    };
    SimDuration::from_nanos(micros * 1000 + 999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(0.5), None);
        for ms in 1..=98 {
            sketch.record(SimDuration::from_millis(ms));
        }
        sketch.record(SimDuration::MAX);
        sketch.record(SimDuration::MAX);
        let ms = |q: f64| sketch.quantile(q).unwrap().as_millis_f64();
        assert!((50.0..53.2).contains(&ms(0.5)), "{}", ms(0.5));
        assert!((98.0..104.2).contains(&ms(0.98)), "{}", ms(0.98));
        assert_eq!(sketch.quantile(0.99), Some(SimDuration::MAX));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_and_is_narrow(nanos in 0u64..=u64::MAX / 2, q in 0.0f64..=1.0) {
            let value = SimDuration::from_nanos(nanos);
            let mut sketch = Sketch::default();
            sketch.record(value);
            let end = sketch.quantile(q).unwrap();
            prop_assert!(end >= value);
            prop_assert!(end.as_nanos() - nanos <= nanos / 16 + 1000, "{nanos} {}", end.as_nanos());
        }

        #[test]
        fn merging_is_recording_all(a in prop::collection::vec(0u64..1 << 40, 0..40), b in prop::collection::vec(0u64..1 << 40, 0..40)) {
            let of = |values: &mut dyn Iterator<Item = &u64>| {
                let mut sketch = Sketch::default();
                values.for_each(|nanos| sketch.record(SimDuration::from_nanos(*nanos)));
                sketch
            };
            let mut merged = of(&mut a.iter());
            merged.merge(&of(&mut b.iter()));
            prop_assert_eq!(merged, of(&mut a.iter().chain(&b)));
        }
    }
}
