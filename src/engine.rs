//! Models and indexes of the application: the embedding models, the reranker, the keyword index and the vector indexes, each opened on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cairn_models::{
    Cache, Calibration, EmbedderSpec, Loaded, Priority, RemoteEmbedder, RemoteOptions, Reranker,
    Tokens,
};
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::app::App;
use crate::config::Config;
use crate::db::args;
use crate::error::{Error, Kind, Result};
use crate::jobs;
use crate::search::keyword::KeywordStore;
use crate::search::vector::{Layout, VectorIndex, VectorOptions};

/// Open models and indexes.
#[derive(Debug, Default)]
pub(crate) struct Models {
    embedder: OnceCell<Holder>,
    reranker: OnceCell<Arc<Reranker>>,
    /// Models of datasets other than the configured one, by name; each is loaded once, and no other waits for it.
    others: std::sync::Mutex<HashMap<String, Arc<OnceCell<Holder>>>>,
    engine: OnceCell<Engine>,
    /// Number of texts embedded and milliseconds spent, for estimates.
    embedded: (AtomicU64, AtomicU64),
}

impl Models {
    /// Returns the place of a model other than the configured one, which may not be loaded yet.
    fn other(&self, model: &str) -> Arc<OnceCell<Holder>> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(others.entry(model.to_owned()).or_default())
    }
}

struct Holder(Loaded);

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.spec().fmt(f)
    }
}

/// Model and indexes.
pub struct Engine {
    pub embedder: Loaded,
    pub keyword: Arc<KeywordStore>,
    /// Vector indexes, one per embedding model, opened on demand.
    stores: Mutex<BTreeMap<String, Arc<VectorIndex>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("model", self.embedder.spec())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Returns every open vector index, by model.
    pub async fn open_vectors(&self) -> Vec<(String, Arc<VectorIndex>)> {
        let stores = self.stores.lock().await;
        stores
            .iter()
            .map(|(model, store)| (model.clone(), Arc::clone(store)))
            .collect()
    }

    /// Makes the applied changes of every vector index durable.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn flush(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (_, store) in self.open_vectors().await {
            // A store that fails does not keep others from being flushed.
            outcome = store.flush().await.and(outcome);
        }
        outcome
    }

    /// Improves every open index, see [`VectorIndex::improve`] and [`KeywordStore::tidy`].
    ///
    /// # Errors
    /// Those of the indexes.
    pub async fn improve(&self) -> Result<()> {
        let keyword = Arc::clone(&self.keyword);
        tokio::task::spawn_blocking(move || keyword.tidy()).await??;
        for (_, store) in self.open_vectors().await {
            store.improve().await?;
        }
        Ok(())
    }
}

/// Callback for the progress of downloads.
pub type Report = Arc<dyn Fn(&str, u64, Option<u64>) + Send + Sync>;

/// Texts that are embedded at once for a request that embeds many.
const PIECE: usize = 16;
/// Requests that embed many texts, at the same time.
static REQUESTS: Semaphore = Semaphore::const_new(4);

impl App {
    /// Fetches, verifies and loads the configured model without a data directory.
    ///
    /// # Errors
    /// Those of fetching, verifying and loading the model.
    pub async fn check_model(config: Config, report: Report) -> Result<EmbedderSpec> {
        let cache = Cache::new(config.models_directory(), config.offline);
        let loaded = tokio::task::spawn_blocking(move || load(&config, &cache, &report)).await??;
        Ok(loaded.spec().clone())
    }

    /// Returns the cache of models.
    #[must_use]
    pub fn model_cache(&self) -> Cache {
        Cache::new(self.config.models_directory(), self.config.offline)
    }

    /// Returns the embedding model, loaded at the first call.
    ///
    /// # Errors
    /// Those of fetching, verifying and loading the model.
    pub async fn embedder(&self) -> Result<Loaded> {
        self.embedder_with(Arc::new(|_, _, _| {})).await
    }

    /// Same as [`App::embedder`], reporting downloads.
    ///
    /// # Errors
    /// Those of [`App::embedder`].
    pub async fn embedder_with(&self, report: Report) -> Result<Loaded> {
        let holder = self
            .models
            .embedder
            .get_or_try_init(|| async {
                let (config, cache) = (self.config.clone(), self.model_cache());
                Ok::<_, Error>(Holder(
                    tokio::task::spawn_blocking(move || load(&config, &cache, &report)).await??,
                ))
            })
            .await?;
        Ok(Arc::clone(&holder.0))
    }

    /// Returns the model of a dataset: the configured one, or another one that can be loaded here.
    ///
    /// # Errors
    /// `model_mismatch` when it cannot be loaded.
    pub async fn embedder_of(&self, model: &str) -> Result<Loaded> {
        let main = self.embedder().await?;
        if main.spec().model == model {
            return Ok(main);
        }
        let cell = self.models.other(model);
        let holder = cell
            .get_or_try_init(|| async { self.load_other(model, &main).await.map(Holder) })
            .await?;
        Ok(Arc::clone(&holder.0))
    }

    /// Loads a model other than the configured one, `main`.
    async fn load_other(&self, model: &str, main: &Loaded) -> Result<Loaded> {
        let mismatch = |cause: Error| {
            Error::unprocessable(
                "model_mismatch",
                format!(
                    "this dataset uses the model {model}, which cannot be loaded here: {cause}"
                ),
            )
        };
        let config = Config {
            model: model.to_owned(),
            // A dataset with a model other than the endpoint's was embedded locally.
            embedding_url: String::new(),
            ..self.config.clone()
        };
        let cache = self.model_cache();
        let report: Report = Arc::new(|_, _, _| {});
        let loaded = tokio::task::spawn_blocking(move || load(&config, &cache, &report))
            .await?
            .map_err(mismatch)?;
        // Where the weights asked for cannot be fetched, the model that is loaded has another name.
        let name = loaded.spec().model.clone();
        if name == main.spec().model {
            return Ok(Arc::clone(main));
        }
        if name == model {
            return Ok(loaded);
        }
        let other = self.models.other(&name);
        let holder = other.get_or_init(|| async { Holder(loaded) }).await;
        Ok(Arc::clone(&holder.0))
    }

    /// Returns the calibration of a model's cosines for new datasets and generations; `None` for a model that is not calibrated.
    ///
    /// # Errors
    /// Those of reading the calibrations measured on this machine.
    pub async fn calibration(&self, model: &str) -> Result<Option<Calibration>> {
        let (cache, model) = (self.model_cache(), model.to_owned());
        let measured = tokio::task::spawn_blocking(move || cache.calibration(&model)).await??;
        Ok(measured.map(|m| m.calibration))
    }

    /// Returns a model if it is loaded, without fetching or loading it.
    #[must_use]
    pub fn loaded(&self, model: &str) -> Option<Loaded> {
        let main = self.models.embedder.get();
        if let Some(main) = main.filter(|holder| holder.0.spec().model == model) {
            return Some(Arc::clone(&main.0));
        }
        let cell = self.models.other(model);
        cell.get().map(|holder| Arc::clone(&holder.0))
    }

    /// Returns the vector index of a model's datasets, opened or created at the first call.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn vectors_of(&self, model: &str, dimensions: i64) -> Result<Arc<VectorIndex>> {
        let engine = self.engine().await?;
        let dimensions = usize::try_from(dimensions).unwrap_or(0);
        let mut stores = engine.stores.lock().await;
        if let Some(open) = stores.get(model) {
            return Ok(Arc::clone(open));
        }
        if self.cluster.is_some() {
            // A server that does not answer must not block access to the stores that are open.
            drop(stores);
            let opened = self.open_vectors(model, dimensions).await?;
            let mut stores = engine.stores.lock().await;
            return Ok(Arc::clone(stores.entry(model.to_owned()).or_insert(opened)));
        }
        let opened = self.open_vectors(model, dimensions).await?;
        stores.insert(model.to_owned(), Arc::clone(&opened));
        Ok(opened)
    }

    async fn open_vectors(&self, model: &str, dimensions: usize) -> Result<Arc<VectorIndex>> {
        let options = VectorOptions {
            model,
            dimensions,
            index_above_kb: self.config.vector_index_kb,
            disk: &self.disk,
            cluster: self.cluster.clone().map(|cluster| {
                let layout = Layout::of(&self.config, dimensions);
                (cluster, layout)
            }),
        };
        VectorIndex::open(&self.config.data_dir, &self.db, options)
            .await
            .map(Arc::new)
    }

    /// Returns model and indexes, opened at the first call, by one process per data directory.
    ///
    /// # Errors
    /// `data_dir_in_use`, and those of the model and the indexes.
    pub async fn engine(&self) -> Result<&Engine> {
        self.models
            .engine
            .get_or_try_init(|| async {
                self.lock().await?;
                if !self.db.is_shared() {
                    // Only one process works on this database, and it has just started: no lease has an owner.
                    jobs::free_all(&self.db).await?;
                }
                let embedder = self.embedder().await?;
                let spec = embedder.spec().clone();
                let mut stores = BTreeMap::new();
                match self.open_vectors(&spec.model, spec.dimensions).await {
                    Ok(vectors) => drop(stores.insert(spec.model.clone(), vectors)),
                    // Keyword search works all the same, and vector search once there is space, or a server answers.
                    Err(error)
                        if error.kind() == Kind::NoSpace
                            || error.code() == "vector_store_unavailable" =>
                    {
                        tracing::error!(error = %error, "the vector index is not ready yet");
                    }
                    Err(error) => return Err(error),
                }
                self.check_dimensions(&spec.model, spec.dimensions).await?;
                Ok(Engine {
                    embedder,
                    keyword: Arc::new(KeywordStore::new(
                        self.config.data_dir.join("keyword"),
                        Arc::clone(&self.indexes),
                    )),
                    stores: Mutex::new(stores),
                })
            })
            .await
    }

    /// Reports a dataset whose stored dimensions are not the model's at the start; it would fail at its first query.
    async fn check_dimensions(&self, model: &str, dimensions: usize) -> Result<()> {
        let other: Option<(String, i64)> = self
            .db
            .optional(
                "SELECT name, vector_size FROM kb_datasets WHERE embedding_model = $1 AND vector_size <> $2 LIMIT 1",
                args![model, i64::try_from(dimensions).unwrap_or(0)],
            )
            .await?;
        match other {
            None => Ok(()),
            Some((name, size)) => Err(Error::unprocessable(
                "vector_dimensions",
                format!(
                    "dataset {name:?} has vectors of {size} dimensions, but the model {model} returns {dimensions}"
                ),
            )),
        }
    }

    /// Returns the configured cross-encoder; a server has loaded it before the first search.
    ///
    /// # Errors
    /// `reranker_not_configured`; those of the model.
    pub async fn reranker(&self) -> Result<Arc<Reranker>> {
        self.reranker_with(Arc::new(|_, _, _| {})).await
    }

    /// Same as [`App::reranker`], reporting its download.
    ///
    /// # Errors
    /// `reranker_not_configured`; those of the model.
    pub async fn reranker_with(&self, report: Report) -> Result<Arc<Reranker>> {
        if self.config.reranker.is_empty() {
            return Err(Error::unprocessable(
                "reranker_not_configured",
                "no reranker is configured (setting `reranker`); search without rerank",
            ));
        }
        let load = || async {
            let (config, cache) = (self.config.clone(), self.model_cache());
            let loaded = tokio::task::spawn_blocking(move || {
                let manifest = cairn_models::resolve_reranker(&config.reranker)?;
                let runtime = (!config.onnxruntime.as_os_str().is_empty())
                    .then_some(config.onnxruntime.as_path());
                let threads = config.model_threads();
                let progress =
                    |name: &str, done: u64, total: Option<u64>| report(name, done, total);
                cairn_models::load_reranker(&manifest, &cache, runtime, threads, &progress)
            });
            Ok::<_, Error>(loaded.await??)
        };
        self.models.reranker.get_or_try_init(load).await.cloned()
    }

    /// Returns whether the engine has been opened.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.models.engine.initialized()
    }

    /// Embeds texts with the configured model, on its own threads.
    ///
    /// # Errors
    /// Those of the model.
    pub async fn embed(&self, texts: Vec<String>, priority: Priority) -> Result<Vec<Vec<f32>>> {
        self.embed_with(self.embedder().await?, texts, priority)
            .await
    }

    /// Same as [`App::embed`], with another model.
    ///
    /// # Errors
    /// Those of the model.
    pub async fn embed_with(
        &self,
        embedder: Loaded,
        texts: Vec<String>,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>> {
        let (began, count) = (Instant::now(), texts.len() as u64);
        let vectors =
            tokio::task::spawn_blocking(move || embedder.embed(&texts, priority)).await??;
        if priority == Priority::Bulk {
            self.models.embedded.0.fetch_add(count, Ordering::Relaxed);
            self.models.embedded.1.fetch_add(
                u64::try_from(began.elapsed().as_millis()).unwrap_or(0),
                Ordering::Relaxed,
            );
            metrics::counter!("cairn_texts_embedded_total").increment(count);
        }
        Ok(vectors)
    }

    /// Embeds texts of a request in pieces, at most [`REQUESTS`] requests at once: a request that is given up stops, and searches and ingestion wait for one piece at most.
    ///
    /// # Errors
    /// Those of the model.
    pub async fn embed_in_pieces(
        &self,
        embedder: &Loaded,
        texts: &[String],
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>> {
        let _turn = REQUESTS
            .acquire()
            .await
            .map_err(|e| Error::internal(e.to_string()))?;
        let mut vectors = Vec::with_capacity(texts.len());
        for piece in texts.chunks(PIECE) {
            let piece = self.embed_with(Arc::clone(embedder), piece.to_vec(), priority);
            vectors.extend(piece.await?);
        }
        Ok(vectors)
    }

    /// Returns the number of texts embedded per second so far; 40 before the first.
    #[must_use]
    pub fn embedding_rate(&self) -> f64 {
        let (texts, millis) = (
            self.models.embedded.0.load(Ordering::Relaxed),
            self.models.embedded.1.load(Ordering::Relaxed),
        );
        if millis < 100 {
            40.0
        } else {
            texts as f64 * 1000.0 / millis as f64
        }
    }
}

fn load(config: &Config, cache: &Cache, report: &Report) -> Result<Loaded> {
    let progress = |name: &str, done: u64, total: Option<u64>| report(name, done, total);
    if config.embedding_url.is_empty() {
        let manifest = cairn_models::resolve(&config.model)?;
        let runtime =
            (!config.onnxruntime.as_os_str().is_empty()).then_some(config.onnxruntime.as_path());
        return Ok(cairn_models::load_local(
            &manifest,
            cache,
            runtime,
            config.model_threads(),
            &progress,
        )?);
    }
    // Endpoints do not publish tokenizers: chunks are sized with the default model's.
    let manifest = cairn_models::resolve("all-MiniLM-L6-v2")?;
    let directory = cache.pull(&manifest, &progress)?;
    let tokens = Tokens::from_file(&manifest.name, &directory.join("tokenizer.json"))?;
    let options = RemoteOptions {
        url: config.embedding_url.clone(),
        key: (!config.embedding_api_key.is_empty()).then(|| config.embedding_api_key.clone()),
        model: config.model.clone(),
        dimensions: config.embedding_dimensions,
        max_tokens: config.embedding_max_tokens,
        batch: 32,
        timeout: Duration::from_secs(60),
    };
    Ok(RemoteEmbedder::connect(options, tokens)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_model_that_is_being_loaded_keeps_no_other_waiting() {
        let models = Arc::new(Models::default());
        let slow = models.other("slow");
        let (started, wait) = tokio::sync::oneshot::channel();
        let loading = tokio::spawn(async move {
            let load = async || {
                started.send(()).ok();
                std::future::pending::<Holder>().await
            };
            slow.get_or_init(load).await;
        });
        wait.await.expect("it is being loaded");
        assert!(models.other("slow").get().is_none());
        let other = models.other("other");
        let outcome = other
            .get_or_try_init(async || Err::<Holder, _>("not here"))
            .await;
        assert!(outcome.is_err(), "it was tried at once");
        loading.abort();
    }
}
