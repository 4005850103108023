//! When leads were last contacted, and how often what happened, from the activities about them.

use std::collections::HashMap;

use crate::app::App;
use crate::clock::Time;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;
use crate::work::ACTIVITY;

/// Returns when a lead was last contacted; `None` when it never was.
///
/// # Errors
/// Those of the database.
pub async fn last_of(app: &App, tenant_id: &str, lead_id: &str) -> Result<Option<Time>> {
    let (last,): (Option<Time>,) = app
        .db
        .one(
            "SELECT MAX(r.created_on) FROM record_facets f JOIN records r ON r.id = f.record_id AND r.tenant_id = f.tenant_id
             WHERE f.kind = $1 AND f.name = 'related_resource_id' AND f.value = $2 AND f.tenant_id = $3",
            args![ACTIVITY.name, LEAD.public_id(lead_id).to_lowercase(), tenant_id],
        )
        .await?;
    Ok(last)
}

/// Returns when each lead of a tenant was last contacted, by the ids of their rows.
///
/// # Errors
/// Those of the database.
pub async fn last_of_all(app: &App, tenant_id: &str) -> Result<HashMap<String, Time>> {
    let rows: Vec<(String, Time)> = app
        .db
        .all(
            "SELECT f.value, MAX(r.created_on) FROM record_facets f JOIN records r ON r.id = f.record_id AND r.tenant_id = f.tenant_id
             WHERE f.kind = $1 AND f.name = 'related_resource_id' AND f.value LIKE 'lead_%' AND f.tenant_id = $2 GROUP BY f.value",
            args![ACTIVITY.name, tenant_id],
        )
        .await?;
    // Facets have no case; the ids of rows are upper-case.
    let id = |value: &str| value.strip_prefix("lead_").map(str::to_uppercase);
    Ok(rows
        .into_iter()
        .filter_map(|(value, at)| Some((id(&value)?, at)))
        .collect())
}

/// Returns how many touchpoints about leads of each type were logged since a time.
///
/// # Errors
/// Those of the database.
pub async fn count_since(app: &App, tenant_id: &str, since: Time) -> Result<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT f.value, COUNT(*) FROM record_facets f JOIN records r ON r.id = f.record_id AND r.tenant_id = f.tenant_id
             WHERE f.kind = $1 AND f.name = 'touchpoint_type' AND f.tenant_id = $2 AND r.created_on >= $3 GROUP BY f.value",
            args![ACTIVITY.name, tenant_id, since],
        )
        .await?;
    Ok(rows.into_iter().collect())
}
