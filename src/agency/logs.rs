//! The operational log of a team: what agents, tools, approvals and budgets did.

use async_trait::async_trait;
use serde_json::Value;

use crate::app::App;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::page::{Listing, Page};
use crate::records::plan::Effect;

/// Severities.
pub const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
/// Parts of the work.
pub const CATEGORIES: [&str; 5] = ["agent", "tool", "approval", "system", "billing"];

/// An entry to write.
#[derive(Debug, Clone)]
pub struct NewEntry {
    pub tenant_id: String,
    pub level: &'static str,
    pub category: &'static str,
    pub message: String,
    /// An object.
    pub context: Value,
    pub activity_id: Option<String>,
    pub agent_role: Option<String>,
}

impl NewEntry {
    /// Writes the entry.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(&self, app: &App, tx: &mut Tx) -> Result<()> {
        tx.execute(
            "INSERT INTO agency_log (id, tenant_id, level, category, message, context, activity_id, agent_role, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            args![
                app.clock.id(),
                &self.tenant_id,
                self.level,
                self.category,
                &self.message,
                self.context.to_string(),
                &self.activity_id,
                &self.agent_role,
                app.clock.now()
            ],
        )
        .await?;
        Ok(())
    }
}

#[async_trait]
impl Effect for NewEntry {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        self.write(app, tx).await?;
        Ok(None)
    }
}

/// An entry.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: String,
    pub level: String,
    pub category: String,
    pub message: String,
    /// JSON object.
    pub context: String,
    pub activity_id: Option<String>,
    pub agent_role: Option<String>,
    pub created_on: Time,
}

/// Which entries a list has.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub level: Option<String>,
    pub category: Option<String>,
    pub agent_role: Option<String>,
    pub activity_id: Option<String>,
    /// From this time on.
    pub start: Option<Time>,
    /// Before this time.
    pub end: Option<Time>,
}

/// Returns a page of the entries of a tenant, newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    tenant_id: &str,
    filter: &Filter,
    page: &Page,
) -> Result<Listing<Entry>> {
    let before = if page.after.is_empty() {
        crate::records::store::LAST
    } else {
        &page.after
    };
    let rows: Vec<Entry> = app
        .db
        .all(
            "SELECT id, level, category, message, context, activity_id, agent_role, created_on FROM agency_log
             WHERE tenant_id = $1 AND id < $2 AND (CAST($3 AS TEXT) IS NULL OR level = $3) AND (CAST($4 AS TEXT) IS NULL OR category = $4)
             AND (CAST($5 AS TEXT) IS NULL OR agent_role = $5) AND (CAST($6 AS TEXT) IS NULL OR activity_id = $6)
             AND (CAST($7 AS BIGINT) IS NULL OR created_on >= $7) AND (CAST($8 AS BIGINT) IS NULL OR created_on < $8)
             ORDER BY id DESC LIMIT $9",
            args![
                tenant_id,
                before,
                &filter.level,
                &filter.category,
                &filter.agent_role,
                &filter.activity_id,
                filter.start,
                filter.end,
                page.fetch()
            ],
        )
        .await?;
    Ok(page.listing(rows, |row| row.id.clone()))
}

/// Removes entries that were written before a time.
///
/// # Errors
/// Those of the database.
pub async fn prune(app: &App, before: Time) -> Result<u64> {
    app.db
        .execute(
            "DELETE FROM agency_log WHERE created_on < $1",
            args![before],
        )
        .await
}
