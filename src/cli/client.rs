//! A small client of Cairn's own API, for commands that use a running server.

use reqwest::{Client as Http, RequestBuilder};
use serde_json::Value;
use url::Url;

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
    ///
    /// # Errors
    /// `url_missing`, `url_invalid`, `key_missing`.
    pub(super) fn new(remote: &Remote) -> Result<Option<Self>> {
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
        let base = address(url)?;
        let key = remote.key.clone().ok_or_else(|| {
            Error::invalid(
                "key_missing",
                "--url requires an API key: set --key or CAIRN_KEY",
            )
        })?;
        let http = outgoing::endpoint_client()
            .build()
            .map_err(|e| unreachable(&e))?;
        Ok(Some(Self { http, base, key }))
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

/// Returns the address of a server without a slash at its end.
fn address(url: &str) -> Result<String> {
    if !url.contains("://") {
        return Err(Error::invalid(
            "url_invalid",
            format!("the address {url:?} lacks http:// or https://; try http://{url}"),
        ));
    }
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(url.trim_end_matches('/').to_owned())
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
        Client::new(&Remote {
            url: url.map(str::to_owned),
            key: key.map(str::to_owned),
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
