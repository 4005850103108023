//! Extractive answers for when no language model is configured: the passages' sentences that are most similar to the question by vectors and keywords, each
//! once, in the order of the passages.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use cairn_models::{Priority, cosine};

use super::{Passage, sentences, support};
use crate::app::App;
use crate::error::Result;
use crate::search::analysis;

/// Maximum number of sentences in an answer.
const SENTENCES: usize = 5;
/// Maximum number of sentences that are scored.
const LOOKED_AT: usize = 120;
/// Bounds of a sentence: at least so many words, and at most so many characters. Headings and tables do not answer questions.
const WORDS: usize = 4;
const CHARACTERS: usize = 600;
/// Sentences that score below this share of the best one are left out.
const AS_GOOD: f32 = 0.6;
/// Jaccard similarity of the words above which sentences count as duplicates.
const SAME: f32 = 0.6;
/// Weight of the vector similarity against the keyword overlap.
const MEANING: f32 = 0.6;

struct Candidate {
    passage: usize,
    range: Range<usize>,
    stems: HashSet<String>,
    score: f32,
}

#[expect(clippy::cast_precision_loss, reason = "shares of some words")]
fn overlap(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    let both = a.intersection(b).count();
    both as f32 / (a.len() + b.len() - both).max(1) as f32
}

/// Returns the answer's sentences, each with the marker of its passage.
#[expect(clippy::cast_precision_loss, reason = "shares of some words")]
pub(super) async fn pick(
    app: &Arc<App>,
    question: &str,
    passages: &[Passage],
) -> Result<Vec<String>> {
    let texts: Vec<String> = passages.iter().map(|p| p.text.clone()).collect();
    let asked = question.to_owned();
    let (mut candidates, shares) = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let mut shares = Vec::new();
        for (passage, text) in texts.iter().enumerate() {
            let language = analysis::recognised(text).unwrap_or("none");
            let wanted = support::stems(language, &asked);
            for range in sentences::of_document(text) {
                let sentence = &text[range.clone()];
                let fits = sentence.split_whitespace().count() >= WORDS
                    && sentence.chars().count() <= CHARACTERS
                    && !sentence.starts_with('|');
                if fits && found.len() < LOOKED_AT {
                    let stems = support::stems(language, sentence);
                    let held = wanted.iter().filter(|w| stems.contains(*w)).count();
                    shares.push(held as f32 / wanted.len().max(1) as f32);
                    found.push(Candidate {
                        passage,
                        range,
                        stems,
                        score: 0.0,
                    });
                }
            }
        }
        (found, shares)
    })
    .await?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let mut input = vec![question.to_owned()];
    input.extend(
        candidates
            .iter()
            .map(|c| passages[c.passage].text[c.range.clone()].to_owned()),
    );
    let vectors = app.embed(input, Priority::Query).await?;
    for ((candidate, share), vector) in candidates.iter_mut().zip(shares).zip(&vectors[1..]) {
        candidate.score = MEANING * cosine(&vectors[0], vector) + (1.0 - MEANING) * share;
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let best = candidates[0].score;
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let is_new = chosen
            .iter()
            .all(|c| overlap(&c.stems, &candidate.stems) <= SAME);
        if candidate.score >= AS_GOOD * best && is_new {
            chosen.push(candidate);
        }
        if chosen.len() == SENTENCES {
            break;
        }
    }
    chosen.sort_by_key(|c| (c.passage, c.range.start));
    Ok(chosen
        .into_iter()
        .enumerate()
        .map(|(at, c)| {
            let passage = &passages[c.passage];
            // Each sentence is a line of its own, so that its end does not depend on punctuation.
            let before = if at == 0 { "" } else { "\n" };
            let sentence = passage.text[c.range].split_whitespace();
            let sentence = sentence.collect::<Vec<_>>().join(" ");
            format!("{before}{sentence} [{}]", passage.number)
        })
        .collect())
}
