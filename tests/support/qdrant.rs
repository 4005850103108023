//! A small Qdrant: the part of its gRPC interface that Cairn uses, in memory, by several servers that share their points as a cluster does, and that fail as
//! they are told.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a peer that knows only what it is asked for"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use prost::Message;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vector_input::Variant as VectorVariant;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionConfig,
    CollectionExists, CollectionExistsRequest, CollectionExistsResponse, CollectionInfo,
    CollectionOperationResponse, CollectionParams, CreateCollection, CreateFieldIndexCollection,
    DeletePoints, Filter, GetCollectionInfoRequest, GetCollectionInfoResponse, HealthCheckReply,
    HealthCheckRequest, LocalShardInfo, PointId, PointStruct, PointsOperationResponse, QueryPoints,
    QueryResponse, RetrievedPoint, ScoredPoint, ScrollPoints, ScrollResponse, UpsertPoints,
    vectors_config,
};
use tokio::runtime::Runtime;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

/// What a server does with requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// What it is asked.
    Works,
    /// Waits so long before it answers.
    Slow(Duration),
    /// Has no replica of half of the shards: whatever needs all of them fails.
    HalfTheShards,
    /// Knows no such key.
    Refuses,
}

#[derive(Debug, Default)]
struct Collection {
    made: CreateCollection,
    points: BTreeMap<String, PointStruct>,
}

/// What the servers of a cluster share.
#[derive(Debug, Default)]
struct Shared {
    collections: Mutex<BTreeMap<String, Collection>>,
}

impl Shared {
    fn collections(&self) -> MutexGuard<'_, BTreeMap<String, Collection>> {
        self.collections.lock().expect("no test panics with it")
    }
}

/// A cluster.
pub struct Qdrants {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<usize>>,
    version: String,
    runtime: Option<Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Peer {
    shared: Arc<Shared>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<usize>>,
    version: String,
}

impl Qdrants {
    /// Starts so many servers.
    pub fn start(count: usize) -> Self {
        Self::with_version(count, "1.17.0")
    }

    pub fn with_version(count: usize, version: &str) -> Self {
        let mut cluster = Self {
            shared: Arc::default(),
            nodes: Vec::new(),
        };
        for _ in 0..count {
            let mut node = Node {
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
                mood: Arc::new(Mutex::new(Mood::Works)),
                asked: Arc::default(),
                version: version.to_owned(),
                runtime: None,
            };
            node.serve(&cluster.shared);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// The setting `qdrant_urls`.
    pub fn urls(&self) -> String {
        let urls: Vec<String> = self
            .nodes
            .iter()
            .map(|n| format!("http://{}", n.address))
            .collect();
        urls.join(",")
    }

    pub fn set(&self, node: usize, mood: Mood) {
        *self.nodes[node].mood.lock().expect("a mood") = mood;
    }

    /// Ends a server with all its connections.
    pub fn kill(&mut self, node: usize) {
        if let Some(runtime) = self.nodes[node].runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again at its address.
    pub fn revive(&mut self, node: usize) {
        let shared = Arc::clone(&self.shared);
        self.nodes[node].serve(&shared);
    }

    /// Requests that a server has got.
    pub fn asked(&self, node: usize) -> usize {
        *self.nodes[node].asked.lock().expect("a number")
    }

    /// Loses everything, as a server does that lost its disk.
    pub fn wipe(&self) {
        self.shared.collections().clear();
    }

    /// Loses some points of each collection, and nobody knows.
    pub fn lose_points(&self, count: usize) {
        for collection in self.shared.collections().values_mut() {
            for _ in 0..count {
                collection.points.pop_first();
            }
        }
    }

    /// Makes a collection that holds vectors of some length.
    pub fn make(&self, name: &str, dimensions: u64) {
        use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};
        let vectors = VectorParamsBuilder::new(dimensions, Distance::Cosine);
        let made = CreateCollectionBuilder::new(name).vectors_config(vectors);
        let collection = Collection {
            made: made.build(),
            points: BTreeMap::new(),
        };
        self.shared
            .collections()
            .insert(name.to_owned(), collection);
    }

    /// How the only collection was made.
    pub fn made(&self) -> CreateCollection {
        let collections = self.shared.collections();
        collections
            .values()
            .next()
            .expect("a collection")
            .made
            .clone()
    }

    pub fn points(&self) -> usize {
        self.shared
            .collections()
            .values()
            .map(|c| c.points.len())
            .sum()
    }
}

impl Node {
    fn serve(&mut self, shared: &Arc<Shared>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        // The port of a server that was killed may be taken a moment longer.
        let listener = (0..200).find_map(|_| {
            let bound = std::net::TcpListener::bind(self.address).ok();
            if bound.is_none() {
                std::thread::sleep(Duration::from_millis(50));
            }
            bound
        });
        let listener = listener.expect("a port");
        listener.set_nonblocking(true).expect("set");
        self.address = listener.local_addr().expect("an address");
        let peer = Peer {
            shared: Arc::clone(shared),
            mood: Arc::clone(&self.mood),
            asked: Arc::clone(&self.asked),
            version: self.version.clone(),
        };
        let router = Router::new().fallback(answer).with_state(peer);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let incoming = TcpIncoming::from(listener);
            let routes = Routes::from(router);
            Server::builder()
                .add_routes(routes)
                .serve_with_incoming(incoming)
                .await
                .expect("serves");
        });
        self.runtime = Some(runtime);
    }
}

/// Answers a call with one message.
async fn unary<Q, A>(
    request: Request,
    refused: Option<Status>,
    answer: impl FnOnce(Q) -> Result<A, Status>,
) -> Response
where
    Q: Message + Default + Send + 'static,
    A: Message + Default + Send + 'static,
{
    let mut grpc = tonic::server::Grpc::new(tonic_prost::ProstCodec::<A, Q>::default());
    let mut answer = Some(answer);
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let outcome = match (&refused, answer.take()) {
            (None, Some(answer)) => answer(request.into_inner()),
            (Some(status), _) => Err(status.clone()),
            (None, None) => Err(Status::internal("asked twice")),
        };
        std::future::ready(outcome.map(tonic::Response::new))
    });
    grpc.unary(service, request).await.map(Body::new)
}

fn missing(name: &str) -> Status {
    Status::not_found(format!("Collection `{name}` doesn't exist!"))
}

async fn answer(State(peer): State<Peer>, request: Request) -> Response {
    *peer.asked.lock().expect("a number") += 1;
    let path = request.uri().path().to_owned();
    let needs_all = ["Query", "Scroll", "Upsert", "Delete"]
        .iter()
        .any(|call| path == format!("/qdrant.Points/{call}"));
    let mood = peer.mood.lock().expect("a mood").clone();
    let refused = match mood {
        Mood::Works => None,
        Mood::Slow(time) => {
            tokio::time::sleep(time).await;
            None
        }
        Mood::HalfTheShards => needs_all.then(|| {
            Status::new(
                Code::Internal,
                "Service internal error: The replica set for shard 1 on peer 1 has no active replica",
            )
        }),
        Mood::Refuses => Some(Status::unauthenticated("Must provide an API key")),
    };
    let shared = peer.shared;
    match path.as_str() {
        "/qdrant.Qdrant/HealthCheck" => {
            let version = peer.version;
            unary(request, refused, move |_: HealthCheckRequest| {
                Ok(HealthCheckReply {
                    title: "a peer for tests".to_owned(),
                    version,
                    commit: None,
                })
            })
            .await
        }
        "/qdrant.Collections/CollectionExists" => {
            unary(request, refused, move |asked: CollectionExistsRequest| {
                let exists = shared.collections().contains_key(&asked.collection_name);
                Ok(CollectionExistsResponse {
                    result: Some(CollectionExists { exists }),
                    time: 0.0,
                })
            })
            .await
        }
        "/qdrant.Collections/Get" => {
            unary(request, refused, move |asked: GetCollectionInfoRequest| {
                info(&shared, &asked.collection_name)
            })
            .await
        }
        "/qdrant.Collections/CollectionClusterInfo" => {
            unary(
                request,
                refused,
                move |asked: CollectionClusterInfoRequest| {
                    let collections = shared.collections();
                    let collection = collections
                        .get(&asked.collection_name)
                        .ok_or_else(|| missing(&asked.collection_name))?;
                    Ok(CollectionClusterInfoResponse {
                        shard_count: 1,
                        local_shards: vec![LocalShardInfo {
                            points_count: collection.points.len() as u64,
                            ..LocalShardInfo::default()
                        }],
                        ..CollectionClusterInfoResponse::default()
                    })
                },
            )
            .await
        }
        "/qdrant.Collections/Create" => {
            unary(request, refused, move |made: CreateCollection| {
                let mut collections = shared.collections();
                if collections.contains_key(&made.collection_name) {
                    return Err(Status::already_exists("it exists"));
                }
                let name = made.collection_name.clone();
                let points = BTreeMap::new();
                collections.insert(name, Collection { made, points });
                Ok(CollectionOperationResponse {
                    result: true,
                    time: 0.0,
                })
            })
            .await
        }
        "/qdrant.Points/CreateFieldIndex" => {
            unary(request, refused, move |_: CreateFieldIndexCollection| {
                Ok(PointsOperationResponse::default())
            })
            .await
        }
        "/qdrant.Points/Upsert" => {
            unary(request, refused, move |asked: UpsertPoints| {
                with(&shared, &asked.collection_name, |collection| {
                    for point in asked.points.clone() {
                        let id = text_of(point.id.as_ref());
                        collection.points.insert(id, point);
                    }
                    PointsOperationResponse::default()
                })
            })
            .await
        }
        "/qdrant.Points/Delete" => {
            unary(request, refused, move |asked: DeletePoints| {
                let selector = asked.points.clone().and_then(|p| p.points_selector_one_of);
                with(&shared, &asked.collection_name, |collection| {
                    match selector {
                        Some(PointsSelectorOneOf::Points(list)) => {
                            for id in &list.ids {
                                collection.points.remove(&text_of(Some(id)));
                            }
                        }
                        Some(PointsSelectorOneOf::Filter(filter)) => {
                            collection.points.retain(|_, point| !holds(&filter, point));
                        }
                        None => {}
                    }
                    PointsOperationResponse::default()
                })
            })
            .await
        }
        "/qdrant.Points/Query" => {
            unary(request, refused, move |asked: QueryPoints| {
                with(&shared, &asked.collection_name.clone(), |collection| {
                    QueryResponse {
                        result: nearest(collection, &asked),
                        ..QueryResponse::default()
                    }
                })
            })
            .await
        }
        "/qdrant.Points/Scroll" => {
            unary(request, refused, move |asked: ScrollPoints| {
                with(&shared, &asked.collection_name.clone(), |collection| {
                    let filter = asked.filter.clone().unwrap_or_default();
                    let found = collection.points.values().filter(|p| holds(&filter, p));
                    ScrollResponse {
                        result: found
                            .map(|point| RetrievedPoint {
                                id: point.id.clone(),
                                ..RetrievedPoint::default()
                            })
                            .collect(),
                        ..ScrollResponse::default()
                    }
                })
            })
            .await
        }
        other => panic!("the peer does not know {other}"),
    }
}

fn with<A>(
    shared: &Shared,
    name: &str,
    work: impl FnOnce(&mut Collection) -> A,
) -> Result<A, Status> {
    let mut collections = shared.collections();
    let collection = collections.get_mut(name).ok_or_else(|| missing(name))?;
    Ok(work(collection))
}

fn info(shared: &Shared, name: &str) -> Result<GetCollectionInfoResponse, Status> {
    with(shared, name, |collection| {
        let made = &collection.made;
        let params = CollectionParams {
            shard_number: made.shard_number.unwrap_or(1),
            vectors_config: made.vectors_config.clone(),
            replication_factor: made.replication_factor,
            ..CollectionParams::default()
        };
        GetCollectionInfoResponse {
            result: Some(CollectionInfo {
                status: 1,
                points_count: Some(collection.points.len() as u64),
                config: Some(CollectionConfig {
                    params: Some(params),
                    ..CollectionConfig::default()
                }),
                ..CollectionInfo::default()
            }),
            time: 0.0,
        }
    })
}

fn text_of(id: Option<&PointId>) -> String {
    match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Uuid(text)) => text.clone(),
        other => panic!("points have UUIDs, not {other:?}"),
    }
}

fn holds(filter: &Filter, point: &PointStruct) -> bool {
    filter.must.iter().all(|condition| {
        match condition.condition_one_of.as_ref().expect("a condition") {
            ConditionOneOf::HasId(ids) => {
                let own = text_of(point.id.as_ref());
                ids.has_id.iter().any(|id| text_of(Some(id)) == own)
            }
            ConditionOneOf::Field(field) => {
                let value = point.payload.get(&field.key).and_then(|v| v.kind.as_ref());
                let Some(Kind::StringValue(value)) = value else {
                    return false;
                };
                let wanted = field.r#match.as_ref().and_then(|m| m.match_value.as_ref());
                match wanted.expect("a match") {
                    MatchValue::Keyword(word) => word == value,
                    MatchValue::Keywords(words) => words.strings.contains(value),
                    other => panic!("the peer does not know {other:?}"),
                }
            }
            other => panic!("the peer does not know {other:?}"),
        }
    })
}

fn numbers(point: &PointStruct) -> Vec<f32> {
    use qdrant_client::qdrant::vector::Vector as Form;
    match point
        .vectors
        .as_ref()
        .and_then(|v| v.vectors_options.as_ref())
    {
        Some(VectorsOptions::Vector(vector)) => match &vector.vector {
            Some(Form::Dense(dense)) => dense.data.clone(),
            #[expect(deprecated, reason = "older clients send it so")]
            None => vector.data.clone(),
            other => panic!("the peer does not know {other:?}"),
        },
        other => panic!("the peer does not know {other:?}"),
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot: f32 = one.iter().zip(other).map(|(a, b)| a * b).sum();
    let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    dot / (length(one) * length(other))
}

fn nearest(collection: &Collection, asked: &QueryPoints) -> Vec<ScoredPoint> {
    let wanted = match asked.query.as_ref().and_then(|q| q.variant.as_ref()) {
        Some(Variant::Nearest(input)) => match input.variant.as_ref() {
            Some(VectorVariant::Dense(dense)) => dense.data.clone(),
            other => panic!("the peer does not know {other:?}"),
        },
        other => panic!("the peer does not know {other:?}"),
    };
    let filter = asked.filter.clone().unwrap_or_default();
    let found = collection.points.values().filter(|p| holds(&filter, p));
    let mut scored: Vec<ScoredPoint> = found
        .map(|point| ScoredPoint {
            id: point.id.clone(),
            score: cosine(&wanted, &numbers(point)),
            ..ScoredPoint::default()
        })
        .collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    scored.truncate(usize::try_from(asked.limit()).expect("small"));
    scored
}

/// Length of the vectors of a collection.
pub fn dimensions(made: &CreateCollection) -> u64 {
    match made.vectors_config.as_ref().and_then(|v| v.config.as_ref()) {
        Some(vectors_config::Config::Params(params)) => params.size,
        other => panic!("the peer does not know {other:?}"),
    }
}
