//! The seam by which records enter search: a record that has text becomes a Markdown document on the shelf of its area, written in the record's own
//! transaction, with metadata that leads back to it. Who may read the area finds it, and nobody else, because the shelf is a dataset of its own.

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::Area;
use crate::blobs::Stored;
use crate::db::Tx;
use crate::error::Result;
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::documents::{self, Document, NewDocument};
use crate::records::{Kind, Record};

/// What search can find.
#[derive(Debug, Clone)]
pub struct Searchable {
    /// What it is.
    pub kind: &'static str,
    /// The record.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// Its text, as Markdown.
    pub text: String,
    /// Where it comes from.
    pub url: Option<String>,
    /// What hits can be filtered by.
    pub metadata: Map<String, Value>,
    /// Who may read it.
    pub area: Area,
}

/// A text whose bytes are stored, ready for the transaction.
#[derive(Debug)]
pub struct Ready {
    new: NewDocument,
    dataset_id: String,
}

/// Fields that hold the main text, in this order.
const MAIN: [&str; 7] = [
    "content",
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
const NOT_TEXT: [&str; 6] = ["id", "_id", "parentId", "url", "supersedes", "supersededBy"];

impl Searchable {
    /// What can be found of a record: its title, status, and every text in its body, each under its name.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of(kind: Kind, record: &Record) -> Result<Self> {
        Self::named(kind.name(), kind.area(), record)
    }

    /// The same for a record of a workspace, whose kinds are not those of agents.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn named(kind: &'static str, area: Area, record: &Record) -> Result<Self> {
        let body = record.body()?;
        let text = text_of(&record.title, &body, &NOT_TEXT);
        let mut metadata = Map::new();
        metadata.insert("kind".to_owned(), json!(kind));
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
            kind,
            id: record.id.clone(),
            title: record.title.clone(),
            text,
            url: body
                .get("url")
                .and_then(Value::as_str)
                .filter(|u| !u.is_empty())
                .map(str::to_owned),
            metadata,
            area,
        })
    }

    /// Stores the text, before the transaction that will publish it. Something without any text is not searched.
    ///
    /// # Errors
    /// As the store says.
    pub async fn prepare(self, app: &App, tenant_id: &str) -> Result<Option<Ready>> {
        let text = if self.text.trim().is_empty() {
            format!("# {}\n", self.title)
        } else {
            self.text
        };
        let dataset = datasets::area_dataset(app, tenant_id, self.area).await?;
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
        Ok(Some(Ready {
            dataset_id: dataset.id,
            new: NewDocument {
                file_name: format!("{} {}.md", name.trim(), self.id),
                mime_type: "text/markdown".to_owned(),
                stored,
                title: Some(self.title),
                url: self.url,
                source: if self.kind == Kind::Finding.name() {
                    "competitor_research"
                } else {
                    "published_content"
                },
                metadata: Value::Object(self.metadata),
                chunk_settings: ChunkSettings::default(),
                external_id: Some(self.id),
            },
        }))
    }
}

impl Ready {
    /// Adds the text to what search knows, or replaces it.
    ///
    /// # Errors
    /// As the database says.
    pub async fn publish(&self, app: &App, tx: &mut Tx, tenant_id: &str) -> Result<Document> {
        documents::add_in(app, tx, tenant_id, &self.dataset_id, &self.new).await
    }
}

/// Every text among some fields: the main text alone, each other one under its name, without those named in `not_text`.
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

    #[test]
    fn everything_textual_is_found_under_its_name() {
        let body = json!({"content": "Main text.", "owner": {"name": "Ada"}, "tags": ["blue", "green"], "budget": 12, "flag": true, "empty": "", "_id": "x"});
        let record = Record {
            id: "r".to_owned(),
            tenant_id: "t".to_owned(),
            kind: "project".to_owned(),
            parent_id: None,
            external_id: None,
            title: "A title".to_owned(),
            status: Some("active".to_owned()),
            body: body.to_string(),
            document_id: None,
            author: None,
            created_on: Time(0),
            updated_on: Time(0),
        };
        let found = Searchable::of(Kind::Project, &record).expect("readable");
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
