//! `cairn sandbox`: a link that signs a browser in.

use std::sync::Arc;

use clap::Args;

use super::{Done, Global};
use crate::app::App;
use crate::auth::{sessions, tenants};
use crate::config::Config;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "The link can be used once within 12 hours and grants full access to the tenant. To sign in with an API key instead, open /sandbox.

Examples:
  cairn sandbox
  cairn sandbox --sign-out
  cairn sandbox --address https://cairn.example.com"
)]
pub(super) struct SandboxArgs {
    /// Base URL of the server for browsers [default: `public_url`, else the `listen` address]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// End all browser sessions and invalidate the last link instead of printing a new one
    #[arg(long)]
    sign_out: bool,
    /// Tenant to sign in to
    #[arg(long, default_value = tenants::DEFAULT)]
    tenant: String,
}

pub(super) async fn run(global: &Global, args: SandboxArgs) -> Result<Done> {
    let app = global.local_app().await?;
    if args.sign_out {
        let tenant = tenants::by_name(&app.db, &args.tenant).await?;
        let ended = sessions::end_all(app.sessions(), &tenant.id).await?;
        if global.json {
            println!("{}", serde_json::json!({"sessionsEnded": ended}));
        } else {
            println!("{ended} sessions ended.");
        }
        return Ok(Done::All);
    }
    let address = match args.address {
        Some(address) => address,
        None => reached(&app.config, &app.config.listen)?,
    };
    let link = link(&app, &address, &args.tenant).await?;
    if global.json {
        println!("{}", serde_json::json!({"sandbox": link}));
    } else {
        println!("{link}");
    }
    Ok(Done::All)
}

/// Returns the address at which people reach a server: `public_url`, else its listen address as this machine reaches it.
pub(super) fn reached(config: &Config, listen: &str) -> Result<String> {
    if !config.public_url.is_empty() {
        return Ok(config.public_url.clone());
    }
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "0"));
    if port == "0" {
        return Err(Error::invalid(
            "address_missing",
            "the server listens on a random port; set its URL with --address",
        ));
    }
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        other => other,
    };
    Ok(format!("http://{host}:{port}"))
}

/// Returns a link to the sandbox of a server. Its secret is in the fragment, which browsers do not send, so it appears in no log.
pub(super) async fn link(app: &Arc<App>, address: &str, tenant: &str) -> Result<String> {
    let tenant = tenants::by_name(&app.db, tenant).await?;
    let secret = sessions::link(app.sessions(), &tenant.id).await?;
    Ok(format!(
        "{}/sandbox#enter={secret}",
        address.trim_end_matches('/')
    ))
}
