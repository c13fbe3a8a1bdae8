//! Shapes from a Hugging Face `config.json`. What our kernels do not compute is refused, not
//! approximated, and every fault is named at once.

use std::path::Path;

use serde_json::{Map, Value};

use super::shape::Shape;
use crate::{Fault, Result, fault};

/// Architectures of the same layer, with whether Q, K and V have a bias and whether the
/// embeddings are tied where the file does not say.
const ARCHITECTURES: [(&str, bool, bool); 9] = [
    ("llama", false, false),
    ("mistral", false, false),
    ("qwen2", true, false),
    ("qwen3", false, false),
    ("phi3", false, false),
    ("granite", false, false),
    ("olmo2", false, false),
    ("gemma", false, true),
    ("smollm3", false, true),
];

/// Keys whose presence means experts.
const EXPERTS: [&str; 4] = ["num_local_experts", "num_experts", "n_routed_experts", "moe_intermediate_size"];

/// Reads a `config.json`; `name` is what to call the model.
///
/// # Errors
/// E0401 if it cannot be read; E0710, every reason why it cannot be measured.
pub fn read_config(path: &Path, name: &str) -> Result<Shape> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        vec![Fault::in_file("E0401", &file, format!("cannot read the model's configuration: {e}"))]
    })?;
    parse_config(&file, &text, name)
}

/// Parses the text of a `config.json`.
///
/// # Errors
/// E0710, every reason why it cannot be measured.
pub fn parse_config(file: &str, text: &str, name: &str) -> Result<Shape> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| fault("E0710", format!("{file}: not JSON: {e}")))?;
    let Value::Object(keys) = value else {
        return Err(fault("E0710", format!("{file}: not a JSON object")));
    };
    let mut reader = Reader { keys: &keys, file, faults: Vec::new() };
    let kind = reader.refuse_what_we_do_not_compute();
    let (bias, tied) = kind.unwrap_or_default();
    let hidden = reader.size("hidden_size");
    let heads = reader.size("num_attention_heads");
    let shape = Shape {
        name: name.to_owned(),
        layers: reader.size("num_hidden_layers"),
        hidden,
        heads,
        kv_heads: reader.size_or("num_key_value_heads", heads),
        head_dim: reader.size_or("head_dim", hidden / heads.max(1)),
        feed_forward: reader.size("intermediate_size"),
        vocabulary: reader.size("vocab_size"),
        tied_embedding: reader.yes("tie_word_embeddings").unwrap_or(tied),
        qkv_bias: reader.yes("attention_bias").unwrap_or(bias),
        tensor_parallel: 1,
    };
    reader.check(&shape);
    if reader.faults.is_empty() { Ok(shape) } else { Err(reader.faults) }
}

struct Reader<'a> {
    keys: &'a Map<String, Value>,
    file: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn refuse(&mut self, message: &str) -> &mut Fault {
        self.faults.push(Fault::error("E0710", format!("{}: {message}", self.file)));
        self.faults.last_mut().expect("one was just pushed")
    }

    /// Bias and tying of a known architecture, or faults.
    fn refuse_what_we_do_not_compute(&mut self) -> Option<(bool, bool)> {
        if let Some(key) = EXPERTS.iter().find(|key| self.number(key).is_some_and(|n| n > 1)) {
            self.refuse(&format!("`{key}`: a mixture of experts; only dense models can be measured"))
                .help
                .push("`thawline-calibrate server` measures any model behind its own engine".to_owned());
        }
        if self.keys.get("quantization_config").is_some_and(Value::is_object) {
            self.refuse("`quantization_config`: quantized weights; the kernels are bf16")
                .help
                .push("in a copy without it, the same layers are measured in bf16".to_owned());
        }
        let window = self.keys.get("sliding_window").is_some_and(|w| !w.is_null());
        if window && self.yes("use_sliding_window").unwrap_or(true) {
            self.refuse("`sliding_window`: attention over a window; the kernels attend to all tokens")
                .help
                .push("in a copy with `\"sliding_window\": null`, full attention is measured".to_owned());
        }
        let Some(kind) = self.keys.get("model_type").and_then(Value::as_str) else {
            self.refuse("`model_type` is missing");
            return None;
        };
        let known = ARCHITECTURES.iter().find(|(name, ..)| *name == kind);
        if known.is_none() {
            let names: Vec<_> = ARCHITECTURES.iter().map(|(name, ..)| *name).collect();
            self.refuse(&format!("`{kind}` is not known (`model_type`); known are {}", names.join(", ")))
                .help
                .push("`thawline-calibrate server` measures any model behind its own engine".to_owned());
        }
        known.map(|&(_, bias, tied)| (bias, tied))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.keys.get(key).and_then(Value::as_u64)
    }

    fn yes(&self, key: &str) -> Option<bool> {
        self.keys.get(key).and_then(Value::as_bool)
    }

    /// A size that must be there.
    fn size(&mut self, key: &str) -> u32 {
        if self.keys.get(key).is_none_or(Value::is_null) {
            self.refuse(&format!("`{key}` is missing"));
            return 1;
        }
        self.size_or(key, 1)
    }

    fn size_or(&mut self, key: &str, default: u32) -> u32 {
        match self.keys.get(key) {
            None | Some(Value::Null) => default,
            // Far above any model, and low enough that no product of two sizes overflows.
            Some(value) => {
                let size = value.as_u64().filter(|n| (1..=1 << 24).contains(n));
                if size.is_none() {
                    self.refuse(&format!("`{key}: {value}` is not a size"));
                }
                size.map_or(1, |size| size as u32)
            }
        }
    }

    fn check(&mut self, shape: &Shape) {
        if !shape.heads.is_multiple_of(shape.kv_heads) {
            let Shape { heads, kv_heads, .. } = shape;
            self.refuse(&format!("{heads} query heads do not share {kv_heads} KV heads evenly"));
        }
        if u64::from(shape.heads + 2 * shape.kv_heads) * u64::from(shape.head_dim) > 1 << 28 {
            self.refuse("heads and `head_dim` together are beyond any model");
        }
        let sized = self.keys.get("head_dim").is_some_and(|d| !d.is_null());
        if !sized && !shape.hidden.is_multiple_of(shape.heads) {
            let Shape { hidden, heads, .. } = shape;
            self.refuse(&format!(
                "`hidden_size: {hidden}` is no multiple of {heads} heads, and `head_dim` is missing"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shape::built_in;

    fn config(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Shape> {
        let mut keys = Map::new();
        for (key, size) in [
            ("hidden_size", 4096),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("intermediate_size", 14_336),
            ("vocab_size", 128_256),
        ] {
            keys.insert(key.to_owned(), size.into());
        }
        keys.insert("model_type".to_owned(), "llama".into());
        change(&mut keys);
        parse_config("config.json", &Value::Object(keys).to_string(), "Llama-3-8B")
    }

    fn put(key: &str, value: Value) -> Result<Shape> {
        config(|keys| drop(keys.insert(key.to_owned(), value)))
    }

    #[test]
    fn the_published_configuration_is_the_built_in_shape() {
        assert_eq!(config(|_| ()).unwrap(), built_in("llama-3-8b").unwrap());
        assert_eq!(put("num_key_value_heads", Value::Null).unwrap().kv_heads, 32);
        assert_eq!(put("head_dim", 64.into()).unwrap().head_dim, 64);
        assert!(put("model_type", "qwen2".into()).unwrap().qkv_bias);
        assert!(put("tie_word_embeddings", true.into()).unwrap().tied_embedding);
    }

    #[test]
    fn what_the_kernels_do_not_compute_is_refused() {
        let check = |key: &str, value: Value, expected: &str| {
            let refused = put(key, value).unwrap_err();
            assert!(refused.iter().any(|f| f.message.contains(expected)), "{key}: {refused:?}");
        };
        check("num_local_experts", 8.into(), "mixture of experts");
        check("model_type", "mamba2".into(), "`mamba2` is not known");
        check("quantization_config", serde_json::json!({"quant_method": "fp8"}), "quantized");
        check("sliding_window", 4096.into(), "attention over a window");
        check("num_key_value_heads", 5.into(), "32 query heads do not share 5 KV heads");
        check("hidden_size", (-1).into(), "`hidden_size: -1` is not a size");
        check("head_dim", (1_u64 << 24).into(), "beyond any model");
        check("hidden_size", 4100.into(), "`head_dim` is missing");
    }

    #[test]
    fn an_unused_window_is_no_window() {
        let read = config(|keys| {
            keys.insert("sliding_window".to_owned(), 4096.into());
            keys.insert("use_sliding_window".to_owned(), false.into());
        });
        assert_eq!(read.unwrap().layers, 32);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let refused = parse_config("c.json", r#"{"num_experts": 64, "hidden_size": 0}"#, "x").unwrap_err();
        let text: Vec<_> = refused.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(text.len(), 7, "{text:#?}");
        assert!(parse_config("c.json", "[]", "x").unwrap_err()[0].message.contains("not a JSON object"));
        assert!(parse_config("c.json", "{", "x").unwrap_err()[0].message.contains("not JSON"));
    }
}
