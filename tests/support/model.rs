//! A language model that follows a script, in each of the three protocols. Its responses arrive in pieces of a few bytes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use serde_json::{Value, json};

/// A request to the model.
#[derive(Debug, Clone)]
pub struct Asked {
    pub system: String,
    /// All that was said to the model so far, and its tools.
    pub body: Value,
    /// Results of tools in the conversation.
    pub results: usize,
    /// Requests so far, this one included.
    pub count: usize,
}

impl Asked {
    /// Whether a text is anywhere in the request.
    pub fn contains(&self, text: &str) -> bool {
        self.body.to_string().contains(text)
    }
}

/// What the model says.
#[derive(Debug, Clone)]
pub struct Say {
    pub text: String,
    /// Tools to call, with their arguments as text.
    pub calls: Vec<(String, String)>,
    /// Tokens of the prompt and of the response.
    pub usage: (u64, u64),
    /// Status and seconds of `Retry-After` instead of a response.
    pub refusal: Option<(u16, u64)>,
    /// Time before the end of the response.
    pub pause: Duration,
    /// Whether the response ends in the middle.
    pub breaks: bool,
}

impl Say {
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            calls: Vec::new(),
            usage: (100, 10),
            refusal: None,
            pause: Duration::ZERO,
            breaks: false,
        }
    }

    pub fn call(name: &str, arguments: Value) -> Self {
        let calls = vec![(name.to_owned(), arguments.to_string())];
        Self {
            calls,
            ..Self::text("")
        }
    }
}

type Script = dyn Fn(&Asked) -> Say + Send + Sync;

/// The model, with what it was asked and what it has counted.
#[derive(Clone)]
pub struct Model {
    script: Arc<Script>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Tokens of prompts and of responses of complete answers.
    pub counted: Arc<Mutex<(u64, u64)>>,
    /// Base address.
    pub url: String,
}

impl Model {
    pub async fn start(script: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let model = Self {
            script: Arc::new(script),
            asked: Arc::default(),
            counted: Arc::default(),
            url: format!("http://{}", listener.local_addr().expect("an address")),
        };
        let router = Router::new()
            .route("/v1/chat/completions", post(openai))
            .route("/v1/messages", post(anthropic))
            .route("/api/chat", post(ollama))
            .with_state(model.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        model
    }

    pub fn requests(&self) -> usize {
        self.asked.lock().expect("asked").len()
    }

    /// Hears a request whose instructions are its first message, and whose results are messages; gives the number of results, too.
    fn hear_messages(&self, body: &str) -> (Say, usize) {
        let body: Value = serde_json::from_str(body).expect("JSON");
        let messages = body["messages"].as_array().expect("messages");
        let system = messages[0]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let results = messages.iter().filter(|m| m["role"] == "tool").count();
        (self.hear(system, body, results), results)
    }

    fn hear(&self, system: String, body: Value, results: usize) -> Say {
        let asked = {
            let mut all = self.asked.lock().expect("asked");
            let asked = Asked {
                system,
                body,
                results,
                count: all.len() + 1,
            };
            all.push(asked.clone());
            asked
        };
        let say = (self.script)(&asked);
        if say.refusal.is_none() && !say.breaks {
            let mut counted = self.counted.lock().expect("counted");
            counted.0 += say.usage.0;
            counted.1 += say.usage.1;
        }
        say
    }
}

/// Sends a response in pieces of seven bytes, the last of them after the pause.
fn pieces(say: &Say, mime: &'static str, body: String) -> Response {
    if let Some((status, seconds)) = say.refusal {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = "{\"error\":{\"message\":\"the model is busy\"}}";
        return (status, [(header::RETRY_AFTER, seconds.to_string())], body).into_response();
    }
    let bytes = body.into_bytes();
    let keep = if say.breaks {
        bytes.len() / 2
    } else {
        bytes.len()
    };
    let mut parts: Vec<Vec<u8>> = bytes[..keep].chunks(7).map(<[u8]>::to_vec).collect();
    let last = parts.pop().unwrap_or_default();
    let pause = say.pause;
    let end = futures::stream::once(async move {
        tokio::time::sleep(pause).await;
        last
    });
    let all = futures::stream::iter(parts).chain(end);
    let body = Body::from_stream(all.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, mime)], body).into_response()
}

fn halves(text: &str) -> [String; 2] {
    let middle = text.chars().count() / 2;
    [
        text.chars().take(middle).collect(),
        text.chars().skip(middle).collect(),
    ]
}

async fn openai(State(model): State<Model>, body: String) -> Response {
    let (say, results) = model.hear_messages(&body);
    let mut out = String::new();
    let mut chunk = |delta: Value, finish: Value| {
        out.push_str(&format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        ));
    };
    for half in halves(&say.text) {
        if !half.is_empty() {
            chunk(json!({"content": half}), Value::Null);
        }
    }
    for (at, (name, arguments)) in say.calls.iter().enumerate() {
        let [first, second] = halves(arguments);
        chunk(
            json!({"tool_calls": [{"index": at, "id": format!("call_{}_{at}", results), "type": "function", "function": {"name": name, "arguments": first}}]}),
            Value::Null,
        );
        chunk(
            json!({"tool_calls": [{"index": at, "function": {"arguments": second}}]}),
            Value::Null,
        );
    }
    let finish = if say.calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    chunk(json!({}), json!(finish));
    out.push_str(&format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [], "usage": {"prompt_tokens": say.usage.0, "completion_tokens": say.usage.1}})));
    pieces(&say, "text/event-stream", out)
}

async fn anthropic(State(model): State<Model>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    // A text, or a list of blocks.
    let system = &body["system"];
    let system = system
        .as_str()
        .map_or_else(|| system.to_string(), str::to_owned);
    let messages = body["messages"].as_array().expect("messages").clone();
    let blocks = messages
        .iter()
        .filter_map(|m| m["content"].as_array())
        .flatten();
    let results = blocks.filter(|b| b["type"] == "tool_result").count();
    let say = model.hear(system, body, results);
    let mut out = String::new();
    let mut event = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        out.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    };
    event(
        "message_start",
        json!({"message": {"usage": {"input_tokens": say.usage.0, "output_tokens": 1}}}),
    );
    event("ping", json!({}));
    event(
        "content_block_start",
        json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
    );
    for half in halves(&say.text) {
        if !half.is_empty() {
            event(
                "content_block_delta",
                json!({"index": 0, "delta": {"type": "text_delta", "text": half}}),
            );
        }
    }
    event("content_block_stop", json!({"index": 0}));
    for (at, (name, arguments)) in say.calls.iter().enumerate() {
        let index = at + 1;
        event(
            "content_block_start",
            json!({"index": index, "content_block": {"type": "tool_use", "id": format!("toolu_{}_{at}", results), "name": name, "input": {}}}),
        );
        for half in halves(arguments) {
            event(
                "content_block_delta",
                json!({"index": index, "delta": {"type": "input_json_delta", "partial_json": half}}),
            );
        }
        event("content_block_stop", json!({"index": index}));
    }
    let stop = if say.calls.is_empty() {
        "end_turn"
    } else {
        "tool_use"
    };
    event(
        "message_delta",
        json!({"delta": {"stop_reason": stop}, "usage": {"output_tokens": say.usage.1}}),
    );
    event("message_stop", json!({}));
    pieces(&say, "text/event-stream", out)
}

async fn ollama(State(model): State<Model>, body: String) -> Response {
    let (say, _) = model.hear_messages(&body);
    let mut out = String::new();
    for half in halves(&say.text) {
        if !half.is_empty() {
            let line = json!({"message": {"role": "assistant", "content": half}, "done": false});
            out.push_str(&format!("{line}\n"));
        }
    }
    for (name, arguments) in &say.calls {
        let arguments: Value = serde_json::from_str(arguments).unwrap_or(json!({}));
        let line = json!({"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}, "done": false});
        out.push_str(&format!("{line}\n"));
    }
    let line = json!({"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": say.usage.0, "eval_count": say.usage.1});
    out.push_str(&format!("{line}\n"));
    pieces(&say, "application/x-ndjson", out)
}
