//! The agents of boards and gateways: reading them, and what follows from their settings.

use super::access::Actor;
use super::{AGENT, BOARD, activity, store};
use crate::app::App;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::text;

/// Returns the agents of a board, newest first.
///
/// # Errors
/// Those of the database.
pub async fn of_board(app: &App, tenant_id: &str, board_id: &str) -> Result<Vec<Actor>> {
    let all = store::all(&app.db, tenant_id, &AGENT, Some(board_id)).await?;
    all.into_iter().map(Actor::of).collect()
}

/// Returns the lead of a board.
///
/// # Errors
/// Those of the database.
pub async fn lead_of(app: &App, tenant_id: &str, board_id: &str) -> Result<Option<Actor>> {
    let all = of_board(app, tenant_id, board_id).await?;
    Ok(all.into_iter().find(|a| a.is_lead))
}

/// Returns the agents of a gateway, newest first.
///
/// # Errors
/// Those of the database.
pub async fn of_gateway(app: &App, tenant_id: &str, gateway_id: &str) -> Result<Vec<Actor>> {
    let all = store::all(&app.db, tenant_id, &AGENT, None).await?;
    let mut found = Vec::new();
    for record in all {
        let actor = Actor::of(record)?;
        if actor.gateway_id == gateway_id {
            found.push(actor);
        }
    }
    Ok(found)
}

/// Returns the main agent of a gateway.
///
/// # Errors
/// Those of the database.
pub async fn main_of(app: &App, tenant_id: &str, gateway_id: &str) -> Result<Option<Actor>> {
    let all = of_gateway(app, tenant_id, gateway_id).await?;
    Ok(all.into_iter().find(Actor::is_main))
}

/// Returns the agent with a name, ignoring case: on a board, or among all.
///
/// # Errors
/// Those of the database.
pub async fn by_name(
    app: &App,
    tenant_id: &str,
    name: &str,
    board_id: Option<&str>,
) -> Result<Option<Record>> {
    let all = store::all(&app.db, tenant_id, &AGENT, board_id).await?;
    let name = name.trim().to_lowercase();
    Ok(all.into_iter().find(|a| a.title.to_lowercase() == name))
}

/// Returns the entry about an agent.
#[must_use]
pub(super) fn entry(event: &'static str, agent: &Actor, message: String) -> activity::Happened {
    activity::Happened {
        event_type: event.into(),
        message,
        agent_id: Some(agent.id.clone()),
        board_id: agent.board_id.clone(),
        ..activity::Happened::default()
    }
}

/// Returns the board of an agent.
///
/// # Errors
/// Those of the database.
pub(super) async fn board_of(app: &App, agent: &Actor) -> Result<Option<Record>> {
    match &agent.board_id {
        Some(id) => store::one(app, &agent.record.tenant_id, &BOARD, id).await,
        None => Ok(None),
    }
}

/// The id of an agent at its gateway: the second part of its session key.
pub fn at_gateway(agent: &Actor) -> Result<(String, String)> {
    let body = agent.record.body()?;
    let key = text(&body, "openclaw_session_id")
        .unwrap_or_default()
        .to_owned();
    let id = key.split(':').nth(1).unwrap_or_default().to_owned();
    Ok((id, key))
}
