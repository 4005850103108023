//! Who may do what on boards: people by role and board access, agents by rank.

use super::{AGENT, BOARD, flag, store};
use crate::app::App;
use crate::auth::people::{self, Person};
use crate::auth::{Caller, Principal, Scope};
use crate::error::{Error, Result};
use crate::records::body::text;
use crate::records::{Kind, Record};

/// An agent that acts.
#[derive(Debug, Clone)]
pub struct Actor {
    pub record: Record,
    pub id: String,
    pub name: String,
    /// `None` for the main agent of a gateway.
    pub board_id: Option<String>,
    pub gateway_id: String,
    pub is_lead: bool,
}

impl Actor {
    /// Returns the agent of a record.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of(record: Record) -> Result<Self> {
        let body = record.body()?;
        Ok(Self {
            id: record.id.clone(),
            name: record.title.clone(),
            board_id: record.parent_id.clone(),
            gateway_id: text(&body, "gateway_id").unwrap_or_default().to_owned(),
            is_lead: flag(&body, "is_board_lead"),
            record,
        })
    }

    /// Returns whether it is the main agent of its gateway.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.board_id.is_none()
    }
}

/// Returns the agent that a caller is; `None` for people and programs.
///
/// # Errors
/// Those of the database.
pub async fn agent(app: &App, caller: &Caller) -> Result<Option<Actor>> {
    let Principal::Agent { id, .. } = caller.principal() else {
        return Ok(None);
    };
    let record = store::one(app, caller.tenant(), &AGENT, id).await?;
    record.map(Actor::of).transpose()
}

/// Returns the agent that a caller is.
///
/// # Errors
/// `agent_required` for people and programs.
pub async fn need_agent(app: &App, caller: &Caller) -> Result<Actor> {
    agent(app, caller).await?.ok_or_else(|| {
        Error::unauthorized(
            "agent_required",
            "this is for agents: send the token of an agent as X-Agent-Token",
        )
    })
}

/// Returns the agent that a caller is, which must lead its board.
///
/// # Errors
/// `agent_required`, `lead_required`.
pub async fn need_lead(app: &App, caller: &Caller) -> Result<Actor> {
    let agent = need_agent(app, caller).await?;
    if agent.is_lead {
        Ok(agent)
    } else {
        Err(Error::forbidden(
            "lead_required",
            "Only board leads can perform this action",
        ))
    }
}

/// Returns the agent that a caller is, which must be the main agent of its gateway.
///
/// # Errors
/// `agent_required`, `main_required`.
pub async fn need_main(app: &App, caller: &Caller) -> Result<Actor> {
    let agent = need_agent(app, caller).await?;
    if agent.is_main() {
        Ok(agent)
    } else {
        Err(Error::forbidden(
            "main_required",
            "Only the dedicated gateway agent may call this endpoint.",
        ))
    }
}

/// Demands a person or a program, not an agent.
///
/// # Errors
/// `person_required`.
pub fn need_person(caller: &Caller) -> Result<()> {
    match caller.principal() {
        Principal::Agent { .. } => Err(Error::unauthorized(
            "person_required",
            "this is not for agents",
        )),
        Principal::Local | Principal::Owner | Principal::Key { .. } | Principal::User { .. } => {
            Ok(())
        }
    }
}

/// Demands an administrator of the organisation.
///
/// # Errors
/// `person_required`, `admin_required`.
pub fn need_admin(caller: &Caller) -> Result<()> {
    need_person(caller)?;
    if caller.may(Scope::KeysManage) && caller.may(Scope::BoardsWrite) {
        caller.refuse_confined()
    } else {
        Err(Error::forbidden(
            "admin_required",
            "Only organization admins can do this",
        ))
    }
}

fn denied() -> Error {
    Error::forbidden("board_access_denied", "Board access denied")
}

/// Returns a board that a caller may read.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `board_access_denied`.
pub async fn read(app: &App, caller: &Caller, board_id: &str) -> Result<Record> {
    caller.need_unconfined(Scope::BoardsRead)?;
    let board = store::get(app, caller.tenant(), &BOARD, board_id).await?;
    if caller.boards().reads(&board.id) {
        Ok(board)
    } else {
        Err(denied())
    }
}

/// Returns a board that a caller may change.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `board_access_denied`.
pub async fn write(app: &App, caller: &Caller, board_id: &str) -> Result<Record> {
    caller.need_unconfined(Scope::BoardsWrite)?;
    let board = store::get(app, caller.tenant(), &BOARD, board_id).await?;
    if caller.boards().writes(&board.id) {
        Ok(board)
    } else {
        Err(denied())
    }
}

/// Returns a record of a board.
///
/// # Errors
/// `record_not_found` for records of other boards, too.
pub async fn part(app: &App, kind: &'static Kind, board: &Record, id: &str) -> Result<Record> {
    let record = store::get(app, &board.tenant_id, kind, id).await?;
    if record.parent_id.as_deref() == Some(board.id.as_str()) {
        Ok(record)
    } else {
        Err(crate::records::store::not_found(kind))
    }
}

/// Returns the person behind a caller, or `None` for agents and programs that act for nobody.
///
/// # Errors
/// Those of the database.
pub async fn person(app: &App, caller: &Caller) -> Result<Option<Person>> {
    match people::of_caller(&app.db, &app.clock, caller).await {
        Ok(person) => Ok(Some(person)),
        Err(error) if error.code() == "person_required" => Ok(None),
        Err(error) => Err(error),
    }
}
