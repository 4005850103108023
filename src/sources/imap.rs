//! Folders of mailboxes, over IMAP. Mail is read without being marked as read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_imap::imap_proto::{AttributeValue, MailboxDatum, Response, Status};
use async_imap::{Client, Session};
use async_trait::async_trait;
use axum::body::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::connector::{Connector, Listed};
use super::settings::{Encryption, Mailbox};
use crate::app::App;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::outgoing::Outgoing;

/// Time for the answer to a command, a mail among them.
const ANSWER: Duration = Duration::from_secs(120);
/// Mails whose sizes are asked for at a time.
const BATCH: usize = 500;
/// Bytes that a server may answer to a command other than one for a mail: the numbers of half a million mails.
const LIST: u64 = 4 << 20;
/// Bytes around a mail in an answer.
const AROUND: u64 = 1 << 16;
/// Characters of a server's words in an error.
const WORDS: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct MailboxConnector {
    outgoing: Outgoing,
    mailbox: Mailbox,
    password: String,
    /// Mail of before this time is left out.
    since: Option<Time>,
    /// Bytes that a mail may have.
    largest: u64,
    /// The connection over which mail is fetched; the list has one of its own.
    session: Mutex<Fetching>,
}

/// The connection over which mail is fetched.
enum Fetching {
    /// To be made, or to be made again after one that broke.
    Unconnected,
    Connected(Box<Selected>),
    /// It could not be made: asking again for each mail would lock the mailbox.
    Refused(String),
}

/// A connection to a server, encrypted or not.
type Connection = Metered<Either<TcpStream, TlsStream<TcpStream>>>;

/// A connection with a folder that is selected.
struct Selected {
    session: Session<Connection>,
    left: Left,
    /// Number that changes when the server numbers the mail of the folder anew.
    validity: u32,
}

impl MailboxConnector {
    pub(super) fn new(app: &App, mailbox: &Mailbox, secret: Option<String>) -> Result<Self> {
        let password = secret.ok_or_else(|| {
            Error::invalid(
                "source_settings_invalid",
                "the password of the mailbox is missing; send it as secret",
            )
        })?;
        Ok(Self {
            outgoing: app.outgoing.clone(),
            mailbox: mailbox.clone(),
            password,
            since: mailbox.days.map(|days| app.clock.now().minus(DAY * days)),
            largest: app.config.upload_file_mb << 20,
            session: Mutex::new(Fetching::Unconnected),
        })
    }

    /// Connects, signs in and selects the folder for reading.
    async fn select(&self) -> Result<Selected> {
        let host = self.mailbox.host.as_str();
        let port = self.mailbox.port();
        let left = Left::default();
        left.allow(LIST);
        let metered = |stream| Metered {
            stream,
            left: left.clone(),
        };
        let plain = self.outgoing.connect(host, port).await?;
        let client = match self.mailbox.encryption {
            Encryption::Tls => {
                greeted(metered(Either::Right(encrypted(host, plain).await?))).await?
            }
            Encryption::None => greeted(metered(Either::Left(plain))).await?,
            Encryption::Starttls => {
                let mut client = greeted(metered(Either::Left(plain))).await?;
                answer(client.run_command_and_check_ok("STARTTLS", None)).await?;
                let Either::Left(plain) = client.into_inner().stream else {
                    return Err(Error::internal("the connection was encrypted already"));
                };
                // There is no second greeting.
                Client::new(metered(Either::Right(encrypted(host, plain).await?)))
            }
        };
        let signing_in = client.login(&self.mailbox.user, &self.password);
        let mut session = match timeout(ANSWER, signing_in).await.map_err(|_| late())? {
            Ok(session) => session,
            Err((async_imap::error::Error::No(reason), _)) => {
                // Final for the sync: servers lock mailboxes after some attempts.
                return Err(Error::unprocessable(
                    "source_unauthorized",
                    format!("{host} refused the user or the password: {}", said(&reason)),
                ));
            }
            Err((error, _)) => return Err(failed(error)),
        };
        let folder = self.mailbox.folder.as_deref().unwrap_or("INBOX");
        let folder = utf7_imap::encode_utf7_imap(folder.to_owned());
        let examined = answer(session.examine(folder)).await?;
        let validity = examined
            .uid_validity
            .ok_or_else(|| failed("the server does not say whether it numbered the mail anew"))?;
        Ok(Selected {
            session,
            left,
            validity,
        })
    }

    /// Returns a mail, or `None` when it is gone.
    async fn mail(&self, selected: &mut Selected, uid: &str) -> Result<Option<Bytes>> {
        // Some servers only estimate the sizes that they state.
        selected.left.allow(self.largest + AROUND);
        let command = format!("UID FETCH {uid} BODY.PEEK[]");
        let told = selected.run(&command).await?;
        Ok(told.into_iter().find_map(|told| told.body))
    }
}

/// The part of a response that is used.
#[derive(Debug, Default)]
struct Told {
    /// Numbers of mails that a search has found.
    found: Vec<u32>,
    /// Number, size and content of a mail.
    uid: Option<u32>,
    size: Option<u32>,
    body: Option<Bytes>,
}

impl Told {
    fn of(response: &Response<'_>) -> Self {
        let mut told = Self::default();
        if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
            told.found.clone_from(uids);
        } else if let Response::Fetch(_, attributes) = response {
            for attribute in attributes {
                if let AttributeValue::Uid(number) = attribute {
                    told.uid = Some(*number);
                } else if let AttributeValue::Rfc822Size(bytes) = attribute {
                    told.size = Some(*bytes);
                } else if let AttributeValue::BodySection {
                    section: None,
                    data: Some(body),
                    ..
                } = attribute
                {
                    told.body = Some(Bytes::copy_from_slice(body));
                }
            }
        }
        told
    }
}

impl Selected {
    /// Runs a command, and returns what is answered before it is done.
    ///
    /// # Errors
    /// `source_failed` when the server refuses the command or closes the connection, which the library takes for the end of an answer.
    async fn run(&mut self, command: &str) -> Result<Vec<Told>> {
        let id = answer(self.session.run_command(command)).await?;
        let mut all = Vec::new();
        loop {
            let response = answer(self.session.read_response()).await?;
            let response = response.ok_or_else(|| failed("the server closed the connection"))?;
            if let Response::Done {
                tag,
                status,
                outcome,
            } = response.parsed()
                && *tag == id
            {
                if matches!(status, Status::Ok) {
                    return Ok(all);
                }
                let said = outcome.information.as_deref();
                return Err(failed(said.unwrap_or("a command was refused")));
            }
            all.push(Told::of(response.parsed()));
        }
    }

    /// Returns the numbers of the mails that a query finds.
    async fn search(&mut self, query: &str) -> Result<Vec<u32>> {
        self.left.allow(LIST);
        let told = self.run(&format!("UID SEARCH {query}")).await?;
        let found: BTreeSet<u32> = told.into_iter().flat_map(|told| told.found).collect();
        Ok(found.into_iter().collect())
    }

    /// Returns the sizes of mails by their numbers.
    async fn sizes(&mut self, uids: &[u32]) -> Result<BTreeMap<u32, u32>> {
        let set: Vec<String> = uids.iter().map(u32::to_string).collect();
        self.left.allow(LIST);
        let command = format!("UID FETCH {} (UID RFC822.SIZE)", set.join(","));
        let told = self.run(&command).await?;
        Ok(told.into_iter().filter_map(|t| t.uid.zip(t.size)).collect())
    }
}

/// Waits for the greeting of a server.
async fn greeted(connection: Connection) -> Result<Client<Connection>> {
    let mut client = Client::new(connection);
    match answer(client.read_response()).await? {
        Some(_) => Ok(client),
        None => Err(failed("the server closed the connection")),
    }
}

async fn encrypted(host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
    let config = ClientConfig::with_platform_verifier().map_err(failed)?;
    let name = ServerName::try_from(host.to_owned()).map_err(failed)?;
    answer(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Waits for an answer of the server.
async fn answer<T, E: fmt::Display>(
    asked: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T> {
    timeout(ANSWER, asked)
        .await
        .map_err(|_| late())?
        .map_err(failed)
}

fn failed(error: impl fmt::Display) -> Error {
    // The library adds what it could not parse, which may be a mail.
    let told = error.to_string();
    let told = told.split(" during parsing of ").next().unwrap_or_default();
    let told: String = told.chars().take(WORDS).collect();
    Error::upstream(
        "source_failed",
        format!("the mailbox cannot be read: {told}"),
    )
}

/// Returns what a server said, of the text that the library makes of it.
fn said(reason: &str) -> &str {
    let info = reason.split_once("info: Some(\"").map(|(_, rest)| rest);
    info.and_then(|rest| rest.strip_suffix("\")"))
        .unwrap_or(reason)
}

fn late() -> Error {
    failed("the server timed out")
}

#[async_trait]
impl Connector for MailboxConnector {
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool> {
        let mut selected = self.select().await?;
        let query = match self.since {
            // The day of the server's time zone, RFC 3501, section 6.4.4.
            Some(since) => {
                let day = chrono::DateTime::from_timestamp_millis(since.0).unwrap_or_default();
                format!("UNDELETED SINCE {}", day.format("%d-%b-%Y"))
            }
            None => "UNDELETED".to_owned(),
        };
        let uids = selected.search(&query).await?;
        let mut is_complete = true;
        for batch in uids.chunks(BATCH) {
            let sizes = selected.sizes(batch).await?;
            // Mail that is not told of may be gone, or kept back.
            is_complete &= sizes.len() >= batch.len();
            for (uid, size) in sizes {
                let listed = Listed {
                    key: format!("{}/{uid}", selected.validity),
                    // A mail does not change.
                    version: size.to_string(),
                    name: format!("{uid}.eml"),
                    mime_type: Some("message/rfc822".to_owned()),
                    ..Listed::default()
                };
                if items.send(listed).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(is_complete)
    }

    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>> {
        let gone = || Error::not_found("item_gone", format!("{} is not there any more", item.key));
        let (validity, uid) = item.key.split_once('/').ok_or_else(gone)?;
        let size: u64 = item.version.parse().unwrap_or(self.largest);
        if size > self.largest {
            return Err(Error::too_large(
                "file_too_large",
                format!("the mail is larger than {} MB", self.largest >> 20),
            ));
        }
        let mut session = self.session.lock().await;
        let mut selected = match std::mem::replace(&mut *session, Fetching::Unconnected) {
            Fetching::Connected(selected) => selected,
            Fetching::Unconnected => match self.select().await {
                Ok(selected) => Box::new(selected),
                Err(error) => {
                    let told = error.public_message().to_owned();
                    *session = Fetching::Refused(told);
                    return Err(error);
                }
            },
            Fetching::Refused(told) => {
                *session = Fetching::Refused(told.clone());
                return Err(Error::upstream("source_failed", told));
            }
        };
        let mail = if selected.validity.to_string() == validity {
            // A connection that fails is not used again.
            self.mail(&mut selected, uid).await?
        } else {
            None
        };
        *session = Fetching::Connected(selected);
        let mail = mail.ok_or_else(gone)?;
        Ok(futures::stream::once(async { Ok(mail) }).boxed())
    }

    fn may_be_empty(&self) -> bool {
        true
    }

    fn parallel(&self) -> usize {
        1
    }
}

/// Bytes that the server may still send.
#[derive(Debug, Clone, Default)]
struct Left(Arc<AtomicU64>);

impl Left {
    fn allow(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = |left: u64| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }
}

/// A stream that fails when the other side sends more than it may: the library would keep an endless answer in memory.
#[derive(Debug)]
struct Metered<S> {
    stream: S,
    left: Left,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        if self.left.take(count as u64) {
            polled
        } else {
            Poll::Ready(Err(io::Error::other("the server sends too much")))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_words_of_the_server() {
        let told = r#"code: None, info: Some("[AUTHENTICATIONFAILED] Wrong.")"#;
        assert_eq!(said(told), "[AUTHENTICATIONFAILED] Wrong.");
        assert_eq!(said("code: None, info: None"), "code: None, info: None");
    }

    #[test]
    fn a_server_may_send_what_was_allowed() {
        let left = Left::default();
        left.allow(10);
        assert!(left.take(6) && left.take(4));
        assert!(!left.take(1));
    }
}
