//! The job of a crawl: reads sitemaps, walks links, revisits known pages and copies of failed pages, waits for ingestion, and removes vanished pages. Every
//! step starts from the rows, so an interrupted crawl resumes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cairn_ingest::crawl::{Visit, sitemap, walk};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::crawl::crawls::CrawlStatus;
use crate::crawl::ledger::{self, Found};
use crate::crawl::visit::Visitor;
use crate::crawl::{crawls, sites};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::kb::documents;

/// Sitemaps read per crawl.
const SITEMAPS: usize = 50;
/// Addresses per walk.
const BATCH: i64 = 2000;
/// Times that addresses skipped for the page limit are requeued because other pages turned out not to count.
const REFILLS: usize = 20;

/// Starts a scheduled crawl of a site; does nothing while one is running.
pub(crate) async fn recrawl(app: &App, tenant_id: &str, site_id: &str) -> Result<()> {
    let Some(site) = sites::load(app, tenant_id, site_id).await? else {
        return Ok(());
    };
    let mut tx = app.db.begin().await?;
    match crawls::start_in(app, &mut tx, &site, None).await {
        Ok(_) => app.commit(tx).await?,
        Err(error) if error.code() == "crawl_running" => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Ends a crawl whose job was cancelled or has failed for good.
pub(crate) async fn failed(
    app: &App,
    tenant_id: &str,
    crawl_id: &str,
    cancelled: bool,
    message: &str,
) -> Result<()> {
    let Some(crawl) = crawls::load(app, tenant_id, crawl_id).await? else {
        return Ok(());
    };
    let mut tx = app.db.begin_repeatable().await?;
    // Pages already passed to ingestion are still ingested.
    ledger::settle_ingested(&mut tx, &crawl).await?;
    tx.commit().await?;
    let counts = ledger::count(&app.db, &crawl.id).await?;
    let mut tx = app.db.begin_repeatable().await?;
    let (requests, bytes) = (crawl.requests, crawl.bytes_received);
    ledger::update_counters(&mut tx, &crawl, counts, requests, bytes).await?;
    tx.commit().await?;
    let (status, message) = if cancelled {
        (CrawlStatus::Cancelled, "the crawl was cancelled")
    } else {
        (CrawlStatus::Failed, message)
    };
    crawls::move_to(app, tenant_id, crawl_id, status, Some(message)).await?;
    Ok(())
}

/// Runs a crawl.
pub(crate) async fn run(
    app: &Arc<App>,
    job: &Job,
    crawl_id: &str,
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = job.tenant_id.as_str();
    let Some(crawl) = crawls::load(app, tenant_id, crawl_id).await? else {
        return Ok(());
    };
    if crawl.is_over() || sites::load(app, tenant_id, &crawl.site_id).await?.is_none() {
        return Ok(());
    }
    crawls::move_to(app, tenant_id, crawl_id, CrawlStatus::Running, None).await?;
    let visitor = Arc::new(Visitor::new(app, crawl, job, cancel.child_token()).await?);
    let outcome = tokio::select! {
        outcome = steps(&visitor) => outcome,
        () = visitor.halt.cancelled() => Err(Error::unavailable("cancelled", "the crawl was cancelled")),
    };
    match visitor.failure() {
        // The dataset was deleted during the crawl.
        Some(error) if error.code() == "dataset_not_found" => Ok(()),
        Some(error) => Err(error),
        None => outcome,
    }
}

async fn steps(visitor: &Arc<Visitor>) -> Result<()> {
    let start = visitor.start().clone();
    visitor.note(vec![found(&start, 0)]).await?;
    if visitor.settings.sitemaps {
        read_sitemaps(visitor, &start).await?;
    }
    rounds(visitor).await?;
    // Known pages that no link leads to are visited too, to detect that they are gone; unless the whole site did not answer.
    visitor.report_progress().await?;
    let crawl = current(visitor).await?;
    if crawl.pages_crawled > 0 {
        let unvisited_pages = ledger::unvisited_pages(&visitor.app.db, &visitor.crawl).await?;
        let deepest = i64::from(visitor.settings.max_depth);
        let unvisited_pages = unvisited_pages
            .into_iter()
            .filter_map(|(url, depth)| Some(found(&url.parse().ok()?, depth.min(deepest))));
        visitor.note(unvisited_pages.collect()).await?;
        rounds(visitor).await?;
    }
    wait_for_ingestion(visitor).await?;
    // Terminates: each address is forced at most once.
    loop {
        let mut tx = visitor.app.db.begin_repeatable().await?;
        let forced = ledger::force_copies(&mut tx, &visitor.crawl).await?;
        tx.commit().await?;
        if forced == 0 {
            break;
        }
        rounds(visitor).await?;
        wait_for_ingestion(visitor).await?;
    }
    remove_vanished(visitor).await?;
    finish(visitor).await
}

fn found(url: &Url, depth: i64) -> Found {
    Found {
        url: url.to_string(),
        depth,
        hops: 0,
        found_on: None,
        modified_on: None,
        skip: None,
    }
}

async fn current(visitor: &Visitor) -> Result<crawls::Crawl> {
    let crawl = crawls::load(&visitor.app, &visitor.crawl.tenant_id, &visitor.crawl.id).await?;
    crawl.ok_or_else(|| Error::unavailable("cancelled", "the crawl was deleted"))
}

/// Records the addresses in the sitemaps that robots.txt lists, or in `/sitemap.xml` when it lists none.
async fn read_sitemaps(visitor: &Visitor, start: &Url) -> Result<()> {
    let named = visitor.fetcher.sitemaps(start).await;
    let mut queue: VecDeque<Url> = named
        .iter()
        .filter_map(|s| visitor.resolve(start, s))
        .collect();
    if queue.is_empty() {
        queue.extend(start.join("/sitemap.xml").ok());
    }
    let most = 10 * usize::try_from(visitor.settings.max_pages).unwrap_or(0) + 100;
    let (mut read, mut pages) = (0, 0);
    let mut seen: Vec<Url> = queue.iter().cloned().collect();
    while let Some(url) = queue.pop_front() {
        if read >= SITEMAPS || pages >= most {
            break;
        }
        read += 1;
        let Some(bytes) = visitor.fetcher.sitemap(&url).await else {
            continue;
        };
        let Some(sitemap) = tokio::task::spawn_blocking(move || sitemap::parse(&bytes)).await?
        else {
            continue;
        };
        for further in sitemap
            .sitemaps
            .iter()
            .filter_map(|s| visitor.resolve(&url, s))
        {
            if seen.len() < SITEMAPS && !seen.contains(&further) {
                seen.push(further.clone());
                queue.push_back(further);
            }
        }
        let mut entries = Vec::new();
        let mut times = BTreeMap::new();
        for entry in sitemap.pages.into_iter().take(most - pages) {
            let Some(page) = visitor.resolve(&url, &entry.address) else {
                continue;
            };
            pages += 1;
            if let Some(at) = entry.modified {
                times.insert(page.to_string(), Time(at));
            }
            entries.push(Found {
                found_on: Some(url.to_string()),
                modified_on: entry.modified.map(Time),
                ..found(&page, 1)
            });
        }
        visitor.note(entries).await?;
        let mut tx = visitor.app.db.begin_repeatable().await?;
        for (page, at) in times {
            ledger::modified(&mut tx, &visitor.crawl.id, &page, at).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Walks until no address is pending.
async fn rounds(visitor: &Arc<Visitor>) -> Result<()> {
    let (db, crawl) = (&visitor.app.db, &visitor.crawl);
    let concurrency = usize::try_from(visitor.settings.concurrency).unwrap_or(1);
    let mut refills = 0;
    loop {
        // When there are more addresses than the page limit, they are visited in the order of discovery.
        let room = visitor.remaining_pages();
        let batch = if visitor.is_tight() && room > 0 {
            room.min(BATCH)
        } else {
            BATCH
        };
        // Known pages first: they determine how many new pages still fit.
        let mut pending = ledger::pending_known(db, crawl, BATCH).await?;
        if pending.is_empty() {
            pending = ledger::pending(db, &crawl.id, batch).await?;
        }
        if pending.is_empty() {
            if refills >= REFILLS
                || visitor.remaining_pages() <= 0
                || visitor.fetcher.is_exhausted()
            {
                return Ok(());
            }
            let mut tx = db.begin_repeatable().await?;
            let requeued =
                ledger::requeue_skipped(&mut tx, crawl, visitor.remaining_pages()).await?;
            tx.commit().await?;
            if requeued == 0 {
                return Ok(());
            }
            refills += 1;
            continue;
        }
        let before = visitor.visits();
        let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for url in &pending {
            let parsed = url.parse::<Url>();
            let origin = parsed.map(|u| u.origin().ascii_serialization());
            hosts
                .entry(origin.unwrap_or_default())
                .or_default()
                .push(url.clone());
        }
        for addresses in hosts.into_values() {
            walk(
                addresses,
                concurrency,
                Arc::clone(visitor) as Arc<dyn Visit>,
            )
            .await;
        }
        if visitor.visits() == before {
            // Addresses that the walk rejects are visited directly.
            for url in &pending {
                visitor.visit(url).await;
            }
        }
        if visitor.halt.is_cancelled() {
            return Err(Error::unavailable("cancelled", "the crawl was cancelled"));
        }
    }
}

/// Waits until every page passed to ingestion is searchable or has failed.
async fn wait_for_ingestion(visitor: &Visitor) -> Result<()> {
    let app = &visitor.app;
    let mut commits_seen = app.commits.subscribe();
    loop {
        commits_seen.mark_unchanged();
        let mut tx = app.db.begin_repeatable().await?;
        let waiting = ledger::settle_ingested(&mut tx, &visitor.crawl).await?;
        tx.commit().await?;
        visitor.report_progress().await?;
        if waiting == 0 {
            return Ok(());
        }
        // At most two polls per second, however often commits are signalled.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), commits_seen.changed()).await;
    }
}

async fn remove_vanished(visitor: &Visitor) -> Result<()> {
    if !visitor.settings.remove_vanished {
        return Ok(());
    }
    let (app, crawl) = (&visitor.app, &visitor.crawl);
    let grace = Duration::from_secs(u64::from(visitor.settings.vanished_grace_days) * 24 * 3600);
    let caller = Caller::local(&crawl.tenant_id);
    for (url, document_id) in ledger::vanished(&app.db, crawl, app.clock.now().minus(grace)).await?
    {
        match documents::delete(app, &caller, &crawl.dataset_id, &document_id).await {
            Ok(_) => {}
            // Deleted concurrently.
            Err(error) if error.code() == "document_not_found" => {}
            Err(error) => return Err(error),
        }
        let mut tx = app.db.begin_repeatable().await?;
        ledger::forget(&mut tx, crawl, &url).await?;
        tx.execute(
            "UPDATE kb_crawls SET pages_removed = pages_removed + 1 WHERE tenant_id = $1 AND id = $2",
            crate::db::args![&crawl.tenant_id, &crawl.id],
        )
        .await?;
        jobs::progressed(&mut tx, &crawl.tenant_id, &crawl.job_id).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn finish(visitor: &Visitor) -> Result<()> {
    visitor.report_progress().await?;
    let crawl = current(visitor).await?;
    let (status, message) = if crawl.pages_indexed > 0 {
        (CrawlStatus::Completed, None)
    } else {
        (CrawlStatus::Failed, Some(explain(visitor).await?))
    };
    crawls::move_to(
        &visitor.app,
        &crawl.tenant_id,
        &crawl.id,
        status,
        message.as_deref(),
    )
    .await?;
    Ok(())
}

/// Returns why a crawl indexed nothing, in one sentence.
async fn explain(visitor: &Visitor) -> Result<String> {
    let db = &visitor.app.db;
    let start = ledger::get(db, &visitor.crawl.id, visitor.start().as_str()).await?;
    let reasons = ledger::reasons(db, &visitor.crawl.id).await?;
    if let Some(start) = start.filter(|_| reasons.iter().map(|(_, _, n)| n).sum::<i64>() <= 2)
        && let Some(reason) = start.reason
    {
        return Ok(format!("nothing was indexed: {} ({reason})", start.url));
    }
    let list: Vec<String> = reasons
        .iter()
        .map(|(code, reason, count)| format!("{count} × {code} ({reason})"))
        .collect();
    Ok(format!("nothing was indexed: {}", list.join("; ")))
}
