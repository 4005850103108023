//! Watches the folders of sources: a change of a file starts a sync.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::job;
use super::settings::Settings;
use super::store::{self, Source};
use crate::app::App;
use crate::error::{Error, Result};

/// Time after the last change before a sync is started: files are written in several steps.
const SETTLED: Duration = Duration::from_millis(1500);
/// Longest time before a sync is started in a folder that never comes to rest.
const LONGEST: Duration = Duration::from_secs(30);
/// Time between two looks at which folders are to be watched.
const LOOK: Duration = Duration::from_secs(10);

/// A folder that is watched.
struct Watched {
    source: Source,
    root: PathBuf,
    /// Times of the first and the last change for which no sync was started yet.
    changed: Option<(Instant, Instant)>,
    _watcher: RecommendedWatcher,
}

/// Watches until `stop` fires. A failure is logged and tried again.
pub(crate) async fn run(app: &Arc<App>, stop: CancellationToken) {
    let (changes, mut incoming) = mpsc::unbounded_channel::<String>();
    let mut watched: HashMap<String, Watched> = HashMap::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() > LOOK) {
            looked = Some(Instant::now());
            if let Err(error) = look(app, &mut watched, &changes).await {
                tracing::warn!(%error, "folders of sources cannot be watched");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(id) = incoming.recv() => {
                if let Some(folder) = watched.get_mut(&id) {
                    let now = Instant::now();
                    folder.changed = Some((folder.changed.map_or(now, |(first, _)| first), now));
                }
            }
            () = tokio::time::sleep(SETTLED / 3) => {}
        }
        for folder in watched.values_mut() {
            let is_due = |(first, last): (Instant, Instant)| {
                last.elapsed() > SETTLED || first.elapsed() > LONGEST
            };
            if !folder.changed.is_some_and(is_due) {
                continue;
            }
            let now = Instant::now();
            let (tenant_id, id) = (&folder.source.tenant_id, &folder.source.id);
            match job::start(app, tenant_id, id).await {
                Ok(true) => folder.changed = None,
                // Started again when the running one is over, because it may have passed the change.
                Ok(false) => folder.changed = Some((now, now)),
                Err(error) => {
                    tracing::warn!(%error, source = id, "a sync could not be started");
                    folder.changed = Some((now, now));
                }
            }
        }
    }
}

/// Begins to watch new folders, and ends with those that are not to be watched any more.
async fn look(
    app: &Arc<App>,
    watched: &mut HashMap<String, Watched>,
    changes: &mpsc::UnboundedSender<String>,
) -> Result<()> {
    if app.config.source_folders.trim().is_empty() {
        watched.clear();
        return Ok(());
    }
    let mut wanted = HashMap::new();
    for source in store::all(app).await? {
        let Settings::Folder(folder) = source.settings()? else {
            continue;
        };
        if !folder.watch {
            continue;
        }
        match folder.root(app) {
            Ok(root) => drop(wanted.insert(source.id.clone(), (source, root))),
            Err(error) => {
                tracing::warn!(%error, source = source.id, "a folder cannot be watched");
            }
        }
    }
    watched.retain(|id, folder| wanted.get(id).is_some_and(|(_, root)| *root == folder.root));
    for (id, (source, root)) in wanted {
        if watched.contains_key(&id) {
            continue;
        }
        let watcher = match watcher(id.clone(), root.clone(), changes.clone()).await {
            Ok(watcher) => watcher,
            // The others are watched all the same.
            Err(error) => {
                tracing::warn!(%error, source = id, "a folder cannot be watched");
                continue;
            }
        };
        let now = Instant::now();
        let folder = Watched {
            source,
            root,
            // It may have changed while nobody watched.
            changed: Some((now, now)),
            _watcher: watcher,
        };
        watched.insert(id, folder);
    }
    Ok(())
}

/// Watches a folder with all folders in it, which takes time for large ones.
async fn watcher(
    id: String,
    root: PathBuf,
    changes: mpsc::UnboundedSender<String>,
) -> Result<RecommendedWatcher> {
    let start = move || {
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let is_change = match event {
                    Ok(event) => !matches!(event.kind, EventKind::Access(_)),
                    // Changes were lost.
                    Err(_) => true,
                };
                if is_change && changes.send(id.clone()).is_err() {
                    tracing::debug!("nobody watches any more");
                }
            })?;
        watcher.watch(&root, RecursiveMode::Recursive)?;
        Ok::<_, notify::Error>(watcher)
    };
    tokio::task::spawn_blocking(start)
        .await?
        .map_err(|e| Error::unavailable("folder_unwatched", e.to_string()))
}
