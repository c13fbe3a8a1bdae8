//! `thawline plot`: one chart of a past run, as SVG or PNG.

use std::io::{IsTerminal as _, stdout};
use std::path::Path;

use super::args::PlotArgs;
use super::outcome;
use super::{Answer, Exit, console};
use crate::report::chart::{Canvas, Chart, ChartError};
use crate::report::document::PolicyDoc;
use crate::report::replace::Replacement;
use crate::yaml::Diagnostic;

pub(super) fn run(args: &PlotArgs) -> Answer {
    let is_png = is_png(args.out.as_deref())?;
    if args.out.is_none() && stdout().is_terminal() {
        let fault = Diagnostic::error("E0404", "a terminal shows no SVG");
        let help = "name a file, --out chart.svg or --out chart.png, or lead stdout into one";
        return Err(vec![fault.helped(help)]);
    }
    let document = outcome::read(&args.outcome)?;
    let mut policies: Vec<&PolicyDoc> = document.policies.iter().collect();
    if !args.policies.is_empty() {
        let named: Vec<Result<&PolicyDoc, Vec<Diagnostic>>> =
            args.policies.iter().map(|name| outcome::policy(&document, name)).collect();
        let faults: Vec<Diagnostic> =
            named.iter().filter_map(|found| found.as_ref().err()).flatten().cloned().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        policies = named.into_iter().flatten().collect();
    }
    let chart = Chart::from(args.chart);
    let Some(canvas) = chart.draw(&document, &policies) else {
        return Err(outcome::none(format!(
            "there is nothing to draw: this outcome has no {}",
            lacking(chart)
        )));
    };
    let Some(path) = &args.out else {
        console::print(&canvas.svg(true).map_err(undrawable)?);
        return Ok(Exit::Success);
    };
    let bytes = bytes(&canvas, is_png).map_err(undrawable)?;
    let written = Replacement::prepare(path).and_then(|file| file.write(&bytes));
    written.map_err(|error| vec![Diagnostic::error("E0402", error.to_string())])?;
    Ok(Exit::Success)
}

/// Whether the file is to be a PNG; its ending says so.
fn is_png(out: Option<&Path>) -> Result<bool, Vec<Diagnostic>> {
    let ending = out.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
    match (out, ending.as_deref()) {
        (None, _) | (_, Some("svg")) => Ok(false),
        (_, Some("png")) => Ok(true),
        (Some(path), _) => {
            let fault = Diagnostic::error("E0404", format!("{} is neither .svg nor .png", path.display()));
            Err(vec![fault.helped("the ending of --out says what is written")])
        }
    }
}

const fn lacking(chart: Chart) -> &'static str {
    match chart {
        Chart::Gates => "gates",
        Chart::Frontier => "answered request",
        Chart::Timeline => "timeline",
        Chart::ColdStarts => "cold start that became ready",
        Chart::Latency => "latency",
        Chart::Money => "bill",
    }
}

/// A chart as a file.
pub(super) fn bytes(canvas: &Canvas, is_png: bool) -> Result<Vec<u8>, ChartError> {
    if is_png { canvas.png() } else { canvas.svg(true).map(String::into_bytes) }
}

/// The charts could not be drawn.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn undrawable(error: ChartError) -> Vec<Diagnostic> {
    vec![Diagnostic::error("E0402", error.to_string())]
}
