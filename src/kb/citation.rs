//! Citation addresses: `kb://DATASET/DOCUMENT@VERSION#CHUNK:START-END`, in characters of the document's normalised text; the chunk may be missing.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A range of a document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    pub dataset_id: String,
    pub document_id: String,
    pub version: i64,
    pub chunk_id: Option<String>,
    /// Offset of the first character.
    pub start: i64,
    /// Offset after the last character.
    pub end: i64,
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kb://{}/{}@{}#",
            self.dataset_id, self.document_id, self.version
        )?;
        if let Some(chunk) = &self.chunk_id {
            write!(f, "{chunk}:")?;
        }
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl FromStr for Citation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (dataset, rest) = text.trim().strip_prefix("kb://")?.split_once('/')?;
            let (document, rest) = rest.split_once('@')?;
            let (version, place) = rest.split_once('#')?;
            let (chunk, range) = match place.rsplit_once(':') {
                Some((chunk, range)) => (Some(chunk.to_owned()), range),
                None => (None, place),
            };
            let (start, end) = range.split_once('-')?;
            let (start, end) = (start.parse().ok()?, end.parse().ok()?);
            let is_id = |id: &str| !id.is_empty() && !id.contains('\0');
            let valid = is_id(dataset)
                && is_id(document)
                && chunk.as_deref().is_none_or(is_id)
                && (0..=end).contains(&start)
                && (start < end || chunk.is_some());
            valid.then_some(Self {
                dataset_id: dataset.to_owned(),
                document_id: document.to_owned(),
                version: version.parse().ok()?,
                chunk_id: chunk,
                start,
                end,
            })
        };
        read().ok_or_else(|| {
            Error::invalid(
                "citation_invalid",
                "a citation must have the form kb://dataset/document@version#chunk:start-end, where the chunk is optional",
            )
        })
    }
}
