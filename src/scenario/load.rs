//! A scenario file to a checked scenario.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::fault::in_order;
use super::manifest::{self, Found};
use super::spec::{GateSpec, ScenarioSpec};
use crate::experiment::{Gate, GateError};
use crate::profile::{Profile, SHIPPED, shipped};
use crate::yaml::{self, Diagnostic, Document};

/// A scenario that was read and makes sense; nothing of what it refers to is read yet.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it says.
    pub spec: ScenarioSpec,
    /// Where it says so: diagnostics of later checks point into it.
    pub document: Document,
    /// The directory that its paths are relative to.
    pub directory: PathBuf,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// Warnings about what it says, with their places; nothing of it keeps it from running.
    pub notes: Vec<Diagnostic>,
    /// The manifests whose values stand in it, as it names them.
    pub manifests: Vec<String>,
}

impl Scenario {
    /// A path of the scenario, relative to the scenario's directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The profile it names, a file or a shipped one, with warnings about it.
    pub fn read_profile(&self) -> Result<(Profile, Vec<Diagnostic>), Vec<Diagnostic>> {
        read_profile(&self.spec.profile, &self.directory, |message| {
            self.document
                .fault("E0401", &yaml::Path::keys(["profile"]), message)
                .helped("paths are relative to the scenario")
        })
    }
}

/// A profile by the path of its file below `directory`, else by the name of a shipped one, with warnings
/// about it. `unreadable` makes a fault of the message that there is neither.
pub fn read_profile(
    named: &str,
    directory: &Path,
    unreadable: impl FnOnce(String) -> Diagnostic,
) -> Result<(Profile, Vec<Diagnostic>), Vec<Diagnostic>> {
    let path = directory.join(named);
    let error = match std::fs::read(&path) {
        Ok(bytes) => {
            let name = path.display().to_string();
            return Profile::from_yaml(&name, &utf8(bytes, &name)?);
        }
        Err(error) => error,
    };
    if let Some(shipped) = shipped::find(named) {
        return Profile::from_yaml(shipped.name, shipped.text);
    }
    let fault = unreadable(format!("cannot read the profile `{named}`: {}", why(&error)))
        .suggesting(named, SHIPPED.iter().map(|shipped| shipped.name));
    Err(vec![fault.helped("`thawline profile list` shows what is shipped")])
}

/// Reads a scenario from a file, with `path=value` assignments written over it.
pub fn load(path: &Path, sets: &[String]) -> Result<Scenario, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = read_text(path, &name)?;
    let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
    parse(&name, &text, sets, directory)
}

/// Reads a scenario from a text; see [`load`].
pub fn parse(
    name: &str,
    text: &str,
    sets: &[String],
    directory: PathBuf,
) -> Result<Scenario, Vec<Diagnostic>> {
    let mut document = Document::parse(name, text)?;
    // What an assignment goes into may come with a manifest, and a manifest with an assignment.
    let (_, late): (Vec<&String>, Vec<&String>) =
        sets.iter().partition(|assignment| document.set(assignment).is_ok());
    let Found { mut faults, notes, files: manifests, .. } = manifest::inline(&mut document, &directory);
    for assignment in late {
        faults.extend(document.set(assignment).err().unwrap_or_default());
    }
    match yaml::read::<ScenarioSpec>(&document) {
        Ok(spec) => {
            // What cannot be read as a gate is reported by the check.
            let gates = spec.gates.iter().filter_map(|gate| bound(gate).ok()).collect();
            let scenario = Scenario { spec, document, directory, gates, notes, manifests };
            if faults.is_empty() { Ok(scenario) } else { Err(in_order(faults, name)) }
        }
        Err(mut found) => {
            found.extend(faults);
            Err(in_order(found, name))
        }
    }
}

fn bound(spec: &GateSpec) -> Result<Gate, GateError> {
    let policies = (!spec.policies.is_empty()).then(|| spec.policies.clone());
    Ok(Gate { policies, ..Gate::parse(&spec.gate)? })
}

fn read_text(path: &Path, name: &str) -> Result<String, Vec<Diagnostic>> {
    let bytes = std::fs::read(path).map_err(|error| {
        vec![Diagnostic::in_file("E0401", name, format!("cannot read the scenario: {}", why(&error)))]
    })?;
    utf8(bytes, name)
}

/// A text, or the place of the first byte that keeps it from being one.
pub(super) fn utf8(bytes: Vec<u8>, name: &str) -> Result<String, Vec<Diagnostic>> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..good];
        let line = before.split(|byte| *byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let byte = error.as_bytes()[good];
        let message = format!("the file is not UTF-8 text: byte 0x{byte:02x}");
        vec![Diagnostic::at("E0101", name, line, column, 1, "", message).helped("save it as UTF-8")]
    })
}

/// Why a file cannot be read, in the same words on every platform.
pub(super) fn why(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
