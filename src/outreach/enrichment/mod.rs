//! Enrichment of leads, synchronously and within a time limit. Providers are asked in order, and a later one adds only what is still unknown: what Cairn knows
//! already, the company's own website, and a configured endpoint. Every value carries its source; what nobody knows stays unknown.

mod connections;
mod endpoint;
mod known;
pub(crate) mod website;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

pub use connections::connections;

use super::leads;
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::error::Result;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, Patch};
use crate::records::{Record, Request, execute};

/// Time for one lead.
pub const TIME: Duration = Duration::from_secs(20);
/// Time for all leads of one call.
pub const BULK_TIME: Duration = Duration::from_secs(25);
/// Leads of one call.
pub const BULK: usize = 5;

/// Fields that enrichment sets on a lead: the name in the API and that of the lead's field.
const FIELDS: [(&str, &str); 6] = [
    ("title", "job_title"),
    ("seniority", "seniority"),
    ("companyName", "enriched_company_name"),
    ("linkedinUrl", "linkedin_url"),
    ("companySize", "company_size"),
    ("companyRevenue", "company_revenue"),
];

/// A value that a provider found.
#[derive(Debug, Clone)]
struct Finding {
    /// Name in the API.
    field: String,
    value: String,
    /// Name of the provider.
    provider: &'static str,
    /// Address, record or document that says so.
    source: String,
}

/// Findings of the providers.
#[derive(Debug, Default)]
struct Findings {
    fields: Vec<Finding>,
    /// Points to talk about: topic, detail, source.
    points: Vec<(String, String, String)>,
    /// Reason of each provider that found nothing.
    misses: Vec<String>,
}

impl Findings {
    fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|f| f.field == field)
    }

    fn get(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|f| f.field == field);
        found.map(|f| f.value.as_str())
    }

    /// Adds a value of a field that is still unknown.
    fn add(&mut self, field: &str, value: &str, provider: &'static str, source: &str) {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let value: String = value.chars().take(300).collect();
        if !value.is_empty() && !self.has(field) {
            self.fields.push(Finding {
                field: field.to_owned(),
                value,
                provider,
                source: source.to_owned(),
            });
        }
    }
}

/// Facts about a lead that providers start from.
#[derive(Debug)]
struct Subject {
    id: String,
    name: String,
    email: String,
    /// Domain of a company's mail address; `None` for providers of private mail.
    domain: Option<String>,
    company: Option<String>,
    website: Option<String>,
}

/// Domains of private mail addresses, which say nothing about a company.
const PRIVATE: [&str; 22] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "yahoo.com",
    "ymail.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "proton.me",
    "protonmail.com",
    "mail.com",
    "zoho.com",
    "yandex.com",
    "qq.com",
];

impl Subject {
    fn of(lead: &Record) -> Result<Self> {
        let body = lead.body()?;
        let word = |name: &str| text(&body, name).map(str::trim).filter(|w| !w.is_empty());
        let email = word("email").unwrap_or_default().to_lowercase();
        let domain = email.split_once('@').map(|(_, domain)| domain.to_owned());
        let website = body.get("crm_data").and_then(|d| d["website"].as_str());
        Ok(Self {
            id: lead.id.clone(),
            name: word("name").unwrap_or_default().to_owned(),
            domain: domain.filter(|d| !PRIVATE.contains(&d.as_str())),
            email,
            company: word("company_name").map(str::to_owned),
            website: website.map(str::to_owned),
        })
    }
}

/// Returns the seniority that a title says.
fn seniority(title: &str) -> Option<&'static str> {
    let title = title.to_lowercase();
    let has = |words: &[&str]| {
        words.iter().any(|word| {
            title
                .split(|c: char| !c.is_alphanumeric())
                .any(|part| part == *word)
        })
    };
    if has(&["founder", "cofounder", "owner"]) {
        Some("founder")
    } else if has(&["ceo", "cto", "cfo", "coo", "cmo", "chief", "president"]) {
        Some("c_level")
    } else if has(&["vp"]) || title.contains("vice president") {
        Some("vp")
    } else if has(&["director", "head"]) {
        Some("director")
    } else if has(&["manager", "lead"]) {
        Some("manager")
    } else if has(&["senior", "principal"]) {
        Some("senior")
    } else {
        None
    }
}

/// Asks the providers.
async fn gather(app: &Arc<App>, caller: &Caller, subject: &Subject, limit: Duration) -> Findings {
    let deadline = Instant::now() + limit;
    let mut found = Findings::default();
    let rest = || deadline.saturating_duration_since(Instant::now());
    let note =
        |provider: &str, outcome: std::result::Result<Result<()>, _>, found: &mut Findings| {
            let said = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.public_message().to_owned(),
                Err(tokio::time::error::Elapsed { .. }) => "it did not answer in time".to_owned(),
            };
            found.misses.push(format!("{provider}: {said}"));
        };
    let outcome = timeout(rest(), known::ask(app, caller, subject, &mut found)).await;
    note("known", outcome, &mut found);
    let outcome = timeout(rest().mul_f64(0.7), website::ask(app, subject, &mut found)).await;
    note("website", outcome, &mut found);
    if !app.config.enrichment_url.is_empty() {
        let outcome = timeout(rest(), endpoint::ask(app, subject, &mut found)).await;
        note("endpoint", outcome, &mut found);
    }
    if let Some((title, source)) = found
        .fields
        .iter()
        .find(|f| f.field == "title")
        .map(|f| (f.value.clone(), f.source.clone()))
        && let Some(word) = seniority(&title)
    {
        found.add("seniority", word, "title", &source);
    }
    found
}

/// Returns the enrichment of a lead as the API shows it.
#[must_use]
pub fn shown(lead: &Record, body: &Body) -> Value {
    let none = json!({"status": "none"});
    let stored = body.get("sales_enrichment").unwrap_or(&none);
    let mut answer = json!({
        "leadId": format!("rp_{}", lead.id),
        "status": stored["status"],
        "enrichment": stored,
    });
    if let Some(reason) = stored["reason"].as_str() {
        answer["reason"] = json!(reason);
    }
    answer
}

/// Enriches a lead. One that is complete stays as it is unless `force`.
///
/// # Errors
/// `record_not_found`, and those of the database; a lead of which nothing is found is no error.
pub async fn enrich(
    app: &Arc<App>,
    caller: &Caller,
    lead_id: &str,
    force: bool,
    limit: Duration,
) -> Result<Value> {
    let lead = leads::load(app, caller.tenant(), lead_id).await?;
    let body = lead.body()?;
    let is_complete = body
        .get("sales_enrichment")
        .is_some_and(|e| e["status"] == "complete");
    if is_complete && !force {
        let mut answer = shown(&lead, &body);
        answer["unchanged"] = json!(true);
        return Ok(answer);
    }
    let subject = Subject::of(&lead)?;
    let found = gather(app, caller, &subject, limit).await;
    let request = Request::internal(caller, "enrichLead");
    let row_id = lead.id.clone();
    execute(app, &request, || store(app, caller, &row_id, &found)).await?;
    let lead = leads::load(app, caller.tenant(), lead_id).await?;
    let body = lead.body()?;
    let mut answer = shown(&lead, &body);
    for (name, field) in FIELDS {
        answer[name] = json!(text(&body, field));
    }
    Ok(answer)
}

/// Returns a plan that stores findings on a lead. A value that somebody else has set is kept.
async fn store(app: &App, caller: &Caller, lead_id: &str, found: &Findings) -> Result<Plan> {
    let lead = leads::load(app, caller.tenant(), lead_id).await?;
    let body = lead.body()?;
    let before = body
        .get("sales_enrichment")
        .and_then(|e| e.get("fields"))
        .cloned();
    let is_ours = |name: &str, value: &str| {
        before
            .as_ref()
            .is_some_and(|b| b[name]["value"].as_str() == Some(value))
    };
    let mut set = Body::new();
    let mut fields = serde_json::Map::new();
    let mut kept = Vec::new();
    for finding in &found.fields {
        let target = FIELDS.iter().find(|(name, _)| *name == finding.field);
        if let Some((name, field)) = target {
            match text(&body, field) {
                Some(value) if !is_ours(name, value) => kept.push(*name),
                _ => {
                    set.insert((*field).to_owned(), json!(finding.value));
                }
            }
        }
        fields.insert(
            finding.field.clone(),
            json!({"value": finding.value, "provider": finding.provider, "source": finding.source}),
        );
    }
    let is_found = !fields.is_empty();
    if !is_found && let Some(Value::Object(earlier)) = &before {
        // What providers said earlier stays, with its sources.
        fields.clone_from(earlier);
    }
    let now = app.clock.now().rfc3339();
    let mut sources: Vec<&str> = found.fields.iter().map(|f| f.provider).collect();
    sources.dedup();
    let points: Vec<Value> = found
        .points
        .iter()
        .map(|(topic, detail, source)| json!({"topic": topic, "detail": detail, "source": source}))
        .collect();
    let confidence = match fields.len() {
        0 => "none",
        1 | 2 => "low",
        3 | 4 => "medium",
        _ => "high",
    };
    let mut enrichment = json!({
        "status": if is_found { "complete" } else { "failed" },
        "fields": fields,
        "sources": sources,
        "discussionPoints": points,
        "confidence": {"overall": confidence},
        "keptAsSet": kept,
        "misses": found.misses,
        "enrichedAt": now,
    });
    if !is_found {
        let reason = if found.misses.is_empty() {
            "no provider knows anything about this lead".to_owned()
        } else {
            format!(
                "no provider knows anything about this lead ({})",
                found.misses.join("; ")
            )
        };
        enrichment["reason"] = json!(reason);
    }
    let patch = Patch {
        is_silent: set.is_empty(),
        body: set,
        computed: Body::from_iter([("sales_enrichment".to_owned(), enrichment)]),
        ..Patch::default()
    };
    write::update(app, caller, &LEAD, lead, patch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_say_the_seniority_by_whole_words() {
        assert_eq!(seniority("Chief Dental Officer"), Some("c_level"));
        assert_eq!(seniority("Head of Sales"), Some("director"));
        assert_eq!(seniority("Headhunter"), None);
    }

    #[test]
    fn the_first_provider_that_knows_a_field_is_kept() {
        let mut found = Findings::default();
        found.add("companyName", "Acme  Ltd", "known", "com_1");
        found.add("companyName", "Acme Inc", "website", "https://acme.test/");
        assert_eq!(
            (found.get("companyName"), found.fields.len()),
            (Some("Acme Ltd"), 1)
        );
    }
}
