//! Explains in one sentence why a document is, or is not, searchable.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::Result;
use crate::jobs;
use crate::jobs::JobStatus;
use crate::kb::documents::DocumentStatus;
use crate::kb::{Document, datasets, documents};
use crate::search::states::Index;

/// Searchability of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Whether keyword search finds it.
    pub by_words: bool,
    /// Whether vector search finds it.
    pub by_meaning: bool,
    /// Stable code: `searchable`, `disabled`, `chunks_disabled`, `queued`, `waiting_for_retry`, `no_worker`, `parsing`, `embedding`, `indexing`,
    /// `index_failing`, `cancelled`, or the code of the failure.
    pub code: String,
    /// Explanation in one sentence.
    pub reason: String,
}

/// Explains why a document is, or is not, searchable.
///
/// # Errors
/// `document_not_found`.
pub async fn explain(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Why> {
    caller.need(Scope::KbRead)?;
    let document = documents::get(app, caller, dataset_id, id).await?;
    let set_id = datasets::settings(app, caller, dataset_id).await?.live_set;
    let (chunks, shown): (i64, i64) = app
        .db
        .one(
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN enabled = TRUE THEN 1 ELSE 0 END), 0) AS BIGINT) FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3",
            args![caller.tenant(), id, &set_id],
        )
        .await?;
    // During a first ingestion, keyword search finds the document from its first exchange on. During a later one, both indexes find the earlier version
    // until the new one is there.
    let (keyword, _) = app.indexes.positions(&set_id);
    let has_version = document.text_hash.is_some();
    let by_words = document.enabled
        && shown > 0
        && (has_version || (document.ready_seq > 0 && keyword >= document.ready_seq));
    let by_meaning = document.enabled && shown > 0 && has_version;
    let (code, reason) = sentence(app, caller, &document, chunks, shown).await?;
    Ok(Why {
        by_words,
        by_meaning,
        code,
        reason,
    })
}

async fn sentence(
    app: &App,
    caller: &Caller,
    document: &Document,
    chunks: i64,
    shown: i64,
) -> Result<(String, String)> {
    let earlier = if document.text_hash.is_some() && chunks > 0 {
        " Until then, searches find its earlier version."
    } else {
        ""
    };
    let say = |code: &str, reason: String| Ok((code.to_owned(), reason));
    if !document.enabled {
        return say(
            "disabled",
            "It is disabled; enable it to make it searchable.".to_owned(),
        );
    }
    match document.status {
        DocumentStatus::Error => {
            let code = document.error_code.as_deref().unwrap_or("error");
            let message = document
                .error_message
                .as_deref()
                .unwrap_or("ingestion failed");
            let kept = if earlier.is_empty() {
                ""
            } else {
                " Searches still find its earlier version."
            };
            say(code, format!("Its ingestion failed: {message}.{kept}"))
        }
        DocumentStatus::Pending => {
            let job = jobs::get(&app.db, caller.tenant(), &document.job_id)
                .await
                .ok();
            match job {
                Some(job) if job.status == JobStatus::Queued && job.failures > 0 => {
                    let cause = job.last_error.unwrap_or_default();
                    say(
                        "waiting_for_retry",
                        format!(
                            "An attempt failed ({cause}); the next one is at {}.{earlier}",
                            job.run_at.rfc3339()
                        ),
                    )
                }
                _ => {
                    let (ahead,): (i64,) = app
                        .db
                        .one(
                            "SELECT COUNT(*) FROM jobs WHERE tenant_id = $1 AND status IN ('queued', 'running') AND id < $2",
                            args![caller.tenant(), &document.job_id],
                        )
                        .await?;
                    say(
                        "queued",
                        format!("It is queued behind {ahead} of your other jobs.{earlier}"),
                    )
                }
            }
        }
        DocumentStatus::Parsing => say("parsing", format!("Its file is being parsed.{earlier}")),
        DocumentStatus::Embedding => {
            let rest = document
                .eta_seconds(app.clock.now())
                .map_or_else(String::new, |s| {
                    format!(", about {} seconds left", s.ceil())
                });
            let words = if earlier.is_empty() {
                " Keyword search already finds it."
            } else {
                earlier
            };
            say(
                "embedding",
                format!(
                    "{} of {} chunks are embedded{rest}.{words}",
                    document.chunks_embedded, document.chunks_total
                ),
            )
        }
        DocumentStatus::Stored => {
            let set = datasets::settings(app, caller, &document.dataset_id)
                .await?
                .live_set;
            let failing = Index::BOTH.into_iter().find_map(|index| {
                let (_, pause) = app.indexes.failure(&set, index)?;
                Some(format!(
                    "Everything is stored, but updating the {index} of this dataset failed; see the log for the cause. The next attempt is in {} seconds.",
                    pause.as_secs()
                ))
            });
            match failing {
                Some(reason) => say("index_failing", reason),
                None => say(
                    "indexing",
                    "Everything is stored and is being indexed.".to_owned(),
                ),
            }
        }
        _ if chunks == 0 => say("no_text", "It has no searchable text.".to_owned()),
        _ if shown == 0 => say(
            "chunks_disabled",
            "All of its chunks are disabled.".to_owned(),
        ),
        _ if shown < chunks => say(
            "searchable",
            format!(
                "It is searchable, except for {} disabled chunks.",
                chunks - shown
            ),
        ),
        _ => say(
            "searchable",
            format!("It is searchable by keyword and semantic search, in {chunks} chunks."),
        ),
    }
}
