//! What a search is asked: the query, where to look, and every setting, with the defaults that a dataset has for those that are absent.

use serde::{Deserialize, Serialize};

use super::blend::Fusion;
use crate::error::{Error, Result};
use crate::kb::filter::Filter;

/// Most hits of one answer.
pub const MAX_TOP_K: usize = 100;
/// Longest query in characters.
pub const MAX_QUERY: usize = 10_000;
/// Most datasets of one search.
pub const MAX_DATASETS: usize = 50;
/// Most candidates from each index.
pub const MAX_CANDIDATES: usize = 2000;
/// Most neighbours on each side.
pub const MAX_EXPAND: usize = 10;
/// Most fields that are counted.
pub const MAX_FACETS: usize = 10;
/// Largest budget of tokens.
pub const MAX_TOKENS: usize = 1_000_000;

/// A search.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is looked for.
    pub query: String,
    /// Where.
    pub dataset_ids: Vec<String>,
    /// Hits wanted, 1 to [`MAX_TOP_K`].
    pub top_k: usize,
    /// Weight of the vector part: 0 keywords only, 1 vectors only. Absent: the dataset's default, or what suits model and query.
    pub alpha: Option<f32>,
    /// Hits below this final score are left out.
    pub min_score: Option<f32>,
    /// How the lists are blended.
    pub fusion: Fusion,
    /// Condition on metadata, and on fields of the hits themselves.
    pub filter: Option<Filter>,
    /// Candidates from each index; the configured number when absent.
    pub candidates: Option<usize>,
    /// Whether chunks that say nearly the same as a better hit are folded into it.
    pub fold: bool,
    /// A generation of the datasets other than the one that is searched, to compare it.
    pub generation: Option<i64>,
    /// Whether the query is words only, without operators.
    pub plain: bool,
    /// Most hits of one document.
    pub per_document: Option<usize>,
    /// Maximal marginal relevance: 1 looks at the score only, 0 at difference only.
    pub mmr: Option<f32>,
    /// Neighbours on each side that are merged into the text of a hit.
    pub expand: usize,
    /// Whether hits carry the text of their section.
    pub section: bool,
    /// Fields whose values are counted over the candidates.
    pub facets: Vec<String>,
    /// Whether the head is ordered by the cross-encoder.
    pub rerank: Option<bool>,
    /// Whether the query is widened by what its best chunks have in common (pseudo-relevance feedback).
    pub feedback: Option<bool>,
    /// Most tokens of all hits together, as the dataset's model counts.
    pub max_tokens: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Only datasets that this agent role may use.
    pub agent_role: Option<String>,
    /// Whether a remembered answer will do.
    pub cache: bool,
    /// Defaults in the place of the dataset's own, to try them.
    pub defaults: Option<Defaults>,
    /// Whether reranking may take as long as it takes.
    pub patient: bool,
    /// Whether the search fails when vectors cannot be had, instead of going by words alone.
    pub require_vectors: bool,
}

impl Request {
    /// A search with the defaults.
    #[must_use]
    pub fn new(query: impl Into<String>, dataset_ids: Vec<String>) -> Self {
        Self {
            query: query.into(),
            dataset_ids,
            top_k: 5,
            alpha: None,
            min_score: None,
            fusion: Fusion::Blend,
            filter: None,
            candidates: None,
            fold: false,
            generation: None,
            plain: false,
            per_document: None,
            mmr: None,
            expand: 0,
            section: false,
            facets: Vec::new(),
            rerank: None,
            feedback: None,
            max_tokens: None,
            cursor: None,
            agent_role: None,
            cache: true,
            defaults: None,
            patient: false,
            require_vectors: false,
        }
    }

    /// Refuses what is out of range.
    ///
    /// # Errors
    /// Those of a search's ranges.
    pub fn check(&self) -> Result<()> {
        let length = self.query.chars().count();
        if self.query.trim().is_empty() || length > MAX_QUERY {
            return Err(Error::invalid(
                "query_invalid",
                format!("query must have 1 to {MAX_QUERY} characters"),
            ));
        }
        if self.dataset_ids.is_empty() || self.dataset_ids.len() > MAX_DATASETS {
            return Err(Error::invalid(
                "datasets_invalid",
                format!("datasetIds must name 1 to {MAX_DATASETS} datasets"),
            ));
        }
        if self.dataset_ids.iter().any(|id| id.contains('\0')) {
            return Err(Error::not_found(
                "dataset_not_found",
                "there is no such dataset",
            ));
        }
        if self.facets.len() > MAX_FACETS {
            return Err(Error::invalid(
                "facets_invalid",
                format!("facets may name at most {MAX_FACETS} fields"),
            ));
        }
        for field in &self.facets {
            crate::kb::filter::known_field(field)?;
        }
        let share = |code, name: &str, value: Option<f32>| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(Error::invalid(
                code,
                format!("{name} must be between 0 and 1"),
            )),
            _ => Ok(()),
        };
        share("alpha_out_of_range", "hybridAlpha", self.alpha)?;
        share("min_score_out_of_range", "minScore", self.min_score)?;
        share("mmr_out_of_range", "mmr", self.mmr)?;
        let count = |code, name: &str, value: Option<usize>, most: usize| match value {
            Some(value) if !(1..=most).contains(&value) => Err(Error::invalid(
                code,
                format!("{name} must be between 1 and {most}"),
            )),
            _ => Ok(()),
        };
        count("top_k_out_of_range", "topK", Some(self.top_k), MAX_TOP_K)?;
        count(
            "candidates_out_of_range",
            "candidates",
            self.candidates,
            MAX_CANDIDATES,
        )?;
        count(
            "per_document_out_of_range",
            "perDocument",
            self.per_document,
            MAX_TOP_K,
        )?;
        count(
            "max_tokens_out_of_range",
            "maxTokens",
            self.max_tokens,
            MAX_TOKENS,
        )?;
        if self.expand > MAX_EXPAND {
            return Err(Error::invalid(
                "expand_out_of_range",
                format!("expand must be between 0 and {MAX_EXPAND}"),
            ));
        }
        if self.cursor.is_some() && (self.mmr.is_some() || self.rerank == Some(true)) {
            return Err(Error::invalid(
                "cursor_unsupported",
                "an answer that is reranked or chosen for difference (mmr) has no next page; ask for more hits instead",
            ));
        }
        Ok(())
    }
}

/// Settings that searches of a dataset take when they name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    /// Weight of the vectors, 0 to 1; absent: what suits model and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid_alpha: Option<f32>,
    /// Hits below this score are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// Candidates from each index, 1 to 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Maximal marginal relevance, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmr: Option<f32>,
    /// Pseudo-relevance feedback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<bool>,
    /// Reranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<bool>,
    /// Best score from which an answer counts as confident, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confident_from: Option<f32>,
}

impl Defaults {
    /// Refuses what a search would refuse.
    ///
    /// # Errors
    /// Those of a search's ranges.
    pub fn check(&self) -> Result<()> {
        let request = Request {
            alpha: self.hybrid_alpha,
            min_score: self.min_score,
            candidates: self.candidates,
            mmr: self.mmr,
            ..Request::new("x", vec!["x".to_owned()])
        };
        request.check()?;
        match self.confident_from {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(Error::invalid(
                "confident_from_out_of_range",
                "confidentFrom must be between 0 and 1",
            )),
            _ => Ok(()),
        }
    }
}
