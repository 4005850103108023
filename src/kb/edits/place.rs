//! Places of added chunks among the others.

use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::kb::{Chunk, chunks};

/// A chunk and its neighbours among the parsed chunks.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    pub(super) chunk: Chunk,
    pub(super) previous: Option<Chunk>,
    pub(super) next: Option<Chunk>,
}

pub(super) const PREVIOUS: &str = concat!(
    "SELECT ",
    chunks::columns!(""),
    " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 AND ordinal < $4 AND origin <> 'added' ORDER BY ordinal DESC LIMIT 1"
);

pub(super) const NEXT: &str = concat!(
    "SELECT ",
    chunks::columns!(""),
    " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 AND ordinal > $4 AND origin <> 'added' ORDER BY ordinal LIMIT 1"
);

pub(super) const THIS: &str = concat!(
    "SELECT ",
    chunks::columns!(""),
    " FROM kb_chunks WHERE tenant_id = $1 AND id = $2"
);

impl Place {
    pub(super) async fn of(
        app: &App,
        caller: &Caller,
        dataset_id: &str,
        chunk_id: &str,
    ) -> Result<Self> {
        let chunk = chunks::get(app, caller, dataset_id, chunk_id).await?;
        let near = || {
            args![
                caller.tenant(),
                &chunk.document_id,
                &chunk.set_id,
                chunk.ordinal
            ]
        };
        Ok(Self {
            previous: app.db.optional(PREVIOUS, near()).await?,
            next: app.db.optional(NEXT, near()).await?,
            chunk,
        })
    }

    /// Returns whether the rows are unchanged, in a transaction that has locked the dataset.
    pub(super) async fn stands(&self, tx: &mut Tx, tenant_id: &str) -> Result<bool> {
        let chunk = &self.chunk;
        let near = || args![tenant_id, &chunk.document_id, &chunk.set_id, chunk.ordinal];
        let now: Option<Chunk> = tx.optional(THIS, args![tenant_id, &chunk.id]).await?;
        Ok(now.as_ref() == Some(chunk)
            && tx.optional::<Chunk>(PREVIOUS, near()).await? == self.previous
            && tx.optional::<Chunk>(NEXT, near()).await? == self.next)
    }
}

/// Returns whether the next chunk must not repeat the file's text of this one in its overlap.
pub(super) fn is_withheld(chunk: &Chunk) -> bool {
    chunk.origin != "added" && (!chunk.enabled || chunk.origin == "edited")
}

/// Removes the overlap of a parsed chunk with the previous one, when that is hidden or rewritten. Returns whether anything was removed; the chunk has
/// to be measured again then.
pub(crate) fn trim(chunk: &mut Chunk, previous: Option<&Chunk>) -> bool {
    let is_shown = chunk.origin == "parsed" && chunk.enabled;
    match previous.filter(|previous| is_shown && is_withheld(previous)) {
        Some(previous) => start_at(chunk, previous.end_byte),
        None => false,
    }
}

/// Removes the overlap of a parsed chunk, which is its text before a byte offset. Returns whether there was any.
pub(crate) fn start_at(chunk: &mut Chunk, byte: i64) -> bool {
    let repeated = usize::try_from(byte - chunk.start_byte).unwrap_or(0);
    let Some((overlap, own)) = chunk.content.split_at_checked(repeated) else {
        return false;
    };
    if overlap.is_empty() || own.is_empty() {
        return false;
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    chunk.start_byte = byte;
    chunk.start_char += count(overlap.chars().count());
    chunk.first_line = chunk
        .first_line
        .map(|line| line + count(overlap.matches('\n').count()));
    chunk.content = own.to_owned();
    true
}
