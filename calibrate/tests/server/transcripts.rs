//! Recorded answers of real servers, replayed over a real socket and cut in different places.

use std::path::Path;

use crate::mock::{Behaviour, Mock};
use crate::requests::{calibrate, raw_of, series};

/// Replays a transcript in pieces of several sizes; every request must see what it holds.
fn check(file: &str, events: usize, prompt_tokens: u64, output_tokens: u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let transcript = std::fs::read(path).unwrap();
    for piece in [1, 7, 1000, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let mock =
            Mock::start(Behaviour { transcript: Some((transcript.clone(), piece)), ..Behaviour::default() });
        let run = calibrate(folder.path(), &mock.url, &["--only", "prompts"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        for sample in &series(&raw_of(folder.path()))[0].1 {
            let found =
                (sample.events_ns.len(), sample.prompt_tokens, sample.cached_tokens, sample.output_tokens);
            assert_eq!(found, (events, Some(prompt_tokens), Some(0), Some(output_tokens)), "{file}, {piece}");
        }
    }
}

#[test]
fn llama_cpp_completions_are_read() {
    check("llamacpp/completions.sse", 24, 29, 24);
}

#[test]
fn llama_cpp_chat_completions_are_read() {
    check("llamacpp/chat.sse", 24, 42, 24);
}
