//! Rows of a crawl: every discovered address with its outcome, which is also the queue of addresses to visit; and the state of pages kept from one crawl to the
//! next.

mod memory;

use cairn_ingest::crawl::address;
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::clock::Time;
use crate::crawl::Crawl;
use crate::db::{Db, Tx, args, words};
use crate::error::Result;
use crate::kb::documents::changed_now;
use crate::kb::index_log;
pub(super) use memory::{Memory, forget, memory, owner, remember};

words! {
    /// The state of an address of a crawl.
    #[derive(Default)]
    pub enum PageState {
        Pending = "pending",
        /// Its content is being ingested.
        Ingesting = "ingesting",
        #[default]
        Done = "done",
    }
}

words! {
    /// The outcome of an address of a crawl.
    #[derive(Default)]
    pub enum PageVerdict {
        New = "new",
        Changed = "changed",
        Unchanged = "unchanged",
        #[default]
        Skipped = "skipped",
        Failed = "failed",
    }
}

impl PageVerdict {
    /// Returns whether the content of the page is indexed.
    #[must_use]
    pub fn is_indexed(self) -> bool {
        matches!(self, Self::New | Self::Changed | Self::Unchanged)
    }
}

/// An address that a crawl has discovered.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Seen {
    pub url: String,
    /// Position in the order of discovery, from 1.
    pub seq: i64,
    /// Links from the start.
    pub depth: i64,
    /// Redirects that led here.
    pub hops: i64,
    /// The page or sitemap that links here.
    pub found_on: Option<String>,
    /// Time of the last change according to the sitemap.
    pub modified_on: Option<Time>,
    pub state: PageState,
    /// Visited even though it is a copy.
    pub forced: bool,
    pub verdict: Option<PageVerdict>,
    /// Stable code of the reason.
    pub code: Option<String>,
    /// The reason in one sentence.
    pub reason: Option<String>,
    /// The address that it is a copy of or redirects to.
    pub other_url: Option<String>,
    /// HTTP status.
    pub http_status: Option<i64>,
    pub content_type: Option<String>,
    /// Decompressed bytes of the body.
    pub bytes: i64,
    /// Duration of the visit in milliseconds.
    pub millis: i64,
    /// Hash of title and main text of a page, or of the bytes of a file.
    pub content_hash: Option<String>,
    /// The document made from it.
    pub document_id: Option<String>,
}

macro_rules! columns {
    () => {
        "url, seq, depth, hops, found_on, modified_on, state, forced, verdict, code, reason, other_url, http_status, content_type, bytes, millis, content_hash, document_id"
    };
}

/// A discovered address.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub url: String,
    pub depth: i64,
    pub hops: i64,
    pub found_on: Option<String>,
    pub modified_on: Option<Time>,
    /// Why it is skipped; `None` when it is to be visited.
    pub skip: Option<(&'static str, String)>,
}

/// The outcome of a visit.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    /// `ingesting` or `done`.
    pub state: PageState,
    pub verdict: PageVerdict,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub other_url: Option<String>,
    pub http_status: Option<u16>,
    pub content_type: Option<String>,
    pub bytes: u64,
    pub millis: u64,
    pub content_hash: Option<String>,
    pub document_id: Option<String>,
}

pub(super) async fn report(
    app: &App,
    crawl_id: &str,
    verdict: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<Seen>> {
    app.db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_crawl_urls WHERE crawl_id = $1 AND seq > $2 AND (CAST($3 AS TEXT) IS NULL OR verdict = $3 OR (verdict IS NULL AND $3 = 'pending')) ORDER BY seq LIMIT $4"
            ),
            args![crawl_id, after, verdict, limit],
        )
        .await
}

pub(super) async fn get(db: &Db, crawl_id: &str, url: &str) -> Result<Option<Seen>> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM kb_crawl_urls WHERE crawl_id = $1 AND url = $2"
        ),
        args![crawl_id, url],
    )
    .await
}

/// Returns the addresses to visit, in the order of discovery.
pub(super) async fn pending(db: &Db, crawl_id: &str, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = db
        .all(
            "SELECT url FROM kb_crawl_urls WHERE crawl_id = $1 AND state = 'pending' ORDER BY seq LIMIT $2",
            args![crawl_id, limit],
        )
        .await?;
    Ok(rows.into_iter().map(|(url,)| url).collect())
}

/// Returns the addresses to visit whose pages have documents, in the order of discovery.
pub(super) async fn pending_known(db: &Db, crawl: &Crawl, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = db
        .all(
            "SELECT u.url FROM kb_crawl_urls u JOIN kb_site_pages p ON p.site_id = $1 AND p.url = u.url
             WHERE u.crawl_id = $2 AND u.state = 'pending' AND p.tenant_id = $3 AND p.document_id IS NOT NULL ORDER BY u.seq LIMIT $4",
            args![&crawl.site_id, &crawl.id, &crawl.tenant_id, limit],
        )
        .await?;
    Ok(rows.into_iter().map(|(url,)| url).collect())
}

/// Returns every address of the crawl with its position and code.
pub(super) async fn known(db: &Db, crawl_id: &str) -> Result<Vec<(String, i64, Option<String>)>> {
    db.all(
        "SELECT url, seq, code FROM kb_crawl_urls WHERE crawl_id = $1",
        args![crawl_id],
    )
    .await
}

/// Returns content hashes and addresses of the indexed pages.
pub(super) async fn contents(db: &Db, crawl_id: &str) -> Result<Vec<(String, String)>> {
    db.all(
        "SELECT content_hash, url FROM kb_crawl_urls WHERE crawl_id = $1 AND content_hash IS NOT NULL AND verdict IN ('new', 'changed', 'unchanged')",
        args![crawl_id],
    )
    .await
}

/// Records an address. One that was skipped as `nofollow` or `too_deep` is queued if it is now to be visited.
pub(super) async fn insert(tx: &mut Tx, crawl: &Crawl, seq: i64, found: &Found) -> Result<()> {
    let (code, reason) = found.skip.clone().unzip();
    let (state, verdict) = match code {
        Some(_) => ("done", Some("skipped")),
        None => ("pending", None),
    };
    tx.execute(
        "INSERT INTO kb_crawl_urls (crawl_id, url, tenant_id, seq, depth, hops, found_on, modified_on, state, verdict, code, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (crawl_id, url) DO UPDATE SET depth = excluded.depth, hops = excluded.hops, found_on = excluded.found_on,
         state = excluded.state, verdict = excluded.verdict, code = excluded.code, reason = excluded.reason
         WHERE excluded.state = 'pending' AND kb_crawl_urls.code IN ('nofollow', 'too_deep')",
        args![
            &crawl.id,
            &found.url,
            &crawl.tenant_id,
            seq,
            found.depth,
            found.hops,
            &found.found_on,
            found.modified_on,
            state,
            verdict,
            code,
            reason
        ],
    )
    .await?;
    Ok(())
}

/// Sets the time of the last change according to the sitemap.
pub(super) async fn modified(tx: &mut Tx, crawl_id: &str, url: &str, at: Time) -> Result<()> {
    tx.execute(
        "UPDATE kb_crawl_urls SET modified_on = $1 WHERE crawl_id = $2 AND url = $3",
        args![at, crawl_id, url],
    )
    .await?;
    Ok(())
}

/// Stores the outcome of a visit and returns the number of rows: 0 when the crawl is gone.
pub(super) async fn settle(tx: &mut Tx, crawl_id: &str, url: &str, v: &Verdict) -> Result<u64> {
    tx.execute(
        "UPDATE kb_crawl_urls SET state = $1, verdict = $2, code = $3, reason = $4, other_url = $5, http_status = $6, content_type = $7, bytes = $8,
         millis = $9, content_hash = $10, document_id = $11 WHERE crawl_id = $12 AND url = $13",
        args![
            v.state,
            v.verdict,
            &v.code,
            &v.reason,
            &v.other_url,
            v.http_status.map(i64::from),
            &v.content_type,
            i64::try_from(v.bytes).unwrap_or(i64::MAX),
            i64::try_from(v.millis).unwrap_or(i64::MAX),
            &v.content_hash,
            &v.document_id,
            crawl_id,
            url
        ],
    )
    .await
}

/// Settles pages whose ingestion has ended: their documents are searchable, failed or deleted. Returns the number of pages still in ingestion.
pub(super) async fn settle_ingested(tx: &mut Tx, crawl: &Crawl) -> Result<i64> {
    for statement in [
        "UPDATE kb_crawl_urls SET state = 'done', verdict = 'failed', code = COALESCE((SELECT d.error_code FROM kb_documents d WHERE d.id = document_id), 'parse_failed'),
         reason = (SELECT d.error_message FROM kb_documents d WHERE d.id = document_id)
         WHERE crawl_id = $1 AND tenant_id = $2 AND state = 'ingesting' AND document_id IN (SELECT d.id FROM kb_documents d WHERE d.tenant_id = $2 AND d.status = 'error')",
        "UPDATE kb_crawl_urls SET state = 'done'
         WHERE crawl_id = $1 AND tenant_id = $2 AND state = 'ingesting' AND document_id IN (SELECT d.id FROM kb_documents d WHERE d.tenant_id = $2 AND d.status = 'indexed')",
        "UPDATE kb_crawl_urls SET state = 'done', verdict = 'skipped', code = 'deleted', reason = 'the document was deleted while it was ingested'
         WHERE crawl_id = $1 AND tenant_id = $2 AND state = 'ingesting' AND document_id NOT IN (SELECT d.id FROM kb_documents d WHERE d.tenant_id = $2 AND d.dataset_id = $3)",
    ] {
        let args = if statement.contains("$3") {
            args![&crawl.id, &crawl.tenant_id, &crawl.dataset_id]
        } else {
            args![&crawl.id, &crawl.tenant_id]
        };
        tx.execute(statement, args).await?;
    }
    let row: Option<(i64,)> = tx
        .optional(
            "SELECT COUNT(*) FROM kb_crawl_urls WHERE crawl_id = $1 AND state = 'ingesting'",
            args![&crawl.id],
        )
        .await?;
    Ok(row.map_or(0, |(n,)| n))
}

/// State, verdict, whether it was answered, and the number of addresses.
pub(super) type Counts = Vec<(String, String, bool, i64)>;

/// Recounts all rows, so the counters cannot drift.
pub(super) async fn count(db: &Db, crawl_id: &str) -> Result<Counts> {
    db.all(
        "SELECT state, COALESCE(verdict, ''), (COALESCE(http_status, 0) BETWEEN 200 AND 299 OR COALESCE(http_status, 0) = 304 OR COALESCE(verdict, '') = 'unchanged') AS answered,
         COUNT(*) FROM kb_crawl_urls WHERE crawl_id = $1 GROUP BY 1, 2, 3",
        args![crawl_id],
    )
    .await
}

/// Stores the counters.
pub(super) async fn update_counters(
    tx: &mut Tx,
    crawl: &Crawl,
    rows: Counts,
    requests: i64,
    bytes: i64,
) -> Result<()> {
    let count = |wanted: &str| -> i64 {
        rows.iter()
            .filter(|(state, verdict, _, _)| state == "done" && verdict == wanted)
            .map(|(_, _, _, n)| n)
            .sum()
    };
    let crawled: i64 = rows
        .iter()
        .filter(|(_, _, answered, _)| *answered)
        .map(|(_, _, _, n)| n)
        .sum();
    let (new, changed, unchanged) = (count("new"), count("changed"), count("unchanged"));
    tx.execute(
        "UPDATE kb_crawls SET pages_crawled = $1, pages_indexed = $2, pages_new = $3, pages_changed = $4, pages_unchanged = $5, pages_skipped = $6,
         pages_failed = $7, requests = $8, bytes_received = $9 WHERE tenant_id = $10 AND id = $11",
        args![
            crawled,
            new + changed + unchanged,
            new,
            changed,
            unchanged,
            count("skipped"),
            count("failed"),
            requests,
            bytes,
            &crawl.tenant_id,
            &crawl.id
        ],
    )
    .await?;
    Ok(())
}

/// Queues copies whose originals were not indexed, and returns their number.
pub(super) async fn force_copies(tx: &mut Tx, crawl: &Crawl) -> Result<u64> {
    tx.execute(
        "UPDATE kb_crawl_urls SET state = 'pending', forced = TRUE, verdict = NULL, code = NULL, reason = NULL
         WHERE crawl_id = $1 AND forced = FALSE AND code = 'duplicate' AND NOT EXISTS
         (SELECT 1 FROM kb_crawl_urls o WHERE o.crawl_id = $1 AND o.url = kb_crawl_urls.other_url AND o.verdict IN ('new', 'changed', 'unchanged')
          AND (kb_crawl_urls.content_hash IS NULL OR o.content_hash = kb_crawl_urls.content_hash))",
        args![&crawl.id],
    )
    .await
}

/// Queues the first `count` addresses that were skipped for the page limit, and returns their number.
pub(super) async fn requeue_skipped(tx: &mut Tx, crawl: &Crawl, count: i64) -> Result<u64> {
    tx.execute(
        "UPDATE kb_crawl_urls SET state = 'pending', verdict = NULL, code = NULL, reason = NULL WHERE crawl_id = $1 AND url IN
         (SELECT url FROM kb_crawl_urls WHERE crawl_id = $1 AND code = 'limit' ORDER BY seq LIMIT $2)",
        args![&crawl.id, count],
    )
    .await
}

/// Returns the three most frequent reasons of skipped and failed addresses: code, one of its sentences, number.
pub(super) async fn reasons(db: &Db, crawl_id: &str) -> Result<Vec<(String, String, i64)>> {
    db.all(
        "SELECT code, MIN(COALESCE(reason, '')), COUNT(*) AS n FROM kb_crawl_urls WHERE crawl_id = $1 AND verdict IN ('skipped', 'failed') AND code IS NOT NULL
         GROUP BY code ORDER BY n DESC, code LIMIT 3",
        args![crawl_id],
    )
    .await
}

/// Returns pages with documents that the crawl has not discovered.
pub(super) async fn unvisited_pages(db: &Db, crawl: &Crawl) -> Result<Vec<(String, i64)>> {
    db.all(
        "SELECT p.url, p.depth FROM kb_site_pages p WHERE p.site_id = $1 AND p.tenant_id = $2 AND p.document_id IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM kb_crawl_urls u WHERE u.crawl_id = $3 AND u.url = p.url) ORDER BY p.url",
        args![&crawl.site_id, &crawl.tenant_id, &crawl.id],
    )
    .await
}

/// Moves the document of a permanently redirected page to the new address, unless that has one already. Validators of the old address are dropped, so the new
/// one is fetched in full.
pub(super) async fn follow_move(tx: &mut Tx, crawl: &Crawl, from: &Url, to: &str) -> Result<()> {
    let Ok(target) = to.parse::<Url>() else {
        return Ok(());
    };
    index_log::lock_dataset(tx, &crawl.tenant_id, &crawl.dataset_id).await?;
    let (old_id, new_id) = (external_id(from), external_id(&target));
    // The new address may already be recorded as a copy of the old one.
    tx.execute(
        "DELETE FROM kb_site_pages WHERE tenant_id = $1 AND site_id = $2 AND url = $3 AND document_id IS NULL",
        args![&crawl.tenant_id, &crawl.site_id, to],
    )
    .await?;
    let moved = tx
        .execute(
            "UPDATE kb_site_pages SET url = $1, etag = NULL, last_modified = NULL, checked_on = 0 WHERE site_id = $2 AND tenant_id = $3 AND url = $4
             AND document_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kb_site_pages o WHERE o.site_id = $2 AND o.url = $1)
             AND NOT EXISTS (SELECT 1 FROM kb_documents d WHERE d.tenant_id = $3 AND d.dataset_id = $5 AND d.external_id = $6)",
            args![to, &crawl.site_id, &crawl.tenant_id, from.as_str(), &crawl.dataset_id, &new_id],
        )
        .await?;
    if moved == 0 {
        return Ok(());
    }
    let named: Option<(String,)> = tx
        .optional(
            "SELECT file_name FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND external_id = $3",
            args![&crawl.tenant_id, &crawl.dataset_id, &old_id],
        )
        .await?;
    let is_page = named.is_none_or(|(name,)| name.ends_with(".html"));
    let file_name = address::file_name(&target, if is_page { "html" } else { "" });
    tx.execute(
        concat!(
            "UPDATE kb_documents SET external_id = $1, url = $2, file_name = $3, ",
            changed_now!(),
            " WHERE tenant_id = $4 AND dataset_id = $5 AND external_id = $6"
        ),
        args![
            new_id,
            to,
            file_name,
            &crawl.tenant_id,
            &crawl.dataset_id,
            old_id
        ],
    )
    .await?;
    Ok(())
}

/// Returns the external id of a page's document: its address, or a hash of it above 500 bytes.
pub(super) fn external_id(url: &Url) -> String {
    if url.as_str().len() <= 500 {
        url.to_string()
    } else {
        format!("sha256:{}", hex::encode(Sha256::digest(url.as_str())))
    }
}

/// Returns the number of pages with documents that the crawl has not visited yet.
pub(super) async fn unvisited(db: &Db, crawl: &Crawl) -> Result<i64> {
    let (count,): (i64,) = db
        .one(
            "SELECT COUNT(*) FROM kb_site_pages p WHERE p.site_id = $1 AND p.tenant_id = $2 AND p.document_id IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM kb_crawl_urls u WHERE u.crawl_id = $3 AND u.url = p.url AND u.state <> 'pending')",
            args![&crawl.site_id, &crawl.tenant_id, &crawl.id],
        )
        .await?;
    Ok(count)
}

/// Returns addresses and document ids of pages that have been gone for long enough or are no longer to be indexed.
pub(super) async fn vanished(
    db: &Db,
    crawl: &Crawl,
    gone_before: Time,
) -> Result<Vec<(String, String)>> {
    db.all(
        "SELECT p.url, p.document_id FROM kb_site_pages p WHERE p.site_id = $1 AND p.tenant_id = $2 AND p.document_id IS NOT NULL AND
         EXISTS (SELECT 1 FROM kb_crawl_urls u WHERE u.crawl_id = $4 AND u.url = p.url AND u.state = 'done' AND
          ((u.code = 'gone' AND p.gone_since <= $3) OR (u.verdict = 'skipped' AND u.code IN ('robots', 'noindex', 'out_of_scope', 'duplicate', 'moved', 'type'))))
         AND NOT EXISTS (SELECT 1 FROM kb_site_pages o WHERE o.document_id = p.document_id AND o.site_id <> p.site_id AND o.tenant_id = $2 AND o.gone_since IS NULL)",
        args![&crawl.site_id, &crawl.tenant_id, gone_before, &crawl.id],
    )
    .await
}
