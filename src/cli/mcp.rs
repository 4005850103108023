//! `cairn mcp`: the Model Context Protocol over standard input and output, for clients that start their servers themselves.

use std::path::Path;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use futures::{StreamExt, stream};
use reqwest::{Response, StatusCode};
use rmcp::ServiceExt;
use rmcp::transport::stdio;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::client::{Client, unreachable};
use super::{Done, Global, Remote, output};
use crate::api::mcp::Mcp;
use crate::auth::tenants;
use crate::background;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn mcp                                          use ./cairn-data with full access
  CAIRN_KEY=cairn_… cairn mcp --url http://127.0.0.1:7700
                                                     use a running server with the scopes of the key
  cairn mcp config --for cursor --url http://127.0.0.1:7700
                                                     print what to enter in a client

A running server also provides MCP over HTTP at /mcp; send the key as Authorization: Bearer <key>.")]
pub(super) struct McpArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Option<McpCommand>,
}

#[derive(Debug, Subcommand)]
enum McpCommand {
    /// Print the configuration of a client; keys stay in its environment
    Config(ConfigArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Client to configure
    #[arg(long = "for", value_enum, value_name = "CLIENT")]
    client: ClientName,
    /// Server to use; without one, the client starts Cairn on the data directory
    #[arg(long, value_name = "URL", env = "CAIRN_URL")]
    url: Option<String>,
}

/// MCP clients whose configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientName {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    #[value(name = "vscode")]
    VsCode,
}

impl ClientName {
    /// Returns the file that the configuration belongs into.
    fn file(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => {
                "claude_desktop_config.json (Settings → Developer → Edit Config)"
            }
            Self::ClaudeCode => ".mcp.json in the project",
            Self::Cursor => ".cursor/mcp.json in the project, or ~/.cursor/mcp.json",
            Self::VsCode => ".vscode/mcp.json in the workspace",
        }
    }

    /// Returns the configuration for a server.
    fn remote(self, url: &str) -> Value {
        let address = format!("{}/mcp", url.trim_end_matches('/'));
        let http = |secret: &str| json!({"type": "http", "url": address, "headers": {"Authorization": format!("Bearer {secret}")}});
        match self {
            // It starts programs only, so that Cairn passes messages on.
            Self::ClaudeDesktop => {
                json!({"mcpServers": {"cairn": {"command": program(), "args": ["mcp"], "env": {"CAIRN_URL": url, "CAIRN_KEY": "cairn_…"}}}})
            }
            Self::ClaudeCode => json!({"mcpServers": {"cairn": http("${CAIRN_KEY}")}}),
            Self::Cursor => json!({"mcpServers": {"cairn": http("${env:CAIRN_KEY}")}}),
            Self::VsCode => json!({
                "inputs": [{"type": "promptString", "id": "cairn-key", "description": "Key of Cairn", "password": true}],
                "servers": {"cairn": http("${input:cairn-key}")}
            }),
        }
    }

    /// Returns the configuration for a data directory.
    fn local(self, directory: &Path) -> Value {
        let server = json!({"command": program(), "args": ["mcp", "--data-dir", directory.display().to_string()]});
        match self {
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor => {
                json!({"mcpServers": {"cairn": server}})
            }
            Self::VsCode => json!({"servers": {"cairn": server}}),
        }
    }

    /// Returns where the client takes the key from; `None` when none is needed.
    fn key(self, is_remote: bool) -> Option<&'static str> {
        match self {
            _ if !is_remote => None,
            Self::ClaudeDesktop => Some("put the key in place of cairn_… in env"),
            Self::ClaudeCode | Self::Cursor => Some("set the variable CAIRN_KEY to the key"),
            Self::VsCode => Some("VS Code asks for the key once"),
        }
    }
}

/// Returns the path of this program, as clients have to start it.
fn program() -> String {
    let own = std::env::current_exe();
    own.map_or_else(|_| "cairn".to_owned(), |path| path.display().to_string())
}

fn config(global: &Global, args: &ConfigArgs) -> Result<Done> {
    let (settings, _) = global.settings(&[])?;
    let printed = match &args.url {
        Some(url) => args.client.remote(url),
        None => args.client.local(&std::path::absolute(&settings.data_dir)?),
    };
    println!("{}", serde_json::to_string_pretty(&printed)?);
    if !global.json {
        eprintln!("\nThis belongs into {}.", args.client.file());
        if let Some(key) = args.client.key(args.url.is_some()) {
            eprintln!(
                "For the key: {key}. `cairn keys create --name mcp --scope kb:search` makes one."
            );
        }
    }
    Ok(Done::All)
}

pub(super) async fn run(global: &Global, args: McpArgs) -> Result<Done> {
    if let Some(McpCommand::Config(args)) = &args.command {
        return config(global, args);
    }
    if let Some(client) = Client::find(global, &args.remote)? {
        return relay(&client).await;
    }
    let (settings, _) = global.settings(&[])?;
    if settings.database_url.is_empty() && !settings.data_dir.join("cairn.db").is_file() {
        return Err(Error::invalid(
            "knowledge_base_missing",
            format!(
                "there is no knowledge base in {}: fill one with `cairn ingest FOLDER --dataset NAME`, start `cairn serve`, or name a running server with --url",
                settings.data_dir.display()
            ),
        ));
    }
    let app = global.app().await?;
    app.embedder_with(output::downloads(true)).await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    app.engine().await?;
    let stop = CancellationToken::new();
    let tasks = background::start(&app, true, &stop);
    let broken = |e: &dyn std::fmt::Display| {
        Error::unavailable(
            "mcp_failed",
            format!("cannot communicate with the client: {e}"),
        )
    };
    let server = Mcp::new(app.clone(), Some(caller));
    let served = match server.serve(stdio()).await {
        Ok(running) => running.waiting().await.map(|_| ()).map_err(|e| broken(&e)),
        Err(error) => Err(broken(&error)),
    };
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    app.db.close().await;
    served.map(|()| Done::All)
}

/// Messages forwarded concurrently.
const AT_ONCE: usize = 8;
/// Attempts to send a message to a server that is busy or unreachable.
const TRIES: u32 = 6;
/// Longest delay between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Forwards messages to a server, one per line, and writes its responses. An error of a message is its response; only the end of the input ends the relay.
async fn relay(client: &Client) -> Result<Done> {
    let relay = Relay {
        client,
        version: OnceLock::new(),
    };
    let lines = BufReader::new(tokio::io::stdin()).split(b'\n');
    let lines = stream::unfold(lines, |mut lines| async {
        match lines.next_segment().await {
            Ok(Some(line)) => Some((Ok(line), lines)),
            Ok(None) => None,
            Err(error) => Some((Err(error), lines)),
        }
    });
    let answers = lines
        .map(|line| async { Ok::<_, Error>(relay.answers(&line?).await) })
        .buffer_unordered(AT_ONCE);
    let mut answers = pin!(answers);
    let mut out = tokio::io::stdout();
    while let Some(answers) = answers.next().await {
        for answer in answers? {
            out.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        out.flush().await?;
    }
    Ok(Done::All)
}

struct Relay<'a> {
    client: &'a Client,
    /// Protocol version negotiated by client and server.
    version: OnceLock<String>,
}

impl Relay<'_> {
    /// Returns the responses to a line from the client; none for a notification.
    async fn answers(&self, line: &[u8]) -> Vec<Value> {
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let message: Value = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => {
                return vec![failed(
                    &Value::Null,
                    PARSE_ERROR,
                    &format!("the line is not valid JSON: {error}"),
                )];
            }
        };
        let answers = match self.exchange(&message).await {
            Ok(answers) => answers,
            Err(error) if message.get("id").is_some_and(|id| !id.is_null()) => {
                vec![failed(&message["id"], SERVER_ERROR, error.public_message())]
            }
            Err(error) => {
                // A notification has no response.
                tracing::warn!(error = %error, "a notification was not forwarded");
                Vec::new()
            }
        };
        if message["method"] == "initialize"
            && let Some(version) = answers
                .iter()
                .find_map(|a| a["result"]["protocolVersion"].as_str())
        {
            self.version.get_or_init(|| version.to_owned());
        }
        answers
    }

    /// Sends a message, and retries when the server is busy or was not reached; a message that may have been executed is not repeated.
    async fn exchange(&self, message: &Value) -> Result<Vec<Value>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self
                .client
                .post("/mcp")
                .header("accept", "application/json, text/event-stream")
                .json(message);
            if let Some(version) = self.version.get() {
                request = request.header("mcp-protocol-version", version);
            }
            let backoff = Duration::from_millis(250) * 2_u32.pow(tries);
            match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    let is_busy = status == StatusCode::TOO_MANY_REQUESTS
                        || status == StatusCode::SERVICE_UNAVAILABLE;
                    if !is_busy || tries == TRIES {
                        return read(response).await;
                    }
                    let asked = response
                        .headers()
                        .get("retry-after")
                        .and_then(|v| v.to_str().ok()?.parse().ok())
                        .map(Duration::from_secs);
                    tokio::time::sleep(asked.unwrap_or(backoff).min(LONGEST_WAIT)).await;
                }
                Err(error) if error.is_connect() && tries < TRIES => {
                    tokio::time::sleep(backoff.min(LONGEST_WAIT)).await;
                }
                Err(error) => return Err(unreachable(&error)),
            }
        }
    }
}

/// Reads the messages of a response.
async fn read(response: Response) -> Result<Vec<Value>> {
    let status = response.status();
    let is_stream = response
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with("text/event-stream"));
    let body = response.text().await.map_err(|e| unreachable(&e))?;
    if !status.is_success() {
        let fault: Option<Value> = serde_json::from_str(&body).ok();
        let reason = fault
            .as_ref()
            .and_then(|fault| fault["error"]["message"].as_str())
            .unwrap_or("no reason given");
        return Err(Error::unprocessable(
            "server_refused",
            format!("the server returned {status}: {reason}"),
        ));
    }
    let parts: Vec<&str> = if is_stream {
        body.lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .collect()
    } else {
        vec![&body]
    };
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            serde_json::from_str(part).map_err(|_| {
                Error::unprocessable(
                    "server_refused",
                    "the server response is not an MCP message; is it Cairn?",
                )
            })
        })
        .collect()
}

/// JSON-RPC code for invalid JSON.
const PARSE_ERROR: i64 = -32700;
/// JSON-RPC code for an error of the server.
const SERVER_ERROR: i64 = -32000;

fn failed(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_has_a_key_in_its_arguments() {
        for client in ClientName::value_variants() {
            let config = client.remote("http://127.0.0.1:7700/");
            let text = config.to_string();
            assert!(!text.contains("--key"), "{text}");
            let has_address = text.contains("http://127.0.0.1:7700/mcp");
            assert_eq!(has_address, *client != ClientName::ClaudeDesktop, "{text}");
        }
    }

    #[test]
    fn a_data_directory_is_named_as_a_whole() {
        let config = ClientName::VsCode.local(Path::new("/srv/cairn"));
        let args = &config["servers"]["cairn"]["args"];
        assert_eq!(args, &json!(["mcp", "--data-dir", "/srv/cairn"]));
    }
}
