//! Manual edits of chunks: rewritten, hidden, added. An edit is bound to the text that it changed and is applied again whenever the document is
//! ingested; when that text is gone, the edit is kept and listed as orphaned.

mod place;
mod stored;

use cairn_models::Priority;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events;
use crate::kb::embeddings;
use crate::kb::index_log::{self, Op};
use crate::kb::usage;
use crate::kb::{Chunk, builds, chunks, datasets, documents};
use place::Place;
pub(crate) use place::{start_at, trim};
pub use stored::{Edit, anchor, list};
pub(crate) use stored::{insert_row, of_document, of_document_in};

/// Maximum length of manually written content, in bytes.
pub const MAX_CONTENT: usize = 64 << 10;

/// A partial change of a chunk; absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct ChunkPatch {
    /// New content, at most [`MAX_CONTENT`] bytes.
    pub content: Option<String>,
    /// Whether searches return it.
    pub enabled: Option<bool>,
}

fn check(content: &str) -> Result<()> {
    if content.trim().is_empty() || content.len() > MAX_CONTENT {
        return Err(Error::invalid(
            "chunk_content_invalid",
            format!(
                "a chunk must have content of at most {} KiB",
                MAX_CONTENT >> 10
            ),
        ));
    }
    Ok(())
}

/// Maximum number of attempts at a change that conflicts with concurrent ones.
const TRIES: usize = 5;

fn too_often() -> Error {
    Error::conflict(
        "chunk_changed",
        "the chunk was changed concurrently; read it again and repeat the change",
    )
}

/// Changes a chunk. Searches reflect the change as soon as the indexes have applied it, well within a second.
///
/// A chunk that follows a hidden or rewritten one no longer repeats its end, so that no other chunk contains the removed text.
///
/// # Errors
/// `chunk_not_found`, `chunk_content_invalid`; `chunk_changed` when concurrent changes keep conflicting.
pub async fn update(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    chunk_id: &str,
    patch: ChunkPatch,
) -> Result<Chunk> {
    caller.need_write(dataset_id)?;
    if let Some(content) = &patch.content {
        check(content)?;
    }
    for _ in 0..TRIES {
        let before = Place::of(app, caller, dataset_id, chunk_id).await?;
        if let Some(chunk) = change(app, caller, &before, &patch).await? {
            return Ok(chunk);
        }
    }
    Err(too_often())
}

/// Applies a change; `None` on a concurrent change of the same place.
async fn change(
    app: &App,
    caller: &Caller,
    place: &Place,
    patch: &ChunkPatch,
) -> Result<Option<Chunk>> {
    let mut chunk = place.chunk.clone();
    let (old_hash, was_enabled) = (chunk.text_hash.clone(), chunk.enabled);
    let parsed = parsed_content(app, caller, &chunk).await?;
    if let Some(content) = &patch.content {
        chunk.content.clone_from(content);
    }
    chunk.enabled = patch.enabled.unwrap_or(chunk.enabled);
    let edited = chunk.content != parsed.content;
    if chunk.origin != "added" {
        chunk.origin = if edited { "edited" } else { "parsed" }.to_owned();
    }
    trim(&mut chunk, place.previous.as_ref());
    let vector = measured(app, caller, &mut chunk).await?;
    let mut following = match &place.next {
        Some(next) => {
            let mut next = next.clone();
            if trim(&mut next, Some(&chunk)) {
                let vector = measured(app, caller, &mut next).await?;
                Some((next, vector))
            } else {
                None
            }
        }
        None => None,
    };
    let mut tx = begin(app, caller, &chunk).await?;
    if !place.stands(&mut tx, caller.tenant()).await? {
        return Ok(None);
    }
    if chunk.origin == "added" {
        tx.execute(
            "UPDATE kb_chunk_edits SET content = $1, enabled = $2, updated_on = $3 WHERE tenant_id = $4 AND id = $5",
            args![&chunk.content, chunk.enabled, app.clock.now(), caller.tenant(), &chunk.edit_id],
        )
        .await?;
    } else if edited || !chunk.enabled {
        tx.execute(
            "INSERT INTO kb_chunk_edits (id, tenant_id, document_id, anchor_hash, occurrence, anchor_text, content, enabled, orphaned, updated_on)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE, $9)
             ON CONFLICT (document_id, anchor_hash, occurrence) DO UPDATE SET content = excluded.content, enabled = excluded.enabled, orphaned = FALSE, updated_on = excluded.updated_on",
            args![
                app.clock.id(),
                caller.tenant(),
                &chunk.document_id,
                anchor(&parsed.content),
                parsed.occurrence,
                &parsed.content,
                edited.then_some(chunk.content.as_str()),
                chunk.enabled,
                app.clock.now()
            ],
        )
        .await?;
    } else {
        // Equal to the parsed chunk again: the edit is obsolete.
        tx.execute(
            "DELETE FROM kb_chunk_edits WHERE tenant_id = $1 AND document_id = $2 AND anchor_hash = $3 AND occurrence = $4",
            args![caller.tenant(), &chunk.document_id, anchor(&parsed.content), parsed.occurrence],
        )
        .await?;
    }
    chunks::rewrite(&mut tx, caller.tenant(), &chunk).await?;
    let mut ops = match (was_enabled, chunk.enabled) {
        (true, false) => vec![(Op::Delete, chunk.id.clone())],
        (false, true) => both(&chunk.id),
        (true, true) if chunk.text_hash != old_hash => both(&chunk.id),
        _ => Vec::new(),
    };
    if let Some((next, vector)) = &mut following {
        chunks::rewrite(&mut tx, caller.tenant(), next).await?;
        keep_embedding(app, &mut tx, caller, next, vector.take()).await?;
        ops.extend(both(&next.id));
    }
    finish(app, caller, tx, &chunk, vector, &ops).await?;
    Ok(Some(chunk))
}

/// Adds a chunk that is not part of the file, after the chunk with that ordinal or at the end.
///
/// # Errors
/// `document_not_found`, `text_not_ready`, `chunk_content_invalid`.
pub async fn add(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
    content: String,
    after: Option<i64>,
) -> Result<Chunk> {
    caller.need_write(dataset_id)?;
    let document = documents::get(app, caller, dataset_id, document_id).await?;
    check(&content)?;
    if document.text_hash.is_none() {
        return Err(Error::conflict(
            "text_not_ready",
            "the file has not been ingested yet",
        ));
    }
    for _ in 0..TRIES {
        let new = (content.clone(), after);
        if let Some(chunk) = insert_after(app, caller, &document, new).await? {
            return Ok(chunk);
        }
    }
    Err(too_often())
}

const LAST: &str = "SELECT CAST(COALESCE(MAX(ordinal), -1) AS BIGINT) FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3";

const AT: &str = concat!(
    "SELECT ",
    chunks::columns!(""),
    " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 AND ordinal = $4"
);

/// Adds a chunk after an ordinal; `None` on a concurrent change of the same place.
async fn insert_after(
    app: &App,
    caller: &Caller,
    document: &documents::Document,
    (content, after): (String, Option<i64>),
) -> Result<Option<Chunk>> {
    let tenant_id = caller.tenant();
    let set_id = datasets::settings(app, caller, &document.dataset_id)
        .await?
        .live_set;
    let of = || args![tenant_id, &document.id, &set_id];
    let (last,): (i64,) = app.db.one(LAST, of()).await?;
    let after = after.unwrap_or(last).clamp(-1, last);
    let at = || args![tenant_id, &document.id, &set_id, after];
    let before: Option<Chunk> = app.db.optional(AT, at()).await?;
    let edit_id = app.clock.id();
    let mut chunk = added(document, &set_id, &edit_id, content, before.as_ref());
    chunk.ordinal = after + 1;
    let vector = measured(app, caller, &mut chunk).await?;
    let mut tx = begin(app, caller, &chunk).await?;
    let now: Option<(i64,)> = tx.optional(LAST, of()).await?;
    if now != Some((last,)) || tx.optional::<Chunk>(AT, at()).await? != before {
        return Ok(None);
    }
    tx.execute(
        "INSERT INTO kb_chunk_edits (id, tenant_id, document_id, occurrence, content, enabled, after_ordinal, orphaned, updated_on)
         VALUES ($1, $2, $3, 0, $4, TRUE, $5, FALSE, $6)",
        args![&edit_id, tenant_id, &document.id, &chunk.content, after, app.clock.now()],
    )
    .await?;
    tx.execute(
        "UPDATE kb_chunks SET ordinal = ordinal + 1 WHERE tenant_id = $1 AND document_id = $2 AND ordinal > $3 AND set_id = $4",
        args![tenant_id, &document.id, after, &set_id],
    )
    .await?;
    chunks::insert(&mut tx, tenant_id, &chunk).await?;
    tx.execute(
        "UPDATE kb_documents SET chunks_count = chunks_count + 1 WHERE tenant_id = $1 AND id = $2",
        args![tenant_id, &document.id],
    )
    .await?;
    usage::check(&mut tx, tenant_id).await?;
    finish(app, caller, tx, &chunk, vector, &both(&chunk.id)).await?;
    Ok(Some(chunk))
}

/// Returns an added chunk without its ordinal and measures. It is located at the end of the chunk before it.
pub(crate) fn added(
    document: &documents::Document,
    set_id: &str,
    edit_id: &str,
    content: String,
    before: Option<&Chunk>,
) -> Chunk {
    #[expect(
        clippy::disallowed_methods,
        reason = "ids of chunks are UUIDs, derived from that of the edit"
    )]
    let id = Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("{set_id}/added/{edit_id}").as_bytes(),
    );
    let (end_byte, end_char) = before.map_or((0, 0), |c| (c.end_byte, c.end_char));
    let context = before.map_or_else(
        || document.title.clone().unwrap_or_default(),
        |c| match &c.table_header {
            Some(header) => c
                .context
                .replace(header.trim_end(), "")
                .trim_end()
                .to_owned(),
            None => c.context.clone(),
        },
    );
    Chunk {
        id: id.to_string(),
        dataset_id: document.dataset_id.clone(),
        document_id: document.id.clone(),
        ordinal: 0,
        start_byte: end_byte,
        end_byte,
        start_char: end_char,
        end_char,
        content,
        context,
        heading_path: before.map_or_else(|| "[]".to_owned(), |c| c.heading_path.clone()),
        page: before.and_then(|c| c.page),
        page_label: before.and_then(|c| c.page_label.clone()),
        table_number: None,
        first_row: None,
        last_row: None,
        table_header: None,
        first_line: None,
        last_line: None,
        tokens: 0,
        truncated: false,
        text_hash: String::new(),
        enabled: true,
        origin: "added".to_owned(),
        set_id: set_id.to_owned(),
        edit_id: Some(edit_id.to_owned()),
    }
}

/// Begins a change of a chunk. Fails when another generation became the live one since the chunk was read.
async fn begin(app: &App, caller: &Caller, chunk: &Chunk) -> Result<Tx> {
    let mut tx = app.db.begin().await?;
    let live = index_log::lock_dataset(&mut tx, caller.tenant(), &chunk.dataset_id).await?;
    if live.as_ref() != Some(&chunk.set_id) {
        return Err(Error::conflict(
            "generation_switched",
            "another generation is live now, with its own chunks; list them again",
        ));
    }
    Ok(tx)
}

/// Reverts manual changes: removes an added chunk (`None`), or restores the text and visibility of a parsed one.
///
/// # Errors
/// `chunk_not_found`; `chunk_not_edited` for an unchanged chunk.
pub async fn take_back(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    chunk_id: &str,
) -> Result<Option<Chunk>> {
    caller.need_write(dataset_id)?;
    let chunk = chunks::get(app, caller, dataset_id, chunk_id).await?;
    if chunk.origin == "added" {
        let mut tx = begin(app, caller, &chunk).await?;
        let gone = tx
            .execute(
                "DELETE FROM kb_chunks WHERE tenant_id = $1 AND id = $2",
                args![caller.tenant(), &chunk.id],
            )
            .await?;
        if gone == 0 {
            return Err(chunks::missing());
        }
        tx.execute(
            "DELETE FROM kb_chunk_edits WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), &chunk.edit_id],
        )
        .await?;
        tx.execute(
            "UPDATE kb_documents SET chunks_count = chunks_count - 1 WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), &chunk.document_id],
        )
        .await?;
        finish(
            app,
            caller,
            tx,
            &chunk,
            None,
            &[(Op::Delete, chunk.id.clone())],
        )
        .await?;
        return Ok(None);
    }
    let parsed = parsed_content(app, caller, &chunk).await?;
    if chunk.origin == "parsed" && chunk.enabled {
        return Err(Error::conflict(
            "chunk_not_edited",
            "this chunk has not been edited; disable it to hide it from searches",
        ));
    }
    let patch = ChunkPatch {
        content: Some(parsed.content),
        enabled: Some(true),
    };
    update(app, caller, dataset_id, chunk_id, patch)
        .await
        .map(Some)
}

/// Deletes an orphaned edit.
///
/// # Errors
/// `edit_not_found`; `edit_in_use` for an edit that is applied: change its chunk instead.
pub async fn forget(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
    edit_id: &str,
) -> Result<()> {
    caller.need_write(dataset_id)?;
    let edits = list(app, caller, dataset_id, document_id).await?;
    match edits.iter().find(|e| e.id == edit_id) {
        None => Err(Error::not_found("edit_not_found", "edit not found")),
        Some(edit) if !edit.orphaned => Err(Error::conflict(
            "edit_in_use",
            "the edit is applied; revert it by deleting the edit of its chunk",
        )),
        Some(_) => {
            let mut tx = app.db.begin().await?;
            tx.execute(
                "DELETE FROM kb_chunk_edits WHERE tenant_id = $1 AND id = $2 AND orphaned = TRUE",
                args![caller.tenant(), edit_id],
            )
            .await?;
            tx.commit().await
        }
    }
}

/// Records which edits found their text.
pub(crate) async fn note(tx: &mut Tx, tenant_id: &str, edits: &[(String, bool)]) -> Result<()> {
    for (id, orphaned) in edits {
        tx.execute(
            "UPDATE kb_chunk_edits SET orphaned = $1 WHERE tenant_id = $2 AND id = $3",
            args![*orphaned, tenant_id, id],
        )
        .await?;
    }
    Ok(())
}

fn both(id: &str) -> Vec<(Op, String)> {
    vec![(Op::Text, id.to_owned()), (Op::Vector, id.to_owned())]
}

struct Parsed {
    content: String,
    occurrence: i64,
}

/// Returns the file's text at a chunk, and the index of the chunk among those with that content.
async fn parsed_content(app: &App, caller: &Caller, chunk: &Chunk) -> Result<Parsed> {
    if chunk.origin == "added" {
        return Ok(Parsed {
            content: chunk.content.clone(),
            occurrence: 0,
        });
    }
    let text = chunks::text(app, caller, &chunk.dataset_id, &chunk.document_id).await?;
    let range = |start: i64, end: i64| {
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        text.get(start..end)
    };
    let content = range(chunk.start_byte, chunk.end_byte)
        .ok_or_else(|| Error::internal("a chunk is not a span of its document"))?
        .to_owned();
    let before: Vec<(i64, i64)> = app
        .db
        .all(
            "SELECT start_byte, end_byte FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND ordinal < $3 AND origin <> 'added' AND set_id = $4",
            args![caller.tenant(), &chunk.document_id, chunk.ordinal, &chunk.set_id],
        )
        .await?;
    let same = before
        .iter()
        .filter(|(start, end)| range(*start, *end) == Some(content.as_str()))
        .count();
    Ok(Parsed {
        occurrence: i64::try_from(same).unwrap_or(0),
        content,
    })
}

/// Counts the tokens of a chunk, hashes it, and embeds it when its text has no embedding yet.
async fn measured(app: &App, caller: &Caller, chunk: &mut Chunk) -> Result<Option<Vec<f32>>> {
    let dataset = datasets::settings(app, caller, &chunk.dataset_id).await?;
    let embedder = app.embedder_of(&dataset.indexing.embedding_model).await?;
    embeddings::measure(embedder.as_ref(), chunk)?;
    if !chunk.enabled {
        return Ok(None);
    }
    let known: Option<(String,)> = app
        .db
        .optional(
            "SELECT text_hash FROM kb_embeddings WHERE text_hash = $1 AND model = $2 AND tenant_id = $3",
            args![&chunk.text_hash, &dataset.indexing.embedding_model, caller.tenant()],
        )
        .await?;
    if known.is_some() {
        return Ok(None);
    }
    // The passage form, as in ingestion. It is a single text, so the wait is short.
    let vectors = app
        .embed_with(embedder, vec![chunk.indexed_text()], Priority::Bulk)
        .await?;
    Ok(vectors.into_iter().next())
}

/// Stores the embedding, logs the change and commits. The document counts as indexed again once both indexes have it.
async fn finish(
    app: &App,
    caller: &Caller,
    mut tx: Tx,
    chunk: &Chunk,
    vector: Option<Vec<f32>>,
    ops: &[(Op, String)],
) -> Result<()> {
    let document = documents::load_in(&mut tx, caller.tenant(), &chunk.document_id)
        .await?
        .ok_or_else(chunks::missing)?;
    keep_embedding(app, &mut tx, caller, chunk, vector).await?;
    let ops = if document.enabled { ops } else { &[] };
    let seq = index_log::append(&mut tx, &chunk.set_id, ops).await?;
    tx.execute(
        "UPDATE kb_documents SET ready_seq = $1, status = CASE WHEN status = 'indexed' THEN 'stored' ELSE status END, updated_on = $2
         WHERE tenant_id = $3 AND id = $4",
        args![seq, app.clock.now(), caller.tenant(), &chunk.document_id],
    )
    .await?;
    let after = documents::load_in(&mut tx, caller.tenant(), &chunk.document_id)
        .await?
        .ok_or_else(chunks::missing)?;
    events::append(&mut tx, &app.clock, caller.tenant(), &after.changed()).await?;
    builds::follow(app, &mut tx, &[&document]).await?;
    app.commit(tx).await?;
    Ok(())
}

/// Stores the embedding of a chunk; does nothing for a known one (`None`).
async fn keep_embedding(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    chunk: &Chunk,
    vector: Option<Vec<f32>>,
) -> Result<()> {
    let Some(vector) = vector else {
        return Ok(());
    };
    let (model,): (String,) = tx
        .optional(
            "SELECT embedding_model FROM kb_datasets WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), &chunk.dataset_id],
        )
        .await?
        .ok_or_else(datasets::missing)?;
    let now = app.clock.now();
    embeddings::store(tx, caller.tenant(), &model, &chunk.text_hash, &vector, now).await
}
