//! `thawline forecast` through the program: what it prints and draws, that it is the same every time, and what it refuses.

mod common;

use std::fs;
use std::path::Path;

use common::{expect, names, write_small};

const ELB: &str = "scenarios/traces/nab_elb_request_count_8c0756.csv";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The mean absolute errors of a JSON answer at its first horizon, by model.
fn errors(json: &str) -> Vec<(String, f64)> {
    let answer: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let scores = answer["series"][0]["scores"].as_array().expect("it has scores").clone();
    let first = scores[0]["horizon"].clone();
    let of_first = scores.iter().filter(|score| score["horizon"] == first);
    of_first
        .map(|score| {
            (
                score["model"].as_str().unwrap_or_default().to_owned(),
                score["mae"].as_f64().unwrap_or(f64::NAN),
            )
        })
        .collect()
}

#[test]
fn every_model_is_scored_beside_naive_and_the_default_beats_it() {
    let arguments = ["forecast", ELB, "--format", "json"];
    let (json, stderr) = expect(root(), &arguments, 0);
    assert_eq!(stderr, "");
    let found = errors(&json);
    let models: Vec<&str> = found.iter().map(|(model, _)| model.as_str()).collect();
    assert_eq!(
        models,
        [
            "seasonalNaive",
            "lastValue",
            "movingAverage",
            "ewma",
            "kalmanTrend",
            "holt",
            "holtWinters",
            "holtWintersMultiplicative",
            "ar",
            "seasonalAr",
            "mixture"
        ]
    );
    let mae = |name: &str| found.iter().find(|(model, _)| model == name).expect(name).1;
    // Recomputed from the file by the definition: what was 288 rows before, from row 577 on.
    let text = fs::read_to_string(root().join(ELB)).expect("it is shipped");
    let mut rows: Vec<(i64, f64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (time, value) = line.split_once(',').expect("two columns");
            let at: jiff::civil::DateTime = time.replace(' ', "T").parse().expect("a time");
            let minutes = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second() / 60;
            (minutes, value.parse().expect("a number"))
        })
        .collect();
    rows.sort_by_key(|row| row.0);
    let first = rows[0].0;
    let mut values = vec![None; ((rows[rows.len() - 1].0 - first) as f64 / 5.0).round() as usize + 1];
    for (at, value) in &rows {
        values[((at - first) as f64 / 5.0).round() as usize] = Some(*value);
    }
    // The model is told a gap as what it expected: the value of the season before.
    for index in 288..values.len() {
        values[index] = values[index].or(values[index - 288]);
    }
    let known =
        |index: usize| rows.iter().any(|(at, _)| ((at - first) as f64 / 5.0).round() as usize == index);
    let off: Vec<f64> = (576..values.len())
        .filter(|index| known(*index))
        .map(|index| (values[index].expect("filled") - values[index - 288].unwrap_or(0.0)).abs())
        .collect();
    let expected = off.iter().sum::<f64>() / off.len() as f64;
    assert!((mae("seasonalNaive") - expected).abs() < 1e-9, "{} {expected}", mae("seasonalNaive"));
    assert!(mae("mixture") < 0.8 * mae("seasonalNaive"), "{found:?}");
    assert_eq!(expect(root(), &arguments, 0).0, json, "the same every time");
}

#[test]
fn requests_and_tokens_of_a_trace_and_of_a_scenario_are_tried_alike() {
    let azure = "scenarios/traces/azure_llm_2023_conv.csv";
    let (text, _) = expect(root(), &["forecast", azure, "--step", "30s", "--horizons", "30s,2m"], 0);
    for words in [
        "azure_llm_2023_conv, requests/s: 116 steps of 30s",
        "azure_llm_2023_conv, tokens/s",
        "2m ahead",
        "no season",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let directory = tempfile::tempdir().expect("there is room");
    write_small(directory.path(), "");
    let arguments = [
        "forecast",
        "small.yaml",
        "--set",
        "workload.duration=30m",
        "--model",
        "lastValue",
        "--model",
        "{ ar: { lags: 2 } }",
        "--svg",
        "f.svg",
    ];
    let (text, _) = expect(directory.path(), &arguments, 0);
    assert!(
        text.contains("{ ar: { lags: 2 } }") && text.contains("Poisson 4 requests/s, requests/s"),
        "{text}"
    );
    let svg = fs::read_to_string(directory.path().join("f.svg")).expect("it was drawn");
    assert!(svg.starts_with("<svg ") && svg.contains("<polyline"), "{svg}");
    assert_eq!(names(directory.path()), ["f.svg", "small.yaml"]);
}

#[test]
fn what_a_series_cannot_answer_is_refused_all_at_once() {
    let check = |arguments: &[&str], expected: &[&str]| {
        let all = [&["forecast", ELB], arguments].concat();
        let (stdout, stderr) = expect(root(), &all, 2);
        assert_eq!(stdout, "");
        for words in expected {
            assert!(stderr.contains(words), "{words}\n{stderr}");
        }
        assert_eq!(stderr.matches("error[").count(), expected.len(), "{stderr}");
        assert!(stderr.contains("help: "), "{stderr}");
    };
    check(&["--season", "200h"], &["a season of 200h does not come twice in 336h40m"]);
    check(&["--horizons", "400h"], &["forecasts reach 400h ahead"]);
    check(&["--warm-up", "400h"], &["nothing is left to score"]);
    check(&["--quantiles", "0.9,0.1"], &["the quantiles 0.9, 0.1 contradict each other"]);
    check(&["--quantiles", "0.5"], &["the quantiles 0.5 contradict each other"]);
    check(&["--quantiles", "0,0.5,1"], &["the quantiles 0, 0.5, 1 contradict each other"]);
    check(&["--model", "arima"], &["unknown forecaster `arima`"]);
    check(&["--model", "{ ar: { lags: 99 } }"], &["1 to 24 lags, not 99"]);
    check(
        &["--quantiles", "2,3", "--season", "200h", "--horizons", "0s"],
        &["contradict", "does not come twice", "a horizon of 0s is no forecast"],
    );
    let directory = tempfile::tempdir().expect("there is room");
    for (text, words) in [("", "the series is empty"), ("t,v\n", "two times"), ("1 2 3\n", "`--period 1s`")] {
        fs::write(directory.path().join("s.csv"), text).expect("there is room");
        let (stdout, stderr) = expect(directory.path(), &["forecast", "s.csv"], 2);
        assert!(
            stdout.is_empty() && stderr.contains(words) && stderr.contains("error[E06"),
            "{text:?}: {stderr}"
        );
    }
    fs::write(directory.path().join("log.csv"), "t,prompt,output\n0,12,5\n1,9,5\n").expect("there is room");
    let (_, stderr) = expect(directory.path(), &["forecast", "log.csv"], 2);
    assert!(stderr.contains("error[E0604]") && stderr.contains("`prompt`, `output`"), "{stderr}");
    assert!(stderr.contains("write a scenario"), "{stderr}");
    let (_, stderr) = expect(directory.path(), &["forecast", "none.csv"], 2);
    assert!(stderr.contains("error[E0401]"), "{stderr}");
}
