//! `thawline profile`: what profiles hold, and how far each figure is to be trusted.

use std::fmt::Write as _;
use std::path::Path;

use super::args::{ProfileArgs, ProfileCommand};
use super::columns::table;
use super::{Answer, Exit, console};
use crate::profile::show::{OLD_DAYS, Row};
use crate::profile::sourced::{Date, Origin};
use crate::profile::{Profile, SHIPPED};
use crate::scenario::read_profile;
use crate::yaml::Diagnostic;

pub(super) fn run(args: &ProfileArgs) -> Answer {
    let today = Date::from(jiff::Zoned::now().date());
    match &args.command {
        ProfileCommand::List => list(),
        ProfileCommand::Show { profile } => {
            let (profile, warnings) = read(profile)?;
            console::print(&page(&profile, today));
            console::report(&warnings);
        }
        ProfileCommand::Check { file } => {
            let (profile, warnings) = read(&file.to_string_lossy())?;
            console::print(&format!("{}: no faults ({})\n", profile.label(), profile.trust()));
            console::report(&warnings);
        }
    }
    Ok(Exit::Success)
}

fn read(named: &str) -> Result<(Profile, Vec<Diagnostic>), Vec<Diagnostic>> {
    read_profile(named, Path::new(""), |message| Diagnostic::error("E0401", message))
}

fn list() {
    let rows = SHIPPED.iter().map(|shipped| {
        let profile = shipped.profile();
        vec![
            shipped.name.to_owned(),
            profile.model.clone(),
            format!("{} x {}", profile.gpu.count, profile.gpu.name),
            format!("{:.0}s", profile.cold_start_median().as_secs_f64()),
            profile.trust().to_string(),
        ]
    });
    console::print(&table(&["NAME", "MODEL", "GPUS", "COLD START", "FIGURES"], rows, &[3]));
    console::print("\n`thawline profile show NAME` shows each figure with its source and age.\n");
}

/// Everything a profile says: its figures, then where they come from.
fn page(profile: &Profile, today: Date) -> String {
    let figures = profile.rows();
    let mut sources = Sources::default();
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|row| {
            let kind = row.origin.map_or("", |origin| origin.provenance.label());
            vec![row.field.clone(), row.value.clone(), kind.to_owned(), row.age(today), sources.mark(row)]
        })
        .collect();
    let mut out = format!("{}\n", profile.label());
    if !profile.description.is_empty() {
        _ = writeln!(out, "{}", profile.description);
    }
    let cold = profile.cold_start_median().as_secs_f64();
    _ = writeln!(out, "cold start about {cold:.0}s (sum of medians) · figures: {}\n", profile.trust());
    out.push_str(&table(&["FIGURE", "VALUE", "PROVENANCE", "AGE", "SOURCE"], rows, &[3]));
    let old = figures.iter().filter(|row| row.age_days(today).is_some_and(|days| days > OLD_DAYS)).count();
    if old > 0 {
        _ = writeln!(out, "\n{old} of these figures are older than a year: prices and engines move");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_every_figure_and_every_source() {
        for shipped in SHIPPED {
            let profile = shipped.profile();
            let page = page(&profile, "2028-01-01".parse().unwrap());
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
        assert!(page(&profile, "2036-01-01".parse().unwrap()).contains("older than a year"));
    }
}
