//! A comparison for people at a terminal; the verdict comes last.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::comparison::{Comparison, Line, PolicyComparison};
use super::format;
use crate::experiment::metric::Unit;
use crate::experiment::{Margin, Standing};

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const QUIET: Style = Style::new().dimmed();

/// How many differences are listed.
const REASONS_MAX: usize = 4;
/// From so many times the base on, a change is shown in the metric's unit and not in per cent.
const TIMES_MAX: f64 = 10.0;
/// How many drifts are listed.
const DRIFTS_MAX: usize = 20;

/// The mark of a standing.
pub const fn mark(standing: Standing) -> &'static str {
    match standing {
        Standing::Worse => "✗",
        Standing::Better => "✓",
        Standing::Different => "≠",
        Standing::Unchanged => "·",
    }
}

/// One line as words: base, new, change, interval.
pub struct Words {
    /// The base's mean.
    pub base: String,
    /// The new mean.
    pub new: String,
    /// The change: relative, or in the metric's unit where the base is nothing beside it.
    pub change: String,
    /// Its interval; empty without one.
    pub interval: Option<(String, String)>,
}

impl Words {
    /// Of a line.
    pub fn of(line: &Line) -> Self {
        let (unit, finding) = (line.metric.unit, &line.finding);
        let (base, new) = format::both(unit, finding.base, finding.new);
        let Some(difference) = finding.difference else {
            let change = match (finding.base, finding.new) {
                (None, Some(_)) => "appeared".to_owned(),
                (Some(_), None) => "vanished".to_owned(),
                _ => String::new(),
            };
            return Self { base, new, change, interval: None };
        };
        // Of next to nothing anything is many per cent.
        let in_percent = finding.relative(difference).is_some_and(|share| share.abs() < TIMES_MAX);
        let show = |amount: f64| match finding.relative(amount) {
            Some(share) if in_percent => percent(share),
            _ => signed(unit, amount),
        };
        let interval = finding.interval.map(|(low, high)| (show(low), show(high)));
        Self { base, new, change: show(difference), interval }
    }

    /// `+23.3% [+19.8%, +26.9%]`.
    pub fn change_with_interval(&self) -> String {
        match &self.interval {
            Some((low, high)) => format!("{} [{low}, {high}]", self.change),
            None => self.change.clone(),
        }
    }
}

/// `+23.3%`.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = if percent.abs() >= 999.95 { format!("{percent:+.0}%") } else { format!("{percent:+.1}%") };
    if text == "-0.0%" { "+0.0%".to_owned() } else { text }
}

/// A difference in the unit: `+120ms`, `+0.3pp`.
fn signed(unit: Unit, amount: f64) -> String {
    if unit == Unit::Share {
        return format!("{:+.2}pp", amount * 100.0);
    }
    let text = format::value(unit, amount);
    if text.starts_with('-') { text } else { format!("+{text}") }
}

/// A margin in the metric's unit.
pub fn margin(line: &Line, margin: Margin) -> String {
    match margin {
        Margin::Relative(_) => margin.to_string(),
        Margin::Absolute(amount) if line.metric.unit == Unit::Share => {
            format!("{}pp", number(amount * 100.0))
        }
        Margin::Absolute(amount) if line.metric.unit == Unit::Usd => format!("${}", number(amount)),
        Margin::Absolute(amount) if line.metric.unit == Unit::Seconds && amount < 1.0 => {
            format!("{}ms", number(amount * 1e3))
        }
        Margin::Absolute(amount) if line.metric.unit == Unit::Seconds => format!("{}s", number(amount)),
        Margin::Absolute(amount) => number(amount),
    }
}

/// A number without the noise of binary fractions.
fn number(number: f64) -> String {
    ((number * 1e9).round() / 1e9).to_string()
}

/// The margins of a line: `5% and 100ms`.
pub fn margins(line: &Line) -> String {
    let margins = line.rule.iter().flat_map(|rule| &rule.margins);
    margins.map(|one| margin(line, *one)).collect::<Vec<_>>().join(" and ")
}

/// A regression in one sentence: metric, amount, interval, margin and what was changed.
pub fn regression(policy: &PolicyComparison, line: &Line) -> String {
    let words = Words::of(line);
    let note = match line.note() {
        note if note.is_empty() => String::new(),
        note => format!(" ({note})"),
    };
    let change = match words.change_with_interval() {
        change if change.is_empty() => String::new(),
        change => format!(", {change}"),
    };
    format!(
        "{} {} {} -> {}{change}{note}, more than {} worse",
        policy.name(),
        line.metric.name,
        words.base,
        words.new,
        margins(line)
    )
}

/// The verdict, without the word.
pub fn verdict(comparison: &Comparison) -> String {
    let drifts = comparison.drifts.as_ref().map(Vec::len);
    let regressions: Vec<String> = comparison
        .regressions()
        .map(|(policy, line)| {
            // Not in columns here.
            let because: Vec<_> = because(policy).split_whitespace().map(str::to_owned).collect();
            format!("{}; {}", regression(policy, line), because.join(" "))
        })
        .collect();
    let counted =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let mut parts = Vec::new();
    if comparison.policies.is_empty() {
        parts.push("nothing was compared: no policy is in both".to_owned());
    }
    match (drifts, comparison.judged()) {
        (Some(0), _) => parts.push("no drift: every fact and metric is the same".to_owned()),
        (Some(count), _) => parts.push(format!("drift: {}", counted(count, "difference", "differences"))),
        (None, 0) if !comparison.policies.is_empty() => parts.push("nothing was judged".to_owned()),
        _ => {}
    }
    if !regressions.is_empty() {
        let first = &regressions[0];
        parts.push(format!("{}: {first}", counted(regressions.len(), "regression", "regressions")));
    } else if comparison.judged() > 0 {
        let count =
            |standing: Standing| comparison.lines().filter(|line| line.finding.standing == standing).count();
        let tally = format!(
            "{} worse, {} better of {} shown",
            count(Standing::Worse),
            count(Standing::Better),
            comparison.lines().count()
        );
        let judged = counted(comparison.judged(), "figure", "figures");
        parts.push(format!("no regression in the {judged} judged ({tally})"));
    }
    if comparison.is_single() && !comparison.policies.is_empty() {
        parts.push("one run on a side: this is a difference, and may be noise".to_owned());
    }
    parts.join("; ")
}

/// `because ..`, or `although ..` where nothing came of it.
fn because(policy: &PolicyComparison) -> String {
    let word = if policy.is_changed() { "because" } else { "although" };
    format!("{word}  {}", policy.reasons(REASONS_MAX))
}

/// Writes it.
pub fn write(comparison: &Comparison, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let paint =
        |style: Style, text: &str| if colour { format!("{style}{text}{style:#}") } else { text.to_owned() };
    let different = comparison.lines().any(|line| line.finding.standing == Standing::Different);
    writeln!(
        out,
        "Key: {} worse  {} better  {}{} no change detected   ({})",
        paint(BAD, "✗"),
        paint(GOOD, "✓"),
        if different { "≠ different  " } else { "" },
        paint(QUIET, "·"),
        comparison.basis()
    )?;
    let lines: Vec<&Line> = comparison.lines().collect();
    let words: Vec<Words> = lines.iter().map(|line| Words::of(line)).collect();
    let widest = |of: &dyn Fn(usize) -> usize| (0..lines.len()).map(of).max().unwrap_or(0);
    let name = widest(&|i| lines[i].metric.name.len());
    let base = widest(&|i| words[i].base.chars().count());
    let new = widest(&|i| words[i].new.chars().count());
    let change = widest(&|i| words[i].change.chars().count());
    let end = |of: fn(&(String, String)) -> &String| {
        widest(&|i| words[i].interval.as_ref().map_or(0, |interval| of(interval).chars().count()))
    };
    let (low, high) = (end(|interval| &interval.0), end(|interval| &interval.1));
    let mut rows = words.iter();
    for policy in &comparison.policies {
        writeln!(out, "{}", paint(HEADING, &policy.name()))?;
        for line in &policy.lines {
            let Some(words) = rows.next() else { break };
            let style = match line.finding.standing {
                Standing::Worse => BAD,
                Standing::Better => GOOD,
                Standing::Different | Standing::Unchanged => QUIET,
            };
            let interval = match &words.interval {
                Some((from, to)) => format!(" [{from:>low$}, {to:>high$}]"),
                None => " ".repeat(if low > 0 { low + high + 5 } else { 0 }),
            };
            let mut tail = vec![line.note()];
            if line.finding.regressed {
                tail.push(paint(BAD, &format!("regression: more than {}", margins(line))));
            }
            tail.retain(|part| !part.is_empty());
            let text = format!(
                "  {} {:name$}  {:>base$} -> {:new$}  {:>change$}{interval}   {}",
                paint(style, mark(line.finding.standing)),
                line.metric.name,
                words.base,
                words.new,
                words.change,
                tail.join(" · ")
            );
            writeln!(out, "{}", text.trim_end())?;
        }
        if policy.is_changed() || !policy.differences.is_empty() {
            writeln!(out, "{}", because(policy))?;
        }
    }
    for (names, what) in
        [(&comparison.added, "is not in the baseline"), (&comparison.vanished, "is in the baseline only")]
    {
        for name in names {
            writeln!(out, "{}: {what}; not compared", super::difference::plain(name))?;
        }
    }
    if let Some(drifts) = &comparison.drifts {
        for drift in drifts.iter().take(DRIFTS_MAX) {
            writeln!(out, "{} {}", paint(BAD, "drift"), drift.text())?;
        }
        if drifts.len() > DRIFTS_MAX {
            writeln!(out, "and {} more", drifts.len() - DRIFTS_MAX)?;
        }
    }
    writeln!(out, "{} {}", paint(HEADING, "verdict:"), verdict(comparison))
}
