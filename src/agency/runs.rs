//! Runs: conversations of agents with models about activities. A run is queued, claimed by one job at a time within the concurrency of its role, and stored step by
//! step.

use async_trait::async_trait;
use serde_json::Value;

use super::spend;
use crate::app::App;
use crate::auth::quotas;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::llm::{Message, Usage};
use crate::records::plan::Effect;

/// A run.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Run {
    pub id: String,
    pub tenant_id: String,
    pub activity_id: String,
    pub campaign_id: Option<String>,
    pub role: String,
    /// `queued`, `running`, `completed`, `failed` or `timeout`.
    pub status: String,
    pub job_id: Option<String>,
    pub model: Option<String>,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost_micros: i64,
    pub first_event: Option<i64>,
    pub error: Option<String>,
    pub created_on: Time,
    pub started_on: Option<Time>,
    pub completed_on: Option<Time>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, activity_id, campaign_id, role, status, job_id, model, input_tokens, output_tokens, cost_micros, first_event, error, created_on, started_on, completed_on FROM activity_runs ",
            $rest
        )
    };
}

/// Priority of work that somebody asked for urgently.
pub const HIGH: i64 = 1;

/// Queues a run of an activity, and the job that executes it.
#[derive(Debug, Clone)]
pub struct Queue {
    pub id: String,
    pub tenant_id: String,
    pub activity_id: String,
    pub campaign_id: Option<String>,
    pub deliverable_type: Option<String>,
    pub role: String,
    /// Higher ones go first.
    pub priority: i64,
}

#[async_trait]
impl Effect for Queue {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        tx.execute(
            "INSERT INTO activity_runs (id, tenant_id, activity_id, campaign_id, deliverable_type, role, status, priority, created_on) VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8)",
            args![
                &self.id,
                &self.tenant_id,
                &self.activity_id,
                &self.campaign_id,
                &self.deliverable_type,
                &self.role,
                self.priority,
                app.clock.now()
            ],
        )
        .await?;
        enqueue(app, tx, &self.tenant_id, &self.activity_id, &self.id).await?;
        Ok(None)
    }
}

async fn enqueue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    activity_id: &str,
    run_id: &str,
) -> Result<()> {
    let task = Task::RunActivity {
        activity_id: activity_id.to_owned(),
        run_id: run_id.to_owned(),
    };
    let options = EnqueueOptions {
        group: "",
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    };
    jobs::enqueue(tx, &app.clock, tenant_id, &task, options).await?;
    Ok(())
}

/// Enqueues jobs for the queued runs of a campaign, or of some activities.
#[derive(Debug, Clone)]
pub enum Wake {
    /// All of a campaign: tenant and campaign.
    Campaign(String, String),
    /// Those of activities: tenant and activities.
    Activities(String, Vec<String>),
}

#[async_trait]
impl Effect for Wake {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, queued): (_, Vec<(String, String)>) = match self {
            Self::Campaign(tenant_id, campaign_id) => {
                let queued = tx.all(
                    "SELECT id, activity_id FROM activity_runs WHERE campaign_id = $1 AND status = 'queued' AND tenant_id = $2 ORDER BY priority DESC, id",
                    args![campaign_id, tenant_id],
                );
                (tenant_id, queued.await?)
            }
            Self::Activities(tenant_id, ids) => {
                let queued = tx.all_in(
                    "SELECT id, activity_id FROM activity_runs WHERE status = 'queued' AND tenant_id = $1 AND activity_id IN ($LIST)",
                    args![tenant_id],
                    ids,
                );
                (tenant_id, queued.await?)
            }
        };
        for (run_id, activity_id) in queued {
            enqueue(app, tx, tenant_id, &activity_id, &run_id).await?;
        }
        Ok(None)
    }
}

/// Returns a run.
///
/// # Errors
/// Those of the database.
pub async fn get(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Run>> {
    db.optional(
        select!("WHERE id = $1 AND tenant_id = $2"),
        args![id, tenant_id],
    )
    .await
}

/// Returns the runs of an activity, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn of_activity(db: &Db, tenant_id: &str, activity_id: &str) -> Result<Vec<Run>> {
    db.all(
        select!("WHERE activity_id = $1 AND tenant_id = $2 ORDER BY id"),
        args![activity_id, tenant_id],
    )
    .await
}

/// Costs of activities by id, in millionths of a dollar, with the times of their first start and last end.
pub type Totals = std::collections::HashMap<String, (i64, Option<Time>, Option<Time>)>;

/// Returns the totals of activities that have runs.
///
/// # Errors
/// Those of the database.
pub async fn totals(db: &Db, tenant_id: &str, activity_ids: &[String]) -> Result<Totals> {
    if activity_ids.is_empty() {
        return Ok(Totals::new());
    }
    let rows: Vec<(String, i64, Option<Time>, Option<Time>)> = db
        .all_in(
            "SELECT activity_id, CAST(SUM(cost_micros) AS BIGINT), MIN(started_on), MAX(completed_on) FROM activity_runs WHERE tenant_id = $1 AND activity_id IN ($LIST) GROUP BY activity_id",
            args![tenant_id],
            activity_ids,
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, cost, start, end)| (id, (cost, start, end)))
        .collect())
}

/// Locks the runs of a role against those who start or end one.
async fn lock_role(tx: &mut Tx, tenant_id: &str, role: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO agent_roles (role, tenant_id) VALUES ($1, $2) ON CONFLICT (role, tenant_id) DO UPDATE SET role = excluded.role",
        args![role, tenant_id],
    )
    .await?;
    Ok(())
}

/// Claims a run for a job: a queued one when fewer than `concurrency` of its role are running, or one whose job has died. Returns whether the job may execute it.
///
/// # Errors
/// Those of the database.
pub async fn claim(
    app: &App,
    run: &Run,
    job_id: &str,
    concurrency: i64,
    model: Option<&str>,
) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    lock_role(&mut tx, &run.tenant_id, &run.role).await?;
    let now = app.clock.now();
    let current: Option<(String, Option<String>)> = tx
        .optional(
            "SELECT status, job_id FROM activity_runs WHERE id = $1 AND tenant_id = $2",
            args![&run.id, &run.tenant_id],
        )
        .await?;
    let may = match current {
        Some((status, owner)) if status == "running" => {
            owner.as_deref() == Some(job_id)
                || match owner {
                    Some(owner) => !has_worker(&mut tx, &run.tenant_id, &owner).await?,
                    None => true,
                }
        }
        Some((status, _)) if status == "queued" => {
            let (running,): (i64,) = tx
                .optional(
                    "SELECT COUNT(*) FROM activity_runs WHERE role = $1 AND status = 'running' AND tenant_id = $2",
                    args![&run.role, &run.tenant_id],
                )
                .await?
                .unwrap_or_default();
            running < concurrency
        }
        _ => false,
    };
    if may {
        tx.execute(
            "UPDATE activity_runs SET status = 'running', job_id = $1, model = COALESCE($2, model), started_on = COALESCE(started_on, $3),
             first_event = COALESCE(first_event, (SELECT MAX(value) FROM counters WHERE name = 'events'), 0) WHERE id = $4 AND tenant_id = $5",
            args![job_id, model.map(str::to_owned), now, &run.id, &run.tenant_id],
        )
        .await?;
        tx.execute(
            "UPDATE agent_roles SET last_active_on = $1 WHERE role = $2 AND tenant_id = $3",
            args![now, &run.role, &run.tenant_id],
        )
        .await?;
    }
    app.commit(tx).await?;
    Ok(may)
}

/// Returns whether a job is being executed or will be.
async fn has_worker(tx: &mut Tx, tenant_id: &str, job_id: &str) -> Result<bool> {
    let found: Option<(String,)> = tx
        .optional(
            "SELECT id FROM jobs WHERE id = $1 AND tenant_id = $2 AND status IN ('queued', 'running')",
            args![job_id, tenant_id],
        )
        .await?;
    Ok(found.is_some())
}

/// Returns a run to the queue, with its steps, and starts the next of its role. `wakes` enqueues a job for the run itself, too.
///
/// # Errors
/// Those of the database.
pub async fn put_back(app: &App, run: &Run, wakes: bool) -> Result<()> {
    let mut tx = app.db.begin().await?;
    lock_role(&mut tx, &run.tenant_id, &run.role).await?;
    let stopped = tx
        .execute(
            "UPDATE activity_runs SET status = 'queued', job_id = NULL WHERE id = $1 AND status = 'running' AND tenant_id = $2",
            args![&run.id, &run.tenant_id],
        )
        .await?;
    if wakes {
        enqueue(app, &mut tx, &run.tenant_id, &run.activity_id, &run.id).await?;
    } else if stopped > 0 {
        start_next(app, &mut tx, &run.tenant_id, &run.role, &run.id).await?;
    }
    app.commit(tx).await
}

/// Ends a run in the transaction that changes its activity, and starts the next of its role.
#[derive(Debug, Clone)]
pub struct End {
    pub run: Run,
    /// `completed`, `failed` or `timeout`.
    pub status: &'static str,
    pub error: Option<String>,
}

#[async_trait]
impl Effect for End {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (run, now) = (&self.run, app.clock.now());
        lock_role(tx, &run.tenant_id, &run.role).await?;
        tx.execute(
            "UPDATE activity_runs SET status = $1, error = $2, completed_on = $3, started_on = COALESCE(started_on, $3) WHERE id = $4 AND tenant_id = $5",
            args![self.status, &self.error, now, &run.id, &run.tenant_id],
        )
        .await?;
        // A call that was open when the job was given up is counted with what was reserved, the most that it can have cost.
        let open: Vec<(i64, i64)> = tx
            .all(
                "UPDATE run_steps SET state = 'lost', cost_micros = reserved_micros, reserved_micros = 0 WHERE run_id = $1 AND state = 'started' AND tenant_id = $2 RETURNING number, cost_micros",
                args![&run.id, &run.tenant_id],
            )
            .await?;
        for (_, cost) in open {
            add_usage(tx, run, (0, 0), cost).await?;
            if let Some(campaign_id) = &run.campaign_id {
                spend::settle(app, tx, &run.tenant_id, campaign_id, cost, cost).await?;
            }
        }
        let failed_on = self.error.is_some().then_some(now);
        tx.execute(
            "UPDATE agent_roles SET last_error = $1, last_error_on = $2, last_active_on = $3 WHERE role = $4 AND tenant_id = $5",
            args![&self.error, failed_on, now, &run.role, &run.tenant_id],
        )
        .await?;
        start_next(app, tx, &run.tenant_id, &run.role, &run.id).await?;
        Ok(None)
    }
}

/// Runs that are started when one ends: more than one, because the first may be stopped before it begins.
const NEXT: i64 = 2;

/// Enqueues jobs for the queued runs of a role that are next.
async fn start_next(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    role: &str,
    ended: &str,
) -> Result<()> {
    let queued: Vec<(String, String)> = tx
        .all(
            "SELECT r.id, r.activity_id FROM activity_runs r JOIN records a ON a.id = r.activity_id AND a.tenant_id = r.tenant_id
             LEFT JOIN records c ON c.id = r.campaign_id AND c.tenant_id = r.tenant_id
             WHERE r.role = $1 AND r.status = 'queued' AND r.tenant_id = $2 AND r.id <> $3 AND a.status = 'assigned' AND (c.id IS NULL OR c.status IN ('draft', 'active')) ORDER BY r.priority DESC, r.id LIMIT $4",
            args![role, tenant_id, ended, NEXT],
        )
        .await?;
    for (run_id, activity_id) in queued {
        enqueue(app, tx, tenant_id, &activity_id, &run_id).await?;
    }
    Ok(())
}

/// Starts the next runs of every role: those of a server that ended between the end of one run and the start of another.
///
/// # Errors
/// Those of the database.
pub async fn start_waiting(app: &App, tenant_id: &str) -> Result<()> {
    let roles: Vec<(String,)> = app
        .db
        .all(
            "SELECT DISTINCT role FROM activity_runs WHERE status = 'queued' AND tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    for (role,) in roles {
        let mut tx = app.db.begin().await?;
        start_next(app, &mut tx, tenant_id, &role, "").await?;
        app.commit(tx).await?;
    }
    Ok(())
}

/// A step of a run.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Step {
    pub number: i64,
    /// `started`, `done` or `lost`.
    pub state: String,
    pub message: Option<String>,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost_micros: i64,
    pub reserved_micros: i64,
}

impl Step {
    /// Returns the message of a step that is done.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn message(&self) -> Result<Option<Message>> {
        match &self.message {
            Some(json) if self.state == "done" => Ok(Some(serde_json::from_str(json)?)),
            _ => Ok(None),
        }
    }
}

/// Returns the steps of a run in order.
///
/// # Errors
/// Those of the database.
pub async fn steps(db: &Db, tenant_id: &str, run_id: &str) -> Result<Vec<Step>> {
    db.all(
        "SELECT number, state, message, input_tokens, output_tokens, cost_micros, reserved_micros FROM run_steps WHERE run_id = $1 AND tenant_id = $2 ORDER BY number",
        args![run_id, tenant_id],
    )
    .await
}

/// Begins a call of the model: reserves its greatest cost and stores the step. Returns `false` when the budget of the campaign is used up.
///
/// # Errors
/// Those of the database.
pub async fn begin_step(app: &App, run: &Run, number: i64, reserved: i64) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    if let Some(campaign_id) = &run.campaign_id
        && !spend::reserve(&mut tx, &run.tenant_id, campaign_id, reserved).await?
    {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO run_steps (run_id, number, tenant_id, state, reserved_micros, created_on) VALUES ($1, $2, $3, 'started', $4, $5)",
        args![&run.id, number, &run.tenant_id, reserved, app.clock.now()],
    )
    .await?;
    app.commit(tx).await?;
    Ok(true)
}

/// The end of a call of the model.
#[derive(Debug)]
pub struct Called<'a> {
    pub number: i64,
    /// `None` for a response that was lost.
    pub message: Option<&'a Message>,
    pub usage: Usage,
    pub cost: i64,
    pub reserved: i64,
}

/// Ends a call of the model: stores the response, and what it cost instead of what was reserved.
///
/// # Errors
/// Those of the database.
pub async fn end_step(app: &App, run: &Run, job_id: &str, called: &Called<'_>) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let message = called.message.map(serde_json::to_string).transpose()?;
    let state = if message.is_some() { "done" } else { "lost" };
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (input, output) = (
        tokens(called.usage.input_tokens),
        tokens(called.usage.output_tokens),
    );
    // Only a step that is still open has a cost to settle.
    let settled = tx
        .execute(
            "UPDATE run_steps SET state = $1, message = $2, input_tokens = $3, output_tokens = $4, cost_micros = $5, reserved_micros = 0
             WHERE run_id = $6 AND number = $7 AND state = 'started' AND tenant_id = $8",
            args![state, message, input, output, called.cost, &run.id, called.number, &run.tenant_id],
        )
        .await?;
    if settled == 0 {
        return Err(Error::conflict(
            "run_taken_over",
            "another job has continued this run",
        ));
    }
    add_usage(&mut tx, run, (input, output), called.cost).await?;
    quotas::add_tokens(&mut tx, &app.clock, &run.tenant_id, called.usage.total()).await?;
    if let Some(campaign_id) = &run.campaign_id {
        spend::settle(
            app,
            &mut tx,
            &run.tenant_id,
            campaign_id,
            called.reserved,
            called.cost,
        )
        .await?;
    }
    jobs::progressed(&mut tx, &run.tenant_id, job_id).await?;
    app.commit(tx).await
}

async fn add_usage(tx: &mut Tx, run: &Run, (input, output): (i64, i64), cost: i64) -> Result<()> {
    tx.execute(
        "UPDATE activity_runs SET input_tokens = input_tokens + $1, output_tokens = output_tokens + $2, cost_micros = cost_micros + $3 WHERE id = $4 AND tenant_id = $5",
        args![input, output, cost, &run.id, &run.tenant_id],
    )
    .await?;
    Ok(())
}

/// Stores the result of a tool call, in the transaction of what the tool changed.
#[derive(Debug, Clone)]
pub struct StoreResult {
    pub run: Run,
    pub number: i64,
    pub message: Message,
}

#[async_trait]
impl Effect for StoreResult {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let stored = tx
            .execute(
                "INSERT INTO run_steps (run_id, number, tenant_id, state, message, created_on) VALUES ($1, $2, $3, 'done', $4, $5) ON CONFLICT (run_id, number) DO NOTHING",
                args![
                    &self.run.id,
                    self.number,
                    &self.run.tenant_id,
                    serde_json::to_string(&self.message)?,
                    app.clock.now()
                ],
            )
            .await?;
        if stored == 0 {
            return Err(Error::conflict(
                "run_taken_over",
                "another job has continued this run",
            ));
        }
        Ok(None)
    }
}
