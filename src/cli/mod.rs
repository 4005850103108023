//! The command line: commands and their dispatch.

mod ask;
mod bench;
mod client;
mod crawl;
mod datasets;
mod demo;
mod doctor;
mod documents;
mod eval;
mod excerpt;
mod feedback;
mod foreign;
mod ingest;
mod keys;
mod mcp;
mod models;
mod modules;
mod output;
mod portable;
mod profiles;
mod records;
mod running;
mod sandbox;
mod search;
mod serve;
mod shell;
mod signals;
mod sources;
mod tenants;
mod users;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// Self-hosted knowledge base with hybrid (keyword and semantic) search and score explanations.
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    version,
    propagate_version = true,
    after_help = "Examples:
  cairn demo                                     ingest Cairn's documentation and search it
  cairn serve                                    serve on 127.0.0.1:7700 from ./cairn-data
  cairn ingest ~/papers --dataset papers         ingest a folder
  cairn crawl https://example.com --dataset web  crawl a website
  cairn search \"how are scores blended\"          search all datasets
  cairn ask \"how are scores blended\"             an answer with citations
  cairn login https://kb.example.com             use this server from now on
  cairn keys create --name ci --scope kb:read --json

Exit codes: 0 success, 1 failure, 2 usage error, 3 partial success.
Settings can be set with CAIRN_NAME variables, a file (--config) or --set name=value; `cairn serve --print-config` lists all settings."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "CAIRN_CONFIG")]
    config: Option<PathBuf>,
    /// Data directory [default: cairn-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Override a setting; repeatable
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API, with workers and indexes in the same process
    Serve(serve::ServeArgs),
    /// Run workers only, on a shared PostgreSQL database
    Work,
    /// Ingest Cairn's documentation, run and explain a search, then serve the API
    Demo(demo::DemoArgs),
    /// Ingest files and folders into a dataset
    Ingest(ingest::IngestArgs),
    /// Crawl a website into a dataset
    Crawl(crawl::CrawlArgs),
    /// Search datasets
    Search(search::SearchArgs),
    /// Answer a question from documents, with citations
    Ask(ask::AskArgs),
    /// List, show, create and delete datasets
    Datasets(datasets::DatasetsArgs),
    /// List, show, reindex, hide and delete the documents of a dataset
    Documents(documents::DocumentsArgs),
    /// Keep a dataset in step with folders, buckets, feeds, git repositories and mailboxes
    Sources(sources::SourcesArgs),
    /// Evaluate retrieval on a collection in BEIR format
    Eval(eval::EvalArgs),
    /// Run a Model Context Protocol (MCP) server over stdio
    Mcp(mcp::McpArgs),
    /// Print a one-time sign-in link for the sandbox
    Sandbox(sandbox::SandboxArgs),
    /// Create, list and revoke API keys
    Keys(keys::KeysArgs),
    /// Create and list tenants, limit what they store and use
    Tenants(tenants::TenantsArgs),
    /// List, add and remove people, set their roles, print their sign-in links
    Users(users::UsersArgs),
    /// Keep a server and a key for later commands
    Login(profiles::LoginArgs),
    /// Forget a server and its key
    Logout(profiles::LogoutArgs),
    /// Read and answer the feedback of agents
    Feedback(feedback::FeedbackArgs),
    /// List, enable and disable workspace modules
    Modules(modules::ModulesArgs),
    /// List, download and verify models
    Models(models::ModelsArgs),
    /// Check the consistency of database, indexes, blobs and model, and repair indexes
    Doctor(doctor::DoctorArgs),
    /// Export a dataset to one file: sources, chunks, vectors, settings
    Export(portable::ExportArgs),
    /// Import an exported dataset, the documents of another system, or contacts, companies, leads, deals or tickets from CSV
    Import(portable::ImportArgs),
    /// Back up a data directory, even while a server uses it
    Backup(portable::BackupArgs),
    /// Benchmark ingestion and search on this machine
    Bench(bench::BenchArgs),
    /// Print a script that completes commands in a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(shell::ManArgs),
}

/// How a server is reached instead of a data directory. Without these, commands use the server that is using the data directory, if there is one.
#[derive(Debug, Args)]
struct Remote {
    /// Talk to a running server instead of opening the data directory
    #[arg(long, global = true, value_name = "URL", env = "CAIRN_URL")]
    url: Option<String>,
    /// API key for --url
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "CAIRN_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
    /// Server and key that `cairn login` stored under this name [env: `CAIRN_PROFILE`]
    #[arg(short, long, global = true, value_name = "NAME")]
    profile: Option<String>,
}

impl Remote {
    /// Returns whether only the environment names a server.
    fn is_of_environment(&self) -> bool {
        self.profile.is_none() && self.url == std::env::var("CAIRN_URL").ok()
    }

    /// Returns the server that the environment names.
    fn of_environment() -> Self {
        let url = std::env::var("CAIRN_URL").ok();
        Self {
            key: url.as_ref().and_then(|_| std::env::var("CAIRN_KEY").ok()),
            url,
            profile: None,
        }
    }
}

/// Result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    All,
    /// Part of it failed, as reported on the output.
    Part,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Two TLS providers are linked (the Qdrant client brings its own); one must be selected.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("cairn: a TLS provider is already installed");
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
        Command::Ask(args) => ask::run(&global, args).await,
        Command::Datasets(args) => datasets::run(&global, args).await,
        Command::Documents(args) => documents::run(&global, args).await,
        Command::Sources(args) => sources::run(&global, args).await,
        Command::Eval(args) => eval::run(&global, args).await,
        Command::Mcp(args) => mcp::run(&global, args).await,
        Command::Sandbox(args) => sandbox::run(&global, args).await,
        Command::Keys(args) => keys::run(&global, args).await,
        Command::Tenants(args) => tenants::run(&global, args).await,
        Command::Users(args) => users::run(&global, args).await,
        Command::Login(args) => profiles::login(&global, args).await,
        Command::Logout(args) => profiles::logout(&global, &args),
        Command::Feedback(args) => feedback::run(&global, args).await,
        Command::Modules(args) => modules::run(&global, args).await,
        Command::Models(args) => models::run(&global, args).await,
        Command::Doctor(args) => doctor::run(&global, args).await,
        Command::Export(args) => portable::export(&global, args).await,
        Command::Import(args) => portable::import(&global, args).await,
        Command::Backup(args) => portable::backup(&global, args).await,
        Command::Bench(args) => bench::run(&global, args).await,
        Command::Completions(args) => Ok(shell::completions(&args)),
        Command::Man(args) => shell::man(&global, &args),
    }
}

impl Global {
    /// Returns the settings from all layers; `more` are flags of the command.
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
            flags.push(known.ok_or_else(|| Error::invalid("config_invalid", format!("--set {pair}: unknown setting; `cairn serve --print-config` lists all settings")))?);
        }
        flags.extend(
            more.iter()
                .filter_map(|(name, value)| Some((*name, value.clone()?))),
        );
        Config::load(self.config.as_deref(), &flags)
    }

    /// Returns whether the data directory is named, by a flag, a variable or the configuration file.
    fn names_directory(&self) -> Result<bool> {
        let (_, figment) = self.settings(&[])?;
        Ok(Config::origin(&figment, "data_dir") != "default")
    }

    /// Returns the settings of an interactive command: only warnings are logged unless configured otherwise.
    fn quiet_settings(&self) -> Result<Config> {
        let (mut config, figment) = self.settings(&[])?;
        if Config::origin(&figment, "log") == "default" {
            "warn".clone_into(&mut config.log);
        }
        output::log(&config)?;
        Ok(config)
    }

    /// Returns the application for a command that works on a data directory only.
    ///
    /// # Errors
    /// `directory_missing` when there is none and a server is named, on which the command has no effect; those of opening the directory.
    async fn local_app(&self) -> Result<Arc<App>> {
        let (config, _) = self.settings(&[])?;
        if self.data_dir.is_none()
            && !config.data_dir.exists()
            && let Some(server) = client::Client::named(self, &Remote::of_environment())?
        {
            return Err(Error::invalid(
                "directory_missing",
                format!(
                    "this command works on a data directory, not on {}, and there is none at {}; run it on the machine of the server, or name a directory with --data-dir",
                    server.base(),
                    config.data_dir.display()
                ),
            ));
        }
        self.app().await
    }

    /// Returns the application for an interactive command.
    async fn app(&self) -> Result<Arc<App>> {
        let app = App::open(self.quiet_settings()?, Clock::system()).await?;
        crate::crm::migration::run(&app).await?;
        app.ensure_tenant().await?;
        Ok(app)
    }
}
