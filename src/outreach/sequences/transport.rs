//! How mails leave: over SMTP with TLS, or as `.eml` files in a folder. A transmission has two parts: everything up to the permission to send the text, which can be
//! repeated without harm, and the text itself, which is sent at most once.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message};
use url::Url;

use crate::config::Config;
use crate::error::{Error, Result};

/// Time limit of everything before the text, and of the text with its answer.
const OPENING: Duration = Duration::from_secs(60);
pub(super) const TEXT: Duration = Duration::from_secs(30);

/// Why a mail could not be sent.
#[derive(Debug)]
pub(super) enum Failure {
    /// A later attempt may succeed.
    Later(String),
    /// The receiver's server refuses the address.
    Bounced(String),
    /// The server refuses this mail for good.
    Refused(String),
    /// The text was on its way when the connection broke: whether it arrived is unknown.
    Unknown(String),
}

/// An open transmission: the server waits for the text.
pub(super) enum Open {
    Smtp(Box<AsyncSmtpConnection>),
    Spool(PathBuf),
}

/// Returns whether a server is on this machine.
fn is_local(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Parses the address of the mail server.
fn server(config: &Config) -> Result<Option<Url>> {
    if config.mail_url.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::invalid(
            "config_invalid",
            "mail_url must be smtps://user:password@host:465 or smtp://user:password@host:587",
        )
    };
    let url = Url::parse(&config.mail_url).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "smtp" | "smtps") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    Ok(Some(url))
}

/// Returns the sender.
pub(super) fn sender(config: &Config) -> Result<Mailbox> {
    config.mail_from.parse().map_err(|_| {
        Error::invalid(
            "config_invalid",
            "mail_from must be an address, as `Name <address@example.com>`",
        )
    })
}

/// Checks the settings of mail.
///
/// # Errors
/// `config_invalid`.
pub fn check(config: &Config) -> Result<()> {
    server(config)?;
    if config.mails_per_day == 0 || config.mails_per_hour == 0 {
        return Err(Error::invalid(
            "config_invalid",
            "mails_per_day and mails_per_hour must be at least 1",
        ));
    }
    sender(config).map(|_| ())
}

/// Returns the folder of the spool.
pub(super) fn spool(config: &Config) -> PathBuf {
    config.data_dir.join("mail")
}

fn decoded(text: &str) -> String {
    let bytes: Vec<u8> =
        url::form_urlencoded::parse(format!("v={}", text.replace('+', "%2B")).as_bytes())
            .next()
            .map(|(_, value)| value.into_owned().into_bytes())
            .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where in the conversation an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the text. What a server refuses there for good concerns its own configuration, except an unknown receiver.
    Opening,
    /// After the receiver was named.
    Receiver,
    /// After the text.
    Text,
}

/// Returns whether a permanent answer about a receiver says that there is none: its enhanced status is 5.1.x (RFC 3463), or it has none and its code is that of an
/// unknown mailbox. Refusals of the sender (5.7.x, relaying, authentication) are no statement about the receiver.
fn is_unknown_receiver(said: &str) -> bool {
    let enhanced = said.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let mut enhanced =
        enhanced.filter(|word| word.starts_with("5.") && word.matches('.').count() == 2);
    match enhanced.next() {
        Some(status) => status.starts_with("5.1.") && status != "5.1.8",
        None => ["550", "551", "553"].iter().any(|code| said.contains(code)),
    }
}

fn failure(error: &lettre::transport::smtp::Error, stage: Stage) -> Failure {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    match stage {
        _ if !error.is_permanent() => Failure::Later(said),
        Stage::Text => Failure::Refused(said),
        Stage::Receiver if is_unknown_receiver(&said) => Failure::Bounced(said),
        Stage::Receiver | Stage::Opening => Failure::Later(said),
    }
}

/// Connects, and announces the mail up to the permission to send its text. Nothing is sent to the receiver yet.
pub(super) async fn open(config: &Config, from: &Address, to: &Address) -> Result<Open, Failure> {
    match server(config) {
        Ok(None) => Ok(Open::Spool(spool(config))),
        Ok(Some(url)) => tokio::time::timeout(OPENING, announce(&url, from, to))
            .await
            // Dropping the conversation closes the connection.
            .unwrap_or_else(|_| {
                Err(Failure::Later(
                    "the mail server does not respond".to_owned(),
                ))
            }),
        Err(error) => Err(Failure::Later(error.public_message().to_owned())),
    }
}

async fn announce(url: &Url, from: &Address, to: &Address) -> Result<Open, Failure> {
    let smtp = |error: lettre::transport::smtp::Error| failure(&error, Stage::Opening);
    let name = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let is_wrapped = url.scheme() == "smtps";
    let port = url.port().unwrap_or(if is_wrapped { 465 } else { 587 });
    let hello = ClientId::Domain(from.domain().to_owned());
    let tls = || TlsParameters::new(name.clone()).map_err(smtp);
    let wrapped = if is_wrapped { Some(tls()?) } else { None };
    let connecting = AsyncSmtpConnection::connect_tokio1(
        (name.as_str(), port),
        Some(OPENING),
        &hello,
        wrapped,
        None,
    );
    let mut connection = connecting.await.map_err(smtp)?;
    if !is_wrapped && (!is_local(&name) || connection.can_starttls()) {
        connection.starttls(tls()?, &hello).await.map_err(smtp)?;
    }
    if !url.username().is_empty() {
        let user = decoded(url.username());
        let password = decoded(url.password().unwrap_or_default());
        let credentials = Credentials::new(user, password);
        connection
            .auth(DEFAULT_MECHANISMS, &credentials)
            .await
            .map_err(smtp)?;
    }
    let mut options = Vec::new();
    let has = |extension| connection.server_info().supports_feature(extension);
    if has(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let sender = Mail::new(Some(from.clone()), options);
    connection.command(sender).await.map_err(smtp)?;
    let receiver = Rcpt::new(to.clone(), Vec::new());
    let named = connection.command(receiver).await;
    named.map_err(|e| failure(&e, Stage::Receiver))?;
    connection.command(Data).await.map_err(smtp)?;
    Ok(Open::Smtp(Box::new(connection)))
}

impl Open {
    /// Sends the text. The caller has made durable before that it does.
    pub(super) async fn transmit(self, mail_id: &str, message: &Message) -> Result<(), Failure> {
        let text = message.formatted();
        match self {
            Self::Spool(folder) => {
                let name = format!("{mail_id}.eml");
                tokio::task::spawn_blocking(move || write(&folder, &name, &text))
                    .await
                    .map_err(|e| Failure::Unknown(e.to_string()))?
                    // The same name is written again at the next attempt, so the file exists once.
                    .map_err(|e| Failure::Later(e.to_string()))
            }
            Self::Smtp(mut connection) => {
                let sent = tokio::time::timeout(TEXT, connection.message(&text)).await;
                match sent {
                    Ok(Ok(_)) => {
                        // The mail has been accepted, whatever comes of the farewell.
                        let _farewell =
                            tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
                        Ok(())
                    }
                    Ok(Err(error)) if error.status().is_some() => Err(failure(&error, Stage::Text)),
                    Ok(Err(error)) => Err(Failure::Unknown(error.to_string())),
                    Err(_) => Err(Failure::Unknown(
                        "the mail server does not respond".to_owned(),
                    )),
                }
            }
        }
    }
}

fn write(folder: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}"));
    let mut file = std::fs::File::create(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_receivers_bounce() {
        for (said, bounces) in [
            ("permanent error (550): 5.1.1 no such user", true),
            ("permanent error (550): user unknown", true),
            ("permanent error (554): 5.7.1 relay access denied", false),
            ("permanent error (550): 5.7.1 listed", false),
            (
                "permanent error (530): 5.7.0 authentication required",
                false,
            ),
            ("permanent error (554): no", false),
        ] {
            assert_eq!(is_unknown_receiver(said), bounces, "{said}");
        }
    }

    #[test]
    fn passwords_of_servers_are_decoded() {
        assert_eq!(decoded("p%40ss+word%2F"), "p@ss+word/");
    }
}
