//! Folders of the server's machine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ignore::WalkBuilder;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::connector::{Connector, Listed};
use super::patterns::Patterns;
use super::settings::Folder;
use crate::app::App;
use crate::error::{Error, Result};

/// Bytes read at a time.
const PIECE: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct FolderConnector {
    /// The folder without links.
    root: PathBuf,
    patterns: Patterns,
}

impl FolderConnector {
    pub(super) fn new(app: &App, folder: &Folder) -> Result<Self> {
        let root = folder.root(app)?;
        Ok(Self {
            patterns: folder.patterns(&root)?,
            root,
        })
    }
}

/// Returns the version of a file: its time of change in milliseconds and its size.
fn version(path: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
    let changed = changed.map_or(0, |since| since.as_millis());
    Ok(format!("{changed}-{}", metadata.len()))
}

#[async_trait]
impl Connector for FolderConnector {
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool> {
        let (root, patterns) = (self.root.clone(), self.patterns.clone());
        tokio::task::spawn_blocking(move || {
            let mut walk = WalkBuilder::new(&root);
            // Patterns of a walk would let hidden and ignored files in again.
            walk.follow_links(false).sort_by_file_path(Ord::cmp);
            let mut is_complete = true;
            for entry in walk.build() {
                let entry = match entry {
                    Ok(entry) => entry,
                    // Files of a folder that cannot be read are not gone.
                    Err(error) => {
                        tracing::warn!(%error, "a folder of a source cannot be read");
                        is_complete = false;
                        continue;
                    }
                };
                let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                if !is_file || patterns.leave_out(entry.path()) {
                    continue;
                }
                let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path());
                let Some(name) = relative.to_str() else {
                    tracing::warn!(path = %relative.display(), "the name of a file is not Unicode");
                    continue;
                };
                let name = name.replace('\\', "/");
                let version = match version(entry.path()) {
                    Ok(version) => version,
                    // Removed since it was listed.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => {
                        tracing::warn!(%error, name, "a file of a source cannot be read");
                        is_complete = false;
                        continue;
                    }
                };
                let listed = Listed {
                    key: name.clone(),
                    version,
                    mime_type: mime_guess::from_path(&name).first_raw().map(str::to_owned),
                    name,
                    ..Listed::default()
                };
                if items.blocking_send(listed).is_err() {
                    break;
                }
            }
            Ok(is_complete)
        })
        .await?
    }

    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>> {
        let path = self.root.join(&item.key);
        let gone = |e: std::io::Error| Error::not_found("item_gone", format!("{}: {e}", item.key));
        // A folder on the way may have become a link since it was listed.
        let real = tokio::fs::canonicalize(&path).await.map_err(gone)?;
        if !real.starts_with(&self.root) {
            return Err(Error::forbidden(
                "folder_refused",
                format!("{} leads out of the folder", item.key),
            ));
        }
        let file = tokio::fs::File::open(real).await.map_err(gone)?;
        let pieces = ReaderStream::with_capacity(file, PIECE);
        Ok(pieces.map(|piece| piece.map_err(Error::from)).boxed())
    }
}
