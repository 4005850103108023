//! HTTP for the git protocol, over the guarded client: what gitoxide asks for from a thread of its own is requested by the runtime.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::Handle;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::error::{Error, Result};
use crate::outgoing::{self, Outgoing};

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// Bytes of a response without files: the list of branches and tags.
const LIST: u64 = 32 << 20;
/// Beginning of a request for this list (protocol version 2).
const COMMAND: &[u8] = b"command=ls-refs";

/// Where a failure is kept whose kind would be lost in the errors of the git library.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// Keeps an error, and returns it for the git library.
    fn keep(&self, error: Error) -> io::Error {
        let told = io::Error::other(error.public_message().to_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }

    fn refuse(&self, error: Error) -> gix::Error {
        gix::Error::from_error(self.keep(error))
    }

    /// Takes the error that was kept.
    pub(super) fn take(&self) -> Option<Error> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }
}

/// The client of a repository.
#[derive(Clone)]
pub(super) struct GuardedHttp {
    outgoing: Outgoing,
    runtime: Handle,
    /// Value of the header `Authorization`, for the host of the repository only.
    authorization: Option<HeaderValue>,
    /// Bytes that a response may have.
    most: u64,
    failure: Failure,
    /// Address of the repository after redirects.
    redirected: Option<String>,
}

impl GuardedHttp {
    /// Creates a client, in a runtime.
    pub(super) fn new(
        outgoing: Outgoing,
        authorization: Option<HeaderValue>,
        most: u64,
        failure: Failure,
    ) -> Self {
        Self {
            outgoing,
            runtime: Handle::current(),
            authorization,
            most,
            failure,
            redirected: None,
        }
    }

    /// Sends a request, and follows the redirects of one without a body. Returns the response and its address.
    async fn send(&self, request: &Outline, body: Vec<u8>) -> Result<(Response, Url)> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let mut headers = request.headers.clone();
            // The secret is for the host that it was given for.
            if let Some(value) = &self.authorization
                && url.origin() == request.url.origin()
            {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let sent = self
                .outgoing
                .request(request.method.clone(), url.clone())?
                .headers(headers)
                .body(body.clone());
            let response = sent.send().await.map_err(|e| {
                let (code, reason) = outgoing::cause(&e);
                Error::upstream(code, format!("{url}: {reason}"))
            })?;
            let status = response.status();
            if status.is_success() {
                return Ok((response, url));
            }
            match outgoing::redirection(&url, &response) {
                Some(next) if status.is_redirection() && request.method == Method::GET => {
                    url = next;
                }
                _ => return Err(refused(&url, status)),
            }
        }
        Err(Error::upstream(
            "source_refused",
            format!("{} has more than {REDIRECTS} redirects", request.url),
        ))
    }

    fn open(
        &self,
        response: Response,
        most: u64,
    ) -> (Box<dyn BufRead + Send>, Box<dyn BufRead + Send>) {
        let mut lines = Vec::new();
        for (name, value) in response.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        let pieces = response.bytes_stream().map_err(io::Error::other);
        let body = SyncIoBridge::new_with_handle(StreamReader::new(pieces), self.runtime.clone());
        let body = Limited {
            body,
            left: most,
            most,
            failure: self.failure.clone(),
        };
        let body = BufReader::with_capacity(1 << 16, body);
        (Box::new(Cursor::new(lines)), Box::new(body))
    }
}

fn refused(url: &Url, status: StatusCode) -> Error {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::unprocessable(
            "source_unauthorized",
            format!("{url} was answered with {status}: the repository needs another secret"),
        ),
        // Hosts hide private repositories so.
        StatusCode::NOT_FOUND => Error::upstream(
            "source_refused",
            format!(
                "{url} was answered with {status}: there is no such repository, or it needs a secret"
            ),
        ),
        _ => Error::upstream(
            "source_refused",
            format!("{url} was answered with {status}"),
        ),
    }
}

/// Method, address and headers of a request.
struct Outline {
    method: Method,
    url: Url,
    headers: HeaderMap,
}

impl Outline {
    fn new(
        method: Method,
        url: &str,
        lines: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self> {
        let url = url
            .parse()
            .map_err(|e| Error::invalid("source_refused", format!("{url:?}: {e}")))?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.as_ref().split_once(':').unwrap_or_default();
            if let (Ok(name), Ok(value)) = (name.trim().parse(), value.trim().parse()) {
                let name: HeaderName = name;
                headers.insert(name, value);
            }
        }
        Ok(Self {
            method,
            url,
            headers,
        })
    }
}

/// A body of which no more than a limit is read.
struct Limited<R> {
    body: R,
    left: u64,
    most: u64,
    failure: Failure,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            return Err(self.failure.keep(Error::unprocessable(
                "repository_too_large",
                format!(
                    "the repository sends more than {} MB at a time; for files, the setting source_repository_mb can permit it",
                    self.most >> 20
                ),
            )));
        };
        self.left = left;
        Ok(count)
    }
}

/// A request whose body is being written, or the parts of its response that have not been taken.
enum Exchange {
    Open(Outline, Vec<u8>),
    Answered {
        headers: Option<Box<dyn BufRead + Send>>,
        body: Option<Box<dyn BufRead + Send>>,
    },
    Failed,
}

type Shared = Arc<Mutex<Exchange>>;

/// The body of a request.
pub(super) struct Sending(Shared);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Exchange::Open(_, body) => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Exchange::Answered { .. } | Exchange::Failed => {
                Err(io::Error::other("the request was sent already"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Headers or body of a response; the first read sends the request.
pub(super) struct Receiving {
    http: GuardedHttp,
    exchange: Shared,
    is_body: bool,
    part: Option<Box<dyn BufRead + Send>>,
}

impl Receiving {
    fn part(&mut self) -> io::Result<&mut Box<dyn BufRead + Send>> {
        let part = match self.part.take() {
            Some(part) => part,
            None => self.answer()?,
        };
        Ok(self.part.insert(part))
    }

    /// Sends the request unless that has been done, and returns its part of the response.
    fn answer(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        if let Exchange::Open(..) = &*exchange
            && let Exchange::Open(outline, body) =
                std::mem::replace(&mut *exchange, Exchange::Failed)
        {
            let is_list = body.windows(COMMAND.len()).any(|part| part == COMMAND);
            let most = if is_list { LIST } else { self.http.most };
            let sent = self.http.runtime.block_on(self.http.send(&outline, body));
            let (response, _) = sent.map_err(|e| self.http.failure.keep(e))?;
            let (headers, body) = self.http.open(response, most);
            *exchange = Exchange::Answered {
                headers: Some(headers),
                body: Some(body),
            };
        }
        let taken = match &mut *exchange {
            Exchange::Answered { body, .. } if self.is_body => body.take(),
            Exchange::Answered { headers, .. } => headers.take(),
            Exchange::Open(..) | Exchange::Failed => None,
        };
        taken.ok_or_else(|| io::Error::other("there is no response"))
    }
}

impl Read for Receiving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.part()?.read(buffer)
    }
}

impl BufRead for Receiving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.part()?.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Some(part) = &mut self.part {
            part.consume(count);
        }
    }
}

impl GuardedHttp {
    fn receiving(&self, exchange: &Shared, is_body: bool) -> Receiving {
        Receiving {
            http: self.clone(),
            exchange: Arc::clone(exchange),
            is_body,
            part: None,
        }
    }
}

impl Http for GuardedHttp {
    type Headers = Receiving;
    type ResponseBody = Receiving;
    type PostBody = Sending;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Receiving, Receiving>> {
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        let sent = Outline::new(Method::GET, url, headers)
            .and_then(|outline| self.runtime.block_on(self.send(&outline, Vec::new())));
        let (response, at) = sent.map_err(|e| self.failure.refuse(e))?;
        // Requests with a body go to where this one was led.
        if at.as_str() != url {
            let base = at.as_str().strip_suffix(tail).filter(|_| !tail.is_empty());
            let base = base.ok_or_else(|| {
                let message = format!("{url} redirects to {at}, which is no repository");
                self.failure
                    .refuse(Error::upstream("source_refused", message))
            })?;
            if at.origin() != origin(url) {
                self.authorization = None;
            }
            self.redirected = Some(base.to_owned());
        }
        let (headers, body) = self.open(response, LIST);
        let exchange = Arc::new(Mutex::new(Exchange::Answered {
            headers: Some(headers),
            body: Some(body),
        }));
        Ok(GetResponse {
            headers: self.receiving(&exchange, false),
            body: self.receiving(&exchange, true),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Receiving, Receiving, Sending>> {
        let outline = Outline::new(Method::POST, url, headers);
        let outline = outline.map_err(|e| self.failure.refuse(e))?;
        let exchange = Arc::new(Mutex::new(Exchange::Open(outline, Vec::new())));
        Ok(PostResponse {
            post_body: Sending(Arc::clone(&exchange)),
            headers: self.receiving(&exchange, false),
            body: self.receiving(&exchange, true),
        })
    }

    fn configure(&mut self, _: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

fn origin(url: &str) -> url::Origin {
    url.parse::<Url>()
        .map_or_else(|_| url::Origin::new_opaque(), |url| url.origin())
}
