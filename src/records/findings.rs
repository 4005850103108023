//! Articles and findings: the knowledge that agents write. What says nearly the same as something known is told; what supersedes something takes its place
//! in searches, and both know of each other.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::{Area, Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::{datasets, documents};
use crate::records::{self, Kind, Record, Searchable, titled};
use crate::search::{self, Request, near};

/// What an agent has to say.
#[derive(Debug, Clone, Default)]
pub struct NewFinding {
    /// Title; the first line of the text when absent.
    pub title: Option<String>,
    /// The texts under their names, such as `content`, `findings` and `summary`; the first is the main one.
    pub texts: Vec<(&'static str, String)>,
    /// Everything else that is kept: source, url, sources and what the agent adds.
    pub more: Map<String, Value>,
    /// The record whose place it takes.
    pub supersedes: Option<String>,
}

/// An earlier record that says nearly the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// The record; absent when it is a document that nobody posted.
    pub record_id: Option<String>,
    /// The document.
    pub document_id: String,
    /// Its title.
    pub title: String,
    /// How much they say the same, 0 to 1 (see [`near::resemblance`]).
    pub similarity: f64,
}

/// From this resemblance on a text is told as nearly the same.
const NEARLY: f64 = 0.6;
/// Hits that are looked at for duplicates.
const CANDIDATES: usize = 10;

/// Stores an article or a finding; gives it with the earlier ones that say nearly the same.
///
/// # Errors
/// `scope_missing`, `text_missing`, `title_too_long`; `record_not_found` for what it should supersede.
pub async fn post(
    app: &Arc<App>,
    caller: &Caller,
    kind: Kind,
    new: NewFinding,
) -> Result<(Record, Vec<Duplicate>)> {
    caller.need_unconfined(Scope::KnowledgeWrite)?;
    let text = joined(new.texts.iter().map(|(_, text)| text.as_str()));
    let text = text.as_str();
    if text.is_empty() && new.title.as_deref().is_none_or(|t| t.trim().is_empty()) {
        return Err(Error::invalid(
            "text_missing",
            "send a text (content, findings or summary), or at least a title",
        ));
    }
    let title = titled(new.title.as_deref(), text, kind.name())?;
    let superseded = match &new.supersedes {
        Some(id) => Some(either(app, caller.tenant(), id).await?),
        None => None,
    };
    let duplicates = duplicates(app, caller, text, superseded.as_ref()).await?;
    let mut body = new.more;
    for (name, text) in &new.texts {
        if !text.trim().is_empty() {
            body.insert((*name).to_owned(), json!(text.trim()));
        }
    }
    let now = app.clock.now();
    let mut record = Record {
        id: app.clock.id(),
        tenant_id: caller.tenant().to_owned(),
        kind: kind.name().to_owned(),
        parent_id: None,
        external_id: None,
        title,
        status: None,
        body: String::new(),
        document_id: None,
        author: caller.key_id().map(str::to_owned),
        created_on: now,
        updated_on: now,
    };
    if let Some((_, old)) = &superseded {
        body.insert("supersedes".to_owned(), json!(old.id));
    }
    record.body = Value::Object(body).to_string();
    let ready = Searchable::of(kind, &record)?
        .prepare(app, caller.tenant())
        .await?;
    let mut tx = app.db.begin().await?;
    if let Some((_, mut old)) = superseded {
        let mut body = old.body()?;
        body.insert("supersededBy".to_owned(), json!(record.id));
        old.body = Value::Object(body).to_string();
        old.updated_on = now;
        if let Some(document_id) = &old.document_id {
            documents::switch_in(app, &mut tx, caller.tenant(), document_id, false).await?;
        }
        records::update_in(app, &mut tx, old, None).await?;
    }
    let record = records::insert(app, &mut tx, record, ready.as_ref()).await?;
    app.commit(tx).await?;
    Ok((record, duplicates))
}

/// An article or a finding.
async fn either(app: &App, tenant_id: &str, id: &str) -> Result<(Kind, Record)> {
    for kind in [Kind::Finding, Kind::Article] {
        if let Some(record) = records::load(&app.db, tenant_id, kind, id).await? {
            return Ok((kind, record));
        }
    }
    Err(Error::not_found(
        "record_not_found",
        "there is no such article or finding to supersede",
    ))
}

/// Names of the texts of an article or a finding.
pub const TEXTS: [&str; 3] = ["findings", "content", "summary"];

/// Several texts as one, to compare them as a whole.
fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.map(str::trim).filter(|t| !t.is_empty()).collect();
    texts.join("\n\n")
}

/// What was posted as an earlier record, without its sources and what else stands in the document that search finds; `None` for documents that nobody posted.
async fn posted(app: &App, tenant_id: &str, record_id: &str) -> Result<Option<String>> {
    match either(app, tenant_id, record_id).await {
        Ok((_, record)) => {
            let body = record.body()?;
            let texts = TEXTS.iter().filter_map(|name| body.get(*name)?.as_str());
            Ok(Some(joined(texts)))
        }
        Err(error) if error.code() == "record_not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Texts on the shelf that say nearly the same: the closest by words and meaning, compared as a whole.
async fn duplicates(
    app: &Arc<App>,
    caller: &Caller,
    text: &str,
    superseded: Option<&(Kind, Record)>,
) -> Result<Vec<Duplicate>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let dataset = datasets::area_dataset(app, caller.tenant(), Area::Knowledge).await?;
    // What is there already is compared for whoever writes, also one who may not read it: only ids and titles are told.
    let local = Caller::local(caller.tenant());
    let query: String = text.chars().take(1000).collect();
    let mut request = Request::new(query, vec![dataset.id.clone()]);
    request.plain = true;
    request.top_k = CANDIDATES;
    request.per_document = Some(1);
    request.cache = false;
    let answer = search::search(app, &local, &request).await?;
    let mut found = Vec::new();
    let ids: Vec<String> = answer
        .hits
        .iter()
        .map(|h| h.chunk.document_id.clone())
        .collect();
    for document in documents::by_ids(app, &local, &dataset.id, &ids).await? {
        if superseded.is_some_and(|(_, old)| old.document_id.as_ref() == Some(&document.id)) {
            continue;
        }
        let metadata = document.metadata()?;
        let record_id = metadata["recordId"].as_str();
        let of_record = match record_id {
            Some(id) => posted(app, caller.tenant(), id).await?,
            None => None,
        };
        let earlier = match (of_record, &document.text_hash) {
            (Some(text), _) => text,
            (None, Some(hash)) => {
                let bytes = app.blobs.get(caller.tenant(), hash).await?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            (None, None) => continue,
        };
        let similarity = near::resemblance(text, &earlier);
        if similarity >= NEARLY {
            found.push(Duplicate {
                record_id: record_id.map(str::to_owned),
                title: document.title.clone().unwrap_or(document.file_name),
                document_id: document.id,
                similarity,
            });
        }
    }
    found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    Ok(found)
}
