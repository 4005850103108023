//! The search pipeline: parse the query, collect candidates from both indexes of each dataset, compute missing scores, blend, rerank, select, explain.
//!
//! A hit's score does not depend on `topK`, on filters or on the other hits (with the default fusion): BM25 statistics are those of the whole dataset,
//! and every candidate gets both exact scores. Feedback and reranking, which are optional, do consider other chunks.

use futures::future::BoxFuture;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::analysis;
use super::answer::{Answer, Confidence, Interpretation, Timings, Totals};
use super::blend::{self, Fusion, Raw, Score, Spread};
use super::candidate::{Candidate, Cursor};
use super::choose;
use super::explain::Explanation;
use super::hits;
use super::request::Request;
use super::retrieve::{self, Candidates, Source};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::{datasets, generations};

/// Score of the best hit from which an answer counts as confident, where the dataset has no other threshold. Measured: see `README.md`.
pub const CONFIDENT_FROM: f32 = 0.56;

/// Runs a search.
///
/// # Errors
/// `query_invalid`, `dataset_not_found` for any dataset the caller may not see, `model_mismatch`, `reranker_not_configured`, and those of the ranges.
#[must_use = "futures do nothing unless polled"]
pub fn search<'a>(
    app: &'a Arc<App>,
    caller: &'a Caller,
    request: &'a Request,
) -> BoxFuture<'a, Result<Answer>> {
    // Boxed once: the compiler would otherwise prove in every caller anew that the future is `Send`.
    Box::pin(answer(app, caller, request))
}

async fn answer(app: &Arc<App>, caller: &Caller, request: &Request) -> Result<Answer> {
    let began = Instant::now();
    caller.need(Scope::KbSearch)?;
    request.check()?;
    let datasets = chosen(app, caller, request).await?;
    let engine = app.engine().await?;
    let key = if request.cache {
        memory_key(app, caller, request, &datasets)?
    } else {
        None
    };
    if let Some(key) = &key
        && let Some(known) = app.search_memory.answers.get(key)
    {
        let mut answer = Answer::clone(&known);
        answer.cached = true;
        answer.timings = Timings {
            total_ms: ms(began.elapsed()),
            ..Timings::default()
        };
        record(&answer);
        return Ok(answer);
    }
    let fields = retrieve::fields_of(app, &datasets, request).await?;
    let mut sources = try_join_all(
        datasets
            .into_iter()
            .map(|dataset| Source::prepare(app, engine, request, dataset, &fields)),
    )
    .await?;
    if let Some(source) = sources.first()
        && source.parsed.text.is_empty()
        && source.filter.is_none()
        && !source.parsed.without.is_empty()
    {
        return Err(Error::invalid(
            "query_only_excludes",
            "the query contains only exclusions; add a word to search for, or put the text in quotes to search for it",
        ));
    }
    let prepared = began.elapsed();
    let cursor = request
        .cursor
        .as_deref()
        .map(|text| Cursor::read(text, request))
        .transpose()?;
    // Every page is a slice of the same candidates.
    let depth = cursor.as_ref().map_or(request.top_k, |c| c.depth);
    let found = gather(app, request, &mut sources, depth).await?;
    let retrieved = began.elapsed();
    let candidates = scored(request, &sources, &found);
    if candidates.is_empty() && cursor.is_none() && may_be_plain(&sources) {
        let plain = Request {
            plain: true,
            ..request.clone()
        };
        let mut answer = Box::pin(search(app, caller, &plain)).await?;
        answer.read_as_plain = !answer.hits.is_empty();
        return Ok(answer);
    }
    let mut totals = Totals {
        candidates: candidates.len(),
        complete: found.iter().all(|f| f.complete)
            && !sources.iter().any(|s| s.is_behind(app, request)),
        ..Totals::default()
    };
    let mut degraded: Vec<String> = Vec::new();
    for trouble in sources.iter().flat_map(|s| s.troubles(app, request)) {
        if !degraded.contains(&trouble) {
            degraded.push(trouble);
        }
    }
    totals.complete &= degraded.is_empty();
    let before_reranking = candidates.len();
    let (mut candidates, reranking) =
        super::rerank::apply(app, request, &sources, candidates).await?;
    let reranked = began.elapsed();
    candidates.retain(|c| {
        let least = request.min_score.or(sources[c.source].defaults.min_score);
        c.value() >= least.unwrap_or(0.0)
    });
    totals.complete &= reranking.is_none() || before_reranking <= app.config.rerank_candidates;
    totals.matching = candidates.len();
    let documents: HashSet<&str> = candidates.iter().map(|c| c.document_id.as_ref()).collect();
    totals.documents = documents.len();
    let facets = super::facets::facets(app, request, &sources, &candidates).await?;
    let mut confidence = confidence(request.fusion, &sources, &candidates);
    confidence.no_confident_answer |= !degraded.is_empty();
    let chosen = choose::choose(app, request, &sources, candidates, cursor.as_ref()).await?;
    let paged = reranking.is_none();
    let mut next = chosen.next.filter(|_| paged);
    let shown = chosen.shown.len();
    let (hits, tokens, trimmed) = hits::assemble(app, caller, request, &sources, chosen).await?;
    if trimmed > 0 {
        // The next page begins with the hits that the budget excluded.
        let depth = cursor.as_ref().map_or(request.top_k, |c| c.depth);
        let seen = cursor.as_ref().map_or(0, |c| c.seen) + hits.len();
        next = hits.last().filter(|_| paged && shown > 0).and_then(|last| {
            Some(Cursor {
                score: last.score,
                id: last.chunk.id.parse().ok()?,
                seen,
                depth,
            })
        });
    }
    let next = next.map(|cursor| cursor.write(request));
    let total = began.elapsed();
    let answer = Answer {
        did_you_mean: hits::did_you_mean(&request.query, &sources, &hits),
        totals,
        facets,
        interpretations: sources
            .iter()
            .zip(&found)
            .map(|(source, found)| Interpretation {
                dataset_id: source.dataset.id.clone(),
                parsed: source.parsed.clone(),
                alpha: source.weight.alpha,
                alpha_reason: source.weight.reason.clone(),
                added: source.added.clone(),
                vector_candidates: found.lists.0,
                keyword_candidates: found.lists.1,
            })
            .collect(),
        confidence,
        reranking,
        next,
        tokens,
        trimmed,
        cached: false,
        read_as_plain: false,
        degraded,
        hits,
        timings: Timings {
            embed_ms: ms(prepared),
            retrieve_ms: ms(retrieved - prepared),
            rerank_ms: ms(reranked - retrieved),
            assemble_ms: ms(total - reranked),
            total_ms: ms(total),
        },
    };
    record(&answer);
    let lasting = answer.degraded.is_empty()
        && answer
            .reranking
            .as_ref()
            .is_none_or(|r| r.outcome == "reranked");
    if let Some(key) = key.filter(|_| lasting) {
        app.search_memory
            .answers
            .insert(key, Arc::new(answer.clone()));
    }
    Ok(answer)
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn record(answer: &Answer) {
    metrics::histogram!("cairn_search_seconds").record(answer.timings.total_ms / 1000.0);
    if answer.cached {
        metrics::counter!("cairn_search_remembered_total").increment(1);
    }
    if !answer.degraded.is_empty() {
        metrics::counter!("cairn_search_degraded_total").increment(1);
    }
}

/// Returns the datasets of a request, each once, that its agent role may use.
pub(super) async fn chosen(
    app: &Arc<App>,
    caller: &Caller,
    request: &Request,
) -> Result<Vec<crate::kb::Dataset>> {
    let mut seen = HashSet::new();
    let mut sets = Vec::new();
    for id in request
        .dataset_ids
        .iter()
        .filter(|id| seen.insert(id.as_str()))
    {
        let dataset = datasets::settings(app, caller, id).await?;
        let roles = dataset.roles();
        let open = request
            .agent_role
            .as_ref()
            .is_none_or(|role| roles.is_empty() || roles.contains(role));
        if !open {
            continue;
        }
        sets.push(match request.generation {
            None => dataset,
            Some(number) => generations::at(app, caller, &dataset, number).await?,
        });
    }
    if sets.is_empty() {
        return Err(Error::forbidden(
            "role_not_allowed",
            "that agent role may not use any of these datasets",
        ));
    }
    Ok(sets)
}

/// Returns the cache key of a response: the request, and for each dataset its version and the positions of this process's indexes. `None` while an
/// index is behind: the response to the same request may change in a moment.
fn memory_key(
    app: &App,
    caller: &Caller,
    request: &Request,
    datasets: &[crate::kb::Dataset],
) -> Result<Option<String>> {
    use std::fmt::Write as _;
    let mut key = format!("{}\n{request:?}", caller.tenant());
    for dataset in datasets {
        let (keyword, vector) = app.indexes.positions(&dataset.live_set);
        if request.generation.is_none() && keyword.min(vector) < dataset.log_seq {
            return Ok(None);
        }
        write!(
            key,
            "\n{} {} {keyword} {vector} {}",
            dataset.live_set, dataset.version, dataset.search_defaults
        )
        .map_err(|e| Error::internal("a key cannot be written").with_source(e))?;
    }
    // Queries and filters may be long.
    Ok(Some(hex::encode(Sha256::digest(key.as_bytes()))))
}

/// Returns the candidates of every source, expanded by feedback if requested.
pub(super) async fn gather(
    app: &Arc<App>,
    request: &Request,
    sources: &mut [Source],
    depth: usize,
) -> Result<Vec<Candidates>> {
    let found = try_join_all(
        sources
            .iter_mut()
            .map(|s| s.candidates_at_hand(app, request, depth)),
    )
    .await?;
    let asks_feedback = |s: &Source| request.feedback.or(s.defaults.feedback).unwrap_or(false);
    if !sources.iter().any(asks_feedback) {
        return Ok(found);
    }
    let first = scored(request, sources, &found);
    for (index, source) in sources.iter_mut().enumerate() {
        if asks_feedback(source) {
            let own = first.iter().filter(|c| c.source == index);
            let best: Vec<Uuid> = own.map(|c| c.id).collect();
            source.widen(app, &best).await?;
        }
    }
    try_join_all(
        sources
            .iter_mut()
            .map(|s| s.candidates_at_hand(app, request, depth)),
    )
    .await
}

/// Returns whether parsed exclusions may have been meant as plain text: `-name` in a command.
fn may_be_plain(sources: &[Source]) -> bool {
    sources.iter().any(|source| {
        let parsed = &source.parsed;
        !parsed.text.is_empty() && !parsed.without.is_empty() && parsed.fields.is_empty()
    })
}

/// Returns every candidate with its score, best first, ties by id.
pub(super) fn scored(
    request: &Request,
    sources: &[Source],
    found: &[Candidates],
) -> Vec<Candidate> {
    let spread = Spread::of(found.iter().flat_map(|f| f.found.values()));
    let mut candidates: Vec<Candidate> = Vec::new();
    for (index, (source, found)) in sources.iter().zip(found).enumerate() {
        candidates.extend(found.found.iter().filter_map(|(id, raw)| {
            Some(Candidate {
                id: *id,
                raw: *raw,
                score: score(request, source, raw, &spread),
                rerank: None,
                document_id: Arc::clone(found.documents.get(id)?),
                source: index,
            })
        }));
    }
    sort(&mut candidates);
    candidates
}

pub(super) fn score(request: &Request, source: &Source, raw: &Raw, spread: &Spread) -> Score {
    match request.fusion {
        Fusion::Blend => blend::absolute(raw, source.scale(), source.weight.alpha),
        Fusion::Rrf => blend::ranks(raw),
        Fusion::Minmax => blend::relative(raw, spread, source.weight.alpha),
    }
}

/// Sorts candidates best first, ties by id.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        b.value()
            .total_cmp(&a.value())
            .then_with(|| a.id.cmp(&b.id))
    });
}

/// Candidates among which the best one is searched when the scores that order them are not absolute.
const HEAD: usize = 10;

/// Returns whether the best candidate is good enough, by an absolute score: that of the blend, whatever the order is based on.
fn confidence(fusion: Fusion, sources: &[Source], candidates: &[Candidate]) -> Confidence {
    let absolute = |c: &Candidate| match (fusion, c.rerank) {
        (Fusion::Blend, _) | (_, Some(_)) => c.value(),
        (Fusion::Rrf | Fusion::Minmax, None) => {
            let source = &sources[c.source];
            blend::absolute(&c.raw, source.scale(), source.weight.alpha).score
        }
    };
    let head = candidates.iter().take(match fusion {
        Fusion::Blend => 1,
        Fusion::Rrf | Fusion::Minmax => HEAD,
    });
    let best = head.max_by(|a, b| absolute(a).total_cmp(&absolute(b)));
    let defaults = |c: &Candidate| sources[c.source].defaults;
    let of = best.map_or_else(
        || sources.first().map(|s| s.defaults).unwrap_or_default(),
        defaults,
    );
    let (score, threshold) = (
        best.map_or(0.0, absolute),
        of.confident_from.unwrap_or(CONFIDENT_FROM),
    );
    let model_calibrated = best.is_none_or(|c| {
        let source = &sources[c.source];
        source.vector.is_none() || source.dataset.indexing.calibration().is_some()
    });
    // The general threshold is one of calibrated scores; one of the dataset was set for its scores.
    let comparable = model_calibrated || of.confident_from.is_some();
    Confidence {
        score,
        threshold,
        calibrated: of.confident_from.is_some(),
        model_calibrated,
        no_confident_answer: best.is_none() || (comparable && score < threshold),
    }
}

/// Explains the score of a candidate.
pub(super) fn explained(
    request: &Request,
    source: &Source,
    candidate: &Candidate,
    matched: Vec<String>,
    truncated: bool,
) -> Explanation {
    let (raw, score, scale) = (candidate.raw, candidate.score, source.scale());
    Explanation {
        fusion: request.fusion,
        cosine: raw.cosine,
        vector_score: score.vector,
        cosine_low: scale.calibration.low,
        cosine_high: scale.calibration.high,
        vector_weight: score.vector_weight,
        vector_rank: raw.vector_rank,
        bm25: raw.bm25,
        bm25_bound: scale.bound,
        keyword_score: score.keyword,
        keyword_weight: score.keyword_weight,
        keyword_rank: raw.keyword_rank,
        blended: score.score,
        alpha: source.weight.alpha,
        alpha_reason: source.weight.reason.clone(),
        terms: source.analysed.terms.clone(),
        matched_terms: matched
            .iter()
            .map(|term| analysis::shown(term).to_owned())
            .collect(),
        rerank: candidate.rerank,
        vector_pending: source.vector.is_some() && raw.cosine.is_none(),
        truncated,
        sentence: String::new(),
    }
    .with_sentence()
}
