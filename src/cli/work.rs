//! `cairn work`: runs only workers. They parse and embed; the serving processes follow the index log on their own.

use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{Done, Global, output};
use crate::app::App;
use crate::background;
use crate::clock::Clock;
use crate::error::{Error, Result};

pub(super) async fn run(global: &Global) -> Result<Done> {
    let (config, _) = global.settings(&[])?;
    output::log(&config)?;
    if config.database_file().is_some() {
        return Err(Error::invalid(
            "database_not_shared",
            "`cairn work` requires a shared database: set database_url to PostgreSQL, or run `cairn serve`, which includes workers",
        ));
    }
    let app = App::open(config, Clock::system()).await?;
    crate::crm::migration::run(&app).await?;
    app.sealer().await?;
    app.ensure_tenant().await?;
    app.embedder_with(output::downloads(global.json)).await?;
    let stop = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let tasks = background::start(&app, false, &stop);
    tracing::info!(workers = app.config.workers, "workers started");
    signals.received().await;
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    Ok(Done::All)
}
