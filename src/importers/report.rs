//! What was read from an export, what became of its fields, and what was left out.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Documents with content.
    pub documents: usize,
    /// Passages that the export already separates.
    pub passages: usize,
    /// Number of vectors by their dimensions.
    pub vectors: BTreeMap<usize, usize>,
    /// Fields of the export, with what they become and how many records have them.
    pub mapped: BTreeMap<String, (String, usize)>,
    /// Fields without a counterpart, and how many records have them.
    pub unmapped: BTreeMap<String, usize>,
    /// Reasons why records or files were left out, each with their number and an example.
    pub skipped: BTreeMap<String, (usize, String)>,
}

impl Report {
    pub(super) fn skip(&mut self, reason: &str, example: &str) {
        let entry = self
            .skipped
            .entry(reason.to_owned())
            .or_insert_with(|| (0, example.chars().take(100).collect()));
        entry.0 += 1;
    }

    pub(super) fn map(&mut self, field: &str, target: &str) {
        let entry = self
            .mapped
            .entry(field.to_owned())
            .or_insert_with(|| (target.to_owned(), 0));
        entry.1 += 1;
    }
}
