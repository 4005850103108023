//! Groups of boards, which share a memory.

use super::roster;
use serde_json::{Value, json};

use super::access::{self, need_admin};
use super::{BOARD, GROUP, GROUP_MEMORY, board, json_of, store, tags, unfit};
use crate::app::App;
use crate::auth::{Caller, Principal, Scope};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// Returns the groups that a caller may see, by name: all, or those with a board that it may read.
///
/// # Errors
/// `scope_missing`.
pub async fn visible(app: &App, caller: &Caller) -> Result<Vec<Record>> {
    caller.need_unconfined(Scope::BoardsRead)?;
    let mut groups = store::all(&app.db, caller.tenant(), &GROUP, None).await?;
    if let Some(readable) = caller.boards().readable() {
        let boards = store::some(&app.db, caller.tenant(), &BOARD, &readable).await?;
        groups.retain(|g| boards.iter().any(|b| b.parent_id.as_ref() == Some(&g.id)));
    }
    groups.sort_by_key(|g| (g.title.to_lowercase(), g.id.clone()));
    Ok(groups)
}

/// Returns a group that a caller may read, or change with `writes`: one with a board that it may read or change, or for administrators any.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `group_access_denied`.
pub async fn get(app: &App, caller: &Caller, id: &str, writes: bool) -> Result<Record> {
    caller.need_unconfined(if writes {
        Scope::BoardsWrite
    } else {
        Scope::BoardsRead
    })?;
    let group = store::get(app, caller.tenant(), &GROUP, id).await?;
    let access = caller.boards();
    if access.writes_all || (!writes && access.reads_every()) {
        return Ok(group);
    }
    let boards = store::all(&app.db, caller.tenant(), &BOARD, Some(&group.id)).await?;
    let may = |b: &Record| {
        if writes {
            access.writes(&b.id)
        } else {
            access.reads(&b.id)
        }
    };
    let is_admins = boards.is_empty() && need_admin(caller).is_ok();
    if is_admins || boards.iter().any(may) {
        Ok(group)
    } else {
        Err(Error::forbidden(
            "group_access_denied",
            "Board group access denied",
        ))
    }
}

/// Returns a plan that creates a group.
///
/// # Errors
/// `admin_required`, `name_missing`.
pub fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let mut body = body.clone();
    let name = text(&body, "name").unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(unfit("name_missing", "name must not be blank"));
    }
    let given = tags::slug(text(&body, "slug").unwrap_or_default());
    let slug = [given, tags::slug(&name), app.clock.id().to_lowercase()];
    let slug = slug.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
    body.insert("name".to_owned(), json!(name));
    body.insert("slug".to_owned(), json!(slug));
    let record = write::draft(app, caller, &GROUP, New::from(&body))?;
    let shown = json_of(&GROUP, &record)?;
    let mut plan = Plan::default();
    plan.create(&GROUP, record);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that changes a group.
///
/// # Errors
/// `admin_required`, `record_not_found`, `group_access_denied`, `name_missing`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let before = get(app, caller, id, true).await?;
    let mut body = before.body()?;
    for (name, value) in patch {
        match (name.as_str(), value) {
            ("description", Value::Null) => {
                body.shift_remove(name);
            }
            (_, Value::Null) => {}
            ("slug", Value::String(slug)) => {
                body.insert(name.clone(), json!(tags::slug(slug)));
            }
            ("name", Value::String(text)) if text.trim().is_empty() => {
                return Err(unfit("name_missing", "name must not be blank"));
            }
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
    let mut after = before.clone();
    after.title = write::title(&GROUP, &body);
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.update(&GROUP, before, after, app.clock.now());
    let shown = match plan.record() {
        Some(record) => json_of(&GROUP, record)?,
        None => return Err(Error::internal("a plan without a record")),
    };
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that deletes a group with its memory; its boards stay.
///
/// # Errors
/// `admin_required`, `record_not_found`, `group_access_denied`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let group = get(app, caller, id, true).await?;
    let (tenant_id, now) = (caller.tenant(), app.clock.now());
    let mut plan = Plan::default();
    for board in store::all(&app.db, tenant_id, &BOARD, Some(&group.id)).await? {
        let mut after = board.clone();
        after.parent_id = None;
        plan.update_silently(&BOARD, board, after, now);
    }
    for entry in store::all(&app.db, tenant_id, &GROUP_MEMORY, Some(&group.id)).await? {
        plan.delete(&GROUP_MEMORY, entry);
    }
    plan.after.push(board::unlink(&group));
    plan.delete(&GROUP, group);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Returns the agents whose heartbeat a request for a group changes: those of all its boards, leads only when asked. By an administrator, or a lead of a board of the
/// group.
///
/// # Errors
/// `admin_required`, `group_access_denied`, `record_not_found`.
pub async fn heartbeat_agents(
    app: &App,
    caller: &Caller,
    group_id: &str,
    with_leads: bool,
) -> Result<(Record, Vec<super::access::Actor>)> {
    let group = store::get(app, caller.tenant(), &GROUP, group_id).await?;
    let boards = store::all(&app.db, caller.tenant(), &BOARD, Some(&group.id)).await?;
    if let Principal::Agent { .. } = caller.principal() {
        let lead = access::need_lead(app, caller).await?;
        if !boards.iter().any(|b| Some(&b.id) == lead.board_id.as_ref()) {
            return Err(Error::forbidden(
                "group_access_denied",
                "Board group access denied",
            ));
        }
    } else {
        need_admin(caller)?;
        get(app, caller, group_id, true).await?;
    }
    let mut found = Vec::new();
    for board in boards {
        let all = roster::of_board(app, caller.tenant(), &board.id).await?;
        found.extend(all.into_iter().filter(|a| with_leads || !a.is_lead));
    }
    Ok((group, found))
}
