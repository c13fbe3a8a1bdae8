use super::*;
use crate::workload::{Packed, Request};

fn read_text(text: &str, format: SeriesFormat) -> Result<SeriesFile, Vec<Fault>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.csv");
    std::fs::write(&path, text).unwrap();
    read_series(&path, "history.file", format)
}

fn secs(secs: u64) -> SimDuration {
    SimDuration::from_secs(secs)
}

#[test]
fn values_are_read_whatever_their_times_look_like() {
    let check = |text: &str, unit: Option<TimeUnit>, step: SimDuration, expected: &[Option<f64>]| {
        let found = read_text(text, SeriesFormat { unit, ..SeriesFormat::default() })
            .unwrap_or_else(|f| panic!("{text}: {f:?}"));
        assert_eq!((found.series.step, &found.series.values[..]), (step, expected), "{text}");
    };
    let all = [Some(1.0), Some(2.5), Some(3.0)];
    let nab = "timestamp,value\n2014-04-10 00:04:00,1\n2014-04-10 00:09:00,2.5\r\n2014-04-10 00:14:00,3\n";
    check(nab, None, secs(300), &all);
    check("\"ds\",\"y\"\n\"2008-01-03\",3\n\"2008-01-01\",1\n\"2008-01-02\",2.5\n", None, secs(86_400), &all);
    check("Month,n\n1949-11,1\n1949-12,2.5\n1950-01,3\n", None, MONTH, &all);
    check("t,rate\n0,1\n600,2.5\n1200,3", None, secs(600), &all);
    check("t,rate\n0,1\n600,2.5\n1200,3\n", Some(TimeUnit::Ms), SimDuration::from_millis(600), &all);
    // A row that is missing, one without a value, one a second late, two for one step.
    check(
        "t,v\n0,1\n10,\n21,3\n40,5\n40,7\n50,1\n60,NaN\n70,2\n",
        None,
        secs(10),
        &[Some(1.0), None, Some(3.0), None, Some(6.0), Some(1.0), None, Some(2.0)],
    );
}

#[test]
fn values_without_times_need_a_period() {
    let format = SeriesFormat { period: Some(secs(1)), ..SeriesFormat::default() };
    let found = read_text("1 2\n\n3\n", format).unwrap();
    assert_eq!(found.series, Series { step: secs(1), values: vec![Some(1.0), Some(2.0), Some(3.0)] });
    let faults = read_text("1 2 3\n", SeriesFormat::default()).unwrap_err();
    assert_eq!(faults[0].message, "these are values without times");
    let faults = read_text("1 x 3\n", format).unwrap_err();
    assert_eq!((faults[0].line, faults[0].column), (Some(1), Some(3)));
}

#[test]
fn every_fault_is_named_with_its_place() {
    let check = |text: &str, expected: &[(FaultKind, Option<u64>, Option<u64>)]| {
        let faults = read_text(text, SeriesFormat::default()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.kind, fault.line, fault.column)).collect();
        assert_eq!(found, expected, "{text}");
        assert!(faults.iter().all(|fault| fault.field == "history.file"));
    };
    check("", &[(FaultKind::Empty, None, None)]);
    check("t,v\n", &[(FaultKind::Empty, None, None)]);
    check("t,v\n1,2\n", &[(FaultKind::Empty, None, None)]);
    check(
        "t,v\n0,1\nlater,2\n20,many\n30\n",
        &[(FaultKind::Value, Some(3), Some(1)), (FaultKind::Value, Some(4), Some(4))],
    );
    check("t,v\n0,1\n1,1\n2,1\n1000000,1\n", &[(FaultKind::Format, None, None)]);
    let directory = tempfile::tempdir().unwrap();
    let faults = read_series(&directory.path().join("none"), "f", SeriesFormat::default()).unwrap_err();
    assert_eq!(faults[0].kind, FaultKind::File);
}

#[test]
fn a_step_without_a_request_has_a_rate_of_zero() {
    let request = |at_s: u64, prompt_tokens| Request {
        arrival: SimTime::from_secs(at_s),
        prompt_tokens,
        output_tokens: 10,
    };
    let requests = vec![request(0, 90), request(5, 190), request(21, 40), request(31, 1)];
    let source = Packed { requests, span: secs(35) };
    let found = rates(&source, &Streams::new(1, 0), secs(10)).unwrap();
    assert_eq!(found.requests.values, [Some(0.2), Some(0.0), Some(0.1)]);
    assert_eq!(found.tokens.values, [Some(30.0), Some(0.0), Some(5.0)]);
    assert_eq!(rates(&source, &Streams::new(1, 0), SimDuration::from_nanos(1)), None);
}
