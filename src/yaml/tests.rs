//! Parsing and reading as their users meet them: text in, all faults out.

use std::fmt::Write as _;

use indexmap::IndexMap;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DEPTH_MAX, Diagnostic, Document, FAULTS_MAX, Path, Style, read, render};
use crate::kernel::{Distribution, Price, SimDuration};
use crate::sim::cluster::config::PoolSpec;
use crate::sim::config::{EngineSpec, GatewaySpec};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code)]
struct Scene {
    name: String,
    pools: IndexMap<String, PoolSpec>,
    #[serde(default)]
    gateway: GatewaySpec,
    #[serde(default)]
    engine: Option<EngineSpec>,
    #[serde(default)]
    policies: IndexMap<String, PolicySpec>,
    #[serde(default)]
    flag: bool,
    #[serde(default)]
    share: f64,
    #[serde(default)]
    pair: Option<(u32, u32)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
enum PolicySpec {
    Fixed(Fixed),
    WarmPool { spare: u32, over: Box<PolicySpec> },
    None,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code)]
struct Fixed {
    replicas: u32,
}

fn faults_of(text: &str) -> Vec<Diagnostic> {
    match Document::parse("s.yaml", text) {
        Ok(document) => read::<Scene>(&document).expect_err("it has faults"),
        Err(faults) => faults,
    }
}

fn shown(text: &str) -> String {
    render(&faults_of(text), Style::Plain)
}

fn value_of(text: &str) -> Value {
    read(&Document::parse("x.yaml", text).unwrap()).unwrap()
}

const GOOD: &str = "name: 12\npools: { a: { gpusPerNode: 8, maxNodes: 4, pricePerGpuHour: $3.60, provision: { median: 2s, p95: 4s } } }\n";

#[test]
fn a_good_scene_is_read() {
    let text = format!(
        "{GOOD}engine: {{ workers: {{ workers: 2, service: 40s }} }}\ngateway:\npolicies: {{ a: {{ fixed: {{ replicas: 3 }} }}, b: none, c: {{ warmPool: {{ spare: 1, over: {{ fixed: {{ replicas: 1 }} }} }} }} }}\nshare: 1e3\npair: [1, 2]\n"
    );
    let scene: Scene = read(&Document::parse("s.yaml", &text).unwrap()).unwrap();
    assert_eq!(scene.name, "12", "text keeps its text");
    let pool = &scene.pools["a"];
    assert_eq!(pool.price_per_gpu_hour, Some(Price { micro_usd: 3_600_000 }));
    assert_eq!(
        pool.provision,
        Distribution::LogNormal { median: SimDuration::from_secs(2), p95: SimDuration::from_secs(4) }
    );
    let Some(EngineSpec::Workers(workers)) = scene.engine else { panic!("workers") };
    assert_eq!(workers.service, Distribution::Constant(SimDuration::from_secs(40)));
    assert_eq!(scene.gateway, GatewaySpec::default(), "an empty section is all defaults");
    assert!((scene.share - 1000.0).abs() < 1e-9);
    assert!(matches!(scene.policies["b"], PolicySpec::None));
}

#[test]
fn all_faults_at_once() {
    insta::assert_snapshot!(shown(
        "nam: x
pools:
  a:
    gpusPerNode: eight
    max_nodes: 4
    provision: { median: 4s, p95: 2s }
    billedFrom: bot
  b: { maxNodes: -1, minNodes: 012 }
gateway: { requestTimeout: 5 minuts, queueLimit: \"3\", extra: 1 }
policies:
  a: { fxed: { replicas: 1 } }
  b: { warmPool: { spare: 1, over: fixed } }
  c: { fixed: {}, none: }
flag: yes
share: .inf
pair: [1]
"
    ), @r##"
      error[E0201]: unknown field `nam`
       --> s.yaml:1:1
        |
      1 | nam: x
        | ^^^ did you mean `name`?
      help: one of name, pools, gateway, engine, policies, flag, share, pair

      error[E0204]: expected a whole number, found `eight`
       --> s.yaml:4:18
        |
      4 |     gpusPerNode: eight
        |                  ^^^^^

      error[E0201]: unknown field `max_nodes`
       --> s.yaml:5:5
        |
      5 |     max_nodes: 4
        |     ^^^^^^^^^ did you mean `maxNodes`?
      help: one of gpu, gpusPerNode, minNodes, maxNodes, pricePerGpuHour, capacityType, zones, labels, priority, nodeBandwidth, imagePresent, weightsPresent, prefetch, diskBandwidth, pageCache, modelCache, imageStore, cacheTurnover, provision, setup, scaleDownUnneeded, billedFrom

      error[E0205]: p95 is below the median
       --> s.yaml:6:16
        |
      6 |     provision: { median: 4s, p95: 2s }
        |                ^^^^^^^^^^^^^^^^^^^^^^^

      error[E0203]: unknown value `bot`
       --> s.yaml:7:17
        |
      7 |     billedFrom: bot
        |                 ^^^ did you mean `boot`?
      help: one of request, boot, ready

      error[E0202]: missing field `gpusPerNode`
       --> s.yaml:8:3
        |
      8 |   b: { maxNodes: -1, minNodes: 012 }
        |   ^ `pools.b` has no `gpusPerNode`

      error[E0205]: `-1` is out of range
       --> s.yaml:8:18
        |
      8 |   b: { maxNodes: -1, minNodes: 012 }
        |                  ^^
      help: write a whole number from 0 to 4294967295

      error[E0205]: `012` is ambiguous: YAML 1.1 reads a leading zero as octal
       --> s.yaml:8:32
        |
      8 |   b: { maxNodes: -1, minNodes: 012 }
        |                                ^^^
      help: write 12, or "012" for text

      error[E0205]: `5 minuts` is not a duration (unknown unit ` minuts`)
       --> s.yaml:9:28
        |
      9 | gateway: { requestTimeout: 5 minuts, queueLimit: "3", extra: 1 }
        |                            ^^^^^^^^
      help: write e.g. 250ms, 30s, 5m, 1h30m

      error[E0204]: expected a number, found the text `3`
       --> s.yaml:9:50
        |
      9 | gateway: { requestTimeout: 5 minuts, queueLimit: "3", extra: 1 }
        |                                                  ^^^
      help: remove the quotes

      error[E0201]: unknown field `extra`
       --> s.yaml:9:55
        |
      9 | gateway: { requestTimeout: 5 minuts, queueLimit: "3", extra: 1 }
        |                                                       ^^^^^
      help: one of router, queueLimit, requestTimeout, connectTimeout

      error[E0203]: unknown policy `fxed`
        --> s.yaml:11:8
         |
      11 |   a: { fxed: { replicas: 1 } }
         |        ^^^^ did you mean `fixed`?
      help: one of fixed, warmPool, none

      error[E0202]: missing field `replicas`
        --> s.yaml:12:30
         |
      12 |   b: { warmPool: { spare: 1, over: fixed } }
         |                              ^^^^ `policies.b.warmPool.over` has no `replicas`

      error[E0205]: expected exactly one of fixed, warmPool, none, found 2 keys
        --> s.yaml:13:6
         |
      13 |   c: { fixed: {}, none: }
         |      ^^^^^^^^^^^^^^^^^^^^

      error[E0204]: expected true or false, found `yes`
        --> s.yaml:14:7
         |
      14 | flag: yes
         |       ^^^
      help: write true

      error[E0204]: expected a number, found `.inf`
        --> s.yaml:15:8
         |
      15 | share: .inf
         |        ^^^^

      error[E0204]: expected a list of 2, found a list of 1
        --> s.yaml:16:7
         |
      16 | pair: [1]
         |       ^^^
    "##);
}

#[test]
fn missing_fields_are_all_found() {
    insta::assert_snapshot!(shown("share: 1\n"), @r##"
      error[E0202]: missing field `name`
       --> s.yaml:1:1
        |
      1 | share: 1
        | ^^^^^

      error[E0202]: missing field `pools`
       --> s.yaml:1:1
        |
      1 | share: 1
        | ^^^^^
    "##);
    let empty = faults_of("");
    assert_eq!(empty.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["E0202", "E0202"]);
}

#[test]
fn broken_text() {
    insta::assert_snapshot!(shown("name: x\nname: y\npools: [\n"), @r##"
      error[E0103]: the key `name` is written twice
       --> s.yaml:2:1
        |
      2 | name: y
        | ^^^^ first written on line 1

      error[E0102]: this is not YAML: unclosed bracket '['
       --> s.yaml:3:8
        |
      3 | pools: [
        |        ^
    "##);
    insta::assert_snapshot!(shown("name: x\nname: y\npools: { a: { gpusPerNode: 1, maxNodes: 1, gpusPerNode: 2 } }\nflag: 3\n"), @r##"
      error[E0103]: the key `name` is written twice
       --> s.yaml:2:1
        |
      2 | name: y
        | ^^^^ first written on line 1

      error[E0103]: the key `gpusPerNode` is written twice
       --> s.yaml:3:44
        |
      3 | pools: { a: { gpusPerNode: 1, maxNodes: 1, gpusPerNode: 2 } }
        |                                            ^^^^^^^^^^^ first written on line 3

      error[E0204]: expected true or false, found `3`
       --> s.yaml:4:7
        |
      4 | flag: 3
        |       ^
    "##);
    let check = |text: &str, code: &str| {
        let codes: Vec<&str> = faults_of(text).iter().map(|fault| fault.code).collect();
        assert!(codes.contains(&code), "{text}: {codes:?}");
    };
    check("a: *b\n", "E0106");
    check("a: &a [*a]\n", "E0106");
    check("a: { <<: 3 }\n", "E0106");
    check("a: !foo 3\n", "E0107");
    check("a: 1\n---\nb: 2\n", "E0108");
    check("{ [1]: 2 }\n", "E0109");
    check("{{ template }}: 2\n", "E0109");
    check("a:\n\tb: x\n", "E0102");
}

#[test]
fn a_tab_is_shown_where_it_stands() {
    for (text, line, column) in
        [("a:\n\tb: x\n", 2, 1), ("a:\n  b: 1\n  \tc: x\n", 3, 3), ("a:\n  b: 1\n\tc: x\n", 3, 1)]
    {
        let faults = faults_of(text);
        let place = faults[0].place.as_ref().expect("it has one");
        assert_eq!((place.line, place.column), (line, column), "{text:?}");
        assert!(faults[0].help.iter().any(|help| help.contains("by spaces")), "{:?}", faults[0]);
    }
}

#[test]
fn no_more_faults_than_anybody_reads() {
    let duplicates = "name: x\n".repeat(20_000);
    assert_eq!(faults_of(&duplicates).len(), FAULTS_MAX);
    let unknown: Vec<String> = (0..300).map(|n| format!("field{n}: 1\n")).collect();
    let unknown = unknown.concat();
    assert_eq!(faults_of(&unknown).len(), FAULTS_MAX);
}

#[test]
fn anchors_and_merges() {
    let value = value_of(
        "base: &b { x: 1, y: [2] }\nother: &o { y: 9, z: 8 }\na: { <<: *b, x: 5 }\nc: { <<: [*b, *o] }\nd: *b\n",
    );
    assert_eq!(value["a"], json!({ "x": 5, "y": [2] }));
    assert_eq!(value["c"], json!({ "x": 1, "y": [2], "z": 8 }));
    assert_eq!(value["d"], json!({ "x": 1, "y": [2] }));
}

#[test]
fn core_schema() {
    let value = value_of("[1, -2, 1.5, true, yes, ~, 0x10, '1', 1e3, on, '', 18446744073709551615, !!str 5]");
    assert_eq!(
        value,
        json!([
            1,
            -2,
            1.5,
            true,
            "yes",
            null,
            16,
            "1",
            1000.0,
            "on",
            "",
            18_446_744_073_709_551_615_u64,
            "5"
        ])
    );
    assert!(read::<Value>(&Document::parse("x", "012").unwrap()).is_err());
}

#[test]
fn deep_documents_are_refused() {
    let check = |text: String| {
        let faults = Document::parse("s.yaml", &text).expect_err("too deep");
        assert_eq!(faults[0].code, "E0104");
    };
    check("[".repeat(20_000));
    check("{a: ".repeat(20_000));
    check("- ".repeat(20_000) + "x");
    check((0..20_000).map(|depth| " ".repeat(depth.min(300)) + "a:\n").collect());
    let deepest = "[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX);
    assert!(Document::parse("s.yaml", &deepest).is_ok());
    let by_alias = format!("a: &a {}{}\nb: [*a]\n", "[".repeat(DEPTH_MAX - 1), "]".repeat(DEPTH_MAX - 1));
    check(by_alias);
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(10);
        _ = writeln!(text, "a{level}: &a{level} [{below}]");
    }
    let faults = Document::parse("s.yaml", &text).expect_err("too large");
    assert_eq!(faults[0].code, "E0105");
}

#[test]
fn places_of_paths() {
    let document = Document::parse("s.yaml", "a:\n  b: [10, 20]\n  c: \"x < 2\"\n").unwrap();
    let check = |path: &str, line: usize, column: usize, len: usize| {
        let place = document.place(document.span_of(&Path::parse(path).unwrap()));
        assert_eq!((place.line, place.column, place.len), (line, column, len), "{path}");
    };
    check("a.b[1]", 2, 11, 2);
    check("a.b", 2, 6, 8);
    check("a.c", 3, 6, 7);
    check("a.x.y", 1, 1, 1);
    let within = document.fault_within("E0301", &Path::parse("a.c").unwrap(), 2..3, "no");
    let place = within.place.unwrap();
    assert_eq!((place.line, place.column, place.len), (3, 9, 1));
}

#[test]
fn set_writes_over_the_tree() {
    let mut document =
        Document::parse("s.yaml", "name: x\npools: { a: { gpusPerNode: 8, maxNodes: 4 } }\nl: [1, 2]\n")
            .unwrap();
    document.set("pools.a.maxNodes=9").unwrap();
    document.set("gateway.router=roundRobin").unwrap();
    document.set("l[1]={ x: [3] }").unwrap();
    let value: Value = read(&document).unwrap();
    assert_eq!(value["pools"]["a"]["maxNodes"], 9);
    assert_eq!(value["gateway"]["router"], "roundRobin");
    assert_eq!(value["l"], json!([1, { "x": [3] }]));
    for bad in ["name", "name.x=1", "l[7]=1", "=1", "a..b=1", "x=[", "pools[0]=1"] {
        let faults = document.clone().set(bad).expect_err(bad);
        assert_eq!(faults[0].code, "E0207", "{bad}");
    }
    document.set("pools.a.maxNods=9").unwrap();
    document.set("l=3").unwrap();
    let faults = read::<Scene>(&document).unwrap_err();
    insta::assert_snapshot!(render(&faults, Style::Plain), @r##"
      error[E0201]: unknown field `l`
       --> --set:1:1
        |
      1 | l=3
        | ^
      help: one of name, pools, gateway, engine, policies, flag, share, pair

      error[E0201]: unknown field `maxNods`
       --> --set:1:1
        |
      1 | pools.a.maxNods=9
        | ^^^^^^^^^^^^^^^
      help: one of gpu, gpusPerNode, minNodes, maxNodes, pricePerGpuHour, capacityType, zones, labels, priority, nodeBandwidth, imagePresent, weightsPresent, prefetch, diskBandwidth, pageCache, modelCache, imageStore, cacheTurnover, provision, setup, scaleDownUnneeded, billedFrom
    "##);
}

#[test]
fn deep_set_paths_are_refused() {
    let mut document = Document::parse("s.yaml", "a: 1\n").unwrap();
    let path = vec!["b"; 20_000].join(".");
    assert_eq!(document.set(&format!("{path}=1")).unwrap_err()[0].code, "E0207");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_panics(text in "[a-z0-9:,&*<>|'\"{}\\[\\]#!%@?~ \\n\\t\\-]{0,60}") {
        if let Ok(document) = Document::parse("x.yaml", &text) {
            let _ = read::<Scene>(&document).map_err(|faults| render(&faults, Style::Plain));
            let _ = read::<Value>(&document);
        }
    }

    #[test]
    fn no_unicode_panics(text: String) {
        match Document::parse("x.yaml", &text) {
            Ok(document) => drop(read::<Scene>(&document).map_err(|faults| render(&faults, Style::Coloured))),
            Err(faults) => drop(render(&faults, Style::Plain)),
        }
    }

    #[test]
    fn no_damage_to_a_scene_panics(at in 0..200usize, with in "[a-z0-9:{}\\[\\] \\n\"'\\-]{0,4}") {
        let mut text = format!("{GOOD}gateway: {{ router: roundRobin }}\npolicies:\n  a: {{ fixed: {{ replicas: 3 }} }}\n");
        text.insert_str(at.min(text.len()), &with);
        if let Ok(document) = Document::parse("x.yaml", &text) {
            let _ = read::<Scene>(&document).map_err(|faults| render(&faults, Style::Plain));
        }
    }
}
