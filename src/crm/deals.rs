//! Deals: their stages, and the moves between these.

use serde_json::{Value, json};

use super::{CURRENCY, STAGE, companies};
use crate::error::{Error, Result};
use crate::records::body::text;
use crate::records::plan::Change;
use crate::records::store::{self, ListQuery};

/// Stages that every workspace has beside its own.
pub(super) const STAGES: [&str; 7] = [
    "new",
    "discovery",
    "qualified",
    "proposal",
    "negotiation",
    "won",
    "lost",
];
/// Moves between stages that a deal keeps; the audit has all.
const MOVES: usize = 100;

pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    companies::fill_in(change)?;
    if change.is_new() {
        change.body.entry("stage").or_insert(json!("new"));
    }
    if change.changes("stage") {
        check_stage(change).await?;
    }
    if !change.is_new() && change.changes("stage") {
        let mut moves = change
            .body
            .get("stage_moves")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        moves.push(json!({
            "from": change.old.get("stage"),
            "to": change.body.get("stage"),
            "at": change.now.rfc3339(),
            "by": change.caller.actor_id()
        }));
        let skipped = moves.len().saturating_sub(MOVES);
        change.set("stage_moves", json!(&moves[skipped..]));
    }
    if change
        .body
        .get("amount_cents")
        .is_some_and(|a| !a.is_null())
    {
        change.body.entry("currency").or_insert(json!(CURRENCY));
    }
    Ok(())
}

/// Checks the stage of a deal: the key or the id of a stage, or one that every workspace has.
async fn check_stage(change: &Change<'_>) -> Result<()> {
    let Some(stage) = text(&change.body, "stage") else {
        return Ok(());
    };
    let (app, tenant_id) = (change.app, change.caller.tenant());
    if STAGES.contains(&stage)
        || STAGE.row_id(stage).is_some() && store::load(app, tenant_id, &STAGE, stage).await.is_ok()
    {
        return Ok(());
    }
    let query = ListQuery {
        filters: vec![("key".to_owned(), stage.to_owned())],
        limit: 1,
        ..ListQuery::default()
    };
    let (found, _) = store::list(app, tenant_id, &STAGE, &query).await?;
    if found.is_empty() {
        return Err(Error::not_found(
            "record_not_found",
            format!(
                "there is no deal stage {stage:?}; create it, or use one of {}",
                STAGES.join(", ")
            ),
        ));
    }
    Ok(())
}
