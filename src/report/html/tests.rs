use super::*;
use crate::report::fixture;

fn written(change: impl FnOnce(&mut crate::experiment::ExperimentOutcome)) -> String {
    let mut experiment = fixture::experiment();
    change(&mut experiment);
    let mut bytes = Vec::new();
    Html.write(&Summary::new(experiment), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The page without its scripts and styles: what is read without script.
fn readable(page: &str) -> String {
    let mut text = page.to_owned();
    for (open, close) in [("<script", "</script>"), ("<style", "</style>")] {
        while let Some(from) = text.find(open) {
            let to = text[from..].find(close).map_or(text.len(), |end| from + end + close.len());
            text.replace_range(from..to, "");
        }
    }
    text
}

#[test]
fn every_panel_says_its_figures_without_script() {
    let page = written(|_| {});
    let text = readable(&page);
    for id in ["gates", "policies", "time", "starts", "latency", "money", "decisions", "assumptions"] {
        assert!(text.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    for figure in [
        "ttft.p99 &lt; 2s",
        "4.91s",
        "weights loading",
        "$14.40",
        "ScaleUpLimit",
        "evening-spike.yaml",
        "2026-11-20",
        "bill, the sum",
    ] {
        assert!(text.contains(figure), "{figure}");
    }
    assert_eq!(text.matches("<svg ").count(), text.matches("role=\"img\" aria-label=").count());
    assert!(!text.contains("{{") && !text.contains("{%") && !text.contains("undefined"));
}

#[test]
fn it_needs_no_network() {
    let page = written(|_| {});
    for word in ["src=", "@import", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(word), "{word}");
    }
    // The only address it may hold is where namespaces and the library's home are named.
    let addresses = page.match_indices("http").map(|(at, _)| &page[at..(at + 40).min(page.len())]);
    for address in addresses.filter(|address| !address.starts_with("http-equiv")) {
        let known = ["http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"];
        assert!(known.iter().any(|known| address.starts_with(known)), "{address}");
    }
}

#[test]
fn hostile_names_are_text_everywhere() {
    let evil =
        "</script><script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}\u{202e}\u{2028}";
    let long = "w".repeat(10_000);
    let page = written(|experiment| {
        experiment.header.scenario = evil.to_owned();
        experiment.header.workload = evil.to_owned();
        experiment.header.profile = evil.to_owned();
        experiment.header.warnings[0].message = evil.to_owned();
        experiment.resolved = serde_json::json!({ evil: evil });
        experiment.policies[0].name = evil.to_owned();
        experiment.policies[1].name = long.clone();
        for run in &mut experiment.policies[0].runs {
            run.decisions[0].why.detail = evil.to_owned();
        }
    });
    assert_eq!(page.matches("<script").count(), 3, "ours");
    assert_eq!(page.matches("</script>").count(), 3);
    assert!(!page.contains("<img") && !page.contains("49") || !page.contains(">49<"));
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    let from = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let json = &page[from..from + page[from..].find("</script>").unwrap()];
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(data["policies"][0]["name"], evil);
    assert_eq!(data["policies"][1]["name"], long);
}

#[test]
fn backticks_of_the_verdict_are_code() {
    assert_eq!(with_code("does `a < 1%`, `b`"), "does <code>a &lt; 1%</code>, <code>b</code>");
    assert_eq!(with_code("one ` alone, <b>"), "one ` alone, &lt;b&gt;");
}

#[test]
fn without_slo_gates_and_runs_of_any_length_it_still_is_a_page() {
    let page = written(|experiment| {
        experiment.gates.clear();
        experiment.header.slo = crate::outcome::breach::Slo::default();
        for policy in &mut experiment.policies {
            policy.runs.truncate(1);
            policy.runs[0].breaches = None;
            policy.runs[0].starts.clear();
            policy.runs[0].decisions.clear();
            policy.runs[0].timeline = crate::outcome::Timeline::default();
            policy.runs[0].latency = crate::outcome::Latencies::default();
        }
    });
    assert_eq!(page.matches("no gates: this run cannot fail").count(), 1, "the verdict, once");
    assert!(page.contains("No gates: this run cannot fail") && page.contains("No request was answered"));
    assert!(!page.contains("NaN"));
}
