//! `runs.csv`: one row a run, every metric. `timeline.csv`: one row a step of each run. `starts.csv`: one row a stage of each
//! cold start. `decisions.csv`: one row a decision of each run, those that nobody followed included.
//!
//! Units are in the column names: s, share (0 to 1), usd, count, gpu_h. `inf` is a latency that was
//! never reached; an empty cell is a figure the run does not have.

use std::io::{self, Write};

use super::{Report, Summary};
use crate::experiment::METRICS;
use crate::experiment::metric::Unit;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::{Phase, RunOutcome, StartResult};

/// One row a run.
pub struct Runs;

/// One row a step of each run.
pub struct TimelineTable;

/// One row a stage of each cold start.
pub struct Starts;

/// One row a decision.
pub struct DecisionTable;

/// A figure as text: the shortest that reads back the same.
fn cell(figure: Option<f64>) -> String {
    figure.map(|f| f.to_string()).unwrap_or_default()
}

fn column(name: &str, unit: Unit) -> String {
    let suffix = match unit {
        Unit::Seconds => "s",
        Unit::Share => "share",
        Unit::Usd => "usd",
        Unit::Count => "count",
        Unit::GpuHours => "gpu_h",
    };
    format!("{name}_{suffix}")
}

fn each_run(summary: &Summary) -> impl Iterator<Item = (&str, usize, &RunOutcome)> {
    summary
        .experiment
        .policies
        .iter()
        .flat_map(|policy| policy.runs.iter().enumerate().map(|(i, run)| (policy.name.as_str(), i, run)))
}

impl Report for Runs {
    fn name(&self) -> &'static str {
        "runs"
    }

    fn file(&self) -> Option<&'static str> {
        Some("runs.csv")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        let mut header = vec!["policy".to_owned(), "replication".to_owned()];
        header.extend(METRICS.iter().map(|metric| column(metric.name, metric.unit)));
        header.push("facts_digest".to_owned());
        table.write_record(&header)?;
        let figures = summary.policies.iter().flat_map(|policy| &policy.of_runs);
        for ((policy, replication, run), figures) in each_run(summary).zip(figures) {
            let mut row = vec![policy.to_owned(), replication.to_string()];
            row.extend(figures.iter().copied().map(cell));
            row.push(run.facts_digest.clone());
            table.write_record(&row)?;
        }
        table.flush()
    }
}

impl Report for TimelineTable {
    fn name(&self) -> &'static str {
        "timeline"
    }

    fn file(&self) -> Option<&'static str> {
        Some("timeline.csv")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        let mut header: Vec<String> = [
            "policy",
            "replication",
            "end_s",
            "arrived",
            "finished",
            "breached",
            "held_requests",
            "in_replicas",
        ]
        .map(str::to_owned)
        .to_vec();
        header.extend(Phase::ALL.map(|phase| format!("replicas_{}", phase.label().replace(' ', "_"))));
        header.extend(["nodes".to_owned(), "ordered".to_owned()]);
        table.write_record(&header)?;
        for (policy, replication, run) in each_run(summary) {
            for (index, point) in run.timeline.points.iter().enumerate() {
                let end_ns = run.timeline.step.as_nanos().saturating_mul(index as u64 + 1);
                let end_ns = end_ns.min(run.trace_end.as_nanos());
                let mut row =
                    vec![policy.to_owned(), replication.to_string(), cell(Some(end_ns as f64 / 1e9))];
                let counts =
                    [point.arrived, point.finished, point.breached, point.held_requests, point.in_replicas];
                row.extend(counts.iter().chain(&point.replicas).map(u32::to_string));
                row.extend([point.nodes.to_string(), point.ordered.to_string()]);
                table.write_record(&row)?;
            }
        }
        table.flush()
    }
}

impl Report for Starts {
    fn name(&self) -> &'static str {
        "starts"
    }

    fn file(&self) -> Option<&'static str> {
        Some("starts.csv")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        table.write_record([
            "policy",
            "replication",
            "replica",
            "created_s",
            "result",
            "restarts",
            "pending",
            "stage",
            "from_s",
            "to_s",
            "working_s",
            "waiting_s",
        ])?;
        let at = |at: SimTime| cell(Some(at.as_secs_f64()));
        let long = |time: SimDuration| cell(Some(time.as_secs_f64()));
        for (policy, replication, run) in each_run(summary) {
            for start in &run.starts {
                let result = match start.result {
                    StartResult::Ready => "ready",
                    StartResult::Cancelled => "cancelled",
                    StartResult::NodeLost => "node lost",
                    StartResult::Recreated => "recreated",
                    StartResult::Unfinished => "unfinished",
                };
                for span in &start.phases {
                    table.write_record([
                        policy.to_owned(),
                        replication.to_string(),
                        start.replica.0.to_string(),
                        at(start.ordered),
                        result.to_owned(),
                        start.restarts.to_string(),
                        start.unscheduled.map(|why| why.label().to_owned()).unwrap_or_default(),
                        span.phase.label().to_owned(),
                        at(span.from),
                        at(span.to),
                        long(span.working()),
                        long(span.waiting),
                    ])?;
                }
            }
        }
        table.flush()
    }
}

impl Report for DecisionTable {
    fn name(&self) -> &'static str {
        "decision-table"
    }

    fn file(&self) -> Option<&'static str> {
        Some("decisions.csv")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        table.write_record([
            "policy",
            "replication",
            "at_s",
            "followed",
            "of",
            "from",
            "to",
            "spare",
            "rule",
            "detail",
        ])?;
        for (policy, replication, run) in each_run(summary) {
            for (followed, log) in [("yes", &run.decisions), ("no", &run.would_be)] {
                for decision in log {
                    table.write_record([
                        policy,
                        &replication.to_string(),
                        &cell(Some(decision.at.as_secs_f64())),
                        followed,
                        decision.of,
                        &decision.from.to_string(),
                        &decision.to.to_string(),
                        &decision.spare.to_string(),
                        decision.why.rule,
                        &decision.why.detail,
                    ])?;
                }
            }
        }
        table.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn written(report: &dyn Report) -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        report.write(&Summary::new(fixture::experiment()), &mut bytes).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
        reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn runs_have_every_metric() {
        let rows = written(&Runs);
        assert_eq!(rows.len(), 1 + 2 * 3);
        assert!(rows.iter().all(|row| row.len() == METRICS.len() + 3));
        let at = |row: usize, column: &str| {
            let index = rows[0].iter().position(|c| c == column).unwrap();
            rows[row][index].as_str()
        };
        assert_eq!((at(1, "policy"), at(1, "replication")), ("hpa", "0"));
        assert_eq!((at(6, "policy"), at(6, "replication")), ("warm-pool", "2"));
        assert_eq!(at(1, "ttft.p999_s"), "inf");
        assert_eq!(at(1, "cost.total_usd"), "14.4");
        assert_eq!(at(4, "coldStarts.median_s"), "");
    }

    #[test]
    fn stages_of_starts_are_work_and_waiting() {
        let rows = written(&Starts);
        // Three runs of two starts of five stages, and one that was cancelled in its second.
        assert_eq!(rows.len(), 1 + 3 * (2 * 5 + 2));
        let expected = ["hpa", "0", "2", "590", "ready", "0", "", "pending", "590", "590.4", "0", "0.4"];
        assert_eq!(rows[1], expected.map(str::to_owned));
        let expected =
            ["hpa", "0", "5", "900", "cancelled", "0", "", "container start", "900.4", "901.2", "0.8", "0"];
        assert_eq!(rows[12], expected.map(str::to_owned));
    }

    #[test]
    fn decisions_that_nobody_followed_come_behind_those_of_their_run() {
        let mut experiment = fixture::experiment();
        let run = &mut experiment.policies[0].runs[1];
        run.would_be = run.decisions.clone();
        run.would_be[0].to = 9;
        let mut bytes = Vec::new();
        DecisionTable.write(&Summary::new(experiment), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<&str> = text.lines().filter(|row| row.starts_with("hpa,1,")).collect();
        let tail = "ScaleUpLimit,\"waiting 12 against 4: 6, at most 4\"";
        assert_eq!(
            rows,
            [format!("hpa,1,590,yes,hpa,2,4,0,{tail}"), format!("hpa,1,590,no,hpa,2,9,0,{tail}")]
        );
    }

    #[test]
    fn the_timeline_ends_with_the_trace() {
        let rows = written(&TimelineTable);
        assert_eq!(rows.len(), 1 + 2 * 3 * 4);
        assert_eq!(rows[2][..4], ["hpa", "0", "1800", "400"].map(str::to_owned));
        assert_eq!(rows[4][2], "3600");
        assert_eq!(rows[2].len(), rows[0].len());
        let loading = rows[0].iter().position(|c| c == "replicas_weights_loading").unwrap();
        assert_eq!(rows[2][loading], "2");
    }
}
