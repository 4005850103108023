//! Settings of sources, by kind.

use std::path::{Path, PathBuf};

use object_store::path::Path as Key;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::patterns::Patterns;
use crate::app::App;
use crate::error::{Error, Result};

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schema(as = SourceSettings)]
pub enum Settings {
    Folder(Folder),
    S3(Bucket),
    Feed(Feed),
    Git(Repository),
    Imap(Mailbox),
}

/// A folder of the server's machine, below one of those in the setting `source_folders`. Ignore files are respected, and hidden files are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FolderSource)]
pub struct Folder {
    /// Absolute path of the folder.
    pub path: String,
    /// Only files that match one of these patterns, such as `**/*.md`; all files when empty.
    #[serde(default)]
    pub include: Vec<String>,
    /// No files that match one of these patterns.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether a change of a file starts a sync at once.
    #[serde(default)]
    pub watch: bool,
}

/// Objects of a bucket in S3 or a compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = S3Source)]
pub struct Bucket {
    pub bucket: String,
    /// Only objects whose key begins with this, at a slash.
    #[serde(default)]
    pub prefix: String,
    /// Region; `us-east-1` when absent.
    pub region: Option<String>,
    /// Address of a compatible store; that of AWS when absent.
    pub endpoint: Option<String>,
    /// Id of the access key, whose secret is the `secret` of the source; without one, the bucket must be public.
    pub access_key_id: Option<String>,
}

/// An RSS or Atom feed, or a JSON feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FeedSource)]
pub struct Feed {
    /// Address of the feed.
    pub url: String,
    /// Whether the linked articles are ingested; otherwise, what the feed says of them.
    #[serde(default = "yes")]
    pub articles: bool,
}

/// The files of a branch of a git repository, over HTTP. Links and submodules are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GitSource)]
pub struct Repository {
    /// Address of the repository, `https://…`.
    pub url: String,
    /// Branch, or the full name of another reference, such as `refs/tags/v1`; the default branch when absent.
    pub branch: Option<String>,
    /// Only files that match one of these patterns, such as `docs/**/*.md`; all files when empty.
    #[serde(default)]
    pub include: Vec<String>,
    /// No files that match one of these patterns.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// User whose token or password is the `secret` of the source; `git` when absent, which hosts with tokens accept.
    pub user: Option<String>,
    /// Address of a file's page, with `{path}` in it. Known for github.com, gitlab.com and bitbucket.org.
    pub page_url: Option<String>,
}

/// A folder of a mailbox, over IMAP. Its password is the `secret` of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ImapSource)]
pub struct Mailbox {
    /// Host of the server.
    pub host: String,
    /// Port; 993 when absent, and 143 for connections that are not encrypted from the beginning.
    pub port: Option<u16>,
    pub user: String,
    /// Folder; `INBOX` when absent.
    pub folder: Option<String>,
    /// Only mail of the last so many days; older mail is removed again. All mail when absent.
    pub days: Option<u32>,
    #[serde(default)]
    pub encryption: Encryption,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ImapEncryption)]
pub enum Encryption {
    /// With TLS from the beginning.
    #[default]
    Tls,
    /// With TLS after the command STARTTLS.
    Starttls,
    /// Not at all: the password can be read on the way.
    None,
}

fn yes() -> bool {
    true
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("source_settings_invalid", message)
}

impl Settings {
    /// Returns the name of the kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            Self::S3(_) => "s3",
            Self::Feed(_) => "feed",
            Self::Git(_) => "git",
            Self::Imap(_) => "imap",
        }
    }

    /// Checks what can be checked without connecting.
    ///
    /// # Errors
    /// `source_settings_invalid`, `folder_refused`, `address_refused`.
    pub fn check(&self, app: &App) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                folder.patterns(&folder.root(app)?)?;
            }
            Self::S3(bucket) => {
                // Both become parts of the address of AWS.
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                if bucket.bucket.is_empty() || !bucket.bucket.chars().all(is_name) {
                    return Err(invalid("bucket must be the name of a bucket"));
                }
                let region = bucket.region.as_deref().unwrap_or_default();
                if region.len() > 40
                    || !region
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '-')
                {
                    return Err(invalid(
                        "region must be the name of a region, such as eu-west-1",
                    ));
                }
                bucket.prefix()?;
                if let Some(endpoint) = &bucket.endpoint {
                    app.outgoing.check(&address(endpoint)?)?;
                }
            }
            Self::Feed(feed) => app.outgoing.check(&address(&feed.url)?)?,
            Self::Git(repository) => {
                repository.check()?;
                app.outgoing.check(&address(&repository.url)?)?;
            }
            Self::Imap(mailbox) => mailbox.check()?,
        }
        Ok(())
    }
}

/// Parses an address without a user and a password, which would be shown with the settings.
pub(super) fn address(text: &str) -> Result<Url> {
    let url: Url = text
        .parse()
        .map_err(|e| invalid(format!("{text:?} is not an address: {e}")))?;
    if url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(invalid("the address must not contain a user or a password"))
    }
}

impl Bucket {
    /// Returns the prefix of keys; `None` for the whole bucket.
    pub(super) fn prefix(&self) -> Result<Option<Key>> {
        let prefix = self.prefix.trim_matches('/');
        if prefix.is_empty() {
            return Ok(None);
        }
        let prefix = Key::parse(prefix).map_err(|e| invalid(format!("prefix: {e}")))?;
        Ok(Some(prefix))
    }
}

impl Folder {
    /// Returns the folder without links, if it is inside one of the permitted ones.
    ///
    /// # Errors
    /// `source_settings_invalid` for a path that is not a folder, `folder_refused`.
    pub(super) fn root(&self, app: &App) -> Result<PathBuf> {
        let refused = || {
            Error::forbidden(
                "folder_refused",
                format!(
                    "{:?} is not inside a folder that the setting source_folders permits",
                    self.path
                ),
            )
        };
        let path = Path::new(&self.path);
        let permitted = app.config.source_folders.split(',').map(str::trim);
        let permitted: Vec<PathBuf> = permitted
            .filter(|folder| !folder.is_empty())
            .filter_map(|folder| std::fs::canonicalize(folder).ok())
            .collect();
        // Whether a folder exists is not told about folders that are not permitted.
        if permitted.is_empty() || !path.is_absolute() {
            return Err(refused());
        }
        let root = std::fs::canonicalize(path).map_err(|_| refused())?;
        if !permitted.iter().any(|folder| root.starts_with(folder)) {
            return Err(refused());
        }
        if !root.is_dir() {
            return Err(invalid(format!("{:?} is not a folder", self.path)));
        }
        Ok(root)
    }

    /// Returns the patterns, which are relative to the folder without links.
    pub(super) fn patterns(&self, root: &Path) -> Result<Patterns> {
        Patterns::new(root, &self.include, &self.exclude)
    }
}

impl Repository {
    fn check(&self) -> Result<()> {
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Err(invalid(
                "repositories are read over HTTP: url must begin with https://; SSH and local paths are not supported",
            ));
        }
        if gix::validate::reference::name(self.reference().as_str().into()).is_err() {
            return Err(invalid(
                "branch must be the name of a branch, or the full name of a reference, such as refs/tags/v1",
            ));
        }
        if self.user.as_deref().is_some_and(|user| user.contains(':')) {
            return Err(invalid("the user must not contain a colon"));
        }
        if let Some(template) = &self.page_url {
            let page = address(&template.replace("{path}", "a"))?;
            if !template.contains("{path}") || !matches!(page.scheme(), "http" | "https") {
                return Err(invalid(
                    "pageUrl must be an address with {path} in it, such as https://git.example.com/docs/{path}",
                ));
            }
        }
        Patterns::new(Path::new("/"), &self.include, &self.exclude)?;
        Ok(())
    }

    /// Returns the reference that is fetched: `HEAD` or a full name.
    pub(super) fn reference(&self) -> String {
        match self.branch.as_deref().map(str::trim) {
            None | Some("") => "HEAD".to_owned(),
            Some(name) if name.starts_with("refs/") => name.to_owned(),
            Some(name) => format!("refs/heads/{name}"),
        }
    }
}

impl Mailbox {
    fn check(&self) -> Result<()> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if self.host.is_empty() || !self.host.chars().all(is_name) {
            return Err(invalid("host must be the name or the address of a server"));
        }
        let folder = self.folder.as_deref().unwrap_or("INBOX");
        if self.user.is_empty() || folder.is_empty() {
            return Err(invalid("user and folder must not be empty"));
        }
        // They would end the command that they are part of.
        if [&self.user, folder]
            .iter()
            .any(|text| text.contains(['\r', '\n', '\0']))
        {
            return Err(invalid("user and folder must be one line"));
        }
        if self.days == Some(0) {
            return Err(invalid("days must be 1 or more"));
        }
        Ok(())
    }

    /// Returns the port of the server.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            Encryption::Tls => 993,
            Encryption::Starttls | Encryption::None => 143,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_apart_by_kind() {
        let text = r#"{"kind": "feed", "url": "https://a.example/feed.xml"}"#;
        let settings: Settings = serde_json::from_str(text).expect("valid");
        let expected = Feed {
            url: "https://a.example/feed.xml".to_owned(),
            articles: true,
        };
        assert_eq!(settings, Settings::Feed(expected));
        assert_eq!(settings.kind(), "feed");
    }

    #[test]
    fn an_address_with_a_password_is_refused() {
        assert!(address("https://me:secret@a.example/").is_err());
        assert!(address("https://a.example/").is_ok());
    }

    fn repository(branch: Option<&str>, page_url: Option<&str>) -> Repository {
        Repository {
            url: "https://git.example/r".to_owned(),
            branch: branch.map(str::to_owned),
            include: Vec::new(),
            exclude: Vec::new(),
            user: None,
            page_url: page_url.map(str::to_owned),
        }
    }

    #[test]
    fn a_branch_is_a_name_or_a_full_reference() {
        for (branch, reference) in [
            (None, "HEAD"),
            (Some(" "), "HEAD"),
            (Some("next"), "refs/heads/next"),
            (Some("refs/tags/v1"), "refs/tags/v1"),
        ] {
            let repository = repository(branch, None);
            assert_eq!(repository.reference(), reference);
            assert!(repository.check().is_ok());
        }
        for wrong in ["a..b", "x:refs/heads/y", "a b", "*"] {
            assert!(repository(Some(wrong), None).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_template_of_pages_is_an_address_with_the_path() {
        assert!(
            repository(None, Some("https://a.example/{path}"))
                .check()
                .is_ok()
        );
        for wrong in ["https://a.example/", "{path}", "javascript:{path}"] {
            assert!(repository(None, Some(wrong)).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_port_of_a_mailbox_follows_its_encryption() {
        let mailbox = |encryption| Mailbox {
            host: "mail.example".to_owned(),
            port: None,
            user: "a".to_owned(),
            folder: None,
            days: None,
            encryption,
        };
        assert_eq!(mailbox(Encryption::Tls).port(), 993);
        assert_eq!(mailbox(Encryption::Starttls).port(), 143);
    }
}
