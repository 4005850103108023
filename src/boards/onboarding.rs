//! Onboarding: the main agent of a board's gateway asks a person what the board is for, and a lead is made of the answers.

use super::calls;
use super::roster;
use serde_json::{Map, Value, json};

use super::access::{self, Actor};
use super::agents;
use super::{BOARD, ONBOARDING, board, filled, json_of, store, unfit};
use crate::app::App;
use crate::auth::{Caller, people};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// Returns the latest conversation of a board.
///
/// # Errors
/// `onboarding_not_found`.
pub async fn latest(app: &App, board: &Record) -> Result<Record> {
    let all = store::all(&app.db, &board.tenant_id, &ONBOARDING, Some(&board.id)).await?;
    all.into_iter()
        .max_by_key(|s| s.updated_on)
        .ok_or_else(|| Error::not_found("onboarding_not_found", "Not Found"))
}

/// Returns a conversation as clients see it.
///
/// # Errors
/// When the row is damaged.
pub fn shown(session: &Record) -> Result<Body> {
    json_of(&ONBOARDING, session)
}

fn status(session: &Body) -> &str {
    text(session, "status").unwrap_or("active")
}

fn messages(session: &Body) -> Vec<Value> {
    let list = session.get("messages").and_then(Value::as_array);
    list.cloned().unwrap_or_default()
}

fn message(app: &App, role: &str, content: &str) -> Value {
    json!({"role": role, "content": content, "timestamp": app.clock.now().rfc3339()})
}

/// Returns the main agent of a board's gateway.
async fn main_of(app: &App, board: &Record) -> Result<Actor> {
    let gateway_id = text(&board.body()?, "gateway_id")
        .unwrap_or_default()
        .to_owned();
    let main = roster::main_of(app, &board.tenant_id, &gateway_id).await?;
    main.ok_or_else(|| {
        unfit(
            "gateway_missing",
            "the board has no gateway with a main agent",
        )
    })
}

/// The first message: what to ask, and how to answer.
fn prompt(app: &App, board: &Record) -> Result<String> {
    let body = board.body()?;
    let url = app.config.public_url.trim_end_matches('/');
    let base = if url.is_empty() {
        format!("http://{}", app.config.listen)
    } else {
        url.to_owned()
    };
    let address = format!(
        "{base}/api/v1/agent/boards/{}/onboarding",
        super::uuid_of(&board.id)
    );
    Ok([
        "BOARD ONBOARDING REQUEST".to_owned(),
        String::new(),
        format!("Board: {}", board.title),
        format!("Description: {}", text(&body, "description").unwrap_or_default()),
        "Find out from the user what this board is for and how its lead agent should work. Ask 6 to 10 questions, one at a time: the goal and how success is measured, the date, how independent the lead is, how much it writes and in which form, how often it reports, and what the lead needs to know of the user. The last question is always whether there is anything else.".to_owned(),
        "Do not answer in this chat. Every question and the result go to Mission Control:".to_owned(),
        format!("POST {address} with your token as X-Agent-Token and JSON"),
        "- a question: {\"question\": \"…\", \"options\": [{\"id\": \"1\", \"label\": \"…\"}, {\"id\": \"2\", \"label\": \"Something else (I type it)\"}]}".to_owned(),
        "- the result: {\"status\": \"complete\", \"board_type\": \"goal\" or \"general\", \"objective\": \"…\", \"success_metrics\": {\"metric\": \"…\", \"target\": \"…\"}, \"target_date\": \"YYYY-MM-DD\", \"user_profile\": {\"preferred_name\", \"pronouns\", \"timezone\", \"notes\", \"context\"}, \"lead_agent\": {\"name\", \"identity_profile\": {\"role\", \"communication_style\", \"emoji\"}, \"autonomy_level\": ask_first|balanced|autonomous, \"verbosity\": concise|balanced|detailed, \"output_format\": bullets|mixed|narrative, \"update_cadence\": asap|hourly|daily|weekly, \"custom_instructions\"}}".to_owned(),
        "The answers of the user come to you as messages in this session.".to_owned(),
    ]
    .join("\n"))
}

async fn dispatch(app: &App, board: &Record, text: &str, what: &str) -> Result<()> {
    let main = main_of(app, board).await?;
    let sent = calls::send(app, &main, text, false).await;
    sent.map_err(|e| calls::undelivered(what, &e))
}

/// Begins a conversation, or goes on with the present one: an answer that the agent has not reacted to is sent again.
///
/// # Errors
/// `board_access_denied`, `gateway_missing`, `gateway_failed`.
pub async fn start(app: &App, caller: &Caller, board_id: &str) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let present = match latest(app, &board).await {
        Ok(session) => Some(session),
        Err(error) if error.code() == "onboarding_not_found" => None,
        Err(error) => return Err(error),
    };
    if let Some(session) = present {
        let body = session.body()?;
        if status(&body) == "active" {
            let last = messages(&body).pop();
            if let Some(last) = last.filter(|m| m["role"] == "user") {
                let said = last["content"].as_str().unwrap_or_default();
                dispatch(
                    app,
                    &board,
                    said,
                    "Gateway onboarding start dispatch failed",
                )
                .await?;
            }
            return Ok(Plan::default().data(200, Value::Object(shown(&session)?)));
        }
    }
    let main = main_of(app, &board).await?;
    let first = prompt(app, &board)?;
    dispatch(
        app,
        &board,
        &first,
        "Gateway onboarding start dispatch failed",
    )
    .await?;
    let mut body = Body::new();
    let key = text(&main.record.body()?, "openclaw_session_id").map(str::to_owned);
    body.insert("session_key".to_owned(), json!(key));
    body.insert("messages".to_owned(), json!([message(app, "user", &first)]));
    let new = New {
        parent_id: Some(board.id.clone()),
        ..New::from(&body)
    };
    let mut session = write::draft(app, caller, &ONBOARDING, new)?;
    body.insert("status".to_owned(), json!("active"));
    session.body = Value::Object(body).to_string();
    let shown = shown(&session)?;
    let mut plan = Plan::default();
    plan.relies_on.push(board);
    plan.create_silently(&ONBOARDING, session);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Stores a changed conversation, and answers with it.
fn store_session(app: &App, before: Record, body: Body) -> Result<Plan> {
    let mut after = before.clone();
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.update_silently(&ONBOARDING, before, after, app.clock.now());
    let shown = match plan.record() {
        Some(record) => shown(record)?,
        None => return Err(Error::internal("a plan without a record")),
    };
    Ok(plan.data(200, Value::Object(shown)))
}

/// Sends the answer of a person to the agent, and stores it.
///
/// # Errors
/// `board_access_denied`, `onboarding_not_found`, `gateway_failed`.
pub async fn answer(app: &App, caller: &Caller, board_id: &str, given: &Body) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let session = latest(app, &board).await?;
    let mut body = session.body()?;
    let answer = text(given, "answer").unwrap_or_default();
    let said = match filled(given, "other_text") {
        Some(other) => format!("{answer}: {other}"),
        None => answer.to_owned(),
    };
    dispatch(
        app,
        &board,
        &said,
        "Gateway onboarding answer dispatch failed",
    )
    .await?;
    let mut all = messages(&body);
    all.push(message(app, "user", &said));
    body.insert("messages".to_owned(), json!(all));
    store_session(app, session, body)
}

/// Stores a question or the result of the main agent of the board's gateway.
///
/// # Errors
/// `main_required`, `onboarding_not_found`, `onboarding_confirmed`.
pub async fn tell(app: &App, caller: &Caller, board_id: &str, given: &Body) -> Result<Plan> {
    let main = access::need_main(app, caller).await?;
    let board = store::get(app, caller.tenant(), &BOARD, board_id).await?;
    if text(&board.body()?, "gateway_id") != Some(main.gateway_id.as_str()) {
        return Err(Error::forbidden(
            "gateway_other",
            "the board is of another gateway",
        ));
    }
    let session = latest(app, &board).await?;
    let mut body = session.body()?;
    if status(&body) == "confirmed" {
        return Err(Error::conflict(
            "onboarding_confirmed",
            "Onboarding is confirmed already.",
        ));
    }
    let mut all = messages(&body);
    let content = Value::Object(given.clone()).to_string();
    all.push(message(app, "assistant", &content));
    body.insert("messages".to_owned(), json!(all));
    if text(given, "status") == Some("complete") {
        body.insert("status".to_owned(), json!("completed"));
        body.insert("draft_goal".to_owned(), Value::Object(given.clone()));
    }
    store_session(app, session, body)
}

/// Confirms what a board is for: the board takes over the goal, the person its profile, and the lead is made. Returns the plan, which answers with the board, and the
/// id of the lead.
///
/// # Errors
/// `board_access_denied`, `onboarding_not_found`, `goal_incomplete`.
pub async fn confirm(
    app: &App,
    caller: &Caller,
    board_id: &str,
    given: &Body,
) -> Result<(Plan, Option<String>)> {
    let board = access::write(app, caller, board_id).await?;
    let session = latest(app, &board).await?;
    let mut body = session.body()?;
    let empty = Map::new();
    let draft = body
        .get("draft_goal")
        .and_then(Value::as_object)
        .unwrap_or(&empty)
        .clone();
    let lead_draft = draft
        .get("lead_agent")
        .and_then(Value::as_object)
        .unwrap_or(&empty)
        .clone();
    let is_autonomous = text(&lead_draft, "autonomy_level") == Some("autonomous");
    let mut patch = given.clone();
    patch.insert("goal_confirmed".to_owned(), json!(true));
    patch.insert("goal_source".to_owned(), json!("lead_agent_onboarding"));
    patch.insert(
        "require_approval_for_done".to_owned(),
        json!(!is_autonomous),
    );
    let changed = board::change(app, caller, board.clone(), &patch).await?;

    let mut plan = Plan::default();
    body.insert("status".to_owned(), json!("confirmed"));
    let mut after = session.clone();
    after.body = Value::Object(body).to_string();
    plan.update_silently(&ONBOARDING, session, after, app.clock.now());
    let lead = match roster::lead_of(app, caller.tenant(), &board.id).await? {
        Some(_) => None,
        None => {
            let gateway_id = text(&board.body()?, "gateway_id")
                .unwrap_or_default()
                .to_owned();
            let new = agents::lead(&board, gateway_id, &lead_draft);
            Some(agents::add(app, caller, new, &mut plan)?.id)
        }
    };
    take_profile(app, caller, draft.get("user_profile")).await?;
    Ok((plan.with(changed), lead))
}

/// Takes what the agent learned of a person over into the person's profile.
async fn take_profile(app: &App, caller: &Caller, given: Option<&Value>) -> Result<()> {
    let (Some(given), Some(mut person)) = (
        given.and_then(Value::as_object),
        access::person(app, caller).await?,
    ) else {
        return Ok(());
    };
    let take = |name: &str, old: Option<String>| filled(given, name).map(str::to_owned).or(old);
    person.preferred_name = take("preferred_name", person.preferred_name);
    person.pronouns = take("pronouns", person.pronouns);
    person.timezone = take("timezone", person.timezone);
    person.notes = take("notes", person.notes);
    person.context = take("context", person.context);
    people::save(&app.db, &person).await
}
