//! What everything shares: configuration, database, blobs, the commit signal, and, opened when first needed, the model and the indexes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_models::{
    Cache, EmbedderSpec, Loaded, Priority, RemoteEmbedder, RemoteOptions, Reranker, Tokens,
};
use moka::sync::Cache as Memory;
use tokio::sync::{Mutex, OnceCell};

use crate::answers::endpoint::Endpoint;
use crate::auth::Caller;
use crate::auth::keys::{self, Gate, NewKey};
use crate::auth::sessions::Sessions;
use crate::auth::tenants::{self, Tenant};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, Tx, args};
use crate::disk::{self, Disk};
use crate::error::{Error, Kind, Result};
use crate::evaluation::queue::Queue;
use crate::events::{CommitSignal, Feed};
use crate::jobs::{self, Task, schedules};
use crate::kb::parser::Parser;
use crate::limits::Counts;
use crate::outgoing::Outgoing;
use crate::rates::Rates;
use crate::seal::Sealer;
use crate::search::keyword::KeywordStore;
use crate::search::memory;
use crate::search::states::IndexStates;
use crate::search::vector::{Cluster, Layout, VectorIndex, VectorOptions};

/// The application.
pub struct App {
    /// The language model that answers questions, if there is one.
    pub answers: Option<Endpoint>,
    /// How much workspaces may ask.
    pub(crate) rates: Rates,
    /// Effective configuration.
    pub config: Config,
    /// Times, ids, secrets.
    pub clock: Clock,
    /// Records.
    pub db: Db,
    /// Bytes.
    pub blobs: Blobs,
    /// The disk of the data directory.
    pub disk: Disk,
    /// The Qdrant servers, if there are any.
    pub cluster: Option<Arc<Cluster>>,
    /// What addresses of files are signed with.
    pub(crate) signing_secret: OnceCell<String>,
    /// Notified after every commit, see [`App::commit`].
    pub commits: CommitSignal,
    /// Open streams of events, by tenant.
    pub streams: Counts<String>,
    /// Events for the streams of this process.
    pub feed: Feed,
    /// Checks keys.
    pub gate: Gate,
    /// Parses files.
    pub parser: Parser,
    /// Vectors of recent queries.
    pub query_vectors: Memory<String, Arc<Vec<f32>>>,
    /// What searches remember until something changes.
    pub search_memory: memory::Memory,
    /// Queries on their way to the history.
    pub history: Queue,
    /// How well the models know the languages of datasets.
    pub vocabulary_fits: memory::VocabularyFits,
    /// How far the indexes of this process are.
    pub indexes: Arc<IndexStates>,
    /// Reaches addresses that others chose.
    pub outgoing: Outgoing,
    /// Pages that a crawl has just read, by the hash of their bytes, until ingestion asks for them.
    pub read_pages: Memory<String, Arc<cairn_ingest::Document>>,
    embedder: OnceCell<Holder>,
    reranker: OnceCell<Arc<Reranker>>,
    /// Models of datasets other than the configured one, loaded when first needed.
    others: Mutex<HashMap<String, Loaded>>,
    engine: OnceCell<Engine>,
    sealer: OnceCell<Sealer>,
    lock: OnceCell<File>,
    /// Texts embedded and milliseconds spent, for estimates.
    embedded: (AtomicU64, AtomicU64),
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("data_dir", &self.config.data_dir)
            .finish_non_exhaustive()
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
    /// The model.
    pub embedder: Loaded,
    /// Keyword indexes.
    pub keyword: Arc<KeywordStore>,
    /// Vector indexes, one per embedding model, opened when first needed.
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
    /// Every vector index that is open, by its model.
    pub async fn open_vectors(&self) -> Vec<(String, Arc<VectorIndex>)> {
        let stores = self.stores.lock().await;
        stores
            .iter()
            .map(|(model, store)| (model.clone(), Arc::clone(store)))
            .collect()
    }

    /// Makes what every vector index has applied durable.
    ///
    /// # Errors
    /// As the store says.
    pub async fn flush(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (_, store) in self.open_vectors().await {
            // One that fails keeps no other from being flushed.
            outcome = store.flush().await.and(outcome);
        }
        outcome
    }

    /// Improves every open index, see [`VectorIndex::improve`] and [`KeywordStore::tidy`].
    ///
    /// # Errors
    /// As the indexes say.
    pub async fn improve(&self) -> Result<()> {
        let keyword = Arc::clone(&self.keyword);
        tokio::task::spawn_blocking(move || keyword.tidy()).await??;
        for (_, store) in self.open_vectors().await {
            store.improve().await?;
        }
        Ok(())
    }
}

/// Files parsed at the same time beside those of the workers.
const PREVIEWS: usize = 2;
/// Bytes of text that [`App::read_pages`] holds.
const READ_PAGES: u64 = 64 << 20;

/// Reports the progress of downloads.
pub type Report = Arc<dyn Fn(&str, u64, Option<u64>) + Send + Sync>;

impl App {
    /// Commits a transaction and notifies those in this process who wait for commits: workers, the follower of the index log, streams.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(&self, tx: Tx) -> Result<()> {
        tx.commit().await?;
        self.commits.notify();
        Ok(())
    }

    /// Returns the parts that sessions of browsers are read and written with.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions {
            db: &self.db,
            clock: &self.clock,
            gate: &self.gate,
            lasts: Duration::from_secs(3600 * self.config.session_hours),
        }
    }

    /// Opens database and blobs; creates the data directory when it is not there.
    ///
    /// # Errors
    /// As the database or the file system says.
    pub async fn open(config: Config, clock: Clock) -> Result<Arc<Self>> {
        disk::private_directory(&config.data_dir)?;
        let scratch = config.data_dir.join("scratch");
        disk::private_directory(&scratch)?;
        if let Some(path) = config.database_file() {
            check_database(&path, &config.data_dir)?;
            disk::private_file(&path)?;
        }
        let db = {
            // Two programs that start at the same time (a server and `cairn keys create`) must not migrate the same database at once.
            let guard = disk::private_file(&config.data_dir.join("migrate.lock"))?;
            let guard = tokio::task::spawn_blocking(move || guard.lock().map(|()| guard)).await??;
            let db = Db::open(&config.database(), config.database_connections).await?;
            drop(guard);
            db
        };
        let blobs = Blobs::open(&config.blob_url, &config.data_dir, clock.clone())?;
        let parser = Parser::new(
            std::env::current_exe()?,
            scratch,
            config.workers + PREVIEWS,
            &config,
        );
        Ok(Arc::new(Self {
            gate: Gate::new(config.rate_per_minute),
            query_vectors: Memory::builder().max_capacity(config.query_cache).build(),
            clock,
            db,
            blobs,
            cluster: Cluster::of(&config)?.map(Arc::new),
            disk: Disk::new(config.data_dir.clone(), config.min_free_mb),
            signing_secret: OnceCell::new(),
            commits: CommitSignal::default(),
            feed: Feed::default(),
            streams: Counts::default(),
            parser,
            search_memory: memory::Memory::default(),
            history: Queue::default(),
            vocabulary_fits: memory::vocabulary_fits(),
            indexes: Arc::default(),
            outgoing: Outgoing::new(
                &config.outgoing_allow,
                &config.crawl_agent(),
                Duration::from_secs(config.crawl_seconds),
            )?,
            read_pages: Memory::builder()
                .max_capacity(READ_PAGES)
                .weigher(|_, page: &Arc<cairn_ingest::Document>| {
                    u32::try_from(page.text.len()).unwrap_or(u32::MAX)
                })
                .time_to_live(Duration::from_secs(600))
                .build(),
            answers: Endpoint::of(&config)?,
            rates: Rates::new(config.workspace_rate_per_minute),
            config,
            embedder: OnceCell::new(),
            reranker: OnceCell::new(),
            others: Mutex::default(),
            engine: OnceCell::new(),
            sealer: OnceCell::new(),
            lock: OnceCell::new(),
            embedded: (AtomicU64::new(0), AtomicU64::new(0)),
        }))
    }

    /// Seals and opens the secrets of the database; the key is opened at the first need.
    ///
    /// # Errors
    /// Those of [`Sealer::open`].
    pub async fn sealer(&self) -> Result<&Sealer> {
        self.sealer
            .get_or_try_init(|| Sealer::open(&self.config, &self.db, &self.clock))
            .await
    }

    /// Keeps other processes from working on this data directory, as long as this one lives.
    ///
    /// # Errors
    /// `data_dir_in_use`.
    pub async fn lock(&self) -> Result<()> {
        let lock = || async {
            let path = &self.config.data_dir;
            let file = disk::private_file(&path.join("lock"))?;
            file.try_lock().map_err(|_| {
                Error::conflict(
                    "data_dir_in_use",
                    format!(
                        "another process uses {}; stop it, or talk to it with --url",
                        path.display()
                    ),
                )
            })?;
            Ok::<_, Error>(file)
        };
        self.lock.get_or_try_init(lock).await?;
        Ok(())
    }

    /// The same with another program as the parser's child: tests run in a program of their own.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_with_parser(
        config: Config,
        clock: Clock,
        program: PathBuf,
    ) -> Result<Arc<Self>> {
        let app = Self::open(config, clock).await?;
        let mut app = Arc::try_unwrap(app)
            .map_err(|_| Error::internal("the application is shared already"))?;
        app.parser.program = program;
        Ok(Arc::new(app))
    }

    /// Creates the first tenant of an empty database, with its housekeeping; `None` when there is a tenant.
    ///
    /// # Errors
    /// As the database says.
    pub async fn ensure_tenant(&self) -> Result<Option<Tenant>> {
        let created = match tenants::create_first(&self.db, &self.clock).await {
            Err(error) if error.code() == "tenant_exists" => None,
            outcome => outcome?,
        };
        if let Some(tenant) = &created {
            let (id, every_night) = (&tenant.id, "17 3 * * *");
            let mut tx = self.db.begin().await?;
            schedules::set(&mut tx, &self.clock, id, &Task::Housekeeping, every_night).await?;
            tx.commit().await?;
        }
        Ok(created)
    }

    /// Creates the first tenant and its admin key in an empty database; gives the secret, once.
    ///
    /// # Errors
    /// As the database says.
    pub async fn first_start(&self) -> Result<Option<String>> {
        let Some(tenant) = self.ensure_tenant().await? else {
            return Ok(None);
        };
        let admin = NewKey {
            name: "admin".to_owned(),
            scopes: vec!["admin".to_owned()],
            ..NewKey::default()
        };
        let (_, secret) = keys::create(&self.db, &self.clock, &tenant.id, admin).await?;
        Ok(Some(secret))
    }

    /// The owner of the data directory, acting for a tenant.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub async fn local_caller(&self, tenant: &str) -> Result<Caller> {
        Ok(Caller::local(&tenants::by_name(&self.db, tenant).await?.id))
    }

    /// Fetches, verifies and loads the configured model without a data directory.
    ///
    /// # Errors
    /// Everything that can be wrong with a model.
    pub async fn check_model(config: Config, report: Report) -> Result<EmbedderSpec> {
        let cache = Cache::new(config.models_directory(), config.offline);
        let loaded = tokio::task::spawn_blocking(move || load(&config, &cache, &report)).await??;
        Ok(loaded.spec().clone())
    }

    /// The cache of models.
    #[must_use]
    pub fn models(&self) -> Cache {
        Cache::new(self.config.models_directory(), self.config.offline)
    }

    /// The embedding model; loaded at the first call.
    ///
    /// # Errors
    /// Everything that can be wrong with a model, before the first use.
    pub async fn embedder(&self) -> Result<Loaded> {
        self.embedder_with(Arc::new(|_, _, _| {})).await
    }

    /// The same, reporting downloads.
    ///
    /// # Errors
    /// As [`App::embedder`].
    pub async fn embedder_with(&self, report: Report) -> Result<Loaded> {
        let holder = self
            .embedder
            .get_or_try_init(|| async {
                let (config, cache) = (self.config.clone(), self.models());
                Ok::<_, Error>(Holder(
                    tokio::task::spawn_blocking(move || load(&config, &cache, &report)).await??,
                ))
            })
            .await?;
        Ok(Arc::clone(&holder.0))
    }

    /// The model of a dataset: the configured one, or another one that can be loaded here.
    ///
    /// # Errors
    /// `model_mismatch` when it cannot.
    pub async fn embedder_of(&self, model: &str) -> Result<Loaded> {
        let main = self.embedder().await?;
        if main.spec().model == model {
            return Ok(main);
        }
        let mut others = self.others.lock().await;
        if let Some(known) = others.get(model) {
            return Ok(Arc::clone(known));
        }
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
            // Who has another model than the endpoint's had it locally.
            embedding_url: String::new(),
            ..self.config.clone()
        };
        let cache = self.models();
        let report: Report = Arc::new(|_, _, _| {});
        let loaded = tokio::task::spawn_blocking(move || load(&config, &cache, &report))
            .await?
            .map_err(mismatch)?;
        others.insert(model.to_owned(), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The vector index of a model's datasets; opened, or created, at the first call.
    ///
    /// # Errors
    /// As the store says.
    pub async fn vectors_of(&self, model: &str, dimensions: i64) -> Result<Arc<VectorIndex>> {
        let engine = self.engine().await?;
        let dimensions = usize::try_from(dimensions).unwrap_or(0);
        let mut stores = engine.stores.lock().await;
        if let Some(open) = stores.get(model) {
            return Ok(Arc::clone(open));
        }
        if self.cluster.is_some() {
            // A server that does not answer keeps nobody from the stores that are open.
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

    /// Model and indexes; opened at the first call, by one process per data directory.
    ///
    /// # Errors
    /// `data_dir_in_use`, and everything that can be wrong with model and indexes.
    pub async fn engine(&self) -> Result<&Engine> {
        self.engine
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
                    // Words are searched all the same, and vectors once there is room, or a server answers.
                    Err(error)
                        if error.kind() == Kind::NoSpace
                            || error.code() == "vector_store_unavailable" =>
                    {
                        tracing::error!(error = %error, "vectors cannot be searched yet");
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

    /// A dataset whose stored dimensions are not the model's would fail at its first query; say so at start.
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
                    "dataset {name:?} holds vectors of {size} dimensions, but the model {model} gives {dimensions}"
                ),
            )),
        }
    }

    /// The configured cross-encoder; a server has loaded it before the first search.
    ///
    /// # Errors
    /// `reranker_not_configured`; as the model says.
    pub async fn reranker(&self) -> Result<Arc<Reranker>> {
        self.reranker_with(Arc::new(|_, _, _| {})).await
    }

    /// The same, with reports of its download.
    ///
    /// # Errors
    /// `reranker_not_configured`; as the model says.
    pub async fn reranker_with(&self, report: Report) -> Result<Arc<Reranker>> {
        if self.config.reranker.is_empty() {
            return Err(Error::unprocessable(
                "reranker_not_configured",
                "no reranker is configured (setting `reranker`); search without rerank",
            ));
        }
        let load = || async {
            let (config, cache) = (self.config.clone(), self.models());
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
        self.reranker.get_or_try_init(load).await.cloned()
    }

    /// Whether the engine has been opened.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.engine.initialized()
    }

    /// Embeds texts with the configured model, on its own threads.
    ///
    /// # Errors
    /// As the model says.
    pub async fn embed(&self, texts: Vec<String>, priority: Priority) -> Result<Vec<Vec<f32>>> {
        self.embed_with(self.embedder().await?, texts, priority)
            .await
    }

    /// The same with another model.
    ///
    /// # Errors
    /// As the model says.
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
            self.embedded.0.fetch_add(count, Ordering::Relaxed);
            self.embedded.1.fetch_add(
                u64::try_from(began.elapsed().as_millis()).unwrap_or(0),
                Ordering::Relaxed,
            );
            metrics::counter!("cairn_texts_embedded_total").increment(count);
        }
        Ok(vectors)
    }

    /// Texts embedded per second so far; 40 before the first.
    #[must_use]
    pub fn embedding_rate(&self) -> f64 {
        let (texts, millis) = (
            self.embedded.0.load(Ordering::Relaxed),
            self.embedded.1.load(Ordering::Relaxed),
        );
        if millis < 100 {
            40.0
        } else {
            texts as f64 * 1000.0 / millis as f64
        }
    }
}

/// Refuses to begin with a new database where there are files of another one, which is missing.
fn check_database(path: &Path, data_dir: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    for name in ["blobs", "keyword", "vectors"] {
        let used = data_dir
            .join(name)
            .read_dir()
            .is_ok_and(|mut files| files.next().is_some());
        if used {
            return Err(Error::unprocessable(
                "database_missing",
                format!(
                    "{} is missing, but {} holds files of it in {name}; bring it back from a backup, or give a directory that is empty",
                    path.display(),
                    data_dir.display()
                ),
            ));
        }
    }
    Ok(())
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
