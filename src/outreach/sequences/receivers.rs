//! Reactions of the receivers of mails: links followed, unsubscriptions, bounces. Addresses that bounced or unsubscribed are blocked.

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::once::{Once, REPEATED};
use super::super::touchpoints::{self, Touch};
use super::{compose, enrol, send};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crm::LEAD;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::outreach::SEQUENCE;
use crate::records::body::Body;
use crate::records::plan::{Effect, Plan};
use crate::records::{Request, execute, store};

/// An enrolment found by its token.
#[derive(Debug, sqlx::FromRow)]
struct Enrolled {
    id: String,
    tenant_id: String,
    lead_id: String,
    link_key: String,
}

async fn by_token(app: &App, token: &str) -> Result<Enrolled> {
    let unknown = || Error::not_found("link_unknown", "this link is not valid");
    if !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let found: Option<Enrolled> = app
        .db
        .optional(
            "SELECT id, tenant_id, lead_id, link_key FROM enrolments WHERE token = $1",
            args![token],
        )
        .await?;
    found.ok_or_else(unknown)
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

/// A click on a tracked link.
#[derive(Debug)]
pub struct Click {
    enrolled: Enrolled,
    mail_id: String,
    target: String,
}

/// Checks a tracked link.
///
/// # Errors
/// `link_unknown` for an address that no mail contained.
pub async fn clicked(
    app: &App,
    token: &str,
    mail_id: &str,
    target: &str,
    signature: &str,
) -> Result<Click> {
    use subtle::ConstantTimeEq;
    let enrolled = by_token(app, token).await?;
    let expected = compose::sign(&enrolled.link_key, mail_id, target);
    let is_signed = bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
    if !is_signed || enrolled.link_key.is_empty() {
        return Err(Error::not_found("link_unknown", "this link is not valid"));
    }
    Ok(Click {
        enrolled,
        mail_id: mail_id.to_owned(),
        target: target.to_owned(),
    })
}

/// Counts a click, at most once a minute for each link: programs that check mails follow a link several times.
///
/// # Errors
/// Those of the database.
pub async fn count(app: &App, click: Click) -> Result<()> {
    let Click {
        enrolled,
        mail_id,
        target,
    } = click;
    let touch = Touch {
        touchpoint_type: "cta_clicked".to_owned(),
        summary: format!("clicked {}", target.chars().take(500).collect::<String>()),
        metadata: serde_json::Map::from_iter([("mailId".to_owned(), json!(mail_id))]),
        ..Touch::default()
    };
    let minute = app.clock.now().0.div_euclid(60_000);
    let target = hex::encode(Sha256::digest(target.as_bytes()));
    let once = Once::new(
        &enrolled.tenant_id,
        &enrolled.id,
        &format!("click/{mail_id}/{minute}/{target}"),
    );
    let lead_id = &enrolled.lead_id;
    let counted = touch_lead(app, &enrolled.tenant_id, lead_id, touch, Some(once)).await;
    match counted {
        Err(error) if error.code() == REPEATED => Ok(()),
        other => other,
    }
}

/// Logs a touchpoint of a lead that still exists, once if `once` says so.
pub(in crate::outreach) async fn touch_lead(
    app: &App,
    tenant_id: &str,
    lead_id: &str,
    touch: Touch,
    once: Option<Once>,
) -> Result<()> {
    let touch = touch.clipped();
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "logTouchpoint");
    execute(app, &request, || async {
        let Some(lead) = store::optional(&app.db, tenant_id, &LEAD, lead_id).await? else {
            return Ok(Plan::default().data(200, Value::Null));
        };
        let mut plan = touchpoints::log(app, &caller, lead, touch.clone()).await?;
        if let Some(once) = &once {
            plan.before.push(Box::new(once.clone()));
        }
        Ok(plan)
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
    if !send::block(&mut tx, tenant_id, &address, reason, now).await? {
        // Its sequences ended when it was blocked, and the touchpoints say so.
        return Ok(());
    }
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
        touch_lead(app, tenant_id, &lead_id, touch, None).await?;
    }
    Ok(())
}

/// A blocked address.
#[derive(Debug, sqlx::FromRow)]
pub struct Blocked {
    pub address: String,
    /// `bounced`, `unsubscribed` or another word of a source.
    pub blocked: String,
    pub blocked_on: Option<Time>,
}

/// Returns the blocked addresses of a tenant, the newest first, and their number.
///
/// # Errors
/// Those of the database.
pub async fn blocked(
    app: &App,
    tenant_id: &str,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Blocked>, i64)> {
    let found = app
        .db
        .all(
            "SELECT address, blocked, blocked_on FROM mail_addresses WHERE tenant_id = $1 AND blocked IS NOT NULL ORDER BY blocked_on DESC, address LIMIT $2 OFFSET $3",
            args![tenant_id, limit, offset],
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM mail_addresses WHERE tenant_id = $1 AND blocked IS NOT NULL",
            args![tenant_id],
        )
        .await?;
    Ok((found, total))
}

/// Makes an address one that may be written to again.
#[derive(Debug)]
struct Unblock {
    tenant_id: String,
    address: String,
}

#[async_trait]
impl Effect for Unblock {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let changed = tx
            .execute(
                "UPDATE mail_addresses SET blocked = NULL, blocked_on = NULL WHERE address = $1 AND tenant_id = $2 AND blocked IS NOT NULL",
                args![&self.address, &self.tenant_id],
            )
            .await?;
        if changed == 0 {
            return Err(Error::not_found(
                "address_not_blocked",
                format!("{} is not blocked", self.address),
            ));
        }
        Ok(None)
    }
}

/// Returns a plan that unblocks an address. Sequences that have ended stay ended.
///
/// # Errors
/// `address_not_blocked` when it is carried out.
#[must_use]
pub fn unblock(tenant_id: &str, address: &str) -> Plan {
    let address = address.trim().to_lowercase();
    let mut plan = Plan::default();
    let changes = Body::from_iter([("address".to_owned(), json!(address))]);
    plan.notes
        .push((&SEQUENCE, address.clone(), "unblock_address", changes));
    plan.after.push(Box::new(Unblock {
        tenant_id: tenant_id.to_owned(),
        address,
    }));
    plan
}
