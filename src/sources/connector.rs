//! What a kind of source has to do.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::error::Result;

/// Something that a source has and that becomes a document.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// Name in the source, unique in it.
    pub(super) key: String,
    /// Changes whenever the content does.
    pub(super) version: String,
    /// File name of the document.
    pub(super) name: String,
    /// Media type, if the source states it.
    pub(super) mime_type: Option<String>,
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
    pub(super) metadata: Map<String, Value>,
    /// The content, if the list has it.
    pub(super) content: Option<Bytes>,
}

/// How a kind of source is read.
#[async_trait]
pub(super) trait Connector: Send + Sync {
    /// Sends every item. Returns whether the list was complete, so that what is not on it is gone.
    ///
    /// # Errors
    /// When the source cannot be read: nothing is removed then.
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool>;

    /// Returns the content of an item.
    ///
    /// # Errors
    /// Those of the source.
    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Returns whether a complete list without items is to be believed. Elsewhere, a disk that is not mounted looks like an empty source.
    fn may_be_empty(&self) -> bool {
        false
    }

    /// Number of items fetched at the same time.
    fn parallel(&self) -> usize {
        4
    }
}
