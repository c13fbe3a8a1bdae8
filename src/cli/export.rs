//! `thawline export`: the Kubernetes objects that make a policy of a scenario real.

use std::io::{self, Write};
use std::path::Path;

use super::args::{ExportArgs, ExportKind};
use super::{Answer, Exit, console};
use crate::scenario::export::{Kind, Wanted, export};
use crate::scenario::{self};
use crate::yaml::Diagnostic;

pub(super) fn run(args: &ExportArgs) -> Answer {
    let scenario = scenario::load(&args.scenario, &args.sets)?;
    let resolved = scenario::resolve(&scenario, false)?;
    let wanted = Wanted {
        policy: args.policy.as_deref(),
        kind: args.kind.map(|kind| match kind {
            ExportKind::Hpa => Kind::Hpa,
            ExportKind::Keda => Kind::Keda,
            ExportKind::Knative => Kind::Knative,
        }),
        name: args.name.as_deref(),
        namespace: args.namespace.as_deref(),
        target: args.target.as_deref(),
        prometheus: &args.prometheus,
    };
    let text = export(&scenario, &resolved, &wanted)?.to_yaml();
    let Some(path) = &args.out else {
        console::print(&text);
        return Ok(Exit::Success);
    };
    write(path, &text).map_err(|error| {
        let shown = path.display().to_string();
        vec![Diagnostic::in_file("E0402", &shown, format!("cannot write it: {error}"))]
    })?;
    console::print(&format!("wrote {}\n", path.display()));
    Ok(Exit::Success)
}

/// All of the file or none: what was there stays until it is whole.
fn write(path: &Path, text: &str) -> io::Result<()> {
    // Something that is no file, a pipe for one, cannot be replaced, only written to.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, text);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
