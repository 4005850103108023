//! `cairn datasets`: lists, shows, creates and deletes datasets.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Connection, Needs};
use super::{Done, Global, Remote, output};
use crate::error::Result;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn datasets list
  cairn datasets create papers --language en --chunk-size 400
  cairn datasets show papers --json
  cairn datasets delete papers")]
pub(super) struct DatasetsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List datasets with their sizes
    List,
    /// Show a dataset with its settings
    Show {
        /// Dataset name or ID
        name: String,
    },
    /// Create a dataset
    Create {
        /// Dataset name
        name: String,
        /// Description
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Language for keyword analysis: two-letter code, none or auto
        #[arg(long, default_value = "auto", value_name = "CODE")]
        language: String,
        /// Chunk size in tokens, 128 to 2048
        #[arg(long, value_name = "N")]
        chunk_size: Option<i64>,
        /// Chunk overlap in tokens, 0 to 512
        #[arg(long, value_name = "N")]
        chunk_overlap: Option<i64>,
    },
    /// Delete a dataset with all its documents
    Delete {
        /// Dataset name or ID
        name: String,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) async fn run(global: &Global, args: DatasetsArgs) -> Result<Done> {
    Connection::with(global, &args.remote, Needs::Nothing, async |client| {
        match &args.action {
            Action::List => list(global, client).await,
            Action::Show { name } => show(global, client, name).await,
            Action::Create {
                name,
                description,
                language,
                chunk_size,
                chunk_overlap,
            } => {
                let new = json!({
                    "name": name, "description": description, "language": language, "chunkSize": chunk_size, "chunkOverlap": chunk_overlap
                });
                let made = Client::send(client.post("/kb/v1/datasets").json(&new)).await?;
                if global.json {
                    println!("{made}");
                } else {
                    println!("Dataset {name} is created: {}", output::word(&made, "id"));
                }
                Ok(Done::All)
            }
            Action::Delete { name, yes } => delete(global, client, name, *yes).await,
        }
    })
    .await
}

async fn list(global: &Global, client: &Client) -> Result<Done> {
    let all = client
        .all_with("/kb/v1/datasets", &[("activity", "true")])
        .await?;
    if global.json {
        println!("{}", serde_json::to_string(&all)?);
        return Ok(Done::All);
    }
    if all.is_empty() {
        println!("There is no dataset yet; `cairn ingest PATH --dataset NAME` creates one.");
        return Ok(Done::All);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|dataset| {
            vec![
                output::word(dataset, "name").to_owned(),
                dataset["totalFiles"].to_string(),
                dataset["filesFailed"].to_string(),
                dataset["totalChunks"].to_string(),
                output::bytes(&dataset["sizeBytes"]),
                output::word(dataset, "embeddingModel").to_owned(),
                output::word(dataset, "changedOn").to_owned(),
            ]
        })
        .collect();
    let header = [
        "name", "files", "failed", "chunks", "size", "model", "changed",
    ];
    println!("{}", output::table(&header, &rows));
    Ok(Done::All)
}

async fn show(global: &Global, client: &Client, name: &str) -> Result<Done> {
    let id = client.dataset(name).await?;
    let path = format!("/dashboard/v1/knowledge-base/datasets/{id}");
    let dataset = Client::send(client.get(&path)).await?;
    if global.json {
        println!("{dataset}");
        return Ok(Done::All);
    }
    for (name, value) in dataset.as_object().into_iter().flatten() {
        match value {
            // Its files are listed by `cairn documents list`.
            Value::Array(_) | Value::Object(_) | Value::Null => {}
            Value::String(text) => println!("{name:<18} {text}"),
            Value::Bool(_) | Value::Number(_) => println!("{name:<18} {value}"),
        }
    }
    Ok(Done::All)
}

async fn delete(global: &Global, client: &Client, name: &str, yes: bool) -> Result<Done> {
    let id = client.dataset(name).await?;
    output::confirm(
        &format!("Delete dataset {name} with all its documents?"),
        yes,
    )?;
    Client::send(client.delete(&format!("/kb/v1/datasets/{id}"))).await?;
    if global.json {
        println!("{}", json!({"deleted": id}));
    } else {
        println!("Dataset {name} is deleted.");
    }
    Ok(Done::All)
}
