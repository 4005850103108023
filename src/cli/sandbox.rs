//! `cairn sandbox`: a link that signs a browser in.

use std::sync::Arc;

use clap::Args;

use super::{Done, Global};
use crate::app::App;
use crate::auth::{sessions, tenants};
use crate::error::Result;

#[derive(Debug, Args)]
#[command(
    after_help = "The link works once, within 12 hours, and gives all rights of the tenant. Those who have a key can sign in with it at /sandbox.

Examples:
  cairn sandbox
  cairn sandbox --address https://cairn.example.com"
)]
pub(super) struct SandboxArgs {
    /// Where browsers reach the server [default: the address that `listen` names]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Tenant to sign in to
    #[arg(long, default_value = tenants::DEFAULT)]
    tenant: String,
}

pub(super) async fn run(global: &Global, args: SandboxArgs) -> Result<Done> {
    let app = global.app().await?;
    let address = args
        .address
        .unwrap_or_else(|| format!("http://{}", app.config.listen));
    let link = link(&app, &address, &args.tenant).await?;
    if global.json {
        println!("{}", serde_json::json!({"sandbox": link}));
    } else {
        println!("{link}");
    }
    Ok(Done::All)
}

/// A link to the sandbox of a server. Its secret is in the fragment, which browsers keep to themselves: it stands in no log.
pub(super) async fn link(app: &Arc<App>, address: &str, tenant: &str) -> Result<String> {
    let tenant = tenants::by_name(&app.db, tenant).await?;
    let secret = sessions::link(app, &tenant.id).await?;
    Ok(format!(
        "{}/sandbox#enter={secret}",
        address.trim_end_matches('/')
    ))
}
