//! RSS, Atom and JSON feeds, with the articles that they link to.

use async_trait::async_trait;
use bytes::Bytes;
use feed_rs::model::Entry;
use feed_rs::parser::Builder;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{Method, Response, Url};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::connector::{Connector, Listed};
use super::settings::{Feed, address};
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing::{self, Outgoing};

/// Largest feed, in bytes.
const FEED: usize = 16 << 20;
/// Redirects that are followed.
const REDIRECTS: usize = 5;

pub(super) struct FeedConnector {
    outgoing: Outgoing,
    url: Url,
    /// Whether the linked articles are fetched.
    articles: bool,
}

impl FeedConnector {
    pub(super) fn new(app: &App, feed: &Feed) -> Result<Self> {
        Ok(Self {
            outgoing: app.outgoing.clone(),
            url: address(&feed.url)?,
            articles: feed.articles,
        })
    }

    /// Gets an address, through its redirects.
    async fn get(&self, url: &Url) -> Result<Response> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let request = self.outgoing.request(Method::GET, url.clone())?;
            let response = request.send().await.map_err(|e| broken(&url, &e))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            match outgoing::redirection(&url, &response) {
                Some(next) if status.is_redirection() => url = next,
                _ => {
                    return Err(Error::upstream(
                        "source_failed",
                        format!("{url} was answered with {status}"),
                    ));
                }
            }
        }
        Err(Error::upstream(
            "source_failed",
            format!("{} has more than {REDIRECTS} redirects", self.url),
        ))
    }
}

fn broken(url: &Url, error: &reqwest::Error) -> Error {
    let (code, reason) = outgoing::cause(error);
    Error::upstream(code, format!("{url}: {reason}"))
}

/// Returns an entry as an item; `None` without an address and a content.
fn listed(entry: Entry, articles: bool) -> Option<Listed> {
    let links = entry.links.iter();
    let page = links.filter(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate"));
    let url = page
        .filter_map(|link| link.href.parse::<Url>().ok())
        .find(|url| matches!(url.scheme(), "http" | "https"));
    let title = entry.title.map(|title| title.content.trim().to_owned());
    let title = title.filter(|title| !title.is_empty());
    let body = entry
        .content
        .and_then(|content| content.body)
        .or_else(|| entry.summary.map(|summary| summary.content))
        .unwrap_or_default();
    let mut metadata = Map::new();
    if let Some(at) = entry.published.or(entry.updated) {
        metadata.insert("published".to_owned(), json!(at.to_rfc3339()));
    }
    let authors: Vec<String> = entry
        .authors
        .into_iter()
        .map(|person| person.name)
        .collect();
    if !authors.is_empty() {
        metadata.insert("authors".to_owned(), json!(authors));
    }
    let tags: Vec<String> = entry
        .categories
        .into_iter()
        .map(|category| category.term)
        .collect();
    if !tags.is_empty() {
        metadata.insert("tags".to_owned(), Value::from(tags));
    }
    let content = if articles && url.is_some() {
        None
    } else if body.trim().is_empty() {
        return None;
    } else {
        Some(Bytes::from(page_of(title.as_deref(), &body)))
    };
    let described = (&title, &body, &metadata);
    let version = hex::encode(Sha256::digest(json!(described).to_string()));
    let name = title
        .as_deref()
        .unwrap_or("entry")
        .replace(['/', '\\'], "-");
    Some(Listed {
        key: entry.id,
        version,
        name: format!("{}.html", name.chars().take(150).collect::<String>()),
        mime_type: Some("text/html".to_owned()),
        title,
        url: url.map(String::from),
        metadata,
        content,
    })
}

/// Returns what a feed says of an article as a page.
fn page_of(title: Option<&str>, body: &str) -> String {
    let title = html_escape::encode_text(title.unwrap_or_default());
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title></head><body><main>{body}</main></body></html>"
    )
}

#[async_trait]
impl Connector for FeedConnector {
    async fn list(&self, items: mpsc::Sender<Listed>) -> Result<bool> {
        let response = self.get(&self.url).await?;
        let bytes = outgoing::beginning(response, FEED + 1)
            .await
            .map_err(|e| broken(&self.url, &e))?;
        if bytes.len() > FEED {
            return Err(Error::too_large(
                "source_failed",
                format!("the feed has more than {} MB", FEED >> 20),
            ));
        }
        let base = self.url.to_string();
        let parse = move || {
            let parser = Builder::new().base_uri(Some(base)).build();
            parser.parse(bytes.as_slice())
        };
        let feed = tokio::task::spawn_blocking(parse).await?.map_err(|e| {
            Error::upstream("source_failed", format!("{} is not a feed: {e}", self.url))
        })?;
        for entry in feed.entries {
            let item = listed(entry, self.articles);
            if let Some(item) = item
                && items.send(item).await.is_err()
            {
                break;
            }
        }
        // A feed has the latest entries only.
        Ok(false)
    }

    async fn fetch(&self, item: &Listed) -> Result<BoxStream<'static, Result<Bytes>>> {
        if let Some(content) = &item.content {
            return Ok(futures::stream::iter([Ok(content.clone())]).boxed());
        }
        let url = address(item.url.as_deref().unwrap_or_default())?;
        let response = self.get(&url).await?;
        let pieces = response.bytes_stream();
        Ok(pieces
            .map(move |piece| piece.map_err(|e| broken(&url, &e)))
            .boxed())
    }

    fn parallel(&self) -> usize {
        // The articles of a feed are usually on one server.
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = r#"<?xml version="1.0"?><rss version="2.0"><channel><title>Sea</title><link>https://sea.example/</link><description>d</description>
        <item><title>Tides</title><link>https://sea.example/tides</link><guid>g1</guid><category>moon</category>
            <description>&lt;p&gt;Short.&lt;/p&gt;</description><pubDate>Mon, 02 Nov 2026 10:00:00 GMT</pubDate></item>
        <item><guid>g2</guid><description>Only words.</description></item>
        <item><guid>g3</guid><title>Nothing</title></item></channel></rss>"#;

    fn items(articles: bool) -> Vec<Listed> {
        let feed = feed_rs::parser::parse(FEED.as_bytes()).expect("a feed");
        let entries = feed.entries.into_iter();
        entries
            .filter_map(|entry| listed(entry, articles))
            .collect()
    }

    #[test]
    fn entries_with_a_link_are_fetched_and_others_are_taken_as_they_are() {
        let items = items(true);
        assert_eq!(items.len(), 2);
        let tides = &items[0];
        assert_eq!(
            (tides.key.as_str(), tides.name.as_str()),
            ("g1", "Tides.html")
        );
        assert_eq!(tides.url.as_deref(), Some("https://sea.example/tides"));
        assert_eq!(tides.metadata["tags"], json!(["moon"]));
        assert!(tides.content.is_none() && items[1].content.is_some());
    }

    #[test]
    fn without_articles_the_feed_itself_is_the_content() {
        let items = items(false);
        let content = items[0].content.as_ref().expect("a content");
        let page = String::from_utf8_lossy(content);
        assert!(
            page.contains("<p>Short.</p>") && page.contains("<title>Tides</title>"),
            "{page}"
        );
    }
}
