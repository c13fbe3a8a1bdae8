//! The table of changes as text and as Markdown.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Cell, Column, Row, WhatIf};
use crate::experiment::GateStatus;
use crate::experiment::whatif::Effect;
use crate::report::format;
use crate::report::markdown::escaped;
use crate::report::terminal::{shown, wrapped};

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const UNSETTLED: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// The space between two columns.
const GAP: &str = "   ";

fn paint(style: Style, text: &str) -> String {
    if text.trim().is_empty() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

const fn colour(effect: Option<Effect>) -> Style {
    match effect {
        Some(Effect::Better) => GOOD,
        Some(Effect::Worse) => BAD,
        Some(Effect::Undetected | Effect::Absent) | None => QUIET,
        Some(Effect::Other) => Style::new(),
    }
}

const fn mark(status: GateStatus) -> Style {
    match status {
        GateStatus::Pass => GOOD,
        GateStatus::Fail | GateStatus::Absent => BAD,
        GateStatus::Straddles => UNSETTLED,
    }
}

/// An assignment as a shell takes it.
fn shell(set: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '=' | '-' | '_' | '/' | ':' | '%' | '+');
    if set.chars().all(is_plain) { set.to_owned() } else { format!("'{}'", set.replace('\'', r"'\''")) }
}

/// What to give the command line for a row.
fn options(row: &Row) -> String {
    let each: Vec<String> = row.sets.iter().map(|set| format!("--set {}", shell(set))).collect();
    each.join(" ")
}

/// A figure and its difference, as words.
fn words(column: &Column, cell: &Cell, base: &Cell) -> (String, String) {
    let unit = column.of.unit;
    let mean = cell.change.estimate.map(|own| own.mean);
    let difference = match (&cell.change.difference, cell.effect) {
        (Some(difference), Some(effect)) => {
            let like = base.change.estimate.map(|own| own.mean);
            format::difference(unit, difference, effect.is_detected(), like)
        }
        (None, Some(_)) => format::NONE.to_owned(),
        // As it is: how far the figure itself is known.
        (_, None) => cell.change.estimate.map_or_else(String::new, |own| format::spread(unit, &own)),
    };
    (format::maybe(unit, mean), difference)
}

/// A text behind a label, its lines filled up to the width.
fn filled(label: &str, text: &str, width: usize) -> String {
    let mut out = label.to_owned();
    let mut used = shown(label);
    for word in text.split(' ') {
        let length = word.chars().count();
        if used + 1 + length > width {
            out.push_str("\n ");
            used = 1;
        }
        out.push(' ');
        out.push_str(word);
        used += 1 + length;
    }
    out
}

impl WhatIf {
    fn all_rows(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.base).chain(&self.rows)
    }

    fn cells(&self, row: &Row) -> Vec<(String, String)> {
        let cells = self.metrics.iter().zip(&row.figures).zip(&self.base.figures);
        cells.map(|((column, cell), base)| words(column, cell, base)).collect()
    }

    /// The key to the table.
    fn key(&self) -> Vec<String> {
        let interval = if self.replications == 1 {
            "one replication: nothing tells a difference from chance".to_owned()
        } else {
            format!("± half of a 95 % interval over {} replications ({})", self.replications, self.coverage)
        };
        let paired = "differences to `as it is`, paired by replication".to_owned();
        vec![paired, interval, "`·` no change detected".to_owned()]
    }

    /// As text, with colours; `verbose` also says what each row writes over the scenario.
    pub fn text(&self, width: usize, verbose: bool) -> String {
        let mut head = vec![
            paint(HEADING, &self.scenario),
            format!("policy {}", self.policy),
            self.model.clone(),
            format!("profile {}", self.profile),
        ];
        if !self.slo.is_empty() {
            head.push(format!("slo {}", self.slo.join(", ")));
        }
        head.push(format!("seed {}", self.seed));
        let mut out = format!("{}\n{}\n\n", wrapped("", &head, 2, width), wrapped("", &self.key(), 2, width));
        self.table(&mut out);
        out.push('\n');
        if !self.gates.is_empty() {
            _ = writeln!(out, "{}  {}", paint(HEADING, "gates"), self.gates.join(" · "));
        }
        self.below(&mut out, width, verbose);
        for warning in &self.warnings {
            let code = paint(UNSETTLED.bold(), &format!("warning[{}]", warning.code));
            _ = writeln!(out, "{code}: {}", warning.message);
        }
        for line in &self.verdict.lines {
            let (label, rest) = line.split_once(": ").unwrap_or(("", line));
            let label =
                if label.is_empty() { String::new() } else { paint(HEADING, &format!("{label}:")) + " " };
            _ = writeln!(out, "{label}{rest}");
        }
        out
    }

    fn table(&self, out: &mut String) {
        let chars = |text: &str| text.chars().count();
        let names = self.all_rows().map(|row| chars(row.words)).max().unwrap_or(0);
        let cells: Vec<(&Row, Vec<(String, String)>)> =
            self.all_rows().map(|row| (row, self.cells(row))).collect();
        let widest = |index: usize| {
            let of = |pick: fn(&(String, String)) -> &String| {
                cells.iter().map(|(_, cells)| chars(pick(&cells[index]))).max().unwrap_or(0)
            };
            (of(|cell| &cell.0), of(|cell| &cell.1))
        };
        let widths: Vec<(usize, usize)> = self
            .metrics
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let (value, difference) = widest(index);
                (value, difference.max(chars(column.metric).saturating_sub(value + 2)))
            })
            .collect();
        let mut line = format!("  {:names$}", "");
        for (column, (value, difference)) in self.metrics.iter().zip(&widths) {
            line += GAP;
            line += &format!("{:<1$}", column.metric, value + 2 + difference);
        }
        if !self.gates.is_empty() {
            line += GAP;
            line += "gates";
        }
        _ = writeln!(out, "{}", paint(HEADING, line.trim_end()));
        for (row, cells) in &cells {
            let mut line = format!("  {:names$}", row.words);
            for (((value, difference), cell), (left, right)) in cells.iter().zip(&row.figures).zip(&widths) {
                line += GAP;
                line += &format!("{value:left$}  ");
                line += &paint(colour(cell.effect), difference);
                // Behind the colour, where it can be cut off at the end of the line.
                line.extend(std::iter::repeat_n(' ', right - chars(difference)));
            }
            let marks: Vec<String> = row.gates.iter().map(|own| paint(mark(*own), own.mark())).collect();
            if !marks.is_empty() {
                line += GAP;
                line += &marks.join("");
            }
            _ = writeln!(out, "{}", line.trim_end());
        }
    }

    /// What each row writes, or those that the verdict names; and what was not tried.
    fn below(&self, out: &mut String, width: usize, verbose: bool) {
        let is_named = |row: &&Row| {
            let verdict = &self.verdict;
            let cheapest = verdict.hold.first().copied();
            verbose || [verdict.best_for_nothing, verdict.best_per_dollar, cheapest].contains(&Some(row.name))
        };
        let named: Vec<&Row> = self.rows.iter().filter(is_named).collect();
        if !named.is_empty() {
            let more = if verbose { "" } else { "; `--verbose` for every row" };
            _ = writeln!(out, "{}{more}", paint(HEADING, "the same with `simulate`"));
            for row in named {
                _ = writeln!(out, "  {} ({}): {}", row.words, row.name, options(row));
            }
        }
        let left_out = self.not_tried.iter().filter(|own| verbose || !own.is_reverse);
        // Those that have a reason in common stand together.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for own in left_out {
            match reasons.iter_mut().find(|(why, _)| *why == own.why) {
                Some((_, words)) => words.push(own.words),
                None => reasons.push((&own.why, vec![own.words])),
            }
        }
        let parts: Vec<String> =
            reasons.into_iter().map(|(why, words)| format!("{} ({why})", words.join("; "))).collect();
        if !parts.is_empty() {
            _ = writeln!(out, "{}", filled(&paint(QUIET, "not tried:"), &parts.join(" · "), width));
        }
    }

    /// As Markdown.
    pub fn markdown(&self, verbose: bool) -> String {
        let mut out = format!("### {}: what if, for `{}`\n\n", escaped(&self.scenario), self.policy);
        let columns: Vec<&str> = self.metrics.iter().map(|column| column.metric).collect();
        let gates = if self.gates.is_empty() { "" } else { " gates |" };
        _ = writeln!(out, "| | {} |{gates}", columns.join(" | "));
        let count = columns.len() + usize::from(!self.gates.is_empty());
        _ = writeln!(out, "|---|{}", "---|".repeat(count));
        for row in self.all_rows() {
            let cells = self.cells(row).into_iter().map(|(value, difference)| {
                let both = if difference.is_empty() { value } else { format!("{value} ({difference})") };
                escaped(&both)
            });
            let cells: Vec<String> = cells.collect();
            let marks: Vec<String> = row.gates.iter().map(|status| escaped(status.mark())).collect();
            let marks = if marks.is_empty() { String::new() } else { format!(" {} |", marks.join(" ")) };
            _ = writeln!(out, "| {} | {} |{marks}", row.words, cells.join(" | "));
        }
        _ = writeln!(out, "\n{}\n", escaped(&self.key().join(" · ")));
        if !self.gates.is_empty() {
            _ = writeln!(out, "Gates: {}\n", escaped(&self.gates.join(" · ")));
        }
        for line in &self.verdict.lines {
            _ = writeln!(out, "- {}", escaped(line));
        }
        if verbose {
            _ = writeln!(
                out,
                "\n<details><summary>What each row writes over the scenario</summary>\n\n```sh"
            );
            for row in &self.rows {
                _ = writeln!(out, "# {}\n{}", row.words, options(row));
            }
            out.push_str("```\n\n</details>\n");
        }
        out
    }
}
