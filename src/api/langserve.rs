//! Retrievers as LangServe serves them, `/langserve/{dataset}`: `RemoteRunnable` of LangChain retrieves from a dataset of Cairn.
//!
//! Where LangServe leaves it open, this holds:
//! - the input is the query, or an object with it as `query`, `question` or `input`
//! - `configurable` of the configuration may have `k` (4 when absent), `score_threshold` and `filter` (a filter of Cairn)
//! - `invoke` and `batch` are served

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{auth, body, path_parameters, problem};
use super::fault::FaultBody;
use super::secret::SecretHeader;
use super::{Service, retrieved};
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::evaluation::history;
use crate::kb::datasets;
use crate::kb::filter::Filter;
use crate::search::{self, Hit, Request};

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/langserve";
/// Inputs of a batch.
const BATCH: usize = 20;
/// Documents that a retriever of LangChain returns by default.
const DOCUMENTS: usize = 4;

/// An error as LangServe words it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LangserveFault {
    detail: String,
    error: FaultBody,
}

impl From<&Error> for LangserveFault {
    fn from(error: &Error) -> Self {
        Self {
            detail: error.public_message().to_owned(),
            error: error.into(),
        }
    }
}

problem!(|error| LangserveFault::from(error));
auth!(Problem, &[SecretHeader::Bearer]);
body!(Problem);
path_parameters!(Problem);

/// Returns the routes.
pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(invoke))
        .routes(routes!(batch))
}

/// A query, or an object with one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = LangserveInput)]
enum Input {
    Text(String),
    Named(Named),
}

/// An object with a query.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LangserveNamedInput)]
struct Named {
    #[serde(alias = "question", alias = "input")]
    query: String,
}

impl Input {
    fn query(self) -> String {
        match self {
            Self::Text(query) | Self::Named(Named { query }) => query,
        }
    }
}

/// A configuration.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = LangserveConfig)]
struct Config {
    #[serde(default)]
    configurable: Option<Configurable>,
}

impl Config {
    fn wanted(&self) -> Configurable {
        self.configurable.clone().unwrap_or_default()
    }
}

/// Settings of a retrieval.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[schema(as = LangserveConfigurable)]
struct Configurable {
    /// Number of documents, 1 to 100.
    k: Option<usize>,
    /// Minimum score, 0 to 1.
    score_threshold: Option<f32>,
    /// Condition on metadata.
    #[schema(value_type = Option<Object>)]
    filter: Option<Filter>,
}

/// A request for one input.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LangserveInvocation)]
struct Invocation {
    input: Input,
    #[serde(default)]
    config: Config,
}

/// A request for several inputs.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LangserveBatch)]
struct Batch {
    /// At most 20.
    inputs: Vec<Input>,
    #[serde(default)]
    config: Configs,
}

/// The configuration of all inputs, or one for each, as clients of LangChain send them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = LangserveConfigs)]
enum Configs {
    Each(Vec<Config>),
    All(Config),
}

impl Default for Configs {
    fn default() -> Self {
        Self::All(Config::default())
    }
}

impl Configs {
    /// Returns the settings for an input by its position.
    fn of(&self, position: usize) -> Configurable {
        let config = match self {
            Self::Each(configs) => configs.get(position),
            Self::All(config) => Some(config),
        };
        config.map(Config::wanted).unwrap_or_default()
    }
}

/// A document of LangChain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LangserveDocument)]
struct Document {
    /// `Document`.
    r#type: &'static str,
    id: String,
    page_content: String,
    /// Metadata of the document, the score, and where the passage is.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

impl Document {
    fn new(hit: Hit) -> Result<Self> {
        let mut metadata = retrieved::metadata(&hit)?;
        metadata.insert("score".to_owned(), hit.score.into());
        metadata.insert("title".to_owned(), retrieved::title(&hit).into());
        Ok(Self {
            r#type: "Document",
            id: hit.chunk.id.clone(),
            metadata,
            page_content: hit.chunk.with_header(),
        })
    }
}

/// Metadata of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LangserveRun)]
struct Run {
    run_id: String,
    feedback_tokens: Vec<String>,
}

/// The documents of an input.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LangserveOutput)]
struct Output {
    output: Vec<Document>,
    metadata: Run,
}

/// Metadata of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LangserveRuns)]
struct Runs {
    responses: Vec<Run>,
}

/// The documents of each input.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LangserveBatchOutput)]
struct BatchOutput {
    output: Vec<Vec<Document>>,
    metadata: Runs,
}

/// Returns the documents for a query, and the run.
async fn documents(
    service: &Service,
    caller: &Caller,
    dataset: &str,
    query: String,
    wanted: Configurable,
) -> Result<(Vec<Document>, Run)> {
    let request = Request {
        top_k: wanted.k.unwrap_or(DOCUMENTS),
        min_score: wanted.score_threshold,
        filter: wanted.filter,
        ..Request::new(query, vec![dataset.to_owned()])
    };
    let answer = search::search(&service.app, caller, &request).await?;
    history::record(&service.app, caller, &request, &answer);
    let found = answer.hits.into_iter().map(Document::new);
    let id = service.app.clock.id();
    let run = Run {
        run_id: crate::clock::Clock::uuid(&id).unwrap_or(id),
        feedback_tokens: Vec::new(),
    };
    Ok((found.collect::<Result<_>>()?, run))
}

/// Returns the id of a dataset that is named by id or by name.
async fn dataset(service: &Service, caller: &Caller, wanted: &str) -> Result<String> {
    caller.need(Scope::KbSearch)?;
    Ok(datasets::by_name(&service.app, caller, wanted).await?.id)
}

/// Retrieves documents for LangChain from a dataset.
#[utoipa::path(post, path = "/langserve/{dataset}/invoke", tag = "compatible", operation_id = "invokeForLangserve", security(("key" = [])),
    params(("dataset" = String, Path, description = "Id or name of a dataset.")), request_body = Invocation,
    responses((status = 200, body = Output), (status = "4XX", body = LangserveFault)))]
async fn invoke(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(name): Path<String>,
    Body(body): Body<Invocation>,
) -> Result<Json<Output>, Problem> {
    let id = dataset(&service, &caller, &name).await?;
    let wanted = body.config.wanted();
    let (output, metadata) = documents(&service, &caller, &id, body.input.query(), wanted).await?;
    Ok(Json(Output { output, metadata }))
}

/// Retrieves documents for several inputs.
#[utoipa::path(post, path = "/langserve/{dataset}/batch", tag = "compatible", operation_id = "batchForLangserve", security(("key" = [])),
    params(("dataset" = String, Path, description = "Id or name of a dataset.")), request_body = Batch,
    responses((status = 200, body = BatchOutput), (status = "4XX", body = LangserveFault)))]
async fn batch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(name): Path<String>,
    Body(body): Body<Batch>,
) -> Result<Json<BatchOutput>, Problem> {
    let id = dataset(&service, &caller, &name).await?;
    if body.inputs.len() > BATCH {
        let message = format!("a batch may have at most {BATCH} inputs");
        return Err(Error::invalid("batch_too_large", message).into());
    }
    let (mut output, mut responses) = (Vec::new(), Vec::new());
    for (position, input) in body.inputs.into_iter().enumerate() {
        let wanted = body.config.of(position);
        let (found, run) = documents(&service, &caller, &id, input.query(), wanted).await?;
        output.push(found);
        responses.push(run);
    }
    Ok(Json(BatchOutput {
        output,
        metadata: Runs { responses },
    }))
}
