//! Background work: workers that run jobs, the follower of the index log, the writer of the query history. This module is above all areas: nothing
//! below depends on the content of a job.

use std::sync::Arc;
use std::time::Duration;

use cairn_ingest::ParseError;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agents;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::bi::{self, export};
use crate::boards::agents::lifecycle;
use crate::boards::{board, delivery};
use crate::data::rows;
use crate::error::{Error, Result};
use crate::evaluation::{history, runs};
use crate::jobs::pool::{self, Ending, Run, Workers};
use crate::jobs::{self, Job, Queue, Task};
use crate::kb::{documents, generations, ingestion};
use crate::outreach::sequences::send as send_mail;
use crate::outreach::{imports, rules};
use crate::search::follower;
use crate::webhooks::{forward, send};
use crate::{crawl, housekeeping, sources};

/// Starts the workers and, with `follow`, the follower of the index log. All of them end when `stop` fires.
#[must_use]
pub fn start(app: &Arc<App>, follow: bool, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let handler = Arc::new(Runner(Arc::clone(app)));
    let lanes = [
        (Queue::Work, app.config.workers),
        (Queue::Crawl, app.config.crawls),
        (Queue::Send, app.config.senders),
        (Queue::Gateway, app.config.gateway_jobs),
        (Queue::Agent, app.config.agent_jobs),
    ];
    let mut tasks: Vec<JoinHandle<()>> = lanes
        .into_iter()
        .map(|(lane, count)| {
            let workers = Workers {
                count,
                lease: Duration::from_secs(app.config.job_lease_seconds),
                attempts: app.config.job_attempts,
                lane,
            };
            tokio::spawn(pool::run(
                app.db.clone(),
                app.clock.clone(),
                app.commits.clone(),
                Arc::clone(&handler) as Arc<dyn pool::Run>,
                workers,
                stop.clone(),
            ))
        })
        .collect();
    if follow {
        let (app, stop) = (Arc::clone(app), stop.clone());
        tasks.push(tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { follower::run(&app, stop).await }
        }));
        tasks.push(tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { app.feed.run(&app.db, &app.commits, stop).await }
        }));
        tasks.push(tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { forward::run(&app, stop).await }
        }));
        tasks.push(tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { sources::watch::run(&app, stop).await }
        }));
        tasks.push(tokio::spawn(async move { history::run(&app, stop).await }));
    }
    tasks
}

/// Retries a dead or cancelled job; the document or the crawl that it is about waits for it.
///
/// # Errors
/// `job_not_found`, `job_not_dead`, `crawl_running`, `sync_running`.
pub async fn retry(app: &App, caller: &Caller, job_id: &str) -> Result<Job> {
    caller.need(Scope::KbWrite)?;
    let job = jobs::get(&app.db, caller.tenant(), job_id).await?;
    let mut tx = app.db.begin().await?;
    jobs::retry(&mut tx, &app.clock, caller.tenant(), job_id).await?;
    match job.task()? {
        Task::Ingest { document_id, .. } => {
            documents::waits_again(app, &mut tx, &job, &document_id).await?;
        }
        Task::Crawl { crawl_id } => {
            crawl::crawls::requeue(&mut tx, caller.tenant(), &crawl_id).await?;
        }
        Task::Sync { sync_id } => {
            sources::syncs::requeue(&mut tx, caller.tenant(), &sync_id).await?;
        }
        Task::ShowRows { .. }
        | Task::ClearRows { .. }
        | Task::Build { .. }
        | Task::Evaluate { .. }
        | Task::Recrawl { .. }
        | Task::Resync { .. }
        | Task::Deliver { .. }
        | Task::Export { .. }
        | Task::Artifact { .. }
        | Task::SendMail { .. }
        | Task::NoTouch
        | Task::TellAgent { .. }
        | Task::ProvisionAgent { .. }
        | Task::CheckAgent { .. }
        | Task::RemoveAgent { .. }
        | Task::RunActivity { .. }
        | Task::RunRoutine { .. }
        | Task::ImportLeads { .. }
        | Task::TendTeam
        | Task::ClearBoard { .. }
        | Task::ClearTenant
        | Task::Housekeeping => {}
    }
    app.commit(tx).await?;
    jobs::get(&app.db, caller.tenant(), job_id).await
}

/// Runs every task of the queue.
#[derive(Debug)]
struct Runner(Arc<App>);

impl Run for Runner {
    fn run<'a>(&'a self, job: &'a Job, cancel: &'a CancellationToken) -> BoxFuture<'a, Result<()>> {
        let (app, tenant_id) = (&self.0, job.tenant_id.as_str());
        Box::pin(async move {
            match job.task()? {
                Task::Ingest {
                    document_id,
                    text_indexed,
                } => ingestion::ingest(app, job, &document_id, text_indexed, cancel).await,
                Task::ShowRows { folder_id } => rows::index(app, job, &folder_id, cancel).await,
                Task::ClearRows { folder_id } => rows::clear(app, job, &folder_id, cancel).await,
                Task::Build {
                    document_id,
                    set_id,
                } => {
                    generations::build_document(app, tenant_id, &document_id, &set_id, cancel).await
                }
                Task::Evaluate { run_id } => tokio::select! {
                    outcome = runs::execute(app, tenant_id, &run_id) => outcome,
                    () = cancel.cancelled() => Err(Error::unavailable("cancelled", "the evaluation was cancelled")),
                },
                Task::Crawl { crawl_id } => crawl::run(app, job, &crawl_id, cancel).await,
                Task::Recrawl { site_id } => crawl::recrawl(app, tenant_id, &site_id).await,
                Task::Sync { sync_id } => sources::run(app, job, &sync_id, cancel).await,
                Task::Resync { source_id } => sources::scheduled(app, tenant_id, &source_id).await,
                Task::Deliver {
                    delivery_id,
                    attempt,
                } => send::deliver(app, tenant_id, &delivery_id, attempt).await,
                Task::Export { export_id } => export::run(app, tenant_id, &export_id).await,
                Task::Artifact { artifact_id } => bi::artifact(app, tenant_id, &artifact_id).await,
                Task::SendMail { mail_id } => send_mail::run(app, tenant_id, &mail_id).await,
                Task::NoTouch => rules::run_clock(app, tenant_id).await,
                task @ Task::TellAgent { .. } => delivery::run(app, tenant_id, &task).await,
                task @ (Task::ProvisionAgent { .. }
                | Task::CheckAgent { .. }
                | Task::RemoveAgent { .. }) => lifecycle::run(app, tenant_id, &task).await,
                Task::RunActivity {
                    activity_id,
                    run_id,
                } => agents::run(app, job, (&activity_id, &run_id), cancel).await,
                Task::RunRoutine { template } => agents::routine(app, tenant_id, &template).await,
                Task::ImportLeads { import_id } => {
                    imports::run(app, tenant_id, &import_id, cancel).await
                }
                Task::TendTeam => agents::tend(app, tenant_id).await,
                Task::ClearBoard { board_id } => board::clear(app, tenant_id, &board_id).await,
                Task::ClearTenant => board::clear_tenant(app, tenant_id).await,
                Task::Housekeeping => housekeeping::run(app).await,
            }
        })
    }

    fn run_together<'a>(
        &'a self,
        jobs: &'a [Job],
        cancel: &'a [CancellationToken],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        // Only the ingestion of files is a small job.
        Box::pin(ingestion::ingest_together(&self.0, jobs, cancel))
    }

    fn ready(&self) -> Result<()> {
        self.0.disk.ensure_free_space()
    }

    fn given_up<'a>(&'a self, job: &'a Job, ending: &'a Ending) -> BoxFuture<'a, Result<()>> {
        let (app, tenant_id) = (&self.0, job.tenant_id.as_str());
        Box::pin(async move {
            let error = match ending {
                Ending::Failed(error) => (error.code().to_owned(), error.public_message().to_owned()),
                Ending::WorkerDied => ("worker_died".to_owned(), "ingestion was interrupted too often; retry it, and check the log if it happens again".to_owned()),
                Ending::Cancelled => ("cancelled".to_owned(), "ingestion was cancelled".to_owned()),
            };
            match job.task()? {
                Task::Ingest { document_id, .. } => {
                    ingestion::failed(app, job, &document_id, error).await
                }
                Task::Build {
                    document_id,
                    set_id,
                } => {
                    let error = ParseError::new(&error.0, error.1);
                    generations::failed(app, tenant_id, &document_id, &set_id, &error).await
                }
                Task::Evaluate { run_id } => runs::failed(app, tenant_id, &run_id, &error.1).await,
                Task::Crawl { crawl_id } => {
                    let cancelled = matches!(ending, Ending::Cancelled);
                    crawl::failed(app, tenant_id, &crawl_id, cancelled, &error.1).await
                }
                Task::Sync { sync_id } => {
                    let cancelled = matches!(ending, Ending::Cancelled);
                    sources::failed(app, tenant_id, &sync_id, cancelled, &error.1).await
                }
                Task::Deliver { delivery_id, .. } => {
                    send::given_up(app, tenant_id, &delivery_id, &error.1).await
                }
                Task::Export { export_id } => {
                    export::failed(app, tenant_id, &export_id, &error.1).await
                }
                Task::SendMail { mail_id } => {
                    send_mail::given_up(app, tenant_id, &mail_id, &error.1).await
                }
                task @ Task::TellAgent { .. } => {
                    delivery::failed(app, tenant_id, &task, &error.1).await
                }
                task @ (Task::ProvisionAgent { .. } | Task::RemoveAgent { .. }) => {
                    lifecycle::failed(app, tenant_id, &task, &error.1).await
                }
                Task::RunActivity {
                    activity_id,
                    run_id,
                } => agents::failed(app, job, (&activity_id, &run_id), &error.1).await,
                Task::ImportLeads { import_id } => {
                    imports::failed(app, tenant_id, &import_id, &error.1).await
                }
                Task::ShowRows { .. }
                | Task::ClearRows { .. }
                | Task::RunRoutine { .. }
                | Task::TendTeam
                | Task::CheckAgent { .. }
                | Task::ClearBoard { .. }
                | Task::ClearTenant
                | Task::NoTouch
                | Task::Artifact { .. }
                | Task::Recrawl { .. }
                | Task::Resync { .. }
                | Task::Housekeeping => Ok(()),
            }
        })
    }
}
