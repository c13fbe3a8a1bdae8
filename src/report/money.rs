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

/// The monthly cost equation as people write it. It is an approximation: the average of all
/// replicas already holds the start-ups and the buffer, it knows nothing of unallocated GPUs,
/// and it takes every replica for one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equation {
    /// Replicas that existed, on average.
    pub replicas: f64,
    /// US dollars of a GPU-hour.
    pub price_usd_per_hour: f64,
    /// Cold starts in 730 hours, if this period repeated.
    pub starts_per_month: f64,
    /// Mean time of a start with a node, s; 0 without starts.
    pub load_secs: f64,
    /// Ready replicas beyond the need, on average; `None` without an SLO.
    pub buffer_replicas: Option<f64>,
}

impl Equation {
    /// Average concurrent replicas x price x 730 h, US dollars a month.
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
    /// If this period repeated, cents; `None` for a trace of no length.
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

impl Money {
    /// Of the replications of one policy.
    pub fn of(runs: &[RunOutcome]) -> Self {
        let count = runs.len();
        let over_runs = |of: &dyn Fn(&RunOutcome) -> f64| mean(runs.iter().map(of), count);
        let total_usd = over_runs(&|run| run.ledger.cost_total());
        let total_cents = to_cents(total_usd);
        let has_months = count > 0 && runs.iter().all(|run| !run.trace_end.is_zero());
        let monthly_of = |usd: &dyn Fn(&RunOutcome) -> f64| {
            has_months.then(|| over_runs(&|run| monthly(run, usd(run)).unwrap_or(0.0)))
        };
        let monthly_cents = monthly_of(&|run| run.ledger.cost_total()).map(to_cents);
        let parts = |labels: Vec<String>, of: &[&dyn Fn(&RunOutcome) -> f64]| -> Vec<Part> {
            let usd: Vec<f64> = of.iter().map(|f| over_runs(*f)).collect();
            let in_month: Vec<f64> = of.iter().map(|f| monthly_of(*f).unwrap_or(0.0)).collect();
            let shares = apportion(&usd, 1000);
            let cents = apportion(&usd, total_cents);
            let months = apportion(&in_month, monthly_cents.unwrap_or(0));
            let figures = usd.into_iter().zip(shares).zip(cents).zip(months);
            let part = |(label, (((usd, share_tenths), cents), monthly_cents))| Part {
                label,
                share_tenths,
                cents,
                monthly_cents,
                usd,
            };
            labels.into_iter().zip(figures).map(part).collect()
        };

        let account_usd: Vec<Box<dyn Fn(&RunOutcome) -> f64>> = Account::ALL
            .into_iter()
            .map(|a| {
                Box::new(move |run: &RunOutcome| run.ledger.usd(run.ledger.account(a) as f64))
                    as Box<dyn Fn(&_) -> _>
            })
            .collect();
        let account_refs: Vec<&dyn Fn(&RunOutcome) -> f64> = account_usd.iter().map(AsRef::as_ref).collect();
        let account_parts = parts(Account::ALL.into_iter().map(Account::label).collect(), &account_refs);
        let accounts = Account::ALL
            .into_iter()
            .zip(account_parts)
            .map(|(account, part)| AccountLine {
                account,
                gpu_ns: runs.iter().map(|run| run.ledger.account(account)).sum(),
                part,
            })
            .collect();

        let is_split = count > 0 && runs.iter().all(|run| run.ledger.needed_replica_ns.is_some());
        let metric = |name: &'static str| {
            let metric = Metric::find(name).expect("the cost terms are metrics");
            move |run: &RunOutcome| metric.value(run).unwrap_or(0.0)
        };
        let (steady, buffer) = (metric("cost.steady"), metric("cost.buffer"));
        let ready = |run: &RunOutcome| run.ledger.usd(run.ledger.ready_gpu_ns() as f64);
        let (scale_up, draining) = (metric("cost.scaleUpLoad"), metric("cost.draining"));
        let unallocated = metric("cost.unallocated");
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let terms = if is_split {
            parts(
                names(&["steady", "buffer", "scale-up load", "draining", "unallocated"]),
                &[&steady, &buffer, &scale_up, &draining, &unallocated],
            )
        } else {
            parts(
                names(&["ready", "scale-up load", "draining", "unallocated"]),
                &[&ready, &scale_up, &draining, &unallocated],
            )
        };
        Self {
            runs: count,
            billed_gpu_ns: runs.iter().map(|run| run.ledger.billed_gpu_ns).sum(),
            total_usd,
            total_cents,
            monthly_cents,
            accounts,
            terms,
            is_split,
            equation: has_months.then(|| equation(runs, is_split)),
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
        replicas: over_runs(&|run| run.ledger.replica_ns as f64 / span_ns(run)),
        price_usd_per_hour: over_runs(&|run| run.ledger.price_micro_usd_per_gpu_hour as f64 / 1e6),
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
        assert!((equation.replicas_usd() - 3.5 * 3.6 * 730.0).abs() < 1e-6);
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
                run.ledger.price_micro_usd_per_gpu_hour = price;
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
