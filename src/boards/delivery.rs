//! The job that sends notices to agents, and the entries of the activity about success and failure.

use super::access::Actor;
use super::activity::{self, Happened};
use super::{AGENT, calls, store};
use crate::app::App;
use crate::error::Result;
use crate::jobs::Task;

/// Tells an agent; runs as a job.
///
/// # Errors
/// Those of the gateway, so that the job is tried again.
pub async fn run(app: &App, tenant_id: &str, task: &Task) -> Result<()> {
    let Task::TellAgent {
        agent_id,
        text,
        deliver,
        event,
        task_id,
        board_id,
    } = task
    else {
        return Ok(());
    };
    let Some(agent) = store::one(app, tenant_id, &AGENT, agent_id).await? else {
        return Ok(());
    };
    let agent = Actor::of(agent)?;
    calls::send(app, &agent, text, *deliver).await?;
    if !event.is_empty() {
        let entry = Happened {
            event_type: format!("{event}_notified").into(),
            message: format!("Agent notified: {}.", agent.name),
            agent_id: Some(agent.id),
            task_id: task_id.clone(),
            board_id: board_id.clone(),
            ..Happened::default()
        };
        activity::write(app, tenant_id, &entry).await?;
    }
    Ok(())
}

/// Records that an agent could not be told.
///
/// # Errors
/// Those of the database.
pub async fn failed(app: &App, tenant_id: &str, task: &Task, reason: &str) -> Result<()> {
    let Task::TellAgent {
        agent_id,
        event,
        task_id,
        board_id,
        ..
    } = task
    else {
        return Ok(());
    };
    if event.is_empty() {
        return Ok(());
    }
    let entry = Happened {
        event_type: format!("{event}_notify_failed").into(),
        message: format!("Agent could not be notified: {reason}"),
        agent_id: Some(agent_id.clone()),
        task_id: task_id.clone(),
        board_id: board_id.clone(),
        ..Happened::default()
    };
    activity::write(app, tenant_id, &entry).await
}
