//! A durable queue in SQL: leases with heartbeats, bounded retries with back-off and recorded causes, dead letters, one unfinished job per dedupe key,
//! cancellation. A job is enqueued in the transaction that causes it. The same statements claim on both engines: the worker that changes the row from
//! due to running owns the job.

pub mod pool;
pub mod schedules;
mod task;

use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args, words};
use crate::error::{Error, Result};
use crate::events::CommitSignal;
use crate::page::{Listing, Page};
pub use task::{Queue, Task};

words! {
    /// The status of a job.
    pub enum JobStatus {
        Queued = "queued",
        Running = "running",
        Done = "done",
        /// It failed for good; it can be retried by hand.
        Dead = "dead",
        Cancelled = "cancelled",
    }
}

/// A job.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Job {
    pub id: String,
    pub tenant_id: String,
    pub kind: String,
    /// JSON of the [`Task`].
    pub payload: String,
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    pub status: JobStatus,
    /// Attempts begun since the last progress.
    pub attempts: i64,
    /// Attempts that failed with an error.
    pub failures: i64,
    /// Maximum number of failures.
    pub max_attempts: i64,
    /// Earliest start.
    pub run_at: Time,
    /// Whether cancellation was requested.
    pub cancel_requested: bool,
    /// Whether it may be claimed together with others, see [`claim_like`].
    pub small: bool,
    /// Cause of the last failed attempt.
    pub last_error: Option<String>,
    pub created_on: Time,
    pub updated_on: Time,
}

impl Job {
    /// Returns the number of attempts that ended without an outcome, because their worker died.
    #[must_use]
    pub fn interruptions(&self) -> i64 {
        // Excludes the running attempt.
        (self.attempts - self.failures - 1).max(0)
    }

    /// Returns its task.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn task(&self) -> Result<Task> {
        Ok(serde_json::from_str(&self.payload)?)
    }
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, payload, status, attempts, failures, max_attempts, run_at, cancel_requested, small, last_error, created_on, updated_on"
    };
}

/// Options for enqueueing a job.
#[derive(Debug, Clone, Copy)]
pub struct EnqueueOptions<'a> {
    /// Group of the job, which takes turns with the tenant's other groups; a dataset, or empty.
    pub group: &'a str,
    /// Key that at most one unfinished job has.
    pub dedupe_key: Option<&'a str>,
    /// Maximum number of failures.
    pub max_attempts: i64,
    /// Earliest start; now when absent.
    pub run_at: Option<Time>,
    /// Whether it takes so little time that a worker may run many of its group together.
    pub small: bool,
}

/// Enqueues a job in the causing transaction and returns its id. With a dedupe key that an unfinished job holds, returns that job's id instead.
///
/// # Errors
/// Those of the database.
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
        "INSERT INTO jobs (id, tenant_id, kind, payload, dedupe_key, status, attempts, failures, max_attempts, run_at, cancel_requested,
         created_on, updated_on, group_id, lane, small)
         VALUES ($1, $2, $3, $4, $5, 'queued', 0, 0, $6, $9, FALSE, $7, $7, $8, $10, $11)",
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
            task.lane().name(),
            queued.small
        ],
    )
    .await?;
    tx.announce(task.lane().name());
    Ok(id)
}

/// Ensures that a job of this kind starts in its group after this transaction: the queued one, or a new one. Unlike a dedupe key, this disregards
/// running jobs, which may have read the data already.
///
/// # Errors
/// Those of the database.
pub async fn ensure_queued(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    task: &Task,
    queued: EnqueueOptions<'_>,
) -> Result<()> {
    // The update locks the job in PostgreSQL, so that it is claimed after this transaction ends.
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

/// Claims the next due job of a queue, if there is one. The lease holds until it is renewed or expires. Tenants take turns, and so do the groups of a
/// tenant: the one with the fewest running jobs is next, so a thousand files of one do not delay the one file of another.
///
/// # Errors
/// Those of the database.
pub async fn claim(
    db: &Db,
    clock: &Clock,
    lane: Queue,
    owner: &str,
    lease: Duration,
) -> Result<Option<Job>> {
    let now = clock.now();
    // The oldest due job of each group: one row per group with work, not one per job.
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

/// Maximum number of small jobs that a worker runs together.
const TOGETHER: i64 = 16;

/// Claims due jobs like `job`, which was just claimed: small ones of its kind and group that were never attempted, oldest first, at most 15. A job that failed
/// or was interrupted runs alone, so that it harms no other.
///
/// # Errors
/// Those of the database.
pub async fn claim_like(
    db: &Db,
    clock: &Clock,
    job: &Job,
    owner: &str,
    lease: Duration,
) -> Result<Vec<Job>> {
    if !job.small || job.attempts != 1 || job.cancel_requested {
        return Ok(Vec::new());
    }
    let now = clock.now();
    let mut tx = db.begin_repeatable().await?;
    let mut jobs: Vec<Job> = tx
        .all(
            concat!(
                "UPDATE jobs SET status = 'running', attempts = 1, lease_owner = $1, lease_until = $2, updated_on = $3
                 WHERE status = 'queued' AND id IN
                 (SELECT l.id FROM jobs l JOIN jobs j ON j.id = $4
                  WHERE l.status = 'queued' AND l.lane = j.lane AND l.tenant_id = j.tenant_id AND l.group_id = j.group_id AND l.run_at <= $3
                  AND l.kind = j.kind AND l.small = TRUE AND l.attempts = 0 AND l.cancel_requested = FALSE ORDER BY l.run_at, l.id LIMIT $5)
                 RETURNING ",
                columns!()
            ),
            args![owner, now.plus(lease), now, &job.id, TOGETHER - 1],
        )
        .await?;
    tx.commit().await?;
    jobs.sort_by(|a, b| (a.run_at, &a.id).cmp(&(b.run_at, &b.id)));
    Ok(jobs)
}

/// Renews a lease; `None` when it is lost, otherwise whether cancellation was requested.
///
/// # Errors
/// Those of the database.
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

/// Records, in the transaction of a durable step, that a job progresses: earlier interruptions no longer count.
///
/// # Errors
/// Those of the database.
pub async fn progressed(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET attempts = failures + 1 WHERE tenant_id = $1 AND id = $2 AND status = 'running'",
        args![tenant_id, id],
    )
    .await?;
    Ok(())
}

/// Outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Finished.
    Done,
    /// Failed; retried after the back-off.
    Retry(String),
    /// Failed permanently.
    Dead(String),
    /// Cancelled on request.
    Cancelled,
    /// Returned to the queue because the worker stops; the attempt does not count.
    HandedBack,
    /// Returned to the queue because others wait; the attempt does not count.
    GaveWay,
}

/// Returns the delay before the next attempt: 2, 4, 8 … seconds, at most 5 minutes.
#[must_use]
pub fn back_off(attempts: i64) -> Duration {
    let exponent = u32::try_from(attempts.clamp(1, 10)).unwrap_or(10);
    Duration::from_secs(2_u64.saturating_pow(exponent).min(300))
}

/// Wakes the workers of all queues in this process, after jobs became due without [`enqueue`].
pub fn wake(commits: &CommitSignal) {
    commits.notify_of(&Queue::ALL.map(Queue::name));
}

/// Records the outcomes of jobs, except of those that another worker has the lease of by now.
///
/// # Errors
/// Those of the database.
pub async fn finish(db: &Db, clock: &Clock, ended: &[(&Job, Outcome)], owner: &str) -> Result<()> {
    let mut tx = db.begin_repeatable().await?;
    for (job, outcome) in ended {
        finish_in(&mut tx, clock, job, owner, outcome).await?;
    }
    tx.commit().await
}

async fn finish_in(
    tx: &mut Tx,
    clock: &Clock,
    job: &Job,
    owner: &str,
    outcome: &Outcome,
) -> Result<()> {
    let now = clock.now();
    let (status, run_at, refund, failed, cause) = match outcome {
        Outcome::Done => (JobStatus::Done, now, 0, 0, None),
        Outcome::Retry(cause) => (
            JobStatus::Queued,
            now.plus(back_off(job.failures + 1)),
            0,
            1,
            Some(cause),
        ),
        Outcome::Dead(cause) => (JobStatus::Dead, now, 0, 1, Some(cause)),
        Outcome::Cancelled => (JobStatus::Cancelled, now, 0, 0, None),
        Outcome::HandedBack => (JobStatus::Queued, now, 1, 0, None),
        Outcome::GaveWay => (JobStatus::Queued, now.plus(WAY), 1, 0, None),
    };
    tx.execute(
        "UPDATE jobs SET status = $1, run_at = $2, attempts = attempts - $3, failures = failures + $9, last_error = COALESCE($4, last_error), lease_owner = NULL, lease_until = NULL, updated_on = $5
         WHERE id = $6 AND tenant_id = $7 AND lease_owner = $8",
        args![status, run_at, refund as i64, cause.cloned(), now, &job.id, &job.tenant_id, owner, failed as i64],
    )
    .await?;
    Ok(())
}

/// Time that a due job waits before longer ones yield to it: a free worker would have claimed it by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns whether a running job should yield: a job has been due for a while whose tenant, or whose group of the same tenant, has fewer running.
///
/// # Errors
/// Those of the database.
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

/// Returns the error of a job that yields; it continues later, and no attempt is lost.
#[must_use]
pub fn gives_way() -> Error {
    Error::unavailable(GIVES_WAY, "the job was requeued behind other jobs")
}

const GIVES_WAY: &str = "gives_way";

/// Delay of a job that yields: long enough that the waiting job goes first.
const WAY: Duration = Duration::from_secs(1);

/// Makes jobs due and leases expire that would otherwise wait because the clock was set back.
///
/// # Errors
/// Those of the database.
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

/// Requests cancellation of a job in the transaction that makes its work needless. A finished job is left unchanged.
pub(crate) async fn request_cancel(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET cancel_requested = TRUE WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
        args![tenant_id, id],
    )
    .await?;
    Ok(())
}

/// Requests cancellation of a job. A queued one is cancelled at once, a running one within its next heartbeat.
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
            format!("the job is already {}", job.status),
        ))
    }
}

/// Returns a dead or cancelled job to the queue with all its attempts.
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
        Queue::ALL.iter().for_each(|lane| tx.announce(lane.name()));
        Ok(())
    } else {
        Err(Error::conflict(
            "job_not_dead",
            "only dead and cancelled jobs can be retried",
        ))
    }
}

/// Returns a job of a tenant.
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
    .ok_or_else(|| Error::not_found("job_not_found", "job not found"))
}

/// Lists the jobs of a tenant, oldest first, optionally of one status.
///
/// # Errors
/// Those of the database.
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

/// Frees every lease of a database that only this process uses: their holders are gone.
///
/// # Errors
/// Those of the database.
pub async fn free_all(db: &Db) -> Result<u64> {
    db.execute(
        "UPDATE jobs SET lease_until = 0 WHERE status = 'running'",
        args![],
    )
    .await
}

/// Returns the number of jobs of every status, over all tenants, for metrics. A status without jobs counts 0, so that its gauge does not keep an earlier value.
///
/// # Errors
/// Those of the database.
pub async fn counts(db: &Db) -> Result<Vec<(JobStatus, i64)>> {
    let found: Vec<(JobStatus, i64)> = db
        .all("SELECT status, COUNT(*) FROM jobs GROUP BY status", args![])
        .await?;
    let count = |status: JobStatus| {
        let own = found.iter().find(|(of, _)| *of == status);
        (status, own.map_or(0, |(_, count)| *count))
    };
    Ok(JobStatus::ALL.iter().copied().map(count).collect())
}

/// Removes finished jobs that are older than a given time; dead ones stay until they are retried.
///
/// # Errors
/// Those of the database.
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
