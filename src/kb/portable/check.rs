//! Validates a file as a whole before anything of it is written: its entries have to be consistent with each other and with this installation.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use cairn_models::{Calibration, EmbedderSpec};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zip::ZipArchive;

use super::{FORMAT, Manifest};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::kb::edits::{self, Edit};
use crate::kb::embeddings;
use crate::kb::{Chunk, Document};

/// Maximum length of a line in bytes.
const LINE: u64 = 64 << 20;
/// Maximum size of a blob in bytes.
const BLOB: u64 = 4 << 30;
/// Bytes before each vector: the hash of its text.
pub(super) const HASH: usize = 32;
/// Maximum deviation of the length of a vector from 1.
const UNIT: f32 = 0.01;

/// A file opened for reading; used off the async threads.
pub(super) struct Source(ZipArchive<BufReader<File>>);

/// A validated file.
pub(super) struct Checked {
    pub source: Source,
    pub manifest: Manifest,
    pub documents: Vec<Document>,
    pub chunk_ids: Vec<String>,
    pub edits: Vec<(String, Edit)>,
}

pub(super) fn unreadable(cause: &dyn std::fmt::Display) -> Error {
    Error::invalid(
        "import_unreadable",
        format!("the file is not a dataset export: {cause}"),
    )
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|e| Error::invalid("path_unreadable", format!("{}: {e}", path.display())))?;
        ZipArchive::new(BufReader::new(file))
            .map(Self)
            .map_err(|e| unreadable(&e))
    }

    pub(super) fn entry(&mut self, name: &str) -> Result<impl Read + '_> {
        self.0
            .by_name(name)
            .map_err(|e| unreadable(&format!("{name}: {e}")))
    }

    /// Calls a function with each row of an entry.
    pub(super) fn rows<T: DeserializeOwned>(
        &mut self,
        name: &str,
        mut row: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut entry = BufReader::new(self.entry(name)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut entry)
                .take(LINE)
                .read_until(b'\n', &mut line)
                .map_err(|e| unreadable(&format!("{name}: {e}")))?;
            if length == 0 {
                return Ok(());
            }
            if length as u64 == LINE {
                return Err(unreadable(&format!("{name} has an incomplete line")));
            }
            row(serde_json::from_slice(&line).map_err(|e| unreadable(&format!("{name}: {e}")))?)?;
        }
    }

    /// Returns the bytes of a blob, verified against its hash.
    pub(super) fn blob(&mut self, hash: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy_blob(hash, &mut bytes)?;
        Ok(bytes)
    }

    fn copy_blob(&mut self, hash: &str, to: &mut impl io::Write) -> Result<()> {
        let mut hasher = Sha256::new();
        let mut entry = self.entry(&format!("blobs/{hash}"))?.take(BLOB);
        let mut piece = vec![0; 1 << 16];
        loop {
            let length = entry.read(&mut piece).map_err(|e| unreadable(&e))?;
            if length == 0 {
                break;
            }
            hasher.update(&piece[..length]);
            to.write_all(&piece[..length])?;
        }
        if hex::encode(hasher.finalize()) == hash {
            Ok(())
        } else {
            Err(unreadable(&format!("the bytes of {hash} are damaged")))
        }
    }
}

/// Opens a file and validates it for an installation with this model.
pub(super) fn check(path: &Path, spec: &EmbedderSpec) -> Result<Checked> {
    let mut source = Source::open(path)?;
    let mut manifest: Option<Manifest> = None;
    source.rows("manifest.json", |row| {
        manifest = Some(row);
        Ok(())
    })?;
    let manifest = manifest.ok_or_else(|| unreadable(&"it has no manifest"))?;
    if manifest.format != FORMAT {
        return Err(Error::invalid(
            "import_format_unknown",
            format!(
                "the file has format {}, but this version reads {FORMAT}",
                manifest.format
            ),
        ));
    }
    if spec.model != manifest.embedding_model {
        return Err(Error::unprocessable(
            "model_mismatch",
            format!(
                "the file has vectors of the model {}, but this installation runs {}",
                manifest.embedding_model, spec.model
            ),
        ));
    }
    if i64::try_from(spec.dimensions).ok() != Some(manifest.vector_size) {
        return Err(unreadable(&format!(
            "its vectors have {} dimensions, those of the model {}",
            manifest.vector_size, spec.dimensions
        )));
    }
    let valid = |c: &Calibration| (c.high - c.low).is_finite() && c.high > c.low;
    if !manifest.calibration.as_ref().is_none_or(valid) {
        return Err(unreadable(&"its calibration is not a range"));
    }
    let documents = documents(&mut source)?;
    let (chunk_ids, spans) = chunks(&mut source, &documents)?;
    let edits = edits(&mut source, &documents)?;
    let mut counts = [
        ("documents", manifest.documents, documents.len()),
        ("chunks", manifest.chunks, chunk_ids.len()),
    ]
    .into_iter();
    if let Some((what, told, found)) = counts.find(|(_, told, found)| told != found) {
        return Err(unreadable(&format!(
            "it has {found} {what} instead of {told}"
        )));
    }
    blobs(&mut source, &documents, &spans)?;
    embeddings(&mut source, &manifest, spec.dimensions)?;
    Ok(Checked {
        source,
        manifest,
        documents,
        chunk_ids,
        edits,
    })
}

fn is_hash(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn documents(source: &mut Source) -> Result<Vec<Document>> {
    let (mut documents, mut ids) = (Vec::<Document>::new(), HashSet::new());
    source.rows("documents.jsonl", |document: Document| {
        let wrong = |what: &str| Err(unreadable(&format!("document {}: {what}", document.id)));
        if !Clock::is_id(&document.id) || !ids.insert(document.id.clone()) {
            return wrong("its id is invalid or a duplicate");
        }
        if !is_hash(&document.blob_hash)
            || document.text_hash.as_deref().is_some_and(|h| !is_hash(h))
        {
            return wrong("its hashes are invalid");
        }
        if document.metadata().ok().is_none_or(|m| !m.is_object())
            || serde_json::from_str::<Vec<String>>(&document.warnings).is_err()
            || serde_json::from_str::<Vec<String>>(&document.aliases).is_err()
        {
            return wrong("its metadata, warnings or aliases are damaged");
        }
        documents.push(document);
        Ok(())
    })?;
    match documents
        .iter()
        .find(|d| d.parent_id.as_ref().is_some_and(|p| !ids.contains(p)))
    {
        Some(document) => Err(unreadable(&format!(
            "the parent of document {} is missing",
            document.id
        ))),
        None => Ok(documents),
    }
}

/// Span of a chunk in the text of its document, with the hash of its content.
type Span = (usize, usize, String);

/// Spans by the text that has to contain them.
type Spans = HashMap<String, Vec<Span>>;

/// Returns the ids of the chunks and, for each text, the spans that it has to contain.
fn chunks(source: &mut Source, documents: &[Document]) -> Result<(Vec<String>, Spans)> {
    let texts: HashMap<&str, Option<&String>> = documents
        .iter()
        .map(|d| (d.id.as_str(), d.text_hash.as_ref()))
        .collect();
    let (mut ids, mut seen) = (Vec::new(), HashSet::new());
    let mut spans = Spans::new();
    source.rows("chunks.jsonl", |chunk: Chunk| {
        let wrong = |what: &str| Err(unreadable(&format!("chunk {}: {what}", chunk.id)));
        let Ok(id) = chunk.id.parse::<Uuid>() else {
            return wrong("its id is invalid");
        };
        if !seen.insert(id) {
            return wrong("it is a duplicate");
        }
        let Some(text) = texts.get(chunk.document_id.as_str()) else {
            return wrong("its document is missing");
        };
        if !["parsed", "edited", "added"].contains(&chunk.origin.as_str())
            || serde_json::from_str::<Vec<String>>(&chunk.heading_path).is_err()
        {
            return wrong("its origin or headings are damaged");
        }
        if embeddings::text_hash(&chunk.context, &chunk.content) != chunk.text_hash {
            return wrong("its text has a different hash");
        }
        // A document without text is incomplete and is ingested again.
        if let Some(text) = text {
            let range = (
                usize::try_from(chunk.start_byte),
                usize::try_from(chunk.end_byte),
            );
            let (Ok(start), Ok(end)) = range else {
                return wrong("its range is invalid");
            };
            let content = if chunk.origin == "parsed" {
                edits::anchor(&chunk.content)
            } else {
                String::new()
            };
            spans
                .entry((*text).clone())
                .or_default()
                .push((start, end, content));
        }
        ids.push(chunk.id);
        Ok(())
    })?;
    Ok((ids, spans))
}

fn edits(source: &mut Source, documents: &[Document]) -> Result<Vec<(String, Edit)>> {
    let known: HashSet<&str> = documents.iter().map(|d| d.id.as_str()).collect();
    let (mut edits, mut ids) = (Vec::<(String, Edit)>::new(), HashSet::new());
    source.rows("edits.jsonl", |(document, edit): (String, Edit)| {
        if !known.contains(document.as_str())
            || !Clock::is_id(&edit.id)
            || !ids.insert(edit.id.clone())
        {
            return Err(unreadable(&format!(
                "edit {} is a duplicate or its document is missing",
                edit.id
            )));
        }
        edits.push((document, edit));
        Ok(())
    })?;
    Ok(edits)
}

/// Reads every blob and verifies that its bytes have its hash and that every chunk is a span of its text.
fn blobs(
    source: &mut Source,
    documents: &[Document],
    spans: &HashMap<String, Vec<Span>>,
) -> Result<()> {
    let mut kinds: BTreeMap<&str, bool> = BTreeMap::new();
    for document in documents {
        kinds.entry(&document.blob_hash).or_default();
        if let Some(hash) = &document.text_hash {
            kinds.insert(hash, true);
        }
    }
    for (hash, is_text) in kinds {
        if !is_text {
            source.copy_blob(hash, &mut io::sink())?;
            continue;
        }
        let text = String::from_utf8(source.blob(hash)?)
            .map_err(|e| unreadable(&format!("the text {hash} is damaged: {e}")))?;
        for (start, end, content) in spans.get(hash).into_iter().flatten() {
            let found = text.get(*start..*end);
            if !found.is_some_and(|f| content.is_empty() || edits::anchor(f) == *content) {
                return Err(unreadable(&format!(
                    "a chunk does not match {start} to {end} of the text {hash}"
                )));
            }
        }
    }
    Ok(())
}

/// Reads every vector and verifies that it has the dimensions of the model and length 1.
fn embeddings(source: &mut Source, manifest: &Manifest, dimensions: usize) -> Result<()> {
    let mut entry = BufReader::new(source.entry("embeddings.bin")?);
    let mut record = vec![0; HASH + 4 * dimensions];
    for number in 0..manifest.embeddings {
        entry
            .read_exact(&mut record)
            .map_err(|e| unreadable(&format!("embeddings.bin: vector {number}: {e}")))?;
        let length: f32 = embeddings::vector_of(&record[HASH..])
            .iter()
            .map(|v| v * v)
            .sum();
        if (length.sqrt() - 1.0).abs() > UNIT || !length.is_finite() {
            return Err(unreadable(&format!(
                "embeddings.bin: vector {number} does not have length 1"
            )));
        }
    }
    match entry.read(&mut [0]) {
        Ok(0) => Ok(()),
        _ => Err(unreadable(
            &"embeddings.bin has trailing bytes after its vectors",
        )),
    }
}
