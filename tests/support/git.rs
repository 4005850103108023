//! A git repository that is served over HTTP by the git program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// A repository with a working tree at `/r` of a server on a free port of this machine.
pub struct Repository {
    /// Address of the repository.
    pub url: String,
    folder: Arc<TempDir>,
    state: Arc<Mutex<Settings>>,
}

#[derive(Default)]
struct Settings {
    /// Value that the header `Authorization` must have.
    authorization: Option<String>,
    /// Bytes of packs and lists that were sent.
    sent: usize,
}

#[derive(Clone)]
struct Served {
    folder: Arc<TempDir>,
    state: Arc<Mutex<Settings>>,
}

/// Runs git in a folder, without the configuration of the machine.
fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(
        done.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Repository {
    pub async fn start() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("temporary directory"));
        git(folder.path(), &["init", "--initial-branch", "main"]);
        let state = Arc::new(Mutex::new(Settings::default()));
        let served = Served {
            folder: Arc::clone(&folder),
            state: Arc::clone(&state),
        };
        let router = Router::new()
            .route("/r/info/refs", get(advertise))
            .route("/r/git-upload-pack", post(upload_pack))
            .route("/moved/info/refs", get(moved))
            .with_state(served);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let url = format!("http://{}/r", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, folder, state }
    }

    /// Commits files with their contents; `None` removes one.
    pub fn commit(&self, files: &[(&str, Option<&str>)]) {
        for (name, content) in files {
            let path = self.folder.path().join(name);
            match content {
                Some(content) => {
                    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                    std::fs::write(path, content).expect("writable");
                }
                None => std::fs::remove_file(path).expect("removed"),
            }
        }
        git(self.folder.path(), &["add", "--all"]);
        git(self.folder.path(), &["commit", "--message", "change"]);
    }

    /// Starts a branch, and stays in it.
    pub fn branch(&self, name: &str) {
        git(self.folder.path(), &["checkout", "-b", name]);
    }

    pub fn checkout(&self, name: &str) {
        git(self.folder.path(), &["checkout", name]);
    }

    /// Makes a commit that has nothing to do with those before it, as a rewritten history does.
    pub fn rewrite(&self, name: &str, content: &str) {
        git(self.folder.path(), &["checkout", "--orphan", "other"]);
        self.commit(&[(name, Some(content))]);
        git(self.folder.path(), &["branch", "--force", "main"]);
        self.checkout("main");
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Demands a value of the header `Authorization` from now on.
    pub fn demand(&self, authorization: &str) {
        let mut state = self.state.lock().expect("no panic");
        state.authorization = Some(authorization.to_owned());
    }

    /// Bytes sent since the last time.
    pub fn sent(&self) -> usize {
        std::mem::take(&mut self.state.lock().expect("no panic").sent)
    }
}

impl Served {
    async fn run(&self, headers: &HeaderMap, arguments: &[&str], input: &[u8]) -> Response {
        let demanded = self.state.lock().expect("no panic").authorization.clone();
        let given = headers.get(header::AUTHORIZATION);
        if demanded.is_some_and(|d| given.is_none_or(|g| g != d.as_str())) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let protocol = headers
            .get("git-protocol")
            .map_or("", |v| v.to_str().expect("text"));
        let mut child = tokio::process::Command::new("git")
            .args(["upload-pack", "--stateless-rpc"])
            .args(arguments)
            .arg(self.folder.path())
            .env("GIT_PROTOCOL", protocol)
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input).await.expect("written");
        drop(stdin);
        let output = child.wait_with_output().await.expect("git ends");
        let (kind, prefix) = if arguments.is_empty() {
            ("result", "")
        } else {
            ("advertisement", "001e# service=git-upload-pack\n0000")
        };
        let body = [prefix.as_bytes(), &output.stdout].concat();
        self.state.lock().expect("no panic").sent += body.len();
        let kind = format!("application/x-git-upload-pack-{kind}");
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

async fn advertise(State(served): State<Served>, request: Request) -> Response {
    let arguments = ["--http-backend-info-refs"];
    served.run(request.headers(), &arguments, b"").await
}

async fn upload_pack(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    served.run(&headers, &[], &body).await
}

/// Leads to where the repository is now, as hosts do after a rename.
async fn moved() -> Response {
    let to = "/r/info/refs?service=git-upload-pack";
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response()
}
