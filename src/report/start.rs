//! Cold starts as waterfalls: stage under stage on one time axis, what was worked on and what was waited for. What
//! `explain-start` prints.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::document::{PolicyDoc, RunDoc};
use super::format;
use super::request::clock;
use crate::experiment::metric::Unit;
use crate::kernel::{ReplicaId, SimDuration};
use crate::outcome::{PhaseSpan, StartRecord, StartResult};

const HEADING: Style = Style::new().bold();
const WORKING: Style = AnsiColor::Green.on_default();
const WAITING: Style = AnsiColor::Yellow.on_default();

/// Columns in front of the bars: the longest stage, how long, how long of it waited.
const STAGE: usize = 17;
const TIME: usize = 8;
const BEFORE: usize = 2 + STAGE + 2 * TIME + 2;
/// The fewest columns that are left for bars.
const BARS_MIN: usize = 10;

/// Stages that took less are left out: links may round a fetch that takes no time up to a nanosecond.
const SHOWN: SimDuration = SimDuration::from_millis(1);

/// How waterfalls are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// Columns to keep within.
    pub width: usize,
    /// Whether to write ANSI colours; stages can be told apart without.
    pub colour: bool,
}

/// The starts of a run that tell most: of those that became ready the median one and the slowest, else none.
pub fn telling<'a>(policy: &PolicyDoc, run: &'a RunDoc) -> Vec<(String, &'a StartRecord)> {
    let mut ready: Vec<(SimDuration, &StartRecord)> =
        run.starts.iter().filter_map(|start| Some((start.duration()?, start))).collect();
    ready.sort_by_key(|(took, start)| (*took, start.replica));
    let title = |which: &str| format!("{} · replication {} · {which}", policy.name, run.replication);
    match ready.as_slice() {
        [] => Vec::new(),
        [(_, only)] => vec![(title("the only start that became ready"), *only)],
        [.., (_, slowest)] => {
            let (_, median) = ready[(ready.len() - 1) / 2];
            let count = ready.len();
            vec![
                (title(&format!("the median of {count} starts")), median),
                (title(&format!("the slowest of {count} starts")), *slowest),
            ]
        }
    }
}

/// The start of one replica.
pub fn of_replica<'a>(policy: &PolicyDoc, run: &'a RunDoc, id: u32) -> Option<(String, &'a StartRecord)> {
    let start = run.starts.iter().find(|start| start.replica == ReplicaId(id))?;
    Some((format!("{} · replication {}", policy.name, run.replication), start))
}

/// Draws starts one below the other, all to the scale of the longest.
pub fn draw(starts: &[(String, &StartRecord)], canvas: Canvas) -> String {
    let longest = starts.iter().map(|(_, start)| length(start)).max().unwrap_or_default();
    let drawn: Vec<String> =
        starts.iter().map(|(title, start)| waterfall(title, start, longest, canvas)).collect();
    drawn.join("\n")
}

/// From its creation to its end, whatever that was.
fn length(start: &StartRecord) -> SimDuration {
    start.phases.last().map_or(SimDuration::ZERO, |last| last.to.since(start.ordered))
}

fn waterfall(title: &str, start: &StartRecord, longest: SimDuration, canvas: Canvas) -> String {
    let cells = canvas.width.saturating_sub(BEFORE).max(BARS_MIN);
    let mut out = canvas.paint(HEADING, &start.replica.to_string());
    _ = writeln!(out, " · {title}");
    _ = writeln!(out, "  {}", facts(start));
    let end = seconds(longest);
    let ruler = format!("0s{end:>width$}", width = cells.saturating_sub(2));
    _ = writeln!(out, "  {:STAGE$}{:>TIME$}{:>TIME$}  {ruler}", "", "time", "waits");
    for spans in start.phases.chunk_by(|one, next| one.phase == next.phase) {
        let took: SimDuration = spans.iter().map(PhaseSpan::length).sum();
        if took < SHOWN {
            continue;
        }
        let waited: SimDuration = spans.iter().map(|span| span.waiting).sum();
        let waited = if waited.is_zero() { "–".to_owned() } else { seconds(waited) };
        let (label, took) = (spans[0].phase.label(), seconds(took));
        let bar = bar(spans, start, longest, cells, canvas);
        _ = writeln!(out, "  {label:STAGE$}{took:>TIME$}{waited:>TIME$}  {bar}");
    }
    out
}

fn seconds(time: SimDuration) -> String {
    format::value(Unit::Seconds, time.as_secs_f64())
}

/// When it was created, how long it took, how much of that it waited, how it ended.
fn facts(start: &StartRecord) -> String {
    let took = seconds(length(start));
    let end = match start.result {
        StartResult::Ready => format!("ready after {took}"),
        StartResult::Cancelled => format!("cancelled after {took}"),
        StartResult::NodeLost => format!("lost with its machine after {took}"),
        StartResult::Recreated => format!("given up with its group, which was made anew, after {took}"),
        StartResult::Unfinished => format!("not ready when the run ended, after {took}"),
    };
    let pending = start.unscheduled.map(|why| format!(" · pending: {}", why.label())).unwrap_or_default();
    let restarts = match start.restarts {
        0 => String::new(),
        1 => " · its container was killed once by a probe".to_owned(),
        n => format!(" · its container was killed {n} times by a probe"),
    };
    format!(
        "created at {} · {end} · {} of it waiting{pending}{restarts}",
        clock(start.ordered),
        seconds(start.waiting())
    )
}

/// One stage on the axis: `█` what was worked on, `░` what was waited for. What waits for links that others use is slow all the
/// time; its share of waiting is drawn at the end. Nothing is too short to be seen.
fn bar(
    spans: &[PhaseSpan],
    start: &StartRecord,
    longest: SimDuration,
    cells: usize,
    canvas: Canvas,
) -> String {
    let scale = u128::from(longest.as_nanos()).max(1);
    let cell = |from_order: SimDuration| {
        let at = u128::from(from_order.as_nanos()) * cells as u128;
        ((at + scale / 2) / scale) as usize
    };
    let (mut out, mut used) = (String::new(), 0);
    for span in spans {
        let works_until = span.from + span.working();
        for (from, to, shade, style) in
            [(span.from, works_until, "█", WORKING), (works_until, span.to, "░", WAITING)]
        {
            if from >= to {
                continue;
            }
            let first = cell(from.since(start.ordered)).clamp(used, cells.saturating_sub(1).max(used));
            let last = cell(to.since(start.ordered)).clamp(first + 1, cells.max(first + 1));
            out.push_str(&" ".repeat(first - used));
            out.push_str(&canvas.paint(style, &shade.repeat(last - first)));
            used = last;
        }
    }
    out
}

impl Canvas {
    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SimTime;
    use crate::outcome::Phase;
    use crate::report::{Document, Summary, fixture};

    const PLAIN: Canvas = Canvas { width: 80, colour: false };

    #[test]
    fn median_and_slowest_to_one_scale() {
        let document = Document::from(&Summary::new(fixture::experiment()));
        let policy = document.policy("hpa").unwrap();
        let starts = telling(policy, &policy.runs[0]);
        assert_eq!(starts.len(), 2, "the cancelled one is none of them");
        insta::assert_snapshot!(draw(&starts, PLAIN));
        let idle = document.policy("warm-pool").unwrap();
        assert!(telling(idle, &idle.runs[0]).is_empty());
    }

    #[test]
    fn the_bars_are_the_spans() {
        let at = SimTime::from_secs;
        let span = |phase, from, to, waiting| PhaseSpan {
            phase,
            from: at(from),
            to: at(to),
            waiting: SimDuration::from_secs(waiting),
        };
        let mut start = fixture::start(7, 100, &[]);
        start.phases = vec![
            span(Phase::Pending, 100, 110, 10),
            span(Phase::Pulling, 110, 130, 5),
            // Two spans of one stage: what is fetched, and what is loaded.
            span(Phase::Loading, 130, 140, 5),
            span(Phase::Loading, 140, 150, 0),
        ];
        let drawn = draw(&[("p".to_owned(), &start)], Canvas { width: BEFORE + 50, ..PLAIN });
        let bars: Vec<String> =
            drawn.lines().skip(3).map(|line| line.chars().skip(BEFORE).collect()).collect();
        let expected = [
            "░░░░░░░░░░".to_owned(),
            format!("{}███████████████░░░░░", " ".repeat(10)),
            format!("{}█████░░░░░██████████", " ".repeat(30)),
        ];
        assert_eq!(bars, expected);
        assert!(drawn.contains("ready after 50.0s · 20.0s of it waiting"), "{drawn}");
    }

    #[test]
    fn bars_keep_to_the_width_and_nothing_vanishes() {
        // A long stage, then many short ones at the very end.
        let phases: Vec<(Phase, u64)> = [(Phase::Provisioning, 3_000_000)]
            .into_iter()
            .chain((0..12).map(|i| (if i % 2 == 0 { Phase::Starting } else { Phase::Loading }, 1)))
            .collect();
        let start = fixture::start(1, 0, &phases);
        for width in [0, 60, 80, 120, 200] {
            let drawn = draw(&[("p".to_owned(), &start)], Canvas { width, ..PLAIN });
            let cells = width.max(BEFORE + BARS_MIN);
            for line in drawn.lines().skip(2) {
                assert!(line.chars().count() <= cells, "{width}: {line:?}");
            }
            for line in drawn.lines().skip(3) {
                assert!(line.contains('█') || line.contains('░'), "{width}: {line:?}");
            }
        }
        let coloured = draw(&[("p".to_owned(), &start)], Canvas { colour: true, ..PLAIN });
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            draw(&[("p".to_owned(), &start)], PLAIN)
        );
    }
}
