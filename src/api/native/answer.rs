//! Answers with citations, streamed (SSE) or as one response.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answers::{self, AnswerEvent, Completed, Mode, Question, Turn};
use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Problem};
use crate::evaluation::history;
use crate::search::{Settings, settings};

/// A question with search settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerRequest {
    /// The question.
    question: String,
    dataset_ids: Vec<String>,
    /// Whether a model generates the answer or sentences are extracted: `auto` when absent.
    #[serde(default)]
    mode: Mode,
    /// Earlier turns of the conversation, oldest first: at most 20.
    #[serde(default)]
    history: Vec<Turn>,
    /// Whether the answer is streamed as events (the default) or returned as one response.
    stream: Option<bool>,
    /// Search settings; `topK` defaults to eight passages, and `maxTokens` to the configured budget.
    #[serde(flatten)]
    settings: Settings,
    /// Collects unknown members, which are rejected: a misspelt name would otherwise be ignored.
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, serde_json::Value>,
}

/// Default number of passages.
const PASSAGES: usize = 8;
/// Characters of the previous question that are added to a short follow-up question.
const EARLIER: usize = 500;

/// Answers a question from search results: with a language model where one is configured, otherwise with the best sentences, marked as `extractive`.
/// Event stream: `passages`, then `text_delta` and `citation` as they are generated, then `completed` or `error`. Every citation is checked against its
/// passage, by words and numbers, not by vectors.
#[utoipa::path(post, path = "/kb/v1/answer", tag = "search", operation_id = "answerQuestion", security(("key" = [])), request_body = AnswerRequest,
    responses((status = 200, content((Completed = "application/json"), (AnswerEvent = "text/event-stream"))), (status = "4XX", body = Fault),
        (status = 503, description = "The language model is unavailable, and the request did not ask for events.", body = Fault)))]
pub(super) async fn answer(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<AnswerRequest>,
) -> Result<Response, Problem> {
    settings::no_others(&body.others)?;
    // A follow-up question may not name its subject.
    let earlier = body
        .history
        .iter()
        .rfind(|t| t.role == answers::Role::User)
        .map(|t| t.content.chars().take(EARLIER).collect::<String>());
    let query = match earlier {
        Some(earlier) => format!("{}\n{earlier}", body.question),
        None => body.question.clone(),
    };
    let mut search = body.settings.request(query, body.dataset_ids)?;
    search.top_k = body.settings.top_k.unwrap_or(PASSAGES);
    search.max_tokens = search
        .max_tokens
        .or(Some(service.app.config.answer_context_tokens));
    // Punctuation of a question must not be parsed as operators.
    search.plain = body.settings.syntax.is_none() || search.plain;
    let request = search.clone();
    let question = Question {
        text: body.question,
        search,
        mode: body.mode,
        history: body.history,
    };
    let (found, events) = answers::answer(&service.app, &caller, question).await?;
    history::record(&service.app, &caller, &request, &found);
    if body.stream == Some(false) {
        return Ok(Json(answers::whole(events).await?).into_response());
    }
    let events = events.map(|event| {
        let name = event.name();
        let sse = Sse::default().event(name).json_data(&event);
        Ok::<_, Infallible>(sse.unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be written");
            Sse::default().event("error").data("{\"type\":\"error\",\"reason\":\"internal\",\"message\":\"an event could not be written\"}")
        }))
    });
    Ok(axum::response::Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}
