//! The cost ledger: every billed GPU-nanosecond in exactly one account.

use super::Phase;

/// Where a billed GPU-nanosecond can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// On a billed node, bound to no replica.
    Unallocated,
    /// Bound to a replica that was never ready yet, in this start-up phase.
    StartUp(Phase),
    /// In rotation, a step running.
    ServingBusy,
    /// In rotation, no step running.
    ServingIdle,
    /// Warm and out of rotation, awake, asleep or waking up; or not ready again after having been.
    Held,
    /// Finishing what it has.
    Draining,
}

impl Account {
    /// All accounts, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::ServingBusy,
        Self::ServingIdle,
        Self::Held,
        Self::StartUp(Phase::Provisioning),
        Self::StartUp(Phase::Pulling),
        Self::StartUp(Phase::Starting),
        Self::StartUp(Phase::Loading),
        Self::StartUp(Phase::WarmingUp),
        Self::StartUp(Phase::Probing),
        Self::Draining,
        Self::Unallocated,
    ];

    /// Index into [`Ledger::gpu_ns`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|a| *a == self).expect("a replica without a node holds no GPU")
    }

    /// The words reports use.
    pub fn label(self) -> String {
        match self {
            Self::Unallocated => "unallocated".to_owned(),
            Self::StartUp(phase) => format!("start-up: {}", phase.label()),
            Self::ServingBusy => "serving, busy".to_owned(),
            Self::ServingIdle => "serving, idle".to_owned(),
            Self::Held => "held".to_owned(),
            Self::Draining => "draining".to_owned(),
        }
    }
}

/// GPU-nanoseconds by account, and what they cost. All integrals end with the trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// GPU-nanoseconds of each [`Account`], indexed by [`Account::index`].
    pub gpu_ns: [u128; Account::ALL.len()],
    /// The same, each GPU-nanosecond times the price of its GPU-hour in millionths of a US dollar.
    pub cost: [u128; Account::ALL.len()],
    /// The bill: GPU-nanoseconds of all billed nodes, added up from the nodes alone.
    pub billed_gpu_ns: u128,
    /// The bill of each pool.
    pub pools: Vec<PoolBill>,
    /// GPUs a replica holds.
    pub gpus_per_replica: u32,
    /// The integral of needed(t), replica-nanoseconds; `None` without a capacity, that is without an SLO.
    pub needed_replica_ns: Option<f64>,
    /// The integral of all replicas that exist, replica-nanoseconds.
    pub replica_ns: u128,
    /// Cold starts ordered within the trace.
    pub cold_starts: u64,
    /// Total time those starts spent loading (all start-up phases with a node), ns.
    pub start_up_ns: u128,
    /// GPU-nanoseconds of *serving, busy* in which a replica worked on nothing but a keep-warm request.
    pub keep_warm_gpu_ns: u128,
    /// The same, each times the price of its GPU-hour in millionths of a US dollar.
    pub keep_warm_cost: u128,
    /// GPU-nanoseconds of *unallocated* that placeholders held: nodes kept for replicas to come.
    pub placeholder_gpu_ns: u128,
    /// The same, each times the price of its GPU-hour in millionths of a US dollar.
    pub placeholder_cost: u128,
}

/// What the nodes of a pool cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolBill {
    /// The pool.
    pub name: String,
    /// Price of a GPU-hour, millionths of a US dollar.
    pub price_micro_usd_per_gpu_hour: u64,
    /// GPU-nanoseconds of its billed nodes.
    pub billed_gpu_ns: u128,
}

/// US dollars for GPU-nanoseconds times the price of a GPU-hour in millionths of a dollar.
fn usd(cost: u128) -> f64 {
    cost as f64 / 3.6e12 / 1e6
}

impl Ledger {
    /// GPU-nanoseconds in one account.
    pub fn account(&self, account: Account) -> u128 {
        self.gpu_ns[account.index()]
    }

    /// The sum of all accounts; equal to the bill.
    pub fn total(&self) -> u128 {
        self.gpu_ns.iter().sum()
    }

    /// US dollars of one account.
    pub fn account_usd(&self, account: Account) -> f64 {
        usd(self.cost[account.index()])
    }

    /// The bill: GPU-nanoseconds of each pool times its price. Equal to the sum of [`Ledger::cost`].
    pub fn billed_cost(&self) -> u128 {
        let cost = |pool: &PoolBill| pool.billed_gpu_ns * u128::from(pool.price_micro_usd_per_gpu_hour);
        self.pools.iter().map(cost).sum()
    }

    /// Billed US dollars: `cost.total`.
    pub fn cost_total(&self) -> f64 {
        usd(self.billed_cost())
    }

    /// US dollars of a billed GPU-hour, the mean over what was billed; with nothing billed that of the first pool.
    pub fn price_usd_per_gpu_hour(&self) -> f64 {
        let first = self.pools.first().map_or(0.0, |pool| pool.price_micro_usd_per_gpu_hour as f64 / 1e6);
        if self.billed_gpu_ns == 0 {
            return first;
        }
        self.billed_cost() as f64 / self.billed_gpu_ns as f64 / 1e6
    }

    /// GPU-nanoseconds of the start-up accounts: *scale-up load*.
    pub fn start_up_gpu_ns(&self) -> u128 {
        let is_start_up = |a: &&Account| matches!(a, Account::StartUp(_));
        Account::ALL.iter().filter(is_start_up).map(|a| self.account(*a)).sum()
    }

    /// GPU-nanoseconds of replicas that are ready: busy, idle and held.
    pub fn ready_gpu_ns(&self) -> u128 {
        [Account::ServingBusy, Account::ServingIdle, Account::Held].map(|a| self.account(a)).iter().sum()
    }

    /// US dollars of the start-up accounts.
    pub fn start_up_usd(&self) -> f64 {
        let is_start_up = |a: &&Account| matches!(a, Account::StartUp(_));
        usd(Account::ALL.iter().filter(is_start_up).map(|a| self.cost[a.index()]).sum())
    }

    /// US dollars of replicas that are ready.
    pub fn ready_usd(&self) -> f64 {
        let accounts = [Account::ServingBusy, Account::ServingIdle, Account::Held];
        usd(accounts.iter().map(|a| self.cost[a.index()]).sum())
    }

    /// US dollars of keep-warm requests.
    pub fn keep_warm_usd(&self) -> f64 {
        usd(self.keep_warm_cost)
    }

    /// US dollars of nodes that placeholders held.
    pub fn placeholder_usd(&self) -> f64 {
        usd(self.placeholder_cost)
    }

    /// US dollars of *steady*, at the mean price of the replicas that were ready.
    pub fn steady_usd(&self) -> Option<f64> {
        let (steady, ready) = (self.steady_gpu_ns()?, self.ready_gpu_ns());
        Some(if ready == 0 { 0.0 } else { steady / ready as f64 * self.ready_usd() })
    }

    /// US dollars of *buffer*: what ready replicas cost beyond *steady*.
    pub fn buffer_usd(&self) -> Option<f64> {
        self.steady_usd().map(|steady| self.ready_usd() - steady)
    }

    /// GPU-nanoseconds that the traffic needed: *steady*.
    pub fn steady_gpu_ns(&self) -> Option<f64> {
        self.needed_replica_ns.map(|n| n * f64::from(self.gpus_per_replica))
    }

    /// GPU-nanoseconds ready beyond need: *buffer*. Steady + buffer = busy + idle + held.
    pub fn buffer_gpu_ns(&self) -> Option<f64> {
        self.steady_gpu_ns().map(|steady| self.ready_gpu_ns() as f64 - steady)
    }

    /// Steady over the bill: *utilisation* of GPU-hours.
    pub fn utilisation(&self) -> Option<f64> {
        self.steady_gpu_ns().filter(|_| self.billed_gpu_ns > 0).map(|s| s / self.billed_gpu_ns as f64)
    }
}
