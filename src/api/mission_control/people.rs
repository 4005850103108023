//! Users, organisations, members and invitations.

use serde_json::{Value, json};

use super::wire::{ok, page, part};
use crate::api::operation::{Call, Data};
use crate::app::App;
use crate::auth::board_access::BoardRight;
use crate::auth::members::{self, BoardInvite, Grant, Member};
use crate::auth::organizations::{self, Organization};
use crate::auth::people::{self, PROFILE, Person};
use crate::auth::users::{self, UserChange};
use crate::auth::{Caller, Role};
use crate::boards::access::need_admin;
use crate::boards::{BOARD, store, with_data};
use crate::clock::{Clock, Time};
use crate::error::{Error, Result};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::records::body::{Body, text};

async fn me(call: Call<'_>) -> Result<Person> {
    people::of_caller(&call.app.db, &call.app.clock, call.caller).await
}

fn user(person: &Person, is_operator: bool) -> Value {
    json!({
        "id": person.id,
        "clerk_user_id": person.subject.clone().unwrap_or_else(|| "local-auth-user".to_owned()),
        "email": person.email,
        "name": person.name,
        "preferred_name": person.preferred_name,
        "pronouns": person.pronouns,
        "timezone": person.timezone,
        "notes": person.notes,
        "context": person.context,
        "is_super_admin": is_operator,
    })
}

fn shown(call: Call<'_>, person: &Person) -> Data {
    let is_operator = call.caller.may(crate::auth::Scope::TenantsManage);
    Data::One(user(person, is_operator))
}

pub(super) async fn get_me(call: Call<'_>) -> Result<Data> {
    Ok(shown(call, &me(call).await?))
}

pub(super) async fn update_me(call: Call<'_>) -> Result<Data> {
    let mut person = me(call).await?;
    for name in PROFILE {
        let Some(value) = call.body.get(name) else {
            continue;
        };
        let value = value.as_str().map(str::to_owned);
        match name {
            "name" => person.name = value,
            "preferred_name" => person.preferred_name = value,
            "pronouns" => person.pronouns = value,
            "timezone" => person.timezone = value,
            "notes" => person.notes = value,
            _ => person.context = value,
        }
    }
    people::save(&call.app.db, &person).await?;
    Ok(shown(call, &person))
}

/// Deletes the person, and the organisations of which nobody else is a member. The first organisation of the installation stays, without its person.
pub(super) async fn delete_me(call: Call<'_>) -> Result<Data> {
    let (app, person) = (call.app, me(call).await?);
    let mut alone = Vec::new();
    for organization in organizations::of_person(&app.db, &person.id).await? {
        let (_, total) = members::list(&app.db, &organization.id, 1, 0).await?;
        if total <= 1 {
            if organizations::is_first(&app.db, &organization.id).await? {
                return Err(first_stays());
            }
            alone.push(organization.id);
        }
    }
    for tenant_id in alone {
        close(app, &tenant_id).await?;
    }
    organizations::remove_person(&app.db, &app.clock, &person).await?;
    Ok(Data::One(ok()))
}

fn first_stays() -> Error {
    Error::conflict(
        "organization_first",
        "the first organization of the installation cannot be deleted",
    )
}

/// Ends the access to an organisation at once, and begins to remove its data.
async fn close(app: &App, tenant_id: &str) -> Result<()> {
    organizations::close(&app.db, &app.clock, tenant_id).await?;
    let mut tx = app.db.begin().await?;
    let options = EnqueueOptions {
        group: "",
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    };
    jobs::enqueue(&mut tx, &app.clock, tenant_id, &Task::ClearTenant, options).await?;
    app.commit(tx).await
}

fn organization(found: &Organization) -> Data {
    Data::One(json!({
        "id": found.id,
        "name": found.name,
        "created_at": found.created_on.rfc3339(),
        "updated_at": found.updated_on.unwrap_or(found.created_on).rfc3339(),
    }))
}

pub(super) async fn create_organization(call: Call<'_>) -> Result<Data> {
    let (app, person) = (call.app, me(call).await?);
    let name = text(call.body, "name").unwrap_or_default();
    let made = organizations::create(&app.db, &app.clock, call.caller, &person, name).await?;
    Ok(organization(&made))
}

pub(super) async fn my_organizations(call: Call<'_>) -> Result<Data> {
    let mine = organizations::of_person(&call.app.db, &me(call).await?.id).await?;
    let active = call.caller.tenant();
    let list: Vec<Value> = mine
        .iter()
        .map(|o| {
            json!({"id": o.id, "name": o.name, "role": o.role.as_str(), "is_active": o.id == active})
        })
        .collect();
    Ok(Data::One(Value::Array(list)))
}

pub(super) async fn activate_organization(call: Call<'_>) -> Result<Data> {
    let person = me(call).await?;
    let id = text(call.body, "organization_id").unwrap_or_default();
    let active = organizations::activate(&call.app.db, call.caller, &person, id).await?;
    Ok(organization(&active))
}

pub(super) async fn get_organization(call: Call<'_>) -> Result<Data> {
    me(call).await?;
    let found = organizations::get(&call.app.db, call.caller.tenant()).await?;
    Ok(organization(&found))
}

pub(super) async fn delete_organization(call: Call<'_>) -> Result<Data> {
    let (app, person) = (call.app, me(call).await?);
    let member = members::get(&app.db, call.caller.tenant(), &person.id).await?;
    if member.role != Role::Owner {
        return Err(Error::forbidden(
            "owner_required",
            "Only organization owners can do this",
        ));
    }
    if organizations::is_first(&app.db, call.caller.tenant()).await? {
        return Err(first_stays());
    }
    close(app, call.caller.tenant()).await?;
    Ok(Data::One(ok()))
}

/// Returns a member as clients see it. A member's id in its organisation is that of its person.
fn member(tenant_id: &str, member: &Member, with_rights: bool) -> Result<Body> {
    let rights: Vec<Value> = if with_rights {
        member.rights()?.iter().map(right).collect()
    } else {
        Vec::new()
    };
    let updated = member.updated_on.unwrap_or(member.created_on);
    body(json!({
        "id": member.user_id,
        "organization_id": tenant_id,
        "user_id": member.user_id,
        "role": member.role.as_str(),
        "all_boards_read": member.all_boards_read,
        "all_boards_write": member.all_boards_write,
        "created_at": member.created_on.rfc3339(),
        "updated_at": updated.rfc3339(),
        "user": {"id": member.user_id, "email": member.email, "name": member.name, "preferred_name": member.preferred_name},
        "board_access": rights,
    }))
}

fn body(value: Value) -> Result<Body> {
    Ok(serde_json::from_value(value)?)
}

fn right(right: &BoardRight) -> Value {
    json!({
        "id": right.id,
        "board_id": right.board_id,
        "can_read": right.can_read,
        "can_write": right.can_write,
        "created_at": right.created_on.rfc3339(),
        "updated_at": right.updated_on.rfc3339(),
    })
}

pub(super) async fn my_membership(call: Call<'_>) -> Result<Data> {
    let person = me(call).await?;
    one_member(call, &person.id).await
}

async fn one_member(call: Call<'_>, id: &str) -> Result<Data> {
    let tenant_id = call.caller.tenant();
    let found = members::get(&call.app.db, tenant_id, id).await?;
    Ok(Data::One(Value::Object(member(tenant_id, &found, true)?)))
}

pub(super) async fn list_members(call: Call<'_>) -> Result<Data> {
    me(call).await?;
    let (tenant_id, part) = (call.caller.tenant(), part(call)?);
    let (found, total) = members::list(&call.app.db, tenant_id, part.limit, part.offset).await?;
    let items = found.iter().map(|m| member(tenant_id, m, false));
    Ok(page(items.collect::<Result<_>>()?, total, part))
}

pub(super) async fn get_member(call: Call<'_>) -> Result<Data> {
    let id = super::wire::id(call, "member_id")?;
    if me(call).await?.id != id {
        need_admin(call.caller)?;
    }
    one_member(call, &id).await
}

fn role(word: &str) -> Result<Role> {
    let word = word.trim().to_lowercase();
    if word.is_empty() {
        return Ok(Role::Member);
    }
    let found = [Role::Owner, Role::Admin, Role::Member, Role::Reviewer].into_iter();
    found
        .into_iter()
        .find(|r| r.as_str() == word)
        .ok_or_else(|| {
            Error::invalid(
                "role_unknown",
                "role must be owner, admin, member or reviewer",
            )
        })
}

pub(super) async fn update_member(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let id = super::wire::id(call, "member_id")?;
    if let Some(word) = text(call.body, "role") {
        let change = UserChange {
            role: Some(role(word)?),
            status: None,
        };
        users::update(&call.app.db, &call.app.clock, call.caller, &id, change).await?;
    }
    one_member(call, &id).await
}

/// Returns what a body grants, after a check that its boards are those of the organisation.
async fn grant(call: Call<'_>) -> Result<Grant> {
    let flag =
        |body: &Body, name: &str| body.get(name).and_then(Value::as_bool).unwrap_or_default();
    let mut grant = Grant {
        all_boards_read: flag(call.body, "all_boards_read"),
        all_boards_write: flag(call.body, "all_boards_write"),
        boards: Vec::new(),
    };
    let rows = call.body.get("board_access").and_then(Value::as_array);
    for row in rows.into_iter().flatten().filter_map(Value::as_object) {
        let id = text(row, "board_id").unwrap_or_default().to_owned();
        let (reads, writes) = (flag(row, "can_read"), flag(row, "can_write"));
        grant.boards.push((id, reads, writes));
    }
    let ids: Vec<String> = grant.boards.iter().map(|(id, ..)| id.clone()).collect();
    let known = store::some(&call.app.db, call.caller.tenant(), &BOARD, &ids).await?;
    let foreign: Vec<&String> = ids
        .iter()
        .filter(|id| !known.iter().any(|b| b.id == **id))
        .collect();
    if foreign.is_empty() {
        Ok(grant)
    } else {
        let error = Error::invalid(
            "board_foreign",
            "Board access must be to boards of this organization",
        );
        Err(with_data(error, json!({"invalid_board_ids": foreign})))
    }
}

pub(super) async fn set_member_access(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let id = super::wire::id(call, "member_id")?;
    let grant = grant(call).await?;
    members::get(&call.app.db, call.caller.tenant(), &id).await?;
    members::set_access(&call.app.db, &call.app.clock, call.caller, &id, &grant).await?;
    one_member(call, &id).await
}

pub(super) async fn remove_member(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let id = super::wire::id(call, "member_id")?;
    if me(call).await?.id == id {
        return Err(Error::forbidden(
            "member_is_caller",
            "You cannot remove yourself from the organization",
        ));
    }
    users::remove(&call.app.db, &call.app.clock, call.caller, &id).await?;
    Ok(Data::One(ok()))
}

/// Returns an invitation as administrators see it, with its secret while it is pending.
async fn invite(app: &App, caller: &Caller, invite: &BoardInvite) -> Result<Body> {
    let token = match &invite.sealed_token {
        Some(sealed) => app
            .sealer()
            .await?
            .open_sealed(&purpose(&invite.id), sealed)?,
        None => String::new(),
    };
    let accepted = invite.accepted_on.map(Time::rfc3339);
    let created = invite.created_on.rfc3339();
    body(json!({
        "id": invite.id,
        "organization_id": caller.tenant(),
        "invited_email": invite.email,
        "role": invite.role.as_str(),
        "all_boards_read": invite.all_boards_read,
        "all_boards_write": invite.all_boards_write,
        "token": token,
        "created_by_user_id": invite.created_by.as_deref().filter(|id| Clock::is_id(id)),
        "accepted_by_user_id": invite.accepted_by,
        "accepted_at": accepted,
        "created_at": created,
        "updated_at": accepted.clone().unwrap_or(created.clone()),
    }))
}

fn purpose(id: &str) -> String {
    format!("invite/{id}")
}

pub(super) async fn list_invites(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let part = part(call)?;
    let (found, total) =
        members::pending(&call.app.db, call.caller, part.limit, part.offset).await?;
    let mut items = Vec::with_capacity(found.len());
    for pending in &found {
        items.push(invite(call.app, call.caller, pending).await?);
    }
    Ok(page(items, total, part))
}

pub(super) async fn create_invite(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let app = call.app;
    let email = text(call.body, "invited_email")
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    if email.is_empty() {
        return Err(Error::invalid(
            "user_invalid",
            "invited_email must not be blank",
        ));
    }
    let role = role(text(call.body, "role").unwrap_or("member"))?;
    let grant = grant(call).await?;
    let (id, token) = (app.clock.id(), app.clock.secret());
    let sealed = app.sealer().await?.seal(&purpose(&id), &token)?;
    let secret = (id.as_str(), token.as_str(), sealed.as_str());
    let made = members::invite(
        &app.db,
        &app.clock,
        call.caller,
        (&email, role),
        &grant,
        secret,
    )
    .await?;
    Ok(Data::One(Value::Object(
        invite(app, call.caller, &made).await?,
    )))
}

pub(super) async fn revoke_invite(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let id = super::wire::id(call, "invite_id")?;
    let revoked = members::revoke(&call.app.db, &call.app.clock, call.caller, &id).await?;
    Ok(Data::One(Value::Object(
        invite(call.app, call.caller, &revoked).await?,
    )))
}

pub(super) async fn accept_invite(call: Call<'_>) -> Result<Data> {
    let (app, person) = (call.app, me(call).await?);
    let token = text(call.body, "token").unwrap_or_default();
    let tenant_id = members::accept(&app.db, &app.clock, &person, token).await?;
    let found = members::get(&app.db, &tenant_id, &person.id).await?;
    Ok(Data::One(Value::Object(member(&tenant_id, &found, true)?)))
}
