//! `outcome.json`: everything, for programs. The types are those of [`document`](super::document).

use std::io::{self, Write};

use indexmap::IndexMap;

use super::document::{
    AccountDoc, BreachesDoc, CellDoc, DecisionDoc, Document, EquationDoc, Figure, GateDoc, LatencyDoc,
    LedgerDoc, MeanDoc, PolicyDoc, PolicySummaryDoc, PoolDoc, RunDoc, SCHEMA_VERSION, ShareDoc, TermDoc,
    TimeShareDoc, VerdictDoc,
};
use super::document_timeline::TimelineDoc;
use super::foresight::ForesightDoc;
use super::money::Money;
use super::summary::{GateRow, PolicySummary, Share};
use super::verdict::Verdict;
use super::{Report, Summary};
use crate::experiment::{METRICS, slo_limits};
use crate::outcome::{Account, BreachOutcome, Breaches, Cause, Latency, Ledger, PoolBill, RunOutcome};

/// The whole outcome.
pub struct Json;

impl Report for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn file(&self) -> Option<&'static str> {
        Some("outcome.json")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &Document::from(summary))?;
        writeln!(out)
    }
}

impl From<&Summary> for Document {
    fn from(summary: &Summary) -> Self {
        let header = &summary.experiment.header;
        let policies = summary.policies.iter().zip(&summary.experiment.policies);
        Self {
            schema_version: SCHEMA_VERSION,
            scenario: header.scenario.clone(),
            profile: header.profile.clone(),
            model: header.model.clone(),
            workload: header.workload.clone(),
            seed: header.seed,
            replications: header.replications,
            span_ns: header.span.as_nanos(),
            requests: header.requests,
            intervals_cover: header.coverage.label().to_owned(),
            capacity_requests_per_second: header.capacity.filter(|c| c.is_finite()),
            slo: slo_limits(&header.slo).into_iter().map(|(n, l)| (n.to_owned(), l.to_string())).collect(),
            warnings: header.warnings.clone(),
            profile_figures: header.profile_figures.clone(),
            prices: header.prices.clone(),
            command: header.command.clone(),
            lenient: summary.experiment.lenient,
            gates: summary.gates.iter().map(|row| gate(row, &summary.policies)).collect(),
            gates_failed: summary.gates_failed(),
            verdict: VerdictDoc {
                policy: match summary.verdict {
                    Verdict::Choose { policy, .. } => Some(summary.policies[policy].name.clone()),
                    Verdict::NoGates | Verdict::NoneHolds { .. } => None,
                },
                text: summary.verdict_text.clone(),
            },
            foresight: (summary.experiment.foresight.as_ref())
                .map(|foresight| ForesightDoc::new(foresight, &summary.policies)),
            resolved: summary.experiment.resolved.clone(),
            policies: policies
                .map(|(policy, outcome)| PolicyDoc {
                    name: policy.name.clone(),
                    summary: policy_summary(policy),
                    runs: (outcome.runs.iter().zip(&policy.of_runs).enumerate())
                        .map(|(i, (run, figures))| run_doc(i, run, figures))
                        .collect(),
                })
                .collect(),
        }
    }
}

fn gate(row: &GateRow, policies: &[PolicySummary]) -> GateDoc {
    let cell = |(policy, cell): (&PolicySummary, &super::summary::GateCell)| {
        let value = MeanDoc::from(cell.estimate);
        (policy.name.clone(), CellDoc { status: cell.status, binds: cell.bound, value })
    };
    GateDoc {
        gate: row.gate.to_string(),
        metric: row.gate.metric.name.to_owned(),
        unit: row.gate.metric.unit.label().to_owned(),
        comparison: row.gate.comparison.sign().to_owned(),
        limit: row.gate.limit,
        policies: policies.iter().zip(&row.cells).map(cell).collect(),
    }
}

fn percent(share_tenths: u64) -> f64 {
    share_tenths as f64 / 10.0
}

fn shares<T: Copy>(shares: &[Share<T>], label: impl Fn(T) -> String) -> IndexMap<String, ShareDoc> {
    let doc = |s: &Share<T>| (label(s.of), ShareDoc { count: s.count, percent: percent(s.share_tenths) });
    shares.iter().map(doc).collect()
}

fn policy_summary(policy: &PolicySummary) -> PolicySummaryDoc {
    let metrics = METRICS.iter().zip(&policy.metrics);
    let Money { billed_gpu_ns, accounts, terms, equation, .. } = &policy.money;
    PolicySummaryDoc {
        metrics: metrics
            .map(|(metric, estimate)| (metric.name.to_owned(), MeanDoc::from(*estimate)))
            .collect(),
        cold_start_seconds: policy.cold_start.as_ref().map(|cold| {
            let phases = cold.phases.iter().map(|(phase, secs)| (phase.label().to_owned(), *secs));
            phases.chain([("total".to_owned(), cold.median_secs)]).collect()
        }),
        breaches_by_cause: policy.breaches.as_ref().map(|b| shares(&b.causes, |c| c.label().to_owned())),
        breach_time_by_cause: policy.breaches.as_ref().map(|b| {
            let doc = |s: &Share<Cause>| {
                let doc = TimeShareDoc { ns: s.count, percent: percent(s.share_tenths) };
                (s.of.label().to_owned(), doc)
            };
            b.times.iter().map(doc).collect()
        }),
        breaches_by_outcome: policy.breaches.as_ref().map(|b| shares(&b.outcomes, |o| o.label().to_owned())),
        billed_gpu_ns: billed_gpu_ns.to_string(),
        ledger: accounts
            .iter()
            .map(|line| {
                let percent = percent(line.part.share_tenths);
                let doc = AccountDoc { gpu_ns: line.gpu_ns.to_string(), usd: line.part.usd, percent };
                (line.part.label.clone(), doc)
            })
            .collect(),
        cost_terms: terms
            .iter()
            .map(|part| {
                let monthly_usd = part.monthly_cents as f64 / 100.0;
                let doc = TermDoc { usd: part.usd, percent: percent(part.share_tenths), monthly_usd };
                (part.label.clone(), doc)
            })
            .collect(),
        equation: equation.map(|e| EquationDoc {
            replicas: e.replicas,
            price_usd_per_hour: e.price_usd_per_hour,
            starts_per_month: e.starts_per_month,
            load_seconds: e.load_secs,
            buffer_replicas: e.buffer_replicas,
            monthly_usd: e.total_usd(),
        }),
    }
}

fn run_doc(replication: usize, run: &RunOutcome, figures: &[Option<f64>]) -> RunDoc {
    let latencies = [
        ("ttft", &run.latency.ttft),
        ("tpot", &run.latency.tpot),
        ("itl", &run.latency.itl),
        ("e2e", &run.latency.e2e),
        ("queueWait", &run.latency.queue_wait),
    ];
    RunDoc {
        replication,
        facts_digest: run.facts_digest.clone(),
        trace_end_ns: run.trace_end.as_nanos(),
        run_end_ns: run.run_end.as_nanos(),
        metrics: METRICS.iter().zip(figures).map(|(m, f)| (m.name.to_owned(), Figure(*f))).collect(),
        counts: run.counts,
        steps: run.steps,
        latency: latencies.into_iter().map(|(name, l)| (name.to_owned(), latency(l))).collect(),
        breaches: run.breaches.as_ref().map(breaches),
        ledger: ledger(&run.ledger),
        timeline: (replication == 0).then(|| TimelineDoc::from(&run.timeline)),
        starts: run.starts.clone(),
        decisions: run.decisions.iter().map(DecisionDoc::from).collect(),
        would_be: run.would_be.iter().map(DecisionDoc::from).collect(),
    }
}

fn latency(latency: &Latency) -> LatencyDoc {
    LatencyDoc { count: latency.count(), infinite: latency.infinite(), buckets: latency.outline() }
}

fn breaches(breaches: &Breaches) -> BreachesDoc {
    let outcomes = BreachOutcome::ALL.into_iter().zip(breaches.by_outcome);
    let causes = Cause::ALL.into_iter().zip(breaches.by_cause);
    let times = Cause::ALL.into_iter().zip(breaches.time_by_cause);
    BreachesDoc {
        total: breaches.total,
        by_outcome: outcomes.map(|(o, count)| (o.label().to_owned(), count)).collect(),
        by_cause: causes.map(|(c, count)| (c.label().to_owned(), count)).collect(),
        time_by_cause: times.map(|(c, time)| (c.label().to_owned(), time.as_nanos())).collect(),
        intervals: breaches.intervals.iter().map(|(from, to)| (from.as_nanos(), to.as_nanos())).collect(),
        bands: (breaches.bands.iter())
            .map(|(from, to, cause)| (from.as_nanos(), to.as_nanos(), cause.label().to_owned()))
            .collect(),
        first: breaches.first.clone(),
    }
}

fn pool(pool: &PoolBill) -> PoolDoc {
    PoolDoc {
        name: pool.name.clone(),
        price_micro_usd_per_gpu_hour: pool.price_micro_usd_per_gpu_hour,
        billed_gpu_ns: pool.billed_gpu_ns.to_string(),
    }
}

fn ledger(ledger: &Ledger) -> LedgerDoc {
    let account = |a: Account| (a.label(), ledger.account(a).to_string());
    LedgerDoc {
        billed_gpu_ns: ledger.billed_gpu_ns.to_string(),
        gpu_ns: Account::ALL.into_iter().map(account).collect(),
        pools: ledger.pools.iter().map(pool).collect(),
        gpus_per_replica: ledger.gpus_per_replica,
        needed_replica_ns: ledger.needed_replica_ns.filter(|n| n.is_finite()),
        replica_ns: ledger.replica_ns.to_string(),
        cold_starts: ledger.cold_starts,
        start_up_ns: ledger.start_up_ns.to_string(),
        keep_warm_gpu_ns: ledger.keep_warm_gpu_ns.to_string(),
        placeholder_gpu_ns: ledger.placeholder_gpu_ns.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Matrix;
    use crate::experiment::{ExperimentOutcome, PolicyOutcome};
    use crate::report::document::ReadError;
    use crate::report::{REPORTS, fixture};

    fn written(report: &dyn Report, summary: &Summary) -> Vec<u8> {
        let mut bytes = Vec::new();
        report.write(summary, &mut bytes).unwrap();
        bytes
    }

    /// Equal but for the last bit of a number.
    fn same(a: &serde_json::Value, b: &serde_json::Value) {
        use serde_json::Value::{Array, Number, Object};
        match (a, b) {
            (Array(a), Array(b)) => {
                assert_eq!(a.len(), b.len());
                a.iter().zip(b).for_each(|(a, b)| same(a, b));
            }
            (Object(a), Object(b)) => {
                assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
                a.values().zip(b.values()).for_each(|(a, b)| same(a, b));
            }
            (Number(a), Number(b)) if a.is_f64() => {
                let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                assert!((a - b).abs() <= 1e-15 * b.abs(), "{a} {b}");
            }
            _ => assert_eq!(a, b),
        }
    }

    #[test]
    fn the_document_reads_what_it_writes() {
        let summary = Summary::new(fixture::experiment());
        let bytes = written(&Json, &summary);
        let document = Document::read(bytes.as_slice()).unwrap();
        let value = |document: &Document| serde_json::to_value(document).unwrap();
        same(&value(&document), &value(&Document::from(&summary)));
        let mut digest = Vec::new();
        crate::report::digest::Digest.write(&summary, &mut digest).unwrap();
        assert_eq!(document.digest().as_bytes(), digest);
    }

    #[test]
    fn the_document_as_it_is_written() {
        let mut experiment = fixture::experiment();
        experiment.policies.iter_mut().for_each(|policy| policy.runs.truncate(1));
        let document = Document::from(&Summary::new(experiment));
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
    }

    #[test]
    fn no_figure_is_lost_to_json() {
        let text = String::from_utf8(written(&Json, &Summary::new(fixture::experiment()))).unwrap();
        assert!(text.contains(r#""ttft.p999":"infinite""#));
        assert!(!text.contains("NaN") && !text.contains(":inf"));
        let document = Document::read(text.as_bytes()).unwrap();
        assert_eq!(document.policies[0].runs[0].metrics["ttft.p999"], Figure(Some(f64::INFINITY)));
        assert_eq!(document.policies[1].runs[0].metrics["coldStarts.median"], Figure(None));
        let ledger = &document.policies[0].runs[0].ledger;
        let sum: u128 = ledger.gpu_ns.values().map(|ns| ns.parse::<u128>().unwrap()).sum();
        assert_eq!(sum.to_string(), ledger.billed_gpu_ns);
    }

    #[test]
    fn kept_chains_are_found() {
        let document = Document::from(&Summary::new(fixture::experiment()));
        let found: Vec<_> =
            document.requests(417).map(|f| (f.policy.name.as_str(), f.run.replication)).collect();
        assert_eq!(found, [("hpa", 0), ("hpa", 1), ("hpa", 2)]);
        assert!(document.requests(418).next().is_none());
        assert!(document.policy("warm-pool").is_some() && document.policy("keda").is_none());
    }

    #[test]
    fn other_files_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = Document::read(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        };
        check("", "not an outcome.json");
        check("{}", "not an outcome.json");
        check(r#"{"schemaVersion": 2}"#, "not an outcome.json");
        check(r#"{"schemaVersion": 1}"#, "schema version is 1");
        assert!(matches!(Document::read([0xff].as_slice()), Err(ReadError::Io(_))));
    }

    #[test]
    fn files_do_not_depend_on_who_finishes_first() {
        let all = |jobs: usize| {
            let run = |policy: usize, replication: u32| {
                // Earlier runs take longer, so that with many threads the last one ends first.
                std::thread::sleep(std::time::Duration::from_millis(
                    12 - policy as u64 * 6 - u64::from(replication),
                ));
                let number = u64::from(replication) + 1;
                Ok::<_, String>(if policy == 0 { fixture::run(number) } else { fixture::good_run(number) })
            };
            let runs = Matrix { policies: 2, replications: 3, jobs }.run(run, |_| ()).unwrap();
            let names = ["hpa", "warm-pool"].map(str::to_owned);
            let policies =
                names.into_iter().zip(runs).map(|(name, runs)| PolicyOutcome { name, runs }).collect();
            let summary = Summary::new(ExperimentOutcome { policies, ..fixture::experiment() });
            REPORTS.iter().map(|report| written(*report, &summary)).collect::<Vec<_>>()
        };
        let alone = all(1);
        assert_eq!(alone.len(), REPORTS.len());
        assert!(alone.iter().all(|bytes| !bytes.is_empty()));
        assert!(alone == all(8));
    }
}
