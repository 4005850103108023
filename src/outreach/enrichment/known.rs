//! Enrichment from what is stored already: the company with the mail domain or the name of the lead, earlier leads of the same company, and the knowledge base.

use std::sync::Arc;

use serde_json::Value;

use super::{FIELDS, Findings, Subject};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::crm::{COMPANY, LEAD};
use crate::error::Result;
use crate::kb::datasets;
use crate::page::Page;
use crate::records::Record;
use crate::records::body::text;
use crate::records::store::{self, Offset};
use crate::search;

const PROVIDER: &str = "known";
/// Other leads that are read.
const LEADS: i64 = 20;
/// Datasets and passages of the knowledge base that are read.
const DATASETS: i64 = 20;
const PASSAGES: usize = 3;

pub(super) async fn ask(
    app: &Arc<App>,
    caller: &Caller,
    subject: &Subject,
    found: &mut Findings,
) -> Result<()> {
    company(app, caller, subject, found).await?;
    colleagues(app, caller, subject, found).await?;
    let company = subject
        .company
        .clone()
        .or(found.get("companyName").map(str::to_owned));
    if let Some(company) = company {
        passages(app, caller, &company, found).await?;
    }
    Ok(())
}

async fn first(app: &App, tenant_id: &str, name: &str, value: &str) -> Result<Option<Record>> {
    let query = Offset {
        filters: vec![(name.to_owned(), value.to_owned())],
        limit: 1,
        ..Offset::default()
    };
    let (found, _) = store::at_offset(app, tenant_id, &COMPANY, &query).await?;
    Ok(found.into_iter().next())
}

async fn company(
    app: &App,
    caller: &Caller,
    subject: &Subject,
    found: &mut Findings,
) -> Result<()> {
    let mut known = None;
    if let Some(domain) = &subject.domain {
        known = first(app, caller.tenant(), "domain", domain).await?;
    }
    if let (None, Some(name)) = (&known, &subject.company) {
        known = first(app, caller.tenant(), "name", name).await?;
    }
    let Some(known) = known else {
        return Ok(());
    };
    let body = known.body()?;
    let source = COMPANY.public_id(&known.id);
    for (field, name) in [
        ("companyName", "name"),
        ("website", "website"),
        ("companyPhone", "phone"),
    ] {
        if let Some(value) = text(&body, name) {
            found.add(field, value, PROVIDER, &source);
        }
    }
    Ok(())
}

/// Takes over what is known of the company from other leads with its mail domain: never a person's own title or profile.
async fn colleagues(
    app: &App,
    caller: &Caller,
    subject: &Subject,
    found: &mut Findings,
) -> Result<()> {
    let Some(domain) = &subject.domain else {
        return Ok(());
    };
    let query = Offset {
        filters: vec![("mail_domain".to_owned(), domain.clone())],
        limit: LEADS,
        ..Offset::default()
    };
    let (leads, _) = store::at_offset(app, caller.tenant(), &LEAD, &query).await?;
    for lead in leads.iter().filter(|lead| lead.id != subject.id) {
        let body = lead.body()?;
        let source = format!("rp_{}", lead.id);
        for name in ["companyName", "companySize", "companyRevenue"] {
            let field = FIELDS.iter().find(|(n, _)| *n == name).map(|(_, f)| *f);
            if let Some(value) = field.and_then(|field| text(&body, field)) {
                found.add(name, value, PROVIDER, &source);
            }
        }
        if let Some(value) = text(&body, "company_name") {
            found.add("companyName", value, PROVIDER, &source);
        }
        let website = body.get("crm_data").and_then(|d| d["website"].as_str());
        if let Some(website) = website {
            found.add("website", website, PROVIDER, &source);
        }
    }
    Ok(())
}

/// Looks for passages about the company, in datasets that the caller may search: only those that name it.
async fn passages(
    app: &Arc<App>,
    caller: &Caller,
    company: &str,
    found: &mut Findings,
) -> Result<()> {
    let page = Page::read(Some(DATASETS), None, DATASETS)?;
    let visible = datasets::visible(app, caller, &page).await?;
    let ids: Vec<String> = visible
        .items
        .into_iter()
        .map(|dataset| dataset.id)
        // The records of sales are no source about a company; they are what is being enriched.
        .filter(|id| Area::of_dataset(id).is_none_or(|area| area == Area::Knowledge))
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut request = search::request::Request::new(company, ids);
    request.top_k = PASSAGES;
    request.plain = true;
    let wanted = company.to_lowercase();
    for hit in search::search(app, caller, &request).await?.hits {
        if hit.chunk.content.to_lowercase().contains(&wanted) {
            let detail: String = hit.chunk.content.chars().take(300).collect();
            let topic = hit.title.clone().unwrap_or_else(|| hit.file_name.clone());
            found
                .points
                .push((topic, detail, hit.citation().to_string()));
        }
    }
    Ok(())
}

/// Returns the text of a member of an object.
#[must_use]
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .filter(|w| !w.trim().is_empty())
}
