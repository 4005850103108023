//! `cairn models`: lists, fetches, verifies and calibrates models.

use cairn_models::{Cache, is_reference};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Done, Global, output};
use crate::app::App;
use crate::auth::tenants;
use crate::error::{Error, Result};
use crate::evaluation::calibrate;
use crate::kb::datasets;
use crate::search::Defaults;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn models list
  cairn models pull                    the configured model and ONNX Runtime
  cairn models pull multilingual-e5-small
  cairn models verify
  cairn models calibrate --dataset docs --apply")]
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
    /// Measure on the text of a dataset which cosines of its model mean related and unrelated, so that scores and thresholds mean the same as with
    /// other models. Needs no labels. Datasets created or rebuilt from now on use the result
    Calibrate {
        /// Name or ID of the dataset: at least 30 chunks of several sentences from 5 documents
        #[arg(long, value_name = "NAME")]
        dataset: String,
        /// Also apply the result to this dataset now: the scores of its searches change
        #[arg(long)]
        apply: bool,
        /// Only show the result
        #[arg(long, conflicts_with = "apply")]
        dry_run: bool,
    },
}

pub(super) async fn run(global: &Global, args: ModelsArgs) -> Result<Done> {
    match args.action {
        Action::Calibrate {
            dataset,
            apply,
            dry_run,
        } => calibrate(global, &dataset, apply, dry_run).await,
        Action::List => list(global),
        Action::Pull { name } => pull(global, name).await,
        Action::Verify { name } => verify(global, name).await,
    }
}

fn list(global: &Global) -> Result<Done> {
    let config = global.quiet_settings()?;
    let cache = Cache::new(config.models_directory(), config.offline);
    let all = cairn_models::known();
    if global.json {
        let list: Vec<_> = all.iter().map(|m| json!({"manifest": m, "cached": cache.has(m), "default": m.name == config.model})).collect();
        println!("{}", serde_json::to_string(&list)?);
        return Ok(Done::All);
    }
    let measured = cache.calibrations()?;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|m| {
            let here = match cache.cached(m) {
                Some(cached) if cached.name == m.name => "yes",
                Some(fallback) => &fallback.name,
                None => "",
            };
            let calibration = measured.get(&m.name).or(m.calibration.as_ref());
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
                calibration.map_or(String::new(), |c| {
                    format!("{:.2} to {:.2}", c.calibration.low, c.calibration.high)
                }),
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
                "cosines of scores 0 to 1",
                "licence"
            ],
            &rows
        )
    );
    println!(
        "\n* configured model. Models are stored in {}.",
        cache.root().display()
    );
    Ok(Done::All)
}

async fn pull(global: &Global, name: Option<String>) -> Result<Done> {
    let config = global.quiet_settings()?;
    let cache = Cache::new(config.models_directory(), config.offline);
    let manifest = cairn_models::resolve(name.as_deref().unwrap_or(&config.model))?;
    let mut settings = config.clone();
    settings.model.clone_from(&manifest.name);
    if let Some(name) = name.filter(|n| std::path::Path::new(n).is_dir()) {
        settings.model = name;
    }
    let report = output::downloads(global.json);
    // Loading proves that the files are a model, and that the runtime can be opened.
    let spec = App::check_model(settings, report).await?;
    let directory = cache.directory(cache.cached(&manifest).unwrap_or(&manifest));
    if global.json {
        println!(
            "{}",
            json!({"model": spec.model, "dimensions": spec.dimensions, "directory": directory})
        );
    } else {
        println!(
            "{} downloaded and verified: {} dimensions, {} tokens ({})",
            spec.model,
            spec.dimensions,
            spec.max_tokens,
            directory.display()
        );
    }
    Ok(Done::All)
}

async fn verify(global: &Global, name: Option<String>) -> Result<Done> {
    let config = global.quiet_settings()?;
    let cache = Cache::new(config.models_directory(), config.offline);
    let manifest = cairn_models::resolve(name.as_deref().unwrap_or(&config.model))?;
    let manifest = cache.cached(&manifest).cloned().unwrap_or(manifest);
    let name = manifest.name.clone();
    tokio::task::spawn_blocking(move || cache.verify(&manifest))
        .await?
        .map_err(|e| Error::unprocessable("model_damaged", e.to_string()))?;
    if global.json {
        println!("{}", json!({"model": name, "verified": true}));
    } else {
        println!("{name}: all files verified");
    }
    Ok(Done::All)
}

async fn calibrate(global: &Global, dataset: &str, apply: bool, dry_run: bool) -> Result<Done> {
    let app = global.local_app().await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let dataset = datasets::by_name(&app, &caller, dataset).await?;
    let bar = output::bar(0, global.json, "embedding {pos}/{len} {wide_bar} {eta}");
    let found = calibrate::estimate(&app, &caller, &dataset, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })
    .await?;
    bar.finish_and_clear();
    // Its scores define the scale of all.
    let dry_run = dry_run || is_reference(&found.model);
    let apply = apply && !dry_run;
    if !dry_run {
        let source = format!(
            "{} sentences of {} documents of dataset {:?}",
            found.pairs, found.documents, dataset.name
        );
        calibrate::record(&app, &found, source).await?;
    }
    if apply {
        calibrate::apply(&app, &caller, &dataset, &found).await?;
    }
    let (low, high) = (found.calibration.low, found.calibration.high);
    let before = dataset.indexing.calibration();
    let outdated: Defaults = serde_json::from_str(&dataset.search_defaults)?;
    let outdated = apply && (outdated.min_score.is_some() || outdated.confident_from.is_some());
    if global.json {
        println!(
            "{}",
            json!({"model": found.model, "low": low, "high": high, "related": found.anchors.related, "unrelated": found.anchors.unrelated,
                "pairs": found.pairs, "documents": found.documents, "before": before, "recorded": !dry_run, "applied": apply, "thresholdsOutdated": outdated})
        );
        return Ok(Done::All);
    }
    println!(
        "{}: cosine {low:.3} becomes score 0, {high:.3} becomes 1.",
        found.model
    );
    println!(
        "Median cosine of a sentence and the rest of its passage {:.3}, and passages of other documents {:.3} ({} sentences of {} documents).",
        found.anchors.related, found.anchors.unrelated, found.pairs, found.documents
    );
    println!(
        "{}",
        match (dry_run, apply) {
            (true, _) if is_reference(&found.model) =>
                "This model is the reference for the others, so nothing was changed.".to_owned(),
            (true, _) => "Nothing was changed.".to_owned(),
            (false, true) => format!(
                "Applied to dataset {:?}, and to datasets that are created or rebuilt from now on.",
                dataset.name
            ),
            (false, false) => format!(
                "Datasets that are created or rebuilt from now on use it. Dataset {:?} keeps its scores; --apply changes them.",
                dataset.name
            ),
        }
    );
    if outdated {
        println!(
            "The dataset has thresholds (minScore, confidentFrom) that were chosen for the scores before; set them again, for example with `cairn eval`."
        );
    }
    Ok(Done::All)
}
