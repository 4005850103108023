//! What a search answers: hits with their explanations, counts, how the query was understood, how long it took.

use serde::Serialize;
use serde_json::Value;

use super::explain::Explanation;
use super::highlight::Range;
use super::syntax::Parsed;
use crate::kb::Chunk;

/// How long each stage took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Reading and analysing the query, embedding it (0 when it was remembered), and finding the documents that satisfy the filter.
    pub embed_ms: f64,
    /// Both candidate lists and the completion of scores.
    pub retrieve_ms: f64,
    /// The cross-encoder.
    pub rerank_ms: f64,
    /// Blending, choosing, reading rows, highlights.
    pub assemble_ms: f64,
    /// Everything.
    pub total_ms: f64,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Distinct candidates that were scored: the best of each list, in the filter.
    pub candidates: usize,
    /// Those of them with at least `minScore`; after reranking, of those that were reranked. Facets count these.
    pub matching: usize,
    /// Documents that these belong to.
    pub documents: usize,
    /// Whether no list reached its limit: then the candidates are all chunks that have a word of the query, and all that have a vector.
    pub complete: bool,
}

/// How often each value of a field occurs among the matching candidates.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Facet {
    /// The field.
    pub field: String,
    /// Its values, most frequent first.
    pub values: Vec<FacetValue>,
    /// Values that are not shown.
    pub others: usize,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FacetValue {
    /// The value; null stands for documents without the field.
    pub value: Value,
    /// Chunks.
    pub chunks: usize,
    /// Documents.
    pub documents: usize,
}

/// How the query was understood in a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interpretation {
    /// The dataset.
    pub dataset_id: String,
    /// The query, read.
    #[serde(flatten)]
    pub parsed: Parsed,
    /// Weight of the vectors.
    pub alpha: f32,
    /// Why it is that.
    pub alpha_reason: String,
    /// Words that feedback added.
    pub added: Vec<String>,
    /// Lengths of the vector and keyword lists.
    pub vector_candidates: usize,
    /// See above.
    pub keyword_candidates: usize,
}

/// Whether the best hit is good enough to be an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confidence {
    /// Score of the best hit, 0 without hits; with `rrf` and `minmax`, whose scores are relative to the query, the one that it has in a blend.
    pub score: f32,
    /// From which score on an answer counts as confident.
    pub threshold: f32,
    /// Whether that was set or calibrated for the dataset, not taken from the general one.
    pub calibrated: bool,
    /// The best hit is below the threshold, or there is none.
    pub no_confident_answer: bool,
}

/// What the cross-encoder did.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reranking {
    /// `reranked`; or `outOfTime`, or `notConfigured` where only the dataset's default asks for it: then the order is that of the blend.
    pub outcome: &'static str,
    /// The model.
    pub model: String,
    /// Candidates that it was to order.
    pub candidates: usize,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Hits, best first.
    pub hits: Vec<Hit>,
    /// How many there are.
    pub totals: Totals,
    /// Counts of values.
    pub facets: Vec<Facet>,
    /// How the query was understood, per dataset.
    pub interpretations: Vec<Interpretation>,
    /// The query with known words in the place of unknown ones.
    pub did_you_mean: Option<String>,
    /// Whether the best hit is good enough.
    pub confidence: Confidence,
    /// What the cross-encoder did, when it was asked.
    pub reranking: Option<Reranking>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Tokens of all hits, when there is a budget.
    pub tokens: Option<usize>,
    /// Hits that the budget left out.
    pub trimmed: usize,
    /// Whether it was remembered.
    pub cached: bool,
    /// Whether nothing was found by the query's operators, so that it was read as plain words.
    pub read_as_plain: bool,
    /// What it had to do without: `vectors`, or an index that is not complete, as in `keyword index 40 % built`. Such an answer is neither complete nor
    /// confident.
    pub degraded: Vec<String>,
    /// How long it took.
    pub timings: Timings,
}

impl Answer {
    /// Roughly the memory that it takes.
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
    /// The chunk.
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
    /// `vector`, `keyword` or `hybrid`: in which candidate list it was.
    pub rank_source: &'static str,
    /// How many candidates that say nearly the same were folded into it.
    pub folded: usize,
    /// Query terms in the content.
    pub highlights: Vec<Range>,
    /// The chunk with its neighbours.
    pub expanded: Option<Passage>,
    /// The section that the chunk is in.
    pub section: Option<Passage>,
    /// What the score is made of.
    pub explanation: Explanation,
}

/// Neighbouring chunks as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The text, without what chunks repeat of the one before.
    pub text: String,
    /// Range in the document's normalised text, in Unicode characters.
    pub start: i64,
    /// After the last character.
    pub end: i64,
    /// The chunks in order.
    pub chunk_ids: Vec<String>,
}
