//! One visit: fetches an address, reads its directives, decides the outcome and passes the content to ingestion.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_ingest::crawl::address;
use cairn_ingest::crawl::page::{self, Directives};
use cairn_ingest::{Format, Input, parse};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::auth::Caller;
use crate::blobs::Stored;
use crate::clock::Time;
use crate::crawl::fetch::{Answer, Head, Validators};
use crate::crawl::ledger::{self, Found, Memory, Verdict};
use crate::crawl::visit::{Outcome, Visitor};
use crate::crawl::{Seen, render};
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::ChunkSettings;
use crate::kb::documents::{self, NewDocument, UploadPolicy};
use crate::kb::parser::Given;

/// Most redirects in a row.
const HOPS: i64 = 10;
/// Time after which a page is fetched even if its sitemap reports it as unchanged.
const TRUST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Links stored per page.
const LINKS: usize = 2000;

/// The outcome of fetching a page.
enum PageOutcome {
    /// A new or changed document.
    Document(String, &'static str),
    /// The content is that of the existing document.
    Unchanged,
    /// Another address has the same content.
    Copy(String),
    /// Code and sentence.
    Failed(String, String),
    /// Code and sentence.
    Skipped(&'static str, String),
}

/// The document that a page already has, and the hash of the content it was made from.
struct Held {
    document_id: String,
    content_hash: Option<String>,
}

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
        if let (Some(known), Some(modified)) = (&known, row.modified_on)
            && known.gone_since.is_none()
            && !self.settings.render
            && modified < known.checked_on
            && now.since(known.checked_on) < TRUST
        {
            let mut outcome = self.unchanged(
                known.clone(),
                row,
                None,
                "sitemap",
                "its sitemap says that it has not changed",
            );
            // Without a request, the time of the last check stays.
            outcome.memory = None;
            return Ok(outcome);
        }
        // With rendering, validators of the server do not cover what scripts add to the page.
        let asked = known
            .as_ref()
            .or(copy.as_ref())
            .filter(|_| !self.settings.render);
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
                let mut outcome = Outcome::of("failed", code, reason);
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
                    &format!("the server answers {status}"),
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
                        "the server answers 304",
                    );
                    outcome.verdict.http_status = Some(304);
                    outcome
                }
                (None, None) => Outcome::of(
                    "failed",
                    "status",
                    "the server answers 304 although nothing was asked for".to_owned(),
                ),
            },
            Answer::Gone(status) => {
                let mut outcome =
                    Outcome::of("failed", "gone", format!("the server answers {status}"));
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
                    format!("{kind} is not taken; switch on files for documents"),
                );
                outcome.verdict.http_status = Some(200);
                outcome.verdict.content_type = Some(kind);
                outcome
            }
            Answer::Page(head, bytes) => self.page(url, row, known, held, &head, bytes).await?,
            Answer::File(head, stored) => self.file(url, row, known, held, &head, stored).await?,
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
        Ok(document.is_some_and(|d| d.status != "error"))
    }

    fn unchanged(
        &self,
        known: Memory,
        row: &Seen,
        asked: Option<Time>,
        code: &str,
        reason: &str,
    ) -> Outcome {
        let mut outcome = Outcome::of("unchanged", code, reason.to_owned());
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
    fn moved(&self, url: &Url, row: &Seen, to: &str, permanent: bool, how: &str) -> Outcome {
        let code = if permanent { "moved" } else { "redirected" };
        let Some(target) = self.resolve(url, to) else {
            return Outcome::of(
                "failed",
                "redirect_invalid",
                format!("{how} and points to {to:?}, which is no web address"),
            );
        };
        if target == *url {
            return Outcome::of(
                "failed",
                "redirect_loop",
                format!("{how} and points to itself"),
            );
        }
        if row.hops >= HOPS {
            return Outcome::of(
                "failed",
                "redirect_loop",
                format!("{how}, the redirect number {} in a row", row.hops + 1),
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

    async fn page(
        &self,
        url: &Url,
        row: &Seen,
        known: Option<Memory>,
        held: Option<Held>,
        head: &Head,
        bytes: Bytes,
    ) -> Result<Outcome> {
        let received = bytes.len() as u64;
        let (bytes, charset, content_type) = if self.settings.render {
            match render::render(
                &self.app.config,
                url.as_str(),
                self.app.config.crawl_page_mb << 20,
            )
            .await
            {
                Ok(rendered) => (
                    rendered,
                    Some("utf-8".to_owned()),
                    "text/html; charset=utf-8".to_owned(),
                ),
                Err(reason) => {
                    let mut outcome = Outcome::of("failed", "render_failed", reason);
                    outcome.verdict.http_status = Some(head.status);
                    return Ok(outcome);
                }
            }
        } else {
            let kind = if head.content_type.is_empty() {
                "text/html"
            } else {
                &head.content_type
            };
            (bytes, head.charset.clone(), kind.to_owned())
        };
        let signs = {
            let (bytes, token) = (bytes.clone(), self.token().to_owned());
            tokio::task::spawn_blocking(move || page::read(&bytes, charset.as_deref(), &token))
                .await?
        };
        if let Some(to) = &signs.refresh {
            let base = signs
                .base
                .as_ref()
                .and_then(|b| url.join(b).ok())
                .unwrap_or_else(|| url.clone());
            if self.resolve(&base, to).is_some_and(|target| target != *url) {
                let mut outcome = self.moved(&base, row, to, true, "the page refreshes at once");
                outcome.verdict.http_status = Some(head.status);
                outcome.verdict.bytes = received;
                return Ok(outcome);
            }
        }
        let mut directives = signs.directives.clone();
        for tag in &head.tags {
            directives.note_header(tag, self.token());
        }
        let directives = if self.settings.respect_meta {
            directives
        } else {
            Directives::default()
        };
        let base = signs
            .base
            .as_ref()
            .and_then(|b| url.join(b).ok())
            .unwrap_or_else(|| url.clone());
        let mut links: Vec<Found> = Vec::new();
        for link in &signs.links {
            let Some(target) = self.resolve(&base, &link.reference) else {
                continue;
            };
            let nofollow = if self.settings.respect_nofollow && link.nofollow {
                Some(("nofollow", "its link says nofollow".to_owned()))
            } else {
                directives
                    .nofollow
                    .as_ref()
                    .map(|word| ("nofollow", format!("the page that links to it says {word}")))
            };
            links.push(next(target.into(), row, nofollow));
        }
        let stated = head.canonical.as_ref().or(signs.canonical.as_ref());
        let canonical = stated
            .and_then(|c| self.resolve(&base, c))
            .filter(|c| c != url && self.scope.admits(c).is_ok());
        if let (Some(canonical), false) = (&canonical, row.forced) {
            links.push(Found {
                hops: row.hops + 1,
                depth: row.depth,
                ..next(canonical.to_string(), row, None)
            });
        }
        let remembered: Vec<&str> = links
            .iter()
            .filter(|l| {
                l.skip.is_none() && l.url.parse().is_ok_and(|u| self.scope.admits(&u).is_ok())
            })
            .map(|l| l.url.as_str())
            .take(LINKS)
            .collect();
        let remembered = serde_json::to_string(&remembered)?;
        // The canonical address of the page, even if it is on another host.
        let shown = stated
            .and_then(|c| base.join(c).ok())
            .filter(|c| matches!(c.scheme(), "http" | "https"))
            .map_or_else(|| url.to_string(), Into::into);
        let name = address::file_name(url, "html");
        let (taken, hash) = if let Some(word) = &directives.noindex {
            (
                PageOutcome::Skipped("noindex", format!("the page says {word}")),
                None,
            )
        } else if let (Some(canonical), false) = (canonical, row.forced) {
            (PageOutcome::Copy(canonical.into()), None)
        } else {
            self.take(
                url,
                row,
                known.as_ref(),
                &name,
                &content_type,
                shown,
                Content::Page(bytes),
            )
            .await?
        };
        self.conclude(
            url,
            taken,
            hash,
            held,
            head,
            received,
            content_type,
            links,
            remembered,
        )
    }

    async fn file(
        &self,
        url: &Url,
        row: &Seen,
        known: Option<Memory>,
        held: Option<Held>,
        head: &Head,
        stored: Stored,
    ) -> Result<Outcome> {
        let received = stored.size;
        let mut directives = Directives::default();
        for tag in &head.tags {
            directives.note_header(tag, self.token());
        }
        let kind = head
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let last = url.path().rsplit('/').next().unwrap_or_default();
        let detected = parse::detect(&Input {
            file_name: last,
            mime_type: Some(&kind),
            bytes: &stored.head,
            ocr: self.app.parser.ocr.as_deref(),
            ..Input::default()
        });
        let (taken, hash) = match (&directives.noindex, detected) {
            (Some(word), _) if self.settings.respect_meta => (
                PageOutcome::Skipped("noindex", format!("its X-Robots-Tag says {word}")),
                None,
            ),
            (_, Err(error)) => (PageOutcome::Skipped("type", error.to_string()), None),
            (_, Ok(format)) if !is_wanted(format) => {
                let reason = format!("{} is no document", format.mime_type(last));
                (PageOutcome::Skipped("type", reason), None)
            }
            (_, Ok(format)) => {
                let name = address::file_name(url, if last.contains('.') { "" } else { "txt" });
                let mime_type = format.mime_type(&name).to_owned();
                self.take(
                    url,
                    row,
                    known.as_ref(),
                    &name,
                    &mime_type,
                    url.to_string(),
                    Content::File(stored),
                )
                .await?
            }
        };
        self.conclude(
            url,
            taken,
            hash,
            held,
            head,
            received,
            kind,
            Vec::new(),
            "[]".to_owned(),
        )
    }

    /// Passes content to ingestion unless it is already indexed.
    #[expect(clippy::too_many_arguments, reason = "each is one fact about the page")]
    async fn take(
        &self,
        url: &Url,
        row: &Seen,
        known: Option<&Memory>,
        name: &str,
        mime_type: &str,
        shown: String,
        content: Content,
    ) -> Result<(PageOutcome, Option<String>)> {
        let app = &self.app;
        let (hash, stored) = match content {
            Content::File(stored) => (stored.hash.clone(), stored),
            Content::Page(bytes) => {
                let given = Given::File {
                    file_name: name,
                    mime_type,
                    bytes: bytes.clone(),
                };
                let parsed = app.parser.read(given, None).await?;
                let document = match parsed {
                    Ok(parsed) => parsed.document,
                    Err(error) => {
                        return Ok((PageOutcome::Failed(error.code, error.message), None));
                    }
                };
                let hash = content_hash(&document);
                if known.is_some_and(|k| k.content_hash.as_ref() == Some(&hash)) {
                    self.claim_content(&hash, url);
                    return Ok((PageOutcome::Unchanged, Some(hash)));
                }
                if let Some(other) = self.other_owner(&hash, url, row).await? {
                    return Ok((PageOutcome::Copy(other), Some(hash)));
                }
                let stored = app
                    .blobs
                    .put_bytes(&app.db, &self.crawl.tenant_id, bytes)
                    .await?;
                // Ingestion is about to parse the same content.
                app.read_pages
                    .insert(stored.hash.clone(), Arc::new(document));
                (hash, stored)
            }
        };
        if known.is_some_and(|k| k.content_hash.as_ref() == Some(&hash)) {
            self.claim_content(&hash, url);
            return Ok((PageOutcome::Unchanged, Some(hash)));
        }
        if let Some(other) = self.other_owner(&hash, url, row).await? {
            return Ok((PageOutcome::Copy(other), Some(hash)));
        }
        let new = NewDocument {
            file_name: name.to_owned(),
            mime_type: mime_type.to_owned(),
            stored,
            title: None,
            url: Some(shown),
            source: "website_crawl",
            metadata: serde_json::json!({}),
            chunk_settings: ChunkSettings::default(),
            external_id: Some(ledger::external_id(url)),
        };
        let caller = Caller::local(&self.crawl.tenant_id);
        let added = match documents::add(
            app,
            &caller,
            &self.crawl.dataset_id,
            vec![new],
            UploadPolicy::default(),
        )
        .await
        {
            // An error of this page, which a retry would not change.
            Err(error) if error.kind() == Kind::Invalid => {
                return Ok((
                    PageOutcome::Failed(error.code().to_owned(), error.to_string()),
                    Some(hash),
                ));
            }
            added => added?,
        };
        let added = added
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("adding a document gave none"))?;
        let verdict = if added.outcome == "created" || known.is_none() {
            "new"
        } else {
            "changed"
        };
        Ok((
            PageOutcome::Document(added.document.id, verdict),
            Some(hash),
        ))
    }

    fn claim_content(&self, hash: &str, url: &Url) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .owners
            .entry(hash.to_owned())
            .or_insert_with(|| url.to_string());
    }

    /// Returns the other address that already has this content, from this crawl or an earlier one. Without one, this address is registered as the owner;
    /// concurrent visits are serialized.
    async fn other_owner(&self, hash: &str, url: &Url, row: &Seen) -> Result<Option<String>> {
        let owned = |visitor: &Self| {
            let state = visitor.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.owners.contains_key(hash)
        };
        if !row.forced && !owned(self) {
            let before = ledger::owner(&self.app.db, &self.crawl, hash).await?;
            if let Some(other) = before.filter(|owner| owner != url.as_str()) {
                return Ok(Some(other));
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = state
            .owners
            .entry(hash.to_owned())
            .or_insert_with(|| url.to_string());
        Ok((owner != url.as_str()).then(|| owner.clone()))
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact about the page")]
    fn conclude(
        &self,
        url: &Url,
        taken: PageOutcome,
        hash: Option<String>,
        held: Option<Held>,
        head: &Head,
        bytes: u64,
        content_type: String,
        links: Vec<Found>,
        remembered: String,
    ) -> Result<Outcome> {
        let mut memory = Memory {
            url: url.to_string(),
            document_id: None,
            depth: 0,
            etag: head.validators.etag.clone(),
            last_modified: head.validators.last_modified.clone(),
            content_hash: hash.clone(),
            copy_of: None,
            links: remembered,
            checked_on: self.app.clock.now(),
            gone_since: None,
        };
        let mut outcome = match taken {
            PageOutcome::Document(id, verdict) => {
                memory.document_id = Some(id.clone());
                Outcome {
                    verdict: Verdict {
                        state: "ingesting",
                        verdict,
                        document_id: Some(id),
                        ..Verdict::default()
                    },
                    ..Outcome::default()
                }
            }
            PageOutcome::Unchanged => {
                memory.document_id = held.map(|h| h.document_id);
                let mut outcome = Outcome::of(
                    "unchanged",
                    "same_content",
                    "its text is the same".to_owned(),
                );
                outcome.verdict.document_id.clone_from(&memory.document_id);
                outcome
            }
            PageOutcome::Copy(other) => {
                // An existing document stays until the crawl ends and decides about it.
                let mut outcome = Outcome::skipped("duplicate", format!("a copy of {other}"));
                outcome.verdict.other_url = Some(other.clone());
                memory.copy_of = Some(other);
                if let Some(held) = held {
                    // The document was made from an earlier text; its hash is kept so that a later visit can detect the change. Validators of this response
                    // belong to the copy.
                    memory.document_id = Some(held.document_id);
                    memory.content_hash = held.content_hash;
                    (memory.etag, memory.last_modified) = (None, None);
                }
                outcome
            }
            PageOutcome::Skipped(code, reason) => {
                memory.document_id = held.map(|h| h.document_id);
                Outcome::skipped(code, reason)
            }
            PageOutcome::Failed(code, reason) => {
                memory.document_id = held.map(|h| h.document_id);
                Outcome::of("failed", &code, reason)
            }
        };
        // Content that was not indexed must not count as this page's content.
        let is_taken = matches!(outcome.verdict.verdict, "new" | "changed" | "unchanged");
        if !is_taken && memory.copy_of.is_none() {
            memory.content_hash = None;
            (memory.etag, memory.last_modified) = (None, None);
        }
        outcome.verdict.content_hash = hash;
        outcome.verdict.http_status = Some(head.status);
        outcome.verdict.content_type = Some(content_type);
        outcome.verdict.bytes = bytes;
        outcome.links = links;
        outcome.memory = Some(memory);
        Ok(outcome)
    }
}

/// Returns whether a format is crawled: text, PDF and office formats. Archives and data files could expand to thousands of documents.
fn is_wanted(format: Format) -> bool {
    matches!(
        format,
        Format::Text
            | Format::Markdown
            | Format::Pdf
            | Format::Word
            | Format::PowerPoint
            | Format::Spreadsheet
            | Format::OpenDocumentText
            | Format::OpenDocumentPresentation
            | Format::Epub
            | Format::Rtf
    )
}

/// Returns the hash of a page's title and main text, without navigation.
fn content_hash(document: &cairn_ingest::Document) -> String {
    let mut hasher = Sha256::new();
    hasher.update(document.title.as_deref().unwrap_or_default().trim());
    hasher.update("\n");
    hasher.update(document.text.trim());
    hex::encode(hasher.finalize())
}

enum Content {
    Page(Bytes),
    File(Stored),
}

/// Returns a link of a page as a discovered address.
fn next(url: String, row: &Seen, skip: Option<(&'static str, String)>) -> Found {
    Found {
        url,
        depth: row.depth + 1,
        hops: 0,
        found_on: Some(row.url.clone()),
        modified_on: None,
        skip,
    }
}
