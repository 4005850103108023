//! `cairn keys`: API keys of a data directory. Also works while a server is running.

use clap::{Args, Subcommand};

use super::{Done, Global, output};
use crate::api::native::{CreatedKey, KeyRecord, time};
use crate::auth::keys::{self, Made, NewKey};
use crate::auth::tenants;
use crate::error::Result;
use crate::kb::datasets;
use crate::page::Page;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn keys create --name ci --scope kb:read --json
  cairn keys create --name uploads --scope kb:write,kb:read --dataset papers
  cairn keys list
  cairn keys revoke 01J…")]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
    /// Tenant of the keys
    #[arg(long, global = true, default_value = tenants::DEFAULT)]
    tenant: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a key and print it; the key is shown only once
    Create {
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
    },
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

pub(super) async fn run(global: &Global, args: KeysArgs) -> Result<Done> {
    let app = global.app().await?;
    let caller = app.local_caller(&args.tenant).await?;
    match args.action {
        Action::Create {
            name,
            scope,
            dataset,
            expires,
            rate,
        } => {
            let mut ids = Vec::new();
            for name in &dataset {
                ids.push(datasets::by_name(&app, &caller, name).await?.id);
            }
            let new = NewKey {
                name,
                scopes: scope,
                dataset_ids: (!ids.is_empty()).then_some(ids),
                expires_on: expires.as_deref().map(time).transpose()?,
                rate_per_minute: rate,
                prefix: None,
            };
            let (key, secret) = keys::create(&app.db, &app.clock, caller.tenant(), new).await?;
            if global.json {
                println!("{}", serde_json::to_string(&CreatedKey::new(key, secret))?);
            } else {
                println!(
                    "{secret}\n\nKey {} ({}) with scopes {}. The key is shown only once.",
                    key.id,
                    key.name,
                    key.scopes.join(", ")
                );
            }
        }
        Action::List => {
            let mut page = Page {
                limit: 500,
                after: String::new(),
            };
            let mut all = Vec::new();
            loop {
                let found = keys::list(&app.db, caller.tenant(), &page).await?;
                all.extend(found.items);
                match found.next {
                    Some(cursor) => page = Page::read(Some(500), Some(&cursor), 500)?,
                    None => break,
                }
            }
            if global.json {
                let records: Vec<KeyRecord> = all.into_iter().map(Into::into).collect();
                println!("{}", serde_json::to_string(&records)?);
            } else {
                let rows: Vec<Vec<String>> = all
                    .iter()
                    .map(|k| {
                        let state = if k.revoked_on.is_some() {
                            "revoked"
                        } else {
                            "active"
                        };
                        let used = k
                            .last_used_on
                            .map_or_else(|| "never".to_owned(), crate::clock::Time::rfc3339);
                        vec![
                            k.id.clone(),
                            k.name.clone(),
                            format!("{}…", k.hint),
                            k.scopes.join(","),
                            state.to_owned(),
                            used,
                        ]
                    })
                    .collect();
                println!(
                    "{}",
                    output::table(
                        &["id", "name", "key", "scopes", "state", "last used"],
                        &rows
                    )
                );
            }
        }
        Action::Revoke { id, children } => {
            let made = if children { Made::EndToo } else { Made::GoOn };
            let left = keys::revoke(&app.db, &app.clock, &caller, &id, made).await?;
            if global.json {
                let left: Vec<&str> = left.iter().map(|k| k.id.as_str()).collect();
                println!(
                    "{}",
                    serde_json::json!({"id": id, "revoked": true, "activeChildren": left})
                );
            } else {
                println!("key {id} revoked");
                for child in &left {
                    println!(
                        "created by this key and still active: {} ({})",
                        child.id, child.name
                    );
                }
                if !left.is_empty() {
                    println!("run `cairn keys revoke {id} --children` to revoke them as well");
                }
            }
        }
    }
    app.db.close().await;
    Ok(Done::All)
}
