//! `cairn import --from`: adds the documents of another system's export to a dataset. What is there already is left alone, so that an interrupted import continues where it was.

use std::collections::HashMap;
use std::path::PathBuf;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::client::{Client, Connection, Needs};
use super::ingest::follow;
use super::output::{self, word};
use super::{Done, Global, Remote};
use crate::error::{Error, Result};
use crate::importers::{self, Content, Imported, Report, System};

/// Options of an import.
#[derive(Debug)]
pub(super) struct Import {
    pub system: System,
    pub files: Vec<PathBuf>,
    /// Name or id of the dataset; created when missing.
    pub dataset: Option<String>,
    /// Whether to read the export only.
    pub dry_run: bool,
    /// Model that computed the vectors in the export.
    pub vector_model: Option<String>,
    pub remote: Remote,
}

/// Delimiter of passages in new datasets: a line that no text has.
const DELIMITER: &str = "\n\u{241e}\n";
/// Maximum number of files of an upload, as the server has it unless configured otherwise.
const FILES: usize = 20;
/// Bytes of the files of an upload, unless a single file has more.
const BYTES: usize = 32 << 20;
/// Bytes of a request with vectors from which it is sent; the body of a request is limited to 1 MiB.
const VECTOR_BYTES: usize = 600 << 10;
/// Bytes of a number in JSON, about.
const NUMBER_BYTES: usize = 13;
/// Documents read ahead; each may be a large file.
const AHEAD: usize = 2;

pub(super) async fn run(global: &Global, import: Import) -> Result<Done> {
    if import.dry_run {
        let (system, files) = (import.system, import.files.clone());
        let read = move || importers::read(system, &files, &mut |_| Ok(()));
        let report = tokio::task::spawn_blocking(read).await??;
        if global.json {
            println!("{}", json!({"dryRun": true, "report": report}));
        } else {
            print(&report);
            println!("nothing was imported (--dry-run)");
        }
        return Ok(Done::All);
    }
    let name = import.dataset.clone().ok_or_else(|| {
        Error::invalid(
            "dataset_missing",
            "name the dataset that the documents belong into with --dataset",
        )
    })?;
    Connection::with(global, &import.remote, Needs::Workers, async |client| {
        let new = json!({"name": name, "language": "auto", "delimiter": DELIMITER});
        let id = client.dataset_or_new(&name, &new).await?;
        let uploader = Uploader::new(global, client, &id, import.vector_model.as_deref()).await?;
        uploader.run(&import).await
    })
    .await
}

/// A document that is ready to be uploaded.
struct Ready {
    imported: Imported,
    bytes: Vec<u8>,
    is_passages: bool,
    /// Title under which its vectors are stored.
    title: String,
}

/// Adds documents to a dataset.
struct Uploader<'c> {
    global: &'c Global,
    client: &'c Client,
    /// Path of the dataset.
    path: String,
    /// Delimiter of its passages.
    delimiter: String,
    /// Model of the vectors in the export, which is the dataset's.
    vector_model: Option<String>,
    /// Documents that are there, by external id.
    there: HashMap<String, Value>,
}

/// Counts and ids of the documents of an import.
#[derive(Default)]
struct Outcome {
    unchanged: usize,
    /// Ids of documents that are ingested now.
    waiting: Vec<String>,
    /// Ids of documents that are not to be found.
    disabled: Vec<String>,
    vectors: u64,
}

impl<'c> Uploader<'c> {
    async fn new(
        global: &'c Global,
        client: &'c Client,
        id: &str,
        vector_model: Option<&str>,
    ) -> Result<Self> {
        let detail = format!("/dashboard/v1/knowledge-base/datasets/{id}");
        let detail = Client::send(client.get(&detail)).await?;
        let own = word(&detail, "embeddingModel");
        if let Some(model) = vector_model.filter(|model| *model != own) {
            return Err(Error::unprocessable(
                "model_mismatch",
                format!(
                    "the vectors are of {model}, but the dataset uses {own}; import without --vector-model, or into a dataset with that model"
                ),
            ));
        }
        let path = format!("/kb/v1/datasets/{id}");
        let mut there = HashMap::new();
        for document in client.all(&format!("{path}/documents")).await? {
            if let Some(id) = document["externalId"].as_str() {
                there.insert(id.to_owned(), document);
            }
        }
        Ok(Self {
            global,
            client,
            path,
            delimiter: word(&detail, "delimiter").to_owned(),
            vector_model: vector_model.map(str::to_owned),
            there,
        })
    }

    async fn run(&self, import: &Import) -> Result<Done> {
        let (sender, mut incoming) = mpsc::channel(AHEAD);
        let (system, files) = (import.system, import.files.clone());
        let reader = tokio::task::spawn_blocking(move || {
            importers::read(system, &files, &mut |imported| {
                let sent = sender.blocking_send(imported);
                sent.map_err(|_| Error::internal("the import has ended"))
            })
        });
        let bar = output::bar(0, self.global.json, "{spinner} {pos} documents read, {msg}");
        let mut outcome = Outcome::default();
        let mut batch: Vec<Ready> = Vec::new();
        let mut size = 0;
        let sent = async {
            while let Some(imported) = incoming.recv().await {
                bar.inc(1);
                let ready = self.ready(imported);
                if self.is_there(&ready) {
                    outcome.unchanged += 1;
                    continue;
                }
                let is_other = batch
                    .first()
                    .is_some_and(|b| b.is_passages != ready.is_passages);
                let is_full = size > 0 && size + ready.bytes.len() > BYTES;
                if is_other || batch.len() == FILES || is_full {
                    self.send(std::mem::take(&mut batch), &mut outcome).await?;
                    size = 0;
                }
                size += ready.bytes.len();
                batch.push(ready);
                bar.set_message(format!("{} uploaded", outcome.waiting.len()));
            }
            self.send(batch, &mut outcome).await
        };
        let sent = sent.await;
        // The reader ends when nobody takes its documents.
        drop(incoming);
        let report = match (reader.await?, sent) {
            (_, Err(error)) => return Err(error),
            (report, Ok(())) => report?,
        };
        bar.finish_and_clear();
        self.finish(&report, outcome).await
    }

    fn ready(&self, mut imported: Imported) -> Ready {
        let (bytes, is_passages) = match &mut imported.content {
            Content::Passages(passages) => {
                let texts: Vec<&str> = passages.iter().map(|passage| passage.text.trim()).collect();
                (texts.join(&self.delimiter).into_bytes(), true)
            }
            Content::File(bytes) => (std::mem::take(bytes), false),
        };
        // The title that ingestion takes for a file without one.
        let title = imported.title.clone().unwrap_or_else(|| {
            let stem = imported.name.rsplit('/').next().unwrap_or_default();
            let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
            stem.to_owned()
        });
        Ready {
            imported,
            bytes,
            is_passages,
            title,
        }
    }

    /// Returns whether the dataset has a document as it is.
    fn is_there(&self, ready: &Ready) -> bool {
        let Some(there) = self.there.get(&ready.imported.id) else {
            return false;
        };
        let imported = &ready.imported;
        let is_kept = |name: &str, value: &Option<String>| {
            value
                .as_ref()
                .is_none_or(|value| there[name] == json!(value))
        };
        there["status"] != "error"
            && word(there, "fileName") == imported.name
            && word(there, "sha256") == hex::encode(Sha256::digest(&ready.bytes))
            && (imported.metadata.is_empty() || there["metadata"] == json!(imported.metadata))
            && is_kept("title", &imported.title)
            && is_kept("url", &imported.url)
            && there["enabled"] == imported.enabled
    }

    /// Uploads documents, after the vectors of their passages.
    async fn send(&self, batch: Vec<Ready>, outcome: &mut Outcome) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        outcome.vectors += self.send_vectors(&batch).await?;
        let texts = |of: &dyn Fn(&Imported) -> Option<String>| {
            let texts: Vec<Option<String>> =
                batch.iter().map(|ready| of(&ready.imported)).collect();
            json!(texts).to_string()
        };
        let metadata: Vec<&serde_json::Map<String, Value>> =
            batch.iter().map(|ready| &ready.imported.metadata).collect();
        let mut form = Form::new()
            .text("metadata", json!(metadata).to_string())
            .text("externalIds", texts(&|i| Some(i.id.clone())))
            .text("titles", texts(&|i| i.title.clone()))
            .text("urls", texts(&|i| i.url.clone()));
        if batch[0].is_passages {
            form = form.text("parseType", "MANUAL");
        }
        let enabled: Vec<bool> = batch.iter().map(|ready| ready.imported.enabled).collect();
        for ready in batch {
            let part = Part::bytes(ready.bytes).file_name(ready.imported.name);
            form = form.part("files", part);
        }
        let path = format!("{}/documents", self.path);
        let answer = Client::send(self.client.post(&path).multipart(form)).await?;
        let files = answer["uploadedFiles"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for (file, enabled) in files.iter().zip(enabled) {
            let id = word(file, "id").to_owned();
            if !enabled {
                outcome.disabled.push(id.clone());
            }
            if word(file, "outcome") == "unchanged" {
                outcome.unchanged += 1;
            } else {
                outcome.waiting.push(id);
            }
        }
        Ok(())
    }

    /// Stores the vectors of passages; returns their number.
    async fn send_vectors(&self, batch: &[Ready]) -> Result<u64> {
        let Some(model) = &self.vector_model else {
            return Ok(0);
        };
        let (mut stored, mut size, mut vectors) = (0, 0, Vec::new());
        let mut requests = Vec::new();
        for ready in batch {
            let Content::Passages(passages) = &ready.imported.content else {
                continue;
            };
            for passage in passages {
                let Some(vector) = &passage.vector else {
                    continue;
                };
                size += NUMBER_BYTES * vector.len() + 2 * passage.text.len() + ready.title.len();
                vectors.push(
                    json!({"title": ready.title, "text": passage.text.trim(), "vector": vector}),
                );
                if size > VECTOR_BYTES {
                    requests.push(std::mem::take(&mut vectors));
                    size = 0;
                }
            }
        }
        requests.push(vectors);
        for vectors in requests {
            if vectors.is_empty() {
                continue;
            }
            let request = self.client.put(&format!("{}/vectors", self.path));
            let body = json!({"model": model, "vectors": vectors});
            let answer = Client::send(request.json(&body)).await?;
            stored += answer["stored"].as_u64().unwrap_or(0);
        }
        Ok(stored)
    }

    /// Waits for the documents and reports.
    async fn finish(&self, report: &Report, outcome: Outcome) -> Result<Done> {
        for id in &outcome.disabled {
            let change = self.client.patch(&format!("{}/documents/{id}", self.path));
            Client::send(change.json(&json!({"enabled": false}))).await?;
        }
        let path = format!("{}/documents", self.path);
        let waiting = outcome.waiting.iter().cloned().collect();
        let finished = follow(self.client, &path, &waiting, self.global.json).await?;
        let failed: Vec<&Value> = finished
            .iter()
            .filter(|d| word(d, "status") == "error")
            .collect();
        let chunks: u64 = finished
            .iter()
            .filter_map(|d| d["chunksCount"].as_u64())
            .sum();
        if self.global.json {
            let failed: Vec<Value> = failed
                .iter()
                .map(|d| json!({"fileName": d["fileName"], "errorMessage": d["errorMessage"]}))
                .collect();
            println!(
                "{}",
                json!({"report": report, "imported": finished.len(), "unchanged": outcome.unchanged, "chunks": chunks, "vectors": outcome.vectors, "failed": failed})
            );
        } else {
            print(report);
            for document in &failed {
                println!(
                    "failed   {}: {}",
                    word(document, "fileName"),
                    word(document, "errorMessage")
                );
            }
            let given: usize = report.vectors.values().sum();
            if given > 0 && self.vector_model.is_none() {
                println!(
                    "{given} vectors were not used: name their model with --vector-model, if it is the dataset's"
                );
            }
            println!(
                "{} documents imported, {} unchanged, {} failed; {chunks} chunks, {} vectors taken over",
                finished.len() - failed.len(),
                outcome.unchanged,
                failed.len(),
                outcome.vectors
            );
        }
        Ok(if failed.is_empty() {
            Done::All
        } else {
            Done::Part
        })
    }
}

/// Prints what was read, what its fields become, and what is left out.
fn print(report: &Report) {
    println!(
        "{} documents, {} passages",
        report.documents, report.passages
    );
    for (dimensions, count) in &report.vectors {
        println!("{count} vectors of {dimensions} dimensions");
    }
    let rows = |rows: Vec<Vec<String>>, header: &[&str]| {
        if !rows.is_empty() {
            println!("\n{}", output::table(header, &rows));
        }
    };
    let mapped = report.mapped.iter();
    rows(
        mapped
            .map(|(field, (target, count))| vec![field.clone(), target.clone(), count.to_string()])
            .collect(),
        &["field", "becomes", "records"],
    );
    let unmapped = report.unmapped.iter();
    rows(
        unmapped
            .map(|(field, count)| vec![field.clone(), count.to_string()])
            .collect(),
        &["not imported", "records"],
    );
    let skipped = report.skipped.iter();
    rows(
        skipped
            .map(|(reason, (count, example))| {
                vec![reason.clone(), count.to_string(), example.clone()]
            })
            .collect(),
        &["left out because it", "times", "for example"],
    );
    println!();
}
