//! What the table of changes comes to: what brings most for its money, and what would make the gates hold.

use serde::Serialize;

use super::{Row, Weighed};
use crate::experiment::metric::Unit;
use crate::experiment::whatif::Effect;
use crate::experiment::{Gate, Metric};
use crate::report::format;

/// What the table comes to. Changes are given by their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What brings most of those that cost no more.
    pub best_for_nothing: Option<&'static str>,
    /// What brings most for each dollar, of those that cost more.
    pub best_per_dollar: Option<&'static str>,
    /// What makes every gate hold by itself, cheapest first; empty where there are no gates.
    pub hold: Vec<&'static str>,
    /// The same in words, a line each; the last one is the verdict.
    pub lines: Vec<String>,
}

/// By how much a change is better, in the metric's own unit; `None` where none is told.
fn benefit(row: &Row) -> Option<f64> {
    let change = &row.weighed.harm;
    (change.effect == Effect::Better).then(|| change.difference.map_or(0.0, |own| own.mean.abs()))
}

/// What a change costs more a month, US dollars; nothing where no difference is told.
fn price(row: &Row) -> f64 {
    row.weighed.cost.detected()
}

/// What the change leaves, and what it costs a month.
fn brings(row: &Row, base: &Row, harm: &Metric) -> String {
    let shown = |weighed: &Weighed| format::maybe(harm.unit, weighed.harm.estimate.map(|own| own.mean));
    let cost = match row.weighed.cost.effect {
        Effect::Better => format!("{} a month less", usd(-price(row))),
        Effect::Worse => format!("{} a month more", usd(price(row))),
        _ if row.weighed.cost.difference.is_some_and(|own| own.mean == 0.0) => "at the same cost".to_owned(),
        _ => "at no other cost that can be told".to_owned(),
    };
    format!("{}, {} {} -> {}, {cost}", row.words, harm.name, shown(&base.weighed), shown(&row.weighed))
}

/// An amount, with cents only where there is little else.
fn usd(amount: f64) -> String {
    if amount.abs() < 100.0 {
        format::value(Unit::Usd, amount)
    } else {
        format!("${}", format::whole(amount.round() as u64))
    }
}

fn monthly(row: &Row) -> f64 {
    row.weighed.cost.estimate.map_or(f64::INFINITY, |own| own.mean)
}

impl Verdict {
    pub(super) fn new(base: &Row, rows: &[Row], gates: &[Gate], harm: &Metric) -> Self {
        let mut verdict = Self::default();
        let helpful: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, benefit(row)?))).collect();
        // The first of equals: those come in the order of the rows.
        let best = |of: &dyn Fn(&(&Row, f64)) -> Option<f64>| {
            let scored = helpful.iter().filter_map(|own| Some((own.0, of(own)?)));
            scored
                .reduce(|best, own| if own.1.total_cmp(&best.1).is_gt() { own } else { best })
                .map(|own| own.0)
        };
        let free = best(&|(row, benefit)| (price(row) <= 0.0).then_some(*benefit));
        let paid = best(&|(row, benefit)| (price(row) > 0.0).then(|| benefit / price(row)));
        verdict.best_for_nothing = free.map(|row| row.name);
        verdict.best_per_dollar = paid.map(|row| row.name);
        let line = |label: &str, row: &Row| format!("{label}: {}", brings(row, base, harm));
        verdict.lines.extend(free.map(|row| line("most for no more money", row)));
        verdict.lines.extend(paid.map(|row| line("most per dollar", row)));
        if gates.is_empty() {
            let best = free.or(paid).map(|row| row.words);
            let nothing =
                || format!("no gates to hold, and no single change is seen to better {}", harm.name);
            let sentence = best.map_or_else(nothing, |words| {
                let money = if free.is_some() { "for no more money" } else { "for its money" };
                format!("no gates to hold; what brings most {money}: {words}")
            });
            verdict.lines.push(format!("verdict: {sentence}"));
        } else {
            verdict.judge(base, rows, gates);
        }
        verdict
    }

    /// Says what makes the gates hold.
    fn judge(&mut self, base: &Row, rows: &[Row], gates: &[Gate]) {
        let mut holding: Vec<&Row> = rows.iter().filter(|row| row.holds).collect();
        holding.sort_by(|a, b| monthly(a).total_cmp(&monthly(b)));
        self.hold = holding.iter().map(|row| row.name).collect();
        let at = |row: &Row| format!("{}, {} a month", row.words, usd(monthly(row)));
        let every = if gates.len() == 1 { "the gate holds" } else { "every gate holds" };
        let sentence = match (base.holds, holding.first()) {
            (true, Some(cheapest)) if price(cheapest) < 0.0 => {
                let less = usd(-price(cheapest));
                format!("{every} as it is, and still does for {less} a month less: {}", cheapest.words)
            }
            (true, _) => format!("{every} as it is, and no single change is seen to make that cheaper"),
            (false, Some(cheapest)) if holding.len() == 1 => {
                format!("{every} with one change alone: {}", at(cheapest))
            }
            (false, Some(cheapest)) => {
                format!("{every} with any of {} changes alone; cheapest: {}", holding.len(), at(cheapest))
            }
            (false, None) => {
                let held = |row: &Row| row.gates.iter().filter(|status| status.is_held(false)).count();
                // Of those that make as many hold, the one that brings most: rows come in that order.
                let most = rows.iter().map(held).max().unwrap_or(0);
                let helps = |row: &&Row| held(row) == most && (most > held(base) || benefit(row).is_some());
                let nearest = rows
                    .iter()
                    .find(helps)
                    .map_or_else(String::new, |row| format!("; nearest: {}", row.words));
                let every = if gates.len() == 1 { "the gate" } else { "every gate" };
                format!("no single change makes {every} hold{nearest}")
            }
        };
        self.lines.push(format!("verdict: {sentence}"));
    }
}
