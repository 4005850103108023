//! The conversation of a run with its model: calls with reserved budget, streamed text, tools, retries, limits.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tools::{self, Waiting};
use super::{Assignment, Ended, prompt, service_tools};
use crate::agency::comments::{self, INTERVENTION};
use crate::agency::notices::Output;
use crate::agency::runs::{self, Called};
use crate::agency::{RATE_LIMIT, campaigns, integrations, logs};
use crate::auth::quotas;
use crate::error::{Detail, Error, Result};
use crate::llm::catalog::Listed;
use crate::llm::{LIMITED, Message, Piece, Prompt, REFUSED, Tool, ToolCall, Usage, estimated};
use crate::records::Record;
use crate::records::body::text;

/// Text is passed on to streams in pieces of about this time.
const COALESCE: Duration = Duration::from_millis(150);
/// How often a running call looks whether somebody has stopped the activity.
const LOOK: Duration = Duration::from_secs(2);
/// Attempts of one call.
const ATTEMPTS: u32 = 4;
/// What a model is told that ran out of tokens in the middle of a text.
const CONTINUE: &str = "Continue exactly where you stopped.";

/// A conversation.
struct Conversation<'a> {
    assignment: &'a Assignment<'a>,
    listed: &'a Listed,
    system: String,
    tools: Vec<Tool>,
    messages: Vec<Message>,
    /// Number of the next step.
    next: i64,
    /// Responses so far.
    turns: i64,
    /// Cost of all runs of the activity.
    spent: i64,
    deadline: Instant,
    /// Whether the last response was cut off at its greatest length.
    is_truncated: bool,
    cancel: &'a CancellationToken,
}

/// A response of the model, or the reason why there is none.
enum Asked {
    Response(Message),
    Ended(Ended),
}

/// Runs the conversation to its end, from where it was interrupted.
pub(super) async fn work(
    assignment: &Assignment<'_>,
    listed: &Listed,
    activity: &Record,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let limit = u64::try_from(assignment.settings.timeout_sec).unwrap_or_default();
    let mut conversation = Conversation {
        assignment,
        listed,
        system: prompt::system(assignment, activity).await?,
        tools: offered(assignment).await?,
        messages: vec![Message::User {
            text: prompt::task(assignment, activity).await?,
        }],
        next: 1,
        turns: 0,
        spent: 0,
        deadline: Instant::now() + Duration::from_secs(limit),
        is_truncated: false,
        cancel,
    };
    conversation.restore().await?;
    conversation.go().await
}

/// Returns the tools that the model is given: those of its role, without those of integrations that are not connected.
async fn offered(assignment: &Assignment<'_>) -> Result<Vec<Tool>> {
    let names = &assignment.settings.tools;
    let mut offered = tools::definitions(names);
    if names.iter().any(|name| service_tools::is_one(name)) {
        let connected = integrations::connected(assignment.app, assignment.tenant()).await?;
        offered.extend(service_tools::definitions(names, &connected));
    }
    Ok(offered)
}

/// Whether a message is a response without calls.
fn is_text(message: &Message) -> bool {
    matches!(message, Message::Assistant { calls, .. } if calls.is_empty())
}

impl Conversation<'_> {
    /// Reads the stored steps. A call that was interrupted is settled with the estimated cost of its prompt.
    async fn restore(&mut self) -> Result<()> {
        let run = &self.assignment.run;
        let app = self.assignment.app;
        let mut lost = Vec::new();
        for step in runs::steps(&app.db, &run.tenant_id, &run.id).await? {
            self.next = step.number + 1;
            if step.state == "started" {
                lost.push((step.number, step.reserved_micros));
            } else if let Some(message) = step.message()? {
                self.turns += i64::from(matches!(message, Message::Assistant { .. }));
                let most = i64::from(self.listed.endpoint.max_tokens());
                self.is_truncated = is_text(&message) && step.output_tokens >= most;
                self.messages.push(message);
            }
        }
        for (number, reserved) in lost {
            let usage = Usage {
                input_tokens: self.prompt_tokens(),
                output_tokens: 0,
            };
            self.end_step(number, None, usage, reserved).await?;
            self.log(
                "warn",
                "a response of the model was lost in an interruption",
                json!({"step": number, "estimatedInputTokens": usage.input_tokens}),
            )
            .await?;
        }
        let all = runs::of_activity(&app.db, &run.tenant_id, &run.activity_id).await?;
        self.spent = all.iter().map(|r| r.cost_micros).sum();
        Ok(())
    }

    async fn go(&mut self) -> Result<Ended> {
        loop {
            for call in self.open_calls() {
                if self.is_stopped().await? {
                    return Ok(Ended::Stopped);
                }
                if let Some(ended) = self.call(&call).await? {
                    return Ok(ended);
                }
            }
            if let Some(waiting) = self.waits_for() {
                self.assignment.wait_for(waiting).await?;
                return Ok(Ended::Stored);
            }
            if !self.is_truncated
                && let Some(output) = self.output()
            {
                return Ok(output);
            }
            if self.turns >= self.assignment.settings.max_turns {
                return Ok(Ended::Failed("failed", "max_turns_exceeded".to_owned()));
            }
            if Instant::now() >= self.deadline {
                return Ok(Ended::Failed("timeout", "timeout".to_owned()));
            }
            if self.is_stopped().await? {
                return Ok(Ended::Stopped);
            }
            if self.is_truncated {
                self.say(CONTINUE.to_owned()).await?;
                self.is_truncated = false;
            }
            self.hear_interventions().await?;
            match self.ask().await? {
                Asked::Ended(ended) => return Ok(ended),
                Asked::Response(message) => {
                    self.turns += 1;
                    self.messages.push(message);
                }
            }
        }
    }

    /// Returns the calls of the last response that have no result yet.
    fn open_calls(&self) -> Vec<ToolCall> {
        let is_response = |m: &Message| matches!(m, Message::Assistant { .. });
        let Some(at) = self.messages.iter().rposition(is_response) else {
            return Vec::new();
        };
        let Some(Message::Assistant { calls, .. }) = self.messages.get(at) else {
            return Vec::new();
        };
        let is_answered = |call: &&ToolCall| {
            self.messages
                .iter()
                .skip(at)
                .any(|m| matches!(m, Message::ToolResult { call_id, .. } if *call_id == call.id))
        };
        let open = calls.iter().filter(|call| !is_answered(call));
        open.cloned().collect()
    }

    /// Returns what the calls of the last response wait for, if they do.
    fn waits_for(&self) -> Option<Waiting> {
        let results = self.messages.iter().rev().map_while(|m| match m {
            Message::ToolResult { content, .. } => Some(content),
            Message::User { .. } | Message::Assistant { .. } => None,
        });
        results.filter_map(|content| Waiting::of(content)).next()
    }

    /// Returns the output when the last message is a response without calls.
    fn output(&self) -> Option<Ended> {
        if !self.messages.last().is_some_and(is_text) {
            return None;
        }
        let is_save = |m: &Message| matches!(m, Message::ToolResult { name, content, .. } if name == "save_output" && content.contains("\"saved\":true"));
        if self.messages.iter().any(is_save) {
            return Some(Ended::Output(None));
        }
        // A text that was cut off continues in the next response.
        let mut parts: Vec<&str> = Vec::new();
        for message in self.messages.iter().rev() {
            match message {
                Message::Assistant { text, calls } if calls.is_empty() => parts.push(text),
                Message::User { text } if text == CONTINUE => {}
                Message::User { .. } | Message::Assistant { .. } | Message::ToolResult { .. } => {
                    break;
                }
            }
        }
        parts.reverse();
        let text = parts.concat();
        Some(if text.trim().is_empty() {
            Ended::Failed("failed", "the model returned an empty answer".to_owned())
        } else {
            Ended::Output(Some(text))
        })
    }

    /// Returns whether somebody has stopped the activity.
    async fn is_stopped(&self) -> Result<bool> {
        let activity = self.assignment.activity().await?;
        Ok(activity.status.as_deref() != Some("in_progress"))
    }

    /// Adds what people have told the agent in intervention notes since it began.
    async fn hear_interventions(&mut self) -> Result<()> {
        let run = &self.assignment.run;
        let app = self.assignment.app;
        let all = comments::list(app, &run.tenant_id, &run.activity_id).await?;
        for comment in all.into_iter().filter(|c| c.created_on >= run.created_on) {
            let body = comment.body()?;
            if text(&body, "type") != Some(INTERVENTION) {
                continue;
            }
            let note = text(&body, "text").unwrap_or_default();
            let note = format!("Note of a person, {}: {note}", comment.id);
            let is_known = |m: &Message| matches!(m, Message::User { text } if *text == note);
            if !self.messages.iter().any(is_known) {
                self.say(note).await?;
            }
        }
        Ok(())
    }

    /// Adds a message to the model.
    async fn say(&mut self, text: String) -> Result<()> {
        let message = Message::User { text };
        let number = self.take_number();
        self.assignment.store(number, message.clone()).await?;
        self.messages.push(message);
        Ok(())
    }

    fn take_number(&mut self) -> i64 {
        let number = self.next;
        self.next += 1;
        number
    }

    async fn call(&mut self, call: &ToolCall) -> Result<Option<Ended>> {
        let number = self.take_number();
        let called = tools::call(self.assignment, call, number);
        let (message, ended) = tokio::select! {
            done = called => done?,
            () = self.cancel.cancelled() => return Err(interrupted()),
        };
        self.messages.push(message);
        Ok(ended)
    }

    fn prompt_tokens(&self) -> u64 {
        let of_message = |message: &Message| match message {
            Message::User { text } => text.len(),
            Message::Assistant { text, calls } => {
                text.len() + calls.iter().map(|c| c.arguments.len() + 40).sum::<usize>()
            }
            Message::ToolResult { content, .. } => content.len(),
        };
        let messages: usize = self.messages.iter().map(of_message).sum();
        let tools = |t: &Tool| t.description.len() + t.parameters.to_string().len();
        let tools: usize = self.tools.iter().map(tools).sum();
        estimated(self.system.len() + messages + tools)
    }

    fn cost(&self, usage: Usage) -> i64 {
        self.listed.price.map_or(0, |price| price.cost(usage))
    }

    /// Asks the model, again when the endpoint fails.
    async fn ask(&mut self) -> Result<Asked> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let greatest = Usage {
                input_tokens: self.prompt_tokens(),
                output_tokens: u64::from(self.listed.endpoint.max_tokens()),
            };
            let reserved = self.cost(greatest);
            let limit = self.assignment.settings.max_cost_micros;
            if limit.is_some_and(|limit| self.spent + reserved > limit) {
                let error = "max_cost_exceeded".to_owned();
                return Ok(Asked::Ended(Ended::Failed("failed", error)));
            }
            let (app, run) = (self.assignment.app, &self.assignment.run);
            match quotas::need_tokens(&app.db, &app.clock, &run.tenant_id).await {
                Err(error) if error.code() == quotas::EXCEEDED => {
                    let message = error.public_message().to_owned();
                    return Ok(Asked::Ended(Ended::Failed("failed", message)));
                }
                within => within?,
            }
            let number = self.take_number();
            if !runs::begin_step(app, run, number, reserved).await? {
                return Ok(Asked::Ended(Ended::Blocked(campaigns::BUDGET)));
            }
            let mut heard = Heard::default();
            let outcome = self.listen(&mut heard).await;
            let usage = self.used(&heard, &outcome);
            match outcome {
                Ok(Listened::Complete) => {
                    let message = Message::Assistant {
                        text: heard.text,
                        calls: heard.calls,
                    };
                    self.is_truncated = is_text(&message)
                        && matches!(heard.finish.as_str(), "length" | "max_tokens");
                    self.end_step(number, Some(&message), usage, reserved)
                        .await?;
                    return Ok(Asked::Response(message));
                }
                Ok(Listened::Stopped) => {
                    self.end_step(number, None, usage, reserved).await?;
                    return Ok(Asked::Ended(Ended::Stopped));
                }
                Ok(Listened::TooLate) => {
                    self.end_step(number, None, usage, reserved).await?;
                    let error = "timeout".to_owned();
                    return Ok(Asked::Ended(Ended::Failed("timeout", error)));
                }
                // The job goes back to the queue, and the open step is settled when it continues.
                Err(error) if error.code() == INTERRUPTED => return Err(error),
                Err(error) => {
                    self.end_step(number, None, usage, reserved).await?;
                    let wait = match error.detail() {
                        Some(Detail::RetryAfter(wait)) => *wait,
                        _ => Duration::from_secs(1 << attempt.min(5)),
                    };
                    self.log(
                        "warn",
                        "the language model failed",
                        json!({"error": error.public_message(), "attempt": attempt}),
                    )
                    .await?;
                    let is_hopeless = error.code() == REFUSED || !error.is_retryable();
                    if is_hopeless || attempt >= ATTEMPTS || Instant::now() + wait > self.deadline {
                        let message = match error.code() {
                            LIMITED => RATE_LIMIT.to_owned(),
                            _ => error.public_message().to_owned(),
                        };
                        return Ok(Asked::Ended(Ended::Failed("failed", message)));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.cancel.cancelled() => return Err(interrupted()),
                    }
                    if self.is_stopped().await? {
                        return Ok(Asked::Ended(Ended::Stopped));
                    }
                }
            }
        }
    }

    /// Returns the usage of a call: as reported, or estimated. A request that was refused before the first piece cost nothing.
    fn used(&self, heard: &Heard, outcome: &Result<Listened>) -> Usage {
        let has_begun = !heard.text.is_empty() || !heard.calls.is_empty();
        match (heard.usage, outcome) {
            (Some(usage), Ok(_)) => usage,
            (None, Err(_)) if !has_begun => Usage::default(),
            (reported, _) => {
                let calls: usize = heard.calls.iter().map(|c| c.arguments.len()).sum();
                let mut usage = reported.unwrap_or_default();
                usage.merge(Usage {
                    input_tokens: if usage.input_tokens > 0 {
                        0
                    } else {
                        self.prompt_tokens()
                    },
                    output_tokens: estimated(heard.text.len() + calls),
                });
                usage
            }
        }
    }

    async fn end_step(
        &mut self,
        number: i64,
        message: Option<&Message>,
        usage: Usage,
        reserved: i64,
    ) -> Result<()> {
        let cost = self.cost(usage);
        let called = Called {
            number,
            message,
            usage,
            cost,
            reserved,
        };
        self.spent += cost;
        let assignment = self.assignment;
        runs::end_step(assignment.app, &assignment.run, assignment.job_id, &called).await
    }

    /// Reads the response of the model, and passes its text on.
    async fn listen(&self, heard: &mut Heard) -> Result<Listened> {
        let prompt = Prompt {
            system: &self.system,
            messages: &self.messages,
            tools: &self.tools,
        };
        let mut pieces = std::pin::pin!(self.listed.endpoint.stream(prompt));
        let mut unsent = String::new();
        let mut flush = tokio::time::interval(COALESCE);
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        loop {
            tokio::select! {
                piece = pieces.next() => match piece {
                    Some(Ok(Piece::Text(delta))) => {
                        heard.text.push_str(&delta);
                        unsent.push_str(&delta);
                    }
                    Some(Ok(Piece::Call(call))) => heard.calls.push(call),
                    Some(Ok(Piece::Usage(usage))) => heard.usage.get_or_insert_default().merge(usage),
                    Some(Ok(Piece::End(word))) => heard.finish = word,
                    Some(Err(error)) => {
                        self.pass_on(&mut unsent).await?;
                        return Err(error);
                    }
                    None => {
                        self.pass_on(&mut unsent).await?;
                        return Ok(Listened::Complete);
                    }
                },
                _ = flush.tick() => self.pass_on(&mut unsent).await?,
                _ = look.tick() => if self.is_stopped().await? {
                    return Ok(Listened::Stopped);
                },
                () = tokio::time::sleep_until(self.deadline) => return Ok(Listened::TooLate),
                () = self.cancel.cancelled() => return Err(interrupted()),
            }
        }
    }

    async fn pass_on(&self, unsent: &mut String) -> Result<()> {
        if unsent.is_empty() {
            return Ok(());
        }
        let delta = std::mem::take(unsent);
        self.assignment
            .tell("text_delta", json!({"delta": delta}))
            .await
    }

    async fn log(
        &self,
        level: &'static str,
        message: &str,
        context: serde_json::Value,
    ) -> Result<()> {
        let assignment = self.assignment;
        let entry = logs::NewEntry {
            tenant_id: assignment.tenant().to_owned(),
            level,
            category: "agent",
            message: message.to_owned(),
            context,
            activity_id: Some(assignment.run.activity_id.clone()),
            agent_role: Some(assignment.run.role.clone()),
        };
        let mut tx = assignment.app.db.begin().await?;
        entry.write(assignment.app, &mut tx).await?;
        assignment.app.commit(tx).await
    }
}

/// What has arrived of a response.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    calls: Vec<ToolCall>,
    usage: Option<Usage>,
    finish: String,
}

/// How listening ended.
enum Listened {
    Complete,
    Stopped,
    TooLate,
}

const INTERRUPTED: &str = "interrupted";

fn interrupted() -> Error {
    Error::unavailable(INTERRUPTED, "the worker stops; the run continues later")
}

impl Assignment<'_> {
    /// Stores a message that changes nothing else.
    async fn store(&self, number: i64, message: Message) -> Result<()> {
        let stored = runs::StoreResult {
            run: self.run.clone(),
            number,
            message,
        };
        let mut tx = self.app.db.begin().await?;
        crate::records::plan::Effect::apply(&stored, self.app, &mut tx).await?;
        self.app.commit(tx).await
    }

    /// Appends an event to the stream of the activity.
    pub(super) async fn tell(&self, event: &'static str, data: serde_json::Value) -> Result<()> {
        let output = Output {
            tenant_id: self.tenant().to_owned(),
            activity_id: self.run.activity_id.clone(),
            event,
            data,
        };
        let mut tx = self.app.db.begin().await?;
        output.send(self.app, &mut tx).await?;
        self.app.commit(tx).await
    }
}
