//! The feedback hub: agents report faults and wishes, the operator answers, agents acknowledge.

use serde_json::{Value, json};

use super::FEEDBACK;
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};
use crate::records::write::{self, New, Patch};
use crate::records::{Record, columns};

/// Types of feedback.
pub const TYPES: [&str; 5] = ["bug", "feature", "error", "question", "other"];
/// Priorities.
pub const PRIORITIES: [&str; 4] = ["critical", "high", "medium", "low"];
/// Answers that a session shows.
const UNREAD: i64 = 50;

/// Returns a plan that submits feedback.
///
/// # Errors
/// Those of [`write::create`].
pub async fn submit(app: &App, caller: &Caller, mut body: Body) -> Result<Plan> {
    for name in ["response", "unread", "responded_at", "status"] {
        body.shift_remove(name);
    }
    body.entry("priority").or_insert(json!("medium"));
    write::create(app, caller, &FEEDBACK, New::from(&body)).await
}

/// Returns the answers that nobody has acknowledged, the newest first.
///
/// # Errors
/// Those of the database.
pub async fn unread(app: &App, tenant_id: &str) -> Result<Vec<Record>> {
    let query = Offset {
        filters: vec![("unread".to_owned(), "true".to_owned())],
        limit: UNREAD,
        ..Offset::default()
    };
    Ok(store::at_offset(app, tenant_id, &FEEDBACK, &query).await?.0)
}

/// Feedback of any tenant, for the operator of the installation; of `status`, if given. The newest first.
///
/// # Errors
/// `scope_missing`, `tenant_not_operator`.
pub async fn of_installation(
    app: &App,
    caller: &Caller,
    status: Option<&str>,
    limit: i64,
) -> Result<Vec<Record>> {
    tenants::need_operator(&app.db, caller).await?;
    app.db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM records WHERE kind = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) ORDER BY id DESC LIMIT $3"
            ),
            args![FEEDBACK.name, status, limit],
        )
        .await
}

/// Returns the tenant whose feedback this is: that of the caller, or of any tenant when the caller is the operator of the installation.
///
/// # Errors
/// `record_not_found`.
pub async fn owner(app: &App, caller: &Caller, public_id: &str) -> Result<String> {
    let id = FEEDBACK.row_id(public_id).unwrap_or(public_id);
    if tenants::need_operator(&app.db, caller).await.is_ok() {
        let found: Option<(String,)> = app
            .db
            .optional(
                "SELECT tenant_id FROM records WHERE kind = $1 AND id = $2",
                args![FEEDBACK.name, id],
            )
            .await?;
        if let Some((tenant_id,)) = found {
            return Ok(tenant_id);
        }
    }
    Ok(caller.tenant().to_owned())
}

/// Returns a plan that changes feedback of `owner`, a tenant from [`owner`]: anybody of the tenant acknowledges an answer with `acknowledged`; the operator sets
/// `response` and `status`.
///
/// # Errors
/// `record_not_found`, `body_invalid`, `tenant_not_operator`.
pub async fn change(
    app: &App,
    caller: &Caller,
    owner: &Caller,
    public_id: &str,
    given: &Body,
) -> Result<Plan> {
    let id = FEEDBACK.row_id(public_id).unwrap_or(public_id);
    let record = store::get(app, owner.tenant(), &FEEDBACK, id)
        .await
        .map_err(|error| error.with_hint("GET /api/openclaw/feedback lists your submissions"))?;
    let mut body = Body::new();
    for (name, value) in given {
        match name.as_str() {
            "acknowledged" if value == &json!(true) => {
                if text(&record.body()?, "response").is_none()
                    && record.status.as_deref() == Some("submitted")
                {
                    return Err(Error::conflict(
                        "feedback_unanswered",
                        "this feedback has no answer yet",
                    )
                    .with_hint("poll GET /api/openclaw/feedback?id=… until status is resolved"));
                }
                body.insert("unread".to_owned(), json!(false));
            }
            "acknowledged" => return Err(invalid("acknowledged can only be set to true")),
            "id" | "feedbackId" => {}
            "response" | "status" => {
                tenants::need_operator(&app.db, caller)
                    .await
                    .map_err(|error| {
                        error.with_hint("agents send {\"acknowledged\": true}; only the operator of this installation answers")
                    })?;
                body.insert(name.clone(), value.clone());
                body.insert("unread".to_owned(), json!(true));
                body.insert("responded_at".to_owned(), json!(app.clock.now().rfc3339()));
            }
            other => {
                return Err(invalid(format!(
                    "unknown field {other:?}; send acknowledged, or as operator response and status"
                )));
            }
        }
    }
    if body.is_empty() {
        return Err(invalid(
            "nothing to change; send acknowledged: true, or as operator response and status",
        ));
    }
    // An answer without a status resolves.
    if body.contains_key("response") {
        body.entry("status").or_insert(json!("resolved"));
    }
    let patch = Patch::from(&body);
    write::update(app, owner, &FEEDBACK, record, patch).await
}

/// Returns an answer as sessions show it.
///
/// # Errors
/// When the row is damaged.
pub fn answer(record: &Record) -> Result<Value> {
    let body = record.body()?;
    let id = FEEDBACK.public_id(&record.id);
    Ok(json!({
        "feedbackId": id,
        "title": record.title,
        "status": record.status,
        "response": body.get("response"),
        "acknowledge": format!("PATCH /api/openclaw/feedback/{id} {{\"acknowledged\": true}}"),
    }))
}
