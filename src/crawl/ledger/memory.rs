//! Memory of a site's pages between crawls.

use crate::clock::Time;
use crate::crawl::Crawl;
use crate::db::{Db, Tx, args};
use crate::error::Result;

/// The state of a page kept between crawls.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Memory {
    pub url: String,
    pub document_id: Option<String>,
    pub depth: i64,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub content_hash: Option<String>,
    pub copy_of: Option<String>,
    pub links: String,
    pub checked_on: Time,
    pub gone_since: Option<Time>,
    /// Hash of the settings under which it was read, see [`Settings::reading`](crate::crawl::Settings::reading).
    pub reading: String,
}

macro_rules! memory_columns {
    () => {
        "url, document_id, depth, etag, last_modified, content_hash, copy_of, links, checked_on, gone_since, reading"
    };
}

pub(crate) async fn memory(db: &Db, crawl: &Crawl, url: &str) -> Result<Option<Memory>> {
    db.optional(
        concat!(
            "SELECT ",
            memory_columns!(),
            " FROM kb_site_pages WHERE tenant_id = $1 AND site_id = $2 AND url = $3"
        ),
        args![&crawl.tenant_id, &crawl.site_id, url],
    )
    .await
}

/// Returns the page that had this content when last visited and has a document; copies of other pages do not count.
pub(crate) async fn owner(db: &Db, crawl: &Crawl, content_hash: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = db
        .optional(
            "SELECT p.url FROM kb_site_pages p JOIN kb_documents d ON d.id = p.document_id
             WHERE p.site_id = $1 AND p.tenant_id = $2 AND p.content_hash = $3 AND p.gone_since IS NULL AND p.copy_of IS NULL ORDER BY p.url LIMIT 1",
            args![&crawl.site_id, &crawl.tenant_id, content_hash],
        )
        .await?;
    Ok(row.map(|(url,)| url))
}

pub(crate) async fn remember(tx: &mut Tx, crawl: &Crawl, m: &Memory) -> Result<()> {
    tx.execute(
        "INSERT INTO kb_site_pages (site_id, tenant_id, url, document_id, depth, etag, last_modified, content_hash, links, checked_on, gone_since, copy_of, reading)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (site_id, url) DO UPDATE SET document_id = excluded.document_id, depth = excluded.depth, etag = excluded.etag,
         last_modified = excluded.last_modified, content_hash = excluded.content_hash, links = excluded.links, checked_on = excluded.checked_on,
         gone_since = excluded.gone_since, copy_of = excluded.copy_of, reading = excluded.reading",
        args![
            &crawl.site_id,
            &crawl.tenant_id,
            &m.url,
            &m.document_id,
            m.depth,
            &m.etag,
            &m.last_modified,
            &m.content_hash,
            &m.links,
            m.checked_on,
            m.gone_since,
            &m.copy_of,
            &m.reading
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn forget(tx: &mut Tx, crawl: &Crawl, url: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM kb_site_pages WHERE tenant_id = $1 AND site_id = $2 AND url = $3",
        args![&crawl.tenant_id, &crawl.site_id, url],
    )
    .await?;
    Ok(())
}
