//! `cairn mcp`: the Model Context Protocol over standard input and output, for clients that start their servers themselves.

use clap::Args;
use rmcp::ServiceExt;
use rmcp::transport::stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{Done, Global, Remote, output};
use crate::api::mcp::Mcp;
use crate::auth::tenants;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn mcp                                                      the data directory of this folder, with all rights
  cairn mcp --url http://127.0.0.1:7700 --key cairn_…            a running server, with the rights of a key

As a client's configuration: {\"mcpServers\": {\"cairn\": {\"command\": \"cairn\", \"args\": [\"mcp\", \"--url\", \"http://127.0.0.1:7700\", \"--key\", \"cairn_…\"]}}}
A server speaks the same protocol over HTTP at /mcp, with the key as Authorization: Bearer <key>.")]
pub(super) struct McpArgs {
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(global: &Global, args: McpArgs) -> Result<Done> {
    if let Some(client) = Client::new(&args.remote)? {
        return relay(&client).await;
    }
    let app = global.app().await?;
    app.embedder_with(output::downloads(true)).await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    app.engine().await?;
    let stop = CancellationToken::new();
    let tasks = app.start(true, &stop);
    let broken = |e: &dyn std::fmt::Display| {
        Error::unavailable(
            "mcp_failed",
            format!("the client cannot be spoken with: {e}"),
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

/// Passes messages on to a server, one line each, and its answers back.
async fn relay(client: &Client) -> Result<Done> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        for answer in client.exchange("/mcp", line).await? {
            out.write_all(answer.as_bytes()).await?;
            out.write_all(b"\n").await?;
            out.flush().await?;
        }
    }
    Ok(Done::All)
}
