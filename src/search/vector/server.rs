//! A Qdrant server or cluster behind the same interface. The position of each dataset's log is a row in SQL, written after the server has confirmed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    BinaryQuantizationBuilder, CollectionParams, CollectionStatus, Condition,
    CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, DeletePointsBuilder, Distance,
    FieldType, Filter, KeywordIndexParamsBuilder, PointId, PointStruct, PointsIdsList,
    QuantizationSearchParamsBuilder, QueryPointsBuilder, ReplicaState, ScalarQuantizationBuilder,
    ScoredPoint, ScrollPointsBuilder, SearchParamsBuilder, UpsertPointsBuilder,
    VectorParamsBuilder, vectors_config,
};
use qdrant_client::{Qdrant, QdrantError};
use serde::Serialize;
use uuid::Uuid;

use super::cluster::{Cluster, For};
use super::{Among, Changes, Effort, Scope, collection};
use crate::config::Config;
use crate::db::{Db, args};
use crate::error::{Error, Result};

const BATCH: usize = 256;

/// The collection of one model on a server.
#[derive(Debug)]
pub struct Server {
    cluster: Arc<Cluster>,
    collection: String,
    layout: Layout,
}

/// Layout of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Dimensions of the vectors.
    pub dimensions: usize,
    /// Number of copies of each shard.
    pub replication: u32,
    /// Number of shards; 0 lets the server choose.
    pub shards: u32,
    /// Whether vectors stay on disk and are read from there.
    pub on_disk: bool,
    /// Quantization of vectors for the first search pass.
    pub quantization: Quantization,
}

/// Vector quantization, see [`Layout::quantization`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// No quantization.
    None,
    /// One byte per component: a quarter of the memory.
    Scalar,
    /// One bit per component: for vectors of 1,024 dimensions and more.
    Binary,
}

impl Layout {
    /// Returns the configured layout for vectors of the given dimensions.
    #[must_use]
    pub fn of(config: &Config, dimensions: usize) -> Self {
        Self {
            dimensions,
            replication: config.qdrant_replication,
            shards: config.qdrant_shards,
            on_disk: config.qdrant_on_disk,
            quantization: match config.qdrant_quantization.as_str() {
                "scalar" => Quantization::Scalar,
                "binary" => Quantization::Binary,
                _ => Quantization::None,
            },
        }
    }
}

/// Report on a collection by `cairn doctor`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionReport {
    pub collection: String,
    /// Number of points, as counted by the server.
    pub points: u64,
    /// Status in Qdrant's terms: `green`, `yellow`, `red` or `grey`.
    pub status: String,
    /// Number of shards.
    pub shards: u64,
    /// Number of copies of each shard, as set at creation.
    pub replication: u32,
    /// Number of active shard copies.
    pub replicas_active: usize,
    /// Number of inactive shard copies.
    pub replicas_inactive: usize,
    /// Notes for the operator.
    pub notes: Vec<String>,
}

impl Server {
    /// Opens the collection of a model, creating it when missing.
    pub(super) async fn open(
        cluster: Arc<Cluster>,
        model: &str,
        layout: Layout,
        db: &Db,
    ) -> Result<Self> {
        cluster.check_version().await?;
        let server = Self {
            cluster,
            collection: collection(model),
            layout,
        };
        server.ensure(db).await?;
        Ok(server)
    }

    async fn reading<T, F>(&self, request: impl Fn(Qdrant) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, QdrantError>>,
    {
        self.cluster.ask(For::Reading, request).await
    }

    async fn changing<T, F>(&self, request: impl Fn(Qdrant) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, QdrantError>>,
    {
        self.cluster.ask(For::Changing, request).await
    }

    /// Creates the collection when missing, and resets the applied positions of one that is gone.
    async fn ensure(&self, db: &Db) -> Result<()> {
        let name = &self.collection;
        let is_there = self
            .reading(|client| async move { client.collection_exists(name).await })
            .await?;
        if is_there {
            return self.check_dimensions().await;
        }
        db.execute(
            "DELETE FROM kb_watermarks WHERE store = $1",
            args![&self.collection],
        )
        .await?;
        let mut vectors = VectorParamsBuilder::new(self.layout.dimensions as u64, Distance::Cosine)
            .on_disk(self.layout.on_disk);
        match self.layout.quantization {
            Quantization::None => {}
            Quantization::Scalar => {
                let scalar = ScalarQuantizationBuilder::default().always_ram(true);
                vectors = vectors.quantization_config(scalar);
            }
            Quantization::Binary => {
                vectors = vectors.quantization_config(BinaryQuantizationBuilder::new(true));
            }
        }
        let mut new = CreateCollectionBuilder::new(name)
            .vectors_config(vectors)
            .replication_factor(self.layout.replication)
            .timeout(60);
        if self.layout.shards > 0 {
            new = new.shard_number(self.layout.shards);
        }
        let new = &new;
        let made = self
            .changing(|client| async move { client.create_collection(new.clone()).await })
            .await;
        if let Err(error) = made {
            // Another Cairn server, or an attempt whose response was lost, may have created it.
            let is_there = self
                .reading(|client| async move { client.collection_exists(name).await })
                .await?;
            if !is_there {
                return Err(error);
            }
        }
        for field in ["tenant", "dataset", "generation", "document"] {
            let parameters = KeywordIndexParamsBuilder::default().is_tenant(field == "dataset");
            let index = &CreateFieldIndexCollectionBuilder::new(name, field, FieldType::Keyword)
                .field_index_params(parameters)
                .wait(true);
            self.changing(|client| async move { client.create_field_index(index.clone()).await })
                .await?;
        }
        self.check_dimensions().await
    }

    async fn check_dimensions(&self) -> Result<()> {
        let found =
            self.parameters()
                .await?
                .and_then(|p| match p.vectors_config.and_then(|v| v.config) {
                    Some(vectors_config::Config::Params(params)) => Some(params.size),
                    Some(vectors_config::Config::ParamsMap(_)) | None => None,
                });
        if found == Some(self.layout.dimensions as u64) {
            return Ok(());
        }
        let found = found.map_or_else(
            || "no unnamed vectors".to_owned(),
            |n| format!("vectors of {n} dimensions"),
        );
        Err(Error::unprocessable(
            "vector_dimensions",
            format!(
                "collection {} has {found}, but the model returns {}",
                self.collection, self.layout.dimensions
            ),
        ))
    }

    async fn parameters(&self) -> Result<Option<CollectionParams>> {
        let name = &self.collection;
        let info = self
            .reading(|client| async move { client.collection_info(name).await })
            .await?;
        Ok(info.result.and_then(|r| r.config).and_then(|c| c.params))
    }

    /// Returns a report on the collection.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn report(&self) -> Result<CollectionReport> {
        let name = &self.collection;
        let info = self
            .reading(|client| async move { client.collection_info(name).await })
            .await?
            .result
            .unwrap_or_default();
        let shards = self
            .reading(|client| async move { client.collection_cluster_info(name).await })
            .await?;
        let states = shards
            .local_shards
            .iter()
            .map(|s| s.state)
            .chain(shards.remote_shards.iter().map(|s| s.state));
        let (active, inactive): (Vec<i32>, Vec<i32>) =
            states.partition(|s| *s == ReplicaState::Active as i32);
        let parameters = info.config.and_then(|c| c.params);
        let replication = parameters.and_then(|p| p.replication_factor).unwrap_or(1);
        let mut notes = Vec::new();
        if replication < self.layout.replication {
            notes.push(format!(
                "it was created with {replication} replicas per shard, but qdrant_replication is {}; Qdrant adds none by itself: replicate its shards, or rebuild the datasets in an empty cluster",
                self.layout.replication
            ));
        }
        if !inactive.is_empty() {
            notes.push(format!(
                "{} shard replicas are not responding",
                inactive.len()
            ));
        }
        let status = CollectionStatus::try_from(info.status).unwrap_or_default();
        Ok(CollectionReport {
            collection: self.collection.clone(),
            points: info.points_count.unwrap_or(0),
            status: status.as_str_name().to_lowercase(),
            shards: shards.shard_count,
            replication,
            replicas_active: active.len(),
            replicas_inactive: inactive.len(),
            notes,
        })
    }

    pub(super) async fn applied(&self, db: &Db) -> Result<HashMap<String, i64>> {
        let rows: Vec<(String, i64)> = db
            .all(
                "SELECT dataset_id, seq FROM kb_watermarks WHERE store = $1",
                args![&self.collection],
            )
            .await?;
        Ok(rows.into_iter().collect())
    }

    pub(super) async fn apply(
        &self,
        db: &Db,
        scope: &Scope,
        changes: Changes,
        seq: i64,
    ) -> Result<()> {
        if changes.clear {
            // The collection is rebuilt, perhaps because it is gone.
            self.ensure(db).await?;
            self.delete(filter(scope, None)).await?;
        }
        for ids in changes.delete.chunks(BATCH) {
            let ids = PointsIdsList {
                ids: ids.iter().map(|id| PointId::from(id.to_string())).collect(),
            };
            self.delete(ids).await?;
        }
        for points in changes.put.chunks(BATCH) {
            let points: Vec<PointStruct> = points
                .iter()
                .map(|p| {
                    let payload: [(&str, qdrant_client::qdrant::Value); 4] = [
                        ("tenant", scope.tenant_id.clone().into()),
                        ("dataset", scope.dataset_id.clone().into()),
                        ("generation", scope.generation.to_string().into()),
                        ("document", p.document_id.clone().into()),
                    ];
                    PointStruct::new(p.id.to_string(), p.vector.clone(), payload)
                })
                .collect();
            let put = &UpsertPointsBuilder::new(&self.collection, points).wait(true);
            self.changing(|client| async move { client.upsert_points(put.clone()).await })
                .await?;
        }
        let mut tx = db.begin_repeatable().await?;
        tx.execute(
            "INSERT INTO kb_watermarks (store, dataset_id, seq) VALUES ($1, $2, $3) ON CONFLICT (store, dataset_id) DO UPDATE SET seq = excluded.seq",
            args![&self.collection, &scope.dataset_id, seq],
        )
        .await?;
        tx.commit().await
    }

    async fn delete(&self, points: impl Into<PointsSelectorOneOf>) -> Result<()> {
        let delete = &DeletePointsBuilder::new(&self.collection)
            .points(points)
            .wait(true);
        self.changing(|client| async move { client.delete_points(delete.clone()).await })
            .await?;
        Ok(())
    }

    pub(super) async fn search(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        among: Option<&Among>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        let effort = Effort::of(among, vector.len());
        let documents = among.map(|among| among.documents.clone());
        self.query(vector, filter(scope, documents), limit, effort)
            .await
    }

    pub(super) async fn scores(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        ids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, f32>> {
        let limit = ids.len();
        let mut only = filter(scope, None);
        only.must.push(Condition::has_id(
            ids.into_iter().map(|id| PointId::from(id.to_string())),
        ));
        Ok(self
            .query(vector, only, limit, Effort::EXACT)
            .await?
            .into_iter()
            .collect())
    }

    async fn query(
        &self,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
        effort: Effort,
    ) -> Result<Vec<(Uuid, f32)>> {
        let mut parameters = SearchParamsBuilder::default()
            .exact(effort.exact)
            .hnsw_ef(effort.ef.max(limit) as u64);
        if self.layout.quantization != Quantization::None {
            // Quantized vectors select, and full vectors score.
            let quantization = QuantizationSearchParamsBuilder::default()
                .ignore(effort.exact)
                .rescore(true)
                .oversampling(2.0);
            parameters = parameters.quantization(quantization);
        }
        let request = QueryPointsBuilder::new(&self.collection)
            .query(vector)
            .filter(filter)
            .limit(limit as u64)
            .params(parameters)
            .with_payload(false);
        let request = &request;
        let found = self
            .reading(|client| async move { client.query(request.clone()).await })
            .await?
            .result;
        Ok(found
            .into_iter()
            .filter_map(|point: ScoredPoint| Some((uuid(point.id?)?, point.score)))
            .collect())
    }

    pub(super) async fn ids(&self, scope: &Scope) -> Result<Vec<Uuid>> {
        let (mut all, mut offset) = (Vec::new(), None::<PointId>);
        loop {
            let mut request = ScrollPointsBuilder::new(&self.collection)
                .filter(filter(scope, None))
                .limit(10_000)
                .with_payload(false)
                .with_vectors(false);
            if let Some(offset) = offset {
                request = request.offset(offset);
            }
            let request = &request;
            let page = self
                .reading(|client| async move { client.scroll(request.clone()).await })
                .await?;
            all.extend(page.result.into_iter().filter_map(|p| uuid(p.id?)));
            match page.next_page_offset {
                Some(next) => offset = Some(next),
                None => return Ok(all),
            }
        }
    }

    pub(super) async fn keep_only(&self, db: &Db, dataset_ids: &[String]) -> Result<()> {
        for gone in self
            .applied(db)
            .await?
            .into_keys()
            .filter(|id| !dataset_ids.contains(id))
        {
            self.delete(Filter::must([Condition::matches("dataset", gone.clone())]))
                .await?;
            db.execute(
                "DELETE FROM kb_watermarks WHERE store = $1 AND dataset_id = $2",
                args![&self.collection, &gone],
            )
            .await?;
        }
        Ok(())
    }
}

fn filter(scope: &Scope, documents: Option<Vec<String>>) -> Filter {
    let mut must = vec![
        Condition::matches("dataset", scope.dataset_id.clone()),
        Condition::matches("generation", scope.generation.to_string()),
    ];
    must.extend(documents.map(|documents| Condition::matches("document", documents)));
    Filter::must(must)
}

fn uuid(id: PointId) -> Option<Uuid> {
    match id.point_id_options? {
        PointIdOptions::Uuid(text) => text.parse().ok(),
        PointIdOptions::Num(_) => None,
    }
}
