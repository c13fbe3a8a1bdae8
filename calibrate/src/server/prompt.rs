//! Prompts that no server has seen before, of about as many tokens as wanted.
//!
//! A prefix cache would make prefill look free, so every prompt differs from its first
//! token on, between runs of this program too. How many tokens a word makes depends on the
//! tokenizer and is learned from the servers' own counts.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Short everyday words: a token each, or nearly, for the tokenizers in use.
const WORDS: &str = "able acid also area army away baby back ball band bank base bath bean bear beat bell belt \
    best bird blue boat body bone book born both bowl bulk burn bush busy cake calm camp card care case cash cell \
    chat city clay club coal coat code cold come cook cool copy corn cost crew crop dark data date dawn days dead \
    deal dear deep desk dial diet disc door down draw drop drum dual dust duty each earn ease east easy edge else \
    even ever evil exit face fact fair fall farm fast fear feed feel file fill film find fine fire firm fish five \
    flat flow food foot ford form four free from fuel full fund gain game gate gave gear gift girl give glad goal \
    gold golf good gray grew grow gulf hair half hall hand hard harm head hear heat held help here hero high hill \
    hold hole home hope host hour huge hunt idea inch into iron item join jump jury just keen keep kind king knee \
    lack lady lake land lane last late lead left less life lift like line link list live load loan lock long look";

/// Writes prompts.
#[derive(Debug)]
pub struct Prompts {
    words: Vec<&'static str>,
    random: ChaCha8Rng,
}

impl Prompts {
    /// Prompts of this run. `salt` must be another one in each run.
    pub fn new(salt: u64) -> Self {
        Self { words: WORDS.split_whitespace().collect(), random: ChaCha8Rng::seed_from_u64(salt) }
    }

    /// A prompt of `words` words, at least one. The first is a random one of eight letters.
    pub fn write(&mut self, words: u64) -> String {
        let mut text: String = (0..8).map(|_| char::from(self.random.random_range(b'a'..=b'z'))).collect();
        for _ in 1..words {
            text.push(' ');
            text.push_str(self.words[self.random.random_range(0..self.words.len())]);
        }
        text
    }
}

/// Tokens of a prompt as a line over its words, by least squares over the answers so far.
///
/// The constant holds what a chat template adds.
#[derive(Clone, Debug, Default)]
pub struct TokenCount {
    n: f64,
    words: f64,
    tokens: f64,
    words_squared: f64,
    product: f64,
}

/// Before any answer: what English prose makes with today's vocabularies.
const TOKENS_PER_WORD: f64 = 1.3;

impl TokenCount {
    /// Learns from one answer.
    pub fn learn(&mut self, words: u64, tokens: u64) {
        let (x, y) = (words as f64, tokens as f64);
        self.n += 1.0;
        self.words += x;
        self.tokens += y;
        self.words_squared += x * x;
        self.product += x * y;
    }

    /// Words that make about `tokens` tokens; at least one.
    pub fn words_for(&self, tokens: u64) -> u64 {
        let (constant, slope) = self.line();
        ((tokens as f64 - constant) / slope).round().max(1.0) as u64
    }

    /// Constant and slope, tokens.
    fn line(&self) -> (f64, f64) {
        if self.words <= 0.0 || self.tokens <= 0.0 {
            return (0.0, TOKENS_PER_WORD);
        }
        let spread = self.words_squared * self.n - self.words * self.words;
        let slope = (self.product * self.n - self.words * self.tokens) / spread;
        if slope.is_finite() && slope > 0.0 {
            ((self.tokens - slope * self.words) / self.n, slope)
        } else {
            // All prompts had the same length, or the counts make no sense as a line.
            (0.0, self.tokens / self.words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_have_their_words_and_differ_from_the_first_one_on() {
        let mut prompts = Prompts::new(1);
        let texts: Vec<String> = (0..100).map(|_| prompts.write(5)).collect();
        let mut first: Vec<&str> = texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 100);
        assert!(texts.iter().all(|text| text.split(' ').count() == 5));
        assert_eq!(prompts.write(0).split(' ').count(), 1);
        assert_ne!(Prompts::new(2).write(5), texts[0]);
        assert_eq!(Prompts::new(1).write(5), texts[0]);
    }

    #[test]
    fn tokens_of_a_word_are_learned() {
        let check = |answers: &[(u64, u64)], tokens: u64, expected: u64| {
            let mut count = TokenCount::default();
            for &(words, tokens) in answers {
                count.learn(words, tokens);
            }
            assert_eq!(count.words_for(tokens), expected, "{answers:?}");
        };
        check(&[], 130, 100);
        check(&[(10, 30)], 60, 20);
        check(&[(10, 30), (10, 30)], 60, 20);
        check(&[(10, 25), (100, 205)], 405, 200);
        check(&[(10, 25), (100, 205)], 1, 1);
        // Counts that fall with the length are no line: then the ratio must do.
        check(&[(10, 30), (20, 0)], 30, 30);
        check(&[(10, 0)], 13, 10);
    }
}
