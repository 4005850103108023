//! Comments on activities, and whom they mention: `@agent:role`, `@human:userId`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::people::Names;
use super::{ACTIVITY, COMMENT, access, roles, store};
use crate::app::App;
use crate::auth::{Caller, people};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

static MENTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^\w@])@(agent|human):([A-Za-z0-9][A-Za-z0-9_-]{0,63})").ok()
});
/// Longest comment in characters.
const LONGEST: usize = 20_000;
/// Type of a comment that a running agent reads before its next step.
pub const INTERVENTION: &str = "intervention_note";

/// Returns the mentions of a text, each once, as type and id.
fn mentioned(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for captures in MENTION.iter().flat_map(|regex| regex.captures_iter(text)) {
        if let (Some(kind), Some(id)) = (captures.get(1), captures.get(2)) {
            let mention = (kind.as_str().to_owned(), id.as_str().to_owned());
            if !found.contains(&mention) {
                found.push(mention);
            }
        }
    }
    found
}

/// Returns the mentions of a text with the names of the mentioned; what nobody is called is left out.
async fn resolved(app: &App, tenant_id: &str, text: &str) -> Result<Vec<Value>> {
    let found = mentioned(text);
    let ids: Vec<String> = found
        .iter()
        .filter(|(kind, _)| kind == "human")
        .map(|(_, id)| id.clone())
        .collect();
    let names = people::names(&app.db, tenant_id, &ids).await?;
    let mentions = found.into_iter().filter_map(|(kind, id)| {
        if kind == "agent" {
            let role = roles::named(&id).ok()?;
            Some(json!({"type": kind, "id": role.name, "name": role.title}))
        } else {
            let name = names.get(&id)?;
            Some(json!({"type": kind, "id": id, "name": name}))
        }
    });
    Ok(mentions.collect())
}

/// Returns a plan that adds a comment.
///
/// # Errors
/// `record_not_found`, `comment_too_long`.
pub async fn add(
    app: &App,
    caller: &Caller,
    activity_id: &str,
    message: &str,
    comment_type: &str,
) -> Result<Plan> {
    access::write(caller)?;
    let activity = store::get(app, caller.tenant(), &ACTIVITY, activity_id).await?;
    if message.chars().count() > LONGEST {
        return Err(Error::invalid(
            "comment_too_long",
            format!("a comment may have at most {LONGEST} characters"),
        ));
    }
    let body = json!({
        "text": message,
        "type": comment_type,
        "mentions": resolved(app, caller.tenant(), message).await?,
        "activity_title": activity.title,
    });
    let body: Body = serde_json::from_value(body)?;
    let new = New {
        parent_id: Some(activity.id),
        ..New::from(&body)
    };
    let record = write::draft(app, caller, &COMMENT, new)?;
    let names = Names::of(app, caller.tenant(), [record.author.as_deref()]).await?;
    let shown = shown(&record, &names)?;
    let mut plan = Plan::default();
    plan.create(&COMMENT, record);
    Ok(plan.data(201, shown))
}

/// Returns the comments on an activity, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn list(app: &App, tenant_id: &str, activity_id: &str) -> Result<Vec<Record>> {
    store::children(&app.db, tenant_id, &COMMENT, activity_id).await
}

/// Returns a comment as clients see it.
///
/// # Errors
/// When the row is damaged.
pub fn shown(comment: &Record, names: &Names) -> Result<Value> {
    let body = comment.body()?;
    Ok(json!({
        "id": comment.id,
        "text": text(&body, "text"),
        "type": text(&body, "type"),
        "author": names.actor(comment.author.as_deref()),
        "mentions": body.get("mentions").cloned().unwrap_or_else(|| json!([])),
        "createdOn": comment.created_on.rfc3339(),
    }))
}

#[cfg(test)]
mod tests {
    use super::mentioned;

    #[test]
    fn mentions_have_a_type_and_are_counted_once() {
        let found = mentioned(
            "@agent:blog-writer, see @human:01ABC and @agent:blog-writer; a@agent:x @robot:y",
        );
        let named: Vec<&str> = found.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(named, ["blog-writer", "01ABC"]);
    }
}
