//! Configuration: defaults, then a TOML file, then `CAIRN_*` variables, then flags. Every field is documented where it is declared,
//! and `cairn serve --print-config` shows each value with its origin.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)*) => {
        /// The configuration; one flat table, so that `CAIRN_NAME` is the variable of `name`.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Every field with its documentation, in the order of the declaration.
        pub const FIELDS: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc, "\n"),+))),*];
    };
}

config! {
    /// Data directory: SQLite database, blobs, keyword and vector indexes.
    data_dir: PathBuf = PathBuf::from("cairn-data");
    /// Listen address, as host:port. Port 0 selects a free port.
    listen: String = "127.0.0.1:7700".to_owned();
    /// Lifetime of a browser session, in hours.
    session_hours: u64 = 168;
    /// Allow listening on a non-loopback address. Cairn serves plain HTTP: use a TLS proxy in front of it.
    allow_remote: bool = false;
    /// Database URL: empty for SQLite in the data directory, or `postgres://user:password@host/database`.
    database_url: String = String::new();
    /// Encryption key for secrets in the database, 64 hexadecimal digits; empty for the file secret.key in the data directory, which is created
    /// when first needed. Servers that share a database need the same key.
    secret_key: String = String::new();
    /// Maximum number of database connections.
    database_connections: u32 = 8;
    /// Blob storage: empty for the data directory, or `s3://bucket/prefix` (credentials from the standard AWS_* variables).
    blob_url: String = String::new();
    /// Qdrant server for vectors, as `http://host:6334` (gRPC); empty for the embedded vector engine.
    qdrant_url: String = String::new();
    /// Qdrant servers of one cluster, comma-separated, instead of `qdrant_url`. Requests are distributed round-robin and retried on the next server on failure.
    qdrant_urls: String = String::new();
    /// Replication factor of new Qdrant collections; at most the number of servers.
    qdrant_replication: u32 = 2;
    /// Shards of new Qdrant collections; 0 for the server default.
    qdrant_shards: u32 = 0;
    /// Store the vectors of new Qdrant collections on disk instead of in memory.
    qdrant_on_disk: bool = false;
    /// Quantization of new Qdrant collections: `none`, `scalar` (a quarter of the memory) or `binary` (for 1,024 dimensions and more).
    qdrant_quantization: String = "none".to_owned();
    /// Timeout for Qdrant searches, in seconds; changes have twelve times as long.
    qdrant_seconds: u64 = 5;
    /// API key of the Qdrant server.
    qdrant_api_key: String = String::new();
    /// Folders that sources may read, comma-separated; empty for none. Whoever may write to a dataset can read the files in them.
    source_folders: String = String::new();
    /// Maximum size of what a git repository sends at a time, and of its copy, in megabytes.
    source_repository_mb: u64 = 1024;
    /// Embedding model for new datasets: a name from `cairn models list`, or a directory.
    model: String = "all-MiniLM-L6-v2".to_owned();
    /// Directory for downloaded models and ONNX Runtime; empty for cairn/models in the user's cache directory.
    models_dir: PathBuf = PathBuf::new();
    /// Path of an ONNX Runtime library (1.24 or later); empty to find or download one.
    onnxruntime: PathBuf = PathBuf::new();
    /// Never download models or libraries; missing files are an error.
    offline: bool = false;
    /// Threads for the embedding model; 0 for all cores.
    embed_threads: usize = 0;
    /// OpenAI-compatible embedding endpoint, up to and including /v1; empty for a local model. `model` is then the model name at the endpoint.
    embedding_url: String = String::new();
    /// API key for the embedding endpoint, sent as a bearer token.
    embedding_api_key: String = String::new();
    /// Vector dimensions of the embedding endpoint.
    embedding_dimensions: usize = 1536;
    /// Maximum input of the embedding endpoint, in tokens.
    embedding_max_tokens: usize = 8191;
    /// Base URL of the language model for answers, such as `https://host/v1`, or `http://127.0.0.1:11434` for Ollama; empty for none.
    answer_url: String = String::new();
    /// API protocol of the language model endpoint: `openai`, `anthropic` or `ollama`.
    answer_protocol: String = "openai".to_owned();
    /// Name of the language model at the endpoint.
    answer_model: String = String::new();
    /// API key for the language model endpoint.
    answer_api_key: String = String::new();
    /// Maximum length of an answer, in tokens.
    answer_max_tokens: u32 = 1024;
    /// Maximum length of the passages sent to the language model, in tokens of the dataset's embedding model.
    answer_context_tokens: usize = 4000;
    /// Timeout for an answer of the language model, in seconds.
    answer_seconds: u64 = 120;
    /// Models for the agents of campaigns, comma-separated, the first of which is the default: `adapter/model=input/output`, such as
    /// `claude/claude-sonnet-4-5=3/15,ollama/llama3.2`. The adapter is `claude`, `openai` or `ollama`; the prices are US dollars per million tokens (Ollama: 0
    /// when absent). Empty for the model of `answer_url`.
    agent_models: String = String::new();
    /// Base URL of the OpenAI-compatible endpoint for agents.
    agent_openai_url: String = "https://api.openai.com/v1".to_owned();
    /// API key of the OpenAI-compatible endpoint for agents.
    agent_openai_key: String = String::new();
    /// Base URL of the Anthropic endpoint for agents.
    agent_claude_url: String = "https://api.anthropic.com/v1".to_owned();
    /// API key of the Anthropic endpoint for agents.
    agent_claude_key: String = String::new();
    /// Base URL of the Ollama endpoint for agents.
    agent_ollama_url: String = "http://127.0.0.1:11434".to_owned();
    /// Maximum length of a response of an agent's model, in tokens.
    agent_max_tokens: u32 = 4096;
    /// Path of the Chromium or Chrome that prints reports as PDF files; empty for the one in PATH.
    pdf_browser: PathBuf = PathBuf::new();
    /// Activities of agents that run at the same time in this process.
    agent_jobs: usize = 16;
    /// Applications at publishing platforms, comma-separated as `platform=client id:client secret`; their redirect address is
    /// `public_url` with the path /dashboard/v1/channels/callback.
    channel_clients: String = String::new();
    /// Addresses below which people may be sent back after they connected a channel, comma-separated, besides `public_url`.
    channel_redirects: String = String::new();
    /// Base addresses in place of those of platforms, comma-separated as `platform=https://host`: for proxies and tests.
    channel_urls: String = String::new();
    /// Concurrent jobs in this process.
    workers: usize = 4;
    /// Failures after which a job becomes a dead letter. A job interrupted by worker crashes without progress has three times as many attempts.
    job_attempts: i64 = 5;
    /// Seconds without a heartbeat after which a job is assigned to another worker.
    job_lease_seconds: u64 = 30;
    /// Memory limit of a parser process, in MiB of address space beyond the program itself.
    parse_memory_mb: u64 = 2048;
    /// Time limit for parsing a file, in seconds.
    parse_seconds: u64 = 120;
    /// Maximum extracted text of a file after normalisation, in MiB.
    parse_text_mb: usize = 64;
    /// Maximum number of chunks per document.
    document_chunks: usize = 100_000;
    /// Docling server (docling-serve) for the DOCLING parser engine, as `http://host:5001`; empty for none.
    docling_url: String = String::new();
    /// API key for the Docling server.
    docling_api_key: String = String::new();
    /// Timeout of the Docling server per file, in seconds.
    docling_seconds: u64 = 300;
    /// Run OCR on scanned PDF files and images with an installed tesseract.
    ocr: bool = false;
    /// Tesseract languages, joined by plus signs; the data of each language must be installed.
    ocr_languages: String = "eng".to_owned();
    /// Minimum free disk space of the data directory, in MiB; below it, uploads are rejected and ingestion pauses.
    min_free_mb: u64 = 256;
    /// Concurrent crawls in this process.
    crawls: usize = 2;
    /// User agent of the crawler: a product name (matched in robots.txt), a slash and a version.
    crawl_user_agent: String = "CairnBot/0.1".to_owned();
    /// Contact URL or email address for webmasters, sent with the user agent.
    crawl_contact: String = String::new();
    /// Maximum size of a crawled page, in MiB, decompressed; linked files have the upload limit.
    crawl_page_mb: usize = 10;
    /// Timeout of crawler requests, in seconds, for the response headers and again for the body.
    crawl_seconds: u64 = 30;
    /// Minutes after which a crawl fetches no new pages.
    crawl_minutes: u64 = 360;
    /// Rendering endpoint for JavaScript pages (see README, Crawling); empty for none.
    render_url: String = String::new();
    /// Retention of crawl reports, in days.
    crawl_report_days: u64 = 90;
    /// Address under which people and other services reach Cairn, such as `https://cairn.example.com`: links in mails and addresses of webhooks begin with it.
    /// Empty for the listen address.
    public_url: String = String::new();
    /// Accept sign-ups over the ClawCRM API from any address. Without it only programs on this machine can sign up.
    signup: bool = false;
    /// Sign-ups per hour and client address.
    signups_per_hour: u32 = 5;
    /// Address of the page where plans are changed, shown to clients at a limit; empty for none.
    upgrade_url: String = String::new();
    /// Mail server for sequences, as `smtps://user:password@host:465` or `smtp://user:password@host:587` (STARTTLS, except on loopback). Empty to write
    /// mails as .eml files to the folder `mail` of the data directory.
    mail_url: String = String::new();
    /// Sender of sequences, as `Name <address>`.
    mail_from: String = "Cairn <cairn@localhost>".to_owned();
    /// Maximum number of mails per address and day, in the time zone of the lead.
    mails_per_day: u32 = 3;
    /// Maximum number of mails per address and hour.
    mails_per_hour: u32 = 1;
    /// Time between the last mail of an ended sequence and the next enrolment of its lead, in hours.
    mail_cooldown_hours: u64 = 48;
    /// HTTP endpoint that knows more about leads; empty for none. It receives what is known of a lead and returns fields.
    enrichment_url: String = String::new();
    /// Key for the enrichment endpoint, sent as bearer token.
    enrichment_key: String = String::new();
    /// Base URL of the Calendly API.
    calendly_url: String = "https://api.calendly.com".to_owned();
    /// Allowed targets of outgoing requests (crawls) besides the public internet: comma-separated networks, addresses and host names, such as 127.0.0.0/8,intranet.example.
    outgoing_allow: String = String::new();
    /// Maximum number of files per upload.
    upload_files: usize = 20;
    /// Maximum size of an uploaded file, in MiB.
    upload_file_mb: u64 = 50;
    /// Maximum total size of an upload, in MiB.
    upload_batch_mb: u64 = 200;
    /// Concurrent webhook deliveries in this process.
    senders: usize = 4;
    /// Concurrent jobs that wait for gateways of agents.
    gateway_jobs: usize = 8;
    /// Seconds that an agent which was woken has to give a sign of life, before it is provisioned again.
    agent_checkin_seconds: u64 = 30;
    /// Scopes of the tokens of agents that Cairn provisions, comma-separated.
    agent_scopes: String = "boards:read,boards:write,kb:read,kb:search,knowledge:read,knowledge:write".to_owned();
    /// Identity provider (OpenID Connect) that signs people in, by its issuer, such as `https://id.example.com/realms/staff`; empty for none.
    oidc_issuer: String = String::new();
    /// Name that the sign-in page shows for the identity provider.
    oidc_name: String = "single sign-on".to_owned();
    /// Client as which this service is registered at the identity provider, for signing in with a browser; empty for tokens only.
    oidc_client_id: String = String::new();
    /// Secret of the client; empty for a public client.
    oidc_client_secret: String = String::new();
    /// Scopes that a sign-in asks for, separated by spaces.
    oidc_scopes: String = "openid profile email".to_owned();
    /// Claim that names the groups of a person; dots lead into objects, as in `realm_access.roles`.
    oidc_groups: String = "groups".to_owned();
    /// Roles that groups give, as `group=role,group=role`, with the roles owner, admin, member and reviewer; empty for none.
    oidc_roles: String = String::new();
    /// Role of people in none of these groups; empty for no access.
    oidc_role: String = String::new();
    /// Tenant in which groups give roles; empty for the first one.
    oidc_tenant: String = String::new();
    /// Whether the first person who signs in with a browser becomes the owner, as long as there are no members, invitations, datasets and records.
    oidc_first_owner: bool = true;
    /// Public keys of the identity provider (JWKS), as URL or file; empty for those that it publishes.
    oidc_jwks: String = String::new();
    /// Audience that tokens of programs must name; empty for the client of the sign-in, or for any without one.
    oidc_audience: String = String::new();
    /// Whether a person whom nobody has invited gets an organization of its own at the first sign-in.
    oidc_signup: bool = true;
    /// Failed authentications per minute and client address in the Mission Control API; 0 for no limit.
    failed_authentications: u32 = 20;
    /// Directory of souls (`handle/slug.md`), or the base URL of a service with the same layout as souls.directory; empty for none.
    souls: String = String::new();
    /// Directory below which mirrors of skill repositories stand (`owner/name`), for installations that cannot reach GitHub; empty for GitHub.
    skills_mirror: PathBuf = PathBuf::new();
    /// Timeout of a webhook delivery, in seconds.
    webhook_seconds: u64 = 15;
    /// Maximum size of a row upload to a folder, in MiB.
    upload_rows_mb: u64 = 1024;
    /// Maximum body of any other request, in KiB.
    body_kb: usize = 1024;
    /// Request timeout, in seconds, after the body has been received; event streams and uploads are exempt.
    request_seconds: u64 = 30;
    /// Timeout of an upload, in seconds, including its body.
    upload_seconds: u64 = 3600;
    /// Concurrent requests; further requests wait. Each 32 KiB of body counts as one more request, since parsing JSON needs many times its size.
    concurrency: usize = 256;
    /// Concurrent uploads; further uploads wait.
    uploads: usize = 32;
    /// Maximum number of open event streams; one tenant may use at most half of them.
    event_streams: usize = 1000;
    /// Maximum number of open connections. Connections beyond it may send one request, within 2 seconds.
    connections: usize = 12_000;
    /// Maximum number of open connections per address; loopback and `proxies` are exempt.
    connections_per_address: usize = 512;
    /// Trusted proxies whose X-Forwarded-For header is used: comma-separated addresses or networks.
    proxies: String = String::new();
    /// Timeout for receiving request headers, and for idle connections, in seconds.
    head_seconds: u64 = 30;
    /// Seconds after which a connection is closed if the client reads nothing of the response.
    stall_seconds: u64 = 60;
    /// Minimum average transfer rate of a request body, in bytes per second, checked after ten seconds; 0 for no minimum.
    body_rate: u64 = 1024;
    /// Memory for request bodies being received, in MiB, for all requests together; uploads are written to disk and do not count.
    body_memory_mb: usize = 256;
    /// Concurrent request bodies from unauthenticated clients; one address may use at most a quarter of them.
    anonymous_bodies: usize = 64;
    /// Default rate limit of a key, in requests per minute; 0 for no limit.
    rate_per_minute: i64 = 6000;
    /// Rate limit of a workspace at `/v1`, in requests per minute for all its keys; 0 for no limit.
    workspace_rate_per_minute: u32 = 12_000;
    /// Host names allowed for MCP clients besides localhost and that of `public_url`, comma-separated; * for any. Others are rejected to prevent DNS rebinding.
    mcp_hosts: String = String::new();
    /// Allowed CORS origins, comma-separated; * for all, empty for none.
    cors_origins: String = String::new();
    /// Candidates retrieved from each index before fusion.
    search_candidates: usize = 200;
    /// Cross-encoder for reranking: a name from `cairn models list`, or a directory; empty for none.
    reranker: String = String::new();
    /// Candidates reranked by the cross-encoder.
    rerank_candidates: usize = 50;
    /// Time limit for reranking a search, in milliseconds; when it is exceeded, the original order is kept.
    rerank_budget_ms: u64 = 3000;
    /// Retention of the query history, in days; 0 disables it.
    query_history_days: u64 = 30;
    /// Number of query vectors cached in memory.
    query_cache: u64 = 10_000;
    /// Segment size, in kilobytes of vectors, above which the embedded engine builds an HNSW graph instead of scanning.
    vector_index_kb: usize = 100_000;
    /// Memory for the quantised vectors of searched sets of the embedded vector index, in MB: 388 bytes per vector of 384 dimensions. Sets that do not fit
    /// are filtered by the engine, which is slower and less exact.
    vector_memory_mb: usize = 2048;
    /// Report ready on /readyz while indexes are being built, for example after starting from a backup; searches then report missing parts as degraded.
    ready_while_building: bool = false;
    /// Retention of unused embeddings, in days, so that reappearing texts are not embedded again.
    embedding_cache_days: u64 = 30;
    /// Retention of a replaced generation, in days, for switching back.
    generation_days: u64 = 7;
    /// Retention of the log of access (keys, members, sign-ins), in days.
    access_log_days: u64 = 365;
    /// Retention of events for replay, in days.
    event_days: u64 = 7;
    /// Log filter, such as `info` or `cairn=debug,warn`.
    log: String = "info".to_owned();
    /// Log format: text or json.
    log_format: String = "text".to_owned();
}

/// Values that the log and `--print-config` never show.
const SECRETS: [&str; 12] = [
    "channel_clients",
    "secret_key",
    "oidc_client_secret",
    "answer_api_key",
    "agent_openai_key",
    "agent_claude_key",
    "qdrant_api_key",
    "embedding_api_key",
    "docling_api_key",
    "database_url",
    "mail_url",
    "enrichment_key",
];

impl Config {
    /// Reads all layers. `flags` are pairs of field and value from the command line.
    ///
    /// # Errors
    /// `config_invalid` names the field, what was found, and where it came from.
    pub fn load(file: Option<&Path>, flags: &[(&'static str, String)]) -> Result<(Self, Figment)> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(Error::invalid(
                    "config_invalid",
                    format!("configuration file not found: {}", file.display()),
                ));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("CAIRN_").filter(|key| {
            FIELDS
                .iter()
                .any(|(name, _)| key.as_str().eq_ignore_ascii_case(name))
        }));
        for (name, value) in flags {
            // Read as figment reads variables, so that numbers and flags get their types.
            let value: figment::value::Value = value.parse().unwrap_or_else(|never| match never {});
            figment = figment.merge(Serialized::global(name, value));
        }
        let config: Self = figment
            .extract()
            .map_err(|e| Error::invalid("config_invalid", e.to_string()))?;
        config.check()?;
        Ok((config, figment))
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::invalid("config_invalid", message.to_owned()));
        if !(1..=8760).contains(&self.session_hours) {
            return wrong("session_hours must be between 1 and 8760");
        }
        if !["text", "json"].contains(&self.log_format.as_str()) {
            return wrong("log_format must be text or json");
        }
        if self.workers == 0
            || self.search_candidates == 0
            || self.concurrency == 0
            || self.job_lease_seconds < 3
        {
            return wrong(
                "workers, search_candidates and concurrency must be at least 1, job_lease_seconds at least 3",
            );
        }
        if self.uploads == 0
            || self.event_streams == 0
            || self.connections == 0
            || self.connections_per_address == 0
            || self.head_seconds == 0
            || self.stall_seconds == 0
            || self.request_seconds == 0
            || self.upload_seconds == 0
            || self.body_memory_mb * 1024 < self.body_kb
            || self.anonymous_bodies == 0
        {
            return wrong(
                "uploads, event_streams, connections, connections_per_address, anonymous_bodies and all timeouts must be at least 1, and body_memory_mb must hold at least one body (body_kb)",
            );
        }
        if !["none", "scalar", "binary"].contains(&self.qdrant_quantization.as_str()) {
            return wrong("qdrant_quantization must be none, scalar or binary");
        }
        if self.qdrant_replication == 0 || self.qdrant_seconds == 0 {
            return wrong("qdrant_replication and qdrant_seconds must be at least 1");
        }
        if !self.qdrant_url.is_empty() && !self.qdrant_urls.is_empty() {
            return wrong("set qdrant_url or qdrant_urls, not both");
        }
        if self.crawls == 0 || self.crawl_page_mb == 0 || self.crawl_seconds == 0 {
            return wrong("crawls, crawl_page_mb and crawl_seconds must be at least 1");
        }
        if self.crawl_token().is_empty() {
            return wrong("crawl_user_agent must begin with a product name of letters, - and _");
        }
        if !self.database_url.is_empty()
            && !self.database_url.starts_with("postgres")
            && !self.database_url.starts_with("sqlite:")
        {
            return wrong("database_url must be empty, sqlite:PATH or postgres://…");
        }
        Ok(())
    }

    /// The effective values as TOML, each with its documentation and origin; secrets are masked.
    #[must_use]
    pub fn describe(figment: &Figment) -> String {
        let mut out = String::new();
        for (name, doc) in FIELDS {
            for line in doc.lines() {
                out.push_str(&format!("#{line}\n"));
            }
            let value = figment.find_value(name).ok();
            let shown = match &value {
                Some(figment::value::Value::String(_, text))
                    if SECRETS.contains(name) && !text.is_empty() =>
                {
                    "\"***\"".to_owned()
                }
                Some(value) => toml_value(value),
                None => String::new(),
            };
            let origin = Self::origin(figment, name);
            out.push_str(&format!("{name} = {shown}  # from: {origin}\n\n"));
        }
        out
    }

    /// Where the value of a field comes from: `default`, `command line`, a variable or a file.
    #[must_use]
    pub fn origin(figment: &Figment, name: &str) -> String {
        figment
            .find_metadata(name)
            .map_or_else(|| "default".to_owned(), |m| origin(m, name))
    }

    /// The effective database address.
    #[must_use]
    pub fn database(&self) -> String {
        if self.database_url.is_empty() {
            format!("sqlite:{}", self.data_dir.join("cairn.db").display())
        } else {
            self.database_url.clone()
        }
    }

    /// The time, in seconds, that the work for one answer may take: the answer has to be sent before the request ends.
    #[must_use]
    pub fn answer_seconds(&self) -> u64 {
        self.request_seconds.saturating_sub(3).max(1)
    }

    /// The addresses of the Qdrant servers; none for the embedded engine.
    pub fn qdrant_addresses(&self) -> impl Iterator<Item = &str> {
        self.qdrant_urls
            .split(',')
            .chain([self.qdrant_url.as_str()])
            .map(str::trim)
            .filter(|url| !url.is_empty())
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn database_file(&self) -> Option<PathBuf> {
        self.database().strip_prefix("sqlite:").map(PathBuf::from)
    }

    /// The name by which robots.txt may address the crawler.
    #[must_use]
    pub fn crawl_token(&self) -> &str {
        let end = self
            .crawl_user_agent
            .find(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_'));
        &self.crawl_user_agent[..end.unwrap_or(self.crawl_user_agent.len())]
    }

    /// The crawler's `User-Agent`.
    #[must_use]
    pub fn crawl_agent(&self) -> String {
        if self.crawl_contact.is_empty() {
            self.crawl_user_agent.clone()
        } else {
            format!("{} (+{})", self.crawl_user_agent, self.crawl_contact)
        }
    }

    /// The effective model cache.
    #[must_use]
    pub fn models_directory(&self) -> PathBuf {
        if !self.models_dir.as_os_str().is_empty() {
            return self.models_dir.clone();
        }
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        base.unwrap_or_else(std::env::temp_dir).join("cairn/models")
    }

    /// Returns the address at which people and other services reach this one, without a slash at the end.
    #[must_use]
    pub fn public_base(&self) -> String {
        match self.public_url.trim_end_matches('/') {
            "" => format!("http://{}", self.listen),
            url => url.to_owned(),
        }
    }

    /// Threads for the model.
    #[must_use]
    pub fn model_threads(&self) -> usize {
        if self.embed_threads > 0 {
            self.embed_threads
        } else {
            std::thread::available_parallelism().map_or(1, usize::from)
        }
    }
}

fn origin(metadata: &figment::Metadata, name: &str) -> String {
    if metadata.name.contains("environment") {
        return format!("CAIRN_{}", name.to_uppercase());
    }
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("Config") => "default".to_owned(),
        _ => "command line".to_owned(),
    }
}

fn toml_value(value: &figment::value::Value) -> String {
    toml::Value::try_from(value)
        .map(|v| v.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_origins_are_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("cairn.toml");
        std::fs::write(&file, "workers = 2\nlisten = \"127.0.0.1:1\"\n").expect("writable");
        let (config, figment) =
            Config::load(Some(&file), &[("listen", "127.0.0.1:2".to_owned())]).expect("valid");
        assert_eq!((config.workers, config.listen.as_str()), (2, "127.0.0.1:2"));
        let text = Config::describe(&figment);
        assert!(
            text.contains("listen = \"127.0.0.1:2\"  # from: command line"),
            "{text}"
        );
        assert!(
            text.contains(&format!("workers = 2  # from: {}", file.display())),
            "{text}"
        );
        assert!(text.contains("job_attempts = 5  # from: default"), "{text}");
    }

    #[test]
    fn secrets_are_masked() {
        let (_, figment) =
            Config::load(None, &[("qdrant_api_key", "hunter2".to_owned())]).expect("valid");
        let text = Config::describe(&figment);
        assert!(
            !text.contains("hunter2") && text.contains("qdrant_api_key = \"***\""),
            "{text}"
        );
    }

    #[test]
    fn unknown_fields_and_bad_values_are_errors() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("cairn.toml");
        std::fs::write(&file, "wrokers = 2\n").expect("writable");
        assert!(
            Config::load(Some(&file), &[])
                .expect_err("a typo")
                .to_string()
                .contains("wrokers")
        );
        assert!(
            Config::load(None, &[("workers", "many".to_owned())])
                .expect_err("no number")
                .to_string()
                .contains("workers")
        );
    }
}
