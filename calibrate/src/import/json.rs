//! JSON as tools write it: one document or one a line, and Python's `NaN` and `Infinity`.

use serde_json::Value;

use crate::Fault;

/// What a file holds, if it is JSON.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    /// One document.
    Document(Value),
    /// One a line, with the line's number from 1.
    Lines(Vec<(usize, Value)>),
}

/// Reads a text as JSON. None if it is not meant to be: a log may begin with a bracket too.
///
/// # Errors
/// A text that is JSON up to a broken place; of lines, every broken one (the first 20).
pub(super) fn parse(name: &str, text: &str) -> Option<Result<Json, Vec<Fault>>> {
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let strict = strict(text);
    let whole_fault = match serde_json::from_str(&strict) {
        Ok(value) => return Some(Ok(Json::Document(value))),
        Err(fault) => fault,
    };
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in strict.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value.is_object() => values.push((number + 1, value)),
            Ok(_) => {}
            Err(_) if faults.len() == 20 => break,
            Err(error) => {
                let message = format!("line {} is not JSON: {error}", number + 1);
                faults.push(Fault::in_file("E0705", name, message));
            }
        }
    }
    if values.is_empty() {
        // A document cut off or broken, or no JSON at all. Keys in quotes tell them apart.
        let meant = text.trim_start().starts_with("{\"")
            || text.trim_start().trim_start_matches(['{', '[']).trim_start().starts_with(['"', '{']);
        let message = format!("not JSON at line {}: {whole_fault}", whole_fault.line());
        return meant.then(|| Err(vec![Fault::in_file("E0705", name, message)]));
    }
    Some(if faults.is_empty() { Ok(Json::Lines(values)) } else { Err(faults) })
}

/// The text with `NaN` and `Infinity` outside of strings as `null`, which is what they mean here.
fn strict(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|w| !quoted && rest.starts_with(w));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => {
                if let Some(escaped) = rest.chars().next() {
                    out.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
            }
            _ => {}
        }
    }
    out
}

/// A number somewhere inside: `number(v, "/metrics/ttft/mean")`.
pub(super) fn number(value: &Value, path: &str) -> Option<f64> {
    let found = value.pointer(path)?;
    let number = found.as_f64().or_else(|| found.as_str()?.parse().ok());
    number.filter(|n| n.is_finite())
}

/// A count somewhere inside.
pub(super) fn count(value: &Value, path: &str) -> Option<u64> {
    number(value, path).filter(|n| *n >= 0.0 && *n < 1e18).map(|n| n.round() as u64)
}

/// A text somewhere inside.
pub(super) fn text<'v>(value: &'v Value, path: &str) -> Option<&'v str> {
    value.pointer(path)?.as_str()
}

/// A list of numbers; what is no number is NaN.
pub(super) fn numbers(value: &Value, path: &str) -> Option<Vec<f64>> {
    let list = value.pointer(path)?.as_array()?;
    Some(list.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_read() {
        let text = r#"{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN \" Infinity", "d": 1}"#;
        let Some(Ok(Json::Document(value))) = parse("f", text) else { panic!("{:?}", parse("f", text)) };
        assert_eq!(value, serde_json::json!({"a": null, "b": [null, null], "c": "NaN \" Infinity", "d": 1}));
    }

    #[test]
    fn broken_lines_are_named() {
        let faults = parse("f", "{\"a\": 1}\n{\"a\": \n\n{\"a\": 2}\nx\n").unwrap().unwrap_err();
        let messages: Vec<&str> = faults.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(
            messages[0].starts_with("line 2 is not JSON") && messages[1].starts_with("line 5"),
            "{messages:?}"
        );
        let cut = parse("f", "{\"duration\": 1.5, \"ttfts\": [1, ").unwrap().unwrap_err();
        assert!(cut[0].message.contains("not JSON at line 1"), "{cut:?}");
    }

    #[test]
    fn logs_are_not_json() {
        for log in ["", "INFO 01-01 ..", "[2024-11-10 19:56:34] server_args=x\n{not json", "[TRT-LLM] [I] x"]
        {
            assert!(parse("f", log).is_none(), "{log}");
        }
    }
}
