//! A search request: the query, the datasets, and every setting, with the dataset's defaults for absent ones.

use serde::{Deserialize, Serialize};

use super::blend::Fusion;
use crate::error::{Error, Result};
use crate::kb::filter::Filter;

/// Maximum number of hits per response.
pub const MAX_TOP_K: usize = 100;
/// Maximum length of a query in characters.
pub const MAX_QUERY: usize = 10_000;
/// Maximum number of datasets per search.
pub const MAX_DATASETS: usize = 50;
/// Maximum number of candidates from each index.
pub const MAX_CANDIDATES: usize = 2000;
/// Maximum number of neighbours on each side.
pub const MAX_EXPAND: usize = 10;
/// Maximum number of facet fields.
pub const MAX_FACETS: usize = 10;
/// Maximum token budget.
pub const MAX_TOKENS: usize = 1_000_000;

/// A search request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Search text.
    pub query: String,
    /// Datasets to search.
    pub dataset_ids: Vec<String>,
    /// Number of hits wanted, 1 to [`MAX_TOP_K`].
    pub top_k: usize,
    /// Weight of the vectors: 0 is keyword only, 1 vector only. Absent: the dataset's default, or automatic by model and query.
    pub alpha: Option<f32>,
    /// Minimum final score of hits.
    pub min_score: Option<f32>,
    /// Fusion of the lists.
    pub fusion: Fusion,
    /// Condition on metadata and on built-in fields of hits.
    pub filter: Option<Filter>,
    /// Number of candidates from each index; the configured number when absent.
    pub candidates: Option<usize>,
    /// Whether near-duplicates are folded into the better hit.
    pub fold: bool,
    /// Generation other than the live one, to compare it.
    pub generation: Option<i64>,
    /// Whether the query is plain text, without operators.
    pub plain: bool,
    /// Maximum number of hits per document.
    pub per_document: Option<usize>,
    /// Maximal marginal relevance: 1 considers the score only, 0 diversity only.
    pub mmr: Option<f32>,
    /// Number of neighbours on each side that are merged into the text of a hit.
    pub expand: usize,
    /// Whether hits include the text of their section.
    pub section: bool,
    /// Facet fields, whose values are counted over the candidates.
    pub facets: Vec<String>,
    /// Whether the cross-encoder reranks the top candidates.
    pub rerank: Option<bool>,
    /// Whether the query is expanded from its best chunks (pseudo-relevance feedback).
    pub feedback: Option<bool>,
    /// Maximum number of tokens of all hits together, as counted by the dataset's model.
    pub max_tokens: Option<usize>,
    /// Cursor at the end of the previous page.
    pub cursor: Option<String>,
    /// Restricts the search to datasets that this agent role may use.
    pub agent_role: Option<String>,
    /// Whether a cached response is acceptable.
    pub cache: bool,
    /// Defaults in place of the dataset's own, to try them.
    pub defaults: Option<Defaults>,
    /// Whether reranking may take as long as it needs.
    pub patient: bool,
    /// Whether the search fails when vectors are unavailable, instead of searching by keyword alone.
    pub require_vectors: bool,
}

impl Request {
    /// Creates a request with the defaults.
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

    /// Rejects values that are out of range.
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
            return Err(Error::not_found("dataset_not_found", "dataset not found"));
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
                "reranked and diversified (mmr) results have no next page; raise topK instead",
            ));
        }
        Ok(())
    }
}

/// Settings for searches of a dataset that name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    /// Weight of the vectors, 0 to 1; absent: automatic by model and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid_alpha: Option<f32>,
    /// Minimum score of hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// Number of candidates from each index, 1 to 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Maximal marginal relevance, 0 to 1: 1 considers the score only, 0 diversity only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmr: Option<f32>,
    /// Whether queries are expanded by pseudo-relevance feedback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<bool>,
    /// Whether the configured cross-encoder reranks the top candidates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<bool>,
    /// Score of the best hit from which an answer counts as confident, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confident_from: Option<f32>,
}

impl Defaults {
    /// Rejects values that a search would reject.
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
