//! Each gate under each policy: value, interval and limit on one line.

use super::NAME_MOST;
use super::canvas::{Anchor, BAD, Canvas, Colour, GOOD, GRID, INK, QUIET, UNSETTLED, shortened};
use crate::experiment::metric::Unit;
use crate::experiment::{GateStatus, Metric};
use crate::report::Document;
use crate::report::document::{CellDoc, GateDoc, PolicyDoc};
use crate::report::format;

const WIDTH: u32 = 760;
const NAMES: f64 = 190.0;
const VALUES: f64 = 190.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 26.0;

pub(super) fn draw(document: &Document, policies: &[&PolicyDoc]) -> Option<Canvas> {
    if document.gates.is_empty() || policies.is_empty() {
        return None;
    }
    let block = TITLE + ROW * policies.len() as f64 + 10.0;
    let height = (block * document.gates.len() as f64 + 6.0) as u32;
    let mut canvas = Canvas::new(
        WIDTH,
        height,
        format!("Gates of {}: each policy's value, interval and limit", document.scenario),
    );
    for (index, gate) in document.gates.iter().enumerate() {
        one(&mut canvas, gate, policies, index as f64 * block);
    }
    Some(canvas)
}

/// The unit of a gate's metric.
fn unit(gate: &GateDoc) -> Unit {
    Metric::find(&gate.metric).map_or(Unit::Count, |metric| metric.unit)
}

fn one(canvas: &mut Canvas, gate: &GateDoc, policies: &[&PolicyDoc], top: f64) {
    canvas.text((0.0, top + 12.0), &gate.gate, 13.0, INK, Anchor::Start);
    let cells: Vec<(&str, &CellDoc)> =
        policies.iter().filter_map(|p| Some((p.name.as_str(), gate.policies.get(&p.name)?))).collect();
    let ends = cells.iter().flat_map(|(_, cell)| {
        let (low, high) = cell.value.interval.unwrap_or((0.0, 0.0));
        [cell.value.mean.0.unwrap_or(0.0), low, high]
    });
    // The limit stands where a third of the width is beyond it, unless a value needs more.
    // What is far beyond the limit would leave it no width: it is drawn to the end, and marked there.
    let most =
        ends.filter(|v| v.is_finite()).fold(gate.limit * 1.5, f64::max).min(gate.limit.max(1e-9) * 12.0);
    let axis = super::axis::Axis::linear((0.0, most), (NAMES, f64::from(WIDTH) - VALUES));
    let rows = top + TITLE;
    for (index, (name, cell)) in cells.iter().enumerate() {
        let y = rows + ROW * (index as f64 + 0.5);
        row(canvas, gate, (name, cell), axis, y);
    }
    let bottom = rows + ROW * cells.len() as f64;
    let limit = axis.at(gate.limit);
    canvas.line(vec![(limit, rows - 4.0), (limit, bottom)], INK, 2);
    canvas.text((limit, rows - 10.0), format::value(unit(gate), gate.limit), 10.0, QUIET, Anchor::Middle);
}

fn row(canvas: &mut Canvas, gate: &GateDoc, (name, cell): (&str, &CellDoc), axis: super::axis::Axis, y: f64) {
    let (sign, colour) = mark(cell);
    canvas.text((0.0, y), format!("{sign} {}", shortened(name, NAME_MOST)), 12.0, INK, Anchor::Start);
    let (start, end) = (axis.at(0.0), axis.at(f64::INFINITY));
    canvas.line(vec![(start, y), (end, y)], GRID, 1);
    let mean = cell.value.mean.0;
    match mean {
        Some(mean) if axis.is_beyond(mean) => beyond(canvas, (start, end), y, colour),
        Some(mean) => canvas.block((start, y - 4.0), (axis.at(mean), y + 4.0), colour, 0.75),
        None => {}
    }
    if let Some((low, high)) = cell.value.interval.filter(|(low, high)| low < high && !axis.is_beyond(*low)) {
        let is_open = axis.is_beyond(high);
        let (low, high) = (axis.at(low), axis.at(high));
        canvas.line(vec![(low, y), (high, y)], INK, 2);
        for edge in [low, high].into_iter().take(2 - usize::from(is_open)) {
            canvas.line(vec![(edge, y - 5.0), (edge, y + 5.0)], INK, 1);
        }
    }
    let estimate = mean.map(|mean| crate::experiment::Estimate {
        mean,
        interval: cell.value.interval,
        count: cell.value.runs,
    });
    let value = format::estimate(unit(gate), estimate.as_ref(), Some(gate.limit));
    canvas.text((end + 10.0, y), value, 11.0, colour, Anchor::Start);
}

/// A bar that goes on beyond the end: broken, with an arrow.
fn beyond(canvas: &mut Canvas, (start, end): (f64, f64), y: f64, colour: Colour) {
    for (from, to) in [(start, end - 15.0), (end - 12.0, end - 9.0), (end - 6.0, end - 1.0)] {
        canvas.block((from, y - 4.0), (to, y + 4.0), colour, 0.75);
    }
    canvas.area(vec![(end - 1.0, y - 7.0), (end + 7.0, y), (end - 1.0, y + 7.0)], colour, 1.0);
}

fn mark(cell: &CellDoc) -> (&'static str, Colour) {
    match cell.status {
        _ if !cell.binds => ("·", QUIET),
        GateStatus::Pass => (cell.status.mark(), GOOD),
        GateStatus::Fail | GateStatus::Absent => (cell.status.mark(), BAD),
        GateStatus::Straddles => (cell.status.mark(), UNSETTLED),
    }
}
