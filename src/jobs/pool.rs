//! Workers: claim, run with a heartbeat, record the outcome. On shutdown, running jobs get a moment to finish and are returned to the queue otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Job, Outcome, Queue, claim, finish, renew, schedules};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::{Error, Kind, Result};
use crate::events::CommitSignal;

/// Runs jobs for the workers.
pub trait Run: Send + Sync {
    /// Runs a job. Returns early when `cancel` fires.
    fn run<'a>(&'a self, job: &'a Job, cancel: &'a CancellationToken) -> BoxFuture<'a, Result<()>>;

    /// Checks whether jobs can run now; while they cannot, none is claimed.
    ///
    /// # Errors
    /// The reason why they cannot.
    fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// Handles a job that will not run again: leaves nothing in an unfinished state. May be called twice.
    fn given_up<'a>(&'a self, job: &'a Job, cause: &'a Ending) -> BoxFuture<'a, Result<()>>;
}

/// Why a job will not run again.
#[derive(Debug)]
pub enum Ending {
    /// The last attempt failed, or the first one permanently.
    Failed(Error),
    /// Every attempt ended with the death of its worker.
    WorkerDied,
    /// Cancellation was requested.
    Cancelled,
}

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Number of concurrent jobs.
    pub count: usize,
    /// Duration of a lease.
    pub lease: Duration,
    /// Maximum number of attempts of scheduled jobs.
    pub attempts: i64,
    /// Queue from which they claim.
    pub lane: Queue,
}

/// Interruptions without progress allowed per allowed failure; a job with more is considered to crash its workers.
const INTERRUPTIONS: i64 = 3;
/// Time that running jobs have after the stop.
const GRACE: Duration = Duration::from_secs(8);
/// Pause of a worker after a full disk.
const NO_SPACE: Duration = Duration::from_secs(5);
/// Polling interval without a commit signal: retries, schedules, other processes.
const POLL: Duration = Duration::from_secs(1);

/// Runs workers until `stop` fires; returns when every lease is finished or returned.
pub async fn run(
    db: Db,
    clock: Clock,
    commits: CommitSignal,
    handler: Arc<dyn Run>,
    workers: Workers,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    for _ in 0..workers.count {
        let (db, clock, commits, handler, workers, stop) = (
            db.clone(),
            clock.clone(),
            commits.clone(),
            Arc::clone(&handler),
            workers.clone(),
            stop.clone(),
        );
        tasks.spawn(async move {
            let owner = clock.id();
            let mut commits_seen = commits.subscribe();
            let mut waiting = false;
            while !stop.is_cancelled() {
                if let Err(error) = handler.ready() {
                    if !waiting {
                        tracing::error!(error = %error, "no jobs are started until this is resolved");
                    }
                    waiting = true;
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
                if std::mem::take(&mut waiting) {
                    tracing::info!("jobs are started again");
                }
                match claim(&db, &clock, workers.lane, &owner, workers.lease).await {
                    Ok(Some(job)) => {
                        work(&db, &clock, &handler, &workers, &owner, &job, &stop).await;
                        commits.notify();
                    }
                    Ok(None) => {
                        tokio::select! {
                            _ = commits_seen.changed() => {}
                            () = tokio::time::sleep(POLL) => {}
                            () = stop.cancelled() => {}
                        }
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "jobs cannot be claimed; trying again");
                        tokio::time::sleep(POLL).await;
                    }
                }
            }
        });
    }
    // One pool is enough.
    let keeps_schedules = workers.lane == Queue::Work;
    tasks.spawn(async move {
        while keeps_schedules && !stop.is_cancelled() {
            match super::mend_clock(&db, &clock, workers.lease).await {
                Ok(0) => {}
                Ok(jobs) => {
                    tracing::warn!(jobs, "the clock was set back; waiting jobs continue");
                    commits.notify();
                }
                Err(error) => {
                    tracing::error!(error = %error, "the run times of jobs cannot be checked; trying again")
                }
            }
            match schedules::run_due(&db, &clock, workers.attempts).await {
                Ok(0) => {}
                Ok(_) => commits.notify(),
                Err(error) => {
                    tracing::error!(error = %error, "schedules cannot be read; trying again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(20)) => {}
                () = stop.cancelled() => {}
            }
        }
    });
    while tasks.join_next().await.is_some() {}
}

async fn work(
    db: &Db,
    clock: &Clock,
    handler: &Arc<dyn Run>,
    workers: &Workers,
    owner: &str,
    job: &Job,
    stop: &CancellationToken,
) {
    let outcome = if job.interruptions() > INTERRUPTIONS * job.max_attempts {
        give_up(handler, job, Ending::WorkerDied).await
    } else if job.cancel_requested {
        give_up(handler, job, Ending::Cancelled).await
    } else {
        attempt(db, clock, handler, workers, owner, job, stop).await
    };
    match &outcome {
        Outcome::Dead(cause) => {
            tracing::warn!(job.id = %job.id, job.kind = %job.kind, cause = %cause, "a job failed permanently")
        }
        Outcome::Retry(cause) => {
            tracing::warn!(job.id = %job.id, job.kind = %job.kind, attempt = job.attempts, cause = %cause, "a job failed and will run again")
        }
        Outcome::Done | Outcome::Cancelled | Outcome::HandedBack | Outcome::GaveWay => {}
    }
    metrics::counter!("cairn_jobs_finished_total", "kind" => job.kind.clone(), "outcome" => label(&outcome)).increment(1);
    if let Err(error) = finish(db, clock, job, owner, &outcome).await {
        // The lease expires, and the job runs again: running twice is harmless.
        tracing::error!(job.id = %job.id, error = %error, "the outcome of a job could not be recorded");
    }
}

async fn attempt(
    db: &Db,
    clock: &Clock,
    handler: &Arc<dyn Run>,
    workers: &Workers,
    owner: &str,
    job: &Job,
    stop: &CancellationToken,
) -> Outcome {
    let cancel = CancellationToken::new();
    let heart = tokio::spawn({
        let (db, clock, job, owner, lease, cancel) = (
            db.clone(),
            clock.clone(),
            job.clone(),
            owner.to_owned(),
            workers.lease,
            cancel.clone(),
        );
        async move { heartbeat(&db, &clock, &job, &owner, lease, &cancel).await }
    });
    let run = tokio::spawn({
        let (handler, job, cancel) = (Arc::clone(handler), job.clone(), cancel.clone());
        async move { handler.run(&job, &cancel).await }
    });
    tokio::pin!(run);
    let ended = tokio::select! {
        ended = &mut run => Some(ended),
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => None,
    };
    let stopped = ended.is_none();
    let ended = match ended {
        Some(ended) => ended,
        None => {
            cancel.cancel();
            run.await
        }
    };
    heart.abort();
    let beat = heart.await;
    let (asked, lost) = (
        matches!(beat, Ok(Beat::CancelRequested)),
        matches!(beat, Ok(Beat::LeaseLost)),
    );
    let result = ended.unwrap_or_else(|e| Err(Error::internal("a job panicked").with_source(e)));
    match result {
        Ok(()) => Outcome::Done,
        Err(_) if asked => give_up(handler, job, Ending::Cancelled).await,
        // After a lost lease the record below changes nothing: another worker owns the job.
        Err(_) if stopped || lost => Outcome::HandedBack,
        // A full disk is not the job's fault: it waits, and no attempt is lost.
        Err(error) if error.kind() == Kind::NoSpace => {
            tracing::error!(job.id = %job.id, error = %error, "a job is waiting for disk space");
            tokio::time::sleep(NO_SPACE).await;
            Outcome::HandedBack
        }
        Err(error) if error.code() == super::GIVES_WAY => Outcome::GaveWay,
        Err(error) if error.is_retryable() && job.failures + 1 < job.max_attempts => {
            Outcome::Retry(error.to_string())
        }
        Err(error) => give_up(handler, job, Ending::Failed(error)).await,
    }
}

async fn give_up(handler: &Arc<dyn Run>, job: &Job, ending: Ending) -> Outcome {
    let outcome = match &ending {
        Ending::Failed(error) => Outcome::Dead(error.to_string()),
        Ending::WorkerDied => Outcome::Dead(format!(
            "its worker died {} times in a row",
            job.interruptions()
        )),
        Ending::Cancelled => Outcome::Cancelled,
    };
    match handler.given_up(job, &ending).await {
        Ok(()) => outcome,
        Err(error) => Outcome::Retry(error.to_string()),
    }
}

enum Beat {
    CancelRequested,
    LeaseLost,
}

/// Renews the lease and checks for a cancel request once a second; ends by cancelling the job.
async fn heartbeat(
    db: &Db,
    clock: &Clock,
    job: &Job,
    owner: &str,
    lease: Duration,
    cancel: &CancellationToken,
) -> Beat {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match renew(db, clock, job, owner, lease).await {
            Ok(Some(false)) => {}
            Ok(Some(true)) => {
                cancel.cancel();
                return Beat::CancelRequested;
            }
            Ok(None) => {
                cancel.cancel();
                return Beat::LeaseLost;
            }
            Err(error) => {
                tracing::warn!(job.id = %job.id, error = %error, "a lease could not be renewed; trying again")
            }
        }
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Retry(_) => "retry",
        Outcome::Dead(_) => "dead",
        Outcome::Cancelled => "cancelled",
        Outcome::HandedBack => "handed_back",
        Outcome::GaveWay => "gave_way",
    }
}
