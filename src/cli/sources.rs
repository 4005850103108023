//! `cairn sources`: folders, buckets, feeds, git repositories and mailboxes that a dataset is kept in step with.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Connection, Needs};
use super::crawl::schedule;
use super::ingest::follow;
use super::output::{self, word};
use super::{Done, Global, Remote};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn sources folder /srv/handbook --dataset handbook --watch --set source_folders=/srv
  cairn sources s3 company-docs --prefix policies --access-key-id AKIA… --dataset policies --schedule '0 4 * * *'
  cairn sources feed https://blog.example.com/feed.xml --dataset blog --schedule '*/30 * * * *'
  cairn sources git https://github.com/tokio-rs/website --include 'content/**/*.md' --dataset tokio --schedule '0 * * * *'
  CAIRN_SOURCE_SECRET=… cairn sources mail support@example.com --host imap.example.com --days 365 --dataset support
  cairn sources list --state failed
  cairn sources sync handbook --dataset handbook
  cairn sources items handbook --dataset handbook --verdict failed

Saves the source under its name and syncs it: new and changed items are ingested, and documents of vanished ones are removed (feeds have only their latest entries, so that nothing is
removed for them). Schedules and watched folders need a running server, whose setting source_folders names the folders that sources may be in. The secret of an access
key, the token of a repository and the password of a mailbox are read from CAIRN_SOURCE_SECRET. Websites are crawled: `cairn crawl`.")]
pub(super) struct SourcesArgs {
    #[command(subcommand)]
    command: Command,
    /// Dataset name or ID
    #[arg(short, long, global = true, value_name = "NAME")]
    dataset: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Options of every kind of source.
#[derive(Debug, Args)]
struct Saved {
    /// Name of the source [default: its path, bucket, address or user]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Schedule of its syncs: manual, weekly, monthly or a cron expression in UTC
    #[arg(long, value_name = "WHEN")]
    schedule: Option<String>,
    /// Save the source without syncing it
    #[arg(long)]
    no_sync: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the sources of all datasets or of one, websites included, with their last and their next run
    List {
        /// Only those that never ran, are queued or running, or whose last run is completed, failed or cancelled
        #[arg(long, value_name = "STATE", value_parser = ["never", "queued", "running", "completed", "failed", "cancelled"])]
        state: Option<String>,
    },
    #[command(flatten)]
    InDataset(Action),
}

/// Commands about the sources of one dataset.
#[derive(Debug, Subcommand)]
enum Action {
    /// Save a folder of the server's machine as a source, and sync it
    Folder {
        /// The folder
        path: PathBuf,
        /// Only files that match this pattern, such as '**/*.md'; repeatable
        #[arg(long, value_name = "GLOB")]
        include: Vec<String>,
        /// No files that match this pattern; repeatable
        #[arg(long, value_name = "GLOB")]
        exclude: Vec<String>,
        /// Let a change of a file start a sync
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        saved: Saved,
    },
    /// Save a bucket in S3 or a compatible store as a source, and sync it
    S3 {
        /// Name of the bucket
        bucket: String,
        /// Only objects whose key begins with this
        #[arg(long, default_value = "")]
        prefix: String,
        /// Region [default: us-east-1]
        #[arg(long)]
        region: Option<String>,
        /// Address of a compatible store
        #[arg(long, value_name = "URL")]
        endpoint: Option<String>,
        /// Id of the access key; its secret is read from the variable `CAIRN_SOURCE_SECRET`
        #[arg(long, value_name = "ID")]
        access_key_id: Option<String>,
        #[command(flatten)]
        saved: Saved,
    },
    /// Save an RSS, Atom or JSON feed as a source, and sync it
    Feed {
        /// Address of the feed
        address: String,
        /// Take what the feed says, instead of the articles that it links to
        #[arg(long)]
        no_articles: bool,
        #[command(flatten)]
        saved: Saved,
    },
    /// Save a git repository as a source, and sync it
    Git {
        /// Address of the repository
        address: String,
        /// Branch, or the full name of another reference, such as refs/tags/v1 [default: the default branch]
        #[arg(long)]
        branch: Option<String>,
        /// Only files that match this pattern, such as 'docs/**/*.md'; repeatable
        #[arg(long, value_name = "GLOB")]
        include: Vec<String>,
        /// No files that match this pattern; repeatable
        #[arg(long, value_name = "GLOB")]
        exclude: Vec<String>,
        /// User of the token or password in the variable `CAIRN_SOURCE_SECRET` [default: git]
        #[arg(long)]
        user: Option<String>,
        /// Address of a file's page, with {path} in it [default: known for github.com, gitlab.com and bitbucket.org]
        #[arg(long, value_name = "URL")]
        page_url: Option<String>,
        #[command(flatten)]
        saved: Saved,
    },
    /// Save a folder of a mailbox (IMAP) as a source, and sync it
    Mail {
        /// User of the mailbox, whose password is read from the variable `CAIRN_SOURCE_SECRET`
        user: String,
        /// Host of the server
        #[arg(long)]
        host: String,
        /// Port [default: 993, or 143 without TLS from the beginning]
        #[arg(long)]
        port: Option<u16>,
        /// Folder [default: INBOX]
        #[arg(long)]
        folder: Option<String>,
        /// Only mail of the last so many days [default: all]
        #[arg(long)]
        days: Option<u32>,
        /// tls, starttls, or none
        #[arg(long, default_value = "tls", value_name = "HOW")]
        encryption: String,
        #[command(flatten)]
        saved: Saved,
    },
    /// Sync a source now, and wait for it
    Sync {
        /// Name or ID of the source
        source: String,
    },
    /// List what a source has, and what became of it
    Items {
        /// Name or ID of the source
        source: String,
        /// Only new, changed, unchanged, skipped or failed items
        #[arg(long)]
        verdict: Option<String>,
    },
    /// Remove a source; its documents stay unless --documents is given
    Remove {
        /// Name or ID of the source
        source: String,
        /// Also delete the documents that came from it
        #[arg(long)]
        documents: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

impl Action {
    /// Returns the options of a source that is saved.
    fn saved(&self) -> Option<&Saved> {
        match self {
            Self::Folder { saved, .. }
            | Self::S3 { saved, .. }
            | Self::Feed { saved, .. }
            | Self::Git { saved, .. }
            | Self::Mail { saved, .. } => Some(saved),
            Self::Sync { .. } | Self::Items { .. } | Self::Remove { .. } => None,
        }
    }

    fn needs(&self) -> Needs {
        let syncs = match self.saved() {
            Some(saved) => !saved.no_sync,
            None => matches!(self, Self::Sync { .. }),
        };
        if syncs {
            Needs::Workers
        } else {
            Needs::Nothing
        }
    }
}

/// The sources of a dataset at a server.
struct Sources<'c> {
    global: &'c Global,
    client: &'c Client,
    /// Path of their list.
    path: String,
}

pub(super) async fn run(global: &Global, args: SourcesArgs) -> Result<Done> {
    let action = match &args.command {
        Command::List { state } => {
            let (dataset, state) = (args.dataset.as_deref(), state.as_deref());
            return Connection::with(global, &args.remote, Needs::Nothing, async |client| {
                list(global, client, dataset, state).await
            })
            .await;
        }
        Command::InDataset(action) => action,
    };
    let dataset = args
        .dataset
        .as_deref()
        .ok_or_else(|| Error::invalid("dataset_missing", "name the dataset with --dataset"))?;
    Connection::with(global, &args.remote, action.needs(), async |client| {
        let id = if action.saved().is_some() {
            client
                .dataset_or_new(dataset, &json!({"name": dataset}))
                .await?
        } else {
            client.dataset(dataset).await?
        };
        let sources = Sources {
            global,
            client,
            path: format!("/kb/v1/datasets/{id}/sources"),
        };
        sources.run(action).await
    })
    .await
}

/// Prints the sources and websites of all datasets, or of one.
async fn list(
    global: &Global,
    client: &Client,
    dataset: Option<&str>,
    state: Option<&str>,
) -> Result<Done> {
    let only: Vec<(&str, &str)> = state.map(|state| ("state", state)).into_iter().collect();
    let mut all = client.all_with("/kb/v1/sources", &only).await?;
    if let Some(dataset) = dataset {
        let id = client.dataset(dataset).await?;
        all.retain(|source| word(source, "datasetId") == id);
    }
    if global.json {
        println!("{}", serde_json::to_string(&all)?);
        return Ok(Done::All);
    }
    if all.is_empty() {
        if dataset.is_some() || state.is_some() {
            println!("No source matches.");
        } else {
            println!(
                "There is no source yet; `cairn sources --help` and `cairn crawl --help` show how to add one."
            );
        }
        return Ok(Done::All);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|source| {
            let next = match (source["isWatched"] == true, word(source, "nextRunOn")) {
                (true, _) => "on change",
                (false, "") => "manual",
                (false, time) => time,
            };
            [
                word(source, "datasetName"),
                word(source, "name"),
                word(source, "kind"),
                word(source, "state"),
                word(&source["lastRun"], "completedOn"),
                next,
                word(&source["lastRun"], "errorMessage"),
            ]
            .map(str::to_owned)
            .to_vec()
        })
        .collect();
    let head = [
        "dataset",
        "source",
        "kind",
        "state",
        "completed",
        "next run",
        "problem",
    ];
    println!("{}", output::table(&head, &rows));
    Ok(Done::All)
}

impl Sources<'_> {
    async fn run(&self, action: &Action) -> Result<Done> {
        match action {
            Action::Folder {
                path,
                include,
                exclude,
                watch,
                saved,
            } => {
                let path = std::path::absolute(path)?.display().to_string();
                let settings = json!({"kind": "folder", "path": path, "include": include, "exclude": exclude, "watch": watch});
                self.save(&path, settings, saved).await
            }
            Action::S3 {
                bucket,
                prefix,
                region,
                endpoint,
                access_key_id,
                saved,
            } => {
                let settings = json!({
                    "kind": "s3", "bucket": bucket, "prefix": prefix, "region": region, "endpoint": endpoint, "accessKeyId": access_key_id
                });
                self.save(&format!("{bucket}/{prefix}"), settings, saved)
                    .await
            }
            Action::Feed {
                address,
                no_articles,
                saved,
            } => {
                let settings = json!({"kind": "feed", "url": address, "articles": !no_articles});
                self.save(address, settings, saved).await
            }
            Action::Git {
                address,
                branch,
                include,
                exclude,
                user,
                page_url,
                saved,
            } => {
                let settings = json!({
                    "kind": "git", "url": address, "branch": branch, "include": include, "exclude": exclude, "user": user, "pageUrl": page_url
                });
                self.save(address, settings, saved).await
            }
            Action::Mail {
                user,
                host,
                port,
                folder,
                days,
                encryption,
                saved,
            } => {
                let settings = json!({
                    "kind": "imap", "host": host, "port": port, "user": user, "folder": folder, "days": days, "encryption": encryption
                });
                self.save(user, settings, saved).await
            }
            Action::Sync { source } => {
                let id = self.find(source).await?;
                self.sync(&id).await
            }
            Action::Items { source, verdict } => self.items(source, verdict.as_deref()).await,
            Action::Remove {
                source,
                documents,
                yes,
            } => self.remove(source, *documents, *yes).await,
        }
    }

    /// Returns the id of a source by name or id.
    async fn find(&self, wanted: &str) -> Result<String> {
        let all = self.client.all(&self.path).await?;
        let found = all
            .iter()
            .find(|source| word(source, "id") == wanted || word(source, "name") == wanted);
        found
            .map(|source| word(source, "id").to_owned())
            .ok_or_else(|| {
                Error::not_found(
                    "source_not_found",
                    format!(
                        "the dataset has no source {wanted:?}; `cairn sources list` shows them"
                    ),
                )
            })
    }

    async fn save(&self, name: &str, settings: Value, saved: &Saved) -> Result<Done> {
        let name = saved.name.as_deref().unwrap_or(name);
        let secret = std::env::var("CAIRN_SOURCE_SECRET").ok();
        let body = json!({"name": name, "settings": settings, "secret": secret});
        let source = Client::send(self.client.put(&self.path).json(&body)).await?;
        let id = word(&source, "id").to_owned();
        if let Some(when) = &saved.schedule {
            let (name, cron) = schedule(when);
            let body = json!({"schedule": name, "cron": cron});
            let path = format!("{}/{id}/schedule", self.path);
            Client::send(self.client.put(&path).json(&body)).await?;
        }
        if saved.no_sync {
            if self.global.json {
                println!("{source}");
            } else {
                println!("Source {name} is saved.");
            }
            return Ok(Done::All);
        }
        self.sync(&id).await
    }

    async fn sync(&self, id: &str) -> Result<Done> {
        let path = format!("{}/{id}/syncs", self.path);
        let mut sync = Client::send(self.client.post(&path)).await?;
        let bar = output::bar(0, self.global.json, "{spinner} {pos} items {msg} {elapsed}");
        let count = |sync: &Value, name: &str| sync[name].as_u64().unwrap_or(0);
        let outcomes = [
            "itemsNew",
            "itemsChanged",
            "itemsUnchanged",
            "itemsSkipped",
            "itemsFailed",
        ];
        while matches!(word(&sync, "status"), "queued" | "running") {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let path = format!("{path}/{}", word(&sync, "id"));
            sync = Client::send(self.client.get(&path)).await?;
            bar.set_position(outcomes.iter().map(|name| count(&sync, name)).sum());
        }
        bar.finish_and_clear();
        let failed = self.wait(id, &sync).await?;
        if self.global.json {
            println!("{}", json!({"sync": sync, "notParsed": failed}));
        } else {
            for document in &failed {
                println!(
                    "failed   {}: {}",
                    word(document, "fileName"),
                    word(document, "errorMessage")
                );
            }
            println!(
                "{} new, {} changed, {} unchanged, {} skipped, {} failed, {} removed; {:.1} MB read",
                count(&sync, "itemsNew"),
                count(&sync, "itemsChanged"),
                count(&sync, "itemsUnchanged"),
                count(&sync, "itemsSkipped"),
                count(&sync, "itemsFailed"),
                count(&sync, "itemsRemoved"),
                count(&sync, "bytesReceived") as f64 / 1e6
            );
        }
        if word(&sync, "status") != "completed" {
            let message = sync["errorMessage"].as_str().unwrap_or("the sync failed");
            return Err(Error::unprocessable("sync_failed", message));
        }
        let is_whole = failed.is_empty() && count(&sync, "itemsFailed") == 0;
        Ok(if is_whole { Done::All } else { Done::Part })
    }

    /// Waits for the documents that a sync has added or changed; returns those that could not be ingested.
    async fn wait(&self, id: &str, sync: &Value) -> Result<Vec<Value>> {
        let mut ids = HashSet::new();
        for verdict in ["new", "changed"] {
            let path = format!("{}/{id}/items", self.path);
            for item in self.client.all_with(&path, &[("verdict", verdict)]).await? {
                if item["syncId"] == sync["id"] {
                    ids.insert(word(&item, "documentId").to_owned());
                }
            }
        }
        let dataset = self.path.trim_end_matches("/sources");
        let documents = format!("{dataset}/documents");
        let mut finished = follow(self.client, &documents, &ids, self.global.json).await?;
        finished.retain(|document| word(document, "status") == "error");
        Ok(finished)
    }

    async fn items(&self, source: &str, verdict: Option<&str>) -> Result<Done> {
        let path = format!("{}/{}/items", self.path, self.find(source).await?);
        let only: Vec<(&str, &str)> = verdict.map(|v| ("verdict", v)).into_iter().collect();
        let items = self.client.all_with(&path, &only).await?;
        if self.global.json {
            println!("{}", serde_json::to_string(&items)?);
            return Ok(Done::All);
        }
        let cells = ["key", "verdict", "changedOn", "reason"];
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|item| cells.map(|cell| word(item, cell).to_owned()).to_vec())
            .collect();
        println!(
            "{}",
            output::table(&["item", "verdict", "read", "reason"], &rows)
        );
        Ok(Done::All)
    }

    async fn remove(&self, source: &str, documents: bool, yes: bool) -> Result<Done> {
        let id = self.find(source).await?;
        let what = if documents { " with its documents" } else { "" };
        output::confirm(&format!("Remove the source {source}{what}?"), yes)?;
        let path = format!("{}/{id}?documents={documents}", self.path);
        let removed = Client::send(self.client.delete(&path)).await?;
        if self.global.json {
            println!("{removed}");
        } else {
            println!(
                "The source {source} is removed, and {} documents.",
                removed["documentsRemoved"]
            );
        }
        Ok(Done::All)
    }
}
