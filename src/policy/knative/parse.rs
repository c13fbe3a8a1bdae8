//! Values as Knative's ConfigMaps and annotations hold them: strings in Go's notations.
//!
//! After knative.dev/pkg `configmap/parse.go`. One departure: a number that is not finite
//! is refused, where upstream would go on to compute with it.

use std::collections::BTreeMap;

use super::SECOND;
use crate::kernel::units::parse_duration;
use crate::policy::Fault;
use crate::policy::hpa::types::Nanos;

/// Reads a Go duration with its optional sign, ns.
pub fn duration(text: &str) -> Result<Nanos, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let nanos = parse_duration(digits).map_err(|error| error.to_string())?;
    let nanos =
        Nanos::try_from(nanos).map_err(|_| format!("`{text}` is longer than Go's 292 years of duration"))?;
    Ok(if negative { -nanos } else { nanos })
}

/// A duration for a message.
pub fn shown(nanos: Nanos) -> String {
    format!("{} s", nanos as f64 / SECOND as f64)
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{text}` is not a boolean; write true or false")),
    }
}

/// Reads a finite number.
pub fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{text}` is not a number")),
    }
}

/// Reads a 32-bit integer.
pub fn integer(text: &str) -> Result<i32, String> {
    text.parse::<i32>().map_err(|_| format!("`{text}` is not a whole number of 32 bits"))
}

/// Reads a map of strings key by key and collects what is wrong.
pub(super) struct Reader<'a> {
    data: &'a BTreeMap<String, String>,
    /// What was wrong so far.
    pub faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Reads this map.
    pub fn new(data: &'a BTreeMap<String, String>) -> Self {
        Self { data, faults: Vec::new() }
    }

    /// The value of the first of the keys that is there.
    pub fn text(&self, keys: &[&'a str]) -> Option<(&'a str, &'a str)> {
        keys.iter().find_map(|key| self.data.get(*key).map(|value| (*key, value.as_str())))
    }

    /// The parsed value of the first of the keys that is there; a fault if it cannot be parsed.
    pub fn value<T>(&mut self, keys: &[&'a str], parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let (key, text) = self.text(keys)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push((key.to_owned(), message, format!("mend the value of `{key}`")));
                None
            }
        }
    }

    /// Notes a fault unless the condition holds.
    pub fn demand(&mut self, holds: bool, key: &str, message: String, help: &str) {
        if !holds {
            self.faults.push((key.to_owned(), message, help.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_go_reads_them() {
        assert_eq!(duration("-4m11s"), Ok(-251_000_000_000));
        assert_eq!(duration("+1.5s"), Ok(1_500_000_000));
        assert_eq!(duration("0"), Ok(0));
        for bad in ["", "-", "--1s", "5", "300 s", "300y", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("2562048h").is_err(), "beyond an i64 of ns");
        assert_eq!(boolean("T"), Ok(true));
        assert!(boolean("yes").is_err());
        assert_eq!(number("1e2"), Ok(100.0));
        for bad in ["", "NaN", "inf", "1,5", "70%"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert_eq!(integer("+3"), Ok(3));
        assert!(integer("3000000000").is_err() && integer("1.0").is_err());
    }
}
