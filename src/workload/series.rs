//! Loads over time: files of values with a time each, and the rates of a trace.
//!
//! What nobody recorded and what did not happen are two things. A step of a trace in which no request arrives has a rate of zero. A
//! row that a file of values does not have is a gap: a collector was away, and nobody knows what it would have seen.

use std::path::Path;

use crate::forecast::Series;
use crate::kernel::{SimDuration, SimTime, Streams};

use super::clock::TimeUnit;
use super::csv::split;
use super::fault::{Fault, FaultKind, FileFaults, Spot};
use super::input::{self, Lines};
use super::request::Source;
use super::rows::shown;

/// Most steps of a series.
const STEPS_MAX: i128 = 10_000_000;
/// A month, of which all count alike: a twelfth of 365.25 days.
const MONTH: SimDuration = SimDuration::from_secs(2_629_800);

/// How a file of values is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesFormat {
    /// The unit of times that are plain numbers; `None` takes them for seconds.
    pub unit: Option<TimeUnit>,
    /// From one value to the next, where the file holds values without times.
    pub period: Option<SimDuration>,
    /// Whether a file with more columns than a time and a value is refused: a log of requests has those, and its first
    /// number is no load.
    pub is_alone: bool,
}

/// A file of values.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesFile {
    /// Its values; what is missing is a gap.
    pub series: Series,
    /// What the values are called.
    pub name: String,
}

/// Reads a file of values, plain or gzip: a CSV file whose first line names its columns, the time first and the value second (as in
/// the Numenta Anomaly Benchmark), or values without times, separated by white space. Rows may stand in any order. The
/// step is the median of the differences of times; each row counts for the step that is nearest, several for their mean.
///
/// # Errors
/// Every fault, with `field` as its place in a scenario.
pub fn read_series(path: &Path, field: &str, format: SeriesFormat) -> Result<SeriesFile, Vec<Fault>> {
    let mut faults = FileFaults::new(field, path);
    let read = match input::open(path) {
        Ok(lines) => read(lines, format, &mut faults),
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let why = if missing { "it does not exist".to_owned() } else { error.to_string() };
            faults.whole(FaultKind::File, format!("the series cannot be read: {why}"), None);
            None
        }
    };
    read.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_list())
}

fn read(mut lines: Lines, format: SeriesFormat, faults: &mut FileFaults) -> Option<SeriesFile> {
    let mut text = Vec::new();
    if !next(&mut lines, &mut text, faults)? {
        faults.whole(FaultKind::Empty, "the series is empty", None);
        return None;
    }
    if !text.contains(&b',') {
        return bare(lines, text, format, faults);
    }
    let mut fields = Vec::new();
    split(&text, &mut fields);
    let name = fields.get(1).map_or(Vec::new(), |field| text[field.clone()].trim_ascii().to_vec());
    if let Some(third) = fields.get(2).filter(|_| format.is_alone) {
        let names =
            fields.iter().take(8).map(|field| format!("`{}`", shown(text[field.clone()].trim_ascii())));
        let names: Vec<String> = names.collect();
        let spot = Spot { line: lines.line(), text: &text, from: third.start, len: third.len() };
        let message = format!(
            "a series has two columns, a time and a value, and this file {}: {}",
            fields.len(),
            names.join(", ")
        );
        let help = "of a log of requests, write a scenario (`workload: { csv: { file, columns, time } }`) and give it that: \
                    its requests/s and tokens/s are forecast; of a table of measurements, keep the time and the one column";
        faults.at(spot, FaultKind::Format, message, Some(help.to_owned()));
        return None;
    }
    let mut rows = Vec::new();
    let mut times = None;
    while next(&mut lines, &mut text, faults)? {
        split(&text, &mut fields);
        let cell = |index: usize| fields.get(index).map_or(&[][..], |field| text[field.clone()].trim_ascii());
        let spot = |index: usize| {
            let at = fields.get(index).map_or(0..text.len(), Clone::clone);
            Spot { line: lines.line(), text: &text, from: at.start, len: at.len() }
        };
        let times = *times.get_or_insert_with(|| Times::of(cell(0), format));
        let at = times.parse(cell(0));
        if at.is_none() {
            let message = format!("`{}` is no time like {}", shown(cell(0)), times.example());
            faults.at(spot(0), FaultKind::Value, message, None);
        }
        let value = match cell(1) {
            b"" | b"NaN" | b"nan" | b"NA" => None,
            own => {
                let value = number(own);
                if value.is_none() {
                    faults.at(spot(1), FaultKind::Value, format!("`{}` is no number", shown(own)), None);
                }
                value
            }
        };
        rows.extend(at.map(|at| (at, value)));
    }
    let series = even(rows, faults)?;
    Some(SeriesFile { series, name: shown(&name) })
}

/// Reads the next line that is not blank; `None` if the file cannot be read on.
fn next(lines: &mut Lines, text: &mut Vec<u8>, faults: &mut FileFaults) -> Option<bool> {
    loop {
        match lines.next(text) {
            Ok(true) if text.trim_ascii().is_empty() => {}
            Ok(more) => return Some(more),
            Err(error) => {
                faults.whole(FaultKind::File, format!("the series cannot be read: {error}"), None);
                return None;
            }
        }
    }
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Values without times.
fn bare(
    mut lines: Lines,
    mut text: Vec<u8>,
    format: SeriesFormat,
    faults: &mut FileFaults,
) -> Option<SeriesFile> {
    let mut values = Vec::new();
    loop {
        for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            let value = number(word);
            if value.is_none() {
                let from = word.as_ptr() as usize - text.as_ptr() as usize;
                let spot = Spot { line: lines.line(), text: &text, from, len: word.len() };
                let help =
                    "a series is a CSV file of times and values with a header, or numbers and white space";
                let message = format!("`{}` is no number", shown(word));
                faults.at(spot, FaultKind::Format, message, Some(help.to_owned()));
            }
            values.push(value);
        }
        if !faults.is_empty() || !next(&mut lines, &mut text, faults)? {
            break;
        }
    }
    let Some(step) = format.period.filter(|period| !period.is_zero()) else {
        let help = "say how far apart they are, such as `--period 1s`";
        faults.whole(FaultKind::Format, "these are values without times", Some(help.to_owned()));
        return None;
    };
    Some(SeriesFile { series: Series { step, values }, name: "value".to_owned() })
}

/// How a file writes its times.
#[derive(Clone, Copy)]
enum Times {
    Numbers(TimeUnit),
    Stamps,
    Days,
    Months,
}

impl Times {
    fn of(first: &[u8], format: SeriesFormat) -> Self {
        let dashes = first.split(|byte| *byte == b'-').count() - 1;
        match (first.len(), dashes) {
            (7, 1) if first[4] == b'-' => Self::Months,
            (10, 2) if first[4] == b'-' => Self::Days,
            (11.., 2..) => Self::Stamps,
            _ => Self::Numbers(format.unit.unwrap_or(TimeUnit::S)),
        }
    }

    /// ns since some origin.
    fn parse(self, text: &[u8]) -> Option<i128> {
        let stamp = |rest: &[u8]| TimeUnit::Rfc3339.parse(&[text, rest].concat());
        match self {
            Self::Numbers(unit) => unit.parse(text),
            Self::Stamps => stamp(b""),
            Self::Days => stamp(b"T00:00:00"),
            Self::Months => {
                stamp(b"-01T00:00:00")?;
                let of = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<i128>().ok();
                Some((of(&text[..4])? * 12 + of(&text[5..])? - 1) * i128::from(MONTH.as_nanos()))
            }
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Numbers(unit) => unit.example(),
            Self::Stamps => "2014-04-10 00:05:00",
            Self::Days => "2014-04-10",
            Self::Months => "2014-04",
        }
    }
}

/// Rows at their times to values at even steps.
fn even(mut rows: Vec<(i128, Option<f64>)>, faults: &mut FileFaults) -> Option<Series> {
    // Rows of one time keep their order, and so does their sum.
    rows.sort_by_key(|(at, _)| *at);
    let mut gaps: Vec<i128> =
        rows.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|gap| *gap > 0).collect();
    gaps.sort_unstable();
    let (Some(step), Some((first, _)), Some((last, _))) =
        (gaps.get(gaps.len() / 2), rows.first(), rows.last())
    else {
        if faults.is_empty() {
            faults.whole(FaultKind::Empty, "a series needs values at two times at least", None);
        }
        return None;
    };
    let steps = (last - first + step / 2) / step + 1;
    if steps > STEPS_MAX || steps > 4 * rows.len() as i128 {
        let message = format!("{} rows lie in {steps} steps: their times are not even", rows.len());
        let help = "the step is the median of the differences; check the times and their unit";
        faults.whole(FaultKind::Format, message, Some(help.to_owned()));
        return None;
    }
    let mut sums = vec![(0.0, 0_u32); steps as usize];
    for (at, value) in rows.iter().filter_map(|(at, value)| Some((at, (*value)?))) {
        let (sum, count) = &mut sums[((at - first + step / 2) / step) as usize];
        *sum += value;
        *count += 1;
    }
    let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
    let step = SimDuration::from_nanos(u64::try_from(*step).unwrap_or(u64::MAX));
    Some(Series { step, values: sums.into_iter().map(mean).collect() })
}

/// What a trace asks for over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Requests/s.
    pub requests: Series,
    /// Prompt and output tokens/s, by the arrival of their requests.
    pub tokens: Series,
}

/// Rates at a step, from the start of the workload; an incomplete last step is left out. `None` if there are too many steps.
pub fn rates(source: &dyn Source, streams: &Streams, step: SimDuration) -> Option<Rates> {
    let per_s = 1.0 / step.as_secs_f64();
    let (mut requests, mut tokens): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut last = SimTime::ZERO;
    for request in source.requests(streams) {
        last = request.arrival;
        let index = last.as_nanos() / step.as_nanos().max(1);
        if i128::from(index) >= STEPS_MAX {
            return None;
        }
        if requests.len() <= index as usize {
            requests.resize(index as usize + 1, 0);
            tokens.resize(index as usize + 1, 0);
        }
        requests[index as usize] += 1;
        tokens[index as usize] += u64::from(request.prompt_tokens) + u64::from(request.output_tokens);
    }
    let end = source.span().unwrap_or(last.since(SimTime::ZERO));
    let whole = end.as_nanos() / step.as_nanos().max(1);
    if i128::from(whole) >= STEPS_MAX {
        return None;
    }
    let series = |mut counts: Vec<u64>| {
        counts.resize(whole as usize, 0);
        Series { step, values: counts.into_iter().map(|count| Some(count as f64 * per_s)).collect() }
    };
    Some(Rates { requests: series(requests), tokens: series(tokens) })
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
