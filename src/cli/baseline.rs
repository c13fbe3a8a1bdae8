//! What `simulate` does with its result beside the report: the comparison with a baseline, and the files that CI systems read.
//!
//! Everything that can be found wrong before the run is found before it.

use std::path::Path;

use super::args::{SimulateArgs, SimulateFormat};
use super::{ci, console, outcome};
use crate::experiment::{FailOn, Metric, Rule};
use crate::report::comparison::Options;
use crate::report::replace::Replacement;
use crate::report::{Baseline, Comparison, Summary, code_quality, comparison_files, comparison_text, junit};
use crate::scenario::{Resolved, Scenario};
use crate::yaml::Diagnostic;

/// The comparison as a file beside the reports, for a pull request and for programs.
const FILES: [&str; 2] = ["comparison.md", "comparison.json"];

/// Reads a baseline or an outcome.
pub(super) fn read(path: &Path) -> Result<Baseline, Diagnostic> {
    let path = outcome::file(path);
    let shown = path.display().to_string();
    Baseline::read(&path).map_err(|error| {
        Diagnostic::in_file("E0401", &shown, format!("cannot read it: {error}"))
            .helped("`thawline simulate SCENARIO --write-baseline FILE` writes one")
    })
}

/// Reads all `--fail-on`: the rules, and whether any drift fails; or all that is wrong with them.
pub(super) fn rules(texts: &[String]) -> Result<(Vec<Rule>, bool), Vec<Diagnostic>> {
    let (mut rules, mut drift, mut faults): (Vec<Rule>, bool, Vec<Diagnostic>) =
        (Vec::new(), false, Vec::new());
    let fault = |text: &str, at: std::ops::Range<usize>, message: String, help: String| {
        let column = text[..at.start].chars().count() + 1;
        let len = text[at].chars().count();
        Diagnostic::at("E0904", "--fail-on", 1, column, len, text, message).helped(help)
    };
    for text in texts {
        match FailOn::parse(text) {
            Ok(FailOn::Drift) => drift = true,
            Ok(FailOn::Metric(rule)) if rules.iter().any(|known| known.metric == rule.metric) => {
                let name = rule.metric.name;
                let help = format!("write both margins with a comma: {name}:5%,..");
                faults.push(fault(text, 0..text.len(), format!("`{name}` is given twice"), help));
            }
            Ok(FailOn::Metric(rule)) => rules.push(rule),
            Err(errors) => {
                faults
                    .extend(errors.into_iter().map(|error| fault(text, error.at, error.message, error.help)));
            }
        }
    }
    if faults.is_empty() { Ok((rules, drift)) } else { Err(faults) }
}

/// The metrics of `--metrics`; `None` stands for all.
pub(super) fn metrics(names: &[String]) -> Result<Option<Vec<&'static Metric>>, Vec<Diagnostic>> {
    if names.iter().any(|name| name == "all") {
        return Ok(None);
    }
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for name in names {
        if let Some(metric) = Metric::find(name) {
            found.push(metric);
        } else {
            let fault = Diagnostic::error("E0904", format!("--metrics: unknown metric `{name}`"));
            faults.push(fault.helped(match Metric::nearest(name) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "`thawline explain metrics` lists them; `all` takes all".to_owned(),
            }));
        }
    }
    if faults.is_empty() { Ok(Some(found)) } else { Err(faults) }
}

/// What is to be checked once the runs are done.
pub(super) struct Checks {
    baseline: Option<(String, Baseline, Options)>,
}

impl Checks {
    /// Reads the baseline and what fails it.
    pub fn prepare(args: &SimulateArgs) -> Result<Self, Vec<Diagnostic>> {
        let Some(path) = &args.baseline else { return Ok(Self { baseline: None }) };
        let mut faults = Vec::new();
        let (rules, drift) = rules(&args.fail_on).unwrap_or_else(|found| {
            faults.extend(found);
            (Vec::new(), false)
        });
        let baseline = read(path).map_err(|fault| faults.push(fault));
        let Ok(baseline) = baseline else { return Err(faults) };
        if !faults.is_empty() {
            return Err(faults);
        }
        let options = Options { level: args.level, rules, drift, ..Options::default() };
        Ok(Self { baseline: Some((path.display().to_string(), baseline, options)) })
    }

    /// Makes sure that there will be something to compare.
    pub fn suit(&self, resolved: &Resolved) -> Result<(), Vec<Diagnostic>> {
        let Some((_, baseline, _)) = &self.baseline else { return Ok(()) };
        if resolved.policies.keys().any(|name| baseline.policy(name).is_some()) {
            return Ok(());
        }
        let mine: Vec<&str> = resolved.policies.keys().map(String::as_str).collect();
        Err(vec![no_common_policy(&baseline.names(), &mine)])
    }

    /// The files of the output directory that it adds.
    pub fn files(&self) -> &[&'static str] {
        if self.baseline.is_some() { &FILES } else { &[] }
    }

    /// Makes sure that the files beside the output directory can be written.
    pub fn open(args: &SimulateArgs) -> Result<Files, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut open = |path: &Option<std::path::PathBuf>| {
            path.as_deref().and_then(|path| {
                let opened = Replacement::prepare(path);
                opened.map_err(|error| faults.push(Diagnostic::error("E0402", error.to_string()))).ok()
            })
        };
        let files = Files {
            baseline: open(&args.write_baseline),
            junit: open(&args.junit),
            code_quality: open(&args.code_quality),
            step_summary: None,
        };
        let step_summary = ci::step_summary().map_err(|fault| faults.push(fault)).unwrap_or_default();
        if faults.is_empty() { Ok(Files { step_summary, ..files }) } else { Err(faults) }
    }

    /// Compares, and finds what failed.
    pub fn check(&self, scenario: &Scenario, summary: &Summary, exit_zero: bool) -> Checked {
        let now = Baseline::from(summary);
        let comparison = (self.baseline.as_ref())
            .map(|(name, base, options)| Comparison::new((name, "this run"), base, &now, options));
        let failures = ci::failures(scenario, summary, comparison.as_ref(), exit_zero);
        let mut markdown = Vec::new();
        let mut json = String::new();
        if let Some(comparison) = &comparison {
            comparison_files::markdown(comparison, &mut markdown)
                .expect("memory takes what is written to it");
            json = comparison_files::json(comparison);
        }
        Checked {
            junit: junit::write(summary, comparison.as_ref()),
            summary: ci::markdown(summary, &markdown),
            now,
            comparison,
            failures,
            markdown,
            json,
        }
    }
}

/// Files beside the output directory that can be written.
pub(super) struct Files {
    baseline: Option<Replacement>,
    junit: Option<Replacement>,
    code_quality: Option<Replacement>,
    step_summary: Option<ci::StepSummary>,
}

impl Files {
    /// Writes them.
    pub fn write(mut self, checked: &Checked) -> Result<(), Vec<Diagnostic>> {
        let write = |file: &Option<Replacement>, content: &dyn Fn() -> String| match file {
            Some(file) => file
                .write(content().as_bytes())
                .map_err(|error| vec![Diagnostic::error("E0402", error.to_string())]),
            None => Ok(()),
        };
        write(&self.baseline, &|| checked.now.to_text())?;
        write(&self.junit, &|| checked.junit.clone())?;
        write(&self.code_quality, &|| code_quality::write(&checked.failures))?;
        match &mut self.step_summary {
            Some(step_summary) => step_summary.append(&checked.summary),
            None => Ok(()),
        }
    }
}

/// What came of it.
pub(super) struct Checked {
    now: Baseline,
    comparison: Option<Comparison>,
    failures: Vec<Diagnostic>,
    markdown: Vec<u8>,
    json: String,
    junit: String,
    summary: String,
}

impl Checked {
    /// What the output directory keeps of it.
    pub fn contents(&self) -> Vec<(&'static str, &[u8])> {
        match self.comparison {
            Some(_) => vec![(FILES[0], &self.markdown), (FILES[1], self.json.as_bytes())],
            None => Vec::new(),
        }
    }

    /// Whether the comparison fails.
    pub fn fails(&self) -> bool {
        self.comparison.as_ref().is_some_and(Comparison::fails)
    }

    /// Prints the comparison, after JSON on stderr; and on GitHub what failed, at its line.
    pub fn print(&self, format: SimulateFormat) {
        if let Some(comparison) = &self.comparison {
            let mut text = format!("\nCOMPARED WITH {}\n", comparison.base).into_bytes();
            comparison_text::write(comparison, true, &mut text).expect("memory takes what is written to it");
            let text = String::from_utf8_lossy(&text);
            match format {
                SimulateFormat::Text => console::print(&text),
                SimulateFormat::Json => console::say(&text),
            }
        }
        ci::annotate(&self.failures, format);
    }
}

/// No policy is in both.
pub(super) fn no_common_policy(base: &[&str], new: &[&str]) -> Diagnostic {
    let message = format!(
        "nothing to compare: the base has {}, and what is held against it {}",
        named(base),
        named(new)
    );
    Diagnostic::error("E0905", message)
        .helped("policies are matched by name; `thawline compare --base-policy A --policy B` takes any two")
}

fn named(names: &[&str]) -> String {
    if names.is_empty() { "no policy".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_said_at_its_place() {
        let texts = ["ttft.p9", "cost.total:5,x", "slo.breach", "slo.breach:1pp"].map(str::to_owned);
        let faults = rules(&texts).unwrap_err();
        let places: Vec<(usize, &str)> = faults
            .iter()
            .map(|fault| (fault.place.as_ref().unwrap().column, fault.message.as_str()))
            .collect();
        assert_eq!(places.len(), 3, "{places:?}");
        assert_eq!(places[0], (1, "unknown metric `ttft.p9`"));
        assert_eq!(places[1].0, 14);
        assert_eq!(places[2].1, "`slo.breach` is given twice");
        let good = ["drift", "ttft.p99"].map(str::to_owned);
        let (rules, drift) = rules(&good).unwrap();
        assert!(drift && rules.len() == 1);
        assert!(metrics(&["all".to_owned()]).unwrap().is_none());
        assert_eq!(metrics(&["ttft.p98".to_owned(), "x".to_owned()]).unwrap_err().len(), 2);
    }
}
