//! `cairn models`: lists, fetches and verifies models.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Done, Global, output};
use crate::app::App;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn models list
  cairn models pull                    the configured model and ONNX Runtime
  cairn models pull bge-small-en-v1.5
  cairn models verify")]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List available models
    List,
    /// Download and verify a model and ONNX Runtime
    Pull {
        /// Model name or directory [default: the configured model]
        name: Option<String>,
    },
    /// Verify the files of a model against their checksums
    Verify {
        /// Model name or directory [default: the configured model]
        name: Option<String>,
    },
}

pub(super) async fn run(global: &Global, args: ModelsArgs) -> Result<Done> {
    let config = global.quiet_settings()?;
    let cache = cairn_models::Cache::new(config.models_directory(), config.offline);
    match args.action {
        Action::List => {
            let all = cairn_models::known();
            if global.json {
                let list: Vec<_> = all.iter().map(|m| json!({"manifest": m, "cached": cache.has(m), "default": m.name == config.model})).collect();
                println!("{}", serde_json::to_string(&list)?);
                return Ok(Done::All);
            }
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|m| {
                    let here = if cache.has(m) { "yes" } else { "" };
                    let mark = if m.name == config.model { "*" } else { "" };
                    let pinned = if m.files.iter().all(|f| f.sha256.is_some()) {
                        "pinned"
                    } else {
                        "on first download"
                    };
                    vec![
                        format!("{}{mark}", m.name),
                        m.dimensions.to_string(),
                        m.max_tokens.to_string(),
                        here.to_owned(),
                        pinned.to_owned(),
                        m.licence.clone(),
                    ]
                })
                .collect();
            println!(
                "{}",
                output::table(
                    &[
                        "model",
                        "dimensions",
                        "tokens",
                        "downloaded",
                        "checksums",
                        "licence"
                    ],
                    &rows
                )
            );
            println!(
                "\n* configured model. Models are stored in {}.",
                cache.root().display()
            );
        }
        Action::Pull { name } => {
            let manifest = cairn_models::resolve(name.as_deref().unwrap_or(&config.model))?;
            let mut settings = config.clone();
            settings.model.clone_from(&manifest.name);
            if let Some(name) = name.filter(|n| std::path::Path::new(n).is_dir()) {
                settings.model = name;
            }
            let report = output::downloads(global.json);
            // Loading proves that the files are a model, and that the runtime can be opened.
            let spec = App::check_model(settings, report).await?;
            if global.json {
                println!(
                    "{}",
                    json!({"model": spec.model, "dimensions": spec.dimensions, "directory": cache.directory(&manifest)})
                );
            } else {
                println!(
                    "{} downloaded and verified: {} dimensions, {} tokens ({})",
                    spec.model,
                    spec.dimensions,
                    spec.max_tokens,
                    cache.directory(&manifest).display()
                );
            }
        }
        Action::Verify { name } => {
            let manifest = cairn_models::resolve(name.as_deref().unwrap_or(&config.model))?;
            let (checked, cache) = (manifest.clone(), cache.clone());
            tokio::task::spawn_blocking(move || cache.verify(&checked))
                .await?
                .map_err(|e| Error::unprocessable("model_damaged", e.to_string()))?;
            if global.json {
                println!("{}", json!({"model": manifest.name, "verified": true}));
            } else {
                println!("{}: all files verified", manifest.name);
            }
        }
    }
    Ok(Done::All)
}
