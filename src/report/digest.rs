//! `facts.digest`: one line a run. Two runs are the same run if and only if their lines are.

use std::io::{self, Write};

use super::{Report, Summary};

/// The digest of every run's facts.
pub struct Digest;

impl Report for Digest {
    fn name(&self) -> &'static str {
        "digest"
    }

    fn file(&self) -> Option<&'static str> {
        Some("facts.digest")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        for policy in &summary.experiment.policies {
            for (replication, run) in policy.runs.iter().enumerate() {
                writeln!(out, "{}  {}/{replication}", run.facts_digest, policy.name)?;
            }
        }
        Ok(())
    }
}
