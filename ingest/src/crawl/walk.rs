//! The walk over one host, by `spider`: it remembers what was visited, goes breadth first, and keeps a number of visits running. Fetching, and which links
//! lead on, are the visitor's: `spider` reads the links it is to follow from a page that holds only those.
//!
//! It takes references as they are written, without resolving `&amp;`. Its memory tells addresses apart without regard to case, and what looks like no page (`.pdf`) or lies on another host is not followed. So the caller
//! keeps the list of what is still to visit, and walks again with what a walk left over.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use spider::fetcher::{FetchContext, RemoteFetcher};
use spider::utils::PageResponse;
use spider::website::Website;

/// Visits an address.
#[async_trait]
pub trait Visit: Send + Sync + 'static {
    /// Fetches the page and gives the addresses that lead on from it. What was visited already is asked for once more when somebody walks again.
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

/// Visits addresses of one host and what leads on from them, `concurrency` at a time; ends when nothing is left that `spider` follows. Dropping the future
/// ends every visit.
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
    // Before the extra links, which a set-up would forget.
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
