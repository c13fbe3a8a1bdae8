//! `decisions.txt`: the decision log of each policy's first replication, for people.
//!
//! A header a policy, then a line a record: time, loop, replicas before and after (and spares),
//! rule, figures. Conditions of the autoscaler's object follow on a line of their own where they
//! differ from those of the record before, of the same loop. What a policy that is only watched would have decided has a log
//! of its own behind it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Report, Summary};
use crate::kernel::SimTime;
use crate::outcome::DecisionRecord;

/// The decision log.
pub struct Decisions;

impl Report for Decisions {
    fn name(&self) -> &'static str {
        "decisions"
    }

    fn file(&self) -> Option<&'static str> {
        Some("decisions.txt")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        for (index, policy) in summary.experiment.policies.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            let decisions = policy.runs.first().map_or(&[][..], |run| &run.decisions);
            let (name, replications) = (&policy.name, policy.runs.len());
            writeln!(out, "{name}, replication 0 of {replications}: {}", records(decisions))?;
            write_log(decisions, out)?;
            let would_be = policy.runs.first().map_or(&[][..], |run| &run.would_be);
            if !would_be.is_empty() {
                writeln!(
                    out,
                    "\n{name}, would have been decided by the policy that is watched: {}",
                    records(would_be)
                )?;
                write_log(would_be, out)?;
            }
        }
        Ok(())
    }
}

fn records(decisions: &[DecisionRecord]) -> String {
    match decisions.len() {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    }
}

fn write_log(decisions: &[DecisionRecord], out: &mut dyn Write) -> io::Result<()> {
    let width = |of: &dyn Fn(&DecisionRecord) -> usize| decisions.iter().map(of).max().unwrap_or(0);
    let (time, from) = (width(&|d| clock(d.at).len()), width(&|d| d.from.to_string().len()));
    let (of, after) = (width(&|d| d.of.len()), width(&|d| after(d).len()));
    let rule = width(&|d| d.why.rule.len());
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for decision in decisions {
        let line = format!(
            "{:>time$}  {:of$}  {:>from$} -> {:after$}  {:rule$}  {}",
            clock(decision.at),
            decision.of,
            decision.from,
            self::after(decision),
            decision.why.rule,
            decision.why.detail,
        );
        writeln!(out, "{}", line.trim_end())?;
        let conditions = decision.why.conditions.as_str();
        if before.insert(decision.of, conditions).unwrap_or_default() != conditions {
            writeln!(
                out,
                "{:time$}  {}",
                "",
                if conditions.is_empty() { "no conditions" } else { conditions }
            )?;
        }
    }
    Ok(())
}

/// Replicas after a decision, and spares if there are any: `4`, `4 +1`.
fn after(decision: &DecisionRecord) -> String {
    match decision.spare {
        0 => decision.to.to_string(),
        spare => format!("{} +{spare}", decision.to),
    }
}

/// Time since the start of the trace, to the millisecond: `00:05:15.010`.
fn clock(at: SimTime) -> String {
    let millis = at.as_nanos() / 1_000_000;
    let (hours, minutes, secs) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{secs:02}.{:03}", millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SimDuration;
    use crate::policy::Reason;
    use crate::report::fixture;

    fn record(millis: u64, of: &'static str, counts: (u32, u32, u32), why: Reason) -> DecisionRecord {
        let (from, to, spare) = counts;
        DecisionRecord { at: SimTime::ZERO + SimDuration::from_millis(millis), of, from, to, spare, why }
    }

    fn written(change: impl FnOnce(&mut crate::experiment::ExperimentOutcome)) -> String {
        let mut experiment = fixture::experiment();
        change(&mut experiment);
        let mut bytes = Vec::new();
        Decisions.write(&Summary::new(experiment), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_line_a_record_and_conditions_where_they_change() {
        let why = |rule, detail: &str, conditions: &str| Reason {
            conditions: conditions.to_owned(),
            ..Reason::new(rule, detail)
        };
        let text = written(|experiment| {
            let scaled = "AbleToScale=True/SucceededRescale events=SuccessfulRescale";
            let ready = "AbleToScale=True/ReadyForNewScale";
            experiment.policies[0].runs[0].decisions = vec![
                record(
                    5_010,
                    "hpa",
                    (2, 4, 0),
                    why("ScaleUpLimit", "waiting 12 against 4: 6 replicas", scaled),
                ),
                record(9_000, "activation", (4, 4, 1), why("Active", "", "")),
                record(
                    20_020,
                    "hpa",
                    (4, 10, 1),
                    why("ScaleUpLimit", "waiting 30 against 4: 15 replicas", scaled),
                ),
                record(35_030, "hpa", (10, 10, 1), why("TooManyReplicas", "15 replicas", ready)),
                record(360_000_000, "hpa", (10, 0, 0), why("DesiredWithinRange", "idle", "")),
            ];
            // Only the first replication is shown.
            experiment.policies[0].runs[1].decisions.clear();
            experiment.policies[1].runs[0].decisions.clear();
        });
        let expected = [
            "hpa, replication 0 of 3: 5 records",
            " 00:00:05.010  hpa          2 -> 4      ScaleUpLimit        waiting 12 against 4: 6 replicas",
            "               AbleToScale=True/SucceededRescale events=SuccessfulRescale",
            " 00:00:09.000  activation   4 -> 4 +1   Active",
            " 00:00:20.020  hpa          4 -> 10 +1  ScaleUpLimit        waiting 30 against 4: 15 replicas",
            " 00:00:35.030  hpa         10 -> 10 +1  TooManyReplicas     15 replicas",
            "               AbleToScale=True/ReadyForNewScale",
            "100:00:00.000  hpa         10 -> 0      DesiredWithinRange  idle",
            "               no conditions",
            "",
            "warm-pool, replication 0 of 3: 0 records",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_nobody_followed_has_a_log_of_its_own() {
        let text = written(|experiment| {
            let runs = &mut experiment.policies[0].runs;
            runs[0].decisions = vec![record(0, "hpa", (2, 4, 0), Reason::new("R", "d"))];
            runs[0].would_be = vec![record(500, "keda", (4, 6, 1), Reason::new("Active", "e"))];
            // Only the first replication is shown.
            runs[1].would_be = vec![record(500, "keda", (4, 9, 0), Reason::new("Active", "f"))];
            experiment.policies[1].runs[0].decisions.clear();
        });
        let expected = [
            "hpa, replication 0 of 3: 1 record",
            "00:00:00.000  hpa  2 -> 4  R  d",
            "",
            "hpa, would have been decided by the policy that is watched: 1 record",
            "00:00:00.500  keda  4 -> 6 +1  Active  e",
            "",
            "warm-pool, replication 0 of 3: 0 records",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_policy_without_a_run_has_a_header() {
        let text = written(|experiment| experiment.policies.iter_mut().for_each(|p| p.runs.clear()));
        assert_eq!(text, "hpa, replication 0 of 0: 0 records\n\nwarm-pool, replication 0 of 0: 0 records\n");
    }
}
