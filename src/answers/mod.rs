//! Answers with citations: what a search finds is handed to a language model behind an endpoint, its answer is streamed, and every citation in it is checked
//! against the passage that it names. Without an endpoint the answer is made of the best sentences that were found, word by word, and says so.
//!
//! `sentences` finds sentences and their markers, `support` checks them, `endpoint` speaks to the model, `extract` picks sentences.

pub mod endpoint;
mod extract;
pub mod parts;
mod sentences;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::kb::citation::Citation;
use crate::search::{self, Hit};
use endpoint::Piece;
pub use endpoint::{Endpoint, Protocol};
pub use parts::{Mode, Passage, Question, Role, Turn, Usage};
use sentences::Tracker;
pub use support::Verdict;

/// Turns of a history.
const TURNS: usize = 20;
/// Characters of all turns.
const SAID: usize = 40_000;

/// A citation that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cited {
    /// Which sentence of the answer, from 0.
    pub sentence: usize,
    /// The sentence in the answer, in Unicode characters.
    pub start: usize,
    /// After its last character.
    pub end: usize,
    /// Number of the passage.
    pub number: usize,
    /// The place in the document that says it: its best sentence, or the whole passage.
    pub citation: String,
    /// The text of that place.
    pub quote: String,
    /// Whether it says it.
    pub verdict: Verdict,
    /// Share of the sentence's words that the passage has, 0 to 1.
    pub support: f32,
    /// Numbers of the sentence that the passage does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_numbers: Vec<String>,
}

/// A sentence of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentence {
    /// In the answer, in Unicode characters.
    pub start: usize,
    /// After its last character.
    pub end: usize,
    /// Passages that it cites.
    pub citations: Vec<usize>,
    /// Numbers that it cites and that no passage has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<usize>,
    /// The best verdict of its citations; absent when it has none.
    pub verdict: Option<Verdict>,
}

/// Who made an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// A language model.
    Generated,
    /// Sentences of the passages, word by word.
    Extractive,
    /// Nobody: nothing was found, or nothing that is likely an answer.
    None,
}

/// A whole answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Completed {
    /// Its text, with the numbers of passages in brackets.
    pub answer: String,
    /// Who made it.
    pub kind: Made,
    /// The model that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether the best passage is good enough to be an answer, by the dataset's threshold.
    pub confident: bool,
    /// Whether the best passage reaches the dataset's threshold, and every sentence with words cites a passage that supports it.
    pub grounded: bool,
    /// What the search had to do without; absent when all is well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Why the model ended, in its own word: `stop`, `length` and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Sentences in order.
    pub sentences: Vec<Sentence>,
    /// Citations in order.
    pub citations: Vec<Cited>,
    /// What was found.
    pub passages: Vec<Passage>,
    /// Tokens, when the endpoint counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Milliseconds of the search.
    pub search_ms: f64,
    /// Milliseconds in all.
    pub total_ms: f64,
}

/// What happens while an answer is made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnswerEvent {
    /// What was found, before anything is said.
    Passages {
        /// Best first.
        passages: Vec<Passage>,
    },
    /// The next piece of the answer.
    TextDelta {
        /// The text.
        text: String,
    },
    /// A citation of a sentence that is complete now.
    Citation(Cited),
    /// The whole answer; the last event.
    Completed(Box<Completed>),
    /// It failed; the last event. The answer so far is incomplete.
    Error {
        /// Stable word.
        reason: &'static str,
        /// Sentence for people.
        message: String,
    },
}

impl AnswerEvent {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passages { .. } => "passages",
            Self::TextDelta { .. } => "text_delta",
            Self::Citation(_) => "citation",
            Self::Completed(_) => "completed",
            Self::Error { .. } => "error",
        }
    }
}

/// Searches, and begins to answer. Dropping the stream ends the request to the model.
///
/// # Errors
/// Those of a search; `history_invalid`; `answers_not_configured` when the model is asked for and there is none.
pub async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    question: Question,
) -> Result<(
    search::Answer,
    impl Stream<Item = AnswerEvent> + Send + use<>,
)> {
    let said: usize = question
        .history
        .iter()
        .map(|t| t.content.chars().count())
        .sum();
    if question.history.len() > TURNS || said > SAID {
        return Err(Error::invalid(
            "history_invalid",
            format!("history has at most {TURNS} turns, and {SAID} characters"),
        ));
    }
    let endpoint = match question.mode {
        Mode::Extract => None,
        Mode::Auto => app.answers.clone(),
        Mode::Generate => Some(app.answers.clone().ok_or_else(|| {
            Error::unprocessable(
                "answers_not_configured",
                "no language model is configured (answer_url); ask with mode extract, or set one up",
            )
        })?),
    };
    let began = Instant::now();
    let found = search::search(app, caller, &question.search).await?;
    let passages: Vec<Passage> = (1..)
        .zip(&found.hits)
        .map(|(number, hit)| Passage::of(number, hit))
        .collect();
    let mut making = Making {
        model: endpoint.as_ref().map(|e| e.model().to_owned()),
        tracker: Tracker::default(),
        confident: !found.confidence.no_confident_answer,
        is_relevant: found.confidence.score >= found.confidence.threshold,
        degraded: found.degraded.clone(),
        search_ms: found.timings.total_ms,
        began,
        sentences: Vec::new(),
        citations: Vec::new(),
        passages,
    };
    let app = Arc::clone(app);
    let events = async_stream::stream! {
        yield AnswerEvent::Passages { passages: making.passages.clone() };
        if making.passages.is_empty() {
            yield making.completed(Made::None, None, None);
            return;
        }
        let Some(endpoint) = endpoint else {
            // Sentences word by word support themselves, so nothing but the search can tell that they answer another question.
            if !making.is_relevant {
                yield making.completed(Made::None, None, None);
                return;
            }
            match extract::pick(&app, &question.text, &making.passages).await {
                Ok(text) => {
                    for piece in text {
                        for event in making.take(&piece) {
                            yield event;
                        }
                    }
                    for event in making.rest() {
                        yield event;
                    }
                    let kind = if making.tracker.text().is_empty() { Made::None } else { Made::Extractive };
                    yield making.completed(kind, None, None);
                }
                Err(error) => yield failed(&error),
            }
            return;
        };
        let mut pieces = std::pin::pin!(endpoint.say(&question, &making.passages));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(app.config.answer_seconds);
        let (mut usage, mut finish) = (None, None);
        loop {
            let piece = match tokio::time::timeout_at(deadline, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    yield failed(&error);
                    return;
                }
                Err(_) => {
                    yield failed(&Error::unavailable(
                        "answer_timeout",
                        format!("the language model took longer than {} seconds (answer_seconds)", app.config.answer_seconds),
                    ));
                    return;
                }
            };
            match piece {
                Piece::Text(text) => for event in making.take(&text) {
                    yield event;
                },
                // Some tell the two at different times.
                Piece::Usage(used) => {
                    let known: &mut Usage = usage.get_or_insert_default();
                    known.input_tokens = known.input_tokens.max(used.input_tokens);
                    known.output_tokens = known.output_tokens.max(used.output_tokens);
                }
                Piece::End(word) => finish = Some(word),
            }
        }
        for event in making.rest() {
            yield event;
        }
        if making.tracker.text().trim().is_empty() {
            yield failed(&Error::unavailable("answer_empty", "the language model said nothing"));
            return;
        }
        yield making.completed(Made::Generated, finish, usage);
    };
    Ok((found, events))
}

/// Collects a whole answer.
///
/// # Errors
/// The reason of its error event.
pub async fn whole(events: impl Stream<Item = AnswerEvent> + Send) -> Result<Completed> {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            AnswerEvent::Completed(completed) => return Ok(*completed),
            AnswerEvent::Error { reason, message } => {
                return Err(Error::unavailable(reason, message));
            }
            AnswerEvent::Passages { .. }
            | AnswerEvent::TextDelta { .. }
            | AnswerEvent::Citation(_) => {}
        }
    }
    Err(Error::internal("an answer had no end"))
}

fn failed(error: &Error) -> AnswerEvent {
    tracing::warn!(error = %error, "an answer failed");
    AnswerEvent::Error {
        reason: error.code(),
        message: error.public_message().to_owned(),
    }
}

impl Passage {
    fn of(number: usize, hit: &Hit) -> Self {
        let place = Citation {
            dataset_id: hit.chunk.dataset_id.clone(),
            document_id: hit.chunk.document_id.clone(),
            version: hit.version,
            chunk_id: Some(hit.chunk.id.clone()),
            start: hit.chunk.start_char,
            end: hit.chunk.end_char,
        };
        Self {
            number,
            citation: place.to_string(),
            dataset_id: hit.chunk.dataset_id.clone(),
            document_id: hit.chunk.document_id.clone(),
            chunk_id: hit.chunk.id.clone(),
            title: hit.title.clone().unwrap_or_else(|| hit.file_name.clone()),
            url: hit.url.clone(),
            heading_path: hit.chunk.headings(),
            text: hit
                .expanded
                .as_ref()
                .map_or_else(|| hit.chunk.content.clone(), |p| p.text.clone()),
            score: hit.score,
            place: (hit.expanded.is_none() && hit.chunk.origin == "parsed").then_some(place),
        }
    }

    /// The citation and the text of a part of it, given in bytes.
    fn part(&self, range: std::ops::Range<usize>) -> (String, String) {
        let quote = self.text[range.clone()].to_owned();
        let citation = match &self.place {
            Some(place) => {
                let characters = |text: &str| i64::try_from(text.chars().count()).unwrap_or(0);
                let start = place.start + characters(&self.text[..range.start]);
                Citation {
                    end: start + characters(&quote),
                    start,
                    ..place.clone()
                }
                .to_string()
            }
            None => self.citation.clone(),
        };
        (citation, quote)
    }
}

/// An answer that is being made.
struct Making {
    tracker: Tracker,
    passages: Vec<Passage>,
    sentences: Vec<Sentence>,
    citations: Vec<Cited>,
    model: Option<String>,
    confident: bool,
    /// Whether the best passage reaches the dataset's threshold, also where an incomplete index leaves doubts.
    is_relevant: bool,
    degraded: Vec<String>,
    search_ms: f64,
    began: Instant,
}

impl Making {
    /// Takes the next piece of text; gives it on, and the citations of sentences that are complete now.
    fn take(&mut self, text: &str) -> Vec<AnswerEvent> {
        let complete = self.tracker.push(text);
        let mut events = vec![AnswerEvent::TextDelta {
            text: text.to_owned(),
        }];
        events.extend(self.check(complete));
        events
    }

    fn rest(&mut self) -> Vec<AnswerEvent> {
        let complete = self.tracker.finish();
        self.check(complete)
    }

    fn check(&mut self, complete: Vec<sentences::Found>) -> Vec<AnswerEvent> {
        let mut events = Vec::new();
        for found in complete {
            let (mut known, mut unknown, mut verdict) = (Vec::new(), Vec::new(), None);
            for number in found.markers {
                let Some(passage) = number.checked_sub(1).and_then(|at| self.passages.get(at))
                else {
                    unknown.push(number);
                    continue;
                };
                known.push(number);
                let checked = support::check(&found.words, &passage.text);
                let (citation, quote) = passage.part(checked.range);
                verdict = verdict.max(Some(checked.verdict));
                let cited = Cited {
                    sentence: self.sentences.len(),
                    start: found.start,
                    end: found.end,
                    number,
                    citation,
                    quote,
                    verdict: checked.verdict,
                    support: checked.support,
                    missing_numbers: checked.missing_numbers,
                };
                self.citations.push(cited.clone());
                events.push(AnswerEvent::Citation(cited));
            }
            self.sentences.push(Sentence {
                start: found.start,
                end: found.end,
                citations: known,
                unknown,
                verdict,
            });
        }
        events
    }

    fn completed(
        &mut self,
        kind: Made,
        finish: Option<String>,
        usage: Option<Usage>,
    ) -> AnswerEvent {
        let grounded = self.is_relevant
            && !self.sentences.is_empty()
            && self
                .sentences
                .iter()
                .all(|s| s.verdict == Some(Verdict::Supported) && s.unknown.is_empty());
        AnswerEvent::Completed(Box::new(Completed {
            answer: self.tracker.text().to_owned(),
            kind,
            model: self.model.take().filter(|_| kind == Made::Generated),
            confident: self.confident,
            grounded,
            degraded: std::mem::take(&mut self.degraded),
            finish,
            sentences: std::mem::take(&mut self.sentences),
            citations: std::mem::take(&mut self.citations),
            passages: std::mem::take(&mut self.passages),
            usage,
            search_ms: self.search_ms,
            total_ms: self.began.elapsed().as_secs_f64() * 1000.0,
        }))
    }
}
