//! Questions, the passages that may answer them, and what else passes between search and language model.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::kb::citation::Citation;
use crate::search::request::Request;

/// A question.
#[derive(Debug, Clone)]
pub struct Question {
    /// Text of the question.
    pub text: String,
    /// How to search for it; its query is that of the question.
    pub search: Request,
    /// Whether the model answers, or the best sentences.
    pub mode: Mode,
    /// Earlier turns of the conversation, oldest first.
    pub history: Vec<Turn>,
}

/// Part that writes the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The model, and without one the best sentences.
    #[default]
    Auto,
    /// The model.
    Generate,
    /// The best sentences.
    Extract,
}

/// A turn of the conversation.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Speaker of the turn.
    pub role: Role,
    /// Text of the turn.
    pub content: String,
}

/// Speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one who asks.
    User,
    /// The one who answers.
    Assistant,
}

/// A passage that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passage {
    /// The number by which the answer cites it, from 1.
    pub number: usize,
    /// Its place.
    pub citation: String,
    /// Its dataset.
    pub dataset_id: String,
    /// Its document.
    pub document_id: String,
    /// Its chunk.
    pub chunk_id: String,
    /// Title of the document, or its file's name.
    pub title: String,
    /// Address of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headings above it.
    pub heading_path: Vec<String>,
    /// What it says.
    pub text: String,
    /// Score of the search.
    pub score: f32,
    /// Where it stands; absent when the text is not that of the place, because it was edited by hand or joined from neighbours.
    #[serde(skip)]
    pub(super) place: Option<Citation>,
}

/// Tokens that the endpoint counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Of what it was given.
    pub input_tokens: u64,
    /// Of what it wrote.
    pub output_tokens: u64,
}
