//! The visitor of a crawl: tracks discovered and indexed pages, and stores the outcome of each visit in one transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cairn_ingest::crawl::scope::{Queries, Scope};
use cairn_ingest::crawl::{Visit, address};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::Caller;
use crate::crawl::fetch::Fetcher;
use crate::crawl::ledger::{self, Found, Memory, Verdict};
use crate::crawl::ledger::{PageState, PageVerdict};
use crate::crawl::{Crawl, Settings};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::jobs::{self, Job};
use crate::kb::documents;

/// Interval of progress reports.
const TICK: Duration = Duration::from_millis(500);

/// The visitor of one crawl.
pub(super) struct Visitor {
    pub(super) app: Arc<App>,
    pub(super) crawl: Crawl,
    pub(super) settings: Settings,
    pub(super) fetcher: Fetcher,
    job: Job,
    start: Url,
    aliases: Vec<Url>,
    pub(super) scope: Scope,
    /// Hash of the settings that decide which links of a page count. A page that was read under others is read again.
    pub(super) reading: String,
    pub(super) state: Mutex<State>,
    next_seq: AtomicI64,
    /// Pages indexed, and those being visited.
    taken: AtomicI64,
    visits: AtomicI64,
    ticked: Mutex<Instant>,
    failure: Mutex<Option<Error>>,
    /// Cancelled by a caller, or on an error that is not specific to a page.
    pub(super) halt: CancellationToken,
}

#[derive(Default)]
pub(super) struct State {
    /// Every recorded address, and whether it was skipped as `nofollow` or `too_deep`.
    seen: HashMap<String, bool>,
    /// From content hash to the address that owns the content.
    pub(super) owners: HashMap<String, String>,
    queries: Queries,
}

/// The outcome of a visit.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) links: Vec<Found>,
    pub(super) memory: Option<Memory>,
    pub(super) moved_to: Option<String>,
}

impl Outcome {
    pub(super) fn skipped(code: &str, reason: String) -> Self {
        Self::of(PageVerdict::Skipped, code, reason)
    }

    pub(super) fn of(verdict: PageVerdict, code: &str, reason: String) -> Self {
        Self {
            verdict: Verdict {
                state: PageState::Done,
                verdict,
                code: Some(code.to_owned()),
                reason: Some(reason),
                ..Verdict::default()
            },
            ..Self::default()
        }
    }
}

/// Codes of skipped addresses that are visited after all when a better path to them is found.
fn is_passed_over(code: Option<&str>) -> bool {
    matches!(code, Some("nofollow" | "too_deep"))
}

impl Visitor {
    pub(super) async fn new(
        app: &Arc<App>,
        crawl: Crawl,
        job: &Job,
        halt: CancellationToken,
    ) -> Result<Self> {
        let settings = crawl.settings()?;
        let known = ledger::known(&app.db, &crawl.id).await?;
        let contents = ledger::contents(&app.db, &crawl.id).await?;
        let waiting = ledger::unvisited(&app.db, &crawl).await?;
        let last = known.iter().map(|(_, seq, _)| *seq).max().unwrap_or(0);
        let began = crawl.started_on.unwrap_or_else(|| app.clock.now());
        let until = began.plus(Duration::from_secs(60 * app.config.crawl_minutes));
        let spent = (crawl.requests, crawl.bytes_received);
        let state = State {
            seen: known
                .into_iter()
                .map(|(url, _, code)| (url, is_passed_over(code.as_deref())))
                .collect(),
            owners: contents.iter().cloned().collect(),
            queries: Queries::default(),
        };
        Ok(Self {
            fetcher: Fetcher::new(app, &settings, &crawl.tenant_id, until, spent),
            start: settings.start()?,
            aliases: settings.alias_origins()?,
            scope: settings.scope(app.clock.now())?,
            reading: settings.reading()?,
            app: Arc::clone(app),
            job: job.clone(),
            state: Mutex::new(state),
            next_seq: AtomicI64::new(last + 1),
            taken: AtomicI64::new(i64::try_from(contents.len()).unwrap_or(i64::MAX) + waiting),
            visits: AtomicI64::new(0),
            ticked: Mutex::new(Instant::now()),
            failure: Mutex::default(),
            halt,
            settings,
            crawl,
        })
    }

    /// Returns the user-agent token that robots directives may address the crawler by.
    pub(super) fn token(&self) -> &str {
        self.app.config.crawl_token()
    }

    /// Takes the error that stopped the crawl.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns the number of visits in this process.
    pub(super) fn visits(&self) -> i64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// Returns the number of pages that may still be indexed.
    pub(super) fn remaining_pages(&self) -> i64 {
        i64::from(self.settings.max_pages) - self.taken.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of recorded addresses.
    fn most_known(&self) -> usize {
        20 * usize::try_from(self.settings.max_pages).unwrap_or(0) + 1000
    }

    /// Returns the start address.
    pub(super) fn start(&self) -> &Url {
        &self.start
    }

    /// Resolves a reference of a page or a sitemap.
    pub(super) fn resolve(&self, base: &Url, reference: &str) -> Option<Url> {
        address::resolve(base, reference, &self.start, &self.aliases)
    }

    /// Filters discovered addresses: returns those to record, new ones or ones found by a better path, each with the reason when it is to be skipped.
    pub(super) fn sort(&self, found: Vec<Found>) -> Vec<Found> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for mut candidate in found {
            if candidate.url.len() > address::LONGEST {
                // A prefix is enough for the report.
                let end = candidate.url.floor_char_boundary(200);
                candidate.url.truncate(end);
                candidate.url.push('…');
                candidate.skip = Some((
                    "trap",
                    format!("the address is longer than {} bytes", address::LONGEST),
                ));
            }
            let passed_over = state.seen.get(&candidate.url).copied();
            if passed_over == Some(false)
                || (passed_over.is_none() && state.seen.len() >= self.most_known())
            {
                continue;
            }
            if candidate.skip.is_none() && candidate.depth > i64::from(self.settings.max_depth) {
                candidate.skip = Some((
                    "too_deep",
                    format!(
                        "it is more than {} links away from the start page",
                        self.settings.max_depth
                    ),
                ));
            }
            if candidate.skip.is_none() {
                let Ok(url) = candidate.url.parse::<Url>() else {
                    continue;
                };
                let admitted = self
                    .scope
                    .admits(&url)
                    .and_then(|()| state.queries.admit(&url));
                candidate.skip = admitted.err().map(|skip| (skip.code, skip.reason));
            }
            let still = is_passed_over(candidate.skip.as_ref().map(|(code, _)| *code));
            if still && passed_over.is_some() {
                continue;
            }
            state.seen.insert(candidate.url.clone(), still);
            kept.push(candidate);
        }
        kept
    }

    /// Records addresses discovered outside of a visit.
    pub(super) async fn note(&self, found: Vec<Found>) -> Result<()> {
        let found = self.sort(found);
        let mut tx = self.app.db.begin_repeatable().await?;
        for one in &found {
            ledger::insert(
                &mut tx,
                &self.crawl,
                self.next_seq.fetch_add(1, Ordering::Relaxed),
                one,
            )
            .await?;
        }
        tx.commit().await
    }

    /// Visits one address and returns the addresses to follow.
    async fn one(&self, given: &str) -> Result<Vec<String>> {
        let Ok(url) = given.parse::<Url>() else {
            return Ok(Vec::new());
        };
        if url.as_str() != given
            && ledger::get(&self.app.db, &self.crawl.id, given)
                .await?
                .is_some()
        {
            // An address that changes when it is parsed again would stay pending forever.
            let outcome = Outcome::of(
                PageVerdict::Failed,
                "address_invalid",
                "the address changes when it is parsed again".to_owned(),
            );
            let mut tx = self.app.db.begin_repeatable().await?;
            ledger::settle(&mut tx, &self.crawl.id, given, &outcome.verdict).await?;
            tx.commit().await?;
            return Ok(Vec::new());
        }
        let Some(row) = ledger::get(&self.app.db, &self.crawl.id, url.as_str()).await? else {
            return Ok(Vec::new());
        };
        if row.state != PageState::Pending {
            return Ok(Vec::new());
        }
        self.visits.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        // Known pages count towards the limit already; other pages use the remainder.
        let is_known = ledger::memory(&self.app.db, &self.crawl, url.as_str())
            .await?
            .is_some_and(|m| m.document_id.is_some());
        let has_room = is_known
            || self.taken.fetch_add(1, Ordering::Relaxed) < i64::from(self.settings.max_pages);
        let outcome = if !has_room {
            Ok(Outcome::skipped(
                "limit",
                format!(
                    "the crawl reached its limit of {} pages",
                    self.settings.max_pages
                ),
            ))
        } else if self.fetcher.is_exhausted() {
            Ok(Outcome::skipped(
                "limit",
                "the crawl reached its request or time limit".to_owned(),
            ))
        } else {
            self.process_page(&url, &row).await
        };
        let is_taken = outcome
            .as_ref()
            .is_ok_and(|o| o.verdict.verdict.is_indexed());
        if !is_taken {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        let mut outcome = outcome?;
        outcome.verdict.millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        metrics::counter!("cairn_crawl_pages_total", "verdict" => outcome.verdict.verdict.as_str())
            .increment(1);
        self.record(&url, outcome).await
    }

    /// Stores the outcome of a visit and returns the addresses to follow.
    async fn record(&self, url: &Url, outcome: Outcome) -> Result<Vec<String>> {
        let found = self.sort(outcome.links);
        let mut tx = self.app.db.begin_repeatable().await?;
        if let Some(to) = &outcome.moved_to {
            ledger::follow_move(&mut tx, &self.crawl, url, to).await?;
        }
        let noted = ledger::settle(&mut tx, &self.crawl.id, url.as_str(), &outcome.verdict).await?;
        if noted == 0 {
            // The site was deleted during the crawl: nothing of it may stay.
            drop(tx);
            return self.take_back(&outcome.verdict).await;
        }
        if let Some(memory) = &outcome.memory {
            ledger::remember(&mut tx, &self.crawl, memory).await?;
        }
        for one in &found {
            ledger::insert(
                &mut tx,
                &self.crawl,
                self.next_seq.fetch_add(1, Ordering::Relaxed),
                one,
            )
            .await?;
        }
        jobs::progressed(&mut tx, &self.crawl.tenant_id, &self.job.id).await?;
        tx.commit().await?;
        let is_time = {
            let mut ticked = self.ticked.lock().unwrap_or_else(PoisonError::into_inner);
            let due = ticked.elapsed() >= TICK;
            if due {
                *ticked = Instant::now();
            }
            due
        };
        if is_time {
            self.report_progress().await?;
        }
        if self.is_tight() {
            // The order of discovery decides which addresses are visited, not the order of the walk.
            return Ok(Vec::new());
        }
        Ok(found
            .into_iter()
            .filter(|f| f.skip.is_none())
            .map(|f| f.url)
            .collect())
    }

    /// Returns whether more addresses are recorded than pages may be indexed.
    pub(super) fn is_tight(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        i64::try_from(state.seen.len()).unwrap_or(i64::MAX) > i64::from(self.settings.max_pages)
    }

    /// Deletes the document added for a crawl that no longer exists, and returns an error to end the visit.
    async fn take_back(&self, verdict: &Verdict) -> Result<Vec<String>> {
        if let Some(id) = verdict
            .document_id
            .as_ref()
            .filter(|_| verdict.verdict == PageVerdict::New)
        {
            let caller = Caller::local(&self.crawl.tenant_id);
            match documents::delete(&self.app, &caller, &self.crawl.dataset_id, id).await {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(Error::unavailable("cancelled", "the crawl was deleted"))
    }

    /// Updates the counters, and appends an event when they have changed.
    pub(super) async fn report_progress(&self) -> Result<()> {
        let (requests, bytes) = self.fetcher.spent();
        let counts = ledger::count(&self.app.db, &self.crawl.id).await?;
        let before = super::crawls::load(&self.app, &self.crawl.tenant_id, &self.crawl.id).await?;
        let mut tx = self.app.db.begin_repeatable().await?;
        ledger::update_counters(&mut tx, &self.crawl, counts, requests, bytes).await?;
        tx.commit().await?;
        let after = super::crawls::load(&self.app, &self.crawl.tenant_id, &self.crawl.id).await?;
        let (Some(before), Some(after)) = (before, after) else {
            return Err(Error::unavailable("cancelled", "the crawl was deleted"));
        };
        if before.changed() != after.changed() {
            let mut tx = self.app.db.begin_repeatable().await?;
            events::append(&mut tx, &self.app.clock, &after.tenant_id, &after.changed()).await?;
            tx.commit().await?;
            self.app.commits.notify();
        }
        Ok(())
    }
}

#[async_trait]
impl Visit for Visitor {
    async fn visit(&self, address: &str) -> Vec<String> {
        if self.halt.is_cancelled() {
            return Vec::new();
        }
        match self.one(address).await {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(crawl.id = %self.crawl.id, error = %error, "a crawl stopped");
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                self.halt.cancel();
                Vec::new()
            }
        }
    }
}
