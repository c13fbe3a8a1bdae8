//! Every named figure of a run: what a gate can bind, a table can show and a file can hold.
//!
//! One table, so that `explain`, the checker, the gates and the files agree on names and units.

use crate::outcome::{Account, Cause, Latency, Phase, RunOutcome, StartRecord};

use super::statistics::{Estimate, median};
use crate::kernel::SimDuration;

/// Hours in a month, as prices are quoted: 8,760 / 12.
pub const HOURS_PER_MONTH: f64 = 730.0;

/// What a metric counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// A share, 0 to 1; shown as a percentage.
    Share,
    /// US dollars.
    Usd,
    /// How many; a mean over replications need not be whole.
    Count,
    /// GPU-hours.
    GpuHours,
}

impl Unit {
    /// A limit as it is written in this unit, for messages.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Seconds => "a duration such as 2s or 250ms",
            Self::Share => "a share such as 1% or 0.01",
            Self::Usd => "US dollars such as $60",
            Self::Count => "a number such as 12",
            Self::GpuHours => "GPU-hours such as 12.5",
        }
    }

    /// The word for files.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Share => "share",
            Self::Usd => "USD",
            Self::Count => "count",
            Self::GpuHours => "GPU-h",
        }
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither by itself.
    Neither,
}

/// A named figure of a run.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, as gates write it.
    pub name: &'static str,
    /// What it counts in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// What it is, one sentence.
    pub doc: &'static str,
    value: fn(&RunOutcome) -> Option<f64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Metric {
    /// The metric of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|m| m.name == name)
    }

    /// The name that was probably meant.
    pub fn nearest(name: &str) -> Option<&'static str> {
        let lower = name.to_lowercase();
        let distance = |m: &Metric| strsim::damerau_levenshtein(&lower, &m.name.to_lowercase());
        let nearest = METRICS.iter().min_by_key(|m| distance(m))?;
        (distance(nearest) <= 2.max(name.len() / 3)).then_some(nearest.name)
    }

    /// Its position in [`METRICS`].
    pub fn index(&self) -> usize {
        METRICS.iter().position(|m| m.name == self.name).expect("metrics exist only in the table")
    }

    /// Its value in one run: `None` where the run has no such figure (no SLO, no request, no start),
    /// +infinity where requests never got there.
    pub fn value(&self, run: &RunOutcome) -> Option<f64> {
        (self.value)(run)
    }

    /// Its mean over the runs that have it, with an interval cut to what it can be at all.
    pub fn estimate(&self, of_runs: impl Iterator<Item = Option<f64>>) -> Option<Estimate> {
        let values: Vec<f64> = of_runs.flatten().collect();
        let highest = if self.unit == Unit::Share { 1.0 } else { f64::INFINITY };
        Estimate::of(&values).map(|e| e.within(0.0, highest))
    }
}

fn quantile(latency: &Latency, q: f64) -> Option<f64> {
    let finite = |d: SimDuration| if d == SimDuration::MAX { f64::INFINITY } else { d.as_secs_f64() };
    latency.quantile(q).map(finite)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn of_arrived(run: &RunOutcome, part: u64) -> Option<f64> {
    ratio(part as f64, run.counts.arrived as f64)
}

/// What the run would cost in a month of 730 hours, if its period repeated; `None` for a run of no length.
pub fn monthly(run: &RunOutcome, cost_usd: f64) -> Option<f64> {
    ratio(cost_usd * HOURS_PER_MONTH * 3600.0, run.trace_end.as_secs_f64())
}

fn served_tokens(run: &RunOutcome) -> f64 {
    run.counts.prompt_tokens as f64 + run.counts.output_tokens as f64
}

fn median_start(run: &RunOutcome) -> Option<f64> {
    let cold = run.starts.iter().filter(|start| start.is_cold());
    let durations: Vec<f64> = cold.filter_map(StartRecord::duration).map(SimDuration::as_secs_f64).collect();
    median(&durations)
}

fn median_wait(run: &RunOutcome) -> Option<f64> {
    let ready = run.starts.iter().filter(|start| start.duration().is_some());
    median(&ready.map(|start| start.waiting().as_secs_f64()).collect::<Vec<f64>>())
}

fn breach_time(run: &RunOutcome, cause: Cause) -> Option<f64> {
    run.breaches.as_ref().map(|breaches| breaches.time_by_cause[cause.index()].as_secs_f64())
}

fn most_replicas(run: &RunOutcome) -> Option<f64> {
    run.timeline.points.iter().map(|p| p.replicas.iter().sum::<u32>()).max().map(f64::from)
}

macro_rules! metrics {
    (
        latencies { $($field:ident, $prefix:literal, $what:literal;)* }
        figures { $($name:literal, $unit:ident, $better:ident, $doc:literal, $value:expr;)* }
    ) => {
        /// All metrics, in the order of files and manuals.
        pub const METRICS: &[Metric] = &[
            $(
                metrics!(@latency $field, $prefix, ".p50", "Median", $what, |l| quantile(l, 0.5)),
                metrics!(@latency $field, $prefix, ".p90", "90th percentile", $what, |l| quantile(l, 0.9)),
                metrics!(@latency $field, $prefix, ".p95", "95th percentile", $what, |l| quantile(l, 0.95)),
                metrics!(@latency $field, $prefix, ".p99", "99th percentile", $what, |l| quantile(l, 0.99)),
                metrics!(@latency $field, $prefix, ".p999", "99.9th percentile", $what, |l| quantile(l, 0.999)),
                metrics!(@latency $field, $prefix, ".mean", "Mean", $what, |l| l.mean_secs()),
                metrics!(@latency $field, $prefix, ".max", "Largest", $what, |l| quantile(l, 1.0)),
            )*
            $(
                Metric { name: $name, unit: Unit::$unit, better: Better::$better, doc: $doc, value: $value },
            )*
        ];
    };
    (@latency $field:ident, $prefix:literal, $suffix:literal, $which:literal, $what:literal, $read:expr) => {
        Metric {
            name: concat!($prefix, $suffix),
            unit: Unit::Seconds,
            better: Better::Lower,
            doc: concat!($which, " ", $what, "; requests that never got there count as infinite."),
            value: |run| {
                let read: fn(&Latency) -> Option<f64> = $read;
                read(&run.latency.$field)
            },
        }
    };
}

metrics! {
    latencies {
        ttft, "ttft", "time to first token, from arrival at the gateway";
        tpot, "tpot", "time per output token after the first";
        itl, "itl", "inter-token latency";
        e2e, "e2e", "end-to-end latency, from arrival to the last token";
        queue_wait, "queueWait", "wait from arrival until the engine first schedules the request";
    }
    figures {
        "slo.breach", Share, Lower, "Share of requests that breached the SLO.",
            |run| run.breaches.as_ref().and_then(|b| of_arrived(run, b.total));
        "slo.breachTime", Seconds, Lower, "Time in which some request was in breach.",
            |run| run.breaches.as_ref().map(|b| b.duration().as_secs_f64());
        "slo.breachTime.drain", Seconds, Lower, "Time in breach of requests that a drain cut.",
            |run| breach_time(run, Cause::Drain);
        "slo.breachTime.notWarmed", Seconds, Lower, "Time in breach of requests in replicas that nothing had warmed.",
            |run| breach_time(run, Cause::NotWarmed);
        "slo.breachTime.pending", Seconds, Lower, "Time in breach while the awaited replica was pending although nodes were to be had.",
            |run| breach_time(run, Cause::StartUp(Phase::Pending));
        "slo.breachTime.node", Seconds, Lower, "Time in breach while a node was provisioned for the awaited replica.",
            |run| breach_time(run, Cause::StartUp(Phase::Provisioning));
        "slo.breachTime.pull", Seconds, Lower, "Time in breach while the awaited replica pulled its image.",
            |run| breach_time(run, Cause::StartUp(Phase::Pulling));
        "slo.breachTime.start", Seconds, Lower, "Time in breach while the awaited replica's container started.",
            |run| breach_time(run, Cause::StartUp(Phase::Starting));
        "slo.breachTime.load", Seconds, Lower, "Time in breach while the awaited replica loaded its weights.",
            |run| breach_time(run, Cause::StartUp(Phase::Loading));
        "slo.breachTime.warmUp", Seconds, Lower, "Time in breach while the awaited replica warmed up.",
            |run| breach_time(run, Cause::StartUp(Phase::WarmingUp));
        "slo.breachTime.probe", Seconds, Lower, "Time in breach while the awaited replica's readiness probe had not passed.",
            |run| breach_time(run, Cause::StartUp(Phase::Probing));
        "slo.breachTime.noNode", Seconds, Lower, "Time in breach while no node was to be had.",
            |run| breach_time(run, Cause::NoNode);
        "slo.breachTime.atMaximum", Seconds, Lower, "Time in breach while the policy was at its maximum and none was on its way.",
            |run| breach_time(run, Cause::AtMaximum);
        "slo.breachTime.notOrdered", Seconds, Lower, "Time in breach while the policy could have ordered more and none was on its way.",
            |run| breach_time(run, Cause::NotOrdered);
        "slo.breachTime.saturation", Seconds, Lower, "Time in breach while the replicas were saturated under a policy that never orders more.",
            |run| breach_time(run, Cause::Saturation);
        "cost.total", Usd, Lower, "The bill of the run: every GPU of every billed node, until the trace ends.",
            |run| Some(run.ledger.cost_total());
        "cost.monthly", Usd, Lower, "The bill of 730 hours, if this period repeated.",
            |run| monthly(run, run.ledger.cost_total());
        "cost.perMillionTokens", Usd, Lower, "The bill per million tokens of finished requests, prompt and output.",
            |run| ratio(run.ledger.cost_total() * 1e6, served_tokens(run));
        "cost.perMillionOutputTokens", Usd, Lower, "The bill per million output tokens of finished requests.",
            |run| ratio(run.ledger.cost_total() * 1e6, run.counts.output_tokens as f64);
        "cost.perRequest", Usd, Lower, "The bill per finished request.",
            |run| ratio(run.ledger.cost_total(), run.counts.finished as f64);
        "cost.steady", Usd, Neither, "What the replicas that the traffic needed cost.",
            |run| run.ledger.steady_usd();
        "cost.buffer", Usd, Lower, "What ready replicas beyond the need cost.",
            |run| run.ledger.buffer_usd().map(|usd| usd.max(0.0));
        "cost.scaleUpLoad", Usd, Lower, "What replicas cost before they were first ready.",
            |run| Some(run.ledger.start_up_usd());
        "cost.draining", Usd, Lower, "What draining replicas cost.",
            |run| Some(run.ledger.account_usd(Account::Draining));
        "cost.unallocated", Usd, Lower, "What GPUs bound to no replica cost.",
            |run| Some(run.ledger.account_usd(Account::Unallocated));
        "cost.heldNodes", Usd, Lower, "What GPUs cost that placeholders held for replicas to come; part of unallocated.",
            |run| Some(run.ledger.placeholder_usd());
        "cost.keepWarm", Usd, Lower, "What GPUs cost while replicas in rotation worked on nothing but a keep-warm request; part of busy.",
            |run| Some(run.ledger.keep_warm_usd());
        "keepWarm.share", Share, Lower, "Share of busy GPU time that went to keep-warm requests alone.",
            |run| ratio(run.ledger.keep_warm_gpu_ns as f64, run.ledger.account(Account::ServingBusy) as f64);
        "utilisation", Share, Higher, "Steady over bill: the share of GPU-hours that the traffic needed.",
            |run| run.ledger.utilisation();
        "gpuHours", GpuHours, Lower, "Billed GPU-hours.",
            |run| Some(run.ledger.billed_gpu_ns as f64 / 3.6e12);
        "requests.arrived", Count, Neither, "Requests that reached the gateway.",
            |run| Some(run.counts.arrived as f64);
        "requests.finished", Share, Higher, "Share of requests answered in full.",
            |run| of_arrived(run, run.counts.finished);
        "requests.rejected", Share, Lower, "Share of requests refused.",
            |run| of_arrived(run, run.counts.rejected);
        "requests.timedOut", Share, Lower, "Share of requests given up at the timeout.",
            |run| of_arrived(run, run.counts.timed_out);
        "requests.killed", Share, Lower, "Share of requests cut by a drain or a fault.",
            |run| of_arrived(run, run.counts.killed);
        "coldStarts", Count, Lower, "Cold starts ordered within the trace.",
            |run| Some(run.ledger.cold_starts as f64);
        "coldStarts.median", Seconds, Lower, "Median time from the order of a replica until it is ready.",
            median_start;
        "coldStarts.waiting", Seconds, Lower,
            "Median time of a start in which nothing was done for it: it waited for a node, for links that others used, a back-off or its probe.",
            median_wait;
        "restarts", Count, Lower, "Containers that started again: killed by a startup or liveness probe, crashed, or without their GPU.",
            |run| Some(run.starts.iter().map(|start| u64::from(start.restarts)).sum::<u64>() as f64);
        "replicas.max", Count, Neither, "Most replicas that existed at the end of a timeline step, in any phase.",
            most_replicas;
        "replicas.mean", Count, Neither, "Replicas that existed, in any phase, averaged over the trace.",
            |run| ratio(run.ledger.replica_ns as f64, run.trace_end.as_nanos() as f64);
        "preemptions", Count, Lower, "Preemptions by recompute.",
            |run| Some(run.counts.preemptions as f64);
        "steps.extrapolated", Share, Lower, "Share of engine steps costed beyond what the profile measured.",
            |run| ratio(run.steps.extrapolated as f64, run.steps.total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn names_are_unique_and_documented() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert_eq!(metric.index(), index, "{} appears twice", metric.name);
            assert!(metric.doc.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn values_of_a_run() {
        let run = fixture::run(1);
        let check = |name: &str, expected: Option<f64>| {
            let value = Metric::find(name).unwrap().value(&run);
            match (value, expected) {
                (Some(v), Some(e)) if e.is_finite() => assert!((v - e).abs() <= 1e-3 * e, "{name}: {v} {e}"),
                (v, e) => assert_eq!(v, e, "{name}"),
            }
        };
        // The fixture: 1,000 requests in an hour, of which 4 timed out and 1 was rejected.
        check("requests.arrived", Some(1000.0));
        check("requests.timedOut", Some(0.004));
        check("requests.rejected", Some(0.001));
        check("requests.killed", Some(0.0));
        check("slo.breach", Some(0.025));
        check("slo.breachTime", Some(90.0));
        check("slo.breachTime.load", Some(20.0));
        check("slo.breachTime.noNode", Some(0.0));
        check("ttft.p50", Some(0.091));
        check("ttft.p999", Some(f64::INFINITY));
        check("ttft.mean", Some(f64::INFINITY));
        check("tpot.max", Some(0.032));
        check("gpuHours", Some(4.0));
        check("cost.total", Some(14.4));
        check("cost.monthly", Some(14.4 * 730.0));
        check("utilisation", Some(0.5));
        check("replicas.mean", Some(3.5));
        check("replicas.max", Some(4.0));
        check("coldStarts", Some(3.0));
        check("coldStarts.median", Some(39.0));
        check("coldStarts.waiting", Some(1.6));
        check("steps.extrapolated", Some(0.031));
    }

    #[test]
    fn without_an_slo_there_is_no_breach_and_no_split() {
        let mut run = fixture::run(1);
        run.breaches = None;
        run.ledger.needed_replica_ns = None;
        for name in ["slo.breach", "slo.breachTime", "utilisation", "cost.steady", "cost.buffer"] {
            assert_eq!(Metric::find(name).unwrap().value(&run), None, "{name}");
        }
    }

    #[test]
    fn estimates_rest_on_the_runs_that_have_the_figure() {
        let share = Metric::find("slo.breach").unwrap();
        let estimate = share.estimate([Some(0.0), None, Some(0.02)].into_iter()).unwrap();
        assert_eq!(estimate.count, 2);
        // Half-width 12.706 x 0.01: cut at nothing and below everything.
        let (low, high) = estimate.interval.unwrap();
        assert!(low.abs() < 1e-12 && (high - 0.13706).abs() < 1e-4, "{low} {high}");
        assert_eq!(share.estimate([None].into_iter()), None);
    }

    #[test]
    fn suggestions() {
        for (typed, meant) in [
            ("ttft.p98", Some("ttft.p99")),
            ("slo.breaches", Some("slo.breach")),
            ("queuewait.p99", Some("queueWait.p99")),
            ("coldstarts", Some("coldStarts")),
            ("banana", None),
        ] {
            let nearest = Metric::nearest(typed);
            if typed == "ttft.p98" {
                assert!(nearest.is_some_and(|n| n.starts_with("ttft.p9")));
            } else {
                assert_eq!(nearest, meant, "{typed}");
            }
        }
    }
}
