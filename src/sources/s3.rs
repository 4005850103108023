//! Buckets in S3 and compatible stores.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc;

use super::connector::{Connector, Listed};
use super::settings::Bucket;
use crate::app::App;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct BucketConnector {
    store: AmazonS3,
    prefix: Option<Path>,
}

impl BucketConnector {
    pub(super) fn new(app: &App, bucket: &Bucket, secret: Option<String>) -> Result<Self> {
        let mut store = AmazonS3Builder::new()
            .with_bucket_name(&bucket.bucket)
            .with_region(bucket.region.as_deref().unwrap_or("us-east-1"))
            .with_http_connector(app.outgoing.object_store());
        if let Some(endpoint) = &bucket.endpoint {
            store = store
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        }
        store = match (&bucket.access_key_id, secret) {
            (Some(id), Some(secret)) => store.with_access_key_id(id).with_secret_access_key(secret),
            (Some(_), None) => {
                return Err(Error::invalid(
                    "source_settings_invalid",
                    "the secret of the access key is missing",
                ));
            }
            // Unsigned requests: credentials of the machine are not the tenant's.
            (None, _) => store.with_skip_signature(true),
        };
        Ok(Self {
            store: store.build().map_err(failed)?,
            prefix: bucket.prefix()?,
        })
    }
}

fn failed(error: object_store::Error) -> Error {
    Error::upstream(
        "source_failed",
        format!("the bucket cannot be read: {error}"),
    )
}

#[async_trait]
impl Connector for BucketConnector {
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool> {
        let mut objects = self.store.list(self.prefix.as_ref());
        while let Some(object) = objects.next().await {
            let object = object.map_err(failed)?;
            let key = object.location.to_string();
            if object.size == 0 || key.ends_with('/') {
                continue;
            }
            let name = match &self.prefix {
                Some(prefix) => key
                    .strip_prefix(prefix.as_ref())
                    .map_or(key.as_str(), |rest| rest.trim_start_matches('/')),
                None => &key,
            };
            let changed = format!(
                "{}-{}",
                object.last_modified.timestamp_millis(),
                object.size
            );
            let listed = Listed {
                version: object.e_tag.unwrap_or(changed),
                mime_type: mime_guess::from_path(name).first_raw().map(str::to_owned),
                name: name.to_owned(),
                key,
                ..Listed::default()
            };
            if items.send(listed).await.is_err() {
                break;
            }
        }
        Ok(true)
    }

    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>> {
        let path = Path::parse(&item.key)
            .map_err(|e| Error::invalid("source_failed", format!("{}: {e}", item.key)))?;
        let found = self.store.get(&path).await.map_err(failed)?;
        Ok(found
            .into_stream()
            .map(|piece| piece.map_err(failed))
            .boxed())
    }
}
