//! Souls: characters for agents, as Markdown, from a directory on disk (`handle/slug.md`) or from a service with the layout of souls.directory.

use std::path::Path;
use std::time::Duration;

use moka::sync::Cache;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::unfit;
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing::{beginning, cause};

/// Largest soul and largest sitemap, in bytes.
const LARGEST: usize = 4 << 20;
/// Address of the directory when the setting names none of its own.
const DIRECTORY: &str = "https://souls.directory";
/// Time for an answer of the service.
const ANSWER: Duration = Duration::from_secs(15);

/// A soul by its names.
type Name = (String, String);

/// The list of a service, kept for an hour.
static LISTS: std::sync::LazyLock<Cache<String, std::sync::Arc<Vec<Name>>>> =
    std::sync::LazyLock::new(|| {
        Cache::builder()
            .max_capacity(4)
            .time_to_live(Duration::from_secs(3600))
            .build()
    });

/// Returns whether a text may be a part of a soul's name.
fn is_segment(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Where souls come from.
enum Source<'a> {
    Disk(&'a Path),
    Service(Url),
}

fn source(app: &App) -> Result<Source<'_>> {
    let setting = app.config.souls.trim();
    if setting.starts_with("http://") || setting.starts_with("https://") || setting.is_empty() {
        let url = if setting.is_empty() {
            DIRECTORY
        } else {
            setting
        };
        let url = Url::parse(url.trim_end_matches('/'));
        return url
            .map(Source::Service)
            .map_err(|e| Error::invalid("config_invalid", format!("souls: {e}")));
    }
    Ok(Source::Disk(Path::new(setting)))
}

/// Returns the souls whose `handle/slug` contains a text, ignoring case.
///
/// # Errors
/// `souls_unreachable`.
pub async fn search(app: &App, query: &str, limit: usize) -> Result<Value> {
    let query = query.trim().to_lowercase();
    let all = match source(app)? {
        Source::Disk(folder) => std::sync::Arc::new(on_disk(folder.to_owned()).await?),
        Source::Service(url) => of_service(app, &url).await?,
    };
    let base = match source(app)? {
        Source::Disk(_) => DIRECTORY.to_owned(),
        Source::Service(url) => url.as_str().trim_end_matches('/').to_owned(),
    };
    let found = all
        .iter()
        .filter(|(handle, slug)| format!("{handle}/{slug}").to_lowercase().contains(&query));
    let items: Vec<Value> = found
        .take(limit)
        .map(|(handle, slug)| {
            json!({
                "handle": handle, "slug": slug,
                "page_url": format!("{base}/souls/{handle}/{slug}"),
                "raw_md_url": format!("{base}/api/souls/{handle}/{slug}.md"),
            })
        })
        .collect();
    Ok(json!({"items": items}))
}

async fn on_disk(folder: std::path::PathBuf) -> Result<Vec<Name>> {
    tokio::task::spawn_blocking(move || {
        let mut names = Vec::new();
        for handle in std::fs::read_dir(folder)? {
            let handle = handle?;
            let Some(name) = handle.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if !is_segment(&name) || !handle.file_type()?.is_dir() {
                continue;
            }
            for soul in std::fs::read_dir(handle.path())? {
                let file = soul?.file_name();
                let slug = file.to_str().and_then(|f| f.strip_suffix(".md"));
                if let Some(slug) = slug.filter(|s| is_segment(s)) {
                    names.push((name.clone(), slug.to_owned()));
                }
            }
        }
        names.sort();
        Ok(names)
    })
    .await?
}

async fn fetch(app: &App, url: Url) -> Result<Option<String>> {
    let failed = |reason: String| {
        Error::upstream(
            "souls_unreachable",
            format!("the souls directory cannot be reached: {reason}"),
        )
    };
    let sent = app
        .outgoing
        .request(Method::GET, url)?
        .timeout(ANSWER)
        .send()
        .await;
    let response = sent.map_err(|e| failed(cause(&e).1))?;
    if response.status().as_u16() == 404 {
        return Ok(None);
    }
    if !response.status().is_success() {
        return Err(failed(format!("status {}", response.status())));
    }
    let bytes = beginning(response, LARGEST)
        .await
        .map_err(|e| failed(cause(&e).1))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns the souls of a service, by its sitemap.
async fn of_service(app: &App, url: &Url) -> Result<std::sync::Arc<Vec<Name>>> {
    if let Some(known) = LISTS.get(url.as_str()) {
        return Ok(known);
    }
    let mut sitemap = url.clone();
    sitemap.set_path("/sitemap.xml");
    let text = fetch(app, sitemap).await?.unwrap_or_default();
    let mut names = Vec::new();
    for part in text.split("/souls/").skip(1) {
        let path = part.split(['<', '?', '#', '"']).next().unwrap_or_default();
        let mut segments = path.trim_end_matches('/').split('/');
        if let (Some(handle), Some(slug), None) =
            (segments.next(), segments.next(), segments.next())
            && is_segment(handle)
            && is_segment(slug)
        {
            names.push((handle.to_owned(), slug.to_owned()));
        }
    }
    names.sort();
    names.dedup();
    let names = std::sync::Arc::new(names);
    LISTS.insert(url.as_str().to_owned(), std::sync::Arc::clone(&names));
    Ok(names)
}

/// Returns a soul.
///
/// # Errors
/// `soul_name_invalid`, `soul_not_found`, `souls_unreachable`.
pub async fn get(app: &App, handle: &str, slug: &str) -> Result<Value> {
    let slug = slug.strip_suffix(".md").unwrap_or(slug);
    if !is_segment(handle) || !is_segment(slug) {
        return Err(unfit(
            "soul_name_invalid",
            "handle and slug have letters, digits, _ and -",
        ));
    }
    let missing = || Error::not_found("soul_not_found", "Not Found");
    let content = match source(app)? {
        Source::Disk(folder) => {
            let path = folder.join(handle).join(format!("{slug}.md"));
            match tokio::fs::read_to_string(path).await {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
                Err(error) => return Err(error.into()),
            }
        }
        Source::Service(url) => {
            let mut of_soul = url.clone();
            of_soul.set_path(&format!("/api/souls/{handle}/{slug}.md"));
            fetch(app, of_soul).await?.ok_or_else(missing)?
        }
    };
    Ok(json!({"handle": handle, "slug": slug, "content": content}))
}

#[cfg(test)]
mod tests {
    use super::is_segment;

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_segment("a-b_1"));
        for wrong in ["", "..", "-a", "a/b", "a.md", "a b"] {
            assert!(!is_segment(wrong), "{wrong}");
        }
    }
}
