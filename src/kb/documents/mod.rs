//! Documents: uploads and their policy towards existing documents, versions, documents inside archives, lifecycle, visibility, deletion.

mod document;
mod lifecycle;
mod upload;
mod visibility;
mod wait;

pub use document::{Document, DocumentSource, DocumentStatus, NewDocument, by_ids, get, list};
pub(crate) use document::{
    by_external_in, changed_now, external, insert_row, load, load_all, load_in, missing, page_in,
    part, texts_after, with_external,
};
pub(crate) use lifecycle::{
    Progress, embed_later, mark_indexed, progress, queue, remove_in, remove_page_in, waits_again,
};
pub use lifecycle::{Reindex, delete, reindex};
pub use upload::{Added, OnDuplicate, UploadPolicy, add};
pub(crate) use upload::{add_in, set_children};
pub(crate) use visibility::switch_in;
pub use visibility::{DocumentPatch, update};
pub use wait::{settled, with_parts};
