//! A durable queue in SQL: leases with heartbeats, bounded retries with back-off and the cause kept, dead letters, one unfinished job
//! per dedupe key, real cancel. A job is enqueued in the transaction that causes it. The same statements claim on both engines: whoever
//! changes the row from due to running owns the job.

pub mod pool;
pub mod schedules;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::page::{Listing, Page};

/// What a job does. Running one twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Parse, chunk, embed and store a document.
    Ingest {
        /// The document.
        document_id: String,
        /// Whether its words are found already, and only its embeddings are missing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[serde(alias = "worded")]
        text_indexed: bool,
    },
    /// Show search the rows of a folder that have changed.
    ShowRows {
        /// The folder.
        folder_id: String,
    },
    /// Build a document for a generation that is not searched.
    Build {
        /// The document.
        document_id: String,
        /// The generation's set of chunks.
        set_id: String,
    },
    /// Remove the rows of a folder that is gone.
    ClearRows {
        /// The folder.
        folder_id: String,
    },
    /// Measure a configuration, or tune one, on labelled queries.
    Evaluate {
        /// The run.
        run_id: String,
    },
    /// Crawl a website.
    Crawl {
        /// The crawl.
        crawl_id: String,
    },
    /// Begin a crawl of a site whose time has come.
    Recrawl {
        /// The site.
        site_id: String,
    },
    /// Send an event to an endpoint.
    Deliver {
        /// The delivery.
        delivery_id: String,
        /// How many attempts there were before.
        attempt: i64,
    },
    /// Write an export.
    Export {
        /// The record of the export.
        export_id: String,
    },
    /// Make the export of a scheduled artifact.
    Artifact {
        /// The record of the artifact.
        artifact_id: String,
    },
    /// Remove expired events, unused blobs and embeddings, old finished jobs.
    Housekeeping,
}

impl Task {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ingest { .. } => "ingest",
            Self::ShowRows { .. } => "show_rows",
            Self::ClearRows { .. } => "clear_rows",
            Self::Deliver { .. } => "deliver",
            Self::Export { .. } => "export",
            Self::Artifact { .. } => "artifact",
            Self::Build { .. } => "build",
            Self::Evaluate { .. } => "evaluate",
            Self::Crawl { .. } => "crawl",
            Self::Recrawl { .. } => "recrawl",
            Self::Housekeeping => "housekeeping",
        }
    }

    /// Which workers do it.
    fn lane(&self) -> Queue {
        match self {
            Self::Crawl { .. } => Queue::Crawl,
            Self::Deliver { .. } => Queue::Send,
            Self::Ingest { .. }
            | Self::ShowRows { .. }
            | Self::ClearRows { .. }
            | Self::Export { .. }
            | Self::Artifact { .. }
            | Self::Build { .. }
            | Self::Evaluate { .. }
            | Self::Recrawl { .. }
            | Self::Housekeeping => Queue::Work,
        }
    }
}

/// Workers are divided, so that jobs that wait for others never keep those waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// What keeps this machine busy.
    Work,
    /// What waits for the network.
    Crawl,
    /// What waits for the receivers of webhooks.
    Send,
}

impl Queue {
    fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Crawl => "crawl",
            Self::Send => "send",
        }
    }
}

/// A job.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Job {
    /// Id.
    pub id: String,
    /// Owner.
    pub tenant_id: String,
    /// Kind of task.
    pub kind: String,
    /// JSON of the [`Task`].
    pub payload: String,
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    pub status: String,
    /// Attempts begun since the last progress.
    pub attempts: i64,
    /// Attempts that failed with an error.
    pub failures: i64,
    /// Failures allowed.
    pub max_attempts: i64,
    /// Earliest start.
    pub run_at: Time,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// Cause of the last failed attempt.
    pub last_error: Option<String>,
    /// Time of creation.
    pub created_on: Time,
    /// Time of the last change.
    pub updated_on: Time,
}

impl Job {
    /// Attempts that ended without a word, because their worker died.
    #[must_use]
    pub fn interruptions(&self) -> i64 {
        // The attempt that is running is none of them.
        (self.attempts - self.failures - 1).max(0)
    }

    /// What it does.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn task(&self) -> Result<Task> {
        Ok(serde_json::from_str(&self.payload)?)
    }
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, payload, status, attempts, failures, max_attempts, run_at, cancel_requested, last_error, created_on, updated_on"
    };
}

/// How a job is queued.
#[derive(Debug, Clone, Copy)]
pub struct EnqueueOptions<'a> {
    /// Jobs of one group take turns with those of the tenant's other groups; a dataset, or empty.
    pub group: &'a str,
    /// At most one unfinished job has this key.
    pub dedupe_key: Option<&'a str>,
    /// Failures allowed.
    pub max_attempts: i64,
    /// Earliest start; absent: now.
    pub run_at: Option<Time>,
}

/// Enqueues a job in the causing transaction and gives its id. With a dedupe key that an unfinished job holds, gives that job's id instead.
///
/// # Errors
/// As the database says.
pub async fn enqueue(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    task: &Task,
    queued: EnqueueOptions<'_>,
) -> Result<String> {
    if let Some(key) = queued.dedupe_key {
        let existing: Option<(String,)> =
            tx.optional("SELECT id FROM jobs WHERE dedupe_key = $1 AND tenant_id = $2 AND status IN ('queued', 'running')", args![key, tenant_id]).await?;
        if let Some((id,)) = existing {
            return Ok(id);
        }
    }
    let (id, now) = (clock.id(), clock.now());
    tx.execute(
        "INSERT INTO jobs (id, tenant_id, kind, payload, dedupe_key, status, attempts, failures, max_attempts, run_at, cancel_requested, created_on, updated_on, group_id, lane)
         VALUES ($1, $2, $3, $4, $5, 'queued', 0, 0, $6, $9, FALSE, $7, $7, $8, $10)",
        args![
            &id,
            tenant_id,
            task.kind(),
            serde_json::to_string(task)?,
            queued.dedupe_key,
            queued.max_attempts,
            now,
            queued.group,
            queued.run_at.unwrap_or(now),
            task.lane().name()
        ],
    )
    .await?;
    Ok(id)
}

/// Sees to it that a job of this kind begins in its group after this transaction: the one that is queued, or a new one. Unlike a dedupe key this
/// counts on no job that is running, since that one may have looked already.
///
/// # Errors
/// As the database says.
pub async fn ensure_queued(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    task: &Task,
    queued: EnqueueOptions<'_>,
) -> Result<()> {
    // The change holds the job in PostgreSQL, so that it is claimed after this transaction ends.
    let waiting = tx
        .execute(
            "UPDATE jobs SET run_at = run_at WHERE status = 'queued' AND kind = $1 AND group_id = $2 AND tenant_id = $3 AND cancel_requested = FALSE",
            args![task.kind(), queued.group, tenant_id],
        )
        .await?;
    if waiting == 0 {
        enqueue(tx, clock, tenant_id, task, queued).await?;
    }
    Ok(())
}

/// Takes the next due job of a lane, if there is one. The lease holds until it is renewed or passes. Tenants take turns, and within a tenant its groups
/// do: the one with the fewest running jobs is next, so a thousand files of one do not delay the one file of another.
///
/// # Errors
/// As the database says.
pub async fn claim(
    db: &Db,
    clock: &Clock,
    lane: Queue,
    owner: &str,
    lease: Duration,
) -> Result<Option<Job>> {
    let now = clock.now();
    // The oldest due job of each group: as many rows as there are groups with work, not as there are jobs.
    let due: Vec<(String,)> = db
        .all(
            "WITH due AS (
                 SELECT g.tenant_id, g.group_id,
                     (SELECT j.id FROM jobs j WHERE j.status = 'queued' AND j.lane = $2 AND j.tenant_id = g.tenant_id AND j.group_id = g.group_id AND j.run_at <= $1
                      ORDER BY j.run_at, j.id LIMIT 1) AS id
                 FROM (SELECT DISTINCT tenant_id, group_id FROM jobs WHERE status = 'queued' AND lane = $2) g
                 UNION ALL
                 SELECT tenant_id, group_id, id FROM jobs WHERE status = 'running' AND lane = $2 AND lease_until < $1
             )
             SELECT due.id FROM due WHERE due.id IS NOT NULL
             ORDER BY (SELECT COUNT(*) FROM jobs r WHERE r.status = 'running' AND r.lane = $2 AND r.tenant_id = due.tenant_id AND r.lease_until >= $1),
                 (SELECT COUNT(*) FROM jobs r WHERE r.status = 'running' AND r.lane = $2 AND r.tenant_id = due.tenant_id AND r.group_id = due.group_id AND r.lease_until >= $1),
                 due.id LIMIT 8",
            args![now, lane.name()],
        )
        .await?;
    for (id,) in due {
        let mut tx = db.begin_repeatable().await?;
        let job: Option<Job> = tx
            .optional(
                concat!(
                    "UPDATE jobs SET status = 'running', attempts = attempts + 1, lease_owner = $1, lease_until = $2, updated_on = $3
                     WHERE id = $4 AND ((status = 'queued' AND run_at <= $3) OR (status = 'running' AND lease_until < $3)) RETURNING ",
                    columns!()
                ),
                args![owner, now.plus(lease), now, &id],
            )
            .await?;
        tx.commit().await?;
        if job.is_some() {
            return Ok(job);
        }
    }
    Ok(None)
}

/// Renews a lease; `None` when it is no longer ours, otherwise whether somebody asked to cancel.
///
/// # Errors
/// As the database says.
pub async fn renew(
    db: &Db,
    clock: &Clock,
    job: &Job,
    owner: &str,
    lease: Duration,
) -> Result<Option<bool>> {
    let mut tx = db.begin_repeatable().await?;
    let row: Option<(bool,)> = tx
        .optional(
            "UPDATE jobs SET lease_until = $1 WHERE id = $2 AND tenant_id = $3 AND status = 'running' AND lease_owner = $4 RETURNING cancel_requested",
            args![clock.now().plus(lease), &job.id, &job.tenant_id, owner],
        )
        .await?;
    tx.commit().await?;
    Ok(row.map(|(cancel,)| cancel))
}

/// Notes, in the transaction of a lasting step, that a job gets on: interruptions before it no longer count.
///
/// # Errors
/// As the database says.
pub async fn progressed(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET attempts = failures + 1 WHERE tenant_id = $1 AND id = $2 AND status = 'running'",
        args![tenant_id, id],
    )
    .await?;
    Ok(())
}

/// How a job left its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Finished.
    Done,
    /// Failed; runs again after the back-off.
    Retry(String),
    /// Failed for good.
    Dead(String),
    /// Stopped on request.
    Cancelled,
    /// Given back unfinished because the worker stops; the attempt does not count.
    HandedBack,
    /// Given back unfinished because others wait; the attempt does not count.
    GaveWay,
}

/// Waiting time before the next attempt: 2, 4, 8 … seconds, at most 5 minutes.
#[must_use]
pub fn back_off(attempts: i64) -> Duration {
    let exponent = u32::try_from(attempts.clamp(1, 10)).unwrap_or(10);
    Duration::from_secs(2_u64.saturating_pow(exponent).min(300))
}

/// Records the outcome, unless the lease went to somebody else meanwhile.
///
/// # Errors
/// As the database says.
pub async fn finish(
    db: &Db,
    clock: &Clock,
    job: &Job,
    owner: &str,
    outcome: &Outcome,
) -> Result<()> {
    let now = clock.now();
    let (status, run_at, refund, failed, cause) = match outcome {
        Outcome::Done => ("done", now, 0, 0, None),
        Outcome::Retry(cause) => (
            "queued",
            now.plus(back_off(job.failures + 1)),
            0,
            1,
            Some(cause),
        ),
        Outcome::Dead(cause) => ("dead", now, 0, 1, Some(cause)),
        Outcome::Cancelled => ("cancelled", now, 0, 0, None),
        Outcome::HandedBack => ("queued", now, 1, 0, None),
        Outcome::GaveWay => ("queued", now.plus(WAY), 1, 0, None),
    };
    let mut tx = db.begin_repeatable().await?;
    tx.execute(
        "UPDATE jobs SET status = $1, run_at = $2, attempts = attempts - $3, failures = failures + $9, last_error = COALESCE($4, last_error), lease_owner = NULL, lease_until = NULL, updated_on = $5
         WHERE id = $6 AND tenant_id = $7 AND lease_owner = $8",
        args![status, run_at, refund as i64, cause.cloned(), now, &job.id, &job.tenant_id, owner, failed as i64],
    )
    .await?;
    tx.commit().await
}

/// How long a due job waits before longer ones give way to it: a worker that is free would have taken it by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a job that is running should give way: a job has been due for a while whose tenant, or whose group of the same tenant, has fewer running.
///
/// # Errors
/// As the database says.
pub async fn should_give_way(db: &Db, clock: &Clock, tenant_id: &str, id: &str) -> Result<bool> {
    let now = clock.now();
    let waiting: Option<(String,)> = db
        .optional(
            "WITH mine AS (SELECT tenant_id, group_id, lane FROM jobs WHERE id = $1 AND tenant_id = $2 AND status = 'running'),
                 active AS (SELECT tenant_id, group_id FROM jobs WHERE status = 'running' AND lane = (SELECT lane FROM mine) AND lease_until >= $4)
             SELECT q.tenant_id
             FROM (SELECT DISTINCT tenant_id, group_id FROM jobs WHERE status = 'queued' AND lane = (SELECT lane FROM mine) AND run_at <= $3) q, mine
             WHERE (q.tenant_id <> mine.tenant_id AND
                    (SELECT COUNT(*) FROM active a WHERE a.tenant_id = q.tenant_id) < (SELECT COUNT(*) FROM active a WHERE a.tenant_id = mine.tenant_id))
                OR (q.tenant_id = mine.tenant_id AND q.group_id <> mine.group_id AND
                    (SELECT COUNT(*) FROM active a WHERE a.tenant_id = q.tenant_id AND a.group_id = q.group_id)
                    < (SELECT COUNT(*) FROM active a WHERE a.tenant_id = mine.tenant_id AND a.group_id = mine.group_id))
             LIMIT 1",
            args![id, tenant_id, now.minus(PATIENCE), now],
        )
        .await?;
    Ok(waiting.is_some())
}

/// What a job ends with that gives way; it goes on later, and no attempt is lost.
#[must_use]
pub fn gives_way() -> Error {
    Error::unavailable(
        GIVES_WAY,
        "the job gave way to others and goes on after them",
    )
}

const GIVES_WAY: &str = "gives_way";
/// How long such a job waits: long enough that whoever it gave way to is first.
const WAY: Duration = Duration::from_secs(1);

/// Makes jobs due and leases end that a clock which has been set back since would keep waiting.
///
/// # Errors
/// As the database says.
pub async fn mend_clock(db: &Db, clock: &Clock, lease: Duration) -> Result<u64> {
    /// Clocks of several machines differ by less.
    const DIFFERENCE: Duration = Duration::from_secs(60);
    let now = clock.now();
    let due = db
        .execute(
            "UPDATE jobs SET run_at = $1, updated_on = $1 WHERE status = 'queued' AND updated_on > $2",
            args![now, now.plus(DIFFERENCE)],
        )
        .await?;
    let ended = db
        .execute(
            "UPDATE jobs SET lease_until = $1, updated_on = $1 WHERE status = 'running' AND lease_until > $2",
            args![now.plus(lease), now.plus(lease + DIFFERENCE)],
        )
        .await?;
    Ok(due + ended)
}

/// Asks a job to stop. A queued one is cancelled at once, a running one within its next heartbeat.
///
/// # Errors
/// `job_not_found`, `job_finished`.
pub async fn cancel(db: &Db, clock: &Clock, tenant_id: &str, id: &str) -> Result<Job> {
    let mut tx = db.begin().await?;
    let changed = tx.execute(
        "UPDATE jobs SET cancel_requested = TRUE, run_at = CASE WHEN status = 'queued' THEN $1 ELSE run_at END, updated_on = $1 WHERE tenant_id = $2 AND id = $3 AND status IN ('queued', 'running')",
        args![clock.now(), tenant_id, id],
    )
    .await?;
    tx.commit().await?;
    let job = get(db, tenant_id, id).await?;
    if changed > 0 {
        Ok(job)
    } else {
        Err(Error::conflict(
            "job_finished",
            format!("the job is {} already", job.status),
        ))
    }
}

/// Puts a dead or cancelled job back into the queue with all its attempts.
///
/// # Errors
/// `job_not_found`, `job_not_dead`.
pub async fn retry(tx: &mut Tx, clock: &Clock, tenant_id: &str, id: &str) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE jobs SET status = 'queued', attempts = 0, failures = 0, run_at = $1, cancel_requested = FALSE, updated_on = $1
             WHERE tenant_id = $2 AND id = $3 AND status IN ('dead', 'cancelled')",
            args![clock.now(), tenant_id, id],
        )
        .await?;
    if changed > 0 {
        Ok(())
    } else {
        Err(Error::conflict(
            "job_not_dead",
            "only dead and cancelled jobs can be retried",
        ))
    }
}

/// A job of a tenant.
///
/// # Errors
/// `job_not_found`.
pub async fn get(db: &Db, tenant_id: &str, id: &str) -> Result<Job> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE tenant_id = $1 AND id = $2"
        ),
        args![tenant_id, id],
    )
    .await?
    .ok_or_else(|| Error::not_found("job_not_found", "there is no such job"))
}

/// Jobs of a tenant, oldest first, optionally of one status.
///
/// # Errors
/// As the database says.
pub async fn list(
    db: &Db,
    tenant_id: &str,
    status: Option<&str>,
    page: &Page,
) -> Result<Listing<Job>> {
    let rows: Vec<Job> = db
        .all(
            concat!("SELECT ", columns!(), " FROM jobs WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) AND id > $3 ORDER BY id LIMIT $4"),
            args![tenant_id, status, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |job| job.id.clone()))
}

/// Frees every lease of a database that only this process uses: whoever held one is gone.
///
/// # Errors
/// As the database says.
pub async fn free_all(db: &Db) -> Result<u64> {
    db.execute(
        "UPDATE jobs SET lease_until = 0 WHERE status = 'running'",
        args![],
    )
    .await
}

/// Jobs by status, over all tenants, for metrics.
///
/// # Errors
/// As the database says.
pub async fn counts(db: &Db) -> Result<Vec<(String, i64)>> {
    db.all("SELECT status, COUNT(*) FROM jobs GROUP BY status", args![])
        .await
}

/// Removes finished jobs that are older than a time; dead ones stay until they are retried.
///
/// # Errors
/// As the database says.
pub async fn prune(db: &Db, before: Time) -> Result<u64> {
    db.execute(
        "DELETE FROM jobs WHERE status IN ('done', 'cancelled') AND updated_on < $1",
        args![before],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::back_off;

    #[test]
    fn the_back_off_doubles_and_is_bounded() {
        assert_eq!([1, 2, 3, 20].map(|n| back_off(n).as_secs()), [2, 4, 8, 300]);
    }
}
