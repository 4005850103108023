//! Git repositories over HTTP: the files of a branch, without its history. A copy of the repository is kept in the data directory, so that a sync receives only what has changed.
//! The copy is a cache: one that is damaged, or has more packs or bytes than it should, is made anew.

mod http;

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use futures::stream::BoxStream;
use gix::ObjectId;
use gix::object::tree::EntryKind;
use gix::remote::fetch::{Shallow, Tags};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::http::Transport;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::mpsc;

use self::http::{Failure, GuardedHttp};
use super::connector::{Connector, Listed};
use super::patterns::Patterns;
use super::settings::{Repository, address};
use super::store::Source;
use crate::app::App;
use crate::db::args;
use crate::disk;
use crate::error::{Error, Result};
use crate::outgoing::Outgoing;

/// Reference of the copy that the wanted branch is fetched to.
const TIP: &str = "refs/cairn/tip";
/// Files below `objects/pack` beyond which a copy is made anew: every change adds a pack and its index.
const PACKS: usize = 100;
/// Bytes of an object while it is received. The library keeps it in memory, with what it is made of.
const OBJECT: u64 = 256 << 20;
/// Bytes of a path.
const PATH: usize = 4096;
/// Files that a repository may have.
const FILES: usize = 500_000;
/// Trees that are read for them. Trees that contain each other many times would never end.
const TREES: usize = 500_000;
/// Largest pointer of Git LFS, in bytes; its specification says less than 1024.
const POINTER: usize = 1024;
/// First line of such a pointer.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

pub(super) struct GitConnector {
    remote: Arc<Remote>,
    /// The copy, once it is up to date.
    copy: Arc<OnceLock<gix::ThreadSafeRepository>>,
    patterns: Patterns,
    page_url: Option<String>,
    /// Bytes that a file may have.
    largest: u64,
}

/// A repository and where its copy is.
struct Remote {
    outgoing: Outgoing,
    url: Url,
    /// What is fetched: `HEAD` or the full name of a reference.
    reference: String,
    authorization: Option<HeaderValue>,
    /// Bytes that may be received at a time, and that the copy may have.
    most: u64,
    place: PathBuf,
    failure: Failure,
    /// Set when the sync is over before the repository is fetched.
    is_over: AtomicBool,
}

impl Drop for GitConnector {
    fn drop(&mut self) {
        self.remote.is_over.store(true, Ordering::Relaxed);
    }
}

/// Returns the folder with the copies of all sources.
fn places(app: &App) -> PathBuf {
    app.config.data_dir.join("repositories")
}

/// Removes the copies of sources that are gone.
///
/// # Errors
/// Those of the database and the file system.
pub(crate) async fn sweep(app: &App) -> Result<()> {
    let Ok(mut folders) = tokio::fs::read_dir(places(app)).await else {
        return Ok(());
    };
    while let Some(folder) = folders.next_entry().await? {
        let name = folder.file_name();
        let source: Option<(String,)> = app
            .db
            .optional(
                "SELECT id FROM kb_sources WHERE id = $1",
                args![name.to_string_lossy().into_owned()],
            )
            .await?;
        if source.is_none() {
            tokio::fs::remove_dir_all(folder.path()).await?;
        }
    }
    Ok(())
}

impl GitConnector {
    pub(super) fn new(
        app: &App,
        source: &Source,
        repository: &Repository,
        secret: Option<String>,
    ) -> Result<Self> {
        let url = address(&repository.url)?;
        if secret.is_some() && url.scheme() != "https" && !app.outgoing.lists(&url) {
            return Err(Error::invalid(
                "source_settings_invalid",
                "the secret of a repository is sent over https only, or to hosts that the setting outgoing_allow names",
            ));
        }
        let authorization = secret.map(|secret| {
            let user = repository.user.as_deref().unwrap_or("git");
            let mut value = HeaderValue::try_from(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{secret}"))
            ))
            .map_err(|e| Error::internal(e.to_string()))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self {
            remote: Arc::new(Remote {
                outgoing: app.outgoing.clone(),
                url,
                reference: repository.reference(),
                authorization: authorization.transpose()?,
                most: app.config.source_repository_mb << 20,
                place: places(app).join(&source.id),
                failure: Failure::default(),
                is_over: AtomicBool::new(false),
            }),
            copy: Arc::default(),
            patterns: Patterns::new(Path::new("/"), &repository.include, &repository.exclude)?,
            page_url: repository.page_url.clone(),
            largest: app.config.upload_file_mb << 20,
        })
    }
}

/// Returns the address of a file's page at a host whose addresses are known, or by a template.
fn page_url(url: &Url, template: Option<&str>, reference: &str, path: &str) -> Option<Url> {
    let encoded = || {
        let mut url = Url::parse("file:///").ok()?;
        url.path_segments_mut()
            .ok()?
            .clear()
            .extend(path.split('/'));
        Some(url.path().trim_start_matches('/').to_owned())
    };
    if let Some(template) = template {
        return template.replace("{path}", &encoded()?).parse().ok();
    }
    let between = match url.host_str()? {
        "github.com" => "blob",
        "gitlab.com" => "-/blob",
        "bitbucket.org" => "src",
        _ => return None,
    };
    let branch = reference
        .trim_start_matches("refs/heads/")
        .trim_start_matches("refs/tags/");
    let base = url.as_str().trim_end_matches('/').trim_end_matches(".git");
    format!("{base}/{between}/{branch}/{}", encoded()?)
        .parse()
        .ok()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::upstream(
        "source_failed",
        format!("the repository cannot be read: {error}"),
    )
}

impl Remote {
    /// Brings the copy up to date. A copy that is damaged, or locked by a process that was killed, and one that has become large, is made anew.
    fn update(&self) -> Result<gix::ThreadSafeRepository> {
        disk::private_directory(&self.place)?;
        // A sync that was cancelled may still be at it.
        let lock = std::fs::File::create(self.place.join("lock"))?;
        lock.lock()?;
        let copy = self.copy();
        let (mut packs, mut bytes) = (0, 0);
        for file in std::fs::read_dir(copy.join("objects/pack"))
            .into_iter()
            .flatten()
        {
            packs += 1;
            bytes += file?.metadata()?.len();
        }
        if packs > 0 && packs <= PACKS && bytes <= self.most {
            match self.fetch() {
                Err(Fetching::Copy(error)) if !self.is_over() => {
                    tracing::info!(%error, "the copy of a repository is made anew");
                }
                done => return done.map_err(Fetching::into_error),
            }
        }
        match std::fs::remove_dir_all(&copy) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        self.fetch().map_err(Fetching::into_error)
    }

    fn copy(&self) -> PathBuf {
        self.place.join("copy")
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Fetches the last commit of the branch into the copy.
    fn fetch(&self) -> std::result::Result<gix::ThreadSafeRepository, Fetching> {
        self.failure.take();
        self.receive().map_err(|error| match self.failure.take() {
            Some(error) => Fetching::Host(error),
            None => Fetching::Copy(failed(error)),
        })
    }

    fn receive(&self) -> gix::Result<gix::ThreadSafeRepository> {
        let limit = format!("gitoxide.objects.allocLimit={OBJECT}");
        // Nothing of the machine's configuration counts, and no program is started.
        let options =
            gix::open::Options::isolated().config_overrides([limit.as_str(), "pack.threads=1"]);
        let copy = self.copy();
        let repo = if copy.join("HEAD").exists() {
            gix::open_opts(&copy, options)?
        } else {
            disk::private_directory(&copy).map_err(gix::Error::from_error)?;
            gix::ThreadSafeRepository::init_opts(
                &copy,
                gix::create::Kind::Bare,
                gix::create::Options::default(),
                options,
            )?
            .to_thread_local()
        };
        let spec = format!("+{}:{TIP}", self.reference);
        let remote = repo
            .remote_at_without_url_rewrite(self.url.as_str())?
            .with_fetch_tags(Tags::None)
            .with_refspecs([spec.as_str()], gix::remote::Direction::Fetch)?;
        let http = GuardedHttp::new(
            self.outgoing.clone(),
            self.authorization.clone(),
            self.most,
            self.failure.clone(),
        );
        let url = gix::url::parse(self.url.as_str())?;
        let transport = Transport::new_http(http, url, Protocol::V2, false);
        remote
            .to_connection_with_transport(transport)
            // Helpers for credentials would be programs of the machine.
            .with_credentials(|_| Ok(None))
            .prepare_fetch(
                gix::progress::Discard,
                gix::remote::ref_map::Options::default(),
            )?
            .with_shallow(Shallow::DepthAtRemote(NonZeroU32::MIN))
            .receive(gix::progress::Discard, &self.is_over)?;
        Ok(repo.into_sync())
    }
}

/// Why a fetch failed.
enum Fetching {
    /// The host, or a limit: a new copy would not help.
    Host(Error),
    /// Perhaps the copy.
    Copy(Error),
}

impl Fetching {
    fn into_error(self) -> Error {
        match self {
            Self::Host(error) | Self::Copy(error) => error,
        }
    }
}

/// Walks the tree of the last commit, and calls `take` with path and id of every file that the patterns choose until it returns `false`.
///
/// # Errors
/// `repository_too_large` for a tree without end.
fn walk(
    repo: &gix::Repository,
    patterns: &Patterns,
    mut take: impl FnMut(String, ObjectId) -> bool,
) -> Result<()> {
    let root = repo
        .find_reference(TIP)
        .and_then(|mut tip| tip.peel_to_commit())
        .and_then(|commit| commit.tree_id())
        .map_err(failed)?;
    let mut folders = vec![(String::new(), root.detach())];
    let (mut files, mut trees) = (0, 1);
    while let Some((folder, id)) = folders.pop() {
        for entry in repo.find_tree(id).map_err(failed)?.iter() {
            let entry = entry.map_err(failed)?;
            let Ok(name) = std::str::from_utf8(entry.filename()) else {
                tracing::warn!(folder, name = %entry.filename(), "the name of a file is not Unicode");
                continue;
            };
            if folder.len() + name.len() > PATH {
                return Err(too_large(format!("a path has more than {PATH} bytes")));
            }
            let path = format!("{folder}{name}");
            let rooted = format!("/{path}");
            match entry.mode().kind() {
                EntryKind::Tree if !patterns.leave_out_folder(Path::new(&rooted)) => {
                    trees += 1;
                    if trees > TREES {
                        return Err(too_large(format!("it has more than {TREES} folders")));
                    }
                    folders.push((format!("{path}/"), entry.object_id()));
                }
                EntryKind::Blob | EntryKind::BlobExecutable
                    if !patterns.leave_out(Path::new(&rooted)) =>
                {
                    files += 1;
                    if files > FILES {
                        return Err(too_large(format!(
                            "it has more than {FILES} files; choose some with include and exclude"
                        )));
                    }
                    if !take(path, entry.object_id()) {
                        return Ok(());
                    }
                }
                // Links lead elsewhere, and submodules are repositories of their own.
                EntryKind::Tree
                | EntryKind::Blob
                | EntryKind::BlobExecutable
                | EntryKind::Link
                | EntryKind::Commit => {}
            }
        }
    }
    Ok(())
}

fn too_large(why: String) -> Error {
    Error::unprocessable(
        "repository_too_large",
        format!("the repository is too large: {why}"),
    )
}

#[async_trait]
impl Connector for GitConnector {
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool> {
        let (remote, copy) = (Arc::clone(&self.remote), Arc::clone(&self.copy));
        let (patterns, template) = (self.patterns.clone(), self.page_url.clone());
        tokio::task::spawn_blocking(move || {
            let repo = remote.update()?;
            let repo = copy.get_or_init(|| repo).to_thread_local();
            walk(&repo, &patterns, |path, id| {
                let url = page_url(&remote.url, template.as_deref(), &remote.reference, &path);
                let listed = Listed {
                    version: id.to_string(),
                    mime_type: mime_guess::from_path(&path).first_raw().map(str::to_owned),
                    name: path.clone(),
                    key: path,
                    url: url.map(Into::into),
                    ..Listed::default()
                };
                items.blocking_send(listed).is_ok()
            })?;
            Ok(true)
        })
        .await?
    }

    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>> {
        let copy = Arc::clone(&self.copy);
        let (name, version, largest) = (item.key.clone(), item.version.clone(), self.largest);
        let content = tokio::task::spawn_blocking(move || {
            let repo = copy
                .get()
                .ok_or_else(|| Error::internal("a file was listed without a repository"))?
                .to_thread_local();
            let id = ObjectId::from_hex(version.as_bytes()).map_err(failed)?;
            if repo.find_header(id).map_err(failed)?.size() > largest {
                return Err(Error::too_large(
                    "file_too_large",
                    format!(
                        "{name} is larger than {} MB, the limit of the setting upload_file_mb",
                        largest >> 20
                    ),
                ));
            }
            let content = repo.find_blob(id).map_err(failed)?.take_data();
            if content.len() < POINTER && content.starts_with(LFS) {
                return Err(Error::unprocessable(
                    "stored_in_lfs",
                    format!("{name} is stored with Git LFS, which is not supported"),
                ));
            }
            Ok(Bytes::from(content))
        })
        .await??;
        Ok(futures::stream::once(async { Ok(content) }).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(url: &str, template: Option<&str>, reference: &str) -> Option<String> {
        let url = url.parse().expect("an address");
        page_url(&url, template, reference, "docs/a b#1.md").map(Into::into)
    }

    #[test]
    fn files_have_pages_at_known_hosts() {
        let known = [
            (
                "https://github.com/o/r.git",
                "HEAD",
                "https://github.com/o/r/blob/HEAD/docs/a%20b%231.md",
            ),
            (
                "https://gitlab.com/g/s/r",
                "refs/heads/next",
                "https://gitlab.com/g/s/r/-/blob/next/docs/a%20b%231.md",
            ),
        ];
        for (url, reference, expected) in known {
            assert_eq!(page(url, None, reference).as_deref(), Some(expected));
        }
        assert_eq!(page("https://git.example/r", None, "HEAD"), None);
    }

    #[test]
    fn a_template_gives_the_pages_of_other_hosts() {
        let template = Some("https://git.example/r/src/branch/main/{path}");
        assert_eq!(
            page("https://git.example/r.git", template, "HEAD").as_deref(),
            Some("https://git.example/r/src/branch/main/docs/a%20b%231.md")
        );
    }
}
