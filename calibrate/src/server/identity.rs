//! What a server says of itself: engine, version, model, and the limits a simulation needs.
//!
//! Each engine has its own place for it; all are asked, and what is not there stays unknown.

use std::time::Duration;

use serde_json::Value;
use thawline::profile::schema::EngineVersion;

use super::client::{Client, models};

/// What could be learned. Everything can be given by flags instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The engine.
    pub engine: Option<EngineVersion>,
    /// The name that requests must give.
    pub model: Option<String>,
    /// Bytes of the weights.
    pub weights_bytes: Option<u64>,
    /// Limits of the engine.
    pub limits: Limits,
}

/// Limits of an engine, as its simulation needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at a time: vLLM's `--max-num-seqs`, llama.cpp's `--parallel`.
    pub max_num_seqs: Option<u64>,
    /// Tokens of a step: vLLM's `--max-num-batched-tokens`, llama.cpp's `--batch-size`.
    pub max_num_batched_tokens: Option<u64>,
    /// KV cache, tokens.
    pub kv_cache_tokens: Option<u64>,
    /// Prompt and output of one sequence together, tokens.
    pub context_tokens: Option<u64>,
}

impl Limits {
    /// These, and `other` where they are silent.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_num_seqs: self.max_num_seqs.or(other.max_num_seqs),
            max_num_batched_tokens: self.max_num_batched_tokens.or(other.max_num_batched_tokens),
            kv_cache_tokens: self.kv_cache_tokens.or(other.kv_cache_tokens),
            context_tokens: self.context_tokens.or(other.context_tokens),
        }
    }

    /// What the flags of a command that starts an engine say.
    pub fn of_command(command: &str) -> Self {
        let words = words(command);
        let value = |names: &[&str]| {
            let values =
                words.iter().zip(words.iter().skip(1)).filter(|(word, _)| names.contains(&word.as_str()));
            values.filter_map(|(_, value)| value.parse().ok()).next_back()
        };
        Self {
            max_num_seqs: value(&["--max-num-seqs", "--max-running-requests", "--parallel", "-np"]),
            max_num_batched_tokens: value(&[
                "--max-num-batched-tokens",
                "--chunked-prefill-size",
                "--max-batch-prefill-tokens",
                "--batch-size",
                "-b",
            ]),
            kv_cache_tokens: value(&["--max-total-tokens", "--max-batch-total-tokens", "--ctx-size", "-c"]),
            context_tokens: value(&["--max-model-len", "--context-length"]),
        }
    }
}

/// A command's words; `--flag=value` becomes two.
fn words(command: &str) -> Vec<String> {
    let words = command.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    words
        .flat_map(|word| match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => vec![flag.to_owned(), value.to_owned()],
            _ => vec![word.to_owned()],
        })
        .collect()
}

/// A command as a raw file keeps it: file names without their directories, secrets without their value.
pub fn scrubbed(command: &str) -> String {
    let is_secret = |word: &str| {
        let word = word.to_ascii_lowercase().replace('-', "_");
        ["api_key", "token", "secret", "password"].iter().any(|name| word.ends_with(name))
    };
    let mut kept: Vec<String> = Vec::new();
    let mut hide = false;
    for word in command.split_whitespace() {
        let next = std::mem::replace(&mut hide, word.starts_with('-') && is_secret(word));
        kept.push(match word.split_once('=') {
            _ if next => "***".to_owned(),
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            Some((name, value)) => format!("{name}={}", base_name(value)),
            None => base_name(word).to_owned(),
        });
    }
    kept.join(" ")
}

/// The last part of a path; a model id of a hub, `owner/model`, is none.
pub fn base_name(path: &str) -> &str {
    let is_id = !path.starts_with(['/', '.', '~']) && path.matches('/').count() == 1;
    if is_id { path } else { path.trim_end_matches('/').rsplit('/').next().unwrap_or(path) }
}

/// Asks a server about itself.
///
/// # Errors
/// `/v1/models` cannot be read: then it is no OpenAI-compatible server, or a dead one.
pub fn ask(client: &Client) -> Result<Found, String> {
    let (names, models) = models(client)?;
    let entry = &models["data"][0];
    let mut found = Found {
        model: names.into_iter().next(),
        weights_bytes: entry["meta"]["size"].as_u64(),
        limits: Limits { context_tokens: entry["max_model_len"].as_u64(), ..Limits::default() },
        engine: None,
    };
    let engine = |name: &str, version: &Value| {
        let version = version.as_str().unwrap_or("unknown").to_owned();
        Some(EngineVersion { name: name.to_owned(), version })
    };
    if let Some(info) = json(client, "/get_server_info").or_else(|| json(client, "/server_info")) {
        found.engine = engine("SGLang", &info["version"]);
        found.limits = sglang(&info).or(found.limits);
    } else if let Some(props) = json(client, "/props").filter(|props| props["total_slots"].is_u64()) {
        found.engine = engine("llama.cpp", &props["build_info"]);
        found.limits = llama_cpp(&props).or(found.limits);
    } else if let Some(info) = json(client, "/info").filter(|info| info["model_id"].is_string()) {
        found.engine = engine("TGI", &info["version"]);
        found.limits = tgi(&info).or(found.limits);
    } else if let Some(version) = json(client, "/version").filter(|_| entry["owned_by"] == "vllm") {
        found.engine = engine("vLLM", &version["version"]);
        found.limits.kv_cache_tokens = text(client, "/metrics").as_deref().and_then(vllm_cache_tokens);
    } else if let Some(owner) = entry["owned_by"].as_str() {
        found.engine = engine(owner, &Value::Null);
    }
    Ok(found)
}

fn sglang(info: &Value) -> Limits {
    Limits {
        max_num_seqs: info["max_running_requests"].as_u64(),
        max_num_batched_tokens: info["chunked_prefill_size"].as_u64(),
        kv_cache_tokens: info["max_total_num_tokens"].as_u64(),
        context_tokens: info["context_length"].as_u64(),
    }
}

fn llama_cpp(props: &Value) -> Limits {
    let (slots, context) =
        (props["total_slots"].as_u64(), props["default_generation_settings"]["n_ctx"].as_u64());
    Limits {
        max_num_seqs: slots,
        max_num_batched_tokens: None,
        // Each slot has its own part of the cache, unless it was told to share.
        kv_cache_tokens: slots.zip(context).map(|(slots, context)| slots.saturating_mul(context)),
        context_tokens: context,
    }
}

fn tgi(info: &Value) -> Limits {
    Limits {
        max_num_seqs: info["max_batch_size"].as_u64(),
        max_num_batched_tokens: info["max_batch_prefill_tokens"].as_u64(),
        kv_cache_tokens: info["max_batch_total_tokens"].as_u64(),
        context_tokens: info["max_total_tokens"].as_u64(),
    }
}

/// Blocks times their size, from the labels of vLLM's `cache_config_info`.
fn vllm_cache_tokens(metrics: &str) -> Option<u64> {
    let line = metrics.lines().find(|line| line.starts_with("vllm:cache_config_info{"))?;
    let label = |name: &str| {
        let value = line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0;
        value.parse::<u64>().ok()
    };
    label("num_gpu_blocks")?.checked_mul(label("block_size")?)
}

fn text(client: &Client, path: &str) -> Option<String> {
    let answer = client.get(path, Duration::from_secs(10));
    answer.ok().filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

fn json(client: &Client, path: &str) -> Option<Value> {
    serde_json::from_str(&text(client, path)?).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_limits() {
        let check = |command: &str, expected: [Option<u64>; 4]| {
            let l = Limits::of_command(command);
            let found = [l.max_num_seqs, l.max_num_batched_tokens, l.kv_cache_tokens, l.context_tokens];
            assert_eq!(found, expected, "{command}");
        };
        check("llama-server -m x.gguf -np 8 -c 16384 -b 2048", [Some(8), Some(2048), Some(16384), None]);
        check(
            "vllm serve m --max-num-seqs=64 --max-num-batched-tokens 8192 --max-model-len '4096'",
            [Some(64), Some(8192), None, Some(4096)],
        );
        check("vllm serve m --max-num-seqs 64 --max-num-seqs 32", [Some(32), None, None, None]);
        check("serve --max-num-seqs", [None; 4]);
    }

    #[test]
    fn commands_are_kept_without_paths_and_secrets() {
        let check = |command: &str, expected: &str| assert_eq!(scrubbed(command), expected);
        check("/opt/x/llama-server -m /data/m.gguf -np 8", "llama-server -m m.gguf -np 8");
        check(
            "HF_TOKEN=abc vllm serve org/model --api-key xyz",
            "HF_TOKEN=*** vllm serve org/model --api-key ***",
        );
        check("serve --api-key=xyz --model=/data/m/", "serve --api-key=*** --model=m");
        check("serve --max-num-batched-tokens 2048", "serve --max-num-batched-tokens 2048");
    }

    #[test]
    fn vllm_tells_its_cache_in_its_metrics() {
        let metrics =
            "# HELP x\nvllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"2000\"} 1.0\n";
        assert_eq!(vllm_cache_tokens(metrics), Some(32_000));
        assert_eq!(vllm_cache_tokens("vllm:cache_config_info{block_size=\"16\"} 1.0"), None);
    }
}
