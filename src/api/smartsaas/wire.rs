//! Envelope, faults, extractors, lists and authentication of the agents dialect.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::api::fault::FaultBody;
use crate::error::{Error, Result};
use crate::records::{Kind, Listed, NewRecord, Numbered, Record, SortBy, projects};

/// An error as agents see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentFault {
    /// `false`.
    success: bool,
    error: FaultBody,
}

crate::api::extract::problem!(|error| AgentFault {
    success: false,
    error: error.into(),
});

/// The key as `Bearer <key>`, or alone.
fn secret(header: &str) -> Option<&str> {
    let header = header.trim();
    let alone = match header.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => header,
    };
    (!alone.is_empty()).then_some(alone)
}

crate::api::extract::extractors!(Problem, secret);
crate::api::extract::body!(Problem);

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct One<T> {
    /// `true`.
    pub success: bool,
    /// Of what was made: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'static str>,
    /// What was asked for.
    pub data: T,
    /// Of what was made: its id, for those who look for it here.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Something with an id.
pub trait HasId {
    /// Its id.
    fn id(&self) -> &str;
}

impl HasId for View {
    fn id(&self) -> &str {
        &self.id
    }
}

/// An answer with a thing that was asked for.
pub fn one<T>(data: T) -> Json<One<T>> {
    Json(One {
        success: true,
        message: None,
        data,
        id: None,
    })
}

/// An answer with a thing that was made.
pub fn created<T: HasId>(data: T) -> (StatusCode, Json<One<T>>) {
    let made = One {
        success: true,
        message: Some("Data posted"),
        id: Some(data.id().to_owned()),
        data,
    };
    (StatusCode::CREATED, Json(made))
}

/// A record as agents see it: its own fields beside these, which win.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentRecord)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The same as `id`, for those who look for it there.
    #[serde(rename = "_id")]
    twin: String,
    /// Id.
    pub id: String,
    /// What it is: `article`, `finding`, `project`, …
    kind: String,
    /// What it is called.
    title: String,
    /// Where it is in its life, for kinds that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// The record that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// The key that wrote it.
    created_by: Option<String>,
    created_at: String,
    updated_at: String,
    /// The document by which search finds it.
    document_id: Option<String>,
    /// Everything that was sent.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub more: Map<String, Value>,
}

/// Names that a record's own fields cannot take.
const OWN: [&str; 10] = [
    "_id",
    "id",
    "kind",
    "title",
    "status",
    "parentId",
    "createdBy",
    "createdAt",
    "updatedAt",
    "documentId",
];

impl View {
    /// A record as agents see it.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of(record: &Record) -> Result<Self> {
        let mut more = record.body()?;
        more.retain(|name, _| !OWN.contains(&name.as_str()));
        if record.kind == Kind::Folder.name() {
            more.entry("dataTitle")
                .or_insert_with(|| Value::from(record.title.as_str()));
        }
        Ok(Self {
            twin: record.id.clone(),
            id: record.id.clone(),
            kind: record.kind.clone(),
            title: record.title.clone(),
            status: record.status.clone(),
            parent_id: record.parent_id.clone(),
            created_by: record.author.clone(),
            created_at: record.created_on.rfc3339(),
            updated_at: record.updated_on.rfc3339(),
            document_id: record.document_id.clone(),
            more,
        })
    }
}

impl View {
    /// The same without a field of the agent's own whose name the answer needs.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.more.remove(name);
        self
    }
}

/// Which part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pages {
    /// From 1.
    page: i64,
    /// Of a page.
    limit: i64,
    /// In all.
    total: i64,
    /// Pages in all.
    pages: i64,
}

/// A list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentRecords)]
pub struct Many {
    /// `true`.
    success: bool,
    data: Vec<View>,
    pagination: Pages,
}

impl Many {
    /// The records, to add to them.
    pub fn views(&mut self) -> &mut [View] {
        &mut self.data
    }
}

/// A list of records.
///
/// # Errors
/// When a row is damaged.
pub fn many(listed: &Listed, page: &Numbered) -> Result<Json<Many>> {
    Ok(Json(Many {
        success: true,
        data: listed.items.iter().map(View::of).collect::<Result<_>>()?,
        pagination: Pages {
            page: page.page,
            limit: page.limit,
            total: listed.total,
            pages: listed.total.div_euclid(page.limit) + i64::from(listed.total % page.limit > 0),
        },
    }))
}

/// Page, number and order of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    /// From 1.
    page: Option<String>,
    /// 1 to 100; 10 when absent.
    limit: Option<String>,
    /// `updatedAt` (when absent), `createdAt` or `title`.
    sort_by: Option<String>,
    /// `asc` or `desc` (when absent).
    sort_order: Option<String>,
    /// Of folders: only those in this one.
    parent_id: Option<String>,
}

impl ListQuery {
    /// The record that holds those that are listed.
    #[must_use]
    pub fn parent(&self) -> Option<String> {
        let parent = self.parent_id.as_deref().map(str::trim);
        parent.filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// The part of the list.
    ///
    /// # Errors
    /// `parameter_invalid`.
    pub fn numbered(&self) -> Result<Numbered> {
        let wrong = |message: &str| Error::invalid("parameter_invalid", message.to_owned());
        let number = |text: &Option<String>, otherwise: i64| match text.as_deref().map(str::trim) {
            None | Some("") => Ok(otherwise),
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| wrong("page and limit must be whole numbers")),
        };
        numbered(
            number(&self.page, 1)?,
            number(&self.limit, 10)?,
            self.sort_by.as_deref(),
            self.sort_order.as_deref(),
        )
    }
}

/// A part of a list from its numbers.
///
/// # Errors
/// `parameter_invalid`.
pub fn numbered(
    page: i64,
    limit: i64,
    sort_by: Option<&str>,
    order: Option<&str>,
) -> Result<Numbered> {
    let wrong = |message: &str| Err(Error::invalid("parameter_invalid", message.to_owned()));
    if !(1..=1_000_000).contains(&page) {
        return wrong("page must be between 1 and 1000000");
    }
    if !(1..=100).contains(&limit) {
        return wrong("limit must be between 1 and 100");
    }
    let sort_by = match sort_by {
        None | Some("" | "updatedAt") => SortBy::Updated,
        Some("createdAt") => SortBy::Created,
        Some("title" | "name") => SortBy::Title,
        Some(_) => return wrong("sortBy must be updatedAt, createdAt or title"),
    };
    let ascending = match order {
        None | Some("" | "desc") => false,
        Some("asc") => true,
        Some(_) => return wrong("sortOrder must be asc or desc"),
    };
    Ok(Numbered {
        page,
        limit,
        sort_by,
        ascending,
    })
}

/// A JSON object as agents send it, taken apart.
#[derive(Debug, Default)]
pub struct Fields(pub Map<String, Value>);

impl Fields {
    /// Takes a text out; blank counts as none.
    ///
    /// # Errors
    /// `field_invalid` when it is something else than a text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            // PostgreSQL has no NUL in texts, and nobody reads one.
            Some(Value::String(text)) => Ok(Some(text.replace('\0', ""))),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Error::invalid(
                "field_invalid",
                format!("{name} must be a text"),
            )),
        }
    }

    /// Takes a text out that has to be there.
    ///
    /// # Errors
    /// `field_missing`, and as [`Fields::text`].
    pub fn required(&mut self, name: &str) -> Result<String> {
        self.text(name)?
            .ok_or_else(|| Error::invalid("field_missing", format!("send {name}")))
    }

    /// Takes the first of some texts out that is there; the others stay what they were.
    ///
    /// # Errors
    /// As [`Fields::text`].
    pub fn first(&mut self, names: &[&str]) -> Result<Option<String>> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Takes a list out, flattened when it came as a list of lists.
    ///
    /// # Errors
    /// `field_invalid` when it is no list.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => {
                let mut flat = Vec::new();
                for item in list {
                    if let Value::Array(inner) = item {
                        flat.extend(inner);
                    } else {
                        flat.push(item);
                    }
                }
                Ok(Some(flat))
            }
            Some(_) => Err(Error::invalid(
                "field_invalid",
                format!("{name} must be a list"),
            )),
        }
    }

    /// A whole number, also when it was sent as a text.
    ///
    /// # Errors
    /// `field_invalid`.
    pub fn number(&mut self, name: &str) -> Result<Option<i64>> {
        let wrong = || Error::invalid("field_invalid", format!("{name} must be a whole number"));
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(wrong),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }
}

impl Fields {
    /// A record of a kind: its title and status apart, everything else as its body.
    ///
    /// # Errors
    /// `field_invalid`, `status_invalid`.
    pub fn record(mut self, kind: Kind) -> Result<NewRecord> {
        let title = match self.first(&["title", "name"])? {
            Some(title) => Some(title),
            // The app's own models name their titles; they stay where their clients look for them.
            None => ["campaign_title", "work_package_title", "task_title"]
                .iter()
                .find_map(|name| self.0.get(*name)?.as_str())
                .map(str::to_owned),
        };
        let status = self.text("status")?;
        if let Some(tags) = self.list("tags")? {
            self.0.insert("tags".to_owned(), Value::Array(tags));
        }
        Ok(NewRecord {
            kind,
            parent_id: None,
            title,
            status: projects::status(status.as_deref())?,
            body: self.0,
        })
    }
}

/// Something that was removed.
pub fn removed(id: &str) -> Json<One<Value>> {
    one(json!({"id": id, "deleted": true}))
}
