//! A client of Cairn's own API, and which server a command uses: the named one, that of a profile, the one that is using the data directory, or one inside the command.

use std::net::Ipv4Addr;
use std::sync::Arc;

use reqwest::{Client as Http, RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::running::{self, Running};
use super::{Done, Global, Remote, output, profiles};
use crate::api;
use crate::app::App;
use crate::background;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::outgoing;
use crate::search::follower;

/// A server and a key.
pub(super) struct Client {
    http: Http,
    base: String,
    key: String,
    /// Whether the server is inside this command and ends with it.
    is_inside: bool,
}

impl Client {
    /// Returns the client of the server that a command uses: the one that is [`named`](Self::named), or the one that is using the data directory. `None` when
    /// no process is using it.
    ///
    /// # Errors
    /// Those of [`Self::named`]; `data_dir_in_use`.
    pub(super) fn find(global: &Global, remote: &Remote) -> Result<Option<Self>> {
        if let Some(client) = Self::named(global, remote)? {
            return Ok(Some(client));
        }
        let (config, _) = global.settings(&[])?;
        match running::find(&config.data_dir)? {
            Some(server) => Self::of(&server.url, server.key).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the client of the server that is named in place of a data directory: the one of `--url` or `CAIRN_URL`, or that of a profile unless a data
    /// directory is named.
    ///
    /// # Errors
    /// `url_missing`, `url_invalid`, `key_missing`, `profile_not_found`, `profile_invalid`.
    pub(super) fn named(global: &Global, remote: &Remote) -> Result<Option<Self>> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let profile = if let Some(name) = &remote.profile {
            // A variable is for commands that say nothing else.
            if remote.url.is_some() && remote.url != variable("CAIRN_URL") {
                return Err(Error::invalid(
                    "profile_invalid",
                    "name a server with --url or with --profile, not with both",
                ));
            }
            profiles::find(Some(name))?
        } else if let Some(client) = Self::of_url(remote)? {
            return Ok(Some(client));
        } else if global.names_directory()? {
            None
        } else {
            profiles::find(variable("CAIRN_PROFILE").as_deref())?
        };
        profile
            .map(|profile| Self::of(&profile.url, profile.key))
            .transpose()
    }

    /// Returns the client of the server of `--url` or `CAIRN_URL`; `None` without one.
    fn of_url(remote: &Remote) -> Result<Option<Self>> {
        let url = remote.url.as_deref().map(str::trim);
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            if remote.key.is_some() {
                return Err(Error::invalid(
                    "url_missing",
                    "there is a key (--key or CAIRN_KEY), but no server for it: name one with --url or CAIRN_URL, or unset the key to use the data directory",
                ));
            }
            return Ok(None);
        };
        // The mistake in the address comes first.
        address(url)?;
        let key = remote.key.clone().ok_or_else(|| {
            Error::invalid(
                "key_missing",
                "--url requires an API key: set --key or CAIRN_KEY",
            )
        })?;
        Self::of(url, key).map(Some)
    }

    /// Returns the client of a server.
    ///
    /// # Errors
    /// `url_invalid`.
    pub(super) fn of(url: &str, key: String) -> Result<Self> {
        let (base, is_loopback) = address(url)?;
        let mut http = outgoing::endpoint_client();
        if is_loopback {
            // A proxy would look on its own machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| unreachable(&e))?;
        Ok(Self {
            http,
            base,
            key,
            is_inside: false,
        })
    }

    /// Returns whether the server is inside this command and ends with it.
    pub(super) fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Returns the address of the server, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    pub(super) fn patch(&self, path: &str) -> RequestBuilder {
        self.http
            .patch(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    pub(super) fn delete(&self, path: &str) -> RequestBuilder {
        self.http
            .delete(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    pub(super) fn put(&self, path: &str) -> RequestBuilder {
        self.http
            .put(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    /// Sends a request; an error response becomes an error with the server's message.
    pub(super) async fn receive(request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // What is not JSON comes from something else than Cairn, such as a proxy.
        let body: Option<Value> = response.json().await.ok();
        let message = body
            .as_ref()
            .and_then(|body| body["error"]["message"].as_str())
            .unwrap_or("no reason given; is it Cairn?");
        Err(Error::unprocessable(
            "server_refused",
            format!("the server returned {status}: {message}"),
        ))
    }

    /// Sends a request and reads its JSON response; null for a response without a body.
    pub(super) async fn send(request: RequestBuilder) -> Result<Value> {
        let response = Self::receive(request).await?;
        let bytes = response.bytes().await.map_err(|e| unreachable(&e))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            Error::unprocessable(
                "server_refused",
                "the server's response is not JSON; is it Cairn?",
            )
        })
    }

    /// Returns every item of a paged list.
    pub(super) async fn all(&self, path: &str) -> Result<Vec<Value>> {
        self.all_with(path, &[]).await
    }

    /// Returns every item of a paged list with further parameters.
    pub(super) async fn all_with(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Value>> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut request = self.get(path).query(&[("limit", "500")]).query(parameters);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let mut page = Self::send(request).await?;
            if let Value::Array(items) = page["data"].take() {
                all.extend(items);
            }
            match page["pagination"]["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(all),
            }
        }
    }

    /// Returns the id of a dataset by name or id; creates it from `new` when there is none.
    pub(super) async fn dataset_or_new(&self, wanted: &str, new: &Value) -> Result<String> {
        let known = self.datasets().await?;
        if let Some((_, id)) = known
            .into_iter()
            .find(|(name, id)| name == wanted || id == wanted)
        {
            return Ok(id);
        }
        let created = Self::send(self.post("/kb/v1/datasets").json(new)).await?;
        Ok(created["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns the id of a dataset by name or id.
    ///
    /// # Errors
    /// `dataset_not_found`, with the name that is most likely meant.
    pub(super) async fn dataset(&self, wanted: &str) -> Result<String> {
        let known = self.datasets().await?;
        let found = known
            .iter()
            .find(|(name, id)| name == wanted || id == wanted);
        match found {
            Some((_, id)) => Ok(id.clone()),
            None => Err(datasets::unknown(
                wanted,
                known.iter().map(|(name, _)| name.as_str()),
            )),
        }
    }

    /// Returns the ids of the named datasets, or of all.
    ///
    /// # Errors
    /// `dataset_not_found`, also when there is no dataset.
    pub(super) async fn datasets_or_all(&self, names: &[String]) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for name in names {
            ids.push(self.dataset(name).await?);
        }
        if names.is_empty() {
            ids = self
                .datasets()
                .await?
                .into_iter()
                .map(|(_, id)| id)
                .collect();
        }
        if ids.is_empty() {
            return Err(Error::not_found(
                "dataset_not_found",
                "there is no dataset yet; `cairn ingest PATH --dataset NAME` creates one",
            ));
        }
        Ok(ids)
    }

    /// Returns the datasets as name and id.
    pub(super) async fn datasets(&self) -> Result<Vec<(String, String)>> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(self
            .all("/kb/v1/datasets")
            .await?
            .iter()
            .map(|d| (word(&d["name"]), word(&d["id"])))
            .collect())
    }
}

/// A connection of a command to a server: a running one, or one inside the command, which only the command can reach.
pub(super) struct Connection {
    client: Client,
    own: Option<OwnServer>,
}

/// A server inside a command.
struct OwnServer {
    app: Arc<App>,
    stop: CancellationToken,
    http: JoinHandle<Result<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Parts of a server inside a command that are opened beyond the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// The model and current indexes.
    Search,
    /// Also workers, which ingest.
    Workers,
}

impl Connection {
    /// Runs a command with a connection and closes it.
    ///
    /// # Errors
    /// Those of [`Client::find`], of opening the data directory, and of the command.
    pub(super) async fn with(
        global: &Global,
        remote: &Remote,
        needs: Needs,
        command: impl AsyncFnOnce(&Client) -> Result<Done>,
    ) -> Result<Done> {
        let connection = Self::open(global, remote, needs).await?;
        let outcome = command(&connection.client).await;
        connection.close().await?;
        outcome
    }

    async fn open(global: &Global, remote: &Remote, needs: Needs) -> Result<Self> {
        if let Some(client) = Client::find(global, remote)? {
            return Ok(Self { client, own: None });
        }
        let app = global.app().await?;
        app.lock().await?;
        if needs != Needs::Nothing {
            app.embedder_with(output::downloads(global.json)).await?;
            follower::catch_up(&app, app.engine().await?).await?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let running = Running::create(&app, listener.local_addr()?).await?;
        let client = Client {
            is_inside: true,
            ..Client::of(&running.url, running.key)?
        };
        let router = api::router(Arc::clone(&app), api::Metrics::none())?;
        let stop = CancellationToken::new();
        let http = tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { api::server::serve(listener, router, &app.config, stop).await }
        });
        let tasks = match needs {
            Needs::Workers => background::start(&app, true, &stop),
            Needs::Nothing | Needs::Search => Vec::new(),
        };
        let own = OwnServer {
            app,
            stop,
            http,
            tasks,
        };
        Ok(Self {
            client,
            own: Some(own),
        })
    }

    async fn close(self) -> Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        // Connections that are kept for further requests would keep the server.
        drop(self.client);
        own.stop.cancel();
        own.http.await??;
        for task in own.tasks {
            task.await?;
        }
        own.app.db.close().await;
        Ok(())
    }
}

/// Returns the address of a server without a slash at its end, and whether it is this machine's own.
fn address(url: &str) -> Result<(String, bool)> {
    if !url.contains("://") {
        return Err(Error::invalid(
            "url_invalid",
            format!("the address {url:?} lacks http:// or https://; try http://{url}"),
        ));
    }
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            let is_loopback = match parsed.host() {
                Some(Host::Ipv4(ip)) => ip.is_loopback(),
                Some(Host::Ipv6(ip)) => ip.is_loopback(),
                Some(Host::Domain(name)) => name == "localhost",
                None => false,
            };
            Ok((url.trim_end_matches('/').to_owned(), is_loopback))
        }
        _ => Err(Error::invalid(
            "url_invalid",
            format!("{url:?} is not the address of a server, such as http://127.0.0.1:7700"),
        )),
    }
}

pub(super) fn unreachable(error: &reqwest::Error) -> Error {
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let server = server.map_or_else(
        || "the server".to_owned(),
        |origin| format!("the server at {origin}"),
    );
    let hint = if error.is_connect() {
        "; is `cairn serve` running there?"
    } else {
        ""
    };
    Error::unavailable(
        "server_unreachable",
        format!("cannot reach {server}: {}{hint}", outgoing::cause(error).1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: Option<&str>, key: Option<&str>) -> Result<Option<Client>> {
        Client::of_url(&Remote {
            url: url.map(str::to_owned),
            key: key.map(str::to_owned),
            profile: None,
        })
    }

    #[test]
    fn a_key_without_a_server_is_told() {
        assert_eq!(
            of(None, Some("cairn_x")).err().map(|e| e.code()),
            Some("url_missing")
        );
        assert!(of(None, None).expect("local").is_none());
    }

    #[test]
    fn an_address_without_a_scheme_is_corrected() {
        let error = of(Some("127.0.0.1:7700"), Some("cairn_x"))
            .err()
            .expect("refused");
        assert!(
            error.to_string().contains("http://127.0.0.1:7700"),
            "{error}"
        );
        assert!(of(Some("ftp://x"), Some("cairn_x")).is_err());
        let client = of(Some("http://127.0.0.1:7700/"), Some("cairn_x"));
        assert_eq!(
            client.expect("fine").expect("a client").base,
            "http://127.0.0.1:7700"
        );
    }
}
