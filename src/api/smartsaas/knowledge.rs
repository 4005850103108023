//! Knowledge articles and research findings.

use std::sync::Arc;

use serde_json::{Value, json};

use super::wire::{Fields, paging, view};
use crate::api::operation::{Call, Data};
use crate::error::{Error, Result};
use crate::knowledge::findings::{self, NewFinding};
use crate::knowledge::{ARTICLE, FINDING};
use crate::records::Kind;
use crate::records::plan::Plan;
use crate::records::store::{self, Filter};

/// Returns the kind of a record that is an article or a finding.
fn kind(name: &str) -> &'static Kind {
    if name == FINDING.name {
        &FINDING
    } else {
        &ARTICLE
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Data> {
    let (page, kinds) = (paging(call)?, [&ARTICLE, &FINDING]);
    let filter = Filter::default();
    let listed = store::numbered(call.app, call.caller.tenant(), &kinds, &filter, &page).await?;
    let shown = listed.items.iter().map(|r| view(kind(&r.kind), r));
    Ok(Data::Page(
        shown.collect::<Result<_>>()?,
        page,
        listed.total,
    ))
}

pub(super) async fn get(call: Call<'_>) -> Result<Data> {
    for kind in [&ARTICLE, &FINDING] {
        let tenant_id = call.caller.tenant();
        let found = store::optional(&call.app.db, tenant_id, kind, call.id()).await?;
        if let Some(record) = found {
            return Ok(Data::One(view(kind, &record)?));
        }
    }
    Err(Error::not_found(
        "record_not_found",
        "article or finding not found",
    ))
}

/// Stores an article or a finding, and answers with `duplicates`.
pub(super) async fn post(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let title = fields.first(&["title", "name"])?;
    let supersedes = fields.text("supersedes")?;
    let mut texts = Vec::new();
    for name in findings::TEXTS {
        texts.extend(fields.text(name)?.map(|text| (name, text)));
    }
    if let Some(sources) = fields.list("sources")? {
        fields.0.insert("sources".to_owned(), Value::Array(sources));
    }
    let new = NewFinding {
        title,
        texts,
        more: fields.0,
        supersedes,
    };
    let app = Arc::clone(call.app);
    let (mut plan, duplicates) = findings::post(&app, call.caller, call.kind()?, new).await?;
    let duplicates = duplicates.into_iter().map(|d| {
        let mut json =
            json!({"documentId": d.document_id, "title": d.title, "similarity": d.similarity});
        if let Some(id) = d.record_id {
            json["id"] = json!(id);
        }
        json
    });
    let duplicates = Value::Array(duplicates.collect());
    plan.shown.insert("duplicates".to_owned(), duplicates);
    Ok(plan)
}
