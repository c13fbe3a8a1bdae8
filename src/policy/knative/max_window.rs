//! The sliding maximum behind `scale-down-delay`.
//!
//! After knative/serving `pkg/autoscaler/aggregation/max` (98e5ef90).

use std::collections::VecDeque;

use super::SECOND;
use crate::policy::hpa::types::Nanos;

/// The maximum over the last so many slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxWindow {
    /// (slot, value), values falling: what a newer, higher value outlasts is dropped.
    maxima: VecDeque<(i64, i32)>,
    size: i64,
}

impl MaxWindow {
    /// An empty window of so many slots.
    pub fn new(size: i64) -> Self {
        Self { maxima: VecDeque::new(), size: size.max(1) }
    }

    /// Records a value for a slot; slots are meant to rise. Of values of one slot the highest stays.
    pub fn record(&mut self, slot: i64, value: i32) {
        while self.maxima.back().is_some_and(|(_, old)| *old <= value) {
            self.maxima.pop_back();
        }
        while self.maxima.front().is_some_and(|(old, _)| slot - old >= self.size) {
            self.maxima.pop_front();
        }
        if self.maxima.back().is_some_and(|(old, _)| *old == slot) {
            // It is higher than the new one, or it would have been dropped above.
            return;
        }
        self.maxima.push_back((slot, value));
    }

    /// The highest value; 0 before the first.
    pub fn current(&self) -> i32 {
        self.maxima.front().map_or(0, |(_, value)| *value)
    }
}

/// The maximum over a length of time, in slots of a granularity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    window: MaxWindow,
    granularity_s: i64,
}

impl TimeWindow {
    /// An empty window; a part of a slot counts as one.
    pub fn new(duration: Nanos, granularity: Nanos) -> Self {
        let slots = (duration as f64 / granularity as f64).ceil() as i64;
        Self { window: MaxWindow::new(slots), granularity_s: (granularity / SECOND).max(1) }
    }

    /// Records a value for the slot of an instant.
    pub fn record(&mut self, now: Nanos, value: i32) {
        self.window.record(now.div_euclid(SECOND).div_euclid(self.granularity_s), value);
    }

    /// The highest value as of the last one recorded; 0 before the first.
    pub fn current(&self) -> i32 {
        self.window.current()
    }
}
