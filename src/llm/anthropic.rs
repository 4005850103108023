//! Messages of Anthropic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Message, Partial, Piece, Prompt, complained, finish, need_few, text, usage};
use crate::error::Result;

pub(super) fn body(model: &str, max_tokens: u32, prompt: Prompt<'_>) -> Value {
    let mut body = json!({
        "model": model,
        "system": prompt.system,
        "messages": messages(prompt.messages),
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": true,
    });
    if !prompt.tools.is_empty() {
        let tool = |tool: &super::Tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters});
        body["tools"] = prompt.tools.iter().map(tool).collect();
    }
    body
}

/// Returns the messages; results of tools are blocks of the user's turn, and turns alternate.
fn messages(messages: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let said = |text: &str| json!({"type": "text", "text": text});
        let (role, blocks) = match message {
            Message::User { text } => ("user", vec![said(text)]),
            Message::Assistant { text, calls } => {
                let mut blocks = Vec::new();
                if !text.is_empty() {
                    blocks.push(said(text));
                }
                let call = |call: &super::ToolCall| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input()});
                blocks.extend(calls.iter().map(call));
                ("assistant", blocks)
            }
            Message::ToolResult {
                call_id, content, ..
            } => (
                "user",
                vec![json!({"type": "tool_result", "tool_use_id": call_id, "content": content})],
            ),
        };
        match turns.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turn = |(role, blocks): (&str, Vec<Value>)| json!({"role": role, "content": blocks});
    turns.into_iter().map(turn).collect()
}

/// Reads events; the input of a tool arrives in pieces, by the index of its block.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: BTreeMap<u64, Partial>,
    complete: usize,
}

impl Reader {
    pub(super) fn read(&mut self, data: &Value) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let index = data["index"].as_u64().unwrap_or_default();
        match data["type"].as_str() {
            Some("error") => return Err(complained(&data["error"])),
            Some("content_block_start") => {
                let block = &data["content_block"];
                text(&block["text"], &mut pieces);
                if block["type"] == "tool_use" {
                    let member = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
                    let call = Partial {
                        id: member("id"),
                        name: member("name"),
                        arguments: String::new(),
                    };
                    self.calls.insert(index, call);
                    need_few(self.complete + self.calls.len())?;
                }
            }
            Some("content_block_delta") => {
                let delta = &data["delta"];
                text(&delta["text"], &mut pieces);
                if let (Some(call), Some(piece)) =
                    (self.calls.get_mut(&index), delta["partial_json"].as_str())
                {
                    call.arguments.push_str(piece);
                }
            }
            Some("content_block_stop") => {
                if let Some(call) = self.calls.remove(&index) {
                    pieces.push(call.complete(self.complete));
                    self.complete += 1;
                }
            }
            Some("message_start") => {
                let used = &data["message"]["usage"];
                pieces.extend(usage(&used["input_tokens"], &used["output_tokens"]));
            }
            Some("message_delta") => {
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    pieces.push(finish(reason));
                }
                pieces.extend(usage(
                    &data["usage"]["input_tokens"],
                    &data["usage"]["output_tokens"],
                ));
            }
            _ => {}
        }
        Ok(pieces)
    }
}
