//! What a scenario and its profile say together of warm-up: compile caches, cooling, keep-warm requests, spares that sleep.

use indexmap::IndexMap;

use super::resolve::Resolver;
use super::resolve_storage::drawn;
use crate::kernel::{Distribution, SimDuration};
use crate::policy::PolicySpec;
use crate::policy::warm_pool::{SleepLevel, SleepSpec, SpareLevel};
use crate::profile::Profile;
use crate::profile::schema::{LevelTimes, SleepLevels, Stage};
use crate::sim::EngineParams;
use crate::sim::cluster::config::{PoolSpec, Prefetch};
use crate::sim::compile_cache::CachePlan;
use crate::sim::config::ReadyAfter;
use crate::sim::warmth::{Cooling, KeepWarm};

impl Resolver<'_> {
    /// The compile cache, and what each stage of a start takes with it filled.
    pub(super) fn compile_cache(&mut self, profile: &Profile) -> Option<CachePlan> {
        let spec = self.spec().clone();
        let given = spec.replica.compile_cache.clone()?;
        let keys = ["replica", "compileCache"];
        if spec.replica.readiness.after == ReadyAfter::Weights {
            let message = "with `readiness.after: weights` a start waits for nothing that is compiled";
            self.fault("E0317", &keys, message, "write `after: warmUp`, or leave the cache out");
            return None;
        }
        let stages = drawn(profile, &spec);
        let of_profile =
            |stage: &&crate::profile::schema::StartUpStage| Some(stage.cached.as_ref()?.value.clone());
        let mut cached: Vec<Option<Distribution>> = stages.iter().map(of_profile).collect();
        if let Some(warm_up) = given.warm_up {
            let own = stages.iter().zip(&mut cached).filter(|(stage, _)| stage.stage == Stage::WarmUp);
            let mut times =
                std::iter::once(warm_up).chain(std::iter::repeat(Distribution::Constant(SimDuration::ZERO)));
            // The first stage of the warm-up takes all of it.
            own.for_each(|(_, time)| *time = times.next());
            if !stages.iter().any(|stage| stage.stage == Stage::WarmUp) {
                let message = format!("profile {} has no warm-up that a cache could shorten", profile.name);
                self.fault("E0317", &["replica", "compileCache", "warmUp"], message, "leave the cache out");
                return None;
            }
        }
        if cached.iter().all(Option::is_none) {
            let message = format!(
                "profile {} does not know what its start takes with a filled compile cache",
                profile.name
            );
            let help = "write `warmUp: 20s`, what the whole warm-up takes then, or put `cached` beside `time` in the profile";
            self.fault("E0316", &keys, message, help);
            return None;
        }
        Some(CachePlan { at: given.at, filled: given.filled, cached })
    }

    /// When engines go cold, and what that costs.
    pub(super) fn cooling(&mut self, profile: &Profile) -> Option<Cooling> {
        let given = self.spec().replica.cooling.clone()?;
        let curve = match given.penalty {
            Some(penalty) => vec![penalty],
            None => profile.penalties().to_vec(),
        };
        if curve.is_empty() {
            let message = format!(
                "profile {} has no `firstRequests` curve, and `penalty` does not say what a cold replica costs",
                profile.name
            );
            let help = "write `penalty: 500ms`, what the first request after a rest takes longer";
            self.fault("E0316", &["replica", "cooling"], message, help);
            return None;
        }
        Some(Cooling { after: given.after, curve: curve.into() })
    }

    /// The keep-warm requests.
    pub(super) fn keep_warm(&mut self, engine: &EngineParams) -> Option<KeepWarm> {
        let given = self.spec().replica.keep_warm.clone()?;
        let (prompt_tokens, output_tokens) = (given.prompt_tokens, given.output_tokens);
        let service = match engine {
            EngineParams::Workers { service, .. } => given.service.unwrap_or_else(|| service.median()),
            EngineParams::Continuous { .. } => {
                if given.service.is_some() {
                    let message = "a keep-warm request's `service` counts only with a `workers` engine";
                    let help = "leave it out: this engine goes by `promptTokens` and `outputTokens`";
                    self.fault("E0317", &["replica", "keepWarm", "service"], message, help);
                }
                SimDuration::ZERO
            }
        };
        if !engine.fits(prompt_tokens, output_tokens) {
            let tokens = u64::from(prompt_tokens) + u64::from(output_tokens);
            let message =
                format!("a keep-warm request of {tokens} tokens is longer than what the engine takes");
            let help = "a few tokens do: write `promptTokens: 8` and `outputTokens: 1`";
            self.fault("E0305", &["replica", "keepWarm"], message, help);
            return None;
        }
        Some(KeepWarm {
            idle_threshold: given.idle_threshold,
            period: given.period,
            prompt_tokens,
            output_tokens,
            service,
        })
    }

    /// The policies, with what the profile knows of how their spares sleep.
    pub(super) fn sleeping_spares(&mut self, profile: &Profile) -> IndexMap<String, PolicySpec> {
        let mut policies = self.spec().policies.clone();
        for (name, policy) in &mut policies {
            self.spares_within(policy, &["policies".to_owned(), name.clone()], profile);
        }
        policies
    }

    /// Of a policy and those within it.
    fn spares_within(&mut self, policy: &mut PolicySpec, at: &[String], profile: &Profile) {
        let mut keys = at.to_vec();
        keys.push(policy.kind().to_owned());
        if let PolicySpec::WarmPool(pool) = policy
            && let Some(sleep) = &mut pool.sleep
            && !fill(sleep, profile)
        {
            let level = level_name(sleep.level);
            let message =
                format!("profile {} does not know how long waking up takes at level {level}", profile.name);
            let at: Vec<&str> = keys.iter().map(String::as_str).chain(["sleep"]).collect();
            let help =
                "write `wake: 3s`, what waking up takes, or put `sleep` into the profile with its source";
            self.fault("E0316", &at, message, help);
        }
        if let PolicySpec::WarmPool(pool) = policy
            && pool.level == SpareLevel::Image
        {
            let brings = |pool: &PoolSpec| pool.image_present || pool.prefetch.contains(&Prefetch::Image);
            let pools = &self.spec().cluster.pools;
            let without: Vec<String> =
                pools.iter().filter(|(_, pool)| !brings(pool)).map(|(name, _)| format!("`{name}`")).collect();
            if !without.is_empty() {
                let message = format!(
                    "nodes are to be held with the image on them, and {} has none before a replica comes",
                    without.join(", ")
                );
                let at: Vec<&str> = keys.iter().map(String::as_str).chain(["level"]).collect();
                let help = "write `prefetch: [image]` for the pool and `replica.image`, or `level: node`";
                self.fault("E0317", &at, message, help);
            }
        }
        for (own, below) in policy.below_mut() {
            self.spares_within(below, &[&keys[..], &own[..]].concat(), profile);
        }
    }
}

const fn level_name(level: SleepLevel) -> &'static str {
    match level {
        SleepLevel::InHostRam => "inHostRam",
        SleepLevel::Discarded => "discarded",
        SleepLevel::Snapshot => "snapshot",
    }
}

/// Fills in what is left out; false if nobody knows how long waking up takes.
fn fill(sleep: &mut SleepSpec, profile: &Profile) -> bool {
    let level = |levels: &SleepLevels| -> Option<LevelTimes> {
        match sleep.level {
            SleepLevel::InHostRam => levels.in_host_ram.clone(),
            SleepLevel::Discarded => levels.discarded.clone(),
            SleepLevel::Snapshot => levels.snapshot.clone(),
        }
    };
    let known = profile.sleep.as_ref().and_then(level);
    let wake = || known.as_ref().map(|known| known.wake.value.clone());
    let asleep = || known.as_ref().and_then(|known| Some(known.fall_asleep.as_ref()?.value.clone()));
    sleep.wake = sleep.wake.take().or_else(wake);
    sleep.fall_asleep = sleep.fall_asleep.take().or_else(asleep).or_else(|| sleep.wake.clone());
    sleep.wake.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Resolved, parse, resolve};

    const BASE: &str = "
name: base
profile: l40s-llama3.1-8b-vllm
workload: { constant: { rate: 1 }, duration: 1m, lengths: { constant: { promptTokens: 9, outputTokens: 9 } } }
cluster: { pools: { gpu: { gpusPerNode: 1, maxNodes: 8 } } }
policies: { p: { warmPool: { spare: 1, sleep: { level: inHostRam }, over: { fixed: { replicas: 1 } } } } }
";

    fn resolved(sets: &[&str]) -> Resolved {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let scenario = parse("base.yaml", BASE, &sets, std::path::PathBuf::new()).expect("it can be read");
        resolve(&scenario, false).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"))
    }

    #[test]
    fn stages_with_the_cache_filled_are_the_profiles_or_one_figure() {
        let check = |sets: &[&str], expected: &[Option<u64>]| {
            let simulation = resolved(sets).simulation;
            let plan = simulation.compile_cache.expect("it is given");
            let secs = |time: &Distribution| time.median().as_nanos() / 1_000_000_000;
            let cached: Vec<Option<u64>> = plan.cached.iter().map(|time| time.as_ref().map(secs)).collect();
            assert_eq!(cached, expected, "{sets:?}");
            assert_eq!(cached.len(), simulation.replica.stages.len(), "{sets:?}");
        };
        // Pull, container, runtime, download, load; Dynamo, compile, capture.
        let profile = [None, None, Some(34), None, None, None, Some(13), None];
        check(&["replica.compileCache={}"], &profile);
        let one = [None, None, Some(34), None, None, Some(20), Some(0), Some(0)];
        check(&["replica.compileCache={ warmUp: 20s }"], &one);
        check(&["replica.compileCache={}", "replica.image={ layers: [9G] }"], &profile[1..]);
        check(
            &["replica.compileCache={}", "replica.weights={ size: 9G }"],
            &[&profile[..3], &profile[4..]].concat(),
        );
    }

    #[test]
    fn estimates_know_of_a_cache_that_is_filled_before() {
        let total = |cache: &str| {
            let stages = resolved(&[cache]).simulation.first_start();
            stages.iter().map(|(_, time)| time.median()).sum::<SimDuration>()
        };
        let filled = total("replica.compileCache={ filled: true }");
        assert_eq!(total("replica.compileCache={}").saturating_sub(filled), SimDuration::from_secs(60 + 29));
    }

    #[test]
    fn what_is_left_out_is_the_profiles() {
        let ms = SimDuration::from_millis;
        let curve =
            |cooling: &str| resolved(&[cooling]).simulation.replica.cooling.expect("it is given").curve;
        assert_eq!(*curve("replica.cooling={ after: 1m }"), [ms(6_000), ms(1_000), ms(500)]);
        assert_eq!(*curve("replica.cooling={ after: 1m, penalty: 2s }"), [ms(2_000)]);
        let times = |sets: &[&str]| {
            let resolved = resolved(sets);
            let policy = resolved.policies["p"].build(&resolved.simulation.setting);
            let times = policy.sleep().expect("its spares sleep");
            (times.fall_asleep.median(), times.wake.median())
        };
        assert_eq!(times(&[]), (ms(800), ms(800)));
        assert_eq!(times(&["policies.p.warmPool.sleep.wake=3s"]), (ms(3_000), ms(3_000)));
        assert_eq!(times(&["policies.p.warmPool.sleep.fallAsleep=0s"]), (ms(0), ms(800)));
        // In policies within policies, too.
        let within = "policies.p={ max: { of: { a: { fixed: { replicas: 1 } }, b: { guard: { ceiling: 3, over: \
            { warmPool: { spare: 1, sleep: { level: inHostRam }, over: { fixed: { replicas: 1 } } } } } } } } }";
        assert_eq!(times(&[within]), (ms(800), ms(800)));
    }

    #[test]
    fn a_worker_is_at_a_keep_warm_request_as_at_any_other() {
        let service = |keep_warm: &str| {
            let workers = "engine={ workers: { workers: 1, service: 80ms } }";
            resolved(&[workers, keep_warm]).simulation.replica.keep_warm.expect("it is given").service
        };
        assert_eq!(service("replica.keepWarm={}"), SimDuration::from_millis(80));
        assert_eq!(service("replica.keepWarm={ service: 20ms }"), SimDuration::from_millis(20));
    }
}
