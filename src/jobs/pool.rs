//! Workers: claim, run with a heartbeat, record the outcome. On shutdown, running jobs get a moment to finish and are returned to the queue otherwise.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Job, Outcome, Queue, claim, claim_like, finish, renew, schedules};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::{Error, Kind, Result};
use crate::events::CommitSignal;

/// Runs jobs for the workers.
pub trait Run: Send + Sync {
    /// Runs a job. Returns early when `cancel` fires.
    fn run<'a>(&'a self, job: &'a Job, cancel: &'a CancellationToken) -> BoxFuture<'a, Result<()>>;

    /// Runs small jobs of one kind and group, each with its own token, and returns their results in the same order.
    fn run_together<'a>(
        &'a self,
        jobs: &'a [Job],
        cancel: &'a [CancellationToken],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(jobs.len());
            for (job, cancel) in jobs.iter().zip(cancel) {
                results.push(self.run(job, cancel).await);
            }
            results
        })
    }

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
            let mut enqueued = commits.subscribe_to(workers.lane.name());
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
                enqueued.mark_unchanged();
                match claim_some(&db, &clock, &workers, &owner).await {
                    Ok(jobs) if !jobs.is_empty() => {
                        work(&db, &clock, &handler, &workers, &owner, jobs, &stop).await;
                        commits.notify();
                    }
                    Ok(_) => {
                        tokio::select! {
                            _ = enqueued.changed() => {}
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
                    super::wake(&commits);
                }
                Err(error) => {
                    tracing::error!(error = %error, "the run times of jobs cannot be checked; trying again")
                }
            }
            match schedules::run_due(&db, &clock, workers.attempts).await {
                Ok(0) => {}
                Ok(_) => super::wake(&commits),
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

/// Claims a due job, and with a small one those like it.
async fn claim_some(db: &Db, clock: &Clock, workers: &Workers, owner: &str) -> Result<Vec<Job>> {
    let Some(job) = claim(db, clock, workers.lane, owner, workers.lease).await? else {
        return Ok(Vec::new());
    };
    let others = claim_like(db, clock, &job, owner, workers.lease).await;
    // An error must not lose the claimed job; the lease of the others expires.
    let others = others.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "small jobs cannot be claimed together");
        Vec::new()
    });
    Ok(std::iter::once(job).chain(others).collect())
}

async fn work(
    db: &Db,
    clock: &Clock,
    handler: &Arc<dyn Run>,
    workers: &Workers,
    owner: &str,
    jobs: Vec<Job>,
    stop: &CancellationToken,
) {
    let outcomes = match &jobs[..] {
        [job] if job.interruptions() > INTERRUPTIONS * job.max_attempts => {
            vec![give_up(handler, job, Ending::WorkerDied).await]
        }
        [job] if job.cancel_requested => vec![give_up(handler, job, Ending::Cancelled).await],
        _ => attempt(db, clock, handler, workers, owner, &jobs, stop).await,
    };
    let ended: Vec<(&Job, Outcome)> = jobs.iter().zip(outcomes).collect();
    for (job, outcome) in &ended {
        match outcome {
            Outcome::Dead(cause) => {
                tracing::warn!(job.id = %job.id, job.kind = %job.kind, cause = %cause, "a job failed permanently")
            }
            Outcome::Retry(cause) => {
                tracing::warn!(job.id = %job.id, job.kind = %job.kind, attempt = job.attempts, cause = %cause, "a job failed and will run again")
            }
            Outcome::Done | Outcome::Cancelled | Outcome::HandedBack | Outcome::GaveWay => {}
        }
        metrics::counter!("cairn_jobs_finished_total", "kind" => job.kind.clone(), "outcome" => label(outcome)).increment(1);
    }
    if let Err(error) = finish(db, clock, &ended, owner).await {
        // The leases expire, and the jobs run again: running twice is harmless.
        tracing::error!(job.id = %jobs[0].id, error = %error, "the outcome of a job could not be recorded");
    }
}

async fn attempt(
    db: &Db,
    clock: &Clock,
    handler: &Arc<dyn Run>,
    workers: &Workers,
    owner: &str,
    jobs: &[Job],
    stop: &CancellationToken,
) -> Vec<Outcome> {
    let running: Arc<[Running]> = jobs
        .iter()
        .map(|job| Running {
            job: job.clone(),
            cancel: CancellationToken::new(),
            beat: OnceLock::new(),
        })
        .collect();
    let heart = tokio::spawn({
        let (db, clock, owner, lease, running) = (
            db.clone(),
            clock.clone(),
            owner.to_owned(),
            workers.lease,
            Arc::clone(&running),
        );
        async move { heartbeat(&db, &clock, &running, &owner, lease).await }
    });
    let run = tokio::spawn({
        let (handler, jobs) = (Arc::clone(handler), jobs.to_vec());
        let tokens: Vec<CancellationToken> = running.iter().map(|r| r.cancel.clone()).collect();
        async move {
            match (&jobs[..], &tokens[..]) {
                ([job], [cancel]) => vec![handler.run(job, cancel).await],
                _ => handler.run_together(&jobs, &tokens).await,
            }
        }
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
            running.iter().for_each(|r| r.cancel.cancel());
            run.await
        }
    };
    heart.abort();
    let mut results = ended.unwrap_or_else(|panic| {
        tracing::error!(error = %panic, "a job panicked");
        Vec::new()
    });
    results.resize_with(jobs.len(), || Err(Error::internal("a job panicked")));
    if let Some(error) = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .find(|error| error.kind() == Kind::NoSpace)
    {
        tracing::error!(error = %error, "jobs are waiting for disk space");
        tokio::time::sleep(NO_SPACE).await;
    }
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (running, result) in running.iter().zip(results) {
        let job = &running.job;
        outcomes.push(match (result, running.beat.get()) {
            (Ok(()), _) => Outcome::Done,
            (Err(_), Some(Beat::CancelRequested)) => give_up(handler, job, Ending::Cancelled).await,
            // After a lost lease the record of the outcome changes nothing: another worker owns the job.
            (Err(_), Some(Beat::LeaseLost)) => Outcome::HandedBack,
            (Err(_), None) if stopped => Outcome::HandedBack,
            // A full disk is not the job's fault: it waits, and no attempt is lost.
            (Err(error), None) if error.kind() == Kind::NoSpace => Outcome::HandedBack,
            (Err(error), None) if error.code() == super::GIVES_WAY => Outcome::GaveWay,
            (Err(error), None) if error.is_retryable() && job.failures + 1 < job.max_attempts => {
                Outcome::Retry(error.to_string())
            }
            (Err(error), None) => give_up(handler, job, Ending::Failed(error)).await,
        });
    }
    outcomes
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

/// A job that is being run.
struct Running {
    job: Job,
    cancel: CancellationToken,
    /// Why it was cancelled by its heartbeat.
    beat: OnceLock<Beat>,
}

enum Beat {
    CancelRequested,
    LeaseLost,
}

/// Renews the leases and checks for cancel requests once a second; cancels the jobs concerned.
async fn heartbeat(db: &Db, clock: &Clock, running: &[Running], owner: &str, lease: Duration) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for Running { job, cancel, beat } in running {
            if beat.get().is_some() {
                continue;
            }
            let found = match renew(db, clock, job, owner, lease).await {
                Ok(Some(false)) => continue,
                Ok(Some(true)) => Beat::CancelRequested,
                Ok(None) => Beat::LeaseLost,
                Err(error) => {
                    tracing::warn!(job.id = %job.id, error = %error, "a lease could not be renewed; trying again");
                    continue;
                }
            };
            // Only this task sets it.
            let _ = beat.set(found);
            cancel.cancel();
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
