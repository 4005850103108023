//! Settings of sources, by kind.

use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};
use object_store::path::Path as Key;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

fn yes() -> bool {
    true
}

/// Maximum number of patterns.
const PATTERNS: usize = 50;

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
    pub(super) fn patterns(&self, root: &Path) -> Result<Override> {
        if self.include.len() + self.exclude.len() > PATTERNS {
            return Err(invalid(format!(
                "a folder may have at most {PATTERNS} patterns"
            )));
        }
        let mut all = OverrideBuilder::new(root);
        let excluded: Vec<String> = self.exclude.iter().map(|glob| format!("!{glob}")).collect();
        for glob in self.include.iter().chain(&excluded) {
            all.add(glob)
                .map_err(|e| invalid(format!("the pattern {glob:?} is not valid: {e}")))?;
        }
        all.build().map_err(|e| invalid(e.to_string()))
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

    #[test]
    fn patterns_are_checked() {
        let folder = |exclude: &str| Folder {
            path: "/".to_owned(),
            include: Vec::new(),
            exclude: vec![exclude.to_owned()],
            watch: false,
        };
        assert!(folder("**/*.tmp").patterns(Path::new("/")).is_ok());
        assert!(folder("a{").patterns(Path::new("/")).is_err());
    }
}
