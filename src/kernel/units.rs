//! Kubernetes quantities and Go durations, parsed exactly.
//!
//! Quantities follow `apimachinery/pkg/api/resource`: a decimal number with an SI
//! (`m`, `k`, `M`, ..), binary (`Ki`, `Mi`, ..) or exponent suffix, held exactly in
//! units of 1e-9, the finest Kubernetes keeps; anything finer rounds away from zero, as
//! Kubernetes does. Durations follow Go's `time.ParseDuration`, without signs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a quantity or duration could not be read; says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

impl ParseError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Reads a Go duration into ns.
pub fn parse_duration(text: &str) -> Result<u64, ParseError> {
    const UNITS: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let bad = |why: &str| {
        Err(ParseError::new(format!("`{text}` is not a duration ({why}); write e.g. 250ms, 30s, 5m, 1h30m")))
    };
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return bad("it is empty");
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        if number.is_empty() || number == "." {
            return bad("a number is missing");
        }
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_len);
        if unit.is_empty() {
            return bad("the unit is missing");
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return bad(&format!("unknown unit `{unit}`"));
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return bad("two decimal points");
        }
        let digits = |d: &str| if d.is_empty() { Some(0) } else { d.parse::<u128>().ok() };
        // Beyond 18 fraction digits nothing is left of any unit, and u128 would overflow.
        let fraction = &fraction[..fraction.len().min(18)];
        let (Some(whole_value), Some(fraction_value)) = (digits(whole), digits(fraction)) else {
            return bad("it is too long");
        };
        let nanos = whole_value
            .checked_mul(*scale)
            .and_then(|n| n.checked_add(fraction_value * scale / 10u128.pow(fraction.len() as u32)))
            .and_then(|n| n.checked_add(total));
        match nanos {
            Some(sum) => total = sum,
            None => return bad("it is too long"),
        }
        rest = tail;
    }
    match u64::try_from(total) {
        Ok(nanos) => Ok(nanos),
        Err(_) => bad("it is longer than 584 years"),
    }
}

/// Writes ns as the shortest exact Go-style duration: `1h30m`, `1.5s`, `250ms`, `0s`.
pub fn format_duration(nanos: u64) -> String {
    fn decimal(value: u64, scale: u64, unit: &str) -> String {
        let fraction = value % scale;
        if fraction == 0 {
            return format!("{}{unit}", value / scale);
        }
        let width = scale.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        format!("{}.{}{unit}", value / scale, digits.trim_end_matches('0'))
    }
    const SEC: u64 = 1_000_000_000;
    match nanos {
        0 => "0s".to_owned(),
        n if n < 1_000 => format!("{n}ns"),
        n if n < 1_000_000 => decimal(n, 1_000, "us"),
        n if n < SEC => decimal(n, 1_000_000, "ms"),
        n => {
            let (hours, minutes, rest) = (n / (3_600 * SEC), n / (60 * SEC) % 60, n % (60 * SEC));
            let mut out = String::new();
            if hours > 0 {
                out.push_str(&format!("{hours}h"));
            }
            if minutes > 0 {
                out.push_str(&format!("{minutes}m"));
            }
            if rest > 0 {
                out.push_str(&decimal(rest, SEC, "s"));
            }
            out
        }
    }
}

/// A Kubernetes quantity, exact in units of 1e-9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nano: i128,
}

impl Quantity {
    /// From thousandths.
    pub const fn from_milli(milli: i64) -> Self {
        Self { nano: milli as i128 * 1_000_000 }
    }

    /// From whole units.
    pub const fn from_units(units: i64) -> Self {
        Self { nano: units as i128 * 1_000_000_000 }
    }

    /// Thousandths, rounded up, as Kubernetes' `MilliValue` does; `None` beyond `i64`.
    pub fn milli(self) -> Option<i64> {
        i64::try_from(ceil_div(self.nano, 1_000_000)).ok()
    }

    /// Whole units, rounded up, as Kubernetes' `Value` does; `None` beyond `i64`.
    pub fn units(self) -> Option<i64> {
        i64::try_from(ceil_div(self.nano, 1_000_000_000)).ok()
    }

    /// The value as a double, for display and fractions such as tolerances.
    pub fn as_f64(self) -> f64 {
        self.nano as f64 / 1e9
    }
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = |why: &str| {
            ParseError::new(format!("`{text}` is not a quantity ({why}); write e.g. 500m, 2, 1.5, 16Gi, 2e3"))
        };
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let number_len = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
        let (number, suffix) = body.split_at(number_len);
        if number.is_empty() || number == "." {
            return Err(bad("a number is missing"));
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(bad("two decimal points"));
        }
        let (binary, exponent) = match suffix {
            "" => (0, 0),
            "n" => (0, -9),
            "u" => (0, -6),
            "m" => (0, -3),
            "k" => (0, 3),
            "M" => (0, 6),
            "G" => (0, 9),
            "T" => (0, 12),
            "P" => (0, 15),
            "E" => (0, 18),
            "Ki" => (10, 0),
            "Mi" => (20, 0),
            "Gi" => (30, 0),
            "Ti" => (40, 0),
            "Pi" => (50, 0),
            "Ei" => (60, 0),
            _ => {
                let digits = suffix
                    .strip_prefix(['e', 'E'])
                    .filter(|d| !d.is_empty())
                    .ok_or_else(|| bad(&format!("unknown suffix `{suffix}`")))?;
                let exponent: i32 = digits.parse().map_err(|_| bad("the exponent is not a whole number"))?;
                (0, exponent)
            }
        };
        let digits: String = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let mut value: i128 = match digits {
            "" => 0,
            d if d.len() > 27 => return Err(bad("too many digits")),
            d => d.parse().map_err(|_| bad("too many digits"))?,
        };
        value = value.checked_mul(1i128 << binary).ok_or_else(|| bad("it is too large"))?;
        let scale = exponent - fraction.len() as i32 + 9;
        let nano = if value == 0 {
            0
        } else if scale >= 0 {
            let factor = (scale <= 38).then(|| 10i128.checked_pow(scale as u32)).flatten();
            factor.and_then(|f| value.checked_mul(f)).ok_or_else(|| bad("it is too large"))?
        } else if scale < -38 {
            1
        } else {
            ceil_div(value, 10i128.pow(scale.unsigned_abs()))
        };
        Ok(Self { nano: if negative { -nano } else { nano } })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, suffix) = match self.nano {
            n if n % 1_000_000_000 == 0 => (1_000_000_000, ""),
            n if n % 1_000_000 == 0 => (1_000_000, "m"),
            n if n % 1_000 == 0 => (1_000, "u"),
            _ => (1, "n"),
        };
        write!(f, "{}{suffix}", self.nano / unit)
    }
}

/// A count of bytes, written as a Kubernetes quantity (`16Gi`, `15.5G`, `131072`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let quantity: Quantity = text.parse()?;
        if quantity.nano % 1_000_000_000 != 0 {
            return Err(ParseError::new(format!(
                "`{text}` is not a whole number of bytes; write e.g. 16Gi or 15.5G"
            )));
        }
        u64::try_from(quantity.nano / 1_000_000_000).map(Self).map_err(|_| {
            ParseError::new(format!("`{text}` is not a size in bytes; write e.g. 16Gi or 15.5G"))
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [(u64, &str); 8] = [
            (1 << 40, "Ti"),
            (1 << 30, "Gi"),
            (1 << 20, "Mi"),
            (1 << 10, "Ki"),
            (1_000_000_000_000, "T"),
            (1_000_000_000, "G"),
            (1_000_000, "M"),
            (1_000, "k"),
        ];
        match SUFFIXES.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, suffix)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A price in US dollars, exact to a millionth; written `$3.60` or `3.60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price {
    /// Millionths of a US dollar.
    pub micro_usd: u64,
}

impl Price {
    /// US dollars.
    pub fn as_f64(self) -> f64 {
        self.micro_usd as f64 / 1e6
    }
}

impl FromStr for Price {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new(format!("`{text}` is not a price; write US dollars, e.g. $3.60"));
        let number = text.strip_prefix('$').unwrap_or(text);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |d: &str| d.bytes().all(|b| b.is_ascii_digit());
        if number.is_empty() || number == "." || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| bad())?;
        let micro_usd = whole.checked_mul(1_000_000).and_then(|n| n.checked_add(fraction)).ok_or_else(bad)?;
        Ok(Self { micro_usd })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.micro_usd / 1_000_000, self.micro_usd % 1_000_000);
        let digits = format!("{fraction:06}");
        let shown = digits.trim_end_matches('0').len().max(2);
        write!(f, "${whole}.{}", &digits[..shown])
    }
}

macro_rules! text_serde {
    ($name:ident, $schema:literal, $description:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // A plain number is as good as a string: both are read from their text.
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($description)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<$name, E> {
                        self.visit_str(&value.to_string())
                    }
                    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<$name, E> {
                        self.visit_str(&value.to_string())
                    }
                    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<$name, E> {
                        self.visit_str(&value.to_string())
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["string", "number"], "description": $description })
            }
        }
    };
}

text_serde!(Quantity, "Quantity", "a Kubernetes quantity such as 500m, 2 or 16Gi");
text_serde!(Bytes, "Bytes", "a size in bytes such as 16Gi, 15.5G or 131072");
text_serde!(Price, "Price", "a price in US dollars such as $3.60");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let check = |text: &str, nanos: u64| assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        check("0", 0);
        check("30s", 30_000_000_000);
        check("1h30m", 5_400_000_000_000);
        check("1.5s", 1_500_000_000);
        check("250ms", 250_000_000);
        check("1us500ns", 1_500);
        check("2µs", 2_000);
        for bad in ["", "5", "5 s", "5 minuts", "1month", "s", "1.2.3s", "-1s", "9999999999h", ".s"] {
            let error = parse_duration(bad).unwrap_err().to_string();
            assert!(error.contains("write e.g."), "{bad}: {error}");
        }
    }

    #[test]
    fn quantities() {
        let check = |text: &str, milli: i64| {
            assert_eq!(text.parse::<Quantity>().unwrap().milli(), Some(milli), "{text}");
        };
        check("500m", 500);
        check("2", 2_000);
        check("1.5", 1_500);
        check("2k", 2_000_000);
        check("1Ki", 1_024_000);
        check("1e3", 1_000_000);
        check("1E3", 1_000_000);
        check("1500u", 2);
        check("0.0001", 1);
        check("-1500u", -1);
        check("100e-3", 100);
        for bad in ["", "m", "1x", "1.2.3", "1e", "e3", "1 k", "99999999999999999999999999999"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_and_bytes() {
        assert_eq!("$3.60".parse(), Ok(Price { micro_usd: 3_600_000 }));
        assert_eq!("3.6".parse(), Ok(Price { micro_usd: 3_600_000 }));
        assert_eq!(Price { micro_usd: 804_800 }.to_string(), "$0.8048");
        assert!("$3.6 an hour".parse::<Price>().is_err());
        assert_eq!("16Gi".parse(), Ok(Bytes(16 << 30)));
        assert_eq!(Bytes(16 << 30).to_string(), "16Gi");
        assert!("1m".parse::<Bytes>().is_err());
    }

    proptest! {
        #[test]
        fn durations_round_trip(nanos: u64) {
            prop_assert_eq!(parse_duration(&format_duration(nanos)), Ok(nanos));
        }

        #[test]
        fn quantities_round_trip(milli: i64) {
            let quantity = Quantity::from_milli(milli);
            prop_assert_eq!(quantity.to_string().parse(), Ok(quantity));
            prop_assert_eq!(quantity.milli(), Some(milli));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = parse_duration(&text);
            let _ = text.parse::<Quantity>();
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Price>();
        }
    }
}
