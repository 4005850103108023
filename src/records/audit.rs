//! The audit: every change of a record leaves an entry, in its own transaction.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::body::Body;
use super::kind::Kind;
use super::record::Record;
use super::request::Request;
use super::store;
use crate::app::App;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::page::{Listing, Page};

/// A change of a record.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: String,
    pub entity_kind: String,
    pub entity_id: String,
    /// `create`, `update`, `delete`, or what an operation calls it.
    pub action: String,
    /// The key that asked for it; absent for the service itself.
    pub actor: Option<String>,
    pub operation: String,
    /// The request, as in the log.
    pub request_id: String,
    /// JSON object: field to `[before, after]`.
    pub changes: String,
    pub created_on: Time,
}

/// Bytes of JSON of a value that an entry holds whole; of longer ones it holds the beginning of the text and the size.
const VALUE: usize = 4096;

/// Returns a value as entries hold it.
fn excerpt(value: Option<&Value>) -> Value {
    let Some(value) = value else {
        return Value::Null;
    };
    let json = value.to_string();
    if json.len() <= VALUE {
        return value.clone();
    }
    let text = value.as_str().unwrap_or(&json);
    let beginning: String = text.chars().take(500).collect();
    json!({"excerpt": beginning, "bytes": json.len()})
}

/// Returns the columns that entries show beside the fields.
fn columns(record: Option<&Record>) -> [Option<&String>; 3] {
    record.map_or([None; 3], |r| {
        [&r.status, &r.stage, &r.parent_id].map(Option::as_ref)
    })
}

/// Returns the fields that differ, each with its values before and after.
pub(super) fn changes(
    before: Option<&Record>,
    old: &Body,
    after: Option<&Record>,
    new: &Body,
) -> Map<String, Value> {
    let mut changes = Map::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        if old != new {
            changes.insert(name.clone(), json!([excerpt(old), excerpt(new)]));
        }
    }
    let (old, new) = (columns(before), columns(after));
    let names = ["status", "stage", "parent_id"];
    for (name, (old, new)) in names.into_iter().zip(old.into_iter().zip(new)) {
        if old != new {
            changes.insert(name.to_owned(), json!([old, new]));
        }
    }
    changes
}

/// Writes an entry.
pub(crate) async fn write(
    app: &App,
    tx: &mut Tx,
    request: &Request<'_>,
    (kind, id): (&Kind, &str),
    action: &str,
    changes: Map<String, Value>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO audit_events (id, tenant_id, entity_kind, entity_id, action, actor, operation, request_id, changes, created_on)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        args![
            app.clock.id(),
            request.caller.tenant(),
            kind.name,
            id,
            action,
            request.caller.actor_id().map(str::to_owned),
            request.operation,
            &request.request_id,
            Value::Object(changes).to_string(),
            app.clock.now()
        ],
    )
    .await?;
    Ok(())
}

/// Returns the changes of a record by the id of its row, the newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(app: &App, tenant_id: &str, id: &str, page: &Page) -> Result<Listing<Entry>> {
    let before = if page.after.is_empty() {
        store::LAST
    } else {
        &page.after
    };
    let rows: Vec<Entry> = app
        .db
        .all(
            "SELECT id, entity_kind, entity_id, action, actor, operation, request_id, changes, created_on FROM audit_events
             WHERE entity_id = $1 AND tenant_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
            args![id, tenant_id, before, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |row| row.id.clone()))
}

/// Which entries a search has.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name of a kind, perhaps without the beginning of its family.
    pub entity: Option<String>,
    /// Id of the row.
    pub entity_id: Option<String>,
    pub actor: Option<String>,
    pub action: Option<String>,
    /// From this time on.
    pub start: Option<Time>,
    /// Before this time.
    pub end: Option<Time>,
}

/// Returns the readable entries of a tenant, the newest first. The kind of [`Filter::entity`] may begin with one of two `families`.
///
/// # Errors
/// Those of the database.
pub async fn search(
    app: &App,
    tenant_id: &str,
    filter: &Filter,
    families: &[&str; 2],
    page: &Page,
    is_readable: impl Fn(&Entry) -> bool + Send,
) -> Result<Listing<Entry>> {
    let wanted = usize::try_from(page.fetch()).unwrap_or(usize::MAX);
    let mut before = if page.after.is_empty() {
        store::LAST.to_owned()
    } else {
        page.after.clone()
    };
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let rows = older(app, tenant_id, filter, families, &before).await?;
        let Some(last) = rows.last() else { break };
        before.clone_from(&last.id);
        found.extend(rows.into_iter().filter(&is_readable));
        if found.len() >= wanted {
            found.truncate(wanted);
            break;
        }
    }
    Ok(page.listing(found, |row| row.id.clone()))
}

/// Entries that are read at once.
const BATCH: i64 = 500;

/// Returns the next entries before one.
async fn older(
    app: &App,
    tenant_id: &str,
    filter: &Filter,
    families: &[&str; 2],
    before: &str,
) -> Result<Vec<Entry>> {
    let of_family = |family: &str| filter.entity.as_ref().map(|e| format!("{family}{e}"));
    let [first, second] = families;
    app.db
        .all(
            "SELECT id, entity_kind, entity_id, action, actor, operation, request_id, changes, created_on FROM audit_events
             WHERE tenant_id = $1 AND id < $2 AND (CAST($3 AS TEXT) IS NULL OR entity_kind IN ($3, $4, $5)) AND (CAST($6 AS TEXT) IS NULL OR entity_id = $6)
             AND (CAST($7 AS TEXT) IS NULL OR actor = $7) AND (CAST($8 AS TEXT) IS NULL OR action = $8)
             AND (CAST($9 AS BIGINT) IS NULL OR created_on >= $9) AND (CAST($10 AS BIGINT) IS NULL OR created_on < $10)
             ORDER BY id DESC LIMIT $11",
            args![
                tenant_id,
                before,
                &filter.entity,
                of_family(first),
                of_family(second),
                &filter.entity_id,
                &filter.actor,
                &filter.action,
                filter.start,
                filter.end,
                BATCH
            ],
        )
        .await
}
