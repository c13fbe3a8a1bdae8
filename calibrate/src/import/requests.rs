//! Single requests of a load tool as a series that the fit reads like one of our own.

use crate::raw::{Flag, Load, Record, RequestSample, Series};

/// One request as a tool tells it. Times in s on the tool's own clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request {
    /// When it was sent, where the tool says.
    pub(super) start: Option<f64>,
    /// When it should have been sent, if that differs.
    pub(super) due: Option<f64>,
    /// From sending to each event that carried text.
    pub(super) events: Vec<f64>,
    /// From sending to its end, if that is known.
    pub(super) latency: Option<f64>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) error: Option<String>,
}

impl Request {
    /// Events at even distances, for tools that keep only the first and the last token.
    pub(super) fn spread(first: f64, last: f64, tokens: u64) -> Vec<f64> {
        // A request of a million tokens does not exist; a broken file does.
        match tokens.min(1 << 20) {
            0 => Vec::new(),
            1 => vec![first],
            tokens => (0..tokens).map(|i| first + (last - first) * i as f64 / (tokens - 1) as f64).collect(),
        }
    }

    fn is_sound(&self) -> bool {
        let known = [self.start, self.due, self.latency].into_iter().flatten();
        let times = known.chain(self.events.iter().copied());
        times.into_iter().all(|t| t.is_finite() && (0.0..1e11).contains(&t)) && self.events.is_sorted()
    }
}

/// The flag for [`Request::spread`].
pub(super) fn spread_flag(tool: &str) -> Record {
    Record::Flag(Flag {
        flag: "evenTokens".to_owned(),
        message: format!(
            "{tool} keeps the first and the last token of a request; those between are spread evenly"
        ),
    })
}

/// The flag for random arrivals of another kind than ours.
pub(super) fn not_poisson(tool: &str) -> Record {
    Record::Flag(Flag {
        flag: "notPoisson".to_owned(),
        message: format!("{tool} sent at its rate, but not as a Poisson process"),
    })
}

/// The flag for failed requests whose end a tool does not tell.
pub(super) fn failed_flag(tool: &str, failed: usize) -> Record {
    Record::Flag(Flag {
        flag: "failedEnd".to_owned(),
        message: format!("{tool} does not say when {failed} failed requests ended: taken as at once"),
    })
}

/// A series and its requests.
///
/// # Errors
/// Why the requests cannot be put on one clock, or are no times at all.
pub(super) fn series(series: u32, load: Load, mut requests: Vec<Request>) -> Result<Vec<Record>, String> {
    if let Some(at) = requests.iter().position(|r| !r.is_sound()) {
        return Err(format!("request {at} has times that are negative, not finite, or not in order"));
    }
    if requests.iter().any(|r| r.start.is_none()) {
        reconstruct(load, &mut requests)?;
    }
    let begin = requests.iter().filter_map(|r| r.due.or(r.start)).reduce(f64::min).unwrap_or(0.0);
    let ns = |s: f64| ((s - begin).max(0.0) * 1e9).round() as u64;
    requests.sort_by(|a, b| a.start.unwrap_or(0.0).total_cmp(&b.start.unwrap_or(0.0)));
    let samples = requests.iter().enumerate().map(|(at, request)| {
        let sent = request.start.unwrap_or(begin);
        Record::Request(RequestSample {
            series,
            request: at as u32,
            due_ns: ns(request.due.unwrap_or(sent)),
            sent_ns: ns(sent),
            // Of a failed one too, where it is known: until then it may have held the server.
            done_ns: request.latency.map(|latency| ns(sent + latency)),
            events_ns: request.events.iter().map(|e| ns(sent + e)).collect(),
            prompt_tokens: request.prompt_tokens,
            cached_tokens: None,
            output_tokens: request.output_tokens,
            error: request.error.clone(),
        })
    });
    Ok(std::iter::once(Record::Series(Series { series, load })).chain(samples).collect())
}

/// Sending times where a tool keeps none: of so many clients, each sends the next request in
/// the file when its last one ends. Of random arrivals nothing can be said.
fn reconstruct(load: Load, requests: &mut [Request]) -> Result<(), String> {
    let clients = match load {
        Load::Prompts => 1,
        Load::Closed { clients } => clients.max(1) as usize,
        Load::First { .. } | Load::Poisson { .. } => {
            return Err("it keeps no sending times, and the requests were sent at random times".to_owned());
        }
    };
    let mut free = vec![0.0_f64; clients.min(requests.len()).max(1)];
    for request in requests {
        let next = free.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
        request.start = Some(free[next]);
        free[next] += request.latency.unwrap_or(0.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(latency: f64) -> Request {
        Request { latency: Some(latency), events: vec![latency / 2.0, latency], ..Request::default() }
    }

    #[test]
    fn closed_loops_are_put_together_again() {
        let load = Load::Closed { clients: 2 };
        let records = series(0, load, vec![request(3.0), request(1.0), request(1.5), request(1.0)]).unwrap();
        let sent: Vec<u64> = records
            .iter()
            .filter_map(|r| if let Record::Request(r) = r { Some(r.sent_ns / 1_000_000) } else { None })
            .collect();
        assert_eq!(sent, [0, 0, 1000, 2500]);
        let random = series(0, Load::Poisson { per_second: 1.0 }, vec![request(1.0)]).unwrap_err();
        assert!(random.contains("no sending times"), "{random}");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(
                series(0, Load::Prompts, vec![request(1.0), request(bad)]).unwrap_err().contains("request 1")
            );
        }
        assert_eq!(Request::spread(1.0, 3.0, 3), [1.0, 2.0, 3.0]);
        assert_eq!(Request::spread(1.0, 3.0, 1), [1.0]);
    }
}
