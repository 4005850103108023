//! A look at a website before it is crawled: how many of the addresses in its sitemaps, or of the links of its start, the settings let through, and where the others are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cairn_ingest::crawl::{address, page, sitemap};
use reqwest::Url;
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::crawl::Settings;
use crate::crawl::fetch::{Answer, Fetcher, Validators};
use crate::error::{Error, Result};
use crate::kb::datasets;

/// Time for all requests.
const TIME: Duration = Duration::from_secs(20);
/// Sitemaps that are read.
const SITEMAPS: usize = 10;
/// Addresses that are counted, and links of the start that are read.
const ADDRESSES: usize = 20_000;
/// Redirects of the start that are followed.
const REDIRECTS: usize = 5;
/// Folders outside of the scope that are returned.
const FOLDERS: usize = 12;

/// The result of a look at a website.
#[derive(Debug)]
pub struct Preview {
    /// The start, after redirects.
    pub start: Url,
    /// Whether a sitemap was read; without one there are only the links of the start.
    pub has_sitemap: bool,
    /// Addresses that the settings let through.
    pub inside: usize,
    /// Addresses of the same host that the path prefix or the include patterns leave out, by folder, the largest first.
    pub outside: Vec<(String, usize)>,
    /// Addresses of the same host that an exclude pattern leaves out.
    pub excluded: usize,
    /// Whether there may be more: a limit was reached, or the time was over.
    pub is_partial: bool,
}

/// The addresses that were found.
struct Addresses {
    found: BTreeSet<Url>,
    has_sitemap: bool,
    is_partial: bool,
}

/// Looks at a website with the settings of a crawl; stores nothing.
///
/// # Errors
/// `dataset_not_found`; those of [`Settings::checked`]; `address_refused`; `start_unreachable` when the start cannot be read.
pub async fn preview(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    settings: Settings,
) -> Result<Preview> {
    caller.need_write(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    let now = app.clock.now();
    let settings = settings.checked(now)?;
    let start = settings.start()?;
    app.outgoing.check(&start)?;
    let scope = settings.scope(now)?;
    let until = Instant::now() + TIME;
    let fetcher =
        Fetcher::new(app, &settings, caller.tenant(), now.plus(TIME), (0, 0)).pages_only();
    let look = Look {
        fetcher,
        aliases: settings.alias_origins()?,
        until,
    };
    let unreachable = |reason: String| {
        Error::unprocessable(
            "start_unreachable",
            format!("{start} cannot be read: {reason}"),
        )
    };
    let (reached, page) = look.reach(&start).await.map_err(unreachable)?;
    if reached != start && scope.admits(&reached).is_err() {
        return Err(unreachable(format!(
            "it redirects to {reached}, which is not part of the crawl; use that as the start"
        )));
    }
    let mut addresses = Addresses {
        found: BTreeSet::new(),
        has_sitemap: false,
        is_partial: false,
    };
    if settings.sitemaps {
        look.read_sitemaps(&reached, &mut addresses).await?;
    }
    // Without its exclude patterns, a scope tells what they alone leave out.
    let without_excludes = Settings {
        exclude: Vec::new(),
        ..settings.clone()
    };
    let wider = without_excludes.scope(now)?;
    let depth = settings
        .url_path_filter
        .as_deref()
        .map_or(1, |prefix| {
            prefix.split('/').filter(|s| !s.is_empty()).count()
        })
        .max(1);
    let token = app.config.crawl_token().to_owned();
    let work = move || {
        let signs = page::read(&page.bytes, page.charset.as_deref(), &token);
        let base = signs.base.as_deref().and_then(|b| reached.join(b).ok());
        let base = base.unwrap_or_else(|| reached.clone());
        addresses.is_partial |= signs.links.len() > ADDRESSES;
        let links = signs.links.iter().take(ADDRESSES);
        let links = links.filter_map(|link| look.resolve(&base, &reached, &link.reference));
        addresses.found.extend(links);
        addresses.found.insert(reached.clone());
        let (mut inside, mut excluded) = (0, 0);
        let mut outside: BTreeMap<String, usize> = BTreeMap::new();
        for url in &addresses.found {
            match scope.admits(url) {
                Ok(()) => inside += 1,
                Err(skip)
                    if skip.code == "out_of_scope" && url.host_str() == reached.host_str() =>
                {
                    if wider.admits(url).is_ok() {
                        excluded += 1;
                    } else {
                        *outside.entry(folder(url, depth)).or_default() += 1;
                    }
                }
                Err(_) => {}
            }
        }
        let mut outside: Vec<(String, usize)> = outside.into_iter().collect();
        outside.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        outside.truncate(FOLDERS);
        Preview {
            start: reached,
            has_sitemap: addresses.has_sitemap,
            inside,
            outside,
            excluded,
            is_partial: addresses.is_partial,
        }
    };
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// Returns the folder of an address, at most `depth` folders deep, such as `/docs/`.
fn folder(url: &Url, depth: usize) -> String {
    let path = url.path();
    let folders = path.rfind('/').map_or("", |end| &path[..end]);
    let names = folders.split('/').filter(|name| !name.is_empty());
    let mut folder: String = names.take(depth).map(|name| format!("/{name}")).collect();
    folder.push('/');
    folder
}

/// A page as it was received.
struct Received {
    bytes: bytes::Bytes,
    charset: Option<String>,
}

struct Look {
    fetcher: Fetcher,
    aliases: Vec<Url>,
    until: Instant,
}

impl Look {
    fn resolve(&self, base: &Url, start: &Url, reference: &str) -> Option<Url> {
        let url = address::resolve(base, reference, start, &self.aliases)?;
        (url.as_str().len() <= address::LONGEST).then_some(url)
    }

    /// Fetches the start, after redirects; else the reason.
    async fn reach(&self, start: &Url) -> std::result::Result<(Url, Received), String> {
        let (mut url, first) = (start.clone(), Validators::default());
        for _ in 0..=REDIRECTS {
            let asked = self.fetcher.get(&url, &first);
            let answer = tokio::time::timeout_at(self.until, asked).await;
            let answer = answer.map_err(|_| "it did not answer in time".to_owned())?;
            match answer.map_err(|error| error.public_message().to_owned())? {
                Answer::Page(head, bytes) => {
                    let charset = head.charset;
                    return Ok((url, Received { bytes, charset }));
                }
                Answer::Moved { to, .. } => {
                    let target = self.resolve(&url, &url, &to);
                    url = target.ok_or_else(|| format!("it redirects to {to:?}"))?;
                }
                Answer::Forbidden(_, reason) | Answer::Failed(_, reason, _) => return Err(reason),
                Answer::Gone(status) => return Err(format!("the server returned {status}")),
                Answer::OtherType(kind) => return Err(format!("it is {kind}, not a page")),
                Answer::Unchanged => return Err("the server returned 304".to_owned()),
                Answer::File(..) => return Err("it is a file, not a page".to_owned()),
            }
        }
        Err("it redirects too often".to_owned())
    }

    /// Adds the addresses in the sitemaps that robots.txt lists, or in `/sitemap.xml` when it lists none.
    async fn read_sitemaps(&self, start: &Url, addresses: &mut Addresses) -> Result<()> {
        let named = self.fetcher.sitemaps(start);
        let Ok(named) = tokio::time::timeout_at(self.until, named).await else {
            addresses.is_partial = true;
            return Ok(());
        };
        let mut queue: VecDeque<Url> = named
            .iter()
            .filter_map(|s| self.resolve(start, start, s))
            .collect();
        if queue.is_empty() {
            queue.extend(start.join("/sitemap.xml").ok());
        }
        let mut read = 0;
        let mut seen: BTreeSet<Url> = queue.iter().cloned().collect();
        while let Some(url) = queue.pop_front() {
            if read >= SITEMAPS || addresses.found.len() >= ADDRESSES {
                addresses.is_partial = true;
                return Ok(());
            }
            read += 1;
            let Ok(bytes) = tokio::time::timeout_at(self.until, self.fetcher.sitemap(&url)).await
            else {
                addresses.is_partial = true;
                return Ok(());
            };
            let Some(bytes) = bytes else { continue };
            let parsed = tokio::task::spawn_blocking(move || sitemap::parse(&bytes)).await?;
            let Some(parsed) = parsed else { continue };
            addresses.has_sitemap = true;
            for further in parsed.sitemaps.iter().take(ADDRESSES) {
                let Some(further) = self.resolve(&url, start, further) else {
                    continue;
                };
                if seen.insert(further.clone()) {
                    queue.push_back(further);
                }
            }
            let room = ADDRESSES.saturating_sub(addresses.found.len());
            addresses.is_partial |= parsed.pages.len() > room;
            let pages = parsed.pages.iter().take(room);
            let pages = pages.filter_map(|entry| self.resolve(&url, start, &entry.address));
            addresses.found.extend(pages);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_folders_as_deep_as_the_path_prefix() {
        let of = |address: &str, depth| folder(&address.parse().expect("a URL"), depth);
        assert_eq!(of("https://a.test/docs/hosting/ftp.html", 1), "/docs/");
        assert_eq!(
            of("https://a.test/docs/hosting/ftp.html", 2),
            "/docs/hosting/"
        );
        assert_eq!(of("https://a.test/about", 2), "/");
    }
}
