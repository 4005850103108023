//! The settings of a search as callers write them: in a request, in the configuration of an evaluation, in a saved one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Defaults, Fusion, Request};
use crate::error::{Error, Result};
use crate::kb::filter::Filter;

/// How to search. Absent fields take the dataset's defaults, then Cairn's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = SearchSettings)]
pub struct Settings {
    /// 1 to 100; 5 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// 0 keywords only, 1 vectors only; absent: the dataset's default, or what suits model and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid_alpha: Option<f32>,
    /// 0 to 1. Absolute with `blend`; relative to the query with the other fusions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// `blend` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fusion>,
    /// Condition on the metadata given at upload, and on fields of the hits themselves, which begin with a dollar: `$fileName`, `$title`, `$url`,
    /// `$source`, `$mimeType`, `$createdOn`, `$updatedOn`, `$publishedAt`, `$documentId`, `$heading` (the path, joined by ` > `), `$page`.
    #[schema(value_type = Option<Filter>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Candidates from each index, 1 to 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// A generation other than the one that is searched, to look at what it would answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Whether chunks that say nearly the same as a better hit are folded into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold_duplicates: Option<bool>,
    /// `operators` when absent: phrases in quotes, `+must`, `-without`, `field:value`, `pre*`; `plain` takes the query as words only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syntax: Option<Syntax>,
    /// Most hits of one document, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_document: Option<usize>,
    /// Maximal marginal relevance, 0 to 1: 1 looks at the score only, 0 at difference only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmr: Option<f32>,
    /// Neighbours on each side that are merged into `expanded`, 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<usize>,
    /// Whether hits carry the text of their section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<bool>,
    /// Fields, as in filters, whose values are counted over the matching candidates; at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<String>,
    /// Whether the configured cross-encoder orders the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<bool>,
    /// Whether the query is widened by what its best chunks have in common (pseudo-relevance feedback).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<bool>,
    /// Most tokens of all hits together, as the dataset's model counts; hits that do not fit are left out from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Only datasets that this agent role may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<String>,
    /// Answers with 503 when vectors cannot be had, instead of going by words alone and saying so in `degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_vectors: Option<bool>,
}

/// Refuses fields that nothing knows.
///
/// # Errors
/// `field_unknown` names one.
pub fn no_others(others: &BTreeMap<String, Value>) -> Result<()> {
    match others.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::invalid(
            "field_unknown",
            format!("there is no field {name:?} here"),
        )),
    }
}

/// Settings that have no other fields.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
pub struct Strict {
    /// The settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// What is none.
    #[serde(flatten)]
    #[schema(ignore)]
    pub others: BTreeMap<String, Value>,
}

/// How the query is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// With operators.
    Operators,
    /// As words only.
    Plain,
}

impl Settings {
    /// The settings of a search.
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

    /// With the defaults of a dataset in the place of what is absent.
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

    /// The search with these settings.
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
