//! Every code a diagnostic may carry, and what `thawline explain CODE` says about it.
//!
//! E01xx: text that is no YAML. E02xx: YAML that is no scenario. E03xx: a scenario that
//! makes no sense. E04xx: files. E05xx: profiles. E06xx: traces. E07xx: calibration. E08xx: export. E09xx: gates and comparisons.
//! W01xx: warnings of a run. W02xx: notes on manifests. W03xx: lints of a scenario and its manifests. W07xx: warnings of a
//! calibration.

mod calibration;
mod comparison;
mod export;
mod lints;
mod notes;

use std::fmt::Write as _;

use lints::LINTS;
use notes::NOTES;

/// A code and its documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `E0203`.
    pub code: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What it means, why it is an error, and what to do.
    pub explanation: &'static str,
}

impl Code {
    /// Whether it is a note on a manifest, in which there is nothing to mend.
    pub fn is_note(&self) -> bool {
        self.code.starts_with("W02")
    }

    /// Whether it is a lint: a warning of what is accepted and still a trap.
    pub fn is_lint(&self) -> bool {
        self.code.starts_with("W03")
    }
}

const fn code(code: &'static str, title: &'static str, explanation: &'static str) -> Code {
    Code { code, title, explanation }
}

/// All codes, in order.
pub const CODES: &[Code] = &joined::<{ number(&PARTS) }>(PARTS);

/// The lists that they are kept in.
const PARTS: [&[Code]; 8] = [
    OF_SCENARIOS,
    calibration::FAULTS,
    export::FAULTS,
    comparison::FAULTS,
    OF_RUNS,
    NOTES,
    LINTS,
    calibration::WARNINGS,
];

const fn number(lists: &[&[Code]]) -> usize {
    let (mut all, mut list) = (0, 0);
    while list < lists.len() {
        all += lists[list].len();
        list += 1;
    }
    all
}

/// Lists one after another.
const fn joined<const N: usize>(lists: [&[Code]; PARTS.len()]) -> [Code; N] {
    let mut all = [code("", "", ""); N];
    let (mut list, mut item, mut at) = (0, 0, 0);
    while list < lists.len() {
        if item == lists[list].len() {
            (list, item) = (list + 1, 0);
            continue;
        }
        all[at] = lists[list][item];
        (item, at) = (item + 1, at + 1);
    }
    all
}

/// Faults of a scenario and its files.
const OF_SCENARIOS: &[Code] = &[
    code(
        "E0101",
        "not UTF-8",
        "The file holds bytes that are not UTF-8 text. The place shown is the first such byte. Files written \
         by other tools are often UTF-16 or Latin-1: convert them, for instance with `iconv -t utf-8`.",
    ),
    code(
        "E0102",
        "not YAML",
        "The text breaks YAML's syntax at the place shown, or just before it. Common reasons: a tab used for \
         indentation, a bracket or quote that is not closed, a value with `: ` in it that is not quoted.",
    ),
    code(
        "E0103",
        "duplicate key",
        "A mapping has the same key twice. Most tools silently take the last one; here neither is taken, \
         since one of the two is not what its author meant. Remove one.",
    ),
    code(
        "E0104",
        "nested too deeply",
        "No document may be nested more than 64 levels deep. No scenario, profile or manifest comes near; \
         a text that does is broken or hostile.",
    ),
    code(
        "E0105",
        "too large",
        "A document may have 50,000 values, copies made by aliases included, and 16 MiB of text, and a text \
         10,000 documents. Large data such as traces belongs in a file of its own.",
    ),
    code(
        "E0106",
        "bad alias or merge",
        "An alias (`*name`) stands for the value that was marked `&name` before it. It cannot stand for \
         something later, nor for what contains it. A merge key (`<<`) takes a mapping or a list of mappings.",
    ),
    code(
        "E0107",
        "unknown tag",
        "Values may carry YAML's own tags, such as `!!str`. Other tags ask for types that do not exist here.",
    ),
    code(
        "E0108",
        "more than one document",
        "The file holds several documents, parted by `---`, where one is expected.",
    ),
    code(
        "E0109",
        "a key that is not text",
        "YAML allows a list or a mapping as a key; nothing here has a use for one. Often this is a `{{` of a \
         template that was not filled in.",
    ),
    code(
        "E0201",
        "unknown field",
        "There is no such field here. Nothing is ignored silently: a misspelt field would otherwise leave its \
         default in force. `thawline explain FIELD.PATH` lists the fields of a section.",
    ),
    code("E0202", "missing field", "A field without a default is not written."),
    code(
        "E0203",
        "unknown choice",
        "The word is not one of the choices there are, for instance a policy that does not exist. In \
         `policies:`, the name on the left is yours, the key below it is the kind of policy.",
    ),
    code(
        "E0204",
        "wrong type",
        "A value of another type is expected. Numbers and booleans must not be quoted; `yes` and `on` are \
         text, not booleans.",
    ),
    code(
        "E0205",
        "bad value",
        "The value has the right type and still makes no sense. Durations and quantities are written as \
         Kubernetes writes them: `250ms`, `30s`, `1h30m`; `500m`, `2`, `16Gi`. Numbers with a leading zero are \
         refused, since YAML 1.1 reads them as octal and YAML 1.2 does not.",
    ),
    code(
        "E0207",
        "bad --set",
        "`--set path.to.field=value` writes a value, itself YAML, over the scenario before it is read. List \
         positions are written `gates[0]` and must exist; mappings on the way are made if they are missing.",
    ),
    code(
        "E0301",
        "gate that cannot be read",
        "A gate is a metric, one of `<`, `<=`, `>`, `>=`, and a limit: `ttft.p99 < 2s`, `slo.breach < 1%`, \
         `cost.total < $60`.",
    ),
    code(
        "E0302",
        "gate for a policy that does not exist",
        "`for:` lists names of the scenario's own `policies`, the names on the left.",
    ),
    code(
        "E0303",
        "no pool",
        "A cluster needs a node pool for replicas to run on: `cluster: { pools: { NAME: { gpusPerNode: 8, maxNodes: 4 } } }`.",
    ),
    code(
        "E0304",
        "a replica fits no node",
        "A replica holds all its GPUs on one node, so it cannot have more than `gpusPerNode`; and some pool must have the profile's GPU, \
         and the labels that `replica.nodeSelector` asks for.",
    ),
    code(
        "E0305",
        "a maximum below its minimum",
        "The most that is allowed is less than the least, or a part, such as `preStop` of the grace period, is longer \
         than the whole.",
    ),
    code(
        "E0306",
        "must not be zero",
        "The value is a period, a count or a share that has no meaning at zero: a loop with period 0 would \
         never let time go on.",
    ),
    code(
        "E0307",
        "name that cannot be a directory",
        "Results are written to `reports/<name>/`. A name has 1 to 64 letters, digits, `-`, `_` and `.`, and \
         begins with a letter or a digit.",
    ),
    code("E0308", "nothing to run", "A scenario needs at least one policy and at least one replication."),
    code(
        "E0309",
        "SLO without a limit",
        "`slo:` is written and none of its limits is. Without a limit no request can breach; leave `slo` out \
         if that is meant.",
    ),
    code(
        "E0310",
        "policy that makes no sense",
        "A policy's settings contradict each other or Kubernetes would refuse them, such as a maximum below the \
         minimum or a metric without a target.",
    ),
    code(
        "E0311",
        "workload that makes no sense",
        "The `workload` section names no source or several, or a setting is out of its range. It has exactly one \
         source, such as `azure` or `poisson`; transforms such as `rateScale` come on top.",
    ),
    code(
        "E0312",
        "no price",
        "The bill needs the price of a GPU-hour: from the pool (`pricePerGpuHour`) or from the profile.",
    ),
    code(
        "E0313",
        "CPU metric without what it needs",
        "An autoscaler that scales on CPU needs a profile with a CPU model (`cpu`), and one that scales on \
         utilisation also needs `replica.cpuRequest`. A missing model is an error and never 0.",
    ),
    code(
        "E0315",
        "beyond what can be simulated",
        "A period below 1 ms, a pool of more than a million GPUs, more than 10,000 replications, a bandwidth below 1 MB/s, or more than 1,024 connections: the run \
         would take forever or all memory. It is most often a slip in the unit.",
    ),
    code(
        "E0316",
        "a figure that nobody knows",
        "The scenario leaves a figure to the profile, and the profile does not know it: the layers of `replica.image` (`docker \
         manifest inspect` lists them, `thawline-calibrate pull` measures the pull); what a start takes with a filled \
         `replica.compileCache`; what the first request pays after `replica.cooling`; how long a sleeping spare takes to wake \
         up. Write it, or put it into the profile with its source. So is what a replica can serve, where a policy or `thawline plan` reads it \
         and there is no SLO to search it within, or none is ever kept.",
    ),
    code(
        "E0317",
        "a setting without what it belongs to",
        "A registry, a model store or a node's copies are described, but not the image or the weights that would come from \
         there; a store is disturbed whose usual bandwidth is not given; there is a compile cache, and readiness waits for \
         nothing that it shortens; a keep-warm request has a service time in an engine that counts tokens; or a fault or rollout \
         has nothing to change: it begins after the traffic, or concerns what no policy has; or a forecast looks \
         further ahead, or for a longer season, than the traffic lasts. It would change nothing, in silence.",
    ),
    code(
        "E0318",
        "two things that are not simulated together",
        "Each is simulated by itself, and what both do together is not known well enough: a replica of several pods (`replica.groupSize`) beside \
         lost machines, failed GPUs, rolling updates or Knative; spares out of rotation whose readiness does not tell whether they are \
         loaded.",
    ),
    code(
        "E0401",
        "cannot read a file",
        "The file is missing, a directory, or may not be read. Paths in a scenario are relative to the \
         scenario's own directory.",
    ),
    code(
        "E0402",
        "cannot write",
        "The output directory cannot be written. It is opened before the first run, so that nothing is \
         computed in vain. What is printed needs room as well: a stdout that takes nothing, such as a full disk, ends the \
         command with this, and only a pipe whose reader has gone does not.",
    ),
    code(
        "E0403",
        "thawline-calibrate is not there",
        "`thawline calibrate` hands over to the program `thawline-calibrate`, which needs a GPU host and is built \
         on its own: `cargo build --release -p thawline-calibrate`. It is looked for beside `thawline` and on PATH.",
    ),
    code(
        "E0404",
        "nothing to explain",
        "`thawline explain` takes a code such as E0203, the path of a scenario's field such as \
         `telemetry.scrapeInterval`, `metrics`, or the name of one. `thawline explain-request` takes a request, a \
         policy and a replication that the outcome has, `thawline explain-start` a replica that started in it.",
    ),
    code(
        "E0405",
        "the scenario has changed",
        "`outcome.json` keeps the chains of the first requests that breached. Any other request is simulated \
         again, from the scenario, its profile and its trace. Their digest of facts is not the outcome's, so \
         something has changed since: run `thawline simulate` again. `--scenario` and `--set` say what was run.",
    ),
    code(
        "E0406",
        "there is a file already",
        "`thawline init` overwrites nothing. Choose another name with `--out`, or remove the file.",
    ),
    code(
        "E0407",
        "manifest without what is wanted",
        "`manifest:` names a file with objects as `kubectl get .. -o yaml` or `-o json` prints them: one, several parted \
         by `---`, or a list. It holds none of the kind that is wanted there, or several; then `object: NAME`, and for \
         a pod of several containers `container: NAME`, says which one is meant.",
    ),
    code(
        "E0408",
        "object that belongs elsewhere",
        "The object is of a version that is not read, or says that something else scales it: Knative's HPA class, \
         KServe's mode for Deployments. The help says where to get what belongs here.",
    ),
    code(
        "E0409",
        "object that its controller refuses",
        "The object's own webhook would refuse it, because what it asks for there has no effect.",
    ),
    code(
        "E0501",
        "the model does not fit",
        "Weights and the KV cache of one request need more GPU memory than a replica has. The message shows \
         the arithmetic.",
    ),
    code(
        "E0502",
        "a profile that makes no sense",
        "Each value of the profile is well formed, and together they cannot be: stages out of order, a grid \
         that is not sorted, a step time that could fall to zero, a published figure without its source. \
         `thawline-calibrate profile check FILE` shows all of it.",
    ),
    code(
        "E0601",
        "bad row in a trace",
        "A row cannot be read as a request. The trace is refused as a whole: a dropped row would be a silent \
         change of the traffic.",
    ),
    code(
        "E0602",
        "time goes back in a trace",
        "An arrival is earlier than the one before it. Sort the trace by time.",
    ),
    code("E0603", "empty trace", "The trace, or the window cut from it, holds no request."),
    code(
        "E0604",
        "trace in another format",
        "The file is not in the format the scenario says it is in: not CSV, not JSON lines, or a broken gzip \
         stream.",
    ),
    code(
        "E0605",
        "column missing from a trace",
        "The trace has no column, or its rows no key, of the expected name, or two columns of it. `columns:` says what \
         they are called in a file of your own.",
    ),
    code(
        "E0606",
        "more faults in a trace",
        "The file has more faults than are listed; this is their number.",
    ),
    code(
        "E0607",
        "forecast that makes no sense",
        "A forecast is asked for that its series cannot answer: a season that does not come twice in it, a horizon or warm-up \
         beyond its end, quantiles that are not between 0 and 1 or not in their order, a model with settings out of \
         range. Without enough of a series no score would mean anything.",
    ),
    code(
        "E0608",
        "a load that no fleet can be sized for",
        "`thawline plan` takes rates over minutes, and looks for the worst rise within one cold start: the traffic must last for both, and \
         have a request. And what it comes to must fit the pools (`maxNodes`): a fleet that cannot be had is no plan.",
    ),
];

/// Warnings of a run.
const OF_RUNS: &[Code] = &[
    code(
        "W0101",
        "a figure to look at twice",
        "The profile can be used. A figure in it says nothing of where it comes from, or looks like a bad \
         measurement.",
    ),
    code(
        "W0107",
        "beyond what was measured",
        "Some engine steps ran with a batch or a context larger than any the profile measured; their duration \
         is extrapolated. Their share is shown. Calibrate further out, or cap the engine.",
    ),
    code(
        "W0108",
        "a property of the workload",
        "The workload can be replayed; something about it should be known when its results are read.",
    ),
    code(
        "W0109",
        "cold requests by assumption",
        "Readiness does not wait for the warm-up, and the profile does not say what the first requests of such a \
         replica pay. The first one is taken to pay the whole warm-up.",
    ),
    code(
        "W0110",
        "no capacity within the SLO",
        "A single warm replica breaches the SLO at any rate of this workload. Without a capacity the need for \
         replicas, and with it the steady and buffer parts of the bill, are undefined.",
    ),
    code(
        "W0111",
        "requests that can never run",
        "Prompt and output together exceed the context or the KV cache of a replica. Such requests are refused on \
         arrival and count as breaches.",
    ),
    code(
        "W0112",
        "times in another unit",
        "By the unit that the scenario gives, the first arrival of the trace is no date of our days, and by another unit it \
         is one: `1770000000000` read as seconds is the year 58000, and as milliseconds it is 2026. Read in a wrong unit, a \
         trace is a thousand times too slow or too fast, and everything still runs. A trace that counts from its own start \
         is not warned of.",
    ),
];

/// Looks a code up; upper or lower case.
pub fn find_code(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code.eq_ignore_ascii_case(code))
}

/// Faults and warnings as the Markdown of `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut out = String::from(
        "# Errors and warnings\n\nEach fault is reported with its place and all at once. `thawline explain \
         CODE` prints the same text.\nThe warnings W03xx are about what is accepted and still a trap: \
         [lints.md](lints.md).\nThis file is written from `src/yaml/codes.rs`; a test keeps it so.\n",
    );
    pages(&mut out, CODES.iter().filter(|code| !code.is_lint()));
    out
}

/// Lints as the Markdown of `docs/lints.md`.
pub fn lints_markdown() -> String {
    let mut out = String::from(
        "# Lints\n\nWhat a controller accepts and no author means. `thawline validate` and every `thawline simulate` \
         warn of it, with the place in the\nscenario or the manifest; warnings alone never fail a command, unless \
         `thawline validate --strict` is asked to. `thawline explain CODE` prints\nthe same text. This file is \
         written from `src/yaml/codes/lints.rs`; a test keeps it so.\n\n| code | trap |\n|---|---|\n",
    );
    for Code { code, title, .. } in LINTS {
        _ = writeln!(out, "| {code} | {title} |");
    }
    pages(&mut out, LINTS.iter());
    out
}

fn pages<'a>(out: &mut String, codes: impl Iterator<Item = &'a Code>) {
    for Code { code, title, explanation } in codes {
        _ = write!(out, "\n## {code}: {title}\n\n{explanation}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_explained() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code), "each code once, in order");
        for code in CODES {
            assert!(!code.title.is_empty() && code.explanation.ends_with('.'), "{}", code.code);
        }
        assert_eq!(find_code("e0203").map(|code| code.title), Some("unknown choice"));
    }

    #[test]
    fn the_documentation_is_current() {
        for (name, current) in [("errors.md", errors_markdown()), ("lints.md", lints_markdown())] {
            let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("THAWLINE_BLESS").is_some() {
                std::fs::write(&path, &current).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(written == current, "run the tests with THAWLINE_BLESS=1 to write docs/{name}");
        }
    }
}
