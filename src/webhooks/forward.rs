//! Webhooks about the knowledge base: reads the event log and writes deliveries of what others want to know of it, each once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::events::KNOWLEDGE;
use crate::app::App;
use crate::auth::Area;
use crate::db::args;
use crate::error::Result;
use crate::events::{self, Event};
use crate::records::deliveries;

/// Time between two looks at the log.
const PAUSE: Duration = Duration::from_secs(1);
/// Events that are read at once.
const BATCH: i64 = 500;

/// Forwards events until `stop` fires.
pub async fn run(app: &Arc<App>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match pass(app).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = %error, "events cannot be forwarded; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Returns the type and the data of the webhook that an event causes; `None` when it causes none.
fn announced(event: &Event) -> Option<(&'static str, Value)> {
    match event {
        Event::DocumentChanged {
            dataset_id,
            document_id,
            file_name,
            status,
            chunks_count,
            error_message,
            ..
        } => {
            let mut data = json!({"datasetId": dataset_id, "documentId": document_id, "fileName": file_name});
            match status.as_str() {
                "indexed" => {
                    data["chunks"] = json!(chunks_count);
                    Some(("document.indexed", data))
                }
                "error" => {
                    data["error"] = json!(error_message);
                    Some(("document.failed", data))
                }
                _ => None,
            }
        }
        Event::CrawlChanged {
            dataset_id,
            crawl_id,
            status,
            pages_crawled,
            pages_indexed,
            pages_skipped,
            pages_failed,
            error_message,
        } => matches!(status.as_str(), "completed" | "failed" | "cancelled").then(|| {
            let data = json!({
                "datasetId": dataset_id, "crawlId": crawl_id, "status": status, "pagesCrawled": pages_crawled, "pagesIndexed": pages_indexed,
                "pagesSkipped": pages_skipped, "pagesFailed": pages_failed, "error": error_message
            });
            ("crawl.finished", data)
        }),
        Event::GenerationSwitched {
            dataset_id,
            generation,
            embedding_model,
        } => {
            let data = json!({"datasetId": dataset_id, "generation": generation, "embeddingModel": embedding_model});
            Some(("generation.switched", data))
        }
        Event::EvaluationRegressed {
            dataset_id,
            query_set_id,
            run_id,
            before_id,
            difference,
            low,
            high,
        } => {
            let data = json!({
                "datasetId": dataset_id, "querySetId": query_set_id, "runId": run_id, "beforeRunId": before_id,
                "difference": difference, "interval": [low, high], "measure": "nDCG@10"
            });
            Some(("evaluation.regressed", data))
        }
        Event::DocumentDeleted { .. }
        | Event::OpenclawMessage { .. }
        | Event::AgentTaskUpdate { .. }
        | Event::DatasetChanged { .. }
        | Event::BoardChanged { .. }
        | Event::TeamNotice { .. }
        | Event::AgentOutput { .. }
        | Event::DatasetDeleted { .. } => None,
    }
}

/// Returns the tenants with an endpoint that subscribes to any of the events.
async fn subscribers(app: &App) -> Result<HashSet<String>> {
    let types: Vec<String> = KNOWLEDGE.iter().map(|t| (*t).to_owned()).collect();
    let rows: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT DISTINCT r.tenant_id FROM records r JOIN record_facets f ON f.record_id = r.id AND f.tenant_id = r.tenant_id
             WHERE f.kind = 'webhook' AND f.name = 'event_types' AND r.status IN ('active', 'paused') AND f.value IN ($LIST)",
            args![],
            &types,
        )
        .await?;
    Ok(rows.into_iter().map(|(tenant,)| tenant).collect())
}

/// Forwards the events since the last pass, at most [`BATCH`]. Returns whether there may be more. Events from before the first pass are not forwarded.
///
/// # Errors
/// Those of the database.
pub async fn pass(app: &App) -> Result<bool> {
    let last = events::last(&app.db).await?;
    let position: Option<(i64,)> = app
        .db
        .optional(
            "SELECT seq FROM webhook_positions WHERE name = 'events'",
            args![],
        )
        .await?;
    let Some((position,)) = position else {
        app.db
            .execute(
                "INSERT INTO webhook_positions (name, seq) VALUES ('events', $1) ON CONFLICT (name) DO NOTHING",
                args![last],
            )
            .await?;
        return Ok(false);
    };
    if position >= last {
        return Ok(false);
    }
    let subscribers = subscribers(app).await?;
    let mut rows: Vec<(i64, String, String)> = Vec::new();
    if !subscribers.is_empty() {
        rows = app
            .db
            .all(
                "SELECT seq, tenant_id, payload FROM events WHERE seq > $1 AND seq <= $2
                 AND topic IN ('document_changed', 'crawl_changed', 'generation_switched', 'evaluation_regressed') ORDER BY seq LIMIT $3",
                args![position, last, BATCH],
            )
            .await?;
    }
    let is_full = i64::try_from(rows.len()).unwrap_or(BATCH) >= BATCH;
    let next = rows
        .last()
        .filter(|_| is_full)
        .map_or(last, |(seq, ..)| *seq);
    let mut tx = app.db.begin().await?;
    // Of several processes one moves the position, and writes what lies between.
    let moved = tx
        .execute(
            "UPDATE webhook_positions SET seq = $1 WHERE name = 'events' AND seq = $2",
            args![next, position],
        )
        .await?;
    if moved == 0 {
        return Ok(true);
    }
    for (_, tenant_id, payload) in &rows {
        if !subscribers.contains(tenant_id) {
            continue;
        }
        let event: Event = serde_json::from_str(payload)?;
        // The texts of records are documents, too; their own events are about the records.
        if event.dataset_id().and_then(Area::of_dataset).is_some() {
            continue;
        }
        if let Some((event_type, data)) = announced(&event) {
            deliveries::emit_as(app, &mut tx, tenant_id, event_type, event_type, &data).await?;
        }
    }
    app.commit(tx).await?;
    Ok(is_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(status: &str) -> Event {
        Event::DocumentChanged {
            dataset_id: "d".to_owned(),
            document_id: "x".to_owned(),
            file_name: "tides.md".to_owned(),
            status: status.to_owned(),
            progress: 100,
            chunks_count: 3,
            error_message: None,
        }
    }

    #[test]
    fn only_the_ends_of_an_ingestion_are_announced() {
        let name = |status| announced(&document(status)).map(|(name, _)| name);
        assert_eq!(name("indexed"), Some("document.indexed"));
        assert_eq!(name("error"), Some("document.failed"));
        assert_eq!(name("embedding"), None);
        assert_eq!(name("disabled"), None);
    }

    #[test]
    fn a_searchable_document_is_announced_with_its_chunks() {
        let (_, data) = announced(&document("indexed")).expect("announced");
        assert_eq!(data["chunks"], 3);
    }

    #[test]
    fn every_announced_type_can_be_subscribed_to() {
        let events = [
            document("indexed"),
            document("error"),
            Event::CrawlChanged {
                dataset_id: "d".to_owned(),
                crawl_id: "c".to_owned(),
                status: "completed".to_owned(),
                pages_crawled: 2,
                pages_indexed: 2,
                pages_skipped: 0,
                pages_failed: 0,
                error_message: None,
            },
            Event::GenerationSwitched {
                dataset_id: "d".to_owned(),
                generation: 2,
                embedding_model: "m".to_owned(),
            },
            Event::EvaluationRegressed {
                dataset_id: "d".to_owned(),
                query_set_id: "q".to_owned(),
                run_id: "r".to_owned(),
                before_id: "b".to_owned(),
                difference: -0.2,
                low: -0.3,
                high: -0.1,
            },
        ];
        let names = events.iter().filter_map(announced).map(|(name, _)| name);
        assert_eq!(names.collect::<HashSet<_>>(), HashSet::from(KNOWLEDGE));
    }
}
