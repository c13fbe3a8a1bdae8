//! An output directory is replaced as a whole, or not at all.

use super::*;
use crate::report::fixture;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn summary() -> Summary {
    Summary::new(fixture::experiment())
}

#[test]
fn all_files_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("reports/evening-spike");
    let outputs = Outputs::prepare(&dir, &["resolved.yaml"]).unwrap();
    assert!(!dir.exists(), "nothing is seen of it before it is whole");
    let written = outputs.write(&summary(), &[("resolved.yaml", b"name: x\n")]).unwrap();
    let expected = [
        "decisions.csv",
        "decisions.txt",
        "facts.digest",
        "outcome.json",
        "report.html",
        "resolved.yaml",
        "runs.csv",
        "starts.csv",
        "summary.md",
        "timeline.csv",
    ];
    assert_eq!(names(&dir), expected);
    assert_eq!(listed(&written), format!("{} and 9 more", dir.join("report.html").display()));
    assert_eq!(fs::read(dir.join("resolved.yaml")).unwrap(), b"name: x\n");
}

#[test]
fn the_same_bytes_again_and_other_files_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("notes.txt"), "mine").unwrap();
    fs::write(root.path().join("outcome.json"), "old").unwrap();
    let write = || {
        Outputs::prepare(root.path(), &[]).unwrap().write(&summary(), &[]).unwrap();
        fs::read(root.path().join("outcome.json")).unwrap()
    };
    let first = write();
    assert_ne!(first, b"old");
    assert_eq!(first, write());
    assert_eq!(fs::read(root.path().join("notes.txt")).unwrap(), b"mine");
}

#[cfg(unix)]
#[test]
fn files_have_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("plain"), "").unwrap();
    Outputs::prepare(root.path(), &[]).unwrap().write(&summary(), &[]).unwrap();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("outcome.json"), mode("plain"));
}

#[test]
fn what_was_made_goes_if_nothing_is_written() {
    let root = tempfile::tempdir().unwrap();
    drop(Outputs::prepare(&root.path().join("a/b"), &[]).unwrap());
    assert!(names(root.path()).is_empty());
    // A directory that was there stays.
    drop(Outputs::prepare(root.path(), &[]).unwrap());
    assert!(root.path().is_dir());
}

#[test]
fn a_file_cannot_be_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let error = Outputs::prepare(&dir, &[]).unwrap_err();
        assert!(matches!(error, OutputsError::Create { .. }), "{error}");
    }
    assert_eq!(names(root.path()), ["file"]);
}

#[test]
fn a_directory_where_a_file_belongs_is_found_first() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("runs.csv")).unwrap();
    let error = Outputs::prepare(root.path(), &[]).unwrap_err();
    assert!(matches!(error, OutputsError::InTheWay { .. }), "{error}");
    assert_eq!(names(root.path()), ["runs.csv"]);
}

#[test]
fn a_late_failure_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let outputs = Outputs::prepare(&dir, &[]).unwrap();
    // The last file cannot take its place: a directory with something in it stands there.
    fs::create_dir_all(root.path().join("out/facts.digest/full")).unwrap();
    let error = outputs.write(&summary(), &[]).unwrap_err();
    assert!(matches!(error, OutputsError::InTheWay { .. }), "{error}");
    assert_eq!(names(&dir), ["facts.digest"]);
    assert_eq!(names(root.path()), ["out"]);
}

/// A directory with a report in which every file says `old`, and these files beside it.
fn old(root: &Path, more: &[(&str, &str)]) -> PathBuf {
    let dir = root.join("out");
    fs::create_dir(&dir).unwrap();
    for (name, content) in files().map(|name| (name, "old")).chain(more.iter().copied()) {
        fs::write(dir.join(name), content).unwrap();
    }
    dir
}

/// How many of the reports say `old`.
fn count_old(dir: &Path) -> usize {
    files().filter(|name| fs::read(dir.join(name)).is_ok_and(|content| content == b"old")).count()
}

#[test]
fn what_a_run_does_not_write_does_not_stay_as_if_it_did() {
    let check = |more: &[(&str, &str)], remain: &[&str], swapped: bool| {
        let root = tempfile::tempdir().unwrap();
        let dir = old(root.path(), more);
        let before = inode(&dir);
        Outputs::prepare(&dir, &[]).unwrap().write(&summary(), &[]).unwrap();
        assert_eq!(count_old(&dir), 0, "{more:?}");
        let all = names(&dir);
        let beside: Vec<&str> = all.iter().map(String::as_str).filter(|n| files().all(|f| f != *n)).collect();
        assert_eq!(beside, remain, "{more:?}");
        assert_eq!(names(root.path()), ["out"]);
        assert_eq!(inode(&dir) != before, swapped && cfg!(target_os = "linux"), "{more:?}");
    };
    let marked = format!("<svg><!-- {} --></svg>", owned::MARK);
    check(&[], &[], true);
    check(&[("junit.xml", "<x/>"), ("resolved.yaml", "a: 1"), ("load.svg", &marked)], &[], true);
    // Somebody's picture, and all that lies beside it.
    check(&[("drawing.svg", "<svg/>")], &["drawing.svg"], false);
    check(&[("notes.txt", ""), ("junit.xml", "<x/>")], &["junit.xml", "notes.txt"], false);
}

fn inode(path: &Path) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    #[cfg(not(unix))]
    return path.as_os_str().len() as u64;
}

#[test]
fn a_file_of_that_name_is_not_ours_without_a_report() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("junit.xml"), "another program's").unwrap();
    Outputs::prepare(root.path(), &[]).unwrap().write(&summary(), &[]).unwrap();
    assert_eq!(fs::read(root.path().join("junit.xml")).unwrap(), b"another program's");
}

#[test]
fn what_comes_during_the_run_stays() {
    let root = tempfile::tempdir().unwrap();
    let dir = old(root.path(), &[]);
    let outputs = Outputs::prepare(&dir, &[]).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    outputs.write(&summary(), &[]).unwrap();
    assert_eq!(count_old(&dir), 0);
    assert_eq!(fs::read(dir.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(names(root.path()), ["out"]);
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_what_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let dir = old(root.path(), &[]);
    let link = root.path().join("link");
    std::os::unix::fs::symlink("out", &link).unwrap();
    let written = Outputs::prepare(&link, &[]).unwrap().write(&summary(), &[]).unwrap();
    assert!(link.is_symlink() && written[0].starts_with(&link));
    assert_eq!(count_old(&dir), 0);
    // One that leads nowhere is no directory.
    fs::remove_dir_all(&dir).unwrap();
    let error = Outputs::prepare(&link, &[]).unwrap_err();
    assert!(matches!(error, OutputsError::Create { .. }), "{error}");
    assert_eq!(names(root.path()), ["link"]);
}

#[cfg(unix)]
#[test]
fn permissions_of_the_directory_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let dir = old(root.path(), &[]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
    Outputs::prepare(&dir, &[]).unwrap().write(&summary(), &[]).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o711);
    assert_eq!(count_old(&dir), 0);
}

#[test]
fn what_is_announced_need_not_be_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let outputs = Outputs::prepare(&dir, &["junit.xml"]).unwrap();
    let written = outputs.write(&summary(), &[("more.txt", b"x")]).unwrap();
    assert!(written.ends_with(&[dir.join("more.txt")]));
    assert!(!dir.join("junit.xml").exists() && dir.join("more.txt").exists());
}

#[test]
fn the_dead_are_swept_and_the_living_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let dir = old(root.path(), &[]);
    // Killed as it wrote; just begun; as it put files into place one by one.
    let dead = |at: &Path, name: &str, below: &[&str]| {
        for path in below {
            let path = at.join(format!(".thawline-{name}")).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    };
    dead(root.path(), "a", &["lock", "new/runs.csv", "new/anything"]);
    fs::create_dir(root.path().join(".thawline-b")).unwrap();
    dead(&dir, "c", &["lock", "whole/runs.csv", "was/runs.csv"]);
    // Not ours, whatever its name is; a file of somebody that was swapped away.
    dead(root.path(), "config", &["settings"]);
    dead(root.path(), "d", &["lock", "whole/notes.txt", "whole/runs.csv"]);
    let first = Outputs::prepare(&dir, &[]).unwrap();
    let second = Outputs::prepare(&dir, &[]).unwrap();
    let living = names(root.path()).iter().filter(|name| name.starts_with(".thawline-")).count();
    assert_eq!(living, 2 + 2, "{:?}", names(root.path()));
    first.write(&summary(), &[]).unwrap();
    assert_eq!(count_old(&dir), 0);
    second.write(&summary(), &[]).unwrap();
    assert_eq!(names(root.path()), [".thawline-config", ".thawline-d", "out"]);
    assert_eq!(names(&root.path().join(".thawline-d")), ["lock", "whole"]);
    assert_eq!(names(&root.path().join(".thawline-d/whole")), ["notes.txt"]);
    assert_eq!(names(&dir).len(), files().count());
}

#[test]
fn files_go_back_if_one_cannot_take_its_place() {
    let root = tempfile::tempdir().unwrap();
    let dir = old(root.path(), &[("notes.txt", "mine")]);
    fs::remove_file(dir.join("outcome.json")).unwrap();
    let outputs = Outputs::prepare(&dir, &["new.txt", "gone.txt"]).unwrap();
    outputs.staging.complete().unwrap();
    // The last of the files that belong in place is not there.
    fs::remove_file(outputs.staging.whole().join("gone.txt")).unwrap();
    let all: Vec<&str> = files().chain(["new.txt", "gone.txt"]).collect();
    let error = outputs.one_by_one(&outputs.staging, &all).unwrap_err();
    assert!(matches!(error, OutputsError::Write { .. }), "{error}");
    drop(outputs);
    assert_eq!(count_old(&dir), files().count() - 1);
    assert!(!dir.join("outcome.json").exists() && !dir.join("new.txt").exists());
    assert_eq!(names(&dir).len(), files().count());
}
