//! Rates that change over time, and the instants at which they have let n requests pass.
//!
//! Every synthetic arrival process is a renewal process with unit mean, run through the
//! inverse of its cumulated rate: with exponential gaps that is exactly the Poisson
//! process of that rate. All in f64 seconds; an arrival is rounded to ns at the end.

use rand::rngs::ChaCha8Rng;

use crate::kernel::dist::exponential;

/// A stretch of time in which the rate is constant or a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    /// Its length, s; the last one may be infinite.
    pub secs: f64,
    /// Rate at its beginning, requests/s.
    pub from: f64,
    /// Rate at its end, requests/s.
    pub to: f64,
}

impl Stretch {
    /// A constant rate.
    pub fn flat(secs: f64, rate: f64) -> Self {
        Self { secs, from: rate, to: rate }
    }

    fn is_flat(&self) -> bool {
        self.from.total_cmp(&self.to).is_eq()
    }

    /// Requests in its first `secs` seconds.
    fn mass_until(&self, secs: f64) -> f64 {
        if self.is_flat() {
            return if self.from == 0.0 { 0.0 } else { self.from * secs };
        }
        secs * (self.from + 0.5 * (self.to - self.from) * (secs / self.secs))
    }

    /// Requests in all of it.
    pub fn mass(&self) -> f64 {
        self.mass_until(self.secs)
    }

    /// Seconds until `mass` requests, at most [`Self::mass`], have passed.
    fn locate(&self, mass: f64) -> f64 {
        if self.is_flat() {
            return mass / self.from;
        }
        // The root of slope/2 x² + from x = mass in the form that does not cancel.
        let slope = (self.to - self.from) / self.secs;
        let root = libm::sqrt((self.from * self.from + 2.0 * slope * mass).max(0.0));
        (2.0 * mass / (self.from + root)).min(self.secs)
    }
}

/// How the rate changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rate {
    /// Always the same, requests/s.
    Flat(f64),
    /// One stretch after another; when they end they start over, or the traffic ends.
    Stretches { stretches: Vec<Stretch>, again: bool },
    /// `mean (1 + swing cos(2 pi (t - peak) / period))`, in requests/s and s.
    Cosine { mean: f64, swing: f64, period: f64, peak: f64 },
    /// Two rates that take turns, each for an exponential time (a Markov-modulated Poisson process).
    OnOff { on: Phase, off: Phase },
}

/// One of the two phases of [`Rate::OnOff`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Phase {
    /// Mean length, s.
    pub mean_secs: f64,
    /// Rate, requests/s.
    pub rate: f64,
}

impl Rate {
    /// Expected requests in the first `secs` seconds.
    pub fn mass(&self, secs: f64) -> f64 {
        match self {
            Self::Flat(rate) => rate * secs,
            Self::Stretches { stretches, again } => {
                let cycle_secs: f64 = stretches.iter().map(|s| s.secs).sum();
                let cycles = if *again && cycle_secs > 0.0 { libm::floor(secs / cycle_secs) } else { 0.0 };
                let mut left = if cycles > 0.0 { secs - cycles * cycle_secs } else { secs };
                let mut mass = if cycles > 0.0 {
                    cycles * stretches.iter().map(Stretch::mass).sum::<f64>()
                } else {
                    0.0
                };
                for stretch in stretches {
                    mass += stretch.mass_until(left.min(stretch.secs));
                    left -= stretch.secs;
                    if left <= 0.0 {
                        break;
                    }
                }
                mass
            }
            Self::Cosine { mean, .. } => self.cosine_mass(secs).unwrap_or(mean * secs),
            Self::OnOff { on, off } => {
                let requests = on.rate * on.mean_secs + off.rate * off.mean_secs;
                secs * requests / (on.mean_secs + off.mean_secs)
            }
        }
    }

    fn cosine_mass(&self, secs: f64) -> Option<f64> {
        let Self::Cosine { mean, swing, period, peak } = self else { return None };
        let turn = 2.0 * std::f64::consts::PI / period;
        let wave = libm::sin(turn * (secs - peak)) + libm::sin(turn * peak);
        Some(mean * (secs + swing / turn * wave))
    }

    /// A reader of this rate from time 0 on.
    pub fn follow(&self) -> Follow<'_> {
        Follow { rate: self, index: 0, secs: 0.0, mass: 0.0, phase: None }
    }
}

/// Walks along a rate; times asked for never run back.
pub(super) struct Follow<'a> {
    rate: &'a Rate,
    index: usize,
    /// Where the current stretch began, s.
    secs: f64,
    /// Requests before it.
    mass: f64,
    phase: Option<Stretch>,
}

impl Follow<'_> {
    /// Seconds until `mass` requests have passed; `None` if that never happens.
    pub fn locate(&mut self, mass: f64, rng: &mut ChaCha8Rng) -> Option<f64> {
        let secs = match self.rate {
            Rate::Flat(rate) => mass / rate,
            Rate::Stretches { stretches, again } => self.locate_stretch(stretches, *again, mass)?,
            Rate::Cosine { mean, period, .. } => self.locate_cosine(mass, *mean, *period)?,
            Rate::OnOff { on, off } => self.locate_on_off(*on, *off, mass, rng),
        };
        secs.is_finite().then_some(secs)
    }

    fn locate_stretch(&mut self, stretches: &[Stretch], again: bool, mass: f64) -> Option<f64> {
        loop {
            let Some(stretch) = stretches.get(self.index) else {
                let cycle: f64 = stretches.iter().map(Stretch::mass).sum();
                if !again || cycle <= 0.0 {
                    return None;
                }
                // Whole cycles without a request are passed in one go.
                let skipped = libm::floor((mass - self.mass) / cycle).max(0.0);
                self.mass += skipped * cycle;
                self.secs += skipped * stretches.iter().map(|s| s.secs).sum::<f64>();
                self.index = 0;
                continue;
            };
            let within = mass - self.mass;
            // At the very end of a stretch without rate the next one is meant.
            if within <= stretch.mass() && stretch.mass() > 0.0 {
                return Some(self.secs + stretch.locate(within.max(0.0)));
            }
            self.secs += stretch.secs;
            self.mass += stretch.mass();
            self.index += 1;
        }
    }

    fn locate_cosine(&mut self, mass: f64, mean: f64, period: f64) -> Option<f64> {
        // The wave shifts an arrival by at most a third of a period, so the root is bracketed; bisection stops at the
        // last bit and is the same on every platform.
        let (mut low, mut high) = ((mass / mean - period).max(self.secs), mass / mean + period);
        while high - low > 1e-10 * (1.0 + high) {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.rate.cosine_mass(middle)? < mass {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.secs = low;
        Some(high)
    }

    fn locate_on_off(&mut self, on: Phase, off: Phase, mass: f64, rng: &mut ChaCha8Rng) -> f64 {
        loop {
            let stretch = *self.phase.get_or_insert_with(|| {
                let phase = if self.index.is_multiple_of(2) { off } else { on };
                Stretch::flat(exponential(rng) * phase.mean_secs, phase.rate)
            });
            if mass - self.mass <= stretch.mass() && stretch.from > 0.0 {
                return self.secs + stretch.locate((mass - self.mass).max(0.0));
            }
            self.secs += stretch.secs;
            self.mass += stretch.mass();
            self.index += 1;
            self.phase = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;
    use crate::kernel::rng::Purpose;
    use proptest::prelude::*;

    fn check(rate: &Rate, mass: f64, expected: Option<f64>) {
        let mut rng = Streams::new(1, 0).stream(Purpose::Arrivals, 0);
        let secs = rate.follow().locate(mass, &mut rng);
        match (secs, expected) {
            (Some(secs), Some(expected)) => {
                assert!((secs - expected).abs() < 1e-6, "{rate:?} {mass}: {secs}");
            }
            _ => assert_eq!(secs, expected, "{rate:?} {mass}"),
        }
    }

    #[test]
    fn instants_are_where_the_cumulated_rate_says() {
        check(&Rate::Flat(4.0), 10.0, Some(2.5));
        let spike = Rate::Stretches {
            stretches: vec![
                Stretch::flat(10.0, 1.0),
                Stretch::flat(5.0, 4.0),
                Stretch::flat(f64::INFINITY, 1.0),
            ],
            again: false,
        };
        check(&spike, 10.0, Some(10.0));
        check(&spike, 14.0, Some(11.0));
        check(&spike, 31.0, Some(16.0));
        let ramp =
            Rate::Stretches { stretches: vec![Stretch { secs: 10.0, from: 0.0, to: 2.0 }], again: true };
        check(&ramp, 2.5, Some(5.0));
        check(&ramp, 1_000_002.5, Some(1_000_005.0));
        let once = Rate::Stretches { stretches: vec![Stretch::flat(10.0, 1.0)], again: false };
        check(&once, 10.5, None);
        let late = Rate::Stretches {
            stretches: vec![Stretch::flat(10.0, 0.0), Stretch::flat(1.0, 1.0)],
            again: true,
        };
        check(&late, 0.0, Some(10.0));
        check(&Rate::Cosine { mean: 2.0, swing: 1.0, period: 100.0, peak: 30.0 }, 200.0, Some(100.0));
    }

    proptest! {
        #[test]
        fn locating_and_cumulating_are_inverse(
            parts in proptest::collection::vec((0.1f64..20.0, 0.0f64..9.0, 0.1f64..9.0), 1..6),
            share in 0.0f64..3.0, swing in 0.0f64..1.0,
        ) {
            let mut rng = Streams::new(1, 0).stream(Purpose::Arrivals, 0);
            let stretches: Vec<Stretch> =
                parts.iter().map(|&(secs, from, to)| Stretch { secs, from, to }).collect();
            let total: f64 = stretches.iter().map(Stretch::mass).sum();
            let curves = [
                Rate::Stretches { stretches, again: true },
                Rate::Cosine { mean: 3.0, swing, period: 50.0, peak: 10.0 },
            ];
            for rate in curves {
                let secs = rate.follow().locate(share * total, &mut rng).unwrap();
                prop_assert!((rate.mass(secs) - share * total).abs() < 1e-5, "{} {}", rate.mass(secs), share * total);
            }
        }
    }
}
