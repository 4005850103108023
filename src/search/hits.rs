//! Assembles hits from selected candidates: rows, highlights, neighbours, section, explanation, and the token budget.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::analysis;
use super::answer::{Hit, Passage};
use super::candidate::Candidate;
use super::choose::Chosen;
use super::highlight::{Range, highlight};
use super::keyword::FormKind;
use super::query::explained;
use super::request::Request;
use super::retrieve::{self, Source};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::{Chunk, chunks, row_blocks};

/// Maximum number of chunks of a section on each side, and maximum length of its text in characters.
const SECTION_REACH: i64 = 50;
const SECTION_LENGTH: usize = 20_000;

/// Joins neighbouring chunks into a passage.
fn passage_of(chunks: &[&Chunk]) -> Passage {
    let mut passage = Passage {
        text: String::new(),
        start: chunks.first().map_or(0, |c| c.start_char),
        end: 0,
        chunk_ids: Vec::new(),
    };
    for chunk in chunks {
        // Manually written content is not a span of the text, so it is kept whole.
        let repeated = if chunk.origin == "parsed" {
            usize::try_from(passage.end - chunk.start_char).unwrap_or(0)
        } else {
            0
        };
        let new: String = chunk.content.chars().skip(repeated).collect();
        if !passage.text.is_empty() && chunk.start_char > passage.end {
            passage.text.push_str("\n\n");
        } else if repeated == 0 && !passage.text.is_empty() && chunk.origin != "parsed" {
            passage.text.push('\n');
        }
        passage.text.push_str(&new);
        passage.end = passage.end.max(chunk.end_char);
        passage.chunk_ids.push(chunk.id.clone());
    }
    passage
}

/// Returns the hits, their number of tokens when there is a budget, and the number of hits that it excluded.
pub(super) async fn assemble(
    app: &Arc<App>,
    caller: &Caller,
    request: &Request,
    sources: &[Source],
    chosen: Chosen,
) -> Result<(Vec<Hit>, Option<usize>, usize)> {
    let ids: Vec<String> = chosen.shown.iter().map(|c| c.id.to_string()).collect();
    let document_ids = chosen.shown.iter().map(|c| c.document_id.to_string());
    let document_ids: HashSet<String> = document_ids.collect();
    let (rows, documents) = tokio::try_join!(
        chunks::by_ids(app, caller.tenant(), &ids),
        retrieve::documents(app, caller.tenant(), document_ids)
    )?;
    let mut rows = highlighted(sources, &chosen.shown, rows).await?;
    let (mut hits, mut used, mut trimmed) = (Vec::with_capacity(chosen.shown.len()), 0, 0);
    for candidate in chosen.shown {
        // The chunk was deleted since the lists were read.
        let Some((chunk, highlights, matched)) = rows.remove(&candidate.id) else {
            continue;
        };
        let Some(document) = documents.get(&chunk.document_id) else {
            continue;
        };
        let source = &sources[candidate.source];
        if trimmed > 0 {
            trimmed += 1;
            continue;
        }
        let (expanded, section) = passages(app, caller, request, &chunk).await?;
        if let Some(budget) = request.max_tokens {
            let text = section
                .as_ref()
                .or(expanded.as_ref())
                .map_or(&chunk.content, |p| &p.text);
            let embedder = app
                .embedder_of(&source.dataset.indexing.embedding_model)
                .await?;
            let tokens = embedder.tokens().count(text).map_err(Error::from)?;
            // The first hit that does not fit ends the list: a worse one that would fit does not replace it.
            if used + tokens > budget {
                trimmed += 1;
                continue;
            }
            used += tokens;
        }
        let truncated = chunk.truncated;
        hits.push(Hit {
            folded: chosen.folded.get(&candidate.id).copied().unwrap_or(0),
            file_name: document.file_name.clone(),
            title: document.title.clone(),
            url: document.url.clone(),
            published_at: document.published_at.clone(),
            version: document.version,
            metadata: row_blocks::attach_record_id(&document.metadata, &chunk)?,
            score: candidate.value(),
            rank_source: match (candidate.raw.vector_rank, candidate.raw.keyword_rank) {
                (Some(_), Some(_)) => "hybrid",
                (Some(_), None) => "vector",
                (None, _) => "keyword",
            },
            highlights,
            expanded,
            section,
            explanation: explained(request, source, &candidate, matched, truncated),
            chunk,
        });
    }
    Ok((hits, request.max_tokens.map(|_| used), trimmed))
}

/// A chunk with the ranges of the words of the query in it, and these words.
type Highlighted = (Chunk, Vec<Range>, Vec<String>);

/// Returns the chunks of candidates with the words of the query in them, by id.
async fn highlighted(
    sources: &[Source],
    candidates: &[Candidate],
    chunks: Vec<Chunk>,
) -> Result<HashMap<Uuid, Highlighted>> {
    let words: Vec<(Vec<&'static str>, HashSet<String>)> = sources
        .iter()
        .map(|source| {
            let terms = source.analysed.forms().map(|f| f.term.clone());
            (source.analysed.languages.clone(), terms.collect())
        })
        .collect();
    let of: HashMap<Uuid, usize> = candidates.iter().map(|c| (c.id, c.source)).collect();
    let work = move || {
        let chunks = chunks.into_iter().filter_map(|chunk| {
            let id: Uuid = chunk.id.parse().ok()?;
            let (languages, terms) = &words[*of.get(&id)?];
            let (ranges, matched) = highlight(languages, &chunk.content, terms);
            Some((id, (chunk, ranges, matched)))
        });
        chunks.collect()
    };
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// Returns the chunk with its neighbours, and its section, if requested.
async fn passages(
    app: &App,
    caller: &Caller,
    request: &Request,
    chunk: &Chunk,
) -> Result<(Option<Passage>, Option<Passage>)> {
    let expand = i64::try_from(request.expand).unwrap_or(0);
    let reach = if request.section {
        SECTION_REACH
    } else {
        expand
    };
    if reach == 0 {
        return Ok((None, None));
    }
    let near: Vec<Chunk> = app
        .db
        .all(
            concat!(
                "SELECT ",
                chunks::columns!(""),
                " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 AND ordinal >= $4 AND ordinal <= $5 AND enabled = TRUE ORDER BY ordinal"
            ),
            args![caller.tenant(), &chunk.document_id, &chunk.set_id, chunk.ordinal - reach, chunk.ordinal + reach],
        )
        .await?;
    let expanded = (expand > 0).then(|| {
        let within: Vec<&Chunk> = near
            .iter()
            .filter(|c| (c.ordinal - chunk.ordinal).abs() <= expand)
            .collect();
        passage_of(&within)
    });
    let section = request.section.then(|| {
        let own = near.iter().position(|c| c.id == chunk.id).unwrap_or(0);
        let is_same = |c: &&Chunk| c.heading_path == chunk.heading_path;
        let before = near[..own].iter().rev().take_while(is_same).count();
        let after = near[own..].iter().take_while(is_same).count();
        let mut within: Vec<&Chunk> = near[own - before..own + after].iter().collect();
        // A long section is shortened at its ends, the farther one first.
        let length = |all: &[&Chunk]| all.iter().map(|c| c.content.chars().count()).sum::<usize>();
        while within.len() > 1 && length(&within) > SECTION_LENGTH {
            let own = within.iter().position(|c| c.id == chunk.id).unwrap_or(0);
            if own > within.len() - 1 - own {
                within.remove(0);
            } else {
                within.pop();
            }
        }
        passage_of(&within)
    });
    Ok((expanded, section))
}

/// Returns the query with corrections in place of words that no dataset contains, as written in the best hit that has them.
pub(super) fn did_you_mean(query: &str, sources: &[Source], hits: &[Hit]) -> Option<String> {
    let source = sources.first()?;
    let guessed = |s: &Source, word: &str| {
        let term = s.analysed.terms.iter().find(|t| t.term == word)?;
        let guess = term.forms.iter().find(|f| f.kind == FormKind::Guess)?;
        Some(guess.term.clone())
    };
    let mut changes: Vec<(usize, usize, String)> = Vec::new();
    for typed in analysis::tokens("none", query) {
        let word = source.analysed.languages.iter().find_map(|language| {
            let stems = analysis::tokens(language, &typed.text);
            stems.into_iter().next().map(|t| t.text)
        });
        let Some(word) = word else { continue };
        // A word that one of the datasets contains is not misspelt.
        let Some(guess) = sources
            .iter()
            .map(|s| guessed(s, &word))
            .collect::<Option<Vec<String>>>()
            .and_then(|all| all.into_iter().next())
        else {
            continue;
        };
        let meant = surface(&guess, source, hits).unwrap_or(guess);
        changes.push((typed.offset_from, typed.offset_to, meant));
    }
    if changes.is_empty() {
        return None;
    }
    // A compound and its parts overlap: the first, shortest one is replaced.
    changes.sort_by_key(|(start, end, _)| (*start, *end));
    let mut last = 0;
    changes.retain(|(start, end, _)| {
        let apart = *start >= last;
        if apart {
            last = *end;
        }
        apart
    });
    let mut corrected = query.to_owned();
    for (start, end, meant) in changes.into_iter().rev() {
        corrected.replace_range(start..end, &meant);
    }
    (corrected != query).then_some(corrected)
}

/// Returns a stemmed word as written in a hit.
fn surface(term: &str, source: &Source, hits: &[Hit]) -> Option<String> {
    hits.iter().find_map(|hit| {
        source.analysed.languages.iter().find_map(|language| {
            analysis::tokens(language, &hit.chunk.content)
                .into_iter()
                .find(|t| t.text == term)
                .map(|t| hit.chunk.content[t.offset_from..t.offset_to].to_lowercase())
        })
    })
}
