//! From text to plan: parse, check that all of it is simulated, find out what it reads.

use std::ops::Range;
use std::vec::IntoIter;

use promql_parser::label::{METRIC_NAME, MatchOp, Matcher as ParsedMatcher};
use promql_parser::parser::token::{self, TokenId};
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector,
};
use regex::Regex;

use super::Fault;
use super::function::{self, Aggregation, Calendar, RangeFunction, ValueFunction};
use super::plan::{LabelList, Many, Matcher, Matching, Node, Operator, Selector, SetOperator, Test};
use super::query::{NESTING_MAX, TEXT_BYTES_MAX};
use super::scan;

/// The plan of a query and what it reads.
pub(super) fn compile(text: &str) -> Result<(Node, Vec<Selector>), Vec<Fault>> {
    let too_much =
        |what: String, most: String| vec![Fault { span: 0..text.len(), message: what, help: most }];
    if text.len() > TEXT_BYTES_MAX {
        let most = format!("{TEXT_BYTES_MAX} bytes are the most");
        return Err(too_much(format!("a query of {} bytes", text.len()), most));
    }
    let scan = scan::scan(text);
    if scan.nesting > NESTING_MAX {
        let most = format!("{NESTING_MAX} are the most; split the query");
        return Err(too_much(format!("a query of {} operators and brackets", scan.nesting), most));
    }
    if !scan.faults.is_empty() {
        return Err(scan.faults);
    }
    let mut compiler = Compiler { text, places: scan.selectors.into_iter(), reads: Vec::new() };
    let root = promql_parser::parser::parse(text)
        .map_err(|message| compiler.parse_fault(&message))
        .and_then(|expression| compiler.node(&expression));
    root.map(|root| (root, compiler.reads)).map_err(|fault| vec![fault])
}

struct Compiler<'a> {
    text: &'a str,
    /// Where the selectors stand, in the order in which the tree has them.
    places: IntoIter<Range<usize>>,
    reads: Vec<Selector>,
}

type Compiled = Result<Node, Fault>;

impl Compiler<'_> {
    /// A fault of the parser's; it says no place, but may quote a word that has one.
    fn parse_fault(&self, message: &str) -> Fault {
        let quoted = message.split('\'').nth(1).filter(|word| !word.is_empty());
        let start = quoted.and_then(|word| self.text.find(word).map(|at| at..at + word.len()));
        let help = "write an expression that Prometheus accepts: try it in its query page".to_owned();
        Fault { span: start.unwrap_or(0..self.text.len()), message: message.trim().to_owned(), help }
    }

    /// A fault at a word of the text.
    fn fault(&self, word: &str, message: String, help: &str) -> Fault {
        let span = self.text.find(word).map_or(0..self.text.len(), |at| at..at + word.len());
        Fault { span, message, help: help.to_owned() }
    }

    fn node(&mut self, expression: &Expr) -> Compiled {
        match expression {
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Unary(unary) => Ok(Node::Negate(Box::new(self.node(&unary.expr)?))),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Paren(inner) => self.node(&inner.expr),
            Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            Expr::VectorSelector(selector) => Ok(Node::Select(self.selector(selector, None)?)),
            Expr::Call(call) => self.call(call),
            Expr::MatrixSelector(_) => Err(self.mistyped("a range of samples stands outside of a function")),
            Expr::StringLiteral(_) => Err(self.mistyped("a string is no value")),
            Expr::Subquery(_) => Err(self.mistyped("subqueries are not simulated")),
            Expr::Extension(_) => Err(self.mistyped("the expression is not simulated")),
        }
    }

    fn mistyped(&self, message: &str) -> Fault {
        Fault {
            span: 0..self.text.len(),
            message: message.to_owned(),
            help: "a query answers with a scalar or an instant vector: `sum(rate(x[1m]))`".to_owned(),
        }
    }

    fn scalar(&mut self, expression: &Expr) -> Result<Box<Node>, Fault> {
        let node = self.node(expression)?;
        if node.is_scalar() {
            Ok(Box::new(node))
        } else {
            Err(self.mistyped("a scalar is expected, not a vector"))
        }
    }

    fn vector(&mut self, expression: &Expr) -> Result<Box<Node>, Fault> {
        let node = self.node(expression)?;
        if node.is_scalar() {
            Err(self.mistyped("a vector is expected, not a scalar"))
        } else {
            Ok(Box::new(node))
        }
    }

    fn string(&self, expression: &Expr) -> Result<String, Fault> {
        match expression {
            Expr::StringLiteral(literal) => Ok(literal.val.clone()),
            Expr::Paren(inner) => self.string(&inner.expr),
            _ => Err(self.mistyped("a string is expected")),
        }
    }

    fn selector(&mut self, parsed: &VectorSelector, range_ms: Option<i64>) -> Result<Selector, Fault> {
        let span = self.places.next().unwrap_or(0..self.text.len());
        let refuse = |message: &str, help: &str| Fault {
            span: span.clone(),
            message: message.to_owned(),
            help: help.to_owned(),
        };
        if parsed.at.is_some() {
            return Err(refuse("the `@` modifier is not simulated", "use `offset`"));
        }
        if !parsed.matchers.or_matchers.is_empty() {
            let help = "write the selector twice: `a{b=\"c\"} or a{d=\"e\"}`";
            return Err(refuse("`or` between matchers is not PromQL", help));
        }
        let mut matchers: Vec<Matcher> = parsed.matchers.matchers.iter().map(matcher).collect();
        let mut name = parsed.name.clone();
        if name.is_none() {
            let named = |matcher: &Matcher| matcher.label == METRIC_NAME && matcher.is_equality();
            if let Some(index) = matchers.iter().position(named) {
                name = Some(matchers.remove(index).value);
            }
        }
        let offset_ms = match &parsed.offset {
            None => 0,
            Some(Offset::Pos(back)) => clamped(back.as_millis()),
            Some(Offset::Neg(ahead)) => -clamped(ahead.as_millis()),
        };
        let selector = Selector { name, matchers, range_ms, offset_ms, samples_needed: 1, span };
        self.reads.push(selector.clone());
        Ok(selector)
    }

    /// The range selector that a function of ranges is called with.
    fn range(&mut self, expression: &Expr) -> Result<Selector, Fault> {
        match expression {
            Expr::MatrixSelector(matrix) => {
                self.selector(&matrix.vs, Some(clamped(matrix.range.as_millis())))
            }
            Expr::Paren(inner) => self.range(&inner.expr),
            _ => Err(self.mistyped("a range of samples is expected: `rate(x[1m])`")),
        }
    }

    fn aggregate(&mut self, parsed: &AggregateExpr) -> Compiled {
        let name = parsed.op.to_string();
        let Some(how) = Aggregation::from_name(&name) else { return Err(self.refused(&name)) };
        let by = match &parsed.modifier {
            None => LabelList { names: Vec::new(), listed: true },
            Some(modifier) => label_list(modifier),
        };
        let parameter = parsed.param.as_ref().map(|parameter| self.scalar(parameter)).transpose()?;
        let over = self.vector(&parsed.expr)?;
        Ok(Node::Aggregate { how, by, parameter, over })
    }

    fn refused(&self, name: &str) -> Fault {
        let (message, help) = function::refusal(name)
            .unwrap_or_else(|| (format!("`{name}` cannot stand here"), "take it away".to_owned()));
        self.fault(name, message, &help)
    }

    fn call(&mut self, call: &Call) -> Compiled {
        let name = call.func.name;
        let arguments: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
        if let Some(function) = RangeFunction::from_name(name) {
            return self.range_call(function, &arguments);
        }
        if let Some(part) = Calendar::from_name(name) {
            let over = match arguments.first() {
                Some(argument) => self.vector(argument)?,
                None => Box::new(Node::Vector(Box::new(Node::Time))),
            };
            return Ok(Node::Calendar { part, over });
        }
        if let Some(function) = ValueFunction::from_name(name) {
            return match arguments[..] {
                [over] => Ok(Node::Value { function, over: self.vector(over)? }),
                _ => Err(self.arity(name)),
            };
        }
        self.special(name, &arguments)
    }

    fn arity(&self, name: &str) -> Fault {
        self.fault(
            name,
            format!("`{name}` has another number of arguments"),
            "see Prometheus's functions page",
        )
    }

    fn range_call(&mut self, function: RangeFunction, arguments: &[&Expr]) -> Compiled {
        let (parameter, mut selector) = match (function, arguments) {
            (RangeFunction::QuantileOverTime, [quantile, range]) => {
                (Some(self.scalar(quantile)?), self.range(range)?)
            }
            (RangeFunction::PredictLinear, [range, secs]) => {
                let selector = self.range(range)?;
                (Some(self.scalar(secs)?), selector)
            }
            (_, [range]) => (None, self.range(range)?),
            _ => return Err(self.mistyped("a function of a range has another number of arguments")),
        };
        selector.samples_needed = function.samples_needed();
        if let Some(read) = self.reads.iter_mut().find(|read| read.span == selector.span) {
            read.samples_needed = selector.samples_needed;
        }
        Ok(Node::Range { function, selector, parameter })
    }

    fn special(&mut self, name: &str, arguments: &[&Expr]) -> Compiled {
        Ok(match (name, arguments) {
            ("time", []) => Node::Time,
            ("scalar", [over]) => Node::Scalar(self.vector(over)?),
            ("vector", [value]) => Node::Vector(self.scalar(value)?),
            ("timestamp", [over]) => Node::Timestamp(self.vector(over)?),
            ("absent", [over]) => {
                let over = self.vector(over)?;
                let labels =
                    if let Node::Select(selector) = &*over { absent_labels(selector) } else { vec![] };
                Node::Absent { over, labels }
            }
            ("absent_over_time", [range]) => {
                let selector = self.range(range)?;
                let labels = absent_labels(&selector);
                Node::Absent { over: Box::new(Node::Present(selector)), labels }
            }
            ("clamp", [over, low, high]) => {
                Node::Clamp { over: self.vector(over)?, low: self.scalar(low)?, high: self.scalar(high)? }
            }
            ("clamp_min", [over, low]) => {
                let high = Box::new(Node::Number(f64::INFINITY));
                Node::Clamp { over: self.vector(over)?, low: self.scalar(low)?, high }
            }
            ("clamp_max", [over, high]) => {
                let low = Box::new(Node::Number(f64::NEG_INFINITY));
                Node::Clamp { over: self.vector(over)?, low, high: self.scalar(high)? }
            }
            ("round", [over]) => {
                Node::Round { over: self.vector(over)?, nearest: Box::new(Node::Number(1.0)) }
            }
            ("round", [over, nearest]) => {
                Node::Round { over: self.vector(over)?, nearest: self.scalar(nearest)? }
            }
            ("sort", [over]) => Node::Sort { over: self.vector(over)?, descending: false },
            ("sort_desc", [over]) => Node::Sort { over: self.vector(over)?, descending: true },
            ("histogram_quantile", [quantile, over]) => {
                Node::HistogramQuantile { quantile: self.scalar(quantile)?, over: self.vector(over)? }
            }
            ("label_replace", [over, to, replacement, from, pattern]) => {
                let pattern = self.string(pattern)?;
                let compiled = Regex::new(&format!("^(?s:{pattern})$"));
                let help = "write an expression of RE2's syntax";
                let message = |_| self.fault(&pattern, format!("`{pattern}` is no regular expression"), help);
                let pattern = compiled.map_err(message)?;
                let (to, replacement, from) =
                    (self.label(to)?, self.string(replacement)?, self.string(from)?);
                Node::LabelReplace { over: self.vector(over)?, to, replacement, from, pattern }
            }
            ("label_join", [over, to, separator, from @ ..]) => {
                let (to, separator) = (self.label(to)?, self.string(separator)?);
                let from = from.iter().map(|label| self.label(label)).collect::<Result<_, _>>()?;
                Node::LabelJoin { over: self.vector(over)?, to, separator, from }
            }
            _ if function::SPECIAL.contains(&name) => return Err(self.arity(name)),
            _ => return Err(self.refused(name)),
        })
    }

    /// A label's name; Prometheus 3 takes any text but the empty one.
    fn label(&self, expression: &Expr) -> Result<String, Fault> {
        let name = self.string(expression)?;
        if name.is_empty() { Err(self.mistyped("a label has a name")) } else { Ok(name) }
    }

    fn binary(&mut self, parsed: &BinaryExpr) -> Compiled {
        let none = BinModifier::default();
        let modifier = parsed.modifier.as_ref().unwrap_or(&none);
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            let help = "use `or`: `a + (b or a * 0)`";
            return Err(self.fault("fill", "`fill` is not simulated".to_owned(), help));
        }
        let labels = modifier.matching.as_ref().map(label_list).unwrap_or_default();
        let operator = parsed.op.id();
        if let Some(operator) = set_operator(operator) {
            let (left, right) = (self.vector(&parsed.lhs)?, self.vector(&parsed.rhs)?);
            return Ok(Node::Set { operator, left, right, labels });
        }
        let Some(operator) = value_operator(operator) else {
            let sign = parsed.op.to_string();
            let message = format!("the operator `{sign}` is not simulated");
            return Err(self.fault(&sign, message, "use + - * / % ^, a comparison or `and`, `or`, `unless`"));
        };
        let (many, include) = match &modifier.card {
            VectorMatchCardinality::ManyToOne(include) => (Many::Left, include.labels.clone()),
            VectorMatchCardinality::OneToMany(include) => (Many::Right, include.labels.clone()),
            _ => (Many::Neither, Vec::new()),
        };
        let (left, right) = (Box::new(self.node(&parsed.lhs)?), Box::new(self.node(&parsed.rhs)?));
        let matching = Matching { labels, many, include };
        Ok(Node::Binary { operator, left, right, matching, as_bool: modifier.return_bool })
    }
}

/// ms, held where their sum with another such still fits.
fn clamped(millis: u128) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn label_list(modifier: &LabelModifier) -> LabelList {
    LabelList { names: modifier.labels().labels.clone(), listed: modifier.is_include() }
}

fn matcher(parsed: &ParsedMatcher) -> Matcher {
    let test = match &parsed.op {
        MatchOp::Equal => Test::Equal,
        MatchOp::NotEqual => Test::NotEqual,
        MatchOp::Re(pattern) => Test::Like(pattern.clone()),
        MatchOp::NotRe(pattern) => Test::Unlike(pattern.clone()),
    };
    Matcher { label: parsed.name.clone(), value: parsed.value.clone(), test }
}

/// The labels that `absent` answers with: those that one matcher, and only one, sets by equality
/// (promql/functions.go `createLabelsForAbsentFunction`).
fn absent_labels(selector: &Selector) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.label != METRIC_NAME) {
        if matcher.is_equality() && !seen.contains(&matcher.label.as_str()) {
            labels.push((matcher.label.clone(), matcher.value.clone()));
            seen.push(&matcher.label);
        } else {
            labels.retain(|(label, _)| *label != matcher.label);
        }
    }
    labels
}

fn set_operator(id: TokenId) -> Option<SetOperator> {
    Some(match id {
        token::T_LAND => SetOperator::And,
        token::T_LOR => SetOperator::Or,
        token::T_LUNLESS => SetOperator::Unless,
        _ => return None,
    })
}

fn value_operator(id: TokenId) -> Option<Operator> {
    Some(match id {
        token::T_ADD => Operator::Add,
        token::T_SUB => Operator::Subtract,
        token::T_MUL => Operator::Multiply,
        token::T_DIV => Operator::Divide,
        token::T_MOD => Operator::Modulo,
        token::T_POW => Operator::Power,
        token::T_EQLC => Operator::Equal,
        token::T_NEQ => Operator::NotEqual,
        token::T_GTR => Operator::Greater,
        token::T_LSS => Operator::Less,
        token::T_GTE => Operator::GreaterOrEqual,
        token::T_LTE => Operator::LessOrEqual,
        _ => return None,
    })
}
