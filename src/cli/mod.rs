//! The command line: what can be said, and where it leads.

mod bench;
mod client;
mod crawl;
mod demo;
mod doctor;
mod eval;
mod ingest;
mod keys;
mod mcp;
mod models;
mod modules;
mod output;
mod portable;
mod records;
mod sandbox;
mod search;
mod serve;
mod tenants;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// A self-hosted knowledge base with hybrid retrieval: upload documents, search them by words and meaning, see why each hit is one.
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    version,
    propagate_version = true,
    after_help = "Examples:
  cairn demo                                     try it: ingest Cairn's own documentation and search it
  cairn serve                                    serve on 127.0.0.1:7700 from ./cairn-data
  cairn ingest ~/papers --dataset papers         ingest a folder
  cairn crawl https://example.com --dataset web  crawl a website
  cairn search \"how are scores blended\"          search everything
  cairn keys create --name ci --scope kb:read --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part.
Every setting can be given as CAIRN_NAME, in a file (--config), or with --set name=value; `cairn serve --print-config` shows all."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// TOML file with settings
    #[arg(long, global = true, value_name = "FILE", env = "CAIRN_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of everything Cairn stores [default: cairn-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Any setting, as name=value; may be repeated
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API, with workers and indexes in the same process
    Serve(serve::ServeArgs),
    /// Run only workers, on a shared PostgreSQL database
    Work,
    /// Ingest Cairn's own documentation, run a search, explain it, and keep serving
    Demo(demo::DemoArgs),
    /// Ingest files and folders into a dataset
    Ingest(ingest::IngestArgs),
    /// Crawl a website into a dataset
    Crawl(crawl::CrawlArgs),
    /// Search datasets
    Search(search::SearchArgs),
    /// Measure retrieval on a collection in BEIR layout
    Eval(eval::EvalArgs),
    /// Speak the Model Context Protocol over standard input and output
    Mcp(mcp::McpArgs),
    /// Print a link that opens the sandbox in a browser, once
    Sandbox(sandbox::SandboxArgs),
    /// Create, list and revoke API keys
    Keys(keys::KeysArgs),
    /// Create and list tenants
    Tenants(tenants::TenantsArgs),
    /// List the modules of a workspace, and switch them on and off
    Modules(modules::ModulesArgs),
    /// List, fetch and verify models
    Models(models::ModelsArgs),
    /// Check that database, indexes, blobs and model agree; repair what does not
    Doctor(doctor::DoctorArgs),
    /// Write a dataset to one file: sources, chunks, vectors, settings
    Export(portable::ExportArgs),
    /// Read a dataset from such a file, or contacts, companies, leads, deals, tickets from CSV
    Import(portable::ImportArgs),
    /// Copy a whole data directory, also while a server uses it
    Backup(portable::BackupArgs),
    /// Measure ingestion and search on this machine
    Bench(bench::BenchArgs),
}

/// How a server is reached instead of a data directory.
#[derive(Debug, Args)]
struct Remote {
    /// Talk to a running server instead of opening the data directory
    #[arg(long, value_name = "URL", env = "CAIRN_URL")]
    url: Option<String>,
    /// API key for --url
    #[arg(
        long,
        value_name = "KEY",
        env = "CAIRN_KEY",
        hide_env_values = true,
        requires = "url"
    )]
    key: Option<String>,
}

/// What a command ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    All,
    /// Some of it failed; said on the output.
    Part,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Two TLS providers are linked (the Qdrant client brings its own); one has to be chosen.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("cairn: a TLS provider was chosen already");
    }
    let cli = Cli::parse();
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::from(error), json),
    };
    let outcome = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(Done::All) => ExitCode::SUCCESS,
        Ok(Done::Part) => ExitCode::from(3),
        Err(error) => fail(&error, json),
    }
}

fn fail(error: &Error, json: bool) -> ExitCode {
    if json {
        println!(
            "{}",
            serde_json::json!({"error": {"code": error.code(), "message": error.to_string()}})
        );
    } else {
        eprintln!("cairn: {error}");
    }
    ExitCode::from(if error.kind() == Kind::Invalid { 2 } else { 1 })
}

async fn dispatch(cli: Cli) -> Result<Done> {
    let global = cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(&global, args).await,
        Command::Work => work::run(&global).await,
        Command::Demo(args) => demo::run(&global, args).await,
        Command::Ingest(args) => ingest::run(&global, args).await,
        Command::Crawl(args) => crawl::run(&global, args).await,
        Command::Search(args) => search::run(&global, args).await,
        Command::Eval(args) => eval::run(&global, args).await,
        Command::Mcp(args) => mcp::run(&global, args).await,
        Command::Sandbox(args) => sandbox::run(&global, args).await,
        Command::Keys(args) => keys::run(&global, args).await,
        Command::Tenants(args) => tenants::run(&global, args).await,
        Command::Modules(args) => modules::run(&global, args).await,
        Command::Models(args) => models::run(&global, args).await,
        Command::Doctor(args) => doctor::run(&global, args).await,
        Command::Export(args) => portable::export(&global, args).await,
        Command::Import(args) => portable::import(&global, args).await,
        Command::Backup(args) => portable::backup(&global, args).await,
        Command::Bench(args) => bench::run(&global, args).await,
    }
}

impl Global {
    /// Settings from all layers; `more` are flags of the command.
    fn settings(
        &self,
        more: &[(&'static str, Option<String>)],
    ) -> Result<(Config, figment::Figment)> {
        let mut flags: Vec<(&'static str, String)> = Vec::new();
        if let Some(directory) = &self.data_dir {
            flags.push(("data_dir", directory.display().to_string()));
        }
        for pair in &self.set {
            let known = pair.split_once('=').and_then(|(name, value)| {
                let (field, _) = crate::config::FIELDS
                    .iter()
                    .find(|(field, _)| *field == name.trim())?;
                Some((*field, value.to_owned()))
            });
            flags.push(known.ok_or_else(|| Error::invalid("config_invalid", format!("--set {pair}: there is no such setting; `cairn serve --print-config` shows all")))?);
        }
        flags.extend(
            more.iter()
                .filter_map(|(name, value)| Some((*name, value.clone()?))),
        );
        Config::load(self.config.as_deref(), &flags)
    }

    /// Settings of a command that people run and wait for: only warnings are logged, unless asked otherwise.
    fn quiet_settings(&self) -> Result<Config> {
        let (mut config, figment) = self.settings(&[])?;
        if Config::origin(&figment, "log") == "default" {
            "warn".clone_into(&mut config.log);
        }
        output::log(&config)?;
        Ok(config)
    }

    /// The application of such a command.
    async fn app(&self) -> Result<Arc<App>> {
        let app = App::open(self.quiet_settings()?, Clock::system()).await?;
        crate::crm::migration::run(&app).await?;
        app.ensure_tenant().await?;
        Ok(app)
    }
}
