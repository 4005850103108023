//! Envelope, faults, extractors, records and parts of lists as the dialect has them.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::fault::FaultBody;
use crate::api::operation::{Call, Data, Performed};
use crate::api::secret::SecretHeader;
use crate::crm::LEAD;
use crate::data::FOLDER;
use crate::error::{Error, Result};
use crate::records::store::{Listed, Numbered, SortBy};
use crate::records::write::{New, Patch};
use crate::records::{Kind, Record};

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
pub(super) const SECRETS: &[SecretHeader] = &[SecretHeader::Authorization];

crate::api::extract::auth!(Problem, SECRETS);
crate::api::extract::parameters!(Problem);

pub(super) fn fault(error: Error) -> Response {
    Problem(error).into_response()
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct One<T> {
    /// `true`.
    pub success: bool,
    /// Of what was made: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'static str>,
    /// The requested data.
    pub data: T,
    /// Of what was made: its id, for those who look for it here.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// An answer with what was asked for.
pub fn one<T>(data: T) -> One<T> {
    One {
        success: true,
        message: None,
        data,
        id: None,
    }
}

/// Puts what came of an operation into the envelope.
pub(super) fn envelope(done: Performed, _: &str) -> Result<Value> {
    let is_made = done.status == 201;
    Ok(match done.data {
        Data::One(data) => {
            let id = data["_id"].as_str().filter(|_| is_made).map(str::to_owned);
            serde_json::to_value(One {
                message: is_made.then_some("Data posted"),
                id,
                ..one(data)
            })?
        }
        Data::Page(list, page, total) => {
            let pages = total.div_euclid(page.limit) + i64::from(total % page.limit > 0);
            json!({
                "success": true,
                "data": list,
                "pagination": {"page": page.page, "limit": page.limit, "total": total, "pages": pages}
            })
        }
        Data::Many(list, _) | Data::Counted(list, _) => json!({"success": true, "data": list}),
    })
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

/// Shows a record: its own fields beside those that every record has.
///
/// # Errors
/// When the row is damaged.
pub(super) fn view(kind: &Kind, record: &Record) -> Result<Value> {
    let is_lead = kind.is(&LEAD);
    let mut json = Map::new();
    json.insert("_id".to_owned(), json!(record.id));
    json.insert("id".to_owned(), json!(record.id));
    let name = if is_lead { "lead" } else { kind.name };
    json.insert("kind".to_owned(), json!(name));
    json.insert("title".to_owned(), json!(record.title));
    // The status of a lead is its stage.
    let status = if is_lead {
        &record.stage
    } else {
        &record.status
    };
    for (name, value) in [("status", status), ("parentId", &record.parent_id)] {
        if let Some(value) = value {
            json.insert(name.to_owned(), json!(value));
        }
    }
    json.insert("createdBy".to_owned(), json!(record.author));
    json.insert("createdAt".to_owned(), json!(record.created_on.rfc3339()));
    json.insert("updatedAt".to_owned(), json!(record.updated_on.rfc3339()));
    json.insert("documentId".to_owned(), json!(record.document_id));
    let mut body = record.body()?;
    super::names::to_wire(kind, &mut body);
    body.retain(|name, _| !OWN.contains(&name.as_str()));
    json.extend(body);
    if kind.is(&FOLDER) {
        json.entry("dataTitle")
            .or_insert_with(|| Value::from(record.title.as_str()));
    }
    Ok(Value::Object(json))
}

/// Returns a numbered page of records as they are shown.
///
/// # Errors
/// When a row is damaged.
pub(super) fn page(kind: &Kind, listed: &Listed, page: Numbered) -> Result<Data> {
    let shown = listed.items.iter().map(|record| view(kind, record));
    Ok(Data::Page(
        shown.collect::<Result<_>>()?,
        page,
        listed.total,
    ))
}

/// Names of the parameters of a numbered list.
pub(super) const PAGING: &[&str] = &["page", "limit", "sortBy", "sortOrder"];

/// Reads the part of a list that is asked for: `page` from 1, `limit` from 1 to 100 (10 when absent), `sortBy`, `sortOrder`.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn paging(call: Call<'_>) -> Result<Numbered> {
    let number = |name: &str, otherwise: i64| match call.query(name).map(str::trim) {
        None | Some("") => Ok(otherwise),
        Some(text) => text.parse::<i64>().map_err(|_| {
            Error::invalid("parameter_invalid", "page and limit must be whole numbers")
        }),
    };
    numbered(
        number("page", 1)?,
        number("limit", 10)?,
        call.query("sortBy"),
        call.query("sortOrder"),
    )
}

/// Returns a part of a list from its numbers.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn numbered(
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

/// A JSON object as agents send it, to take apart.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields(pub Map<String, Value>);

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
                format!("{name} must be text"),
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

/// Longest status, in characters.
const STATUS: usize = 60;

/// Checks a status.
///
/// # Errors
/// `status_invalid`.
fn status(given: Option<String>) -> Result<Option<String>> {
    let given = given.map(|word| word.trim().to_owned());
    match given {
        Some(word) if !(1..=STATUS).contains(&word.chars().count()) => Err(Error::invalid(
            "status_invalid",
            format!("a status must have 1 to {STATUS} characters"),
        )),
        word => Ok(word),
    }
}

impl Fields {
    /// Returns a new record: its title and status apart, everything else as its fields.
    ///
    /// # Errors
    /// `field_invalid`, `status_invalid`.
    pub fn record(mut self) -> Result<New> {
        let title = match self.first(&["title", "name"])? {
            Some(title) => Some(title),
            // The app's own models name their titles; they stay where their clients look for them.
            None => ["campaign_title", "work_package_title", "task_title"]
                .iter()
                .find_map(|name| self.0.get(*name)?.as_str())
                .map(str::to_owned),
        };
        let status = status(self.text("status")?)?;
        if let Some(tags) = self.list("tags")? {
            self.0.insert("tags".to_owned(), Value::Array(tags));
        }
        Ok(New {
            title,
            status,
            body: self.0,
            ..New::default()
        })
    }

    /// Returns a change: title and status apart, everything else as fields.
    ///
    /// # Errors
    /// `field_invalid`, `status_invalid`.
    pub fn patch(mut self) -> Result<Patch> {
        Ok(Patch {
            title: self.first(&["title", "name"])?,
            status: status(self.text("status")?)?,
            body: self.0,
            ..Patch::default()
        })
    }
}
