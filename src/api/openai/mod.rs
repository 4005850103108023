//! APIs of OpenAI, `/openai/v1`: embeddings, files, vector stores with search, and models, for tools that already speak them. A vector store is a dataset.
//!
//! Where the two differ, this holds:
//! - names of vector stores are unique: one that is taken, or missing, is completed by a number
//! - any dataset that the key sees is a vector store; documents that came another way have their own id as id of the file
//! - `attributes` are the metadata of the document, and filters are those of search
//! - `max_chunk_size_tokens` is the chunk size of Cairn, 128 to 2048; without a strategy the settings of the dataset hold
//! - nothing expires: `expires_after` is refused
//! - `rewrite_query` is accepted and changes nothing; several queries are searched one by one, and each passage counts with its best score
//! - `ranking_options.ranker` `none` switches reranking off; `hybrid_search` sets the weight of the vectors
//! - embeddings are those of passages, or of queries with `input_type: "query"`, which matters for models with prefixes; token arrays are refused
//! - files that no parser reads are refused at once, with `unsupported_format`
//! - errors have the members of OpenAI (`message`, `type`, `param`, `code`)

mod embeddings;
mod files;
mod search;
mod store_files;
mod stores;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::extract::{auth, body, parameters, problem};
use super::secret::SecretHeader;
use crate::error::{Error, Kind, Result};
use crate::kb::files::Part;

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/openai";

/// An error as returned to clients of OpenAI.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenAiFault {
    error: OpenAiError,
}

/// Members of an error.
#[derive(Debug, Serialize, ToSchema)]
struct OpenAiError {
    message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    /// Stable code of the error.
    code: String,
}

impl From<&Error> for OpenAiFault {
    fn from(error: &Error) -> Self {
        let kind = match error.kind() {
            Kind::Unauthorized => "authentication_error",
            Kind::Forbidden => "permission_error",
            Kind::NotFound => "not_found_error",
            Kind::RateLimited => "rate_limit_error",
            Kind::Unavailable | Kind::Upstream | Kind::NoSpace | Kind::Internal => "server_error",
            Kind::Invalid
            | Kind::WrongMethod
            | Kind::Conflict
            | Kind::TooLarge
            | Kind::TooSlow
            | Kind::Unprocessable => "invalid_request_error",
        };
        Self {
            error: OpenAiError {
                message: error.public_message().to_owned(),
                kind,
                param: None,
                code: error.code().to_owned(),
            },
        }
    }
}

problem!(|error| OpenAiFault::from(error));
auth!(Problem, &[SecretHeader::Bearer]);
body!(Problem);
parameters!(Problem);

/// Returns the routes.
pub(super) fn routes() -> OpenApiRouter<Service> {
    operations().layer(from_fn(without_nul))
}

/// Refuses addresses with a NUL, which no id has and PostgreSQL cannot store.
async fn without_nul(request: Request, next: Next) -> Response {
    if request.uri().to_string().contains("%00") {
        let error = Error::invalid("address_invalid", "an address must not contain NUL");
        return Problem(error).into_response();
    }
    next.run(request).await
}

fn operations() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(embeddings::list_models))
        .routes(routes!(embeddings::model))
        .routes(routes!(embeddings::embed))
        .routes(routes!(files::upload, files::list))
        .routes(routes!(files::get, files::remove))
        .routes(routes!(files::content))
        .routes(routes!(stores::create, stores::list))
        .routes(routes!(stores::get, stores::update, stores::remove))
        .routes(routes!(search::search))
        .routes(routes!(store_files::add, store_files::list))
        .routes(routes!(
            store_files::get,
            store_files::update,
            store_files::remove
        ))
        .routes(routes!(store_files::content))
        .routes(routes!(store_files::add_batch))
        .routes(routes!(store_files::batch))
        .routes(routes!(store_files::cancel_batch))
        .routes(routes!(store_files::list_batch))
}

/// The requested part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Most items of the answer, 1 to 100; 20 unless it is named. For files 1 to 10,000; 10,000 unless it is named.
    limit: Option<i64>,
    /// `desc` for the newest first, which is the default, or `asc`.
    order: Option<String>,
    /// Id of the last item of the page before.
    after: Option<String>,
    /// Id of the first item of the page after.
    before: Option<String>,
}

impl Paging {
    fn part(&self) -> Result<Part> {
        self.part_of(20, 100)
    }

    /// Returns the part, with a default and a highest limit.
    fn part_of(&self, default: i64, most: i64) -> Result<Part> {
        let limit = self.limit.unwrap_or(default);
        if !(1..=most).contains(&limit) {
            return Err(Error::invalid(
                "limit_out_of_range",
                format!("limit must be between 1 and {most}"),
            ));
        }
        let descending = match self.order.as_deref() {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(Error::invalid("order_unknown", "order must be asc or desc")),
        };
        Ok(Part {
            limit,
            descending,
            after: self.after.clone(),
            before: self.before.clone(),
        })
    }
}

/// Returns the items of a page, and whether there are more.
fn page<T>(part: &Part, mut items: Vec<T>) -> (Vec<T>, bool) {
    let limit = usize::try_from(part.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    (items, more)
}

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiDeleted)]
struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

/// Refuses a setting that lets something expire.
fn nothing_expires(expires_after: Option<&serde_json::Value>) -> Result<()> {
    match expires_after {
        None | Some(serde_json::Value::Null) => Ok(()),
        Some(_) => Err(Error::invalid(
            "expires_after_unsupported",
            "nothing expires here: leave expires_after out, and delete what is no longer needed",
        )),
    }
}

/// Returns a time in seconds since 1970.
fn seconds(time: crate::clock::Time) -> i64 {
    time.0 / 1000
}
