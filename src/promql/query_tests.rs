//! Tests of whole queries: upstream's semantics as tables, what is refused and where, the queries of public
//! guides, and properties.

use proptest::prelude::*;

use super::*;
use crate::promql::Settings;
use crate::promql::fixture::{shown, store, store_with};
use crate::promql::store::Release;

fn ask(store: &Store, query: &str, at: u64) -> Result<Vec<String>, String> {
    let compiled = Query::compile(query).map_err(|faults| format!("{query}: {faults:?}"))?;
    let answer = compiled.evaluate(store, SimTime::from_secs(at)).map_err(|error| error.to_string())?;
    Ok(shown(&answer))
}

#[track_caller]
fn check_at(store: &Store, query: &str, at: u64, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(ask(store, query, at), Ok(expected), "{query} at {at}");
}

#[track_caller]
fn check_error(store: &Store, query: &str, expected: &str) {
    assert_eq!(ask(store, query, 60), Err(expected.to_owned()), "{query}");
}

#[test]
fn instant_selectors_look_back() {
    // promql/promqltest/testdata/{selectors,staleness}.test
    let v3 = store(10, &[("a{b=\"c\"}", "1 2 3"), ("a{b=\"d\"}", "1 _ stale"), ("z", "9")]);
    check_at(&v3, "a", 0, &["a{b=c} 1", "a{b=d} 1"]);
    check_at(&v3, "a", 19, &["a{b=c} 2", "a{b=d} 1"]);
    check_at(&v3, "a", 20, &["a{b=c} 3"]);
    check_at(&v3, "a", 319, &["a{b=c} 3"]);
    check_at(&v3, "a", 320, &[]);
    check_at(&v3, "a offset 5s", 20, &["a{b=c} 2", "a{b=d} 1"]);
    check_at(&v3, "a offset -5s", 15, &["a{b=c} 3"]);
    let v2 = store_with(Settings { release: Release::V2, ..Settings::default() }, 10, &[("a", "1")]);
    check_at(&v2, "a", 300, &["a{} 1"]);
    check_at(&v2, "a", 301, &[]);
}

#[test]
fn matchers_hold_labels_against_values() {
    let store =
        store(10, &[("a{b=\"c\",e=\"1\"}", "1"), ("a{b=\"d\"}", "2"), ("a", "3"), ("z{b=\"c\"}", "4")]);
    check_at(&store, "a{b=\"c\"}", 0, &["a{b=c,e=1} 1"]);
    check_at(&store, "a{b!=\"c\"}", 0, &["a{b=d} 2", "a{} 3"]);
    check_at(&store, "a{b=~\"c|d\"}", 0, &["a{b=c,e=1} 1", "a{b=d} 2"]);
    check_at(&store, "a{b=~\"c\",e!~\"2.*\"}", 0, &["a{b=c,e=1} 1"]);
    check_at(&store, "a{b!~\"c|\"}", 0, &["a{b=d} 2"]);
    check_at(&store, "a{b=\"\"}", 0, &["a{} 3"]);
    check_at(&store, "a{unknown=\"\"}", 0, &["a{b=c,e=1} 1", "a{b=d} 2", "a{} 3"]);
    check_at(&store, "{__name__=~\"a|z\",b=\"c\"}", 0, &["a{b=c,e=1} 1", "z{b=c} 4"]);
    check_at(&store, "{__name__=\"z\"}", 0, &["z{b=c} 4"]);
    check_at(&store, "a{b=~\"x\"}", 0, &[]);
    // A pattern is the whole value.
    check_at(&store, "a{e=~\"\"}", 0, &["a{b=d} 2", "a{} 3"]);
}

#[test]
fn windows_are_open_to_the_left_since_v3() {
    let series = [("a", "0+10x8")];
    let release = |release| store_with(Settings { release, ..Settings::default() }, 15, &series);
    check_at(&release(Release::V3), "count_over_time(a[1m])", 60, &["{} 4"]);
    check_at(&release(Release::V2), "count_over_time(a[1m])", 60, &["{} 5"]);
    check_at(&release(Release::V3), "count_over_time(a[1m] offset 15s)", 75, &["{} 4"]);
    check_at(&release(Release::V3), "rate(a[1m])", 60, &["{} 0.666666666667"]);
    check_at(&release(Release::V2), "increase(a[1m])", 60, &["{} 40"]);
    check_at(&release(Release::V3), "last_over_time(a[1m])", 60, &["a{} 40"]);
    check_at(&release(Release::V3), "predict_linear(a[1m], 30)", 60, &["{} 60"]);
    check_at(&release(Release::V3), "quantile_over_time(0.5, a[1m])", 60, &["{} 25"]);
}

fn cluster() -> Store {
    store(
        15,
        &[
            ("q{pod=\"p0\",zone=\"x\"}", "3"),
            ("q{pod=\"p1\",zone=\"x\"}", "5"),
            ("q{pod=\"p2\",zone=\"y\"}", "NaN"),
            ("q{pod=\"p3\",zone=\"y\"}", "1"),
            ("cap{zone=\"x\"}", "10"),
            ("cap{zone=\"y\"}", "20"),
            ("r{pod=\"p0\"}", "1"),
            ("r{pod=\"p1\"}", "0"),
            ("info{pod=\"p0\",node=\"n0\"}", "1"),
            ("info{pod=\"p1\",node=\"n1\"}", "1"),
        ],
    )
}

#[test]
fn aggregations() {
    // promql/promqltest/testdata/aggregators.test
    let store = cluster();
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 0, expected);
    check("sum(q)", &["{} NaN"]);
    check("sum(q{zone=\"x\"})", &["{} 8"]);
    check("sum by (zone) (q{pod!=\"p2\"})", &["{zone=x} 8", "{zone=y} 1"]);
    check("sum(q) by (nowhere)", &["{} NaN"]);
    check("sum without (pod) (q{pod!=\"p2\"})", &["{zone=x} 8", "{zone=y} 1"]);
    check("avg(q{zone=\"x\"})", &["{} 4"]);
    check("min(q)", &["{} 1"]);
    check("max(q)", &["{} 5"]);
    check("max by (zone) (q)", &["{zone=x} 5", "{zone=y} 1"]);
    check("count(q)", &["{} 4"]);
    check("count(q) by (zone)", &["{zone=x} 2", "{zone=y} 2"]);
    check("group(q)", &["{} 1"]);
    check("stdvar(q{zone=\"x\"})", &["{} 1"]);
    check("stddev(q{zone=\"x\"})", &["{} 1"]);
    check("quantile(0.5, q{zone=\"x\"})", &["{} 4"]);
    check("quantile(2, q)", &["{} inf"]);
    check("topk(2, q)", &["q{pod=p1,zone=x} 5", "q{pod=p0,zone=x} 3"]);
    check(
        "topk(9, q)",
        &["q{pod=p1,zone=x} 5", "q{pod=p0,zone=x} 3", "q{pod=p3,zone=y} 1", "q{pod=p2,zone=y} NaN"],
    );
    check("bottomk by (zone) (1, q)", &["q{pod=p0,zone=x} 3", "q{pod=p3,zone=y} 1"]);
    check("topk(0, q)", &[]);
    check("topk(-1, q)", &[]);
    check("sum(nothing)", &[]);
    check("count(nothing) or vector(0)", &["{} 0"]);
    check("sum by (__name__) (cap)", &["cap{} 30"]);
    check("SUM(cap)", &["{} 30"]);
    check_error(&store, "topk(NaN, cap)", "Parameter value is NaN");
    check_error(&store, "topk(1e30, cap)", "Scalar value 1e+30 overflows int64");
    check_error(&store, "bottomk(-Inf, cap)", "Scalar value -Inf underflows int64");
}

#[test]
fn operators_between_vectors_and_scalars() {
    // promql/promqltest/testdata/operators.test
    let store = cluster();
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 0, expected);
    check("cap * 2", &["{zone=x} 20", "{zone=y} 40"]);
    check("2 ^ 3 ^ 2", &["scalar 512"]);
    check("-cap", &["{zone=x} -10", "{zone=y} -20"]);
    check("-2 ^ 2", &["scalar -4"]);
    check("7 % 4 + 1 / 0", &["scalar inf"]);
    check("0 / 0", &["scalar NaN"]);
    check("-7 % 4", &["scalar -3"]);
    check("cap > 15", &["cap{zone=y} 20"]);
    check("15 < cap", &["cap{zone=y} 20"]);
    check("cap > bool 15", &["{zone=x} 0", "{zone=y} 1"]);
    check("15 > bool cap", &["{zone=x} 1", "{zone=y} 0"]);
    check("1 == bool 1", &["scalar 1"]);
    check("NaN == bool NaN", &["scalar 0"]);
    check("q == q", &["q{pod=p0,zone=x} 3", "q{pod=p1,zone=x} 5", "q{pod=p3,zone=y} 1"]);
    check("q != q", &["q{pod=p2,zone=y} NaN"]);
    check("cap >= 10 and cap <= 10", &["cap{zone=x} 10"]);
    check("scalar(cap{zone=\"x\"}) + 1", &["scalar 11"]);
    check("scalar(cap)", &["scalar NaN"]);
    check("vector(3) * cap", &[]);
    check("vector(3) * on() cap{zone=\"x\"}", &["{} 30"]);
}

#[test]
fn matching_of_vectors() {
    let store = cluster();
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 0, expected);
    check("sum by (zone) (q{pod!=\"p2\"}) / cap", &["{zone=x} 0.8", "{zone=y} 0.05"]);
    check("q{pod=\"p0\"} / ignoring (pod) cap", &["{zone=x} 0.3"]);
    check(
        "q{pod!=\"p2\"} / on (zone) group_left cap",
        &["{pod=p0,zone=x} 0.3", "{pod=p1,zone=x} 0.5", "{pod=p3,zone=y} 0.05"],
    );
    check(
        "cap / on (zone) group_right q{zone=\"x\"}",
        &["{pod=p0,zone=x} 3.33333333333", "{pod=p1,zone=x} 2"],
    );
    check("q * on (pod) group_left (node) info", &["{node=n0,pod=p0,zone=x} 3", "{node=n1,pod=p1,zone=x} 5"]);
    // A comparison keeps the name, unless `on` picks the labels or `bool` makes it another quantity.
    check("cap == ignoring (nothing) cap", &["cap{zone=x} 10", "cap{zone=y} 20"]);
    check("cap == on (zone) cap", &["{zone=x} 10", "{zone=y} 20"]);
    check("q > on (zone) group_left cap", &[]);
    check("q < bool on (zone) group_left cap{zone=\"x\"}", &["{pod=p0,zone=x} 1", "{pod=p1,zone=x} 1"]);
    check("q * nothing", &[]);
    // Nothing to match: not even duplicates are an error.
    check("nothing * on (zone) q", &[]);
    check_error(
        &store,
        "cap * on (zone) q{zone=\"x\"}",
        "found duplicate series for the match group {zone=\"x\"} on the right hand-side of the operation: \
         [q{pod=\"p1\", zone=\"x\"}, q{pod=\"p0\", zone=\"x\"}];many-to-many matching not allowed: matching labels \
         must be unique on one side",
    );
    check_error(
        &store,
        "q{zone=\"x\"} * on (zone) group_right cap",
        "found duplicate series for the match group {zone=\"x\"} on the left hand-side of the operation: \
         [q{pod=\"p1\", zone=\"x\"}, q{pod=\"p0\", zone=\"x\"}];many-to-many matching not allowed: matching labels \
         must be unique on one side",
    );
    check_error(
        &store,
        "q{zone=\"x\"} * on (zone) cap",
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    );
    check_error(
        &store,
        "q{zone=\"x\"} * on (zone) group_left (pod) cap",
        "multiple matches for labels: grouping labels must ensure unique matches",
    );
}

#[test]
fn set_operators() {
    let store = cluster();
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 0, expected);
    check("q and on (pod) r", &["q{pod=p0,zone=x} 3", "q{pod=p1,zone=x} 5"]);
    check("q unless on (pod) r", &["q{pod=p2,zone=y} NaN", "q{pod=p3,zone=y} 1"]);
    check("r or q{zone=\"x\"}", &["r{pod=p0} 1", "r{pod=p1} 0", "q{pod=p0,zone=x} 3", "q{pod=p1,zone=x} 5"]);
    check("r or on (pod) q{zone=\"x\"}", &["r{pod=p0} 1", "r{pod=p1} 0"]);
    check("q and nothing", &[]);
    check("nothing unless q", &[]);
    check("r unless nothing", &["r{pod=p0} 1", "r{pod=p1} 0"]);
    check("r and ignoring (pod) vector(1)", &["r{pod=p0} 1", "r{pod=p1} 0"]);
}

#[test]
fn functions_of_values() {
    let store = store(15, &[("v{a=\"1\"}", "-1.5"), ("v{a=\"2\"}", "2.5"), ("v{a=\"3\"}", "NaN")]);
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 0, expected);
    check("abs(v)", &["{a=1} 1.5", "{a=2} 2.5", "{a=3} NaN"]);
    check("ceil(v)", &["{a=1} -1", "{a=2} 3", "{a=3} NaN"]);
    check("floor(v)", &["{a=1} -2", "{a=2} 2", "{a=3} NaN"]);
    check("round(v)", &["{a=1} -1", "{a=2} 3", "{a=3} NaN"]);
    check("round(v, 2)", &["{a=1} -2", "{a=2} 2", "{a=3} NaN"]);
    check("sgn(v)", &["{a=1} -1", "{a=2} 1", "{a=3} NaN"]);
    check("clamp(v, -1, 1)", &["{a=1} -1", "{a=2} 1", "{a=3} NaN"]);
    check("clamp(v, 1, -1)", &[]);
    check("clamp_min(v, 0)", &["{a=1} 0", "{a=2} 2.5", "{a=3} NaN"]);
    check("clamp_max(v, 0)", &["{a=1} -1.5", "{a=2} 0", "{a=3} NaN"]);
    check(
        "sqrt(vector(9)) + exp(vector(0)) + ln(vector(1)) + log2(vector(8)) + log10(vector(100))",
        &["{} 9"],
    );
    check("sort(v)", &["v{a=1} -1.5", "v{a=2} 2.5", "v{a=3} NaN"]);
    check("sort_desc(v)", &["v{a=2} 2.5", "v{a=1} -1.5", "v{a=3} NaN"]);
    check("absent(v)", &[]);
    check("absent(w{a=\"1\",b=\"2\",b=\"3\",c!=\"4\"})", &["{a=1} 1"]);
    check("absent(sum(w{a=\"1\"}))", &["{} 1"]);
    check("absent_over_time(w{a=\"1\"}[1m])", &["{a=1} 1"]);
    check("absent_over_time(v[1m])", &[]);
}

#[test]
fn time_and_labels() {
    let settings = Settings { epoch_ms: 1_700_000_000_000, ..Settings::default() };
    let store = store_with(settings, 15, &[("a{pod=\"vllm-7\"}", "1 2")]);
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 20, expected);
    check("time()", &["scalar 1700000020"]);
    check("timestamp(a)", &["{pod=vllm-7} 1700000015"]);
    check("timestamp(a * 2)", &["{pod=vllm-7} 1700000020"]);
    check("time() - timestamp(a)", &["{pod=vllm-7} 5"]);
    // Tuesday, 2023-11-14 22:13:40 UTC.
    check("hour() * 100 + minute()", &["{} 2213"]);
    check("day_of_week(vector(time()))", &["{} 2"]);
    check("label_replace(a, \"n\", \"$2/$1\", \"pod\", \"(.*)-(.*)\")", &["a{n=7/vllm,pod=vllm-7} 2"]);
    check("label_replace(a, \"n\", \"x\", \"pod\", \"vllm\")", &["a{pod=vllm-7} 2"]);
    check("label_replace(a, \"pod\", \"\", \"pod\", \".*\")", &["a{} 2"]);
    check("label_join(a, \"n\", \":\", \"pod\", \"none\", \"pod\")", &["a{n=vllm-7::vllm-7,pod=vllm-7} 2"]);
    check("label_replace(vector(1), \"new\", \"text\", \"\", \"\")", &["{new=text} 1"]);
}

#[test]
fn two_series_may_not_become_one() {
    // promql/engine.go: "vector cannot contain metrics with the same labelset".
    let store = store(15, &[("a{pod=\"p\"}", "1 2"), ("b{pod=\"p\"}", "1 2")]);
    let same = "vector cannot contain metrics with the same labelset";
    check_error(&store, "rate({__name__=~\"a|b\"}[5m])", same);
    check_error(&store, "-{__name__=~\"a|b\"}", same);
    check_error(&store, "{__name__=~\"a|b\"} * 2", same);
    check_error(&store, "abs({__name__=~\"a|b\"})", same);
    check_at(&store, "{__name__=~\"a|b\"}", 15, &["a{pod=p} 2", "b{pod=p} 2"]);
    check_at(&store, "absent_over_time({__name__=~\"a|b\"}[5m])", 15, &[]);
}

#[test]
fn quantiles_of_histograms() {
    let store = store(
        15,
        &[
            ("t_bucket{pod=\"p0\",le=\"0.1\"}", "0+5x4"),
            ("t_bucket{pod=\"p0\",le=\"0.5\"}", "0+10x4"),
            ("t_bucket{pod=\"p0\",le=\"+Inf\"}", "0+10x4"),
            ("t_bucket{pod=\"p1\",le=\"0.1\"}", "0+0x4"),
            ("t_bucket{pod=\"p1\",le=\"0.5\"}", "0+0x4"),
            ("t_bucket{pod=\"p1\",le=\"+Inf\"}", "0+10x4"),
            ("t_bucket{pod=\"p1\",le=\"odd\"}", "0+99x4"),
        ],
    );
    let check = |query: &str, expected: &[&str]| check_at(&store, query, 60, expected);
    check("histogram_quantile(0.5, rate(t_bucket[1m]))", &["{pod=p0} 0.1", "{pod=p1} 0.5"]);
    check("histogram_quantile(0.9, rate(t_bucket{pod=\"p0\"}[1m]))", &["{pod=p0} 0.42"]);
    check("histogram_quantile(0.4, sum by (le) (rate(t_bucket[1m])))", &["{} 0.34"]);
    check("histogram_quantile(0.95, sum(rate(t_bucket[1m])) by (le))", &["{} 0.5"]);
    check("histogram_quantile(0.5, sum(rate(t_bucket[1m])))", &[]);
}

#[test]
fn queries_of_public_guides_answer() {
    let store = store(
        15,
        &[
            ("vllm:num_requests_waiting{pod=\"p0\",model_name=\"m\",namespace=\"prod\"}", "4 4 4 4 4"),
            ("vllm:num_requests_waiting{pod=\"p1\",model_name=\"m\",namespace=\"prod\"}", "8 8 8 8 8"),
            ("vllm:num_requests_running{pod=\"p0\",model_name=\"m\",namespace=\"prod\"}", "16 16 16 16 16"),
            (
                "vllm:gpu_cache_usage_perc{pod=\"p0\",model_name=\"m\",namespace=\"prod\"}",
                "0.5 0.5 0.5 0.5 0.5",
            ),
            ("vllm:num_incoming_requests_total{model=\"m\"}", "100+30x4"),
            ("vllm:e2e_request_latency_seconds_bucket{pod=\"p0\",le=\"2.5\"}", "0+9x4"),
            ("vllm:e2e_request_latency_seconds_bucket{pod=\"p0\",le=\"5.0\"}", "0+10x4"),
            ("vllm:e2e_request_latency_seconds_bucket{pod=\"p0\",le=\"+Inf\"}", "0+10x4"),
            ("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",pod=\"p0\"}", "80 90 100 90 80"),
        ],
    );
    for (query, single, expected) in [
        // vLLM production-stack: unsummed, which fails in KEDA at two pods.
        (
            "vllm:num_requests_waiting",
            false,
            vec![
                "vllm:num_requests_waiting{model_name=m,namespace=prod,pod=p0} 4",
                "vllm:num_requests_waiting{model_name=m,namespace=prod,pod=p1} 8",
            ],
        ),
        // Its keep-alive trigger.
        ("sum(rate(vllm:num_incoming_requests_total[1m]) > bool 0)", true, vec!["{} 1"]),
        // EKS.
        ("sum(vllm:num_requests_waiting{namespace=\"prod\"})", true, vec!["{} 12"]),
        (
            "histogram_quantile(0.95, sum(rate(vllm:e2e_request_latency_seconds_bucket[1m])) by (le))",
            true,
            vec!["{} 3.75"],
        ),
        // GKE, KServe, and what people build on them.
        ("avg(vllm:num_requests_running)", true, vec!["{} 16"]),
        (
            "avg_over_time(vllm:gpu_cache_usage_perc{model_name=\"m\"}[1m])",
            false,
            vec!["{model_name=m,namespace=prod,pod=p0} 0.5"],
        ),
        ("max(max_over_time(DCGM_FI_DEV_GPU_UTIL[1m]))", true, vec!["{} 100"]),
        (
            "sum(vllm:num_requests_waiting) / clamp_min(count(vllm:num_requests_waiting), 1)",
            true,
            vec!["{} 6"],
        ),
        (
            "sum(vllm:num_requests_running + on (pod) vllm:num_requests_waiting) or vector(0)",
            true,
            vec!["{} 20"],
        ),
        ("sum(rate(no_such_total[1m])) or vector(0)", true, vec!["{} 0"]),
        ("scalar(sum(vllm:num_requests_waiting))", true, vec!["scalar 12"]),
    ] {
        check_at(&store, query, 60, &expected);
        assert_eq!(Query::compile(query).unwrap().is_single(), single, "{query}");
    }
}

#[test]
fn a_query_says_what_it_reads() {
    let query = Query::compile("sum(rate(a{b=\"c\"}[5m] offset 1m)) / sum(d) by (d) + {e=\"f\"}").unwrap();
    let reads: Vec<_> = query
        .reads()
        .iter()
        .map(|read| (read.name.as_deref(), read.range_ms, read.offset_ms, &query.text()[read.span.clone()]))
        .collect();
    assert_eq!(
        reads,
        [(Some("a"), Some(300_000), 60_000, "a"), (Some("d"), None, 0, "d"), (None, None, 0, "{"),]
    );
    assert_eq!(
        query.reads()[1].span.start,
        query.text().find("(d)").unwrap() + 1,
        "the metric and not the label"
    );
    let secs = SimDuration::from_secs;
    assert_eq!(query.reach(secs(300)), secs(361));
    assert_eq!(query.reach(secs(600)), secs(601));
    assert_eq!(Query::compile("1").unwrap().reach(secs(300)), secs(1));
    assert_eq!(Query::compile("a offset -1h").unwrap().reach(secs(300)), secs(1));
}

#[test]
fn a_selector_says_which_names_it_can_read() {
    let check = |query: &str, readable: &[&str]| {
        let query = Query::compile(query).unwrap();
        let found: Vec<&str> =
            ["a", "a_total", "b"].into_iter().filter(|name| query.reads()[0].may_read(name)).collect();
        assert_eq!(found, readable, "{}", query.text());
    };
    check("a", &["a"]);
    check("{__name__=\"b\"}", &["b"]);
    check("{__name__=~\"a.*\",__name__!=\"a\"}", &["a_total"]);
    check("{job=\"x\"}", &["a", "a_total", "b"]);
}

#[test]
fn one_series_at_most_can_often_be_told() {
    let check = |query: &str, single: bool| {
        assert_eq!(Query::compile(query).unwrap().is_single(), single, "{query}");
    };
    check("sum(a)", true);
    check("sum by (b) (a)", false);
    check("sum without (b) (a)", false);
    check("max(sum by (b) (a))", true);
    check("sum(a) / sum(b)", true);
    check("sum(a) * on (c) b", false);
    check("a * on () b", true);
    check("topk(1, a)", false);
    check("1 + 1", true);
    check("vector(1)", true);
    check("absent(a)", true);
    check("absent(a{b=\"c\"})", true);
    check("sum(a) or vector(0)", true);
    check("sum(a) or sum by (b) (a)", false);
    check("sum(a) > 3", true);
    check("a", false);
    check("sum by (le) (rate(a[1m]))", false);
    check("histogram_quantile(0.9, sum by (le) (rate(a[1m])))", true);
    check("histogram_quantile(0.9, rate(a[1m]))", false);
    check("round(clamp_max(sum(a), 4))", true);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let check = |query: &str, place: &str, message: &str| {
        let faults = Query::compile(query).expect_err(query);
        assert_eq!((&query[faults[0].span.clone()], faults[0].message.as_str()), (place, message), "{query}");
        assert!(faults.iter().all(|fault| !fault.help.is_empty()), "{query}");
    };
    check("sum(rat(a[5m]))", "rat", "Prometheus has no function `rat`");
    check(
        "histogram_fraction(0, 1, a)",
        "histogram_fraction",
        "`histogram_fraction` is a function of Prometheus that is not simulated",
    );
    check("max_over_time(a[5m:1m])", "[5m:", "subqueries (`[range:step]`) are not simulated");
    check("a @ 5", "@", "the `@` modifier is not simulated");
    check("a @ start()", "@", "the `@` modifier is not simulated");
    check("a[5m]", "a[5m]", "a range of samples stands outside of a function");
    check("\"text\"", "\"text\"", "a string is no value");
    check("sum(a", "(", "`(` has no partner");
    check("rate(a)", "rate", "expected type matrix in call to function 'rate', got vector");
    check("abs()", "abs", "expected 1 argument(s) in call to 'abs', got 0");
    check("exp(NaN)", "exp(NaN)", "a vector is expected, not a scalar");
    check("label_replace(a, \"b\", \"\", \"c\", \"(\")", "(", "`(` is no regular expression");
    check("1 == 1", "1 == 1", "comparisons between scalars must use BOOL modifier");
    check("a atan2 b", "atan2", "the operator `atan2` is not simulated");
    check("sum(", "(", "`(` has no partner");
    check("", "", "no expression found in input");
    check("a b", "a b", "invalid promql query");
    let two = Query::compile("year(a) + rte(b[5m])").unwrap_err();
    assert_eq!(two.len(), 2, "every function at once: {two:?}");
    let long = format!("sum({})", "a".repeat(20_000));
    assert_eq!(Query::compile(&long).unwrap_err()[0].message, "a query of 20005 bytes");
}

#[test]
fn deep_nesting_is_survived() {
    let store = store(15, &[("a", "1")]);
    for (open, close, core) in
        [("(", ")", "1"), ("-", "", "a"), ("a+", "", "a"), ("sum(", ")", "a"), ("a or ", "", "a")]
    {
        let deep = |depth: usize| format!("{}{core}{}", open.repeat(depth), close.repeat(depth));
        let query = Query::compile(&deep(NESTING_MAX)).unwrap_or_else(|faults| panic!("{open}: {faults:?}"));
        assert!(query.evaluate(&store, SimTime::ZERO).is_ok(), "{open}");
        let deeper = Query::compile(&deep(NESTING_MAX + 1)).unwrap_err();
        assert_eq!(deeper[0].message, "a query of 129 operators and brackets", "{open}");
    }
    assert!(Query::compile(&"(".repeat(TEXT_BYTES_MAX)).is_err());
}

/// Parts that make up more than nonsense.
const WORDS: &[&str] = &[
    "a",
    "b",
    "sum",
    "rate",
    "topk",
    "by",
    "on",
    "group_left",
    "bool",
    "offset",
    "and",
    "or",
    "(",
    ")",
    "[5m]",
    "[1s:2s]",
    "{",
    "}",
    "x=\"y\"",
    "!~\"(\"",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    ">",
    ",",
    "1",
    "0.5",
    "Inf",
    "1e400",
    "5m",
    "histogram_quantile",
    "label_replace",
    "\"$1\"",
    "@",
    "é",
    "#",
    "\n",
    "'",
    "`",
    "\\",
    ":",
    "count_values",
    "absent",
    "vector",
    "time()",
    "fill",
    "without",
    "0x",
    "1y",
    "999999999999y",
];

proptest! {
    #[test]
    fn no_text_is_too_odd(parts in prop::collection::vec(prop::sample::select(WORDS), 0..30), gap in " {0,1}") {
        compile_and_ask(&parts.join(&gap));
    }

    #[test]
    fn no_characters_are_too_odd(text in ".{0,60}") {
        compile_and_ask(&text);
    }

    #[test]
    fn a_sum_is_the_sum_of_its_parts(
        values in prop::collection::vec((0..5_u8, -1000..1000_i32), 1..40),
    ) {
        let names: Vec<(String, String)> = values
            .iter()
            .enumerate()
            .map(|(i, (group, value))| (format!("a{{g=\"{group}\",i=\"{i}\"}}"), value.to_string()))
            .collect();
        let series: Vec<(&str, &str)> = names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let store = store(15, &series);
        prop_assert_eq!(ask(&store, "sum(sum by (g) (a))", 0), ask(&store, "sum(a)", 0));
        prop_assert_eq!(ask(&store, "sum(count without (i) (a))", 0), ask(&store, "count(a)", 0));
        prop_assert_eq!(ask(&store, "max(max by (g) (a))", 0), ask(&store, "max(a)", 0));
        let total: i32 = values.iter().map(|(_, value)| value).sum();
        prop_assert_eq!(ask(&store, "sum(a)", 0), Ok(vec![format!("{{}} {}", f64::from(total))]));
    }
}

/// Whatever the text, it is compiled or refused with places inside of it, and evaluated.
fn compile_and_ask(text: &str) {
    match Query::compile(text) {
        Err(faults) => {
            assert!(!faults.is_empty(), "{text}");
            for fault in faults {
                assert!(text.get(fault.span.clone()).is_some(), "{text}: {fault:?}");
            }
        }
        Ok(query) => {
            let _ = query.reach(SimDuration::from_secs(300));
            let single = query.is_single();
            let store =
                store(15, &[("a{x=\"y\"}", "1 2 3"), ("a{x=\"z\"}", "4 5 6"), ("b{x=\"y\"}", "2 3 4")]);
            if let Ok(Answer::Vector(samples)) = query.evaluate(&store, SimTime::from_secs(30)) {
                assert!(!single || samples.len() <= 1, "{text}: {samples:?}");
            }
        }
    }
}
