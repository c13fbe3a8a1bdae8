//! A value and where it comes from: every figure of a profile carries its provenance.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a figure came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provenance {
    /// Measured on the host the profile names, by `thawline calibrate`.
    Measured,
    /// Taken from the source named.
    Published,
    /// Computed from measured or published figures; the source says how.
    Derived,
    /// Nobody measured it; the note says why it is plausible.
    Assumed,
}

impl Provenance {
    /// The word shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Published => "published",
            Self::Derived => "derived",
            Self::Assumed => "assumed",
        }
    }

    /// Whether a figure of this kind must name its source and date.
    pub const fn needs_source(self) -> bool {
        matches!(self, Self::Measured | Self::Published)
    }
}

/// A calendar date, `2026-11-22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(jiff::civil::Date);

impl Date {
    /// Days from this date to `today`; negative if it lies ahead.
    pub fn days_until(self, today: Self) -> i32 {
        // A difference of two dates counts days unless asked for more; |days| < 7.4 million.
        (today.0 - self.0).get_days()
    }
}

impl From<jiff::civil::Date> for Date {
    fn from(date: jiff::civil::Date) -> Self {
        Self(date)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Date {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // jiff would also take a time after the date.
        let plain = text.len() == 10 && text.is_ascii();
        let date = plain.then(|| text.parse().ok()).flatten();
        date.map(Self).ok_or_else(|| format!("`{text}` is not a date; write e.g. 2026-11-22"))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Date {
    fn schema_name() -> Cow<'static, str> {
        "Date".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date", "description": "A date such as 2026-11-22." })
    }
}

/// A value with its provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sourced<T> {
    /// The value itself.
    pub value: T,
    /// How it came to be.
    pub provenance: Provenance,
    /// Where it was published or measured, or what it was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was measured, published or retrieved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// What a reader should know: other figures seen, conditions, doubts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl<T> Sourced<T> {
    /// The same provenance, borrowed, with another value; for display.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            provenance: self.provenance,
            source: self.source.as_deref(),
            date: self.date,
            note: self.note.as_deref(),
        }
    }
}

/// The provenance of a figure without the figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// How it came to be.
    pub provenance: Provenance,
    /// Its source.
    pub source: Option<&'a str>,
    /// Its date.
    pub date: Option<Date>,
    /// Its note.
    pub note: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let date = |text: &str| text.parse::<Date>();
        assert_eq!(date("2026-11-22").unwrap().to_string(), "2026-11-22");
        assert_eq!(date("2026-02-01").unwrap().days_until(date("2026-03-01").unwrap()), 28);
        assert_eq!(date("2026-03-01").unwrap().days_until(date("2025-03-01").unwrap()), -365);
        for bad in ["", "22.11.2026", "2026-13-01", "2026-11-22T10:00:00", "yesterday!"] {
            assert!(date(bad).unwrap_err().contains("write e.g."), "{bad}");
        }
    }
}
