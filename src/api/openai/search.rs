//! Search in a vector store.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::store_files::Text;
use super::{Auth, Body, OpenAiFault, Path, Problem};
use crate::api::Service;
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::evaluation::history;
use crate::kb::filter::{Comparison, Filter, Operator};
use crate::kb::{datasets, documents, files};
use crate::search::{self, Hit};

/// Most queries of a request.
const QUERIES: usize = 10;
/// Hits of a search, and at most, as at OpenAI.
const HITS: usize = 10;
const MOST: usize = 50;

/// A search.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiSearchRequest)]
pub(super) struct Request {
    /// A text, or up to ten texts, of which each passage counts with its best score.
    #[schema(value_type = Value)]
    query: Queries,
    /// A condition on attributes: `{"type", "key", "value"}` with the type `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in` or `nin`, or
    /// `{"type": "and", "filters": […]}`, or the same with `or`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    filters: Option<Condition>,
    /// 1 to 50; 10 unless it is named.
    #[serde(default)]
    max_num_results: Option<usize>,
    #[serde(default)]
    ranking_options: Option<Ranking>,
    /// Accepted; queries are searched as they are.
    #[serde(default)]
    #[expect(dead_code, reason = "has no effect")]
    rewrite_query: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Queries {
    One(String),
    Several(Vec<String>),
}

/// Settings of the ranking.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = OpenAiRankingOptions)]
struct Ranking {
    /// `none` switches reranking off; every other one leaves it as the dataset says.
    #[serde(default)]
    ranker: Option<String>,
    /// Lowest score, 0 to 1.
    #[serde(default)]
    score_threshold: Option<f32>,
    #[serde(default)]
    hybrid_search: Option<Weights>,
}

/// Weights of vectors and of words, of which the ratio counts.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiHybridWeights)]
struct Weights {
    embedding_weight: f32,
    text_weight: f32,
}

impl Weights {
    fn alpha(&self) -> Result<f32> {
        let sum = self.embedding_weight + self.text_weight;
        if self.embedding_weight < 0.0 || self.text_weight < 0.0 || !sum.is_finite() || sum <= 0.0 {
            return Err(Error::invalid(
                "weights_invalid",
                "embedding_weight and text_weight must not be negative, and not both 0",
            ));
        }
        Ok(self.embedding_weight / sum)
    }
}

/// A condition on attributes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Condition {
    Compound {
        #[serde(rename = "type")]
        kind: String,
        filters: Vec<Condition>,
    },
    Comparison {
        #[serde(rename = "type")]
        kind: String,
        key: String,
        value: Value,
    },
}

impl Condition {
    fn filter(&self) -> Result<Filter> {
        let unknown = |kind: &str| {
            Error::invalid(
                "filter_invalid",
                format!("unknown type {kind:?}; use eq, ne, gt, gte, lt, lte, in, nin, and or or"),
            )
        };
        match self {
            Self::Compound { kind, filters } => {
                let parts = filters.iter().map(Self::filter);
                let parts = parts.collect::<Result<Vec<_>>>()?;
                match kind.as_str() {
                    "and" => Ok(Filter::And { and: parts }),
                    "or" => Ok(Filter::Or { or: parts }),
                    other => Err(unknown(other)),
                }
            }
            Self::Comparison { kind, key, value } => {
                let op = match kind.as_str() {
                    "eq" => Operator::Eq,
                    "ne" => Operator::Ne,
                    "gt" => Operator::Gt,
                    "gte" => Operator::Gte,
                    "lt" => Operator::Lt,
                    "lte" => Operator::Lte,
                    "in" => Operator::In,
                    "nin" => Operator::Nin,
                    other => return Err(unknown(other)),
                };
                Ok(Filter::Is(Comparison {
                    field: key.clone(),
                    op,
                    value: value.clone(),
                }))
            }
        }
    }
}

/// Passages, the best first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiSearchPage)]
pub(super) struct Found {
    object: &'static str,
    search_query: Vec<String>,
    data: Vec<Passage>,
    has_more: bool,
    next_page: Option<String>,
    /// Parts of the search that were unavailable: the answer is incomplete. Absent when there are none; not a member of the original.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    degraded: BTreeSet<String>,
}

/// A passage of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiSearchResult)]
struct Passage {
    file_id: String,
    filename: String,
    /// 0 to 1.
    score: f32,
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    content: Vec<Text>,
}

/// Searches a vector store.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}/search", tag = "compatible", operation_id = "openaiSearchVectorStore",
    security(("key" = [])), params(("vector_store_id" = String, Path)), request_body = Request,
    responses((status = 200, body = Found), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn search(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(store): Path<String>,
    Body(request): Body<Request>,
) -> Result<Json<Found>, Problem> {
    caller.need(Scope::KbSearch)?;
    let app = &service.app;
    let queries = match request.query {
        Queries::One(query) => vec![query],
        Queries::Several(queries) => queries,
    };
    if queries.is_empty() || queries.len() > QUERIES {
        let message = format!("query must be a text, or 1 to {QUERIES} texts");
        return Err(Error::invalid("query_invalid", message).into());
    }
    let top_k = request.max_num_results.unwrap_or(HITS);
    if !(1..=MOST).contains(&top_k) {
        let message = format!("max_num_results must be between 1 and {MOST}");
        return Err(Error::invalid("top_k_out_of_range", message).into());
    }
    let filter = request
        .filters
        .as_ref()
        .map(Condition::filter)
        .transpose()?;
    if let Some(filter) = &filter {
        filter.validate()?;
    }
    let ranking = request.ranking_options.unwrap_or_default();
    let alpha = ranking
        .hybrid_search
        .as_ref()
        .map(Weights::alpha)
        .transpose()?;
    let is_unranked = ranking.ranker.as_deref() == Some("none");
    let dataset = datasets::settings(app, &caller, &store).await?;
    let mut best: HashMap<String, Hit> = HashMap::new();
    let mut degraded = BTreeSet::new();
    for query in &queries {
        let wanted = search::Request {
            top_k,
            alpha,
            min_score: ranking.score_threshold.filter(|s| *s > 0.0),
            filter: filter.clone(),
            rerank: is_unranked.then_some(false),
            ..search::Request::new(query.as_str(), vec![dataset.id.clone()])
        };
        let answer = search::search(app, &caller, &wanted).await?;
        history::record(app, &caller, &wanted, &answer);
        degraded.extend(answer.degraded);
        for hit in answer.hits {
            let known = best.get(&hit.chunk.id);
            if known.is_none_or(|known| known.score < hit.score) {
                best.insert(hit.chunk.id.clone(), hit);
            }
        }
    }
    let mut hits: Vec<Hit> = best.into_values().collect();
    hits.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then_with(|| a.chunk.id.cmp(&b.chunk.id))
    });
    hits.truncate(top_k);
    let ids: Vec<String> = hits.iter().map(|h| h.chunk.document_id.clone()).collect();
    let sources = documents::by_ids(app, &caller, &dataset.id, &ids).await?;
    let named: HashMap<&str, &str> = sources
        .iter()
        .map(|d| (d.id.as_str(), files::id_of(d)))
        .collect();
    let passage = |hit: Hit| {
        let id = hit.chunk.document_id.as_str();
        Ok(Passage {
            file_id: named.get(id).copied().unwrap_or(id).to_owned(),
            filename: hit.file_name,
            score: hit.score,
            attributes: serde_json::from_str(&hit.metadata)?,
            content: vec![Text::new(hit.chunk.with_header())],
        })
    };
    let data = hits.into_iter().map(passage).collect::<Result<Vec<_>>>()?;
    Ok(Json(Found {
        object: "vector_store.search_results.page",
        search_query: queries,
        data,
        has_more: false,
        next_page: None,
        degraded,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_of_openai_are_filters() {
        let condition: Condition = serde_json::from_value(json!({"type": "and", "filters": [
            {"type": "gte", "key": "year", "value": 2020},
            {"type": "or", "filters": [{"type": "eq", "key": "lang", "value": "de"}, {"type": "in", "key": "lang", "value": ["en"]}]}
        ]}))
        .expect("a condition");
        let filter = condition.filter().expect("valid");
        assert!(filter.holds(&json!({"year": 2024, "lang": "en"})));
        assert!(!filter.holds(&json!({"year": 2024, "lang": "fr"})));
        assert!(!filter.holds(&json!({"year": 2019, "lang": "de"})));
    }

    #[test]
    fn unknown_types_are_refused() {
        let condition: Condition =
            serde_json::from_value(json!({"type": "like", "key": "a", "value": "b"}))
                .expect("a condition");
        assert!(
            condition
                .filter()
                .expect_err("unknown")
                .to_string()
                .contains("nin")
        );
    }

    #[test]
    fn weights_count_by_their_ratio() {
        let weights = |embedding_weight, text_weight| Weights {
            embedding_weight,
            text_weight,
        };
        assert_eq!(weights(3.0, 1.0).alpha().expect("valid"), 0.75);
        assert!(weights(0.0, 0.0).alpha().is_err());
        assert!(weights(-1.0, 2.0).alpha().is_err());
    }
}
