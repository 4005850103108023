//! The completion of an activity, and what follows from it.

use serde_json::json;

use super::notices::{Notice, Output};
use super::{ACTIVITY, activities, list, reports, requests, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Completes an activity in a plan: those that wait for it go on, its request is fulfilled, the team is told.
///
/// # Errors
/// Those of the database.
pub async fn complete(
    app: &App,
    caller: &Caller,
    activity: Record,
    mut body: Body,
    plan: &mut Plan,
) -> Result<()> {
    let now = app.clock.now();
    body.insert("done_at".to_owned(), json!(now.rfc3339()));
    body.shift_remove("blocked_reason");
    let tenant_id = activity.tenant_id.clone();
    for dependent in dependents(app, &activity).await? {
        let mut waiting = list(&dependent.body()?, "depends_on");
        waiting.retain(|id| *id != activity.id);
        let others = store::some(&app.db, &tenant_id, &ACTIVITY, &waiting).await?;
        let (done, open): (Vec<Record>, Vec<Record>) = others
            .into_iter()
            .partition(|a| a.status.as_deref() == Some("done"));
        if done.len() < waiting.len() {
            // Of two that are completed at the same time, the second one has to see the first.
            plan.relies_on.extend(open);
        } else if dependent.status.as_deref() == Some("created") {
            activities::assign_again(app, dependent, "predecessor_done", |_| {}, plan)?;
        }
    }
    if let Some(parent_id) = text(&body, "parent_activity_id") {
        activities::continue_parent(app, &tenant_id, parent_id, &activity.id, plan).await?;
    }
    if let Some(request_id) = text(&body, "request_id") {
        requests::fulfil(app, &tenant_id, request_id, plan).await?;
    }
    if text(&body, "type") == Some("performance_report") {
        reports::publish(app, caller, &activity, &body, plan).await?;
    }
    plan.after.push(Box::new(Notice::completed(
        &tenant_id,
        &activity.id,
        activity.parent_id.as_deref(),
    )));
    plan.after.push(Box::new(Output {
        tenant_id,
        activity_id: activity.id.clone(),
        event: "completed",
        data: json!({"status": "done"}),
    }));
    let after = Record {
        status: Some("done".to_owned()),
        ..super::with_body(&activity, body)
    };
    plan.update(&ACTIVITY, activity, after, now);
    Ok(())
}

/// Returns the activities that depend on one.
async fn dependents(app: &App, activity: &Record) -> Result<Vec<Record>> {
    let filters = vec![("depends_on".to_owned(), activity.id.clone())];
    store::matching(app, &activity.tenant_id, &ACTIVITY, filters).await
}
