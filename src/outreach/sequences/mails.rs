//! The mails of sequences as people and agents see them, and what their receivers do: follow a link, unsubscribe.

use serde_json::{Value, json};

use super::super::touchpoints::{self, Touch};
use super::{compose, enrol, send};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crm::LEAD;
use crate::db::{Db, args};
use crate::error::{Error, Result};
use crate::outreach::SEQUENCE;
use crate::records::{Record, Request, execute, store};

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
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.tenant_id, m.enrolment_id, m.sequence_id, m.lead_id, m.step, m.address, m.status, m.subject, m.body, m.citations, m.warnings, m.due_on,
             m.transmitted_on, m.attempts, m.last_error, e.token FROM mails m JOIN enrolments e ON e.id = m.enrolment_id ",
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
            "body": self.body,
            "citations": citations,
            "warnings": warnings,
            "dueAt": self.due_on.rfc3339(),
            "sentAt": self.transmitted_on.map(Time::rfc3339),
            "attempts": self.attempts,
            "detail": self.last_error,
        }))
    }
}

/// Returns mails of a sequence or of a lead, the newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    tenant_id: &str,
    sequence_id: Option<&str>,
    lead_id: Option<&str>,
    limit: i64,
) -> Result<Vec<Mail>> {
    app.db
        .all(
            select!(
                "WHERE m.tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR m.sequence_id = $2) AND (CAST($3 AS TEXT) IS NULL OR m.lead_id = $3) ORDER BY m.id DESC LIMIT $4"
            ),
            args![tenant_id, sequence_id, lead_id, limit],
        )
        .await
}

/// Returns how many enrolments and mails of a sequence are in each state.
///
/// # Errors
/// Those of the database.
pub async fn counts(app: &App, tenant_id: &str, sequence_id: &str) -> Result<Value> {
    let enrolments: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT status, COUNT(*) FROM enrolments WHERE sequence_id = $1 AND tenant_id = $2 GROUP BY status ORDER BY status",
            args![sequence_id, tenant_id],
        )
        .await?;
    let mails: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT status, COUNT(*) FROM mails WHERE sequence_id = $1 AND tenant_id = $2 GROUP BY status ORDER BY status",
            args![sequence_id, tenant_id],
        )
        .await?;
    let object = |rows: Vec<(String, i64)>| -> Value {
        let members = rows.into_iter().map(|(word, count)| (word, json!(count)));
        Value::Object(members.collect())
    };
    Ok(json!({"enrollments": object(enrolments), "emails": object(mails)}))
}

/// An enrolment found by its token.
#[derive(Debug, sqlx::FromRow)]
struct Enrolled {
    id: String,
    tenant_id: String,
    lead_id: String,
}

async fn by_token(app: &App, token: &str) -> Result<Enrolled> {
    let found: Option<Enrolled> = app
        .db
        .optional(
            "SELECT id, tenant_id, lead_id FROM enrolments WHERE token = $1",
            args![token],
        )
        .await?;
    found.ok_or_else(|| Error::not_found("link_unknown", "this link is not valid"))
}

/// Unsubscribes the receiver of the mail with a token: its address is blocked and its sequences end. Repeating it changes nothing.
///
/// # Errors
/// `link_unknown`.
pub async fn unsubscribe(app: &App, token: &str) -> Result<()> {
    let enrolled = by_token(app, token).await?;
    let addresses: Vec<(String,)> = app
        .db
        .all(
            "SELECT DISTINCT address FROM mails WHERE enrolment_id = $1 AND tenant_id = $2",
            args![&enrolled.id, &enrolled.tenant_id],
        )
        .await?;
    for (address,) in addresses {
        block(app, &enrolled.tenant_id, &address, "unsubscribed", None).await?;
    }
    Ok(())
}

/// Returns whether a token belongs to an enrolment.
///
/// # Errors
/// `link_unknown`.
pub async fn check_token(app: &App, token: &str) -> Result<()> {
    by_token(app, token).await.map(|_| ())
}

/// Counts a click on a tracked link, and returns where it leads.
///
/// # Errors
/// `link_unknown` for an address that no mail contained.
pub async fn follow(
    app: &App,
    token: &str,
    mail_id: &str,
    target: &str,
    signature: &str,
) -> Result<()> {
    use subtle::ConstantTimeEq;
    let enrolled = by_token(app, token).await?;
    let expected = compose::sign(token, mail_id, target);
    if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(Error::not_found("link_unknown", "this link is not valid"));
    }
    let touch = Touch {
        touchpoint_type: "cta_clicked".to_owned(),
        summary: format!("clicked {}", target.chars().take(500).collect::<String>()),
        metadata: serde_json::Map::from_iter([("mailId".to_owned(), json!(mail_id))]),
        ..Touch::default()
    };
    touch_lead(app, &enrolled.tenant_id, &enrolled.lead_id, touch).await
}

/// Logs a touchpoint of a lead that still exists.
pub(super) async fn touch_lead(
    app: &App,
    tenant_id: &str,
    lead_id: &str,
    touch: Touch,
) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let Some(_) = store::optional(&app.db, tenant_id, &LEAD, lead_id).await? else {
        return Ok(());
    };
    let request = Request::internal(&caller, "logTouchpoint");
    execute(app, &request, || async {
        let lead: Record = store::get(app, tenant_id, &LEAD, lead_id).await?;
        touchpoints::log(app, &caller, lead, touch.clone()).await
    })
    .await
    .map(|_| ())
}

/// Blocks an address of a tenant, marks the mail that bounced, and ends the sequences of the leads that have the address.
///
/// # Errors
/// Those of the database.
pub async fn block(
    app: &App,
    tenant_id: &str,
    address: &str,
    reason: &str,
    detail: Option<&str>,
) -> Result<()> {
    let address = address.trim().to_lowercase();
    let now = app.clock.now();
    let leads: Vec<(String,)> = app
        .db
        .all(
            "SELECT DISTINCT lead_id FROM mails WHERE address = $1 AND tenant_id = $2",
            args![&address, tenant_id],
        )
        .await?;
    let mut tx = app.db.begin().await?;
    send::block(&mut tx, tenant_id, &address, reason, now).await?;
    if reason == "bounced" {
        tx.execute(
            "UPDATE mails SET status = 'bounced', last_error = $1, updated_on = $2 WHERE address = $3 AND tenant_id = $4 AND status IN ('sent', 'unconfirmed')
             AND transmitted_on = (SELECT MAX(transmitted_on) FROM mails WHERE address = $3 AND tenant_id = $4)",
            args![detail, now, &address, tenant_id],
        )
        .await?;
    }
    for (lead_id,) in &leads {
        enrol::stop_lead(app, &mut tx, tenant_id, lead_id, reason).await?;
    }
    app.commit(tx).await?;
    for (lead_id,) in leads {
        let touch = Touch {
            touchpoint_type: format!("email_{reason}"),
            summary: format!("{address} {reason}"),
            text: detail.map(str::to_owned),
            ..Touch::default()
        };
        touch_lead(app, tenant_id, &lead_id, touch).await?;
    }
    Ok(())
}
