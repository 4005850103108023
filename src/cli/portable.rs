//! `cairn export`, `import` and `backup`: a dataset as one file, and a copy of a data directory.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Done, Global, foreign, output};
use crate::app::App;
use crate::auth::tenants;
use crate::clock::Clock;
use crate::disk;
use crate::error::{Error, Result};
use crate::importers::System;
use crate::kb::{datasets, portable};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn export --dataset work --out work.cairn
  cairn import work.cairn --data-dir elsewhere

Can run while a server uses the data directory; writes to the dataset wait while its rows are read.")]
pub(super) struct ExportArgs {
    /// Dataset name or ID
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn import work.cairn
  cairn import work.cairn --name work-copy
  cairn import chunks.jsonl --from jsonl --dataset papers --vector-model all-MiniLM-L6-v2
  cairn import Export.zip --from notion --dataset handbook --dry-run
  cairn import segments.json documents.json --from dify --dataset support
  cairn import people.csv --as contacts --map 'E-Mail=email' --map 'Firm=company_name' --dry-run
  cairn import people.csv --as contacts --errors refused.csv --url http://127.0.0.1:7700 --key cairn_…

With --from, the documents of another system are added to a dataset, which is created if it does not exist; the same export again changes nothing, and a later one replaces
what has changed. --dry-run shows what its fields become. Responses of an API can be put into a file one after the other.

A dataset file contains the vectors, so nothing is embedded again. The configured model must be the one that created them. A running server shows the
imported dataset within a second.")]
pub(super) struct ImportArgs {
    /// File written by `cairn export`; with --as, a CSV file with a header row; with --from, the files of an export
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// System whose export the files are
    #[arg(long, value_enum, value_name = "SYSTEM", conflicts_with = "kind")]
    from: Option<System>,
    /// Dataset for the documents of another system
    #[arg(short, long, value_name = "NAME", requires = "from")]
    dataset: Option<String>,
    /// Model that computed the vectors in the export; if it is the dataset's, they are taken over instead of embedding the texts
    #[arg(long, value_name = "MODEL", requires = "from")]
    vector_model: Option<String>,
    /// Record type of the CSV rows: contacts, companies, leads, deals or tickets
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<String>,
    /// Map a CSV column to a field; `custom:NAME` creates a custom field, `-` skips the column. By default, columns map to fields of the same name and others become custom fields
    #[arg(long, value_name = "COLUMN=FIELD", requires = "kind")]
    map: Vec<String>,
    /// Read everything and report, without importing it; with --as or --from
    #[arg(long)]
    dry_run: bool,
    /// Write rejected rows and the reasons to this CSV file
    #[arg(long, value_name = "FILE", requires = "kind")]
    errors: Option<PathBuf>,
    #[command(flatten)]
    remote: super::Remote,
    /// Name of the new dataset [default: the name in the file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn backup /backups/2026-11-22
  cairn serve --data-dir /backups/2026-11-22      a backup is a complete data directory

Contains a consistent snapshot of the database and the blobs. Indexes are rebuilt from it at the first start, without running the model.")]
pub(super) struct BackupArgs {
    /// Directory to create
    directory: PathBuf,
}

pub(super) async fn export(global: &Global, args: ExportArgs) -> Result<Done> {
    if args.out.exists() && !args.force {
        return Err(Error::invalid(
            "file_exists",
            format!(
                "{} already exists; use --force to overwrite it",
                args.out.display()
            ),
        ));
    }
    let app = global.local_app().await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let dataset = datasets::by_name(&app, &caller, &args.dataset).await?;
    let manifest = portable::export(&app, &caller, &dataset.id, &args.out).await?;
    app.db.close().await;
    let bytes = std::fs::metadata(&args.out)?.len();
    if global.json {
        println!(
            "{}",
            json!({"file": args.out, "bytes": bytes, "manifest": manifest})
        );
    } else {
        println!(
            "{}: {} documents, {} chunks, {} vectors, {:.1} MB",
            args.out.display(),
            manifest.documents,
            manifest.chunks,
            manifest.embeddings,
            bytes as f64 / 1e6
        );
    }
    Ok(Done::All)
}

pub(super) async fn import(global: &Global, args: ImportArgs) -> Result<Done> {
    if let Some(system) = args.from {
        let import = foreign::Import {
            system,
            files: args.files,
            dataset: args.dataset,
            dry_run: args.dry_run,
            vector_model: args.vector_model,
            remote: args.remote,
        };
        return foreign::run(global, import).await;
    }
    let [file] = <[PathBuf; 1]>::try_from(args.files).map_err(|_| {
        Error::invalid(
            "file_count_wrong",
            "several files are imported only with --from",
        )
    })?;
    if let Some(kind) = args.kind {
        let import = super::records::Import {
            file,
            kind,
            map: args.map,
            dry_run: args.dry_run,
            errors: args.errors,
            remote: args.remote,
        };
        return super::records::run(global, import).await;
    }
    if args.dry_run {
        return Err(Error::invalid(
            "dry_run_unsupported",
            "--dry-run needs --as or --from; a dataset file is validated as a whole before anything is written",
        ));
    }
    if args.remote.url.is_some() || args.remote.profile.is_some() {
        return Err(Error::invalid(
            "url_unsupported",
            "--url and --profile are only supported with --as and --from; datasets are imported into a data directory",
        ));
    }
    let app = global.local_app().await?;
    app.embedder_with(output::downloads(global.json)).await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let dataset = portable::import(&app, &caller, &file, args.name.as_deref()).await?;
    app.db.close().await;
    if global.json {
        println!(
            "{}",
            json!({"datasetId": dataset.id, "name": dataset.name, "totalFiles": dataset.total_files, "totalChunks": dataset.total_chunks})
        );
    } else {
        println!(
            "dataset {} ({}): {} documents, {} chunks",
            dataset.name, dataset.id, dataset.total_files, dataset.total_chunks
        );
    }
    Ok(Done::All)
}

pub(super) async fn backup(global: &Global, arguments: BackupArgs) -> Result<Done> {
    let config = global.quiet_settings()?;
    if !config.database_url.is_empty() || !config.blob_url.is_empty() {
        return Err(Error::unprocessable(
            "backup_unsupported",
            "backup only supports SQLite and local blobs; back up PostgreSQL and S3 with their own tools",
        ));
    }
    let directory = arguments.directory;
    if directory.exists() && directory.read_dir()?.next().is_some() {
        return Err(Error::invalid(
            "directory_not_empty",
            format!("{} already exists and is not empty", directory.display()),
        ));
    }
    if !config.data_dir.join("cairn.db").is_file() {
        return Err(Error::invalid(
            "data_dir_empty",
            format!("{} is not a data directory", config.data_dir.display()),
        ));
    }
    let (blobs, data_dir) = (config.data_dir.join("blobs"), config.data_dir.clone());
    let app = App::open(config, Clock::system()).await?;
    disk::private_directory(&directory)?;
    // The snapshot comes first: blobs are immutable, and none that it references is removed within the hour.
    let copy = directory.join("cairn.db");
    app.db.snapshot(&copy).await?;
    disk::private_file(&copy)?;
    app.db.close().await;
    // Without it the secrets in the copy could not be decrypted.
    let secret_key = data_dir.join("secret.key");
    if secret_key.is_file() {
        disk::private_file(&directory.join("secret.key"))?;
        std::fs::copy(&secret_key, directory.join("secret.key"))?;
    }
    let to = directory.join("blobs");
    let (files, bytes) = tokio::task::spawn_blocking(move || copy_tree(&blobs, &to)).await??;
    let database = std::fs::metadata(&copy)?.len();
    if global.json {
        println!(
            "{}",
            json!({"directory": directory, "databaseBytes": database, "blobs": files, "blobBytes": bytes})
        );
    } else {
        println!(
            "{}: database {:.1} MB, {files} blobs ({:.1} MB)",
            directory.display(),
            database as f64 / 1e6,
            bytes as f64 / 1e6
        );
    }
    Ok(Done::All)
}

/// Copies the files below a directory; returns their number and bytes. Files deleted in the meantime were garbage.
fn copy_tree(from: &Path, to: &Path) -> Result<(u64, u64)> {
    std::fs::create_dir_all(to)?;
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "incoming" {
            let inner = copy_tree(&entry.path(), &to.join(&name))?;
            files += inner.0;
            bytes += inner.1;
        } else if kind.is_file() {
            match std::fs::copy(entry.path(), to.join(&name)) {
                Ok(length) => {
                    files += 1;
                    bytes += length;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((files, bytes))
}
