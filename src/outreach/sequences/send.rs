//! The job that sends a mail. It is sent at most once, whatever is killed and whenever: everything before the text of the mail is repeated freely, then the row
//! becomes `transmitting` in a transaction of its own, then the text leaves. A mail that stays `transmitting` longer than a transmission can take belongs to a job
//! that was killed; it is not sent again and is shown as `unconfirmed`. The transaction of the transmission also admits the mail under the limits of its address,
//! whose row it locks, so that they hold across jobs and processes.
//!
//! Several jobs may run for one mail, for instance after a kill. Each change of the row therefore demands the state that its job has seen: status, due time, attempt.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeZone, Timelike};
use chrono_tz::Tz;
use lettre::Address;
use serde_json::{Value, json};

use super::super::touchpoints::{self, Touch};
use super::compose::{self, Composed, Links};
use super::enrol::{self, NewMail, lock_address, send_at};
use super::mails::Mail;
use super::transport::{self, Failure};
use super::{Step, steps};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crm::LEAD;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::outreach::SEQUENCE;
use crate::records::body::text;
use crate::records::plan::{Effect, Plan};
use crate::records::{Record, Request, execute, store};

/// Waiting times after failures of the mail server, in seconds; the last one repeats.
const WAITS: [u64; 7] = [30, 60, 120, 300, 600, 1800, 3600];
/// Attempts before a mail is given up: about three days.
const ATTEMPTS: i64 = 75;
/// Time until a mail of a paused sequence is looked at again.
const PAUSED: Duration = Duration::from_secs(600);
/// Hour of the day at which a mail is sent that has to wait for another day.
const MORNING: u32 = 9;
const HOUR: Duration = Duration::from_secs(3600);
/// Difference of clocks that is tolerated when a job looks at the due time.
const EARLY: Duration = Duration::from_secs(5);
/// Time for the record of a transmission, beyond that of the transmission.
const SLACK: Duration = Duration::from_secs(15);

/// Sends a mail, or waits until it may be sent.
///
/// # Errors
/// Those of the database; everything about the mail itself ends in its row.
pub async fn run(app: &Arc<App>, tenant_id: &str, mail_id: &str) -> Result<()> {
    let Some(mail) = Mail::get(&app.db, tenant_id, mail_id).await? else {
        return Ok(());
    };
    match mail.status.as_str() {
        "waiting" => {}
        "transmitting" => return abandoned(app, &mail).await,
        _ => return Ok(()),
    }
    // A job is queued with every change of the due time, so this one is left over from before.
    if mail.due_on > app.clock.now().plus(EARLY) {
        return Ok(());
    }
    let sequence = store::optional(&app.db, tenant_id, &SEQUENCE, &mail.sequence_id).await?;
    let lead = store::optional(&app.db, tenant_id, &LEAD, &mail.lead_id).await?;
    let (Some(sequence), Some(lead)) = (sequence, lead) else {
        return stop(app, &mail, "the lead or the campaign was deleted").await;
    };
    match sequence.status.as_deref() {
        Some("active") => {}
        Some("paused") => return later(app, &mail, app.clock.now().plus(PAUSED), None).await,
        _ => return stop(app, &mail, "the campaign was archived").await,
    }
    let Some(step) = step(&sequence, mail.step)? else {
        return stop(app, &mail, "the campaign has no such step any more").await;
    };
    let Ok(to) = mail.address.parse::<Address>() else {
        return stop(app, &mail, "the address of the lead is not valid").await;
    };
    let limits = Limits::of(app, &lead)?;
    if let Some(free) = limits.next(app, None, &mail).await? {
        return later(app, &mail, free, Some("the limits of its address")).await;
    }
    let links = Links::new(app, &mail);
    let composed = match composed(app, &mail, &sequence, &step, &lead, &links).await {
        Ok(composed) => composed,
        Err(error) if error.code() == "template_invalid" => {
            return stop(app, &mail, error.public_message()).await;
        }
        Err(error) => return Err(error),
    };
    let from = transport::sender(&app.config)?;
    let message = compose::message(&from, &to, &mail.id, &composed, &links)?;
    let open = match transport::open(&app.config, &from.email, &to).await {
        Ok(open) => open,
        Err(failure) => return failed(app, &mail, Phase::Waiting, failure).await,
    };
    match admit(app, &mail, &limits).await? {
        Admission::Begun => {}
        Admission::Wait(until) => {
            drop(open);
            return later(app, &mail, until, Some("the limits of its address")).await;
        }
        Admission::Blocked(reason) => {
            drop(open);
            return stop(app, &mail, &format!("the address is blocked: {reason}")).await;
        }
        Admission::Gone => {
            drop(open);
            return Ok(());
        }
    }
    match open.transmit(&mail.id, &message).await {
        Ok(()) => settle(app, &mail, Outcome::Sent(composed)).await,
        Err(Failure::Unknown(reason)) => settle(app, &mail, Outcome::Unconfirmed(reason)).await,
        Err(failure) => failed(app, &mail, Phase::Transmitting, failure).await,
    }
}

/// Looks at a mail that another job, or an earlier run of this one, has begun to transmit: while it may still be at work, this job comes back later.
async fn abandoned(app: &Arc<App>, mail: &Mail) -> Result<()> {
    let begun = mail.transmitted_on.unwrap_or(mail.due_on);
    let given_up = begun.plus(transport::TEXT + SLACK);
    if given_up > app.clock.now() {
        let mut tx = app.db.begin().await?;
        send_at(app, &mut tx, &mail.tenant_id, &mail.id, given_up).await?;
        return app.commit(tx).await;
    }
    let reason = "the process ended while the mail was on its way; it is not sent again";
    // The attempt is that of the transmission.
    let mail = Mail {
        attempts: mail.attempts - 1,
        ..mail.clone()
    };
    settle(app, &mail, Outcome::Unconfirmed(reason.to_owned())).await
}

/// Returns a step of a sequence.
fn step(sequence: &Record, number: i64) -> Result<Option<Step>> {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    Ok(steps(&sequence.body()?).into_iter().nth(number))
}

/// Returns the text of a mail, which is composed once.
async fn composed(
    app: &Arc<App>,
    mail: &Mail,
    sequence: &Record,
    step: &Step,
    lead: &Record,
    links: &Links,
) -> Result<Composed> {
    if let (Some(subject), Some(body)) = (&mail.subject, &mail.body) {
        return Ok(Composed {
            subject: subject.clone(),
            body: body.clone(),
            citations: serde_json::from_str(&mail.citations)?,
            warnings: serde_json::from_str(&mail.warnings)?,
        });
    }
    let composed = compose::compose(app, sequence, step, lead, links).await?;
    app.db
        .execute(
            "UPDATE mails SET subject = $1, body = $2, citations = $3, warnings = $4 WHERE id = $5 AND tenant_id = $6 AND status = 'waiting'",
            args![
                &composed.subject,
                &composed.body,
                Value::Array(composed.citations.clone()).to_string(),
                json!(composed.warnings).to_string(),
                &mail.id,
                &mail.tenant_id
            ],
        )
        .await?;
    Ok(composed)
}

/// The limits of an address, and the time zone in which its days are counted.
struct Limits {
    per_day: i64,
    per_hour: i64,
    zone: Tz,
}

impl Limits {
    fn of(app: &App, lead: &Record) -> Result<Self> {
        let zone = text(&lead.body()?, "time_zone").and_then(|zone| zone.parse().ok());
        Ok(Self {
            per_day: i64::from(app.config.mails_per_day),
            per_hour: i64::from(app.config.mails_per_hour),
            zone: zone.unwrap_or(Tz::UTC),
        })
    }

    /// Returns the begin of the day in which a time is.
    fn day(&self, at: Time) -> Time {
        let Some(local) = self.zone.timestamp_millis_opt(at.0).single() else {
            return at.minus(24 * HOUR);
        };
        let midnight = local.date_naive().and_time(chrono::NaiveTime::MIN);
        // A day that begins with a change of clocks begins an hour later.
        let begin = self.zone.from_local_datetime(&midnight).earliest();
        begin.map_or_else(
            || {
                at.minus(Duration::from_secs(u64::from(
                    local.num_seconds_from_midnight(),
                )))
            },
            |begin| Time(begin.timestamp_millis()),
        )
    }

    /// Returns the morning after the day in which a time is.
    fn next_morning(&self, at: Time) -> Time {
        let tomorrow = self.day(self.day(at).plus(26 * HOUR));
        tomorrow.plus(MORNING * HOUR)
    }

    /// Returns when the address may get the next mail; `None` for now.
    async fn next(&self, app: &App, tx: Option<&mut Tx>, mail: &Mail) -> Result<Option<Time>> {
        let now = app.clock.now();
        let since = self.day(now).min(now.minus(HOUR));
        let sql = "SELECT transmitted_on FROM mails WHERE address = $1 AND transmitted_on >= $2 AND tenant_id = $3 AND id <> $4 ORDER BY transmitted_on";
        let values = args![&mail.address, since, &mail.tenant_id, &mail.id];
        let sent: Vec<(Time,)> = match tx {
            Some(tx) => tx.all(sql, values).await?,
            None => app.db.all(sql, values).await?,
        };
        let count = |from: Time| {
            let recent = sent.iter().filter(|(at,)| *at >= from).count();
            i64::try_from(recent).unwrap_or(i64::MAX)
        };
        if count(self.day(now)) >= self.per_day {
            return Ok(Some(self.next_morning(now)));
        }
        let hour_ago = now.minus(HOUR);
        if count(hour_ago) >= self.per_hour {
            let first = sent.iter().map(|(at,)| *at).find(|at| *at >= hour_ago);
            return Ok(first.map(|at| Time(at.plus(HOUR).0 + 1)));
        }
        Ok(None)
    }
}

/// Whether a transmission may begin.
enum Admission {
    Begun,
    Wait(Time),
    Blocked(String),
    /// Another job has taken the mail.
    Gone,
}

/// Records that the transmission begins, if the limits of the address allow it.
async fn admit(app: &App, mail: &Mail, limits: &Limits) -> Result<Admission> {
    let mut tx = app.db.begin().await?;
    if let Some(reason) = lock_address(&mut tx, &mail.tenant_id, &mail.address).await? {
        return Ok(Admission::Blocked(reason));
    }
    if let Some(until) = limits.next(app, Some(&mut tx), mail).await? {
        return Ok(Admission::Wait(until));
    }
    let now = app.clock.now();
    let ours = tx
        .execute(
            "UPDATE mails SET status = 'transmitting', transmitted_on = $1, attempts = attempts + 1, updated_on = $1
             WHERE id = $2 AND tenant_id = $3 AND status = 'waiting' AND attempts = $4",
            args![now, &mail.id, &mail.tenant_id, mail.attempts],
        )
        .await?;
    if ours == 0 || !is_active(&mut tx, mail).await? {
        return Ok(Admission::Gone);
    }
    tx.commit().await?;
    Ok(Admission::Begun)
}

/// Locks the enrolment of a mail for this transaction, and returns whether it is active.
async fn is_active(tx: &mut Tx, mail: &Mail) -> Result<bool> {
    let active = tx
        .execute(
            "UPDATE enrolments SET status = status WHERE id = $1 AND tenant_id = $2 AND status = 'active'",
            args![&mail.enrolment_id, &mail.tenant_id],
        )
        .await?;
    Ok(active > 0)
}

/// Lets the mail wait until a time.
async fn later(app: &App, mail: &Mail, until: Time, because: Option<&str>) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let message = because.map(|why| format!("waits for {why} until {}", until.rfc3339()));
    let ours = tx
        .execute(
            "UPDATE mails SET due_on = $1, last_error = COALESCE($2, last_error), updated_on = $3 WHERE id = $4 AND tenant_id = $5 AND status = 'waiting' AND due_on = $6",
            args![until, message, now, &mail.id, &mail.tenant_id, mail.due_on],
        )
        .await?;
    if ours == 0 {
        return Ok(());
    }
    send_at(app, &mut tx, &mail.tenant_id, &mail.id, until).await?;
    app.commit(tx).await
}

/// Where a mail was when it could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before its transmission was recorded.
    Waiting,
    /// After its transmission was recorded by this job.
    Transmitting,
}

/// Records that a mail was not sent: it waits and is tried again, or its enrolment ends.
async fn failed(app: &App, mail: &Mail, phase: Phase, failure: Failure) -> Result<()> {
    let now = app.clock.now();
    let (status, reason, wait) = match failure {
        Failure::Later(reason) | Failure::Unknown(reason) if mail.attempts + 1 < ATTEMPTS => {
            let at = usize::try_from(mail.attempts).unwrap_or(usize::MAX);
            let seconds = WAITS.get(at).or(WAITS.last()).copied().unwrap_or(3600);
            ("waiting", reason, Some(Duration::from_secs(seconds)))
        }
        Failure::Later(reason) | Failure::Unknown(reason) | Failure::Refused(reason) => {
            ("failed", reason, None)
        }
        Failure::Bounced(reason) => ("bounced", reason, None),
    };
    // The transmission has counted the attempt already.
    let (was, attempts) = match phase {
        Phase::Waiting => ("waiting", mail.attempts),
        Phase::Transmitting => ("transmitting", mail.attempts + 1),
    };
    let due = wait.map_or(mail.due_on, |wait| now.plus(wait));
    let mut tx = app.db.begin().await?;
    let ours = tx
        .execute(
            "UPDATE mails SET status = $1, last_error = $2, due_on = $3, attempts = $4, transmitted_on = NULL, updated_on = $5
             WHERE id = $6 AND tenant_id = $7 AND status = $8 AND attempts = $9",
            args![status, &reason, due, mail.attempts + 1, now, &mail.id, &mail.tenant_id, was, attempts],
        )
        .await?;
    if ours == 0 {
        // Another job has gone on with it.
        return Ok(());
    }
    tracing::warn!(mail = mail.id, status, reason, "a mail was not sent");
    if status == "bounced" {
        block(&mut tx, &mail.tenant_id, &mail.address, "bounced", now).await?;
    }
    if wait.is_some() {
        send_at(app, &mut tx, &mail.tenant_id, &mail.id, due).await?;
    } else {
        enrol::stop(app, &mut tx, &mail.tenant_id, &mail.enrolment_id, status).await?;
    }
    app.commit(tx).await
}

/// Blocks an address: it gets no more mails of the tenant. Returns whether it was not blocked before.
pub(super) async fn block(
    tx: &mut Tx,
    tenant_id: &str,
    address: &str,
    reason: &str,
    now: Time,
) -> Result<bool> {
    lock_address(tx, tenant_id, address).await?;
    let blocked = tx
        .execute(
            "UPDATE mail_addresses SET blocked = $1, blocked_on = $2 WHERE address = $3 AND tenant_id = $4 AND blocked IS NULL",
            args![reason, now, address, tenant_id],
        )
        .await?;
    Ok(blocked > 0)
}

/// Cancels a mail and ends its enrolment.
async fn stop(app: &App, mail: &Mail, reason: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    enrol::stop(app, &mut tx, &mail.tenant_id, &mail.enrolment_id, reason).await?;
    app.commit(tx).await
}

/// Result of a transmission.
enum Outcome {
    Sent(Composed),
    Unconfirmed(String),
}

/// Marks a mail as sent and lets its sequence go on, once.
#[derive(Debug)]
struct Settle {
    mail: Mail,
    status: &'static str,
    error: Option<String>,
    /// Delay of the next step in minutes; `None` after the last.
    next: Option<i64>,
}

#[async_trait]
impl Effect for Settle {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (mail, now) = (&self.mail, app.clock.now());
        let is_active = is_active(tx, mail).await?;
        // A job that was taken for killed and was only slow knows better what came of it.
        let ours = tx
            .execute(
                "UPDATE mails SET status = $1, last_error = $2, updated_on = $3 WHERE id = $4 AND tenant_id = $5 AND attempts = $6
                 AND (status = 'transmitting' OR (status = 'unconfirmed' AND $1 = 'sent'))",
                args![self.status, &self.error, now, &mail.id, &mail.tenant_id, mail.attempts + 1],
            )
            .await?;
        if ours == 0 {
            return Err(Error::conflict(
                SETTLED,
                "another job has recorded this mail",
            ));
        }
        if !is_active {
            return Ok(None);
        }
        match self.next {
            Some(delay_minutes) => {
                let next = NewMail {
                    tenant_id: &mail.tenant_id,
                    enrolment_id: &mail.enrolment_id,
                    sequence_id: &mail.sequence_id,
                    lead_id: &mail.lead_id,
                    address: &mail.address,
                    step: mail.step + 1,
                    delay_minutes,
                };
                next.insert(app, tx).await?;
            }
            None => {
                tx.execute(
                    "UPDATE enrolments SET status = 'completed', ended_on = $1 WHERE id = $2 AND tenant_id = $3 AND status = 'active'",
                    args![now, &mail.enrolment_id, &mail.tenant_id],
                )
                .await?;
            }
        }
        Ok(None)
    }
}

/// Error code of a mail that another job has recorded.
const SETTLED: &str = "mail_settled";

/// Records what came of a transmission, logs the mail as a touchpoint, and lets the sequence go on.
async fn settle(app: &Arc<App>, mail: &Mail, outcome: Outcome) -> Result<()> {
    let caller = Caller::local(&mail.tenant_id);
    let links = Links::new(app, mail);
    let (status, error) = match &outcome {
        Outcome::Sent(_) => ("sent", None),
        Outcome::Unconfirmed(reason) => ("unconfirmed", Some(reason.clone())),
    };
    let request = Request::internal(&caller, "sendMail");
    let planned = execute(app, &request, || async {
        let sequence =
            store::optional(&app.db, &mail.tenant_id, &SEQUENCE, &mail.sequence_id).await?;
        let next = match &sequence {
            Some(sequence) => step(sequence, mail.step + 1)?.map(|s| s.delay_minutes),
            None => None,
        };
        let lead = store::optional(&app.db, &mail.tenant_id, &LEAD, &mail.lead_id).await?;
        let mut plan = match (lead, &outcome) {
            (Some(lead), Outcome::Sent(composed)) => {
                let touch = Touch {
                    touchpoint_type: "email_sent".to_owned(),
                    summary: composed.subject.clone(),
                    text: Some(links.untracked(&composed.body)),
                    metadata: serde_json::Map::from_iter([
                        ("mailId".to_owned(), json!(mail.id)),
                        (
                            "campaignId".to_owned(),
                            json!(SEQUENCE.public_id(&mail.sequence_id)),
                        ),
                        ("step".to_owned(), json!(mail.step + 1)),
                    ]),
                    ..Touch::default()
                };
                touchpoints::log(app, &caller, lead, touch.clipped()).await?
            }
            _ => Plan::default(),
        };
        plan.before.push(Box::new(Settle {
            mail: mail.clone(),
            status,
            error: error.clone(),
            next,
        }));
        Ok(plan.data(200, Value::Null))
    })
    .await;
    match planned {
        Err(error) if error.code() == SETTLED => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Records that the job of a mail was given up.
///
/// # Errors
/// Those of the database.
pub async fn given_up(app: &Arc<App>, tenant_id: &str, mail_id: &str, reason: &str) -> Result<()> {
    let Some(mail) = Mail::get(&app.db, tenant_id, mail_id).await? else {
        return Ok(());
    };
    match mail.status.as_str() {
        "waiting" => {
            let failure = Failure::Refused(reason.to_owned());
            failed(app, &mail, Phase::Waiting, failure).await
        }
        "transmitting" => abandoned(app, &mail).await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(zone: &str) -> Limits {
        Limits {
            per_day: 3,
            per_hour: 1,
            zone: zone.parse().expect("a time zone"),
        }
    }

    fn at(text: &str) -> Time {
        let time = chrono::DateTime::parse_from_rfc3339(text).expect("a time");
        Time(time.timestamp_millis())
    }

    #[test]
    fn days_begin_at_midnight_of_the_lead() {
        let zone = limits("America/New_York");
        assert_eq!(
            zone.day(at("2026-06-02T03:30:00Z")),
            at("2026-06-01T04:00:00Z")
        );
        assert_eq!(
            limits("UTC").day(at("2026-06-02T03:30:00Z")),
            at("2026-06-02T00:00:00Z")
        );
    }

    #[test]
    fn a_mail_of_another_day_is_sent_in_the_morning_of_the_lead() {
        let zone = limits("Europe/Copenhagen");
        assert_eq!(
            zone.next_morning(at("2026-06-01T20:00:00Z")),
            at("2026-06-02T07:00:00Z")
        );
        // The night in which clocks go forward has 23 hours.
        assert_eq!(
            zone.next_morning(at("2026-03-28T12:00:00Z")),
            at("2026-03-29T08:00:00Z")
        );
    }
}
