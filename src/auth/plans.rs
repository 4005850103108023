//! Plans: how many leads and mail sequences a tenant may have. Tenants without a plan have no limits; signing up gives the free plan.

use serde_json::{Map, Value, json};

use super::access_log::{self, Action, Change};
use super::caller::Caller;
use super::credentials::Kind;
use super::keys::{self, NewKey};
use super::quotas::Quotas;
use super::tenants::{self, Tenant};
use crate::clock::Clock;
use crate::db::{Db, Tx, args, words};
use crate::error::{Error, Result};

words! {
    /// A plan.
    pub enum Plan {
        Free = "free",
        Pro = "pro",
        Ultra = "ultra",
    }
}

impl Plan {
    /// Returns the maximum number of leads.
    #[must_use]
    pub fn leads(self) -> i64 {
        match self {
            Self::Free => 100,
            Self::Pro => 1_000,
            Self::Ultra => 5_000,
        }
    }

    /// Returns the maximum number of mail sequences; `None` for no limit.
    #[must_use]
    pub fn campaigns(self) -> Option<i64> {
        match self {
            Self::Free => Some(3),
            Self::Pro | Self::Ultra => None,
        }
    }
}

/// Profile of a tenant's organisation: the members of `org` and `projectSlug` in the `setup` of the ClawCRM API, and `workspace_name`.
pub type Profile = Map<String, Value>;

/// Parses the name of a plan; `none` removes the limits.
///
/// # Errors
/// `plan_unknown`.
pub fn read(word: &str) -> Result<Option<Plan>> {
    if word == "none" {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|_| {
        Error::invalid(
            "plan_unknown",
            format!("unknown plan {word:?}; use free, pro, ultra or none"),
        )
    })
}

/// Returns the plan of a tenant; `None` for no limits.
///
/// # Errors
/// Those of the database.
pub async fn of(db: &Db, tenant_id: &str) -> Result<Option<Plan>> {
    let (plan,): (Option<Plan>,) = db
        .one("SELECT plan FROM tenants WHERE id = $1", args![tenant_id])
        .await?;
    Ok(plan)
}

/// Returns the plan of a tenant, and locks it, so that of concurrent writes at a limit each sees the writes before it.
///
/// # Errors
/// Those of the database.
pub async fn lock(tx: &mut Tx, tenant_id: &str) -> Result<Option<Plan>> {
    tx.execute(
        "UPDATE tenants SET plan = plan WHERE id = $1 AND plan IS NOT NULL",
        args![tenant_id],
    )
    .await?;
    let found: Option<(Option<Plan>,)> = tx
        .optional("SELECT plan FROM tenants WHERE id = $1", args![tenant_id])
        .await?;
    Ok(found.and_then(|(plan,)| plan))
}

/// Sets the plan of the tenant with a name, for the operator of the installation. What a tenant has beyond a smaller plan stays.
///
/// # Errors
/// `scope_missing`, `tenant_not_operator`, `tenant_not_found`.
pub async fn set(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    name: &str,
    plan: Option<Plan>,
) -> Result<Tenant> {
    tenants::need_operator(db, caller).await?;
    let tenant = tenants::by_name(db, name).await?;
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE tenants SET plan = $1 WHERE id = $2",
        args![plan.map(Plan::as_str), &tenant.id],
    )
    .await?;
    // The operator is of another tenant, and has no name in this one.
    let change = Change {
        tenant_id: &tenant.id,
        actor: None,
        action: Action::PlanChanged,
        subject: &tenant.id,
        name: &tenant.name,
        detail: json!({"plan": [tenant.plan.map(Plan::as_str), plan.map(Plan::as_str)]}),
    };
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await?;
    tenants::by_id(db, &tenant.id).await
}

/// Returns the profile of a tenant.
///
/// # Errors
/// Those of the database.
pub async fn profile(db: &Db, tenant_id: &str) -> Result<Profile> {
    let (profile,): (String,) = db
        .one(
            "SELECT profile FROM tenants WHERE id = $1",
            args![tenant_id],
        )
        .await?;
    Ok(serde_json::from_str(&profile)?)
}

/// Merges members into the profile of a tenant; null removes one. Returns the profile.
///
/// # Errors
/// Those of the database.
pub async fn merge_profile(tx: &mut Tx, tenant_id: &str, members: &Profile) -> Result<Profile> {
    tx.execute(
        "UPDATE tenants SET profile = profile WHERE id = $1",
        args![tenant_id],
    )
    .await?;
    let found: Option<(String,)> = tx
        .optional(
            "SELECT profile FROM tenants WHERE id = $1",
            args![tenant_id],
        )
        .await?;
    let mut profile: Profile = match found {
        Some((stored,)) => serde_json::from_str(&stored)?,
        None => Profile::new(),
    };
    for (name, value) in members {
        if value.is_null() {
            profile.shift_remove(name);
        } else {
            profile.insert(name.clone(), value.clone());
        }
    }
    tx.execute(
        "UPDATE tenants SET profile = $1 WHERE id = $2",
        args![Value::Object(profile.clone()).to_string(), tenant_id],
    )
    .await?;
    Ok(profile)
}

/// A new account.
#[derive(Debug, Clone)]
pub struct SignUp {
    /// Mail address of a person; one address has one account.
    pub email: String,
    /// Name of the workspace, from which the name of the tenant is derived.
    pub workspace: String,
    /// Name of the key.
    pub key_name: String,
    pub profile: Profile,
}

/// Prefix of the keys of accounts: clients of ClawCRM recognise their keys by it.
const PREFIX: &str = "rcm_live_";
/// Names that are tried for a tenant before its id is appended.
const NAMES: usize = 20;

/// Creates a tenant on the free plan with an admin key, which is returned once.
///
/// # Errors
/// `address_taken` when the address has an account.
pub async fn sign_up(db: &Db, clock: &Clock, new: &SignUp) -> Result<(Tenant, String)> {
    let tenant_id = clock.id();
    let now = clock.now();
    let key = NewKey {
        name: new.key_name.clone(),
        scopes: vec!["admin".to_owned()],
        prefix: Some(PREFIX),
        ..NewKey::default()
    };
    let (key, secret) = keys::for_new_tenant(clock, &tenant_id, Kind::Key, key)?;
    let taken = || {
        Error::conflict(
            "address_taken",
            "an account with this email already exists; use the key that it was given, or ask the operator of this installation for a new one",
        )
    };
    let slug = slug(&new.workspace);
    let profile = Value::Object(new.profile.clone()).to_string();
    for n in 0..=NAMES {
        let name = match n {
            0 => slug.clone(),
            NAMES => format!("workspace-{}", tenant_id.to_lowercase()),
            n => format!("{slug}-{}", n + 1),
        };
        let mut tx = db.begin().await?;
        let known: Option<(String,)> = tx
            .optional("SELECT id FROM tenants WHERE email = $1", args![&new.email])
            .await?;
        if known.is_some() {
            return Err(taken());
        }
        // Both the name and the address are unique; of two concurrent sign-ups, one inserts nothing.
        let inserted = tx
            .execute(
                "INSERT INTO tenants (id, name, created_on, plan, email, profile) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                args![&tenant_id, &name, now, Plan::Free, &new.email, &profile],
            )
            .await?;
        if inserted > 0 {
            key.insert(&mut tx, clock).await?;
            tx.commit().await?;
            let tenant = Tenant {
                id: tenant_id,
                name,
                created_on: now,
                plan: Some(Plan::Free),
                quotas: Quotas::default(),
            };
            return Ok((tenant, secret));
        }
    }
    Err(taken())
}

/// Returns the name of a tenant for the name of a workspace: lower-case letters and digits with dashes between them.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut slug = words.join("-");
    slug.truncate(50);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "workspace".to_owned()
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workspaces_become_names_of_tenants() {
        assert_eq!(slug("Acme Dental, Inc."), "acme-dental-inc");
        assert_eq!(slug("日本"), "workspace");
        assert!(slug(&"word ".repeat(40)).len() <= 50);
    }
}
