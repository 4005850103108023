//! Shared state: configuration, database, blobs, the commit signal, and, opened on demand, the model and the indexes.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Memory;
use tokio::sync::OnceCell;

use crate::answers::model;
use crate::auth::Caller;
use crate::auth::gate::Gate;
use crate::auth::keys;
use crate::auth::oidc::Provider;
use crate::auth::sessions::Sessions;
use crate::auth::tenants::{self, Tenant};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, Tx};
use crate::disk::{self, Disk};
use crate::engine::Models;
use crate::error::{Error, Result};
use crate::evaluation::queue::Queue;
use crate::events::{CommitSignal, Feed};
use crate::jobs::{Task, schedules};
use crate::kb::parser::Parser;
use crate::limits::Counts;
use crate::llm::Endpoint;
use crate::llm::catalog::Catalog;
use crate::openclaw::Pool;
use crate::outgoing::Outgoing;
use crate::rates::Rates;
use crate::seal::Sealer;
use crate::search::live::LiveSets;
use crate::search::memory;
use crate::search::states::IndexStates;
use crate::search::vector::Cluster;

/// The application: the state that requests and jobs share.
///
/// The state is behind a trait object, whose `Send` and `Sync` the compiler takes from its type. Without it, the compiler proves anew for each of thousands of
/// futures that the engines, pools and clients inside are `Send` and `Sync`.
pub struct App(Box<dyn Deref<Target = State> + Send + Sync>);

impl App {
    fn new(state: State) -> Self {
        // A box is the simplest type that dereferences to the state.
        Self(Box::new(Box::new(state)))
    }
}

impl Deref for App {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// The state of the application.
pub struct State {
    /// Language model that answers questions, if configured.
    pub answers: Option<Endpoint>,
    /// Language models of agents.
    pub agent_models: Catalog,
    /// Request rates of workspaces.
    pub(crate) rates: Rates,
    /// Effective configuration.
    pub config: Config,
    /// Source of times, ids and secrets.
    pub clock: Clock,
    pub db: Db,
    pub blobs: Blobs,
    /// The disk of the data directory.
    pub disk: Disk,
    /// Qdrant servers, if configured.
    pub cluster: Option<Arc<Cluster>>,
    /// Secret that signs the addresses of files.
    pub(crate) signing_secret: OnceCell<String>,
    /// Notified after every commit, see [`App::commit`].
    pub commits: CommitSignal,
    /// Open event streams, by tenant.
    pub streams: Counts<String>,
    /// Events for the streams of this process.
    pub feed: Feed,
    /// Authenticates keys.
    pub gate: Gate,
    /// Parses files.
    pub parser: Parser,
    /// Cached vectors of recent queries.
    pub query_vectors: Memory<String, Arc<Vec<f32>>>,
    /// Search caches.
    pub search_memory: memory::Memory,
    /// Tables of the sets in memory, for searches.
    pub live: LiveSets,
    /// Queries to be written to the history.
    pub history: Queue,
    /// Cached vocabulary fits of the models for datasets.
    pub vocabulary_fits: memory::VocabularyFits,
    /// States of the indexes of this process.
    pub indexes: Arc<IndexStates>,
    /// HTTP client for addresses chosen by others.
    pub outgoing: Outgoing,
    /// Connections to gateways of agents.
    pub gateways: Pool,
    /// Pages that a crawl has just read, by the hash of their bytes, until ingestion needs them.
    pub read_pages: Memory<String, Arc<cairn_ingest::Document>>,
    /// Models and indexes.
    pub(crate) models: Models,
    sealer: OnceCell<Sealer>,
    lock: OnceCell<File>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("data_dir", &self.config.data_dir)
            .finish_non_exhaustive()
    }
}

/// Name of the file in the data directory that the process using it locks.
pub const LOCK: &str = "lock";

/// Files parsed concurrently in addition to those of the workers.
const PREVIEWS: usize = 2;
/// Maximum bytes of text in [`App::read_pages`].
const READ_PAGES: u64 = 64 << 20;

impl App {
    /// Commits a transaction and notifies the waiters in this process: workers for which it has a job, the follower of the index log, streams.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(&self, tx: Tx) -> Result<()> {
        let topics = tx.topics().to_vec();
        tx.commit().await?;
        self.commits.notify_of(&topics);
        Ok(())
    }

    /// Returns the dependencies of browser sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions {
            db: &self.db,
            clock: &self.clock,
            gate: &self.gate,
            lasts: Duration::from_secs(3600 * self.config.session_hours),
        }
    }

    /// Opens database and blobs; creates the data directory when missing.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn open(config: Config, clock: Clock) -> Result<Arc<Self>> {
        Self::open_with_parser(config, clock, std::env::current_exe()?).await
    }

    /// Same as [`App::open`], with another program as the parser's child: tests run in a program of their own.
    ///
    /// # Errors
    /// Those of [`App::open`].
    pub async fn open_with_parser(
        config: Config,
        clock: Clock,
        program: PathBuf,
    ) -> Result<Arc<Self>> {
        disk::private_directory(&config.data_dir).map_err(|e| {
            Error::invalid(
                "data_dir_unusable",
                format!(
                    "the data directory {} cannot be made or used ({e}); choose another one with --data-dir or CAIRN_DATA_DIR",
                    config.data_dir.display()
                ),
            )
        })?;
        let scratch = config.data_dir.join("scratch");
        disk::private_directory(&scratch)?;
        if let Some(path) = config.database_file() {
            check_database(&path, &config.data_dir)?;
            disk::private_file(&path)?;
        }
        let db = {
            // Two programs that start at the same time (a server and `cairn keys create`) must not migrate the same database concurrently.
            let guard = disk::private_file(&config.data_dir.join("migrate.lock"))?;
            let guard = tokio::task::spawn_blocking(move || guard.lock().map(|()| guard)).await??;
            let db = Db::open(&config.database(), config.database_connections).await?;
            drop(guard);
            db
        };
        let blobs = Blobs::open(&config.blob_url, &config.data_dir, clock.clone())?;
        let parser = Parser::new(program, scratch, config.workers + PREVIEWS, &config);
        let answers = model::configured(&config, &clock)?;
        let agent_models = Catalog::of(&config, &clock, answers.as_ref())?;
        Ok(Arc::new(Self::new(State {
            gate: Gate::new(config.rate_per_minute).with_provider(Provider::of(&config)?),
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
            live: LiveSets::default(),
            history: Queue::default(),
            vocabulary_fits: memory::vocabulary_fits(),
            indexes: Arc::default(),
            outgoing: Outgoing::new(
                &config.outgoing_allow,
                &config.crawl_agent(),
                Duration::from_secs(config.crawl_seconds),
            )?,
            gateways: Pool::default(),
            read_pages: Memory::builder()
                .max_capacity(READ_PAGES)
                .weigher(|_, page: &Arc<cairn_ingest::Document>| {
                    u32::try_from(page.text.len()).unwrap_or(u32::MAX)
                })
                .time_to_live(Duration::from_secs(600))
                .build(),
            agent_models,
            answers,
            rates: Rates::new(config.workspace_rate_per_minute),
            config,
            models: Models::default(),
            sealer: OnceCell::new(),
            lock: OnceCell::new(),
        })))
    }

    /// Returns the sealer of the secrets in the database; its key is opened on demand.
    ///
    /// # Errors
    /// Those of [`Sealer::open`].
    pub async fn sealer(&self) -> Result<&Sealer> {
        self.sealer
            .get_or_try_init(|| Sealer::open(&self.config, &self.db, &self.clock))
            .await
    }

    /// Locks the data directory against other processes, for the lifetime of this one.
    ///
    /// # Errors
    /// `data_dir_in_use`.
    pub async fn lock(&self) -> Result<()> {
        let lock = || async {
            let path = &self.config.data_dir;
            let file = disk::private_file(&path.join(LOCK))?;
            file.try_lock().map_err(|_| {
                Error::conflict(
                    "data_dir_in_use",
                    format!(
                        "another process uses {}; stop it, or connect to it with --url",
                        path.display()
                    ),
                )
            })?;
            Ok::<_, Error>(file)
        };
        self.lock.get_or_try_init(lock).await?;
        Ok(())
    }

    /// Creates the first tenant of an empty database, with its housekeeping; `None` when there is a tenant.
    ///
    /// # Errors
    /// Those of the database.
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

    /// Creates an admin key when there is no key yet, with the first tenant in an empty database, and returns the secret, once. A command that was run before the first
    /// start has made the tenant, but no key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn first_start(&self) -> Result<Option<String>> {
        self.ensure_tenant().await?;
        if keys::is_any(&self.db).await? {
            return Ok(None);
        }
        let tenant = tenants::by_name(&self.db, tenants::DEFAULT).await?;
        let secret = keys::create_admin(&self.db, &self.clock, &tenant.id).await?;
        Ok(Some(secret))
    }

    /// Returns a caller for the owner of the data directory, acting for a tenant.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub async fn local_caller(&self, tenant: &str) -> Result<Caller> {
        Ok(Caller::local(&tenants::by_name(&self.db, tenant).await?.id))
    }
}

/// Refuses to create a new database beside the files of another one that is missing.
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
                    "{} is missing, but {} contains its files in {name}; restore it from a backup, or use an empty directory",
                    path.display(),
                    data_dir.display()
                ),
            ));
        }
    }
    Ok(())
}
