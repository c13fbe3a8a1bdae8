//! What a plain scalar means: YAML 1.2's core schema, minus the traps.
//!
//! `yes` and `on` are text, as YAML 1.2 has it. `012` is refused: YAML 1.1 reads it as
//! ten, 1.2 as twelve, so nobody can know what its writer meant. Numbers that are not
//! finite are refused where a number is asked for.

/// Why a text is not the number that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotANumber {
    /// It does not look like one.
    Other,
    /// A leading zero.
    Octal,
    /// It looks like one and is beyond every type's range.
    TooLarge,
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

/// Whether a text is digits that start with a zero that does not stand alone.
fn is_octal_trap(text: &str) -> bool {
    let digits = unsigned(text);
    digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit()
}

/// A whole number: decimal, `0x` or `0o`.
pub(super) fn parse_integer(text: &str) -> Result<i128, NotANumber> {
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && all(digits, radix)
        {
            return i128::from_str_radix(digits, radix).map_err(|_| NotANumber::TooLarge);
        }
    }
    if !all(unsigned(text), 10) {
        return Err(NotANumber::Other);
    }
    if is_octal_trap(text) {
        return Err(NotANumber::Octal);
    }
    text.parse().map_err(|_| NotANumber::TooLarge)
}

/// A finite number.
pub(super) fn parse_float(text: &str) -> Result<f64, NotANumber> {
    match parse_integer(text) {
        Ok(value) => return Ok(value as f64),
        Err(NotANumber::Octal) => return Err(NotANumber::Octal),
        Err(_) => {}
    }
    let body = unsigned(text);
    let (mantissa, exponent) = body.split_at(body.find(['e', 'E']).unwrap_or(body.len()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent_ok = exponent.is_empty() || {
        let power = unsigned(&exponent[1..]);
        !power.is_empty() && digits(power)
    };
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || !exponent_ok {
        return Err(NotANumber::Other);
    }
    if is_octal_trap(whole) {
        return Err(NotANumber::Octal);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(NotANumber::TooLarge),
        Err(_) => Err(NotANumber::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let check = |text: &str, expected| assert_eq!(parse_integer(text), expected, "{text}");
        check("0", Ok(0));
        check("-12", Ok(-12));
        check("+7", Ok(7));
        check("0x1F", Ok(31));
        check("0o14", Ok(12));
        check("012", Err(NotANumber::Octal));
        check("-00", Err(NotANumber::Octal));
        check("1_000", Err(NotANumber::Other));
        check("1.0", Err(NotANumber::Other));
        check("", Err(NotANumber::Other));
        check("-", Err(NotANumber::Other));
        check("0x", Err(NotANumber::Other));
        check("9999999999999999999999999999999999999999999", Err(NotANumber::TooLarge));
    }

    #[test]
    fn floats() {
        let check = |text: &str, expected| assert_eq!(parse_float(text), expected, "{text}");
        check("1e3", Ok(1000.0));
        check("-.5", Ok(-0.5));
        check("5.", Ok(5.0));
        check("0.25", Ok(0.25));
        check("3", Ok(3.0));
        check("012.5", Err(NotANumber::Octal));
        check("1e999", Err(NotANumber::TooLarge));
        check(".", Err(NotANumber::Other));
        check("1e", Err(NotANumber::Other));
        check(".inf", Err(NotANumber::Other));
        check("nan", Err(NotANumber::Other));
        check("inf", Err(NotANumber::Other));
    }
}
