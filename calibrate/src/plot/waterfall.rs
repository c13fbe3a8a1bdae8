//! The start as a waterfall: each stage where it begins, with its spread.

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use thawline::kernel::Distribution;
use thawline::profile::Profile;

use super::axis::{Axis, short};
use super::{Area, COLOURS, Drawn, FAINT, FONT, GRID, INK};

/// px of one stage.
const ROW: i32 = 30;
/// px above the first and below the last.
const ABOVE: i32 = 44;
const BELOW: i32 = 52;
/// px for the names of the stages, and right of the longest bar for its label.
const NAMES: i32 = 310;
const LABELS: i32 = 190;

/// px that the waterfall of a profile needs.
pub(super) fn height(profile: &Profile) -> u32 {
    (ABOVE + BELOW + ROW * profile.start_up.len() as i32) as u32
}

/// Draws it: medians one after the other, a thin line on to the 95th percentile.
pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, profile: &Profile) -> Drawn<B> {
    let (width, height) = area.dim_in_pixel();
    let (left, right, bottom) = (NAMES, width as i32 - LABELS, height as i32 - BELOW);
    let total = profile.cold_start_median().as_secs_f64();
    let heading = format!("start-up: about {total:.0} s, the sum of the medians");
    area.draw(&Text::new(heading, (24, 12), (FONT, 16).into_font().color(&INK)))?;
    let mut begin = 0.0;
    let spans: Vec<(f64, f64, Option<f64>)> = profile
        .start_up
        .iter()
        .map(|stage| {
            let time = &stage.time.value;
            let end = begin + time.median().as_secs_f64();
            let constant = matches!(time, Distribution::Constant(_) | Distribution::Transfer { .. });
            let p95 = (!constant).then(|| begin + time.quantile(0.95).as_secs_f64());
            (std::mem::replace(&mut begin, end), end, p95)
        })
        .collect();
    let axis = Axis::from_zero(spans.iter().flat_map(|(_, end, p95)| [*end, p95.unwrap_or(0.0)]));
    let x = |seconds: f64| axis.map(&seconds, (left, right));
    let small = (FONT, 14).into_font();
    for mark in axis.key_points(10) {
        let line = vec![(x(mark), ABOVE - 6), (x(mark), bottom)];
        area.draw(&PathElement::new(line, GRID))?;
        let centred = TextStyle::from(small.clone()).color(&FAINT).pos(top_centre());
        area.draw(&Text::new(short(mark), (x(mark), bottom + 6), centred))?;
    }
    let centred = TextStyle::from(small.clone()).color(&INK).pos(top_centre());
    area.draw(&Text::new(
        "seconds since the pod was placed on a node",
        (left.midpoint(right), bottom + 24),
        centred,
    ))?;
    for (i, (stage, (begin, end, p95))) in profile.start_up.iter().zip(&spans).enumerate() {
        let top = ABOVE + ROW * i as i32;
        let middle = top + ROW / 2 - 3;
        let name = match &stage.label {
            Some(label) => format!("{}: {label}", stage.stage.label()),
            None => stage.stage.label().to_owned(),
        };
        let name_style = TextStyle::from(small.clone()).color(&INK).pos(middle_right());
        area.draw(&Text::new(fitted(&name), (left - 10, middle), name_style))?;
        let colour = COLOURS[stage.stage as usize % COLOURS.len()];
        // A stage of no length is still there.
        let bar = [(x(*begin), top), (x(*end).max(x(*begin) + 2), top + ROW - 7)];
        area.draw(&Rectangle::new(bar, colour.filled()))?;
        let mut reach = *end;
        if let Some(p95) = p95.filter(|p95| p95 > end) {
            reach = p95;
            area.draw(&PathElement::new(vec![(x(*end), middle), (x(p95), middle)], INK))?;
            area.draw(&PathElement::new(vec![(x(p95), middle - 4), (x(p95), middle + 4)], INK))?;
        }
        let kind = stage.time.provenance.label();
        let seconds = seconds_text(end - begin);
        let spread = p95.filter(|p95| p95 > end).map(|p95| format!(", p95 {}", seconds_text(p95 - begin)));
        let label = format!("{seconds}{} · {kind}", spread.unwrap_or_default());
        let style = TextStyle::from(small.clone()).color(&FAINT).pos(middle_left());
        // Where the bar ends near the edge, its label goes before it.
        let at = if x(reach) + 8 > right - 60 && x(*begin) - left > 260 {
            (x(*begin) - 8, middle, middle_right())
        } else {
            (x(reach) + 8, middle, middle_left())
        };
        area.draw(&Text::new(label, (at.0, at.1), style.pos(at.2)))?;
    }
    Ok(())
}

fn seconds_text(seconds: f64) -> String {
    match seconds {
        s if s >= 10.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1e3),
    }
}

/// A name that fits the column of names.
fn fitted(name: &str) -> String {
    if name.chars().count() <= 40 {
        return name.to_owned();
    }
    let cut: String = name.chars().take(39).collect();
    format!("{}…", cut.trim_end())
}

fn top_centre() -> Pos {
    Pos::new(HPos::Center, VPos::Top)
}

fn middle_right() -> Pos {
    Pos::new(HPos::Right, VPos::Center)
}

fn middle_left() -> Pos {
    Pos::new(HPos::Left, VPos::Center)
}
