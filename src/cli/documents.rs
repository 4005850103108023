//! `cairn documents`: lists and shows the documents of a dataset, ingests them again, hides and deletes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::client::{Client, Connection, Needs, unreachable};
use super::{Done, Global, Remote, output};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn documents list --dataset papers
  cairn documents list --dataset papers --status error
  cairn documents show tides.pdf --dataset papers
  cairn documents text tides.pdf --dataset papers | less
  cairn documents reindex tides.pdf --dataset papers
  cairn documents delete old.pdf draft.md --dataset papers")]
pub(super) struct DocumentsArgs {
    #[command(subcommand)]
    action: Action,
    /// Dataset name or ID
    #[arg(short, long, global = true, value_name = "NAME")]
    dataset: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// A document of the dataset.
#[derive(Debug, Args)]
struct One {
    /// File name or ID
    name: String,
}

/// Documents of the dataset.
#[derive(Debug, Args)]
struct Several {
    /// File names or IDs
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List documents
    List {
        /// Only documents with this status: pending, parsing, embedding, indexed, error or disabled
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
    },
    /// Show a document with its state, and whether searches find it
    Show(One),
    /// Print the text that was read from a document
    Text(One),
    /// Save the original file
    File {
        #[command(flatten)]
        document: One,
        /// Output file [default: the document's name, in this directory]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
    /// Ingest documents again, and wait for it
    Reindex(Several),
    /// Let searches find documents again
    Enable(Several),
    /// Hide documents from all searches
    Disable(Several),
    /// Delete documents
    Delete {
        #[command(flatten)]
        documents: Several,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

impl Action {
    /// Returns what a server inside the command has to do for it.
    fn needs(&self) -> Needs {
        match self {
            Self::Reindex(_) => Needs::Workers,
            Self::List { .. }
            | Self::Show(_)
            | Self::Text(_)
            | Self::File { .. }
            | Self::Enable(_)
            | Self::Disable(_)
            | Self::Delete { .. } => Needs::Nothing,
        }
    }
}

/// The documents of a dataset at a server.
struct Documents<'c> {
    client: &'c Client,
    /// Path of their list.
    path: String,
}

pub(super) async fn run(global: &Global, args: DocumentsArgs) -> Result<Done> {
    let dataset = args.dataset.as_deref().ok_or_else(|| {
        Error::invalid(
            "dataset_missing",
            "name the dataset with --dataset; `cairn datasets list` shows them",
        )
    })?;
    let needs = args.action.needs();
    Connection::with(global, &args.remote, needs, async |client| {
        let id = client.dataset(dataset).await?;
        let documents = Documents {
            client,
            path: format!("/kb/v1/datasets/{id}/documents"),
        };
        match &args.action {
            Action::List { status } => documents.list(global, status.as_deref()).await,
            Action::Show(one) => documents.show(global, one).await,
            Action::Text(one) => documents.text(one).await,
            Action::File {
                document,
                out,
                force,
            } => documents.save(global, document, out.clone(), *force).await,
            Action::Reindex(several) => documents.reindex(global, several).await,
            Action::Enable(several) => documents.enable(global, several, true).await,
            Action::Disable(several) => documents.enable(global, several, false).await,
            Action::Delete {
                documents: several,
                yes,
            } => documents.delete(global, several, *yes).await,
        }
    })
    .await
}

impl Documents<'_> {
    /// Returns the documents of the given names or ids, in that order.
    async fn find(&self, names: &[String]) -> Result<Vec<Value>> {
        let all = self.client.all(&self.path).await?;
        let find = |name: &String| {
            if let Some(found) = all.iter().find(|d| output::word(d, "id") == name) {
                return Ok(found.clone());
            }
            let mut named = all.iter().filter(|d| output::word(d, "fileName") == name);
            match (named.next(), named.next()) {
                (Some(found), None) => Ok(found.clone()),
                (Some(first), Some(second)) => {
                    let ids = [first, second].into_iter().chain(named);
                    let ids: Vec<&str> = ids.map(|d| output::word(d, "id")).collect();
                    Err(Error::conflict(
                        "document_ambiguous",
                        format!(
                            "several documents are called {name:?}; name one by its ID: {}",
                            ids.join(", ")
                        ),
                    ))
                }
                (None, _) => Err(Error::not_found(
                    "document_not_found",
                    format!(
                        "the dataset has no document {name:?}; `cairn documents list` shows them"
                    ),
                )),
            }
        };
        names.iter().map(find).collect()
    }

    async fn one(&self, one: &One) -> Result<Value> {
        let mut found = self.find(std::slice::from_ref(&one.name)).await?;
        Ok(found.pop().unwrap_or_default())
    }

    fn of(&self, document: &Value) -> String {
        format!("{}/{}", self.path, output::word(document, "id"))
    }

    async fn list(&self, global: &Global, status: Option<&str>) -> Result<Done> {
        let mut all = self.client.all(&self.path).await?;
        all.retain(|d| status.is_none_or(|status| output::word(d, "status") == status));
        if global.json {
            println!("{}", serde_json::to_string(&all)?);
            return Ok(Done::All);
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|document| {
                vec![
                    output::word(document, "fileName").to_owned(),
                    output::word(document, "status").to_owned(),
                    document["chunksCount"].to_string(),
                    output::bytes(&document["fileSizeBytes"]),
                    output::word(document, "updatedOn").to_owned(),
                    output::word(document, "errorMessage").to_owned(),
                ]
            })
            .collect();
        let header = ["name", "status", "chunks", "size", "changed", "error"];
        println!("{}", output::table(&header, &rows));
        Ok(Done::All)
    }

    async fn show(&self, global: &Global, one: &One) -> Result<Done> {
        let document = self.one(one).await?;
        let why = format!("{}/why", self.of(&document));
        let why = Client::send(self.client.get(&why)).await?;
        if global.json {
            println!("{}", json!({"document": document, "search": why}));
            return Ok(Done::All);
        }
        for name in [
            "fileName",
            "title",
            "url",
            "id",
            "status",
            "mimeType",
            "chunksCount",
            "pages",
            "version",
            "createdOn",
            "updatedOn",
        ] {
            match &document[name] {
                Value::String(text) => println!("{name:<12} {text}"),
                number @ Value::Number(_) => println!("{name:<12} {number}"),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
            }
        }
        println!("{:<12} {}", "metadata", document["metadata"]);
        println!("{:<12} {}", "search", output::word(&why, "reason"));
        for warning in document["warnings"].as_array().into_iter().flatten() {
            println!("{:<12} {}", "warning", warning.as_str().unwrap_or_default());
        }
        Ok(Done::All)
    }

    async fn text(&self, one: &One) -> Result<Done> {
        let document = self.one(one).await?;
        let path = format!("{}/text", self.of(&document));
        let response = Client::receive(self.client.get(&path)).await?;
        let text = response.text().await.map_err(|e| unreachable(&e))?;
        println!("{text}");
        Ok(Done::All)
    }

    async fn save(
        &self,
        global: &Global,
        one: &One,
        out: Option<PathBuf>,
        force: bool,
    ) -> Result<Done> {
        let document = self.one(one).await?;
        // The last part of a stored name, which cannot lead elsewhere.
        let name = output::word(&document, "fileName")
            .rsplit(['/', '\\'])
            .next();
        let name = name.filter(|name| !matches!(*name, "" | "." | ".."));
        let out = out.unwrap_or_else(|| PathBuf::from(name.unwrap_or("file")));
        if out.exists() && !force {
            return Err(Error::invalid(
                "file_exists",
                format!(
                    "{} already exists; use --force to overwrite it",
                    out.display()
                ),
            ));
        }
        let path = format!("{}/file?download=true", self.of(&document));
        let response = Client::receive(self.client.get(&path)).await?;
        let mut file = tokio::fs::File::create(&out).await?;
        let (mut pieces, mut size) = (response.bytes_stream(), 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| unreachable(&e))?;
            file.write_all(&piece).await?;
            size += piece.len();
        }
        file.flush().await?;
        if global.json {
            println!("{}", json!({"file": out, "bytes": size}));
        } else {
            println!("{} ({size} bytes)", out.display());
        }
        Ok(Done::All)
    }

    async fn reindex(&self, global: &Global, several: &Several) -> Result<Done> {
        let found = self.find(&several.names).await?;
        for document in &found {
            let change = self.client.patch(&self.of(document));
            Client::send(change.json(&json!({"reIngest": true}))).await?;
        }
        let bar = output::bar(
            100 * found.len() as u64,
            global.json,
            "ingesting {percent}% {wide_bar} {eta} left",
        );
        let mut current = Vec::new();
        loop {
            current.clear();
            for document in &found {
                current.push(Client::send(self.client.get(&self.of(document))).await?);
            }
            bar.set_position(current.iter().filter_map(|d| d["progress"].as_u64()).sum());
            let is_over =
                |d: &Value| matches!(output::word(d, "status"), "indexed" | "error" | "disabled");
            if current.iter().all(is_over) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bar.finish_and_clear();
        self.report(global, &current, "indexed again")
    }

    async fn enable(&self, global: &Global, several: &Several, enabled: bool) -> Result<Done> {
        let mut changed = Vec::new();
        for document in self.find(&several.names).await? {
            let change = self.client.patch(&self.of(&document));
            changed.push(Client::send(change.json(&json!({"enabled": enabled}))).await?);
        }
        let outcome = if enabled { "enabled" } else { "disabled" };
        self.report(global, &changed, outcome)
    }

    async fn delete(&self, global: &Global, several: &Several, yes: bool) -> Result<Done> {
        let found = self.find(&several.names).await?;
        output::confirm(&format!("Delete {} documents?", found.len()), yes)?;
        for document in &found {
            Client::send(self.client.delete(&self.of(document))).await?;
        }
        self.report(global, &found, "deleted")
    }

    /// Prints the outcome for each document; one whose ingestion failed makes the exit code 3.
    fn report(&self, global: &Global, documents: &[Value], outcome: &str) -> Result<Done> {
        let failed = |d: &Value| output::word(d, "status") == "error" && outcome != "deleted";
        if global.json {
            println!("{}", serde_json::to_string(documents)?);
        } else {
            for document in documents {
                let name = output::word(document, "fileName");
                if failed(document) {
                    println!(
                        "failed   {name}: {}",
                        output::word(document, "errorMessage")
                    );
                } else {
                    println!("{outcome}  {name}");
                }
            }
        }
        Ok(if documents.iter().any(failed) {
            Done::Part
        } else {
            Done::All
        })
    }
}
