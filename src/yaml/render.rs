//! Diagnostics as text, in the style compilers have taught everyone to read.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Place, Severity};

/// How the text is dressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// ANSI colours.
    Coloured,
}

/// Renders diagnostics, an empty line between two. Ends with a line feed unless there is none.
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    let shown: Vec<String> = diagnostics.iter().map(|diagnostic| one(&renderer, diagnostic)).collect();
    let mut text = shown.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let first = match &diagnostic.place {
        None => Group::with_title(title),
        Some(place) if place.line == 0 => title.element(Origin::path(place.file.as_str())),
        Some(place) if place.line_text.is_empty() => {
            title.element(Origin::path(place.file.as_str()).line(place.line).char_column(place.column))
        }
        Some(place) => title.element(excerpt(place, &diagnostic.label)),
    };
    let help =
        diagnostic.help.iter().map(|help| Group::with_title(Level::HELP.secondary_title(help.as_str())));
    let groups: Vec<Group<'_>> = std::iter::once(first).chain(help).collect();
    let text = renderer.render(&groups);
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    // The gutter's last bar between an excerpt and its help says nothing.
    let bar = (1..lines.len())
        .find(|at| visible(lines[*at]).starts_with("help:") && visible(lines[at - 1]).trim() == "|");
    if let Some(at) = bar {
        lines.remove(at - 1);
    }
    lines.join("\n")
}

/// A line without its escape sequences.
fn visible(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or("").to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
}

fn excerpt<'a>(place: &'a Place, label: &'a str) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let byte = |chars: usize| {
        place.line_text.char_indices().nth(chars).map_or(place.line_text.len(), |(offset, _)| offset)
    };
    let start = byte(place.column - 1);
    let span = start..byte(place.column - 1 + place.len).max(start);
    let mark = AnnotationKind::Primary.span(span);
    Snippet::source(place.line_text.as_str())
        .line_start(place.line)
        .path(place.file.as_str())
        .annotation(if label.is_empty() { mark } else { mark.label(label) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look() {
        let fault = Diagnostic::at(
            "E0203",
            "scenarios/evening-spike.yaml",
            14,
            5,
            6,
            "    knativ: { target: 8 }",
            "unknown policy `knativ`",
        )
        .suggesting("knativ", ["fixed", "knative"])
        .helped("one of fixed, hpa, keda, knative");
        insta::assert_snapshot!(render(&[fault], Style::Plain), @r##"
          error[E0203]: unknown policy `knativ`
            --> scenarios/evening-spike.yaml:14:5
             |
          14 |     knativ: { target: 8 }
             |     ^^^^^^ did you mean `knative`?
          help: one of fixed, hpa, keda, knative
        "##);
    }

    #[test]
    fn without_an_excerpt() {
        let file = Diagnostic::in_file("E0401", "missing.yaml", "cannot read `missing.yaml`");
        let bare =
            Diagnostic::warning("W0107", "3.1% of steps ran beyond the profile").helped("measure more");
        let far = Diagnostic::at("E0102", "x.yaml", 3, 70, 1, "", "this is not YAML");
        insta::assert_snapshot!(render(&[file, bare, far], Style::Plain), @r##"
          error[E0401]: cannot read `missing.yaml`
          --> missing.yaml

          warning[W0107]: 3.1% of steps ran beyond the profile
          help: measure more

          error[E0102]: this is not YAML
          --> x.yaml:3:70
        "##);
    }

    #[test]
    fn colours_are_only_in_the_coloured_style() {
        let fault = Diagnostic::error("E0102", "this is not YAML");
        assert!(render(std::slice::from_ref(&fault), Style::Coloured).contains('\u{1b}'));
        assert!(!render(&[fault], Style::Plain).contains('\u{1b}'));
    }
}
