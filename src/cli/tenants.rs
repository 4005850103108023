//! `cairn tenants`: the tenants of a data directory. Works while a server runs on it.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Done, Global, output};
use crate::app::App;
use crate::auth::plans::{self, Plan};
use crate::auth::quotas::Quotas;
use crate::auth::tenants::{self, Tenant};
use crate::error::Result;
use crate::kb::usage;
use crate::page::Page;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn tenants create acme --json      create a tenant and print its admin key once
  cairn tenants list
  cairn tenants plan acme pro           limit the tenant to the leads and campaigns of a plan
  cairn tenants quota acme --documents 10000 --megabytes 5000 --requests 600
  cairn tenants quota acme --documents none
  cairn tenants usage acme
  cairn keys create --tenant acme --name ci --scope kb:read")]
pub(super) struct TenantsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a tenant and print its admin key; the key is shown only once
    Create {
        /// Tenant name: lowercase letters, digits and dashes
        name: String,
    },
    /// List tenants, oldest first
    List,
    /// Set the plan of a tenant
    Plan {
        /// Tenant name
        name: String,
        /// free (100 leads, 3 campaigns), pro (1,000 leads), ultra (5,000 leads) or none (no limits)
        plan: String,
    },
    /// Limit how much a tenant may store and use; limits that are not given stay as they are
    Quota {
        /// Tenant name
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show how much a tenant stores and uses, and its quotas
    Usage {
        /// Tenant name
        name: String,
    },
}

/// A number, or `none` for no limit.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<i64>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(most) if most >= 0 => Ok(Self(Some(most))),
            _ => Err("must be a number of 0 or more, or none".to_owned()),
        }
    }
}

/// Limits to change.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// Documents, those of records and those inside archives and mails among them; a number or none
    #[arg(long, value_name = "N")]
    documents: Option<Limit>,
    /// Size of the files of documents, in megabytes
    #[arg(long, value_name = "N")]
    megabytes: Option<Limit>,
    /// Chunks that are searched
    #[arg(long, value_name = "N")]
    chunks: Option<Limit>,
    /// Requests per minute, of all keys, agents and people together
    #[arg(long, value_name = "N")]
    requests: Option<Limit>,
    /// Tokens of language models per calendar month (UTC)
    #[arg(long, value_name = "N")]
    tokens: Option<Limit>,
}

impl Limits {
    /// Returns quotas with the limits that are given.
    fn applied(&self, quotas: Quotas) -> Quotas {
        let changed = |given: Option<Limit>, now| given.map_or(now, |limit| limit.0);
        let bytes = self
            .megabytes
            .map(|Limit(most)| Limit(most.map(|mb| mb.saturating_mul(1 << 20))));
        Quotas {
            documents: changed(self.documents, quotas.documents),
            bytes: changed(bytes, quotas.bytes),
            chunks: changed(self.chunks, quotas.chunks),
            requests: changed(self.requests, quotas.requests),
            tokens: changed(self.tokens, quotas.tokens),
        }
    }
}

/// Prints how much a tenant has and uses, and its quotas.
async fn show_usage(global: &Global, app: &App, tenant: &Tenant) -> Result<()> {
    let (used, quotas) = (usage::of(app, &tenant.id).await?, tenant.quotas);
    if global.json {
        println!(
            "{}",
            json!({"id": tenant.id, "name": tenant.name, "usage": used, "quotas": quotas})
        );
        return Ok(());
    }
    let limit = |most: Option<i64>| most.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    let rows = [
        ("documents", Some(used.documents), quotas.documents),
        ("bytes", Some(used.bytes), quotas.bytes),
        ("chunks", Some(used.chunks), quotas.chunks),
        ("model tokens this month", Some(used.tokens), quotas.tokens),
        ("requests per minute", None, quotas.requests),
    ];
    let rows = rows.map(|(what, used, most)| {
        let used = used.map_or_else(|| "-".to_owned(), |n| n.to_string());
        vec![what.to_owned(), used, limit(most)]
    });
    println!("{}", output::table(&["", "used", "quota"], &rows));
    Ok(())
}

/// Tenants read at a time.
const PAGE: i64 = 500;

pub(super) async fn run(global: &Global, args: TenantsArgs) -> Result<Done> {
    let app = global.local_app().await?;
    match args.action {
        Action::Create { name } => {
            let (tenant, key) = tenants::create_with_key(&app.db, &app.clock, &name).await?;
            if global.json {
                let record = json!({"id": tenant.id, "name": tenant.name, "key": key});
                println!("{record}");
            } else {
                println!("{key}\n\nAdmin key of tenant {name}. The key is shown only once.");
            }
        }
        Action::Plan { name, plan } => {
            let plan = plans::read(&plan)?;
            let operator = app.local_caller(tenants::DEFAULT).await?;
            let tenant = plans::set(&app.db, &app.clock, &operator, &name, plan).await?;
            let plan = tenant.plan.map_or("none", Plan::as_str);
            if global.json {
                println!(
                    "{}",
                    json!({"id": tenant.id, "name": tenant.name, "plan": plan})
                );
            } else {
                println!("The plan of tenant {name} is {plan}.");
            }
        }
        Action::Quota { name, limits } => {
            let operator = app.local_caller(tenants::DEFAULT).await?;
            let tenant = tenants::by_name(&app.db, &name).await?;
            let quotas = limits.applied(tenant.quotas);
            let tenant =
                tenants::set_quotas(&app.db, &app.clock, &operator, &tenant.id, quotas).await?;
            show_usage(global, &app, &tenant).await?;
        }
        Action::Usage { name } => {
            let tenant = tenants::by_name(&app.db, &name).await?;
            show_usage(global, &app, &tenant).await?;
        }
        Action::List => {
            let mut all = Vec::new();
            let mut page = Page::read(Some(PAGE), None, PAGE)?;
            loop {
                let found = tenants::list(&app.db, &page).await?;
                all.extend(found.items);
                match found.next {
                    Some(cursor) => page = Page::read(Some(PAGE), Some(&cursor), PAGE)?,
                    None => break,
                }
            }
            if global.json {
                let records = all.iter().map(|tenant| {
                    json!({"id": tenant.id, "name": tenant.name, "plan": tenant.plan, "createdOn": tenant.created_on.rfc3339()})
                });
                println!("{}", serde_json::to_string(&records.collect::<Vec<_>>())?);
            } else {
                let rows: Vec<Vec<String>> = all
                    .iter()
                    .map(|t| {
                        let plan = t.plan.map_or("none", Plan::as_str);
                        vec![
                            t.name.clone(),
                            t.id.clone(),
                            plan.to_owned(),
                            t.created_on.rfc3339(),
                        ]
                    })
                    .collect();
                println!(
                    "{}",
                    output::table(&["name", "id", "plan", "created"], &rows)
                );
            }
        }
    }
    app.db.close().await;
    Ok(Done::All)
}
