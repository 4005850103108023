//! Signals: an event is counted on the lead, and in the same transaction rules may move the lead and
//! sequences may begin.

use serde_json::json;

use super::events::counted;
use super::rules::{self, Facts};
use super::sequences::enrol;
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::Body;
use crate::records::plan::Plan;
use crate::records::write::{self, Patch};

/// Returns a plan that counts an event on a lead, moves the lead by the first rule that applies, and lets sequences begin. `value` is clamped to 0 to 100.
///
/// # Errors
/// Those of [`write::update`].
pub async fn record(
    app: &App,
    caller: &Caller,
    lead: Record,
    event: &'static str,
    value: Option<f64>,
) -> Result<Plan> {
    let mut body = lead.body()?;
    let now = app.clock.now();
    let value = value.filter(|v| v.is_finite()).map(|v| v.clamp(0.0, 100.0));
    let signals = counted(&body, event, value, &now.rfc3339());
    body.insert("sales_signals".to_owned(), signals.clone());
    let facts = Facts::of(app, caller, &lead, &body).await?;
    let verdict = rules::evaluate(app, caller, event, &facts).await?;
    let mut patch = Patch {
        computed: Body::from_iter([("sales_signals".to_owned(), signals)]),
        is_silent: true,
        ..Patch::default()
    };
    let mut events = vec![event];
    if let Some(moved) = &verdict.moved {
        patch
            .body
            .insert("stage_id".to_owned(), json!(moved.stage_id));
        patch
            .computed
            .insert("moved_by".to_owned(), moved.reason.clone());
        events.push("stage_changed");
    }
    let mut plan = write::update(app, caller, &LEAD, lead.clone(), patch).await?;
    plan.shown.insert("automation".to_owned(), verdict.trace());
    enrol::trigger(app, caller, &mut plan, &lead, &events).await?;
    Ok(plan)
}
