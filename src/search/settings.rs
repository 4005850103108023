//! Search settings as callers write them: in a request, in the configuration of an evaluation, in a saved configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Defaults, Fusion, Request};
use crate::error::{Error, Result};
use crate::kb::filter::Filter;

/// Search settings. Absent fields fall back to the dataset's defaults, then to Cairn's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SearchSettings)]
pub struct Settings {
    /// Maximum number of hits, 1 to 100; 5 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Weight of the vectors: 0 is keyword only, 1 vector only. Absent: the dataset's default, or automatic by model and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid_alpha: Option<f32>,
    /// Minimum score of hits, 0 to 1. Absolute with `blend`; relative to the query with the other fusions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// Fusion of the lists; `blend` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fusion>,
    /// Condition on the metadata set at upload, and on built-in fields of hits, which begin with a dollar: `$fileName`, `$title`, `$url`, `$source`,
    /// `$mimeType`, `$createdOn`, `$updatedOn`, `$publishedAt`, `$documentId`, `$heading` (the path, joined by ` > `), `$page`.
    #[schema(value_type = Option<Filter>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Number of candidates from each index, 1 to 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Generation other than the live one, to preview its results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Whether near-duplicates are folded into the better hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold_duplicates: Option<bool>,
    /// Query syntax; `operators` when absent: phrases in quotes, `+must`, `-without`, `field:value`, `pre*`. `plain` reads the query as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syntax: Option<Syntax>,
    /// Maximum number of hits per document, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_document: Option<usize>,
    /// Maximal marginal relevance, 0 to 1: 1 considers the score only, 0 diversity only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmr: Option<f32>,
    /// Number of neighbours on each side that are merged into `expanded`, 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<usize>,
    /// Whether hits include the text of their section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<bool>,
    /// Fields, as in filters, whose values are counted over the matching candidates; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<String>,
    /// Whether the configured cross-encoder reranks the top candidates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<bool>,
    /// Whether the query is expanded from its best chunks (pseudo-relevance feedback).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<bool>,
    /// Maximum number of tokens of all hits together, as counted by the dataset's model; hits that do not fit are dropped from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Restricts the search to datasets that this agent role may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<String>,
    /// Whether to answer with 503 when vectors are unavailable, instead of searching by keyword alone and reporting it in `degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_vectors: Option<bool>,
}

/// Rejects unknown fields.
///
/// # Errors
/// `field_unknown`, whose message names one.
pub fn no_others(others: &BTreeMap<String, Value>) -> Result<()> {
    match others.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::invalid(
            "field_unknown",
            format!("unknown field {name:?}"),
        )),
    }
}

/// Settings that reject unknown fields.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
pub struct Strict {
    /// The settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// Unknown fields.
    #[serde(flatten)]
    #[schema(ignore)]
    pub others: BTreeMap<String, Value>,
}

/// Syntax of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// Text with operators.
    Operators,
    /// Plain text.
    Plain,
}

impl Settings {
    /// Returns the settings of a request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let yes = |flag: bool| flag.then_some(true);
        Self {
            top_k: Some(request.top_k),
            hybrid_alpha: request.alpha,
            min_score: request.min_score,
            fusion: Some(request.fusion),
            filter: request
                .filter
                .as_ref()
                .and_then(|f| serde_json::to_value(f).ok()),
            candidates: request.candidates,
            generation: request.generation,
            fold_duplicates: yes(request.fold),
            syntax: request.plain.then_some(Syntax::Plain),
            per_document: request.per_document,
            mmr: request.mmr,
            expand: (request.expand > 0).then_some(request.expand),
            section: yes(request.section),
            facets: request.facets.clone(),
            rerank: request.rerank,
            feedback: request.feedback,
            max_tokens: request.max_tokens,
            agent_role: request.agent_role.clone(),
            require_vectors: yes(request.require_vectors),
        }
    }

    /// Returns the settings with the defaults of a dataset in place of absent fields.
    #[must_use]
    pub fn or(self, defaults: &Defaults) -> Self {
        Self {
            hybrid_alpha: self.hybrid_alpha.or(defaults.hybrid_alpha),
            min_score: self.min_score.or(defaults.min_score),
            candidates: self.candidates.or(defaults.candidates),
            mmr: self.mmr.or(defaults.mmr),
            feedback: self.feedback.or(defaults.feedback),
            rerank: self.rerank.or(defaults.rerank),
            ..self
        }
    }

    /// Returns a search request with these settings.
    ///
    /// # Errors
    /// `filter_invalid`.
    pub fn request(&self, query: String, dataset_ids: Vec<String>) -> Result<Request> {
        let filter = self
            .filter
            .as_ref()
            .filter(|f| !f.is_null())
            .map(Filter::read)
            .transpose()?;
        let base = Request::new(query, dataset_ids);
        Ok(Request {
            top_k: self.top_k.unwrap_or(base.top_k),
            alpha: self.hybrid_alpha,
            min_score: self.min_score,
            fusion: self.fusion.unwrap_or_default(),
            filter,
            candidates: self.candidates,
            fold: self.fold_duplicates.unwrap_or(false),
            generation: self.generation,
            plain: self.syntax == Some(Syntax::Plain),
            per_document: self.per_document,
            mmr: self.mmr,
            expand: self.expand.unwrap_or(0),
            section: self.section.unwrap_or(false),
            facets: self.facets.clone(),
            rerank: self.rerank,
            feedback: self.feedback,
            max_tokens: self.max_tokens,
            agent_role: self.agent_role.clone(),
            require_vectors: self.require_vectors.unwrap_or(false),
            ..base
        })
    }
}
