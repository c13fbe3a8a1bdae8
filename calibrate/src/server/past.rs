//! What a raw file holds of series and starts: for going on after a kill, and for replaying.

use std::collections::BTreeSet;

use crate::raw::{Record, RequestSample, Series};

/// Every series with its requests, in the order they began.
pub fn series_of(records: &[Record]) -> Vec<(Series, Vec<RequestSample>)> {
    let mut all: Vec<(Series, Vec<RequestSample>)> = Vec::new();
    for record in records {
        match record {
            Record::Series(series) => all.push((series.clone(), Vec::new())),
            Record::Request(sample) => {
                if let Some((_, samples)) = all.iter_mut().rfind(|(series, _)| series.series == sample.series)
                {
                    samples.push(sample.clone());
                }
            }
            _ => {}
        }
    }
    all
}

/// The number of the next series.
pub fn next_series(records: &[Record]) -> u32 {
    series_of(records).iter().map(|(series, _)| series.series + 1).max().unwrap_or(0)
}

/// Starts whose stages are in the file.
pub fn starts_in(records: &[Record]) -> usize {
    let runs = records.iter().filter_map(|record| match record {
        Record::Stage(stage) => Some(stage.run),
        _ => None,
    });
    runs.collect::<BTreeSet<u32>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Load;

    fn sample(series: u32, request: u32) -> Record {
        Record::Request(RequestSample {
            series,
            request,
            due_ns: 0,
            sent_ns: 0,
            done_ns: None,
            events_ns: Vec::new(),
            prompt_tokens: None,
            cached_tokens: None,
            output_tokens: None,
            error: None,
        })
    }

    #[test]
    fn requests_find_their_series() {
        let begin = |series| Record::Series(Series { series, load: Load::Closed { clients: series + 1 } });
        let records = [begin(0), sample(0, 1), begin(3), sample(3, 0), sample(0, 0), sample(9, 0)];
        let found = series_of(&records);
        let numbers: Vec<_> = found
            .iter()
            .map(|(s, all)| (s.series, all.iter().map(|r| r.request).collect::<Vec<_>>()))
            .collect();
        assert_eq!(numbers, [(0, vec![1, 0]), (3, vec![0])]);
        assert_eq!(next_series(&records), 4);
        assert_eq!((next_series(&[]), starts_in(&records)), (0, 0));
    }
}
