//! Applies the transforms of a workload section: checks their settings, and keeps count,
//! period and description true to what comes out.

use std::sync::Arc;

use crate::kernel::SimDuration;

use super::load::{Loader, Node, RequestCount, field};
use super::request::{Packed, Source};
use super::spec::{RateScaleSpec, WorkloadSpec};
use super::stats::Gaps;
use super::transform::{Compress, Concatenate, Pinned, Resample, Superpose, Thin, Window, compressed};

impl Loader<'_> {
    /// Applies all transforms of `spec`, in the order its manual gives.
    pub fn reshape(&mut self, node: Option<Node>, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let node = self.window(node, spec, at);
        let node = self.rate_scale(node, spec, at);
        let node = self.repeat(node, spec, at);
        self.resample(node, spec, at)
    }

    fn window(&mut self, node: Option<Node>, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let Some(window) = &spec.window else { return node };
        let place = field(at, "window");
        if window.to.is_some_and(|to| to <= window.from) {
            self.fault(place, "a window ends after it begins");
            return None;
        }
        let node = node?;
        let Some(end) = node.source.span().or(window.to) else {
            self.fault(place, "the window needs `to`: nobody knows when this workload ends");
            return None;
        };
        if window.from >= end {
            self.fault(place, format!("the window begins at {}, the workload ends at {end}", window.from));
            return None;
        }
        let to = window.to.unwrap_or(end);
        if to > end {
            let message = format!("the window ends at {to}, and the workload at {end}: the rest is left off");
            self.warnings.push(message);
        }
        let span = to.min(end).saturating_sub(window.from);
        // The last request of a trace arrives at its very end, which a window without an end takes in.
        let reach =
            if window.to.is_none_or(|to| to >= end) { SimDuration::from_nanos(1) } else { SimDuration::ZERO };
        let share = span.as_secs_f64() / end.as_secs_f64();
        let label = format!("{}, {} to {}", node.label, window.from, to.min(end));
        let source = Arc::new(Window { inner: node.source.clone(), from: window.from, span: span + reach });
        let expected = node.expected() * share;
        Some(self.settle(Node { source, period: Some(span + reach), label, ..node }, expected))
    }

    fn rate_scale(&mut self, node: Option<Node>, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let Some(scale) = &spec.rate_scale else { return node };
        let place = field(at, "rateScale");
        let complaint = match scale {
            RateScaleSpec::Thin(keep) if !(*keep > 0.0 && *keep < 1.0) => Some((
                "thin",
                "a share to keep is between 0 and 1; use `superpose` or `compress` for more traffic",
            )),
            RateScaleSpec::Superpose(copies) if !(1..=10_000).contains(copies) => {
                Some(("superpose", "a number of copies is from 1 to 10,000"))
            }
            RateScaleSpec::Compress(factor) if !(1e-3..=1e6).contains(factor) => {
                Some(("compress", "a factor is from 0.001 to 1,000,000"))
            }
            _ => None,
        };
        if let Some((name, message)) = complaint {
            self.fault(field(&place, name), message);
            return None;
        }
        let node = node?;
        let before = self.gaps(&node).cv();
        let entity = self.entity();
        let inner = node.source.clone();
        let label = node.label.clone();
        let (source, period, factor, label): (Arc<dyn Source>, _, _, _) = match scale {
            RateScaleSpec::Thin(keep) => {
                let label = format!("{label} thinned to {}%", (keep * 1e4).round() / 100.0);
                (Arc::new(Thin { inner, keep: *keep, entity }), node.period, *keep, label)
            }
            RateScaleSpec::Superpose(copies) => {
                let Some(period) = node.period else {
                    self.fault(
                        place,
                        "copies are rotated on the length of the workload: give it a `duration`",
                    );
                    return None;
                };
                let source = Superpose { inner, period, copies: *copies, entity };
                (Arc::new(source), Some(period), f64::from(*copies), format!("{label} ×{copies} superposed"))
            }
            RateScaleSpec::Compress(factor) => {
                let period = node.period.map(|period| period.as_nanos() as f64 / factor);
                if !self.period_fits(period.unwrap_or(0.0) as u128, &place) {
                    return None;
                }
                let period = node.period.map(|period| compressed(period, *factor));
                (
                    Arc::new(Compress { inner, factor: *factor }),
                    period,
                    1.0,
                    format!("{label} ×{factor} compressed"),
                )
            }
        };
        let expected = node.expected() * factor;
        let exact = matches!(node.count, RequestCount::Exact(_)) && !matches!(scale, RateScaleSpec::Thin(_));
        let count =
            if exact { RequestCount::Exact(expected as u64) } else { RequestCount::Expected(expected) };
        let mut node = self.settle(Node { source, count, period, label, ..node }, expected);
        if !matches!(scale, RateScaleSpec::Compress(_)) {
            let after = self.gaps(&node).cv();
            node.label = format!("{}, CV {before:.2} -> {after:.2}", node.label);
        }
        Some(node)
    }

    fn repeat(&mut self, node: Option<Node>, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let Some(times) = spec.repeat else { return node };
        let place = field(at, "repeat");
        if !(1..=100_000).contains(&times) {
            self.fault(place, "a workload is repeated 1 to 100,000 times");
            return None;
        }
        let node = node?;
        let Some(period) = node.period else {
            self.fault(place, "a turn begins at the end of the one before: give the workload a `duration`");
            return None;
        };
        if !self.period_fits(u128::from(period.as_nanos()) * u128::from(times), &place) {
            return None;
        }
        let count = match node.count {
            RequestCount::Exact(count) => RequestCount::Exact(count * u64::from(times)),
            RequestCount::Expected(count) => RequestCount::Expected(count * f64::from(times)),
        };
        let source = Arc::new(Concatenate::repeat(node.source, period, times));
        let label = format!("{}, {times} times in a row", node.label);
        Some(Node { source, count, label, period: Some(period * u64::from(times)), ..node })
    }

    fn resample(&mut self, node: Option<Node>, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let Some(resample) = &spec.resample else { return node };
        let place = field(at, "resample");
        let node = node?;
        if !node.fixed {
            self.fault(place, "synthetic traffic is drawn anew in each replication already");
            return None;
        }
        let period = node.period?;
        if resample.block < SimDuration::from_millis(1) || resample.block > period {
            let message = format!("a block is at least 1ms and at most the workload, {period}");
            self.fault(field(&place, "block"), message);
            return None;
        }
        let trace = Packed { requests: node.source.requests(&self.fixed).collect(), span: period };
        Some(Node {
            source: Arc::new(Resample { trace, period, block: resample.block }),
            count: RequestCount::Expected(node.expected()),
            fixed: false,
            label: format!("{}, resampled in blocks of {}", node.label, resample.block),
            ..node
        })
    }

    fn gaps(&self, node: &Node) -> Gaps {
        Gaps::of(node.source.as_ref(), &self.fixed)
    }

    /// Ends a transform: fixed traffic is pinned to its draws, counted, and packed while it is small.
    fn settle(&self, node: Node, expected: f64) -> Node {
        if !node.fixed {
            return Node { count: RequestCount::Expected(expected), ..node };
        }
        let source: Arc<dyn Source> = Arc::new(Pinned { inner: node.source, streams: self.fixed });
        let count = source.requests(&self.fixed).count();
        let count_exact = RequestCount::Exact(count as u64);
        if count > self.packed_up_to {
            return Node { source, count: count_exact, ..node };
        }
        let span = source.span().unwrap_or_default();
        let mut requests = Vec::with_capacity(count);
        requests.extend(source.requests(&self.fixed));
        Node { source: Arc::new(Packed { requests, span }), count: count_exact, ..node }
    }
}
