//! An answer out of the passages' own sentences, for when there is no language model: those that are nearest to the question by meaning and words, each once, in
//! the order of the passages.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use cairn_models::Priority;

use super::{Passage, sentences, support};
use crate::app::App;
use crate::error::Result;
use crate::search::analysis;

/// Sentences of an answer.
const SENTENCES: usize = 5;
/// Sentences that are looked at.
const LOOKED_AT: usize = 120;
/// Words that a sentence has at least, and characters at most: headings and tables answer nothing.
const WORDS: usize = 4;
const CHARACTERS: usize = 600;
/// Sentences that are worse than this share of the best one are left out.
const AS_GOOD: f32 = 0.6;
/// Sentences that share more of their words than this (Jaccard) say the same.
const SAME: f32 = 0.6;
/// Weight of meaning against words.
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

/// The sentences, each with the marker of its passage.
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
            for range in sentences::split(text) {
                let sentence = &text[range.clone()];
                let fits = sentence.split_whitespace().count() >= WORDS
                    && sentence.chars().count() <= CHARACTERS;
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
    let near = |v: &[f32]| -> f32 { vectors[0].iter().zip(v).map(|(a, b)| a * b).sum() };
    for ((candidate, share), vector) in candidates.iter_mut().zip(shares).zip(&vectors[1..]) {
        candidate.score = MEANING * near(vector) + (1.0 - MEANING) * share;
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
            // On a line of its own, so that where it ends does not depend on how it ends.
            let before = if at == 0 { "" } else { "\n" };
            let sentence = passage.text[c.range].split_whitespace();
            let sentence = sentence.collect::<Vec<_>>().join(" ");
            format!("{before}{sentence} [{}]", passage.number)
        })
        .collect())
}
