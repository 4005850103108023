//! A Qdrant server or cluster behind the same seam. The position of each dataset's log is a row in SQL, written after the server has confirmed.

use std::collections::HashMap;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    Condition, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, DeletePointsBuilder,
    Distance, FieldType, Filter, KeywordIndexParamsBuilder, PointId, PointStruct, PointsIdsList,
    QueryPointsBuilder, ScoredPoint, ScrollPointsBuilder, SearchParamsBuilder, UpsertPointsBuilder,
    VectorParamsBuilder, vectors_config,
};
use uuid::Uuid;

use super::{Changes, Scope, VectorOptions, collection};
use crate::db::{Db, args};
use crate::error::{Error, Result};

const BATCH: usize = 256;

/// The collection of one model on a server.
pub struct Server {
    client: Qdrant,
    collection: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

impl Server {
    pub(super) async fn open(options: &VectorOptions<'_>) -> Result<Self> {
        let mut builder = Qdrant::from_url(options.url);
        if !options.api_key.is_empty() {
            builder = builder.api_key(options.api_key);
        }
        let client = builder.build().map_err(failed)?;
        let collection = collection(options.model);
        if client
            .collection_exists(&collection)
            .await
            .map_err(failed)?
        {
            let info = client.collection_info(&collection).await.map_err(failed)?;
            let found = info
                .result
                .and_then(|r| r.config)
                .and_then(|c| c.params)
                .and_then(|p| p.vectors_config)
                .and_then(|v| v.config)
                .and_then(|c| match c {
                    vectors_config::Config::Params(params) => Some(params.size),
                    vectors_config::Config::ParamsMap(_) => None,
                });
            if found != Some(options.dimensions as u64) {
                return Err(Error::unprocessable(
                    "vector_dimensions",
                    format!(
                        "collection {collection} holds vectors of {found:?} dimensions, the model gives {}",
                        options.dimensions
                    ),
                ));
            }
            return Ok(Self { client, collection });
        }
        let vectors = VectorParamsBuilder::new(options.dimensions as u64, Distance::Cosine);
        client
            .create_collection(CreateCollectionBuilder::new(&collection).vectors_config(vectors))
            .await
            .map_err(failed)?;
        for field in ["tenant", "dataset", "generation", "document"] {
            let parameters = KeywordIndexParamsBuilder::default().is_tenant(field == "dataset");
            let index =
                CreateFieldIndexCollectionBuilder::new(&collection, field, FieldType::Keyword)
                    .field_index_params(parameters)
                    .wait(true);
            client.create_field_index(index).await.map_err(failed)?;
        }
        Ok(Self { client, collection })
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
            self.client
                .delete_points(
                    DeletePointsBuilder::new(&self.collection)
                        .points(filter(scope, None))
                        .wait(true),
                )
                .await
                .map_err(failed)?;
        }
        for ids in changes.delete.chunks(BATCH) {
            let ids = PointsIdsList {
                ids: ids.iter().map(|id| PointId::from(id.to_string())).collect(),
            };
            self.client
                .delete_points(
                    DeletePointsBuilder::new(&self.collection)
                        .points(ids)
                        .wait(true),
                )
                .await
                .map_err(failed)?;
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
            self.client
                .upsert_points(UpsertPointsBuilder::new(&self.collection, points).wait(true))
                .await
                .map_err(failed)?;
        }
        let mut tx = db.begin_repeatable().await?;
        tx.execute(
            "INSERT INTO kb_watermarks (store, dataset_id, seq) VALUES ($1, $2, $3) ON CONFLICT (store, dataset_id) DO UPDATE SET seq = excluded.seq",
            args![&self.collection, &scope.dataset_id, seq],
        )
        .await?;
        tx.commit().await
    }

    pub(super) async fn search(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        documents: Option<Vec<String>>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        self.query(vector, filter(scope, documents), limit, false)
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
            .query(vector, only, limit, true)
            .await?
            .into_iter()
            .collect())
    }

    async fn query(
        &self,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
        exact: bool,
    ) -> Result<Vec<(Uuid, f32)>> {
        let parameters = SearchParamsBuilder::default()
            .exact(exact)
            .hnsw_ef(256.max(limit as u64));
        let request = QueryPointsBuilder::new(&self.collection)
            .query(vector)
            .filter(filter)
            .limit(limit as u64)
            .params(parameters)
            .with_payload(false);
        let found = self.client.query(request).await.map_err(failed)?.result;
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
            let page = self.client.scroll(request).await.map_err(failed)?;
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
            let only = Filter::must([Condition::matches("dataset", gone.clone())]);
            self.client
                .delete_points(
                    DeletePointsBuilder::new(&self.collection)
                        .points(only)
                        .wait(true),
                )
                .await
                .map_err(failed)?;
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

fn failed(error: qdrant_client::QdrantError) -> Error {
    Error::unavailable(
        "vector_store_unavailable",
        "the vector server does not answer as expected",
    )
    .with_source(error)
}
