//! `cairn ingest`: ingests files and folders into a dataset of a data directory or a server. Unchanged files are skipped, changed ones replaced.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_ingest::{Input, parse};
use clap::Args;
use futures::StreamExt;
use reqwest::multipart::Part;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{Done, Global, Remote, output};
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::background;
use crate::blobs::Stored;
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::{self, ChunkSettings, NewDataset};
use crate::kb::documents::{self, NewDocument, UploadPolicy};
use crate::kb::{Dataset, Document};
use crate::page::Page;
use crate::search::alpha;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn ingest report.pdf notes/ --dataset work
  cairn ingest docs/ --dataset docs --language de --chunk-size 400
  cairn ingest docs/ --dataset docs --url http://127.0.0.1:7700 --key cairn_…
  pandoc thesis.tex -t markdown | cairn ingest - --name thesis.md --dataset work

Folders are read recursively; ignore files are respected and unsupported file types are skipped. The dataset is created if it does not exist.
A file with an existing name replaces the old version once it is fully indexed. Files in one call that share a name are stored under their full paths. Files inside archives and emails count as files.
Exit code 3: some files could not be ingested; each is listed with the reason.")]
pub(super) struct IngestArgs {
    /// Files and folders to ingest; - for standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Name of the file that is read from standard input, with its extension
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Dataset name or ID
    #[arg(short, long, value_name = "NAME")]
    dataset: String,
    /// Language for keyword analysis of a new dataset: two-letter code, none or auto
    #[arg(long, default_value = "auto", value_name = "CODE")]
    language: String,
    /// Chunk size of a new dataset in tokens, 128 to 2048
    #[arg(long, value_name = "N")]
    chunk_size: Option<i64>,
    /// Chunk overlap of a new dataset in tokens, 0 to 512
    #[arg(long, value_name = "N")]
    chunk_overlap: Option<i64>,
    /// Chunking of a new dataset
    #[arg(long, value_name = "KIND", value_parser = ["naive", "markdown", "manual"])]
    parse_type: Option<String>,
    /// Handling of a file whose content already exists under another name
    #[arg(long, default_value = "keep", value_name = "WHAT", value_parser = ["skip", "link", "replace", "keep"])]
    on_duplicate: String,
    /// File metadata as a JSON object, usable in search filters
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// A file to ingest, with its stored name.
struct Source {
    path: PathBuf,
    name: String,
    mime_type: String,
}

/// The outcome of a file.
struct Outcome {
    name: String,
    status: String,
    chunks: i64,
    reason: Option<String>,
}

pub(super) async fn run(global: &Global, args: IngestArgs) -> Result<Done> {
    let metadata: Value = match &args.metadata {
        None => json!({}),
        Some(text) => serde_json::from_str(text).map_err(|e| {
            Error::invalid(
                "metadata_invalid",
                format!("--metadata is not valid JSON: {e}"),
            )
        })?,
    };
    let meeting = UploadPolicy {
        on_duplicate: args.on_duplicate.parse()?,
        ..UploadPolicy::default()
    };
    let (config, _) = global.settings(&[])?;
    let mut paths = args.paths.clone();
    let input = match paths.iter().position(|path| path.as_os_str() == "-") {
        Some(at) => {
            let limit = config.upload_file_mb << 20;
            let input = standard_input(args.name.as_deref(), limit).await?;
            paths[at].clone_from(&input.path);
            Some(input)
        }
        None if args.name.is_some() => {
            return Err(Error::invalid(
                "name_invalid",
                "--name is the name of standard input: pass - as a path",
            ));
        }
        None => None,
    };
    let (sources, skipped) = collect(&paths, config.ocr)?;
    let began = Instant::now();
    let outcomes = match Client::find(global, &args.remote)? {
        Some(client) => over_http(global, &args, &client, sources, &metadata).await?,
        None => {
            let app = global.app().await?;
            app.embedder_with(output::downloads(global.json)).await?;
            let caller = app.local_caller(tenants::DEFAULT).await?;
            let dataset = find_or_create(&app, &caller, &args).await?;
            app.engine().await?;
            let stop = CancellationToken::new();
            let tasks = background::start(&app, true, &stop);
            let outcomes = direct(
                &app,
                &caller,
                &dataset,
                sources,
                &metadata,
                meeting,
                global.json,
            )
            .await;
            let suggestion = alpha::suggestion(&app, &dataset).await;
            stop.cancel();
            for task in tasks {
                task.await?;
            }
            app.db.close().await;
            if let Some(better) = suggestion?.filter(|_| !global.json) {
                eprintln!(
                    "{}. Build a generation of the dataset with it on the page of `cairn serve`, or set model = {:?} before ingesting.",
                    better.reason, better.model
                );
            }
            outcomes?
        }
    };
    drop(input);
    Ok(report(global, &outcomes, &skipped, began.elapsed()))
}

/// A file with the content of standard input.
struct StandardInput {
    path: PathBuf,
    /// The directory that contains it, removed when this is dropped.
    _directory: tempfile::TempDir,
}

/// Copies standard input into a file of the given name.
///
/// # Errors
/// `name_missing`, `name_invalid`, `file_too_large`.
async fn standard_input(name: Option<&str>, limit: u64) -> Result<StandardInput> {
    let name = name.ok_or_else(|| {
        Error::invalid(
            "name_missing",
            "standard input has no name: give one with --name, such as --name notes.md",
        )
    })?;
    if Path::new(name).file_name().and_then(|n| n.to_str()) != Some(name) {
        return Err(Error::invalid(
            "name_invalid",
            format!("--name {name:?} must be the name of a file, without a folder"),
        ));
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    let mut file = tokio::fs::File::create(&path).await?;
    let copied = tokio::io::copy(&mut tokio::io::stdin().take(limit + 1), &mut file).await?;
    file.flush().await?;
    if copied > limit {
        return Err(Error::too_large(
            "file_too_large",
            format!(
                "standard input has more than {} MB, the limit of a file (upload_file_mb)",
                limit >> 20
            ),
        ));
    }
    Ok(StandardInput {
        path,
        _directory: directory,
    })
}

/// Returns the files of the paths: named files must be readable, files in folders are included when their type is supported.
fn collect(paths: &[PathBuf], pictures: bool) -> Result<(Vec<Source>, Vec<String>)> {
    let (mut sources, mut skipped) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_file() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let mime_type = kind(path, &name, pictures)?.map_err(|e| {
                Error::invalid("unsupported_format", format!("{}: {e}", path.display()))
            })?;
            sources.push(Source {
                path: path.clone(),
                name,
                mime_type,
            });
            continue;
        }
        if !path.is_dir() {
            return Err(Error::invalid(
                "path_missing",
                format!("no such file or folder: {}", path.display()),
            ));
        }
        let mut walk: Vec<PathBuf> = ignore::WalkBuilder::new(path)
            .build()
            .filter_map(|e| Some(e.ok()?.into_path()))
            .filter(|p| p.is_file())
            .collect();
        walk.sort();
        for file in walk {
            let name = file
                .strip_prefix(path)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            match kind(&file, &name, pictures)? {
                Ok(mime_type) => sources.push(Source {
                    path: file,
                    name,
                    mime_type,
                }),
                Err(reason) => skipped.push(format!("{name}: {reason}")),
            }
        }
    }
    Ok((distinct(sources)?, skipped))
}

/// Returns each file once, with a unique name: files of the same name in different folders are named by their whole path, or one would replace the other as a
/// new version.
fn distinct(sources: Vec<Source>) -> Result<Vec<Source>> {
    let mut names: HashMap<String, HashSet<PathBuf>> = HashMap::new();
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for source in sources {
        let path = std::fs::canonicalize(&source.path)?;
        if seen.insert(path.clone()) {
            names
                .entry(source.name.clone())
                .or_default()
                .insert(path.clone());
            files.push((source, path));
        }
    }
    Ok(files
        .into_iter()
        .map(|(source, path)| {
            if names[&source.name].len() == 1 {
                return source;
            }
            let whole = path.to_string_lossy();
            Source {
                name: whole.trim_start_matches('/').to_owned(),
                ..source
            }
        })
        .collect())
}

fn kind(
    path: &Path,
    name: &str,
    pictures: bool,
) -> Result<std::result::Result<String, cairn_ingest::ParseError>> {
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(8192).read_to_end(&mut head))
        .map_err(|e| Error::invalid("path_unreadable", format!("{}: {e}", path.display())))?;
    let guess = mime_guess::from_path(path).first_raw();
    Ok(parse::detect(&Input {
        file_name: name,
        mime_type: guess,
        bytes: &head,
        ocr: pictures.then_some(""),
        ..Input::default()
    })
    .map(|f| f.mime_type(name).to_owned()))
}

async fn find_or_create(app: &Arc<App>, caller: &Caller, args: &IngestArgs) -> Result<Dataset> {
    match datasets::by_name(app, caller, &args.dataset).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let chunk_settings = ChunkSettings {
                chunk_size: args.chunk_size,
                chunk_overlap: args.chunk_overlap,
                parse_type: args.parse_type.as_ref().map(|t| t.to_uppercase()),
                parser_engine: None,
            };
            let new = NewDataset {
                name: args.dataset.clone(),
                language: Some(args.language.clone()),
                chunk_settings,
                ..NewDataset::default()
            };
            datasets::create(app, caller, new).await
        }
        found => found,
    }
}

/// Returns the documents of a dataset by name.
pub(super) async fn existing(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
) -> Result<HashMap<String, Document>> {
    let (mut all, mut cursor) = (HashMap::new(), None::<String>);
    loop {
        let found = documents::list(
            app,
            caller,
            dataset_id,
            &Page::read(Some(500), cursor.as_deref(), 500)?,
        )
        .await?;
        all.extend(found.items.into_iter().map(|d| (d.file_name.clone(), d)));
        match found.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// Adds stored files, returns the ids of those that are ingested now, and notes the outcomes of the others.
async fn add(
    app: &Arc<App>,
    caller: &Caller,
    dataset: &Dataset,
    new: Vec<NewDocument>,
    meeting: UploadPolicy,
    outcomes: &mut Vec<Outcome>,
) -> Result<Vec<String>> {
    let mut waiting = Vec::with_capacity(new.len());
    for met in documents::add(app, caller, &dataset.id, new, meeting).await? {
        if matches!(met.outcome, "created" | "replaced") {
            waiting.push(met.document.id);
        } else {
            outcomes.push(Outcome {
                name: met.document.file_name,
                status: met.outcome.to_owned(),
                chunks: met.document.chunks_count,
                reason: None,
            });
        }
    }
    Ok(waiting)
}

/// Stores the bytes of a file.
async fn store(app: Arc<App>, tenant_id: String, path: PathBuf) -> Result<Stored> {
    let file = tokio::fs::File::open(path).await?;
    let content =
        ReaderStream::with_capacity(file, 1 << 18).map(|piece| piece.map_err(Error::from));
    let limit = app.config.upload_file_mb << 20;
    app.blobs.put(&app.db, &tenant_id, content, limit).await
}

/// Number of files stored at the same time: each waits for the disk several times.
const STORED: usize = 8;

/// Number of files added in one transaction.
pub(super) const ADDED: usize = 16;

async fn direct(
    app: &Arc<App>,
    caller: &Caller,
    dataset: &Dataset,
    sources: Vec<Source>,
    metadata: &Value,
    meeting: UploadPolicy,
    json: bool,
) -> Result<Vec<Outcome>> {
    let (mut outcomes, mut waiting, mut new) = (Vec::new(), Vec::new(), Vec::new());
    let bar = output::bar(
        sources.len() as u64,
        json,
        "storing   {pos}/{len} {wide_bar} {msg}",
    );
    // Tasks of their own: a transaction that is not polled while this function waits for the next one would block it.
    let tenant = caller.tenant().to_owned();
    let mut files = futures::stream::iter(sources)
        .map(|source| {
            let stored = tokio::spawn(store(Arc::clone(app), tenant.clone(), source.path.clone()));
            async { (source, stored.await) }
        })
        .buffered(STORED);
    while let Some((source, stored)) = files.next().await {
        bar.set_message(source.name.clone());
        let stored = match stored? {
            Ok(stored) => stored,
            Err(error) if error.kind() == Kind::TooLarge => {
                outcomes.push(Outcome {
                    name: source.name,
                    status: "error".to_owned(),
                    chunks: 0,
                    reason: Some(error.to_string()),
                });
                continue;
            }
            Err(error) => return Err(error),
        };
        bar.inc(1);
        new.push(NewDocument {
            metadata: metadata.clone(),
            ..NewDocument::new(source.name, source.mime_type, stored)
        });
        if new.len() == ADDED {
            let added = std::mem::take(&mut new);
            waiting.extend(add(app, caller, dataset, added, meeting, &mut outcomes).await?);
        }
    }
    waiting.extend(add(app, caller, dataset, new, meeting, &mut outcomes).await?);
    bar.finish_and_clear();
    let finished = wait(app, caller, &dataset.id, &waiting, json).await?;
    for document in finished {
        outcomes.push(Outcome {
            name: document.file_name,
            status: document.status.to_string(),
            chunks: document.chunks_count,
            reason: document.error_message,
        });
    }
    Ok(outcomes)
}

/// Waits until documents, and the documents inside them, are indexed or have failed, with a progress bar.
pub(super) async fn wait(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
    json: bool,
) -> Result<Vec<Document>> {
    let bar = output::bar(
        100 * ids.len() as u64,
        json,
        "ingesting {percent}% {wide_bar} {msg}, {eta} left",
    );
    let mut commits_seen = app.commits.subscribe();
    loop {
        commits_seen.mark_unchanged();
        let began = Instant::now();
        let current = documents::with_parts(app, caller, dataset_id, ids).await?;
        bar.set_length(100 * current.len() as u64);
        let done = current.iter().filter(|d| d.status.is_final()).count();
        bar.set_position(
            current
                .iter()
                .map(|d| u64::try_from(d.progress()).unwrap_or(0))
                .sum(),
        );
        bar.set_message(format!(
            "{done}/{} files, {} chunks",
            current.len(),
            current.iter().map(|d| d.chunks_count).sum::<i64>()
        ));
        if done == current.len() {
            bar.finish_and_clear();
            return Ok(current);
        }
        // At most five polls per second, however often commits are signalled, and little time spent on polls of many documents.
        let pause = Duration::from_millis(200).max(20 * began.elapsed());
        tokio::time::sleep(pause).await;
        tokio::select! {
            _ = commits_seen.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn over_http(
    global: &Global,
    args: &IngestArgs,
    client: &Client,
    sources: Vec<Source>,
    metadata: &Value,
) -> Result<Vec<Outcome>> {
    let new = json!({
        "name": args.dataset, "language": args.language, "chunkSize": args.chunk_size, "chunkOverlap": args.chunk_overlap,
        "parseType": args.parse_type.as_ref().map(|t| t.to_uppercase())
    });
    let id = client.dataset_or_new(&args.dataset, &new).await?;
    let documents_path = format!("/kb/v1/datasets/{id}/documents");
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let stored: HashMap<String, String> = client
        .all(&documents_path)
        .await?
        .iter()
        .filter(|d| d["status"] != "error")
        .map(|d| (word(d, "fileName"), word(d, "sha256")))
        .collect();
    let (mut outcomes, mut waiting) = (Vec::new(), HashMap::new());
    let bar = output::bar(
        sources.len() as u64,
        global.json,
        "uploading {pos}/{len} {wide_bar} {msg}",
    );
    for source in sources {
        bar.set_message(source.name.clone());
        let (path, name) = (source.path.clone(), source.name.clone());
        let hash = tokio::task::spawn_blocking(move || cairn_models::hash_file(&path))
            .await?
            .map_err(|e| Error::invalid("path_unreadable", e.to_string()))?;
        bar.inc(1);
        if stored.get(&name) == Some(&hash) {
            outcomes.push(Outcome {
                name,
                status: "unchanged".to_owned(),
                chunks: 0,
                reason: None,
            });
            continue;
        }
        let file = tokio::fs::File::open(&source.path).await?;
        let length = file.metadata().await?.len();
        let body = reqwest::Body::wrap_stream(ReaderStream::new(file));
        let part = Part::stream_with_length(body, length).file_name(name.clone());
        let form = reqwest::multipart::Form::new()
            .text("metadata", metadata.to_string())
            .text("onDuplicate", args.on_duplicate.clone())
            .part("files", part);
        match Client::send(client.post(&documents_path).multipart(form)).await {
            Ok(answer) => {
                waiting.insert(word(&answer["uploadedFiles"][0], "id"), name);
            }
            Err(error) if error.code() == "server_refused" => {
                outcomes.push(Outcome {
                    name,
                    status: "error".to_owned(),
                    chunks: 0,
                    reason: Some(error.to_string()),
                });
            }
            Err(error) => return Err(error),
        }
    }
    bar.finish_and_clear();
    let ids = waiting.into_keys().collect();
    let finished = follow(client, &documents_path, &ids, global.json).await?;
    outcomes.extend(finished.iter().map(|d| Outcome {
        name: word(d, "fileName"),
        status: word(d, "status"),
        chunks: d["chunksCount"].as_i64().unwrap_or(0),
        reason: d["errorMessage"].as_str().map(ToOwned::to_owned),
    }));
    Ok(outcomes)
}

/// Waits at a server until documents are indexed or have failed, with a progress bar, and returns them. Documents that are deleted in the meantime are left out.
pub(super) async fn follow(
    client: &Client,
    documents_path: &str,
    ids: &HashSet<String>,
    json: bool,
) -> Result<Vec<Value>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let bar = output::bar(
        100 * ids.len() as u64,
        json,
        "ingesting {percent}% {wide_bar} {msg}, {eta} left",
    );
    loop {
        let began = Instant::now();
        let mut current = client.all(documents_path).await?;
        current.retain(|d| ids.contains(output::word(d, "id")));
        let is_over =
            |d: &&Value| matches!(output::word(d, "status"), "error" | "indexed" | "disabled");
        let done = current.iter().filter(is_over).count();
        bar.set_position(current.iter().filter_map(|d| d["progress"].as_u64()).sum());
        bar.set_message(format!("{done}/{} files", current.len()));
        if done == current.len() {
            bar.finish_and_clear();
            return Ok(current);
        }
        // Little time is spent on polls of many documents.
        tokio::time::sleep(Duration::from_millis(500).max(5 * began.elapsed())).await;
    }
}

fn report(global: &Global, outcomes: &[Outcome], skipped: &[String], elapsed: Duration) -> Done {
    let count = |status: &str| outcomes.iter().filter(|o| o.status == status).count();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.status == "error").collect();
    if global.json {
        let files: Vec<Value> = outcomes.iter().map(|o| json!({"fileName": o.name, "status": o.status, "chunksCount": o.chunks, "errorMessage": o.reason})).collect();
        println!(
            "{}",
            json!({"files": files, "skipped": skipped, "seconds": elapsed.as_secs_f64()})
        );
    } else {
        for outcome in &failed {
            println!(
                "failed   {}: {}",
                outcome.name,
                outcome.reason.as_deref().unwrap_or("no reason given")
            );
        }
        for skipped in skipped {
            println!("skipped  {skipped}");
        }
        let chunks: i64 = outcomes.iter().map(|o| o.chunks).sum();
        println!(
            "{} indexed, {} unchanged, {} failed, {} skipped; {chunks} chunks in {:.1} s",
            count("indexed"),
            count("unchanged"),
            failed.len(),
            skipped.len(),
            elapsed.as_secs_f64()
        );
    }
    if failed.is_empty() {
        Done::All
    } else {
        Done::Part
    }
}
