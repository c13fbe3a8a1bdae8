//! Policies over policies: what all of them share.
//!
//! A [`Rule`] says what becomes of the decisions of the policies below; [`Layered`] asks these in their own time and
//! hands on whatever else a policy has: loops, timers, signals, queries, the data path.

use super::api::{Autoscaler, DataPath, Decision, Loop, Path, Reason, SleepTimes, View, WouldBe};
use crate::kernel::SimTime;
use crate::promql::Query;

/// A policy below another.
pub struct Member {
    /// What reasons call it.
    pub name: String,
    /// Itself.
    pub policy: Box<dyn Autoscaler>,
    /// How many loops it has.
    loops: usize,
    /// What it wants: its last decision.
    wants: Option<Decision>,
}

impl Member {
    /// What it sees. One that wants replicas is not shown that none are ordered, which was somebody else's decision: an HPA
    /// takes itself for switched off at zero, and would never come back.
    fn shown<'a>(&self, view: &View<'a>) -> View<'a> {
        let mut shown = view.clone();
        if let Some(wants) = self.wants.as_ref().filter(|_| view.spec_replicas == 0) {
            shown.spec_replicas = wants.replicas;
        }
        shown
    }
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its last decision, or that it leaves the scale alone.
    pub decision: Decision,
    /// Whether the way of requests is its to say.
    pub has_path: bool,
}

/// The policies below a policy, asked in their own time.
#[derive(Default)]
pub struct Members {
    all: Vec<Member>,
}

impl Members {
    /// These, in this order; their loops keep it.
    pub fn new(members: impl IntoIterator<Item = (String, Box<dyn Autoscaler>)>) -> Self {
        let member = |(name, policy): (String, Box<dyn Autoscaler>)| Member {
            name,
            loops: policy.loops().len(),
            policy,
            wants: None,
        };
        Self { all: members.into_iter().map(member).collect() }
    }

    /// All of them.
    pub fn all(&self) -> &[Member] {
        &self.all
    }

    /// All loops, member by member.
    pub fn loops(&self) -> Vec<Loop> {
        self.all.iter().flat_map(|member| member.policy.loops()).collect()
    }

    /// Whose loop it is: the member and the loop's index there; `None` beyond the last.
    pub fn whose(&self, which: usize) -> Option<(usize, usize)> {
        let mut first = 0;
        for (index, member) in self.all.iter().enumerate() {
            if which < first + member.loops {
                return Some((index, which - first));
            }
            first += member.loops;
        }
        None
    }

    /// A turn of a member's loop. The first silence of a member means the replicas there are, which it leaves alone; later
    /// ones that it wants what it wanted.
    pub fn decide(&mut self, member: usize, which: usize, view: &View<'_>) -> Option<Decision> {
        let member = &mut self.all[member];
        let view = &member.shown(view);
        let decision = member.policy.decide(which, view);
        if decision.is_some() || member.wants.is_none() {
            member.wants = Some(decision.clone().unwrap_or_else(|| content(&*member.policy, view)));
        }
        decision
    }

    /// When the first of them wants a turn.
    pub fn timer(&self) -> Option<SimTime> {
        self.all.iter().filter_map(|member| member.policy.timer()).min()
    }

    /// The turn of a member's timer, if that is over.
    pub fn timed(&mut self, member: usize, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let member = &mut self.all[member];
        member.policy.timer().filter(|at| *at <= view.now)?;
        let view = &member.shown(view);
        let (of, decision) = member.policy.timed(view)?;
        member.wants = Some(decision.clone());
        Some((of, decision))
    }

    /// What each wants. One that was not asked yet wants what there is.
    pub fn demands(&self, view: &View<'_>) -> Vec<Demand> {
        let demand = |member: &Member| Demand {
            decision: member.wants.clone().unwrap_or_else(|| content(&*member.policy, view)),
            has_path: member.policy.data_path() != DataPath::default(),
        };
        self.all.iter().map(demand).collect()
    }

    /// Where each begins: (replicas, spare).
    pub fn initial(&self) -> Vec<(u32, u32)> {
        self.all.iter().map(|member| member.policy.initial()).collect()
    }

    /// The most each asks for.
    pub fn maxima(&self) -> Vec<Option<u32>> {
        self.all.iter().map(|member| member.policy.maximum()).collect()
    }

    /// All queries.
    pub fn queries(&self) -> Vec<&Query> {
        self.all.iter().flat_map(|member| member.policy.queries()).collect()
    }

    /// Whether one reads usage.
    pub fn reads_usage(&self) -> bool {
        self.all.iter().any(|member| member.policy.reads_usage())
    }

    /// The first name of the workload.
    pub fn workload(&self) -> Option<&str> {
        self.all.iter().find_map(|member| member.policy.workload())
    }

    /// The first data path that is one; a check has seen to it that there is no other.
    pub fn data_path(&self) -> DataPath {
        let own = self.all.iter().map(|member| member.policy.data_path());
        own.into_iter().find(|path| *path != DataPath::default()).unwrap_or_default()
    }

    /// How spares sleep, of the first whose spares do.
    pub fn sleep(&self) -> Option<SleepTimes> {
        self.all.iter().find_map(|member| member.policy.sleep())
    }

    /// Passes a signal on.
    pub fn each(&mut self, signal: impl Fn(&mut dyn Autoscaler)) {
        self.all.iter_mut().for_each(|member| signal(&mut *member.policy));
    }

    /// Decisions that nobody follows.
    pub fn would_be(&mut self) -> Vec<WouldBe> {
        self.all.iter_mut().flat_map(|member| member.policy.would_be()).collect()
    }
}

/// The rule of a policy that has not said anything yet.
pub const UNCHANGED: &str = "Unchanged";

/// That a policy leaves the scale alone.
fn content(policy: &dyn Autoscaler, view: &View<'_>) -> Decision {
    Decision {
        replicas: view.spec_replicas,
        spare: policy.initial().1,
        path: if policy.data_path().begins_proxied { Path::Proxied } else { Path::Direct },
        why: Reason::new(UNCHANGED, "the policy below leaves the scale alone"),
    }
}

/// What becomes of the decisions of the policies below.
pub trait Rule: Send {
    /// What it is called in the decision log where it acts in its own time.
    fn name(&self) -> &'static str;

    /// The decision, of what the members want now. Called at each of their turns and at each of its own.
    fn settle(&mut self, demands: &[Demand], view: &View<'_>) -> Decision;

    /// Where the run starts, of where the members would: (replicas, spare).
    fn initial(&self, members: &[(u32, u32)]) -> (u32, u32);

    /// As [`Autoscaler::maximum`], of the members'.
    fn maximum(&self, members: &[Option<u32>]) -> Option<u32>;

    /// What the members see.
    fn seen<'a>(&self, view: &View<'a>) -> View<'a> {
        view.clone()
    }

    /// Whether its first turn is worth a line of the decision log though nothing changes.
    fn speaks_first(&self) -> bool {
        false
    }

    /// A loop of its own.
    fn own_loop(&self) -> Option<Loop> {
        None
    }

    /// When it wants a turn of its own; after a turn, later than that.
    fn timer(&self) -> Option<SimTime> {
        None
    }

    /// A request is held at the gateway.
    fn request_held(&mut self, _now: SimTime) {}

    /// How its spares sleep, if it has any that do.
    fn sleep(&self) -> Option<SleepTimes> {
        None
    }

    /// Nodes that it holds.
    fn placeholders(&self) -> u32 {
        0
    }

    /// Nodes that are held, of those that the members hold.
    fn held_nodes(&self, members: &[u32]) -> u32 {
        members.iter().sum::<u32>().saturating_add(self.placeholders())
    }
}

/// A policy over others.
pub struct Layered<R> {
    rule: R,
    members: Members,
    /// What was decided last, so that silence below is silence here unless the rule has something to say.
    said: Option<(u32, u32, Path)>,
}

impl<R: Rule> Layered<R> {
    /// A rule over policies.
    pub fn new(rule: R, members: impl IntoIterator<Item = (String, Box<dyn Autoscaler>)>) -> Self {
        Self { rule, members: Members::new(members), said: None }
    }

    /// The rule.
    #[cfg(test)]
    pub fn rule(&self) -> &R {
        &self.rule
    }

    fn settle(&mut self, view: &View<'_>, seen: &View<'_>, spoke: bool) -> Option<Decision> {
        let decision = self.rule.settle(&self.members.demands(seen), view);
        let said = (decision.replicas, decision.spare, decision.path);
        let begun = || {
            let begins = if self.data_path().begins_proxied { Path::Proxied } else { Path::Direct };
            (view.spec_replicas, self.initial().1, begins)
        };
        let before = self.said.or_else(|| (!self.rule.speaks_first()).then(begun));
        let is_news = before != Some(said);
        self.said = Some(said);
        (spoke || is_news).then_some(decision)
    }
}

impl<R: Rule> Autoscaler for Layered<R> {
    fn loops(&self) -> Vec<Loop> {
        self.members.loops().into_iter().chain(self.rule.own_loop()).collect()
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        let seen = self.rule.seen(view);
        let spoke = match self.members.whose(which) {
            Some((member, inner)) => self.members.decide(member, inner, &seen).is_some(),
            None => false,
        };
        self.settle(view, &seen, spoke)
    }

    fn initial(&self) -> (u32, u32) {
        self.rule.initial(&self.members.initial())
    }

    fn maximum(&self) -> Option<u32> {
        self.rule.maximum(&self.members.maxima())
    }

    fn queries(&self) -> Vec<&Query> {
        self.members.queries()
    }

    fn reads_usage(&self) -> bool {
        self.members.reads_usage()
    }

    fn workload(&self) -> Option<&str> {
        self.members.workload()
    }

    fn data_path(&self) -> DataPath {
        self.members.data_path()
    }

    fn sleep(&self) -> Option<SleepTimes> {
        self.rule.sleep().or_else(|| self.members.sleep())
    }

    fn timer(&self) -> Option<SimTime> {
        self.members.timer().into_iter().chain(self.rule.timer()).min()
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let seen = self.rule.seen(view);
        let mut of = None;
        for member in 0..self.members.all().len() {
            let turn = self.members.timed(member, &seen);
            of = of.or(turn.map(|(name, _)| name));
        }
        let decision = self.settle(view, &seen, of.is_some())?;
        Some((of.unwrap_or_else(|| self.rule.name()), decision))
    }

    fn request_held(&mut self, now: SimTime) {
        self.members.each(|policy| policy.request_held(now));
        self.rule.request_held(now);
    }

    fn proxy_entered(&mut self, now: SimTime) {
        self.members.each(|policy| policy.proxy_entered(now));
    }

    fn pods_changed(&mut self, now: SimTime) {
        self.members.each(|policy| policy.pods_changed(now));
    }

    fn placeholders(&self) -> u32 {
        let members: Vec<u32> =
            self.members.all().iter().map(|member| member.policy.placeholders()).collect();
        self.rule.held_nodes(&members)
    }

    fn would_be(&mut self) -> Vec<WouldBe> {
        self.members.would_be()
    }
}
