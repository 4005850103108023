//! `cairn demo`: ingests, searches, explains and serves Cairn's own documentation.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::serve::Server;
use super::signals::Signals;
use super::{Done, Global, ingest, output, search};
use crate::api::guide;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::keys::{self, Made, NewKey};
use crate::auth::tenants;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::{self, NewDataset};
use crate::kb::documents::DocumentStatus;
use crate::kb::documents::{self, NewDocument, UploadPolicy};
use crate::page::{MAX_LIMIT, Page};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  cairn demo --query \"what happens to a job when its worker dies\"")]
pub(super) struct DemoArgs {
    /// Address to listen on, as host:port [default: 127.0.0.1:7700]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Search query
    #[arg(long, default_value = QUERY)]
    query: String,
    /// Exit after the search instead of serving the API
    #[arg(long)]
    once: bool,
}

const QUERY: &str = "how are vector and keyword scores blended?";
const DATASET: &str = "cairn-docs";

pub(super) async fn run(global: &Global, args: DemoArgs) -> Result<Done> {
    let (mut config, figment) = global.settings(&[("listen", args.listen)])?;
    if Config::origin(&figment, "log") == "default" {
        "warn".clone_into(&mut config.log);
    }
    output::log(&config)?;
    let app = App::open(config, Clock::system()).await?;
    let server = Server::start(&app, global.json).await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let dataset = match datasets::by_name(&app, &caller, DATASET).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let new = NewDataset {
                name: DATASET.to_owned(),
                description: Some("Cairn's own documentation".to_owned()),
                ..NewDataset::default()
            };
            datasets::create(&app, &caller, new).await?
        }
        found => found?,
    };
    let mut added = Vec::new();
    for guide::Document { path, text } in guide::all() {
        let stored = app
            .blobs
            .put_bytes(&app.db, caller.tenant(), text.as_bytes().to_vec())
            .await?;
        let new = NewDocument {
            metadata: json!({"demo": true}),
            ..NewDocument::new((*path).to_owned(), "text/markdown", stored)
        };
        let met = documents::add(
            &app,
            &caller,
            &dataset.id,
            vec![new],
            UploadPolicy::default(),
        )
        .await?;
        added.extend(
            met.into_iter()
                .filter(|m| m.outcome != "unchanged")
                .map(|m| m.document.id),
        );
    }
    let finished = ingest::wait(&app, &caller, &dataset.id, &added, global.json).await?;
    if let Some(failed) = finished.iter().find(|d| d.status == DocumentStatus::Error) {
        return Err(Error::unprocessable(
            "demo_failed",
            format!(
                "{}: {}",
                failed.file_name,
                failed.error_message.as_deref().unwrap_or("no reason given")
            ),
        ));
    }
    let dataset = datasets::get(&app, &caller, &dataset.id).await?;
    let client = server.client()?;
    let request =
        json!({"query": args.query, "datasetIds": [dataset.id], "topK": 3, "explain": true});
    let answer = Client::send(client.post("/kb/v1/search").json(&request)).await?;
    let key = demo_key(&app, &caller, &dataset.id).await?;
    let signals = Signals::listen()?;
    if global.json {
        let hit = &answer["results"][0];
        let first = hit.is_object().then(
            || json!({"fileName": hit["fileName"], "score": hit["score"], "explain": hit["explain"]}),
        );
        println!(
            "{}",
            json!({"url": format!("http://{}", server.address), "adminKey": server.admin_key, "sandbox": server.sandbox, "demoKey": key, "datasetId": dataset.id,
                "files": dataset.total_files, "chunks": dataset.total_chunks, "bestHit": first})
        );
    } else {
        println!(
            "Dataset {DATASET}: {} files, {} chunks, model {}.\n\n> {}\n",
            dataset.total_files, dataset.total_chunks, dataset.indexing.embedding_model, args.query
        );
        search::print(&answer);
        if let Some(admin) = &server.admin_key {
            println!("\nAdmin key (shown only once):\n  {admin}");
        }
        let url = format!("http://{}", server.address);
        println!(
            "\nServing at {url} (API documentation: {url}/docs). Open the sandbox with this one-time sign-in link:\n\n  {}\n\nOr search from the command line:\n",
            server.sandbox
        );
        println!("  curl -s {url}/kb/v1/search -H 'Authorization: Bearer {key}' \\");
        println!("    -H 'Content-Type: application/json' \\");
        println!(
            "    -d '{{\"query\": \"which files can be uploaded?\", \"datasetIds\": [\"{}\"], \"explain\": true}}'\n",
            dataset.id
        );
        if !args.once {
            println!("Press Ctrl-C to stop.");
        }
    }
    if args.once {
        server.stop();
    }
    server.wait(signals).await;
    Ok(Done::All)
}

/// Creates a key for this dataset only, and revokes the one of an earlier demo.
async fn demo_key(app: &App, caller: &Caller, dataset_id: &str) -> Result<String> {
    let old = keys::list(
        &app.db,
        caller.tenant(),
        &Page {
            limit: MAX_LIMIT,
            after: String::new(),
        },
    )
    .await?;
    for key in old
        .items
        .iter()
        .filter(|k| k.name == "demo" && k.revoked_on.is_none())
    {
        keys::revoke(&app.db, &app.clock, caller, &key.id, Made::EndToo).await?;
    }
    let new = NewKey {
        name: "demo".to_owned(),
        scopes: vec!["kb:*".to_owned()],
        dataset_ids: Some(vec![dataset_id.to_owned()]),
        ..NewKey::default()
    };
    Ok(keys::create(&app.db, &app.clock, caller.tenant(), new)
        .await?
        .1)
}
