//! One profile from several: each figure from the profile that knows it best, with its source.

use std::collections::BTreeSet;

use thawline::profile::memory::MemorySpec;
use thawline::profile::schema::{HostOverhead, MeasuredRange, Stage, StartUpStage, StepTimeSpec, Validation};
use thawline::profile::sourced::{Date, Provenance};
use thawline::profile::{Profile, Sourced};

use crate::{Fault, Result};

/// What came of a merge.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The profile; it has not been checked.
    pub profile: Profile,
    /// Each field that was chosen, and from which profile, by its place among them.
    pub chosen: Vec<(String, usize)>,
    /// What a reader should know.
    pub warnings: Vec<Fault>,
}

/// How good a figure is: measured before published before derived before assumed, then the
/// newer; less is better.
type Merit = (Provenance, std::cmp::Reverse<Option<Date>>);

fn merit<T>(sourced: &Sourced<T>) -> Merit {
    (sourced.provenance, std::cmp::Reverse(sourced.date))
}

/// Merges profiles of one model on one kind of GPU. Equally good figures are those of the
/// profile named first.
///
/// # Errors
/// Profiles of different models or GPUs, unless `force` is set: then those of the first hold.
pub fn merge(profiles: &[Profile], force: bool) -> Result<Merged> {
    let Some((first, others)) = profiles.split_first() else {
        return Err(vec![Fault::error("E0502", "no profile is named")]);
    };
    let (conflicts, mut warnings) = identity(first, others);
    if !conflicts.is_empty() {
        if !force {
            return Err(conflicts);
        }
        let softened = |mut fault: Fault| {
            (fault.severity, fault.code) = (thawline::yaml::Severity::Warning, "W0101");
            fault.help.clear();
            fault
        };
        warnings.splice(0..0, conflicts.into_iter().map(softened));
    }
    let mut pick = Pick { profiles, chosen: Vec::new() };
    let profile = Profile {
        description: description(profiles),
        host: profiles.iter().find_map(|p| p.host.clone()),
        driver: profiles.iter().find_map(|p| p.driver.clone()),
        start_up: pick.start_up(),
        image: pick.whole(
            "image",
            |p| p.image.as_ref(),
            |image| worst([merit(&image.layers), merit(&image.pull)]),
        ),
        first_requests: pick.figure("firstRequests", |p| p.first_requests.as_ref()),
        step_time: pick.step_time(),
        host_overhead: pick.host_overhead(),
        memory: pick.memory(),
        cpu: pick.whole(
            "cpu",
            |p| p.cpu.as_ref(),
            |cpu| worst([merit(&cpu.idle_cores), merit(&cpu.busy_cores)]),
        ),
        price_per_gpu_hour: pick.figure("pricePerGpuHour", |p| p.price_per_gpu_hour.as_ref()),
        validation: validations(profiles),
        ..first.clone()
    };
    Ok(Merged { profile, chosen: pick.chosen, warnings })
}

fn identity(first: &Profile, others: &[Profile]) -> (Vec<Fault>, Vec<Fault>) {
    let (mut conflicts, mut warnings) = (Vec::new(), Vec::new());
    let help = "--force takes those of the first profile";
    for other in others {
        let mut differ = |what: &str, a: String, b: String, code: &'static str| {
            let fault = Fault::error(code, format!("{} is of {what} {a}, {} of {b}", first.name, other.name));
            if a == b {
            } else if code == "W0101" {
                warnings.push(Fault { severity: thawline::yaml::Severity::Warning, ..fault });
            } else {
                conflicts.push(fault.helped(help));
            }
        };
        let gpu = |p: &Profile| format!("{} x {}, {} each", p.gpu.count, p.gpu.name, p.gpu.memory);
        let engine = |p: &Profile| format!("{} {}", p.engine.name, p.engine.version);
        differ("model", first.model.clone(), other.model.clone(), "E0502");
        differ("GPUs", gpu(first), gpu(other), "E0502");
        differ("engine", engine(first), engine(other), "W0101");
    }
    (conflicts, warnings)
}

fn description(profiles: &[Profile]) -> String {
    let mut seen = BTreeSet::new();
    let new = |text: &&str| !text.is_empty() && seen.insert((*text).to_owned());
    let parts: Vec<&str> = profiles.iter().map(|p| p.description.as_str()).filter(new).collect();
    parts.join(" Merged with: ")
}

/// The least good of several figures: what stands together is as good as that.
fn worst<const N: usize>(merits: [Merit; N]) -> Merit {
    merits.into_iter().max().unwrap_or((Provenance::Assumed, std::cmp::Reverse(None)))
}

fn validations(profiles: &[Profile]) -> Vec<Validation> {
    let mut all: Vec<Validation> = Vec::new();
    for validation in profiles.iter().flat_map(|p| &p.validation) {
        if !all.contains(validation) {
            all.push(validation.clone());
        }
    }
    all
}

/// Chooses among profiles, and keeps book.
struct Pick<'a> {
    profiles: &'a [Profile],
    chosen: Vec<(String, usize)>,
}

impl<'a> Pick<'a> {
    /// The best of what the profiles have, by a merit of one's own.
    fn best<T>(
        &mut self,
        field: &str,
        of: impl Fn(&'a Profile) -> Option<&'a T>,
        merit: impl Fn(&T) -> Merit,
    ) -> Option<(usize, &'a T)> {
        let known = self.profiles.iter().enumerate().filter_map(|(i, profile)| Some((i, of(profile)?)));
        let (i, value) = known.min_by_key(|(i, value)| (merit(value), *i))?;
        self.chosen.push((field.to_owned(), i));
        Some((i, value))
    }

    fn whole<T: Clone + 'a>(
        &mut self,
        field: &str,
        of: impl Fn(&'a Profile) -> Option<&'a T>,
        merit: impl Fn(&T) -> Merit,
    ) -> Option<T> {
        self.best(field, of, merit).map(|(_, value)| value.clone())
    }

    fn figure<T: Clone + 'a>(
        &mut self,
        field: &str,
        of: impl Fn(&'a Profile) -> Option<&'a Sourced<T>>,
    ) -> Option<Sourced<T>> {
        self.whole(field, of, merit)
    }

    /// Stage by stage. Where all profiles that know a stage part it alike, each part is chosen
    /// by itself; else the parts of one profile are taken together, or some would count twice.
    fn start_up(&mut self) -> Vec<StartUpStage> {
        let stages: BTreeSet<Stage> =
            self.profiles.iter().flat_map(|p| &p.start_up).map(|entry| entry.stage).collect();
        let mut merged = Vec::new();
        for stage in stages {
            let parts = |p: &'a Profile| -> Vec<&'a StartUpStage> {
                p.start_up.iter().filter(|entry| entry.stage == stage).collect()
            };
            let labels = |entries: &[&StartUpStage]| -> Vec<Option<String>> {
                entries.iter().map(|entry| entry.label.clone()).collect()
            };
            let known: Vec<(usize, Vec<&StartUpStage>)> = self
                .profiles
                .iter()
                .enumerate()
                .map(|(i, p)| (i, parts(p)))
                .filter(|(_, entries)| !entries.is_empty())
                .collect();
            let sets = known.iter().map(|(_, entries)| labels(entries));
            let alike = sets.clone().all(|set| Some(set) == sets.clone().next());
            let name = |entry: &StartUpStage| {
                let label = entry.label.as_ref().map(|label| format!(": {label}")).unwrap_or_default();
                format!("startUp[{}{label}]", entry.stage.label())
            };
            if alike {
                for part in 0..known.first().map_or(0, |(_, entries)| entries.len()) {
                    let best = known.iter().min_by_key(|(i, entries)| (merit(&entries[part].time), *i));
                    if let Some((i, entries)) = best {
                        self.chosen.push((name(entries[part]), *i));
                        merged.push(entries[part].clone());
                    }
                }
            } else {
                let merit = |entries: &[&StartUpStage]| entries.iter().map(|e| merit(&e.time)).max();
                if let Some((i, entries)) = known.iter().min_by_key(|(i, entries)| (merit(entries), *i)) {
                    self.chosen.push((format!("startUp[{}]", stage.label()), *i));
                    merged.extend(entries.iter().map(|entry| (*entry).clone()));
                }
            }
        }
        merged
    }

    /// Decode with its linear layers from one profile, since mixed steps subtract one from the
    /// other; prefill from one; the range of what was measured from both.
    fn step_time(&mut self) -> Option<StepTimeSpec> {
        let known = |p: &'a Profile| p.step_time.as_ref();
        let least = |grid: Option<Merit>, fit: Option<Merit>| {
            [grid, fit].into_iter().flatten().min().unwrap_or((Provenance::Assumed, std::cmp::Reverse(None)))
        };
        let decode = |spec: &StepTimeSpec| {
            least(spec.decode.grid.as_ref().map(merit), spec.decode.fit.as_ref().map(merit))
        };
        let prefill = |spec: &StepTimeSpec| {
            least(spec.prefill.grid.as_ref().map(merit), spec.prefill.max_planes.as_ref().map(merit))
        };
        let (_, by_decode) = self.best("stepTime.decode", known, decode)?;
        let (_, by_prefill) = self.best("stepTime.prefill", known, prefill)?;
        let measured = match (by_decode.measured, by_prefill.measured) {
            (Some(decode), Some(prefill)) => {
                Some(MeasuredRange { prefill_tokens: prefill.prefill_tokens, ..decode })
            }
            (decode, prefill) => decode.or(prefill),
        };
        Some(StepTimeSpec {
            decode: by_decode.decode.clone(),
            prefill: by_prefill.prefill.clone(),
            linear_layers: by_decode.linear_layers.clone(),
            measured,
        })
    }

    fn host_overhead(&mut self) -> Option<HostOverhead> {
        let host = |p: &'a Profile| p.host_overhead.as_ref();
        let merged = HostOverhead {
            per_request: self.figure("hostOverhead.perRequest", |p| host(p)?.per_request.as_ref()),
            per_step: self.figure("hostOverhead.perStep", |p| host(p)?.per_step.as_ref()),
            per_token: self.figure("hostOverhead.perToken", |p| host(p)?.per_token.as_ref()),
        };
        self.profiles.iter().any(|p| p.host_overhead.is_some()).then_some(merged)
    }

    fn memory(&mut self) -> Option<MemorySpec> {
        let memory = |p: &'a Profile| p.memory.as_ref();
        Some(MemorySpec {
            weights: self.figure("memory.weights", |p| Some(&memory(p)?.weights))?,
            kv_bytes_per_token: self
                .figure("memory.kvBytesPerToken", |p| Some(&memory(p)?.kv_bytes_per_token))?,
            reserve_per_gpu: self.figure("memory.reservePerGpu", |p| Some(&memory(p)?.reserve_per_gpu))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use thawline::kernel::{Distribution, SimDuration};
    use thawline::profile::shipped::find;

    use super::*;

    fn profile() -> Profile {
        find("l40s-llama3.1-8b-vllm").unwrap().profile()
    }

    /// The figure becomes another one of this provenance and date.
    fn change<T>(sourced: &mut Sourced<T>, provenance: Provenance, date: &str, value: impl FnOnce(&mut T)) {
        (sourced.provenance, sourced.date) = (provenance, Some(date.parse().unwrap()));
        value(&mut sourced.value);
    }

    fn source(merged: &Merged, field: &str) -> Option<usize> {
        merged.chosen.iter().find(|(name, _)| name == field).map(|(_, i)| *i)
    }

    #[test]
    fn a_profile_merged_with_itself_is_itself() {
        for shipped in thawline::profile::SHIPPED {
            let profile = shipped.profile();
            let merged = merge(&[profile.clone(), profile.clone()], false).unwrap();
            assert_eq!(merged.profile, profile, "{}", shipped.name);
            assert!(merged.warnings.is_empty() && merged.chosen.iter().all(|(_, i)| *i == 0));
        }
    }

    #[test]
    fn the_better_provenance_then_the_newer_date_then_the_first_wins() {
        let check = |a: (Provenance, &str), b: (Provenance, &str), expected: usize| {
            let (mut first, mut second) = (profile(), profile());
            change(&mut first.memory.as_mut().unwrap().weights, a.0, a.1, |w| w.0 = 1);
            change(&mut second.memory.as_mut().unwrap().weights, b.0, b.1, |w| w.0 = 2);
            let merged = merge(&[first, second], false).unwrap();
            let weights = merged.profile.memory.as_ref().unwrap().weights.value.0;
            assert_eq!((weights, source(&merged, "memory.weights")), (expected as u64 + 1, Some(expected)));
        };
        check((Provenance::Assumed, "2026-11-22"), (Provenance::Measured, "2020-01-01"), 1);
        check((Provenance::Published, "2020-01-01"), (Provenance::Derived, "2026-11-22"), 0);
        check((Provenance::Derived, "2026-11-22"), (Provenance::Assumed, "2026-11-22"), 0);
        check((Provenance::Measured, "2026-01-01"), (Provenance::Measured, "2026-01-02"), 1);
        check((Provenance::Measured, "2026-01-02"), (Provenance::Measured, "2026-01-02"), 0);
    }

    #[test]
    fn stages_that_are_parted_differently_are_not_counted_twice() {
        let (first, mut second) = (profile(), profile());
        let whole = first.start_up.iter().position(|s| s.stage == Stage::WeightLoad).unwrap();
        second.start_up.remove(whole + 1);
        second.start_up[whole].label = None;
        change(&mut second.start_up[whole].time, Provenance::Measured, "2026-11-22", |time| {
            *time = Distribution::Constant(SimDuration::from_secs(7));
        });
        // Nobody else knows of this one.
        second.start_up.retain(|s| s.stage != Stage::ImagePull);
        let merged = merge(&[first.clone(), second], false).unwrap();
        let loads: Vec<_> = merged.profile.start_up.iter().filter(|s| s.stage == Stage::WeightLoad).collect();
        assert_eq!(loads.len(), 1);
        assert_eq!(loads[0].time.value.median(), SimDuration::from_secs(7));
        assert_eq!(source(&merged, "startUp[weight load]"), Some(1));
        assert_eq!(source(&merged, "startUp[image pull]"), Some(0));
        assert_eq!(source(&merged, "startUp[warm-up: compile]"), Some(0));
        assert!(merged.profile.start_up.is_sorted_by_key(|s| s.stage));
    }

    #[test]
    fn other_models_and_gpus_are_refused_and_other_engines_pointed_out() {
        let (first, mut second) = (profile(), profile());
        second.model = "another".to_owned();
        second.gpu.count = 2;
        second.engine.version = "9".to_owned();
        let faults = merge(&[first.clone(), second.clone()], false).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].message.contains("of model Llama-3.1-8B BF16, l40s-llama3.1-8b-vllm of another"));
        assert!(faults.iter().all(|f| f.code == "E0502" && f.help[0].contains("--force")));
        let merged = merge(&[first.clone(), second], true).unwrap();
        assert_eq!((merged.profile.model, merged.profile.gpu), (first.model, first.gpu));
        assert_eq!(merged.warnings.len(), 3, "{:?}", merged.warnings);
        assert!(merge(&[], false).is_err());
    }
}
