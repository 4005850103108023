//! The chat of Ollama: one JSON object per line, tool calls as a whole.

use serde_json::{Value, json};

use super::{Message, Partial, Piece, Prompt, chat, complained, finish, need_few, text, usage};
use crate::error::Result;

pub(super) fn body(model: &str, max_tokens: u32, prompt: Prompt<'_>) -> Value {
    let mut body = chat(model, prompt, message);
    body["options"] = json!({"temperature": 0, "num_predict": max_tokens});
    body
}

fn message(message: &Message) -> Value {
    match message {
        Message::User { text } => json!({"role": "user", "content": text}),
        Message::Assistant { text, calls } => {
            let call = |call: &super::ToolCall| json!({"function": {"name": call.name, "arguments": call.input()}});
            let mut message = json!({"role": "assistant", "content": text});
            if !calls.is_empty() {
                message["tool_calls"] = calls.iter().map(call).collect();
            }
            message
        }
        Message::ToolResult { name, content, .. } => {
            json!({"role": "tool", "tool_name": name, "content": content})
        }
    }
}

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: usize,
}

impl Reader {
    pub(super) fn read(&mut self, data: &Value) -> Result<Vec<Piece>> {
        if let Some(error) = data.get("error").filter(|e| !e.is_null()) {
            return Err(complained(error));
        }
        let mut pieces = Vec::new();
        text(&data["message"]["content"], &mut pieces);
        let calls = data["message"]["tool_calls"].as_array();
        for call in calls.into_iter().flatten() {
            let function = &call["function"];
            let arguments = match &function["arguments"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                whole
                @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    whole.to_string()
                }
            };
            let call = Partial {
                id: call["id"].as_str().unwrap_or_default().to_owned(),
                name: function["name"].as_str().unwrap_or_default().to_owned(),
                arguments,
            };
            pieces.push(call.complete(self.calls));
            self.calls += 1;
            need_few(self.calls)?;
        }
        if data["done"] == true {
            let reason = match data["done_reason"].as_str() {
                Some("stop") | None if self.calls > 0 => "tool_calls",
                Some(reason) => reason,
                None => "stop",
            };
            pieces.push(finish(reason));
            pieces.extend(usage(&data["prompt_eval_count"], &data["eval_count"]));
        }
        Ok(pieces)
    }
}
