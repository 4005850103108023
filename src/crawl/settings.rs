//! Settings of a crawl: start, scope, request rate, and the handling of vanished pages.

use std::time::Duration;

use cairn_ingest::crawl::address;
use cairn_ingest::crawl::scope::{Borders, Scope, year_of};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::clock::Time;
use crate::error::{Error, Result};

/// Settings of a site's crawls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CrawlSettings)]
pub struct Settings {
    /// Start of the crawl: an `http` or `https` address.
    pub start_url: String,
    /// Maximum number of indexed pages, 1 to 100,000.
    #[serde(default = "defaults::max_pages")]
    pub max_pages: u32,
    /// Maximum number of links from the start, 0 to 100; an address found only in a sitemap counts as one link away.
    #[serde(default = "defaults::max_depth")]
    pub max_depth: u32,
    /// Prefix of the paths of pages, such as `/blog`.
    #[serde(default)]
    pub url_path_filter: Option<String>,
    /// Additional hosts: `docs.example.com`, `*.example.com`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Other origins of the same site (`https://www.example.com`): their addresses are fetched from the start's origin.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Patterns, one of which must match the path (or the whole address): `*` within a folder, `**` across folders.
    #[serde(default)]
    pub include: Vec<String>,
    /// Patterns of paths (or whole addresses) to exclude.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Also indexes linked PDF and office files.
    #[serde(default)]
    pub files: bool,
    /// Discovers pages through sitemaps.
    #[serde(default = "defaults::yes")]
    pub sitemaps: bool,
    /// Obeys robots.txt.
    #[serde(default = "defaults::yes")]
    pub respect_robots: bool,
    /// Obeys `X-Robots-Tag` and robots meta elements.
    #[serde(default = "defaults::yes")]
    pub respect_meta: bool,
    /// Does not follow links marked `rel=nofollow`.
    #[serde(default = "defaults::yes")]
    pub respect_nofollow: bool,
    /// Requests per second and host, 0.01 to 1000; a `Crawl-delay` can only lower the rate.
    #[serde(default = "defaults::requests_per_second")]
    pub requests_per_second: f64,
    /// Concurrent requests, 1 to 16.
    #[serde(default = "defaults::concurrency")]
    pub concurrency: u32,
    /// Removes pages from the dataset that are gone (404, 410), forbidden in the meantime, or copies of others.
    #[serde(default = "defaults::yes")]
    pub remove_vanished: bool,
    /// Days a page must have been gone before it is removed.
    #[serde(default)]
    pub vanished_grace_days: u32,
    /// Renders pages through the configured endpoint (`render_url`) before they are parsed.
    #[serde(default)]
    pub render: bool,
}

mod defaults {
    pub(super) fn max_pages() -> u32 {
        200
    }
    pub(super) fn max_depth() -> u32 {
        3
    }
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn requests_per_second() -> f64 {
        5.0
    }
    pub(super) fn concurrency() -> u32 {
        4
    }
}

impl Settings {
    /// Returns the default settings for a start address.
    #[must_use]
    pub fn new(start_url: &str) -> Self {
        Self {
            start_url: start_url.to_owned(),
            max_pages: defaults::max_pages(),
            max_depth: defaults::max_depth(),
            url_path_filter: None,
            hosts: Vec::new(),
            aliases: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            files: false,
            sitemaps: true,
            respect_robots: true,
            respect_meta: true,
            respect_nofollow: true,
            requests_per_second: defaults::requests_per_second(),
            concurrency: defaults::concurrency(),
            remove_vanished: true,
            vanished_grace_days: 0,
            render: false,
        }
    }

    /// Returns a hash of the settings that decide which links of a page count.
    ///
    /// # Errors
    /// Those of serialization.
    pub fn reading(&self) -> Result<String> {
        let relevant = Self {
            max_pages: 0,
            max_depth: 0,
            requests_per_second: 0.0,
            concurrency: 0,
            sitemaps: false,
            remove_vanished: false,
            vanished_grace_days: 0,
            ..self.clone()
        };
        let hash = Sha256::digest(serde_json::to_vec(&relevant)?);
        Ok(hex::encode(&hash[..16]))
    }

    /// Validates all settings and normalizes the start address.
    ///
    /// # Errors
    /// `start_url_invalid`, `crawl_settings_invalid`.
    pub fn checked(mut self, now: Time) -> Result<Self> {
        self.start_url = self.start()?.into();
        let wrong =
            |message: &str| Err(Error::invalid("crawl_settings_invalid", message.to_owned()));
        if !(1..=100_000).contains(&self.max_pages) {
            return wrong("maxPages must be between 1 and 100000");
        }
        if self.max_depth > 100 {
            return wrong("maxDepth must be between 0 and 100");
        }
        if !(0.01..=1000.0).contains(&self.requests_per_second) {
            return wrong("requestsPerSecond must be between 0.01 and 1000");
        }
        if !(1..=16).contains(&self.concurrency) {
            return wrong("concurrency must be between 1 and 16");
        }
        if self
            .url_path_filter
            .as_ref()
            .is_some_and(|p| !p.starts_with('/'))
        {
            return wrong("urlPathFilter must begin with a slash, as in /blog");
        }
        if [&self.hosts, &self.aliases, &self.include, &self.exclude]
            .iter()
            .any(|list| list.len() > 100)
        {
            return wrong("hosts, aliases, include and exclude may each have at most 100 entries");
        }
        self.alias_origins()?;
        self.scope(now)?;
        Ok(self)
    }

    /// Returns the start as a URL.
    ///
    /// # Errors
    /// `start_url_invalid`.
    pub fn start(&self) -> Result<Url> {
        let invalid = |cause: &str| {
            Error::invalid(
                "start_url_invalid",
                format!(
                    "startUrl must be an http or https address such as https://example.com/docs ({cause})"
                ),
            )
        };
        let url: Url = self
            .start_url
            .trim()
            .parse()
            .map_err(|e: url::ParseError| invalid(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid("its scheme is not http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "it contains a user name or password, which would be stored and shown",
            ));
        }
        Ok(address::canonical(url))
    }

    /// Returns the other origins of the site.
    ///
    /// # Errors
    /// `crawl_settings_invalid`.
    pub fn alias_origins(&self) -> Result<Vec<Url>> {
        self.aliases
            .iter()
            .map(|alias| {
                alias.parse().map_err(|e| {
                    Error::invalid(
                        "crawl_settings_invalid",
                        format!(
                            "the alias {alias:?} is not an origin such as https://www.example.com: {e}"
                        ),
                    )
                })
            })
            .collect()
    }

    /// Returns the scope of the crawl.
    ///
    /// # Errors
    /// `start_url_invalid`, `crawl_settings_invalid`.
    pub fn scope(&self, now: Time) -> Result<Scope> {
        let borders = Borders {
            hosts: &self.hosts,
            prefix: self.url_path_filter.as_deref(),
            include: &self.include,
            exclude: &self.exclude,
        };
        Scope::new(&self.start()?, &borders, year_of(now.0))
            .map_err(|message| Error::invalid("crawl_settings_invalid", message))
    }

    /// Returns the time between two requests to a host.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.requests_per_second)
    }
}

/// Schedule of a site's crawls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// No schedule.
    Manual,
    /// Every week, at the weekday and time at which the schedule was set.
    Weekly,
    /// Every month, at the day and time at which the schedule was set.
    Monthly,
    /// A cron expression of five fields, in UTC.
    Cron(String),
}

impl Schedule {
    /// Parses a schedule by its name.
    ///
    /// # Errors
    /// `schedule_invalid`.
    pub fn read(name: &str, cron: Option<&str>) -> Result<Self> {
        match (name, cron) {
            ("manual", None) => Ok(Self::Manual),
            ("weekly", None) => Ok(Self::Weekly),
            ("monthly", None) => Ok(Self::Monthly),
            ("cron", Some(expression)) => Ok(Self::Cron(expression.to_owned())),
            _ => Err(Error::invalid(
                "schedule_invalid",
                "schedule must be manual, weekly, monthly, or cron with an expression in cron",
            )),
        }
    }

    /// Returns the name of the schedule.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Cron(_) => "cron",
        }
    }

    /// Returns the cron expression; `None` for manual. `now` determines the day and time of weekly and monthly schedules.
    #[must_use]
    pub fn cron(&self, now: Time) -> Option<String> {
        let time = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default();
        match self {
            Self::Manual => None,
            Self::Weekly => Some(time.format("%-M %-H * * %w").to_string()),
            // Days after the 28th do not occur in every month.
            Self::Monthly => {
                let day = time
                    .format("%-d")
                    .to_string()
                    .parse::<u32>()
                    .unwrap_or(1)
                    .min(28);
                Some(format!("{} {day} * *", time.format("%-M %-H")))
            }
            Self::Cron(expression) => Some(expression.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_775_034_000_000); // 2026-04-01T09:00:00Z, a Wednesday

    #[test]
    fn schedules_keep_the_time_at_which_they_were_set() {
        assert_eq!(Schedule::Weekly.cron(NOW).as_deref(), Some("0 9 * * 3"));
        assert_eq!(Schedule::Monthly.cron(NOW).as_deref(), Some("0 9 1 * *"));
        assert_eq!(
            Schedule::read("cron", Some("5 4 * * *"))
                .expect("valid")
                .cron(NOW)
                .as_deref(),
            Some("5 4 * * *")
        );
        assert!(
            Schedule::read("weekly", Some("5 4 * * *")).is_err()
                && Schedule::read("daily", None).is_err()
        );
    }

    #[test]
    fn settings_are_checked() {
        let with = |json: serde_json::Value| {
            let settings: Settings = serde_json::from_value(json).expect("readable");
            settings.checked(NOW).map_err(|e| e.code())
        };
        let good = with(serde_json::json!({"startUrl": "HTTPS://Example.com#x"})).expect("valid");
        assert_eq!(
            (good.start_url.as_str(), good.max_pages, good.max_depth),
            ("https://example.com/", 200, 3)
        );
        assert_eq!(good, Settings::new("https://example.com/"));
        for (json, code) in [
            (
                serde_json::json!({"startUrl": "ftp://a.test/"}),
                "start_url_invalid",
            ),
            (
                serde_json::json!({"startUrl": "https://me:secret@a.test/"}),
                "start_url_invalid",
            ),
            (
                serde_json::json!({"startUrl": "words"}),
                "start_url_invalid",
            ),
            (
                serde_json::json!({"startUrl": "https://a.test/", "maxPages": 0}),
                "crawl_settings_invalid",
            ),
            (
                serde_json::json!({"startUrl": "https://a.test/", "requestsPerSecond": 0.0}),
                "crawl_settings_invalid",
            ),
            (
                serde_json::json!({"startUrl": "https://a.test/", "include": ["["]}),
                "crawl_settings_invalid",
            ),
            (
                serde_json::json!({"startUrl": "https://a.test/", "urlPathFilter": "blog"}),
                "crawl_settings_invalid",
            ),
        ] {
            assert_eq!(with(json.clone()).expect_err("invalid"), code, "{json}");
        }
    }
}
