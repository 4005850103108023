//! Connections between leads, each with its evidence: the same company, the same mail domain, the same campaign, texts that resemble each other by the vectors of
//! the search.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::PRIVATE;
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;
use crate::outreach::SEQUENCE;
use crate::records::Record;
use crate::records::body::text;
use crate::records::store::{self, Offset};
use crate::search;

/// Leads that are compared by one field.
const LEADS: i64 = 50;
/// Leads with similar texts.
const SIMILAR: usize = 10;
/// Scores from which texts count as similar, and as very similar.
const RESEMBLES: f32 = 0.5;
const CLOSE: f32 = 0.7;

/// A connection to another lead.
struct Connection {
    lead: Record,
    kind: &'static str,
    detail: String,
    strength: &'static str,
    evidence: Value,
}

/// Returns the connections of a lead as the API shows them, the strongest first.
///
/// # Errors
/// Those of the database and of the search.
pub async fn connections(app: &Arc<App>, caller: &Caller, lead: &Record) -> Result<Vec<Value>> {
    let body = lead.body()?;
    let mut found: Vec<Connection> = Vec::new();
    let domain = text(&body, "email")
        .and_then(|e| e.split_once('@'))
        .map(|(_, d)| d.to_lowercase());
    if let Some(domain) = domain.filter(|d| !PRIVATE.contains(&d.as_str())) {
        for other in with(app, caller, "mail_domain", &domain, lead).await? {
            found.push(Connection {
                lead: other,
                kind: "same_mail_domain",
                detail: format!("both have addresses at {domain}"),
                strength: "high",
                evidence: json!({"field": "email", "value": domain}),
            });
        }
    }
    if let Some(company) = text(&body, "company_name") {
        for other in with(app, caller, "company_name", company, lead).await? {
            found.push(Connection {
                lead: other,
                kind: "same_company",
                detail: format!("both are at {company}"),
                strength: "high",
                evidence: json!({"field": "organizationName", "value": company}),
            });
        }
    }
    campaigns(app, caller, lead, &mut found).await?;
    similar(app, caller, lead, &mut found).await?;
    let rank = |strength: &str| match strength {
        "high" => 0,
        "medium" => 1,
        _ => 2,
    };
    found.sort_by_key(|c| rank(c.strength));
    let mut shown = Vec::with_capacity(found.len());
    for connection in found {
        shown.push(json!({
            "leadId": format!("rp_{}", connection.lead.id),
            "name": connection.lead.title,
            "connectionType": connection.kind,
            "detail": connection.detail,
            "strength": connection.strength,
            "evidence": connection.evidence,
        }));
    }
    Ok(shown)
}

/// Returns other leads with a value of a field.
async fn with(
    app: &App,
    caller: &Caller,
    name: &str,
    value: &str,
    lead: &Record,
) -> Result<Vec<Record>> {
    let query = Offset {
        filters: vec![(name.to_owned(), value.to_owned())],
        limit: LEADS,
        ..Offset::default()
    };
    let (found, _) = store::at_offset(app, caller.tenant(), &LEAD, &query).await?;
    Ok(found
        .into_iter()
        .filter(|other| other.id != lead.id)
        .collect())
}

async fn campaigns(
    app: &App,
    caller: &Caller,
    lead: &Record,
    found: &mut Vec<Connection>,
) -> Result<()> {
    let shared: Vec<(String, String)> = app
        .db
        .all(
            "SELECT b.lead_id, a.sequence_id FROM enrolments a JOIN enrolments b ON b.sequence_id = a.sequence_id AND b.lead_id <> a.lead_id
             WHERE a.lead_id = $1 AND a.tenant_id = $2 AND b.tenant_id = $2 GROUP BY b.lead_id, a.sequence_id ORDER BY b.lead_id LIMIT $3",
            args![&lead.id, caller.tenant(), LEADS],
        )
        .await?;
    let mut by_lead: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (other, sequence) in shared {
        by_lead
            .entry(other)
            .or_default()
            .push(SEQUENCE.public_id(&sequence));
    }
    for (id, sequences) in by_lead {
        if let Some(other) = store::optional(&app.db, caller.tenant(), &LEAD, &id).await? {
            found.push(Connection {
                lead: other,
                kind: "same_campaign",
                detail: format!("both were in {} campaigns", sequences.len()),
                strength: "low",
                evidence: json!({"campaigns": sequences}),
            });
        }
    }
    Ok(())
}

/// Finds leads whose texts resemble that of the lead, by vectors.
async fn similar(
    app: &Arc<App>,
    caller: &Caller,
    lead: &Record,
    found: &mut Vec<Connection>,
) -> Result<()> {
    let body = lead.body()?;
    let about = ["business_type", "job_title", "notes", "company_name"];
    let about: Vec<&str> = about.iter().filter_map(|name| text(&body, name)).collect();
    if about.is_empty() {
        return Ok(());
    }
    let dataset = Area::Crm.dataset_id(caller.tenant());
    let mut request = search::request::Request::new(about.join("\n"), vec![dataset]);
    request.top_k = 2 * SIMILAR;
    request.plain = true;
    request.alpha = Some(1.0);
    let mut seen = HashSet::from([lead.id.clone()]);
    for hit in search::search(app, caller, &request).await?.hits {
        let metadata: Value = serde_json::from_str(&hit.metadata)?;
        let (Some(kind), Some(id)) = (metadata["kind"].as_str(), metadata["recordId"].as_str())
        else {
            continue;
        };
        if kind != LEAD.name || hit.score < RESEMBLES || !seen.insert(id.to_owned()) {
            continue;
        }
        if let Some(other) = store::optional(&app.db, caller.tenant(), &LEAD, id).await? {
            found.push(Connection {
                lead: other,
                kind: "similar_profile",
                detail: "their descriptions resemble each other".to_owned(),
                strength: if hit.score >= CLOSE { "medium" } else { "low" },
                evidence: json!({"score": hit.score, "text": hit.chunk.content.chars().take(200).collect::<String>()}),
            });
        }
        if seen.len() > SIMILAR {
            break;
        }
    }
    Ok(())
}
