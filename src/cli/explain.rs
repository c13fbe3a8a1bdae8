//! `thawline explain`: the documentation of a code, of a scenario's field, or of a metric.

use super::args::ExplainArgs;
use super::{Answer, Exit, console};
use crate::experiment::metric::Better;
use crate::experiment::{METRICS, Metric};
use crate::profile::page::table;
use crate::scenario::explain_field;
use crate::yaml::{CODES, Diagnostic, find_code, suggest};

pub(super) fn run(args: &ExplainArgs) -> Answer {
    let what = args.what.as_str();
    if let Some(code) = find_code(what) {
        console::print(&format!("{}: {}\n\n{}\n", code.code, code.title, fill(code.explanation, 88)));
        return Ok(Exit::Success);
    }
    if is_code(what) {
        let fault = Diagnostic::error("E0404", format!("there is no code `{what}`"));
        let fault = match suggest(what, CODES.iter().map(|code| code.code)) {
            Some(code) => fault.helped(format!("did you mean {code}?")),
            None => fault,
        };
        return Err(vec![fault]);
    }
    if what == "metrics" {
        console::print(&metrics());
        return Ok(Exit::Success);
    }
    if let Some(metric) = Metric::find(what) {
        console::print(&page(metric));
        return Ok(Exit::Success);
    }
    match explain_field(what) {
        Ok(page) => {
            console::print(&page);
            Ok(Exit::Success)
        }
        Err(why) => {
            let mut lines = why.lines();
            let fault = Diagnostic::error("E0404", lines.next().unwrap_or_default());
            let fault = lines.fold(fault, Diagnostic::helped);
            Err(vec![match Metric::nearest(what) {
                Some(metric) => fault.helped(format!("or the metric `{metric}`?")),
                None => fault,
            }])
        }
    }
}

/// Everything that a gate can bind.
fn metrics() -> String {
    let rows = METRICS.iter().map(|m| vec![m.name.to_owned(), m.unit.label().to_owned(), m.doc.to_owned()]);
    format!(
        "What a gate can bind, as `METRIC < LIMIT` (<, <=, >, >=):\n\n{}",
        table(&["METRIC", "UNIT", "WHAT IT IS"], rows, &[])
    )
}

fn page(metric: &Metric) -> String {
    let better = match metric.better {
        Better::Lower => "\nless is better",
        Better::Higher => "\nmore is better",
        Better::Neither => "",
    };
    format!("{}\n\n{}\n\nlimit: {}{better}\n", metric.name, metric.doc, metric.unit.example())
}

fn is_code(what: &str) -> bool {
    let rest = what.strip_prefix(['E', 'W', 'e', 'w']).unwrap_or("");
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// Breaks the lines of each paragraph; what is indented stays as it is.
fn fill(text: &str, width: usize) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        if paragraph.starts_with(' ') { paragraph.to_owned() } else { fill_one(paragraph, width) }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Breaks lines at spaces, none longer than `width` characters unless one word is.
fn fill_one(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled() {
        assert_eq!(fill("a bb ccc dddd", 6), "a bb\nccc\ndddd");
        assert_eq!(fill("incomprehensible", 4), "incomprehensible");
        assert_eq!(fill("a bb\n\n    a: bb\n    c\n\nd", 3), "a\nbb\n\n    a: bb\n    c\n\nd");
    }

    #[test]
    fn codes_are_told_from_fields() {
        assert!(is_code("E0203") && is_code("w0107"));
        assert!(!is_code("engine") && !is_code("e2e") && !is_code("E"));
    }
}
