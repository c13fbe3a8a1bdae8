//! The loop: take the earlier of the next arrival and the next event, and match.

use std::collections::VecDeque;

use super::books::{Books, Needed};
use super::cluster::Cluster;
use super::compile_cache::CompileCache;
use super::config::InitialState;
use super::facts::Finished;
use super::faults::Shortages;
use super::metrics_server::MetricsServer;
use super::nodes::Provisioning;
use super::prometheus::Prometheus;
use super::replica::Replica;
use super::requests::{Limit, Requests};
use super::router::Router;
use super::scale::{Controller, Order};
use super::sleep::Wake;
use super::standing::StandingLog;
use super::storage::Storage;
use super::{Factory, Simulation};
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{EventQueue, NodeId, ReplicaId, SimDuration, SimTime, Streams, dist};
use crate::outcome::breach::RequestRecord;
use crate::outcome::recorder::Recorder;
use crate::outcome::{Account, DecisionRecord, Ledger, Phase, RunOutcome, StartRecord, Timeline};
use crate::policy::api::{DataPath, Path, PodView, SleepTimes};
use crate::policy::meter::Meter;
use crate::policy::{Autoscaler, Loop};

/// What is going to happen. The `u32` beside an id is a generation: a stale event is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A replica's engine has its turn.
    Turn(ReplicaId, u32),
    /// A replica's phase ends.
    PhaseDone(ReplicaId, u32),
    /// Nothing is routed to a replica any more that was in the endpoints for the so-manieth time.
    EndpointGone(ReplicaId, u32),
    /// A deleted replica is told to stop.
    Stop(ReplicaId),
    /// A draining replica's grace period ends.
    GraceOver(ReplicaId),
    /// The controllers hear of an order.
    Hear(Order),
    /// The calls of the controller of that ReplicaSet are answered.
    Answered(usize),
    /// The Deployment controller hears of a rolling update.
    RollOut(usize),
    /// It hears that the last one is taken back.
    RollBack,
    /// It hears that pods became ready, or are no longer.
    LookAtPods,
    /// A container runs, and its pod counts as ready.
    ProcessUp(ReplicaId, u32),
    /// A node's machine has booted.
    NodeBooted(NodeId),
    /// A node takes pods.
    NodeUp(NodeId),
    /// A node that is still empty goes.
    NodeIdle(NodeId, u32),
    /// Something goes wrong.
    Fault(usize),
    /// A node's machine is gone, which everybody knows.
    NodeLost(NodeId),
    /// A node whose machine is gone is found not to answer.
    NotReady(NodeId),
    /// The pods of such a node are deleted.
    Evict(NodeId),
    /// A node is emptied, because of its GPUs.
    DrainNode(NodeId),
    /// Nodes may be to be had again.
    OrderAgain,
    /// The provisioner of nodes has its turn.
    Provision(u32),
    /// Karpenter looks for nodes to take away.
    Disrupt,
    /// A container has failed its probe for too long, if its server does not answer and it is still that container.
    ProbeFailed(ReplicaId, u32),
    /// Something happens to images or weights.
    Storage(u32),
    /// A replica's keep-warm request is due.
    KeepWarm(ReplicaId),
    /// A spare has woken up.
    Awake(ReplicaId),
    /// Some request's deadline passes.
    Deadline(Limit),
    /// The oldest held request has been held for too long.
    HoldOver,
    /// Prometheus scrapes.
    Scrape,
    /// The metrics server reads containers.
    ReadUsage,
    /// The timeline gets a point.
    Tick,
    /// A control loop decides.
    Decide(usize),
    /// The policy's own timer.
    Timer(u32),
    /// The trace ends; money stops.
    TraceEnd,
    /// Nobody waits any longer.
    GiveUp,
}

/// One run.
pub(super) struct Run<'a> {
    pub sim: &'a Simulation,
    pub streams: Streams,
    pub policy: Box<dyn Autoscaler>,
    pub loops: Vec<Loop>,
    pub factory: Factory,
    pub queue: EventQueue<Event>,
    pub now: SimTime,
    /// Every replica that ever was, by id.
    pub replicas: Vec<Replica>,
    /// Replicas that are not gone, in order of creation.
    pub live: Vec<ReplicaId>,
    /// Replicas on their way, in order of creation.
    pub starting: Vec<ReplicaId>,
    pub by_phase: [u32; Phase::ALL.len()],
    /// When each replica became ready, in that order.
    pub ready_log: Vec<(SimTime, ReplicaId)>,
    /// How capacity stood over time.
    pub standing: StandingLog,
    pub cluster: Cluster,
    pub provisioning: Provisioning,
    /// Nodes that the policy wants held, beside the placeholders of the scenario.
    pub held_nodes: u32,
    /// Images and weights, where they are simulated.
    pub storage: Option<Storage>,
    /// When something happens to them next, and the generation of that event; older ones are stale.
    pub storage_event: (Option<SimTime>, u32),
    /// Where starts find a filled compile cache, if there is such a cache.
    pub compile_cache: Option<CompileCache>,
    /// How long spares take to fall asleep and wake up, if they sleep; and which woke up when, in that order.
    pub sleep: Option<SleepTimes>,
    /// Whether anything depends on how long engines rest: asked at every turn.
    pub minds_rest: bool,
    pub wakes: Vec<Wake>,
    pub router: Router,
    pub requests: Requests,
    /// Requests held at the gateway: (slot, id); some may have ended.
    pub held: VecDeque<(u32, u64)>,
    pub held_count: u32,
    pub in_replicas: u32,
    pub arrivals: u64,
    /// What the policy puts between gateway and pods, and which way requests go now.
    pub data_path: DataPath,
    pub path: Path,
    /// What the policy's proxy counts.
    pub proxy_meter: Meter,
    pub hold_pending: bool,
    /// What the policy was shown of the pods last, for its room.
    pub pod_views: Vec<PodView>,
    /// When the policy's timer is set to, and its generation; older ones are stale.
    pub timer: (Option<SimTime>, u32),
    pub arrivals_at_tick: u64,
    /// Of each kind of limit, whether its event is in the queue.
    pub deadline_pending: [bool; Limit::ALL.len()],
    pub books: Books,
    pub needed: Option<Needed>,
    pub ledger: Ledger,
    pub recorder: Recorder,
    pub prometheus: Prometheus,
    pub metrics_server: MetricsServer,
    pub timeline: Timeline,
    pub ordered: u32,
    pub spare: u32,
    pub controller: Controller,
    pub starts: Vec<StartRecord>,
    pub decisions: Vec<DecisionRecord>,
    /// Decisions that nobody follows.
    pub would_be: Vec<DecisionRecord>,
    pub finished: Vec<Finished>,
    pub trace_end: Option<SimTime>,
    pub watched: Option<u64>,
    pub record: Option<RequestRecord>,
    over: bool,
}

/// Runs a scenario under a policy; `watched` is the number of a request whose chain is wanted.
///
/// # Errors
/// If the workload stopped early: a file that changed or vanished under the run.
pub fn run(
    sim: &Simulation,
    policy: Box<dyn Autoscaler>,
    replication: u32,
    watched: Option<u64>,
) -> Result<(RunOutcome, Option<RequestRecord>), String> {
    let mut run = Run::new(sim, policy, replication, watched);
    run.start();
    run.play();
    if let Some(failure) = sim.source.failure() {
        return Err(failure);
    }
    Ok(run.outcome())
}

impl<'a> Run<'a> {
    fn new(sim: &'a Simulation, policy: Box<dyn Autoscaler>, replication: u32, watched: Option<u64>) -> Self {
        let streams = Streams::new(sim.seed, u64::from(replication));
        let (replicas, spare) = policy.initial();
        let ordered = sim.initial.replicas.unwrap_or(replicas);
        let warm = sim.initial.state == InitialState::Warm;
        let at_start = if warm { ordered + spare } else { 0 };
        let data_path = policy.data_path();
        let queries = policy.queries();
        let prefix = policy.workload().unwrap_or("replica");
        let mut nodes = sim.cluster.clone();
        nodes.placeholders = nodes.placeholders.saturating_add(policy.placeholders());
        let prometheus = Prometheus::new(&queries, &sim.setting, prefix, sim.telemetry.scrape_interval);
        Self {
            sim,
            streams,
            loops: policy.loops(),
            factory: sim.engine.factory(),
            queue: EventQueue::new(),
            now: SimTime::ZERO,
            replicas: Vec::new(),
            live: Vec::new(),
            starting: Vec::new(),
            by_phase: [0; Phase::ALL.len()],
            ready_log: Vec::new(),
            standing: StandingLog::default(),
            cluster: Cluster::new(
                nodes,
                sim.replica.gpus_per_pod(),
                at_start.saturating_mul(sim.replica.group_size),
                streams,
                Shortages::new(&sim.faults, &sim.cluster),
            ),
            provisioning: Provisioning::default(),
            held_nodes: policy.placeholders(),
            storage: sim.storage.is_needed().then(|| Storage::new(sim.storage.clone())),
            storage_event: (None, 0),
            compile_cache: sim.compile_cache.as_ref().map(CompileCache::new),
            minds_rest: sim.replica.cooling.is_some()
                || sim.replica.keep_warm.is_some()
                || policy.sleep().is_some(),
            sleep: policy.sleep(),
            wakes: Vec::new(),
            router: Router::new(sim.gateway.router, &data_path, streams.stream(Purpose::Router, 0)),
            requests: Requests::default(),
            held: VecDeque::new(),
            held_count: 0,
            in_replicas: 0,
            arrivals: 0,
            path: if data_path.begins_proxied { Path::Proxied } else { Path::Direct },
            data_path,
            proxy_meter: Meter::default(),
            hold_pending: false,
            pod_views: Vec::new(),
            timer: (None, 0),
            arrivals_at_tick: 0,
            deadline_pending: [false; Limit::ALL.len()],
            books: Books::default(),
            needed: sim.capacity_per_s.map(Needed::new),
            ledger: Ledger { gpus_per_replica: sim.replica.gpus, ..Ledger::default() },
            recorder: Recorder::default(),
            prometheus,
            metrics_server: MetricsServer::default(),
            timeline: Timeline { step: sim.telemetry.timeline_step, ..Timeline::default() },
            ordered,
            spare,
            controller: Controller::new(Order { replicas: ordered, spare, written: SimTime::ZERO }),
            starts: Vec::new(),
            decisions: Vec::new(),
            would_be: Vec::new(),
            finished: Vec::new(),
            trace_end: None,
            watched,
            record: None,
            policy,
            over: false,
        }
    }

    /// Puts the first replicas and the first event of every loop in place.
    fn start(&mut self) {
        let sim = self.sim;
        for id in self.cluster.there().to_vec() {
            let lot = self.lot_of_node(id);
            self.books.enter(SimTime::ZERO, Account::Unallocated, lot);
            if let Some(storage) = &mut self.storage {
                storage.add_node(id, self.cluster.node(id).pool);
            }
        }
        let count = self.ordered + self.spare;
        match self.sim.initial.state {
            InitialState::Warm => (0..count).for_each(|i| self.create_warm(i < self.ordered)),
            InitialState::Cold => self.create(count, 0),
        }
        self.note_standing();
        let telemetry = &sim.telemetry;
        let scrape = self.phase(telemetry.scrape_phase, telemetry.scrape_interval, u64::from(u32::MAX));
        if !self.prometheus.is_idle() {
            self.queue.push(scrape, Rank::Scrape, 0, 0, Event::Scrape);
        }
        if self.policy.reads_usage() {
            let resolution = telemetry.metrics_server_resolution;
            let first = self.phase(telemetry.scrape_phase, resolution, u64::from(u32::MAX) - 1);
            self.queue.push(first, Rank::Scrape, 2, 0, Event::ReadUsage);
        }
        self.cluster.bind_placeholders(SimTime::ZERO);
        self.start_provisioner();
        self.schedule_faults();
        for id in self.cluster.there().to_vec() {
            if let Some(storage) = &mut self.storage {
                storage.node_up(SimTime::ZERO, id);
            }
        }
        self.schedule_rollouts();
        self.watch_storage();
        self.set_timer();
        self.queue.push(SimTime::ZERO + telemetry.timeline_step, Rank::Scrape, 1, 0, Event::Tick);
        for index in 0..self.loops.len() {
            let (phase, period) = (self.loops[index].phase, self.loops[index].period);
            let first = self.phase(phase, period, index as u64);
            self.queue.push(first, Rank::Decide, index as u32, 0, Event::Decide(index));
        }
        if let Some(span) = self.sim.source.span() {
            self.queue.push(SimTime::ZERO + span, Rank::End, 0, 0, Event::TraceEnd);
        }
    }

    /// The first turn of a loop: as given, or drawn uniformly within its period.
    pub(super) fn phase(&self, given: Option<SimDuration>, period: SimDuration, entity: u64) -> SimTime {
        let drawn = || {
            let share = dist::uniform(&mut self.streams.stream(Purpose::LoopPhase, entity));
            SimDuration::from_nanos((period.as_nanos() as f64 * share) as u64)
        };
        SimTime::ZERO + given.unwrap_or_else(drawn)
    }

    fn play(&mut self) {
        let sim = self.sim;
        let mut arrivals = sim.source.requests(&self.streams);
        let mut next = arrivals.next();
        if next.is_none() {
            self.traffic_over();
        }
        while !self.over {
            let event = self.queue.peek();
            match next {
                Some(request) if event.is_none_or(|at| (request.arrival, Rank::Arrival) < at) => {
                    self.now = request.arrival;
                    self.arrive(request);
                    next = arrivals.next();
                    if next.is_none() {
                        self.traffic_over();
                    }
                }
                _ => {
                    let Some((now, event)) = self.queue.pop() else { return };
                    debug_assert!(now >= self.now, "time goes on: {event:?} of {now:?} at {:?}", self.now);
                    self.now = now;
                    // Nearly all events are turns: theirs is the short way.
                    match event {
                        Event::Turn(id, turn) => self.turn(id, turn),
                        other => self.handle(other),
                    }
                    self.over |= next.is_none() && self.trace_end.is_some() && self.requests.is_empty();
                }
            }
        }
    }

    /// No request will arrive any more. A source that did not know its span ends here.
    fn traffic_over(&mut self) {
        if self.sim.source.span().is_none() {
            self.queue.push(self.now, Rank::End, 0, 0, Event::TraceEnd);
        }
    }

    #[inline(never)] // Out of the loop that turns are taken in.
    fn handle(&mut self, event: Event) {
        match event {
            Event::Turn(id, turn) => self.turn(id, turn),
            Event::PhaseDone(id, generation) => self.phase_done(id, generation),
            Event::EndpointGone(id, endpoint) => self.endpoint_gone(id, endpoint),
            Event::Stop(id) => self.stop(id),
            Event::GraceOver(id) => self.grace_over(id),
            Event::Hear(order) => self.hear(order),
            Event::Answered(version) => self.answered(version),
            Event::RollOut(index) => self.roll_out(index),
            Event::RollBack => self.roll_back(),
            Event::ProcessUp(id, restarts) => self.process_up(id, restarts),
            Event::LookAtPods => {
                self.controller.looks_at = None;
                self.sync();
            }
            Event::NodeBooted(id) => self.node_booted(id),
            Event::NodeUp(id) => self.node_up(id),
            Event::Fault(index) => self.fault(index),
            Event::NodeLost(id) => self.node_lost(id),
            Event::NotReady(id) => self.not_ready(id),
            Event::Evict(id) => self.evict(id),
            Event::DrainNode(id) => self.drain_node(id),
            Event::OrderAgain => self.place(),
            Event::Provision(generation) => self.provision(generation),
            Event::Disrupt => self.disrupt(),
            Event::ProbeFailed(id, restarts) => self.probe_failed(id, restarts),
            Event::Storage(generation) => self.storage_due(generation),
            Event::KeepWarm(id) => self.keep_warm(id),
            Event::Awake(id) => self.awake(id),
            Event::NodeIdle(id, generation) => self.node_idle(id, generation),
            Event::Deadline(limit) => self.deadline(limit),
            Event::HoldOver => self.hold_over(),
            Event::Scrape => self.scrape(),
            Event::ReadUsage => self.read_usage(),
            Event::Tick => self.tick(),
            Event::Decide(index) => self.decide(index),
            Event::Timer(generation) => self.timer_over(generation),
            Event::TraceEnd => self.close_books(),
            Event::GiveUp => self.give_up(),
        }
    }
}
