//! The value of a plan at an instant (promql/engine.go, Prometheus v3).

use std::ops::Range;

use indexmap::IndexSet;
use regex::Regex;
use rustc_hash::FxBuildHasher;

use super::aggregate;
use super::answer::Sample;
use super::binary;
use super::function::{Calendar, RangeFunction, ValueFunction};
use super::histogram;
use super::plan::{LabelList, Matcher, Node, Selector};
use super::query::QueryError;
use super::range::Window;
use super::rows::{Point, Series};
use super::store::{Release, Store, millis_of};
use super::symbol::{Labels, Scope, Symbol, Symbols};

/// One series of an instant vector.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

pub(super) type Vector = Vec<Element>;

pub(super) enum Value {
    Scalar(f64),
    Vector(Vector),
}

/// A matcher and its last verdict: the series of a target come one after the other, with most values in common.
struct Condition<'a> {
    matcher: &'a Matcher,
    /// `None`: no series has this label.
    label: Option<Symbol>,
    verdict: Option<(Symbol, bool)>,
}

impl<'a> Condition<'a> {
    fn new(matcher: &'a Matcher, symbols: &Symbols) -> Self {
        Self { matcher, label: symbols.find(&matcher.label), verdict: None }
    }

    fn holds(&mut self, labels: &Labels, symbols: &Symbols) -> bool {
        let value = self.label.map_or(Symbol::EMPTY, |label| labels.get(label));
        match self.verdict {
            Some((known, holds)) if known == value => holds,
            _ => {
                let holds = self.matcher.is_match(symbols.text(value));
                self.verdict = Some((value, holds));
                holds
            }
        }
    }
}

/// One evaluation of one query.
pub(super) struct Evaluation<'a> {
    store: &'a Store,
    pub(super) scope: Scope<'a>,
    /// ms since the start of the simulation.
    now: i64,
    /// Samples of the window at hand; kept to be filled again.
    points: Vec<Point>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(store: &'a Store, now: i64) -> Self {
        Self { store, scope: Scope::new(store.symbols()), now, points: Vec::new() }
    }

    pub(super) fn node(&mut self, node: &Node) -> Result<Value, QueryError> {
        match node {
            Node::Number(value) => Ok(Value::Scalar(*value)),
            Node::Time => Ok(Value::Scalar(self.unix_secs(self.now))),
            Node::Scalar(over) => {
                let vector = self.vector(over)?;
                Ok(Value::Scalar(if let [only] = &vector[..] { only.value } else { f64::NAN }))
            }
            Node::Negate(over) if over.is_scalar() => Ok(Value::Scalar(-self.scalar(over)?)),
            Node::Binary { operator, left, right, matching, as_bool } => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                let value = binary::operation(*operator, left, right, matching, *as_bool, &mut self.scope)?;
                if let Value::Vector(vector) = &value {
                    distinct(vector)?;
                }
                Ok(value)
            }
            _ => self.vector_node(node).map(Value::Vector),
        }
    }

    fn scalar(&mut self, node: &Node) -> Result<f64, QueryError> {
        Ok(match self.node(node)? {
            Value::Scalar(value) => value,
            Value::Vector(_) => unreachable!("the compiler gives scalars where scalars belong"),
        })
    }

    fn vector(&mut self, node: &Node) -> Result<Vector, QueryError> {
        Ok(match self.node(node)? {
            Value::Vector(vector) => vector,
            Value::Scalar(_) => unreachable!("the compiler gives vectors where vectors belong"),
        })
    }

    fn vector_node(&mut self, node: &Node) -> Result<Vector, QueryError> {
        let vector = match node {
            // What the store holds is distinct as it is.
            Node::Select(selector) => {
                let found = self.select(selector);
                return Ok(found.map(|(labels, point)| Element { labels, value: point.value }).collect());
            }
            Node::Range { function, selector, parameter } => {
                let parameter = self.parameter(parameter.as_deref())?;
                let vector = self.range(*function, selector, parameter);
                if selector.name.is_some() {
                    return Ok(vector);
                }
                vector
            }
            Node::Present(selector) => self.range(RangeFunction::PresentOverTime, selector, f64::NAN),
            Node::Vector(value) => vec![Element { labels: Labels::default(), value: self.scalar(value)? }],
            Node::Absent { over, labels } => {
                // Whether two series are alike does not matter where only their absence is asked for.
                let present = match &**over {
                    Node::Present(selector) => self.range(RangeFunction::PresentOverTime, selector, f64::NAN),
                    over => self.vector(over)?,
                };
                let absent = present.is_empty().then(|| Element { labels: self.labels(labels), value: 1.0 });
                absent.into_iter().collect()
            }
            Node::Timestamp(over) => self.timestamps(over)?,
            Node::HistogramQuantile { quantile, over } => {
                let quantile = self.scalar(quantile)?;
                histogram::quantiles(quantile, self.vector(over)?, &self.scope)
            }
            Node::LabelReplace { over, to, replacement, from, pattern } => {
                let vector = self.vector(over)?;
                self.replace_labels(vector, to, replacement, from, pattern)
            }
            Node::LabelJoin { over, to, separator, from } => {
                let vector = self.vector(over)?;
                self.join_labels(vector, to, separator, from)
            }
            Node::Aggregate { how, by, parameter, over } => {
                let parameter = self.parameter(parameter.as_deref())?;
                let vector = self.vector(over)?;
                aggregate::aggregate(*how, &self.names(by), by.listed, parameter, &vector)?
            }
            Node::Set { operator, left, right, labels } => {
                let (left, right) = (self.vector(left)?, self.vector(right)?);
                binary::set_operation(*operator, left, right, &self.names(labels), labels.listed)
            }
            _ => self.changed_values(node)?,
        };
        distinct(&vector)?;
        Ok(vector)
    }

    /// Functions that change each value by itself.
    fn changed_values(&mut self, node: &Node) -> Result<Vector, QueryError> {
        Ok(match node {
            Node::Negate(over) => nameless(self.vector(over)?, |value| -value),
            Node::Value { function, over } => nameless(self.vector(over)?, |value| function.apply(value)),
            Node::Calendar { part, over } => nameless(self.vector(over)?, |value| part.apply(value)),
            Node::Clamp { over, low, high } => {
                let vector = self.vector(over)?;
                let (low, high) = (self.scalar(low)?, self.scalar(high)?);
                if high < low { Vec::new() } else { nameless(vector, |value| clamp(value, low, high)) }
            }
            Node::Round { over, nearest } => {
                let vector = self.vector(over)?;
                // Upstream multiplies by the inverse: it loses less.
                let inverse = 1.0 / self.scalar(nearest)?;
                nameless(vector, |value| (value * inverse + 0.5).floor() / inverse)
            }
            Node::Sort { over, descending } => sorted(self.vector(over)?, *descending),
            _ => unreachable!("`node` and `vector_node` have dealt with the others"),
        })
    }

    fn replace_labels(
        &mut self,
        mut vector: Vector,
        to: &str,
        replacement: &str,
        from: &str,
        pattern: &Regex,
    ) -> Vector {
        let (to, from) = (self.scope.intern(to), self.scope.intern(from));
        for element in &mut vector {
            let mut text = String::new();
            if let Some(captures) = pattern.captures(self.scope.text(element.labels.get(from))) {
                captures.expand(replacement, &mut text);
                element.labels.set(to, self.scope.intern(&text));
            }
        }
        vector
    }

    fn join_labels(&mut self, mut vector: Vector, to: &str, separator: &str, from: &[String]) -> Vector {
        let to = self.scope.intern(to);
        let from: Vec<Symbol> = from.iter().map(|label| self.scope.intern(label)).collect();
        for element in &mut vector {
            let parts = from.iter().map(|label| self.scope.text(element.labels.get(*label)));
            let text = parts.collect::<Vec<_>>().join(separator);
            element.labels.set(to, self.scope.intern(&text));
        }
        vector
    }

    fn parameter(&mut self, parameter: Option<&Node>) -> Result<f64, QueryError> {
        parameter.map_or(Ok(f64::NAN), |parameter| self.scalar(parameter))
    }

    fn names(&mut self, list: &LabelList) -> Vec<Symbol> {
        list.names.iter().map(|name| self.scope.intern(name)).collect()
    }

    fn labels(&mut self, labels: &[(String, String)]) -> Labels {
        let mut set = Labels::default();
        for (name, value) in labels {
            let (name, value) = (self.scope.intern(name), self.scope.intern(value));
            set.set(name, value);
        }
        set
    }

    fn unix_secs(&self, at: i64) -> f64 {
        at.saturating_add(self.store.settings().epoch_ms) as f64 / 1000.0
    }

    /// The series that a selector names.
    fn series<'s>(&self, selector: &'s Selector) -> impl Iterator<Item = Series<'a>> + use<'a, 's> {
        let symbols = self.store.symbols();
        let mut conditions: Vec<Condition<'s>> =
            selector.matchers.iter().map(|matcher| Condition::new(matcher, symbols)).collect();
        self.store.named(selector.name.as_deref()).filter(move |series| {
            conditions.iter_mut().all(|condition| condition.holds(series.labels(), symbols))
        })
    }

    /// The newest sample of each series, unless it is stale or older than the lookback.
    fn select<'s>(&self, selector: &'s Selector) -> impl Iterator<Item = (Labels, Point)> + use<'a, 's> {
        let at = self.now.saturating_sub(selector.offset_ms);
        let settings = self.store.settings();
        let oldest =
            at.saturating_sub(millis_of(settings.lookback)) + i64::from(settings.release == Release::V3);
        let held = move |point: &Point| point.at >= oldest && !point.is_stale();
        self.series(selector)
            .filter_map(move |series| Some((series.labels().clone(), series.newest(at).filter(held)?)))
    }

    fn range(&mut self, function: RangeFunction, selector: &Selector, parameter: f64) -> Vector {
        let end = self.now.saturating_sub(selector.offset_ms);
        let start = end.saturating_sub(selector.range_ms.unwrap_or(0));
        let window = Window { start, end, now: self.now, release: self.store.settings().release };
        let mut points = std::mem::take(&mut self.points);
        let mut vector = Vector::new();
        // Where the window lies is sought once a target: its series come one after the other.
        let mut sought: Option<(Series<'_>, Range<usize>)> = None;
        for series in self.series(selector) {
            let rows = match &sought {
                Some((other, rows)) if other.is_beside(series) => rows.clone(),
                _ => series.rows(window.first(), window.end),
            };
            sought = Some((series, rows.clone()));
            let value = function.of_rise(series.rise(rows.clone()), &window).or_else(|| {
                series.points(rows, &mut points);
                function.apply(&points, &window, parameter)
            });
            let Some(value) = value else { continue };
            let keeps_name = function == RangeFunction::LastOverTime;
            let labels = if keeps_name { series.labels().clone() } else { series.labels().nameless() };
            vector.push(Element { labels, value });
        }
        self.points = points;
        vector
    }

    /// When each series was scraped; of what is computed, now.
    fn timestamps(&mut self, over: &Node) -> Result<Vector, QueryError> {
        if let Node::Select(selector) = over {
            let found = self.select(selector);
            let vector =
                found.map(|(labels, point)| Element { labels, value: self.unix_secs(point.at) }).collect();
            return Ok(nameless(vector, |value| value));
        }
        let now = self.unix_secs(self.now);
        Ok(nameless(self.vector(over)?, |_| now))
    }

    /// A vector with its labels in words.
    pub(super) fn samples(&self, vector: Vector) -> Vec<Sample> {
        let text = |symbol| self.scope.text(symbol).to_owned();
        let sample = |element: Element| {
            let mut labels: Vec<_> =
                element.labels.iter().map(|(name, value)| (text(name), text(value))).collect();
            labels.sort_unstable();
            Sample { labels, value: element.value }
        };
        vector.into_iter().map(sample).collect()
    }
}

/// A vector without the metric's name, its values changed.
fn nameless(mut vector: Vector, change: impl Fn(f64) -> f64) -> Vector {
    for element in &mut vector {
        element.labels.remove(Symbol::NAME);
        element.value = change(element.value);
    }
    vector
}

fn distinct(vector: &Vector) -> Result<(), QueryError> {
    if vector.len() < 2 {
        return Ok(());
    }
    let mut seen: IndexSet<&Labels, FxBuildHasher> = IndexSet::default();
    if vector.iter().all(|element| seen.insert(&element.labels)) {
        Ok(())
    } else {
        Err(QueryError::SameLabels)
    }
}

/// Sorted by value, NaN last either way; equal values stay in order.
pub(super) fn sorted(mut vector: Vector, descending: bool) -> Vector {
    vector.sort_by(|a, b| {
        let numbers = if descending { b.value.partial_cmp(&a.value) } else { a.value.partial_cmp(&b.value) };
        a.value.is_nan().cmp(&b.value.is_nan()).then(numbers.unwrap_or(std::cmp::Ordering::Equal))
    });
    vector
}

/// Go's `math.Max(low, math.Min(high, value))`: NaN anywhere is NaN.
fn clamp(value: f64, low: f64, high: f64) -> f64 {
    if value.is_nan() || low.is_nan() || high.is_nan() { f64::NAN } else { value.min(high).max(low) }
}

impl ValueFunction {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Abs => value.abs(),
            Self::Ceil => value.ceil(),
            Self::Floor => value.floor(),
            Self::Sqrt => value.sqrt(),
            Self::Exp => libm::exp(value),
            Self::Ln => libm::log(value),
            Self::Log2 => libm::log2(value),
            Self::Log10 => libm::log10(value),
            Self::Sgn if value < 0.0 => -1.0,
            Self::Sgn if value > 0.0 => 1.0,
            Self::Sgn => value,
        }
    }
}

impl Calendar {
    /// The part of a Unix time in seconds.
    fn apply(self, secs: f64) -> f64 {
        const DAY: i64 = 86_400;
        let secs = secs as i64;
        let of_day = secs.rem_euclid(DAY);
        let part = match self {
            Self::Minute => of_day % 3600 / 60,
            Self::Hour => of_day / 3600,
            // The first day of Unix time was a Thursday; Sunday is 0.
            Self::DayOfWeek => (secs.div_euclid(DAY) + 4).rem_euclid(7),
        };
        part as f64
    }
}
