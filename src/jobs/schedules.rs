//! Recurring jobs: cron expressions in UTC. An overdue schedule enqueues one job, however often it was missed.

use std::str::FromStr;

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{EnqueueOptions, Task, enqueue};

#[derive(Debug, sqlx::FromRow)]
struct Due {
    id: String,
    tenant_id: String,
    payload: String,
    cron: String,
    next_run: Time,
}

/// Returns the first time after `after` that matches a five-field cron expression.
///
/// # Errors
/// `cron_invalid`.
pub fn next(cron: &str, after: Time) -> Result<Time> {
    let bad = |e: &dyn std::fmt::Display| {
        Error::invalid(
            "cron_invalid",
            format!("{cron:?} is not a valid cron expression: {e}"),
        )
    };
    let schedule = croner::Cron::from_str(cron).map_err(|e| bad(&e))?;
    let from = chrono::DateTime::from_timestamp_millis(after.0)
        .ok_or_else(|| bad(&"the time is out of range"))?;
    let found = schedule
        .find_next_occurrence(&from, false)
        .map_err(|e| bad(&e))?;
    Ok(Time(found.timestamp_millis()))
}

/// Sets a schedule; does nothing when the same tenant, task and cron have one.
///
/// # Errors
/// `cron_invalid`.
pub async fn set(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    task: &Task,
    cron: &str,
) -> Result<()> {
    let first = next(cron, clock.now())?;
    tx.execute(
        "INSERT INTO job_schedules (id, tenant_id, kind, payload, cron, next_run, enabled) VALUES ($1, $2, $3, $4, $5, $6, TRUE)
         ON CONFLICT (tenant_id, kind, payload) DO UPDATE SET cron = excluded.cron, enabled = TRUE,
         next_run = CASE WHEN job_schedules.cron = excluded.cron THEN job_schedules.next_run ELSE excluded.next_run END",
        args![clock.id(), tenant_id, task.kind(), serde_json::to_string(task)?, cron, first],
    )
    .await?;
    Ok(())
}

/// Removes a schedule, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn clear(tx: &mut Tx, tenant_id: &str, task: &Task) -> Result<()> {
    tx.execute(
        "DELETE FROM job_schedules WHERE tenant_id = $1 AND kind = $2 AND payload = $3",
        args![tenant_id, task.kind(), serde_json::to_string(task)?],
    )
    .await?;
    Ok(())
}

/// Enqueues the jobs of due schedules and returns their number.
///
/// # Errors
/// Those of the database.
pub async fn run_due(db: &Db, clock: &Clock, max_attempts: i64) -> Result<usize> {
    let now = clock.now();
    let due: Vec<Due> =
        db.all("SELECT id, tenant_id, payload, cron, next_run FROM job_schedules WHERE enabled = TRUE AND next_run <= $1", args![now]).await?;
    let mut enqueued = 0;
    for schedule in due {
        let task: Task = serde_json::from_str(&schedule.payload)?;
        let mut tx = db.begin().await?;
        // Another process may have enqueued this one already.
        let ours = tx
            .execute(
                "UPDATE job_schedules SET next_run = $1 WHERE id = $2 AND tenant_id = $3 AND next_run = $4",
                args![next(&schedule.cron, now)?, &schedule.id, &schedule.tenant_id, schedule.next_run],
            )
            .await?;
        if ours > 0 {
            let key = format!("schedule:{}", schedule.id);
            enqueue(
                &mut tx,
                clock,
                &schedule.tenant_id,
                &task,
                EnqueueOptions {
                    group: "",
                    dedupe_key: Some(&key),
                    max_attempts,
                    run_at: None,
                    small: false,
                },
            )
            .await?;
            enqueued += 1;
        }
        tx.commit().await?;
    }
    Ok(enqueued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expressions_are_read_in_utc() {
        let after = Time(1_775_034_000_000); // 2026-04-01T09:00:00Z, a Wednesday
        assert_eq!(
            next("17 3 * * *", after).expect("valid").rfc3339(),
            "2026-04-02T03:17:00.000Z"
        );
        assert_eq!(
            next("not cron", after).expect_err("invalid").code(),
            "cron_invalid"
        );
    }
}
