//! A profile as a page of text for people, the same in every program that shows one; and
//! the tables such pages are made of.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::schema::Profile;
use super::show::{OLD_DAYS, Row};
use super::sourced::{Date, Origin};

impl Profile {
    /// Everything it says, as text: its figures, then where they come from, and what to doubt.
    pub fn page(&self, today: Date) -> String {
        let figures = self.rows();
        let mut sources = Sources::default();
        let rows: Vec<Vec<String>> = figures
            .iter()
            .map(|row| {
                let kind = row.origin.map_or("", |origin| origin.provenance.label());
                vec![row.field.clone(), row.value.clone(), kind.to_owned(), row.age(today), sources.mark(row)]
            })
            .collect();
        let mut out = format!("{}\n", self.label());
        if !self.description.is_empty() {
            _ = writeln!(out, "{}", self.description);
        }
        let cold = self.cold_start_median().as_secs_f64();
        _ = writeln!(out, "cold start about {cold:.0}s (sum of medians) · figures: {}\n", self.trust());
        out.push_str(&table(&["FIGURE", "VALUE", "PROVENANCE", "AGE", "SOURCE"], rows, &[3]));
        let old =
            figures.iter().filter(|row| row.age_days(today).is_some_and(|days| days > OLD_DAYS)).count();
        if old > 0 {
            _ = writeln!(out, "\n{old} of these figures are older than a year: prices and engines move");
        }
        let trust = self.trust();
        if trust.assumed * 2 > trust.total() {
            _ = writeln!(
                out,
                "\n{} of {} figures are assumed: nobody measured them",
                trust.assumed,
                trust.total()
            );
        }
        let listed = sources.list();
        if !listed.is_empty() {
            _ = write!(out, "\nSOURCES\n{}", table(&["", ""], listed, &[]));
        }
        let notes: Vec<Vec<String>> = figures
            .iter()
            .filter_map(|row| Some(vec![row.field.clone(), row.origin?.note?.to_owned()]))
            .collect();
        if !notes.is_empty() {
            _ = write!(out, "\nNOTES\n{}", table(&["", ""], notes, &[]));
        }
        out
    }
}

/// The sources of a profile's figures, each once, in the order they first occur.
#[derive(Default)]
struct Sources<'a>(Vec<(&'a str, Option<Date>)>);

impl<'a> Sources<'a> {
    /// The number of the row's source, as the list below the table has it.
    fn mark(&mut self, row: &Row<'a>) -> String {
        let Some(Origin { source: Some(source), date, .. }) = row.origin else { return String::new() };
        let known = self.0.iter().position(|known| *known == (source, date));
        let index = known.unwrap_or_else(|| {
            self.0.push((source, date));
            self.0.len() - 1
        });
        format!("[{}]", index + 1)
    }

    fn list(&self) -> Vec<Vec<String>> {
        let line = |(index, (source, date)): (usize, &(&str, Option<Date>))| {
            let dated = date.map_or_else(String::new, |date| format!(" ({date})"));
            vec![format!("[{}]", index + 1), format!("{source}{dated}")]
        };
        self.0.iter().enumerate().map(line).collect()
    }
}

/// Width where nothing tells another: fits a page, a log and most terminals.
const WIDTH: u16 = 100;

/// A table under `header`; the columns named by `right` hold numbers.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let width = table.width().unwrap_or(WIDTH).clamp(80, 120);
    table.set_width(width);
    if header.iter().any(|name| !name.is_empty()) {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index == 0 {
            // Names are copied from here: they stay in one piece.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SHIPPED;

    #[test]
    fn columns_line_up_and_long_cells_wrap() {
        let rows = vec![vec!["a".to_owned(), "7".to_owned()], vec!["bcd".to_owned(), "1,024".to_owned()]];
        assert_eq!(table(&["name", "n"], rows, &[1]), "name      n\na         7\nbcd   1,024\n");
        let long = table(&["", ""], [vec!["a".to_owned(), "word ".repeat(60)]], &[]);
        assert!(long.lines().count() >= 3 && long.lines().all(|line| line.chars().count() <= 120), "{long}");
    }

    #[test]
    fn a_page_holds_every_figure_and_every_source() {
        for shipped in SHIPPED {
            let profile = shipped.profile();
            let page = profile.page("2028-01-01".parse().unwrap());
            assert!(page.starts_with(&profile.label()), "{page}");
            assert!(page.lines().all(|line| line.chars().count() <= 200), "{page}");
            // Cells wrap: words are compared, not lines.
            let words: Vec<&str> = page.split_whitespace().collect();
            for row in profile.rows() {
                for word in row.field.split_whitespace().chain(row.value.split_whitespace()) {
                    assert!(words.iter().any(|w| w.contains(word)) || word.len() > 20, "{word}: {page}");
                }
            }
            let sourced = profile.rows().iter().filter_map(|r| r.origin?.source.map(|_| ())).count();
            assert_eq!(sourced > 0, page.contains("\nSOURCES\n[1]"), "{page}");
        }
    }

    #[test]
    fn old_figures_are_pointed_out() {
        let profile = crate::profile::shipped::find("h200-llama3.1-70b-fp8-vllm").unwrap().profile();
        assert!(profile.page("2036-01-01".parse().unwrap()).contains("older than a year"));
    }
}
