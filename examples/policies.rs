//! Makes the table and the picture of `docs/policies.md` out of what `benches/policies.sh` ran.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use thawline::report::Document;
use thawline::report::document::MeanDoc;

const TRACES: [&str; 4] = ["azure-chat", "azure-code", "worldcup", "servegen"];
const STARTS: [(&str, &str); 3] = [("seconds", "6 s"), ("minute", "1 min"), ("minutes", "5 min")];
const FROM: &str = "target/policies";
const PAGE: &str = "docs/policies.md";
/// Where the table begins and ends in the page.
const MARKS: [&str; 2] = ["<!-- table: benches/policies.sh -->\n", "<!-- end of the table -->\n"];

/// A policy on a trace and a start-up.
#[derive(Clone, Debug, PartialEq)]
struct Cell {
    trace: usize,
    start: usize,
    policy: String,
    breach: (f64, f64, f64),
    cost: (f64, f64, f64),
    /// Of perfect foresight.
    bounds: (f64, f64),
    /// What may breach.
    allowed: f64,
}

impl Cell {
    /// Whether the interval says that it holds: `Some(false)` that it does not, `None` neither.
    fn holds(&self) -> Option<bool> {
        match self.breach {
            (_, _, high) if high <= self.allowed => Some(true),
            (_, low, _) if low > self.allowed => Some(false),
            _ => None,
        }
    }

    /// Its cost over that of the best known schedule.
    fn over(&self) -> f64 {
        self.cost.0 / self.bounds.1
    }
}

fn interval(mean: &MeanDoc) -> (f64, f64, f64) {
    let value = mean.mean.0.unwrap_or(f64::NAN);
    let (low, high) = mean.interval.unwrap_or((value, value));
    (value, low, high)
}

/// The cells of one run.
fn cells(document: &Document, trace: usize, start: usize) -> Vec<Cell> {
    let foresight = document.foresight.as_ref().expect("the scenario asks for it");
    let usd = |mean: &MeanDoc| mean.mean.0.unwrap_or(f64::NAN);
    let bounds = (usd(&foresight.lower_usd), usd(&foresight.upper_usd));
    let cell = |policy: &thawline::report::document::PolicyDoc| {
        let metric = |name: &str| interval(&policy.summary.metrics[name]);
        Cell {
            trace,
            start,
            policy: policy.name.clone(),
            breach: metric("slo.breach"),
            cost: metric("cost.total"),
            bounds,
            allowed: foresight.breach_share,
        }
    };
    document.policies.iter().map(cell).collect()
}

/// A row a policy, a column a trace and start-up.
fn table(cells: &[Cell]) -> String {
    let mut out = String::new();
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.policy.as_str()) {
            names.push(&cell.policy);
        }
    }
    for (start, (_, title)) in STARTS.iter().enumerate() {
        let _ = writeln!(out, "\nStarts of {title}:\n\n| policy | {} |", TRACES.join(" | "));
        let _ = writeln!(out, "|---|{}", "---|".repeat(TRACES.len()));
        let of = |trace: usize, name: &str| {
            cells.iter().find(|c| (c.trace, c.start, c.policy.as_str()) == (trace, start, name))
        };
        for name in &names {
            let cell = |trace: usize| of(trace, name).map_or_else(|| "–".to_owned(), shown);
            let cells: Vec<String> = (0..TRACES.len()).map(cell).collect();
            let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
        }
        let bound = |trace: usize| {
            cells.iter().find(|c| (c.trace, c.start) == (trace, start)).map_or_else(
                || "–".to_owned(),
                |c| {
                    let known = if c.bounds.1.is_finite() {
                        format!("${:.2}", c.bounds.1)
                    } else {
                        "no schedule known that holds".to_owned()
                    };
                    format!("{known}, no less than ${:.2}", c.bounds.0)
                },
            )
        };
        let bounds: Vec<String> = (0..TRACES.len()).map(bound).collect();
        let _ = writeln!(out, "| *perfect foresight* | {} |", bounds.join(" | "));
    }
    out
}

fn shown(cell: &Cell) -> String {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let (mean, low, high) = cell.breach;
    let half = (cell.cost.2 - cell.cost.1) / 2.0;
    // Where no schedule is known that holds there is nothing to be a multiple of.
    let (over, spread) = if cell.bounds.1.is_finite() {
        (format!("×{:.2}", cell.over()), half / cell.bounds.1)
    } else {
        (format!("${:.2}", cell.cost.0), half)
    };
    let over = if spread >= 0.005 { format!("{over} ±{spread:.2}") } else { over };
    let mark = match cell.holds() {
        Some(true) => "**",
        Some(false) | None => "",
    };
    format!("{mark}{over}{mark}, {} % ({}–{})", percent(mean), percent(low), percent(high))
}

/// Small multiples: breaching requests to the right on a root scale, cost upwards as a multiple of perfect foresight.
fn picture(cells: &[Cell]) -> String {
    const PANEL: (f64, f64) = (240.0, 190.0);
    const COLOURS: [&str; 10] = [
        "#888888", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#e69f00", "#7a4fbf", "#b8860b",
        "#000000",
    ];
    let (width, height) = (TRACES.len() as f64 * PANEL.0 + 60.0, STARTS.len() as f64 * PANEL.1 + 90.0);
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.policy.as_str()) {
            names.push(&cell.policy);
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let x = |share: f64| (share.clamp(0.0, 1.0)).sqrt() * (PANEL.0 - 50.0);
    let y = |over: f64| PANEL.1 - 40.0 - ((over.clamp(0.0, 4.0)) / 4.0) * (PANEL.1 - 60.0);
    for (row, (_, title)) in STARTS.iter().enumerate() {
        for (column, trace) in TRACES.iter().enumerate() {
            let (left, top) = (50.0 + column as f64 * PANEL.0, 30.0 + row as f64 * PANEL.1);
            let _ = write!(
                svg,
                "<g transform=\"translate({left},{top})\"><text x=\"0\" y=\"-6\" font-weight=\"bold\">{trace}, starts of {title}</text>"
            );
            for over in [1.0, 2.0, 3.0, 4.0] {
                let at = y(over);
                let _ = write!(
                    svg,
                    "<line x1=\"0\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/><text x=\"-4\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#666666\">×{over}</text>",
                    PANEL.0 - 50.0,
                    at + 4.0
                );
            }
            for share in [0.01, 0.1, 0.5, 1.0] {
                let at = x(share);
                let colour = if share < 0.05 { "#cc0000" } else { "#dddddd" };
                let _ = write!(
                    svg,
                    "<line y1=\"0\" y2=\"{:.1}\" x1=\"{at:.1}\" x2=\"{at:.1}\" stroke=\"{colour}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666666\">{}%</text>",
                    PANEL.1 - 40.0,
                    PANEL.1 - 27.0,
                    share * 100.0
                );
            }
            let here = || cells.iter().filter(|cell| (cell.trace, cell.start) == (column, row));
            if here().next().is_some_and(|cell| !cell.bounds.1.is_finite()) {
                let _ = write!(
                    svg,
                    "<text x=\"8\" y=\"{:.1}\" fill=\"#666666\">no schedule known that holds</text>",
                    PANEL.1 / 2.0
                );
            }
            for cell in here().filter(|cell| cell.over().is_finite()) {
                let colour = names
                    .iter()
                    .position(|name| *name == cell.policy)
                    .map_or("#000000", |i| COLOURS[i % COLOURS.len()]);
                let (_, low, high) = cell.breach;
                let at = y(cell.over());
                let _ = write!(
                    svg,
                    "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"/><circle cx=\"{:.1}\" cy=\"{at:.1}\" r=\"4\" fill=\"{colour}\"><title>{}: {:.2}% breach, ×{:.2}</title></circle>",
                    x(low),
                    x(high),
                    x(cell.breach.0),
                    cell.policy,
                    cell.breach.0 * 100.0,
                    cell.over()
                );
            }
            svg.push_str("</g>\n");
        }
    }
    let mut left = 50.0;
    for (index, name) in names.iter().enumerate() {
        let _ = write!(
            svg,
            "<circle cx=\"{left}\" cy=\"{:.1}\" r=\"5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            height - 30.0,
            COLOURS[index % COLOURS.len()],
            left + 9.0,
            height - 26.0
        );
        left += 30.0 + name.len() as f64 * 7.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"50\" y=\"{:.1}\" fill=\"#666666\">to the right: requests that breach (1 % may), bars are 95 % intervals; upwards: cost over the cheapest schedule known that holds (cut at ×4)</text></svg>",
        height - 8.0
    );
    svg
}

fn main() {
    let mut found = Vec::new();
    for (trace, name) in TRACES.iter().enumerate() {
        for (start, (of, _)) in STARTS.iter().enumerate() {
            let path = Path::new(FROM).join(format!("{name}-{of}")).join("outcome.json");
            let text = fs::read(&path)
                .unwrap_or_else(|e| panic!("{}: {e}; run benches/policies.sh first", path.display()));
            let document = Document::read(&text[..]).expect("an outcome.json");
            found.extend(cells(&document, trace, start));
        }
    }
    let page = fs::read_to_string(PAGE).expect(PAGE);
    let (before, rest) = page.split_once(MARKS[0]).expect("a mark where the table begins");
    let (_, after) = rest.split_once(MARKS[1]).expect("a mark where the table ends");
    fs::write(PAGE, format!("{before}{}{}{}{after}", MARKS[0], table(&found), MARKS[1])).expect(PAGE);
    fs::write("docs/policies.svg", picture(&found)).expect("docs/policies.svg");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(breach: (f64, f64, f64)) -> Cell {
        Cell {
            trace: 0,
            start: 1,
            policy: "hpa".to_owned(),
            breach,
            cost: (12.0, 11.0, 13.0),
            bounds: (4.0, 10.0),
            allowed: 0.01,
        }
    }

    #[test]
    fn a_policy_holds_only_if_its_whole_interval_does() {
        assert_eq!(cell((0.004, 0.002, 0.006)).holds(), Some(true));
        assert_eq!(cell((0.009, 0.007, 0.012)).holds(), None);
        assert_eq!(cell((0.04, 0.02, 0.06)).holds(), Some(false));
        assert_eq!(shown(&cell((0.004, 0.002, 0.006))), "**×1.20 ±0.10**, 0.4 % (0.2–0.6)");
        assert_eq!(shown(&cell((0.04, 0.02, 0.06))), "×1.20 ±0.10, 4.0 % (2.0–6.0)");
        let unknown = Cell { bounds: (4.0, f64::NAN), ..cell((0.04, 0.02, 0.06)) };
        assert_eq!(shown(&unknown), "$12.00 ±1.00, 4.0 % (2.0–6.0)");
        assert!(!picture(&[unknown]).contains("NaN"));
    }

    #[test]
    fn every_cell_is_in_the_table_and_in_the_picture() {
        let cells = [cell((0.0, 0.0, 0.0))];
        let table = table(&cells);
        assert_eq!(table.matches("×1.20").count(), 1);
        assert!(table.contains("$10.00, no less than $4.00"), "{table}");
        let svg = picture(&cells);
        assert_eq!(svg.matches("r=\"4\"").count(), 1);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
