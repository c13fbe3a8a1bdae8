//! From YAML text to a checked profile, with every fault at its place.

use super::check::{Fault, Severity};
use super::schema::Profile;
use super::shipped::Shipped;
use crate::yaml::{self, Diagnostic, Document, Path};

impl Profile {
    /// Reads and checks a profile; `file` names it in diagnostics. The second value holds warnings.
    ///
    /// # Errors
    /// Everything that is wrong with it, warnings included, in the order of the text or of the check.
    pub fn from_yaml(file: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let document = Document::parse(file, text)?;
        Self::from_document(&document)
    }

    /// The same from a document that is parsed already.
    ///
    /// # Errors
    /// As [`Profile::from_yaml`].
    pub fn from_document(document: &Document) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let profile: Self = yaml::read(document)?;
        let faults = profile.check();
        let refused = faults.iter().any(|f| f.severity == Severity::Error);
        let diagnostics = faults.iter().map(|fault| diagnostic(document, fault)).collect();
        if refused { Err(diagnostics) } else { Ok((profile, diagnostics)) }
    }
}

impl Shipped {
    /// The profile itself.
    ///
    /// # Panics
    /// Never: a test reads every shipped profile.
    pub fn profile(&self) -> Profile {
        let (profile, _) =
            Profile::from_yaml(self.name, self.text).expect("a test reads every shipped profile");
        profile
    }
}

fn diagnostic(document: &Document, fault: &Fault) -> Diagnostic {
    let path = Path::parse(&fault.path).expect("the check writes paths as Path reads them");
    let code = match fault.severity {
        Severity::Warning => "W0101",
        Severity::Error if fault.path == "memory" => "E0501",
        Severity::Error => "E0502",
    };
    let placed = document.fault(code, &path, &fault.message).labelled(&fault.path).helped(&fault.help);
    match fault.severity {
        Severity::Error => placed,
        Severity::Warning => Diagnostic { severity: yaml::Severity::Warning, ..placed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SHIPPED;
    use crate::profile::sourced::Provenance;

    #[test]
    fn every_shipped_profile_is_sound_and_says_where_its_figures_come_from() {
        for shipped in SHIPPED {
            let (profile, warnings) = Profile::from_yaml(shipped.name, shipped.text)
                .unwrap_or_else(|faults| panic!("{}", yaml::render(&faults, yaml::Style::Plain)));
            assert_eq!(warnings, [], "{}", shipped.name);
            assert_eq!(profile.name, shipped.name);
            assert!(profile.kv_cache_tokens(0.92).unwrap() > 10_000, "{}", shipped.name);
            if profile.step_time.is_some() {
                let (_, max_num_seqs) = profile.default_budget();
                assert_eq!(profile.step_cost(max_num_seqs).unwrap().max_batch(), max_num_seqs);
            }
            // Nothing that is shipped was measured by this project, and each figure names its source.
            assert_eq!(profile.trust().measured, 0, "{}", shipped.name);
            let vague = |origin: &crate::profile::sourced::Origin<'_>| {
                origin.provenance != Provenance::Assumed && origin.source.is_none()
            };
            assert!(!profile.rows().iter().filter_map(|r| r.origin).any(|o| vague(&o)), "{}", shipped.name);
        }
    }

    #[test]
    fn the_worked_example_has_its_pinned_times() {
        let profile = crate::profile::shipped::find("small-7b-worked-example").unwrap().profile();
        let stages: Vec<String> =
            profile.stages().map(|(phase, time)| format!("{} {}", phase.label(), time.median())).collect();
        assert_eq!(stages, ["image pull 40s", "weights loading 25s", "warming up 6s"]);
        assert_eq!(profile.penalties(), [crate::kernel::SimDuration::from_secs(6)]);
    }

    #[test]
    fn all_faults_come_at_once_at_their_places() {
        let text = crate::profile::shipped::find("a10g-llama3-8b-vllm").unwrap().text;
        let faults = |text: &str| -> Vec<(usize, &str, String)> {
            let faults = Profile::from_yaml("p.yaml", text).unwrap_err();
            faults.into_iter().map(|f| (f.place.map_or(0, |p| p.line), f.code, f.message)).collect()
        };
        let line = |needle: &str| 1 + text.lines().position(|l| l.contains(needle)).unwrap();
        let broken =
            text.replace("count: 1,", "count: 0,").replace("perSequenceUs: 100", "perSequenceUs: -100");
        let found = faults(&broken);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].0, found[0].1), (line("count: 1,"), "E0502"));
        assert_eq!((found[1].0, found[1].1), (line("perSequenceUs: 100"), "E0502"));

        let broken = text.replace("memory: 23028Mi", "memory: 15Gi");
        let found = faults(&broken);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].0, found[0].1),
            (1 + text.lines().position(|l| l == "memory:").unwrap(), "E0501")
        );
        assert!(found[0].2.contains("weights 16.1 GB + reserve 1.5 GB = 17.6 GB"), "{found:?}");

        let broken = text
            .replace("provenance: derived", "provenance: guessed")
            .replace("stage: warmUp", "stage: warmup");
        let found = faults(&broken);
        assert!(found.len() >= 3 && found.iter().all(|f| f.1 == "E0203"), "{found:?}");
    }
}
