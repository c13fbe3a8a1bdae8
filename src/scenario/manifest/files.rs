//! Manifest files, the objects in them, and which of them is wanted.

use std::path::{Path as FilePath, PathBuf};

use super::super::load::{utf8, why};
use super::{Found, Request, Slot};
use crate::yaml::{Diagnostic, Document, Path, Shape, suggest};

/// The files that were read so far; each is read, and what is wrong with it said, once.
pub(super) struct Files {
    directory: PathBuf,
    read: Vec<(PathBuf, Option<Vec<Document>>)>,
}

impl Files {
    /// None yet; their names are relative to a directory.
    pub fn new(directory: &FilePath) -> Self {
        Self { directory: directory.to_path_buf(), read: Vec::new() }
    }

    /// The documents of a file; nothing if it is at fault, which is then said.
    pub fn read(&mut self, request: &Request, found: &mut Found) -> Option<&[Document]> {
        let path = self.directory.join(&request.file);
        let known = self.read.iter().position(|(known, _)| *known == path);
        let index = known.or_else(|| self.read_new(path, request, found))?;
        let documents = self.read[index].1.as_deref();
        match documents {
            Some(_) => found.file(&request.file),
            None => found.struck = true,
        }
        documents
    }
}

impl Files {
    /// Reads a file that was not read before; its number.
    fn read_new(&mut self, path: PathBuf, request: &Request, found: &mut Found) -> Option<usize> {
        match std::fs::read(&path) {
            Ok(bytes) => {
                let documents = parse(&path.display().to_string(), bytes, found);
                self.read.push((path, documents));
                Some(self.read.len() - 1)
            }
            Err(error) => {
                let message = format!("cannot read the manifest `{}`: {}", request.file, why(&error));
                let fault = Diagnostic::error("E0401", message).placed(request.file_place.clone());
                found.fault(fault.helped("paths are relative to the scenario"));
                None
            }
        }
    }
}

fn parse(name: &str, bytes: Vec<u8>, found: &mut Found) -> Option<Vec<Document>> {
    match utf8(bytes, name).and_then(|text| Document::parse_all(name, &text)) {
        Ok(documents) => {
            for fault in documents.iter().flat_map(Document::faults) {
                found.fault(fault.clone());
            }
            Some(documents)
        }
        Err(faults) => {
            for fault in faults {
                found.fault(fault);
            }
            None
        }
    }
}

/// A kind of object, by its name and its API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub kind: &'static str,
    pub group: &'static str,
}

/// An object of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub document: &'a Document,
    /// Where it stands in the document: at its root, or in a list.
    pub path: Path,
    pub kind: String,
    pub api: String,
    pub name: String,
    namespace: String,
}

impl<'a> Object<'a> {
    /// A part of a file that is no object.
    pub fn bare(document: &'a Document, path: Path) -> Self {
        let [kind, api, name, namespace] = std::array::from_fn(|_| String::new());
        Self { document, path, kind, api, name, namespace }
    }

    /// A path of the object, such as `spec.template`, as one of its document.
    pub fn path(&self, below: &str) -> Path {
        below.split('.').fold(self.path.clone(), |path, key| path.key(key))
    }

    /// The API group; empty for the core.
    pub fn group(&self) -> &str {
        self.api.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version of the API.
    pub fn version(&self) -> &str {
        self.api.split_once('/').map_or(self.api.as_str(), |(_, version)| version)
    }

    /// Kind and name, as messages have them.
    pub fn label(&self) -> String {
        if self.name.is_empty() { self.kind.clone() } else { format!("{} `{}`", self.kind, self.name) }
    }

    fn is_named(&self, name: &str) -> bool {
        let Some((left, right)) = name.split_once('/') else { return self.name == name };
        right == self.name && (left.eq_ignore_ascii_case(&self.kind) || left == self.namespace)
    }
}

/// Every object of a file, those of lists included. Nothing if one is no object at all, which is then said.
pub(super) fn objects<'a>(documents: &'a [Document], found: &mut Found) -> Option<Vec<Object<'a>>> {
    let known = found.faults.len();
    let mut objects = Vec::new();
    for document in documents {
        if document.shape(&Path::root()) != Some(Shape::Nothing) {
            collect(document, &Path::root(), None, &mut objects, found);
        }
    }
    (found.faults.len() == known).then_some(objects)
}

/// `of` is the kind and the API of a list's items, which need not repeat them.
fn collect<'a>(
    document: &'a Document,
    path: &Path,
    of: Option<(&str, &str)>,
    objects: &mut Vec<Object<'a>>,
    found: &mut Found,
) {
    let text = |keys: &[&str]| {
        let path = keys.iter().fold(path.clone(), |path, key| path.key(*key));
        document.text_at(&path).map(str::to_owned)
    };
    let kind = text(&["kind"]).or(of.map(|(kind, _)| kind.to_owned()));
    let api = text(&["apiVersion"]).or(of.map(|(_, api)| api.to_owned()));
    let (Some(kind), Some(api)) = (kind, api) else {
        let message = match document.shape(path) {
            Some(Shape::Mapping) => "this is no Kubernetes object: it has no `apiVersion` and `kind`",
            _ => "this is no Kubernetes object",
        };
        let help = "an object begins with `apiVersion:` and `kind:`, as `kubectl get .. -o yaml` prints it";
        found.fault(document.fault_at_key("E0407", path, message).helped(help));
        return;
    };
    let items = path.key("items");
    if let (Some(of), Some(shape)) = (kind.strip_suffix("List"), document.shape(&items)) {
        let Shape::List(length) = shape else {
            if shape != Shape::Nothing {
                found.fault(document.fault("E0204", &items, "expected a list of objects"));
            }
            return;
        };
        // The items of a plain `List` are of any kind and say so themselves.
        let of = (!of.is_empty()).then_some((of, api.as_str()));
        for index in 0..length {
            collect(document, &items.index(index), of, objects, found);
        }
        return;
    }
    let name = text(&["metadata", "name"]).unwrap_or_default();
    let namespace = text(&["metadata", "namespace"]).unwrap_or_default();
    objects.push(Object { document, path: path.clone(), kind, api, name, namespace });
}

/// The object that is wanted.
pub(super) fn choose<'o, 'a>(
    objects: &'o [Object<'a>],
    wanted: &[Wanted],
    request: &Request,
) -> Result<&'o Object<'a>, Box<Diagnostic>> {
    let fits = |object: &&Object<'_>| {
        wanted.iter().any(|wanted| wanted.kind == object.kind && wanted.group == object.group())
    };
    let fitting: Vec<&Object<'_>> = objects.iter().filter(fits).collect();
    if fitting.is_empty() {
        return Err(Box::new(none_fits(objects, wanted, request)));
    }
    let Some((name, place)) = &request.object else {
        let [only] = fitting.as_slice() else {
            let message = format!("`{}` holds {} objects that could be meant", request.file, fitting.len());
            let fault = Diagnostic::error("E0407", message).placed(request.file_place.clone());
            return Err(Box::new(fault.helped(format!("add `object: NAME`: one of {}", names(&fitting)))));
        };
        return Ok(only);
    };
    let named: Vec<&&Object<'_>> = fitting.iter().filter(|object| object.is_named(name)).collect();
    match named.as_slice() {
        [only] => Ok(only),
        [] => {
            let message = format!("`{}` holds no such object `{name}`", request.file);
            let fault = Diagnostic::error("E0407", message)
                .placed(place.clone())
                .suggesting(name, fitting.iter().map(|object| object.name.as_str()));
            Err(Box::new(fault.helped(format!("one of {}", names(&fitting)))))
        }
        several => {
            let message = format!("`{}` holds {} objects `{name}`", request.file, several.len());
            let fault = Diagnostic::error("E0407", message).placed(place.clone());
            Err(Box::new(fault.helped("write `object: KIND/NAME` or `object: NAMESPACE/NAME`")))
        }
    }
}

fn names(objects: &[&Object<'_>]) -> String {
    let kind = &objects[0].kind;
    let same = objects.iter().all(|object| object.kind == *kind);
    let shown: Vec<String> = objects
        .iter()
        .map(|object| if same { object.name.clone() } else { format!("{}/{}", object.kind, object.name) })
        .collect();
    shown.join(", ")
}

fn none_fits(objects: &[Object<'_>], wanted: &[Wanted], request: &Request) -> Diagnostic {
    let mut kinds: Vec<String> = wanted
        .iter()
        .map(|wanted| match (wanted.kind, wanted.group) {
            // Kubernetes has a Service of its own.
            ("Service", group) => format!("Service of {group}"),
            (kind, _) => kind.to_owned(),
        })
        .collect();
    kinds.dedup();
    let message = format!("`{}` holds no {}", request.file, kinds.join(" or "));
    let fault = Diagnostic::error("E0407", message).placed(request.file_place.clone());
    let held: Vec<String> =
        objects.iter().map(|object| format!("{} ({})", object.label(), object.api)).collect();
    let held = if held.is_empty() { "no object at all".to_owned() } else { held.join(", ") };
    let fault = fault.helped(format!("it holds {held}"));
    let kinds = objects.iter().map(|object| object.kind.as_str());
    let other = kinds.clone().find_map(|kind| Some((kind, Slot::of_kind(kind)?)));
    if let Some((kind, slot)) = other
        && !wanted.iter().any(|wanted| wanted.kind == kind)
    {
        return fault.helped(format!("for {} `{kind}` write `{slot}: {{ manifest: .. }}`", article(kind)));
    }
    for kind in kinds {
        if let Some(meant) = suggest(kind, wanted.iter().map(|wanted| wanted.kind)).filter(|m| *m != kind) {
            return fault.helped(format!("did you mean `kind: {meant}`, not `{kind}`?"));
        }
    }
    fault
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['A', 'E', 'I', 'O', 'H']) { "an" } else { "a" }
}
