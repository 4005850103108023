//! Tags of tasks.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::access::need_admin;
use super::{TAG, TASK, json_of, store, with_data};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// Returns the short form of a name: lower-case letters and digits, joined by dashes; `tag` when nothing is left.
#[must_use]
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Checks name, slug and colour of a tag, as they will be.
fn check(body: &mut Body) -> Result<()> {
    let given = text(body, "slug").map(slug).filter(|s| !s.is_empty());
    let slug = given.unwrap_or_else(|| slug(text(body, "name").unwrap_or_default()));
    if slug.is_empty() {
        return Err(super::unfit(
            "slug_invalid",
            "slug must have letters or digits",
        ));
    }
    body.insert("slug".to_owned(), json!(slug));
    let color = text(body, "color").unwrap_or("9e9e9e");
    let color = color.trim().trim_start_matches('#').to_lowercase();
    if color.len() != 6 || !color.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(super::unfit(
            "color_invalid",
            "color must be a 6-digit hex value",
        ));
    }
    body.insert("color".to_owned(), json!(color));
    Ok(())
}

/// Returns a plan that creates a tag.
///
/// # Errors
/// `admin_required`, `slug_invalid`, `color_invalid`, `key_taken`.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let mut body = body.clone();
    check(&mut body)?;
    let record = write::draft(app, caller, &TAG, New::from(&body))?;
    let mut plan = Plan::default();
    let shown = shown(app, &record).await?;
    plan.create_silently(&TAG, record);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that changes a tag.
///
/// # Errors
/// Those of [`create`]; `record_not_found`, `nothing_to_change`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &TAG, id).await?;
    if patch.is_empty() {
        return Err(super::unfit(
            "nothing_to_change",
            "At least one field is required",
        ));
    }
    let mut body = before.body()?;
    body.extend(patch.clone());
    if body.get("name").is_none_or(Value::is_null) {
        return Err(super::unfit("name_missing", "name must not be null"));
    }
    check(&mut body)?;
    let mut after = before.clone();
    after.title = write::title(&TAG, &body);
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.update_silently(&TAG, before, after, app.clock.now());
    let record = plan.record().cloned();
    match record {
        Some(record) => {
            let shown = shown(app, &record).await?;
            Ok(plan.data(200, Value::Object(shown)))
        }
        None => Err(Error::internal("a plan without a record")),
    }
}

/// Returns a plan that deletes a tag and takes it from its tasks.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let tag = store::get(app, caller.tenant(), &TAG, id).await?;
    let mut plan = Plan::default();
    let now = app.clock.now();
    for task in tagged(app, caller.tenant(), id).await? {
        let mut body = task.body()?;
        let mut tags = super::list(&body, "tag_ids");
        tags.retain(|t| t != id);
        body.insert("tag_ids".to_owned(), json!(tags));
        let mut after = task.clone();
        after.body = Value::Object(body).to_string();
        plan.update_silently(&TASK, task, after, now);
    }
    plan.delete(&TAG, tag);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Returns the tasks that have a tag.
async fn tagged(app: &App, tenant_id: &str, id: &str) -> Result<Vec<Record>> {
    let found: Vec<(String,)> = app
        .db
        .all(
            "SELECT record_id FROM record_facets WHERE kind = $1 AND name = 'tag' AND value = $2 AND tenant_id = $3",
            args![TASK.name, id.to_lowercase(), tenant_id],
        )
        .await?;
    let ids: Vec<String> = found.into_iter().map(|(id,)| id).collect();
    store::some(&app.db, tenant_id, &TASK, &ids).await
}

/// Returns a tag with the number of its tasks.
///
/// # Errors
/// Those of the database.
pub async fn shown(app: &App, tag: &Record) -> Result<Body> {
    let mut body = json_of(&TAG, tag)?;
    let (count,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM record_facets WHERE kind = $1 AND name = 'tag' AND value = $2 AND tenant_id = $3",
            args![TASK.name, tag.id.to_lowercase(), &tag.tenant_id],
        )
        .await?;
    body.insert("task_count".to_owned(), json!(count));
    Ok(body)
}

/// Returns all tags of a tenant by name.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, tenant_id: &str) -> Result<Vec<Record>> {
    let mut tags = store::all(&app.db, tenant_id, &TAG, None).await?;
    tags.sort_by_key(|t| (t.title.to_lowercase(), t.id.clone()));
    Ok(tags)
}

/// Checks the tags of a task, in order and without duplicates.
///
/// # Errors
/// `tag_not_found`, with the missing ids.
pub(super) async fn checked(app: &App, tenant_id: &str, given: &[String]) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for id in given {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    let known = store::some(&app.db, tenant_id, &TAG, &ids).await?;
    let missing: Vec<&String> = ids
        .iter()
        .filter(|id| !known.iter().any(|r| r.id == **id))
        .collect();
    if missing.is_empty() {
        Ok(ids)
    } else {
        let error = Error::not_found("tag_not_found", "One or more tags were not found.");
        Err(with_data(error, json!({"missing_tag_ids": missing})))
    }
}

/// Returns what tasks show of their tags, by id.
pub(super) async fn references(
    app: &App,
    tenant_id: &str,
    ids: &[String],
) -> Result<HashMap<String, Value>> {
    let known = store::some(&app.db, tenant_id, &TAG, ids).await?;
    known
        .iter()
        .map(|tag| Ok((tag.id.clone(), reference(tag)?)))
        .collect()
}

/// Returns what tasks show of a tag.
///
/// # Errors
/// When the row is damaged.
pub fn reference(tag: &Record) -> Result<Value> {
    let body = tag.body()?;
    Ok(json!({
        "id": tag.id,
        "name": text(&body, "name"),
        "slug": text(&body, "slug"),
        "color": text(&body, "color"),
    }))
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn slugs_are_words_joined_by_dashes() {
        assert_eq!(slug("  Bug & Fix! "), "bug-fix");
        assert_eq!(slug("Größe"), "größe");
        assert_eq!(slug("!!"), "");
    }
}
