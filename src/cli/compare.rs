//! `thawline compare`: an outcome against another.

use super::args::{CompareArgs, CompareFormat};
use super::baseline::{metrics, no_common_policy, read, rules};
use super::{Answer, Exit, console};
use crate::report::comparison::{Options, Shown};
use crate::report::{Baseline, Comparison, comparison_files, comparison_text};
use crate::yaml::Diagnostic;

pub(super) fn run(args: &CompareArgs) -> Answer {
    let mut faults = Vec::new();
    let mut or_faults = |found: Vec<Diagnostic>| faults.extend(found);
    let rules = rules(&args.fail_on).map_err(&mut or_faults);
    let shown = metrics(&args.metrics).map_err(&mut or_faults);
    let base = read(&args.base).map_err(|fault| or_faults(vec![fault]));
    let new = args.new.as_deref().map(|path| read(path).map_err(|fault| or_faults(vec![fault]))).transpose();
    let (Ok((rules, drift)), Ok(shown), Ok(base), Ok(new)) = (rules, shown, base, new) else {
        return Err(faults);
    };
    let shown = match shown {
        None => Shown::All,
        Some(_) if args.metrics.is_empty() => Shown::Usual,
        Some(these) => Shown::These(these),
    };
    let pair = pair(args, &base, new.as_ref())?;
    let options = Options { level: args.level, shown, rules, drift, pair };
    let base_name = args.base.display().to_string();
    let new_name = args.new.as_ref().map_or(base_name.clone(), |path| path.display().to_string());
    let comparison = Comparison::new((&base_name, &new_name), &base, new.as_ref().unwrap_or(&base), &options);
    console::print(&text(&comparison, args.format));
    Ok(if comparison.fails() && !args.exit_zero { Exit::Failed } else { Exit::Success })
}

fn text(comparison: &Comparison, format: CompareFormat) -> String {
    let mut text = Vec::new();
    match format {
        CompareFormat::Json => return comparison_files::json(comparison),
        CompareFormat::Text => comparison_text::write(comparison, true, &mut text),
        CompareFormat::Markdown => comparison_files::markdown(comparison, &mut text),
    }
    .expect("memory takes what is written to it");
    String::from_utf8_lossy(&text).into_owned()
}

/// The two policies that are meant; `None` for all by their names.
fn pair(
    args: &CompareArgs,
    base: &Baseline,
    new: Option<&Baseline>,
) -> Result<Option<(String, String)>, Vec<Diagnostic>> {
    let other = new.unwrap_or(base);
    let (from, to) = match (&args.base_policy, &args.policy) {
        (None, None) if new.is_none() => {
            let fault = Diagnostic::error("E0905", "a file compared with itself says nothing");
            let help = "name a second outcome.json, or two policies of this one: --base-policy A --policy B";
            return Err(vec![fault.helped(help)]);
        }
        (None, None) => {
            if other.policies.iter().any(|policy| base.policy(&policy.name).is_some()) {
                return Ok(None);
            }
            return Err(vec![no_common_policy(&base.names(), &other.names())]);
        }
        (Some(name), None) | (None, Some(name)) => (name.clone(), name.clone()),
        (Some(from), Some(to)) => (from.clone(), to.clone()),
    };
    if new.is_none() && from == to {
        let fault = Diagnostic::error("E0905", format!("`{from}` compared with itself says nothing"));
        return Err(vec![fault.helped("name two policies: --base-policy A --policy B")]);
    }
    let sides = [("base", "--base-policy", base, &from), ("new side", "--policy", other, &to)];
    let missing = sides.into_iter().filter(|(.., of, name)| of.policy(name).is_none());
    let faults: Vec<Diagnostic> = missing
        .map(|(side, flag, of, name)| {
            let names = of.names();
            Diagnostic::error("E0905", format!("{flag}: the {side} has no policy `{name}`"))
                .helped(format!("one of {}", names.join(", ")))
        })
        .collect();
    if faults.is_empty() { Ok(Some((from, to))) } else { Err(faults) }
}
