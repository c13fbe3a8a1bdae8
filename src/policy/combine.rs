//! The highest or the lowest of what several policies want.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Decision, Path, View};
use super::layer::{Demand, Layered, Rule};
use super::{Fault, PolicySpec, Setting};

/// Several policies, of which one settles each count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CombineSpec {
    /// The policies, by a name each that the decision log shows. Each has turns by its own loops and sees the replicas there are,
    /// whoever asked for them; between its turns it wants what it wanted last, and before its first one what there is.
    pub of: IndexMap<String, PolicySpec>,
}

impl CombineSpec {
    /// What is wrong with it but for its policies.
    pub(super) fn check_members(&self) -> Vec<Fault> {
        if self.of.len() >= 2 {
            return Vec::new();
        }
        let message =
            format!("{} to choose from", if self.of.is_empty() { "no policy" } else { "one policy" });
        vec![("of".to_owned(), message, "write two or more, or the one alone".to_owned())]
    }
}

/// Which of several counts is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The highest.
    Max,
    /// The lowest.
    Min,
}

impl Extreme {
    /// The one that is taken; 0 of none.
    fn of(self, counts: impl Iterator<Item = u32>) -> u32 {
        match self {
            Self::Max => counts.max(),
            Self::Min => counts.min(),
        }
        .unwrap_or(0)
    }
}

/// The rule of a running combination.
pub struct ExtremeRule {
    which: Extreme,
    names: Vec<String>,
}

/// A running combination.
pub type Combined = Layered<ExtremeRule>;

/// From a spec.
pub fn build(spec: &CombineSpec, which: Extreme, setting: &Setting) -> Combined {
    let members = spec.of.iter().map(|(name, policy)| (name.clone(), policy.build(setting)));
    Layered::new(ExtremeRule::new(which, spec.of.keys().cloned().collect()), members)
}

impl ExtremeRule {
    /// One over members of these names.
    pub fn new(which: Extreme, names: Vec<String>) -> Self {
        Self { which, names }
    }
}

impl Rule for ExtremeRule {
    fn name(&self) -> &'static str {
        match self.which {
            Extreme::Max => "max",
            Extreme::Min => "min",
        }
    }

    /// Replicas and spares are settled apart. The reason is that of the member that settled the replicas, the first of several.
    fn settle(&mut self, demands: &[Demand], _view: &View<'_>) -> Decision {
        let decisions = || demands.iter().map(|demand| &demand.decision);
        let replicas = self.which.of(decisions().map(|decision| decision.replicas));
        let spare = self.which.of(decisions().map(|decision| decision.spare));
        let path = demands.iter().find(|demand| demand.has_path).map_or(Path::Direct, |d| d.decision.path);
        let settled = decisions().position(|decision| decision.replicas == replicas).unwrap_or(0);
        let wanted = |(name, decision): (&String, &Decision)| match decision.spare {
            0 => format!("{name} {}", decision.replicas),
            spare => format!("{name} {} +{spare}", decision.replicas),
        };
        let all: Vec<String> = self.names.iter().zip(decisions()).map(wanted).collect();
        let mut why = demands[settled].decision.why.clone();
        why.detail = format!("`{}` settles it, of {}: {}", self.names[settled], all.join(", "), why.detail);
        Decision { replicas, spare, path, why }
    }

    fn initial(&self, members: &[(u32, u32)]) -> (u32, u32) {
        let of = |count: fn(&(u32, u32)) -> u32| self.which.of(members.iter().map(count));
        (of(|(replicas, _)| *replicas), of(|(_, spare)| *spare))
    }

    fn maximum(&self, members: &[Option<u32>]) -> Option<u32> {
        match self.which {
            Extreme::Max => members.iter().flatten().max().copied(),
            // `None`, which never asks for more than there is, is the lowest.
            Extreme::Min => members.iter().min().copied().flatten(),
        }
    }

    fn held_nodes(&self, members: &[u32]) -> u32 {
        self.which.of(members.iter().copied())
    }
}
