//! Content-addressed blobs: the key of a blob is the SHA-256 of its content, below its tenant.
//!
//! Bytes are hashed while they are streamed to the store under a temporary name, and then moved to their key. Every blob has a row that is touched
//! before the bytes are checked, so that garbage collection never removes a blob that is about to be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::db::{Db, args};
use crate::disk;
use crate::error::{Error, Result};

/// The blob store.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    clock: Clock,
    /// Directory of a local store.
    directory: Option<PathBuf>,
}

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 in hex.
    pub hash: String,
    /// Length in bytes.
    pub size: u64,
    /// First bytes, to detect the format.
    pub head: Vec<u8>,
}

/// Minimum age of a blob before it is collected.
const GRACE: Duration = Duration::from_secs(3600);
/// Location of bytes during their upload.
const INCOMING: &str = "incoming";
/// Number of first bytes kept.
pub(crate) const HEAD: usize = 8192;

impl Blobs {
    /// Opens the configured store: a directory, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// `blob_url_invalid`.
    pub fn open(url: &str, data_dir: &Path, clock: Clock) -> Result<Self> {
        let mut directory = None;
        let store: Arc<dyn ObjectStore> = if url.is_empty() {
            let root = directory.insert(data_dir.join("blobs"));
            disk::private_directory(root)?;
            Arc::new(
                LocalFileSystem::new_with_prefix(root)
                    .map_err(store_error)?
                    .with_fsync(true),
            )
        } else {
            let bad = |e: &dyn std::fmt::Display| {
                Error::invalid("blob_url_invalid", format!("blob_url: {e}"))
            };
            let url: reqwest::Url = url.parse().map_err(|e| bad(&e))?;
            let variables = std::env::vars()
                .filter(|(name, _)| name.starts_with("AWS_"))
                .map(|(name, value)| (name.to_lowercase(), value));
            let (store, prefix) =
                object_store::parse_url_opts(&url, variables).map_err(|e| bad(&e))?;
            Arc::new(object_store::prefix::PrefixStore::new(store, prefix))
        };
        Ok(Self {
            store,
            clock,
            directory,
        })
    }

    /// Stores a stream; more than `limit` bytes are rejected and leave nothing behind.
    ///
    /// # Errors
    /// `file_too_large`; those of the stream and the store.
    pub async fn put<S>(
        &self,
        db: &Db,
        tenant_id: &str,
        mut content: S,
        limit: u64,
    ) -> Result<Stored>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let scratch = Key::from(format!("{INCOMING}/{}", self.clock.id()));
        let mut upload = WriteMultipart::new(
            self.store
                .put_multipart(&scratch)
                .await
                .map_err(store_error)?,
        );
        let (mut hasher, mut size, mut head) = (Sha256::new(), 0_u64, Vec::new());
        while let Some(piece) = content.next().await {
            let piece = match piece {
                Ok(piece) if size + piece.len() as u64 <= limit => piece,
                outcome => {
                    upload.abort().await.map_err(store_error)?;
                    outcome?;
                    return Err(too_large(limit));
                }
            };
            size += piece.len() as u64;
            hasher.update(&piece);
            head.extend_from_slice(&piece[..piece.len().min(HEAD - head.len())]);
            upload.wait_for_capacity(4).await.map_err(store_error)?;
            upload.put(piece);
        }
        upload.finish().await.map_err(store_error)?;
        let hash = hex::encode(hasher.finalize());
        self.touch(db, tenant_id, &hash, size).await?;
        self.store
            .rename(&scratch, &key(tenant_id, &hash))
            .await
            .map_err(store_error)?;
        Ok(Stored { hash, size, head })
    }

    /// Stores bytes from memory.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn put_bytes(
        &self,
        db: &Db,
        tenant_id: &str,
        content: impl Into<Bytes>,
    ) -> Result<Stored> {
        let content = content.into();
        let hash = hex::encode(Sha256::digest(&content));
        let stored = Stored {
            hash,
            size: content.len() as u64,
            head: content[..content.len().min(HEAD)].to_vec(),
        };
        self.put_hashed(db, tenant_id, &stored.hash, content)
            .await?;
        Ok(stored)
    }

    /// Stores bytes from memory whose SHA-256 is `hash`.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn put_hashed(
        &self,
        db: &Db,
        tenant_id: &str,
        hash: &str,
        content: Bytes,
    ) -> Result<()> {
        self.touch(db, tenant_id, hash, content.len() as u64)
            .await?;
        self.store
            .put(&key(tenant_id, hash), PutPayload::from(content))
            .await
            .map_err(store_error)?;
        Ok(())
    }

    /// Returns the bytes of a blob.
    ///
    /// # Errors
    /// `blob_not_found`.
    pub async fn get(&self, tenant_id: &str, hash: &str) -> Result<Bytes> {
        let found = self
            .store
            .get(&key(tenant_id, hash))
            .await
            .map_err(store_error)?;
        found.bytes().await.map_err(store_error)
    }

    /// Streams the bytes of a blob.
    ///
    /// # Errors
    /// `blob_not_found`; a failed read ends the stream with an error.
    pub async fn stream(
        &self,
        tenant_id: &str,
        hash: &str,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let whole = GetOptions::default();
        self.stream_with(tenant_id, hash, whole).await
    }

    /// Streams some bytes of a blob.
    ///
    /// # Errors
    /// `blob_not_found`; a failed read ends the stream with an error.
    pub async fn stream_range(
        &self,
        tenant_id: &str,
        hash: &str,
        range: std::ops::Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.stream_with(tenant_id, hash, options).await
    }

    async fn stream_with(
        &self,
        tenant_id: &str,
        hash: &str,
        options: GetOptions,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let found = self
            .store
            .get_opts(&key(tenant_id, hash), options)
            .await
            .map_err(store_error)?;
        Ok(found.into_stream().map(|p| p.map_err(store_error)).boxed())
    }

    /// Returns whether the bytes of a blob have its hash.
    ///
    /// # Errors
    /// `blob_not_found`.
    pub async fn is_sound(&self, tenant_id: &str, hash: &str) -> Result<bool> {
        let mut pieces = self.stream(tenant_id, hash).await?;
        let mut hasher = Sha256::new();
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece?);
        }
        Ok(hex::encode(hasher.finalize()) == hash)
    }

    /// Returns the first bytes of a blob, to detect its format.
    ///
    /// # Errors
    /// `blob_not_found`.
    pub async fn head(&self, tenant_id: &str, hash: &str) -> Result<Vec<u8>> {
        let mut pieces = self.stream(tenant_id, hash).await?;
        let mut head = Vec::new();
        while head.len() < HEAD {
            let Some(piece) = pieces.next().await else {
                break;
            };
            let piece = piece?;
            head.extend_from_slice(&piece[..piece.len().min(HEAD - head.len())]);
        }
        Ok(head)
    }

    /// Returns whether the bytes of a blob exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has(&self, tenant_id: &str, hash: &str) -> Result<bool> {
        match self.store.head(&key(tenant_id, hash)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(store_error(error)),
        }
    }

    /// Removes a blob without references that was not touched for an hour; `true` when it was removed.
    ///
    /// The row and the bytes are removed while the row is locked, so a concurrent [`Blobs::put`] of the same bytes waits and then stores them again.
    ///
    /// # Errors
    /// Those of the database and the store.
    pub async fn collect(&self, db: &Db, tenant_id: &str, hash: &str) -> Result<bool> {
        let mut tx = db.begin().await?;
        let removed = tx
            .execute(
                "DELETE FROM kb_blobs WHERE tenant_id = $1 AND hash = $2 AND touched_on < $3
                 AND NOT EXISTS (SELECT 1 FROM kb_documents d WHERE d.tenant_id = $1 AND (d.blob_hash = $2 OR d.text_hash = $2))
                 AND NOT EXISTS (SELECT 1 FROM record_files f WHERE f.hash = $2 AND f.tenant_id = $1)
                 AND NOT EXISTS (SELECT 1 FROM kb_files f WHERE f.blob_hash = $2 AND f.tenant_id = $1)",
                args![tenant_id, hash, self.clock.now().minus(GRACE)],
            )
            .await?;
        if removed > 0 {
            match self.store.delete(&key(tenant_id, hash)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        tx.commit().await?;
        Ok(removed > 0)
    }

    /// Removes the remains of interrupted uploads that were not touched for `older`. Returns their number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sweep(&self, older: Duration) -> Result<u64> {
        if let Some(directory) = &self.directory {
            let incoming = directory.join(INCOMING);
            return Ok(tokio::task::spawn_blocking(move || disk::sweep(&incoming, older)).await??);
        }
        let before = self.clock.now().minus(older);
        let mut found = self.store.list(Some(&Key::from(INCOMING)));
        let mut removed = 0;
        while let Some(object) = found.next().await {
            let object = object.map_err(store_error)?;
            if object.last_modified.timestamp_millis() < before.0 {
                match self.store.delete(&object.location).await {
                    Ok(()) => removed += 1,
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(store_error(error)),
                }
            }
        }
        Ok(removed)
    }

    /// Returns blobs without references, at most 1,000.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn garbage(&self, db: &Db) -> Result<Vec<(String, String)>> {
        db.all(
            "SELECT b.tenant_id, b.hash FROM kb_blobs b WHERE b.touched_on < $1 AND NOT EXISTS
             (SELECT 1 FROM kb_documents d WHERE d.tenant_id = b.tenant_id AND (d.blob_hash = b.hash OR d.text_hash = b.hash))
             AND NOT EXISTS (SELECT 1 FROM record_files f WHERE f.hash = b.hash AND f.tenant_id = b.tenant_id)
             AND NOT EXISTS (SELECT 1 FROM kb_files f WHERE f.blob_hash = b.hash AND f.tenant_id = b.tenant_id) LIMIT 1000",
            args![self.clock.now().minus(GRACE)],
        )
        .await
    }

    async fn touch(&self, db: &Db, tenant_id: &str, hash: &str, size: u64) -> Result<()> {
        let mut tx = db.begin_repeatable().await?;
        tx.execute(
            "INSERT INTO kb_blobs (tenant_id, hash, size_bytes, touched_on) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, hash) DO UPDATE SET touched_on = excluded.touched_on",
            args![
                tenant_id,
                hash,
                i64::try_from(size).unwrap_or(i64::MAX),
                self.clock.now()
            ],
        )
        .await?;
        tx.commit().await
    }
}

/// Returns the error for a file that is larger than a limit.
pub(crate) fn too_large(limit: u64) -> Error {
    Error::too_large(
        "file_too_large",
        format!("a file may have at most {limit} bytes"),
    )
}

fn key(tenant_id: &str, hash: &str) -> Key {
    Key::from(format!("{tenant_id}/{}/{hash}", &hash[..hash.len().min(2)]))
}

fn store_error(error: object_store::Error) -> Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(inner) = cause {
        if inner
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
        {
            return std::io::Error::from(std::io::ErrorKind::StorageFull).into();
        }
        cause = inner.source();
    }
    if matches!(error, object_store::Error::NotFound { .. }) {
        return Error::not_found("blob_not_found", "the stored file is missing").with_source(error);
    }
    Error::unavailable("blob_store_unavailable", "the blob store failed").with_source(error)
}
