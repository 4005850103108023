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

/// Time limit of a step of the SMTP conversation.
const SILENCE: Duration = Duration::from_secs(60);

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

fn failure(error: &lettre::transport::smtp::Error, recipient: bool) -> Failure {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    if error.is_permanent() {
        if recipient {
            Failure::Bounced(said)
        } else {
            Failure::Refused(said)
        }
    } else {
        Failure::Later(said)
    }
}

/// Connects, and announces the mail up to the permission to send its text. Nothing is sent to the receiver yet.
pub(super) async fn open(config: &Config, from: &Address, to: &Address) -> Result<Open, Failure> {
    let later = |error: Error| Failure::Later(error.public_message().to_owned());
    let Some(url) = server(config).map_err(later)? else {
        return Ok(Open::Spool(spool(config)));
    };
    let smtp = |error: lettre::transport::smtp::Error| match failure(&error, false) {
        // Of the greeting, TLS and the password nothing concerns this mail: it waits until the operator has mended them.
        Failure::Refused(said) | Failure::Bounced(said) => Failure::Later(said),
        other => other,
    };
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
        Some(SILENCE),
        &hello,
        wrapped,
        None,
    );
    let connected = tokio::time::timeout(SILENCE, connecting).await;
    let mut connection = connected
        .map_err(|_| Failure::Later(format!("{name} does not respond")))?
        .map_err(smtp)?;
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
    if connection
        .server_info()
        .supports_feature(Extension::EightBitMime)
    {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let announced = async {
        let sender = Mail::new(Some(from.clone()), options);
        connection
            .command(sender)
            .await
            .map_err(|e| failure(&e, false))?;
        let receiver = Rcpt::new(to.clone(), Vec::new());
        connection
            .command(receiver)
            .await
            .map_err(|e| failure(&e, true))?;
        connection
            .command(Data)
            .await
            .map_err(|e| failure(&e, false))?;
        Ok(())
    };
    match tokio::time::timeout(SILENCE, announced).await {
        Ok(Ok(())) => Ok(Open::Smtp(Box::new(connection))),
        Ok(Err(failure)) => {
            connection.abort().await;
            Err(failure)
        }
        Err(_) => Err(Failure::Later(format!("{name} does not respond"))),
    }
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
                let sent = tokio::time::timeout(SILENCE, connection.message(&text)).await;
                match sent {
                    Ok(Ok(_)) => {
                        // The mail has been accepted, whatever comes of the farewell.
                        let _farewell =
                            tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
                        Ok(())
                    }
                    Ok(Err(error)) if error.status().is_some() => Err(failure(&error, false)),
                    Ok(Err(error)) => Err(Failure::Unknown(error.to_string())),
                    Err(_) => Err(Failure::Unknown(
                        "the mail server does not respond".to_owned(),
                    )),
                }
            }
        }
    }

    /// Ends the conversation without sending the text.
    pub(super) async fn abandon(self) {
        if let Self::Smtp(connection) = self {
            // The server waits for the text, so only closing the connection says that none comes.
            drop(connection);
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
    fn passwords_of_servers_are_decoded() {
        assert_eq!(decoded("p%40ss+word%2F"), "p@ss+word/");
    }
}
