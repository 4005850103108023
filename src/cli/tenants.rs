//! `cairn tenants`: the tenants of a data directory. Works while a server runs on it.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Done, Global, output};
use crate::auth::plans::{self, Plan};
use crate::auth::tenants;
use crate::error::Result;
use crate::page::Page;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn tenants create acme --json      create a tenant and print its admin key once
  cairn tenants list
  cairn tenants plan acme pro           limit the tenant to the leads and campaigns of a plan
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
}

/// Tenants read at a time.
const PAGE: i64 = 500;

pub(super) async fn run(global: &Global, args: TenantsArgs) -> Result<Done> {
    let app = global.app().await?;
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
