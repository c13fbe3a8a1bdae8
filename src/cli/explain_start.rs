//! `thawline explain-start`: where the time of cold starts went, as waterfalls.

use super::args::ExplainStartArgs;
use super::{Answer, Exit, console, outcome};
use crate::report::document::PolicyDoc;
use crate::report::start::{Canvas, draw, of_replica, telling};
use crate::yaml::Diagnostic;

pub(super) fn run(args: &ExplainStartArgs) -> Answer {
    let document = outcome::read(&args.outcome)?;
    let policies: Vec<&PolicyDoc> = match &args.policy {
        Some(name) => vec![outcome::policy(&document, name)?],
        None => document.policies.iter().collect(),
    };
    let mut shown = Vec::new();
    for policy in policies {
        shown.push(of_policy(policy, args)?);
    }
    console::print(&shown.join("\n"));
    Ok(Exit::Success)
}

/// The waterfalls of one policy, or a sentence that says why there are none.
fn of_policy(policy: &PolicyDoc, args: &ExplainStartArgs) -> Result<String, Vec<Diagnostic>> {
    let run = outcome::run(policy, args.replication)?;
    let starts = match args.replica {
        Some(id) => {
            let start = of_replica(policy, run, id).ok_or_else(|| no_start(policy, id, args.replication))?;
            vec![start]
        }
        None => telling(policy, run),
    };
    if starts.is_empty() {
        let count = run.starts.len();
        let why = if count == 0 {
            "no replica was started".to_owned()
        } else {
            format!("none of {count} became ready")
        };
        return Ok(format!("{} · replication {}: {why}\n", policy.name, run.replication));
    }
    Ok(draw(&starts, Canvas { width: usize::from(args.width), colour: true }))
}

fn no_start(policy: &PolicyDoc, id: u32, replication: u32) -> Vec<Diagnostic> {
    let message = format!("replica-{id} did not start under `{}` in replication {replication}", policy.name);
    vec![Diagnostic::error("E0404", message).helped("starts.csv beside the outcome lists all starts; replicas that were there from the beginning are none")]
}
