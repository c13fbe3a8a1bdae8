#![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]

use super::*;
use crate::policy::fixture::World;

/// Upstream's loop once more, plainly: one call a tick.
struct Plain {
    spec: RaySpec,
    counter: i64,
    target: u32,
}

impl Plain {
    fn tick(&mut self, running: u32, total: f64) {
        let config = &self.spec.autoscaling_config;
        let bound = |n: f64| n.min(f64::from(config.max_replicas)).max(f64::from(config.min_replicas));
        if running == 0 {
            let woken = config.upscaling_factor.ceil().max(f64::from(self.target));
            self.target = bound(if total > 0.0 { woken } else { f64::from(self.target) }) as u32;
            return;
        }
        let n = f64::from(running);
        let wanted = total / config.target_ongoing_requests;
        let factor = if wanted > n { config.upscaling_factor } else { config.downscaling_factor };
        let mut scaled = (n + factor * (wanted - n)).ceil();
        if wanted.ceil() < n && scaled == n {
            scaled -= 1.0;
        }
        let mut desired = bound(scaled) as u32;
        #[expect(clippy::comparison_chain, reason = "as upstream writes it")]
        if desired > self.target {
            self.counter = self.counter.max(0) + 1;
            if self.counter > (config.upscale_delay_s / 0.1) as i64 {
                (self.counter, self.target) = (0, desired);
            }
        } else if desired < self.target {
            self.counter = self.counter.min(0) - 1;
            let delay = if self.target == 1 {
                config.downscale_to_zero_delay_s.unwrap_or(config.downscale_delay_s)
            } else {
                desired = desired.max(1);
                config.downscale_delay_s
            };
            if self.counter < -((delay / 0.1) as i64) {
                (self.counter, self.target) = (0, desired);
            }
        } else {
            self.counter = 0;
        }
    }
}

/// Small whole numbers, always the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

fn random_spec(draw: &mut Draw) -> RaySpec {
    let mut spec = RaySpec { phase: Some(SimDuration::from_millis(draw.below(1000))), ..RaySpec::default() };
    let config = &mut spec.autoscaling_config;
    config.min_replicas = draw.below(2) as u32;
    config.max_replicas = draw.of(&[2, 5, 20]);
    config.target_ongoing_requests = draw.of(&[1.0, 2.0, 3.5]);
    (config.metrics_interval_s, config.look_back_period_s) = (1.0, 3.0);
    config.upscaling_factor = draw.of(&[0.3, 1.0, 2.5]);
    config.downscaling_factor = draw.of(&[0.3, 0.6, 1.0]);
    config.upscale_delay_s = draw.of(&[0.0, 0.3, 0.7, 2.0]);
    config.downscale_delay_s = draw.of(&[0.0, 0.4, 2.5]);
    config.downscale_to_zero_delay_s = draw.of(&[None, Some(0.0), Some(1.0)]);
    spec
}

const MS: u64 = 1_000_000;

/// What happens at a millisecond.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Happening {
    /// A report; until the next one so many requests are in the system.
    Report(u64),
    /// So many replicas run from now on.
    Running(u32),
    /// A request finds no replica.
    Held,
}

fn happenings(draw: &mut Draw, first_ms: u64, end_ms: u64) -> Vec<(u64, Happening)> {
    let mut list: Vec<(u64, Happening)> = (first_ms..end_ms)
        .step_by(1000)
        .map(|at| (at, Happening::Report(draw.of(&[0, 0, 1, 3, 8, 30]))))
        .collect();
    for _ in 0..12 {
        list.push((draw.below(end_ms), Happening::Running(draw.of(&[0, 0, 1, 2, 4]))));
        list.push((draw.below(end_ms), Happening::Held));
    }
    list.sort_by_key(|(at, what)| {
        (*at, matches!(what, Happening::Held), matches!(what, Happening::Report(_)))
    });
    list
}

/// (ms of the tick, target) of each change, by ticking.
fn ticked(spec: &RaySpec, list: &[(u64, Happening)], end_ms: u64) -> Vec<(u64, u32)> {
    let mut plain = Plain { spec: spec.clone(), counter: 0, target: 2 };
    let (mut running, mut held, mut in_flight) = (2_u32, 0_u64, 0_u64);
    // In-flight requests of each ms so far; a report's mean is over the last 3000.
    let mut past: Vec<u64> = Vec::new();
    let (mut total, mut changes, mut index, mut first) = (0.0, Vec::new(), 0, None);
    for ms in 0..end_ms {
        while let Some((_, what)) = list.get(index).filter(|(at, _)| *at == ms) {
            match what {
                Happening::Running(count) => {
                    running = *count;
                    held = if running > 0 { 0 } else { held };
                }
                Happening::Held => held = if running == 0 { held + 1 } else { 0 },
                Happening::Report(next) => {
                    let seen = &past[past.len().saturating_sub(3000)..];
                    total = if seen.is_empty() {
                        in_flight as f64
                    } else {
                        seen.iter().sum::<u64>() as f64 / seen.len() as f64
                    };
                    in_flight = *next;
                    first.get_or_insert(ms);
                }
            }
            index += 1;
        }
        if first.is_some_and(|first| (ms - first) % 100 == 0) {
            let before = plain.target;
            let visible = if running == 0 { held as f64 } else { 0.0 };
            plain.tick(running, f64::max(total, visible));
            if plain.target != before {
                changes.push((ms, plain.target));
            }
        }
        past.push(in_flight);
    }
    changes
}

/// The same by the policy, which is asked when its loop or its timer says so; and how often it was asked.
fn jumped(spec: &RaySpec, list: &[(u64, Happening)], end_ms: u64) -> (Vec<(u64, u32)>, usize) {
    let mut policy = Ray::new(spec);
    let mut world = World::ready(0, 2);
    let (mut changes, mut asked, mut index) = (Vec::new(), 0, 0);
    let (mut in_flight, mut integral, mut until) = (0_u64, 0_u128, 0_u64);
    loop {
        let timer = policy.timer().map(|at| at.as_nanos().div_ceil(MS));
        let event = list.get(index).map(|(at, _)| *at);
        // At one instant the events come first, as reports do in a run.
        let ms = [event, timer].into_iter().flatten().min().unwrap_or(end_ms);
        if ms >= end_ms {
            return (changes, asked);
        }
        integral += u128::from(in_flight) * u128::from((ms - until) * MS);
        until = ms;
        world.now = SimTime::from_nanos(ms * MS);
        world.gateway.meter.concurrency_ns = integral;
        world.gateway.running = in_flight;
        let decision = if event == Some(ms) {
            let (_, what) = list[index];
            index += 1;
            match what {
                Happening::Running(count) => {
                    world.pods = World::ready(0, count).pods;
                    world.gateway.held = if count > 0 { 0 } else { world.gateway.held };
                    policy.pods_changed(world.now);
                    None
                }
                Happening::Held => {
                    world.gateway.held = if world.pods.is_empty() { world.gateway.held + 1 } else { 0 };
                    policy.request_held(world.now);
                    None
                }
                Happening::Report(next) => {
                    asked += 1;
                    let decision = policy.decide(0, &world.view());
                    in_flight = next;
                    decision
                }
            }
        } else {
            asked += 1;
            policy.timed(&world.view()).map(|(_, decision)| decision)
        };
        if let Some(decision) = decision {
            assert_eq!(decision.path, Path::Proxied);
            world.replicas = decision.replicas;
            changes.push((ms, decision.replicas));
        }
    }
}

#[test]
fn jumping_decides_as_ticking_does() {
    let (end_ms, mut changes, mut turns) = (40_000, 0, 0);
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let spec = random_spec(&mut draw);
        assert_eq!(spec.check(), vec![], "{seed}");
        let first_ms = spec.phase.expect("it has one").as_nanos() / MS;
        let list = happenings(&mut draw, first_ms, end_ms);
        let expected = ticked(&spec, &list, end_ms);
        let (found, asked) = jumped(&spec, &list, end_ms);
        assert_eq!(found, expected, "{seed}: {spec:?}\n{list:?}");
        (changes, turns) = (changes + found.len(), turns + asked);
    }
    assert!(changes > 2000, "hardly anything was decided: {changes}");
    // 400 ticks each; most are passed over.
    assert!(turns < 300 * 400 / 2, "{turns}");
}

#[test]
fn an_hour_of_the_same_load_takes_a_turn_a_report() {
    let mut spec = RaySpec { phase: Some(SimDuration::ZERO), ..RaySpec::default() };
    spec.autoscaling_config.max_replicas = 20;
    let list: Vec<(u64, Happening)> = (0..360).map(|index| (index * 10_000, Happening::Report(8))).collect();
    let (changes, asked) = jumped(&spec, &list, 3_600_000);
    // The report at 10 s tells of 8 requests each on 2 replicas of a target of 2; the 301st tick from there acts.
    assert_eq!((changes, asked), (vec![(40_000, 4)], 360));
}

#[test]
fn the_mean_is_over_the_look_back_period() {
    let mut spec = RaySpec::default();
    spec.autoscaling_config.look_back_period_s = 25.0;
    let mut policy = Ray::new(&spec);
    let mut world = World::ready(0, 1);
    let mut at = |now_s: u64, request_seconds: u64| {
        world.now = SimTime::from_secs(now_s);
        world.gateway.meter.concurrency_ns = u128::from(request_seconds) * 1_000_000_000;
        policy.decide(0, &world.view());
        policy.reported
    };
    assert_eq!((at(10, 20), at(20, 20)), (2.0, 1.0));
    // From 5 s on: half of the first 20 request-seconds, then none, then 50.
    assert_eq!(at(30, 70), 60.0 / 25.0);
    assert_eq!(at(40, 70), 50.0 / 25.0);
}
