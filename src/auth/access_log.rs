//! The log of access: who gave, changed or took rights, and who signed in. Entries are written in the transaction of the change.

use std::time::Duration;

use serde_json::Value;

use super::Scope;
use super::caller::Caller;
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args, words};
use crate::error::Result;
use crate::page::{Listing, Page};

words! {
    /// A change of access.
    pub enum Action {
        KeyCreated = "key.created",
        KeyRevoked = "key.revoked",
        AgentCreated = "agent.created",
        AgentActivated = "agent.activated",
        AgentDeactivated = "agent.deactivated",
        AgentTokenReplaced = "agent.token_replaced",
        AgentRemoved = "agent.removed",
        MemberAdded = "member.added",
        MemberChanged = "member.changed",
        MemberRemoved = "member.removed",
        InviteCreated = "invite.created",
        InviteRemoved = "invite.removed",
        LinkCreated = "link.created",
        SignedIn = "session.begun",
        SignedOut = "session.ended",
        AllSignedOut = "session.all_ended",
        ModuleChanged = "module.changed",
        PlanChanged = "plan.changed",
        QuotasChanged = "quotas.changed",
    }
}

/// An entry to write.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub tenant_id: &'a str,
    /// Actor; `None` for the command line, the identity provider and the service itself.
    pub actor: Option<&'a str>,
    pub action: Action,
    /// Id of what was changed.
    pub subject: &'a str,
    /// What it is called now.
    pub name: &'a str,
    /// An object of particulars, without secrets; null for none.
    pub detail: Value,
}

impl<'a> Change<'a> {
    /// Returns what a caller did in its tenant.
    pub fn by(
        caller: &'a Caller,
        action: Action,
        subject: &'a str,
        name: &'a str,
        detail: Value,
    ) -> Self {
        Self {
            tenant_id: caller.tenant(),
            actor: caller.actor_id(),
            action,
            subject,
            name,
            detail,
        }
    }
}

/// An entry.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: String,
    pub actor: Option<String>,
    pub action: Action,
    pub subject: String,
    pub name: String,
    /// JSON object.
    pub detail: String,
    pub created_on: Time,
}

/// Selects entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Key, member or agent that made the change.
    pub actor: Option<String>,
    /// What was changed.
    pub subject: Option<String>,
}

/// Writes an entry.
pub(super) async fn record(tx: &mut Tx, clock: &Clock, change: Change<'_>) -> Result<()> {
    let detail = if change.detail.is_null() {
        "{}".to_owned()
    } else {
        change.detail.to_string()
    };
    tx.execute(
        "INSERT INTO access_log (id, tenant_id, actor, action, subject, name, detail, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            clock.id(),
            change.tenant_id,
            change.actor,
            change.action,
            change.subject,
            change.name,
            detail,
            clock.now()
        ],
    )
    .await?;
    Ok(())
}

/// Returns a page of the entries of the caller's tenant, newest first. Requires the right to manage keys.
///
/// # Errors
/// `scope_missing`, `key_confined`.
pub async fn list(
    db: &Db,
    caller: &Caller,
    filter: &Filter,
    page: &Page,
) -> Result<Listing<Entry>> {
    caller.need_unconfined(Scope::KeysManage)?;
    let entries: Vec<Entry> = db
        .all(
            "SELECT id, actor, action, subject, name, detail, created_on FROM access_log WHERE tenant_id = $1 AND ($2 = '' OR id < $2)
             AND ($3 = '' OR actor = $3) AND ($4 = '' OR subject = $4) ORDER BY id DESC LIMIT $5",
            args![
                caller.tenant(),
                &page.after,
                filter.actor.as_deref().unwrap_or_default(),
                filter.subject.as_deref().unwrap_or_default(),
                page.fetch()
            ],
        )
        .await?;
    Ok(page.listing(entries, |entry| entry.id.clone()))
}

/// Removes entries that are older than `kept`, and returns their number.
///
/// # Errors
/// Those of the database.
pub async fn prune(db: &Db, clock: &Clock, kept: Duration) -> Result<u64> {
    db.execute(
        "DELETE FROM access_log WHERE created_on < $1",
        args![clock.now().minus(kept)],
    )
    .await
}
