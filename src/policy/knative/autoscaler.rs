//! Knative's pod autoscaler as a policy: scrapes, ticks, reconciles, and the activator's pokes.
//!
//! After knative/serving `pkg/autoscaler/scaling/multiscaler.go`, `pkg/autoscaler/statserver`,
//! `pkg/reconciler/autoscaling/kpa/{controller,kpa,scaler}.go` (98e5ef90). What upstream's informers and queues do in
//! milliseconds happens at once here.

use super::activator::{self, PROBE_PERIOD as POD_PROBE_PERIOD, QUEUE_DEPTH};
use super::apply::{Applied, PROBE_PERIOD, PROBE_TIMEOUT, REENQUEUE_PERIOD, Settled};
use super::collector::{Collector, Observed};
use super::decider::{Decider, Figures, ScaleResult, calls_for_reconcile};
use super::log::{self, Done, Turn};
use super::pod_autoscaler::{ClusterState, PodAutoscaler};
use super::request_stats::ActivatorStats;
use super::revision::Revision;
use super::sample::Scraper;
use super::spec::KnativeSpec;
use super::status::{SksMode, activator_in_path};
use super::{SCRAPE, SECOND, TICK};
use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::{Autoscaler, DataPath, Decision, Loop, Path, View};
use crate::policy::hpa::types::Nanos;

/// From a change of a service's mode until a probe is answered by the activator: the endpoints are written, and the
/// nodes' kube-proxies follow within their shortest sync period.
const ENDPOINT_PROPAGATION: Nanos = SECOND;

/// How long a revision that sleeps at the start of a run has done so: long enough for every period to be over.
const ASLEEP_FOR: Nanos = 86_400 * SECOND;

/// A reconcile that changes the object's status is followed by another at once; it settles long before this.
const RECONCILES_AT_ONCE: usize = 8;

const SCRAPE_LOOP: usize = 0;

/// A running KPA.
#[derive(Debug)]
pub struct Knative {
    name: String,
    revision: Revision,
    data_path: DataPath,
    scraper: Scraper,
    activator: ActivatorStats,
    collector: Collector,
    /// From the first turn on.
    controller: Option<Controller>,
    due: Due,
}

/// The decider and the reconciler of a revision.
#[derive(Debug)]
struct Controller {
    decider: Decider,
    /// The decider's last result.
    result: ScaleResult,
    /// What it was computed of.
    seen: Option<(Observed, Figures)>,
    autoscaler: PodAutoscaler,
    path: Path,
    /// What settled the last reconcile.
    settled: Option<Settled>,
}

/// What is to be done besides the loops, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    /// A tick, because the activator has a request and the scale is 0.
    poke: Option<SimTime>,
    /// A reconcile, because pods changed.
    pods: Option<SimTime>,
    /// A reconcile that the last ones asked for; of several, a work queue keeps the earliest.
    requeue: Option<SimTime>,
    /// The next probe of the activator, and until when they go on.
    probe: Option<(SimTime, SimTime)>,
}

impl Due {
    fn next(&self) -> Option<SimTime> {
        [self.poke, self.pods, self.requeue, self.probe.map(|(at, _)| at)].into_iter().flatten().min()
    }
}

/// Whether an instant has come; if so, it is forgotten.
fn take(at: &mut Option<SimTime>, now: SimTime) -> bool {
    at.take_if(|at| *at <= now).is_some()
}

fn nanos(at: SimTime) -> Nanos {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

fn after(now: SimTime, time: Nanos) -> SimTime {
    now.saturating_add(SimDuration::from_nanos(u64::try_from(time).unwrap_or(0)))
}

fn ready(view: &View<'_>) -> i32 {
    i32::try_from(view.ready()).unwrap_or(i32::MAX)
}

impl Knative {
    /// From a spec that nothing is wrong with.
    pub fn new(spec: &KnativeSpec) -> Self {
        let (revision, concurrency) = (spec.revision(), spec.concurrency());
        let decider = revision.decider();
        let excess = Decider::new(decider.clone(), None, 0).initial().excess_burst_capacity;
        let data_path = DataPath {
            pod_limit: activator::pod_limit(concurrency),
            // Without a limit on the pods' concurrency the activator's breaker has none either.
            hold_limit: (concurrency > 0).then_some(QUEUE_DEPTH),
            hold_timeout: None,
            header_timeout: None,
            request_timeout: Some(spec.timeout()),
            balancing: activator::load_balancing(concurrency),
            begins_proxied: excess < 0 || decider.initial_scale == 0,
            probe_period: Some(POD_PROBE_PERIOD),
            is_metered: true,
        };
        Self {
            name: spec.name.clone().unwrap_or_else(|| "service".to_owned()),
            collector: revision.collector(),
            revision,
            data_path,
            scraper: Scraper::default(),
            activator: ActivatorStats::default(),
            controller: None,
            due: Due::default(),
        }
    }

    /// One second's statistics: those of the pods, then the activator's.
    fn scrape(&mut self, view: &View<'_>) {
        let now = nanos(view.now);
        let window = SimDuration::from_nanos(u64::try_from(self.revision.stable_window()).unwrap_or(0));
        if let Some(stat) = self.scraper.scrape(view.now, view.pods, window) {
            self.collector.record(now, &stat);
        }
        let report = self.activator.report(view.now, &view.gateway.meter);
        if let Some(stat) = report {
            self.collector.record(now, &stat);
            if stat.average_concurrency > 0.0 {
                self.poke(view.now);
            }
        }
    }

    /// The activator has requests: the scale is looked at now, if it is 0.
    fn poke(&mut self, now: SimTime) {
        if self.controller.as_ref().is_some_and(|controller| controller.result.desired == 0) {
            self.due.poke.get_or_insert(now);
        }
    }

    /// Begins with what is there: a revision without pods sleeps, any other is about to be found active.
    fn begin(&mut self, view: &View<'_>) {
        let now = nanos(view.now);
        let decider = Decider::new(self.revision.decider(), Some(ready(view)), now);
        let mut result = decider.initial();
        let sleeps = view.spec_replicas == 0;
        if sleeps && decider.spec.initial_scale > 0 {
            result.desired = 0;
        }
        self.controller = Some(Controller {
            autoscaler: if sleeps {
                PodAutoscaler::asleep(now - ASLEEP_FOR)
            } else {
                PodAutoscaler::new(now)
            },
            decider,
            result,
            seen: None,
            path: if self.data_path.begins_proxied { Path::Proxied } else { Path::Direct },
            settled: None,
        });
    }

    /// One tick. Says whether the revision is to be reconciled, and whether panic began or ended.
    fn tick(&mut self, view: &View<'_>) -> (bool, bool) {
        let Some(controller) = &mut self.controller else { return (false, false) };
        let now = nanos(view.now);
        let observed = self.collector.observe(controller.decider.spec.scaling_metric, now);
        let panicked = controller.decider.panic_time.is_some();
        let Some((result, figures)) = controller.decider.scale(Some(ready(view)), observed, now) else {
            return (false, false);
        };
        let calls = calls_for_reconcile(controller.result, result);
        controller.result = result;
        controller.seen = observed.map(|observed| (observed, figures));
        (calls, panicked != figures.panicking)
    }

    /// Reconciles until nothing changes any more, and says what there is to say.
    fn reconcile(&mut self, view: &View<'_>, woken: bool) -> Option<Decision> {
        let controller = self.controller.as_mut()?;
        let now = nanos(view.now);
        let mut replicas = i32::try_from(view.spec_replicas).unwrap_or(i32::MAX);
        let mut last = None;
        for _ in 0..RECONCILES_AT_ONCE {
            let before = (controller.autoscaler.active(), controller.autoscaler.mode());
            let cluster = ClusterState {
                replicas,
                ready: ready(view),
                activator_answers: activator_answers(&controller.autoscaler, now),
            };
            let done = controller.autoscaler.reconcile(&self.revision, controller.result, cluster, now);
            if done.applied.write {
                replicas = done.applied.want;
            }
            self.due.follow(&done.applied, view.now);
            // What wrote the scale says why, whatever a second look finds.
            last = last.filter(|applied: &Applied| applied.write).or(Some(done.applied));
            if before == (done.active, done.mode) {
                break;
            }
        }
        let applied = last?;
        let proxied = activator_in_path(controller.autoscaler.mode(), ready(view));
        let path = if proxied { Path::Proxied } else { Path::Direct };
        let replicas = u32::try_from(replicas).unwrap_or(0);
        let (scaled, rerouted) = (replicas != view.spec_replicas, path != controller.path);
        let waits = applied.settled != Settled::Wish && Some(applied.settled) != controller.settled;
        controller.path = path;
        // A change of the path alone is said as such, and what else there is the next time.
        if scaled || !rerouted || applied.want <= 0 {
            controller.settled = Some(applied.settled);
        }
        if !scaled && !rerouted && !waits {
            return None;
        }
        self.decision(view, replicas, Done { applied: Some(applied), scaled, rerouted, woken })
    }

    fn decision(&self, view: &View<'_>, replicas: u32, done: Done) -> Option<Decision> {
        let controller = self.controller.as_ref()?;
        let turn = Turn {
            revision: &self.revision,
            seen: controller.seen.as_ref(),
            result: controller.result,
            ready: view.ready(),
            path: controller.path,
            done,
        };
        Some(Decision { replicas, spare: 0, path: controller.path, why: log::reason(&turn) })
    }

    /// A tick and what it calls for.
    fn tick_and_follow(&mut self, view: &View<'_>, woken: bool, mut reconcile: bool) -> Option<Decision> {
        let (calls, panic_changed) = self.tick(view);
        reconcile |= calls;
        let decision = reconcile.then(|| self.reconcile(view, woken)).flatten();
        if decision.is_none() && panic_changed {
            return self.decision(view, view.spec_replicas, Done::default());
        }
        decision
    }

    /// A probe of the activator. Answered, or tried for long enough, the revision is reconciled a little later.
    fn probe(&mut self, now: SimTime) {
        let Some((at, until)) = self.due.probe.filter(|(at, _)| *at <= now) else { return };
        let answered = self.controller.as_ref().is_some_and(|c| activator_answers(&c.autoscaler, nanos(now)));
        let next = after(at, PROBE_PERIOD);
        if answered || next > until {
            self.due.probe = None;
            self.due.requeue(after(now, REENQUEUE_PERIOD));
        } else {
            self.due.probe = Some((next, until));
        }
    }
}

impl Due {
    fn requeue(&mut self, at: SimTime) {
        self.requeue = Some(self.requeue.map_or(at, |before| before.min(at)));
    }

    /// What a reconcile asked for.
    fn follow(&mut self, applied: &Applied, now: SimTime) {
        if let Some(time) = applied.requeue_after {
            self.requeue(after(now, time));
        }
        if applied.probe && self.probe.is_none() {
            self.probe = Some((after(now, PROBE_PERIOD), after(now, PROBE_TIMEOUT)));
        }
    }
}

/// Whether a probe of the service is answered by the activator.
fn activator_answers(autoscaler: &PodAutoscaler, now: Nanos) -> bool {
    autoscaler.mode() == SksMode::Proxy
        && autoscaler.proxied_since().is_some_and(|since| now - since >= ENDPOINT_PROPAGATION)
}

impl Autoscaler for Knative {
    fn loops(&self) -> Vec<Loop> {
        [("scrape", SCRAPE), ("tick", TICK)]
            .into_iter()
            .map(|(name, period)| {
                let period = SimDuration::from_nanos(u64::try_from(period).unwrap_or(0));
                Loop { name, period, phase: None }
            })
            .collect()
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        if which == SCRAPE_LOOP {
            self.scrape(view);
            return None;
        }
        self.tick_and_follow(view, false, false)
    }

    fn initial(&self) -> (u32, u32) {
        let bounds = self.revision.bounds();
        (u32::try_from(bounds.initial.max(bounds.min)).unwrap_or(0), 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(u32::try_from(self.revision.bounds().max).ok().filter(|max| *max > 0).unwrap_or(u32::MAX))
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn data_path(&self) -> DataPath {
        self.data_path.clone()
    }

    fn timer(&self) -> Option<SimTime> {
        if self.controller.is_none() { Some(SimTime::ZERO) } else { self.due.next() }
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let now = view.now;
        let first = self.controller.is_none();
        if first {
            self.begin(view);
        }
        self.probe(now);
        let poked = take(&mut self.due.poke, now);
        let pods_changed = take(&mut self.due.pods, now);
        let requeued = take(&mut self.due.requeue, now);
        let reconcile = first || pods_changed || requeued;
        if poked {
            return self.tick_and_follow(view, true, reconcile).map(|decision| ("poke", decision));
        }
        reconcile.then(|| self.reconcile(view, false)).flatten().map(|decision| ("reconcile", decision))
    }

    fn proxy_entered(&mut self, now: SimTime) {
        if let Some(stat) = self.activator.request_in(now) {
            self.collector.record(nanos(now), &stat);
            self.poke(now);
        }
    }

    fn pods_changed(&mut self, now: SimTime) {
        self.due.pods.get_or_insert(now);
    }
}
