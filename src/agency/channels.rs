//! Channels: connections to publishing platforms by OAuth 2 with PKCE (RFC 7636). The state of a sign-in is a random secret that is valid once, for ten minutes; tokens
//! are encrypted, refreshed before they expire, and revoked when the channel is disconnected.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::platforms::{self, Platform};
use super::{ACTIVITY, CHANNEL, DELIVERABLE, access, activities, list, logs, store, whole};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute, secrets};

/// Path to which platforms send people back.
pub const CALLBACK: &str = "/dashboard/v1/channels/callback";
/// Time to grant access.
const LASTS: Duration = Duration::from_secs(600);
/// Time before its end at which a token is refreshed.
const EARLY: Duration = Duration::from_secs(600);
/// Bytes of a response that are read.
const ANSWER: usize = 256 << 10;
const ACCESS: &str = "access_token";
const REFRESH: &str = "refresh_token";

/// A started sign-in.
#[derive(Debug)]
pub struct Begun {
    /// Where the person grants access.
    pub url: String,
    pub state: String,
}

fn hashed(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Whether a person may be sent back to an address: below `public_url`, or below one of `channel_redirects`.
fn is_allowed(app: &App, redirect: &Url) -> bool {
    let own = app.config.public_base();
    let listed = app.config.channel_redirects.split(',').map(str::trim);
    let mut allowed = std::iter::once(own.as_str()).chain(listed.filter(|u| !u.is_empty()));
    allowed.any(|allowed| {
        Url::parse(allowed).is_ok_and(|allowed| {
            let below = allowed.path().trim_end_matches('/');
            let rest = redirect.path().strip_prefix(below);
            allowed.origin() == redirect.origin()
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

/// Begins to connect a platform.
///
/// # Errors
/// `platform_unknown`, `platform_not_configured`, `redirect_not_allowed`.
pub async fn begin(app: &App, caller: &Caller, platform: &str, redirect: &str) -> Result<Begun> {
    access::write(caller)?;
    let platform = platforms::named(platform)?;
    let client = platform.client(&app.config)?;
    let target = Url::parse(redirect)
        .ok()
        .filter(|url| url.username().is_empty() && is_allowed(app, url));
    if target.is_none() {
        return Err(Error::unprocessable(
            "redirect_not_allowed",
            "redirectUrl is neither below public_url nor below one of channel_redirects",
        ));
    }
    let (state, verifier) = (app.clock.secret(), app.clock.secret());
    let now = app.clock.now();
    let sealed = app.sealer().await?.seal("oauth/verifier", &verifier)?;
    let mut tx = app.db.begin().await?;
    tx.execute("DELETE FROM oauth_states WHERE expires_on < $1", args![now])
        .await?;
    tx.execute(
        "INSERT INTO oauth_states (state_hash, tenant_id, platform, verifier, redirect_url, actor, expires_on) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![
            hashed(&state),
            caller.tenant(),
            platform.name,
            sealed,
            redirect,
            caller.actor_id().map(str::to_owned),
            now.plus(LASTS)
        ],
    )
    .await?;
    tx.commit().await?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let mut url = platform.url(&app.config, platform.authorize)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair(platform.client_id, &client.id)
        .append_pair("redirect_uri", &callback(app))
        .append_pair("scope", &platform.scopes.join(platform.separator))
        .append_pair("state", &state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(platform.extra);
    Ok(Begun {
        url: url.into(),
        state,
    })
}

fn callback(app: &App) -> String {
    format!("{}{CALLBACK}", app.config.public_base())
}

#[derive(Debug, sqlx::FromRow)]
struct Pending {
    tenant_id: String,
    platform: String,
    verifier: String,
    redirect_url: String,
    actor: Option<String>,
    expires_on: Time,
}

/// Query parameters with which a platform redirects a person back.
#[derive(Debug, Clone, Default)]
pub struct Returned {
    pub state: String,
    pub code: Option<String>,
    /// Why access was not granted.
    pub error: Option<String>,
}

/// Ends a sign-in: exchanges the code, stores the channel, and returns where to send the person, with `channelId` or `error` in the query.
///
/// # Errors
/// `state_invalid` for a state that is unknown, used or expired.
pub async fn complete(app: &App, returned: &Returned) -> Result<String> {
    let mut tx = app.db.begin().await?;
    let pending: Option<Pending> = tx
        .optional(
            "DELETE FROM oauth_states WHERE state_hash = $1 RETURNING tenant_id, platform, verifier, redirect_url, actor, expires_on",
            args![hashed(&returned.state)],
        )
        .await?;
    tx.commit().await?;
    let pending = pending
        .filter(|p| p.expires_on > app.clock.now())
        .ok_or_else(|| {
            Error::invalid(
                "state_invalid",
                "this sign-in is unknown, was used already, or has expired; begin again",
            )
        })?;
    let mut target = Url::parse(&pending.redirect_url)
        .map_err(|e| Error::internal(format!("a stored address is invalid: {e}")))?;
    let outcome = match (&returned.code, &returned.error) {
        (_, Some(error)) => Err(Error::unprocessable("access_denied", error.clone())),
        (Some(code), None) => connect(app, &pending, code).await,
        (None, None) => Err(Error::invalid("code_missing", "the platform sent no code")),
    };
    match outcome {
        Ok(channel_id) => {
            target
                .query_pairs_mut()
                .append_pair("channelId", &channel_id);
        }
        Err(error) => {
            tracing::warn!(error = %error, platform = %pending.platform, "a channel was not connected");
            target
                .query_pairs_mut()
                .append_pair("error", error.code())
                .append_pair("error_description", error.public_message());
        }
    }
    Ok(target.into())
}

/// Tokens of a channel.
struct Tokens {
    access: String,
    refresh: Option<String>,
    expires_on: Option<Time>,
    scope: Option<String>,
}

/// Asks the token endpoint of a platform.
async fn tokens(app: &App, platform: &Platform, mut form: Vec<(&str, String)>) -> Result<Tokens> {
    let client = platform.client(&app.config)?;
    let url = platform.url(&app.config, platform.token)?;
    form.push((platform.client_id, client.id.clone()));
    form.push(("client_secret", client.secret.clone()));
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let response = app
        .outgoing
        .request(Method::POST, url)?
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(body)
        .send()
        .await
        .map_err(|e| unreachable(platform, &outgoing::cause(&e).1))?;
    let status = response.status();
    let bytes = outgoing::beginning(response, ANSWER)
        .await
        .map_err(|e| unreachable(platform, &outgoing::cause(&e).1))?;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let Some(access) = answer[ACCESS].as_str().filter(|_| status.is_success()) else {
        let reason = answer["error_description"]
            .as_str()
            .or(answer["error"].as_str())
            .unwrap_or("no access token");
        let message = format!("{} refused the sign-in: {reason}", platform.title);
        return Err(if status.is_server_error() {
            unreachable(platform, &message)
        } else {
            Error::unprocessable(REFUSED, message)
        });
    };
    let seconds = answer["expires_in"].as_u64();
    Ok(Tokens {
        access: access.to_owned(),
        refresh: answer[REFRESH].as_str().map(str::to_owned),
        expires_on: seconds.map(|s| app.clock.now().plus(Duration::from_secs(s))),
        scope: answer["scope"].as_str().map(str::to_owned),
    })
}

/// Code of a grant that a platform no longer accepts.
const REFUSED: &str = "grant_refused";

fn unreachable(platform: &Platform, cause: &str) -> Error {
    Error::upstream(
        "platform_unreachable",
        format!("{} cannot be reached: {cause}", platform.title),
    )
}

/// Returns the name of the account of an access token; `None` when the platform does not tell it.
async fn account(app: &App, platform: &Platform, access: &str) -> Result<Option<String>> {
    let url = platform.url(&app.config, platform.account)?;
    let response = app
        .outgoing
        .request(Method::GET, url)?
        .bearer_auth(access)
        .header(header::ACCEPT, "application/json")
        .send()
        .await
        .map_err(|e| unreachable(platform, &outgoing::cause(&e).1))?;
    let bytes = outgoing::beginning(response, ANSWER)
        .await
        .map_err(|e| unreachable(platform, &outgoing::cause(&e).1))?;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(platform.names.iter().find_map(|name| named(&answer, name)))
}

/// Returns the first text under a name, however deep.
fn named(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Object(map) => map
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| map.values().find_map(|inner| named(inner, name))),
        Value::Array(list) => list.iter().find_map(|inner| named(inner, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

async fn connect(app: &App, pending: &Pending, code: &str) -> Result<String> {
    let platform = platforms::named(&pending.platform)?;
    let sealer = app.sealer().await?;
    let verifier = sealer.open_sealed("oauth/verifier", &pending.verifier)?;
    let form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", callback(app)),
        ("code_verifier", verifier),
    ];
    let tokens = &tokens(app, platform, form).await?;
    let name = &account(app, platform, &tokens.access).await?;
    let caller = Caller::local(&pending.tenant_id);
    let request = Request::internal(&caller, "connectChannel");
    let caller = &caller;
    let answer = execute(app, &request, || async move {
        let now = app.clock.now();
        let mut plan = Plan::default();
        let filters = vec![("type".to_owned(), platform.name.to_owned())];
        let known = store::matching(app, caller.tenant(), &CHANNEL, filters).await?;
        let mut before = None;
        for channel in known {
            if text(&channel.body()?, "account_name") == name.as_deref() {
                before = Some(channel);
                break;
            }
        }
        let mut body = match &before {
            Some(channel) => channel.body()?,
            None => Body::new(),
        };
        let title = name.as_deref().unwrap_or(platform.title);
        for (field, value) in [
            ("name", json!(title)),
            ("type", json!(platform.name)),
            ("account_name", json!(name)),
            ("connected_on", json!(now.0)),
            ("connected_by", json!(pending.actor)),
            ("scope", json!(tokens.scope)),
            ("expires_on", json!(tokens.expires_on.map(|t| t.0))),
            ("can_refresh", json!(tokens.refresh.is_some())),
            ("checked_on", json!(now.0)),
            ("error", Value::Null),
        ] {
            body.insert(field.to_owned(), value);
        }
        body.retain(|_, value| !value.is_null());
        let id = match before {
            Some(before) => {
                let id = before.id.clone();
                let after = Record {
                    status: Some("connected".to_owned()),
                    title: write::title(&CHANNEL, &body),
                    ..super::with_body(&before, body)
                };
                plan.update_silently(&CHANNEL, before, after, now);
                id
            }
            None => {
                body.insert("status".to_owned(), json!("connected"));
                let record = write::draft(app, caller, &CHANNEL, New::from(&body))?;
                let id = record.id.clone();
                plan.create_silently(&CHANNEL, record);
                id
            }
        };
        plan.after
            .push(keep(app, caller.tenant(), &id, tokens).await?);
        activities::tend(&mut plan);
        Ok(plan.data(200, json!({"id": id})))
    })
    .await?;
    Ok(answer.data["id"].as_str().unwrap_or_default().to_owned())
}

async fn keep(
    app: &App,
    tenant_id: &str,
    id: &str,
    tokens: &Tokens,
) -> Result<Box<dyn crate::records::plan::Effect>> {
    let mut kept = vec![(ACCESS, tokens.access.as_str())];
    if let Some(refresh) = &tokens.refresh {
        kept.push((REFRESH, refresh));
    }
    secrets::Keep::of(app, tenant_id, id, &kept).await
}

/// Refreshes the token of a channel; a grant that is refused makes it `expired`.
///
/// # Errors
/// `platform_unreachable`.
pub async fn refresh(app: &App, channel: &Record) -> Result<()> {
    let body = channel.body()?;
    let platform = platforms::named(text(&body, "type").unwrap_or_default())?;
    let tenant_id = &channel.tenant_id;
    let refreshed = match secrets::get(app, tenant_id, &channel.id, REFRESH).await? {
        Some(token) => {
            let form = vec![("grant_type", REFRESH.to_owned()), (REFRESH, token)];
            tokens(app, platform, form).await
        }
        None => Err(Error::unprocessable(
            REFUSED,
            "the access has expired, and the platform gave no refresh token",
        )),
    };
    let refreshed = &match refreshed {
        Ok(tokens) => Ok(tokens),
        Err(error) if error.code() == REFUSED || error.code() == "platform_not_configured" => {
            Err(error.public_message().to_owned())
        }
        Err(error) => return Err(error),
    };
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "refreshChannel");
    execute(app, &request, || async move {
        let before = store::get(app, tenant_id, &CHANNEL, &channel.id).await?;
        let mut plan = Plan::default();
        if before.status.as_deref() == Some("disconnected") {
            return Ok(plan);
        }
        let now = app.clock.now();
        let mut body = before.body()?;
        body.insert("checked_on".to_owned(), json!(now.0));
        let mut after = before.clone();
        match refreshed {
            Ok(tokens) => {
                body.shift_remove("error");
                body.insert(
                    "expires_on".to_owned(),
                    json!(tokens.expires_on.map(|t| t.0)),
                );
                after.status = Some("connected".to_owned());
                plan.after
                    .push(keep(app, tenant_id, &before.id, tokens).await?);
            }
            Err(reason) => {
                body.insert("error".to_owned(), json!(reason));
                after.status = Some("expired".to_owned());
                plan.after.push(Box::new(logs::NewEntry {
                    tenant_id: tenant_id.clone(),
                    level: "warn",
                    category: "system",
                    message: format!("{}: {reason}", before.title),
                    context: json!({"channelId": before.id}),
                    activity_id: None,
                    agent_role: None,
                }));
            }
        }
        body.retain(|_, value| !value.is_null());
        after.body = Value::Object(body).to_string();
        plan.update_silently(&CHANNEL, before, after, now);
        Ok(plan)
    })
    .await?;
    Ok(())
}

/// Returns a token that is valid for a while, refreshed when it expires soon.
///
/// # Errors
/// `channel_expired`, `platform_unreachable`.
pub async fn access_token(app: &App, channel: &Record) -> Result<String> {
    let expires = channel.body()?.get("expires_on").and_then(Value::as_i64);
    if expires.is_some_and(|on| Time(on) <= app.clock.now().plus(EARLY)) {
        refresh(app, channel).await?;
    }
    let now = store::get(app, &channel.tenant_id, &CHANNEL, &channel.id).await?;
    let expired = || {
        Error::unprocessable(
            "channel_expired",
            "the access to this channel has expired; connect it again",
        )
    };
    if now.status.as_deref() != Some("connected") {
        return Err(expired());
    }
    secrets::get(app, &channel.tenant_id, &channel.id, ACCESS)
        .await?
        .ok_or_else(expired)
}

/// Refreshes the tokens of a tenant's channels that expire soon. A platform that cannot be reached is tried again at the next time.
///
/// # Errors
/// Those of the database.
pub async fn tend(app: &App, tenant_id: &str) -> Result<()> {
    let soon = app.clock.now().plus(EARLY);
    let connected = vec![("status".to_owned(), "connected".to_owned())];
    for channel in store::matching(app, tenant_id, &CHANNEL, connected).await? {
        let expires = channel.body()?.get("expires_on").and_then(Value::as_i64);
        if expires.is_some_and(|on| Time(on) <= soon)
            && let Err(error) = refresh(app, &channel).await
        {
            tracing::warn!(error = %error, channel = %channel.id, "the token of a channel could not be refreshed");
        }
    }
    Ok(())
}

/// Disconnects a channel: its tokens are revoked at the platform where that is possible, and removed here in any case.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn disconnect(app: &App, caller: &Caller, id: &str) -> Result<()> {
    access::admin(caller)?;
    let channel = store::get(app, caller.tenant(), &CHANNEL, id).await?;
    let body = channel.body()?;
    let platform = platforms::named(text(&body, "type").unwrap_or_default())?;
    let revoked = &match revoke(app, &channel, platform).await {
        Ok(()) => "the tokens were revoked".to_owned(),
        Err(error) => format!(
            "the tokens were removed, but not revoked: {}",
            error.public_message()
        ),
    };
    let request = Request::internal(caller, "disconnectChannel");
    execute(app, &request, || async move {
        let before = store::get(app, caller.tenant(), &CHANNEL, id).await?;
        let mut body = before.body()?;
        for gone in ["expires_on", "can_refresh", "error"] {
            body.shift_remove(gone);
        }
        let mut plan = Plan::default();
        plan.after
            .push(secrets::Keep::nothing(caller.tenant(), &before.id));
        plan.after.push(Box::new(logs::NewEntry {
            tenant_id: caller.tenant().to_owned(),
            level: "info",
            category: "system",
            message: format!("{} was disconnected; {revoked}", before.title),
            context: json!({"channelId": before.id}),
            activity_id: None,
            agent_role: None,
        }));
        let after = Record {
            status: Some("disconnected".to_owned()),
            ..super::with_body(&before, body)
        };
        plan.update_silently(&CHANNEL, before, after, app.clock.now());
        Ok(plan)
    })
    .await?;
    Ok(())
}

async fn revoke(app: &App, channel: &Record, platform: &Platform) -> Result<()> {
    let Some(address) = platform.revoke else {
        return Err(Error::unprocessable(
            "revocation_unsupported",
            format!("{} has no address for it", platform.title),
        ));
    };
    let client = platform.client(&app.config)?;
    for name in [REFRESH, ACCESS] {
        let Some(token) = secrets::get(app, &channel.tenant_id, &channel.id, name).await? else {
            continue;
        };
        let form = [
            ("token", token.as_str()),
            ("token_type_hint", name),
            (platform.client_id, &client.id),
            ("client_secret", &client.secret),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let response = app
            .outgoing
            .request(Method::POST, platform.url(&app.config, address)?)?
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|e| unreachable(platform, &outgoing::cause(&e).1))?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(unreachable(platform, &format!("status {status}")));
        }
    }
    Ok(())
}

/// The health of a channel, from 0 to 100.
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// Mean of completeness and activity, 0 unless the channel is connected.
    pub score: i64,
    /// Whether the account is known, the access lasts, and everything that was asked for was granted.
    pub completeness: i64,
    /// Pieces of the last 30 days against what the deliverables for this channel ask for.
    pub activity: i64,
    pub last_published: Option<Time>,
}

/// Days of the activity of a channel.
const DAYS: i64 = 30;

/// Returns the health of a channel from stored facts.
///
/// # Errors
/// Those of the database.
pub async fn health(app: &App, channel: &Record) -> Result<Health> {
    let body = channel.body()?;
    let is_connected = channel.status.as_deref() == Some("connected");
    let facts = [
        is_connected,
        body.contains_key("account_name"),
        body.get("can_refresh") == Some(&json!(true)) || !body.contains_key("expires_on"),
        granted(&body),
    ];
    let met = facts.iter().filter(|fact| **fact).count();
    let completeness = i64::try_from(met).unwrap_or_default() * 25;
    let mut target = 0;
    for deliverable in store::all(&app.db, &channel.tenant_id, &DELIVERABLE).await? {
        let own = deliverable.body()?;
        if list(&own, "platform_ids").contains(&channel.id) {
            target += whole(&own, "quantity");
        }
    }
    let since = app.clock.now().0 - DAYS * 24 * 3600 * 1000;
    let (mut pieces, mut last) = (0, None);
    let done = vec![("status".to_owned(), "done".to_owned())];
    for activity in store::matching(app, &channel.tenant_id, &ACTIVITY, done).await? {
        let own = activity.body()?;
        let counts =
            super::deliverables::is_piece(&own) && list(&own, "platforms").contains(&channel.id);
        pieces += i64::from(counts && activity.updated_on.0 >= since);
        let published = own.get("publications").and_then(Value::as_array);
        for outcome in published.into_iter().flatten() {
            let is_here = outcome["channelId"] == channel.id.as_str();
            if is_here && outcome["status"] == "published" {
                last = last.max(Some(activity.updated_on));
            }
        }
    }
    let activity = if target == 0 {
        0
    } else {
        (100 * pieces / target).min(100)
    };
    Ok(Health {
        score: if is_connected {
            (completeness + activity) / 2
        } else {
            0
        },
        completeness,
        activity,
        last_published: last,
    })
}

/// Whether everything that was asked for was granted; a platform that does not tell it grants all.
fn granted(body: &Body) -> bool {
    let Some(scope) = text(body, "scope") else {
        return true;
    };
    let platform = platforms::named(text(body, "type").unwrap_or_default());
    let given: Vec<&str> = scope.split([' ', ',']).collect();
    platform.is_ok_and(|p| p.scopes.iter().all(|wanted| given.contains(wanted)))
}

/// Returns the day on which a channel was connected.
#[must_use]
pub fn connected_on(body: &Body) -> Time {
    Time(whole(body, "connected_on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_deep() {
        let answer = json!({"data": [{"attributes": {"organization_name": "Acme"}}]});
        assert_eq!(named(&answer, "organization_name").as_deref(), Some("Acme"));
        assert_eq!(named(&answer, "name"), None);
    }
}
