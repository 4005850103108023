//! Spending of campaigns, in millionths of a US dollar. Before a call of a model its greatest cost is reserved, and only while spending and reservations are below
//! the cap: so the cap is exceeded by one call at most.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use super::notices::Notice;
use super::usd;
use crate::app::App;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::records::plan::Effect;

/// Sets the cap of a campaign.
#[derive(Debug)]
pub struct SetCap {
    pub tenant_id: String,
    pub campaign_id: String,
    /// `None` for no cap.
    pub cap: Option<i64>,
}

#[async_trait]
impl Effect for SetCap {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        tx.execute(
            "INSERT INTO campaign_spend (campaign_id, tenant_id, cap_micros) VALUES ($1, $2, $3) ON CONFLICT (campaign_id) DO UPDATE SET cap_micros = excluded.cap_micros",
            args![&self.campaign_id, &self.tenant_id, self.cap],
        )
        .await?;
        Ok(None)
    }
}

/// Reserves an amount; `false` when the cap is reached.
///
/// # Errors
/// Those of the database.
pub async fn reserve(tx: &mut Tx, tenant_id: &str, campaign_id: &str, amount: i64) -> Result<bool> {
    let reserved = tx
        .execute(
            "UPDATE campaign_spend SET reserved_micros = reserved_micros + $1
             WHERE campaign_id = $2 AND tenant_id = $3 AND (cap_micros IS NULL OR spent_micros + reserved_micros < cap_micros)",
            args![amount, campaign_id, tenant_id],
        )
        .await?;
    Ok(reserved > 0)
}

/// Returns whether a campaign may spend more.
///
/// # Errors
/// Those of the database.
pub async fn has_room(db: &Db, tenant_id: &str, campaign_id: &str) -> Result<bool> {
    let found: Option<(String,)> = db
        .optional(
            "SELECT campaign_id FROM campaign_spend WHERE campaign_id = $1 AND tenant_id = $2 AND (cap_micros IS NULL OR spent_micros + reserved_micros < cap_micros)",
            args![campaign_id, tenant_id],
        )
        .await?;
    Ok(found.is_some())
}

/// Replaces a reservation by what was spent, and tells the team when the campaign has spent nine tenths of its cap, and all of it.
///
/// # Errors
/// Those of the database.
pub async fn settle(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    campaign_id: &str,
    reserved: i64,
    spent: i64,
) -> Result<()> {
    let now: Option<(i64, Option<i64>)> = tx
        .optional(
            "UPDATE campaign_spend SET reserved_micros = reserved_micros - $1, spent_micros = spent_micros + $2 WHERE campaign_id = $3 AND tenant_id = $4 RETURNING spent_micros, cap_micros",
            args![reserved, spent, campaign_id, tenant_id],
        )
        .await?;
    let Some((total, Some(cap))) = now else {
        return Ok(());
    };
    let before = total - spent;
    for (share, alert) in [(90, "campaign_cap_90pct"), (100, "campaign_cap_reached")] {
        let limit = cap.saturating_mul(share) / 100;
        if before < limit && limit <= total {
            Notice::budget(tenant_id, alert, campaign_id, usd(total), usd(cap))
                .send(app, tx)
                .await?;
        }
    }
    Ok(())
}

/// Returns the spending of campaigns by id.
///
/// # Errors
/// Those of the database.
pub async fn of_campaigns(
    db: &Db,
    tenant_id: &str,
    ids: &[String],
) -> Result<std::collections::HashMap<String, i64>> {
    if ids.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let rows: Vec<(String, i64)> = db
        .all_in(
            "SELECT campaign_id, spent_micros FROM campaign_spend WHERE tenant_id = $1 AND campaign_id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    Ok(rows.into_iter().collect())
}

/// Returns what each agent role has spent in a campaign, the greatest amount first.
///
/// # Errors
/// Those of the database.
pub async fn by_agent(db: &Db, tenant_id: &str, campaign_id: &str) -> Result<Vec<(String, i64)>> {
    db.all(
        "SELECT role, CAST(SUM(cost_micros) AS BIGINT) AS cost FROM activity_runs WHERE campaign_id = $1 AND tenant_id = $2 GROUP BY role HAVING SUM(cost_micros) > 0 ORDER BY cost DESC, role",
        args![campaign_id, tenant_id],
    )
    .await
}

/// How a breakdown is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    Agent,
    Model,
    Campaign,
    DeliverableType,
}

/// Spending in a time.
#[derive(Debug, Default)]
pub struct Report {
    pub total: i64,
    /// Cap and spending of all campaigns with a cap that are not archived.
    pub caps: Option<(i64, i64)>,
    /// Label and amount, the greatest first.
    pub breakdown: Vec<(String, i64)>,
    /// Amounts by day.
    pub days: BTreeMap<String, i64>,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    created_on: Time,
    cost_micros: i64,
    role: String,
    model: Option<String>,
    campaign_id: Option<String>,
    deliverable_type: Option<String>,
}

/// Steps that a report reads at most; more are an error, not a wrong sum.
const MOST: i64 = 500_000;

/// Returns the spending from `start` to `end`, which is excluded.
///
/// # Errors
/// `period_too_long`.
pub async fn report(
    app: &App,
    tenant_id: &str,
    (start, end): (Time, Time),
    group_by: GroupBy,
) -> Result<Report> {
    let rows: Vec<Row> = app
        .db
        .all(
            "SELECT s.created_on, s.cost_micros, r.role, r.model, r.campaign_id, r.deliverable_type FROM run_steps s JOIN activity_runs r ON r.id = s.run_id AND r.tenant_id = s.tenant_id
             WHERE s.created_on >= $1 AND s.created_on < $2 AND s.tenant_id = $3 AND s.cost_micros > 0 LIMIT $4",
            args![start, end, tenant_id, MOST + 1],
        )
        .await?;
    if rows.len() > usize::try_from(MOST).unwrap_or(usize::MAX) {
        return Err(Error::unprocessable(
            "period_too_long",
            format!("the period has more than {MOST} calls of models; choose a shorter one"),
        ));
    }
    let mut report = Report::default();
    let mut groups: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        report.total += row.cost_micros;
        let day: String = row.created_on.rfc3339().chars().take(10).collect();
        *report.days.entry(day).or_default() += row.cost_micros;
        let label = match group_by {
            GroupBy::Agent => Some(row.role),
            GroupBy::Model => row.model,
            GroupBy::Campaign => row.campaign_id,
            GroupBy::DeliverableType => row.deliverable_type,
        };
        *groups
            .entry(label.unwrap_or_else(|| "none".to_owned()))
            .or_default() += row.cost_micros;
    }
    report.breakdown = groups.into_iter().collect();
    report.breakdown.sort_by_key(|(_, cost)| -cost);
    let caps: Option<(i64, i64, i64)> = app
        .db
        .optional(
            "SELECT COUNT(*), CAST(COALESCE(SUM(s.cap_micros), 0) AS BIGINT), CAST(COALESCE(SUM(s.spent_micros), 0) AS BIGINT) FROM campaign_spend s
             JOIN records c ON c.id = s.campaign_id AND c.tenant_id = s.tenant_id WHERE s.tenant_id = $1 AND s.cap_micros IS NOT NULL AND c.status <> 'archived'",
            args![tenant_id],
        )
        .await?;
    report.caps = caps
        .filter(|(count, ..)| *count > 0)
        .map(|(_, cap, spent)| (cap, spent));
    Ok(report)
}
