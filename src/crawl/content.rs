//! The content of a page or file: reads its directives and links, decides whether it is new, and passes it to ingestion.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use cairn_ingest::crawl::address;
use cairn_ingest::crawl::page::{self, Directives};
use cairn_ingest::{Format, Input, parse};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::auth::Caller;
use crate::blobs::Stored;
use crate::crawl::fetch::Head;
use crate::crawl::ledger::{self, Found, Memory, Verdict};
use crate::crawl::ledger::{PageState, PageVerdict};
use crate::crawl::process::next;
use crate::crawl::visit::{Outcome, Visitor};
use crate::crawl::{Seen, render};
use crate::error::{Error, Kind, Result};
use crate::kb::documents::{self, DocumentSource, NewDocument, UploadPolicy};
use crate::kb::parser::Given;

/// Links stored per page.
const LINKS: usize = 2000;

/// The outcome of fetching a page.
enum PageOutcome {
    /// A new or changed document.
    Document(String, PageVerdict),
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
pub(super) struct Held {
    pub(super) document_id: String,
    pub(super) content_hash: Option<String>,
}

/// An address whose content was received.
pub(super) struct Visit<'a> {
    pub(super) url: &'a Url,
    pub(super) row: &'a Seen,
    /// The state that the last crawl has stored, if its document is intact.
    pub(super) known: Option<Memory>,
    pub(super) held: Option<Held>,
    pub(super) head: &'a Head,
}

/// Content to pass to ingestion.
struct NewContent<'a> {
    name: &'a str,
    mime_type: &'a str,
    /// The address that documents show: the canonical one.
    address: String,
    content: Content,
}

/// The facts of a fetch that every outcome keeps.
struct Fetched {
    /// Bytes of the body.
    bytes: u64,
    content_type: String,
    links: Vec<Found>,
    /// Links for the next crawl, as a JSON list.
    remembered: String,
}

impl Visitor {
    /// Returns the outcome of a web page.
    pub(super) async fn page(&self, visit: Visit<'_>, bytes: Bytes) -> Result<Outcome> {
        let (url, row, head) = (visit.url, visit.row, visit.head);
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
                    let mut outcome = Outcome::of(PageVerdict::Failed, "render_failed", reason);
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
                let mut outcome =
                    self.moved(&base, row, to, true, "the page refreshes immediately");
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
                Some(("nofollow", "the link to it has nofollow".to_owned()))
            } else {
                directives
                    .nofollow
                    .as_ref()
                    .map(|word| ("nofollow", format!("the linking page specifies {word}")))
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
                PageOutcome::Skipped("noindex", format!("the page specifies {word}")),
                None,
            )
        } else if let (Some(canonical), false) = (canonical, row.forced) {
            (PageOutcome::Copy(canonical.into()), None)
        } else {
            let new = NewContent {
                name: &name,
                mime_type: &content_type,
                address: shown,
                content: Content::Page(bytes),
            };
            self.take(&visit, new).await?
        };
        let fetched = Fetched {
            bytes: received,
            content_type,
            links,
            remembered,
        };
        self.conclude(visit, taken, hash, fetched)
    }

    /// Returns the outcome of a file.
    pub(super) async fn file(&self, visit: Visit<'_>, stored: Stored) -> Result<Outcome> {
        let (url, head) = (visit.url, visit.head);
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
                PageOutcome::Skipped("noindex", format!("its X-Robots-Tag specifies {word}")),
                None,
            ),
            (_, Err(error)) => (PageOutcome::Skipped("type", error.to_string()), None),
            (_, Ok(format)) if !is_wanted(format) => {
                let reason = format!("{} is not a document type", format.mime_type(last));
                (PageOutcome::Skipped("type", reason), None)
            }
            (_, Ok(format)) => {
                let name = address::file_name(url, if last.contains('.') { "" } else { "txt" });
                let mime_type = format.mime_type(&name).to_owned();
                let new = NewContent {
                    name: &name,
                    mime_type: &mime_type,
                    address: url.to_string(),
                    content: Content::File(stored),
                };
                self.take(&visit, new).await?
            }
        };
        let fetched = Fetched {
            bytes: received,
            content_type: kind,
            links: Vec::new(),
            remembered: "[]".to_owned(),
        };
        self.conclude(visit, taken, hash, fetched)
    }

    /// Passes content to ingestion unless it is already indexed.
    async fn take(
        &self,
        visit: &Visit<'_>,
        new: NewContent<'_>,
    ) -> Result<(PageOutcome, Option<String>)> {
        let (app, url, row) = (&self.app, visit.url, visit.row);
        let known = visit.known.as_ref();
        let (name, mime_type, content) = (new.name, new.mime_type, new.content);
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
        let document = NewDocument {
            url: Some(new.address),
            source: DocumentSource::WebsiteCrawl,
            external_id: Some(ledger::external_id(url)),
            ..NewDocument::new(name.to_owned(), mime_type, stored)
        };
        let caller = Caller::local(&self.crawl.tenant_id);
        let added = match documents::add(
            app,
            &caller,
            &self.crawl.dataset_id,
            vec![document],
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
            .ok_or_else(|| Error::internal("adding a document returned none"))?;
        let verdict = if added.outcome == "created" || known.is_none() {
            PageVerdict::New
        } else {
            PageVerdict::Changed
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

    /// Returns the outcome of a visit, with the state that the next crawl starts from.
    fn conclude(
        &self,
        visit: Visit<'_>,
        taken: PageOutcome,
        hash: Option<String>,
        fetched: Fetched,
    ) -> Result<Outcome> {
        let Visit {
            url, held, head, ..
        } = visit;
        let mut memory = Memory {
            url: url.to_string(),
            document_id: None,
            depth: 0,
            etag: head.validators.etag.clone(),
            last_modified: head.validators.last_modified.clone(),
            content_hash: hash.clone(),
            copy_of: None,
            links: fetched.remembered,
            checked_on: self.app.clock.now(),
            gone_since: None,
            reading: self.reading.clone(),
        };
        let mut outcome = match taken {
            PageOutcome::Document(id, verdict) => {
                memory.document_id = Some(id.clone());
                Outcome {
                    verdict: Verdict {
                        state: PageState::Ingesting,
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
                    PageVerdict::Unchanged,
                    "same_content",
                    "its text is unchanged".to_owned(),
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
                Outcome::of(PageVerdict::Failed, &code, reason)
            }
        };
        // Content that was not indexed must not count as this page's content.
        let is_taken = outcome.verdict.verdict.is_indexed();
        if !is_taken && memory.copy_of.is_none() {
            memory.content_hash = None;
            (memory.etag, memory.last_modified) = (None, None);
        }
        outcome.verdict.content_hash = hash;
        outcome.verdict.http_status = Some(head.status);
        outcome.verdict.content_type = Some(fetched.content_type);
        outcome.verdict.bytes = fetched.bytes;
        outcome.links = fetched.links;
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
