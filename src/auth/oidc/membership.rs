//! The person and the tenant that claims stand for.
//!
//! Who comes for the first time through a browser becomes the owner of an installation that nobody owns yet. Groups of the provider give roles, and take them. A
//! person without any accepts the invitation of its mail address, or gets an organisation of its own.

use serde_json::{Value, json};

use super::claims::Claims;
use crate::auth::access_log::{self, Action, Change};
use crate::auth::people::{self, Person};
use crate::auth::role::{Role, Status};
use crate::auth::{credentials, members, organizations, tenants, users};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, Tx, args, words};
use crate::error::{Error, Result};

/// Who may enter, and with which role.
#[derive(Debug)]
pub(super) struct Rules {
    /// Claim that names the groups of a person.
    claim: String,
    /// Roles of groups.
    roles: Vec<(String, Role)>,
    /// Role of people in none of the groups.
    role: Option<Role>,
    /// Name of the tenant in which groups give roles; empty for the first one.
    tenant: String,
    /// Whether the first person becomes the owner.
    first_owner: bool,
    /// Whether a person whom nobody invited gets an organisation of its own.
    signs_up: bool,
}

impl Rules {
    /// Reads the settings.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn read(config: &Config) -> Result<Self> {
        let role = |word: &str| {
            word.trim().parse::<Role>().map_err(|_| {
                let known: Vec<&str> = Role::ALL.iter().map(|r| r.as_str()).collect();
                let message = format!(
                    "{:?} is no role; known are {}",
                    word.trim(),
                    known.join(", ")
                );
                Error::invalid("config_invalid", format!("oidc_roles: {message}"))
            })
        };
        let pairs = config.oidc_roles.split(',').map(str::trim);
        let roles = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            // Names of groups may contain the sign, roles do not.
            let (group, word) = pair.rsplit_once('=').ok_or_else(|| {
                let message = format!("oidc_roles: {pair:?} is not group=role");
                Error::invalid("config_invalid", message)
            })?;
            Ok((group.trim().to_owned(), role(word)?))
        });
        let other = config.oidc_role.trim();
        Ok(Self {
            claim: config.oidc_groups.trim().to_owned(),
            roles: roles.collect::<Result<_>>()?,
            role: (!other.is_empty()).then(|| role(other)).transpose()?,
            tenant: config.oidc_tenant.trim().to_owned(),
            first_owner: config.oidc_first_owner,
            signs_up: config.oidc_signup,
        })
    }

    /// Returns the claim of the groups, if groups give roles.
    pub fn claim(&self) -> Option<&str> {
        (!self.roles.is_empty()).then_some(self.claim.as_str())
    }

    /// Returns the highest role that the groups of a person give.
    fn granted(&self, claims: &Claims) -> Option<Role> {
        let groups = claims.groups(&self.claim).unwrap_or_default();
        let matching = self
            .roles
            .iter()
            .filter(|(g, _)| groups.contains(&g.as_str()));
        let best = matching
            .map(|(_, role)| *role)
            .max_by_key(|role| role.rank());
        best.or(self.role)
    }

    fn gives_roles(&self) -> bool {
        !self.roles.is_empty() || self.role.is_some()
    }
}

/// Returns the person that claims stand for; adds it when it comes for the first time.
pub(super) async fn person(db: &Db, clock: &Clock, claims: &Claims) -> Result<Person> {
    let subject = format!("{}|{}", claims.iss, claims.sub);
    let person = match people::by_subject(db, &subject).await? {
        Some(person) => person,
        None => create(db, clock, &subject, claims).await?,
    };
    with_claims(db, person, claims).await
}

async fn create(db: &Db, clock: &Clock, subject: &str, claims: &Claims) -> Result<Person> {
    let id = clock.id();
    let mut tx = db.begin().await?;
    tx.execute(
        "INSERT INTO users (id, created_on) VALUES ($1, $2)",
        args![&id, clock.now()],
    )
    .await?;
    let added = tx
        .execute(
            "INSERT INTO user_profiles (user_id, subject, email, name) VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO NOTHING",
            args![&id, subject, claims.address(), claims.full_name()],
        )
        .await?;
    // Otherwise another request has just added the person, and this one adds nobody.
    if added > 0 {
        tx.commit().await?;
    } else {
        drop(tx);
    }
    people::by_subject(db, subject)
        .await?
        .ok_or_else(|| Error::internal("a person could not be added"))
}

/// Completes a profile with what a token says, where it says nothing yet.
async fn with_claims(db: &Db, mut person: Person, claims: &Claims) -> Result<Person> {
    let (email, name) = (person.email.clone(), person.name.clone());
    person.email = email.clone().or_else(|| claims.address());
    person.name = name.clone().or_else(|| claims.full_name());
    if person.email != email || person.name != name {
        people::save(db, &person).await?;
    }
    Ok(person)
}

/// Lets a person in, and returns the tenant in which the person acts. `in_browser` tells whether this is a sign-in, which may make the first owner.
///
/// # Errors
/// `person_uninvited`, `user_inactive`, `too_many_users`, `tenant_not_found` for a configured tenant that does not exist.
pub(super) async fn enter(
    db: &Db,
    clock: &Clock,
    rules: &Rules,
    person: &Person,
    claims: &Claims,
    in_browser: bool,
) -> Result<String> {
    let granted = rules.granted(claims);
    let has_access = !rules.gives_roles() || granted.is_some();
    if in_browser
        && has_access
        && rules.first_owner
        && let Some(tenant_id) = claim_installation(db, clock, person).await?
    {
        return Ok(tenant_id);
    }
    // Without the claim, only the userinfo endpoint can tell that a person is in no group.
    let told =
        rules.roles.is_empty() || claims.groups(&rules.claim).is_some() || claims.is_complete;
    if rules.gives_roles() && told {
        let tenant_id = match rules.tenant.as_str() {
            "" => tenants::first(db).await?.id,
            name => tenants::by_name(db, name).await?.id,
        };
        follow_groups(db, clock, person, &tenant_id, granted).await?;
    }
    let mine = tenants::of_user(db, &person.id).await?;
    let active = person.active_tenant_id.as_ref();
    if let Some(tenant) = mine.iter().find(|t| Some(&t.id) == active).or(mine.first()) {
        return Ok(tenant.id.clone());
    }
    let mut tx = db.begin().await?;
    // Locks the person, so that of two first requests one makes the membership.
    tx.execute(
        "UPDATE user_profiles SET active_tenant_id = active_tenant_id WHERE user_id = $1",
        args![&person.id],
    )
    .await?;
    let made: Option<(String,)> = tx
        .optional(
            "SELECT tenant_id FROM memberships WHERE user_id = $1 AND status = 'active' ORDER BY tenant_id LIMIT 1",
            args![&person.id],
        )
        .await?;
    let tenant_id = match made {
        Some((id,)) => id,
        None => first_tenant(&mut tx, clock, rules, person).await?,
    };
    tx.commit().await?;
    Ok(tenant_id)
}

async fn first_tenant(
    tx: &mut Tx,
    clock: &Clock,
    rules: &Rules,
    person: &Person,
) -> Result<String> {
    if let Some(tenant_id) = members::accept_pending(tx, clock, person).await? {
        return Ok(tenant_id);
    }
    if rules.signs_up && !rules.gives_roles() {
        return organizations::create_personal(tx, clock, person).await;
    }
    let suspended: Option<(String,)> = tx
        .optional(
            "SELECT tenant_id FROM memberships WHERE user_id = $1 AND COALESCE(by_provider, '') <> 'withdrawn' LIMIT 1",
            args![&person.id],
        )
        .await?;
    Err(match suspended {
        Some(_) => Error::forbidden(
            "user_inactive",
            "your membership is inactive; ask an administrator to activate it",
        ),
        None if rules.gives_roles() => Error::forbidden(
            "person_uninvited",
            "none of your groups has access here, and nobody has invited you; ask an administrator",
        ),
        None => Error::forbidden(
            "person_uninvited",
            "nobody has invited you; ask an administrator of an organization for an invitation",
        ),
    })
}

/// What shows that a tenant is in use: a member who is not the owner that every tenant begins with, an open invitation, a dataset, or a record. That owner has
/// neither address, profile nor credentials.
const ENTERED: &str = "SELECT m.user_id FROM memberships m WHERE m.tenant_id = $1 AND (m.role <> 'owner' OR m.name <> 'Owner' OR m.email IS NOT NULL
     OR EXISTS (SELECT 1 FROM user_profiles p WHERE p.user_id = m.user_id) OR EXISTS (SELECT 1 FROM credentials c WHERE c.user_id = m.user_id))
     UNION ALL SELECT id FROM invites WHERE tenant_id = $1 AND accepted_on IS NULL AND expires_on > $2
     UNION ALL SELECT id FROM kb_datasets WHERE tenant_id = $1
     UNION ALL SELECT id FROM records WHERE tenant_id = $1 LIMIT 1";

/// Makes a person the owner of the first tenant if it is not in use yet. Returns the tenant.
async fn claim_installation(db: &Db, clock: &Clock, person: &Person) -> Result<Option<String>> {
    let tenant_id = tenants::first(db).await?.id;
    let now = clock.now();
    let entered: Option<(String,)> = db.optional(ENTERED, args![&tenant_id, now]).await?;
    if entered.is_some() {
        return Ok(None);
    }
    let mut tx = db.begin().await?;
    users::lock(&mut tx, &tenant_id).await?;
    let entered: Option<(String,)> = tx.optional(ENTERED, args![&tenant_id, now]).await?;
    if entered.is_some() {
        return Ok(None);
    }
    tx.execute(
        "DELETE FROM memberships WHERE tenant_id = $1 AND role = 'owner' AND name = 'Owner' AND email IS NULL",
        args![&tenant_id],
    )
    .await?;
    members::join(&mut tx, clock, &tenant_id, person, Role::Owner).await?;
    people::activate(&mut tx, &person.id, &tenant_id).await?;
    tx.commit().await?;
    tracing::info!(user = %person.id, "the first person who signed in is the owner now");
    Ok(Some(tenant_id))
}

/// A membership: its role, and how the groups of the provider stand to it.
type Present = (Role, Option<Origin>);

words! {
    /// How the groups of the provider stand to a membership that they made.
    enum Origin {
        Granted = "granted",
        /// No group grants it any longer.
        Withdrawn = "withdrawn",
    }
}

/// Gives a person the role that its groups grant, or suspends the membership that they granted before, which keeps its restrictions. Memberships that others
/// decided about stay as they are, as does the last active owner.
async fn follow_groups(
    db: &Db,
    clock: &Clock,
    person: &Person,
    tenant_id: &str,
    granted: Option<Role>,
) -> Result<()> {
    let known = "SELECT role, by_provider FROM memberships WHERE tenant_id = $1 AND user_id = $2";
    let present: Option<Present> = db.optional(known, args![tenant_id, &person.id]).await?;
    if is_settled(present, granted) {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    users::lock(&mut tx, tenant_id).await?;
    let present: Option<Present> = tx.optional(known, args![tenant_id, &person.id]).await?;
    if is_settled(present, granted) {
        return Ok(());
    }
    let before = present.map(|(role, _)| role);
    match (before, granted) {
        (None, None) => return Ok(()),
        (None, Some(role)) => {
            users::refuse_beyond(&mut tx, tenant_id).await?;
            members::join(&mut tx, clock, tenant_id, person, role).await?;
            set(&mut tx, clock, tenant_id, person, role, Origin::Granted).await?;
        }
        (Some(old), Some(role)) => {
            set(&mut tx, clock, tenant_id, person, role, Origin::Granted).await?;
            let detail = json!({"role": [old, role], "by": "groups"});
            log(&mut tx, clock, tenant_id, person, detail).await?;
        }
        (Some(role), None) => {
            set(&mut tx, clock, tenant_id, person, role, Origin::Withdrawn).await?;
            credentials::end_for_user(&mut tx, tenant_id, &person.id, clock.now()).await?;
            let detail = json!({"status": [Status::Active, Status::Inactive], "by": "groups"});
            log(&mut tx, clock, tenant_id, person, detail).await?;
        }
    }
    match users::need_owner(&mut tx, tenant_id).await {
        Err(error) if error.code() == users::IS_OWNER && before == Some(Role::Owner) => {
            tracing::warn!(user = %person.id, "the last owner keeps its role, which its groups no longer grant");
            Ok(())
        }
        // A tenant that never had an owner has members nevertheless.
        Err(error) if error.code() != users::IS_OWNER => Err(error),
        Ok(()) | Err(_) => tx.commit().await,
    }
}

/// Returns whether a membership is as the groups want it, or none of their business.
fn is_settled(present: Option<Present>, granted: Option<Role>) -> bool {
    match (present, granted) {
        (None, None) | (Some((_, None)), _) => true,
        (Some((_, Some(Origin::Withdrawn))), None) => true,
        (Some((role, Some(Origin::Granted))), Some(granted)) => role == granted,
        (None | Some((_, Some(Origin::Granted | Origin::Withdrawn))), _) => false,
    }
}

async fn set(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    person: &Person,
    role: Role,
    origin: Origin,
) -> Result<()> {
    let status = match origin {
        Origin::Granted => Status::Active,
        Origin::Withdrawn => Status::Inactive,
    };
    tx.execute(
        "UPDATE memberships SET role = $1, status = $2, by_provider = $3, updated_on = $4 WHERE tenant_id = $5 AND user_id = $6",
        args![role, status, origin, clock.now(), tenant_id, &person.id],
    )
    .await?;
    Ok(())
}

/// Logs what the groups of a person changed.
async fn log(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    person: &Person,
    detail: Value,
) -> Result<()> {
    let change = Change {
        tenant_id,
        actor: None,
        action: Action::MemberChanged,
        subject: &person.id,
        name: person.shown_name(),
        detail,
    };
    access_log::record(tx, clock, change).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(roles: &str) -> Result<Rules> {
        Rules::read(&Config {
            oidc_roles: roles.to_owned(),
            ..Config::default()
        })
    }

    #[test]
    fn the_highest_role_of_the_groups_counts() {
        let rules = rules("staff=member, cn=leads=admin,staff=reviewer").expect("rules");
        let claims = |groups: &str| {
            let json = format!(r#"{{"groups": {groups}}}"#);
            serde_json::from_str::<Claims>(&json).expect("claims")
        };
        assert_eq!(rules.granted(&claims(r#"["staff"]"#)), Some(Role::Member));
        let both = claims(r#"["staff", "cn=leads"]"#);
        assert_eq!(rules.granted(&both), Some(Role::Admin));
        assert_eq!(rules.granted(&claims(r#"["guests"]"#)), None);
    }

    #[test]
    fn roles_that_cannot_be_read_are_refused_with_the_known_ones() {
        let error = rules("staff=king").expect_err("no role");
        assert!(error.public_message().contains("reviewer"), "{error}");
        assert!(rules("staff").is_err());
    }
}
