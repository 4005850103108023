//! The text by which search finds a record: a Markdown document in the dataset of the record's area, written in the record's own transaction, with metadata that
//! leads back to the record. Only those who may read the area see that dataset.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::plan;
use super::record::Record;
use crate::app::App;
use crate::auth::Area;
use crate::blobs::Stored;
use crate::db::Tx;
use crate::error::Result;
use crate::kb::datasets::{self};
use crate::kb::documents::{self, Document, DocumentSource, NewDocument};

/// The text of a record, and what hits on it show and are filtered by.
#[derive(Debug, Clone)]
pub struct SearchText {
    kind: &'static str,
    record_id: String,
    title: String,
    /// Markdown.
    text: String,
    url: Option<String>,
    metadata: Map<String, Value>,
    area: Area,
    /// The part of the area in whose dataset the text is.
    part: Option<String>,
}

/// A text whose bytes are stored, ready for the transaction.
#[derive(Debug)]
pub struct Ready {
    new: NewDocument,
    dataset_id: String,
}

/// Fields that hold the main text, in this order.
const MAIN: [&str; 8] = [
    "content",
    "message",
    "findings",
    "description",
    "summary",
    "text",
    "body",
    "html",
];
/// Bytes of a record's named texts that can be found, beside its main text.
const MOST: usize = 1 << 20;
/// Characters of a name that are kept.
const NAME: usize = 100;
/// Fields whose values are for programs; everything else is text.
const NOT_TEXT: [&str; 10] = [
    "id",
    "_id",
    "parentId",
    "url",
    "supersedes",
    "supersededBy",
    "sales_signals",
    "stage_moves",
    "stage_id",
    "sales_enrichment",
];

impl SearchText {
    /// Returns the text of a record: its main text, and every other text in its body under its name.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of(kind: &'static Kind, record: &Record) -> Result<Self> {
        let body = record.body()?;
        let text = if kind.texts.is_empty() {
            text_of(&record.title, &body, &NOT_TEXT)
        } else {
            let names = kind.texts.iter();
            let chosen = names.filter_map(|n| Some(((*n).to_owned(), body.get(*n)?.clone())));
            text_of(&record.title, &chosen.collect(), &[])
        };
        let mut metadata = Map::new();
        metadata.insert("kind".to_owned(), json!(kind.name));
        metadata.insert("recordId".to_owned(), json!(record.id));
        if let Some(status) = &record.status {
            metadata.insert("status".to_owned(), json!(status));
        }
        if let Some(parent) = &record.parent_id {
            metadata.insert("parentId".to_owned(), json!(parent));
        }
        for name in ["source", "tags"] {
            if let Some(value) = body.get(name).filter(|v| !is_blank(v)) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Self {
            kind: kind.name,
            record_id: record.id.clone(),
            title: record.title.clone(),
            text,
            url: body
                .get("url")
                .and_then(Value::as_str)
                .filter(|u| !u.is_empty())
                .map(str::to_owned),
            metadata,
            area: plan::area(kind, record),
            part: plan::part(kind, record).map(str::to_owned),
        })
    }

    /// Stores the text, before the transaction that will publish it. A record without any text is found by its title.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store(self, app: &App, tenant_id: &str) -> Result<Ready> {
        let text = if self.text.trim().is_empty() {
            format!("# {}\n", self.title)
        } else {
            self.text
        };
        let dataset = match &self.part {
            Some(part) => {
                datasets::part_dataset(app, tenant_id, self.area, part, &self.title).await?
            }
            None => datasets::area_dataset(app, tenant_id, self.area).await?,
        };
        let stored: Stored = app
            .blobs
            .put_bytes(&app.db, tenant_id, text.into_bytes())
            .await?;
        let name: String = self
            .title
            .chars()
            .map(|c| if c == '/' || c.is_control() { ' ' } else { c })
            .take(200)
            .collect();
        let file_name = format!("{} {}.md", name.trim(), self.record_id);
        Ok(Ready {
            dataset_id: dataset.id,
            new: NewDocument {
                title: Some(self.title),
                url: self.url,
                source: if self.kind == "finding" {
                    DocumentSource::CompetitorResearch
                } else {
                    DocumentSource::PublishedContent
                },
                metadata: Value::Object(self.metadata),
                external_id: Some(self.record_id),
                ..NewDocument::new(file_name, "text/markdown", stored)
            },
        })
    }
}

impl Ready {
    /// Adds the text to search, or replaces the earlier one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn publish(&self, app: &App, tx: &mut Tx, tenant_id: &str) -> Result<Document> {
        documents::add_in(app, tx, tenant_id, &self.dataset_id, &self.new).await
    }
}

/// Returns every text among some fields: the main text alone, each other one under its name, without those named in `not_text`.
pub(crate) fn text_of(title: &str, fields: &Map<String, Value>, not_text: &[&str]) -> String {
    let mut text = String::new();
    // The main text stands alone; what is around it is named.
    for main in MAIN {
        if let Some(Value::String(value)) = fields.get(main).filter(|v| !is_blank(v)) {
            text.push_str(value.trim());
            text.push_str("\n\n");
        }
    }
    for (name, value) in fields {
        // The title stands above the text already.
        let is_main = match value {
            Value::String(text) => MAIN.contains(&name.as_str()) || text.trim() == title,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => false,
        };
        if !is_main && !not_text.contains(&name.as_str()) {
            write_value(&mut text, name, value, 0);
        }
    }
    text
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Levels of a body that are read.
const DEEPEST: usize = 8;

/// A value under its name, one line per text.
fn write_value(out: &mut String, name: &str, value: &Value, depth: usize) {
    if is_blank(value) || depth > DEEPEST || out.len() > MOST {
        return;
    }
    // A long name would be repeated for each value below it.
    let name: String = name.chars().take(NAME).collect();
    match value {
        Value::Object(map) => {
            for (inner, value) in map {
                write_value(out, &format!("{name} {inner}"), value, depth + 1);
            }
        }
        Value::Array(list) => {
            for value in list {
                write_value(out, &name, value, depth + 1);
            }
        }
        Value::String(text) => out.push_str(&format!("{name}: {}\n", text.trim())),
        Value::Number(number) => out.push_str(&format!("{name}: {number}\n")),
        // A flag says nothing without its name, and its name says nothing about this record.
        Value::Bool(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    static PROJECT: Kind = Kind::open("project", Area::Projects, None);

    #[test]
    fn everything_textual_is_found_under_its_name() {
        let body = json!({"content": "Main text.", "owner": {"name": "Ada"}, "tags": ["blue", "green"], "budget": 12, "flag": true, "empty": "", "_id": "x"});
        let record = Record {
            id: "r".to_owned(),
            tenant_id: "t".to_owned(),
            kind: "project".to_owned(),
            parent_id: None,
            external_id: None,
            stage: None,
            area: None,
            title: "A title".to_owned(),
            status: Some("active".to_owned()),
            body: body.to_string(),
            document_id: None,
            author: None,
            created_on: Time(0),
            updated_on: Time(0),
        };
        let found = SearchText::of(&PROJECT, &record).expect("readable");
        assert_eq!(
            found.text,
            "Main text.\n\nowner name: Ada\ntags: blue\ntags: green\nbudget: 12\n"
        );
        assert_eq!(found.metadata["recordId"], "r");
        assert_eq!(
            (
                found.metadata["status"].as_str(),
                found.metadata["tags"][1].as_str()
            ),
            (Some("active"), Some("green"))
        );
    }
}
