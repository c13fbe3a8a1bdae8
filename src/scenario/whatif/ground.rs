//! What a mitigation can look at, and how it writes what it changes.

use std::fmt::Display;

use serde_json::Value;

use super::super::load::Scenario;
use super::super::resolve::Resolved;
use super::super::spec::ScenarioSpec;
use crate::policy::PolicySpec;
use crate::profile::Profile;
use crate::profile::schema::{Stage, StartUpStage};
use crate::sim::cluster::config::PoolSpec;
use crate::yaml::{self, Document, Path};

/// A scenario with one policy, as it is.
pub struct Ground<'a> {
    /// As it is written, manifests included.
    pub scenario: &'a Scenario,
    /// As it is run.
    pub resolved: &'a Resolved,
    /// Its profile.
    pub profile: &'a Profile,
    /// Name of the policy.
    pub policy: &'a str,
    /// The policy as its text has it.
    written: Value,
}

impl<'a> Ground<'a> {
    /// From a scenario that can be run, and the assignments it was read with.
    pub fn new(
        scenario: &'a Scenario,
        sets: &[String],
        resolved: &'a Resolved,
        profile: &'a Profile,
        policy: &'a str,
    ) -> Self {
        Self { scenario, resolved, profile, policy, written: as_written(scenario, sets, policy) }
    }

    /// What the scenario says.
    pub fn spec(&self) -> &'a ScenarioSpec {
        &self.scenario.spec
    }

    /// The policy.
    pub fn policy_spec(&self) -> &'a PolicySpec {
        // With what the profile says of sleeping spares left out, as it is written.
        &self.scenario.spec.policies[self.policy]
    }

    /// Node pools by name.
    pub fn pools(&self) -> impl Iterator<Item = (&'a String, &'a PoolSpec)> {
        self.scenario.spec.cluster.pools.iter()
    }

    /// The policy and those within it, outer ones first, each with the path of its settings: `policies.mine.hpa`. Of a shadow only
    /// what runs.
    pub fn policies(&self) -> Vec<(Path, &'a PolicySpec)> {
        let mut found = Vec::new();
        gather(&Path::keys(["policies", self.policy]), self.policy_spec(), &mut found);
        found
    }

    /// What each policy that decides by itself answers, with the path of its settings.
    pub fn of_each(&self, edit: impl Fn(&Path, &PolicySpec) -> Vec<String>) -> Vec<String> {
        self.policies().iter().flat_map(|(at, policy)| edit(at, policy)).collect()
    }

    /// The policy at `at` (`policies.mine`, `policies.mine.guard.over`) as the scenario writes it.
    pub fn written(&self, at: &Path) -> &Value {
        let steps = at.steps().iter().skip(2);
        steps.fold(&self.written, |value, step| match step {
            yaml::Step::Key(key) => &value[key.as_str()],
            yaml::Step::Index(index) => &value[*index],
        })
    }

    /// The profile's stages of that kind.
    pub fn stages(&self, stage: Stage) -> impl Iterator<Item = &'a StartUpStage> {
        self.profile.start_up.iter().filter(move |own| own.stage == stage)
    }
}

fn gather<'a>(at: &Path, policy: &'a PolicySpec, found: &mut Vec<(Path, &'a PolicySpec)>) {
    let settings = at.key(policy.kind());
    found.push((settings.clone(), policy));
    for (below, inner) in policy.below() {
        let at = match below.strip_prefix("of.") {
            Some(name) => settings.key("of").key(name),
            None if below == "candidate" => continue,
            None => settings.key(below),
        };
        gather(&at, inner, found);
    }
}

/// `path=value`.
pub fn set(path: &Path, value: impl Display) -> String {
    format!("{path}={value}")
}

/// A field of a pool.
pub fn of_pool(name: &str, field: &str) -> Path {
    Path::keys(["cluster", "pools", name, field])
}

/// A number without zeros at its end, to nine digits after the point: as people and quantities write it.
pub fn decimal(value: f64) -> String {
    let digits = format!("{value:.9}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The policy as the scenario's own text has it, its manifests by their names. Where an assignment goes into what a manifest brings,
/// as it is with all of it written out.
fn as_written(scenario: &Scenario, sets: &[String], policy: &str) -> Value {
    let own = |document: &Document| -> Option<Value> {
        let whole: Value = yaml::read(document).ok()?;
        Some(whole.get("policies")?.get(policy)?.clone())
    };
    let bare = Document::parse(scenario.document.name(), scenario.document.text()).ok();
    let bare = bare.and_then(|mut document| {
        let is_late = |set: &String| document.set(set).is_err();
        (!sets.iter().any(is_late)).then_some(document)
    });
    bare.as_ref().and_then(own).or_else(|| own(&scenario.document)).unwrap_or_default()
}
