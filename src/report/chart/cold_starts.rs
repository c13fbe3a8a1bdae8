//! Cold starts as waterfalls: stage under stage, what was worked on and what was waited for.

use super::axis::{Axis, time_ticks};
use super::canvas::{Anchor, Canvas, GRID, INK, QUIET, shortened};
use super::palette::phase_colour;
use crate::experiment::metric::Unit;
use crate::kernel::SimDuration;
use crate::outcome::{PhaseSpan, StartRecord};
use crate::report::document::PolicyDoc;
use crate::report::{format, start};

const WIDTH: u32 = 760;
const LEFT: f64 = 140.0;
const RIGHT: f64 = 110.0;
const ROW: f64 = 18.0;
const TITLE: f64 = 30.0;
const AXIS: f64 = 26.0;

/// Stages that took less are left out.
const SHOWN: SimDuration = SimDuration::from_millis(1);

fn length(start: &StartRecord) -> SimDuration {
    start.phases.last().map_or(SimDuration::ZERO, |last| last.to.since(start.ordered))
}

/// The stages of a start that can be seen, those in pieces as one.
fn stages(start: &StartRecord) -> Vec<&[PhaseSpan]> {
    let stages = start.phases.chunk_by(|one, next| one.phase == next.phase);
    stages.filter(|spans| spans.iter().map(PhaseSpan::length).sum::<SimDuration>() >= SHOWN).collect()
}

pub(super) fn draw(policies: &[&PolicyDoc]) -> Option<Canvas> {
    let starts: Vec<(String, &StartRecord)> = policies
        .iter()
        .filter_map(|policy| policy.runs.first().map(|run| (policy, run)))
        .flat_map(|(policy, run)| start::telling(policy, run))
        .collect();
    let longest = starts.iter().map(|(_, start)| length(start)).max().filter(|longest| !longest.is_zero())?;
    let blocks: f64 = starts.iter().map(|(_, start)| TITLE + ROW * stages(start).len() as f64).sum();
    let label =
        "Where the time of the median and of the slowest cold start of each policy went; pale is waiting";
    let mut canvas = Canvas::new(WIDTH, (blocks + AXIS) as u32, label);
    let axis = Axis::linear((0.0, longest.as_secs_f64()), (LEFT, f64::from(WIDTH) - RIGHT));
    for (at, words) in time_ticks(0.0, longest.as_secs_f64(), 6) {
        canvas.line(vec![(axis.at(at), 4.0), (axis.at(at), blocks + 6.0)], GRID, 1);
        canvas.text((axis.at(at), blocks + 16.0), words, 10.0, QUIET, Anchor::Middle);
    }
    let mut top = 0.0;
    for (title, start) in &starts {
        top = waterfall(&mut canvas, title, start, axis, top);
    }
    Some(canvas)
}

fn waterfall(canvas: &mut Canvas, title: &str, start: &StartRecord, axis: Axis, top: f64) -> f64 {
    let seconds = |time: SimDuration| format::value(Unit::Seconds, time.as_secs_f64());
    let title = format!(
        "{} · {}, {} of it waiting",
        shortened(title, 70),
        seconds(length(start)),
        seconds(start.waiting())
    );
    canvas.text((0.0, top + 16.0), title, 12.0, INK, Anchor::Start);
    let mut y = top + TITLE + ROW / 2.0;
    for spans in stages(start) {
        let phase = spans[0].phase;
        canvas.text((LEFT - 8.0, y), phase.label(), 11.0, QUIET, Anchor::End);
        let mut end = LEFT;
        for span in spans {
            let works_until = span.from + span.working();
            for (from, to, opacity) in [(span.from, works_until, 1.0), (works_until, span.to, 0.35)] {
                if from < to {
                    let x = |at: crate::kernel::SimTime| axis.at(at.since(start.ordered).as_secs_f64());
                    end = x(to).max(x(from) + 1.0);
                    canvas.block((x(from), y - 6.0), (end, y + 6.0), phase_colour(phase), opacity);
                }
            }
        }
        let took: SimDuration = spans.iter().map(PhaseSpan::length).sum();
        canvas.text((end + 6.0, y), seconds(took), 11.0, INK, Anchor::Start);
        y += ROW;
    }
    y - ROW / 2.0
}
