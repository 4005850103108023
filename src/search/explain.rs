//! Composition of a score, as data and in one plain sentence.

use serde::Serialize;

use super::analysis;
use super::blend::Fusion;
use super::keyword::QueryTerm;

/// Composition of a score. `blended = vectorWeight · vectorScore + keywordWeight · keywordScore`; the score of the hit is that, or the reranker's.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Fusion of the lists.
    pub fusion: Fusion,
    /// Raw cosine; absent while the chunk has no embedding, and in keyword-only searches.
    pub cosine: Option<f32>,
    /// Normalised vector score: the calibrated cosine, 0 to 1; with `minmax` and `rrf`, relative to the other candidates.
    pub vector_score: Option<f32>,
    /// Cosines that the calibration of the model maps to the vector scores 0 and 1; between them it is linear.
    pub cosine_low: f32,
    pub cosine_high: f32,
    /// Weight of the vector score.
    pub vector_weight: f32,
    /// Rank in the vector list, from 1; absent when the list does not contain the chunk.
    pub vector_rank: Option<usize>,
    /// Raw BM25; absent in vector-only searches.
    pub bm25: Option<f32>,
    /// Upper bound of BM25 for this query in this dataset.
    pub bm25_bound: f32,
    /// Normalised keyword score.
    pub keyword_score: Option<f32>,
    /// Weight of the keyword score.
    pub keyword_weight: f32,
    /// Rank in the keyword list, from 1; absent when the list does not contain the chunk.
    pub keyword_rank: Option<usize>,
    /// Weighted sum of both scores.
    pub blended: f32,
    /// Weight of the vectors for this query in this dataset.
    pub alpha: f32,
    /// Reason for that weight.
    pub alpha_reason: String,
    /// Query words with their statistics in this dataset.
    pub terms: Vec<QueryTerm>,
    /// Forms of the query words that occur in the content.
    pub matched_terms: Vec<String>,
    /// Result of the cross-encoder.
    pub rerank: Option<Reranked>,
    /// Whether the embedding of the chunk is still being computed.
    pub vector_pending: bool,
    /// Whether the chunk exceeds the model's limit, so that its vector lacks the end.
    pub truncated: bool,
    /// Explanation in one sentence.
    pub sentence: String,
}

/// Result of the cross-encoder for a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reranked {
    /// Output of the model.
    pub logit: f32,
    /// `1 / (1 + exp(-logit))`: the score of the hit.
    pub score: f32,
    /// Rank before reranking, from 1.
    pub rank_before: usize,
    /// Rank after reranking.
    pub rank_after: usize,
}

impl Explanation {
    /// Adds the sentence.
    pub(super) fn with_sentence(mut self) -> Self {
        self.sentence = self.render();
        self
    }

    fn render(&self) -> String {
        let words = match (self.matched_terms.len(), self.bm25) {
            (_, None) => "keyword search was not used".to_owned(),
            (0, Some(bm25)) if bm25 > 0.0 => "the words match its title or heading".to_owned(),
            (0, _) => "it contains none of the words".to_owned(),
            (met, _) => {
                let asked = self.terms.iter().filter(|t| t.is_asked()).count();
                let of = |t: &&QueryTerm| {
                    t.forms.iter().any(|f| {
                        self.matched_terms
                            .iter()
                            .any(|m| m == analysis::shown(&f.term))
                    })
                };
                let words = self
                    .terms
                    .iter()
                    .filter(|t| t.is_asked())
                    .filter(of)
                    .count();
                let shown: Vec<&str> = self
                    .matched_terms
                    .iter()
                    .take(5)
                    .map(String::as_str)
                    .collect();
                format!(
                    "it contains {words} of the {asked} words ({}{})",
                    shown.join(", "),
                    if met > shown.len() { ", …" } else { "" }
                )
            }
        };
        let meaning = match self.cosine {
            None if self.vector_pending => "its embedding is still being computed".to_owned(),
            None => "semantic search was not used".to_owned(),
            Some(cosine) => {
                // The calibrated score, so that the words mean the same with every model.
                let score = (cosine - self.cosine_low) / (self.cosine_high - self.cosine_low);
                let close = match score {
                    s if s >= 0.8 => "very close",
                    s if s >= 0.7 => "close",
                    s if s >= 0.6 => "loosely related",
                    _ => "unrelated",
                };
                format!("it is semantically {close} (cosine {cosine:.2})")
            }
        };
        let place = match (self.vector_rank, self.keyword_rank) {
            (Some(v), Some(k)) => format!("semantic rank {v}, keyword rank {k}"),
            (Some(v), None) => format!("semantic rank {v}, not a keyword candidate"),
            (None, Some(k)) => format!("keyword rank {k}, not a semantic candidate"),
            (None, None) => "in neither list".to_owned(),
        };
        let moved = self.rerank.map_or_else(String::new, |r| {
            format!(
                "; the reranker moved it from rank {} to {}",
                r.rank_before, r.rank_after
            )
        });
        let mut sentence = format!("{words}, and {meaning}: {place}{moved}.");
        // A sentence begins with a capital.
        if let Some(first) = sentence.get(..1) {
            let first = first.to_uppercase();
            sentence.replace_range(..1, &first);
        }
        sentence
    }
}
