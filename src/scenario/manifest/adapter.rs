//! prometheus-adapter's rules: its ConfigMap, the values of its Helm chart, or its configuration file itself.

use super::fields::table_of;
use super::files::{self, Object, Wanted};
use super::inlay::Inlay;
use super::walk::{Field, Table, Warn, walk};
use super::{Found, Request, Slot};
use crate::yaml::{Document, Path, Shape};

/// The keys under which the ConfigMap holds the configuration.
const KEYS: [&str; 2] = ["config.yaml", "config.yml"];

/// `pkg/config/config.go` of kubernetes-sigs/prometheus-adapter (0.12).
const CONFIG: Table = &[&[(&["rules", "externalRules"], Field::Used), (&["resourceRules"], Field::NoEffect)]];

/// `rules` of the chart's values, prometheus-community/helm-charts `prometheus-adapter/values.yaml`.
const VALUES: Table = &[&[
    (&["custom", "external", "existing", "default"], Field::Used),
    (&["resource", "containerLabel"], Field::NoEffect),
]];

pub(super) fn fill(scenario: &mut Document, request: &Request, documents: &[Document], found: &mut Found) {
    let is_object = |document: &Document| document.contains(&Path::keys(["kind"]));
    if !documents.iter().any(is_object) {
        let Some(document) =
            documents.iter().find(|document| document.shape(&Path::root()) != Some(Shape::Nothing))
        else {
            let none = files::choose(&[], Slot::Adapter.wanted(), request);
            return found.fault(*none.expect_err("nothing fits where there is nothing"));
        };
        return without_object(scenario, request, document, found);
    }
    let Some(objects) = files::objects(documents, found) else { return };
    // Other ConfigMaps may stand beside the adapter's.
    let of_adapter: Vec<Object<'_>> = objects
        .iter()
        .filter(|object| object.kind == "ConfigMap" && config_key(object).is_some())
        .cloned()
        .collect();
    let candidates = if of_adapter.is_empty() { &objects } else { &of_adapter };
    let object = match files::choose(candidates, &[Wanted { kind: "ConfigMap", group: "" }], request) {
        Ok(object) => object.clone(),
        Err(fault) => return found.fault(*fault),
    };
    walk(&object, &object.path, table_of("ConfigMap"), Warn::Yes, found);
    let Some(key) = config_key(&object) else {
        let data = object.path("data");
        let message = format!("{} holds no `{}`", object.label(), KEYS[0]);
        return found.fault(object.document.fault_at_key("E0407", &data, message));
    };
    match object.document.parse_within(&key) {
        Ok(inner) => {
            inner.faults().iter().for_each(|fault| found.fault(fault.clone()));
            config(scenario, request, &inner, &Path::root(), found);
        }
        Err(faults) => faults.into_iter().for_each(|fault| found.fault(fault)),
    }
}

fn config_key(object: &Object<'_>) -> Option<Path> {
    let data = object.path("data");
    KEYS.iter().map(|key| data.key(*key)).find(|path| object.document.text_at(path).is_some())
}

/// The chart's values, or the configuration itself: `rules` is a mapping in the one and a list in the other.
fn without_object(scenario: &mut Document, request: &Request, document: &Document, found: &mut Found) {
    let as_subchart = Path::keys(["prometheus-adapter"]);
    let root = if document.contains(&as_subchart) { as_subchart } else { Path::root() };
    let rules = root.key("rules");
    match document.shape(&rules) {
        Some(Shape::List(_)) => config(scenario, request, document, &root, found),
        Some(Shape::Mapping) => values(scenario, request, document, &rules, found),
        _ if document.contains(&root.key("externalRules")) => {
            config(scenario, request, document, &root, found);
        }
        _ => {
            let message = format!("`{}` holds no rules of prometheus-adapter", request.file);
            let help = "it is a ConfigMap with `config.yaml`, the chart's values with `rules:`, or the configuration with a list of `rules:`";
            found.fault(document.fault_at_key("E0407", &root, message).helped(help));
        }
    }
}

fn inlay<'a>(
    scenario: &'a mut Document,
    request: &Request,
    document: &'a Document,
    path: &Path,
    found: &'a mut Found,
) -> Inlay<'a> {
    let object = Object::bare(document, path.clone());
    Inlay { scenario, found, object, at: request.at.clone() }
}

fn config(scenario: &mut Document, request: &Request, document: &Document, path: &Path, found: &mut Found) {
    let mut inlay = inlay(scenario, request, document, path, found);
    walk(&inlay.object, path, CONFIG, Warn::Yes, inlay.found);
    for field in ["rules", "externalRules"] {
        let at = inlay.at.key(field);
        inlay.take(&path.key(field), &at);
    }
    none_taken(&mut inlay, path);
}

fn values(scenario: &mut Document, request: &Request, document: &Document, rules: &Path, found: &mut Found) {
    let mut inlay = inlay(scenario, request, document, rules, found);
    walk(&inlay.object, rules, VALUES, Warn::Yes, inlay.found);
    let existing = rules.key("existing");
    if let Some(name) = inlay.text(&existing).filter(|name| !name.is_empty()) {
        let message = format!("the rules are in the ConfigMap `{name}`");
        let help = "name its file: `kubectl get configmap NAME -o yaml`";
        return inlay.fault("E0408", &existing, message, help);
    }
    for (field, own) in [("custom", "rules"), ("external", "externalRules")] {
        let at = inlay.at.key(own);
        inlay.take(&rules.key(field), &at);
    }
    none_taken(&mut inlay, rules);
    let default = rules.key("default");
    if inlay.text(&default) != Some("false") {
        let path = if inlay.has(&default) { default } else { rules.clone() };
        let why = "only the rules given here serve metrics; write `default: false` if that is what runs";
        inlay.unmodelled(&path, "the chart's set of default rules", why);
    }
}

/// Without any rule the adapter serves nothing; a run would take that for "every series by its own name".
fn none_taken(inlay: &mut Inlay<'_>, path: &Path) {
    let rules = inlay.at.key("rules");
    if !inlay.scenario.contains(&rules) && !inlay.scenario.contains(&inlay.at.key("externalRules")) {
        inlay.make(path, &rules, "[]");
    }
}
