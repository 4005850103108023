//! States of agents: provisioning and signs of life.

use std::time::Duration;

use super::super::access::Actor;
use super::super::activity;
use super::super::roster::entry;
use crate::app::App;
use crate::clock::Time;
use crate::db::{Db, args};
use crate::error::Result;
use crate::records::Record;

/// An agent that was not seen for this long is offline.
const OFFLINE: Duration = Duration::from_secs(600);
/// Requests of an agent within this time count as one sign of life.
const TOUCH: Duration = Duration::from_secs(30);

/// The state of an agent.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct State {
    /// `provisioning`, `updating`, `online`, `offline`, `deleting`, or a word of the agent's own.
    pub status: String,
    pub last_seen_on: Option<Time>,
    pub woken_on: Option<Time>,
    pub generation: i64,
    /// Generation whose provisioning or removal has ended, with or without an error.
    pub settled: i64,
    pub wake_attempts: i64,
    pub last_error: Option<String>,
    pub updated_on: Time,
}

impl State {
    /// Returns the status as clients see it.
    pub(super) fn shown_status(&self, now: Time) -> &str {
        match (self.status.as_str(), self.last_seen_on) {
            ("deleting" | "updating", _) => &self.status,
            (_, None) => "provisioning",
            (_, Some(seen)) if now.since(seen) > OFFLINE => "offline",
            (status, Some(_)) => status,
        }
    }
}

/// Returns the state of an agent.
pub(super) async fn get(db: &Db, tenant_id: &str, agent_id: &str) -> Result<Option<State>> {
    db.optional(
        "SELECT status, last_seen_on, woken_on, generation, settled, wake_attempts, last_error, updated_on FROM agent_states WHERE agent_id = $1 AND tenant_id = $2",
        args![agent_id, tenant_id],
    )
    .await
}

/// Records that an agent made a request, at most every 30 seconds.
///
/// # Errors
/// Those of the database.
pub async fn touch(app: &App, tenant_id: &str, agent_id: &str) -> Result<()> {
    let now = app.clock.now();
    let state = get(&app.db, tenant_id, agent_id).await?;
    let Some(state) = state else { return Ok(()) };
    if state
        .last_seen_on
        .is_some_and(|seen| now.since(seen) < TOUCH)
    {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    tx.execute(
        "UPDATE agent_states SET last_seen_on = $1, updated_on = $1, status = CASE WHEN status IN ('updating', 'deleting') THEN status ELSE 'online' END WHERE agent_id = $2 AND tenant_id = $3",
        args![now, agent_id, tenant_id],
    )
    .await?;
    let board: Option<(Option<String>,)> = tx
        .optional(
            "SELECT parent_id FROM records WHERE id = $1 AND tenant_id = $2",
            args![agent_id, tenant_id],
        )
        .await?;
    let part = board.and_then(|(id,)| id).unwrap_or_default();
    activity::tell(app, &mut tx, tenant_id, &part, "agent", agent_id, None).await?;
    app.commit(tx).await
}

/// Records a heartbeat: a sign of life, after which the agent counts as awake.
pub(super) async fn beat(app: &App, agent: &Record, status: Option<&str>) -> Result<()> {
    let now = app.clock.now();
    let actor = Actor::of(agent.clone())?;
    let mut tx = app.db.begin().await?;
    tx.execute(
        "UPDATE agent_states SET last_seen_on = $1, updated_on = $1, wake_attempts = 0, last_error = NULL,
         status = CASE WHEN status = 'deleting' THEN status WHEN CAST($2 AS TEXT) IS NOT NULL THEN $2 ELSE 'online' END WHERE agent_id = $3 AND tenant_id = $4",
        args![now, status, &agent.id, &agent.tenant_id],
    )
    .await?;
    let event = entry(
        "agent.heartbeat",
        &actor,
        format!("Heartbeat received from {}.", actor.name),
    );
    event.write(app, &mut tx, &agent.tenant_id).await?;
    let part = actor.board_id.clone().unwrap_or_default();
    activity::tell(
        app,
        &mut tx,
        &agent.tenant_id,
        &part,
        "agent",
        &agent.id,
        None,
    )
    .await?;
    app.commit(tx).await
}

/// Returns the number of the agents of a board that were seen since a time.
///
/// # Errors
/// Those of the database.
pub async fn seen(app: &App, tenant_id: &str, board_id: &str, since: Time) -> Result<i64> {
    let (count,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM agent_states s JOIN records r ON r.id = s.agent_id WHERE r.parent_id = $1 AND r.kind = 'board_agent' AND s.tenant_id = $2 AND s.last_seen_on >= $3",
            args![board_id, tenant_id, since],
        )
        .await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_offline_ten_minutes_after_its_last_sign_of_life() {
        let state = |status: &str, seen: Option<i64>| State {
            status: status.to_owned(),
            last_seen_on: seen.map(Time),
            woken_on: None,
            generation: 1,
            settled: 1,
            wake_attempts: 0,
            last_error: None,
            updated_on: Time(0),
        };
        let at = |s: State| s.shown_status(Time(700_000)).to_owned();
        assert_eq!(at(state("online", Some(690_000))), "online");
        assert_eq!(at(state("online", Some(0))), "offline");
        assert_eq!(at(state("online", None)), "provisioning");
        assert_eq!(at(state("updating", Some(0))), "updating");
        assert_eq!(at(state("deleting", None)), "deleting");
    }
}
