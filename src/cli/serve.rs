//! `cairn serve`: the HTTP API with workers and indexes.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::running::{Announcement, Running};
use super::signals::Signals;
use super::{Done, Global, output};
use crate::api;
use crate::app::App;
use crate::auth::tenants;
use crate::background;
use crate::clock::Clock;
use crate::config::Config;
use crate::crm::migration;
use crate::error::{Error, Result};
use crate::housekeeping;
use crate::outreach::sequences;
use crate::webhooks;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn serve
  CAIRN_DATA_DIR=/var/lib/cairn CAIRN_LISTEN=127.0.0.1:8080 cairn serve
  cairn serve --print-config > cairn.toml")]
pub(super) struct ServeArgs {
    /// Address to listen on, as host:port [default: 127.0.0.1:7700]
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) listen: Option<String>,
    /// Print all settings with value, description and origin, then exit
    #[arg(long)]
    print_config: bool,
}

pub(super) async fn run(global: &Global, args: ServeArgs) -> Result<Done> {
    let (config, figment) = global.settings(&[("listen", args.listen)])?;
    if args.print_config {
        print!("{}", Config::describe(&figment));
        return Ok(Done::All);
    }
    output::log(&config)?;
    let app = App::open(config, Clock::system()).await?;
    let server = Server::start(&app, global.json).await?;
    let signals = Signals::listen()?;
    server.announce(global.json);
    server.wait(signals).await;
    Ok(Done::All)
}

/// A running server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The key created at the first start.
    pub(super) admin_key: Option<String>,
    /// Link that opens the sandbox, once.
    pub(super) sandbox: String,
    stop: CancellationToken,
    http: JoinHandle<Result<()>>,
    tasks: Vec<JoinHandle<()>>,
    app: Arc<App>,
    running: Running,
    /// The file that tells commands the address.
    _announcement: Announcement,
}

impl Server {
    /// Binds, serves, opens model and indexes, and starts the workers. Health responds immediately, readiness when all is open.
    pub(super) async fn start(app: &Arc<App>, json: bool) -> Result<Self> {
        sequences::check_settings(&app.config)?;
        let address = address(&app.config).await?;
        let listener = TcpListener::bind(address).await.map_err(|e| {
            Error::unavailable(
                "address_unavailable",
                format!("cannot listen on {address}: {e}"),
            )
        })?;
        let address = listener.local_addr()?;
        // Locks first: the sign-in link and the jobs of a server already running here must not change.
        app.lock().await?;
        migration::run(app).await?;
        app.sealer().await?;
        webhooks::seal_all(app).await?;
        housekeeping::sweep(app).await?;
        let stop = CancellationToken::new();
        let router = api::router(Arc::clone(app), api::Metrics::install()?)?;
        let http = tokio::spawn({
            let (app, stop) = (Arc::clone(app), stop.clone());
            async move { api::server::serve(listener, router, &app.config, stop).await }
        });
        let running = Running::create(app, address).await?;
        let announcement = running.announce(&app.config.data_dir)?;
        app.embedder_with(output::downloads(json)).await?;
        app.engine().await?;
        if !app.config.reranker.is_empty() {
            app.reranker_with(output::downloads(json)).await?;
        }
        // The key is shown only once, so it is made when nothing can fail before that any more.
        let admin_key = app.first_start().await?;
        let reached = super::sandbox::reached(&app.config, &address.to_string())?;
        let sandbox = super::sandbox::link(app, &reached, tenants::DEFAULT).await?;
        let tasks = background::start(app, true, &stop);
        Ok(Self {
            address,
            admin_key,
            sandbox,
            stop,
            http,
            tasks,
            app: Arc::clone(app),
            running,
            _announcement: announcement,
        })
    }

    /// Returns a client of the server, with all rights of its owner.
    pub(super) fn client(&self) -> Result<Client> {
        Client::of(&self.running.url, self.running.key.clone())
    }

    fn announce(&self, json: bool) {
        let url = format!("http://{}", self.address);
        if json {
            println!(
                "{}",
                serde_json::json!({"url": url, "adminKey": self.admin_key, "sandbox": self.sandbox})
            );
            return;
        }
        if let Some(key) = &self.admin_key {
            println!("Created a tenant and an admin key. The key is shown only once:\n\n  {key}\n");
        }
        println!(
            "Cairn is running at {url} (guide: {url}/docs/guide, API: {url}/docs). Press Ctrl-C to stop."
        );
        println!(
            "Open the sandbox with this one-time sign-in link, valid for 12 hours:\n\n  {}\n",
            self.sandbox
        );
    }

    /// Stops the server as a signal would.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Serves until a signal, then completes open requests and jobs, returns unfinished jobs to the queue, and flushes the indexes.
    pub(super) async fn wait(self, mut signals: Signals) {
        tokio::select! {
            () = signals.received() => {}
            () = self.stop.cancelled() => {}
        }
        tracing::info!("shutting down: finishing requests and requeuing jobs");
        self.stop.cancel();
        // Event streams never end on their own.
        if tokio::time::timeout(std::time::Duration::from_secs(5), self.http)
            .await
            .is_err()
        {
            tracing::info!("open connections were closed");
        }
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "a background task stopped unexpectedly");
            }
        }
        self.app.db.close().await;
    }
}

async fn address(config: &Config) -> Result<SocketAddr> {
    let wrong = |e: &dyn std::fmt::Display| {
        Error::invalid(
            "config_invalid",
            format!("listen must be host:port, not {:?}: {e}", config.listen),
        )
    };
    let mut found = tokio::net::lookup_host(&config.listen)
        .await
        .map_err(|e| wrong(&e))?;
    let address = found.next().ok_or_else(|| wrong(&"host not found"))?;
    if !address.ip().is_loopback() && !config.allow_remote {
        return Err(Error::invalid(
            "config_invalid",
            format!(
                "{address} is reachable from other machines, but Cairn serves plain HTTP; set allow_remote if it runs behind a TLS proxy"
            ),
        ));
    }
    Ok(address)
}
