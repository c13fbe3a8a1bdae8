//! What one streamed event of an OpenAI-compatible server says.

use serde_json::Value;

use super::sse::Event;

/// Tokens as the server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Of these, from the prefix cache.
    pub cached_tokens: Option<u64>,
    /// Generated.
    pub output_tokens: Option<u64>,
}

/// One event, understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// Whether it carried text.
    pub has_text: bool,
    /// Whether it says that the answer is complete.
    pub finished: bool,
    /// The counts, where it carries them.
    pub usage: Option<Usage>,
    /// Whether it is the end mark of the stream, `[DONE]`.
    pub done: bool,
}

/// Reads an event of `/v1/completions` or `/v1/chat/completions`.
///
/// # Errors
/// The server's own error in the stream, or data that are no JSON object.
pub fn read(event: &Event) -> Result<Chunk, String> {
    let data = event.data.trim();
    if data == "[DONE]" {
        return Ok(Chunk { done: true, ..Chunk::default() });
    }
    let value: Value = serde_json::from_str(data)
        .map_err(|_| format!("the stream holds something that is not JSON: {}", excerpt(data)))?;
    if event.kind == "error" || value.get("error").is_some_and(|e| !e.is_null()) || value["object"] == "error"
    {
        return Err(format!("the server reports: {}", message(data)));
    }
    if !value.is_object() {
        return Err(format!("the stream holds something unexpected: {}", excerpt(data)));
    }
    let mut chunk = Chunk { usage: usage(&value["usage"]), ..Chunk::default() };
    for choice in value["choices"].as_array().into_iter().flatten() {
        let delta = &choice["delta"];
        let texts = [&choice["text"], &delta["content"], &delta["reasoning_content"], &delta["reasoning"]];
        chunk.has_text |= texts.iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty()));
        chunk.finished |= choice["finish_reason"].is_string();
    }
    Ok(chunk)
}

fn usage(value: &Value) -> Option<Usage> {
    value.is_object().then(|| Usage {
        prompt_tokens: value["prompt_tokens"].as_u64(),
        cached_tokens: value["prompt_tokens_details"]["cached_tokens"].as_u64(),
        output_tokens: value["completion_tokens"].as_u64(),
    })
}

/// The text of an error answer: its `message` where it is one of the usual objects, else its beginning.
pub fn message(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let places = [&value["error"]["message"], &value["message"], &value["error"], &value["detail"]];
    let found = places.iter().find_map(|place| place.as_str());
    excerpt(found.unwrap_or(body))
}

/// The first 300 characters, on one line.
fn excerpt(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{} ..", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn chunks_of_both_endpoints_are_understood() {
        let check = |data: &str, expected: Chunk| assert_eq!(read(&event("", data)), Ok(expected), "{data}");
        let text = Chunk { has_text: true, ..Chunk::default() };
        let finished = Chunk { finished: true, ..Chunk::default() };
        check(r#"{"choices":[{"text":"a","finish_reason":null}],"usage":null}"#, text.clone());
        check(r#"{"choices":[{"delta":{"content":"a"}}]}"#, text.clone());
        check(r#"{"choices":[{"delta":{"reasoning_content":"a","content":null}}]}"#, text.clone());
        check(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, Chunk::default());
        check(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, finished.clone());
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, finished);
        check(r#"{"choices":null}"#, Chunk::default());
        check(" [DONE] ", Chunk { done: true, ..Chunk::default() });
        let usage = Usage { prompt_tokens: Some(7), cached_tokens: Some(2), output_tokens: Some(3) };
        check(
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,
                "prompt_tokens_details":{"cached_tokens":2}}}"#,
            Chunk { usage: Some(usage), ..Chunk::default() },
        );
    }

    #[test]
    fn errors_in_a_stream_are_named() {
        let check = |kind: &str, data: &str, expected: &str| {
            assert_eq!(read(&event(kind, data)).unwrap_err(), expected, "{data}");
        };
        check("", r#"{"error":{"message":"out of memory","code":500}}"#, "the server reports: out of memory");
        check("", r#"{"error":"overloaded","error_type":"x"}"#, "the server reports: overloaded");
        check("", r#"{"object":"error","message":"too long"}"#, "the server reports: too long");
        check("error", r#"{"what":1}"#, r#"the server reports: {"what":1}"#);
        check("", "<html>", "the stream holds something that is not JSON: <html>");
        check("", "[1]", "the stream holds something unexpected: [1]");
    }

    #[test]
    fn long_answers_are_cut() {
        assert_eq!(message(&"é".repeat(400)).chars().count(), 303);
        assert_eq!(message("a\n  b"), "a b");
    }
}
