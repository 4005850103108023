//! Exports that consist of records: JSON Lines, arrays, and saved pages of an API, one after the other in a file. Records about one document are brought together.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cairn_ingest::{Input, parse};
use indexmap::IndexMap;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{Content, Imported, Passage, Report, file_name, unreadable};
use crate::error::{Error, Result};

/// Destination of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The text of a passage or document.
    Text,
    /// The same as HTML.
    Html,
    /// A text that follows the text.
    Answer,
    /// The id of the record: of the document, unless the record names its document.
    Id,
    /// The id of the document to which the passage belongs.
    Document,
    /// The place of the passage in its document.
    Position,
    Name,
    Title,
    Url,
    Vector,
    /// Whether searches find it.
    Enabled,
    /// A field of the metadata; lists of several passages are united.
    Metadata(&'static str),
    /// The fields of an object, or the names and values of a list, become fields of the metadata.
    Merge,
}

impl Target {
    fn name(self) -> String {
        match self {
            Self::Text | Self::Html | Self::Answer => "text".to_owned(),
            Self::Id => "external id".to_owned(),
            Self::Document => "document".to_owned(),
            Self::Position => "order of the chunks".to_owned(),
            Self::Name => "file name".to_owned(),
            Self::Title => "title".to_owned(),
            Self::Url => "address".to_owned(),
            Self::Vector => "vector".to_owned(),
            Self::Enabled => "enabled".to_owned(),
            Self::Metadata(name) => format!("metadata.{name}"),
            Self::Merge => "metadata".to_owned(),
        }
    }
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    /// Name, with dots between the names of nested objects. Of several fields with the same target, the first that is present counts.
    pub(super) path: &'static str,
    pub(super) target: Target,
}

/// The records of a system.
#[derive(Debug)]
pub(super) struct Shape {
    /// Names under which pages of the API hold records.
    pub(super) lists: &'static [&'static str],
    pub(super) fields: &'static [Field],
    /// Whether texts are passages, and not whole documents.
    pub(super) is_passages: bool,
}

/// A record as the table of fields reads it.
#[derive(Debug, Default)]
struct Record {
    text: Option<String>,
    id: Option<String>,
    document: Option<String>,
    position: Option<f64>,
    name: Option<String>,
    title: Option<String>,
    url: Option<String>,
    vector: Option<Vec<f32>>,
    enabled: Option<bool>,
    metadata: Map<String, Value>,
}

/// Reads the records of files and passes the documents on.
pub(super) fn read(
    shape: &Shape,
    files: &[PathBuf],
    each: &mut dyn FnMut(Imported) -> Result<()>,
) -> Result<Report> {
    let mut report = Report::default();
    let mut spill = Spill::new()?;
    for file in files {
        records(shape, file, &mut |value| {
            let known = known(shape, &value, &mut report);
            let record = shape.read(&value);
            spill.add(record, value, known, &mut report)
        })?;
    }
    spill.documents(shape, &mut report, each)?;
    Ok(report)
}

/// Counts the fields of a record; returns whether any of them has a target.
fn known(shape: &Shape, value: &Map<String, Value>, report: &mut Report) -> bool {
    let mut any = false;
    for field in shape.fields {
        if at(value, field.path).is_some() {
            report.map(field.path, &field.target.name());
            any = true;
        }
    }
    for (name, value) in value {
        let is_mapped = shape
            .fields
            .iter()
            .any(|field| field.path.split('.').next() == Some(name.as_str()));
        if !is_mapped && !value.is_null() {
            *report.unmapped.entry(name.clone()).or_default() += 1;
        }
    }
    any
}

/// Returns the value of a field; `None` when it is absent or null.
fn at<'v>(value: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut parts = path.split('.');
    let first = value.get(parts.next()?)?;
    let found = parts.try_fold(first, |value, part| value.get(part))?;
    (!found.is_null()).then_some(found)
}

/// Returns a text, or a number as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Shape {
    fn read(&self, value: &Map<String, Value>) -> Record {
        let mut record = Record::default();
        let mut answer = None;
        for field in self.fields {
            let Some(found) = at(value, field.path) else {
                continue;
            };
            let set = |slot: &mut Option<String>| {
                if slot.is_none() {
                    *slot = text(found);
                }
            };
            match field.target {
                Target::Text => set(&mut record.text),
                Target::Html => record.text = record.text.take().or_else(|| plain(found.as_str()?)),
                Target::Answer => answer = text(found),
                Target::Id => set(&mut record.id),
                Target::Document => set(&mut record.document),
                Target::Name => set(&mut record.name),
                Target::Title => set(&mut record.title),
                Target::Url => set(&mut record.url),
                Target::Position => record.position = record.position.or_else(|| found.as_f64()),
                Target::Enabled => record.enabled = record.enabled.or_else(|| found.as_bool()),
                Target::Vector => {
                    let vector = || serde_json::from_value(found.clone()).ok();
                    record.vector = record.vector.take().or_else(vector);
                }
                Target::Metadata(name) => {
                    record
                        .metadata
                        .entry(name)
                        .or_insert_with(|| listed(name, found));
                }
                Target::Merge => merge(&mut record.metadata, found),
            }
        }
        let answer = answer.filter(|answer| !answer.trim().is_empty());
        if let (Some(text), Some(answer)) = (&mut record.text, answer) {
            text.push_str("\n\n");
            text.push_str(&answer);
        }
        record.url = record.url.filter(|url| {
            let url = url.to_lowercase();
            url.starts_with("http://") || url.starts_with("https://")
        });
        record
    }
}

/// Returns a value of the metadata; tags that are one text, separated by commas, become a list.
fn listed(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if matches!(name, "tags" | "keywords") => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            json!(parts.collect::<Vec<_>>())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value.clone(),
    }
}

/// Adds the fields of an object, or of a list of names and values, where they are not set yet.
fn merge(metadata: &mut Map<String, Value>, value: &Value) {
    let mut add = |name: &str, value: &Value| {
        if !value.is_null() && !metadata.contains_key(name) {
            metadata.insert(name.to_owned(), value.clone());
        }
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| add(name, value)),
        Value::Array(pairs) => {
            for pair in pairs {
                if let Some(name) = pair["name"].as_str() {
                    add(name, &pair["value"]);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the text of HTML; a text without any element is returned as it is.
fn plain(html: &str) -> Option<String> {
    if !html.contains('<') {
        return Some(html.to_owned());
    }
    let page = format!("<html><body>{html}</body></html>");
    let input = Input {
        file_name: "chunk.html",
        mime_type: Some("text/html"),
        bytes: page.as_bytes(),
        ..Input::default()
    };
    // What is not HTML in spite of its brackets is a text.
    Some(parse(&input).map_or_else(|_| html.to_owned(), |document| document.text))
}

/// Records in a temporary file, with their places by document.
struct Spill {
    file: BufWriter<File>,
    size: u64,
    documents: IndexMap<String, Vec<Place>>,
    /// What records without a text say about documents.
    heads: HashMap<String, Record>,
}

/// A record in the temporary file.
#[derive(Debug)]
struct Place {
    position: f64,
    from: u64,
    length: usize,
}

impl Spill {
    fn new() -> Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile()?),
            size: 0,
            documents: IndexMap::new(),
            heads: HashMap::new(),
        })
    }

    fn add(
        &mut self,
        record: Record,
        value: Map<String, Value>,
        is_known: bool,
        report: &mut Report,
    ) -> Result<()> {
        let example = || {
            record
                .id
                .clone()
                .unwrap_or_else(|| json!(value).to_string())
        };
        if !is_known {
            report.skip("has none of the known fields", &example());
            return Ok(());
        }
        let has_text = record
            .text
            .as_ref()
            .is_some_and(|text| !text.trim().is_empty());
        if !has_text {
            match (&record.id, &record.text, &record.document) {
                (Some(id), None, None) => drop(self.heads.insert(id.clone(), record)),
                _ => report.skip("has no text", &example()),
            }
            return Ok(());
        }
        let Some(id) = record.document.clone().or_else(|| record.id.clone()) else {
            report.skip("has no id", &example());
            return Ok(());
        };
        let bytes = serde_json::to_vec(&value)?;
        self.file.write_all(&bytes)?;
        let places = self.documents.entry(id).or_default();
        let position = record.position.unwrap_or(places.len() as f64);
        places.push(Place {
            position,
            from: self.size,
            length: bytes.len(),
        });
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Passes on every document, put together from its records.
    fn documents(
        self,
        shape: &Shape,
        report: &mut Report,
        each: &mut dyn FnMut(Imported) -> Result<()>,
    ) -> Result<()> {
        let mut file = self
            .file
            .into_inner()
            .map_err(|e| Error::from(e.into_error()))?;
        let mut heads = self.heads;
        for (id, mut places) in self.documents {
            places.sort_by(|a, b| a.position.total_cmp(&b.position));
            let mut whole = heads.remove(&id).unwrap_or_default();
            let mut passages = Vec::with_capacity(places.len());
            let mut enabled = 0;
            let total = places.len();
            for place in places {
                let mut bytes = vec![0; place.length];
                file.seek(SeekFrom::Start(place.from))?;
                file.read_exact(&mut bytes)?;
                let value: Map<String, Value> = serde_json::from_slice(&bytes)?;
                let mut record = shape.read(&value);
                let is_enabled = record.enabled.unwrap_or(true);
                enabled += usize::from(is_enabled);
                if !is_enabled && total > 1 {
                    report.skip("is disabled", &id);
                    continue;
                }
                passages.push(Passage {
                    text: record.text.take().unwrap_or_default(),
                    vector: record.vector.take(),
                });
                unite(&mut whole, record);
            }
            if passages.is_empty() {
                continue;
            }
            report.documents += 1;
            if shape.is_passages {
                report.passages += passages.len();
            }
            for vector in passages
                .iter()
                .filter_map(|passage| passage.vector.as_ref())
            {
                *report.vectors.entry(vector.len()).or_default() += 1;
            }
            let is_enabled = enabled > 0 && whole.enabled.unwrap_or(true);
            each(document(shape, id, whole, passages, is_enabled))?;
        }
        for id in heads.into_keys() {
            report.skip("is a document without passages", &id);
        }
        Ok(())
    }
}

/// Adds to a document what one of its records says.
fn unite(whole: &mut Record, record: Record) {
    whole.name = whole.name.take().or(record.name);
    whole.title = whole.title.take().or(record.title);
    whole.url = whole.url.take().or(record.url);
    for (name, value) in record.metadata {
        match (whole.metadata.get_mut(&name), value) {
            (Some(Value::Array(all)), Value::Array(more)) => {
                for value in more {
                    if !all.contains(&value) {
                        all.push(value);
                    }
                }
            }
            (Some(_), _) => {}
            (None, value) => drop(whole.metadata.insert(name, value)),
        }
    }
}

fn document(
    shape: &Shape,
    id: String,
    whole: Record,
    passages: Vec<Passage>,
    enabled: bool,
) -> Imported {
    let called = whole.name.as_ref().or(whole.title.as_ref()).unwrap_or(&id);
    let content = if shape.is_passages {
        Content::Passages(passages)
    } else {
        let texts: Vec<String> = passages.into_iter().map(|passage| passage.text).collect();
        Content::File(texts.join("\n\n").into_bytes())
    };
    // The text of a PDF file is not one, and its name says where the text is from.
    let is_text = [".txt", ".md"]
        .iter()
        .any(|end| called.to_lowercase().ends_with(end));
    Imported {
        name: file_name(called, if is_text { "" } else { ".txt" }),
        id,
        title: whole.title,
        url: whole.url,
        metadata: whole.metadata,
        content,
        enabled,
    }
}

/// Passes on every record of a file.
fn records(
    shape: &Shape,
    path: &Path,
    each: &mut dyn FnMut(Map<String, Value>) -> Result<()>,
) -> Result<()> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|e| unreadable(&place, &e))?;
    let mut values = serde_json::Deserializer::from_reader(BufReader::new(file));
    let mut failure = None;
    // A file may hold many values, one after the other.
    while values.end().is_err() {
        let seed = Values {
            lists: shape.lists,
            each,
            failure: &mut failure,
        };
        if let Err(error) = seed.deserialize(&mut values) {
            return Err(failure.unwrap_or_else(|| unreadable(&place, &error)));
        }
    }
    Ok(())
}

/// Finds records in a JSON value of any size without holding more than one of them.
struct Values<'r> {
    lists: &'r [&'r str],
    each: &'r mut dyn FnMut(Map<String, Value>) -> Result<()>,
    /// The error of `each`, which the format's error type cannot carry.
    failure: &'r mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    /// Whether the value can hold records.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items
            .next_element_seed(Values {
                lists: self.lists,
                each: &mut *self.each,
                failure: &mut *self.failure,
            })?
            .is_some()
        {}
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let (mut record, mut is_page) = (Map::new(), false);
        while let Some(name) = fields.next_key::<String>()? {
            if self.lists.contains(&name.as_str()) {
                is_page |= fields.next_value_seed(Values {
                    lists: self.lists,
                    each: &mut *self.each,
                    failure: &mut *self.failure,
                })?;
            } else {
                record.insert(name, fields.next_value()?);
            }
        }
        if !is_page && let Err(error) = (self.each)(record) {
            *self.failure = Some(error);
            return Err(A::Error::custom("stopped"));
        }
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::systems::{DIFY, JSONL, OPEN_WEBUI, R2R, RAGFLOW, TRIEVE};
    use super::*;

    fn all(shape: &Shape, text: &str) -> (Vec<Imported>, Report) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dump.json");
        std::fs::write(&path, text).expect("writable");
        let mut found = Vec::new();
        let report = read(shape, &[path], &mut |imported| {
            found.push(imported);
            Ok(())
        });
        (found, report.expect("readable"))
    }

    fn texts(imported: &Imported) -> Vec<&str> {
        match &imported.content {
            Content::Passages(passages) => passages.iter().map(|p| p.text.as_str()).collect(),
            Content::File(bytes) => vec![std::str::from_utf8(bytes).expect("text")],
        }
    }

    #[test]
    fn scattered_passages_of_a_document_come_together_in_order() {
        let dump = r#"{"id": "a2", "document": "a", "position": 2, "text": "second", "title": "A", "tags": "x, y"}
            {"id": "b1", "text": "alone", "metadata": {"year": 2024}, "vector": [0.5, 0.5]}
            {"id": "a1", "document": "a", "position": 1, "text": "first", "tags": ["y", "z"]}"#;
        let (found, report) = all(&JSONL, dump);
        assert_eq!(found.len(), 2);
        assert_eq!(texts(&found[0]), ["first", "second"]);
        assert_eq!(
            (found[0].name.as_str(), &found[0].metadata["tags"]),
            ("A.txt", &json!(["y", "z", "x"]))
        );
        assert_eq!(
            (found[1].id.as_str(), &found[1].metadata["year"]),
            ("b1", &json!(2024))
        );
        assert_eq!((report.passages, report.vectors[&2]), (3, 1));
    }

    #[test]
    fn pages_of_an_api_are_read_one_after_the_other() {
        let page = |id: u32, html: &str| {
            json!({"chunks": [{"id": "7f", "tracking_id": format!("t{id}"), "chunk_html": html, "link": "https://a.example/", "tag_set": ["k"], "group_tracking_ids": ["g"], "qdrant_point_id": "q"}]}).to_string()
        };
        let dump = [
            page(1, "<p>One <b>bold</b> word</p>"),
            page(2, "plain < text"),
        ]
        .join("\n");
        let (found, report) = all(&TRIEVE, &dump);
        assert_eq!(found[0].id, "t1");
        assert!(texts(&found[0])[0].contains("bold") && !texts(&found[0])[0].contains("<p>"));
        assert_eq!(found[0].url.as_deref(), Some("https://a.example/"));
        assert_eq!(
            (&found[0].metadata["tags"], &found[0].metadata["groups"]),
            (&json!(["k"]), &json!(["g"]))
        );
        assert_eq!(found.len(), 2);
        assert_eq!(report.unmapped["qdrant_point_id"], 2);
        assert_eq!(report.mapped["tracking_id"], ("external id".to_owned(), 2));
    }

    #[test]
    fn chunks_of_r2r_take_title_and_order_from_their_metadata() {
        let dump = json!({"results": [
            {"id": "c2", "document_id": "d", "text": "two", "metadata": {"chunk_order": 1, "title": "Guide"}},
            {"id": "c1", "document_id": "d", "text": "one", "metadata": {"chunk_order": 0, "title": "Guide", "version": "v0"}},
            {"id": "d", "title": "Guide.pdf", "metadata": {"team": "sea"}, "ingestion_status": "success"}
        ]});
        let (found, _) = all(&R2R, &dump.to_string());
        assert_eq!(texts(&found[0]), ["one", "two"]);
        assert_eq!(
            (found[0].id.as_str(), &found[0].metadata["team"]),
            ("d", &json!("sea"))
        );
    }

    #[test]
    fn segments_of_dify_have_answers_and_their_documents_names() {
        let dump = [
            json!({"data": [{"id": "s1", "position": 1, "document_id": "d", "content": "Question?", "answer": "Answer.", "keywords": ["k"], "enabled": true},
                {"id": "s2", "position": 2, "document_id": "d", "content": "hidden", "answer": "", "enabled": false}], "doc_form": "qa_model"}),
            json!({"data": [{"id": "d", "position": 1, "name": "faq.md", "doc_metadata": [{"name": "team", "value": "support"}], "enabled": true}], "total": 1}),
        ];
        let (found, report) = all(&DIFY, &dump.map(|page| page.to_string()).concat());
        assert_eq!(texts(&found[0]), ["Question?\n\nAnswer."]);
        assert_eq!(
            (found[0].name.as_str(), &found[0].metadata["team"]),
            ("faq.md", &json!("support"))
        );
        assert_eq!(report.skipped["is disabled"].0, 1);
    }

    #[test]
    fn chunks_of_ragflow_name_their_document() {
        let dump = json!({"code": 0, "data": {"total": 1, "chunks": [
            {"id": "c", "document_id": "d", "docnm_kwd": "manual.pdf", "content": "text", "available": false, "important_keywords": ["pump"]}],
            "doc": {"id": "d", "name": "manual.pdf", "meta_fields": {"year": 2020}}}});
        let (found, _) = all(&RAGFLOW, &dump.to_string());
        assert_eq!(found[0].name, "manual.pdf.txt");
        assert!(!found[0].enabled);
        assert_eq!(
            (&found[0].metadata["year"], &found[0].metadata["keywords"]),
            (&json!(2020), &json!(["pump"]))
        );
    }

    #[test]
    fn files_of_open_webui_are_whole_texts() {
        let dump = json!({"id": "k", "name": "Sea", "files": [{"id": "f", "filename": "tides.md", "data": {"content": "All of it."}, "meta": {"name": "tides.md", "size": 10}}]});
        let (found, report) = all(&OPEN_WEBUI, &dump.to_string());
        assert_eq!(
            (found[0].name.as_str(), texts(&found[0])[0]),
            ("tides.md", "All of it.")
        );
        assert_eq!((report.documents, report.passages), (1, 0));
    }

    #[test]
    fn what_is_left_out_is_counted_with_a_reason() {
        let dump = "{\"id\": \"a\", \"text\": \" \"} {\"text\": \"no id\"} {\"other\": 1} [1, null, \"x\"]";
        let (found, report) = all(&JSONL, dump);
        assert!(found.is_empty());
        let reasons: Vec<&str> = report.skipped.keys().map(String::as_str).collect();
        assert_eq!(
            reasons,
            ["has no id", "has no text", "has none of the known fields"]
        );
    }

    #[test]
    fn an_address_that_runs_something_is_no_address() {
        let (found, _) = all(
            &JSONL,
            r#"{"id": "a", "text": "x", "url": "javascript:alert(1)"}"#,
        );
        assert_eq!(found[0].url, None);
    }

    #[test]
    fn a_damaged_file_is_reported_with_its_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dump.jsonl");
        std::fs::write(&path, "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\":").expect("writable");
        let error = read(&JSONL, &[path], &mut |_| Ok(())).expect_err("damaged");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
