//! `cairn modules`: modules of a tenant's workspace API. Also works while a server is running.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Done, Global, output};
use crate::auth::{modules, tenants};
use crate::error::Result;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn modules list
  cairn modules disable support     reject requests to the module; its records are kept
  cairn modules enable support")]
pub(super) struct ModulesArgs {
    #[command(subcommand)]
    action: Action,
    /// Tenant of the workspace
    #[arg(long, global = true, default_value = tenants::DEFAULT)]
    tenant: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List modules
    List,
    /// Enable a module
    Enable {
        /// Module name
        module: String,
    },
    /// Disable a module; its records are kept
    Disable {
        /// Module name
        module: String,
    },
}

pub(super) async fn run(global: &Global, args: ModulesArgs) -> Result<Done> {
    let app = global.local_app().await?;
    let caller = app.local_caller(&args.tenant).await?;
    match &args.action {
        Action::List => {}
        Action::Enable { module } => {
            modules::set(&app.db, &app.clock, &caller, module, true).await?
        }
        Action::Disable { module } => {
            modules::set(&app.db, &app.clock, &caller, module, false).await?
        }
    }
    let modules = modules::list(&app.db, &caller).await?;
    if global.json {
        let records = modules
            .iter()
            .map(|(name, on)| json!({"name": name, "enabled": on}));
        println!("{}", serde_json::to_string(&records.collect::<Vec<_>>())?);
    } else {
        let rows: Vec<Vec<String>> = modules
            .iter()
            .map(|(name, on)| {
                let state = if *on { "enabled" } else { "disabled" };
                vec![(*name).to_owned(), state.to_owned()]
            })
            .collect();
        println!("{}", output::table(&["module", "state"], &rows));
    }
    app.db.close().await;
    Ok(Done::All)
}
