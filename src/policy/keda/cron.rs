//! The cron trigger: so many replicas from a start to an end.
//!
//! After kedacore/keda `pkg/scalers/cron_scaler.go` (8b4f083c).

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::policy::Fault;
use crate::policy::cron::{Schedule, time_zone};

/// A cron trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct CronTrigger {
    /// `desiredReplicas`.
    pub desired_replicas: i64,
    /// Name of its metric, without the index before it.
    pub metric_name: String,
    start: Schedule,
    end: Schedule,
    zone: TimeZone,
}

impl CronTrigger {
    /// Reads the `metadata` of a trigger.
    ///
    /// # Errors
    /// Every fault, with its key as the path.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut text = |key: &str, example: &str| {
            let value = metadata.get(key).map_or("", String::as_str);
            if value.is_empty() {
                faults.push((key.to_owned(), format!("`{key}` is missing"), format!("write e.g. {example}")));
            }
            value
        };
        let zone_name = text("timezone", "Etc/UTC");
        let (start_text, end_text) = (text("start", "0 8 * * 1-5"), text("end", "0 18 * * 1-5"));
        let desired_text = text("desiredReplicas", "\"3\"");
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut note = |key: &str, message: String, help: &str| {
            faults.push((key.to_owned(), message, help.to_owned()));
        };
        if start_text == end_text {
            note("end", "start and end are the same".to_owned(), "write when the window ends");
        }
        let desired_replicas = desired_text.parse::<i64>().unwrap_or(0);
        if desired_replicas == 0 {
            let message = format!("`{desired_text}` replicas are none to be asked for");
            note("desiredReplicas", message, "write a whole number of at least 1");
        }
        let mut schedule = |key: &str, text: &str| {
            let schedule = Schedule::parse(text);
            schedule.map_err(|e| note(key, e.to_string(), "write five fields, e.g. 0 8 * * 1-5")).ok()
        };
        let (start, end) = (schedule("start", start_text), schedule("end", end_text));
        let zone =
            time_zone(zone_name).map_err(|e| note("timezone", e.to_string(), "write e.g. Etc/UTC")).ok();
        let (Some(start), Some(end), Some(zone), true) = (start, end, zone, faults.is_empty()) else {
            return Err(faults);
        };
        let plain =
            |text: &str| text.replace(' ', "").replace('*', "x").replace('/', "Sl").replace('?', "Qm");
        let metric_name = format!("cron-{zone_name}-{}-{}", plain(start_text), plain(end_text));
        let metric_name = super::triggers::normalized(&metric_name);
        Ok(Self { desired_replicas, metric_name, start, end, zone })
    }

    /// Whether an instant, in seconds since 1970, lies in a window: unless the next start comes
    /// before the next end. So the instant of a start does and that of an end does not.
    /// What never comes counts as long past, as upstream's zero time does.
    pub fn is_active(&self, now: i64) -> bool {
        let (start, end) = (self.start.next(now, &self.zone), self.end.next(now, &self.zone));
        // An absent one is less than any other.
        start >= end
    }

    /// The next start strictly after an instant, s since 1970.
    pub fn next_start(&self, now: i64) -> Option<i64> {
        self.start.next(now, &self.zone)
    }

    /// The next end strictly after an instant, s since 1970.
    pub fn next_end(&self, now: i64) -> Option<i64> {
        self.end.next(now, &self.zone)
    }

    /// The value of the metric; its target is 1 per replica.
    pub fn value(&self, now: i64) -> f64 {
        if self.is_active(now) { self.desired_replicas as f64 } else { 0.0 }
    }
}
