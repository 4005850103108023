//! Language models behind endpoints: the streaming protocols of `OpenAI` (chat completions), Anthropic (messages) and Ollama (chat), with tool calls. It knows nothing
//! of what is asked.

mod anthropic;
pub mod catalog;
mod ollama;
mod openai;

use std::str::FromStr;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::error::{Detail, Error, Result};
use crate::outgoing::{endpoint_client, retry_after};

/// Error code of an endpoint that cannot be reached, is overloaded, or whose response broke off.
pub const FAILED: &str = "answer_endpoint_failed";
/// Error code of an endpoint that has had too many requests.
pub const LIMITED: &str = "answer_endpoint_limited";
/// Error code of an endpoint that refused the request: an invalid key, an unknown model.
pub const REFUSED: &str = "answer_endpoint_refused";

/// Maximum bytes of a response; an answer has at most some thousand tokens.
const BYTES: usize = 4 << 20;
/// Longest line of a stream in bytes.
const LINE: usize = 1 << 20;
/// Most tool calls of a response.
const CALLS: usize = 64;

/// Protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `POST {base}/chat/completions`.
    OpenAi,
    /// `POST {base}/messages`.
    Anthropic,
    /// `POST {base}/api/chat`.
    Ollama,
}

impl Protocol {
    /// Returns the name of the adapter that speaks it.
    #[must_use]
    pub fn adapter(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "claude",
            Self::Ollama => "ollama",
        }
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "openai" => Ok(Self::OpenAi),
            "anthropic" => Ok(Self::Anthropic),
            "ollama" => Ok(Self::Ollama),
            other => Err(Error::invalid(
                "config_invalid",
                format!(
                    "the protocol of a language model must be openai, anthropic or ollama, not {other:?}"
                ),
            )),
        }
    }
}

/// Where a language model is served.
#[derive(Clone)]
pub struct Address {
    pub protocol: Protocol,
    /// Base URL without a trailing slash.
    pub url: String,
    /// API key; empty for none.
    pub key: String,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("protocol", &self.protocol)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A language model behind an endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    client: Client,
    clock: Clock,
    address: Address,
    model: String,
    max_tokens: u32,
}

/// A message of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Said to the model.
    User { text: String },
    /// Said by the model, with the tools that it called.
    Assistant { text: String, calls: Vec<ToolCall> },
    /// The result of a tool call.
    ToolResult {
        call_id: String,
        name: String,
        content: String,
    },
}

/// A call of a tool by a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Id of the call within the conversation.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments as the model wrote them: a JSON object, if the model is right.
    pub arguments: String,
}

impl ToolCall {
    /// Returns the arguments; an absent text is an empty object.
    ///
    /// # Errors
    /// `arguments_invalid`, with a message that helps the model to correct itself.
    pub fn parsed(&self) -> Result<Map<String, Value>> {
        if self.arguments.trim().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_str(&self.arguments).map_err(|e| {
            Error::invalid(
                "arguments_invalid",
                format!("the arguments of {} are not a JSON object: {e}", self.name),
            )
        })
    }

    /// Returns the arguments as a value for a protocol; an empty object for invalid ones.
    fn input(&self) -> Value {
        Value::Object(self.parsed().unwrap_or_default())
    }
}

/// A tool that a model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON schema of the arguments.
    pub parameters: Value,
}

/// A request to a model.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// Instructions that precede the conversation.
    pub system: &'a str,
    pub messages: &'a [Message],
    pub tools: &'a [Tool],
}

/// Token usage as reported by the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the response.
    pub output_tokens: u64,
}

impl Usage {
    /// Merges a later report: some endpoints report input and output separately, and report growing counts.
    pub fn merge(&mut self, later: Self) {
        self.input_tokens = self.input_tokens.max(later.input_tokens);
        self.output_tokens = self.output_tokens.max(later.output_tokens);
    }

    /// Returns the usage with estimates of what is not reported, by the characters sent and received.
    #[must_use]
    pub fn or_estimated(self, sent: usize, received: usize) -> Self {
        let filled = |reported, characters| match reported {
            0 => estimated(characters),
            reported => reported,
        };
        Self {
            input_tokens: filled(self.input_tokens, sent),
            output_tokens: filled(self.output_tokens, received),
        }
    }

    /// Returns the tokens of the prompt and the response together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// Characters per token of English text, of which estimates are made.
const CHARACTERS: u64 = 4;

/// Returns an estimate of the tokens of a text, for endpoints that report none.
#[must_use]
pub fn estimated(characters: usize) -> u64 {
    u64::try_from(characters)
        .unwrap_or(u64::MAX)
        .div_ceil(CHARACTERS)
}

/// A text that a model wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    /// As reported, or estimated.
    pub usage: Usage,
}

/// A part of a model's streamed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A text delta.
    Text(String),
    /// A complete tool call.
    Call(ToolCall),
    /// Tokens counted so far.
    Usage(Usage),
    /// The finish reason: `stop`, `length`, `tool_calls`, or another word of the endpoint.
    End(String),
}

/// A tool call whose arguments still arrive.
#[derive(Debug, Default)]
struct Partial {
    id: String,
    name: String,
    arguments: String,
}

impl Partial {
    /// Returns the call; one without an id gets one from its place in the response.
    fn complete(self, place: usize) -> Piece {
        let id = if self.id.is_empty() {
            format!("call_{place}")
        } else {
            self.id
        };
        Piece::Call(ToolCall {
            id,
            name: self.name,
            arguments: self.arguments,
        })
    }
}

/// Reads the data of a stream.
struct Reader {
    format: Format,
    /// Whether the finish reason has arrived.
    has_ended: bool,
}

/// The reader of each protocol.
enum Format {
    OpenAi(openai::Reader),
    Anthropic(anthropic::Reader),
    Ollama(ollama::Reader),
}

impl Reader {
    fn of(protocol: Protocol) -> Self {
        let format = match protocol {
            Protocol::OpenAi => Format::OpenAi(openai::Reader::default()),
            Protocol::Anthropic => Format::Anthropic(anthropic::Reader::default()),
            Protocol::Ollama => Format::Ollama(ollama::Reader::default()),
        };
        Self {
            format,
            has_ended: false,
        }
    }

    fn read(&mut self, data: &Value) -> Result<Vec<Piece>> {
        let pieces = match &mut self.format {
            Format::OpenAi(reader) => reader.read(data),
            Format::Anthropic(reader) => reader.read(data),
            Format::Ollama(reader) => reader.read(data),
        }?;
        self.has_ended |= pieces.iter().any(|piece| matches!(piece, Piece::End(_)));
        Ok(pieces)
    }

    /// Returns the rest at the end of the stream; `is_done` is whether it ended with the mark of `OpenAI`.
    ///
    /// # Errors
    /// [`FAILED`] when the response is incomplete.
    fn end(self, is_done: bool) -> Result<Vec<Piece>> {
        match self.format {
            Format::OpenAi(reader) if self.has_ended || is_done => Ok(reader.rest()),
            Format::Anthropic(_) | Format::Ollama(_) if self.has_ended => Ok(Vec::new()),
            Format::OpenAi(_) | Format::Anthropic(_) | Format::Ollama(_) => {
                Err(broken(&"it ended in the middle"))
            }
        }
    }
}

impl Endpoint {
    /// Returns a model at an address.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        clock: &Clock,
        address: Address,
        model: impl Into<String>,
        max_tokens: u32,
    ) -> Result<Self> {
        let client = endpoint_client()
            .build()
            .map_err(|e| Error::internal(e.to_string()))?;
        Ok(Self {
            client,
            clock: clock.clone(),
            address,
            model: model.into(),
            max_tokens,
        })
    }

    /// Returns the maximum length of a response in tokens.
    #[must_use]
    pub fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// Returns the name of the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Lets the model write a text by instructions.
    ///
    /// # Errors
    /// [`FAILED`], [`REFUSED`], `answer_empty`, `answer_timeout` after `limit`.
    pub async fn write(
        &self,
        instructions: &str,
        request: String,
        limit: Duration,
    ) -> Result<Written> {
        let sent = instructions.len() + request.len();
        let prompt = Prompt {
            system: instructions,
            messages: &[Message::User { text: request }],
            tools: &[],
        };
        let mut pieces = std::pin::pin!(self.stream(prompt));
        let (mut text, mut usage) = (String::new(), Usage::default());
        let reading = async {
            while let Some(piece) = pieces.next().await {
                match piece? {
                    Piece::Text(delta) => text.push_str(&delta),
                    Piece::Usage(reported) => usage.merge(reported),
                    Piece::Call(_) | Piece::End(_) => {}
                }
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(limit, reading).await.map_err(|_| {
            Error::unavailable(
                "answer_timeout",
                "the language model did not finish in time (answer_seconds)",
            )
        })??;
        if text.trim().is_empty() {
            return Err(Error::unavailable(
                "answer_empty",
                "the language model returned an empty answer",
            ));
        }
        let usage = usage.or_estimated(sent, text.len());
        Ok(Written { text, usage })
    }

    /// Sends a request to the model and streams its response. A response that ends without a finish reason is an error. Dropping the stream ends the request.
    pub fn stream(&self, prompt: Prompt<'_>) -> impl Stream<Item = Result<Piece>> + Send + use<> {
        let request = self.request(prompt);
        let (protocol, clock) = (self.address.protocol, self.clock.clone());
        try_stream! {
            let response = request.send().await.map_err(|e| unreachable(&e))?;
            let response = accepted(response, &clock).await?;
            let bytes = response.bytes_stream().map_err(std::io::Error::other);
            for await piece in pieces(protocol, bytes) {
                yield piece?;
            }
        }
    }

    fn request(&self, prompt: Prompt<'_>) -> reqwest::RequestBuilder {
        let (path, body) = match self.address.protocol {
            Protocol::OpenAi => (
                "/chat/completions",
                openai::body(&self.model, self.max_tokens, prompt),
            ),
            Protocol::Anthropic => (
                "/messages",
                anthropic::body(&self.model, self.max_tokens, prompt),
            ),
            Protocol::Ollama => (
                "/api/chat",
                ollama::body(&self.model, self.max_tokens, prompt),
            ),
        };
        let Address { protocol, url, key } = &self.address;
        let request = self.client.post(format!("{url}{path}")).json(&body);
        match protocol {
            _ if key.is_empty() && *protocol != Protocol::Anthropic => request,
            Protocol::Anthropic => request
                .header("x-api-key", key)
                .header("anthropic-version", "2023-06-01"),
            Protocol::OpenAi | Protocol::Ollama => request.bearer_auth(key),
        }
    }
}

/// Reads the stream of a response.
fn pieces(
    protocol: Protocol,
    bytes: impl Stream<Item = std::io::Result<Bytes>> + Send,
) -> impl Stream<Item = Result<Piece>> + Send {
    try_stream! {
        let mut reader = Reader::of(protocol);
        let mut is_done = false;
        let mut size = 0;
        let bytes = bytes.map(move |piece| {
            let piece = piece?;
            size += piece.len();
            if size > BYTES {
                return Err(std::io::Error::other("the response is too large"));
            }
            Ok(piece)
        });
        if protocol == Protocol::Ollama {
            let source = StreamReader::new(Box::pin(bytes));
            let mut lines = FramedRead::new(source, LinesCodec::new_with_max_length(LINE));
            while let Some(line) = lines.next().await {
                let line = line.map_err(|e| broken(&e))?;
                if line.trim().is_empty() {
                    continue;
                }
                for piece in reader.read(&read(&line)?)? {
                    yield piece;
                }
            }
        } else {
            let mut events = Box::pin(bytes).eventsource();
            while let Some(event) = events.next().await {
                let event = event.map_err(|e| broken(&e))?;
                if event.data.trim() == "[DONE]" {
                    is_done = true;
                    break;
                }
                for piece in reader.read(&read(&event.data)?)? {
                    yield piece;
                }
            }
        }
        for piece in reader.end(is_done)? {
            yield piece;
        }
    }
}

/// Returns the part of a request that `OpenAI` and Ollama share.
fn chat(model: &str, prompt: Prompt<'_>, message: fn(&Message) -> Value) -> Value {
    let mut messages = vec![json!({"role": "system", "content": prompt.system})];
    messages.extend(prompt.messages.iter().map(message));
    let mut body = json!({"model": model, "messages": messages, "stream": true});
    if !prompt.tools.is_empty() {
        let function = |tool: &Tool| json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}});
        body["tools"] = prompt.tools.iter().map(function).collect();
    }
    body
}

fn unreachable(error: &reqwest::Error) -> Error {
    let cause = if error.is_connect() {
        "it cannot be reached"
    } else {
        "the request was interrupted"
    };
    Error::unavailable(
        FAILED,
        format!("the language model endpoint does not respond: {cause}"),
    )
}

/// Returns a successful response, or the error of a rejected one: [`REFUSED`] when repeating it cannot help, otherwise [`FAILED`], or [`LIMITED`], with the delay that the
/// endpoint asks for.
async fn accepted(response: reqwest::Response, clock: &Clock) -> Result<reqwest::Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let asked = retry_after(response.headers(), clock.now().0);
    // Only the beginning: the length and content of the body are not bounded by the endpoint.
    let mut said = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(Ok(piece)) = bytes.next().await {
        said.extend_from_slice(&piece);
        if said.len() > 2000 {
            break;
        }
    }
    said.truncate(2000);
    tracing::warn!(%status, said = %String::from_utf8_lossy(&said), "the language model endpoint returned an error");
    let message =
        format!("the language model endpoint returned {status}; its message is in the log");
    let is_transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    if !is_transient {
        return Err(Error::upstream(REFUSED, message));
    }
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS => LIMITED,
        _ => FAILED,
    };
    let error = Error::unavailable(code, message);
    Err(match asked {
        Some(delay) => error.with_detail(Detail::RetryAfter(delay)),
        None => error,
    })
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::unavailable(
        FAILED,
        format!("the language model's response was interrupted: {error}"),
    )
}

fn read(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| broken(&format!("it is not valid JSON ({e})")))
}

/// Returns the error that an endpoint reports in the middle of a response.
fn complained(error: &Value) -> Error {
    let message = error
        .get("message")
        .and_then(Value::as_str)
        .or(error.as_str())
        .unwrap_or("no reason given");
    let message: String = message.chars().take(300).collect();
    broken(&message)
}

fn text(value: &Value, pieces: &mut Vec<Piece>) {
    if let Some(text) = value.as_str().filter(|t| !t.is_empty()) {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn usage(input: &Value, output: &Value) -> Option<Piece> {
    let (input, output) = (input.as_u64(), output.as_u64());
    (input.is_some() || output.is_some()).then(|| {
        Piece::Usage(Usage {
            input_tokens: input.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
        })
    })
}

/// Returns the finish reason in one vocabulary.
fn finish(reason: &str) -> Piece {
    let word = match reason {
        "end_turn" | "stop_sequence" => "stop",
        "max_tokens" => "length",
        "tool_use" | "function_call" => "tool_calls",
        other => other,
    };
    Piece::End(word.to_owned())
}

/// Refuses a response with too many tool calls.
fn need_few(calls: usize) -> Result<()> {
    if calls > CALLS {
        return Err(broken(&format!("it calls more than {CALLS} tools")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn call(id: &str, name: &str, arguments: &str) -> Piece {
        Piece::Call(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    }

    fn said(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn end(word: &str) -> Piece {
        Piece::End(word.to_owned())
    }

    fn used(input_tokens: u64, output_tokens: u64) -> Piece {
        Piece::Usage(Usage {
            input_tokens,
            output_tokens,
        })
    }

    /// A response with text and two tool calls in each protocol, what it consists of, and the length from which it is complete.
    fn responses() -> Vec<(Protocol, String, Vec<Piece>)> {
        let event = |data: &Value| {
            format!(
                "event: {}\ndata: {data}\n\n",
                data["type"].as_str().unwrap_or("x")
            )
        };
        let openai: String = [
            json!({"choices": [{"delta": {"role": "assistant", "content": "Zwölf "}, "finish_reason": null}]}),
            json!({"choices": [{"delta": {"content": "海"}, "finish_reason": null}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "search", "arguments": ""}}]}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"query\":"}}]}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "read", "arguments": "{}"}}, {"index": 0, "function": {"arguments": "\"ä\"}"}}]}}]}),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}),
        ]
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .chain(["data: [DONE]\n\n".to_owned()])
        .collect();
        let anthropic: String = [
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Zwölf "}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "海"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "search", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"query\":"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "\"ä\"}"}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "b", "name": "read", "input": {}}}),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ]
        .iter()
        .map(event)
        .collect();
        let ollama: String = [
            json!({"message": {"content": "Zwölf "}, "done": false}),
            json!({"message": {"content": "海"}, "done": false}),
            json!({"message": {"content": "", "tool_calls": [{"function": {"name": "search", "arguments": {"query": "ä"}}}, {"function": {"name": "read", "arguments": {}}}]}, "done": false}),
            json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}),
        ]
        .iter()
        .map(|data| format!("{data}\n"))
        .collect();
        let text = || [said("Zwölf "), said("海")];
        let asked = "{\"query\":\"ä\"}";
        let of_openai = text().into_iter().chain([
            call("a", "search", asked),
            call("b", "read", "{}"),
            end("tool_calls"),
            used(5, 2),
        ]);
        let of_anthropic = [used(5, 1)].into_iter().chain(text()).chain([
            call("a", "search", asked),
            call("b", "read", ""),
            end("tool_calls"),
            used(0, 2),
        ]);
        let of_ollama = text().into_iter().chain([
            call("call_0", "search", asked),
            call("call_1", "read", "{}"),
            end("tool_calls"),
            used(5, 2),
        ]);
        vec![
            (Protocol::OpenAi, openai, of_openai.collect()),
            (Protocol::Anthropic, anthropic, of_anthropic.collect()),
            (Protocol::Ollama, ollama, of_ollama.collect()),
        ]
    }

    async fn read_in(protocol: Protocol, parts: &[&[u8]]) -> Result<Vec<Piece>> {
        let parts: Vec<std::io::Result<Bytes>> = parts
            .iter()
            .map(|p| Ok(Bytes::copy_from_slice(p)))
            .collect();
        let mut read = Vec::new();
        let mut stream = std::pin::pin!(pieces(protocol, stream::iter(parts)));
        while let Some(piece) = stream.next().await {
            read.push(piece?);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn a_response_may_arrive_in_any_two_parts() {
        for (protocol, response, expected) in responses() {
            let bytes = response.as_bytes();
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                let read = read_in(protocol, &[head, tail]).await.expect("read");
                assert_eq!(read, expected, "{protocol:?} split at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read_in(protocol, &single).await.expect("read"), expected);
        }
    }

    #[tokio::test]
    async fn a_response_that_is_cut_off_is_an_error() {
        for (protocol, response, expected) in responses() {
            let bytes = response.as_bytes();
            let reason = "finish_reason\":\"tool_calls\"";
            let last = match protocol {
                Protocol::OpenAi => response.find(reason).expect("a reason") + reason.len(),
                Protocol::Anthropic => response.find("message_stop").expect("an end") - 30,
                Protocol::Ollama => bytes.len() - 2,
            };
            for at in 0..bytes.len() {
                match read_in(protocol, &[bytes.get(..at).expect("a part")]).await {
                    Ok(read) => assert!(
                        at > last && read.iter().any(|p| *p == end("tool_calls")),
                        "{protocol:?} cut at {at}: {read:?}"
                    ),
                    Err(error) => assert_eq!(error.code(), FAILED),
                }
            }
            assert_eq!(read_in(protocol, &[bytes]).await.expect("read"), expected);
        }
    }

    #[tokio::test]
    async fn errors_in_a_response_are_reported() {
        for (protocol, response) in [
            (
                Protocol::OpenAi,
                "data: {\"error\": {\"message\": \"full\"}}\n\n",
            ),
            (
                Protocol::Anthropic,
                "data: {\"type\": \"error\", \"error\": {\"type\": \"overloaded_error\", \"message\": \"full\"}}\n\n",
            ),
            (Protocol::Ollama, "{\"error\": \"full\"}\n"),
        ] {
            let error = read_in(protocol, &[response.as_bytes()])
                .await
                .expect_err("an error");
            assert!(error.code() == FAILED && error.public_message().contains("full"));
        }
    }

    #[test]
    fn invalid_arguments_are_told_to_the_model() {
        let call = |arguments: &str| ToolCall {
            id: "a".to_owned(),
            name: "search".to_owned(),
            arguments: arguments.to_owned(),
        };
        assert_eq!(call(" ").parsed().expect("empty"), Map::new());
        for wrong in ["{\"query\": ", "[1]", "\"x\""] {
            let error = call(wrong).parsed().expect_err("no object");
            assert!(error.public_message().contains("search"), "{error}");
        }
    }

    #[test]
    fn each_protocol_gets_the_conversation_in_its_form() {
        let calls = vec![
            ToolCall {
                id: "a".to_owned(),
                name: "search".to_owned(),
                arguments: "{\"query\":\"x\"}".to_owned(),
            },
            ToolCall {
                id: "b".to_owned(),
                name: "read".to_owned(),
                arguments: "{broken".to_owned(),
            },
        ];
        let result = |id: &str, name: &str| Message::ToolResult {
            call_id: id.to_owned(),
            name: name.to_owned(),
            content: "found".to_owned(),
        };
        let messages = [
            Message::User {
                text: "Begin".to_owned(),
            },
            Message::Assistant {
                text: String::new(),
                calls,
            },
            result("a", "search"),
            result("b", "read"),
        ];
        let tools = [Tool {
            name: "search",
            description: "Searches.",
            parameters: json!({"type": "object"}),
        }];
        let prompt = Prompt {
            system: "Be brief.",
            messages: &messages,
            tools: &tools,
        };
        let openai = openai::body("m", 9, prompt);
        assert_eq!(
            openai["messages"][2]["tool_calls"][0]["function"]["arguments"],
            "{\"query\":\"x\"}"
        );
        assert_eq!(
            openai["messages"][2]["tool_calls"][1]["function"]["arguments"], "{}",
            "what the model wrote wrongly is not sent back"
        );
        assert_eq!(
            openai["messages"][4],
            json!({"role": "tool", "tool_call_id": "b", "content": "found"})
        );
        assert_eq!(openai["tools"][0]["function"]["name"], "search");
        let anthropic = anthropic::body("m", 9, prompt);
        assert_eq!(
            anthropic["messages"].as_array().expect("turns").len(),
            3,
            "the results are one turn"
        );
        assert_eq!(anthropic["messages"][2]["content"][1]["tool_use_id"], "b");
        assert_eq!(
            (
                &anthropic["system"],
                &anthropic["tools"][0]["input_schema"]["type"]
            ),
            (&json!("Be brief."), &json!("object"))
        );
        let ollama = ollama::body("m", 9, prompt);
        assert_eq!(
            ollama["messages"][2]["tool_calls"][0]["function"]["arguments"],
            json!({"query": "x"})
        );
        assert_eq!(ollama["messages"][3]["tool_name"], "search");
    }
}
