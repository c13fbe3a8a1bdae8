//! A metric over time: buckets of a second, each with the last value that came in it.

use std::collections::VecDeque;

use crate::kernel::{SimDuration, SimTime};

/// A window of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Its length in buckets of a second.
    seconds: u64,
    /// (second, value), in order.
    buckets: VecDeque<(u64, f64)>,
}

/// What a bucket stands for.
const BUCKET: SimDuration = SimDuration::from_secs(1);

impl Window {
    /// An empty one.
    pub fn new(seconds: u64) -> Self {
        Self { seconds, buckets: VecDeque::new() }
    }

    /// A value of now. Of one second the last value counts.
    pub fn record(&mut self, now: SimTime, value: f64) {
        let second = now.as_nanos() / BUCKET.as_nanos();
        match self.buckets.back_mut().filter(|(last, _)| *last == second) {
            Some(bucket) => bucket.1 = value,
            None => self.buckets.push_back((second, value)),
        }
        while self.buckets.front().is_some_and(|(at, _)| at + self.seconds <= second) {
            self.buckets.pop_front();
        }
    }

    /// The plain mean over the buckets that hold a value; `None` where none does.
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.buckets.iter().map(|(_, value)| value).sum();
        (!self.buckets.is_empty()).then(|| sum / self.buckets.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn the_last_value_of_a_second_counts_and_gaps_do_not() {
        let mut window = Window::new(30);
        assert_eq!(window.mean(), None);
        let mut at = |ms: u64, value| {
            window.record(SimTime::from_nanos(ms * 1_000_000), value);
            window.mean().expect("it holds one")
        };
        assert_eq!((at(10_000, 1.0), at(10_900, 3.0)), (1.0, 3.0));
        assert_eq!(at(20_000, 6.0), 4.5);
        assert_eq!(at(39_999, 9.0), 6.0);
        // The bucket of second 10 is 30 s old.
        assert_eq!(at(40_000, 9.0), 8.0);
    }
}
