//! Slab5 workspace API, `/v1`: CRM, support, content, assets, integrations, analytics definitions, business intelligence.
//!
//! The table in `operations` is the dialect: routes, behaviour and OpenAPI come from it; fields and rules are those of [`crate::workspace`]. Where the contract is silent
//! (methods, statuses, errors, most schemas), this holds:
//! - the contract's prefix is lost: it is `/v1`; lists are GET, new things POST (201), changes PATCH, archiving DELETE, a queued test 202; BI archives by DELETE
//! - errors are `{"error": {"code", "message", "request_id", "docs_url", "reason", …}, "request_id"}` with the codes of Slab5's public documentation, and where they
//!   apply `required_scope`, `field_errors`, `retry_after_seconds`, `idempotency_key`; an unknown query parameter is an error, an unknown field of a body is kept
//! - lists go from the newest to the oldest, 25 at a time when `limit` is absent; `query` asks for words of a record, all of them, the last one perhaps begun;
//!   values of filters have no case; `custom_fields` of a body is what `custom_field_key` and `custom_field_value` ask for
//! - ids in the query string that repeat the path must be the same
//! - `Idempotency-Key`, or `idempotency_key` in the body, works for every write, per operation (the header wins); the answer is kept for 24 hours and comes again as
//!   it was, with `Idempotent-Replayed: true`
//! - a module that is not enabled refuses its operations; its records stay
//! - what is linked to a company shows its name as `company_name` unless it has one of its own, and `query` finds it by that name
//! - `getWorkspace` needs any one of its scopes
//! - leads begin as `new`, deals in the stage `new`, invoices as `sent` (no operation could send them), journal entries as `posted`
//! - an amount without a currency is in USD; payments are in the currency of their invoice, and never more than is left to pay
//! - an asset's bytes go by PUT to `upload_url`, which holds an hour, as the address of a download does; both begin with the address that the request came to
//! - `X-RateLimit-Limit`, `-Remaining` and `-Reset` tell how many requests per minute the workspace has; the rate of a key (`ratePerMinute`) holds beside it

mod document;
mod files;
mod operations;
mod rate;
pub(super) mod tools;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;

use super::{Service, request_id};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Clock;
use crate::error::{Detail, Error, Result};
use crate::kb::datasets;
use crate::kb::filter::Filter;
use crate::page;
use crate::search;
use crate::workspace::commit::{self, Plan, Request};
use crate::workspace::spec::{self, Kind};
use crate::workspace::{assets, bi, content, rules, store, webhooks};
use operations::{ALL, Does, Operation, Special};
use wire::{Auth, Many, One, Problem};

/// What the paths of this dialect begin with.
pub(super) const PREFIX: &str = "/v1/";

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

pub(super) fn routes() -> OpenApiRouter<Service> {
    let mut by_path: Vec<(&'static str, MethodRouter<Service>)> = Vec::new();
    for operation in ALL {
        let filter = match operation.method {
            "POST" => MethodFilter::POST,
            "PATCH" => MethodFilter::PATCH,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let handler =
            move |service: State<Service>,
                  caller: Auth,
                  path: RawPathParams,
                  query: RawQuery,
                  headers: HeaderMap,
                  body: std::result::Result<Bytes, BytesRejection>| async move {
                serve(
                    operation, service.0, caller.0, &path, query.0, headers, body,
                )
                .await
            };
        match by_path.iter_mut().find(|(path, _)| *path == operation.path) {
            Some((_, router)) => *router = std::mem::take(router).on(filter, handler),
            None => by_path.push((operation.path, on(filter, handler))),
        }
    }
    let mut router = axum::Router::new();
    for (path, methods) in by_path {
        #[expect(
            clippy::disallowed_methods,
            reason = "these routes are documented from the same table"
        )]
        {
            router = router.route(&format!("/v1{path}"), methods);
        }
    }
    let mut router = OpenApiRouter::from(router.merge(files::routes()));
    document::write(router.get_openapi_mut());
    router
}

async fn serve(
    operation: &'static Operation,
    service: Service,
    caller: Caller,
    path: &RawPathParams,
    query: Option<String>,
    headers: HeaderMap,
    body: std::result::Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let rates = rate::headers(service.app.rates.take(caller.tenant())?);
    allowed(operation, &caller)?;
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let query = query.unwrap_or_default();
    let asked = Asked::read(
        operation,
        path.iter().map(named).collect(),
        url::form_urlencoded::parse(query.as_bytes()).into_owned(),
    )?;
    let body = body.map_err(|e| match e.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Error::too_large("body_too_large", "the body is larger than allowed")
        }
        _ => Error::invalid("body_invalid", "the body could not be read"),
    })?;
    let mut given = if operation.has_body() {
        object(operation, &body)?
    } else {
        Map::new()
    };
    let key = take_key(headers.get("idempotency-key"), &mut given)?;
    let done = perform(operation, &service.app, &caller, &asked, &given, key).await?;
    let done = done.addressed(&base(&headers));
    let mut more = rates;
    if done.replayed {
        more.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    let request_id = done.request_id;
    Ok(match done.data {
        Data::One(data) => wire::respond(done.status, One { data, request_id }, more),
        Data::Many(list, next_cursor) => {
            let many = Many {
                data: list,
                request_id,
                next_cursor,
            };
            wire::respond(done.status, many, more)
        }
    })
}

/// What an operation answers, before it is put into an envelope.
struct Performed {
    /// HTTP status.
    status: u16,
    data: Data,
    /// The request that did it: an earlier one when it is replayed.
    request_id: String,
    replayed: bool,
}

impl Performed {
    /// Makes addresses of this service whole, as seen from where the request came to.
    fn addressed(mut self, base: &str) -> Self {
        self.data = match self.data {
            Data::One(data) => Data::One(addressed(data, base)),
            Data::Many(list, next) => {
                let list = list.into_iter().map(|data| addressed(data, base));
                Data::Many(list.collect(), next)
            }
        };
        self
    }
}

enum Data {
    One(Value),
    /// A page, with the cursor of the next one.
    Many(Vec<Value>, Option<String>),
}

/// Carries out an operation: what HTTP and MCP have in common.
async fn perform(
    operation: &'static Operation,
    app: &Arc<App>,
    caller: &Caller,
    asked: &Asked,
    given: &Map<String, Value>,
    key: Option<String>,
) -> Result<Performed> {
    if operation.writes() {
        let once = match key {
            Some(key) => {
                let (path, body) = (format!("{:?}", asked.path), serde_json::to_vec(given)?);
                Some((key, commit::hash(operation.method, &path, &body)))
            }
            None => None,
        };
        let request = Request {
            caller,
            operation: operation.id,
            request_id: request_id(),
            once,
        };
        let answer =
            commit::carry_out(app, &request, || plan(operation, app, caller, asked, given)).await?;
        return Ok(Performed {
            status: answer.status,
            data: Data::One(answer.data),
            replayed: answer.replayed.is_some(),
            request_id: answer.replayed.unwrap_or(request.request_id),
        });
    }
    Ok(Performed {
        status: 200,
        data: read(operation, app, caller, asked, given).await?,
        request_id: request_id(),
        replayed: false,
    })
}

/// Refuses those who have none of the scopes.
fn allowed(operation: &Operation, caller: &Caller) -> Result<()> {
    let any = operation.scopes.iter().find(|s| caller.may(**s));
    match any.or(operation.scopes.first()) {
        Some(scope) => caller.need_unconfined(*scope),
        None => Ok(()),
    }
}

/// The body as an object; one that may be empty is an empty one.
fn object(operation: &Operation, body: &Bytes) -> Result<Map<String, Value>> {
    if body.is_empty() && matches!(operation.does, Does::Special(Special::ConvertLead)) {
        return Ok(Map::new());
    }
    serde_json::from_slice(body)
        .map_err(|e| Error::invalid("body_invalid", format!("the body is no JSON object: {e}")))
}

/// Takes the idempotency key from the header or, without one there, from the body, which never keeps it.
fn take_key(
    header: Option<&HeaderValue>,
    given: &mut Map<String, Value>,
) -> Result<Option<String>> {
    let in_body = given
        .shift_remove("idempotency_key")
        .filter(|v| !v.is_null());
    let key = match (header, &in_body) {
        (None, None) => return Ok(None),
        (Some(header), _) => header.to_str().ok(),
        (None, Some(member)) => member.as_str(),
    };
    let key = key.map(str::trim).unwrap_or_default();
    let is_visible = key.chars().all(|c| !c.is_control());
    if key.is_empty() || key.len() > 255 || !is_visible {
        let message = "an idempotency key has 1 to 255 visible characters";
        let field = ("idempotency_key".to_owned(), message.to_owned());
        return Err(Error::invalid("idempotency_key_invalid", message)
            .with_detail(Detail::Fields(vec![field])));
    }
    Ok(Some(key.to_owned()))
}

/// The address that the request came to.
fn base(headers: &HeaderMap) -> String {
    let word = |name: &str| {
        headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| {
            !v.is_empty()
                && v.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b))
        })
    };
    let host = word("x-forwarded-host").or(word(header::HOST.as_str()));
    let scheme = word("x-forwarded-proto").unwrap_or("http");
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

/// Makes addresses of this service whole.
fn addressed(mut data: Value, base: &str) -> Value {
    for name in ["upload_url", "download_url"] {
        if let Some(path) = data.get(name).and_then(Value::as_str)
            && path.starts_with('/')
        {
            data[name] = json!(format!("{base}{path}"));
        }
    }
    data
}

/// Parameters of path and query string.
struct Asked {
    path: BTreeMap<String, String>,
    query: HashMap<String, String>,
    limit: i64,
    before: Option<String>,
}

impl Asked {
    fn read(
        operation: &Operation,
        path: BTreeMap<String, String>,
        query: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let known = operation.parameters();
        let mut given: HashMap<String, String> = HashMap::new();
        for (name, value) in query {
            if let Some(of_path) = path.get(&name) {
                // The contract repeats some ids.
                if *of_path != value {
                    return Err(Error::invalid(
                        "parameter_invalid",
                        format!("{name} is not the one of the path"),
                    ));
                }
                continue;
            }
            let ignored =
                matches!(operation.does, Does::Special(Special::GetAsset)) && name == "cursor";
            if !ignored && !known.contains(&name.as_str()) {
                return Err(Error::invalid(
                    "parameter_unknown",
                    format!("there is no parameter {name:?} here"),
                ));
            }
            if value.contains('\0') || value.len() > 2000 {
                return Err(Error::invalid(
                    "parameter_invalid",
                    format!("{name} is too long, or holds a null character"),
                ));
            }
            if !value.is_empty() {
                given.insert(name, value);
            }
        }
        let limit = match given.remove("limit") {
            None => 25,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|n| (1..=100).contains(n))
                .ok_or_else(|| {
                    Error::invalid("limit_out_of_range", "limit is a number from 1 to 100")
                })?,
        };
        let before = given
            .remove("cursor")
            .map(|cursor| {
                page::decode(&cursor)
                    .filter(|id| Clock::is_id(id))
                    .ok_or_else(page::foreign)
            })
            .transpose()?;
        Ok(Self {
            path,
            query: given,
            limit,
            before,
        })
    }

    fn id(&self) -> &str {
        // Whatever it is called, a path has one id before all others.
        [
            "lead_id",
            "deal_id",
            "ticket_id",
            "task_id",
            "entry_id",
            "asset_id",
            "webhook_id",
            "id",
        ]
        .iter()
        .find_map(|name| self.path.get(*name))
        .map_or("", String::as_str)
    }

    fn kind(&self) -> Result<&'static Kind> {
        let name = self.path.get("collection").map_or("", String::as_str);
        operations::collection(name).ok_or_else(|| {
            Error::not_found(
                "collection_unknown",
                "collections are dashboards, datasets, reports, metrics, exports, scheduled-artifacts",
            )
        })
    }

    fn wanted(&self, kind: &Kind, parent: Option<String>) -> Result<store::Wanted> {
        let mut filters: Vec<(String, String)> = Vec::new();
        let custom = (
            self.query.get("custom_field_key"),
            self.query.get("custom_field_value"),
        );
        match custom {
            (None, None) => {}
            (Some(key), Some(value)) => filters.push((format!("custom:{key}"), value.clone())),
            _ => {
                return Err(Error::invalid(
                    "parameter_invalid",
                    "custom_field_key and custom_field_value come together",
                ));
            }
        }
        for (name, value) in &self.query {
            match name.as_str() {
                "query" | "custom_field_key" | "custom_field_value" => {}
                "status" => {
                    let life = kind.life.map_or(&[][..], |l| l.all);
                    if !life.contains(&value.as_str()) {
                        return Err(Error::invalid(
                            "parameter_invalid",
                            format!("status is one of {}", life.join(", ")),
                        ));
                    }
                    filters.push((name.clone(), value.clone()));
                }
                "event_type" => filters.push(("event_types".to_owned(), value.clone())),
                name => {
                    if let Some(spec::Type::OneOf(words)) = kind.field(name).map(|f| f.holds)
                        && !words.contains(&value.as_str())
                    {
                        return Err(Error::invalid(
                            "parameter_invalid",
                            format!("{name} is one of {}", words.join(", ")),
                        ));
                    }
                    filters.push((name.to_owned(), value.clone()));
                }
            }
        }
        filters.extend(parent.map(|id| ("parent".to_owned(), id)));
        Ok(store::Wanted {
            query: self.query.get("query").cloned(),
            filters,
            before: self.before.clone(),
            limit: self.limit,
        })
    }
}

/// An operation that is both, or neither, in the table.
fn misplaced(operation: &Operation) -> Error {
    Error::internal(format!(
        "{} is on the wrong side of reading and writing",
        operation.id
    ))
}

/// What a write does.
async fn plan(
    operation: &Operation,
    app: &App,
    caller: &Caller,
    asked: &Asked,
    given: &Map<String, Value>,
) -> Result<Plan> {
    let id = asked.id();
    match operation.does {
        Does::Create(kind) => rules::create(app, caller, kind, given).await,
        Does::Update(kind) => rules::update(app, caller, kind, id, given).await,
        Does::Archive(kind) => rules::archive(app, caller, kind, id).await,
        Does::Special(special) => match special {
            Special::ConvertLead => rules::convert(app, caller, id, given).await,
            Special::AddMessage => rules::message(app, caller, id, given).await,
            Special::AddComment => rules::comment(app, caller, id, given).await,
            Special::OpenUpload => {
                let plan = rules::create(app, caller, spec::ASSET, given).await?;
                assets::with_upload(app, caller, plan).await
            }
            Special::CompleteUpload => assets::complete(app, caller, id, given).await,
            Special::UpdateWebhook => rules::update(app, caller, spec::WEBHOOK, id, given).await,
            Special::TestWebhook => webhooks::test(app, caller, id).await,
            Special::UpdateBi => {
                let plan = rules::update(app, caller, asked.kind()?, id, given).await?;
                Ok(bi::reschedule(plan, id))
            }
            Special::ArchiveBi => {
                let plan = rules::archive(app, caller, asked.kind()?, id).await?;
                Ok(bi::reschedule(plan, id))
            }
            Special::Workspace
            | Special::SearchEntries
            | Special::GetAsset
            | Special::EventTypes
            | Special::Deliveries
            | Special::ReplayDelivery
            | Special::ValidateEvent
            | Special::RunQuery => Err(misplaced(operation)),
        },
        Does::List(_) | Does::ListOfTicket(_) => Err(misplaced(operation)),
    }
}

/// What a reading operation answers.
async fn read(
    operation: &Operation,
    app: &Arc<App>,
    caller: &Caller,
    asked: &Asked,
    given: &Map<String, Value>,
) -> Result<Data> {
    let (tenant_id, id) = (caller.tenant(), asked.id());
    let many = |list, next: Option<String>| Data::Many(list, next.map(|id| page::encode(&id)));
    Ok(match operation.does {
        Does::List(kind) => {
            let wanted = asked.wanted(kind, None)?;
            let (records, next) = store::list(app, tenant_id, kind, &wanted).await?;
            let mut list = Vec::with_capacity(records.len());
            for record in &records {
                let shown = commit::view(kind, record)?;
                list.push(if kind.name == spec::EXPORT.name {
                    bi::with_download(app, caller, shown).await?
                } else {
                    shown
                });
            }
            many(list, next)
        }
        Does::ListOfTicket(kind) => {
            let ticket = store::load(app, tenant_id, spec::TICKET, id).await?;
            let wanted = asked.wanted(kind, Some(ticket.id))?;
            let (records, next) = store::list(app, tenant_id, kind, &wanted).await?;
            let list = records.iter().map(|r| commit::view(kind, r));
            many(list.collect::<Result<_>>()?, next)
        }
        Does::Special(special) => match special {
            Special::Workspace => Data::One(workspace(app, caller).await?),
            Special::SearchEntries => many(entries(app, caller, asked).await?, None),
            Special::GetAsset => Data::One(assets::get(app, caller, id).await?),
            Special::EventTypes => {
                let (list, next) = event_types(app, caller, asked).await?;
                many(list, next)
            }
            Special::Deliveries => {
                let word = |name: &str| asked.query.get(name).map(String::as_str);
                if let Some(status) = word("status")
                    && !webhooks::STATES.contains(&status)
                {
                    return Err(Error::invalid(
                        "parameter_invalid",
                        format!("status is one of {}", webhooks::STATES.join(", ")),
                    ));
                }
                let (list, next) = webhooks::deliveries(
                    app,
                    caller,
                    id,
                    word("event_type"),
                    word("status"),
                    asked.before.as_deref(),
                    asked.limit,
                )
                .await?;
                many(list, next)
            }
            Special::ReplayDelivery => {
                let delivery = asked.path.get("delivery_id").map_or("", String::as_str);
                let shown = webhooks::replay(app, caller, id, delivery).await?;
                Data::One(shown)
            }
            Special::ValidateEvent => {
                let mut verdict = content::validate(app, caller, given).await?;
                verdict["request_id"] = json!(request_id());
                Data::One(verdict)
            }
            Special::RunQuery => Data::One(bi::run(app, caller, given).await?),
            Special::ConvertLead
            | Special::AddMessage
            | Special::AddComment
            | Special::OpenUpload
            | Special::CompleteUpload
            | Special::TestWebhook
            | Special::UpdateWebhook
            | Special::UpdateBi
            | Special::ArchiveBi => return Err(misplaced(operation)),
        },
        Does::Create(_) | Does::Update(_) | Does::Archive(_) => return Err(misplaced(operation)),
    })
}

async fn workspace(app: &App, caller: &Caller) -> Result<Value> {
    let (name,): (String,) = app
        .db
        .one(
            "SELECT name FROM tenants WHERE id = $1",
            crate::db::args![caller.tenant()],
        )
        .await?;
    let modules: Vec<&str> = Area::ALL
        .into_iter()
        .filter(|area| caller.has_module(*area))
        .filter_map(Area::module)
        .collect();
    Ok(json!({"id": format!("wrk_{}", caller.tenant()), "name": name, "enabled_modules": modules}))
}

/// Event types by key: those of every workspace, then its own.
async fn event_types(
    app: &App,
    caller: &Caller,
    asked: &Asked,
) -> Result<(Vec<Value>, Option<String>)> {
    let matches = |key: &str, category: &str, description: &str| {
        let has = |q: &String| {
            let q = q.to_lowercase();
            key.contains(&q) || description.to_lowercase().contains(&q)
        };
        asked.query.get("query").is_none_or(has)
            && asked.query.get("category").is_none_or(|c| c == category)
    };
    let mut list = Vec::new();
    // The first page begins with those of every workspace.
    if asked.before.is_none() {
        for (key, category, description) in webhooks::BUILT_IN {
            if matches(key, category, description) {
                list.push(json!({"id": format!("iet_{}", key.replace('.', "_")), "key": key, "category": category, "description": description, "built_in": true}));
            }
        }
    }
    let wanted = asked.wanted(spec::EVENT_TYPE, None)?;
    let (records, next) = store::list(app, caller.tenant(), spec::EVENT_TYPE, &wanted).await?;
    for record in &records {
        let mut shown = commit::view(spec::EVENT_TYPE, record)?;
        shown["built_in"] = json!(false);
        list.push(shown);
    }
    Ok((list, next))
}

/// Entries that a search finds, the best first; those that were written a moment ago, and are not in the index yet, come after them by their words.
async fn entries(app: &Arc<App>, caller: &Caller, asked: &Asked) -> Result<Vec<Value>> {
    let tenant_id = caller.tenant();
    let query = asked
        .query
        .get("query")
        .ok_or_else(|| Error::invalid("query_missing", "say what to search for: query"))?;
    let limit = usize::try_from(asked.limit).unwrap_or(25);
    let dataset = datasets::area_dataset(app, tenant_id, Area::Cms).await?;
    let mut request = search::Request::new(query.clone(), vec![dataset.id]);
    request.top_k = limit;
    request.plain = true;
    request.per_document = Some(1);
    request.filter = Some(Filter::read(
        &json!({"field": "kind", "op": "eq", "value": spec::ENTRY.name}),
    )?);
    let found = search::search(app, caller, &request).await?;
    let mut list: Vec<Value> = Vec::new();
    for hit in &found.hits {
        let metadata: Value = serde_json::from_str(&hit.metadata)?;
        let id = spec::ENTRY.shown(metadata["recordId"].as_str().unwrap_or_default());
        match store::load(app, tenant_id, spec::ENTRY, &id).await {
            Ok(entry) => {
                let mut shown = commit::view(spec::ENTRY, &entry)?;
                shown["score"] = json!(hit.score);
                shown["snippet"] = json!(hit.chunk.content.chars().take(300).collect::<String>());
                list.push(shown);
            }
            Err(error) if error.code() == "record_not_found" => {}
            Err(error) => return Err(error),
        }
    }
    let wanted = store::Wanted {
        query: Some(query.clone()),
        limit: asked.limit,
        ..store::Wanted::default()
    };
    let (fresh, _) = store::list(app, tenant_id, spec::ENTRY, &wanted).await?;
    for entry in &fresh {
        let shown = commit::view(spec::ENTRY, entry)?;
        if list.len() < limit && !list.iter().any(|known| known["id"] == shown["id"]) {
            list.push(shown);
        }
    }
    Ok(list)
}
