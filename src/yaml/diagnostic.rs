//! A fault or a warning as data: a code, a sentence, a place, and the mend.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Nothing runs.
    Error,
    /// It runs; the reader should know.
    Warning,
}

/// A place in a text, with the line it is on, so that showing it needs no file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, as the user named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Characters; 0 points between two.
    pub len: usize,
    /// The line itself; empty if it is not worth showing.
    pub line_text: String,
}

/// Longer lines are not shown, bytes.
const EXCERPT_BYTES_MAX: usize = 16 << 10;

impl Place {
    /// Bytes `start..end` of a text, cut to the first line.
    pub(super) fn in_text(file: &str, text: &str, start: usize, end: usize) -> Self {
        let mut start = start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line_text = text[line_start..line_end].trim_end_matches('\r');
        let mut end = end.clamp(start, line_start + line_text.len().max(start - line_start));
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let marked = text[start..end].trim_end();
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            len: marked.chars().count(),
            line_text: if line_text.len() > EXCERPT_BYTES_MAX { String::new() } else { line_text.to_owned() },
        }
    }
}

/// A fault or a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A code of [`super::CODES`].
    pub code: &'static str,
    /// What is wrong: one sentence, no full stop.
    pub message: String,
    /// Where; `None` if no text is at fault.
    pub place: Option<Place>,
    /// Written beside the carets.
    pub label: String,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            place: None,
            label: String::new(),
            help: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// An error in a file that is not YAML, such as a row of a trace. `line` and `column` count
    /// from 1, `column` and `len` in characters.
    pub fn at(
        code: &'static str,
        file: &str,
        line: usize,
        column: usize,
        len: usize,
        line_text: &str,
        message: impl Into<String>,
    ) -> Self {
        let line_text = if line_text.len() > EXCERPT_BYTES_MAX { "" } else { line_text };
        let place = Place {
            file: file.to_owned(),
            line: line.max(1),
            column: column.max(1),
            len,
            line_text: line_text.trim_end_matches(['\r', '\n']).to_owned(),
        };
        Self::error(code, message).placed(place)
    }

    /// An error in a whole file, such as one that cannot be opened.
    pub fn in_file(code: &'static str, file: &str, message: impl Into<String>) -> Self {
        let place = Place { file: file.to_owned(), line: 0, column: 0, len: 0, line_text: String::new() };
        Self::error(code, message).placed(place)
    }

    /// The same at a place.
    #[must_use]
    pub fn placed(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same with words beside the carets.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with a piece of advice.
    #[must_use]
    pub fn helped(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The same with ``did you mean `x`?`` beside the carets, if one of `names` is close to `word`.
    #[must_use]
    pub fn suggesting<'a>(self, word: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match suggest(word, names) {
            Some(name) => self.labelled(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// The one of `names` that `word` most likely meant.
pub fn suggest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // People write `max_nodes` and `MaxNodes` for `maxNodes`; that is no distance at all.
    let bare = |text: &str| text.replace(['-', '_', ' '], "").to_lowercase();
    let word = bare(word);
    // The length first: no distance is worth computing for a text that long.
    let longest = (word.len() <= 64).then_some((word.chars().count() / 3).max(1))?;
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &bare(name)), name))
        .filter(|(distance, _)| *distance <= longest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(suggest(word, ["fixed", "hpa", "maxNodes", "warmPool"]), expected, "{word}");
        };
        check("fixd", Some("fixed"));
        check("max_nodes", Some("maxNodes"));
        check("warm-pool", Some("warmPool"));
        check("hap", Some("hpa"));
        check("knative", None);
        check("", None);
    }

    #[test]
    fn places_count_characters_and_stay_on_one_line() {
        let text = "a: 1\r\nnäme: [x,\n  y]\n";
        let start = text.find('[').unwrap();
        let place = Place::in_text("f.yaml", text, start, text.len());
        assert_eq!((place.line, place.column, place.len), (2, 7, 3));
        assert_eq!(place.line_text, "näme: [x,");
        let end = Place::in_text("f.yaml", text, 999, 1000);
        assert_eq!((end.line, end.column, end.len), (4, 1, 0));
        let carriage_return = Place::in_text("f.yaml", text, 4, 5);
        assert_eq!((carriage_return.line, carriage_return.column, carriage_return.len), (1, 5, 0));
    }
}
