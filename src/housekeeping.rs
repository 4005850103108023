//! Housekeeping: removes old events and jobs, applied log entries, unreferenced blobs and embeddings.

use std::time::Duration;

use crate::agency::logs;
use crate::app::App;
use crate::auth::{access_log, sessions};
use crate::crawl::crawls;
use crate::db::args;
use crate::disk;
use crate::error::Result;
use crate::evaluation::history;
use crate::kb::{generations, index_log};
use crate::records::idempotency;
use crate::sources::git;
use crate::{events, jobs};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Log entries kept per dataset, so that an index that was offline for a while can catch up without a rebuild.
const KEEP_LOG: i64 = 100_000;

/// Removes the remains of killed processes: incomplete uploads, files that were being parsed. Anything older than the longest upload, and than the
/// parsing of a file, is unused. Returns their number.
///
/// # Errors
/// Those of the blob store and the file system.
pub async fn sweep(app: &App) -> Result<u64> {
    let longest = app.config.upload_seconds.max(10 * app.config.parse_seconds);
    let older = Duration::from_secs(longest + 600);
    let scratch = app.parser.scratch.clone();
    let parsed = tokio::task::spawn_blocking(move || disk::sweep(&scratch, older)).await??;
    Ok(parsed + app.blobs.sweep(older).await?)
}

/// Cleans up; each part is safe to repeat.
///
/// # Errors
/// Those of the database and the blob store.
pub async fn run(app: &App) -> Result<()> {
    let now = app.clock.now();
    let events = events::prune(
        &app.db,
        now,
        DAY * u32::try_from(app.config.event_days).unwrap_or(u32::MAX),
    )
    .await?;
    let jobs = jobs::prune(&app.db, now.minus(7 * DAY)).await?;
    let kept = DAY * u32::try_from(app.config.access_log_days).unwrap_or(u32::MAX);
    let access = access_log::prune(&app.db, &app.clock, kept).await?;
    let log = index_log::prune(&app.db, KEEP_LOG).await?;
    let embeddings = app
        .db
        .execute(
            "DELETE FROM kb_embeddings WHERE created_on < $1 AND NOT EXISTS
             (SELECT 1 FROM kb_chunks c WHERE c.tenant_id = kb_embeddings.tenant_id AND c.text_hash = kb_embeddings.text_hash)",
            args![now.minus(DAY * u32::try_from(app.config.embedding_cache_days).unwrap_or(u32::MAX))],
        )
        .await?;
    let generations = generations::prune(
        app,
        now.minus(DAY * u32::try_from(app.config.generation_days).unwrap_or(u32::MAX)),
    )
    .await?;
    let queries = history::prune(
        app,
        now.minus(DAY * u32::try_from(app.config.query_history_days).unwrap_or(u32::MAX)),
    )
    .await?;
    let reports = crawls::prune(
        app,
        now.minus(DAY * u32::try_from(app.config.crawl_report_days).unwrap_or(u32::MAX)),
    )
    .await?;
    let sessions = sessions::prune(app.sessions()).await?;
    let answers = app
        .db
        .execute(
            "DELETE FROM idempotency_keys WHERE created_on < $1",
            args![now.0 - idempotency::KEPT],
        )
        .await?;
    let deliveries = app
        .db
        .execute(
            "DELETE FROM webhook_deliveries WHERE status IN ('succeeded', 'failed') AND updated_on < $1",
            args![now.minus(30 * DAY)],
        )
        .await?;
    let inbound = app
        .db
        .execute(
            "DELETE FROM inbound_messages WHERE received_on < $1",
            args![now.minus(365 * DAY)],
        )
        .await?;
    let mut blobs = 0;
    loop {
        let mut removed = 0;
        for (tenant_id, hash) in app.blobs.garbage(&app.db).await? {
            removed += u64::from(app.blobs.collect(&app.db, &tenant_id, &hash).await?);
        }
        blobs += removed;
        // A blob that was used again meanwhile is no longer garbage.
        if removed == 0 {
            break;
        }
    }
    let log = log + logs::prune(app, now.minus(90 * DAY)).await?;
    let leftovers = sweep(app).await?;
    git::sweep(app).await?;
    tracing::info!(
        events,
        jobs,
        log,
        embeddings,
        generations,
        queries,
        reports,
        answers,
        sessions,
        access,
        deliveries,
        inbound,
        blobs,
        leftovers,
        "housekeeping removed obsolete data"
    );
    Ok(())
}
