//! Chat completions of `OpenAI`, which many servers speak.

use serde_json::{Value, json};

use super::{
    Message, Partial, Piece, Prompt, broken, chat, complained, finish, need_few, text, usage,
};
use crate::error::Result;

pub(super) fn body(model: &str, max_tokens: u32, prompt: Prompt<'_>) -> Value {
    let mut body = chat(model, prompt, message);
    body["max_tokens"] = json!(max_tokens);
    body["temperature"] = json!(0);
    body["stream_options"] = json!({"include_usage": true});
    body
}

fn message(message: &Message) -> Value {
    match message {
        Message::User { text } => json!({"role": "user", "content": text}),
        Message::Assistant { text, calls } if calls.is_empty() => {
            json!({"role": "assistant", "content": text})
        }
        Message::Assistant { text, calls } => {
            let call = |call: &super::ToolCall| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input().to_string()}});
            let content = if text.is_empty() {
                Value::Null
            } else {
                json!(text)
            };
            json!({"role": "assistant", "content": content, "tool_calls": calls.iter().map(call).collect::<Vec<_>>()})
        }
        Message::ToolResult {
            call_id, content, ..
        } => json!({"role": "tool", "tool_call_id": call_id, "content": content}),
    }
}

/// Reads chunks; the arguments of a tool call arrive in pieces, by its index.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Vec<(u64, Partial)>,
}

impl Reader {
    pub(super) fn read(&mut self, data: &Value) -> Result<Vec<Piece>> {
        if let Some(error) = data.get("error").filter(|e| !e.is_null()) {
            return Err(complained(error));
        }
        let mut pieces = Vec::new();
        let choice = &data["choices"][0];
        text(&choice["delta"]["content"], &mut pieces);
        for delta in choice["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            self.call(delta)?;
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            pieces.append(&mut self.complete());
            pieces.push(finish(reason));
        }
        let used = &data["usage"];
        pieces.extend(usage(&used["prompt_tokens"], &used["completion_tokens"]));
        Ok(pieces)
    }

    fn call(&mut self, delta: &Value) -> Result<()> {
        let id = delta["id"].as_str().filter(|id| !id.is_empty());
        let known = match (delta["index"].as_u64(), id) {
            (Some(index), _) => self.calls.iter().position(|(known, _)| *known == index),
            // Some servers send no index: a new id begins a new call.
            (None, Some(id)) => self.calls.iter().position(|(_, call)| call.id == id),
            (None, None) => self.calls.len().checked_sub(1),
        };
        let at = match known {
            Some(at) => at,
            None => {
                let next = u64::try_from(self.calls.len()).unwrap_or(u64::MAX);
                let index = delta["index"].as_u64().unwrap_or(next);
                self.calls.push((index, Partial::default()));
                need_few(self.calls.len())?;
                self.calls.len() - 1
            }
        };
        let (_, call) = self
            .calls
            .get_mut(at)
            .ok_or_else(|| broken(&"a tool call is out of order"))?;
        if let Some(id) = id {
            id.clone_into(&mut call.id);
        }
        let function = &delta["function"];
        if let Some(name) = function["name"].as_str() {
            call.name.push_str(name);
        }
        match &function["arguments"] {
            Value::String(piece) => call.arguments.push_str(piece),
            Value::Null => {}
            // Some servers send the arguments as an object.
            whole @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                call.arguments.push_str(&whole.to_string());
            }
        }
        Ok(())
    }

    fn complete(&mut self) -> Vec<Piece> {
        let calls = std::mem::take(&mut self.calls).into_iter();
        let complete = |(place, (_, call)): (usize, (u64, Partial))| call.complete(place);
        calls.enumerate().map(complete).collect()
    }

    /// Returns the calls of a stream that ended without a finish reason.
    pub(super) fn rest(mut self) -> Vec<Piece> {
        self.complete()
    }
}
