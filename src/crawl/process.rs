//! One visit: fetches an address and decides its outcome from the answer and from what earlier crawls have stored of it.

use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Url;

use crate::clock::Time;
use crate::crawl::Seen;
use crate::crawl::content::{Held, Visit};
use crate::crawl::fetch::{Answer, Validators};
use crate::crawl::ledger::PageVerdict;
use crate::crawl::ledger::{self, Found, Memory};
use crate::crawl::visit::{Outcome, Visitor};
use crate::error::Result;
use crate::kb::documents::DocumentStatus;
use crate::kb::documents::{self};

/// Most redirects in a row.
const HOPS: i64 = 10;
/// Time after which a page is fetched even if its sitemap reports it as unchanged.
const TRUST: Duration = Duration::from_secs(7 * 24 * 3600);
impl Visitor {
    /// Fetches an address and decides its outcome.
    pub(super) async fn process_page(&self, url: &Url, row: &Seen) -> Result<Outcome> {
        let now = self.app.clock.now();
        let memory = ledger::memory(&self.app.db, &self.crawl, url.as_str()).await?;
        // Only a page with an intact document counts as known; a known copy is handled separately.
        let known = match &memory {
            Some(m) if self.document_exists(m).await? => memory.clone(),
            _ => None,
        };
        // A document that failed to ingest still belongs to the page and is removed with it.
        let held = memory.as_ref().and_then(|m| {
            Some(Held {
                document_id: m.document_id.clone()?,
                content_hash: m.content_hash.clone(),
            })
        });
        let copy = memory
            .clone()
            .filter(|m| known.is_none() && m.copy_of.is_some() && !row.forced);
        // Other settings let other links of a page through.
        let is_current = |memory: &Memory| memory.reading == self.reading;
        if let (Some(known), Some(modified)) = (&known, row.modified_on)
            && known.gone_since.is_none()
            && is_current(known)
            && !self.settings.render
            && modified < known.checked_on
            && now.since(known.checked_on) < TRUST
        {
            let mut outcome = self.unchanged(
                known.clone(),
                row,
                None,
                "sitemap",
                "unchanged according to the sitemap",
            );
            // Without a request, the time of the last check stays.
            outcome.memory = None;
            return Ok(outcome);
        }
        // With rendering, validators of the server do not cover what scripts add to the page.
        let asked = known
            .as_ref()
            .or(copy.as_ref())
            .filter(|asked| !self.settings.render && is_current(asked));
        let validators = asked.map(|k| Validators {
            etag: k.etag.clone(),
            last_modified: k.last_modified.clone(),
        });
        let answer = self
            .fetcher
            .get(url, &validators.unwrap_or_default())
            .await?;
        let mut outcome = match answer {
            Answer::Forbidden(code, reason) => Outcome::skipped(code, reason),
            Answer::Failed(code, reason, status) => {
                let mut outcome = Outcome::of(PageVerdict::Failed, code, reason);
                outcome.verdict.http_status = status;
                outcome
            }
            Answer::Moved {
                status,
                to,
                permanent,
            } => {
                let mut outcome = self.moved(
                    url,
                    row,
                    &to,
                    permanent,
                    &format!("the server returned {status}"),
                );
                outcome.verdict.http_status = Some(status);
                outcome
            }
            Answer::Unchanged => match (known, copy) {
                (None, Some(copy)) => self.still_a_copy(copy, row, now),
                (Some(known), _) => {
                    let mut outcome = self.unchanged(
                        known,
                        row,
                        Some(now),
                        "not_modified",
                        "the server returned 304",
                    );
                    outcome.verdict.http_status = Some(304);
                    outcome
                }
                (None, None) => Outcome::of(
                    PageVerdict::Failed,
                    "status",
                    "the server returned 304 to an unconditional request".to_owned(),
                ),
            },
            Answer::Gone(status) => {
                let mut outcome = Outcome::of(
                    PageVerdict::Failed,
                    "gone",
                    format!("the server returned {status}"),
                );
                outcome.verdict.http_status = Some(status);
                outcome.memory = memory.map(|m| Memory {
                    gone_since: m.gone_since.or(Some(now)),
                    checked_on: now,
                    ..m
                });
                outcome
            }
            Answer::OtherType(kind) => {
                let mut outcome = Outcome::skipped(
                    "type",
                    format!("{kind} is not crawled; enable files to crawl documents"),
                );
                outcome.verdict.http_status = Some(200);
                outcome.verdict.content_type = Some(kind);
                outcome
            }
            Answer::Page(head, bytes) => {
                let visit = Visit {
                    url,
                    row,
                    known,
                    held,
                    head: &head,
                };
                self.page(visit, bytes).await?
            }
            Answer::File(head, stored) => {
                let visit = Visit {
                    url,
                    row,
                    known,
                    held,
                    head: &head,
                };
                self.file(visit, stored).await?
            }
        };
        // The stored depth is that of the current discovery path.
        if let Some(memory) = &mut outcome.memory {
            memory.depth = row.depth;
        }
        Ok(outcome)
    }

    /// Returns whether the document of a page exists and did not fail.
    async fn document_exists(&self, memory: &Memory) -> Result<bool> {
        let Some(id) = &memory.document_id else {
            return Ok(false);
        };
        let document = documents::load(&self.app.db, &self.crawl.tenant_id, id).await?;
        Ok(document.is_some_and(|d| d.status != DocumentStatus::Error))
    }

    fn unchanged(
        &self,
        known: Memory,
        row: &Seen,
        asked: Option<Time>,
        code: &str,
        reason: &str,
    ) -> Outcome {
        let mut outcome = Outcome::of(PageVerdict::Unchanged, code, reason.to_owned());
        if let Some(hash) = &known.content_hash {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.owners.insert(hash.clone(), known.url.clone());
        }
        outcome.verdict.content_hash.clone_from(&known.content_hash);
        outcome.verdict.document_id.clone_from(&known.document_id);
        let links: Vec<String> = serde_json::from_str(&known.links).unwrap_or_default();
        outcome.links = links.into_iter().map(|url| next(url, row, None)).collect();
        outcome.memory = Some(Memory {
            checked_on: asked.unwrap_or(known.checked_on),
            gone_since: None,
            ..known
        });
        outcome
    }

    /// Returns the outcome of a copy that has not changed.
    fn still_a_copy(&self, copy: Memory, row: &Seen, now: Time) -> Outcome {
        let other = copy.copy_of.clone().unwrap_or_default();
        let mut outcome = Outcome::skipped("duplicate", format!("a copy of {other}"));
        outcome.verdict.other_url = Some(other.clone());
        outcome.verdict.http_status = Some(304);
        outcome.verdict.content_hash.clone_from(&copy.content_hash);
        let links: Vec<String> = serde_json::from_str(&copy.links).unwrap_or_default();
        outcome.links = links.into_iter().map(|url| next(url, row, None)).collect();
        // The original may be linked from here only.
        outcome.links.push(Found {
            depth: row.depth,
            hops: row.hops + 1,
            ..next(other, row, None)
        });
        outcome.memory = Some(Memory {
            checked_on: now,
            gone_since: None,
            ..copy
        });
        outcome
    }

    /// Returns the outcome of a redirect, by status or by a refresh in the page.
    pub(super) fn moved(
        &self,
        url: &Url,
        row: &Seen,
        to: &str,
        permanent: bool,
        how: &str,
    ) -> Outcome {
        let code = if permanent { "moved" } else { "redirected" };
        let Some(target) = self.resolve(url, to) else {
            return Outcome::of(
                PageVerdict::Failed,
                "redirect_invalid",
                format!("{how} and points to {to:?}, which is not a web address"),
            );
        };
        if target == *url {
            return Outcome::of(
                PageVerdict::Failed,
                "redirect_loop",
                format!("{how} and points to itself"),
            );
        }
        if row.hops >= HOPS {
            return Outcome::of(
                PageVerdict::Failed,
                "redirect_loop",
                format!("{how}, redirect number {} in a row", row.hops + 1),
            );
        }
        let mut outcome = match self.scope.admits(&target) {
            Ok(()) => Outcome::skipped(code, format!("{how} and points to {target}")),
            Err(skip) => Outcome::skipped(
                code,
                format!(
                    "{how} and points to {target}, which is not part of the crawl: {}",
                    skip.reason
                ),
            ),
        };
        outcome.verdict.other_url = Some(target.to_string());
        outcome.moved_to = permanent.then(|| target.to_string());
        outcome.links = vec![Found {
            url: target.into(),
            depth: row.depth,
            hops: row.hops + 1,
            found_on: Some(row.url.clone()),
            modified_on: None,
            skip: None,
        }];
        outcome
    }
}

/// Returns a link of a page as a discovered address.
pub(super) fn next(url: String, row: &Seen, skip: Option<(&'static str, String)>) -> Found {
    Found {
        url,
        depth: row.depth + 1,
        hops: 0,
        found_on: Some(row.url.clone()),
        modified_on: None,
        skip,
    }
}
