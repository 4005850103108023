//! `cairn keys`: API keys of a data directory, also while a server is using it, or of the server of a URL or login.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::word;
use super::{Done, Global, Remote, output};
use crate::api::native::{CreatedKey, KeyRecord, time};
use crate::app::App;
use crate::auth::keys::{self, Made, NewKey};
use crate::auth::{Caller, tenants};
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::page::{MAX_LIMIT, Page};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn keys create --name ci --scope kb:read --json
  cairn keys create --name uploads --scope kb:write,kb:read --dataset papers
  cairn keys list
  cairn keys revoke 01J…")]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
    /// Tenant of the keys, in a data directory
    #[arg(long, global = true, default_value = tenants::DEFAULT)]
    tenant: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Create {
    /// Key name
    #[arg(long, default_value = "cli")]
    name: String,
    /// Scope: kb:read, kb:write, kb:search, keys:manage, system:read, wildcards like kb:*, or admin; repeatable or comma-separated
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Restrict the key to a dataset, by name or ID; repeatable
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Expiry time, for example 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Rate limit in requests per minute
    #[arg(long, value_name = "N")]
    rate: Option<i64>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a key and print it; the key is shown only once
    Create(Create),
    /// List keys
    List,
    /// Revoke a key immediately
    Revoke {
        /// Key ID
        id: String,
        /// Also revoke all keys created with it, directly or indirectly
        #[arg(long)]
        children: bool,
    },
}

/// Where the keys are.
enum Place {
    /// At the server of a URL or login.
    There(Client),
    /// In the data directory.
    Here { app: Arc<App>, caller: Box<Caller> },
}

pub(super) async fn run(global: &Global, args: KeysArgs) -> Result<Done> {
    // A directory that the command names counts more than what the environment says.
    let named = if global.data_dir.is_some() && args.remote.is_of_environment() {
        None
    } else {
        Client::named(global, &args.remote)?
    };
    let place = match named {
        Some(_) if args.tenant != tenants::DEFAULT => {
            return Err(Error::invalid(
                "tenant_not_remote",
                "--tenant is for keys in a data directory (--data-dir); at a server, a key belongs to the tenant of the key that creates it",
            ));
        }
        Some(client) => Place::There(client),
        None => {
            let app = global.app().await?;
            let caller = app.local_caller(&args.tenant).await?;
            Place::Here {
                app,
                caller: Box::new(caller),
            }
        }
    };
    match args.action {
        Action::Create(new) => {
            let created = place.create(new).await?;
            if global.json {
                println!("{created}");
            } else {
                println!(
                    "{}\n\nKey {} ({}) with scopes {}. The key is shown only once.",
                    word(&created, "key"),
                    word(&created, "id"),
                    word(&created, "name"),
                    scopes(&created).join(", ")
                );
            }
        }
        Action::List => {
            let all = place.list().await?;
            if global.json {
                println!("{}", Value::Array(all));
            } else {
                let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                let head = ["id", "name", "key", "scopes", "state", "last used"];
                println!("{}", output::table(&head, &rows));
            }
        }
        Action::Revoke { id, children } => {
            let left = place.revoke(&id, children).await?;
            if global.json {
                let ids: Vec<&str> = left.iter().map(|key| word(key, "id")).collect();
                println!(
                    "{}",
                    json!({"id": id, "revoked": true, "activeChildren": ids})
                );
            } else {
                println!("key {id} revoked");
                for child in &left {
                    println!(
                        "created by this key and still active: {} ({})",
                        word(child, "id"),
                        word(child, "name")
                    );
                }
                if !left.is_empty() {
                    println!("run `cairn keys revoke {id} --children` to revoke them as well");
                }
            }
        }
    }
    place.close().await;
    Ok(Done::All)
}

fn scopes(key: &Value) -> Vec<&str> {
    let scopes = key["scopes"].as_array().into_iter().flatten();
    scopes.filter_map(Value::as_str).collect()
}

/// Returns the cells of a key in the list.
fn row(key: &Value) -> Vec<String> {
    let state = if key["revokedOn"].is_null() {
        "active"
    } else {
        "revoked"
    };
    vec![
        word(key, "id").to_owned(),
        word(key, "name").to_owned(),
        format!("{}…", word(key, "hint")),
        scopes(key).join(","),
        state.to_owned(),
        key["lastUsedOn"].as_str().unwrap_or("never").to_owned(),
    ]
}

impl Place {
    /// Creates a key; returns its record with the key.
    async fn create(&self, new: Create) -> Result<Value> {
        let mut ids = Vec::new();
        for name in &new.dataset {
            ids.push(match self {
                Self::There(client) => client.dataset(name).await?,
                Self::Here { app, caller } => datasets::by_name(app, caller, name).await?.id,
            });
        }
        let ids = (!ids.is_empty()).then_some(ids);
        match self {
            Self::There(client) => {
                let body = json!({
                    "name": new.name, "scopes": new.scope, "datasetIds": ids, "expiresOn": new.expires, "ratePerMinute": new.rate
                });
                Client::send(client.post("/kb/v1/keys").json(&body)).await
            }
            Self::Here { app, caller } => {
                let new = NewKey {
                    name: new.name,
                    scopes: new.scope,
                    dataset_ids: ids,
                    expires_on: new.expires.as_deref().map(time).transpose()?,
                    rate_per_minute: new.rate,
                    prefix: None,
                };
                let (key, secret) = keys::create(&app.db, &app.clock, caller.tenant(), new).await?;
                Ok(serde_json::to_value(CreatedKey::new(key, secret))?)
            }
        }
    }

    /// Returns the records of all keys.
    async fn list(&self) -> Result<Vec<Value>> {
        let (app, caller) = match self {
            Self::There(client) => return client.all("/kb/v1/keys").await,
            Self::Here { app, caller } => (app, caller),
        };
        let mut all = Vec::new();
        let mut page = Page::read(Some(MAX_LIMIT), None, MAX_LIMIT)?;
        loop {
            let found = keys::list(&app.db, caller.tenant(), &page).await?;
            for key in found.items {
                all.push(serde_json::to_value(KeyRecord::from(key))?);
            }
            match found.next {
                Some(cursor) => page = Page::read(Some(MAX_LIMIT), Some(&cursor), MAX_LIMIT)?,
                None => return Ok(all),
            }
        }
    }

    /// Revokes a key; returns the id and the name of each key that it created and that is still active.
    async fn revoke(&self, id: &str, children: bool) -> Result<Vec<Value>> {
        match self {
            Self::There(client) => {
                // The key may revoke itself, and list nothing afterwards.
                let all = client.all("/kb/v1/keys").await?;
                let path = format!("/kb/v1/keys/{id}?children={children}");
                Client::send(client.delete(&path)).await?;
                Ok(if children {
                    Vec::new()
                } else {
                    active_below(&all, id)
                })
            }
            Self::Here { app, caller } => {
                let made = if children { Made::EndToo } else { Made::GoOn };
                let left = keys::revoke(&app.db, &app.clock, caller, id, made).await?;
                let left = left.into_iter();
                let left = left.map(|key| json!({"id": key.id, "name": key.name}));
                Ok(left.collect())
            }
        }
    }

    async fn close(self) {
        if let Self::Here { app, .. } = self {
            app.db.close().await;
        }
    }
}

/// Returns the active keys that a key created, directly or indirectly.
fn active_below(all: &[Value], id: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut makers = vec![id.to_owned()];
    while let Some(maker) = makers.pop() {
        for key in all.iter().filter(|key| word(key, "createdBy") == maker) {
            makers.push(word(key, "id").to_owned());
            if key["revokedOn"].is_null() {
                found.push(key.clone());
            }
        }
    }
    found
}
