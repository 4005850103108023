//! The walk over one host by `spider`, which tracks visited addresses, proceeds breadth first, and runs a number of visits concurrently. Fetching and link
//! selection belong to the visitor: `spider` gets a page that contains only the links to follow.
//!
//! It uses references as written, without decoding `&amp;`. It compares addresses case-insensitively, and skips addresses that do not look like pages (`.pdf`)
//! or are on another host. Therefore the caller keeps the list of pending addresses, and walks again with those that remain.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use spider::fetcher::{FetchContext, RemoteFetcher};
use spider::utils::PageResponse;
use spider::website::Website;

/// Visits an address.
#[async_trait]
pub trait Visit: Send + Sync + 'static {
    /// Fetches the page and returns the addresses to follow. A repeated walk may request the same address again.
    async fn visit(&self, address: &str) -> Vec<String>;
}

struct Hook(Arc<dyn Visit>);

#[async_trait]
impl RemoteFetcher for Hook {
    async fn fetch(&self, context: FetchContext<'_>) -> PageResponse {
        let links = self.0.visit(context.url).await;
        let page: String = links
            .iter()
            .map(|link| format!("<a href=\"{}\"></a>", link.replace('"', "%22")))
            .collect();
        PageResponse {
            status_code: spider::reqwest::StatusCode::OK,
            final_url: Some(context.url.to_owned()),
            content: Some(page.into_bytes()),
            ..PageResponse::default()
        }
    }
}

/// Visits addresses of one host and the addresses that they lead to, `concurrency` at a time; ends when none is left that `spider` follows. Dropping the future
/// cancels all visits.
pub async fn walk(addresses: Vec<String>, concurrency: usize, visitor: Arc<dyn Visit>) {
    let mut addresses = VecDeque::from(addresses);
    let Some(first) = addresses.pop_front() else {
        return;
    };
    let mut website = Website::new(&first);
    website
        .with_respect_robots_txt(false)
        .with_limit(u32::MAX)
        .with_concurrency_limit(Some(concurrency.max(1)));
    // Before the extra links, which the setup would reset.
    website.configure_setup_norobots();
    website.set_extra_links(addresses.into_iter().map(Into::into).collect());
    website.with_remote_fetcher(Hook(visitor));
    website.crawl_raw().await;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Tree(Mutex<Vec<String>>);

    #[async_trait]
    impl Visit for Tree {
        async fn visit(&self, address: &str) -> Vec<String> {
            self.0.lock().expect("no panic").push(address.to_owned());
            if address.len() > 20 {
                return Vec::new();
            }
            ["a?x=1&y=2", "b/"]
                .map(|step| format!("{address}{step}"))
                .to_vec()
        }
    }

    #[tokio::test]
    async fn seeds_and_what_leads_on_are_visited_once() {
        let tree = Arc::new(Tree::default());
        let seeds = [
            "http://a.test/",
            "http://a.test/seed.pdf",
            "http://a.test/b/",
        ]
        .map(str::to_owned)
        .to_vec();
        walk(seeds, 3, Arc::clone(&tree) as Arc<dyn Visit>).await;
        let visited = tree.0.lock().expect("no panic").clone();
        let once: BTreeSet<&str> = visited.iter().map(String::as_str).collect();
        assert_eq!(once.len(), visited.len(), "{visited:?}");
        for expected in [
            "http://a.test/",
            "http://a.test/seed.pdf",
            "http://a.test/b/",
            "http://a.test/a?x=1&y=2",
            "http://a.test/b/b/b/b/",
        ] {
            assert!(once.contains(expected), "{expected} of {once:?}");
        }
    }
}
