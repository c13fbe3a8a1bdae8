//! Latency distributions: streaming, with a relative error of at most 0.1 %.

use hdrhistogram::Histogram;

use crate::kernel::SimDuration;

/// Three significant digits: a bucket is at most 1/1024 of its value wide.
const SIGNIFICANT_DIGITS: u8 = 3;

/// One latency distribution, in ns, with the requests that never got there counted as +infinity.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
    infinite: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS).expect("3 digits is within hdrhistogram's 0 to 5");
        Self { histogram, infinite: 0 }
    }
}

impl Latency {
    /// Records one value.
    pub fn record(&mut self, value: SimDuration) {
        self.record_n(value.as_nanos(), 1);
    }

    /// Records `count` values of `nanos`.
    pub fn record_n(&mut self, nanos: u64, count: u64) {
        self.histogram.record_n(nanos, count).expect("an auto-resizing histogram takes any value");
    }

    /// Records a request that never got there.
    pub fn record_infinite(&mut self) {
        self.infinite += 1;
    }

    /// The first value past the bucket that `nanos` falls in: bulk recording steps from bucket to bucket.
    pub fn bucket_end(&self, nanos: u64) -> u64 {
        self.histogram.next_non_equivalent(nanos)
    }

    /// How many values, infinite ones included.
    pub fn count(&self) -> u64 {
        self.histogram.len() + self.infinite
    }

    /// How many are infinite.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// The quantile at `q` in [0, 1]: `None` without values, +infinity as [`SimDuration::MAX`].
    pub fn quantile(&self, q: f64) -> Option<SimDuration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        if rank > self.histogram.len() {
            return Some(SimDuration::MAX);
        }
        // The middle of the rank: at its edge rounding may lead to the next one.
        let within = (rank as f64 - 0.5) / self.histogram.len() as f64;
        Some(SimDuration::from_nanos(self.histogram.value_at_quantile(within)))
    }

    /// The mean in s; `None` without values, +infinity if any is infinite.
    pub fn mean_secs(&self) -> Option<f64> {
        match (self.count(), self.infinite) {
            (0, _) => None,
            (_, 0) => Some(self.histogram.mean() / 1e9),
            _ => Some(f64::INFINITY),
        }
    }

    /// The buckets merged to at most 1 % of their value, as (upper end in ns, count): enough to draw.
    pub fn outline(&self) -> Vec<(u64, u64)> {
        let mut outline: Vec<(u64, u64)> = Vec::new();
        let mut start = 0;
        for (to, count) in self.buckets() {
            match outline.last_mut() {
                Some(last) if to - start <= to / 100 => *last = (to, last.1 + count),
                _ => {
                    start = to;
                    outline.push((to, count));
                }
            }
        }
        outline
    }

    /// Buckets as (upper end in ns, count), empty ones left out; infinite values are not among them.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value()))
    }
}

/// The five latencies of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// Time to first token, from arrival at the gateway.
    pub ttft: Latency,
    /// Time per output token after the first: (last - first) / (tokens - 1); requests of one token have none.
    pub tpot: Latency,
    /// Inter-token latency, one value for each token after a request's first.
    pub itl: Latency,
    /// End-to-end latency, from arrival to the last token.
    pub e2e: Latency,
    /// From arrival until the engine first schedules the request.
    pub queue_wait: Latency,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_requests_are_the_tail() {
        let mut latency = Latency::default();
        for ms in 1..=98 {
            latency.record(SimDuration::from_millis(ms));
        }
        latency.record_infinite();
        latency.record_infinite();
        let ms = |q: f64| latency.quantile(q).unwrap().as_millis_f64();
        assert!((ms(0.5) - 50.0).abs() < 0.05);
        assert!((ms(0.98) - 98.0).abs() < 0.1);
        assert_eq!(latency.quantile(0.99), Some(SimDuration::MAX));
        assert_eq!(latency.mean_secs(), Some(f64::INFINITY));
    }

    #[test]
    fn quantiles_are_of_their_rank() {
        for count in 1..=400_u64 {
            let mut latency = Latency::default();
            (1..=count).for_each(|ms| latency.record(SimDuration::from_millis(ms)));
            for (q, rank) in [(0.5, count.div_ceil(2)), (0.9, (9 * count).div_ceil(10)), (1.0, count)] {
                let ms = latency.quantile(q).unwrap().as_millis_f64();
                assert!((ms - rank as f64).abs() <= 0.001 * rank as f64, "{q} of {count}: {ms}");
            }
        }
    }

    #[test]
    fn an_outline_keeps_counts_and_is_coarse() {
        let mut latency = Latency::default();
        (1_000..20_000).for_each(|us| latency.record_n(us * 1_000, 2));
        let (all, outline) = (latency.buckets().count(), latency.outline());
        assert_eq!(outline.iter().map(|(_, count)| count).sum::<u64>(), 38_000);
        assert!(outline.len() < all / 5, "{} of {all}", outline.len());
        assert!(outline.windows(2).all(|w| w[0].0 < w[1].0 && w[1].0 <= w[0].0 * 102 / 100));
    }

    #[test]
    fn error_is_at_most_a_thousandth() {
        for nanos in [1, 999, 12_345, 80_000_001, 3_600_000_000_000] {
            let mut latency = Latency::default();
            latency.record_n(nanos, 1);
            let read = latency.quantile(0.5).unwrap().as_nanos();
            assert!(read.abs_diff(nanos) * 1000 <= nanos, "{nanos} {read}");
        }
    }
}
