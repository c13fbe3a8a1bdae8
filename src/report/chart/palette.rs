//! The colour of each phase and of each cause, everywhere. Told apart by people who see no red or no green; words stand beside them.

use super::canvas::Colour;
use crate::outcome::{Cause, Phase};

/// The colour of a phase.
pub const fn phase_colour(phase: Phase) -> Colour {
    match phase {
        Phase::Pending => (170, 176, 184),
        Phase::Provisioning => (230, 159, 0),
        Phase::Pulling => (240, 228, 66),
        Phase::Starting => (213, 94, 0),
        Phase::Loading => (204, 121, 167),
        Phase::WarmingUp => (136, 34, 85),
        Phase::Probing => (68, 170, 153),
        Phase::Serving => (0, 114, 178),
        Phase::Held => (86, 180, 233),
        Phase::Draining => (120, 120, 120),
    }
}

/// The colour of a cause: that of the phase, where it is one.
pub const fn cause_colour(cause: Cause) -> Colour {
    match cause {
        Cause::StartUp(phase) => phase_colour(phase),
        Cause::TooLong => (110, 70, 40),
        Cause::Drain => (120, 120, 120),
        Cause::NotWarmed => (170, 68, 153),
        Cause::NoNode => (102, 80, 200),
        Cause::AtMaximum => (17, 119, 51),
        Cause::NotOrdered => (153, 153, 51),
        Cause::Saturation => (170, 30, 40),
    }
}

/// As CSS writes it.
pub fn hex((r, g, b): Colour) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// The colour of the phase with that label; the ink's for what is none.
pub(super) fn of_phase(label: &str) -> Colour {
    Phase::ALL.into_iter().find(|phase| phase.label() == label).map_or(super::canvas::INK, phase_colour)
}

/// The colour of the cause with that label.
pub(super) fn of_cause(label: &str) -> Colour {
    Cause::ALL.into_iter().find(|cause| cause.label() == label).map_or(super::canvas::INK, cause_colour)
}
