//! The mails of sequences as people and agents see them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::enrol;
use crate::app::App;
use crate::clock::Time;
use crate::db::{Db, args};
use crate::error::Result;
use crate::outreach::SEQUENCE;

/// A mail with the token of its enrolment.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Mail {
    pub id: String,
    pub tenant_id: String,
    pub enrolment_id: String,
    pub sequence_id: String,
    pub lead_id: String,
    /// From 0.
    pub step: i64,
    pub address: String,
    pub status: String,
    pub subject: Option<String>,
    pub body: Option<String>,
    pub citations: String,
    pub warnings: String,
    pub due_on: Time,
    pub transmitted_on: Option<Time>,
    pub attempts: i64,
    pub last_error: Option<String>,
    pub token: String,
    pub link_key: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.tenant_id, m.enrolment_id, m.sequence_id, m.lead_id, m.step, m.address, m.status, m.subject, m.body, m.citations, m.warnings, m.due_on,
             m.transmitted_on, m.attempts, m.last_error, e.token, e.link_key FROM mails m JOIN enrolments e ON e.id = m.enrolment_id ",
            $rest
        )
    };
}

impl Mail {
    pub(super) async fn get(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Self>> {
        db.optional(
            select!("WHERE m.id = $1 AND m.tenant_id = $2"),
            args![id, tenant_id],
        )
        .await
    }

    /// Returns the mail as the API shows it.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn to_json(&self) -> Result<Value> {
        let citations: Value = serde_json::from_str(&self.citations)?;
        let warnings: Value = serde_json::from_str(&self.warnings)?;
        Ok(json!({
            "id": self.id,
            "campaignId": SEQUENCE.public_id(&self.sequence_id),
            "enrollmentId": enrol::enrolment_id(&self.enrolment_id),
            "leadId": format!("rp_{}", self.lead_id),
            "step": self.step + 1,
            "to": self.address,
            "status": self.status,
            "subject": self.subject,
            // The links of the receiver act for the receiver.
            "body": self.body.as_ref().map(|body| body.replace(&self.token, "…")),
            "citations": citations,
            "warnings": warnings,
            "dueAt": self.due_on.rfc3339(),
            "sentAt": self.transmitted_on.map(Time::rfc3339),
            "attempts": self.attempts,
            "detail": self.last_error,
        }))
    }
}

/// Returns the mails of a sequence, of one lead if given, the newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    tenant_id: &str,
    sequence_id: &str,
    lead_id: Option<&str>,
    limit: i64,
) -> Result<Vec<Mail>> {
    app.db
        .all(
            select!(
                "WHERE m.sequence_id = $1 AND m.tenant_id = $2 AND (CAST($3 AS TEXT) IS NULL OR m.lead_id = $3) ORDER BY m.id DESC LIMIT $4"
            ),
            args![sequence_id, tenant_id, lead_id, limit],
        )
        .await
}

/// How many enrolments and mails are in each state.
#[derive(Debug, Default)]
pub struct Counts {
    enrolments: Map<String, Value>,
    mails: Map<String, Value>,
}

impl Counts {
    /// Returns the counts as the API shows them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"enrollments": self.enrolments, "emails": self.mails})
    }
}

/// Returns the counts of the sequences of a tenant, or of one of them, by the ids of their rows.
///
/// # Errors
/// Those of the database.
pub async fn counts(
    app: &App,
    tenant_id: &str,
    sequence_id: Option<&str>,
) -> Result<HashMap<String, Counts>> {
    let enrolments: Vec<(String, String, i64)> = app
        .db
        .all(
            "SELECT sequence_id, status, COUNT(*) FROM enrolments WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR sequence_id = $2) GROUP BY sequence_id, status ORDER BY sequence_id, status",
            args![tenant_id, sequence_id],
        )
        .await?;
    let mails: Vec<(String, String, i64)> = app
        .db
        .all(
            "SELECT sequence_id, status, COUNT(*) FROM mails WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR sequence_id = $2) GROUP BY sequence_id, status ORDER BY sequence_id, status",
            args![tenant_id, sequence_id],
        )
        .await?;
    let mut found: HashMap<String, Counts> = HashMap::new();
    for (id, status, count) in enrolments {
        let of = &mut found.entry(id).or_default().enrolments;
        of.insert(status, json!(count));
    }
    for (id, status, count) in mails {
        let of = &mut found.entry(id).or_default().mails;
        of.insert(status, json!(count));
    }
    Ok(found)
}
