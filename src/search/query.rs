//! A search: embed the query, take candidates from both indexes of each dataset, complete the scores that are missing, blend, cut, explain.
//!
//! Nothing about a hit's score depends on `topK`, on filters or on the other hits (with the default fusion): BM25 statistics are those of
//! the whole dataset, and every candidate gets both exact scores.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use cairn_models::Priority;
use futures::future::try_join_all;
use serde::Serialize;
use uuid::Uuid;

use super::blend::{self, Fusion, Raw, Score, Spread};
use super::highlight::{Range, highlight};
use super::keyword::{Analysed, KeywordIndex, QueryTerm};
use super::near;
use super::vector::{Scope as VectorScope, VectorIndex};
use crate::app::{App, Engine};
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::filter::Filter;
use crate::kb::{Chunk, Dataset, chunks, datasets, generations};

/// Most hits of one answer.
pub const MAX_TOP_K: usize = 100;
/// Longest query in characters.
pub const MAX_QUERY: usize = 10_000;
/// Most datasets of one search.
pub const MAX_DATASETS: usize = 50;
/// Weight of the vector part when the request names none.
pub const DEFAULT_ALPHA: f32 = 0.7;

/// A search.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is looked for.
    pub query: String,
    /// Where.
    pub dataset_ids: Vec<String>,
    /// Hits wanted, 1 to [`MAX_TOP_K`].
    pub top_k: usize,
    /// Weight of the vector part: 0 keywords only, 1 vectors only.
    pub alpha: f32,
    /// Hits below this final score are left out.
    pub min_score: Option<f32>,
    /// How the lists are blended.
    pub fusion: Fusion,
    /// Condition on the metadata of documents.
    pub filter: Option<Filter>,
    /// Candidates from each index; the configured number when absent.
    pub candidates: Option<usize>,
    /// Whether chunks that say nearly the same as a better hit are folded into it.
    pub fold: bool,
    /// A generation of the datasets other than the one that is searched, to compare it.
    pub generation: Option<i64>,
}

impl Request {
    /// A search with the defaults.
    #[must_use]
    pub fn new(query: impl Into<String>, dataset_ids: Vec<String>) -> Self {
        Self {
            query: query.into(),
            dataset_ids,
            top_k: 5,
            alpha: DEFAULT_ALPHA,
            min_score: None,
            fusion: Fusion::Blend,
            filter: None,
            candidates: None,
            fold: false,
            generation: None,
        }
    }

    fn check(&self) -> Result<()> {
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
        if !(1..=MAX_TOP_K).contains(&self.top_k) {
            return Err(Error::invalid(
                "top_k_out_of_range",
                format!("topK must be between 1 and {MAX_TOP_K}"),
            ));
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::invalid(
                "alpha_out_of_range",
                "hybridAlpha must be between 0 and 1",
            ));
        }
        if self.min_score.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
            return Err(Error::invalid(
                "min_score_out_of_range",
                "minScore must be between 0 and 1",
            ));
        }
        if self.candidates.is_some_and(|n| !(1..=2000).contains(&n)) {
            return Err(Error::invalid(
                "candidates_out_of_range",
                "candidates must be between 1 and 2000",
            ));
        }
        Ok(())
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
    /// What the score is made of.
    pub explanation: Explanation,
}

/// What a score is made of. `score = vectorWeight · vectorScore + keywordWeight · keywordScore`.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// How the lists were blended.
    pub fusion: Fusion,
    /// Raw cosine; absent while the chunk has no embedding, or when only keywords were asked.
    pub cosine: Option<f32>,
    /// Normalised vector part.
    pub vector_score: Option<f32>,
    /// Its weight.
    pub vector_weight: f32,
    /// Rank in the vector list, from 1; absent when it was not in it.
    pub vector_rank: Option<usize>,
    /// Raw BM25; absent when only vectors were asked.
    pub bm25: Option<f32>,
    /// The largest BM25 this query could reach in this dataset.
    pub bm25_bound: f32,
    /// Normalised keyword part.
    pub keyword_score: Option<f32>,
    /// Its weight.
    pub keyword_weight: f32,
    /// Rank in the keyword list, from 1; absent when it was not in it.
    pub keyword_rank: Option<usize>,
    /// Query terms with their statistics in this dataset.
    pub terms: Vec<QueryTerm>,
    /// Those that stand in the content.
    pub matched_terms: Vec<String>,
    /// Whether the embedding of the chunk is still being computed.
    pub vector_pending: bool,
    /// Whether the model's limit cut the end of the chunk off its vector.
    pub truncated: bool,
}

/// How long each stage took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Embedding the query; 0 when it was remembered.
    pub embed_ms: f64,
    /// Both candidate lists and the completion of scores.
    pub retrieve_ms: f64,
    /// Reading rows, blending, highlights.
    pub assemble_ms: f64,
    /// Everything.
    pub total_ms: f64,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Hits, best first.
    pub hits: Vec<Hit>,
    /// Distinct candidates that were scored, before `minScore` and `topK`.
    pub candidates: usize,
    /// How long it took.
    pub timings: Timings,
}

/// Chunks with a raw score, best first.
type Ranked = Vec<(Uuid, f32)>;

struct Candidate {
    id: Uuid,
    raw: Raw,
    score: Score,
    dataset: usize,
}

struct Searched {
    index: Arc<KeywordIndex>,
    analysed: Analysed,
    candidates: Vec<(Uuid, Raw)>,
}

/// Searches.
///
/// # Errors
/// `query_invalid`, `dataset_not_found` for any dataset the caller may not see, `model_mismatch`, and those of the ranges.
pub async fn search(app: &Arc<App>, caller: &Caller, request: &Request) -> Result<Answer> {
    let began = Instant::now();
    caller.need(Scope::KbSearch)?;
    request.check()?;
    let mut seen = HashSet::new();
    let mut sets = Vec::new();
    for id in request
        .dataset_ids
        .iter()
        .filter(|id| seen.insert(id.as_str()))
    {
        let dataset = datasets::settings(app, caller, id).await?;
        sets.push(match request.generation {
            None => dataset,
            Some(number) => generations::at(app, caller, &dataset, number).await?,
        });
    }
    let engine = app.engine().await?;
    let mut vectors: HashMap<&str, Arc<Vec<f32>>> = HashMap::new();
    if request.alpha > 0.0 {
        for dataset in &sets {
            let model = dataset.embedding_model.as_str();
            if !vectors.contains_key(model) {
                vectors.insert(model, query_vector(app, model, &request.query).await?);
            }
        }
    }
    let embedded = began.elapsed();
    let searched = try_join_all(sets.iter().map(|dataset| {
        let vector = vectors.get(dataset.embedding_model.as_str());
        candidates(app, engine, request, dataset, vector.map(Arc::as_ref))
    }))
    .await?;
    let retrieved = began.elapsed();
    let hits = assemble(app, caller, request, &searched).await?;
    let total = began.elapsed();
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1000.0;
    metrics::histogram!("cairn_search_seconds").record(total.as_secs_f64());
    Ok(Answer {
        hits,
        candidates: searched.iter().map(|s| s.candidates.len()).sum(),
        timings: Timings {
            embed_ms: ms(embedded),
            retrieve_ms: ms(retrieved - embedded),
            assemble_ms: ms(total - retrieved),
            total_ms: ms(total),
        },
    })
}

/// The query's vector, from memory where it was asked before.
async fn query_vector(app: &Arc<App>, model: &str, query: &str) -> Result<Arc<Vec<f32>>> {
    let key = format!("{model}\n{query}");
    if let Some(known) = app.query_vectors.get(&key) {
        return Ok(known);
    }
    let embedder = app.embedder_of(model).await?;
    let vector = app
        .embed_with(embedder, vec![query.to_owned()], Priority::Query)
        .await?
        .pop()
        .ok_or_else(|| Error::internal("the model gave no vector"))?;
    let vector = Arc::new(vector);
    app.query_vectors.insert(key, Arc::clone(&vector));
    Ok(vector)
}

/// Both lists of one dataset, with the live documents only and every missing score completed.
async fn candidates(
    app: &Arc<App>,
    engine: &Engine,
    request: &Request,
    dataset: &Dataset,
    vector: Option<&Vec<f32>>,
) -> Result<Searched> {
    let index = {
        let (store, dataset) = (engine.keyword.clone(), dataset.clone());
        tokio::task::spawn_blocking(move || {
            store.index(&dataset.live_set, dataset.generation, &dataset.language)
        })
        .await??
    };
    let analysed = {
        let (index, query) = (Arc::clone(&index), request.query.clone());
        tokio::task::spawn_blocking(move || index.analyse(&query)).await??
    };
    let documents = match &request.filter {
        Some(filter) => Some(matching(app, dataset, filter).await?),
        None => None,
    };
    let store = app
        .vectors_of(&dataset.embedding_model, dataset.vector_size)
        .await?;
    let scope = VectorScope {
        tenant_id: dataset.tenant_id.clone(),
        dataset_id: dataset.live_set.clone(),
        generation: dataset.generation,
    };
    let mut limit = request
        .candidates
        .unwrap_or(app.config.search_candidates)
        .max(request.top_k);
    loop {
        let words = async {
            if request.alpha >= 1.0 && request.fusion != Fusion::Rrf {
                return Ok(Vec::new());
            }
            let (index, analysed, documents) =
                (Arc::clone(&index), analysed.clone(), documents.clone());
            tokio::task::spawn_blocking(move || {
                index.search(&analysed, documents.as_deref(), limit)
            })
            .await?
        };
        let meaning = async {
            match vector {
                Some(vector) => {
                    store
                        .search(&scope, vector.clone(), documents.clone(), limit)
                        .await
                }
                None => Ok(Vec::new()),
            }
        };
        let (words, meaning): (Ranked, Ranked) = tokio::try_join!(words, meaning)?;
        let full = words.len() == limit || meaning.len() == limit;
        let mut found: HashMap<Uuid, Raw> = HashMap::with_capacity(words.len() + meaning.len());
        // Both lists by score, equal scores by id: the indexes order ties by accident.
        for (rank, (id, cosine)) in (1..).zip(ordered(meaning)) {
            found.entry(id).or_default().cosine = Some(cosine);
            found.entry(id).or_default().vector_rank = Some(rank);
        }
        for (rank, (id, bm25)) in (1..).zip(ordered(words)) {
            found.entry(id).or_default().bm25 = Some(bm25);
            found.entry(id).or_default().keyword_rank = Some(rank);
        }
        // Who is still there, and the scores that only one of the lists gave, are asked at the same time.
        let (live, cosines, scores) = tokio::try_join!(
            live(app, dataset, &found),
            cosines(&store, &scope, vector, &found),
            bm25s(request, &index, &analysed, &found),
        )?;
        let before = found.len();
        found.retain(|id, _| live.contains(id));
        // Deleted or hidden chunks that an index still held may have taken the places of others.
        if full && found.len() < before && found.len() < request.top_k && limit < 20_000 {
            limit *= 4;
            continue;
        }
        for (id, raw) in &mut found {
            raw.cosine = raw.cosine.or_else(|| cosines.get(id).copied());
            raw.bm25 = raw.bm25.or_else(|| scores.get(id).copied());
        }
        return Ok(Searched {
            index,
            analysed,
            candidates: found.into_iter().collect(),
        });
    }
}

fn ordered(mut list: Ranked) -> Ranked {
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list
}

/// Documents of the dataset whose metadata satisfies a filter.
async fn matching(app: &App, dataset: &Dataset, filter: &Filter) -> Result<Vec<String>> {
    let rows: Vec<(String, String)> =
        app.db.all("SELECT id, metadata FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND enabled = TRUE", args![&dataset.tenant_id, &dataset.id]).await?;
    let mut ids = Vec::new();
    for (id, metadata) in rows {
        if filter.holds(&serde_json::from_str(&metadata)?) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Which candidates SQL still has and shows: deletion and disabling hold at the very next query, whatever the indexes have seen.
async fn live(app: &App, dataset: &Dataset, found: &HashMap<Uuid, Raw>) -> Result<HashSet<Uuid>> {
    let ids: Vec<String> = found.keys().map(Uuid::to_string).collect();
    let rows: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT c.id FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
             WHERE c.tenant_id = $1 AND c.set_id = $2 AND d.enabled = TRUE AND c.enabled = TRUE AND c.id IN ($LIST)",
            args![&dataset.tenant_id, &dataset.live_set],
            &ids,
        )
        .await?;
    Ok(rows.iter().filter_map(|(id,)| id.parse().ok()).collect())
}

/// Exact cosines of the candidates that only the keyword list had; those without an embedding are absent.
async fn cosines(
    store: &VectorIndex,
    scope: &VectorScope,
    vector: Option<&Vec<f32>>,
    found: &HashMap<Uuid, Raw>,
) -> Result<HashMap<Uuid, f32>> {
    let Some(vector) = vector else {
        return Ok(HashMap::new());
    };
    let missing = found
        .iter()
        .filter(|(_, raw)| raw.cosine.is_none())
        .map(|(id, _)| *id)
        .collect();
    store.scores(scope, vector.clone(), missing).await
}

/// Exact BM25 of the candidates that only the vector list had.
async fn bm25s(
    request: &Request,
    index: &Arc<KeywordIndex>,
    analysed: &Analysed,
    found: &HashMap<Uuid, Raw>,
) -> Result<HashMap<Uuid, f32>> {
    if request.alpha >= 1.0 {
        return Ok(HashMap::new());
    }
    let missing: Vec<Uuid> = found
        .iter()
        .filter(|(_, raw)| raw.bm25.is_none())
        .map(|(id, _)| *id)
        .collect();
    let (index, analysed) = (Arc::clone(index), analysed.clone());
    tokio::task::spawn_blocking(move || index.scores(&analysed, &missing)).await?
}

#[derive(sqlx::FromRow)]
struct DocumentRow {
    id: String,
    file_name: String,
    title: Option<String>,
    url: Option<String>,
    published_at: Option<String>,
    metadata: String,
}

/// Keeps the best of candidates that say nearly the same, until there are enough; gives how many went into each of those kept.
/// Candidates behind the last one kept are not looked at.
async fn fold(
    app: &App,
    caller: &Caller,
    candidates: &mut Vec<Candidate>,
    enough: usize,
) -> Result<HashMap<Uuid, usize>> {
    let mut kept: Vec<(Uuid, u64)> = Vec::new();
    let mut folded: HashMap<Uuid, usize> = HashMap::new();
    for page in candidates.chunks(100) {
        let ids: Vec<String> = page.iter().map(|c| c.id.to_string()).collect();
        let rows: HashMap<String, Chunk> = chunks::by_ids(app, caller.tenant(), &ids)
            .await?
            .into_iter()
            .map(|c| (c.id.clone(), c))
            .collect();
        for id in ids {
            let Some(chunk) = rows.get(&id) else { continue };
            let hash = near::simhash(&chunk.content);
            let id = id
                .parse()
                .map_err(|e| Error::internal("a chunk id is damaged").with_source(e))?;
            match kept.iter().find(|(_, other)| near::are_near(hash, *other)) {
                Some((better, _)) => *folded.entry(*better).or_default() += 1,
                // Those of the page that are near to a hit still count for it.
                None if kept.len() < enough => kept.push((id, hash)),
                None => {}
            }
        }
        if kept.len() >= enough {
            break;
        }
    }
    candidates.retain(|c| kept.iter().any(|(id, _)| *id == c.id));
    Ok(folded)
}

async fn assemble(
    app: &Arc<App>,
    caller: &Caller,
    request: &Request,
    searched: &[Searched],
) -> Result<Vec<Hit>> {
    let spread = Spread::of(
        searched
            .iter()
            .flat_map(|s| s.candidates.iter().map(|(_, raw)| raw)),
    );
    let mut candidates: Vec<Candidate> = Vec::new();
    for (dataset, set) in searched.iter().enumerate() {
        candidates.extend(set.candidates.iter().map(|(id, raw)| {
            let score = match request.fusion {
                Fusion::Blend => blend::absolute(raw, set.analysed.bound, request.alpha),
                Fusion::Rrf => blend::ranks(raw),
                Fusion::Minmax => blend::relative(raw, &spread, request.alpha),
            };
            Candidate {
                id: *id,
                raw: *raw,
                score,
                dataset,
            }
        }));
    }
    candidates.retain(|c| c.score.score >= request.min_score.unwrap_or(0.0));
    candidates.sort_by(|a, b| {
        b.score
            .score
            .total_cmp(&a.score.score)
            .then_with(|| a.id.cmp(&b.id))
    });
    let folded = if request.fold {
        fold(app, caller, &mut candidates, request.top_k).await?
    } else {
        HashMap::new()
    };
    candidates.truncate(request.top_k);
    let ids: Vec<String> = candidates.iter().map(|c| c.id.to_string()).collect();
    let mut rows: HashMap<String, Chunk> = chunks::by_ids(app, caller.tenant(), &ids)
        .await?
        .into_iter()
        .map(|c| (c.id.clone(), c))
        .collect();
    let document_ids: Vec<String> = rows
        .values()
        .map(|c| c.document_id.clone())
        .collect::<HashSet<_>>()
        .into_iter()
        .collect();
    let documents: HashMap<String, DocumentRow> = app
        .db
        .all_in::<DocumentRow>(
            "SELECT id, file_name, title, url, published_at, metadata FROM kb_documents WHERE tenant_id = $1 AND enabled = TRUE AND id IN ($LIST)",
            args![caller.tenant()],
            &document_ids,
        )
        .await?
        .into_iter()
        .map(|d| (d.id.clone(), d))
        .collect();
    let mut hits = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        // A chunk that went away between the lists and here is gone.
        let Some(chunk) = rows.remove(&candidate.id.to_string()) else {
            continue;
        };
        let Some(document) = documents.get(&chunk.document_id) else {
            continue;
        };
        let set = &searched[candidate.dataset];
        let terms: HashSet<&str> = set.analysed.terms.iter().map(|t| t.term.as_str()).collect();
        let (highlights, matched_terms) =
            highlight(&mut set.index.analyser(), &chunk.content, &terms);
        let (raw, score) = (candidate.raw, candidate.score);
        hits.push(Hit {
            folded: folded.get(&candidate.id).copied().unwrap_or(0),
            file_name: document.file_name.clone(),
            title: document.title.clone(),
            url: document.url.clone(),
            published_at: document.published_at.clone(),
            metadata: document.metadata.clone(),
            score: score.score,
            rank_source: match (raw.vector_rank, raw.keyword_rank) {
                (Some(_), Some(_)) => "hybrid",
                (Some(_), None) => "vector",
                (None, _) => "keyword",
            },
            highlights,
            explanation: Explanation {
                fusion: request.fusion,
                cosine: raw.cosine,
                vector_score: score.vector,
                vector_weight: score.vector_weight,
                vector_rank: raw.vector_rank,
                bm25: raw.bm25,
                bm25_bound: set.analysed.bound,
                keyword_score: score.keyword,
                keyword_weight: score.keyword_weight,
                keyword_rank: raw.keyword_rank,
                terms: set.analysed.terms.clone(),
                matched_terms,
                vector_pending: request.alpha > 0.0 && raw.cosine.is_none(),
                truncated: chunk.truncated,
            },
            chunk,
        });
    }
    Ok(hits)
}
