//! prometheus-adapter's rules: which query answers for a custom or an external metric.
//!
//! After kubernetes-sigs/prometheus-adapter `pkg/naming`, `pkg/config` and `docs/config.md` (v0.12). Without
//! rules, every series is served under its own name: a gauge as it stands, a counter as its rate over
//! five minutes, as the Helm chart's default rules have it.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::setting::Setting;
use super::{Fault, closest};
use crate::promql::catalogue::{Kind, Metric};
use crate::promql::{Query, Selector};

/// Rules of prometheus-adapter, as its configuration has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdapterSpec {
    /// A file with prometheus-adapter's ConfigMap or its Helm chart's values, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Rules for custom metrics: HPA metrics of type Pods and Object.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// Rules for external metrics.
    #[serde(default)]
    pub external_rules: Vec<RuleSpec>,
}

/// A rule: series it finds, the name it serves them under, the query that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Selector of the series that the rule serves.
    pub series_query: String,
    /// Further conditions on their names.
    #[serde(default)]
    pub series_filters: Vec<SeriesFilter>,
    /// Which labels are which resources.
    #[serde(default)]
    pub resources: ResourcesSpec,
    /// The name served. Default: the series' own.
    #[serde(default)]
    pub name: NameSpec,
    /// The query: a template with `<<.Series>>`, `<<.LabelMatchers>>` and `<<.GroupBy>>`.
    #[serde(default)]
    pub metrics_query: String,
}

/// A condition on a series' name; one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeriesFilter {
    /// A regular expression that the name must fit.
    #[serde(default)]
    pub is: Option<String>,
    /// A regular expression that the name must not fit.
    #[serde(default)]
    pub is_not: Option<String>,
}

/// Which labels are which resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcesSpec {
    /// A template for the label of a resource, with `<<.Resource>>`. Default: the resource's name.
    #[serde(default)]
    pub template: String,
    /// Labels and the resource that each names.
    #[serde(default)]
    pub overrides: std::collections::BTreeMap<String, ResourceOverride>,
    /// Whether an external metric is of a namespace; it changes nothing in a run.
    #[serde(default)]
    pub namespaced: Option<bool>,
}

/// The resource of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceOverride {
    /// Its API group.
    #[serde(default)]
    pub group: String,
    /// Its name: `pod`, `namespace`, ...
    pub resource: String,
}

/// The name a series is served under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameSpec {
    /// A regular expression over the series' name.
    #[serde(default)]
    pub matches: String,
    /// What becomes of it. Default: `$1` if the expression has one group, else `$0`.
    #[serde(default, rename = "as")]
    pub becomes: String,
}

/// The query of an adapter's metric, and the label that names its pod.
#[derive(Clone, Debug)]
pub struct Served {
    /// The query.
    pub query: Query,
    /// The label that holds a pod's name.
    pub pod_label: String,
}

/// For what a metric is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `custom.metrics.k8s.io`, for each pod.
    Pods,
    /// `custom.metrics.k8s.io`, for another object.
    Object,
    /// `external.metrics.k8s.io`.
    External,
}

/// The window that the default rules take a counter's rate over.
const DEFAULT_WINDOW: &str = "5m";

/// Finds the query that serves a metric. `conditions` are those of the metric's own selector, as PromQL writes them;
/// `path` is where its name stands.
///
/// # Errors
/// No rule serves it, or the rule's query cannot be simulated.
pub fn serve(
    setting: &Setting,
    api: Api,
    name: &str,
    conditions: &str,
    path: &str,
) -> Result<Served, Vec<Fault>> {
    match &setting.adapter {
        Some(adapter) => by_rules(setting, adapter, api, name, conditions, path),
        None => by_default(setting, api, name, conditions, path),
    }
}

fn by_default(
    setting: &Setting,
    api: Api,
    name: &str,
    conditions: &str,
    path: &str,
) -> Result<Served, Vec<Fault>> {
    // The chart's rules strip `_total` of a counter; its own name is taken, too.
    let full = format!("{name}_total");
    let found = [name, full.as_str()].into_iter().find_map(|series| {
        let metric = Metric::of_series(series).filter(|metric| setting.publishes(metric))?;
        Some((series, metric))
    });
    let Some((series, metric)) = found else { return Err(vec![unknown(setting, name, path)]) };
    let is_pods = metric.exporter.is_of_pods();
    if api == Api::Pods && !is_pods {
        let message = format!("`{name}` is a series of {}, not of a pod", metric.exporter.name());
        return Err(vec![(path.to_owned(), message, "write type: External for it".to_owned())]);
    }
    let selector = format!("{series}{{{conditions}}}");
    let value = match metric.kind {
        Kind::Gauge => selector,
        Kind::Counter | Kind::Histogram => format!("rate({selector}[{DEFAULT_WINDOW}])"),
    };
    let text = match api {
        Api::Pods => format!("sum by (pod) ({value})"),
        Api::Object => format!("sum({value})"),
        Api::External if is_pods => format!("sum by (pod) ({value})"),
        Api::External => value,
    };
    let query = setting.query(&text, path)?;
    Ok(Served { query, pod_label: "pod".to_owned() })
}

fn unknown(setting: &Setting, name: &str, path: &str) -> Fault {
    let series = setting.series();
    let near = closest(name, series.iter().map(String::as_str));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", series.join(", ")),
    };
    (path.to_owned(), format!("unknown metric `{name}`"), help)
}

fn by_rules(
    setting: &Setting,
    adapter: &AdapterSpec,
    api: Api,
    name: &str,
    conditions: &str,
    path: &str,
) -> Result<Served, Vec<Fault>> {
    let rules = if api == Api::External { &adapter.external_rules } else { &adapter.rules };
    let series = setting.series();
    let mut offered = Vec::new();
    for rule in rules {
        // `AdapterSpec::check` reports a rule that cannot be read.
        let Ok(compiled) = Rule::compile(rule) else { continue };
        for series in series.iter().filter(|series| compiled.finds(series)) {
            let served = compiled.served_name(series);
            if served == name {
                return rule.served(setting, api, series, conditions, path);
            }
            offered.push(served);
        }
    }
    let list = if api == Api::External { "externalRules" } else { "rules" };
    let help = match closest(name, offered.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if offered.is_empty() => format!("none of `telemetry.adapter.{list}` finds a simulated series"),
        None => format!("they serve {}", offered.join(", ")),
    };
    Err(vec![(path.to_owned(), format!("none of the adapter's {list} serves `{name}`"), help)])
}

impl RuleSpec {
    /// The label of a resource.
    fn label(&self, resource: &str) -> String {
        let named = |(_, own): &(&String, &ResourceOverride)| {
            own.resource == resource || own.resource.strip_suffix('s') == Some(resource)
        };
        if let Some((label, _)) = self.resources.overrides.iter().find(named) {
            return label.clone();
        }
        if self.resources.template.is_empty() {
            return resource.to_owned();
        }
        self.resources.template.replace("<<.Resource>>", resource)
    }

    fn served(
        &self,
        setting: &Setting,
        api: Api,
        series: &str,
        conditions: &str,
        path: &str,
    ) -> Result<Served, Vec<Fault>> {
        let pod_label = self.label("pod");
        let mut all = conditions.to_owned();
        if api == Api::Pods {
            // The adapter lists the names of the pods that the HPA selects: all that there are.
            all = format!("{pod_label}=~\".+\"");
            if !conditions.is_empty() {
                all = format!("{all},{conditions}");
            }
        }
        let default = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
        let template = if self.metrics_query.is_empty() { default } else { &self.metrics_query };
        // An external metric is grouped by nothing but its namespace, which all series share.
        let group = if api == Api::Pods { pod_label.as_str() } else { "" };
        let text = template
            .replace("<<.Series>>", series)
            .replace("<<.LabelMatchers>>", &all)
            .replace("<<.GroupBy>>", group);
        if let Some(at) = text.find("<<") {
            let field: String = text[at..].chars().take_while(|c| *c != '>').collect();
            let message = format!("the adapter's template field `{field}>>` is not simulated");
            let help = "use <<.Series>>, <<.LabelMatchers>> and <<.GroupBy>>".to_owned();
            return Err(vec![(path.to_owned(), message, help)]);
        }
        let query = setting.query(&text, path).map_err(|faults| {
            let of_rule = |(path, message, help): Fault| {
                (path, format!("the adapter's query for it, `{text}`: {message}"), help)
            };
            faults.into_iter().map(of_rule).collect::<Vec<_>>()
        })?;
        Ok(Served { query, pod_label })
    }
}

/// A rule's expressions.
struct Rule<'a> {
    series: Selector,
    filters: Vec<(Regex, bool)>,
    matches: Option<Regex>,
    becomes: &'a str,
}

impl<'a> Rule<'a> {
    /// The error is a fault with its path below the rule.
    fn compile(spec: &'a RuleSpec) -> Result<Self, Fault> {
        let regex = |text: &str, path: String| {
            Regex::new(text).map_err(|_| {
                (path, format!("`{text}` is no regular expression"), "write one of RE2's syntax".to_owned())
            })
        };
        let query = Query::compile(&spec.series_query).map_err(|faults| {
            let fault = faults.into_iter().next();
            let (message, help) = fault.map_or_else(Default::default, |f| (f.message, f.help));
            ("seriesQuery".to_owned(), message, help)
        })?;
        let [series] = query.reads() else {
            let message = "a seriesQuery is one selector".to_owned();
            let help = "write e.g. vllm:num_requests_waiting{namespace!=\"\",pod!=\"\"}".to_owned();
            return Err(("seriesQuery".to_owned(), message, help));
        };
        let mut filters = Vec::new();
        for (index, filter) in spec.series_filters.iter().enumerate() {
            for (field, pattern, wanted) in [("is", &filter.is, true), ("isNot", &filter.is_not, false)] {
                if let Some(pattern) = pattern {
                    filters.push((regex(pattern, format!("seriesFilters[{index}].{field}"))?, wanted));
                }
            }
        }
        let matches = match spec.name.matches.as_str() {
            "" => None,
            pattern => Some(regex(pattern, "name.matches".to_owned())?),
        };
        Ok(Self { series: series.clone(), filters, matches, becomes: &spec.name.becomes })
    }

    fn finds(&self, series: &str) -> bool {
        let passes = |(regex, wanted): &(Regex, bool)| regex.is_match(series) == *wanted;
        self.series.may_read(series)
            && self.filters.iter().all(passes)
            && self.matches.as_ref().is_none_or(|regex| regex.is_match(series))
    }

    fn served_name(&self, series: &str) -> String {
        let Some(regex) = &self.matches else {
            return if self.becomes.is_empty() { series.to_owned() } else { self.becomes.to_owned() };
        };
        let becomes = match (self.becomes, regex.captures_len()) {
            ("", 2) => "$1",
            ("", _) => "$0",
            (own, _) => own,
        };
        regex.replace(series, becomes).into_owned()
    }
}

impl AdapterSpec {
    /// Everything that is wrong with the rules themselves; paths are relative to the adapter.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (list, rules) in [("rules", &self.rules), ("externalRules", &self.external_rules)] {
            for (index, rule) in rules.iter().enumerate() {
                if let Err((path, message, help)) = Rule::compile(rule) {
                    faults.push((format!("{list}[{index}].{path}"), message, help));
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(adapter: Option<&str>) -> Setting {
        let adapter = adapter.map(|json| serde_json::from_str(json).expect("the types are right"));
        Setting { adapter, ..Setting::default() }
    }

    fn text(setting: &Setting, api: Api, name: &str, conditions: &str) -> Result<String, String> {
        let served = serve(setting, api, name, conditions, "name");
        served.map(|s| s.query.text().to_owned()).map_err(|faults| faults[0].1.clone())
    }

    #[test]
    fn without_rules_series_have_their_own_names() {
        let own = setting(None);
        let check = |api, name: &str, expected: Result<&str, &str>| {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(text(&own, api, name, ""), expected, "{name}");
        };
        let waiting = "vllm:num_requests_waiting";
        check(Api::Pods, waiting, Ok("sum by (pod) (vllm:num_requests_waiting{})"));
        check(Api::Object, waiting, Ok("sum(vllm:num_requests_waiting{})"));
        let rate = "sum by (pod) (rate(vllm:prompt_tokens_total{}[5m]))";
        check(Api::Pods, "vllm:prompt_tokens_total", Ok(rate));
        check(Api::Pods, "vllm:prompt_tokens", Ok(rate));
        check(Api::External, "gateway_queue_length", Ok("gateway_queue_length{}"));
        let not_of_a_pod = "`gateway_queue_length` is a series of the gateway, not of a pod";
        check(Api::Pods, "gateway_queue_length", Err(not_of_a_pod));
        check(Api::External, "temperature", Err("unknown metric `temperature`"));
        let labelled = text(&own, Api::External, "gateway_queue_length", r#"team="a""#);
        assert_eq!(labelled.as_deref(), Ok("gateway_queue_length{team=\"a\"}"));
    }

    #[test]
    fn rules_name_series_and_make_queries() {
        let own = setting(Some(
            r#"{"rules": [
                {"seriesQuery": "{__name__=~\"^vllm:num_requests_.*\",pod!=\"\"}",
                 "seriesFilters": [{"isNot": "_running$"}],
                 "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                 "name": {"matches": "^vllm:num_requests_(.*)$", "as": "vllm_${1}"},
                 "metricsQuery": "avg_over_time(<<.Series>>{<<.LabelMatchers>>}[1m])"},
                {"seriesQuery": "vllm:prompt_tokens_total", "name": {"matches": "(.*)_total"},
                 "resources": {"template": "kube_<<.Resource>>"},
                 "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"}],
                "externalRules": [{"seriesQuery": "gateway_queue_length", "name": {"as": "queue"},
                 "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>}) by (<<.LabelValuesByName>>)"}]}"#,
        ));
        assert_eq!(own.adapter.as_ref().expect("there is one").check(), vec![]);
        let waiting = text(&own, Api::Pods, "vllm_waiting", r#"a="b""#);
        let expected = "avg_over_time(vllm:num_requests_waiting{pod=~\".+\",a=\"b\"}[1m])";
        assert_eq!(waiting.as_deref(), Ok(expected));
        let tokens = text(&own, Api::Pods, "vllm:prompt_tokens", "").expect_err("kube_pod is no label here");
        assert!(tokens.contains("does not know the workload's `kube_pod`"), "{tokens}");
        let missing = text(&own, Api::Pods, "vllm_running", "").expect_err("it is filtered out");
        assert_eq!(missing, "none of the adapter's rules serves `vllm_running`");
        let field = text(&own, Api::External, "queue", "").expect_err("the field is not simulated");
        assert!(field.contains("`<<.LabelValuesByName>>` is not simulated"), "{field}");
    }

    #[test]
    fn broken_rules_are_placed() {
        let own = setting(Some(
            r#"{"rules": [{"seriesQuery": "a + b"}, {"seriesQuery": "a", "name": {"matches": "("}},
                {"seriesQuery": "a", "seriesFilters": [{"is": "x"}, {"isNot": "["}]}], "externalRules": [{"seriesQuery": "rate("}]}"#,
        ));
        let faults = own.adapter.expect("there is one").check();
        let paths: Vec<&str> = faults.iter().map(|(path, ..)| path.as_str()).collect();
        let expected = [
            "rules[0].seriesQuery",
            "rules[1].name.matches",
            "rules[2].seriesFilters[1].isNot",
            "externalRules[0].seriesQuery",
        ];
        assert_eq!(paths, expected);
    }
}
