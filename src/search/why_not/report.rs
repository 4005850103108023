//! The report of a why-not query: the causes, and the sentences that explain them.

use serde::Serialize;

/// An expected hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any chunk of this document.
    Document(String),
    /// This chunk.
    Chunk(String),
}

/// Explanation of a missing hit.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhyNot {
    /// Cause of the absence.
    pub cause: Cause,
    /// Cause in one sentence.
    pub sentence: String,
    /// Smallest change that would include it, in one sentence.
    pub remedy: Option<String>,
    /// Id of the chunk; for a document, of its best one.
    pub chunk_id: Option<String>,
    /// Id of its document.
    pub document_id: Option<String>,
    /// Final score, whatever kept it from being shown.
    pub score: Option<f32>,
    /// Difference by which the score is below `minScore`.
    pub below_min_score_by: Option<f32>,
    /// Rank in the vector list, from 1, within the length of the list.
    pub vector_rank: Option<usize>,
    /// Rank in the keyword list, from 1, within the length of the list.
    pub keyword_rank: Option<usize>,
    /// Rank after blending, from 1.
    pub rank: Option<usize>,
    /// Score of the last hit that is shown.
    pub last_score: Option<f32>,
    /// Words of the query that it does not contain.
    pub missing_terms: Vec<String>,
    /// Clause of the filter that it does not satisfy, as JSON.
    #[schema(value_type = Option<Object>)]
    pub clause: Option<serde_json::Value>,
}

/// Cause of a missing hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// It is among the hits.
    Found,
    /// There is no such document or chunk, or the key may not see it.
    Unknown,
    /// It is in a dataset that is not searched.
    OtherDataset,
    /// The agent role may not use its dataset.
    RoleNotAllowed,
    /// Its ingestion is not finished.
    NotIngested,
    /// Its ingestion failed.
    IngestionFailed,
    /// It has no text.
    NoChunks,
    /// Its document is switched off.
    DocumentDisabled,
    /// The chunk is switched off.
    ChunkDisabled,
    /// Its generation is not searched.
    OtherGeneration,
    /// The indexes have not applied it yet.
    NotIndexed,
    /// The filter excludes it.
    Filtered,
    /// It lacks a phrase or a word that the query requires.
    LacksRequired,
    /// It contains a term that the query excludes.
    HasExcluded,
    /// Neither its keyword score nor its vector score made it a candidate.
    NotACandidate,
    /// Its score is below the threshold.
    BelowMinScore,
    /// Its embedding is still being computed, and its keyword score alone does not suffice.
    VectorPending,
    /// It is a near-duplicate of a better hit.
    FoldedAsDuplicate,
    /// Its document has reached its maximum number of hits.
    PerDocument,
    /// More diverse hits were preferred.
    Diversity,
    /// It ranked below the reranker's depth, or the reranker scored others higher.
    Reranked,
    /// It ranks below `topK`.
    BelowTopK,
    /// The hits before it exhausted the token budget.
    TokenBudget,
}

impl WhyNot {
    pub(super) fn of(cause: Cause, sentence: impl Into<String>) -> Self {
        Self {
            cause,
            sentence: sentence.into(),
            remedy: None,
            chunk_id: None,
            document_id: None,
            score: None,
            below_min_score_by: None,
            vector_rank: None,
            keyword_rank: None,
            rank: None,
            last_score: None,
            missing_terms: Vec::new(),
            clause: None,
        }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
