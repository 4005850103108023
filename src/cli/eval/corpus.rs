//! Import of a collection of documents and labelled queries.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::super::{Global, ingest};
use super::EvalArgs;
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::{self, ChunkSettings, NewDataset};
use crate::kb::documents::DocumentStatus;
use crate::kb::documents::{self, NewDocument, UploadPolicy};
use crate::kb::{Dataset, Document};
use crate::search::measure::Judgements;

#[derive(Deserialize)]
pub(super) struct CorpusLine {
    _id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
pub(super) struct QueryLine {
    _id: String,
    text: String,
}

/// Opens `name.jsonl` or `name.jsonl.gz`.
pub(super) fn lines(dir: &Path, name: &str) -> Result<impl Iterator<Item = Result<String>>> {
    let (plain, zipped) = (
        dir.join(format!("{name}.jsonl")),
        dir.join(format!("{name}.jsonl.gz")),
    );
    let reader: Box<dyn Read> = if plain.is_file() {
        Box::new(std::fs::File::open(&plain)?)
    } else if zipped.is_file() {
        Box::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(
            &zipped,
        )?))
    } else {
        return Err(Error::invalid(
            "collection_incomplete",
            format!(
                "neither {} nor {} exists",
                plain.display(),
                zipped.display()
            ),
        ));
    };
    Ok(BufReader::new(reader)
        .lines()
        .map(|l| l.map_err(Error::from)))
}

pub(super) fn malformed(what: &str) -> impl Fn(serde_json::Error) -> Error + '_ {
    move |e| Error::invalid("collection_malformed", format!("{what}: {e}"))
}

/// Returns the queries that have judgements, with these.
pub(super) fn read_queries(args: &EvalArgs) -> Result<Vec<(String, String, Judgements)>> {
    let path = args.dir.join("qrels/test.tsv");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| {
            Error::invalid(
                "collection_incomplete",
                format!(
                    "{} cannot be read ({e}): a collection in BEIR layout has corpus.jsonl, queries.jsonl and qrels/test.tsv",
                    path.display()
                ),
            )
        })?;
    let mut judged: HashMap<String, Judgements> = HashMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        // The grade of the header line is not a number.
        if let [query, document, grade] = cells[..]
            && let Ok(grade) = grade.trim().parse()
        {
            judged
                .entry(query.to_owned())
                .or_default()
                .insert(document.to_owned(), grade);
        }
    }
    let mut queries = Vec::new();
    for line in lines(&args.dir, "queries")? {
        let query: QueryLine = serde_json::from_str(&line?).map_err(malformed("queries"))?;
        if let Some(judgements) = judged.remove(&query._id) {
            queries.push((query._id, query.text, judgements));
        }
    }
    queries.truncate(args.queries.unwrap_or(usize::MAX));
    if queries.is_empty() {
        Err(Error::invalid(
            "collection_incomplete",
            "no query has relevance judgements",
        ))
    } else {
        Ok(queries)
    }
}

/// Returns the dataset of the collection, with every document indexed.
pub(super) async fn load(
    app: &Arc<App>,
    caller: &Caller,
    global: &Global,
    args: &EvalArgs,
) -> Result<Dataset> {
    let path = std::fs::canonicalize(&args.dir)?;
    let tail: Vec<String> = path
        .components()
        .rev()
        .take(2)
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    let name = format!(
        "{} {} {} {}{}",
        tail.join(" in "),
        args.language,
        args.chunk_size,
        app.embedder().await?.spec().model,
        if args.no_titles {
            " without titles"
        } else {
            ""
        }
    );
    let dataset = match datasets::by_name(app, caller, &name).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let chunk_settings = ChunkSettings {
                chunk_size: Some(args.chunk_size),
                chunk_overlap: Some(0),
                parse_type: Some("NAIVE".to_owned()),
                parser_engine: None,
            };
            datasets::create(
                app,
                caller,
                NewDataset {
                    name,
                    language: Some(args.language.clone()),
                    chunk_settings,
                    ..NewDataset::default()
                },
            )
            .await?
        }
        found => found?,
    };
    let mut known: HashMap<String, Document> = ingest::existing(app, caller, &dataset.id).await?;
    let (mut waiting, mut batch) = (Vec::new(), Vec::new());
    for line in lines(&args.dir, "corpus")? {
        let document: CorpusLine = serde_json::from_str(&line?).map_err(malformed("corpus"))?;
        if let Some(known) = known.remove(&document._id) {
            waiting.push(known.id);
            continue;
        }
        // A document that has only a title uses it as its text.
        let (title, text) = if args.no_titles {
            (Some(String::new()), document.text)
        } else if document.text.trim().is_empty() {
            (None, document.title)
        } else {
            (Some(document.title), document.text)
        };
        if text.trim().is_empty() {
            continue;
        }
        let stored = app
            .blobs
            .put_bytes(&app.db, caller.tenant(), text.into_bytes())
            .await?;
        batch.push(NewDocument {
            title,
            ..NewDocument::new(document._id, "text/plain", stored)
        });
        if batch.len() == 200 {
            waiting.extend(added(app, caller, &dataset.id, std::mem::take(&mut batch)).await?);
        }
    }
    waiting.extend(added(app, caller, &dataset.id, batch).await?);
    let finished = ingest::wait(app, caller, &dataset.id, &waiting, global.json).await?;
    if let Some(failed) = finished.iter().find(|d| d.status == DocumentStatus::Error) {
        return Err(Error::unprocessable(
            "eval_failed",
            format!(
                "{}: {}",
                failed.file_name,
                failed.error_message.as_deref().unwrap_or("no reason given")
            ),
        ));
    }
    datasets::get(app, caller, &dataset.id).await
}

pub(super) async fn added(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    batch: Vec<NewDocument>,
) -> Result<Vec<String>> {
    let met = documents::add(app, caller, dataset_id, batch, UploadPolicy::default()).await?;
    Ok(met.into_iter().map(|m| m.document.id).collect())
}
