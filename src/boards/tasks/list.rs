//! Lists of tasks.

use super::super::store::{Part, some};
use super::super::{STATUSES, TASK, unfit};
use crate::app::App;
use crate::db::args;
use crate::error::Result;
use crate::records::Record;

/// Which tasks of a board a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Statuses, separated by commas.
    pub status: Option<String>,
    pub assigned_agent_id: Option<String>,
    pub unassigned: bool,
}

/// Returns a part of the tasks of a board, newest first, and the number of all.
///
/// # Errors
/// `status_filter_invalid`.
pub async fn list(
    app: &App,
    board: &Record,
    filter: &Filter,
    part: Part,
) -> Result<(Vec<Record>, i64)> {
    let mut statuses: Vec<&str> = Vec::new();
    for word in filter.status.as_deref().unwrap_or_default().split(',') {
        match word.trim() {
            "" => {}
            word if STATUSES.contains(&word) => statuses.push(word),
            _ => {
                return Err(unfit(
                    "status_filter_invalid",
                    "Unsupported task status filter.",
                ));
            }
        }
    }
    let assignee = filter.assigned_agent_id.as_deref().map(str::to_lowercase);
    macro_rules! statements {
        (of $status:literal, $assignee:literal, $limit:literal, $offset:literal, $later:literal, $last:literal) => {
            if filter.unassigned {
                statements!($status " AND NOT EXISTS (SELECT 1 FROM record_facets f WHERE f.kind = $2 AND f.name = 'assignee' AND f.tenant_id = $3 AND f.record_id = r.id)"; $limit, $offset)
            } else if assignee.is_some() {
                statements!($status " AND EXISTS (SELECT 1 FROM record_facets f WHERE f.kind = $2 AND f.name = 'assignee' AND f.value = " $assignee " AND f.tenant_id = $3 AND f.record_id = r.id)"; $later, $last)
            } else {
                statements!($status; $limit, $offset)
            }
        };
        ($($part:literal)+; $limit:literal, $offset:literal) => {
            (
                concat!("SELECT r.id FROM records r WHERE r.parent_id = $1 AND r.kind = $2 AND r.tenant_id = $3", $($part,)+ " ORDER BY r.id DESC LIMIT ", $limit, " OFFSET ", $offset),
                concat!("SELECT COUNT(*) FROM records r WHERE r.parent_id = $1 AND r.kind = $2 AND r.tenant_id = $3", $($part,)+),
            )
        };
    }
    let mut values = args![&board.id, TASK.name, &board.tenant_id];
    // Without a condition on the status, an index gives the newest tasks in their order.
    let (rows, count) = if statuses.is_empty() {
        statements!(of "", "$4", "$4", "$5", "$5", "$6")
    } else {
        // Padded, so that there is one statement.
        let last = statuses.last().copied().unwrap_or_default();
        statuses.resize(STATUSES.len(), last);
        values.0.extend(statuses.iter().map(|s| (*s).into()));
        statements!(of " AND r.status IN ($4, $5, $6, $7)", "$8", "$8", "$9", "$9", "$10")
    };
    if let Some(assignee) = assignee.filter(|_| !filter.unassigned) {
        values.0.push(assignee.into());
    }
    let counted = values.clone();
    values.0.extend([part.limit.into(), part.offset.into()]);
    let ids: Vec<(String,)> = app.db.all(rows, values).await?;
    let (total,): (i64,) = app.db.one(count, counted).await?;
    let ids: Vec<String> = ids.into_iter().map(|(id,)| id).collect();
    let mut found = some(&app.db, &board.tenant_id, &TASK, &ids).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok((found, total))
}
