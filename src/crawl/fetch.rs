//! The HTTP client of a crawl: reads robots.txt first, limits the request rate, honours `Retry-After`, and bounds bytes, time and redirects.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_ingest::crawl::address;
use cairn_ingest::crawl::robots::{self, Robots};
use futures::{Stream, StreamExt};
use reqwest::header;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use crate::app::App;
use crate::blobs::Stored;
use crate::clock::Time;
use crate::crawl::Settings;
use crate::error::{Error, Kind, Result};
use crate::outgoing::{self, Outgoing};

/// Longest `Crawl-delay` that is honoured in full.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Longest `Retry-After` that is waited for; a longer one fails the page.
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// Attempts per address when the host answers 429 or 5xx, or the connection fails.
const ATTEMPTS: u32 = 3;
/// Consecutive failed pages (no answer, 5xx, 429) after which a host is skipped for the rest of a crawl.
const DOWN: u32 = 12;
/// Redirects of robots.txt that are followed (RFC 9309, 2.3.1.2).
const ROBOTS_REDIRECTS: usize = 5;

/// The fetcher of one crawl.
pub(super) struct Fetcher {
    app: Arc<App>,
    tenant_id: String,
    /// The time after which no new request starts.
    until: Time,
    outgoing: Outgoing,
    /// User-agent token that robots.txt may address the crawler by.
    token: String,
    pause: Duration,
    concurrency: usize,
    respect_robots: bool,
    files: bool,
    /// Whether files and texts are refused, so that nothing is stored.
    pages_only: bool,
    page_limit: usize,
    time: Duration,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    requests: AtomicI64,
    bytes: AtomicI64,
    budget: i64,
}

struct Host {
    slots: Semaphore,
    /// Earliest time of the next request.
    next: tokio::sync::Mutex<Instant>,
    rules: OnceCell<Rules>,
    failures: AtomicU32,
}

/// The robots.txt of a host.
enum Rules {
    /// It was fetched, or does not exist, which allows everything.
    Read(Robots),
    /// It could not be fetched, which forbids everything (RFC 9309, 2.3.1.4).
    Unreachable(String),
}

/// Cache validators of an earlier response.
#[derive(Debug, Clone, Default)]
pub(super) struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

/// The outcome of a request for an address.
pub(super) enum Answer {
    /// Not requested: code and sentence.
    Forbidden(&'static str, String),
    /// The request failed: code, sentence, and the status where there was one.
    Failed(&'static str, String, Option<u16>),
    /// A redirect.
    Moved {
        status: u16,
        to: String,
        permanent: bool,
    },
    /// 304.
    Unchanged,
    /// 404 or 410.
    Gone(u16),
    /// A media type that is not accepted.
    OtherType(String),
    Page(Head, Bytes),
    /// A file, stored as a blob.
    File(Head, Stored),
}

/// Parsed response headers.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub status: u16,
    /// Includes its parameters.
    pub content_type: String,
    pub charset: Option<String>,
    pub validators: Validators,
    /// Values of `X-Robots-Tag`.
    pub tags: Vec<String>,
    /// Target of `Link: <…>; rel="canonical"`.
    pub canonical: Option<String>,
}

/// A failed request: code, sentence, whether to retry.
struct Failure(&'static str, String, bool);

impl Fetcher {
    /// Returns a fetcher that starts no request after `until`. `spent` has the requests and bytes that an interrupted crawl used before.
    pub(super) fn new(
        app: &Arc<App>,
        settings: &Settings,
        tenant_id: &str,
        until: Time,
        spent: (i64, i64),
    ) -> Self {
        Self {
            app: Arc::clone(app),
            tenant_id: tenant_id.to_owned(),
            until,
            outgoing: app.outgoing.clone(),
            token: app.config.crawl_token().to_owned(),
            pause: settings.pause(),
            concurrency: usize::try_from(settings.concurrency).unwrap_or(1),
            respect_robots: settings.respect_robots,
            files: settings.files,
            pages_only: false,
            page_limit: app.config.crawl_page_mb << 20,
            time: Duration::from_secs(app.config.crawl_seconds),
            hosts: Mutex::default(),
            requests: AtomicI64::new(spent.0),
            bytes: AtomicI64::new(spent.1),
            budget: 10 * i64::from(settings.max_pages) + 100,
        }
    }

    /// Makes it refuse files and texts, so that nothing is stored.
    pub(super) fn pages_only(self) -> Self {
        Self {
            pages_only: true,
            ..self
        }
    }

    /// Returns the requests sent and the bytes received so far.
    pub(super) fn spent(&self) -> (i64, i64) {
        (
            self.requests.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Returns whether the request budget or the time of the crawl is used up. The budget bounds sites that generate addresses without end.
    pub(super) fn is_exhausted(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.budget || self.app.clock.now() >= self.until
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts
            .entry(url.origin().ascii_serialization())
            .or_insert_with(|| {
                Arc::new(Host {
                    slots: Semaphore::new(self.concurrency),
                    next: tokio::sync::Mutex::new(Instant::now()),
                    rules: OnceCell::new(),
                    failures: AtomicU32::new(0),
                })
            });
        Arc::clone(host)
    }

    /// Waits until the next request to a host is due.
    async fn pace(&self, host: &Host) {
        let delay = match host.rules.get() {
            Some(Rules::Read(robots)) if self.respect_robots => robots
                .crawl_delay
                .map(|s| Duration::from_secs_f64(s.min(LONGEST_DELAY.as_secs_f64()))),
            _ => None,
        };
        let turn = {
            let mut next = host.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + self.pause.max(delay.unwrap_or_default());
            turn
        };
        tokio::time::sleep_until(turn).await;
    }

    /// Sends one request and returns the response once its headers have arrived.
    async fn send(
        &self,
        url: &Url,
        validators: &Validators,
    ) -> std::result::Result<Response, Failure> {
        let mut request = self
            .outgoing
            .request(Method::GET, url.clone())
            .map_err(|e| Failure("address_refused", e.public_message().to_owned(), false))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(etag) = &validators.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(time) = &validators.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, time);
        }
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) => {
                let (code, reason) = outgoing::cause(&error);
                Err(Failure(code, reason, code == "connection_failed"))
            }
        }
    }

    /// Sends a request, and retries after a delay on 429, 5xx and connection failures.
    async fn ask(
        &self,
        host: &Host,
        url: &Url,
        validators: &Validators,
    ) -> std::result::Result<Response, Failure> {
        let mut attempt = 1;
        loop {
            if host.failures.load(Ordering::Relaxed) >= DOWN {
                return Err(Failure(
                    "host_down",
                    "the host failed too often in this crawl".to_owned(),
                    false,
                ));
            }
            self.pace(host).await;
            let outcome = match tokio::time::timeout(self.time, self.send(url, validators)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure(
                    "timeout",
                    format!("no response within {} seconds", self.time.as_secs()),
                    false,
                )),
            };
            let wait = match &outcome {
                Ok(response) if matches!(response.status().as_u16(), 429 | 503) => {
                    let asked = outgoing::retry_after(response.headers(), self.app.clock.now().0)
                        .unwrap_or(Duration::from_secs(2_u64.pow(attempt)));
                    (asked <= LONGEST_RETRY).then_some(asked)
                }
                Ok(response) if response.status().is_server_error() => Some(Duration::from_secs(1)),
                Err(Failure(_, _, true)) => Some(Duration::from_millis(500)),
                _ => None,
            };
            match wait {
                Some(wait) if attempt < ATTEMPTS => {
                    // The delay applies to all requests to the host.
                    let mut next = host.next.lock().await;
                    *next = (*next).max(Instant::now() + wait);
                    attempt += 1;
                }
                _ => {
                    // Many consecutive failures mean that the host is down or blocks the crawler.
                    match &outcome {
                        Ok(response)
                            if response.status().is_server_error()
                                || response.status() == StatusCode::TOO_MANY_REQUESTS =>
                        {
                            host.failures.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(_) => host.failures.store(0, Ordering::Relaxed),
                        Err(Failure("address_refused", ..)) => {}
                        Err(_) => {
                            host.failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    return outcome;
                }
            }
        }
    }

    /// Returns the robots.txt of the address's host; fetched once per crawl.
    async fn rules<'a>(&self, host: &'a Host, url: &Url) -> &'a Rules {
        host.rules.get_or_init(|| self.read_rules(host, url)).await
    }

    async fn read_rules(&self, host: &Host, url: &Url) -> Rules {
        let nothing = Validators::default();
        let mut address = url.clone();
        address.set_path("/robots.txt");
        address.set_query(None);
        for _ in 0..=ROBOTS_REDIRECTS {
            let mut response = match self.ask(host, &address, &nothing).await {
                Ok(response) => response,
                Err(Failure(_, reason, _)) => return Rules::Unreachable(reason),
            };
            let status = response.status();
            if status.is_redirection() {
                match outgoing::redirection(&address, &response) {
                    Some(to) => {
                        address = to;
                        continue;
                    }
                    None => return Rules::Read(Robots::default()),
                }
            }
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Rules::Unreachable(format!("robots.txt returned {}", status.as_u16()));
            }
            if !status.is_success() {
                return Rules::Read(Robots::default());
            }
            let mut body = Vec::new();
            let read = async {
                while let Some(piece) = response.chunk().await? {
                    body.extend_from_slice(&piece);
                    if body.len() >= robots::LIMIT {
                        break;
                    }
                }
                Ok::<_, reqwest::Error>(())
            };
            return match tokio::time::timeout(self.time, read).await {
                Ok(Ok(())) => {
                    self.received(body.len());
                    Rules::Read(Robots::parse(&body, &self.token))
                }
                Ok(Err(error)) => Rules::Unreachable(outgoing::cause(&error).1),
                Err(_) => Rules::Unreachable("robots.txt did not load in time".to_owned()),
            };
        }
        // Too many redirects count as a missing file.
        Rules::Read(Robots::default())
    }

    /// Returns the sitemaps that the host's robots.txt lists.
    pub(super) async fn sitemaps(&self, url: &Url) -> Vec<String> {
        match self.rules(&self.host(url), url).await {
            Rules::Read(robots) => robots.sitemaps.clone(),
            Rules::Unreachable(_) => Vec::new(),
        }
    }

    /// Returns the answer for an address that robots.txt forbids.
    async fn forbidden(&self, host: &Host, url: &Url) -> Option<Answer> {
        if !self.respect_robots {
            return None;
        }
        match self.rules(host, url).await {
            Rules::Read(robots) => {
                let line = robots.forbids(address::path_and_query(url))?;
                Some(Answer::Forbidden(
                    "robots",
                    format!("blocked by robots.txt: {line}"),
                ))
            }
            Rules::Unreachable(reason) => Some(Answer::Failed(
                "robots_unreachable",
                format!("robots.txt is unavailable, so nothing may be crawled: {reason}"),
                None,
            )),
        }
    }

    /// Fetches a page.
    pub(super) async fn get(&self, url: &Url, validators: &Validators) -> Result<Answer> {
        if let Err(error) = self.outgoing.check(url) {
            return Ok(Answer::Failed(
                "address_refused",
                error.public_message().to_owned(),
                None,
            ));
        }
        let host = self.host(url);
        if let Some(answer) = self.forbidden(&host, url).await {
            return Ok(answer);
        }
        let Ok(_slot) = host.slots.acquire().await else {
            return Ok(Answer::Failed(
                "closed",
                "the crawl has ended".to_owned(),
                None,
            ));
        };
        let response = match self.ask(&host, url, validators).await {
            Ok(response) => response,
            Err(Failure(code, reason, _)) => return Ok(Answer::Failed(code, reason, None)),
        };
        let status = response.status();
        let number = status.as_u16();
        if number == 304 {
            return Ok(Answer::Unchanged);
        }
        if status.is_redirection() {
            let to = response
                .headers()
                .get(header::LOCATION)
                .map(|l| String::from_utf8_lossy(l.as_bytes()).into_owned());
            return Ok(match to {
                Some(to) => Answer::Moved {
                    status: number,
                    to,
                    permanent: matches!(number, 301 | 308),
                },
                None => Answer::Failed(
                    "status",
                    format!("the server returned {number} without a Location header"),
                    Some(number),
                ),
            });
        }
        if matches!(number, 404 | 410) {
            return Ok(Answer::Gone(number));
        }
        if !status.is_success() {
            return Ok(Answer::Failed(
                "status",
                format!("the server returned {number}"),
                Some(number),
            ));
        }
        let head = head(&response);
        let kind = head
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let is_page = matches!(kind.as_str(), "text/html" | "application/xhtml+xml" | "");
        let limit = if is_page {
            self.page_limit
        } else if self.pages_only {
            return Ok(Answer::OtherType(kind));
        } else if is_text(&kind) || (self.files && may_be_document(&kind)) {
            usize::try_from(self.app.config.upload_file_mb << 20).unwrap_or(usize::MAX)
        } else {
            return Ok(Answer::OtherType(kind));
        };
        let too_large = || {
            Answer::Failed(
                "too_large",
                format!("the response is larger than {} MiB", limit >> 20),
                Some(number),
            )
        };
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Ok(too_large());
        }
        let deadline = tokio::time::sleep(self.time);
        let body = response.bytes_stream();
        let reading = async {
            if is_page {
                let body = self.collect(body, limit).await?;
                return Ok(body.map(|bytes| Answer::Page(head.clone(), bytes)));
            }
            let stream = Box::pin(body.map(|piece| {
                piece.map_err(|e| Error::unavailable("download_failed", outgoing::cause(&e).1))
            }));
            match self
                .app
                .blobs
                .put(&self.app.db, &self.tenant_id, stream, limit as u64)
                .await
            {
                Ok(stored) => {
                    self.received(usize::try_from(stored.size).unwrap_or(usize::MAX));
                    Ok(Some(Answer::File(head.clone(), stored)))
                }
                Err(error) if error.kind() == Kind::TooLarge => Ok(None),
                Err(error) => Err(error),
            }
        };
        tokio::select! {
            outcome = reading => match outcome {
                Ok(Some(answer)) => Ok(answer),
                Ok(None) => Ok(too_large()),
                Err(error) if error.code() == "download_failed" => Ok(Answer::Failed("download_failed", error.public_message().to_owned(), Some(number))),
                Err(error) => Err(error),
            },
            () = deadline => Ok(Answer::Failed("timeout", format!("the response did not finish within {} seconds", self.time.as_secs()), Some(number))),
        }
    }

    /// Fetches a sitemap; `None` on failure.
    pub(super) async fn sitemap(&self, url: &Url) -> Option<Bytes> {
        let mut url = url.clone();
        let mut redirects = 0;
        let response = loop {
            let host = self.host(&url);
            let _slot = host.slots.acquire().await.ok()?;
            let response = self.ask(&host, &url, &Validators::default()).await.ok()?;
            if response.status().is_success() {
                break response;
            }
            url = outgoing::redirection(&url, &response)?;
            redirects += 1;
            if redirects > ROBOTS_REDIRECTS {
                return None;
            }
        };
        let limit = usize::try_from(cairn_ingest::crawl::sitemap::LIMIT).unwrap_or(usize::MAX);
        let read = self.collect(response.bytes_stream(), limit);
        tokio::time::timeout(self.time, read).await.ok()?.ok()?
    }

    /// Reads a whole body; `None` when it exceeds the limit.
    async fn collect(
        &self,
        body: impl Stream<Item = reqwest::Result<Bytes>>,
        limit: usize,
    ) -> Result<Option<Bytes>> {
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            let piece =
                piece.map_err(|e| Error::unavailable("download_failed", outgoing::cause(&e).1))?;
            self.received(piece.len());
            if bytes.len() + piece.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes.into()))
    }

    fn received(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("cairn_crawl_bytes_total").increment(bytes.unsigned_abs());
    }
}

fn head(response: &Response) -> Head {
    let headers = response.headers();
    let text = |name: header::HeaderName| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let charset = content_type.split(';').skip(1).find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_owned())
    });
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    Head {
        status: response.status().as_u16(),
        content_type,
        charset,
        validators: Validators {
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
        },
        tags: all("x-robots-tag"),
        canonical: all("link").iter().find_map(|value| canonical(value)),
    }
}

/// Returns the target of `<…>; rel="canonical"`.
fn canonical(value: &str) -> Option<String> {
    value.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is = parameters
            .to_ascii_lowercase()
            .replace(['"', ' '], "")
            .split(';')
            .any(|p| p == "rel=canonical");
        is.then(|| address.to_owned())
    })
}

/// Returns whether a media type is plain text or Markdown, which need no document parser.
fn is_text(kind: &str) -> bool {
    matches!(kind, "text/plain" | "text/markdown")
}

/// Returns whether a media type may be a document; the content decides later.
fn may_be_document(kind: &str) -> bool {
    let media = [
        "image/",
        "video/",
        "audio/",
        "font/",
        "text/css",
        "text/javascript",
        "application/javascript",
        "application/wasm",
    ];
    !media.iter().any(|prefix| kind.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers_name_canonical_addresses() {
        assert_eq!(
            canonical("<https://a.test/x>; rel=\"canonical\"").as_deref(),
            Some("https://a.test/x")
        );
        assert_eq!(
            canonical("<a.css>; rel=preload, </y>; rel=canonical").as_deref(),
            Some("/y")
        );
        assert_eq!(canonical("<https://a.test/x>; rel=next"), None);
    }
}
