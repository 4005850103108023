//! Articles and findings: the knowledge that agents write. Near-duplicates of earlier texts are reported; a record that supersedes another takes its place in
//! searches, and each names the other.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{ARTICLE, FINDING};
use crate::app::App;
use crate::auth::{Area, Caller, Scope};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::kb::{datasets, documents};
use crate::records::plan::{Effect, Plan};
use crate::records::write::{self, New};
use crate::records::{Kind, Record, store, titled};
use crate::search::{self, Request, near};

/// An article or a finding to store.
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

/// Resemblance from which a text is reported as a near-duplicate.
const NEARLY: f64 = 0.6;
/// Hits that are compared with a new text.
const CANDIDATES: usize = 10;

/// Takes the document of a superseded record out of the searches.
#[derive(Debug)]
struct Hide {
    tenant_id: String,
    document_id: String,
}

#[async_trait]
impl Effect for Hide {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        documents::switch_in(app, tx, &self.tenant_id, &self.document_id, false).await?;
        Ok(None)
    }
}

/// Returns a plan that stores an article or a finding, and the earlier ones that say nearly the same.
///
/// # Errors
/// `scope_missing`, `text_missing`, `title_too_long`; `record_not_found` for what it should supersede.
pub async fn post(
    app: &Arc<App>,
    caller: &Caller,
    kind: &'static Kind,
    new: NewFinding,
) -> Result<(Plan, Vec<Duplicate>)> {
    caller.need_unconfined(Scope::KnowledgeWrite)?;
    let text = joined(new.texts.iter().map(|(_, text)| text.as_str()));
    let text = text.as_str();
    if text.is_empty() && new.title.as_deref().is_none_or(|t| t.trim().is_empty()) {
        return Err(Error::invalid(
            "text_missing",
            "send content, findings, summary or a title",
        ));
    }
    let title = titled(new.title.as_deref(), text, kind.name)?;
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
    if let Some((_, old)) = &superseded {
        body.insert("supersedes".to_owned(), json!(old.id));
    }
    let new = New {
        title: Some(title),
        body,
        ..New::default()
    };
    let mut plan = Plan::default();
    let posted = write::add(app, caller, kind, new, &mut plan).await?;
    if let Some((kind, old)) = superseded {
        let id = plan.record().map(|record| record.id.clone());
        let mut body = old.body()?;
        body.insert("supersededBy".to_owned(), json!(id));
        let after = Record {
            body: Value::Object(body).to_string(),
            ..old.clone()
        };
        if let Some(document_id) = &old.document_id {
            plan.before.push(Box::new(Hide {
                tenant_id: old.tenant_id.clone(),
                document_id: document_id.clone(),
            }));
        }
        plan.update_silently(kind, old, after, app.clock.now());
    }
    Ok((plan.status(201).answering(posted), duplicates))
}

/// An article or a finding.
async fn either(app: &App, tenant_id: &str, id: &str) -> Result<(&'static Kind, Record)> {
    for kind in [&FINDING, &ARTICLE] {
        if let Some(record) = store::optional(&app.db, tenant_id, kind, id).await? {
            return Ok((kind, record));
        }
    }
    Err(Error::not_found(
        "record_not_found",
        "the article or finding to supersede was not found",
    ))
}

/// Names of the texts of an article or a finding.
pub const TEXTS: [&str; 3] = ["findings", "content", "summary"];

/// Several texts as one, to compare them as a whole.
fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.map(str::trim).filter(|t| !t.is_empty()).collect();
    texts.join("\n\n")
}

/// Text that was posted as an earlier record, without its sources and what else stands in the document that search finds; `None` for documents that nobody posted.
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

/// Texts in the dataset of the area that say nearly the same: the closest by words and meaning, compared as a whole.
async fn duplicates(
    app: &Arc<App>,
    caller: &Caller,
    text: &str,
    superseded: Option<&(&'static Kind, Record)>,
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
