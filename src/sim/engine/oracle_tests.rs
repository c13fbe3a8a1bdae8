//! The fast engine against the stepped one, over random small worlds.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::profile::step_time::{Cell, LinearLayers, Plane, PrefillCost};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Log {
    facts: Vec<(u64, &'static str, u32, u64)>,
    /// ns of a token -> how many.
    gaps: BTreeMap<u64, u64>,
    decode_fs: u128,
    /// Tokens of keep-warm requests after the first.
    unasked: u64,
    steps: (u64, u64),
    prefilled: u64,
    gauges: Vec<(Gauges, SimDuration)>,
}

impl Sink for Log {
    fn scheduled(&mut self, slot: u32, at: SimTime) {
        self.facts.push((at.as_nanos(), "scheduled", slot, 0));
    }
    fn first_token(&mut self, slot: u32, at: SimTime) {
        self.facts.push((at.as_nanos(), "first", slot, 0));
    }
    fn finished(&mut self, slot: u32, at: SimTime, gap_max_ns: u64) {
        self.facts.push((at.as_nanos(), "finished", slot, gap_max_ns));
    }
    fn preempted(&mut self, slot: u32, at: SimTime) {
        self.facts.push((at.as_nanos(), "preempted", slot, 0));
    }
    fn decoded(&mut self, run: DecodeRun) {
        self.unasked += run.steps * u64::from(run.unasked);
        for i in 0..run.steps {
            let fs = (run.first_fs as i64 + run.rise_fs * i as i64) as u64;
            *self.gaps.entry(clock::ceil_ns(fs)).or_default() += u64::from(run.batch);
            self.decode_fs += u128::from(fs) * u128::from(run.batch);
        }
    }
    fn gap(&mut self, slot: u32, gap: SimDuration) {
        *self.gaps.entry(gap.as_nanos()).or_default() += 1;
        self.unasked += u64::from(slot == KEEP_WARM);
    }
    fn prefilled(&mut self, tokens: u64) {
        self.prefilled += tokens;
    }
    fn stepped(&mut self, steps: u64, extrapolated: u64) {
        self.steps.0 += steps;
        self.steps.1 += extrapolated;
    }
    fn stalled(&mut self, penalty: SimDuration) {
        self.facts.push((0, "stalled", 0, penalty.as_nanos()));
    }
}

#[derive(Clone, Debug)]
struct World {
    params: BatchParams,
    /// (gap to the one before in us, prompt, output, given up after us)
    requests: Vec<(u64, u32, u32, Option<u64>)>,
    /// Period of settling, us.
    scrape_us: u64,
}

fn run(world: &World, mut engine: Engine) -> Log {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Input {
        Submit(u32),
        Abort(u32),
        Scrape,
    }
    let us = |n: u64| SimTime::from_nanos(n * 1_000);
    let mut inputs = Vec::new();
    let mut at = 0;
    for (slot, (gap, _, _, abort)) in world.requests.iter().enumerate() {
        at += gap;
        inputs.push((us(at), Input::Submit(slot as u32)));
        if let Some(after) = abort {
            inputs.push((us(at + after), Input::Abort(slot as u32)));
        }
    }
    inputs.extend((1..200).map(|i| (us(i * world.scrape_us), Input::Scrape)));
    inputs.sort_unstable();
    let cooling: Arc<[SimDuration]> = [12_345, 3_210, 1].map(SimDuration::from_nanos).into();
    let mut log = Log::default();
    let mut tickets = BTreeMap::new();
    let mut inputs = inputs.into_iter().peekable();
    loop {
        // An idle engine is woken after all arrivals of the same instant.
        let idle = engine.gauges().running == 0;
        let turn = engine.next_turn();
        let input_first = match (turn, inputs.peek()) {
            (None, None) => break,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(t), Some((i, _))) => *i < t || (*i == t && idle),
        };
        if !input_first {
            engine.turn(turn.expect("a turn was due"), &mut log);
            continue;
        }
        let (now, input) = inputs.next().expect("an input was peeked");
        match input {
            Input::Submit(slot) => {
                let (_, prompt_tokens, output_tokens, _) = world.requests[slot as usize];
                // Every seventh is nobody's, and some come to an engine that has gone cold.
                let unasked = slot % 7 == 3 && world.requests[slot as usize].3.is_none();
                let own = if unasked { KEEP_WARM } else { slot };
                let job = Job { slot: own, prompt_tokens, output_tokens, service: SimDuration::ZERO };
                if engine.next_turn().is_none() && slot % 3 > 0 {
                    engine.cool(&cooling);
                }
                tickets.insert(slot, engine.submit(now, job).expect("batching engines never refuse"));
            }
            Input::Abort(slot) => {
                let ended = log.facts.iter().any(|f| f.1 == "finished" && f.2 == slot);
                if !ended {
                    engine.abort(now, tickets[&slot]);
                }
            }
            Input::Scrape => {
                engine.settle(now, &mut log);
                log.gauges.push((engine.gauges(), engine.busy(now)));
            }
        }
    }
    let gauges = engine.gauges();
    assert_eq!((gauges.running, gauges.waiting, gauges.blocks_used), (0, 0, 0), "everything is given back");
    log
}

fn cost(base: i64, per_seq: i64, slopes: &[(u64, i64)], linear: bool) -> StepCost {
    let row = |batch: i64| {
        let mut cells = Vec::new();
        let (mut from, mut at) = (0, base + per_seq * batch);
        for (i, &(len, slope_fs)) in slopes.iter().enumerate() {
            let last = i + 1 == slopes.len();
            let kv_to = if last { u64::MAX } else { from + len };
            cells.push(Cell { kv_from: from, kv_to, at_from_fs: at, slope_fs, extrapolated: last });
            at += slope_fs * len as i64;
            from += len;
        }
        cells
    };
    let planes = vec![
        Plane { base_fs: 2_000_000_123, per_token_fs: 10_000_007, per_work_fs: 1_003 },
        Plane { base_fs: 9_000_000_000, per_token_fs: 1_000_003, per_work_fs: 0 },
    ];
    let prefill = PrefillCost::MaxPlanes { planes, measured_tokens: 40 };
    let linear = linear.then(|| LinearLayers {
        points: vec![(0, 1_000_000_000), (16, 1_010_000_000), (64, 1_100_000_000)],
        attention_per_work_fs: 700,
    });
    StepCost::new((1..=32).map(row).collect(), prefill, linear, 5_000_001)
}

fn worlds() -> impl Strategy<Value = World> {
    let request = (
        prop_oneof![Just(0u64), 1u64..60, 200u64..3_000],
        1u32..120,
        1u32..90,
        prop::option::weighted(0.1, 1u64..2_000),
    );
    let slopes =
        prop::collection::vec((1u64..400, prop_oneof![Just(0i64), 1i64..90_000, -2_000i64..0]), 1..4);
    (
        prop::collection::vec(request, 1..60),
        (1u32..32, 32u32..100, 14u64..80),
        (1_000_000_000i64..20_000_000_000, 0i64..300_000_000, slopes, any::<bool>()),
        prop::collection::vec(0u64..40_000_000_000, 0..4),
        20u64..4_000,
    )
        .prop_map(
            |(
                requests,
                (max_num_seqs, budget, kv_blocks),
                (base, per_seq, slopes, linear),
                pen,
                scrape_us,
            )| {
                World {
                    params: BatchParams {
                        cost: Arc::new(cost(base, per_seq, &slopes, linear)),
                        max_num_batched_tokens: budget,
                        max_num_seqs,
                        kv_blocks,
                        max_model_len: u32::MAX,
                        penalties_fs: pen.into(),
                        track_gaps: true,
                    },
                    requests,
                    scrape_us,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]
    #[test]
    fn fast_forward_is_exact(world in worlds()) {
        let params = Arc::new(world.params.clone());
        let fast = run(&world, Engine::Continuous(Box::new(Continuous::new(params.clone()))));
        let slow = run(&world, Engine::Stepped(Box::new(Stepped::new(params))));
        prop_assert_eq!(fast, slow);
    }
}

#[test]
fn random_worlds_reach_every_corner() {
    // The property above proves little if its worlds are all easy: count what they contain.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..200 {
        let world = worlds().new_tree(&mut runner).expect("worlds are never rejected").current();
        let params = Arc::new(world.params.clone());
        let log = run(&world, Engine::Continuous(Box::new(Continuous::new(params))));
        let has = |kind: &str| log.facts.iter().any(|f| f.1 == kind);
        let mut note = |kind, yes: bool| *seen.entry(kind).or_default() += u32::from(yes);
        note("preempted", has("preempted"));
        note("stalled", has("stalled"));
        note("extrapolated", log.steps.1 > 0);
        note("chunked", world.requests.iter().any(|r| r.1 > world.params.max_num_batched_tokens));
        note("given up", world.requests.iter().any(|r| r.3.is_some()));
        note("unasked", log.unasked > 0);
        let cold = |f: &(u64, &str, u32, u64)| f.1 == "stalled" && f.3 == 12_345;
        note("gone cold", log.facts.iter().any(cold));
    }
    for (kind, worlds) in &seen {
        assert!(*worlds >= 40, "{kind} in only {worlds} of 200 worlds");
    }
    assert_eq!(seen.len(), 7);
}
