//! Readers read what they should, point at what is wrong, and never panic.

use std::io::{Cursor, Write};

use super::super::azure::AzureSpec;
use super::super::clock::TimeUnit;
use super::super::csv::{ColumnsSpec, CsvSpec, TimeSpec};
use super::super::fault::FaultKind;
use super::super::jsonl::JsonlSpec;
use super::super::mooncake::MooncakeSpec;
use super::*;
use proptest::prelude::*;

fn columns(arrival: &str, prompt: &str, output: &str, model: Option<&str>) -> ColumnsSpec {
    ColumnsSpec {
        arrival: arrival.to_owned(),
        prompt_tokens: prompt.to_owned(),
        output_tokens: output.to_owned(),
        model: model.map(str::to_owned),
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/workload")
}

fn azure() -> AzureSpec {
    AzureSpec { file: "t.csv".to_owned() }
}

/// Reads bytes; faults come back as (line, column, message).
fn read_bytes(format: &dyn TraceFormat, bytes: &[u8]) -> Result<Vec<Request>, Vec<Fault>> {
    let mut faults = FileFaults::new("file", Path::new("t"));
    let requests = match input::unpack(Cursor::new(bytes.to_vec())) {
        Ok(lines) => read(format, lines, PACKED_UP_TO, &mut faults),
        Err(_) => None,
    };
    requests.and_then(|(kept, _)| kept).ok_or_else(|| faults.into_list())
}

fn places(faults: &[Fault]) -> Vec<(u64, u64, FaultKind)> {
    faults.iter().map(|f| (f.line.unwrap_or(0), f.column.unwrap_or(0), f.kind)).collect()
}

#[test]
fn each_format_is_read_exactly() {
    let check = |format: Arc<dyn TraceFormat>, expected: &[(u64, u32, u32)]| {
        let path = fixtures().join(format.file());
        let mut faults = FileFaults::new("file", &path);
        let scan = scan(&format, &path, PACKED_UP_TO, &mut faults);
        assert_eq!(faults.into_list(), []);
        let scan = scan.unwrap();
        let rows: Vec<(u64, u32, u32)> = scan
            .source
            .requests(&Streams::new(1, 0))
            .map(|r| (r.arrival.as_nanos() / 1000, r.prompt_tokens, r.output_tokens))
            .collect();
        assert_eq!(rows, expected);
        assert_eq!(scan.count, expected.len() as u64);
        scan.extras
    };
    let file = |name: &str| name.to_owned();
    check(
        Arc::new(AzureSpec { file: file("azure_2024_style.csv") }),
        &[(0, 2162, 5), (7405, 2399, 6), (990_070, 76, 15)],
    );
    let extras = check(
        Arc::new(MooncakeSpec { file: file("mooncake_style.jsonl") }),
        &[(0, 6758, 500), (0, 7322, 490), (3_000_000, 7200, 794)],
    );
    assert!(extras.prefix_ids);
    let extras = check(
        Arc::new(CsvSpec {
            file: file("gateway_log.csv"),
            columns: columns("arrived_s", "prompt", "completion", Some("model")),
            time: TimeSpec { unit: TimeUnit::S },
        }),
        &[(0, 100, 10), (500_000, 200, 20), (2_000_000, 300, 30), (3_000_000, 400, 40)],
    );
    let models: Vec<(&[u8], u64)> = extras.models.iter().map(|(name, n)| (name.as_slice(), *n)).collect();
    assert_eq!(models, [(b"large".as_slice(), 1), (b"small".as_slice(), 3)]);
    check(
        Arc::new(JsonlSpec {
            file: file("gateway_log.jsonl"),
            columns: columns("at", "in", "out", Some("model")),
            time: TimeSpec { unit: TimeUnit::Rfc3339 },
        }),
        &[(0, 100, 10), (500_000, 200, 20)],
    );
}

#[test]
fn faults_of_csv_rows_are_placed() {
    use FaultKind::{Column, Empty, Format, Order, Value};
    let check = |rows: &str, expected: &[(u64, u64, FaultKind)]| {
        let text = format!("TIMESTAMP,ContextTokens,GeneratedTokens\r\n{rows}");
        let faults = read_bytes(&azure(), text.as_bytes()).unwrap_err();
        assert_eq!(places(&faults), expected, "{rows}");
    };
    let good = "2023-11-16 18:00:00.5,10,20";
    check("", &[(0, 0, Empty)]);
    check(&format!("{good}\r\n2023-11-16 18:00:01,12x,0"), &[(3, 21, Value), (3, 25, Value)]);
    check(&format!("{good}\n\n2023-11-16 17:00:01,1,1\r\nnoon,1,1"), &[(4, 1, Order), (5, 1, Value)]);
    check(&format!("{good}\n2023-11-16 18:00:01,1"), &[(3, 1, Column)]);
    check(&format!("{good}\n\"2023-11-16 18:00:01\",\" 7\",-1"), &[(3, 28, Value)]);
    check(&format!("{good}\n\"open,1,1\n"), &[(3, 1, Format)]);
    check("2023-11-16 18:00:00,1,1\n2323-11-16 18:00:00,1,1", &[(3, 1, Value)]);
}

#[test]
fn a_bad_number_in_row_7431_is_found_and_all_others_are_counted() {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for row in 2..=8000 {
        let tokens = if row == 7431 { "4.8O8" } else { "4808" };
        text.push_str(&format!("2023-11-16 18:{:02}:{:02}.25,{tokens},10\n", row / 60 % 60, row % 60));
        if row == 7199 {
            break;
        }
    }
    for row in 7200..=8000 {
        let tokens = if row == 7431 { "4.8O8" } else { "4808" };
        text.push_str(&format!("2023-11-17 18:{:02}:{:02}.25,{tokens},10\n", (row - 7200) / 60, row % 60));
    }
    // The times of the first part turn over at the hour: one fault; and one at the bad number.
    let faults = read_bytes(&azure(), text.as_bytes()).unwrap_err();
    let bad = faults.iter().find(|f| f.line == Some(7431));
    let listed = faults.iter().filter(|f| f.kind == FaultKind::Order).count();
    assert_eq!(listed, 20);
    assert_eq!(bad, None);
    assert!(faults[20].message.ends_with("more faults in this file"), "{:?}", faults[20]);
    let sorted: String =
        text.lines().take(1).chain(text.lines().skip(7199)).map(|l| format!("{l}\n")).collect();
    let faults = read_bytes(&azure(), sorted.as_bytes()).unwrap_err();
    assert_eq!(places(&faults), [(233, 24, FaultKind::Value)]);
    let excerpt = faults[0].excerpt.clone().unwrap();
    assert_eq!(excerpt.text, "2023-11-17 18:03:51.25,4.8O8,10");
    assert_eq!((excerpt.offset, excerpt.width), (23, 5));
    assert_eq!(faults[0].message, "`ContextTokens` is not a number of tokens: `4.8O8`");
}

#[test]
fn missing_columns_are_named() {
    let faults = read_bytes(&azure(), b"TIMESTAMP,contextTokens,Generated\n").unwrap_err();
    let messages: Vec<&str> = faults.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        ["the column `ContextTokens` is missing", "the column `GeneratedTokens` is missing"]
    );
    assert!(faults[0].help.as_deref().unwrap().starts_with("did you mean `contextTokens`?"));
    assert_eq!(read_bytes(&azure(), b"\n\r\n").unwrap_err()[0].message, "the trace is empty");
}

#[test]
fn faults_of_json_lines_are_placed() {
    use FaultKind::{Column, Format, Value};
    let mooncake = MooncakeSpec { file: "t".to_owned() };
    let check = |rows: &str, expected: &[(u64, u64, FaultKind)]| {
        let faults = read_bytes(&mooncake, rows.as_bytes()).unwrap_err();
        assert_eq!(places(&faults), expected, "{rows}");
    };
    check(
        r#"{"timestamp": 0, "input_length": "many", "output_length": 0}"#,
        &[(1, 35, Value), (1, 59, Value)],
    );
    check(r#"{"timestamp": 0, "input_length": 5}"#, &[(1, 1, Column)]);
    check("\n[1]", &[(2, 1, Format)]);
    check(&"[".repeat(20_000), &[(1, 1, Format)]);
    check(&format!("{{\"x\": {}", "[".repeat(20_000)), &[(1, 20_006, Format)]);
    check(r#"{"timestamp": 0} {"timestamp": 1}"#, &[(1, 18, Format)]);
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_trace_too_large_for_memory_is_streamed_and_gives_the_same_requests() {
    let path = fixtures().join("azure_2024_style.csv");
    let bytes = std::fs::read(path).unwrap();
    let file = written(&bytes);
    let format: Arc<dyn TraceFormat> = Arc::new(azure());
    let mut faults = FileFaults::new("file", file.path());
    let packed = scan(&format, file.path(), 3, &mut faults).unwrap();
    let streamed = scan(&format, file.path(), 2, &mut faults).unwrap();
    assert_eq!(packed.digest, streamed.digest);
    let streams = Streams::new(1, 0);
    let all = |source: &Arc<dyn Source>| source.requests(&streams).collect::<Vec<_>>();
    assert_eq!(all(&streamed.source), all(&packed.source));
    assert_eq!(all(&streamed.source).len(), 3, "a second pass starts anew");
    assert_eq!(streamed.source.failure(), None);
    // The file loses its last row under the run.
    let cut = bytes.iter().rposition(|b| *b == b'\n').unwrap();
    file.as_file().set_len(cut as u64).unwrap();
    assert_eq!(all(&streamed.source).len(), 2);
    let failure = streamed.source.failure().unwrap();
    assert!(failure.ends_with("it had 3 requests and has 2 now"), "{failure}");
}

#[test]
fn formats_are_guessed_by_the_first_line() {
    let check =
        |file: &str, expected: Option<WorkloadSpec>| assert_eq!(guess(file, &fixtures()).ok(), expected);
    check("azure_2024_style.csv", Some(WorkloadSpec::azure("azure_2024_style.csv")));
    check("mooncake_style.jsonl", Some(WorkloadSpec::mooncake("mooncake_style.jsonl")));
    check("gateway_log.csv", None);
    check("nowhere.csv", None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            proptest::collection::vec(any::<u8>(), 0..400).prop_map(|mut b| { b.splice(0..0, [0x1f, 0x8b, 8, 0]); b }),
            "TIMESTAMP,ContextTokens,GeneratedTokens\r?\n([0-9\": .,\r\n-]{0,40}\n){0,6}".prop_map(String::into_bytes),
            "(\\{\"timestamp\": ?[0-9eE.+-]{1,8}, ?\"(input_length|x)\": ?[^\n]{0,8}, ?\"output_length\": ?[0-9]{0,3}\\}?\n){0,5}".prop_map(String::into_bytes),
        ],
    ) {
        let csv = CsvSpec {
            file: String::new(),
            columns: columns("TIMESTAMP", "ContextTokens", "GeneratedTokens", None),
            time: TimeSpec { unit: TimeUnit::S },
        };
        let mooncake = MooncakeSpec { file: String::new() };
        for format in [&azure() as &dyn TraceFormat, &csv, &mooncake] {
            match read_bytes(format, &bytes) {
                Ok(requests) => {
                    prop_assert!(!requests.is_empty() && requests.is_sorted_by_key(|r| r.arrival));
                    prop_assert!(requests.iter().all(|r| r.prompt_tokens > 0 && r.output_tokens > 0));
                }
                Err(faults) => prop_assert!(faults.len() <= 21),
            }
        }
    }
}
