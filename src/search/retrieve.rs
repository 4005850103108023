//! Candidates of one dataset: both lists, among the visible chunks that satisfy the conditions, and the exact scores that one of the lists lacks.

mod documents;
mod fields;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cairn_models::{Calibration, Priority};
use uuid::Uuid;

use super::alpha::{self, Weight};
use super::blend::{Fusion, Raw, Scale};
use super::keyword::{self, Analysed, Form, FormKind, KeywordIndex, QueryTerm};
use super::live::{self, LiveSet, Passing};
use super::request::{Defaults, MAX_CANDIDATES, Request};
use super::states::Index;
use super::syntax::{self, Parsed};
use super::vector::cluster::COLLECTION_MISSING;
use super::vector::{Nearest, Restriction, Scope as VectorScope, VectorIndex};
use crate::app::App;
use crate::db::args;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kb::Dataset;
use crate::kb::embeddings;
use crate::kb::filter::Filter;
pub(super) use documents::{documents, locations, of_location, with_location};
use fields::passing;
pub(super) use fields::{fields_of, objects};

/// Chunks with a raw score, best first.
type Ranked = Vec<(Uuid, f32)>;

/// Maximum number of candidates when post-filters drop many of them.
const DEEPEST: usize = 20_000;

/// Factor on the number of candidates when the hits per document are capped.
const DOCUMENTS_WANTED: usize = 4;

/// Parameters of feedback: chunks to learn from, words to add, and their weight relative to a word of the query (RM3: Abdul-Jaleel et al. 2004).
const FEEDBACK_CHUNKS: usize = 5;

const FEEDBACK_WORDS: usize = 8;

const FEEDBACK_WEIGHT: f32 = 0.25;

/// Weight of the mean of these chunks' vectors relative to the query's (Rocchio 1971).
const FEEDBACK_VECTOR: f32 = 0.3;

/// One dataset, prepared for a search.
pub(super) struct Source {
    pub dataset: Dataset,
    pub defaults: Defaults,
    pub parsed: Parsed,
    pub index: Arc<KeywordIndex>,
    /// Vector index; `None` when it is unavailable.
    pub store: Option<Arc<VectorIndex>>,
    pub scope: VectorScope,
    pub analysed: Analysed,
    pub vector: Option<Arc<Vec<f32>>>,
    pub weight: Weight,
    /// Conjunction of the filters of the request and the query.
    pub filter: Option<Filter>,
    /// State of the set that searches keep in memory.
    pub live: Arc<LiveSet>,
    /// Chunks that may satisfy the filter, and that satisfy the conditions of the query; `None` for all.
    pub passing: Option<Arc<Passing>>,
    /// Those of them whose documents an engine that filters by documents is restricted to: exclusions restrict it to nearly all, which costs more than it saves.
    narrowing: Option<Arc<Passing>>,
    /// Words added by feedback.
    pub added: Vec<String>,
    /// Whether vectors were requested and are unavailable.
    without_vectors: bool,
    /// Whether the keyword index was found damaged.
    without_words: bool,
}

/// The candidates of one dataset.
pub(super) struct Candidates {
    pub found: HashMap<Uuid, Raw>,
    /// Their documents.
    pub documents: HashMap<Uuid, Arc<str>>,
    /// Whether both lists ended before their limit: then these are all chunks with a word of the query, or a vector.
    pub complete: bool,
    /// Length of the vector and keyword lists.
    pub lists: (usize, usize),
}

impl Source {
    /// Returns the scale of its raw scores.
    pub(super) fn scale(&self) -> Scale {
        let calibration = self.dataset.indexing.calibration();
        Scale {
            calibration: calibration.unwrap_or(Calibration::REFERENCE),
            bound: self.analysed.bound,
        }
    }

    /// Parses, analyses and embeds the query, and resolves the settings that the request leaves open.
    pub(super) async fn prepare(
        app: &Arc<App>,
        engine: &Engine,
        request: &Request,
        dataset: Dataset,
        fields: &HashSet<String>,
    ) -> Result<Self> {
        let defaults: Defaults = match request.defaults {
            Some(defaults) => defaults,
            None => serde_json::from_str(&dataset.search_defaults)?,
        };
        // No text contains it, and PostgreSQL rejects it.
        let query = request.query.replace('\0', " ");
        let parsed = if request.plain {
            Parsed::plain(&query)
        } else {
            syntax::parse(&query, &|name| fields.contains(name))
        };
        let weight = match (request.alpha, defaults.hybrid_alpha) {
            (Some(_), _) => Weight::named(request.alpha),
            (None, Some(alpha)) => Weight {
                alpha,
                reason: format!("{alpha}: the default of the dataset"),
            },
            (None, None) => alpha::automatic_alpha(app, &dataset, &parsed.text).await?,
        };
        let filter = combined(request.filter.clone(), &parsed);
        let live = live_set(app, &dataset).await?;
        let mut passing = match &filter {
            Some(filter) => Some(passing(app, &live, filter).await?),
            None => None,
        };
        let outcome = {
            let (store, dataset) = (engine.keyword.clone(), dataset.clone());
            let (parsed, live, among) = (parsed.clone(), Arc::clone(&live), passing.clone());
            keyword::blocking(move || {
                let index =
                    store.index(&dataset.live_set, dataset.generation, &dataset.language)?;
                let analysed = index.analyse(&parsed)?;
                let satisfying = if analysed.has_conditions() {
                    Some(index.satisfying(&analysed, &live, among.as_deref())?)
                } else {
                    None
                };
                Ok((index, analysed, satisfying))
            })
            .await
        };
        let (index, analysed, satisfying) = match outcome {
            Err(error) if error.is_damage() => return Err(rebuild(app, &dataset, &error)),
            outcome => outcome?,
        };
        let filtered = passing.clone();
        if let Some(satisfying) = satisfying {
            passing = Some(Arc::new(satisfying));
        }
        let narrowing = if analysed.has_requirements() {
            passing.clone()
        } else {
            filtered
        };
        let wants_vectors = weight.alpha > 0.0 && !parsed.text.is_empty();
        let store = app
            .vectors_of(
                &dataset.indexing.embedding_model,
                dataset.indexing.vector_size,
            )
            .await;
        let store = at_hand(store, request)?;
        let vector = if wants_vectors && store.is_some() {
            let vector = query_vector(app, &dataset.indexing.embedding_model, &parsed.text).await;
            at_hand(vector, request)?
        } else {
            None
        };
        let without_vectors = wants_vectors && vector.is_none();
        let scope = VectorScope {
            tenant_id: dataset.tenant_id.clone(),
            dataset_id: dataset.live_set.clone(),
            generation: dataset.generation,
        };
        Ok(Self {
            dataset,
            defaults,
            parsed,
            index,
            store,
            scope,
            analysed,
            vector,
            weight,
            filter,
            live,
            passing,
            narrowing,
            added: Vec::new(),
            without_vectors,
            without_words: false,
        })
    }

    /// Returns the indexes that the search uses.
    fn asked(&self, request: &Request) -> impl Iterator<Item = Index> {
        let words = self.asks_words(request) && !self.without_words;
        let vectors = self.vector.is_some();
        Index::BOTH.into_iter().filter(move |index| match index {
            Index::Keyword => words,
            Index::Vector => vectors,
        })
    }

    /// Returns whether an index in use is behind.
    pub(super) fn is_behind(&self, app: &App, request: &Request) -> bool {
        let Dataset {
            live_set, log_seq, ..
        } = &self.dataset;
        self.asked(request)
            .any(|index| app.indexes.is_behind(live_set, index, *log_seq))
    }

    /// Returns the parts that the search has to do without.
    pub(super) fn troubles(&self, app: &App, request: &Request) -> Vec<String> {
        let Dataset {
            live_set, log_seq, ..
        } = &self.dataset;
        let vectors = self.without_vectors.then(|| "vectors".to_owned());
        let words = self
            .without_words
            .then(|| "keyword index damaged, rebuild pending".to_owned());
        self.asked(request)
            .filter_map(|index| app.indexes.trouble(live_set, index, *log_seq))
            .chain(vectors)
            .chain(words)
            .collect()
    }

    /// Returns the candidates, from one of the indexes when the other is unavailable.
    pub(super) async fn candidates_at_hand(
        &mut self,
        app: &Arc<App>,
        request: &Request,
        deep: usize,
    ) -> Result<Candidates> {
        loop {
            match self.candidates(app, request, deep).await {
                Err(error)
                    if is_away(&error) && self.vector.is_some() && !request.require_vectors =>
                {
                    tracing::warn!(error = %error, "a search falls back to keywords only");
                    if error.code() == COLLECTION_MISSING {
                        app.indexes.damaged(&self.dataset.live_set, Index::Vector);
                        app.commits.notify();
                    }
                    self.vector = None;
                    self.without_vectors = true;
                }
                Err(error) if error.is_damage() && !self.without_words => {
                    let unavailable = rebuild(app, &self.dataset, &error);
                    if self.vector.is_none() || self.analysed.has_conditions() {
                        return Err(unavailable);
                    }
                    self.without_words = true;
                }
                outcome => return outcome,
            }
        }
    }

    /// Returns whether the keyword list is needed.
    fn asks_words(&self, request: &Request) -> bool {
        if self.without_words {
            return false;
        }
        self.weight.alpha < 1.0
            || request.fusion == Fusion::Rrf
            || self.analysed.has_conditions()
            || self.vector.is_none()
    }

    /// Returns both lists, with live chunks only and every missing score computed.
    pub(super) async fn candidates(
        &self,
        app: &Arc<App>,
        request: &Request,
        deep: usize,
    ) -> Result<Candidates> {
        let mut wanted = request
            .candidates
            .or(self.defaults.candidates)
            .unwrap_or(app.config.search_candidates)
            .max(deep);
        if request.per_document.is_some() {
            // The best of them may belong to few documents.
            wanted = (wanted * DOCUMENTS_WANTED).min(MAX_CANDIDATES.max(wanted));
        }
        // Conditions on chunks that the engine does not know drop candidates, so fetch until `wanted` survive or the lists end.
        let sifting = self.filter.as_ref().filter(|f| f.asks_chunks());
        let is_sifted = sifting.is_some() || self.analysed.has_conditions();
        let enough = if is_sifted { wanted } else { deep };
        let mut limit = wanted;
        loop {
            let (words, vectors) = tokio::try_join!(
                self.keyword_candidates(request, limit),
                self.vector_candidates(limit)
            )?;
            let full = words.len() == limit || vectors.is_full;
            let mut found: HashMap<Uuid, Raw> =
                HashMap::with_capacity(words.len() + vectors.found.len());
            // Both lists by score, equal scores by id: the order of ties in the indexes is arbitrary.
            let words = ordered(words);
            for (rank, (id, bm25)) in (1..).zip(&words) {
                let raw = found.entry(*id).or_default();
                (raw.bm25, raw.keyword_rank) = (Some(*bm25), Some(rank));
            }
            let mut exact: HashMap<Uuid, f32> = HashMap::new();
            for (id, cosine) in &vectors.found {
                found.entry(*id).or_default();
                exact.extend(cosine.map(|cosine| (*id, cosine)));
            }
            let missing = found.keys().filter(|id| !exact.contains_key(id));
            // Missing scores are computed concurrently.
            let (cosines, scores) = tokio::try_join!(
                self.cosines(missing.copied().collect()),
                self.bm25s(request, &found)
            )?;
            exact.extend(cosines);
            let ranked = vectors.found.iter();
            let ranked = ranked.filter_map(|(id, _)| Some((*id, *exact.get(id)?)));
            let mut ranked = ordered(ranked.collect());
            ranked.truncate(limit);
            for (rank, (id, _)) in (1..).zip(&ranked) {
                found.entry(*id).or_default().vector_rank = Some(rank);
            }
            // Those that approximate cosines placed among the nearest.
            found.retain(|_, raw| raw.vector_rank.is_some() || raw.keyword_rank.is_some());
            let lists = (ranked.len(), words.len());
            let before = found.len();
            let documents = self.visible(app, sifting, &found).await?;
            found.retain(|id, _| documents.contains_key(id));
            // Chunks that are deleted but still indexed, or that do not satisfy a condition, may have displaced others.
            if full && found.len() < before && found.len() < enough && limit < DEEPEST {
                limit = (limit * 4).min(DEEPEST);
                continue;
            }
            for (id, raw) in &mut found {
                raw.cosine = exact.get(id).copied();
                raw.bm25 = raw.bm25.or_else(|| scores.get(id).copied());
            }
            return Ok(Candidates {
                found,
                documents,
                complete: !full,
                lists,
            });
        }
    }

    async fn keyword_candidates(&self, request: &Request, limit: usize) -> Result<Ranked> {
        if !self.asks_words(request) {
            return Ok(Vec::new());
        }
        let (index, analysed) = (Arc::clone(&self.index), self.analysed.clone());
        let (live, passing) = (Arc::clone(&self.live), self.passing.clone());
        keyword::blocking(move || index.search(&analysed, &live, passing.as_deref(), limit)).await
    }

    async fn vector_candidates(&self, limit: usize) -> Result<Nearest> {
        let (Some(vector), Some(store)) = (&self.vector, &self.store) else {
            return Ok(Nearest::default());
        };
        let restriction = Restriction {
            live: Arc::clone(&self.live),
            passing: self.passing.clone(),
            narrowing: self.narrowing.clone(),
        };
        store
            .nearest(&self.scope, Arc::clone(vector), restriction, limit)
            .await
    }

    /// Returns whether a chunk satisfies the required and excluded clauses of the query.
    pub(super) fn satisfies_conditions(&self, id: &Uuid) -> bool {
        let passing = self.passing.as_ref();
        let passing = passing.filter(|_| self.analysed.has_conditions());
        passing.is_none_or(|passing| {
            let ordinal = self.live.table().ordinal(id);
            ordinal.is_some_and(|n| passing.chunks.contains(n as usize))
        })
    }

    /// Returns the documents of the candidates that are visible and satisfy the conditions on chunks.
    async fn visible(
        &self,
        app: &App,
        sifting: Option<&Filter>,
        found: &HashMap<Uuid, Raw>,
    ) -> Result<HashMap<Uuid, Arc<str>>> {
        let mut documents: HashMap<Uuid, Arc<str>> = {
            let table = self.live.table();
            let visible = found.keys().filter_map(|id| {
                let passes = self.passing.as_ref().is_none_or(|passing| {
                    let ordinal = table.ordinal(id);
                    ordinal.is_some_and(|n| passing.chunks.contains(n as usize))
                });
                let document = table.document_of_visible(id).filter(|_| passes)?;
                Some((*id, Arc::clone(document)))
            });
            visible.collect()
        };
        if let Some(filter) = sifting {
            let places = locations(app, &self.dataset, documents.keys()).await?;
            let ids = documents.values().map(AsRef::as_ref);
            let objects = objects(app, &self.dataset, ids).await?;
            documents.retain(|id, document| {
                let place = places.get(id);
                let place = place.zip(objects.get(document.as_ref()));
                place.is_some_and(|(place, object)| filter.holds(&with_location(object, place)))
            });
        }
        Ok(documents)
    }

    /// Returns the exact cosines of chunks; those without an embedding are absent.
    pub(super) async fn cosines(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, f32>> {
        let (Some(vector), Some(store)) = (&self.vector, &self.store) else {
            return Ok(HashMap::new());
        };
        store.scores(&self.scope, Arc::clone(vector), ids).await
    }

    /// Returns the exact BM25 of the candidates that only the vector list contains.
    pub(super) async fn bm25s(
        &self,
        request: &Request,
        found: &HashMap<Uuid, Raw>,
    ) -> Result<HashMap<Uuid, f32>> {
        if !self.asks_words(request) {
            return Ok(HashMap::new());
        }
        let missing: Vec<Uuid> = found
            .iter()
            .filter(|(_, raw)| raw.bm25.is_none())
            .map(|(id, _)| *id)
            .collect();
        let (index, analysed) = (Arc::clone(&self.index), self.analysed.clone());
        let live = Arc::clone(&self.live);
        keyword::blocking(move || index.scores(&analysed, &live, &missing)).await
    }

    /// Expands the query by what its best chunks have in common: their most significant words, and the direction of their vectors.
    pub(super) async fn widen(&mut self, app: &App, best: &[Uuid]) -> Result<()> {
        let ids: Vec<String> = best
            .iter()
            .take(FEEDBACK_CHUNKS)
            .map(Uuid::to_string)
            .collect();
        let chunks = crate::kb::chunks::by_ids(app, &self.dataset.tenant_id, &ids).await?;
        if chunks.is_empty() {
            return Ok(());
        }
        let (index, known) = (Arc::clone(&self.index), self.analysed.clone());
        let texts: Vec<String> = chunks.iter().map(|c| c.content.clone()).collect();
        let words = tokio::task::spawn_blocking(move || {
            index.expansion_terms(&texts, &known, FEEDBACK_WORDS)
        })
        .await??;
        self.added = words.iter().map(|(term, ..)| term.clone()).collect();
        let terms = words.into_iter().map(|(term, df, idf)| QueryTerm {
            forms: vec![Form {
                term: term.clone(),
                kind: FormKind::Feedback,
                weight: 1.0,
                df,
            }],
            term,
            weight: FEEDBACK_WEIGHT,
            df,
            idf,
        });
        self.analysed.terms.extend(terms);
        self.analysed.bound = KeywordIndex::bound(&self.analysed.terms);
        if let Some(vector) = &self.vector {
            let near = vectors(app, &self.dataset, &ids).await?;
            let mut moved = vector.to_vec();
            for other in near.values() {
                let share = FEEDBACK_VECTOR / near.len() as f32;
                for (value, add) in moved.iter_mut().zip(other) {
                    *value += share * add;
                }
            }
            let length = moved.iter().map(|v| v * v).sum::<f32>().sqrt();
            if length > 0.0 {
                moved.iter_mut().for_each(|v| *v /= length);
            }
            self.vector = Some(Arc::new(moved));
        }
        Ok(())
    }
}

/// Returns the result, or `None` when it is unavailable and the search may do without it.
fn at_hand<T>(outcome: Result<T>, request: &Request) -> Result<Option<T>> {
    match outcome {
        Err(error) if is_away(&error) && !request.require_vectors => {
            tracing::warn!(error = %error, "a search falls back to keywords only");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Returns whether an error means that vectors are unavailable.
fn is_away(error: &Error) -> bool {
    matches!(
        error.code(),
        COLLECTION_MISSING
            | "vector_store_unavailable"
            | "vector_server_refused"
            | "vector_server_version"
            | "vector_dimensions"
            | "model_unavailable"
            | "disk_full"
    )
}

/// Has a damaged keyword index rebuilt, and returns the error of a search that cannot do without it.
fn rebuild(app: &App, dataset: &Dataset, error: &Error) -> Error {
    tracing::error!(set = %dataset.live_set, error = %error, "a keyword index is damaged and is being rebuilt");
    app.indexes.damaged(&dataset.live_set, Index::Keyword);
    app.commits.notify();
    Error::unavailable(
        "keyword_index_damaged",
        "the keyword index is damaged and is being rebuilt; try again in a moment",
    )
}

/// Returns what is known of the set that a search of a dataset reads.
async fn live_set(app: &App, dataset: &Dataset) -> Result<Arc<LiveSet>> {
    let state = live::State {
        tenant_id: &dataset.tenant_id,
        dataset_id: &dataset.id,
        set_id: &dataset.live_set,
        log_seq: dataset.log_seq,
        version: dataset.version,
    };
    app.live.at_least(&app.db, state).await
}

fn ordered(mut list: Ranked) -> Ranked {
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list
}

/// Returns the query's vector, cached from an earlier search where possible.
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
        .ok_or_else(|| Error::internal("the model returned no vector"))?;
    let vector = Arc::new(vector);
    app.query_vectors.insert(key, Arc::clone(&vector));
    Ok(vector)
}

/// Returns vectors of chunks, by id; those without a vector are absent.
pub(super) async fn vectors(
    app: &App,
    dataset: &Dataset,
    ids: &[String],
) -> Result<HashMap<String, Vec<f32>>> {
    let rows: Vec<(String, Vec<u8>)> = app
        .db
        .all_in(
            "SELECT c.id, e.vector FROM kb_chunks c JOIN kb_embeddings e ON e.tenant_id = c.tenant_id AND e.model = $2 AND e.text_hash = c.text_hash
             WHERE c.tenant_id = $1 AND c.id IN ($LIST)",
            args![&dataset.tenant_id, &dataset.indexing.embedding_model],
            ids,
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, bytes)| (id, embeddings::vector_of(&bytes)))
        .collect())
}

/// Returns the conjunction of the request's filter and the query's fields.
fn combined(filter: Option<Filter>, parsed: &Parsed) -> Option<Filter> {
    let typed = parsed.fields.iter().map(|clause| {
        let mut is = Filter::typed(&clause.field, &clause.value);
        if clause.field == "$mimeType" {
            // Users name types by file extensions.
            let ending = Filter::typed("$fileName", &format!(".{}", clause.value));
            is = Filter::Or {
                or: vec![is, ending],
            };
        }
        if clause.negated {
            Filter::Not { not: Box::new(is) }
        } else {
            is
        }
    });
    let mut and: Vec<Filter> = filter.into_iter().chain(typed).collect();
    match and.len() {
        0 | 1 => and.pop(),
        _ => Some(Filter::And { and }),
    }
}
