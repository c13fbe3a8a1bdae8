//! A policy that runs and one that is only watched: what would the other have decided, in the very same world?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Autoscaler, DataPath, Decision, Loop, SleepTimes, View, WouldBe};
use super::layer::Members;
use super::{PolicySpec, Setting};
use crate::kernel::SimTime;
use crate::promql::Query;

/// A policy, and a candidate that is watched beside it. The candidate's decisions are written into a log of their own and
/// followed by nobody; the run is that of the policy alone, to the byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowSpec {
    /// The policy that runs.
    pub run: PolicySpec,
    /// The policy that is watched. It has its own loops, asks its own queries, and sees the replicas that the other ordered: what its
    /// decisions would have led to, it does not see.
    pub candidate: PolicySpec,
}

/// The member that runs.
const RUN: usize = 0;
/// The member that is watched.
const CANDIDATE: usize = 1;

/// A policy and its shadow.
pub struct Shadow {
    members: Members,
    loops: Vec<Loop>,
    /// What the candidate would have ordered last: replicas and spares.
    last: Option<(u32, u32)>,
    /// The rule and conditions that each of its loops said last.
    said: BTreeMap<&'static str, (&'static str, String)>,
    fresh: Vec<WouldBe>,
}

impl Shadow {
    /// From its spec.
    pub fn new(spec: &ShadowSpec, setting: &Setting) -> Self {
        // The loops of the one that runs come first: which loop it is decides what is drawn for it.
        let members = [("run", &spec.run), ("candidate", &spec.candidate)];
        let members = Members::new(members.map(|(name, spec)| (name.to_owned(), spec.build(setting))));
        let loops = members.loops();
        Self { members, loops, last: None, said: BTreeMap::new(), fresh: Vec::new() }
    }

    /// Notes what the candidate says, if it is news as it would be in the decision log.
    fn note(&mut self, of: &'static str, decision: Decision, view: &View<'_>) {
        let Decision { replicas, spare, why, .. } = decision;
        let changed = self.last.replace((replicas, spare)) != Some((replicas, spare));
        let said = (why.rule, why.conditions.clone());
        let is_news = self.said.insert(of, said.clone()) != Some(said);
        if changed || is_news {
            self.fresh.push(WouldBe { of, from: view.spec_replicas, replicas, spare, why });
        }
    }
}

impl Autoscaler for Shadow {
    fn loops(&self) -> Vec<Loop> {
        self.loops.clone()
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        let (member, inner) = self.members.whose(which)?;
        let decision = self.members.decide(member, inner, view)?;
        if member == RUN {
            return Some(decision);
        }
        self.note(self.loops[which].name, decision, view);
        None
    }

    fn initial(&self) -> (u32, u32) {
        self.members.initial()[RUN]
    }

    fn maximum(&self) -> Option<u32> {
        self.members.maxima()[RUN]
    }

    fn queries(&self) -> Vec<&Query> {
        self.members.queries()
    }

    fn reads_usage(&self) -> bool {
        self.members.reads_usage()
    }

    fn workload(&self) -> Option<&str> {
        self.members.all()[RUN].policy.workload()
    }

    fn data_path(&self) -> DataPath {
        self.members.all()[RUN].policy.data_path()
    }

    fn sleep(&self) -> Option<SleepTimes> {
        self.members.all()[RUN].policy.sleep()
    }

    fn timer(&self) -> Option<SimTime> {
        self.members.timer()
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let decision = self.members.timed(RUN, view);
        if let Some((of, would_be)) = self.members.timed(CANDIDATE, view) {
            self.note(of, would_be, view);
        }
        decision
    }

    fn request_held(&mut self, now: SimTime) {
        self.members.each(|policy| policy.request_held(now));
    }

    fn proxy_entered(&mut self, now: SimTime) {
        self.members.each(|policy| policy.proxy_entered(now));
    }

    fn pods_changed(&mut self, now: SimTime) {
        self.members.each(|policy| policy.pods_changed(now));
    }

    fn placeholders(&self) -> u32 {
        self.members.all()[RUN].policy.placeholders()
    }

    fn would_be(&mut self) -> Vec<WouldBe> {
        let mut all = std::mem::take(&mut self.fresh);
        all.extend(self.members.would_be());
        all
    }
}
