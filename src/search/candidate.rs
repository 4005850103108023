//! Candidates of a search: locations, scores, and page cursors.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::blend::{Raw, Score};
use super::explain::Reranked;
use super::request::{MAX_TOP_K, Request};
use crate::error::{Error, Result};
use crate::kb::Chunk;
use crate::page;

/// Location of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ChunkLocation {
    pub id: String,
    pub document_id: String,
    /// JSON array of headings.
    pub heading_path: String,
    /// Page on which it starts.
    pub page: Option<i64>,
    /// Start in the document's text, in characters.
    pub start_char: i64,
    /// End, exclusive.
    pub end_char: i64,
}

impl ChunkLocation {
    /// Returns the location of a chunk.
    pub(super) fn of(chunk: &Chunk) -> Self {
        Self {
            id: chunk.id.clone(),
            document_id: chunk.document_id.clone(),
            heading_path: chunk.heading_path.clone(),
            page: chunk.page,
            start_char: chunk.start_char,
            end_char: chunk.end_char,
        }
    }
}

/// A scored candidate.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: Uuid,
    pub raw: Raw,
    pub score: Score,
    pub rerank: Option<Reranked>,
    pub document_id: Arc<str>,
    pub source: usize,
}

impl Candidate {
    /// Returns the final score.
    pub(super) fn value(&self) -> f32 {
        self.rerank.map_or(self.score.score, |r| r.score)
    }
}

/// End of a page: everything before it in the order of scores and ids was shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cursor {
    pub score: f32,
    pub id: Uuid,
    /// Number of hits on previous pages.
    pub seen: usize,
    /// Number of hits of the first page, which determines the number of candidates.
    pub depth: usize,
}

impl Cursor {
    pub(super) fn read(text: &str, request: &Request) -> Result<Self> {
        let bad = || Error::invalid("cursor_invalid", "the cursor was not returned by a search");
        let text = page::decode(text).ok_or_else(bad)?;
        let mut parts = text.split(' ');
        let (Some(bits), Some(id), Some(seen), Some(depth), Some(print), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(bad());
        };
        let cursor = Self {
            score: f32::from_bits(bits.parse().map_err(|_| bad())?),
            id: id.parse().map_err(|_| bad())?,
            seen: seen.parse().map_err(|_| bad())?,
            depth: depth.parse().map_err(|_| bad())?,
        };
        if cursor.depth > MAX_TOP_K || !cursor.score.is_finite() {
            return Err(bad());
        }
        if print != fingerprint(request) {
            return Err(Error::invalid(
                "cursor_invalid",
                "the cursor belongs to another query or to other settings",
            ));
        }
        Ok(cursor)
    }

    pub(super) fn write(&self, request: &Request) -> String {
        page::encode(&format!(
            "{} {} {} {} {}",
            self.score.to_bits(),
            self.id.simple(),
            self.seen,
            self.depth,
            fingerprint(request)
        ))
    }

    /// Returns whether a candidate was on a previous page.
    pub(super) fn is_behind(&self, candidate: &Candidate) -> bool {
        let value = candidate.value();
        value > self.score || (value == self.score && candidate.id <= self.id)
    }
}

/// Returns a fingerprint of a search, without its paging.
fn fingerprint(request: &Request) -> String {
    let asked = Request {
        cursor: None,
        top_k: 1,
        max_tokens: None,
        facets: Vec::new(),
        expand: 0,
        section: false,
        cache: true,
        ..request.clone()
    };
    let digest = Sha256::digest(format!("{asked:?}").as_bytes());
    hex::encode(&digest[..6])
}
