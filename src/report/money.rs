//! A policy's bill, taken apart twice: by account of the ledger, and by the terms of the cost
//! equation.
//!
//! Everything is a mean over replications. Shown parts are rounded by largest remainders,
//! so that they add up to the bill as shown, to the cent and to the tenth of a percent.

use crate::experiment::metric::{HOURS_PER_MONTH, Metric, monthly};
use crate::experiment::statistics::apportion;
use crate::outcome::{Account, RunOutcome};

/// One part of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is called.
    pub label: String,
    /// Its share of the bill, tenths of a percent; all parts sum to 1,000.
    pub share_tenths: u64,
    /// Mean over replications, cents; all parts sum to the bill in cents.
    pub cents: u64,
    /// The same if this period repeated for 730 hours, cents.
    pub monthly_cents: u64,
    /// Mean over replications, US dollars, not rounded.
    pub usd: f64,
}

/// One account of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountLine {
    /// Which.
    pub account: Account,
    /// GPU-nanoseconds, summed over the replications; all accounts sum to [`Money::billed_gpu_ns`].
    pub gpu_ns: u128,
    /// What it amounts to.
    pub part: Part,
}

/// The monthly cost equation as people write it. Its first term is the steady part: the replicas
/// the traffic needed, so that buffer and start-ups are not counted twice. It is an approximation:
/// it knows nothing of draining and unallocated GPUs, nor of what stages of a start cost less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equation {
    /// Replicas needed, on average; without an SLO, which has no need, those that were ready.
    pub replicas: f64,
    /// US dollars of a replica-hour: of all its GPUs.
    pub price_usd_per_hour: f64,
    /// Cold starts in 730 hours, if this period repeated.
    pub starts_per_month: f64,
    /// Mean time of a start with a node, s; 0 without starts.
    pub load_secs: f64,
    /// Ready replicas beyond the need, on average; `None` without an SLO.
    pub buffer_replicas: Option<f64>,
}

impl Equation {
    /// Average concurrent replicas that the traffic needs x price x 730 h, US dollars a month.
    pub fn replicas_usd(&self) -> f64 {
        self.replicas * self.price_usd_per_hour * HOURS_PER_MONTH
    }

    /// Scale-up events x load time x price, US dollars a month.
    pub fn starts_usd(&self) -> f64 {
        self.starts_per_month * self.load_secs / 3600.0 * self.price_usd_per_hour
    }

    /// Over-provisioning buffer x price x 730 h, US dollars a month.
    pub fn buffer_usd(&self) -> f64 {
        self.buffer_replicas.unwrap_or(0.0) * self.price_usd_per_hour * HOURS_PER_MONTH
    }

    /// The sum of the three.
    pub fn total_usd(&self) -> f64 {
        self.replicas_usd() + self.starts_usd() + self.buffer_usd()
    }
}

/// The money of one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Money {
    /// Replications it is the mean of.
    pub runs: usize,
    /// The bill in GPU-nanoseconds, summed over the replications.
    pub billed_gpu_ns: u128,
    /// The bill of a run, US dollars.
    pub total_usd: f64,
    /// The bill of a run as shown, cents.
    pub total_cents: u64,
    /// If this period repeated, cents, from $10,000 on in whole dollars; `None` for a trace of no length.
    pub monthly_cents: Option<u64>,
    /// Every account, in the order of [`Account::ALL`], empty ones too.
    pub accounts: Vec<AccountLine>,
    /// Steady, buffer, scale-up load, draining, unallocated; without an SLO the first two are one, *ready*.
    pub terms: Vec<Part>,
    /// Whether there is a split into steady and buffer.
    pub is_split: bool,
    /// The equation as people write it; `None` for a trace of no length.
    pub equation: Option<Equation>,
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count.max(1) as f64
}

fn to_cents(usd: f64) -> u64 {
    (usd * 100.0).round().max(0.0) as u64
}

/// What one part of a run's bill amounts to, US dollars.
type PartOfRun<'a> = (String, Box<dyn Fn(&RunOutcome) -> f64 + 'a>);

/// The replications of one policy, and the sums that its parts must add up to.
struct Bill<'a> {
    runs: &'a [RunOutcome],
    total_usd: f64,
    total_cents: u64,
    monthly_cents: Option<u64>,
}

impl<'a> Bill<'a> {
    fn of(runs: &'a [RunOutcome]) -> Self {
        let total_usd = mean(runs.iter().map(|run| run.ledger.cost_total()), runs.len());
        let months: Option<Vec<f64>> = runs.iter().map(|run| monthly(run, run.ledger.cost_total())).collect();
        let monthly_cents = months.filter(|m| !m.is_empty()).map(|m| {
            let cents = to_cents(mean(m.into_iter(), runs.len()));
            let step = month_step(cents);
            (cents + step / 2) / step * step
        });
        Self { runs, total_usd, total_cents: to_cents(total_usd), monthly_cents }
    }

    /// The parts, rounded so that they add up.
    fn parts(&self, parts: Vec<PartOfRun<'_>>) -> Vec<Part> {
        let mean_of = |of: &dyn Fn(&RunOutcome) -> f64| mean(self.runs.iter().map(of), self.runs.len());
        let usd: Vec<f64> = parts.iter().map(|(_, of)| mean_of(of)).collect();
        let in_month = |of: &dyn Fn(&RunOutcome) -> f64| mean_of(&|run| monthly(run, of(run)).unwrap_or(0.0));
        let monthly_usd: Vec<f64> = parts.iter().map(|(_, of)| in_month(of)).collect();
        let shares = apportion(&usd, 1000);
        let cents = apportion(&usd, self.total_cents);
        let step = month_step(self.monthly_cents.unwrap_or(0));
        let months = apportion(&monthly_usd, self.monthly_cents.unwrap_or(0) / step);
        let part = |(index, (label, _)): (usize, PartOfRun<'_>)| Part {
            label,
            share_tenths: shares[index],
            cents: cents[index],
            monthly_cents: months[index] * step,
            usd: usd[index],
        };
        parts.into_iter().enumerate().map(part).collect()
    }

    fn accounts(&self) -> Vec<AccountLine> {
        let part = |account: Account| -> PartOfRun<'_> {
            (account.label(), Box::new(move |run| run.ledger.account_usd(account)))
        };
        let parts = self.parts(Account::ALL.into_iter().map(part).collect());
        let line = |(account, part)| AccountLine {
            account,
            gpu_ns: self.runs.iter().map(|run| run.ledger.account(account)).sum(),
            part,
        };
        Account::ALL.into_iter().zip(parts).map(line).collect()
    }

    fn terms(&self, is_split: bool) -> Vec<Part> {
        let term = |label: &str, name: &'static str| -> PartOfRun<'_> {
            let value = move |run: &RunOutcome| Metric::find(name).and_then(|m| m.value(run)).unwrap_or(0.0);
            (label.to_owned(), Box::new(value))
        };
        let mut terms = if is_split {
            vec![term("steady", "cost.steady"), term("buffer", "cost.buffer")]
        } else {
            let ready = |run: &RunOutcome| run.ledger.ready_usd();
            vec![("ready".to_owned(), Box::new(ready) as Box<dyn Fn(&RunOutcome) -> f64>)]
        };
        terms.push(term("scale-up load", "cost.scaleUpLoad"));
        terms.push(term("draining", "cost.draining"));
        terms.push(term("unallocated", "cost.unallocated"));
        self.parts(terms)
    }
}

/// The smallest amount that a monthly sum shows, cents: a dollar from $10,000 on, below it a cent.
const fn month_step(cents: u64) -> u64 {
    if cents < 1_000_000 { 1 } else { 100 }
}

impl Money {
    /// Of the replications of one policy.
    pub fn of(runs: &[RunOutcome]) -> Self {
        let bill = Bill::of(runs);
        let is_split = !runs.is_empty() && runs.iter().all(|run| run.ledger.needed_replica_ns.is_some());
        Self {
            runs: runs.len(),
            billed_gpu_ns: runs.iter().map(|run| run.ledger.billed_gpu_ns).sum(),
            total_usd: bill.total_usd,
            total_cents: bill.total_cents,
            monthly_cents: bill.monthly_cents,
            accounts: bill.accounts(),
            terms: bill.terms(is_split),
            is_split,
            equation: bill.monthly_cents.map(|_| equation(runs, is_split)),
        }
    }
}

/// Needs runs of some length.
fn equation(runs: &[RunOutcome], is_split: bool) -> Equation {
    let over_runs = |of: &dyn Fn(&RunOutcome) -> f64| mean(runs.iter().map(of), runs.len());
    let span_ns = |run: &RunOutcome| run.trace_end.as_nanos() as f64;
    let starts: u64 = runs.iter().map(|run| run.ledger.cold_starts).sum();
    let start_up_ns: u128 = runs.iter().map(|run| run.ledger.start_up_ns).sum();
    let buffer = |run: &RunOutcome| {
        let gpus = f64::from(run.ledger.gpus_per_replica.max(1));
        run.ledger.buffer_gpu_ns().unwrap_or(0.0).max(0.0) / gpus / span_ns(run)
    };
    Equation {
        replicas: over_runs(&|run| {
            let gpus = f64::from(run.ledger.gpus_per_replica.max(1));
            let ready_replica_ns = run.ledger.ready_gpu_ns() as f64 / gpus;
            run.ledger.needed_replica_ns.filter(|_| is_split).unwrap_or(ready_replica_ns) / span_ns(run)
        }),
        price_usd_per_hour: over_runs(&|run| {
            run.ledger.price_usd_per_gpu_hour() * f64::from(run.ledger.gpus_per_replica.max(1))
        }),
        starts_per_month: over_runs(&|run| {
            run.ledger.cold_starts as f64 * HOURS_PER_MONTH * 3600.0 / run.trace_end.as_secs_f64()
        }),
        load_secs: if starts == 0 { 0.0 } else { start_up_ns as f64 / 1e9 / starts as f64 },
        buffer_replicas: is_split.then(|| over_runs(&buffer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Phase;
    use crate::report::fixture;
    use proptest::prelude::*;

    fn sums(money: &Money) {
        assert_eq!(money.accounts.iter().map(|a| a.gpu_ns).sum::<u128>(), money.billed_gpu_ns);
        let accounts: Vec<&Part> = money.accounts.iter().map(|a| &a.part).collect();
        let terms: Vec<&Part> = money.terms.iter().collect();
        for parts in [accounts, terms] {
            let sum = |of: fn(&Part) -> u64| parts.iter().map(|p| of(p)).sum::<u64>();
            assert_eq!(sum(|p| p.share_tenths), if money.billed_gpu_ns == 0 { 0 } else { 1000 });
            assert_eq!(sum(|p| p.cents), money.total_cents);
            assert_eq!(sum(|p| p.monthly_cents), money.monthly_cents.unwrap_or(0));
            let usd: f64 = parts.iter().map(|p| p.usd).sum();
            assert!(
                (usd - money.total_usd).abs() < 1e-6 * money.total_usd.max(1.0),
                "{usd} {}",
                money.total_usd
            );
        }
    }

    #[test]
    fn the_bill_of_the_fixture() {
        let money = Money::of(&[fixture::run(1), fixture::run(2)]);
        sums(&money);
        let term = |label: &str| money.terms.iter().find(|t| t.label == label).unwrap();
        assert_eq!(money.total_cents, 1440);
        assert_eq!(money.monthly_cents, Some(1440 * 730));
        assert_eq!(term("steady").cents, 720);
        assert_eq!(term("steady").share_tenths, 500);
        // Ready 11,400 s of GPU, of which 7,200 needed: 4,200 s at $3.60 an hour.
        assert_eq!(term("buffer").cents, 420);
        assert!((term("scale-up load").usd - 0.1158).abs() < 1e-9);
        let equation = money.equation.unwrap();
        // Two replicas needed, of the 3.5 that existed: the rest is in the other terms.
        assert!((equation.replicas_usd() - 2.0 * 3.6 * 730.0).abs() < 1e-6);
        assert!((equation.starts_usd() - 3.0 * 730.0 * 38.6 / 3600.0 * 3.6).abs() < 1e-6);
        assert!((equation.buffer_usd() - 4200.0 / 3600.0 * 3.6 * 730.0).abs() < 1e-6);
    }

    #[test]
    fn without_an_slo_nothing_is_split() {
        let mut run = fixture::run(1);
        run.ledger.needed_replica_ns = None;
        let money = Money::of(&[run]);
        sums(&money);
        assert_eq!(money.terms[0].label, "ready");
        assert_eq!(money.equation.unwrap().buffer_replicas, None);
    }

    #[test]
    fn a_run_of_no_length_has_no_month() {
        let mut run = fixture::run(1);
        run.trace_end = crate::kernel::SimDuration::ZERO;
        run.ledger = crate::outcome::Ledger::default();
        let money = Money::of(&[run]);
        sums(&money);
        assert_eq!((money.monthly_cents, money.equation), (None, None));
        assert_eq!(Money::of(&[]).total_cents, 0);
    }

    proptest! {
        #[test]
        fn every_part_adds_up(
            gpu_ns in proptest::collection::vec(0u64..10_000_000_000_000, 11 * 3),
            needed in 0.0f64..=1.0,
            price in 1u64..20_000_000,
            gpus in 1u32..9,
        ) {
            let runs: Vec<_> = gpu_ns.chunks(11).map(|accounts| {
                let mut run = fixture::run(1);
                for (account, ns) in run.ledger.gpu_ns.iter_mut().zip(accounts) {
                    *account = u128::from(*ns);
                }
                run.ledger.billed_gpu_ns = run.ledger.total();
                fixture::price(&mut run.ledger, price);
                run.ledger.gpus_per_replica = gpus;
                run.ledger.needed_replica_ns =
                    Some(run.ledger.ready_gpu_ns() as f64 * needed / f64::from(gpus));
                run
            }).collect();
            let money = Money::of(&runs);
            sums(&money);
            let loading = Account::StartUp(Phase::Loading);
            prop_assert_eq!(money.accounts[loading.index()].account, loading);
        }
    }
}
