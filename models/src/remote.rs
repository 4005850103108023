//! A remote embedding endpoint with the `OpenAI` protocol (`POST {base}/embeddings`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, EmbedderSpec, Loaded, Priority};
use crate::{Error, Result, Tokens};

/// Options of a remote endpoint.
#[derive(Clone)]
pub struct RemoteOptions {
    /// Base URL, up to and including `/v1`.
    pub url: String,
    /// Bearer token, if the endpoint requires one.
    pub key: Option<String>,
    /// Model name sent with each request.
    pub model: String,
    /// Expected dimensions of the vectors.
    pub dimensions: usize,
    /// Longest input in tokens, as documented by the endpoint.
    pub max_tokens: usize,
    /// Texts per request.
    pub batch: usize,
    /// Timeout of one request.
    pub timeout: Duration,
}

impl std::fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("model", &self.model)
            .field("key", &self.key.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

/// An embedding model behind an endpoint.
#[derive(Debug)]
pub struct RemoteEmbedder {
    options: RemoteOptions,
    spec: EmbedderSpec,
    client: reqwest::blocking::Client,
    tokens: Tokens,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Vec<f32>,
}

impl RemoteEmbedder {
    /// Connects and embeds one word, so that a wrong URL, key or dimension is detected at startup.
    ///
    /// `tokens` determines chunk sizes; endpoints do not publish their tokenizer, so the default model's is used as an estimate.
    ///
    /// # Errors
    /// [`Error::Remote`] or [`Error::Dimensions`].
    pub fn connect(options: RemoteOptions, tokens: Tokens) -> Result<Loaded> {
        let client = reqwest::blocking::Client::builder()
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Error::Remote {
                message: e.to_string(),
                retryable: false,
            })?;
        let spec = EmbedderSpec {
            provider: "openai".to_owned(),
            model: options.model.clone(),
            dimensions: options.dimensions,
            max_tokens: options.max_tokens,
        };
        let remote = Self {
            options,
            spec,
            client,
            tokens,
        };
        remote.request(&["dimension probe".to_owned()])?;
        Ok(Arc::new(remote))
    }

    fn request(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let url = format!("{}/embeddings", self.options.url.trim_end_matches('/'));
        let body = Request {
            model: &self.options.model,
            input: texts,
            encoding_format: "float",
        };
        let mut request = self.client.post(url).json(&body);
        if let Some(key) = &self.options.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().map_err(|e| Error::Remote {
            message: e.without_url().to_string(),
            retryable: true,
        })?;
        let status = response.status();
        if !status.is_success() {
            let text: String = response
                .text()
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            let retryable = status.is_server_error() || status.as_u16() == 429;
            return Err(Error::Remote {
                message: format!("answered {status}: {text}"),
                retryable,
            });
        }
        let mut data = response
            .json::<Response>()
            .map_err(|e| Error::Remote {
                message: e.without_url().to_string(),
                retryable: false,
            })?
            .data;
        data.sort_by_key(|item| item.index);
        if data.len() != texts.len() {
            return Err(Error::Remote {
                message: format!("returned {} vectors for {} texts", data.len(), texts.len()),
                retryable: false,
            });
        }
        data.into_iter()
            .map(|item| self.unit(item.embedding))
            .collect()
    }

    fn unit(&self, mut vector: Vec<f32>) -> Result<Vec<f32>> {
        if vector.len() != self.spec.dimensions {
            return Err(Error::Dimensions {
                name: self.spec.model.clone(),
                expected: self.spec.dimensions,
                found: vector.len(),
            });
        }
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        if !(norm.is_finite() && norm > 0.0) {
            return Err(Error::Remote {
                message: "returned a vector of length zero".to_owned(),
                retryable: false,
            });
        }
        vector.iter_mut().for_each(|v| *v /= norm);
        Ok(vector)
    }
}

impl Embedder for RemoteEmbedder {
    fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn embed(&self, texts: &[String], _priority: Priority) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.options.batch.max(1)) {
            vectors.extend(self.request(batch)?);
        }
        Ok(vectors)
    }
}
