//! The words of a query and where they stand.
//!
//! The parser's tree has no positions, so they are found here: of functions that are refused, of
//! subqueries and `@`, and of each selector in the order in which the tree has them.

use std::ops::Range;

use super::Fault;
use super::function;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Word,
    /// A number, a duration or a string.
    Literal,
    /// One character.
    Sign(u8),
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

/// Words that stand between operands or modify them, in lower case.
const KEYWORDS: &[&str] = &[
    "and",
    "atan2",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "unless",
    "without",
];

/// Keywords that stand between operands.
const OPERATORS: &[&str] = &["and", "atan2", "or", "unless"];

/// Keywords that are followed by a list of labels.
const BEFORE_LABELS: &[&str] = &["by", "group_left", "group_right", "ignoring", "on", "without"];

/// What a scan finds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What cannot be evaluated, in order.
    pub(super) faults: Vec<Fault>,
    /// Where each selector starts and its name or brace ends, in order.
    pub(super) selectors: Vec<Range<usize>>,
    /// Operators and brackets: no tree is deeper.
    pub(super) nesting: usize,
}

/// Finds refused functions, subqueries and `@`, unmatched brackets, and the selectors.
pub(super) fn scan(text: &str) -> Scan {
    let tokens = tokens(text);
    let mut found = Scan::default();
    let mut open: Vec<(u8, Range<usize>)> = Vec::new();
    // How many of the open brackets hold a list of labels.
    let mut labels_below = None;
    for (index, token) in tokens.iter().enumerate() {
        let word = &text[token.span.clone()];
        let next = tokens.get(index + 1).map(|next| (next.kind, text[next.span.clone()].to_lowercase()));
        let inner = open.last().map(|(sign, _)| *sign);
        let in_expression = labels_below.is_none() && !matches!(inner, Some(b'{' | b'['));
        found.faults.extend(duration_fault(text, &tokens[..=index], inner, in_expression));
        let deepens = match token.kind {
            Kind::Sign(sign) => !matches!(inner, Some(b'{')) && b"([+-*/%^=<>!".contains(&sign),
            Kind::Word => in_expression && OPERATORS.contains(&word.to_lowercase().as_str()),
            Kind::Literal => false,
        };
        found.nesting += usize::from(deepens);
        match token.kind {
            Kind::Word if in_expression => {
                word_in_expression(word, &token.span, next.as_ref(), &mut found);
            }
            Kind::Sign(sign @ (b'(' | b'{' | b'[')) => {
                let before = index.checked_sub(1).map(|before| &tokens[before]);
                let after = before.map(|token| text[token.span.clone()].to_lowercase());
                if sign == b'(' && after.is_some_and(|word| BEFORE_LABELS.contains(&word.as_str())) {
                    labels_below.get_or_insert(open.len());
                }
                let named = before.is_some_and(|token| found.selectors.last() == Some(&token.span));
                if sign == b'{' && !named {
                    found.selectors.push(token.span.clone());
                }
                open.push((sign, token.span.clone()));
            }
            Kind::Sign(sign @ (b')' | b'}' | b']')) => {
                let wanted = match sign {
                    b')' => b'(',
                    b'}' => b'{',
                    _ => b'[',
                };
                match open.pop() {
                    Some((opened, _)) if opened == wanted => {}
                    _ => found.faults.push(unmatched(word, token.span.clone())),
                }
                labels_below = labels_below.filter(|below| open.len() > *below);
            }
            Kind::Sign(b':') if inner == Some(b'[') => {
                let span = open.last().map_or(token.span.clone(), |(_, opened)| opened.start..token.span.end);
                found.faults.push(Fault {
                    span,
                    message: "subqueries (`[range:step]`) are not simulated".to_owned(),
                    help: "take the function over a range of a series: `max_over_time(x[5m])`".to_owned(),
                });
            }
            Kind::Sign(b'@') => found.faults.push(Fault {
                span: token.span.clone(),
                message: "the `@` modifier is not simulated".to_owned(),
                help: "a simulation has no fixed instants; use `offset`".to_owned(),
            }),
            _ => {}
        }
    }
    found.faults.extend(open.into_iter().map(|(sign, span)| unmatched(&char::from(sign).to_string(), span)));
    found
}

/// What is wrong with the last of these tokens as a range or an offset, if it stands where one does.
fn duration_fault(text: &str, tokens: &[Token], inner: Option<u8>, in_expression: bool) -> Option<Fault> {
    let (token, before) = tokens.split_last()?;
    let is_sign = |token: &&Token| matches!(token.kind, Kind::Sign(b'+' | b'-'));
    let signs = before.iter().rev().take_while(is_sign).count();
    let before = &before[..before.len() - signs];
    let expected = match before.last()? {
        Token { kind: Kind::Sign(b'['), .. } => inner == Some(b'[') && signs == 0,
        Token { kind: Kind::Word, span } => {
            in_expression && !is_sign(&token) && text[span.clone()].eq_ignore_ascii_case("offset")
        }
        Token { .. } => false,
    };
    let word = &text[token.span.clone()];
    (expected && !is_duration(word)).then(|| Fault {
        span: token.span.clone(),
        message: format!("`{word}` is no duration"),
        help: "write a duration as Prometheus does: 30s, 5m, 1h30m".to_owned(),
    })
}

/// Whether the parser reads this as the duration that is written. What is too large it takes for nothing, or
/// panics at.
fn is_duration(word: &str) -> bool {
    const DIGITS_MAX: usize = 9;
    let whole =
        |text: &str| (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    // Prometheus 3 takes plain seconds too.
    let (secs, fraction) = word.split_once('.').unwrap_or((word, "0"));
    if whole(secs) && whole(fraction) {
        return true;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let units = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(units);
        if !whole(number) || !matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w" | "y") {
            return false;
        }
        rest = after;
    }
    true
}

fn unmatched(bracket: &str, span: Range<usize>) -> Fault {
    let message = format!("`{bracket}` has no partner");
    Fault { span, message, help: "close every bracket that is opened, and no other".to_owned() }
}

fn word_in_expression(word: &str, span: &Range<usize>, next: Option<&(Kind, String)>, found: &mut Scan) {
    let lower = word.to_lowercase();
    if KEYWORDS.contains(&lower.as_str()) {
        return;
    }
    let called = next.is_some_and(|(kind, text)| match kind {
        Kind::Sign(sign) => *sign == b'(',
        Kind::Word => matches!(text.as_str(), "by" | "without"),
        Kind::Literal => false,
    });
    if !called {
        found.selectors.push(span.clone());
    } else if let Some((message, help)) = function::refusal(word) {
        found.faults.push(Fault { span: span.clone(), message, help });
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut brackets = 0_u32;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let run = |from: usize, more: &dyn Fn(u8) -> bool| {
            bytes[from..].iter().position(|byte| !more(*byte)).map_or(bytes.len(), |length| from + length)
        };
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = run(at, &|byte| byte != b'\n');
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at = after_string(bytes, at);
                Kind::Literal
            }
            b'0'..=b'9' => {
                at = run(at, &|byte| byte.is_ascii_alphanumeric() || byte == b'.');
                Kind::Literal
            }
            // In a range a colon comes before a step; elsewhere it may begin a recording rule's name.
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' if byte != b':' || brackets == 0 => {
                at = run(at, &|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
                Kind::Word
            }
            _ => {
                brackets = match byte {
                    b'[' => brackets + 1,
                    b']' => brackets.saturating_sub(1),
                    _ => brackets,
                };
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                Kind::Sign(byte)
            }
        };
        tokens.push(Token { kind, span: start..at });
    }
    tokens
}

/// Where a string that starts here ends.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == quote {
            return at;
        }
        // Backquoted strings have no escapes.
        if byte == b'\\' && quote != b'`' {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(text: &str) -> Vec<&str> {
        scan(text).selectors.into_iter().map(|span| &text[span]).collect()
    }

    fn faults(text: &str) -> Vec<(&str, String)> {
        scan(text).faults.into_iter().map(|fault| (&text[fault.span], fault.message)).collect()
    }

    #[test]
    fn selectors_are_found_in_order() {
        let check = |text: &str, expected: &[&str]| assert_eq!(selectors(text), expected, "{text}");
        check("a + b", &["a", "b"]);
        check("sum by (x, y) (rate(vllm:a_total{m=\"b\", c=~'d|e'}[5m]))", &["vllm:a_total"]);
        check("sum(x) by (x)", &["x"]);
        check("a / on (b) group_left (c) d", &["a", "d"]);
        check("{__name__=\"a\"} or {b=\"c\"}", &["{", "{"]);
        check("a{} or {b=\"c\"}", &["a", "{"]);
        check("topk(2, a) > bool 1e3 # b\nunless c offset 5m", &["a", "c"]);
        check("SUM BY (a) (b) == Inf", &["b"]);
        check("label_replace(a, \"b\", '$1', `c`, \"d\\\"(.*)e\")", &["a"]);
        check("time() - vector(1)", &[]);
        check(":a:b", &[":a:b"]);
        check("µ", &[]);
    }

    #[test]
    fn what_is_not_simulated_is_found_with_its_place() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected: Vec<(&str, String)> = expected.iter().map(|(a, b)| (*a, (*b).to_owned())).collect();
            assert_eq!(faults(text), expected, "{text}");
        };
        check("rate(a[5m]) + deriv(b[1m])", &[]);
        check("sum(rte(a[5m]))", &[("rte", "Prometheus has no function `rte`")]);
        check(
            "count_values by (a) (\"v\", b) + year(c)",
            &[
                ("count_values", "`count_values` is a function of Prometheus that is not simulated"),
                ("year", "`year` is a function of Prometheus that is not simulated"),
            ],
        );
        check(
            "max_over_time(rate(a[5m])[1h:30s])",
            &[("[1h:", "subqueries (`[range:step]`) are not simulated")],
        );
        check("a[5m:]", &[("[5m:", "subqueries (`[range:step]`) are not simulated")]);
        check("a @ 1609746000", &[("@", "the `@` modifier is not simulated")]);
        check("a{b=\"@ year(\"}", &[]);
        check("sum(a", &[("(", "`(` has no partner")]);
        check("a offset -Inf", &[("Inf", "`Inf` is no duration")]);
        check("rate(a[1e300])", &[("1e300", "`1e300` is no duration")]);
        check("rate(a[1h9999999999s])", &[("1h9999999999s", "`1h9999999999s` is no duration")]);
        check("rate(a[$window])", &[("$", "`$` is no duration")]);
        check("sum by (offset) (a{offset=\"b\"})", &[]);
        check("rate(a[1h30m5s] offset 90) - a offset - 2.5", &[]);
        check("a[5m))", &[(")", "`)` has no partner"), (")", "`)` has no partner")]);
    }
}
