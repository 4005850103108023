//! Scope of a crawl: hosts, path prefix, patterns, and limits on generated addresses.

use std::collections::HashMap;

use chrono::Datelike;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use url::Url;

use super::address::{LONGEST, path_and_query};

/// Reason why an address is not visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// `out_of_scope` or `trap`.
    pub code: &'static str,
    /// The reason in one sentence.
    pub reason: String,
}

/// The scope of a crawl.
#[derive(Debug)]
pub struct Scope {
    start: Url,
    hosts: Vec<String>,
    prefix: Option<String>,
    include: GlobSet,
    exclude: GlobSet,
    exclude_texts: Vec<String>,
    this_year: i32,
}

/// Settings of a scope.
#[derive(Debug, Clone, Default)]
pub struct Borders<'a> {
    /// Hosts in addition to that of the start, each as `docs.example.com` or `*.example.com`.
    pub hosts: &'a [String],
    /// Prefix of paths.
    pub prefix: Option<&'a str>,
    /// Patterns of paths or whole addresses; unless empty, one of them must match.
    pub include: &'a [String],
    /// Patterns of paths or whole addresses to exclude.
    pub exclude: &'a [String],
}

/// Number of different queries on the same path above which further ones are considered a trap.
const QUERIES_PER_PATH: usize = 500;
/// Maximum occurrences of a folder name in a path.
const REPEATS: usize = 3;
/// Maximum number of folders in a path.
const DEEPEST: usize = 24;

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|e| format!("{pattern:?} is not a valid pattern: {}", e.kind()))?;
        set.add(glob);
    }
    set.build().map_err(|e| e.to_string())
}

fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

impl Scope {
    /// Returns the scope around a start; `this_year` is the reference for dates in addresses.
    ///
    /// # Errors
    /// A sentence about the invalid pattern.
    pub fn new(start: &Url, borders: &Borders<'_>, this_year: i32) -> Result<Self, String> {
        Ok(Self {
            start: start.clone(),
            hosts: borders.hosts.iter().map(|h| h.to_lowercase()).collect(),
            prefix: borders.prefix.map(str::to_owned),
            include: globs(borders.include)?,
            exclude: globs(borders.exclude)?,
            exclude_texts: borders.exclude.to_vec(),
            this_year,
        })
    }

    /// Checks that an address is in scope. The start always is.
    ///
    /// # Errors
    /// The reason to skip it.
    pub fn admits(&self, address: &Url) -> Result<(), Skip> {
        let skip = |code, reason: String| Err(Skip { code, reason });
        if *address == self.start {
            return Ok(());
        }
        let host = address.host_str().unwrap_or_default();
        if !self.is_own_host(address, host) {
            return skip(
                "out_of_scope",
                format!("the host {host} is not part of the crawl"),
            );
        }
        let path = address.path();
        if let Some(prefix) = self
            .prefix
            .as_ref()
            .filter(|p| !path.starts_with(p.as_str()))
        {
            return skip(
                "out_of_scope",
                format!("the path does not begin with {prefix}"),
            );
        }
        let matched = |set: &GlobSet| {
            let mut found = set.matches(path_and_query(address));
            found.extend(set.matches(path));
            found.extend(set.matches(address.as_str()));
            found
        };
        if !self.include.is_empty() && matched(&self.include).is_empty() {
            return skip("out_of_scope", "no include pattern matches".to_owned());
        }
        if let Some(first) = matched(&self.exclude).first() {
            return skip(
                "out_of_scope",
                format!("the exclude pattern {} matches", self.exclude_texts[*first]),
            );
        }
        match self.trap(address) {
            Some(reason) => skip("trap", reason),
            None => Ok(()),
        }
    }

    fn is_own_host(&self, address: &Url, host: &str) -> bool {
        let own = self.start.host_str().unwrap_or_default();
        // Another port is another site, except for the default port of the other scheme.
        let usual = |url: &Url| url.port().is_none();
        if without_www(host) == without_www(own)
            && (address.port() == self.start.port() || (usual(address) && usual(&self.start)))
        {
            return true;
        }
        self.hosts
            .iter()
            .any(|wanted| match wanted.strip_prefix("*.") {
                Some(domain) => {
                    host == domain
                        || host
                            .strip_suffix(domain)
                            .is_some_and(|sub| sub.ends_with('.'))
                }
                None => *wanted == host || *wanted == address.authority(),
            })
    }

    /// Returns why an address looks generated.
    fn trap(&self, address: &Url) -> Option<String> {
        if address.as_str().len() > LONGEST {
            return Some(format!("the address is longer than {LONGEST} bytes"));
        }
        let folders: Vec<&str> = address
            .path()
            .split('/')
            .filter(|s| !s.is_empty())
            .collect();
        if folders.len() > DEEPEST {
            return Some(format!("the path is more than {DEEPEST} folders deep"));
        }
        let mut times: HashMap<&str, usize> = HashMap::new();
        for folder in &folders {
            let count = times.entry(folder).or_default();
            *count += 1;
            if *count > REPEATS {
                return Some(format!("the path repeats the folder {folder} too often"));
            }
        }
        let year = far_year(address, self.this_year)?;
        Some(format!("a calendar page for {year}"))
    }
}

/// Returns the year of a date in an address (`/2031/05`, `/2031-05-02`, `?year=2031`, `?date=2031-05`) that is before 1990 or more than a year ahead.
fn far_year(address: &Url, this_year: i32) -> Option<i32> {
    let far = |year: i32| (1000..10_000).contains(&year) && (year > this_year + 1 || year < 1990);
    let leading_year = |text: &str| {
        text.get(..4)
            .filter(|y| y.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|y| y.parse::<i32>().ok())
    };
    let month =
        |text: &str| text.len() <= 2 && text.parse::<u32>().is_ok_and(|m| (1..=12).contains(&m));
    let folders: Vec<&str> = address.path().split('/').collect();
    for (i, folder) in folders.iter().enumerate() {
        let Some(year) = leading_year(folder) else {
            continue;
        };
        let dated = match folder.get(4..) {
            Some("") => folders.get(i + 1).is_some_and(|next| month(next)),
            Some(rest) => rest
                .strip_prefix('-')
                .is_some_and(|m| month(m.split('-').next().unwrap_or_default())),
            None => false,
        };
        if dated && far(year) {
            return Some(year);
        }
    }
    address.query_pairs().find_map(|(name, value)| {
        let name = name.to_lowercase();
        let dated = ["year", "date", "month", "day", "cal"]
            .iter()
            .any(|word| name.contains(word));
        leading_year(&value).filter(|year| dated && far(*year))
    })
}

/// Returns the year of a time in milliseconds since 1970.
#[must_use]
pub fn year_of(millis: i64) -> i32 {
    chrono::DateTime::from_timestamp_millis(millis).map_or(1970, |t| t.year())
}

/// Counts the queries of each path.
#[derive(Debug, Default)]
pub struct Queries(HashMap<String, usize>);

impl Queries {
    /// Counts an address that is about to be visited.
    ///
    /// # Errors
    /// When its path has too many queries.
    pub fn admit(&mut self, address: &Url) -> Result<(), Skip> {
        if address.query().is_none() {
            return Ok(());
        }
        let mut path = address.clone();
        path.set_query(None);
        let count = self.0.entry(path.into()).or_default();
        *count += 1;
        if *count <= QUERIES_PER_PATH {
            return Ok(());
        }
        Err(Skip {
            code: "trap",
            reason: format!(
                "the path was already crawled with {QUERIES_PER_PATH} different queries"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("an address")
    }

    fn scope(borders: &Borders<'_>) -> Scope {
        Scope::new(&url("https://example.com/start"), borders, 2026).expect("readable")
    }

    fn code(scope: &Scope, address: &str) -> &'static str {
        scope
            .admits(&url(address))
            .map_or_else(|skip| skip.code, |()| "ok")
    }

    #[test]
    fn hosts_prefix_and_patterns_make_the_border() {
        let (hosts, include, exclude) = (
            ["*.docs.test".to_owned()],
            ["/blog/**".to_owned(), "/start".to_owned()],
            [
                "/blog/*/print".to_owned(),
                "/**/*\\?*replytocom=*".to_owned(),
            ],
        );
        let all = scope(&Borders {
            hosts: &hosts,
            ..Borders::default()
        });
        for (address, expected) in [
            ("https://example.com/x", "ok"),
            ("http://www.example.com/x", "ok"),
            ("https://example.com:8443/x", "out_of_scope"),
            ("https://other.test/", "out_of_scope"),
            ("https://a.docs.test/", "ok"),
            ("https://evildocs.test/", "out_of_scope"),
        ] {
            assert_eq!(code(&all, address), expected, "{address}");
        }
        let narrow = scope(&Borders {
            prefix: Some("/blog"),
            include: &include,
            exclude: &exclude,
            ..Borders::default()
        });
        for (address, expected) in [
            ("https://example.com/start", "ok"),
            ("https://example.com/blog/a/b", "ok"),
            ("https://example.com/blog/a/print", "out_of_scope"),
            ("https://example.com/blog/a?replytocom=3", "out_of_scope"),
            ("https://example.com/news", "out_of_scope"),
        ] {
            assert_eq!(code(&narrow, address), expected, "{address}");
        }
        assert!(
            Scope::new(
                &url("https://a.test/"),
                &Borders {
                    include: &["[".to_owned()],
                    ..Borders::default()
                },
                2026
            )
            .is_err()
        );
    }

    #[test]
    fn endless_addresses_are_traps() {
        let scope = scope(&Borders::default());
        for (address, expected) in [
            ("https://example.com/cal/2031/05".to_owned(), "trap"),
            ("https://example.com/cal/2031-05-01".to_owned(), "trap"),
            (
                "https://example.com/cal?year=1904&month=2".to_owned(),
                "trap",
            ),
            ("https://example.com/blog/2024/05/title".to_owned(), "ok"),
            ("https://example.com/item/4711".to_owned(), "ok"),
            ("https://example.com/3000/specs".to_owned(), "ok"),
            ("https://example.com/a/b/a/b/a/b/a/b".to_owned(), "trap"),
            (
                format!("https://example.com/?q={}", "x".repeat(3000)),
                "trap",
            ),
        ] {
            assert_eq!(code(&scope, &address), expected, "{address}");
        }
        let mut queries = Queries::default();
        let refused = (0..600)
            .filter(|n| {
                queries
                    .admit(&url(&format!("https://example.com/list?sort={n}")))
                    .is_err()
            })
            .count();
        assert_eq!(refused, 100);
    }
}
