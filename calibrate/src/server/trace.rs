//! A measured series as a trace: the simulator replays what the server was sent.

use crate::raw::{Load, RawFile};
use crate::{Fault, Result, fault};

use super::checks::describe;
use super::past::series_of;

/// The requests of a series in the format of the Azure LLM inference traces, which
/// `thawline simulate` knows without being told: time sent, prompt tokens, output tokens.
///
/// Times are those of the file's creation plus the time into the series; only their
/// differences matter. Requests that failed are left out. Without a number, the last
/// Poisson series is taken: in an open loop alone, arrivals do not depend on the server.
///
/// # Errors
/// No such series, or nothing in it that succeeded.
pub fn write(file: &RawFile, number: Option<u32>) -> Result<String> {
    let all = series_of(&file.records);
    let wanted = |load: Load, series: u32| match number {
        Some(number) => series == number,
        None => matches!(load, Load::Poisson { .. }),
    };
    let found = all.iter().rfind(|(series, _)| wanted(series.load, series.series));
    let Some((series, samples)) = found else {
        let what = number.map_or("no Poisson series".to_owned(), |number| format!("no series {number}"));
        let mut missing = Fault::error("E0707", format!("the raw file has {what}"));
        for (series, samples) in &all {
            let line =
                format!("--series {}: {}, {} requests", series.series, describe(series.load), samples.len());
            missing = missing.helped(line);
        }
        return Err(vec![missing]);
    };
    let mut rows: Vec<(u64, u64, u64)> = samples
        .iter()
        .filter(|sample| sample.error.is_none())
        .filter_map(|sample| Some((sample.sent_ns, sample.prompt_tokens?, sample.output_tokens?)))
        .collect();
    if rows.is_empty() {
        return Err(fault("E0707", format!("no request of series {} succeeded", series.series)));
    }
    rows.sort_unstable();
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for (sent_ns, prompt, output) in rows {
        let into = jiff::SignedDuration::from_nanos(i64::try_from(sent_ns).unwrap_or(i64::MAX));
        let at = file.header.created.saturating_add(into).expect("an absolute duration always adds");
        text.push_str(&format!("{},{prompt},{output}\n", at.strftime("%Y-%m-%d %H:%M:%S.%9f")));
    }
    Ok(text)
}
