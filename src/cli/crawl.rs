//! `cairn crawl`: crawls a website into a dataset of a data directory or a server, and reports the outcome of every address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{Done, Global, Remote, output};
use crate::api::native::crawls::{CrawlRecord, PageVerdict};
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::background;
use crate::crawl::{Schedule, Settings, crawls, sites};
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::{self, NewDataset};
use crate::page::Page;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn crawl https://example.com/docs/ --dataset docs
  cairn crawl https://example.com --dataset web --path /blog --max-pages 1000 --depth 5 --files
  cairn crawl https://example.com --dataset web --exclude '/**/print' --report
  cairn crawl http://127.0.0.1:8000 --dataset local --set outgoing_allow=127.0.0.0/8
  cairn crawl https://example.com --dataset web --url http://127.0.0.1:7700 --key cairn_… --schedule weekly

A repeated crawl fetches only pages that may have changed and embeds only changed content. Missing pages are removed from the dataset. robots.txt, robots
directives and nofollow are respected. Private and loopback addresses are rejected unless outgoing_allow permits them. The dataset is created if it does
not exist. Exit code 1: nothing was indexed (the reason is printed); 3: some pages failed.")]
pub(super) struct CrawlArgs {
    /// Start URL
    #[arg(value_name = "URL")]
    start: String,
    /// Dataset name or ID
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Maximum number of pages
    #[arg(long, default_value_t = 200, value_name = "N")]
    max_pages: u32,
    /// Maximum link depth from the start URL
    #[arg(long, default_value_t = 3, value_name = "N")]
    depth: u32,
    /// Path prefix of pages, for example /blog
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Additional host: docs.example.com or *.example.com; repeatable
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Alternative origin of the same site; repeatable
    #[arg(long, value_name = "ORIGIN")]
    alias: Vec<String>,
    /// Crawl only paths that match this pattern, for example /docs/**; repeatable
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Skip paths that match this pattern; repeatable
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Also index linked PDF and Office files
    #[arg(long)]
    files: bool,
    /// Requests per second per host
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    rate: f64,
    /// Concurrent requests
    #[arg(long, default_value_t = 4, value_name = "N")]
    concurrency: u32,
    /// Do not use sitemaps
    #[arg(long)]
    no_sitemaps: bool,
    /// Ignore robots.txt, robots directives and nofollow; use only for your own sites
    #[arg(long)]
    ignore_robots: bool,
    /// Keep documents of pages that no longer exist
    #[arg(long)]
    keep_vanished: bool,
    /// Render pages with the configured endpoint (setting `render_url`)
    #[arg(long)]
    render: bool,
    /// Recrawl schedule, applied while a server runs: manual, weekly, monthly or a cron expression in UTC
    #[arg(long, value_name = "WHEN")]
    schedule: Option<String>,
    /// Print the result for every URL
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    remote: Remote,
}

impl CrawlArgs {
    fn settings(&self) -> Settings {
        Settings {
            max_pages: self.max_pages,
            max_depth: self.depth,
            url_path_filter: self.path.clone(),
            hosts: self.host.clone(),
            aliases: self.alias.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            files: self.files,
            sitemaps: !self.no_sitemaps,
            respect_robots: !self.ignore_robots,
            respect_meta: !self.ignore_robots,
            respect_nofollow: !self.ignore_robots,
            requests_per_second: self.rate,
            concurrency: self.concurrency,
            remove_vanished: !self.keep_vanished,
            render: self.render,
            ..Settings::new(&self.start)
        }
    }
}

/// Returns the name and the cron expression of a schedule: manual, weekly, monthly or an expression.
pub(super) fn schedule(when: &str) -> (&str, Option<&str>) {
    if ["manual", "weekly", "monthly"].contains(&when) {
        (when, None)
    } else {
        ("cron", Some(when))
    }
}

/// Where the crawl runs; both variants return the API's JSON.
enum Place {
    Here {
        app: Arc<App>,
        caller: Box<Caller>,
        dataset: String,
    },
    There {
        client: Client,
        dataset: String,
    },
}

pub(super) async fn run(global: &Global, args: CrawlArgs) -> Result<Done> {
    if let Some(client) = Client::find(global, &args.remote)? {
        let dataset = client
            .dataset_or_new(&args.dataset, &json!({"name": args.dataset}))
            .await?;
        return follow(global, &args, &Place::There { client, dataset }).await;
    }
    let app = global.app().await?;
    app.embedder_with(output::downloads(global.json)).await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    // Reports invalid settings before anything is created.
    app.outgoing
        .check(&args.settings().checked(app.clock.now())?.start()?)?;
    let dataset = match datasets::by_name(&app, &caller, &args.dataset).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let new = NewDataset {
                name: args.dataset.clone(),
                ..NewDataset::default()
            };
            datasets::create(&app, &caller, new).await?.id
        }
        found => found?.id,
    };
    app.engine().await?;
    let stop = CancellationToken::new();
    let tasks = background::start(&app, true, &stop);
    let place = Place::Here {
        app: Arc::clone(&app),
        caller: Box::new(caller),
        dataset,
    };
    let outcome = follow(global, &args, &place).await;
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    app.db.close().await;
    outcome
}

impl Place {
    async fn begin(&self, args: &CrawlArgs) -> Result<Value> {
        let settings = args.settings();
        match self {
            Self::Here {
                app,
                caller,
                dataset,
            } => {
                let site = sites::put(app, caller, dataset, settings).await?;
                if let Some((name, cron)) = args.schedule.as_deref().map(schedule) {
                    let schedule = Schedule::read(name, cron)?;
                    sites::schedule(app, caller, dataset, &site.id, &schedule).await?;
                }
                let crawl = match crawls::last(app, &site).await? {
                    // A crawl interrupted by a crash or by the user is resumed when its settings are the same.
                    Some(last)
                        if !last.is_over()
                            && last.scheduled_for.is_none()
                            && last.settings == site.settings =>
                    {
                        last
                    }
                    Some(last) if !last.is_over() => {
                        crawls::cancel(app, caller, dataset, &last.id).await?;
                        while !crawls::get(app, caller, dataset, &last.id).await?.is_over() {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                        crawls::start(app, caller, dataset, &site.id, None).await?
                    }
                    _ => crawls::start(app, caller, dataset, &site.id, None).await?,
                };
                Ok(serde_json::to_value(CrawlRecord::of(crawl)?)?)
            }
            Self::There { client, dataset } => {
                let sites = format!("/kb/v1/datasets/{dataset}/sites");
                let site = Client::send(client.put(&sites).json(&settings)).await?;
                let id = site["id"].as_str().unwrap_or_default();
                if let Some((name, cron)) = args.schedule.as_deref().map(schedule) {
                    let body = json!({"schedule": name, "cron": cron});
                    Client::send(client.put(&format!("{sites}/{id}/schedule")).json(&body)).await?;
                }
                Client::send(
                    client
                        .post(&format!("{sites}/{id}/crawls"))
                        .json(&json!({})),
                )
                .await
            }
        }
    }

    async fn crawl(&self, id: &str) -> Result<Value> {
        match self {
            Self::Here {
                app,
                caller,
                dataset,
            } => {
                let crawl = crawls::get(app, caller, dataset, id).await?;
                Ok(serde_json::to_value(CrawlRecord::of(crawl)?)?)
            }
            Self::There { client, dataset } => {
                Client::send(client.get(&format!("/kb/v1/datasets/{dataset}/crawls/{id}"))).await
            }
        }
    }

    async fn pages(&self, id: &str) -> Result<Vec<Value>> {
        match self {
            Self::Here {
                app,
                caller,
                dataset,
            } => {
                let crawl = crawls::get(app, caller, dataset, id).await?;
                let (mut all, mut cursor) = (Vec::new(), None::<String>);
                loop {
                    let page = Page::read(Some(500), cursor.as_deref(), 500)?;
                    let found = crawls::pages(app, caller, &crawl, None, &page).await?;
                    for seen in found.items {
                        all.push(serde_json::to_value(PageVerdict::from(seen))?);
                    }
                    match found.next {
                        Some(next) => cursor = Some(next),
                        None => return Ok(all),
                    }
                }
            }
            Self::There { client, dataset } => {
                client
                    .all(&format!("/kb/v1/datasets/{dataset}/crawls/{id}/pages"))
                    .await
            }
        }
    }
}

fn number(crawl: &Value, name: &str) -> i64 {
    crawl[name].as_i64().unwrap_or(0)
}

fn show(bar: &ProgressBar, crawl: &Value, most: u32) {
    let seen = number(crawl, "pagesCrawled");
    bar.set_length(u64::from(most).max(seen.unsigned_abs()));
    bar.set_position(seen.unsigned_abs());
    bar.set_message(format!(
        "{} indexed, {} skipped, {} failed",
        number(crawl, "pagesIndexed"),
        number(crawl, "pagesSkipped"),
        number(crawl, "pagesFailed")
    ));
}

/// Starts the crawl and follows it until it ends.
async fn follow(global: &Global, args: &CrawlArgs, place: &Place) -> Result<Done> {
    let mut crawl = place.begin(args).await?;
    let id = crawl["id"].as_str().unwrap_or_default().to_owned();
    let bar = output::bar(
        0,
        global.json,
        "crawled {pos}/{len} {wide_bar} {msg} {elapsed}",
    );
    while matches!(crawl["status"].as_str(), Some("queued" | "running")) {
        show(&bar, &crawl, args.max_pages);
        tokio::time::sleep(Duration::from_millis(300)).await;
        crawl = place.crawl(&id).await?;
    }
    bar.finish_and_clear();
    let pages = place.pages(&id).await?;
    report(global, args, &crawl, &pages)
}

fn report(global: &Global, args: &CrawlArgs, crawl: &Value, pages: &[Value]) -> Result<Done> {
    let failed = number(crawl, "pagesFailed");
    if global.json {
        println!("{}", json!({"crawl": crawl, "pages": pages}));
    } else {
        if args.report {
            let word =
                |page: &Value, name: &str| page[name].as_str().unwrap_or_default().to_owned();
            for page in pages {
                let why = word(page, "reason");
                let line = format!("{:<9} {}  {why}", word(page, "verdict"), word(page, "url"));
                println!("{}", line.trim_end());
            }
        } else {
            let mut reasons: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
            for page in pages
                .iter()
                .filter(|p| matches!(p["verdict"].as_str(), Some("skipped" | "failed")))
            {
                let word = |name: &str| page[name].as_str().unwrap_or_default().to_owned();
                let entry = reasons
                    .entry((word("verdict"), word("code")))
                    .or_insert_with(|| (0, word("url")));
                entry.0 += 1;
            }
            for ((verdict, code), (count, example)) in reasons {
                println!("{verdict:<8} {count:>5}  {code} (e.g. {example})");
            }
        }
        let took = crawl_seconds(crawl);
        println!(
            "{} pages indexed: {} new, {} changed, {} unchanged; {} skipped, {failed} failed, {} removed; {} requests, {:.1} MB in {took:.1} s",
            number(crawl, "pagesIndexed"),
            number(crawl, "pagesNew"),
            number(crawl, "pagesChanged"),
            number(crawl, "pagesUnchanged"),
            number(crawl, "pagesSkipped"),
            number(crawl, "pagesRemoved"),
            number(crawl, "requests"),
            number(crawl, "bytesReceived") as f64 / 1e6,
        );
    }
    if crawl["status"] != "completed" {
        let message = crawl["errorMessage"]
            .as_str()
            .unwrap_or("the crawl failed")
            .to_owned();
        return Err(Error::unprocessable("crawl_failed", message));
    }
    Ok(if failed == 0 { Done::All } else { Done::Part })
}

fn crawl_seconds(crawl: &Value) -> f64 {
    let at = |name: &str| {
        crawl[name]
            .as_str()
            .and_then(|t| chrono::DateTime::parse_from_rfc3339(t).ok())
    };
    match (at("startedOn"), at("completedOn")) {
        (Some(from), Some(to)) => (to - from).num_milliseconds() as f64 / 1000.0,
        _ => 0.0,
    }
}
