//! Candidates of one dataset: both lists, the live ones that satisfy the conditions, and the exact scores that one of the lists lacks.

mod documents;
mod fields;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cairn_models::Priority;
use uuid::Uuid;

use super::alpha::{self, Weight};
use super::blend::{Fusion, Raw};
use super::candidate::ChunkLocation;
use super::keyword::{self, Analysed, Form, FormKind, KeywordIndex, QueryTerm};
use super::request::{Defaults, MAX_CANDIDATES, Request};
use super::states::Index;
use super::syntax::{self, Parsed};
use super::vector::cluster::COLLECTION_MISSING;
use super::vector::{Among, Scope as VectorScope, VectorIndex};
use crate::app::App;
use crate::db::args;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kb::Dataset;
use crate::kb::embeddings;
use crate::kb::filter::Filter;
pub use documents::DocumentRow;
pub(super) use documents::{documents, of_location, with_location};
use fields::matching;
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
    /// Documents that may satisfy the filter; `None` for all.
    pub documents: Option<Arc<Among>>,
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
    pub places: HashMap<Uuid, ChunkLocation>,
    /// Whether both lists ended before their limit: then these are all chunks with a word of the query, or a vector.
    pub complete: bool,
    /// Length of the vector and keyword lists.
    pub lists: (usize, usize),
}

impl Source {
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
        let index = {
            let (store, dataset) = (engine.keyword.clone(), dataset.clone());
            keyword::blocking(move || {
                store.index(&dataset.live_set, dataset.generation, &dataset.language)
            })
            .await?
        };
        let analysed = {
            let (index, parsed) = (Arc::clone(&index), parsed.clone());
            keyword::blocking(move || index.analyse(&parsed)).await?
        };
        let wants_vectors = weight.alpha > 0.0 && !parsed.text.is_empty();
        let store = app
            .vectors_of(&dataset.embedding_model, dataset.vector_size)
            .await;
        let store = at_hand(store, request)?;
        let vector = if wants_vectors && store.is_some() {
            let vector = query_vector(app, &dataset.embedding_model, &parsed.text).await;
            at_hand(vector, request)?
        } else {
            None
        };
        let without_vectors = wants_vectors && vector.is_none();
        let filter = combined(request.filter.clone(), &parsed);
        let documents = match &filter {
            Some(filter) => Some(matching(app, &dataset, filter).await?),
            None => None,
        };
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
            documents,
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
                    tracing::error!(set = %self.dataset.live_set, error = %error, "a keyword index is damaged and is being rebuilt");
                    app.indexes.damaged(&self.dataset.live_set, Index::Keyword);
                    app.commits.notify();
                    if self.vector.is_none() || self.analysed.has_conditions() {
                        return Err(Error::unavailable(
                            "keyword_index_damaged",
                            "the keyword index is damaged and is being rebuilt; try again in a moment",
                        ));
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
        // Post-filters drop candidates, so fetch until `wanted` survive or the lists end.
        let sifted =
            self.analysed.has_conditions() || self.filter.as_ref().is_some_and(Filter::asks_chunks);
        let enough = if sifted { wanted } else { deep };
        let mut limit = wanted;
        loop {
            let (words, meaning) = tokio::try_join!(
                self.keyword_candidates(request, limit),
                self.vector_candidates(limit)
            )?;
            let full = words.len() == limit || meaning.len() == limit;
            let lists = (meaning.len(), words.len());
            let mut found: HashMap<Uuid, Raw> = HashMap::with_capacity(words.len() + meaning.len());
            // Both lists by score, equal scores by id: the order of ties in the indexes is arbitrary.
            for (rank, (id, cosine)) in (1..).zip(ordered(meaning)) {
                found.entry(id).or_default().cosine = Some(cosine);
                found.entry(id).or_default().vector_rank = Some(rank);
            }
            for (rank, (id, bm25)) in (1..).zip(ordered(words)) {
                found.entry(id).or_default().bm25 = Some(bm25);
                found.entry(id).or_default().keyword_rank = Some(rank);
            }
            let before = found.len();
            // Live chunks and missing scores are fetched concurrently.
            let (places, cosines, scores, allowed) = tokio::try_join!(
                self.places(app, &found),
                self.cosines(&found),
                self.bm25s(request, &found),
                self.allowed(&found),
            )?;
            found.retain(|id, _| {
                places.contains_key(id) && allowed.as_ref().is_none_or(|a| a.contains(id))
            });
            // Chunks that are deleted but still indexed, or that do not satisfy a condition, may have displaced others.
            if full && found.len() < before && found.len() < enough && limit < DEEPEST {
                limit = (limit * 4).min(DEEPEST);
                continue;
            }
            for (id, raw) in &mut found {
                raw.cosine = raw.cosine.or_else(|| cosines.get(id).copied());
                raw.bm25 = raw.bm25.or_else(|| scores.get(id).copied());
            }
            return Ok(Candidates {
                found,
                places,
                complete: !full,
                lists,
            });
        }
    }

    async fn keyword_candidates(&self, request: &Request, limit: usize) -> Result<Ranked> {
        if !self.asks_words(request) {
            return Ok(Vec::new());
        }
        let (index, analysed, documents) = (
            Arc::clone(&self.index),
            self.analysed.clone(),
            self.documents.clone(),
        );
        keyword::blocking(move || {
            let documents = documents.as_deref().map(|among| among.documents.as_slice());
            index.search(&analysed, documents, limit)
        })
        .await
    }

    async fn vector_candidates(&self, limit: usize) -> Result<Ranked> {
        let (Some(vector), Some(store)) = (&self.vector, &self.store) else {
            return Ok(Vec::new());
        };
        store
            .search(&self.scope, vector.to_vec(), self.documents.clone(), limit)
            .await
    }

    /// Returns the locations of the candidates that are live and visible in SQL and satisfy the filter: deletion and disabling are effective at the
    /// very next query, whatever the state of the indexes.
    async fn places(
        &self,
        app: &App,
        found: &HashMap<Uuid, Raw>,
    ) -> Result<HashMap<Uuid, ChunkLocation>> {
        let ids: Vec<String> = found.keys().map(Uuid::to_string).collect();
        let rows: Vec<ChunkLocation> = app
            .db
            .all_in(
                "SELECT c.id, c.document_id, c.heading_path, c.page, c.start_char, c.end_char FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
                 WHERE c.tenant_id = $1 AND c.set_id = $2 AND d.enabled = TRUE AND c.enabled = TRUE AND c.id IN ($LIST)",
                args![&self.dataset.tenant_id, &self.dataset.live_set],
                &ids,
            )
            .await?;
        let mut places = HashMap::with_capacity(rows.len());
        let asking = self.filter.as_ref().filter(|f| f.asks_chunks());
        let objects = match asking {
            Some(_) => objects(app, &self.dataset, rows.iter().map(|r| &r.document_id)).await?,
            None => HashMap::new(),
        };
        for row in rows {
            let holds = asking.is_none_or(|filter| {
                objects
                    .get(&row.document_id)
                    .is_some_and(|document| filter.holds(&with_location(document, &row)))
            });
            if holds && let Ok(id) = row.id.parse() {
                places.insert(id, row);
            }
        }
        Ok(places)
    }

    /// Returns the exact cosines of the candidates that only the keyword list contains; those without an embedding are absent.
    pub(super) async fn cosines(&self, found: &HashMap<Uuid, Raw>) -> Result<HashMap<Uuid, f32>> {
        let (Some(vector), Some(store)) = (&self.vector, &self.store) else {
            return Ok(HashMap::new());
        };
        let missing = found
            .iter()
            .filter(|(_, raw)| raw.cosine.is_none())
            .map(|(id, _)| *id)
            .collect();
        store.scores(&self.scope, vector.to_vec(), missing).await
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
        keyword::blocking(move || index.scores(&analysed, &missing)).await
    }

    /// Returns the candidates that satisfy the required and excluded clauses of the query; `None` when it has none.
    pub(super) async fn allowed(
        &self,
        found: &HashMap<Uuid, Raw>,
    ) -> Result<Option<HashSet<Uuid>>> {
        if !self.analysed.has_conditions() {
            return Ok(None);
        }
        let ids: Vec<Uuid> = found.keys().copied().collect();
        let (index, analysed) = (Arc::clone(&self.index), self.analysed.clone());
        keyword::blocking(move || index.allowed(&analysed, &ids))
            .await
            .map(Some)
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
            args![&dataset.tenant_id, &dataset.embedding_model],
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
