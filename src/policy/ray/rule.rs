//! The decision of each tick of Ray Serve's control loop, and when the next one comes that changes anything.
//!
//! The loop ticks every 0.1 s. Between two reports of the replicas its inputs stand still, so any number of ticks has a
//! closed form: [`Counter::acts_in`] says which one acts, [`Counter::skip`] passes over those before it.

/// From one tick of the control loop to the next, s (`CONTROL_LOOP_INTERVAL_S`).
pub const CONTROL_LOOP_INTERVAL_S: f64 = 0.1;

/// How many ticks in a row must agree before the next one acts: `int(delay / interval)`, in upstream's doubles.
pub fn delay_ticks(delay_s: f64) -> i64 {
    (delay_s / CONTROL_LOOP_INTERVAL_S) as i64
}

/// The settings of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `min_replicas`.
    pub min: u32,
    /// `max_replicas`.
    pub max: u32,
    /// `target_ongoing_requests`, of a replica.
    pub target_ongoing_requests: f64,
    /// `upscaling_factor`.
    pub upscaling_factor: f64,
    /// `downscaling_factor`.
    pub downscaling_factor: f64,
    /// `upscale_delay_s` in ticks.
    pub upscale_ticks: i64,
    /// `downscale_delay_s` in ticks.
    pub downscale_ticks: i64,
    /// `downscale_to_zero_delay_s` in ticks.
    pub downscale_to_zero_ticks: i64,
}

/// What a tick goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Replicas that run.
    pub running: u32,
    /// Requests that run or wait, mean over the look-back period.
    pub total: f64,
    /// The target number of replicas; beyond `running` while some start.
    pub target: u32,
}

/// What a tick wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// This many, now.
    Now(u32),
    /// This many, once enough ticks in a row have wanted more.
    More(u32),
    /// This many, once enough ticks in a row, so many, have wanted fewer.
    Fewer(u32, i64),
    /// What is there.
    Same,
}

impl Rules {
    fn bounded(&self, replicas: i64) -> u32 {
        replicas.min(i64::from(self.max)).max(i64::from(self.min)) as u32
    }

    /// Replicas that so many requests ask for beside so many that run, at least one: the factor and the bounds applied.
    pub fn desired(&self, running: u32, total: f64) -> u32 {
        let running_f = f64::from(running);
        // Upstream writes `n * (total / (target * n))`, whose rounding may show at whole numbers; the conformance vectors divide.
        let raw = total / self.target_ongoing_requests;
        let delta = raw - running_f;
        let factor = if delta > 0.0 { self.upscaling_factor } else { self.downscaling_factor };
        let mut scaled = (running_f + factor * delta).ceil() as i64;
        if raw.ceil() < running_f && scaled == i64::from(running) {
            scaled -= 1;
        }
        self.bounded(scaled)
    }

    /// Whether a request that finds no replica changes this target.
    pub fn wakes(&self, target: u32) -> bool {
        matches!(self.wish(Inputs { running: 0, total: 1.0, target }), Wish::Now(_))
    }

    fn wish(&self, inputs: Inputs) -> Wish {
        let Inputs { running, total, target } = inputs;
        if running == 0 {
            let least = if total > 0.0 { self.upscaling_factor.ceil() as i64 } else { 0 };
            let wanted = self.bounded(least.max(i64::from(target)));
            return if wanted == target { Wish::Same } else { Wish::Now(wanted) };
        }
        let desired = self.desired(running, total);
        match desired.cmp(&target) {
            std::cmp::Ordering::Greater => Wish::More(desired),
            std::cmp::Ordering::Equal => Wish::Same,
            // Zero is reached from one only, after a delay of its own.
            std::cmp::Ordering::Less if target == 1 => Wish::Fewer(desired, self.downscale_to_zero_ticks),
            std::cmp::Ordering::Less => {
                Wish::Fewer(self.bounded(i64::from(desired.max(1))), self.downscale_ticks)
            }
        }
    }
}

/// Ticks in a row that wanted more (above 0) or fewer (below).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(i64);

impl Counter {
    /// One tick: the target after it.
    pub fn tick(&mut self, rules: &Rules, inputs: Inputs) -> u32 {
        let acts = self.acts_in(rules, inputs) == Some(1);
        match rules.wish(inputs) {
            Wish::Now(wanted) => wanted,
            Wish::More(wanted) | Wish::Fewer(wanted, _) if acts => {
                *self = Self::default();
                wanted
            }
            _ => {
                self.skip(rules, inputs, 1);
                inputs.target
            }
        }
    }

    /// Which of the ticks to come acts, the next being 1, while the inputs stay as they are; `None` if none does.
    pub fn acts_in(self, rules: &Rules, inputs: Inputs) -> Option<u64> {
        let so_far_and_needed = match rules.wish(inputs) {
            Wish::Now(_) => return Some(1),
            Wish::Same => return None,
            Wish::More(_) => (self.0.max(0), rules.upscale_ticks),
            Wish::Fewer(_, ticks) => (self.0.min(0).saturating_neg(), ticks),
        };
        let (so_far, needed) = so_far_and_needed;
        Some(u64::try_from(needed.saturating_sub(so_far).saturating_add(1)).unwrap_or(0).max(1))
    }

    /// So many ticks, of which none acts.
    pub fn skip(&mut self, rules: &Rules, inputs: Inputs, ticks: u64) {
        if ticks == 0 || inputs.running == 0 {
            return;
        }
        let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
        self.0 = match rules.wish(inputs) {
            Wish::More(_) => self.0.max(0).saturating_add(ticks),
            Wish::Fewer(..) => self.0.min(0).saturating_sub(ticks),
            Wish::Same | Wish::Now(_) => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            min: 1,
            max: 20,
            target_ongoing_requests: 2.0,
            upscaling_factor: 1.0,
            downscaling_factor: 1.0,
            upscale_ticks: delay_ticks(30.0),
            downscale_ticks: delay_ticks(600.0),
            downscale_to_zero_ticks: delay_ticks(600.0),
        }
    }

    #[test]
    fn factors_and_bounds_shape_what_is_desired() {
        let check = |up: f64, down: f64, running: u32, total: f64, expected: u32| {
            let rules = Rules { upscaling_factor: up, downscaling_factor: down, ..rules() };
            assert_eq!(rules.desired(running, total), expected, "{up} {down} {running} {total}");
        };
        check(1.0, 1.0, 4, 8.0, 4);
        check(1.0, 1.0, 4, 8.1, 5);
        check(1.0, 1.0, 4, 1e9, 20);
        check(1.0, 1.0, 4, 0.0, 1);
        check(0.5, 1.0, 4, 24.0, 8);
        check(1.0, 0.5, 4, 4.0, 3);
        // ceil(4 - 0.1 * 2) is 4: stuck, so one goes.
        check(1.0, 0.1, 4, 4.0, 3);
    }

    #[test]
    fn delays_are_counted_in_ticks() {
        // 0.7 / 0.1 is a little less than 7 in doubles.
        assert_eq!([0.0, 0.05, 0.5, 0.7, 30.0, 600.0].map(delay_ticks), [0, 0, 5, 6, 300, 6000]);
        let inputs = Inputs { running: 2, total: 10.0, target: 2 };
        let mut counter = Counter::default();
        assert_eq!(counter.acts_in(&rules(), inputs), Some(301));
        assert!((0..300).all(|_| counter.tick(&rules(), inputs) == 2));
        assert_eq!(counter.acts_in(&rules(), inputs), Some(1));
        assert_eq!((counter.tick(&rules(), inputs), counter), (5, Counter(0)));
    }

    #[test]
    fn a_turn_of_the_wish_begins_the_count_anew() {
        let mut counter = Counter::default();
        let (up, same, down) = (
            Inputs { running: 2, total: 10.0, target: 2 },
            Inputs { running: 2, total: 4.0, target: 2 },
            Inputs { running: 2, total: 1.0, target: 2 },
        );
        let mut after = |inputs, ticks| {
            counter.skip(&rules(), inputs, ticks);
            counter.0
        };
        let counts =
            [after(up, 200), after(down, 5), after(down, 5), after(up, 1), after(same, 1), after(same, 9)];
        assert_eq!(counts, [200, -5, -10, 1, 0, 0]);
    }

    #[test]
    fn zero_is_left_at_once_and_reached_from_one() {
        let rules = Rules {
            min: 0,
            upscaling_factor: 2.5,
            downscale_ticks: 3,
            downscale_to_zero_ticks: 5,
            ..rules()
        };
        let at = |running, total, target| Inputs { running, total, target };
        let check = |inputs, acts_in, then| {
            let mut counter = Counter::default();
            assert_eq!(counter.acts_in(&rules, inputs), acts_in, "{inputs:?}");
            counter.skip(&rules, inputs, acts_in.map_or(0, |ticks| ticks - 1));
            assert_eq!(counter.tick(&rules, inputs), then, "{inputs:?}");
        };
        check(at(0, 0.0, 0), None, 0);
        check(at(0, 1.0, 0), Some(1), 3);
        check(at(0, 9.0, 4), None, 4);
        check(at(4, 0.0, 4), Some(4), 1);
        check(at(1, 0.0, 1), Some(6), 0);
    }
}
