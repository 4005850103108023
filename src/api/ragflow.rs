//! Retrieval of RAGFlow, `/ragflow`: tools that retrieve from a RAGFlow server do so from datasets of Cairn. They append `/api/v1/retrieval` to the base URL.
//!
//! Where Cairn differs, this holds:
//! - datasets are named by id or by name; hits are of the whole datasets unless `document_ids` are given
//! - `similarity` is the score of the search, `vector_similarity` and `term_similarity` are its parts before they are weighted
//! - without `vector_similarity_weight`, the defaults of the datasets decide
//! - the first 100 hits can be paged through
//! - `keyword` and `cross_languages`, for which RAGFlow asks a language model, are refused
//! - errors have their HTTP status beside the `code` and `message` of RAGFlow

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dify::Conditions;
use super::extract::{auth, body, problem};
use super::fault::{self, FaultBody};
use super::secret::SecretHeader;
use super::{Service, retrieved};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::evaluation::history;
use crate::kb::datasets;
use crate::kb::filter::{Comparison, Filter, Operator};
use crate::search::{self, Hit, MAX_TOP_K, Request};

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/ragflow";
/// Datasets that are searched together.
const DATASETS: usize = 50;

/// An error as RAGFlow words it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RagflowFault {
    /// 101 for a wrong argument, 109 for a missing or wrong key, 102 otherwise.
    code: u16,
    message: String,
    error: FaultBody,
}

impl From<&Error> for RagflowFault {
    fn from(error: &Error) -> Self {
        let code = match fault::status(error.kind()).0.as_u16() {
            400 | 422 => 101,
            401 | 403 => 109,
            _ => 102,
        };
        Self {
            code,
            message: error.public_message().to_owned(),
            error: error.into(),
        }
    }
}

problem!(|error| RagflowFault::from(error));
auth!(Problem, &[SecretHeader::Bearer]);
body!(Problem);

/// Returns the routes.
pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(retrieve))
}

fn first() -> usize {
    1
}

fn thirty() -> usize {
    30
}

/// A retrieval request.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RagflowRetrievalRequest)]
pub(super) struct Retrieval {
    question: String,
    /// Ids or names of datasets.
    dataset_ids: Vec<String>,
    /// Only hits in these documents.
    #[serde(default)]
    document_ids: Option<Vec<String>>,
    /// Number of the page, from 1.
    #[serde(default = "first")]
    page: usize,
    /// Hits on a page.
    #[serde(default = "thirty")]
    page_size: usize,
    /// Minimum score, 0 to 1; 0.2 when absent.
    #[serde(default)]
    similarity_threshold: Option<f32>,
    /// Weight of the vectors, 0 to 1.
    #[serde(default)]
    vector_similarity_weight: Option<f32>,
    /// Candidates that are compared.
    #[serde(default)]
    top_k: Option<usize>,
    /// Any text: the top hits are reranked.
    #[serde(default)]
    rerank_id: Option<String>,
    #[serde(default)]
    keyword: bool,
    /// Whether hits have `highlight`.
    #[serde(default)]
    highlight: bool,
    #[serde(default)]
    cross_languages: Option<Vec<String>>,
    /// Conditions on the metadata of documents, as Dify has them, with `logic` for their operator.
    #[serde(default)]
    metadata_condition: Option<Conditions>,
}

impl Retrieval {
    /// Returns the number of hits before the page and at its end.
    fn range(&self) -> Result<(usize, usize)> {
        let last = self.page.checked_mul(self.page_size);
        match last.filter(|last| (1..=MAX_TOP_K).contains(last)) {
            Some(last) => Ok((last - self.page_size, last)),
            None => Err(Error::invalid(
                "page_invalid",
                format!(
                    "page and page_size must be 1 or more, and their product at most {MAX_TOP_K}"
                ),
            )),
        }
    }

    fn filter(&self) -> Result<Option<Filter>> {
        let mut all = Vec::new();
        if let Some(ids) = self.document_ids.as_ref().filter(|ids| !ids.is_empty()) {
            all.push(Filter::Is(Comparison {
                field: "$documentId".to_owned(),
                op: Operator::In,
                value: json!(ids),
            }));
        }
        if let Some(conditions) = &self.metadata_condition {
            all.extend(conditions.filter()?);
        }
        Ok((!all.is_empty()).then_some(Filter::And { and: all }))
    }
}

/// An answer with hits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RagflowRetrievalResponse)]
pub(super) struct Retrieved {
    /// 0.
    code: u16,
    data: Page,
}

/// A page of hits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RagflowPage)]
struct Page {
    /// Number of hits up to the end of this page.
    total: usize,
    chunks: Vec<Found>,
    doc_aggs: Vec<DocumentCount>,
}

/// Number of hits of a document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RagflowDocumentCount)]
struct DocumentCount {
    doc_id: String,
    doc_name: String,
    count: usize,
}

/// A hit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RagflowChunk)]
struct Found {
    id: String,
    content: String,
    /// The content with the words of the question in `<em>`, whose other characters are escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    highlight: Option<String>,
    dataset_id: String,
    kb_id: String,
    document_id: String,
    document_name: String,
    document_keyword: String,
    /// 0 to 1.
    similarity: f32,
    vector_similarity: f32,
    term_similarity: f32,
    important_keywords: Vec<String>,
    positions: Vec<Vec<i64>>,
    /// Metadata of the document, and where the hit is in it.
    #[schema(value_type = Object)]
    metadata: serde_json::Map<String, serde_json::Value>,
}

impl Found {
    fn new(hit: Hit, highlight: bool) -> Result<Self> {
        let name = retrieved::title(&hit);
        Ok(Self {
            highlight: highlight.then(|| highlighted(&hit)),
            metadata: retrieved::metadata(&hit)?,
            similarity: hit.score,
            vector_similarity: hit.explanation.vector_score.unwrap_or(0.0),
            term_similarity: hit.explanation.keyword_score.unwrap_or(0.0),
            id: hit.chunk.id.clone(),
            dataset_id: hit.chunk.dataset_id.clone(),
            kb_id: hit.chunk.dataset_id.clone(),
            document_id: hit.chunk.document_id.clone(),
            document_name: name.clone(),
            document_keyword: name,
            important_keywords: Vec::new(),
            positions: Vec::new(),
            content: hit.chunk.with_header(),
        })
    }
}

/// Returns the content of a hit as HTML, with the words of the question in `<em>`.
fn highlighted(hit: &Hit) -> String {
    let characters: Vec<char> = hit.chunk.content.chars().collect();
    let text = |from: usize, to: usize| -> String {
        let part = characters.get(from..to).unwrap_or_default();
        html_escape::encode_text(&part.iter().collect::<String>()).into_owned()
    };
    let (mut html, mut at) = (String::new(), 0);
    for range in &hit.highlights {
        if range.start < at {
            continue;
        }
        html.push_str(&text(at, range.start));
        html.push_str(&format!("<em>{}</em>", text(range.start, range.end)));
        at = range.end;
    }
    html.push_str(&text(at, characters.len()));
    html
}

/// Retrieves hits for clients of RAGFlow.
#[utoipa::path(post, path = "/ragflow/api/v1/retrieval", tag = "compatible", operation_id = "retrieveForRagflow", security(("key" = [])), request_body = Retrieval,
    responses((status = 200, body = Retrieved), (status = "4XX", body = RagflowFault)))]
async fn retrieve(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Retrieval>,
) -> Result<Json<Retrieved>, Problem> {
    caller.need(Scope::KbSearch)?;
    if body.keyword || body.cross_languages.as_ref().is_some_and(|l| !l.is_empty()) {
        return Err(Error::invalid(
            "not_supported",
            "keyword and cross_languages are not supported; leave them out",
        )
        .into());
    }
    if body.dataset_ids.len() > DATASETS {
        let message = format!("dataset_ids may name at most {DATASETS} datasets");
        return Err(Error::invalid("datasets_invalid", message).into());
    }
    let (before, last) = body.range()?;
    let mut datasets = Vec::with_capacity(body.dataset_ids.len());
    for wanted in &body.dataset_ids {
        let dataset = datasets::by_name(&service.app, &caller, wanted.trim()).await?;
        datasets.push(dataset.id);
    }
    let filter = body.filter()?;
    let request = Request {
        top_k: last,
        alpha: body.vector_similarity_weight,
        min_score: Some(body.similarity_threshold.unwrap_or(0.2)).filter(|s| *s != 0.0),
        candidates: body.top_k.map(|k| k.max(last)),
        rerank: body
            .rerank_id
            .as_ref()
            .filter(|id| !id.is_empty())
            .map(|_| true),
        filter,
        ..Request::new(body.question, datasets)
    };
    let answer = search::search(&service.app, &caller, &request).await?;
    history::record(&service.app, &caller, &request, &answer);
    let total = answer.hits.len();
    let hits = answer.hits.into_iter().skip(before);
    let chunks = hits
        .map(|hit| Found::new(hit, body.highlight))
        .collect::<Result<Vec<_>>>()?;
    let mut doc_aggs: Vec<DocumentCount> = Vec::new();
    for chunk in &chunks {
        match doc_aggs.iter_mut().find(|d| d.doc_id == chunk.document_id) {
            Some(known) => known.count += 1,
            None => doc_aggs.push(DocumentCount {
                doc_id: chunk.document_id.clone(),
                doc_name: chunk.document_name.clone(),
                count: 1,
            }),
        }
    }
    Ok(Json(Retrieved {
        code: 0,
        data: Page {
            total,
            chunks,
            doc_aggs,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(page: usize, page_size: usize) -> Option<(usize, usize)> {
        let read =
            json!({"question": "a", "dataset_ids": [], "page": page, "page_size": page_size});
        let read: Retrieval = serde_json::from_value(read).expect("a request");
        read.range().ok()
    }

    #[test]
    fn pages_are_parts_of_the_first_hundred_hits() {
        assert_eq!(range(1, 30), Some((0, 30)));
        assert_eq!(range(2, 50), Some((50, 100)));
        for (page, page_size) in [(0, 30), (1, 0), (3, 50), (usize::MAX, 2)] {
            assert_eq!(range(page, page_size), None, "{page} {page_size}");
        }
    }
}
