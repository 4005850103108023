//! Explains why a document or a chunk is not among the hits of a search: the first cause on the way from the file to the response, and the smallest
//! change that would include it.

mod report;

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::blend::Raw;
use super::candidate::{Candidate, ChunkLocation};
use super::choose;
use super::query;
use super::request::{MAX_CANDIDATES, MAX_TOP_K, Request};
use super::retrieve::{self, Source};
use super::syntax::Parsed;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::documents::DocumentStatus;
use crate::kb::{Chunk, chunks, datasets, documents};
pub use report::{Cause, Expected, WhyNot};

/// Maximum number of chunks of a document that are checked, in order.
const CHUNKS: i64 = 2000;

/// Explains why a document or a chunk is not among the hits of a search.
///
/// # Errors
/// Those of [`super::search`].
pub async fn why_not(
    app: &Arc<App>,
    caller: &Caller,
    request: &Request,
    expected: &Expected,
) -> Result<WhyNot> {
    caller.need(Scope::KbSearch)?;
    request.check()?;
    let mut own: Vec<Chunk> = Vec::new();
    let document_id = match expected {
        Expected::Document(id) => id.clone(),
        Expected::Chunk(id) => {
            let found = chunks::by_ids(app, caller.tenant(), std::slice::from_ref(id)).await?;
            let Some(chunk) = found.into_iter().find(|c| caller.sees(&c.dataset_id)) else {
                return Ok(WhyNot::of(Cause::Unknown, "The chunk does not exist: its document was deleted or re-ingested with different text.")
                    .remedy("Find its document and send documentId."));
            };
            let id = chunk.document_id.clone();
            own.push(chunk);
            id
        }
    };
    let document = documents::load(&app.db, caller.tenant(), &document_id).await?;
    let Some(document) = document.filter(|d| caller.sees(&d.dataset_id)) else {
        return Ok(WhyNot::of(Cause::Unknown, "The document does not exist.").remedy("Upload it."));
    };
    let with_document = |mut answer: WhyNot| {
        answer.document_id = Some(document_id.clone());
        answer.chunk_id = answer.chunk_id.or_else(|| match expected {
            Expected::Chunk(id) => Some(id.clone()),
            Expected::Document(_) => None,
        });
        answer
    };
    if !request.dataset_ids.contains(&document.dataset_id) {
        let dataset = datasets::settings(app, caller, &document.dataset_id).await?;
        return Ok(with_document(
            WhyNot::of(
                Cause::OtherDataset,
                format!(
                    "It is in the dataset {:?}, which was not searched.",
                    dataset.name
                ),
            )
            .remedy(format!("Add {} to datasetIds.", dataset.id)),
        ));
    }
    let searched = query::chosen(app, caller, request).await;
    let dataset = match searched {
        Ok(all) => all.into_iter().find(|d| d.id == document.dataset_id),
        Err(error) if error.code() == "role_not_allowed" => None,
        Err(error) => return Err(error),
    };
    let Some(dataset) = dataset else {
        return Ok(with_document(
            WhyNot::of(
                Cause::RoleNotAllowed,
                "This agent role may not use its dataset.",
            )
            .remedy(
                "Add the role to allowedAgentRoles of the dataset, or search without agentRole.",
            ),
        ));
    };
    if let Some(answer) = before_indexing(&document) {
        return Ok(with_document(answer));
    }
    if own.is_empty() {
        own = app
            .db
            .all(
                concat!(
                    "SELECT ",
                    chunks::columns!(""),
                    " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 ORDER BY ordinal LIMIT $4"
                ),
                args![caller.tenant(), &document_id, &dataset.live_set, CHUNKS],
            )
            .await?;
    }
    if own.is_empty() {
        return Ok(with_document(
            WhyNot::of(
                Cause::NoChunks,
                "Its file has no text or was not built for this generation.",
            )
            .remedy("Look at the document's warnings; a scanned file needs the setting `ocr`."),
        ));
    }
    if own.iter().all(|c| c.set_id != dataset.live_set) {
        return Ok(with_document(
            WhyNot::of(
                Cause::OtherGeneration,
                "The chunk belongs to a generation that is not live.",
            )
            .remedy("Send documentId, or the generation of the chunk."),
        ));
    }
    if own.iter().all(|c| !c.enabled) {
        return Ok(with_document(
            WhyNot::of(Cause::ChunkDisabled, "The chunk is disabled.").remedy("Enable the chunk."),
        ));
    }
    own.retain(|c| c.enabled);
    let whole = matches!(expected, Expected::Document(_));
    in_search(app, caller, request, dataset, own, whole)
        .await
        .map(with_document)
}

/// Returns causes that are independent of the query.
fn before_indexing(document: &documents::Document) -> Option<WhyNot> {
    if !document.enabled {
        return Some(
            WhyNot::of(Cause::DocumentDisabled, "Its document is disabled.")
                .remedy("Enable the document."),
        );
    }
    if document.text_hash.is_some() || document.chunks_count > 0 {
        return None;
    }
    Some(match document.status {
        DocumentStatus::Error => WhyNot::of(
            Cause::IngestionFailed,
            format!(
                "Its file could not be read: {}.",
                document
                    .error_message
                    .as_deref()
                    .unwrap_or("no reason was given")
                    .trim_end_matches('.')
            ),
        )
        .remedy("Fix the reported problem and ingest it again, or upload another file."),
        status @ (DocumentStatus::Pending
        | DocumentStatus::Parsing
        | DocumentStatus::Embedding
        | DocumentStatus::Stored
        | DocumentStatus::Indexed) => WhyNot::of(
            Cause::NotIngested,
            format!("Its file is not ingested yet (it is {status})."),
        )
        .remedy("Wait until it is indexed; GET …/why shows its progress."),
    })
}

/// Returns causes in the search itself.
async fn in_search(
    app: &Arc<App>,
    caller: &Caller,
    request: &Request,
    dataset: crate::kb::Dataset,
    mut own: Vec<Chunk>,
    whole: bool,
) -> Result<WhyNot> {
    let engine = app.engine().await?;
    // The other datasets of the search compete for the same hits.
    let datasets = query::chosen(app, caller, request).await?;
    let fields = retrieve::fields_of(app, &datasets, request).await?;
    let mut sources = Vec::new();
    for other in datasets {
        sources.push(Source::prepare(app, engine, request, other, &fields).await?);
    }
    let index = sources
        .iter()
        .position(|s| s.dataset.id == dataset.id)
        .ok_or_else(|| Error::internal("the dataset is not searched"))?;
    // With feedback, as in the search.
    let found = query::gather(app, request, &mut sources, request.top_k).await?;
    let source = &sources[index];
    if let Some(answer) = filtered(app, source, &mut own).await? {
        return Ok(answer);
    }
    let ids: HashMap<Uuid, &Chunk> = own
        .iter()
        .filter_map(|c| Some((c.id.parse().ok()?, c)))
        .collect();
    // Scored as candidates that neither list contains.
    let unscored: HashMap<Uuid, Raw> = ids.keys().map(|id| (*id, Raw::default())).collect();
    let (cosines, scores) = tokio::try_join!(
        source.cosines(unscored.keys().copied().collect()),
        source.bm25s(request, &unscored),
    )?;
    let is_allowed = |id: &Uuid| source.satisfies_conditions(id);
    let spread = super::blend::Spread::default();
    let mut scored: Vec<(Uuid, Raw, f32)> = ids
        .keys()
        .map(|id| {
            let raw = Raw {
                cosine: cosines.get(id).copied(),
                bm25: scores.get(id).copied(),
                ..Raw::default()
            };
            (*id, raw, query::score(request, source, &raw, &spread).score)
        })
        .collect();
    scored.sort_by(|a, b| {
        is_allowed(&b.0)
            .cmp(&is_allowed(&a.0))
            .then_with(|| b.2.total_cmp(&a.2))
            .then_with(|| a.0.cmp(&b.0))
    });
    let Some((best, raw, score)) = scored.first().copied() else {
        return Err(Error::internal("a document has chunks without ids"));
    };
    let Some(chunk) = ids.get(&best) else {
        return Err(Error::internal("a chunk is missing"));
    };
    let complete = |mut answer: WhyNot| {
        answer.chunk_id = Some(best.to_string());
        answer.score = answer.score.or(Some(score));
        answer.missing_terms = missing(source, chunk);
        answer
    };
    let positions = app.indexes.positions(&source.dataset.live_set);
    let behind = positions.0.min(positions.1) < source.dataset.log_seq;
    if behind && !source.index.has(&source.live, &best)? {
        return Ok(complete(
            WhyNot::of(Cause::NotIndexed, "It is not indexed yet.")
                .remedy("Wait a moment and search again."),
        ));
    }
    if !is_allowed(&best) {
        return Ok(complete(required(source, &best).await?));
    }
    let asked = Asked {
        request,
        sources: &sources,
        candidates: query::scored(request, &sources, &found),
    };
    let document_id = whole.then_some(chunk.document_id.as_str());
    explain_rank(app, caller, &asked, best, document_id, raw)
        .await
        .map(complete)
}

/// Keeps the chunks that satisfy the filter; when none is left, returns the condition that fails.
async fn filtered(app: &App, source: &Source, own: &mut Vec<Chunk>) -> Result<Option<WhyNot>> {
    let Some(filter) = &source.filter else {
        return Ok(None);
    };
    let objects = retrieve::objects(
        app,
        &source.dataset,
        own.iter().map(|c| c.document_id.as_str()),
    )
    .await?;
    let mut failing = None;
    own.retain(|chunk| {
        let Some(document) = objects.get(&chunk.document_id) else {
            return false;
        };
        let clause = filter.failing(&retrieve::with_location(
            document,
            &ChunkLocation::of(chunk),
        ));
        let holds = clause.is_none();
        failing = failing.take().or(clause);
        holds
    });
    let (true, Some(clause)) = (own.is_empty(), failing) else {
        return Ok(None);
    };
    let clause = serde_json::to_value(&clause)?;
    let mut answer = WhyNot::of(
        Cause::Filtered,
        format!("It does not match this filter condition: {clause}."),
    )
    .remedy("Remove or change the condition.");
    answer.clause = Some(clause);
    Ok(Some(answer))
}

/// Returns the words of the query of which a chunk contains no form.
fn missing(source: &Source, chunk: &Chunk) -> Vec<String> {
    let text = chunk.indexed_text();
    let mut has: std::collections::HashSet<String> = std::collections::HashSet::new();
    for language in &source.analysed.languages {
        has.extend(
            super::analysis::indexed(language, &text)
                .into_iter()
                .chain(super::analysis::stop_words(language, &text))
                .map(|t| t.text),
        );
    }
    source
        .analysed
        .terms
        .iter()
        .filter(|t| !t.forms.iter().any(|f| has.contains(&f.term)))
        .map(|t| t.term.clone())
        .collect()
}

/// Returns the requirement of the query that a chunk does not meet, by querying the index for each alone.
async fn required(source: &Source, id: &Uuid) -> Result<WhyNot> {
    let parsed = &source.parsed;
    let must = parsed.phrases.iter().chain(&parsed.must);
    let clauses = must
        .map(|text| (text, false))
        .chain(parsed.without.iter().map(|text| (text, true)));
    for (text, excluded) in clauses {
        let mut alone = Parsed::default();
        if excluded {
            alone.without.push(text.clone());
        } else {
            alone.phrases.push(text.clone());
        }
        let (index, live) = (Arc::clone(&source.index), Arc::clone(&source.live));
        let satisfying = tokio::task::spawn_blocking(move || {
            let analysed = index.analyse(&alone)?;
            index.satisfying(&analysed, &live, None)
        });
        let satisfying = satisfying.await??;
        let ordinal = source.live.table().ordinal(id);
        if ordinal.is_some_and(|n| satisfying.chunks.contains(n as usize)) {
            continue;
        }
        return Ok(if excluded {
            WhyNot::of(
                Cause::HasExcluded,
                format!("It contains {text:?}, which the query excludes."),
            )
            .remedy(format!("Remove -{text} from the query."))
        } else {
            WhyNot::of(
                Cause::LacksRequired,
                format!("It does not contain {text:?}, which the query requires."),
            )
            .remedy("Remove the quotes or the +.")
        });
    }
    Err(Error::internal(
        "a chunk fails a query but none of its conditions",
    ))
}

/// A search up to its candidates.
struct Asked<'a> {
    request: &'a Request,
    sources: &'a [Source],
    candidates: Vec<Candidate>,
}

impl Asked<'_> {
    fn mmr(&self) -> bool {
        let default = self.sources.first().and_then(|s| s.defaults.mmr);
        self.request.mmr.or(default).is_some()
    }
}

/// Returns the rank of a chunk among the candidates, and what keeps it from being shown.
async fn explain_rank(
    app: &Arc<App>,
    caller: &Caller,
    asked: &Asked<'_>,
    id: Uuid,
    document_id: Option<&str>,
    raw: Raw,
) -> Result<WhyNot> {
    let (request, sources, candidates) = (asked.request, asked.sources, &asked.candidates);
    let answer = super::search(
        app,
        caller,
        &Request {
            cache: false,
            cursor: None,
            ..request.clone()
        },
    )
    .await?;
    let last = answer.hits.last().map(|h| h.score);
    let shown = answer.hits.iter().position(|h| match document_id {
        // For a document, any of its chunks counts.
        Some(document_id) => h.chunk.document_id == document_id,
        None => h.chunk.id == id.to_string(),
    });
    let at = candidates.iter().position(|c| c.id == id);
    let base = |cause, sentence: String| {
        let mut answer = WhyNot::of(cause, sentence);
        answer.rank = at.map(|i| i + 1);
        answer.last_score = last;
        if let Some(candidate) = at.map(|i| &candidates[i]) {
            answer.score = Some(candidate.value());
            answer.vector_rank = candidate.raw.vector_rank;
            answer.keyword_rank = candidate.raw.keyword_rank;
        }
        answer
    };
    if let Some(shown) = shown {
        return Ok(base(
            Cause::Found,
            format!("It is in the results, at rank {}.", shown + 1),
        ));
    }
    let Some(rank) = at else {
        return explain_missing(app, request, sources, id, raw)
            .await
            .map(|(sentence, remedy)| base(Cause::NotACandidate, sentence).remedy(remedy));
    };
    let candidate = &candidates[rank];
    let least = request
        .min_score
        .or(sources[candidate.source].defaults.min_score)
        .unwrap_or(0.0);
    let pending = sources[candidate.source].vector.is_some() && candidate.raw.cosine.is_none();
    let reranked = answer
        .reranking
        .as_ref()
        .is_some_and(|r| r.outcome == "reranked");
    if candidate.value() < least && !reranked {
        let by = least - candidate.value();
        let cause = if pending {
            Cause::VectorPending
        } else {
            Cause::BelowMinScore
        };
        let mut answer = base(
            cause,
            format!(
                "Its score {:.3} is below minScore {least:.3} by {by:.3}{}.",
                candidate.value(),
                if pending {
                    "; its embedding is still being computed"
                } else {
                    ""
                }
            ),
        )
        .remedy(format!(
            "Lower minScore to {:.3}{}.",
            (candidate.value() * 1000.0).floor() / 1000.0,
            if rank < request.top_k {
                String::new()
            } else {
                format!(", and raise topK to {}", rank + 1)
            }
        ));
        answer.below_min_score_by = Some(by);
        return Ok(answer);
    }
    let (cause, sentence, remedy) = cut(app, asked, rank, &answer).await?;
    Ok(base(cause, sentence).remedy(remedy))
}

/// Returns the cap that dropped a candidate.
async fn cut(
    app: &Arc<App>,
    asked: &Asked<'_>,
    rank: usize,
    answer: &super::Answer,
) -> Result<(Cause, String, String)> {
    let (request, sources, candidates) = (asked.request, asked.sources, &asked.candidates);
    let candidate = candidates[rank].clone();
    let ranked = format!("It is candidate {} of {}", rank + 1, candidates.len());
    if answer
        .reranking
        .as_ref()
        .is_some_and(|r| r.outcome == "reranked")
    {
        let depth = app.config.rerank_candidates;
        return Ok(if rank >= depth {
            (
                Cause::Reranked,
                format!("{ranked}, but the reranker considers only the first {depth}."),
                "Raise the setting rerank_candidates.".to_owned(),
            )
        } else {
            (
                Cause::Reranked,
                format!("{ranked} before reranking, and the reranker ranked others higher."),
                "Search without rerank, raise topK, or lower minScore (reranked scores use a different scale)."
                    .to_owned(),
            )
        });
    }
    // Each cap alone, with all others wide open: a candidate missing then was dropped by it.
    let wide = |change: fn(&mut Request)| {
        let mut request = Request {
            top_k: candidates.len(),
            fold: false,
            per_document: None,
            mmr: None,
            ..request.clone()
        };
        change(&mut request);
        request
    };
    if request.fold {
        let folding = wide(|r| r.fold = true);
        let chosen = choose::choose(app, &folding, sources, candidates.clone(), None).await?;
        if !chosen.shown.iter().any(|c| c.id == candidate.id) {
            return Ok((
                Cause::FoldedAsDuplicate,
                format!("{ranked}, and a better one is a near-duplicate."),
                "Search without foldDuplicates.".to_owned(),
            ));
        }
    }
    if let Some(most) = request.per_document {
        let before = candidates[..rank]
            .iter()
            .filter(|c| c.document_id == candidate.document_id)
            .count();
        if before >= most {
            return Ok((
                Cause::PerDocument,
                format!("{ranked}, and {before} better ones are from the same document."),
                format!("Raise perDocument to {}.", before + 1),
            ));
        }
    }
    if answer.trimmed > 0 && rank < request.top_k {
        return Ok((
            Cause::TokenBudget,
            format!("{ranked}, but it does not fit the token budget."),
            "Raise maxTokens.".to_owned(),
        ));
    }
    if asked.mmr() && rank < request.top_k {
        return Ok((
            Cause::Diversity,
            format!("{ranked}, but more diverse hits were preferred."),
            "Search without mmr, or with a value closer to 1.".to_owned(),
        ));
    }
    let pending = sources[candidate.source].vector.is_some() && candidate.raw.cosine.is_none();
    if pending {
        return Ok((
            Cause::VectorPending,
            format!("{ranked}, by keyword score only: its embedding is still being computed."),
            "Wait a moment and search again.".to_owned(),
        ));
    }
    Ok((
        Cause::BelowTopK,
        format!("{ranked}, but only {} are shown.", answer.hits.len()),
        more(request, rank),
    ))
}

fn more(request: &Request, rank: usize) -> String {
    if rank < MAX_TOP_K {
        format!("Raise topK from {} to {}.", request.top_k, rank + 1)
    } else {
        "Use words that occur in it, or narrow the search with a filter.".to_owned()
    }
}

/// Returns the depth of the lists at which a chunk would be a candidate.
async fn explain_missing(
    app: &Arc<App>,
    request: &Request,
    sources: &[Source],
    id: Uuid,
    raw: Raw,
) -> Result<(String, String)> {
    let deep = Request {
        candidates: Some(MAX_CANDIDATES),
        ..request.clone()
    };
    let limit = request.candidates.unwrap_or(app.config.search_candidates);
    for source in sources {
        let found = source.candidates(app, &deep, request.top_k).await?;
        if let Some(raw) = found.found.get(&id) {
            let rank = match (raw.vector_rank, raw.keyword_rank) {
                (Some(v), Some(k)) => v.min(k),
                (v, k) => v.or(k).unwrap_or(MAX_CANDIDATES),
            };
            return Ok((
                format!(
                    "Its best rank in the two lists is {rank}, but only the first {limit} are candidates."
                ),
                format!(
                    "Raise candidates to {rank} or more, and topK until it is shown; or use words that occur in it."
                ),
            ));
        }
    }
    let words = raw.bm25.unwrap_or(0.0) > 0.0;
    Ok((
        format!(
            "It is not among the first {MAX_CANDIDATES} candidates of semantic search{}.",
            if words {
                " or of keyword search"
            } else {
                ", and it contains none of the words"
            }
        ),
        "Use words that occur in it, or narrow the search with a filter.".to_owned(),
    ))
}
