//! Resolution of citations and verification of quotes.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Problem, Query};
use crate::error::{Error, Result};
use crate::kb::citations::{self, Source, Verdict};

/// The citation to resolve.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CitationQuery {
    /// Citation, `kb://dataset/document@version#chunk:start-end`; the chunk may be missing.
    uri: String,
}

/// The cited text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CitedPlace {
    /// Citation of the text in the current version.
    uri: String,
    dataset_id: String,
    document_id: String,
    file_name: String,
    title: Option<String>,
    url: Option<String>,
    /// Current version of the document.
    version: i64,
    /// Whether the document has changed since the citation was made.
    stale: bool,
    /// Start in Unicode characters of the document's normalised text.
    start: i64,
    end: i64,
    text: String,
}

/// Resolves a citation to its text.
#[utoipa::path(get, path = "/kb/v1/citations", tag = "search", operation_id = "resolveCitation", security(("key" = [])), params(CitationQuery),
    responses((status = 200, body = CitedPlace), (status = "4XX", body = Fault)))]
pub(super) async fn resolve(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<CitationQuery>,
) -> Result<Json<CitedPlace>, Problem> {
    let found = citations::resolve(&service.app, &caller, &query.uri.parse()?).await?;
    Ok(Json(CitedPlace {
        uri: found.citation.to_string(),
        dataset_id: found.citation.dataset_id,
        document_id: found.citation.document_id,
        file_name: found.document.file_name,
        title: found.document.title,
        url: found.document.url,
        version: found.document.version,
        stale: found.stale,
        start: found.citation.start,
        end: found.citation.end,
        text: found.text,
    }))
}

/// A quote and its source: `uri`, or `datasetId` and `documentId`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct QuoteRequest {
    /// The quote, at most 4,000 characters.
    quote: String,
    /// Citation of the source.
    uri: Option<String>,
    dataset_id: Option<String>,
    document_id: Option<String>,
}

/// The result of verifying a quote.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuoteVerdict {
    /// `exact` (the same words, regardless of case and punctuation), `near` or `absent`.
    verdict: &'static str,
    /// 1 for an exact match; otherwise 1 − (words to add, remove or change) / words of the quote.
    similarity: f64,
    /// Matching text of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Start of the match, in Unicode characters of the normalised text.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    /// Citation of the match.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    /// Whether the match is within the cited range.
    #[serde(skip_serializing_if = "Option::is_none")]
    within_citation: Option<bool>,
    /// Whether the document has changed since it was cited.
    stale: bool,
}

/// Checks whether a document contains a sentence, exactly or nearly, and where.
#[utoipa::path(post, path = "/kb/v1/verify-quote", tag = "search", operation_id = "verifyQuote", security(("key" = [])), request_body = QuoteRequest,
    responses((status = 200, body = QuoteVerdict), (status = "4XX", body = Fault)))]
pub(super) async fn verify(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(request): Body<QuoteRequest>,
) -> Result<Json<QuoteVerdict>, Problem> {
    let source = match (request.uri, request.dataset_id, request.document_id) {
        (Some(uri), None, None) => Source::Citation(uri.parse()?),
        (None, Some(dataset), Some(document)) => Source::Document(dataset, document),
        _ => {
            return Err(Error::invalid(
                "source_missing",
                "send either uri, or datasetId and documentId",
            )
            .into());
        }
    };
    let verified = citations::verify(&service.app, &caller, &request.quote, &source).await?;
    let place = verified.citation.as_ref();
    Ok(Json(QuoteVerdict {
        verdict: match verified.found.verdict {
            Verdict::Exact => "exact",
            Verdict::Near => "near",
            Verdict::Absent => "absent",
        },
        similarity: verified.found.similarity,
        start: place.map(|p| p.start),
        end: place.map(|p| p.end),
        uri: place.map(ToString::to_string),
        text: verified.text,
        within_citation: verified.within,
        stale: verified.stale,
    }))
}
