//! The job of a sync: compares the items of a source with what is known of them, ingests what is new or changed, and removes what is gone. An interrupted sync starts over; what it
//! has ingested is unchanged then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_ingest::Input;
use cairn_ingest::parse::detect;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connector::{Connector, Listed};
use super::open::connect;
use super::store::{self, Source};
use super::syncs::{self, Counts, Sync, SyncStatus, Verdict};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Kind, Result};
use crate::jobs::Job;
use crate::kb::documents::{self, NewDocument, UploadPolicy};

/// Items listed ahead of those that are worked on.
const AHEAD: usize = 256;
/// Time between two updates of the counts.
const TOLD: Duration = Duration::from_secs(1);
/// Items removed at a time.
const BATCH: i64 = 500;
/// Characters of a key that are part of an external id; longer ones are hashed.
const KEY: usize = 400;

/// Starts a scheduled sync of a source; does nothing while one is running.
pub(crate) async fn scheduled(app: &App, tenant_id: &str, source_id: &str) -> Result<()> {
    start(app, tenant_id, source_id).await.map(|_| ())
}

/// Starts a sync of a source; returns `false` when one is running.
pub(super) async fn start(app: &App, tenant_id: &str, source_id: &str) -> Result<bool> {
    let Some(source) = store::load(app, tenant_id, source_id).await? else {
        return Ok(true);
    };
    let mut tx = app.db.begin().await?;
    match syncs::start_in(app, &mut tx, &source).await {
        Ok(_) => app.commit(tx).await.map(|()| true),
        Err(error) if error.code() == "sync_running" => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a sync whose job was cancelled or has failed for good.
pub(crate) async fn failed(
    app: &App,
    tenant_id: &str,
    sync_id: &str,
    cancelled: bool,
    message: &str,
) -> Result<()> {
    let Some(sync) = syncs::load(app, tenant_id, sync_id).await? else {
        return Ok(());
    };
    let (status, message) = if cancelled {
        (SyncStatus::Cancelled, "the sync was cancelled")
    } else {
        (SyncStatus::Failed, message)
    };
    syncs::move_to(app, &sync, status, Some(message)).await
}

/// Runs a sync.
pub(crate) async fn run(
    app: &Arc<App>,
    job: &Job,
    sync_id: &str,
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = job.tenant_id.as_str();
    let Some(sync) = syncs::load(app, tenant_id, sync_id).await? else {
        return Ok(());
    };
    let Some(source) = store::load(app, tenant_id, &sync.source_id).await? else {
        return Ok(());
    };
    if sync.status.is_over() {
        return Ok(());
    }
    syncs::move_to(app, &sync, SyncStatus::Running, None).await?;
    let connector = connect(app, &source).await?;
    let pass = Arc::new(Pass {
        app: Arc::clone(app),
        caller: Caller::local(tenant_id),
        connector,
        source,
        sync: sync.clone(),
    });
    let outcome = tokio::select! {
        outcome = pass_over(&pass) => outcome,
        () = cancel.cancelled() => Err(Error::unavailable("cancelled", "the sync was cancelled")),
    };
    match outcome {
        Ok(()) => syncs::move_to(app, &sync, SyncStatus::Completed, None).await,
        // The dataset was deleted during the sync.
        Err(error) if error.code() == "dataset_not_found" => Ok(()),
        Err(error) => Err(error),
    }
}

/// One pass over a source.
struct Pass {
    app: Arc<App>,
    caller: Caller,
    source: Source,
    sync: Sync,
    connector: Box<dyn Connector>,
}

/// What is known of an item.
#[derive(sqlx::FromRow)]
struct Known {
    version: String,
    verdict: Verdict,
    /// Whether its document is there.
    is_there: bool,
}

/// The outcome of an item.
struct Outcome {
    verdict: Verdict,
    reason: Option<String>,
    document_id: Option<String>,
    bytes: u64,
}

impl Outcome {
    fn without_document(verdict: Verdict, reason: String) -> Self {
        Self {
            verdict,
            reason: Some(reason),
            document_id: None,
            bytes: 0,
        }
    }
}

/// Goes through a source. The tasks that it starts end with it.
async fn pass_over(pass: &Arc<Pass>) -> Result<()> {
    let (sender, mut listed) = mpsc::channel(AHEAD);
    let mut listing = JoinSet::new();
    listing.spawn({
        let pass = Arc::clone(pass);
        async move { pass.connector.list(sender).await }
    });
    let (mut working, mut counts, mut told) = (JoinSet::new(), Counts::default(), Instant::now());
    let (mut is_listed, most) = (false, pass.connector.parallel());
    while !is_listed || !working.is_empty() {
        tokio::select! {
            item = listed.recv(), if !is_listed && working.len() < most => match item {
                Some(item) => {
                    let pass = Arc::clone(pass);
                    working.spawn(async move { pass.one(item).await });
                }
                None => is_listed = true,
            },
            Some(outcome) = working.join_next() => {
                let (verdict, bytes) = outcome??;
                counts.add(verdict);
                counts.bytes += i64::try_from(bytes).unwrap_or(0);
                if told.elapsed() > TOLD {
                    told = Instant::now();
                    syncs::count(&pass.app, &pass.sync, &counts).await?;
                }
            }
        }
    }
    let is_complete = match listing.join_next().await {
        Some(outcome) => outcome??,
        None => false,
    };
    if is_complete {
        let seen = counts.new + counts.changed + counts.unchanged + counts.skipped + counts.failed;
        if seen == 0 && !pass.connector.may_be_empty() && pass.has_items().await? {
            // A disk that is not mounted, or settings that lead elsewhere, look like an empty source.
            return Err(Error::unprocessable(
                "source_empty",
                "the source is empty, although it was not before: nothing was removed; if it was emptied on purpose, remove the source with its documents",
            ));
        }
        counts.removed = pass.remove_gone().await?;
    }
    syncs::count(&pass.app, &pass.sync, &counts).await
}

impl Pass {
    /// Brings one item up to date; returns its verdict and the bytes that were read.
    async fn one(&self, item: Listed) -> Result<(Verdict, u64)> {
        let known: Option<Known> = self
            .app
            .db
            .optional(
                "SELECT i.version, i.verdict, EXISTS (SELECT 1 FROM kb_documents d WHERE d.tenant_id = i.tenant_id AND d.id = i.document_id) AS is_there
                 FROM kb_source_items i WHERE i.tenant_id = $1 AND i.source_id = $2 AND i.item_key = $3",
                args![&self.source.tenant_id, &self.source.id, &item.key],
            )
            .await?;
        if let Some(known) = known.filter(|known| known.version == item.version) {
            let verdict = match known.verdict {
                Verdict::Skipped => Some(Verdict::Skipped),
                Verdict::New | Verdict::Changed | Verdict::Unchanged if known.is_there => {
                    Some(Verdict::Unchanged)
                }
                // What failed, and what somebody has deleted, is read again.
                Verdict::New | Verdict::Changed | Verdict::Unchanged | Verdict::Failed => None,
            };
            if let Some(verdict) = verdict {
                self.app
                    .db
                    .execute(
                        "UPDATE kb_source_items SET verdict = $1, sync_id = $2 WHERE tenant_id = $3 AND source_id = $4 AND item_key = $5",
                        args![verdict, &self.sync.id, &self.source.tenant_id, &self.source.id, &item.key],
                    )
                    .await?;
                return Ok((verdict, 0));
            }
        }
        let outcome = match self.ingest(&item).await {
            Ok(outcome) => outcome,
            // The item is at fault, not this program.
            Err(error) if error.kind() != Kind::Internal && error.code() != "dataset_not_found" => {
                Outcome::without_document(Verdict::Failed, error.public_message().to_owned())
            }
            Err(error) => return Err(error),
        };
        self.note(&item, &outcome).await?;
        Ok((outcome.verdict, outcome.bytes))
    }

    async fn ingest(&self, item: &Listed) -> Result<Outcome> {
        let app = &self.app;
        let content = self.connector.fetch(item).await?;
        let limit = app.config.upload_file_mb << 20;
        let stored = app
            .blobs
            .put(&app.db, self.caller.tenant(), content, limit)
            .await?;
        let bytes = stored.size;
        if bytes == 0 {
            let reason = "the file is empty".to_owned();
            return Ok(Outcome::without_document(Verdict::Skipped, reason));
        }
        let input = Input {
            file_name: &item.name,
            mime_type: item.mime_type.as_deref(),
            bytes: &stored.head,
            ocr: app.parser.ocr.as_deref(),
            ..Input::default()
        };
        let format = match detect(&input) {
            Ok(format) => format,
            Err(error) => {
                return Ok(Outcome {
                    bytes,
                    ..Outcome::without_document(Verdict::Skipped, error.to_string())
                });
            }
        };
        let mut metadata = item.metadata.clone();
        metadata
            .entry("source")
            .or_insert_with(|| json!(self.source.name));
        let new = NewDocument {
            title: item.title.clone(),
            url: item.url.clone(),
            metadata: metadata.into(),
            external_id: Some(self.external_id(&item.key)),
            ..NewDocument::new(item.name.clone(), format.mime_type(&item.name), stored)
        };
        let dataset = &self.source.dataset_id;
        let policy = UploadPolicy::default();
        let mut added = documents::add(app, &self.caller, dataset, vec![new], policy).await?;
        let added = added
            .pop()
            .ok_or_else(|| Error::internal("an added document is missing"))?;
        let verdict = match added.outcome {
            "created" => Verdict::New,
            "unchanged" => Verdict::Unchanged,
            _ => Verdict::Changed,
        };
        Ok(Outcome {
            verdict,
            reason: None,
            document_id: Some(added.document.id),
            bytes,
        })
    }

    /// Returns the external id of an item's document.
    fn external_id(&self, key: &str) -> String {
        let key = if key.chars().count() > KEY {
            hex::encode(Sha256::digest(key))
        } else {
            key.to_owned()
        };
        format!("source:{}:{key}", self.source.id)
    }

    /// Stores the outcome of an item. The document of a source that was removed in the meantime is removed, too.
    async fn note(&self, item: &Listed, outcome: &Outcome) -> Result<()> {
        // An item that cannot be read any more keeps the document of its last version.
        let stored = self
            .app
            .db
            .execute(
                "INSERT INTO kb_source_items (tenant_id, source_id, item_key, version, document_id, verdict, reason, sync_id, changed_on)
                 SELECT tenant_id, id, $3, $4, $5, $6, $7, $8, $9 FROM kb_sources WHERE tenant_id = $1 AND id = $2
                 ON CONFLICT (source_id, item_key) DO UPDATE SET version = excluded.version, verdict = excluded.verdict, reason = excluded.reason,
                 document_id = COALESCE(excluded.document_id, kb_source_items.document_id), sync_id = excluded.sync_id, changed_on = excluded.changed_on",
                args![
                    &self.source.tenant_id,
                    &self.source.id,
                    &item.key,
                    &item.version,
                    &outcome.document_id,
                    outcome.verdict,
                    &outcome.reason,
                    &self.sync.id,
                    self.app.clock.now()
                ],
            )
            .await?;
        if let (0, Verdict::New, Some(id)) = (stored, outcome.verdict, &outcome.document_id) {
            let dataset = &self.source.dataset_id;
            documents::delete(&self.app, &self.caller, dataset, id).await?;
        }
        Ok(())
    }

    /// Returns whether anything is known of the source.
    async fn has_items(&self) -> Result<bool> {
        let known: Option<(String,)> = self
            .app
            .db
            .optional(
                "SELECT item_key FROM kb_source_items WHERE tenant_id = $1 AND source_id = $2 LIMIT 1",
                args![&self.source.tenant_id, &self.source.id],
            )
            .await?;
        Ok(known.is_some())
    }

    /// Removes what this sync has not seen; returns the number of documents removed.
    async fn remove_gone(&self) -> Result<i64> {
        let mut removed = 0;
        loop {
            let gone: Vec<(String, Option<String>)> = self
                .app
                .db
                .all(
                    "SELECT item_key, document_id FROM kb_source_items WHERE tenant_id = $1 AND source_id = $2 AND sync_id <> $3 ORDER BY item_key LIMIT $4",
                    args![&self.source.tenant_id, &self.source.id, &self.sync.id, BATCH],
                )
                .await?;
            if gone.is_empty() {
                return Ok(removed);
            }
            for (key, document_id) in gone {
                let id = document_id.as_deref();
                let is_removed =
                    store::remove_item(&self.app, &self.caller, &self.source, &key, id).await?;
                removed += i64::from(is_removed);
            }
        }
    }
}
