//! `docs/reference/metrics.md`.

use thawline::experiment::METRICS;
use thawline::experiment::metric::{Better, Unit};

const HEAD: &str = "# Metrics

What a gate can bind, as `METRIC < LIMIT` (`<`, `<=`, `>`, `>=`), and what `outcome.json` and `runs.csv` hold of each run. A metric is computed in
each replication; a report shows the mean over replications with its 95 % interval. `thawline explain METRIC` prints one of these lines.
This page is written from `src/experiment/metric.rs`; a test keeps it so.

Names are grouped by their first part. *Better* says which way an improvement goes; a dash is neither by itself.
";

/// What a unit is called, with the way its limits are written.
fn unit(unit: Unit) -> (&'static str, &'static str) {
    let name = match unit {
        Unit::Seconds => "time",
        Unit::Share => "share",
        Unit::Usd => "US dollars",
        Unit::Count => "number",
        Unit::GpuHours => "GPU-hours",
    };
    (name, unit.example())
}

fn table(out: &mut String, group: &str) {
    *out += &format!("\n## {group}\n\n| metric | unit | better | what it is |\n|---|---|---|---|\n");
    for metric in METRICS.iter().filter(|metric| family(metric.name) == group) {
        let better = match metric.better {
            Better::Lower => "less",
            Better::Higher => "more",
            Better::Neither => "–",
        };
        *out += &format!("| `{}` | {} | {better} | {} |\n", metric.name, unit(metric.unit).0, metric.doc);
    }
}

fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

pub fn page() -> String {
    let mut out = HEAD.to_owned();
    out += "\n| unit | a limit is |\n|---|---|\n";
    for known in [Unit::Seconds, Unit::Share, Unit::Usd, Unit::Count, Unit::GpuHours] {
        let (name, example) = unit(known);
        out += &format!("| {name} | {example} |\n");
    }
    let mut groups: Vec<&str> = Vec::new();
    for metric in METRICS {
        if !groups.contains(&family(metric.name)) {
            groups.push(family(metric.name));
        }
    }
    for group in groups {
        table(&mut out, group);
    }
    out
}
