//! Enrolments: which leads are in which sequences, and the guardrails of entering one.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{SEQUENCE, leads};
use super::steps;
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crm::LEAD;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, Task};
use crate::records::Record;
use crate::records::body::text;
use crate::records::plan::{Effect, Plan};
use crate::records::store::{self, ListQuery};

/// Sequences that one event can begin.
const SEQUENCES: i64 = 50;

/// Enrols a lead when the plan is executed.
#[derive(Debug)]
struct Enrol {
    tenant_id: String,
    id: String,
    token: String,
    /// Secret that signs its links; no mail contains it.
    link_key: String,
    sequence_id: String,
    lead_id: String,
    address: String,
    event: String,
    /// Minutes until the first mail.
    delay: i64,
    /// Whether the plan fails when the lead cannot be enrolled.
    is_required: bool,
}

fn refused(code: &'static str, message: String, hint: &str) -> Error {
    Error::conflict(code, message).with_hint(hint)
}

fn enrolled_already() -> Error {
    refused(
        "already_enrolled",
        "the lead is in this campaign already".to_owned(),
        "wait until its sequence has ended, or choose another campaign",
    )
}

/// Locks an address for this transaction. Returns why it is blocked, if so.
pub(in crate::outreach) async fn lock_address(
    tx: &mut Tx,
    tenant_id: &str,
    address: &str,
) -> Result<Option<String>> {
    tx.execute(
        "INSERT INTO mail_addresses (address, tenant_id) VALUES ($1, $2) ON CONFLICT (address, tenant_id) DO UPDATE SET address = excluded.address",
        args![address, tenant_id],
    )
    .await?;
    let found: Option<(Option<String>,)> = tx
        .optional(
            "SELECT blocked FROM mail_addresses WHERE address = $1 AND tenant_id = $2",
            args![address, tenant_id],
        )
        .await?;
    Ok(found.and_then(|(blocked,)| blocked))
}

impl Enrol {
    /// Returns why the lead cannot be enrolled now.
    async fn refusal(&self, app: &App, tx: &mut Tx) -> Result<Option<Error>> {
        if let Some(blocked) = lock_address(tx, &self.tenant_id, &self.address).await? {
            return Ok(Some(refused(
                "address_blocked",
                format!("the address of this lead is blocked: {blocked}"),
                "set another email on the lead; a blocked address gets no mails",
            )));
        }
        let active: Option<(String,)> = tx
            .optional(
                "SELECT id FROM enrolments WHERE lead_id = $1 AND sequence_id = $2 AND status = 'active'",
                args![&self.lead_id, &self.sequence_id],
            )
            .await?;
        if active.is_some() {
            return Ok(Some(enrolled_already()));
        }
        let last: Option<(Option<Time>,)> = tx
            .optional(
                "SELECT MAX(m.transmitted_on) FROM mails m JOIN enrolments e ON e.id = m.enrolment_id WHERE m.lead_id = $1 AND m.tenant_id = $2 AND e.status <> 'active'",
                args![&self.lead_id, &self.tenant_id],
            )
            .await?;
        let hours = app.config.mail_cooldown_hours;
        let cooldown = std::time::Duration::from_secs(hours * 3600);
        let until = last.and_then(|(at,)| at).map(|at| at.plus(cooldown));
        if let Some(until) = until.filter(|until| *until > app.clock.now()) {
            return Ok(Some(refused(
                "cooldown_active",
                format!("a sequence of this lead has ended less than {hours} hours ago"),
                &format!("enrol the lead again after {}", until.rfc3339()),
            )));
        }
        Ok(None)
    }
}

#[async_trait]
impl Effect for Enrol {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        if let Some(refusal) = self.refusal(app, tx).await? {
            if self.is_required {
                return Err(refusal);
            }
            tracing::info!(
                lead = self.lead_id,
                sequence = self.sequence_id,
                reason = refusal.code(),
                "a lead was not enrolled"
            );
            return Ok(None);
        }
        let now = app.clock.now();
        let added = tx
            .execute(
                "INSERT INTO enrolments (id, tenant_id, sequence_id, lead_id, status, trigger_event, token, link_key, started_on)
                 VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                args![
                    &self.id,
                    &self.tenant_id,
                    &self.sequence_id,
                    &self.lead_id,
                    &self.event,
                    &self.token,
                    &self.link_key,
                    now
                ],
            )
            .await?;
        if added == 0 {
            // Enrolled at the same moment, with another address of the lead.
            return if self.is_required {
                Err(enrolled_already())
            } else {
                Ok(None)
            };
        }
        let mail = NewMail {
            tenant_id: &self.tenant_id,
            enrolment_id: &self.id,
            sequence_id: &self.sequence_id,
            lead_id: &self.lead_id,
            address: &self.address,
            step: 0,
            delay_minutes: self.delay,
        };
        mail.insert(app, tx).await?;
        Ok(None)
    }
}

/// The mail of a step that is due after a delay.
pub(super) struct NewMail<'a> {
    pub tenant_id: &'a str,
    pub enrolment_id: &'a str,
    pub sequence_id: &'a str,
    pub lead_id: &'a str,
    pub address: &'a str,
    pub step: i64,
    pub delay_minutes: i64,
}

impl NewMail<'_> {
    /// Adds the mail and its job, once per step.
    pub(super) async fn insert(&self, app: &App, tx: &mut Tx) -> Result<()> {
        let (id, now) = (app.clock.id(), app.clock.now());
        let minutes = u64::try_from(self.delay_minutes).unwrap_or(0);
        let due = now.plus(std::time::Duration::from_secs(minutes * 60));
        let added = tx
            .execute(
                "INSERT INTO mails (id, tenant_id, enrolment_id, sequence_id, lead_id, step, address, status, citations, warnings, due_on, attempts, created_on, updated_on)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', '[]', '[]', $8, 0, $9, $9) ON CONFLICT (enrolment_id, step) DO NOTHING",
                args![&id, self.tenant_id, self.enrolment_id, self.sequence_id, self.lead_id, self.step, self.address, due, now],
            )
            .await?;
        if added > 0 {
            send_at(app, tx, self.tenant_id, &id, due).await?;
        }
        Ok(())
    }
}

/// Queues a job that sends a mail at a time.
pub(super) async fn send_at(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    mail_id: &str,
    due: Time,
) -> Result<()> {
    let task = Task::SendMail {
        mail_id: mail_id.to_owned(),
    };
    let options = jobs::EnqueueOptions {
        group: "mail",
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: Some(due),
        small: false,
    };
    jobs::enqueue(tx, &app.clock, tenant_id, &task, options).await?;
    Ok(())
}

fn effect(
    app: &App,
    caller: &Caller,
    sequence: &Record,
    lead: &Record,
    event: &str,
    is_required: bool,
) -> Result<Option<Enrol>> {
    let Some(address) = text(&lead.body()?, "email").map(|a| a.trim().to_lowercase()) else {
        return Ok(None);
    };
    let first = steps(&sequence.body()?).into_iter().next();
    Ok(first.map(|first| Enrol {
        tenant_id: caller.tenant().to_owned(),
        id: app.clock.id(),
        token: app.clock.secret(),
        link_key: app.clock.secret(),
        sequence_id: sequence.id.clone(),
        lead_id: lead.id.clone(),
        address,
        event: event.to_owned(),
        delay: first.delay_minutes,
        is_required,
    }))
}

/// Returns a plan that enrols a lead in a sequence.
///
/// # Errors
/// `record_not_found`, `campaign_inactive`, `lead_without_email`, `already_enrolled`, `cooldown_active`, `address_blocked`.
pub async fn enrol(app: &App, caller: &Caller, sequence_id: &str, lead_id: &str) -> Result<Plan> {
    let sequence = load(app, caller.tenant(), sequence_id).await?;
    let lead = leads::load(app, caller.tenant(), lead_id).await?;
    if sequence.status.as_deref() != Some("active") {
        return Err(refused(
            "campaign_inactive",
            format!(
                "this campaign is {}",
                sequence.status.as_deref().unwrap_or("not active")
            ),
            "choose an active campaign; GET /api/openclaw/campaigns lists them",
        ));
    }
    let enrol = effect(app, caller, &sequence, &lead, "manual", true)?;
    let enrol = enrol.ok_or_else(without_email)?;
    let due = u64::try_from(enrol.delay).unwrap_or(0) * 60;
    let due = app.clock.now().plus(std::time::Duration::from_secs(due));
    let data = json!({
        "id": enrolment_id(&enrol.id),
        "campaignId": SEQUENCE.public_id(&sequence.id),
        "leadId": format!("rp_{}", lead.id),
        "status": "active",
        "firstEmailDueAt": due.rfc3339(),
    });
    let mut plan = Plan::default().data(201, data);
    plan.notes.push((
        &LEAD,
        lead.id.clone(),
        "enrol",
        serde_json::Map::from_iter([(
            "campaign".to_owned(),
            json!([null, SEQUENCE.public_id(&sequence.id)]),
        )]),
    ));
    plan.after.push(Box::new(enrol));
    Ok(plan)
}

/// Returns a plan that enrols a lead in a sequence that is being added in the same transaction.
///
/// # Errors
/// `lead_without_email`.
pub fn enrol_new(app: &App, caller: &Caller, sequence: &Record, lead: &Record) -> Result<Plan> {
    let enrol = effect(app, caller, sequence, lead, "manual", true)?;
    let enrol = enrol.ok_or_else(without_email)?;
    let data = json!({
        "id": enrolment_id(&enrol.id),
        "campaignId": SEQUENCE.public_id(&sequence.id),
        "leadId": format!("rp_{}", lead.id),
        "status": "active",
    });
    let mut plan = Plan::default().data(201, data);
    plan.after.push(Box::new(enrol));
    Ok(plan)
}

fn without_email() -> Error {
    refused(
        "lead_without_email",
        "this lead has no email".to_owned(),
        "set email with PATCH /api/openclaw/leads/{leadId}",
    )
}

/// Returns the public id of an enrolment.
#[must_use]
pub fn enrolment_id(id: &str) -> String {
    format!("enr_{id}")
}

/// Returns a sequence by its public id or that of its row.
///
/// # Errors
/// `record_not_found`.
pub async fn load(app: &App, tenant_id: &str, public_id: &str) -> Result<Record> {
    let id = SEQUENCE.row_id(public_id).unwrap_or(public_id);
    let found = store::optional(&app.db, tenant_id, &SEQUENCE, id).await?;
    found.ok_or_else(|| {
        Error::not_found(
            "record_not_found",
            format!("there is no campaign {public_id:?}"),
        )
        .with_hint("ids of campaigns begin with seq_; GET /api/openclaw/campaigns lists them")
    })
}

/// Adds to a plan that a lead enters every active sequence that one of the events begins. A lead that cannot enter one (without an address, enrolled already, in its
/// cooldown, blocked) is left out of it.
///
/// # Errors
/// Those of the database.
pub async fn trigger(
    app: &App,
    caller: &Caller,
    plan: &mut Plan,
    lead: &Record,
    events: &[&str],
) -> Result<()> {
    for event in events {
        let query = ListQuery {
            filters: vec![
                ("trigger".to_owned(), (*event).to_owned()),
                ("status".to_owned(), "active".to_owned()),
            ],
            limit: SEQUENCES,
            ..ListQuery::default()
        };
        let (sequences, _) = store::list(app, caller.tenant(), &SEQUENCE, &query).await?;
        for sequence in sequences {
            if let Some(enrol) = effect(app, caller, &sequence, lead, event, false)? {
                plan.after.push(Box::new(enrol));
            }
        }
    }
    Ok(())
}

/// Ends the active enrolments of a lead: its waiting mails are cancelled.
///
/// # Errors
/// Those of the database.
pub async fn stop_lead(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    lead_id: &str,
    reason: &str,
) -> Result<()> {
    let active: Vec<(String,)> = tx
        .all(
            "SELECT id FROM enrolments WHERE lead_id = $1 AND tenant_id = $2 AND status = 'active'",
            args![lead_id, tenant_id],
        )
        .await?;
    for (id,) in active {
        stop(app, tx, tenant_id, &id, reason).await?;
    }
    Ok(())
}

/// Ends an enrolment: its waiting mail is cancelled.
pub(super) async fn stop(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    enrolment_id: &str,
    reason: &str,
) -> Result<()> {
    let now = app.clock.now();
    tx.execute(
        "UPDATE enrolments SET status = 'stopped', reason = $1, ended_on = $2 WHERE id = $3 AND tenant_id = $4 AND status = 'active'",
        args![reason, now, enrolment_id, tenant_id],
    )
    .await?;
    tx.execute(
        "UPDATE mails SET status = 'cancelled', last_error = $1, updated_on = $2 WHERE enrolment_id = $3 AND tenant_id = $4 AND status = 'waiting'",
        args![reason, now, enrolment_id, tenant_id],
    )
    .await?;
    Ok(())
}
