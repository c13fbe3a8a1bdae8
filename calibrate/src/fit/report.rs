//! What a fit says for itself: how good it is, what it left out, what must not be overlooked.

use std::fmt::Write as _;

use thawline::profile::Profile;

use super::parts::Quality;
use crate::raw::Flag;

/// Everything about a fit that is not in the profile itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitReport {
    /// How good each fit is.
    pub quality: Vec<Quality>,
    /// What must not be overlooked; the profile's description names them too.
    pub flags: Vec<Flag>,
    /// What could not be determined, and other remarks.
    pub notes: Vec<String>,
}

impl FitReport {
    /// For people: every figure of the profile, then how good the fits are, flags and remarks.
    pub fn text(&self, profile: &Profile) -> String {
        let mut text = format!("{}\n\n", profile.label());
        for row in profile.rows() {
            let origin = row.origin.map_or("", |o| o.provenance.label());
            let _ = writeln!(text, "  {:<28} {:<9} {}", row.field, origin, row.value);
        }
        if !self.quality.is_empty() {
            text += "\nFits, errors of points that were held out (5-fold cross-validation; one by one below 20 points)\n";
        }
        for quality in &self.quality {
            text += &quality_lines(quality);
        }
        if !self.flags.is_empty() {
            text += "\nFlags\n";
        }
        for flag in &self.flags {
            let _ = writeln!(text, "  {}: {}", flag.flag, flag.message);
        }
        if !self.notes.is_empty() {
            text += "\nNotes\n";
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text
    }
}

fn quality_lines(quality: &Quality) -> String {
    let errors = quality.errors.map_or_else(
        || "too few points to hold any out".to_owned(),
        |e| format!("mean {:.1} %, p95 {:.1} %, worst {:.1} %", e.mape * 100.0, e.p95 * 100.0, e.max * 100.0),
    );
    let dropped =
        if quality.dropped.is_empty() { String::new() } else { format!("; left out: {}", quality.dropped) };
    let mut text = format!("  {}: {errors}; {} points{dropped}\n", quality.what, quality.points);
    for (region, bias, points) in &quality.bias {
        let _ = writeln!(text, "    bias at {region}: {:+.1} % ({points} points)", bias * 100.0);
    }
    text
}
