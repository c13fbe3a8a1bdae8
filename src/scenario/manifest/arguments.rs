//! vLLM's arguments, where a container's command gives them: what the engine does in a run is what they say.
//!
//! After vllm-project/vllm `vllm/engine/arg_utils.py` and `vllm/utils/argparse_utils.py` (0.11): a flag's name may be
//! written with `-` or `_` and its value behind `=` or a blank; whole numbers may end in k, m, g (thousands) or K, M, G (1,024).

use super::inlay::Inlay;
use crate::yaml::Path;

/// Flags that are settings of the simulated engine.
const ENGINE: [(&str, &str, Kind); 4] = [
    ("--max-num-seqs", "maxNumSeqs", Kind::Count),
    ("--max-num-batched-tokens", "maxNumBatchedTokens", Kind::Count),
    ("--max-model-len", "maxModelLen", Kind::Count),
    ("--gpu-memory-utilization", "gpuMemoryUtilization", Kind::Share),
];

/// Flags that multiply to the GPUs of a replica.
const PARALLEL: [[&str; 2]; 2] = [["--tensor-parallel-size", "-tp"], ["--pipeline-parallel-size", "-pp"]];

/// Flags that change how fast vLLM is, or what it does with a queue.
const UNMODELLED: [&str; 20] = [
    "--enforce-eager",
    "--enable-prefix-caching",
    "--enable-chunked-prefill",
    "--no-enable-chunked-prefill",
    "--kv-cache-dtype",
    "--kv-cache-memory-bytes",
    "--quantization",
    "-q",
    "--speculative-config",
    "--data-parallel-size",
    "-dp",
    "--enable-expert-parallel",
    "--block-size",
    "--num-gpu-blocks-override",
    "--scheduling-policy",
    "--cpu-offload-gb",
    "--max-num-partial-prefills",
    "--long-prefill-token-threshold",
    "--enable-lora",
    "--kv-transfer-config",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count,
    Share,
}

/// A word of a command, and where it is written.
pub(super) struct Word {
    pub text: String,
    pub path: Path,
}

/// Takes vLLM's arguments over; those of other engines are left alone. `has_gpus` says that the container itself
/// tells how many GPUs there are.
pub(super) fn fill(inlay: &mut Inlay<'_>, container: &Path, has_gpus: bool) {
    let words = words(inlay, &[container.key("command"), container.key("args")]);
    if !is_vllm(inlay, container, &words) {
        return;
    }
    let flags = flags(&words);
    if !has_gpus {
        parallel(inlay, container, &flags);
    }
    engine(inlay, container, &flags);
    let slow: Vec<&Flag<'_>> = flags.iter().filter(|flag| UNMODELLED.contains(&flag.name.as_str())).collect();
    if let Some(first) = slow.first() {
        let names: Vec<String> = slow.iter().map(|flag| format!("`{}`", flag.name)).collect();
        let why = "how fast the engine is says the profile, which must have been measured with it";
        inlay.unmodelled(first.path, &names.join(", "), why);
    }
}

fn is_vllm(inlay: &Inlay<'_>, container: &Path, words: &[Word]) -> bool {
    let image = inlay.text(&container.key("image")).unwrap_or_default();
    let runs = |word: &Word| {
        word.text == "vllm" || word.text.ends_with("/vllm") || word.text.starts_with("vllm.entrypoints")
    };
    let runtime = inlay.text(&container.key("runtime")).unwrap_or_default();
    // KServe's own runtime for Hugging Face models serves them by vLLM.
    let format = inlay.text(&container.key("modelFormat").key("name"));
    image.to_lowercase().contains("vllm")
        || runtime.to_lowercase().contains("vllm")
        || format.is_some_and(|format| matches!(format, "huggingface" | "vLLM" | "vllm"))
        || words.iter().any(runs)
}

/// The words of commands; a script behind `sh -c` is taken apart.
pub(super) fn words(inlay: &Inlay<'_>, lists: &[Path]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for path in lists.iter().flat_map(|list| inlay.items(list)) {
        let Some(text) = inlay.text(&path) else { continue };
        let before = words.last().map_or("", |word| word.text.as_str());
        let is_script = before.starts_with('-') && !before.starts_with("--") && before.ends_with('c');
        if is_script {
            words.extend(split(text).into_iter().map(|text| Word { text, path: path.clone() }));
        } else {
            words.push(Word { text: text.to_owned(), path });
        }
    }
    words
}

/// The words of a shell's line: quotes hold them together, a backslash takes the meaning of what follows.
fn split(script: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = script.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match letters.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            (None, _) if letter.is_whitespace() || matches!(letter, ';' | '&' | '|') => {
                words.extend(word.take());
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

struct Flag<'w> {
    name: String,
    value: Option<&'w str>,
    path: &'w Path,
}

/// The flags among the words, each with what follows it.
fn flags(words: &[Word]) -> Vec<Flag<'_>> {
    let mut flags = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if !word.text.starts_with('-') {
            continue;
        }
        let next = words.get(index + 1).map(|word| word.text.as_str());
        let behind = (word.text.as_str(), next.filter(|next| !next.starts_with("--")));
        let (name, value) = word.text.split_once('=').map_or(behind, |(name, value)| (name, Some(value)));
        let name = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
        flags.push(Flag { name, value, path: &word.path });
    }
    flags
}

/// The value of a flag: an environment variable's own, where the container sets it.
fn value<'v>(inlay: &Inlay<'v>, container: &Path, flag: &Flag<'v>) -> Option<&'v str> {
    let text = flag.value?;
    let inner =
        text.strip_prefix("$(").or(text.strip_prefix("${")).map(|rest| rest.trim_end_matches([')', '}']));
    let Some(variable) = inner.or(text.strip_prefix('$')) else { return Some(text) };
    let named = inlay
        .items(&container.key("env"))
        .into_iter()
        .find(|entry| inlay.text(&entry.key("name")) == Some(variable))?;
    inlay.text(&named.key("value"))
}

/// A whole number as vLLM reads it.
fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = |suffix: char| {
        Some(match suffix {
            'k' => (1_000, true),
            'm' => (1_000_000, true),
            'g' => (1_000_000_000, true),
            'K' => (1 << 10, false),
            'M' => (1 << 20, false),
            'G' => (1 << 30, false),
            _ => return None,
        })
    };
    let Some((scale, is_decimal)) = text.chars().next_back().and_then(unit) else { return text.parse().ok() };
    let number = &text[..text.len() - 1];
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').filter(|_| is_decimal)?;
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let part = fraction.parse::<u64>().ok()?.checked_mul(scale)? / 10u64.pow(fraction.len() as u32);
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(part)
}

/// GPUs as vLLM splits a model over them.
fn parallel(inlay: &mut Inlay<'_>, container: &Path, flags: &[Flag<'_>]) {
    let mut gpus: u64 = 1;
    let mut origin = None;
    for names in PARALLEL {
        let Some(flag) = flags.iter().rev().find(|flag| names.contains(&flag.name.as_str())) else {
            continue;
        };
        match value(inlay, container, flag).and_then(|text| text.parse::<u32>().ok()) {
            Some(size) => {
                gpus = gpus.saturating_mul(u64::from(size));
                origin.get_or_insert(flag.path);
            }
            None => unreadable(inlay, flag),
        }
    }
    let at = inlay.at.key("gpus");
    if let Some(origin) = origin.filter(|_| !inlay.scenario.contains(&at)) {
        inlay.make(origin, &at, &gpus.to_string());
        inlay.note("W0203", origin, format!("taken from vLLM's arguments: `replica.gpus: {gpus}`"), "");
    }
}

fn unreadable(inlay: &mut Inlay<'_>, flag: &Flag<'_>) {
    let what = format!("the value of `{}`", flag.name);
    inlay.unmodelled(flag.path, &what, "it is not known here; write it into the scenario's `engine`");
}

/// The engine's settings, where the scenario does not say otherwise.
fn engine(inlay: &mut Inlay<'_>, container: &Path, flags: &[Flag<'_>]) {
    let engine = Path::keys(["engine"]);
    if inlay.scenario.contains(&engine.key("workers")) || inlay.scenario.text_at(&engine) == Some("workers") {
        return;
    }
    if inlay.scenario.text_at(&engine) == Some("continuous") {
        inlay.scenario.remove(&engine);
    }
    let mut taken = Vec::new();
    let mut kept = Vec::new();
    let mut first = None;
    for (name, field, kind) in ENGINE {
        // As everywhere, the last one counts.
        let Some(flag) = flags.iter().rev().find(|flag| flag.name == name) else { continue };
        let Some(text) = value(inlay, container, flag) else {
            unreadable(inlay, flag);
            continue;
        };
        // vLLM's words for "what fits", which is the default here as well.
        if matches!(text, "auto" | "-1") {
            continue;
        }
        let read = match kind {
            Kind::Count => count(text).map(|count| count.to_string()),
            Kind::Share => text.parse::<f64>().ok().filter(|share| share.is_finite()).map(|s| s.to_string()),
        };
        let Some(read) = read else {
            let message = format!("`{text}` is no value for `{name}`");
            let help = if kind == Kind::Count { "write e.g. 16 or 8k" } else { "write e.g. 0.9" };
            inlay.fault("E0205", flag.path, message, help);
            continue;
        };
        first.get_or_insert(flag.path);
        let at = engine.key("continuous").key(field);
        if inlay.scenario.contains(&at) {
            kept.push(format!("`{name} {text}`"));
        } else {
            inlay.make(flag.path, &at, &read);
            taken.push(format!("`{field}: {read}`"));
        }
    }
    let Some(first) = first else { return };
    if !taken.is_empty() {
        let message = format!("taken from vLLM's arguments into `engine.continuous`: {}", taken.join(", "));
        inlay.note("W0203", first, message, "");
    }
    if !kept.is_empty() {
        let message = format!("vLLM's {} give way to what the scenario's `engine` says", kept.join(", "));
        inlay.note("W0203", first, message, "");
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_vllm_reads_them() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(count(text), expected, "{text}");
        check("16", Some(16));
        check("8k", Some(8_000));
        check("8K", Some(8_192));
        check("25.6k", Some(25_600));
        check("1M", Some(1 << 20));
        check("1.5K", None);
        for bad in ["", "k", "-1", "1.5", "x", "1.k", ".5k", "1e3", "99999999999999999999", "99999999999999g"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn scripts_are_taken_apart() {
        let check = |script: &str, expected: &[&str]| assert_eq!(split(script), expected, "{script}");
        check("vllm serve m  --a=1 \\\n --b 2", &["vllm", "serve", "m", "--a=1", "--b", "2"]);
        check("x 'a b' \"c 'd'\" e\\ f ''", &["x", "a b", "c 'd'", "e f", ""]);
        check("sleep 5; exec x && y", &["sleep", "5", "exec", "x", "y"]);
        check("'open", &["open"]);
        check("", &[]);
        check("a\\", &["a"]);
    }
}
