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
    /// Directory of everything Cairn stores on this machine: the SQLite database, blobs, both indexes.
    data_dir: PathBuf = PathBuf::from("cairn-data");
    /// Address to listen on, as host:port. Port 0 takes a free one.
    listen: String = "127.0.0.1:7700".to_owned();
    /// Hours after which a browser that is signed in has to sign in again.
    session_hours: u64 = 168;
    /// Permits an address other than loopback. Cairn speaks plain HTTP: put a TLS proxy in front.
    allow_remote: bool = false;
    /// Database: empty for SQLite in the data directory, or `postgres://user:password@host/database`.
    database_url: String = String::new();
    /// Key that the secrets in the database are encrypted with, 64 hexadecimal digits; empty for the file secret.key in the data directory, which is made
    /// at the first need. Servers that share a database need the same one.
    secret_key: String = String::new();
    /// Database connections.
    database_connections: u32 = 8;
    /// Where uploaded bytes are kept: empty for the data directory, or `s3://bucket/prefix` (credentials from the usual AWS_* variables).
    blob_url: String = String::new();
    /// Qdrant server for vectors, as `http://host:6334` (gRPC); empty for the embedded engine.
    qdrant_url: String = String::new();
    /// Several Qdrant servers of one cluster, joined by commas, instead of `qdrant_url`: they are asked in turn, and the next one when one does not answer.
    qdrant_urls: String = String::new();
    /// Copies of each shard of a collection that is made on the Qdrant servers; as many as there are servers at most.
    qdrant_replication: u32 = 2;
    /// Shards of such a collection; 0 for as many as the servers think right.
    qdrant_shards: u32 = 0;
    /// Whether such a collection keeps its vectors on disk and not in memory.
    qdrant_on_disk: bool = false;
    /// How such a collection makes vectors smaller for the first look at them: `none`, `scalar` (a quarter of the memory), `binary` (1,024 dimensions and more).
    qdrant_quantization: String = "none".to_owned();
    /// Seconds that a Qdrant server may take for a search, and twelve times as long for a change.
    qdrant_seconds: u64 = 5;
    /// API key of the Qdrant server.
    qdrant_api_key: String = String::new();
    /// Embedding model of new datasets: a name from `cairn models list` or a directory.
    model: String = "all-MiniLM-L6-v2".to_owned();
    /// Directory of downloaded models and ONNX Runtime; empty for cairn/models in the user's cache directory.
    models_dir: PathBuf = PathBuf::new();
    /// Path of an ONNX Runtime library (1.24 or later); empty to find or fetch one.
    onnxruntime: PathBuf = PathBuf::new();
    /// Never fetches models or libraries; what is missing is an error.
    offline: bool = false;
    /// Threads of the embedding model; 0 for all cores.
    embed_threads: usize = 0;
    /// OpenAI-compatible embedding endpoint, up to and including /v1; empty for a local model. `model` is then the name it knows.
    embedding_url: String = String::new();
    /// Bearer token of the embedding endpoint.
    embedding_api_key: String = String::new();
    /// Length of the vectors of the embedding endpoint.
    embedding_dimensions: usize = 1536;
    /// Longest input of the embedding endpoint in tokens.
    embedding_max_tokens: usize = 8191;
    /// Language model that answers questions: base address of its endpoint, as in `https://host/v1`, or `http://127.0.0.1:11434` for Ollama; empty for none.
    answer_url: String = String::new();
    /// How that endpoint is spoken to: `openai`, `anthropic` or `ollama`.
    answer_protocol: String = "openai".to_owned();
    /// Name of the model there.
    answer_model: String = String::new();
    /// Its key.
    answer_api_key: String = String::new();
    /// Most tokens of an answer.
    answer_max_tokens: u32 = 1024;
    /// Most tokens of the passages that the model is given, as the dataset's model counts.
    answer_context_tokens: usize = 4000;
    /// Seconds that the language model may take for an answer.
    answer_seconds: u64 = 120;
    /// Jobs that run at the same time in this process.
    workers: usize = 4;
    /// Failures of a job before it is given up as dead; it may be interrupted by a dying worker three times as often without getting on.
    job_attempts: i64 = 5;
    /// Seconds without a sign of life after which a job is given to another worker.
    job_lease_seconds: u64 = 30;
    /// Memory that the process which parses a file may take, in MiB of address space beyond the program itself.
    parse_memory_mb: u64 = 2048;
    /// Time limit for parsing a file, in seconds.
    parse_seconds: u64 = 120;
    /// Largest normalised text of a file, in MiB.
    parse_text_mb: usize = 64;
    /// Most chunks of a document.
    document_chunks: usize = 100_000;
    /// Docling server (docling-serve) for the parser engine DOCLING, as `http://host:5001`; empty for none.
    docling_url: String = String::new();
    /// API key of the Docling server.
    docling_api_key: String = String::new();
    /// Seconds that the Docling server may take for a file.
    docling_seconds: u64 = 300;
    /// Reads scanned PDF and pictures with an installed tesseract.
    ocr: bool = false;
    /// Languages of tesseract, joined by plus signs; each needs its installed data.
    ocr_languages: String = "eng".to_owned();
    /// MiB that stay free on the disk of the data directory: with less, uploads are refused and ingestion waits.
    min_free_mb: u64 = 256;
    /// Crawls that run at the same time in this process.
    crawls: usize = 2;
    /// How the crawler names itself: a product name (by which robots.txt may address it), a slash, a version.
    crawl_user_agent: String = "CairnBot/0.1".to_owned();
    /// Address or mailbox of whoever runs the crawler, sent with its name, for webmasters.
    crawl_contact: String = String::new();
    /// Largest page that is crawled, in MiB, unpacked; linked files may be as large as uploads.
    crawl_page_mb: usize = 10;
    /// Seconds for an answer to a crawler's request, and again for its body.
    crawl_seconds: u64 = 30;
    /// Minutes after which a crawl takes nothing new.
    crawl_minutes: u64 = 360;
    /// Endpoint that renders pages whose text is made by scripts (see README, Crawling); empty for none.
    render_url: String = String::new();
    /// Days for which the report of a crawl, with every address, is kept.
    crawl_report_days: u64 = 90;
    /// Where outgoing requests (crawls) may go beside the public internet: networks, addresses and host names, separated by commas, as in 127.0.0.0/8,intranet.example.
    outgoing_allow: String = String::new();
    /// Largest number of files in an upload.
    upload_files: usize = 20;
    /// Largest file of an upload, in MiB.
    upload_file_mb: u64 = 50;
    /// Largest upload in all, in MiB.
    upload_batch_mb: u64 = 200;
    /// Webhooks that are sent at the same time by this process.
    senders: usize = 4;
    /// Seconds that the receiver of a webhook may take.
    webhook_seconds: u64 = 15;
    /// Largest upload of rows of a folder, in MiB.
    upload_rows_mb: u64 = 1024;
    /// Largest body of any other request, in KiB.
    body_kb: usize = 1024;
    /// Seconds a request may take once its body has arrived; event streams and uploads are exempt from it.
    request_seconds: u64 = 30;
    /// Seconds an upload may take, its body included.
    upload_seconds: u64 = 3600;
    /// Requests worked on at the same time; more wait. A body counts once more for every 32 KiB: reading JSON takes many times its length.
    concurrency: usize = 256;
    /// Uploads received at the same time; more wait.
    uploads: usize = 32;
    /// Streams of events open at the same time, of which one tenant has at most half.
    event_streams: usize = 1000;
    /// Open connections. When there are more, each new one is served a single request that has to come within 2 seconds.
    connections: usize = 12_000;
    /// Open connections of one address; loopback and `proxies` are exempt.
    connections_per_address: usize = 512;
    /// Proxies whose X-Forwarded-For is believed: addresses or networks, separated by commas.
    proxies: String = String::new();
    /// Seconds in which the whole head of a request has to arrive, and for which a connection without a request stays open.
    head_seconds: u64 = 30;
    /// Seconds after which a connection is closed whose client takes nothing of an answer.
    stall_seconds: u64 = 60;
    /// Bytes per second in which a body has to arrive, on average from its tenth second on; 0 for any.
    body_rate: u64 = 1024;
    /// MiB of bodies held in memory while they arrive, of all requests together; uploads go to the disk and do not count.
    body_memory_mb: usize = 256;
    /// Bodies without a key or a session that arrive at the same time, of which one address has at most a quarter.
    anonymous_bodies: usize = 64;
    /// Requests per minute of a key that has no rate of its own; 0 for no limit.
    rate_per_minute: i64 = 6000;
    /// Requests per minute of all keys of a workspace together, at `/v1`; 0 for no limit.
    workspace_rate_per_minute: u32 = 12_000;
    /// Host names under which MCP clients reach the server beside localhost, separated by commas; * for any. Others are refused, against DNS rebinding.
    mcp_hosts: String = String::new();
    /// Origins that browsers may call from, separated by commas; * for all, empty for none.
    cors_origins: String = String::new();
    /// Candidates taken from each index before blending.
    search_candidates: usize = 200;
    /// Cross-encoder for `rerank`: a name from `cairn models list`, or a directory; empty for none.
    reranker: String = String::new();
    /// Candidates that the cross-encoder orders.
    rerank_candidates: usize = 50;
    /// Milliseconds for that, per search; when they run out, the order of the blend stands.
    rerank_budget_ms: u64 = 3000;
    /// Days for which queries are remembered; 0 remembers none.
    query_history_days: u64 = 30;
    /// Query vectors kept in memory.
    query_cache: u64 = 10_000;
    /// Vectors per segment, in kilobytes of data, above which the embedded engine builds a graph instead of scanning.
    vector_index_kb: usize = 100_000;
    /// Whether /readyz says that the server is ready while indexes are being built, as after a start from a backup; searches say then what they lack.
    ready_while_building: bool = false;
    /// Days for which embeddings that no chunk uses are kept, so that a text that comes back is not embedded again.
    embedding_cache_days: u64 = 30;
    /// Days for which a generation that was switched away from is kept, to switch back to.
    generation_days: u64 = 7;
    /// Days that events can be replayed.
    event_days: u64 = 7;
    /// Log filter, as in `info` or `cairn=debug,warn`.
    log: String = "info".to_owned();
    /// Log lines as text or json.
    log_format: String = "text".to_owned();
}

/// Values that the log and `--print-config` never show.
const SECRETS: [&str; 6] = [
    "secret_key",
    "answer_api_key",
    "qdrant_api_key",
    "embedding_api_key",
    "docling_api_key",
    "database_url",
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
                    format!("there is no configuration file {}", file.display()),
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
                "uploads, event_streams, connections, connections_per_address, anonymous_bodies and all times must be at least 1, and body_memory_mb at least one body (body_kb)",
            );
        }
        if !["none", "scalar", "binary"].contains(&self.qdrant_quantization.as_str()) {
            return wrong("qdrant_quantization must be none, scalar or binary");
        }
        if self.qdrant_replication == 0 || self.qdrant_seconds == 0 {
            return wrong("qdrant_replication and qdrant_seconds must be at least 1");
        }
        if !self.qdrant_url.is_empty() && !self.qdrant_urls.is_empty() {
            return wrong("give qdrant_url or qdrant_urls, not both");
        }
        if self.crawls == 0 || self.crawl_page_mb == 0 || self.crawl_seconds == 0 {
            return wrong("crawls, crawl_page_mb and crawl_seconds must be at least 1");
        }
        if self.crawl_token().is_empty() {
            return wrong("crawl_user_agent must begin with a name of letters, - and _");
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
