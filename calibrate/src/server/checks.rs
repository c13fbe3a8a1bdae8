//! What a reader of a series must know before trusting it, and when a series is no use at all.

use super::load::Ready;
use crate::Fault;
use crate::raw::{Flag, Load, RequestSample};

/// More failed requests than this, as a share of a series, and it is no measurement.
pub const FAILED_SHARE_MAX: f64 = 0.05;

/// The fault of a series with too many failures; `planned` requests were to be sent.
pub fn too_many_failures(load: Load, samples: &[RequestSample], planned: usize) -> Option<Fault> {
    let failed = || samples.iter().filter_map(|sample| sample.error.as_deref());
    let (number, first) = (failed().count(), failed().next()?);
    if number as f64 <= planned as f64 * FAILED_SHARE_MAX {
        return None;
    }
    let message = format!("{number} of {} requests failed ({}): {first}", samples.len(), describe(load));
    let mut fault = Fault::error("E0703", message);
    if first == super::load::NO_USAGE {
        fault =
            fault.helped("`--count-events` takes each event with text for a token, and flags the profile");
    }
    Some(fault)
}

/// A series in words.
pub fn describe(load: Load) -> String {
    match load {
        Load::First { run } => format!("first requests of start {run}"),
        Load::Prompts => "prompt lengths, one request at a time".to_owned(),
        Load::Closed { clients: 1 } => "1 client".to_owned(),
        Load::Closed { clients } => format!("{clients} clients"),
        Load::Poisson { per_second } => format!("Poisson arrivals, {per_second:.3} requests/s"),
    }
}

/// Requests and generated tokens a second, from the first byte sent to the last received.
pub fn throughput(samples: &[RequestSample]) -> Option<(f64, f64)> {
    let done = || samples.iter().filter_map(|sample| sample.done_ns.map(|done| (sample, done)));
    let first = done().map(|(sample, _)| sample.sent_ns).min()?;
    let last = done().map(|(_, done)| done).max()?;
    let seconds = last.checked_sub(first).filter(|ns| *ns > 0)? as f64 / 1e9;
    let tokens: u64 = done().filter_map(|(sample, _)| sample.output_tokens).sum();
    Some((done().count() as f64 / seconds, tokens as f64 / seconds))
}

/// A client that sends later than this, s, in one of a hundred cases, distorts what it measures.
const LAG_MAX_S: f64 = 0.005;

/// What is odd about a series.
pub fn flags(load: Load, requests: &[Ready], samples: &[RequestSample]) -> Vec<Flag> {
    let what = describe(load);
    let mut flags = Vec::new();
    let mut flag = |word: &str, message: String| {
        flags.push(Flag { flag: word.to_owned(), message: format!("{what}: {message}") });
    };
    let all = samples.len();
    let failed: Vec<&str> = samples.iter().filter_map(|sample| sample.error.as_deref()).collect();
    if let Some(first) = failed.first() {
        flag("requestsFailed", format!("{} of {all} requests failed: {first}", failed.len()));
    }
    let cached =
        samples.iter().filter(|sample| sample.cached_tokens.is_some_and(|tokens| tokens > 0)).count();
    if cached > 0 {
        flag("prefixCache", format!("{cached} of {all} prompts came partly from the server's prefix cache"));
    }
    let is_short = |sample: &&RequestSample| {
        let asked = requests.get(sample.request as usize).map(|request| u64::from(request.output_tokens));
        sample.output_tokens.zip(asked).is_some_and(|(tokens, asked)| tokens < asked)
    };
    let short = samples.iter().filter(is_short).count();
    if short * 20 > all {
        flag("shortAnswers", format!("{short} of {all} answers ended before the length asked for"));
    }
    let mut lags: Vec<u64> =
        samples.iter().map(|sample| sample.sent_ns.saturating_sub(sample.due_ns)).collect();
    lags.sort_unstable();
    let late = lags.get((lags.len() * 99 / 100).min(lags.len().saturating_sub(1)));
    if let Some(late) = late.map(|ns| *ns as f64 / 1e9).filter(|late| *late > LAG_MAX_S) {
        flag("clientLag", format!("one request in a hundred was sent {:.1} ms late or later", late * 1e3));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(request: u32, change: impl Fn(&mut RequestSample)) -> RequestSample {
        let mut sample = RequestSample {
            series: 0,
            request,
            due_ns: 0,
            sent_ns: 1_000_000,
            done_ns: Some(2_001_000_000),
            events_ns: vec![1_000_000_000],
            prompt_tokens: Some(10),
            cached_tokens: Some(0),
            output_tokens: Some(100),
            error: None,
        };
        change(&mut sample);
        sample
    }

    fn ready() -> Ready {
        Ready { due_ns: 0, prompt: String::new(), words: 1, output_tokens: 100 }
    }

    #[test]
    fn odd_series_are_flagged() {
        let check = |change: &dyn Fn(&mut RequestSample), expected: &[&str]| {
            let samples: Vec<_> = (0..10).map(|i| sample(i, change)).collect();
            let found = flags(Load::Prompts, &vec![ready(); 10], &samples);
            let words: Vec<&str> = found.iter().map(|flag| flag.flag.as_str()).collect();
            assert_eq!(words, expected);
        };
        check(&|_| (), &[]);
        check(&|s| s.error = Some("gone".to_owned()), &["requestsFailed"]);
        check(&|s| s.cached_tokens = Some(16), &["prefixCache"]);
        check(&|s| s.output_tokens = Some(99), &["shortAnswers"]);
        check(&|s| s.sent_ns = 7_000_000, &["clientLag"]);
        assert!(flags(Load::Prompts, &[], &[]).is_empty());
    }

    #[test]
    fn one_failure_in_twenty_is_borne_and_more_are_not() {
        let failed = |number: u32| -> Vec<RequestSample> {
            let fail =
                |s: &mut RequestSample| s.error = (s.request < number).then(|| "HTTP 500: no".to_owned());
            (0..20).map(|i| sample(i, fail)).collect()
        };
        assert_eq!(too_many_failures(Load::Prompts, &failed(0), 20), None);
        assert_eq!(too_many_failures(Load::Prompts, &failed(1), 20), None);
        let fault = too_many_failures(Load::Closed { clients: 4 }, &failed(2), 20).unwrap();
        assert_eq!(fault.message, "2 of 20 requests failed (4 clients): HTTP 500: no");
    }

    #[test]
    fn throughput_counts_what_was_done() {
        let mut samples = vec![sample(0, |_| ()), sample(1, |_| ())];
        samples.push(sample(2, |s| s.done_ns = None));
        assert_eq!(throughput(&samples), Some((1.0, 100.0)));
        assert_eq!(throughput(&[]), None);
    }
}
