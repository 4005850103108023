//! The Model Context Protocol: Cairn as the knowledge base of any MCP client, over streamable HTTP at `/mcp` and over standard input and output (`cairn mcp`).
//! Keys and scopes are those of the HTTP API; every tool calls the same domain functions as the other dialects, and every answer stays within its token budget.

mod lean;
mod parameters;
mod tools;

use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use parameters as p;
use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, Implementation, ListResourcesResult, PaginatedRequestParams, PromptMessage,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, Role, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, prompt, prompt_handler, prompt_router, tool,
    tool_handler, tool_router,
};
use serde_json::{Value, json};
use url::Url;

use super::secret::{self, SecretHeader};
use super::tools::{ToolServer, ToolSet};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Kind, Result};
use crate::kb::{datasets, documents};
use crate::page::{self, Page};

/// Path of the endpoint.
pub(super) const PATH: &str = "/mcp";

/// Instructions for the model about the server as a whole.
const INSTRUCTIONS: &str = "A knowledge base. Start with list_datasets, then search. Hits have citations: open them with read, and check sentences against them with verify_quote. Cite what you use. Store new findings with post_finding: they are searchable at once, and it reports existing near-duplicates.";

/// The tools, with schemas that are cheap to read.
static TOOLS: LazyLock<ToolRouter<Mcp>> = LazyLock::new(|| {
    let mut tools = Mcp::tool_router();
    for tool in tools.map.values_mut() {
        tool.attr.input_schema = Arc::new(lean::lean(&tool.attr.input_schema));
    }
    tools
});

/// The server; it lives for one request over HTTP, and for one client over standard input.
#[derive(Clone)]
pub(crate) struct Mcp {
    app: Arc<App>,
    /// The caller over standard input; over HTTP it is taken from the request.
    local: Option<Caller>,
    tool_router: ToolRouter<Self>,
    prompt_router: PromptRouter<Self>,
}

impl Mcp {
    /// Returns a server for a fixed caller, or for callers of HTTP requests.
    pub(crate) fn new(app: Arc<App>, local: Option<Caller>) -> Self {
        Self {
            app,
            local,
            tool_router: TOOLS.clone(),
            prompt_router: Self::prompt_router(),
        }
    }

    fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
        match &self.local {
            Some(caller) => Ok(caller.clone()),
            None => caller_of(context),
        }
    }
}

/// Returns the caller of an HTTP request.
pub(super) fn caller_of(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let caller = parts_of(context)?.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| ErrorData::internal_error("the request has no caller", None))
}

/// Returns the head of the HTTP request that a message came with.
pub(super) fn parts_of(context: &RequestContext<RoleServer>) -> Result<&Parts, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    parts.ok_or_else(|| ErrorData::internal_error("the message has no HTTP request", None))
}

/// Converts a result into a tool's answer; errors are returned as text so that the model can correct the call.
fn answer(outcome: Result<Value>) -> Result<CallToolResult, ErrorData> {
    match outcome {
        Ok(value) => Ok(CallToolResult::structured(value)),
        Err(error) if error.kind() == Kind::Internal => {
            tracing::error!(error = %error, "a tool failed because of an internal error");
            Err(ErrorData::internal_error(
                error.public_message().to_owned(),
                None,
            ))
        }
        Err(error) => Ok(CallToolResult::structured_error(
            json!({"error": {"reason": error.code(), "message": error.public_message()}}),
        )),
    }
}

#[tool_router]
impl Mcp {
    #[tool(
        description = "Search the knowledge base (keyword and semantic). Supports \"phrases\", +required, -excluded. Returns hits with a citation, a score between 0 and 1, and text; `confidence` reports whether the best hit is likely an answer. Use detail=ids for an overview, snippets (default), or full; pass `next_cursor` to get the next page.",
        annotations(title = "Search", read_only_hint = true, open_world_hint = false)
    )]
    async fn search(
        &self,
        Parameters(input): Parameters<p::Search>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::search(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Read a document, or the passage that a citation refers to. Long texts are returned in parts: continue from `next_start`.",
        annotations(title = "Read", read_only_hint = true, open_world_hint = false)
    )]
    async fn read(
        &self,
        Parameters(input): Parameters<p::Read>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::read(&self.app, &caller, input).await)
    }

    #[tool(
        description = "List the headings of a document with their positions, so that you can read only the section you need.",
        annotations(title = "Outline", read_only_hint = true, open_world_hint = false)
    )]
    async fn outline(
        &self,
        Parameters(input): Parameters<p::Document>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::outline(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Find passages in other documents that are similar to a cited passage.",
        annotations(
            title = "Similar passages",
            read_only_hint = true,
            open_world_hint = false
        )
    )]
    async fn similar(
        &self,
        Parameters(input): Parameters<p::Similar>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::similar(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Find every line in the documents of a dataset that matches a regular expression (Rust syntax; (?i) ignores case). Use it for exact names, numbers and codes; use search for questions.",
        annotations(title = "Grep", read_only_hint = true, open_world_hint = false)
    )]
    async fn grep(
        &self,
        Parameters(input): Parameters<p::Grep>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::grep(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Store research findings with their sources. They are searchable at once. `duplicates` in the response lists earlier findings with nearly the same text; set `supersedes` to replace one of them.",
        annotations(
            title = "Post a finding",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn post_finding(
        &self,
        Parameters(input): Parameters<p::Finding>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::post_finding(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Store a knowledge article: reference material that is not the result of research. Searchable at once.",
        annotations(
            title = "Add knowledge",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn add_knowledge(
        &self,
        Parameters(input): Parameters<p::Article>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::add_knowledge(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Append up to 1000 rows to a data folder. If a row does not match the folder's columns, no row is appended and the error names it.",
        annotations(
            title = "Append rows",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn append_rows(
        &self,
        Parameters(input): Parameters<p::Rows>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::append_rows(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Read rows of a data folder: filter, sort and select fields, or group them and compute counts, sums and averages. Without a folder, lists the folders with their columns.",
        annotations(
            title = "Query a folder",
            read_only_hint = true,
            open_world_hint = false
        )
    )]
    async fn query_folder(
        &self,
        Parameters(input): Parameters<p::Query>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::query_folder(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Check whether a sentence occurs in a source: exact (verbatim), near (most of its words) or absent, with its position. Do this before you quote.",
        annotations(
            title = "Verify a quote",
            read_only_hint = true,
            open_world_hint = false
        )
    )]
    async fn verify_quote(
        &self,
        Parameters(input): Parameters<p::Quote>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::verify_quote(&self.app, &caller, input).await)
    }

    #[tool(
        description = "List the datasets that can be searched, with their document counts.",
        annotations(
            title = "List datasets",
            read_only_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_datasets(
        &self,
        Parameters(input): Parameters<p::Listed>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(tools::list_datasets(&self.app, &caller, input).await)
    }

    #[tool(
        description = "Show the permissions of this key.",
        annotations(
            title = "My permissions",
            read_only_hint = true,
            open_world_hint = false
        )
    )]
    async fn my_permissions(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(&context)?;
        answer(Ok(tools::my_permissions(&caller)))
    }
}

#[prompt_router]
impl Mcp {
    /// Answers a question from the knowledge base, with citations.
    #[prompt(
        name = "cited_answer",
        description = "Answer a question from the knowledge base, with a citation for every sentence"
    )]
    async fn cited_answer(&self, Parameters(input): Parameters<p::Question>) -> Vec<PromptMessage> {
        let text = format!(
            "Answer this question from the knowledge base: {}\n\nSearch first, with list_datasets and search. Use only what the hits say. After every sentence, give the citation (kb://…) of the passage that supports it, and check quotes with verify_quote. If the best hit's confidence indicates that there is no answer, say so instead of guessing.",
            input.question
        );
        vec![PromptMessage::new_text(Role::User, text)]
    }
}

#[tool_handler(router = self.tool_router)]
#[prompt_handler(router = self.prompt_router)]
impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("cairn", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let caller = self.caller(&context)?;
        let cursor = request.and_then(|r| r.cursor);
        let (resources, next) = resources(&self.app, &caller, cursor.as_deref())
            .await
            .map_err(|e| refused(&e))?;
        Ok(ListResourcesResult {
            resources,
            next_cursor: next,
            ..ListResourcesResult::default()
        })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let caller = self.caller(&context)?;
        let missing = || {
            ErrorData::resource_not_found("document not found", Some(json!({"uri": request.uri})))
        };
        let (dataset, document) = request
            .uri
            .strip_prefix("kb://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(missing)?;
        let text = tools::whole_text(&self.app, &caller, dataset, document).await;
        let text = text.map_err(|e| {
            if e.kind() == Kind::NotFound {
                missing()
            } else {
                refused(&e)
            }
        })?;
        Ok(ReadResourceResult::new(vec![ResourceContents::text(text, request.uri.clone())]).into())
    }
}

pub(super) fn refused(error: &Error) -> ErrorData {
    ErrorData::invalid_request(
        error.public_message().to_owned(),
        Some(json!({"reason": error.code()})),
    )
}

/// Documents per page of resources.
const RESOURCES: i64 = 100;

/// Lists the documents that can be read as resources, dataset by dataset; the cursor holds the last completed dataset and the position in the next one.
async fn resources(
    app: &Arc<App>,
    caller: &Caller,
    cursor: Option<&str>,
) -> Result<(Vec<Resource>, Option<String>)> {
    caller.need(Scope::KbRead)?;
    let (done, place) = cursor.and_then(|c| c.split_once(' ')).unwrap_or_default();
    let (mut done, mut place) = (done.to_owned(), Some(place).filter(|p| !p.is_empty()));
    loop {
        let after = page::encode(&done);
        let page = Page::read(
            Some(1),
            Some(&after)
                .filter(|_| !done.is_empty())
                .map(String::as_str),
            1,
        )?;
        let listing = datasets::list(app, caller, &page).await?;
        let Some(dataset) = listing.items.first() else {
            // The dataset is not visible to the key, or there are no more.
            match listing.next.as_deref().and_then(page::decode) {
                Some(next) => done = next,
                None => return Ok((Vec::new(), None)),
            }
            continue;
        };
        let page = Page::read(Some(RESOURCES), place.take(), RESOURCES)?;
        let found = documents::list(app, caller, &dataset.id, &page).await?;
        if found.items.is_empty() {
            done.clone_from(&dataset.id);
            continue;
        }
        let next = match found.next {
            Some(next) => Some(format!("{done} {next}")),
            None => listing.next.is_some().then(|| format!("{} ", dataset.id)),
        };
        let readable = found.items.into_iter();
        let readable = readable.filter(|d| d.enabled && d.text_hash.is_some());
        let resources = readable.map(|document| {
            let mut resource = Resource::new(
                format!("kb://{}/{}", dataset.id, document.id),
                document.file_name,
            );
            resource.title = document.title;
            resource.mime_type = Some("text/plain".to_owned());
            resource
        });
        return Ok((resources.collect(), next));
    }
}

/// Returns the routes for any valid key: the knowledge base, and the tools of dialects. Stateless, so any process can answer any request.
pub(super) fn router(
    app: &Arc<App>,
    dialects: &[&'static ToolSet],
) -> axum::Router<super::Service> {
    let knowledge = Arc::clone(app);
    let dialect = |tools: &'static ToolSet| {
        let own = Arc::clone(app);
        transport(app, move || ToolServer {
            app: Arc::clone(&own),
            tools,
        })
    };
    let mut router = axum::Router::new();
    for tools in dialects {
        router = router.nest_service(tools.path, dialect(tools));
    }
    router
        .nest_service(
            PATH,
            transport(app, move || Mcp::new(Arc::clone(&knowledge), None)),
        )
        .layer(from_fn_with_state(Arc::clone(app), authenticate))
}

/// Returns the HTTP transport, with a server for each request.
fn transport<H: ServerHandler>(
    app: &App,
    server: impl Fn() -> H + Send + Sync + 'static,
) -> StreamableHttpService<H, NeverSessionManager> {
    let listed = app.config.mcp_hosts.split(',').map(str::trim);
    let listed = listed.filter(|h| !h.is_empty()).map(str::to_owned);
    // The address under which people reach the service is one of its own.
    let public = Url::parse(&app.config.public_url).ok();
    let public = public.and_then(|url| url.host_str().map(str::to_owned));
    let hosts: Vec<String> = listed.chain(public).collect();
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(app.config.body_kb << 10);
    if hosts.iter().any(|h| h == "*") {
        config = config.disable_allowed_hosts();
    } else if !hosts.is_empty() {
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        config = config.with_allowed_hosts(hosts.into_iter().chain(own));
    }
    StreamableHttpService::new(
        move || Ok(server()),
        Arc::new(NeverSessionManager::default()),
        config,
    )
}

/// Headers that may carry the secret of the caller.
const SECRETS: &[SecretHeader] = &[
    SecretHeader::Authorization,
    SecretHeader::ApiKey,
    SecretHeader::AgentToken,
];

/// Authenticates a request and passes the caller on to the tools.
async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let secret = match secret::presented(request.headers(), SECRETS) {
        Ok(secret) => secret.ok_or_else(secret::missing),
        Err(error) => Err(error),
    };
    let caller = match secret {
        Ok(secret) => app.gate.authenticate(&app.db, &app.clock, secret).await,
        Err(error) => Err(error),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => super::refuse(PATH, error),
    }
}
