//! The queue itself: claims, leases, retries, dead letters, cancel, schedules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cairn::error::{Error, Result};
use cairn::jobs::pool::{self, Ending, Run, Workers};
use cairn::jobs::{self, Job, JobStatus, Queue, Task, schedules};
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

const LEASE: Duration = Duration::from_secs(30);

async fn tenant(service: &Service) -> String {
    service
        .app
        .local_caller("default")
        .await
        .expect("the first tenant")
        .tenant()
        .to_owned()
}

async fn enqueue(service: &Service, document: &str, key: Option<&str>, attempts: i64) -> String {
    let tenant = tenant(service).await;
    let mut tx = service.app.db.begin().await.expect("a transaction");
    let task = Task::Ingest {
        document_id: document.to_owned(),
        text_indexed: false,
    };
    let id = jobs::enqueue(
        &mut tx,
        &service.app.clock,
        &tenant,
        &task,
        jobs::EnqueueOptions {
            group: "",
            dedupe_key: key,
            max_attempts: attempts,
            run_at: None,
            small: false,
        },
    )
    .await
    .expect("enqueued");
    tx.commit().await.expect("committed");
    id
}

/// A service whose own workers have stopped, so that the test is the worker.
async fn idle(mut service: Service) -> Service {
    service.stop().await;
    service
}

on_both! {
    async fn a_status_without_jobs_counts_zero(service: Service) {
        let service = idle(service).await;
        enqueue(&service, "d", None, 3).await;
        let counts = jobs::counts(&service.app.db).await.expect("counts");
        let of = |status: JobStatus| counts.iter().find(|(s, _)| *s == status).map(|(_, count)| *count);
        assert!(of(JobStatus::Queued) > Some(0), "{counts:?}");
        assert_eq!((of(JobStatus::Running), of(JobStatus::Dead), of(JobStatus::Cancelled)), (Some(0), Some(0), Some(0)));
    }

    async fn a_job_is_claimed_once_and_its_outcome_needs_the_lease(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        let id = enqueue(&service, "d", None, 3).await;
        let job = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
        assert_eq!((job.id.as_str(), job.attempts), (id.as_str(), 1));
        assert!(jobs::claim(db, clock, Queue::Work, "b", LEASE).await.expect("claims").is_none(), "the lease holds");
        assert_eq!(jobs::renew(db, clock, &job, "b", LEASE).await.expect("asks"), None, "not b's lease");
        jobs::finish(db, clock, &[(&job, jobs::Outcome::Done)], "b").await.expect("ignored");
        assert_eq!(jobs::get(db, &job.tenant_id, &id).await.expect("there").status.as_str(), "running");
        jobs::finish(db, clock, &[(&job, jobs::Outcome::Retry("broken pipe".to_owned()))], "a").await.expect("recorded");
        let again = jobs::get(db, &job.tenant_id, &id).await.expect("there");
        assert_eq!((again.status.as_str(), again.last_error.as_deref()), ("queued", Some("broken pipe")));
        assert!(again.run_at > clock.now(), "it waits before the next attempt");
        assert!(jobs::get(db, "another tenant", &id).await.is_err());
    }

    async fn a_clock_that_is_set_back_keeps_no_job_waiting(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        let running = enqueue(&service, "a", None, 3).await;
        let owned = jobs::claim(db, clock, Queue::Work, "gone", LEASE).await.expect("claims").expect("one is due");
        assert_eq!(owned.id, running);
        let queued = enqueue(&service, "b", None, 3).await;
        // As if everything had been written a day later than it is.
        for statement in ["UPDATE jobs SET run_at = run_at + 86400000, updated_on = updated_on + 86400000", "UPDATE jobs SET lease_until = lease_until + 86400000 WHERE status = 'running'"] {
            db.execute(statement, cairn::db::Args::default()).await.expect("changed");
        }
        assert!(jobs::claim(db, clock, Queue::Work, "b", LEASE).await.expect("claims").is_none());
        assert_eq!(jobs::mend_clock(db, clock, Duration::ZERO).await.expect("mended"), 2);
        let mut claimed = Vec::new();
        // A lease has ended once the clock is past its end.
        eventually!("both are claimed", {
            if let Some(job) = jobs::claim(db, clock, Queue::Work, "b", LEASE).await.expect("claims") {
                claimed.push(job.id);
            }
            claimed.len() == 2
        });
        while let Some(job) = jobs::claim(db, clock, Queue::Work, "b", LEASE).await.expect("claims") {
            claimed.push(job.id);
        }
        claimed.sort();
        assert_eq!(claimed, [running, queued]);
        assert_eq!(jobs::mend_clock(db, clock, LEASE).await.expect("nothing is left"), 0);
    }

    async fn a_long_job_gives_way_to_another_tenant_and_to_another_group(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        let mine = enqueue(&service, "a", None, 3).await;
        let job = jobs::claim(db, clock, Queue::Work, "w", LEASE).await.expect("claims").expect("one is due");
        let asked = async || jobs::should_give_way(db, clock, &job.tenant_id, &mine).await.expect("asks");
        assert!(!asked().await, "nobody waits");
        enqueue(&service, "b", None, 3).await;
        let waits = "UPDATE jobs SET run_at = run_at - 5000 WHERE status = 'queued'";
        db.execute(waits, cairn::db::Args::default()).await.expect("changed");
        assert!(!asked().await, "those of its own group take their turn after it");
        for other in ["UPDATE jobs SET group_id = 'other' WHERE status = 'queued'", "UPDATE jobs SET tenant_id = (SELECT MAX(id) FROM tenants), group_id = '' WHERE status = 'queued'"] {
            cairn::auth::tenants::create(db, clock, "another").await.ok();
            db.execute(other, cairn::db::Args::default()).await.expect("changed");
            assert!(asked().await, "{other}");
        }
        jobs::finish(db, clock, &[(&job, jobs::Outcome::GaveWay)], "w").await.expect("recorded");
        let next = jobs::claim(db, clock, Queue::Work, "w", LEASE).await.expect("claims").expect("one is due");
        assert_ne!(next.id, mine);
        assert_eq!(jobs::get(db, &job.tenant_id, &mine).await.expect("there").attempts, 0);
    }

    async fn a_dead_workers_job_becomes_due_by_itself(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        enqueue(&service, "d", None, 3).await;
        jobs::claim(db, clock, Queue::Work, "dead", Duration::ZERO).await.expect("claims").expect("one is due");
        let claimed = eventually!(claimed in jobs::claim(db, clock, Queue::Work, "alive", LEASE).await.expect("claims"), "the lease has passed", claimed.is_some());
        let job = claimed.expect("a job");
        assert_eq!(job.attempts, 2);
        assert_eq!(jobs::free_all(db).await.expect("freed"), 1);
        assert_eq!(jobs::claim(db, clock, Queue::Work, "third", LEASE).await.expect("claims").map(|j| j.attempts), Some(3));
    }

    async fn small_jobs_of_a_group_are_claimed_together_unless_one_was_attempted(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        let mut ids = Vec::new();
        for n in 0..22 {
            ids.push(enqueue(&service, &n.to_string(), None, 3).await);
        }
        for statement in [
            "UPDATE jobs SET small = TRUE",
            "UPDATE jobs SET group_id = 'other' WHERE payload LIKE '%\"1\"%'",
            "UPDATE jobs SET attempts = 1 WHERE payload LIKE '%\"2\"%'",
            "UPDATE jobs SET small = FALSE WHERE payload LIKE '%\"3\"%'",
            "UPDATE jobs SET cancel_requested = TRUE WHERE payload LIKE '%\"4\"%'",
        ] {
            db.execute(statement, cairn::db::Args::default()).await.expect("changed");
        }
        let first = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
        assert_eq!(first.id, ids[0]);
        let others = jobs::claim_like(db, clock, &first, "a", LEASE).await.expect("claims");
        let others: Vec<&str> = others.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(others, ids[5..20].iter().map(String::as_str).collect::<Vec<_>>());
        db.execute("UPDATE jobs SET attempts = 1 WHERE status = 'queued'", cairn::db::Args::default()).await.expect("changed");
        let attempted = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
        assert_eq!(jobs::claim_like(db, clock, &attempted, "a", LEASE).await.expect("claims").len(), 0);
    }

    async fn workers_are_woken_by_jobs_and_not_by_other_commits(service: Service) {
        let service = idle(service).await;
        let work = service.app.commits.subscribe_to("work");
        let tenant = tenant(&service).await;
        let commit = async |task: Option<Task>| {
            let mut tx = service.app.db.begin().await.expect("a transaction");
            if let Some(task) = task {
                let options = jobs::EnqueueOptions { group: "", dedupe_key: None, max_attempts: 1, run_at: None, small: false };
                jobs::enqueue(&mut tx, &service.app.clock, &tenant, &task, options).await.expect("enqueued");
            }
            service.app.commit(tx).await.expect("committed");
        };
        commit(None).await;
        commit(Some(Task::Crawl { crawl_id: "of another queue".to_owned() })).await;
        assert!(!work.has_changed().expect("open"));
        commit(Some(Task::Housekeeping)).await;
        assert!(work.has_changed().expect("open"));
    }

    async fn interruptions_are_bounded_but_progress_forgives_them(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        enqueue(&service, "d", None, 2).await;
        let interrupted = async || {
            let job = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
            jobs::free_all(db).await.expect("freed");
            job
        };
        for n in 0..4 {
            assert_eq!(interrupted().await.interruptions(), n);
        }
        let job = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
        let mut tx = db.begin().await.expect("a transaction");
        jobs::progressed(&mut tx, &job.tenant_id, &job.id).await.expect("noted");
        tx.commit().await.expect("committed");
        jobs::free_all(db).await.expect("freed");
        assert_eq!(interrupted().await.interruptions(), 1);
    }

    async fn a_dedupe_key_holds_until_the_job_is_finished(service: Service) {
        let service = idle(service).await;
        let (db, clock) = (&service.app.db, &service.app.clock);
        let first = enqueue(&service, "d", Some("same"), 3).await;
        assert_eq!(enqueue(&service, "d", Some("same"), 3).await, first);
        let job = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("one is due");
        jobs::finish(db, clock, &[(&job, jobs::Outcome::Done)], "a").await.expect("recorded");
        assert_ne!(enqueue(&service, "d", Some("same"), 3).await, first);
        assert_eq!(jobs::prune(db, clock.now().plus(LEASE)).await.expect("pruned"), 1);
        let mut counts = jobs::counts(db).await.expect("counted");
        counts.retain(|(_, count)| *count > 0);
        assert_eq!(counts, [(JobStatus::Queued, 1)]);
    }

    async fn schedules_enqueue_once_per_turn(service: Service) {
        let service = idle(service).await;
        let (db, clock, tenant) = (&service.app.db, &service.app.clock, tenant(&service).await);
        assert_eq!(schedules::run_due(db, clock, 3).await.expect("runs"), 0, "housekeeping waits for the night");
        let mut tx = db.begin().await.expect("begins");
        assert!(schedules::set(&mut tx, clock, &tenant, &Task::Housekeeping, "nonsense").await.is_err());
        drop(tx);
        db.execute("UPDATE job_schedules SET next_run = 0", cairn::db::Args::default()).await.expect("moved");
        assert_eq!(schedules::run_due(db, clock, 3).await.expect("runs"), 1);
        assert_eq!(schedules::run_due(db, clock, 3).await.expect("runs"), 0);
        let job = jobs::claim(db, clock, Queue::Work, "a", LEASE).await.expect("claims").expect("it was enqueued");
        assert_eq!(job.task().expect("known"), Task::Housekeeping);
        cairn::housekeeping::run(&service.app).await.expect("cleans");
    }

    async fn failures_are_retried_bounded_and_end_as_dead_letters(service: Service) {
        let service = idle(service).await;
        let id = enqueue(&service, "d", None, 2).await;
        let handler = Arc::new(Failing::default());
        run_pool(&service, handler.clone(), async |service| {
            // the back-off is real time: bring the second attempt forward
            until(service, &id, "queued").await;
            service.app.db.execute("UPDATE jobs SET run_at = 0", cairn::db::Args::default()).await.expect("moved");
            until(service, &id, "dead").await;
        }).await;
        assert_eq!((handler.runs.load(Ordering::Relaxed), handler.given_up.load(Ordering::Relaxed)), (2, 1));
        let dead = service.get("/kb/v1/jobs?status=dead").await;
        assert_eq!((&dead["data"][0]["id"], &dead["data"][0]["lastError"]), (&json!(id), &json!("the printer is on fire")));
        let retried = service.post(&format!("/kb/v1/jobs/{id}/retry"), json!({})).await;
        assert_eq!((&retried["status"], &retried["attempts"]), (&json!("queued"), &json!(0)));
        assert_eq!(service.call(Method::POST, &format!("/kb/v1/jobs/{id}/retry"), None).await.0.as_u16(), 409);
    }

    async fn a_running_job_is_cancelled_within_two_seconds(service: Service) {
        let service = idle(service).await;
        let id = enqueue(&service, "d", None, 2).await;
        run_pool(&service, Arc::new(Endless), async |service| {
            until(service, &id, "running").await;
            let began = std::time::Instant::now();
            service.post(&format!("/kb/v1/jobs/{id}/cancel"), json!({})).await;
            until(service, &id, "cancelled").await;
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        }).await;
        assert_eq!(service.call(Method::POST, &format!("/kb/v1/jobs/{id}/cancel"), None).await.0.as_u16(), 409);
    }
}

#[derive(Default)]
struct Failing {
    runs: AtomicU32,
    given_up: AtomicU32,
}

impl Run for Failing {
    fn run<'a>(&'a self, _: &'a Job, _: &'a CancellationToken) -> BoxFuture<'a, Result<()>> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(Error::unavailable("fire", "the printer is on fire")) })
    }

    fn given_up<'a>(&'a self, _: &'a Job, ending: &'a Ending) -> BoxFuture<'a, Result<()>> {
        assert!(matches!(ending, Ending::Failed(_)));
        self.given_up.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

struct Endless;

impl Run for Endless {
    fn run<'a>(&'a self, _: &'a Job, cancel: &'a CancellationToken) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            cancel.cancelled().await;
            Err(Error::unavailable("cancelled", "cancelled"))
        })
    }

    fn given_up<'a>(&'a self, _: &'a Job, ending: &'a Ending) -> BoxFuture<'a, Result<()>> {
        assert!(matches!(ending, Ending::Cancelled));
        Box::pin(async { Ok(()) })
    }
}

async fn run_pool(service: &Service, handler: Arc<dyn Run>, body: impl AsyncFnOnce(&Service)) {
    let stop = CancellationToken::new();
    let app = &service.app;
    let workers = Workers {
        count: 1,
        lease: LEASE,
        attempts: 2,
        lane: Queue::Work,
    };
    let pool = tokio::spawn(pool::run(
        app.db.clone(),
        app.clock.clone(),
        app.commits.clone(),
        handler,
        workers,
        stop.clone(),
    ));
    body(service).await;
    stop.cancel();
    pool.await.expect("the pool ends");
}

async fn until(service: &Service, id: &str, status: &str) {
    let tenant = tenant(service).await;
    eventually!(
        job in jobs::get(&service.app.db, &tenant, id).await.expect("there"),
        "job {id} becomes {status}",
        // "queued" is also the state before the first attempt
        job.status.as_str() == status && (status != "queued" || job.last_error.is_some())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parse_failure_is_final_and_a_file_can_be_ingested_again() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let (_, body) = service
        .upload(&dataset, &[("bad.pdf", b"%PDF-1.7 nothing")], &[])
        .await;
    let file = text(&body["uploadedFiles"][0]["id"]);
    let job = text(&body["uploadedFiles"][0]["jobId"]);
    assert_eq!(service.settled(&dataset, &file).await["status"], "error");
    let path = format!("/kb/v1/jobs/{job}");
    let record = eventually!(record in service.get(&path).await, "the job is done", record["status"] == "done");
    assert_eq!(
        (
            &record["status"],
            &record["attempts"],
            &record["documentId"]
        ),
        (&json!("done"), &json!(1), &json!(file)),
        "about the file, so no retry helps"
    );
    let detail = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents/{file}"))
        .await;
    assert_eq!(
        (&detail["errorCode"], &detail["progress"]),
        (&json!("damaged_file"), &json!(100))
    );
}
