//! Tickets: the time of the first response, and what messages do to them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COMMENT, MESSAGE, QUEUE, TICKET};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crm;
use crate::error::Result;
use crate::records::body::{Body, text};
use crate::records::check;
use crate::records::plan::{Change, Plan};
use crate::records::store;
use crate::records::write::{self, New};

pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    crm::fill_in_company(change)?;
    if change.is_new() {
        change.body.entry("priority").or_insert(json!("normal"));
        change.body.entry("source").or_insert(json!("api"));
        let now = change.now;
        return set_due(change, now).await;
    }
    let since = change.after.created_on;
    if change.changes("queue_id") && !change.body.contains_key("first_responded_at") {
        set_due(change, since).await?;
    }
    let has_ended = |status: Option<&str>| matches!(status, Some("resolved" | "closed"));
    if !has_ended(change.status()) {
        change.remove("resolved_at");
    } else if !has_ended(change.old_status()) {
        change.set("resolved_at", change.now.rfc3339());
    }
    Ok(())
}

/// Sets until when a ticket should have its first response, by the target of its queue.
async fn set_due(change: &mut Change<'_>, since: Time) -> Result<()> {
    let target = match text(&change.body, "queue_id") {
        Some(id) => {
            let queue = store::load(change.app, change.caller.tenant(), &QUEUE, id).await?;
            let body = queue.body()?;
            body.get("first_response_target_minutes")
                .and_then(Value::as_u64)
        }
        None => None,
    };
    match target {
        Some(minutes) => {
            let due = since.plus(Duration::from_secs(minutes * 60));
            change.set("first_response_due_at", due.rfc3339());
        }
        None => change.remove("first_response_due_at"),
    }
    Ok(())
}

/// Returns a plan that adds a message to a ticket. The first outbound one counts for the target of its queue; an inbound one opens a ticket that waited for it.
///
/// # Errors
/// `record_not_found`, `body_invalid`.
pub async fn message(app: &App, caller: &Caller, ticket_id: &str, given: &Body) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), &TICKET, ticket_id).await?;
    let mut body = given.clone();
    body.entry("direction").or_insert(json!("outbound"));
    body.entry("channel").or_insert(json!("api"));
    check::body(&MESSAGE, &body, true)?;
    body.insert("ticket_id".to_owned(), json!(ticket_id));
    let now = app.clock.now();
    let mut plan = Plan::default();
    let mut ticket = before.body()?;
    let mut after = before.clone();
    let status = before.status.as_deref().unwrap_or_default();
    if text(&body, "direction") == Some("outbound") {
        if !ticket.contains_key("first_responded_at") {
            ticket.insert("first_responded_at".to_owned(), json!(now.rfc3339()));
            let late = text(&ticket, "first_response_due_at")
                .is_some_and(|due| now.rfc3339().as_str() > due);
            ticket.insert("first_response_late".to_owned(), json!(late));
        }
        if status == "new" {
            after.status = Some("open".to_owned());
        }
    } else if matches!(status, "waiting_on_customer" | "resolved" | "closed") {
        after.status = Some("open".to_owned());
        ticket.shift_remove("resolved_at");
    }
    ticket.insert("last_message_at".to_owned(), json!(now.rfc3339()));
    after.body = Value::Object(ticket).to_string();
    let new = New {
        body,
        parent_id: Some(before.id.clone()),
        ..New::default()
    };
    plan.update(&TICKET, before, after, now);
    plan.create(&MESSAGE, write::draft(app, caller, &MESSAGE, new)?);
    Ok(plan)
}

/// Returns a plan that adds an internal comment to a ticket.
///
/// # Errors
/// `record_not_found`, `body_invalid`.
pub async fn comment(app: &App, caller: &Caller, ticket_id: &str, given: &Body) -> Result<Plan> {
    let ticket = store::load(app, caller.tenant(), &TICKET, ticket_id).await?;
    let mut body = given.clone();
    body.entry("pinned").or_insert(json!(false));
    check::body(&COMMENT, &body, true)?;
    body.insert("ticket_id".to_owned(), json!(ticket_id));
    let new = New {
        body,
        parent_id: Some(ticket.id),
        ..New::default()
    };
    let mut plan = Plan::default();
    plan.create(&COMMENT, write::draft(app, caller, &COMMENT, new)?);
    Ok(plan)
}
