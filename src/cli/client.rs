//! A small client of Cairn's own API, for commands that use a running server.

use reqwest::{Client as Http, RequestBuilder};
use serde_json::Value;

use super::Remote;
use crate::error::{Error, Result};
use crate::outgoing;

/// A server and a key.
pub(super) struct Client {
    http: Http,
    base: String,
    key: String,
}

impl Client {
    /// Returns the client for the given flags; `None` without `--url`.
    pub(super) fn new(remote: &Remote) -> Result<Option<Self>> {
        let Some(url) = &remote.url else {
            return Ok(None);
        };
        let key = remote.key.clone().ok_or_else(|| {
            Error::invalid(
                "key_missing",
                "--url requires an API key: set --key or CAIRN_KEY",
            )
        })?;
        let http = outgoing::endpoint_client()
            .build()
            .map_err(|e| unreachable(&e))?;
        Ok(Some(Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
            key,
        }))
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

    pub(super) fn put(&self, path: &str) -> RequestBuilder {
        self.http
            .put(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    /// Sends a request and reads its JSON response; an error response becomes an error with the server's message.
    pub(super) async fn send(request: RequestBuilder) -> Result<Value> {
        let response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        let body: Value = response.json().await.map_err(|e| unreachable(&e))?;
        if status.is_success() {
            return Ok(body);
        }
        let message = body["error"]["message"]
            .as_str()
            .unwrap_or("no reason given")
            .to_owned();
        Err(Error::unprocessable(
            "server_refused",
            format!("the server returned {status}: {message}"),
        ))
    }

    /// Returns every item of a paged list.
    pub(super) async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut request = self.get(path).query(&[("limit", "500")]);
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

pub(super) fn unreachable(error: &reqwest::Error) -> Error {
    Error::unavailable(
        "server_unreachable",
        format!("cannot reach the server: {error}"),
    )
}
