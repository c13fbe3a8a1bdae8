//! The plan: which series of requests are sent, and how long each of their requests is.
//!
//! Everything is drawn from the seed ahead of time, so that a run that was killed goes on
//! with the very series that are missing, and two runs with one seed ask for the same.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::raw::Load;

/// The parts of a plan that can be asked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Prompt lengths, one request at a time.
    Prompts,
    /// Numbers of clients, each sending the next request when its last one ends.
    Closed,
    /// Requests at random times, whatever the server does.
    Poisson,
}

impl Part {
    /// All of them, in the order they run.
    pub const ALL: [Self; 3] = [Self::Prompts, Self::Closed, Self::Poisson];

    /// The word used on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prompts => "prompts",
            Self::Closed => "closed",
            Self::Poisson => "poisson",
        }
    }
}

/// Lengths drawn uniformly, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Shortest, tokens.
    pub min: u32,
    /// Longest, tokens.
    pub max: u32,
}

impl std::str::FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|&n| n > 0);
        match (number(min), number(max)) {
            (Some(min), Some(max)) if min <= max => Ok(Self { min, max }),
            _ => Err("write a number of tokens, or a range such as 64..512".to_owned()),
        }
    }
}

impl std::fmt::Display for Lengths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}..{}", self.min, self.max) }
    }
}

impl Lengths {
    fn draw(self, random: &mut ChaCha8Rng) -> u32 {
        random.random_range(self.min..=self.max)
    }
}

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Parts to run.
    pub parts: Vec<Part>,
    /// Requests right after each start, one after the other.
    pub first_requests: u32,
    /// Prompt lengths of [`Part::Prompts`], tokens.
    pub prompt_tokens: Vec<u32>,
    /// Output of each of these requests, tokens.
    pub prompt_output_tokens: u32,
    /// Requests of each prompt length.
    pub repeats: u32,
    /// Numbers of clients; empty doubles them until the throughput stops growing.
    pub clients: Vec<u32>,
    /// Where doubling ends.
    pub max_clients: u32,
    /// Requests of each client.
    pub requests_per_client: u32,
    /// Prompts under load.
    pub load_prompt_tokens: Lengths,
    /// Outputs under load.
    pub load_output_tokens: Lengths,
    /// Poisson rates, requests a second; empty takes a share of the measured throughput.
    pub rates: Vec<f64>,
    /// That share.
    pub rate_share: f64,
    /// How long each Poisson series sends, s.
    pub poisson_seconds: f64,
    /// Seed of lengths and arrivals.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            parts: Part::ALL.to_vec(),
            first_requests: 8,
            prompt_tokens: vec![16, 32, 64, 128, 256, 512, 1024, 2048],
            prompt_output_tokens: 16,
            repeats: 4,
            clients: Vec::new(),
            max_clients: 64,
            requests_per_client: 6,
            load_prompt_tokens: Lengths { min: 64, max: 1024 },
            load_output_tokens: Lengths { min: 32, max: 192 },
            rates: Vec::new(),
            rate_share: 0.7,
            poisson_seconds: 60.0,
            seed: 1,
        }
    }
}

/// One request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, ns since the series began; 0 where the one before decides.
    pub due_ns: u64,
    /// Prompt tokens wanted.
    pub prompt_tokens: u32,
    /// Output tokens asked for.
    pub output_tokens: u32,
}

/// Prompt and output of the first requests after a start: all alike, so that only their place differs.
const FIRST: Planned = Planned { due_ns: 0, prompt_tokens: 128, output_tokens: 16 };

impl Plan {
    /// The plan as settings of a raw file.
    pub fn settings(&self) -> Map<String, Value> {
        let value = json!({
            "only": self.parts.iter().map(|part| part.word()).collect::<Vec<_>>(),
            "firstRequests": self.first_requests,
            "promptTokens": self.prompt_tokens,
            "promptOutputTokens": self.prompt_output_tokens,
            "repeats": self.repeats,
            "clients": self.clients,
            "maxClients": self.max_clients,
            "requestsPerClient": self.requests_per_client,
            "loadPromptTokens": self.load_prompt_tokens.to_string(),
            "loadOutputTokens": self.load_output_tokens.to_string(),
            "rates": self.rates,
            "rateShare": self.rate_share,
            "poissonSeconds": self.poisson_seconds,
            "seed": self.seed,
        });
        let Value::Object(settings) = value else { unreachable!("it was just written as an object") };
        settings
    }

    /// Leaves out what a sequence of `context` tokens cannot hold; a sentence for each change.
    pub fn keep_to(&mut self, context: Option<u64>) -> Vec<String> {
        let mut changes = Vec::new();
        let Some(context) = context else { return changes };
        // Prompts come out a little longer than asked for.
        let room =
            |output: u32| u32::try_from(context * 9 / 10).unwrap_or(u32::MAX).saturating_sub(output).max(1);
        let longest = room(self.prompt_output_tokens);
        let (fits, not): (Vec<u32>, Vec<u32>) = self.prompt_tokens.iter().partition(|n| **n <= longest);
        if !not.is_empty() {
            changes.push(format!("a context of {context} tokens has no room for prompts of {not:?} tokens"));
            self.prompt_tokens = fits;
        }
        let longest = room(self.load_output_tokens.max);
        if self.load_prompt_tokens.max > longest {
            changes
                .push(format!("a context of {context} tokens cuts prompts under load to {longest} tokens"));
            self.load_prompt_tokens.max = longest;
            self.load_prompt_tokens.min = self.load_prompt_tokens.min.min(longest);
        }
        changes
    }

    /// The requests of a series.
    pub fn requests(&self, load: Load) -> Vec<Planned> {
        let mut random = self.random(load);
        match load {
            Load::First { .. } => vec![FIRST; self.first_requests as usize],
            Load::Prompts => self.prompts(&mut random),
            Load::Closed { clients } => {
                let number = clients.saturating_mul(self.requests_per_client);
                (0..number).map(|_| self.under_load(0, &mut random)).collect()
            }
            Load::Poisson { per_second } => {
                let mut requests = Vec::new();
                let mut seconds = 0.0;
                let usable = per_second > 0.0;
                while usable && requests.len() < REQUESTS_MAX {
                    // The gaps of a Poisson process, by the inverse of its distribution.
                    seconds -= (1.0 - random.random::<f64>()).ln() / per_second;
                    if seconds >= self.poisson_seconds {
                        break;
                    }
                    requests.push(self.under_load((seconds * 1e9) as u64, &mut random));
                }
                requests
            }
        }
    }

    /// All lengths, `repeats` times over: what drifts meanwhile spreads over all lengths.
    fn prompts(&self, random: &mut ChaCha8Rng) -> Vec<Planned> {
        let mut requests = Vec::new();
        for _ in 0..self.repeats {
            let mut round = self.prompt_tokens.clone();
            // Fisher and Yates: no length always follows the same one.
            for end in (1..round.len()).rev() {
                round.swap(end, random.random_range(0..=end));
            }
            requests.extend(round.into_iter().map(|prompt_tokens| Planned {
                due_ns: 0,
                prompt_tokens,
                output_tokens: self.prompt_output_tokens,
            }));
        }
        requests
    }

    fn under_load(&self, due_ns: u64, random: &mut ChaCha8Rng) -> Planned {
        Planned {
            due_ns,
            prompt_tokens: self.load_prompt_tokens.draw(random),
            output_tokens: self.load_output_tokens.draw(random),
        }
    }

    /// Each series has numbers of its own: leaving one out changes no other.
    fn random(&self, load: Load) -> ChaCha8Rng {
        let which = match load {
            Load::First { .. } => 0,
            Load::Prompts => 1,
            Load::Closed { clients } => 2 + (u64::from(clients) << 8),
            Load::Poisson { per_second } => 3 + (per_second.to_bits() << 8),
        };
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(which);
        random
    }

    /// The number of clients after these (clients, tokens/s) of the closed series so far; none when done.
    pub fn next_clients(&self, done: &[(u32, f64)]) -> Option<u32> {
        if !self.clients.is_empty() {
            return self.clients.get(done.len()).copied();
        }
        let Some(&(clients, last)) = done.last() else { return Some(1) };
        let grows = done.len() < 2 || last > done[done.len() - 2].1 * GROWTH;
        let next = clients.saturating_mul(2);
        (grows && next <= self.max_clients).then_some(next)
    }
}

/// A series of more requests is a mistake in its rate.
const REQUESTS_MAX: usize = 1_000_000;

/// Doubled clients that raise the throughput by less than this have found its end.
const GROWTH: f64 = 1.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        let check = |text: &str, expected: Option<(u32, u32)>| {
            let found = text.parse::<Lengths>().ok();
            assert_eq!(found.map(|l| (l.min, l.max)), expected, "{text}");
        };
        check("64..512", Some((64, 512)));
        check("64", Some((64, 64)));
        check("512..64", None);
        check("0..3", None);
        check("many", None);
        assert_eq!("64..512".parse::<Lengths>().unwrap().to_string(), "64..512");
        assert_eq!("7".parse::<Lengths>().unwrap().to_string(), "7");
    }

    #[test]
    fn series_are_the_seeds() {
        let plan = Plan::default();
        for load in [Load::Prompts, Load::Closed { clients: 4 }, Load::Poisson { per_second: 3.0 }] {
            assert_eq!(plan.requests(load), plan.requests(load));
            let other = Plan { seed: 2, ..Plan::default() };
            assert_ne!(other.requests(load), plan.requests(load), "{load:?}");
        }
        let (four, eight) = (Load::Closed { clients: 4 }, Load::Closed { clients: 8 });
        assert_ne!(plan.requests(four)[..4], plan.requests(eight)[..4]);
    }

    #[test]
    fn prompts_take_every_length_as_often() {
        let plan = Plan { prompt_tokens: vec![1, 2, 3], repeats: 5, ..Plan::default() };
        let mut found: Vec<u32> = plan.requests(Load::Prompts).iter().map(|p| p.prompt_tokens).collect();
        found.sort_unstable();
        assert_eq!(found, [[1; 5], [2; 5], [3; 5]].concat());
    }

    #[test]
    fn a_short_context_shortens_the_plan() {
        let mut plan = Plan::default();
        assert_eq!(plan.keep_to(None), [""; 0]);
        assert_eq!(plan.keep_to(Some(8192)), [""; 0]);
        assert_eq!(plan.keep_to(Some(1024)).len(), 2);
        assert_eq!(plan.prompt_tokens, [16, 32, 64, 128, 256, 512]);
        assert_eq!(plan.load_prompt_tokens, Lengths { min: 64, max: 729 });
    }

    #[test]
    fn poisson_arrivals_have_their_rate() {
        let plan = Plan { poisson_seconds: 1000.0, ..Plan::default() };
        let requests = plan.requests(Load::Poisson { per_second: 5.0 });
        // Standard deviation of the number: sqrt(5000) = 71.
        assert!(requests.len().abs_diff(5000) < 284, "{}", requests.len());
        assert!(requests.is_sorted_by_key(|p| p.due_ns));
        let early = requests.iter().filter(|p| p.due_ns < 500_000_000_000).count();
        assert!(early.abs_diff(2500) < 200, "{early}");
        for rate in [0.0, f64::NAN, -1.0] {
            let found = plan.requests(Load::Poisson { per_second: rate });
            assert!(found.is_empty(), "{rate}");
        }
    }

    #[test]
    fn clients_double_until_the_throughput_stops_growing() {
        let plan = Plan { max_clients: 16, ..Plan::default() };
        let check = |done: &[(u32, f64)], expected: Option<u32>| {
            assert_eq!(plan.next_clients(done), expected, "{done:?}");
        };
        check(&[], Some(1));
        check(&[(1, 10.0)], Some(2));
        check(&[(1, 10.0), (2, 19.0)], Some(4));
        check(&[(1, 10.0), (2, 10.2)], None);
        check(&[(8, 10.0), (16, 19.0)], None);
        let listed = Plan { clients: vec![1, 6], ..Plan::default() };
        assert_eq!(listed.next_clients(&[(1, 10.0)]), Some(6));
        assert_eq!(listed.next_clients(&[(1, 10.0), (6, 1.0)]), None);
    }
}
