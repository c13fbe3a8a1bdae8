//! Draws a terminal's text, with its colours, as an SVG: `thawline simulate .. | picture > out.svg`.
//!
//! Every run of equal style is placed at its own column, so that the picture stays
//! aligned whatever font draws it.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};

const CHAR_WIDTH: f64 = 7.8;
const LINE_HEIGHT: f64 = 18.0;
const MARGIN: f64 = 16.0;

const PAPER: &str = "#11151c";
const INK: &str = "#d7dce4";
const QUIET: &str = "#7f8a99";

/// What escape sequences have set.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    ink: &'static str,
    bold: bool,
}

const PLAIN: Look = Look { ink: INK, bold: false };

impl Look {
    /// The look after a sequence such as `\e[1;32m`; of colours, those that reports use.
    fn after(mut self, codes: &str) -> Self {
        for code in codes.split(';') {
            match code {
                "" | "0" => self = PLAIN,
                "1" => self.bold = true,
                "2" => self.ink = QUIET,
                "31" => self.ink = "#ff7b72",
                "32" => self.ink = "#6fdd8b",
                "33" => self.ink = "#e3b341",
                "34" | "36" => self.ink = "#79c0ff",
                "39" => self.ink = INK,
                _ => {}
            }
        }
        self
    }
}

/// The pieces of a line, each with its look and its first column, and the look at its end.
fn pieces(line: &str, mut look: Look) -> (Vec<(usize, Look, String)>, Look) {
    let mut found = Vec::new();
    let mut column = 0;
    for (index, part) in line.split("\u{1b}[").enumerate() {
        let mut text = part;
        if index > 0 {
            let (codes, rest) = part.split_once('m').unwrap_or((part, ""));
            look = look.after(codes);
            text = rest;
        }
        // Runs of spaces are left out: what follows is placed anyway.
        let mut word_start = None;
        let chars: Vec<char> = text.chars().collect();
        for at in 0..=chars.len() {
            let gap = chars[at..].iter().take(2).all(|c| *c == ' ');
            match (word_start, gap) {
                (None, false) if chars[at] != ' ' => word_start = Some(at),
                (Some(start), true) => {
                    found.push((column + start, look, chars[start..at].iter().collect()));
                    word_start = None;
                }
                _ => {}
            }
        }
        column += chars.len();
    }
    (found, look)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn svg(text: &str) -> Result<String, std::fmt::Error> {
    let mut look = PLAIN;
    let mut body = String::new();
    let mut columns = 0;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    for (row, line) in lines.iter().enumerate() {
        let (parts, end) = pieces(line, look);
        look = end;
        let y = MARGIN + LINE_HEIGHT * (row as f64 + 0.75);
        for (column, look, text) in parts {
            columns = columns.max(column + text.chars().count());
            let x = MARGIN + CHAR_WIDTH * column as f64;
            let length = CHAR_WIDTH * text.chars().count() as f64;
            let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
            writeln!(
                body,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" fill=\"{}\"{weight}>{}</text>",
                look.ink,
                escaped(&text)
            )?;
        }
    }
    let width = MARGIN * 2.0 + CHAR_WIDTH * columns as f64;
    let height = MARGIN * 2.0 + LINE_HEIGHT * lines.len() as f64;
    let mut out = String::new();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         font-family=\"ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', Consolas, monospace\" font-size=\"13\" \
         role=\"img\">"
    )?;
    writeln!(out, "<title>What thawline prints</title>")?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>")?;
    write!(out, "{body}</svg>")?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err("nothing to draw on stdin".into());
    }
    writeln!(io::stdout(), "{}", svg(&text)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_columns_and_looks() {
        let (parts, end) = pieces("ab  \u{1b}[1m c d\u{1b}[0m   \u{1b}[32m<e", PLAIN);
        let bold = Look { bold: true, ..PLAIN };
        let green = Look { ink: "#6fdd8b", ..PLAIN };
        let expected =
            [(0, PLAIN, "ab".to_owned()), (5, bold, "c d".to_owned()), (11, green, "<e".to_owned())];
        assert!(parts == expected && end == green);
        assert!(svg("<e").is_ok_and(|out| out.contains(">&lt;e</text>")));
    }
}
