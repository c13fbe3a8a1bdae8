//! The expression language of `scalingModifiers.formula`.
//!
//! After expr-lang/expr (the library that kedacore/keda 8b4f083c uses): its operators, their
//! precedence, its number types (literals without a point are integers, triggers are doubles) and
//! the built-in functions that have to do with numbers and lists. What lies outside, strings, maps,
//! pipes and so on, is an error with its place.

mod builtins;
mod evaluate;
mod lexer;
mod parser;

use std::collections::{BTreeMap, BTreeSet};

pub use evaluate::Value;
use parser::{Node, NodeKind};

/// What is wrong with a formula, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct FormulaError {
    /// The character it begins at, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl FormulaError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { column: at + 1, message: message.into() }
    }
}

/// How long a formula may be: upstream has a limit as well, and a chain of operators is a deep tree.
const TOKENS_MAX: usize = 1000;

/// Values of the triggers by name; `None` is nil.
pub type Triggers = BTreeMap<String, Option<f64>>;

/// A formula that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    root: Node,
}

impl Formula {
    /// Reads a formula.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let tokens = lexer::tokens(text)?;
        if let Some(token) = tokens.get(TOKENS_MAX) {
            return Err(FormulaError::new(
                token.at,
                format!("it is longer than {TOKENS_MAX} words and signs"),
            ));
        }
        Ok(Self { root: parser::parse(&tokens)? })
    }

    /// The names in it that are no functions, each with its column: those of triggers.
    pub fn names(&self) -> BTreeSet<(String, usize)> {
        let mut names = BTreeSet::new();
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            if let NodeKind::Name(name) = &node.kind {
                names.insert((name.clone(), node.at + 1));
            }
            nodes.extend(node.children());
        }
        names
    }

    /// Its value.
    pub fn evaluate(&self, triggers: &Triggers) -> Result<Value, FormulaError> {
        evaluate::evaluate(&self.root, triggers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Value, String> {
        let triggers: Triggers = [("a", Some(2.5)), ("b", Some(3.0)), ("zero", Some(0.0)), ("gone", None)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        Formula::parse(text).and_then(|formula| formula.evaluate(&triggers)).map_err(|e| e.to_string())
    }

    #[test]
    fn formulas_have_the_value_that_upstream_gives_them() {
        use Value::{Bool, Float, Int, Nil};
        for (text, expected) in [
            ("1 + 2 * 3", Int(7)),
            ("(1 + 2) * 3", Int(9)),
            ("7 / 2", Float(3.5)),
            ("7 % 4", Int(3)),
            ("2 ** 3 ** 2", Float(512.0)),
            ("2 ^ 3", Float(8.0)),
            ("-2 ** 2", Float(-4.0)),
            ("- a + 1", Float(-1.5)),
            ("a - b - 1", Float(-1.5)),
            ("1_000 + .5 + 1e2 + 0x10", Float(1116.5)),
            ("a < b", Bool(true)),
            ("1 == 1.0", Bool(true)),
            ("1 < a < 3", Bool(true)),
            ("1 < a < 2", Bool(false)),
            ("a > 2 && b > 5 || true", Bool(true)),
            ("a > 2 and not (b > 5)", Bool(true)),
            ("true or gone", Bool(true)),
            ("gone == nil", Bool(true)),
            ("a == nil", Bool(false)),
            ("b in [1, 3]", Bool(true)),
            ("b not in [1, 3]", Bool(false)),
            ("gone ?? b", Float(3.0)),
            ("gone ?? gone", Nil),
            ("1 + gone ?? 4", Int(5)),
            ("(gone ?? 4) + 1", Int(5)),
            ("a > 2 ? b > 5 ? 1 : 2 : 3", Int(2)),
            ("gone ? 1 : 2", Nil),
            ("max(a, b, 1)", Float(3.0)),
            ("min([a, b], 1)", Int(1)),
            ("sum([a, b, 1])", Float(6.5)),
            ("sum([1, 2])", Int(3)),
            ("sum([1, 2], # * 2)", Int(6)),
            ("count([a, b, zero], {# > 1})", Int(2)),
            ("count([a, b, zero], # > 1)", Int(2)),
            ("count([true, false, true])", Int(2)),
            ("mean([1, 2])", Float(1.5)),
            ("median([3, 1, 2, 10])", Float(2.5)),
            ("len(filter([a, b, zero], # > 1))", Int(2)),
            ("sum(map([1, 2], # + a))", Float(8.0)),
            ("all([a, b], {# > 1}) && any([a, zero], {# > 1}) && none([zero], {# > 1})", Bool(true)),
            ("one([a, zero], {# > 1})", Bool(true)),
            ("round(a)", Float(3.0)),
            ("round(-a)", Float(-3.0)),
            ("ceil(a) + floor(a) + abs(-2)", Float(7.0)),
            ("int(a) % 2", Int(0)),
            ("float(3)", Float(3.0)),
        ] {
            // Where upstream refuses what a condition holds, so is it refused here.
            match expected {
                Nil if text.contains('?') && !text.contains("??") => assert!(value(text).is_err(), "{text}"),
                expected => assert_eq!(value(text), Ok(expected), "{text}"),
            }
        }
        assert_eq!(value("a / zero"), Ok(Float(f64::INFINITY)));
    }

    #[test]
    fn errors_name_their_column() {
        let mut wrong = Vec::new();
        for (text, column) in [
            ("", 1),
            ("a +", 4),
            ("a + + ", 7),
            ("(a", 3),
            ("a b", 3),
            ("a ?? b + 1", 8),
            ("a ?? b > 1", 8),
            ("a % 2", 3),
            ("1 % 0", 3),
            ("a && b", 1),
            ("1 + gone", 3),
            ("nowhere + 1", 1),
            ("1 + missing(2)", 5),
            ("min()", 1),
            ("round(gone)", 1),
            ("float(gone)", 1),
            ("a ? 1 : 2", 1),
            ("a > 1 ? 2", 10),
            ("'text'", 1),
            ("a.b", 2),
            ("a | max(1)", 3),
            ("# > 1", 1),
            ("a $ b", 3),
            ("count(a, {# > 1})", 1),
            ("[1, 2", 6),
            ("1.2.3", 1),
            ("99999999999999999999", 1),
        ] {
            let error = value(text).expect_err(text);
            if !error.starts_with(&format!("column {column}: ")) {
                wrong.push(format!("{text}: {error}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
        assert!(value(&deep).expect_err("too deep").contains("nested"), "no overflow of the stack");
        let deep = "-".repeat(200) + "1";
        assert!(value(&deep).is_err());
        assert!(value(&("a + ".repeat(5000) + "1")).expect_err("too long").contains("longer"));
        assert!(value(&("a + ".repeat(400) + "1")).is_ok());
        let long = "a ** ".repeat(200) + "1";
        assert!(value(&long).is_err());
    }

    #[test]
    fn names_are_those_of_triggers() {
        let formula = Formula::parse("max(a, b) + sum([c, a], # * d)").expect("valid");
        let names: Vec<String> =
            formula.names().into_iter().map(|(name, at)| format!("{name}{at}")).collect();
        assert_eq!(names, ["a5", "a21", "b8", "c18", "d29"].map(str::to_owned));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_value_or_an_error_within_it(text in "[-+*/%^<>=!?:()#{},.&|a-c0-9 ]{0,40}|\\PC{0,40}") {
            if let Err(error) = Formula::parse(&text) {
                proptest::prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{text}: {error}");
            } else {
                let _ = value(&text);
            }
        }
    }
}
