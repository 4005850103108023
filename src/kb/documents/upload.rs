//! Uploads: a new document, a new version of an existing one, or a duplicate; documents inside archives and mail.

use futures::future::BoxFuture;
use std::collections::HashSet;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::document::DocumentStatus;
use super::document::{
    Document, NewDocument, by_external_in, changed_now, children, columns, load_in, missing,
};
use super::lifecycle::{enqueue, group, remove};
use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events::{self};
use crate::jobs;
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::index_log::{self};
use crate::kb::usage;

/// Handling of an upload whose bytes are in the dataset already, under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDuplicate {
    /// Keeps the existing document unchanged and adds nothing.
    Skip,
    /// Same as `Skip`, and records the new name as an alias.
    Link,
    /// Updates the existing document with the new name, metadata and settings.
    Replace,
    /// Adds a second document.
    #[default]
    Keep,
}

impl std::str::FromStr for OnDuplicate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "skip" => Ok(Self::Skip),
            "link" => Ok(Self::Link),
            "replace" => Ok(Self::Replace),
            "keep" => Ok(Self::Keep),
            _ => Err(Error::invalid(
                "on_duplicate_unknown",
                "onDuplicate must be skip, link, replace or keep",
            )),
        }
    }
}

/// Treatment of existing documents by an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPolicy {
    /// For identical bytes under another name.
    pub on_duplicate: OnDuplicate,
    /// Whether a file with the name of an existing document is a new version of it.
    pub versions: bool,
}

impl Default for UploadPolicy {
    fn default() -> Self {
        Self {
            on_duplicate: OnDuplicate::Keep,
            versions: true,
        }
    }
}

/// A document after an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Document that has the bytes now.
    pub document: Document,
    /// `created`, `replaced` (a new version of a document that was there), `unchanged` (the same bytes under the same name), `skipped` or
    /// `linked` (the same bytes under another name).
    pub outcome: &'static str,
}

/// Adds documents and enqueues their ingestion, all or none; once this returns, nothing of it can be lost.
///
/// # Errors
/// `dataset_not_found`, `metadata_invalid`, `file_name_invalid`, `external_id_invalid`, `quota_exceeded`, and those of [`ChunkSettings::check`].
#[must_use = "futures do nothing unless polled"]
pub fn add<'a>(
    app: &'a App,
    caller: &'a Caller,
    dataset_id: &'a str,
    new: Vec<NewDocument>,
    policy: UploadPolicy,
) -> BoxFuture<'a, Result<Vec<Added>>> {
    // Boxed once: the compiler would otherwise prove in every caller anew that the future is `Send`.
    Box::pin(add_all(app, caller, dataset_id, new, policy))
}

async fn add_all(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    mut new: Vec<NewDocument>,
    policy: UploadPolicy,
) -> Result<Vec<Added>> {
    caller.need_write(dataset_id)?;
    // File systems write an accented letter as one character or as two; both are the same name.
    for document in &mut new {
        if !is_nfc(&document.file_name) {
            document.file_name = document.file_name.nfc().collect();
        }
    }
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    for document in &new {
        document
            .chunk_settings
            .check(dataset.indexing.chunk_size, dataset.indexing.chunk_overlap)?;
        if !document.metadata.is_object() {
            return Err(Error::invalid(
                "metadata_invalid",
                "metadata must be a JSON object",
            ));
        }
        if document.file_name.trim().is_empty() || document.file_name.chars().count() > 500 {
            return Err(Error::invalid(
                "file_name_invalid",
                "a file must have a name of at most 500 characters",
            ));
        }
        let external = document.external_id.as_deref();
        if external.is_some_and(|id| id.is_empty() || id.chars().count() > 500) {
            return Err(Error::invalid(
                "external_id_invalid",
                "an external id must have 1 to 500 characters",
            ));
        }
    }
    let mut tx = app.db.begin().await?;
    // Prevents two uploads from both finding that a name is free.
    index_log::lock_dataset(&mut tx, caller.tenant(), dataset_id).await?;
    let mut added = Vec::with_capacity(new.len());
    for document in new {
        added.push(
            upsert(
                app,
                &mut tx,
                caller.tenant(),
                dataset_id,
                &document,
                None,
                policy,
            )
            .await?,
        );
    }
    let has_written = |added: &Added| matches!(added.outcome, "created" | "replaced");
    if added.iter().any(has_written) {
        usage::check(&mut tx, caller.tenant()).await?;
    }
    app.commit(tx).await?;
    Ok(added)
}

/// Adds a document, or replaces the one with its external id, in the transaction that causes it.
///
/// # Errors
/// Those of the database.
pub(crate) async fn add_in(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    new: &NewDocument,
) -> Result<Document> {
    index_log::lock_dataset(tx, tenant_id, dataset_id).await?;
    let policy = UploadPolicy::default();
    let added = upsert(app, tx, tenant_id, dataset_id, new, None, policy).await?;
    usage::check(tx, tenant_id).await?;
    Ok(added.document)
}

pub(super) async fn upsert(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    new: &NewDocument,
    parent: Option<&Document>,
    policy: UploadPolicy,
) -> Result<Added> {
    let parent_id = parent.map(|p| p.id.as_str());
    let same_name: Option<Document> = match &new.external_id {
        Some(external_id) => {
            by_external_in(tx, tenant_id, dataset_id, external_id).await?
        }
        None if policy.versions => {
            tx.optional(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND file_name = $3 AND COALESCE(parent_id, '') = $4 ORDER BY id DESC LIMIT 1"
                ),
                args![tenant_id, dataset_id, new.file_name.trim(), parent_id.unwrap_or_default()],
            )
            .await?
        }
        None => None,
    };
    if let Some(there) = same_name {
        let as_it_is = there.blob_hash == new.stored.hash
            && there.status != DocumentStatus::Error
            && there.file_name == new.file_name.trim()
            && (new.title.is_none() || new.title == there.title)
            && (new.url.is_none() || new.url == there.url)
            && (new.chunk_settings == ChunkSettings::default()
                || new.chunk_settings == there.chunk_settings())
            && (new
                .metadata
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
                || there.metadata()? == new.metadata);
        return if as_it_is {
            Ok(Added {
                document: there,
                outcome: "unchanged",
            })
        } else {
            replace(app, tx, &there, new).await
        };
    }
    if policy.on_duplicate != OnDuplicate::Keep && parent.is_none() {
        let same_bytes: Option<Document> = tx
            .optional(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND blob_hash = $3 AND status <> 'error' AND parent_id IS NULL ORDER BY id LIMIT 1"
                ),
                args![tenant_id, dataset_id, &new.stored.hash],
            )
            .await?;
        match (same_bytes, policy.on_duplicate) {
            (None, _) | (_, OnDuplicate::Keep) => {}
            (Some(there), OnDuplicate::Replace) => return replace(app, tx, &there, new).await,
            (Some(document), OnDuplicate::Skip) => {
                return Ok(Added {
                    document,
                    outcome: "skipped",
                });
            }
            (Some(there), OnDuplicate::Link) => {
                let mut names: Vec<String> = serde_json::from_str(&there.aliases)?;
                let name = new.file_name.trim().to_owned();
                if name != there.file_name && !names.contains(&name) {
                    names.push(name);
                }
                let row: Option<Document> = tx
                    .optional(
                        concat!("UPDATE kb_documents SET aliases = $1, updated_on = $2 WHERE tenant_id = $3 AND id = $4 RETURNING ", columns!()),
                        args![serde_json::to_string(&names)?, app.clock.now(), tenant_id, &there.id],
                    )
                    .await?;
                return Ok(Added {
                    document: row.unwrap_or(there),
                    outcome: "linked",
                });
            }
        }
    }
    let (id, now) = (app.clock.id(), app.clock.now());
    let size = i64::try_from(new.stored.size).unwrap_or(i64::MAX);
    let turns = group(dataset_id, new);
    let job_id = enqueue(app, tx, tenant_id, turns, &id, size).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "INSERT INTO kb_documents (id, tenant_id, dataset_id, file_name, title, mime_type, size_bytes, blob_hash, url, source, status, enabled,
                 metadata, chunk_size, chunk_overlap, parse_type, parser_engine, warnings, chunks_count, chunks_total, chunks_embedded, ready_seq,
                 job_id, external_id, parent_id, depth, created_on, updated_on, changed_version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', $21, $11, $12, $13, $14, $15, '[]', 0, 0, 0, 0, $16, $18, $19, $20, $17, $17,
                 (SELECT version FROM kb_datasets WHERE id = $3)) RETURNING ",
                columns!()
            ),
            args![
                &id,
                tenant_id,
                dataset_id,
                new.file_name.trim(),
                &new.title,
                &new.mime_type,
                size,
                &new.stored.hash,
                &new.url,
                new.source,
                new.metadata.to_string(),
                new.chunk_settings.chunk_size,
                new.chunk_settings.chunk_overlap,
                &new.chunk_settings.parse_type,
                &new.chunk_settings.parser_engine,
                &job_id,
                now,
                &new.external_id,
                parent_id,
                parent.map_or(0, |p| p.depth + 1),
                parent.is_none_or(|p| p.enabled)
            ],
        )
        .await?;
    let document = row.ok_or_else(|| Error::internal("an insert returned no row"))?;
    events::append(tx, &app.clock, tenant_id, &document.changed()).await?;
    Ok(Added {
        document,
        outcome: "created",
    })
}

/// Replaces the bytes of a document, with the name and settings of the upload. The old version stays searchable until the new one is complete.
pub(super) async fn replace(
    app: &App,
    tx: &mut Tx,
    there: &Document,
    new: &NewDocument,
) -> Result<Added> {
    let turns = group(&there.dataset_id, new);
    let size = i64::try_from(new.stored.size).unwrap_or(i64::MAX);
    let job_id = enqueue(app, tx, &there.tenant_id, turns, &there.id, size).await?;
    let metadata = if new
        .metadata
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
    {
        there.metadata.clone()
    } else {
        new.metadata.to_string()
    };
    // The job of the previous version would only repeat the work.
    jobs::request_cancel(tx, &there.tenant_id, &there.job_id).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET file_name = $1, title = $2, mime_type = $3, size_bytes = $4, blob_hash = $5, url = $6, metadata = $7,
                 chunk_size = COALESCE($8, chunk_size), chunk_overlap = COALESCE($9, chunk_overlap), parse_type = COALESCE($10, parse_type),
                 parser_engine = COALESCE($11, parser_engine), status = 'pending', error_code = NULL, error_message = NULL, job_id = $12,
                 chunks_total = 0, chunks_embedded = 0, version = CASE WHEN blob_hash = $5 THEN version ELSE version + 1 END, updated_on = $13, ",
                changed_now!(),
                " WHERE tenant_id = $14 AND id = $15 RETURNING ",
                columns!()
            ),
            args![
                new.file_name.trim(),
                &new.title,
                &new.mime_type,
                size,
                &new.stored.hash,
                &new.url,
                metadata,
                new.chunk_settings.chunk_size,
                new.chunk_settings.chunk_overlap,
                &new.chunk_settings.parse_type,
                &new.chunk_settings.parser_engine,
                &job_id,
                app.clock.now(),
                &there.tenant_id,
                &there.id
            ],
        )
        .await?;
    let document = row.ok_or_else(missing)?;
    events::append(tx, &app.clock, &there.tenant_id, &document.changed()).await?;
    Ok(Added {
        document,
        outcome: "replaced",
    })
}

/// Stores the files inside an archive or a message as documents of their own: adds new ones, replaces changed ones, removes missing ones.
///
/// # Errors
/// Those of the database.
pub(crate) async fn set_children(
    app: &App,
    parent: &Document,
    new: Vec<NewDocument>,
) -> Result<()> {
    if new.is_empty() {
        // Most files contain no others, and never did.
        let (before,): (i64,) = app
            .db
            .one(
                "SELECT COUNT(*) FROM kb_documents WHERE tenant_id = $1 AND parent_id = $2",
                args![&parent.tenant_id, &parent.id],
            )
            .await?;
        if before == 0 {
            return Ok(());
        }
    }
    let mut tx = app.db.begin().await?;
    index_log::lock_dataset(&mut tx, &parent.tenant_id, &parent.dataset_id).await?;
    // The parent was read before a long step: by now it may be deleted, replaced, hidden or have other metadata.
    let now = load_in(&mut tx, &parent.tenant_id, &parent.id).await?;
    let Some(parent) = now.filter(|now| now.job_id == parent.job_id) else {
        return Ok(());
    };
    let mut kept: HashSet<String> = HashSet::new();
    for mut document in new {
        document.metadata = parent.metadata()?;
        let met = upsert(
            app,
            &mut tx,
            &parent.tenant_id,
            &parent.dataset_id,
            &document,
            Some(&parent),
            UploadPolicy::default(),
        )
        .await?;
        kept.insert(met.document.id);
    }
    for child in children(&mut tx, &parent).await? {
        if !kept.contains(&child.id) {
            remove(app, &mut tx, &child).await?;
        }
    }
    usage::check(&mut tx, &parent.tenant_id).await?;
    app.commit(tx).await?;
    Ok(())
}
