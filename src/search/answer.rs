//! Search responses: hits with their explanations, counts, interpretation of the query, timings.

use serde::Serialize;
use serde_json::Value;

use super::explain::Explanation;
use super::highlight::Range;
use super::syntax::Parsed;
use crate::kb::Chunk;
use crate::kb::citation::Citation;

/// Duration of each stage, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Parsing and analysing the query, embedding it (0 when cached), and finding the documents that satisfy the filter.
    pub embed_ms: f64,
    /// Both candidate lists and the computation of missing scores.
    pub retrieve_ms: f64,
    /// Reranking by the cross-encoder.
    pub rerank_ms: f64,
    /// Blending, selection, loading rows, highlights.
    pub assemble_ms: f64,
    /// All stages together.
    pub total_ms: f64,
}

/// Counts of candidates and documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Distinct candidates that were scored: the best of each list, after filtering.
    pub candidates: usize,
    /// Candidates with at least `minScore`; after reranking, among those that were reranked. Facets count these.
    pub matching: usize,
    /// Documents of the matching candidates.
    pub documents: usize,
    /// Whether no list reached its limit: then the candidates are all chunks with a word of the query, and all with a vector.
    pub complete: bool,
}

/// Frequencies of the values of a field among the matching candidates.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Facet {
    /// Name of the field.
    pub field: String,
    /// Values, most frequent first.
    pub values: Vec<FacetValue>,
    /// Number of values that are not shown.
    pub others: usize,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FacetValue {
    /// The value; null for documents without the field.
    pub value: Value,
    /// Number of chunks.
    pub chunks: usize,
    /// Number of documents.
    pub documents: usize,
}

/// Interpretation of the query in a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interpretation {
    /// Id of the dataset.
    pub dataset_id: String,
    /// The parsed query.
    #[serde(flatten)]
    pub parsed: Parsed,
    /// Weight of the vectors.
    pub alpha: f32,
    /// Reason for the weight.
    pub alpha_reason: String,
    /// Words added by feedback.
    pub added: Vec<String>,
    /// Length of the vector list.
    pub vector_candidates: usize,
    /// Length of the keyword list.
    pub keyword_candidates: usize,
}

/// Whether the best hit is good enough as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confidence {
    /// Score of the best hit, 0 without hits; with `rrf` and `minmax`, whose scores are relative to the query, its score in a blend.
    pub score: f32,
    /// Score from which an answer counts as confident.
    pub threshold: f32,
    /// Whether the threshold was set or calibrated for the dataset; otherwise it is the general one.
    pub calibrated: bool,
    /// Whether the embedding model is calibrated, or the score has no vector part. Otherwise scores are not comparable with those of other models, and the
    /// general threshold is not applied.
    pub model_calibrated: bool,
    /// Whether the best hit is below the threshold, or missing.
    pub no_confident_answer: bool,
}

/// Result of reranking.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reranking {
    /// `reranked`; or `outOfTime`, or `notConfigured` where only the dataset's default requests it: then the order is that of the blend.
    pub outcome: &'static str,
    /// Name of the model.
    pub model: String,
    /// Number of candidates to rerank.
    pub candidates: usize,
}

/// A search response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Hits, best first.
    pub hits: Vec<Hit>,
    pub totals: Totals,
    pub facets: Vec<Facet>,
    /// Interpretation of the query, per dataset.
    pub interpretations: Vec<Interpretation>,
    /// The query with corrections in place of unknown words.
    pub did_you_mean: Option<String>,
    pub confidence: Confidence,
    /// Result of reranking, if requested.
    pub reranking: Option<Reranking>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Number of tokens of all hits, when there is a budget.
    pub tokens: Option<usize>,
    /// Number of hits that the budget excluded.
    pub trimmed: usize,
    /// Whether the response came from the cache.
    pub cached: bool,
    /// Whether the query's operators matched nothing, so that it was read as plain text.
    pub read_as_plain: bool,
    /// Missing parts: `vectors`, or an index that is not complete, as in `keyword index 40 % built`. Such a response is neither complete nor confident.
    pub degraded: Vec<String>,
    pub timings: Timings,
}

impl Answer {
    /// Returns the approximate memory use in bytes.
    pub(super) fn bytes(&self) -> usize {
        let passage = |p: &Option<Passage>| p.as_ref().map_or(0, |p| p.text.len());
        let hit = |h: &Hit| {
            1000 + h.chunk.content.len()
                + h.chunk.context.len()
                + h.metadata.len()
                + 200 * h.explanation.terms.len()
                + passage(&h.expanded)
                + passage(&h.section)
        };
        1000 + self.hits.iter().map(hit).sum::<usize>()
    }
}

/// A hit.
#[derive(Debug, Clone)]
pub struct Hit {
    pub chunk: Chunk,
    /// Name of its document.
    pub file_name: String,
    /// Title of its document.
    pub title: Option<String>,
    /// Address of its document.
    pub url: Option<String>,
    /// Publication time of its document.
    pub published_at: Option<String>,
    /// Version of its document.
    pub version: i64,
    /// Metadata of its document, as JSON.
    pub metadata: String,
    /// Final score.
    pub score: f32,
    /// `vector`, `keyword` or `hybrid`: the candidate lists that contain it.
    pub rank_source: &'static str,
    /// Number of near-duplicates folded into it.
    pub folded: usize,
    /// Ranges of query terms in the content.
    pub highlights: Vec<Range>,
    /// The chunk with its neighbours.
    pub expanded: Option<Passage>,
    /// The section that contains the chunk.
    pub section: Option<Passage>,
    /// Composition of the score.
    pub explanation: Explanation,
}

impl Hit {
    /// Returns the address of the chunk.
    #[must_use]
    pub fn citation(&self) -> Citation {
        Citation {
            dataset_id: self.chunk.dataset_id.clone(),
            document_id: self.chunk.document_id.clone(),
            version: self.version,
            chunk_id: Some(self.chunk.id.clone()),
            start: self.chunk.start_char,
            end: self.chunk.end_char,
        }
    }
}

/// Neighbouring chunks as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The text, without the overlap between chunks.
    pub text: String,
    /// Start in the document's normalised text, in Unicode characters.
    pub start: i64,
    /// End, exclusive.
    pub end: i64,
    /// Ids of the chunks in order.
    pub chunk_ids: Vec<String>,
}
