//! Database access: the same SQL on SQLite and PostgreSQL.
//!
//! Statements are `'static` texts with `$1` placeholders in the subset that both engines read (see `migrations/README.md`); values are bound. Two typed
//! pools implement this, because sqlx's `Any` loses booleans and nulls. SQLite has one writing connection and several reading ones (WAL). A transaction
//! is durable when it is committed, unless it was opened with [`Db::begin_repeatable`].

mod value;
mod words;

use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, FromRow, Postgres, SqlSafeStr, Sqlite, Transaction};

use crate::error::{Error, Result};
pub use value::{Args, Value};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A row type that can be read from both engines; `#[derive(sqlx::FromRow)]` implements it.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}
impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// The database.
#[derive(Debug, Clone)]
pub struct Db(Pools);

#[derive(Debug, Clone)]
enum Pools {
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
        /// Whether commits of the writing connection are durable; `None` while unknown.
        durable: Arc<Mutex<Option<bool>>>,
    },
    Postgres(PgPool),
}

/// A transaction; rolled back unless committed.
pub struct Tx {
    inner: Inner,
    topics: Vec<&'static str>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Expands `IN ($LIST)` at the end of the placeholders: the only text that is not `'static`, and it contains nothing but numbers.
fn expand(sql: &'static str, fixed: usize, count: usize) -> sqlx::SqlStr {
    let list = (fixed + 1..=fixed + count)
        .map(|n| format!("${n}"))
        .collect::<Vec<_>>()
        .join(", ");
    AssertSqlSafe(sql.replace("$LIST", &list)).into_sql_str()
}

/// Returns the statements and values that query a long list in batches.
fn batches(
    sql: &'static str,
    args: &Args,
    list: &[String],
) -> impl Iterator<Item = (sqlx::SqlStr, Args)> {
    list.chunks(512).map(move |piece| {
        // Padded with repeated values to a power of two, so that a handful of texts serve all lengths and stay prepared.
        let width = piece.len().next_power_of_two();
        let text = expand(sql, args.0.len(), width);
        let mut args = args.clone();
        args.0.extend(piece.iter().map(Value::from));
        let filler = args.0.last().cloned();
        args.0
            .extend(filler.into_iter().cycle().take(width - piece.len()));
        (text, args)
    })
}

macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for value in $args.0 {
            query = match value {
                Value::Text(v) => query.bind(v),
                Value::Int(v) => query.bind(v),
                Value::Real(v) => query.bind(v),
                Value::Bool(v) => query.bind(v),
                Value::Bytes(v) => query.bind(v),
            };
        }
        query
    }};
}

impl Db {
    /// Opens `sqlite:PATH` (created if missing) or `postgres://…` and applies the migrations.
    ///
    /// # Errors
    /// `database_unavailable` when it cannot be reached, `migration_failed` when the schema is newer than this program or damaged.
    pub async fn open(url: &str, connections: u32) -> Result<Self> {
        let unreachable = |e: sqlx::Error| {
            Error::unavailable(
                "database_unavailable",
                format!("the database cannot be opened: {e}"),
            )
        };
        let db = if let Some(path) = url.strip_prefix("sqlite:") {
            if let Some(parent) = Path::new(path).parent() {
                std::fs::create_dir_all(parent)?;
            }
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(15))
                .pragma("cache_size", "-16384");
            let write = SqlitePoolOptions::new()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                // sqlx (0.9.0) believes that a transaction is still open when SQLite itself rolled it back, on a full disk for instance: such a
                // connection would refuse every later transaction.
                .before_acquire(|connection, _| {
                    Box::pin(async move { Ok(!connection.is_in_transaction()) })
                })
                .connect_with(options.clone())
                .await
                .map_err(unreachable)?;
            MIGRATIONS.run(&write).await.map_err(migration)?;
            let read = SqlitePoolOptions::new()
                .max_connections(connections)
                .connect_with(options.read_only(true).create_if_missing(false))
                .await
                .map_err(unreachable)?;
            Pools::Sqlite {
                read,
                write,
                durable: Arc::default(),
            }
        } else {
            let options = sqlx::postgres::PgConnectOptions::from_str(url).map_err(|e| {
                Error::invalid("database_url_invalid", format!("database_url: {e}"))
            })?;
            let pool = PgPoolOptions::new()
                .max_connections(connections.max(2))
                .acquire_timeout(Duration::from_secs(15))
                .connect_with(options)
                .await
                .map_err(unreachable)?;
            MIGRATIONS.run(&pool).await.map_err(migration)?;
            Pools::Postgres(pool)
        };
        Ok(Self(db))
    }

    /// Returns whether other processes may share this database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Pools::Postgres(_))
    }

    /// Returns all rows of a reading statement.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn all<T: Record>(&self, sql: &'static str, args: Args) -> Result<Vec<T>> {
        match &self.0 {
            Pools::Sqlite { read, .. } => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_all(read)
                .await?),
            Pools::Postgres(pool) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_all(pool)
                .await?),
        }
    }

    /// Returns the rows of a statement whose text contains `IN ($LIST)`; the values of `list` are bound after `args`. Long lists are queried in
    /// batches, so the statement must not depend on the order or on limits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn all_in<T: Record>(
        &self,
        sql: &'static str,
        args: Args,
        list: &[String],
    ) -> Result<Vec<T>> {
        let mut rows = Vec::with_capacity(list.len());
        for (text, args) in batches(sql, &args, list) {
            rows.extend(match &self.0 {
                Pools::Sqlite { read, .. } => {
                    bound!(sqlx::query_as::<_, T>(text), args)
                        .fetch_all(read)
                        .await?
                }
                Pools::Postgres(pool) => {
                    bound!(sqlx::query_as::<_, T>(text), args)
                        .fetch_all(pool)
                        .await?
                }
            });
        }
        Ok(rows)
    }

    /// Returns the row of a reading statement, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn optional<T: Record>(&self, sql: &'static str, args: Args) -> Result<Option<T>> {
        match &self.0 {
            Pools::Sqlite { read, .. } => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_optional(read)
                .await?),
            Pools::Postgres(pool) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_optional(pool)
                .await?),
        }
    }

    /// Returns the single row of a reading statement.
    ///
    /// # Errors
    /// Those of the database; also when there is no row.
    pub async fn one<T: Record>(&self, sql: &'static str, args: Args) -> Result<T> {
        self.optional(sql, args)
            .await?
            .ok_or_else(|| Error::internal("a statement returned no row"))
    }

    /// Executes one durable change and returns the number of affected rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&self, sql: &'static str, args: Args) -> Result<u64> {
        let mut tx = self.begin().await?;
        let changed = tx.execute(sql, args).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Writes a consistent copy of an SQLite database; readers and writers continue meanwhile.
    ///
    /// # Errors
    /// `backup_unsupported` for PostgreSQL, which has its own tools; those of the database.
    pub async fn snapshot(&self, path: &std::path::Path) -> Result<()> {
        match &self.0 {
            Pools::Sqlite { read, .. } => {
                sqlx::query("VACUUM INTO $1")
                    .bind(path.display().to_string())
                    .execute(read)
                    .await?;
                Ok(())
            }
            Pools::Postgres(_) => Err(Error::unprocessable(
                "backup_unsupported",
                "copy PostgreSQL with its own tools",
            )),
        }
    }

    /// Starts a durable transaction.
    ///
    /// # Errors
    /// When no connection is available.
    pub async fn begin(&self) -> Result<Tx> {
        self.start(true).await
    }

    /// Starts a transaction whose commit may be lost in a power failure (never when the process dies): for work that is then simply repeated.
    ///
    /// # Errors
    /// When no connection is available.
    pub async fn begin_repeatable(&self) -> Result<Tx> {
        self.start(false).await
    }

    async fn start(&self, durable: bool) -> Result<Tx> {
        let inner = match &self.0 {
            Pools::Sqlite {
                write,
                durable: known,
                ..
            } => {
                let mut connection = write.acquire().await?;
                // The level belongs to the connection, and only one connection writes. One that replaces it begins with the full level, which is never too
                // low.
                let level = if durable {
                    "PRAGMA synchronous = FULL"
                } else {
                    "PRAGMA synchronous = NORMAL"
                };
                let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
                // Unknown while the statement runs, in case the caller is dropped.
                let before = known().take();
                if before != Some(durable) {
                    sqlx::query(level).execute(&mut *connection).await?;
                }
                *known() = Some(durable);
                Inner::Sqlite(
                    Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await?,
                )
            }
            Pools::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        };
        Ok(Tx {
            inner,
            topics: Vec::new(),
        })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite { read, write, .. } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Returns all rows of a statement.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn all<T: Record>(&mut self, sql: &'static str, args: Args) -> Result<Vec<T>> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_all(&mut **tx)
                .await?),
            Inner::Postgres(tx) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_all(&mut **tx)
                .await?),
        }
    }

    /// Returns the row of a statement, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn optional<T: Record>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> Result<Option<T>> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_optional(&mut **tx)
                .await?),
            Inner::Postgres(tx) => Ok(bound!(sqlx::query_as::<_, T>(sql), args)
                .fetch_optional(&mut **tx)
                .await?),
        }
    }

    /// Same as [`Db::all_in`], inside the transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn all_in<T: Record>(
        &mut self,
        sql: &'static str,
        args: Args,
        list: &[String],
    ) -> Result<Vec<T>> {
        let mut rows = Vec::with_capacity(list.len());
        for (text, args) in batches(sql, &args, list) {
            rows.extend(match &mut self.inner {
                Inner::Sqlite(tx) => {
                    bound!(sqlx::query_as::<_, T>(text), args)
                        .fetch_all(&mut **tx)
                        .await?
                }
                Inner::Postgres(tx) => {
                    bound!(sqlx::query_as::<_, T>(text), args)
                        .fetch_all(&mut **tx)
                        .await?
                }
            });
        }
        Ok(rows)
    }

    /// Executes a change and returns the number of affected rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&mut self, sql: &'static str, args: Args) -> Result<u64> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Ok(bound!(sqlx::query(sql), args)
                .execute(&mut **tx)
                .await?
                .rows_affected()),
            Inner::Postgres(tx) => Ok(bound!(sqlx::query(sql), args)
                .execute(&mut **tx)
                .await?
                .rows_affected()),
        }
    }

    /// Notes that the commit concerns those who wait for a topic, see [`topics`](Self::topics).
    pub fn announce(&mut self, topic: &'static str) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    /// Returns the topics announced so far.
    #[must_use]
    pub fn topics(&self) -> &[&'static str] {
        &self.topics
    }

    /// Increments a counter and returns its new value. The row stays locked until the commit, so values appear in commit order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(&mut self, name: &str, by: i64) -> Result<i64> {
        let row: Option<(i64,)> = self
            .optional(
                "INSERT INTO counters (name, value) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value",
                args![name, by],
            )
            .await?;
        row.map(|(value,)| value)
            .ok_or_else(|| Error::internal("a counter returned no value"))
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// Those of the database; nothing was changed then.
    pub async fn commit(self) -> Result<()> {
        match self.inner {
            Inner::Sqlite(tx) => Ok(tx.commit().await?),
            Inner::Postgres(tx) => Ok(tx.commit().await?),
        }
    }
}

fn migration(error: sqlx::migrate::MigrateError) -> Error {
    Error::unprocessable(
        "migration_failed",
        format!("the database schema could not be migrated: {error}"),
    )
    .with_source(error)
}

/// Builds the values of a statement, in the order of its placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { $crate::db::Args(vec![$($crate::db::Value::from($value)),*]) };
}
pub(crate) use args;
pub(crate) use words::words;

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite rolls a transaction back by itself when the disk has no space for one of its pages.
    #[tokio::test]
    async fn a_full_disk_ends_the_transaction_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cairn.db");
        let db = Db::open(&format!("sqlite:{}", path.display()), 2)
            .await
            .expect("opens");
        let (pages,): (i64,) = db
            .one("PRAGMA page_count", args![])
            .await
            .expect("a number");
        assert!(pages > 0);
        db.execute("PRAGMA max_page_count = 1", args![])
            .await
            .expect("set to what there is");
        let large = "x".repeat(40 << 20);
        let mut tx = db.begin().await.expect("begins");
        let outcome = tx
            .execute(
                "INSERT INTO signing_keys (name, value) VALUES ('large', $1)",
                args![&large],
            )
            .await;
        let error = match outcome {
            Ok(_) => tx.commit().await.expect_err("there is no room"),
            Err(error) => {
                drop(tx);
                error
            }
        };
        assert_eq!(error.code(), "disk_full");
        db.execute(
            "INSERT INTO signing_keys (name, value) VALUES ('small', 'x')",
            args![],
        )
        .await
        .expect("there is room for this, and a connection");
    }
}
