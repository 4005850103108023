//! The text of a document as retrieval may show it: without hidden chunks, and with manual edits in place of the text that they replace. Every reader
//! outside of document management (citations, the tools of the Model Context Protocol) uses this module.
//!
//! Positions are those of the file's text, so that a citation of a passage leads to it whatever is hidden around it.

use std::collections::HashMap;
use std::ops::Range;

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::{Dataset, Document, datasets, documents};

/// A text in visible parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleText {
    parts: Vec<Part>,
    /// Length of the file's text in characters.
    length: usize,
}

/// A visible part.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Range of the file's text that it represents, in characters.
    place: Range<usize>,
    /// Visible text of that range.
    text: String,
    /// Whether the text is the file's own, character by character.
    own: bool,
    /// Line of the file on which it begins, from 1.
    line: usize,
}

/// A visible line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'t> {
    /// Number in the file, from 1.
    pub number: usize,
    /// Start, in characters of the file's text.
    pub start: usize,
    pub text: &'t str,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    document_id: String,
    start_byte: i64,
    end_byte: i64,
    enabled: bool,
    origin: String,
    /// Content of manually written chunks.
    content: Option<String>,
}

impl VisibleText {
    /// Removes hidden content from a text, given the rows of its chunks in order. Text outside of all chunks is shown only if it is blank: it may be
    /// text that was removed.
    fn of(text: &str, rows: &[Row]) -> Result<Self> {
        let mut reader = Reader {
            text,
            byte: 0,
            character: 0,
            line: 1,
        };
        let mut parts = Vec::new();
        for row in rows {
            let (Ok(start), Ok(end)) = (
                usize::try_from(row.start_byte),
                usize::try_from(row.end_byte),
            ) else {
                return Err(damaged());
            };
            if row.origin == "added" {
                if let Some(content) = row.content.as_ref().filter(|_| row.enabled) {
                    parts.push(Part {
                        place: reader.character..reader.character,
                        text: format!("\n{content}\n"),
                        own: false,
                        line: reader.line,
                    });
                }
                continue;
            }
            if let Some(blank) = reader.to(start).ok_or_else(damaged)?
                && blank.text.trim().is_empty()
            {
                parts.push(blank);
            }
            // Text repeated from the previous chunk was shown there, or hidden.
            let Some(mut own) = reader.to(end).ok_or_else(damaged)? else {
                continue;
            };
            match &row.content {
                _ if !row.enabled => continue,
                Some(content) => {
                    own.text.clone_from(content);
                    own.own = false;
                }
                None => {}
            }
            parts.push(own);
        }
        if let Some(blank) = reader.to(text.len()).ok_or_else(damaged)?
            && blank.text.trim().is_empty()
        {
            parts.push(blank);
        }
        Ok(Self {
            parts,
            length: reader.character,
        })
    }

    /// Returns the length of the file's text in characters, the unit of all positions.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the visible text of a range of the file's text.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> String {
        let mut shown = String::new();
        for part in &self.parts {
            let meets = part.place.start < range.end && part.place.end > range.start;
            // Text added between two positions belongs to the one before.
            let is_between = part.place.is_empty()
                && (range.start < part.place.start || part.place.start == 0)
                && part.place.start <= range.end;
            if !meets && !is_between {
                continue;
            }
            if part.own {
                let skip = range.start.saturating_sub(part.place.start);
                let until = range.end.min(part.place.end) - part.place.start;
                shown.extend(part.text.chars().skip(skip).take(until - skip));
            } else {
                shown.push_str(&part.text);
            }
        }
        shown
    }

    /// Returns whether a whole range is the file's own text, with nothing hidden or replaced.
    #[must_use]
    pub fn is_whole(&self, range: &Range<usize>) -> bool {
        let shown: usize = self
            .parts
            .iter()
            .filter(|part| part.own)
            .map(|part| {
                let end = part.place.end.min(range.end);
                end.saturating_sub(part.place.start.max(range.start))
            })
            .sum();
        shown == range.len()
    }

    /// Returns all visible text, and a function that maps a range of its characters to the file's text.
    pub fn joined(&self) -> (String, impl Fn(Range<usize>) -> Range<usize> + use<>) {
        let mut all = String::new();
        let mut places: Vec<(usize, Range<usize>, bool)> = Vec::new();
        let mut at = 0;
        for part in &self.parts {
            all.push_str(&part.text);
            places.push((at, part.place.clone(), part.own));
            at += part.text.chars().count();
        }
        let length = self.length;
        let place = move |range: Range<usize>| {
            let of = |at: usize, is_end: bool| {
                // An end belongs to the part before it.
                let look = if is_end { at.saturating_sub(1) } else { at };
                let index = places.partition_point(|(start, ..)| *start <= look);
                let Some((start, place, own)) = index.checked_sub(1).map(|i| &places[i]) else {
                    return length.min(at);
                };
                match (own, is_end) {
                    (true, _) => place.start + (at - start).min(place.len()),
                    (false, true) => place.end,
                    (false, false) => place.start,
                }
            };
            of(range.start, false)..of(range.end, true)
        };
        (all, place)
    }

    /// Returns the visible lines. A line interrupted by hidden text is returned in parts.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        // Adjacent parts of the file share the line between them.
        self.parts.iter().flat_map(|part| {
            let (mut number, mut start) = (part.line, part.place.start);
            part.text.split('\n').map(move |text| {
                let line = Line {
                    number,
                    start,
                    text,
                };
                if part.own {
                    number += 1;
                    start += text.chars().count() + 1;
                }
                line
            })
        })
    }
}

fn damaged() -> Error {
    Error::internal("a chunk is not a span of its document")
}

/// Reads a text forwards, counting characters and lines.
struct Reader<'t> {
    text: &'t str,
    byte: usize,
    character: usize,
    line: usize,
}

impl Reader<'_> {
    /// Returns the part from here to a byte offset. The inner option is `None` when the part is empty, the outer one when the offset is invalid.
    fn to(&mut self, byte: usize) -> Option<Option<Part>> {
        if byte <= self.byte {
            return Some(None);
        }
        let text = self.text.get(self.byte..byte)?.to_owned();
        let (start, line) = (self.character, self.line);
        self.byte = byte;
        self.character += text.chars().count();
        self.line += text.matches('\n').count();
        Some(Some(Part {
            place: start..self.character,
            text,
            own: true,
            line,
        }))
    }
}

/// Returns a document that retrieval may show to a caller: not hidden, in a dataset that the caller may search.
///
/// # Errors
/// `scope_missing`, `document_not_found`; also for a document that is switched off.
pub async fn document(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<(Dataset, Document)> {
    caller.need(Scope::KbSearch)?;
    let document = documents::get(app, caller, dataset_id, id).await?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    if document.enabled {
        Ok((dataset, document))
    } else {
        Err(documents::missing())
    }
}

/// Returns the visible text of a document.
///
/// # Errors
/// Those of [`document`]; `text_not_ready` before the first successful parse.
pub async fn text(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<(Document, VisibleText)> {
    let (dataset, document) = self::document(app, caller, dataset_id, id).await?;
    let hash = document
        .text_hash
        .clone()
        .ok_or_else(|| Error::conflict("text_not_ready", "the file has not been parsed yet"))?;
    let rows = rows(app, &dataset, std::slice::from_ref(&document.id)).await?;
    let rows = rows.into_values().next().unwrap_or_default();
    Ok((document, shown(app, &dataset, hash, rows).await?))
}

/// Hidden and replaced parts of some documents of a dataset, to read their texts one by one.
#[derive(Debug)]
pub(crate) struct Texts(HashMap<String, Vec<Row>>);

impl Texts {
    /// Reads the chunks of documents.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn of(app: &App, dataset: &Dataset, ids: &[String]) -> Result<Self> {
        rows(app, dataset, ids).await.map(Self)
    }

    /// Returns the visible text of one of the documents, by the hash of its text. The caller checks whether the document is switched off.
    ///
    /// # Errors
    /// Those of the blob store.
    pub(crate) async fn take(
        &mut self,
        app: &App,
        dataset: &Dataset,
        id: &str,
        hash: String,
    ) -> Result<VisibleText> {
        shown(app, dataset, hash, self.0.remove(id).unwrap_or_default()).await
    }
}

async fn shown(app: &App, dataset: &Dataset, hash: String, rows: Vec<Row>) -> Result<VisibleText> {
    let bytes = app.blobs.get(&dataset.tenant_id, &hash).await?;
    tokio::task::spawn_blocking(move || {
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::internal("stored text is damaged").with_source(e))?;
        VisibleText::of(text, &rows)
    })
    .await?
}

/// Returns the chunks of documents in the live set, in order.
async fn rows(app: &App, dataset: &Dataset, ids: &[String]) -> Result<HashMap<String, Vec<Row>>> {
    let mut all: Vec<(i64, Row)> = app
        .db
        .all_in::<Ordered>(
            "SELECT ordinal, document_id, start_byte, end_byte, enabled, origin, CASE WHEN origin = 'parsed' THEN NULL ELSE content END AS content
             FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND document_id IN ($LIST)",
            args![&dataset.tenant_id, &dataset.live_set],
            ids,
        )
        .await?
        .into_iter()
        .map(|o| (o.ordinal, o.row))
        .collect();
    all.sort_by_key(|(ordinal, _)| *ordinal);
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for (_, row) in all {
        rows.entry(row.document_id.clone()).or_default().push(row);
    }
    Ok(rows)
}

#[derive(Debug, sqlx::FromRow)]
struct Ordered {
    ordinal: i64,
    #[sqlx(flatten)]
    row: Row,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Über eins.\nzwei drei\n\nvier fünf\nsechs";

    fn row(part: &str, enabled: bool, content: Option<&str>) -> Row {
        let start = TEXT.find(part).expect("a part of the text");
        Row {
            document_id: String::new(),
            start_byte: i64::try_from(start).expect("small"),
            end_byte: i64::try_from(start + part.len()).expect("small"),
            enabled,
            origin: if content.is_some() {
                "edited"
            } else {
                "parsed"
            }
            .to_owned(),
            content: content.map(str::to_owned),
        }
    }

    fn visible(rows: &[Row]) -> VisibleText {
        VisibleText::of(TEXT, rows).expect("spans")
    }

    #[test]
    fn hidden_parts_are_gone_and_places_stay() {
        let shown = visible(&[
            row("Über eins.\n", true, None),
            row("zwei drei", false, None),
            row("vier fünf\nsechs", true, None),
        ]);
        assert_eq!(shown.joined().0, "Über eins.\n\n\nvier fünf\nsechs");
        assert_eq!(shown.length(), TEXT.chars().count());
        assert_eq!(shown.slice(5..25), "eins.\n\n\nvie");
        assert!(shown.is_whole(&(0..10)) && !shown.is_whole(&(5..25)));
        let (all, place) = shown.joined();
        let at = all.chars().position(|c| c == 'v').expect("vier");
        assert_eq!(shown.slice(place(at..at + 9)), "vier fünf");
        let lines: Vec<(usize, &str)> = shown.lines().map(|l| (l.number, l.text)).collect();
        assert!(
            lines.contains(&(4, "vier fünf")) && lines.contains(&(5, "sechs")),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|(_, text)| text.contains("zwei")));
    }

    #[test]
    fn what_people_wrote_stands_for_what_it_replaces() {
        let mut added = row("sechs", true, Some("neu"));
        added.origin = "added".to_owned();
        let shown = visible(&[
            row("Über eins.\nzwei drei", true, Some("geschwärzt")),
            row("vier fünf\nsechs", true, None),
            added,
        ]);
        assert_eq!(shown.joined().0, "geschwärzt\n\nvier fünf\nsechs\nneu\n");
        assert_eq!(shown.slice(0..3), "geschwärzt");
        let (all, place) = shown.joined();
        assert_eq!(place(0..4), 0..20, "the whole of what was replaced");
        assert_eq!(shown.slice(place(0..all.chars().count())), all);
    }

    #[test]
    fn what_stands_in_no_chunk_is_not_shown() {
        let shown = visible(&[row("zwei drei", true, None)]);
        assert_eq!(shown.joined().0, "zwei drei");
        assert_eq!(shown.lines().map(|l| l.number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_a_chunk_repeats_is_shown_once() {
        let shown = visible(&[
            row("Über eins.\nzwei drei", true, None),
            row("drei\n\nvier fünf", true, None),
        ]);
        assert_eq!(shown.joined().0, "Über eins.\nzwei drei\n\nvier fünf");
    }
}
