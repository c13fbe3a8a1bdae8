//! Files that commands read and write: profiles by path or name, results whole or not at all.

use std::path::Path;

use thawline::profile::{Profile, shipped};

use crate::{Fault, Result, fault};

/// Reads and checks a profile: a file, or the name of one that comes with Thawline. The second
/// value holds warnings.
pub(super) fn read_profile(named: &str) -> Result<(Profile, Vec<Fault>)> {
    if let Some(shipped) = shipped::find(named).filter(|_| !Path::new(named).exists()) {
        return Ok((shipped.profile(), Vec::new()));
    }
    let unreadable = |e| vec![Fault::in_file("E0401", named, format!("cannot read the profile: {e}"))];
    let bytes = std::fs::read(named).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        vec![Fault::in_file("E0101", named, format!("byte {at} is not UTF-8 text"))]
    })?;
    Profile::from_yaml(named, &text)
}

/// Has `fill` write a file beside `path`, which then takes its place as a whole.
///
/// # Errors
/// A file that is there already, unless `force` is set; what `fill` and the disk say.
pub(super) fn write(path: &Path, force: bool, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let failed = |e: std::io::Error| fault("E0402", format!("cannot write {}: {e}", path.display()));
    if path.exists() && !force {
        let why = format!("{} is there already", path.display());
        return Err(vec![
            Fault::error("E0402", why).helped("name another file, or give --force to replace it"),
        ]);
    }
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Writers of pictures go by the ending.
    let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let staged = tempfile::Builder::new().prefix(".thawline-").suffix(&ending).tempfile_in(folder);
    let staged = staged.map_err(failed)?.into_temp_path();
    fill(&staged)?;
    share(&staged).and_then(|()| staged.persist(path).map_err(|e| e.error)).map_err(failed)
}

/// The same with a text.
pub(super) fn write_text(path: &Path, force: bool, text: &str) -> Result<()> {
    write(path, force, |staged| {
        std::fs::write(staged, text)
            .map_err(|e| fault("E0402", format!("cannot write {}: {e}", path.display())))
    })
}

/// A temporary file is its owner's alone; a result is for everybody the folder is for.
#[cfg(unix)]
fn share(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_: &Path) -> std::io::Result<()> {
    Ok(())
}
