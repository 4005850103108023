//! The chunks and documents of a set, by ordinals: dense numbers in order of appearance, which bitmaps and arrays are indexed by.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::AHashMap;
use fixedbitset::FixedBitSet;
use serde_json::Value;
use uuid::Uuid;

use super::column::Column;
use crate::kb::filter::{Filter, value_at};

/// Ordinal of the document of a chunk that was never live.
const NO_DOCUMENT: u32 = u32::MAX;
/// Maximum number of fields kept as columns; more are dropped and read again when a filter needs them.
const COLUMNS: usize = 64;

/// The chunks and documents of a set.
#[derive(Debug, Default)]
pub struct Table {
    /// Position of the index log up to which chunks are current.
    pub(super) position: i64,
    /// Version of the dataset up to which documents are current.
    pub(super) version: i64,
    /// Whether it was read from SQL.
    pub(super) is_loaded: bool,
    ordinals: AHashMap<Uuid, u32>,
    ids: Vec<Uuid>,
    /// Ordinal of the document of each chunk.
    document_of: Vec<u32>,
    /// Chunks that exist and are enabled.
    live: FixedBitSet,
    /// Live chunks of enabled documents.
    visible: FixedBitSet,
    documents: Vec<Arc<str>>,
    document_ordinals: AHashMap<Arc<str>, u32>,
    enabled: FixedBitSet,
    columns: HashMap<String, Column>,
}

/// Chunks to which a search is restricted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passing {
    /// Their ordinals.
    pub chunks: FixedBitSet,
    /// Their number.
    pub count: usize,
}

impl Passing {
    /// Creates a restriction to some chunks.
    #[must_use]
    pub fn new(chunks: FixedBitSet) -> Self {
        let count = chunks.count_ones(..);
        Self { chunks, count }
    }

    /// Returns the approximate number of bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.len() / 8 + 64
    }
}

impl Table {
    /// Returns the number of ordinals in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether no chunk was ever known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the chunks that searches may return.
    #[must_use]
    pub fn visible(&self) -> &FixedBitSet {
        &self.visible
    }

    /// Returns the ordinal of a chunk.
    #[must_use]
    pub fn ordinal(&self, id: &Uuid) -> Option<u32> {
        self.ordinals.get(id).copied()
    }

    /// Returns the id of a chunk.
    #[must_use]
    pub fn id(&self, ordinal: u32) -> Option<Uuid> {
        self.ids.get(ordinal as usize).copied()
    }

    /// Returns the document of a chunk that searches may return.
    #[must_use]
    pub fn document_of_visible(&self, id: &Uuid) -> Option<&Arc<str>> {
        let ordinal = self.ordinal(id)? as usize;
        if !self.visible.contains(ordinal) {
            return None;
        }
        self.documents.get(self.document_of[ordinal] as usize)
    }

    /// Returns the ids of the documents of some chunks.
    #[must_use]
    pub fn documents_of(&self, chunks: &FixedBitSet) -> Vec<String> {
        let mut documents = FixedBitSet::with_capacity(self.documents.len());
        for ordinal in chunks.ones() {
            let document = self.document_of[ordinal] as usize;
            if document < documents.len() {
                documents.insert(document);
            }
        }
        let ids = documents.ones().map(|n| self.documents[n].to_string());
        ids.collect()
    }

    /// Returns the ordinal of a chunk, new when it is not known; a new chunk is not live.
    pub fn intern(&mut self, id: Uuid) -> u32 {
        if let Some(known) = self.ordinals.get(&id) {
            return *known;
        }
        let ordinal = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ordinals.insert(id, ordinal);
        self.ids.push(id);
        self.document_of.push(NO_DOCUMENT);
        self.live.grow(self.ids.len());
        self.visible.grow(self.ids.len());
        ordinal
    }

    fn intern_document(&mut self, id: &str) -> u32 {
        if let Some(known) = self.document_ordinals.get(id) {
            return *known;
        }
        let (ordinal, id) = (
            u32::try_from(self.documents.len()).unwrap_or(u32::MAX),
            Arc::<str>::from(id),
        );
        self.documents.push(Arc::clone(&id));
        self.document_ordinals.insert(id, ordinal);
        self.enabled.grow(self.documents.len());
        ordinal
    }

    /// Records that a chunk of a document is live; `false` when the document is not known, whose chunks are not visible before it is.
    pub(super) fn put(&mut self, id: Uuid, document_id: &str) -> bool {
        let is_known = self.document_ordinals.contains_key(document_id);
        let document = self.intern_document(document_id);
        let ordinal = self.intern(id) as usize;
        self.document_of[ordinal] = document;
        self.live.insert(ordinal);
        self.visible
            .set(ordinal, self.enabled.contains(document as usize));
        is_known
    }

    /// Records that a chunk is not live.
    pub(super) fn remove(&mut self, id: &Uuid) {
        if let Some(ordinal) = self.ordinal(id) {
            self.live.set(ordinal as usize, false);
            self.visible.set(ordinal as usize, false);
        }
    }

    /// Records that no chunk is live.
    pub(super) fn clear(&mut self) {
        self.live.clear();
        self.visible.clear();
    }

    /// Records the visibility and the fields of documents: id, whether it is enabled, and its object.
    pub(super) fn set_documents(&mut self, documents: &[(String, bool, Value)]) {
        let known = self.documents.len();
        let mut switched = FixedBitSet::with_capacity(known);
        for (id, enabled, object) in documents {
            let document = self.intern_document(id);
            let index = document as usize;
            // A document that was not known has no chunks yet.
            if index < known && self.enabled.contains(index) != *enabled {
                switched.insert(index);
            }
            self.enabled.set(index, *enabled);
            for (field, column) in &mut self.columns {
                column.set(document, value_at(object, field));
            }
        }
        if switched.is_clear() {
            return;
        }
        for (ordinal, document) in self.document_of.iter().enumerate() {
            let document = *document as usize;
            if switched.contains(document) {
                let visible = self.live.contains(ordinal) && self.enabled.contains(document);
                self.visible.set(ordinal, visible);
            }
        }
    }

    /// Returns whether there are columns.
    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Returns which of some fields are not columns yet.
    pub(super) fn missing_columns(&self, fields: &[String]) -> Vec<String> {
        let missing = fields.iter();
        let missing = missing.filter(|field| !self.columns.contains_key(*field));
        missing.cloned().collect()
    }

    /// Returns the value of a field of a document; `None` when it has none, or the field is not a column.
    #[must_use]
    pub fn value(&self, field: &str, document_id: &str) -> Option<&Value> {
        let document = self.document_ordinals.get(document_id)?;
        self.columns.get(field)?.value(*document)
    }

    /// Adds columns for some fields, from all documents of the dataset.
    pub(super) fn add_columns(&mut self, fields: &[String], documents: &[(String, bool, Value)]) {
        if self.columns.len() + fields.len() > COLUMNS {
            self.columns.clear();
        }
        for field in fields {
            self.columns.insert(field.clone(), Column::default());
        }
        // Sets these columns, and the others to what they are.
        self.set_documents(documents);
    }

    /// Returns the visible chunks whose document may satisfy a filter, judging by the document alone. The columns of its fields exist.
    #[must_use]
    pub fn passing(&self, filter: &Filter) -> Passing {
        let (may, _) = self.judge(filter);
        let mut chunks = FixedBitSet::with_capacity(self.ids.len());
        for ordinal in self.visible.ones() {
            let document = self.document_of[ordinal] as usize;
            chunks.set(ordinal, may.contains(document));
        }
        Passing::new(chunks)
    }

    /// Returns the documents of which a chunk may satisfy a filter, and those of which one may fail it; see [`Filter::may_hold`].
    fn judge(&self, filter: &Filter) -> (FixedBitSet, FixedBitSet) {
        let count = self.documents.len();
        let all = || {
            let mut all = FixedBitSet::with_capacity(count);
            all.insert_range(..);
            all
        };
        let none = || FixedBitSet::with_capacity(count);
        match filter {
            Filter::And { and } => and.iter().map(|part| self.judge(part)).fold(
                (all(), none()),
                |(mut yes, mut no), (y, n)| {
                    yes.intersect_with(&y);
                    no.union_with(&n);
                    (yes, no)
                },
            ),
            Filter::Or { or } => or.iter().map(|part| self.judge(part)).fold(
                (none(), all()),
                |(mut yes, mut no), (y, n)| {
                    yes.union_with(&y);
                    no.intersect_with(&n);
                    (yes, no)
                },
            ),
            Filter::Not { not } => {
                let (yes, no) = self.judge(not);
                (no, yes)
            }
            Filter::Is(comparison) if comparison.is_of_chunk() => (all(), all()),
            Filter::Is(comparison) => {
                let empty = Column::default();
                let column = self.columns.get(&comparison.field).unwrap_or(&empty);
                let yes = column.satisfying(comparison, count);
                let mut no = all();
                no.difference_with(&yes);
                (yes, no)
            }
        }
    }

    /// Returns whether so many ordinals belong to chunks that are gone that the set should be read anew.
    pub(super) fn is_wasteful(&self) -> bool {
        self.ids.len() > 2 * self.live.count_ones(..) + 50_000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn names(table: &Table) -> Vec<usize> {
        table.visible().ones().collect()
    }

    #[test]
    fn chunks_are_visible_while_they_and_their_document_are() {
        let mut table = Table::default();
        table.set_documents(&[
            ("a".into(), true, Value::Null),
            ("b".into(), false, Value::Null),
        ]);
        for (n, document) in ["a", "a", "b"].into_iter().enumerate() {
            assert!(table.put(id(n), document));
        }
        assert_eq!(names(&table), [0, 1]);
        table.set_documents(&[("b".into(), true, Value::Null)]);
        assert_eq!(names(&table), [0, 1, 2]);
        table.remove(&id(0));
        table.set_documents(&[("a".into(), false, Value::Null)]);
        assert_eq!(names(&table), [2]);
        table.set_documents(&[("a".into(), true, Value::Null)]);
        assert_eq!(names(&table), [1, 2], "a removed chunk does not come back");
    }

    #[test]
    fn a_chunk_of_an_unknown_document_is_hidden_until_the_document_is_known() {
        let mut table = Table::default();
        assert!(!table.put(id(0), "a"));
        assert_eq!(table.document_of_visible(&id(0)), None);
        table.set_documents(&[("a".into(), true, Value::Null)]);
        assert_eq!(
            table.document_of_visible(&id(0)).map(AsRef::as_ref),
            Some("a")
        );
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0..4_i64).prop_map(Value::from),
            prop::sample::select(vec!["x", "y", "2024-01-01"]).prop_map(Value::from),
            prop::collection::vec(0..3_i64, 0..3).prop_map(Value::from),
            Just(Value::Null),
        ]
    }

    fn documents() -> impl Strategy<Value = Vec<Value>> {
        let object = (values(), values()).prop_map(|(a, b)| json!({"a": a, "b": {"c": b}}));
        prop::collection::vec(prop_oneof![object, Just(json!({}))], 1..12)
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let field = prop::sample::select(vec!["a", "b.c", "none", "$page"]);
        let op = prop::sample::select(vec!["eq", "ne", "gt", "lte", "contains"]);
        let leaf = (field, op, 0..4_i64).prop_map(|(field, op, value)| {
            Filter::read(&json!({"field": field, "op": op, "value": value})).expect("a filter")
        });
        leaf.prop_recursive(3, 12, 3, |inner| {
            let parts = prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                parts.clone().prop_map(|and| Filter::And { and }),
                parts.prop_map(|or| Filter::Or { or }),
                inner.prop_map(|not| Filter::Not { not: Box::new(not) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_filter_passes_the_chunks_of_documents_that_may_satisfy_it(
            before in documents(), after in documents(), filter in filters(),
        ) {
            let mut table = Table::default();
            let rows = |objects: &[Value]| -> Vec<(String, bool, Value)> {
                let rows = objects.iter().enumerate();
                rows.map(|(n, object)| (n.to_string(), true, object.clone())).collect()
            };
            // The columns exist before the documents change.
            let mut fields = Vec::new();
            filter.document_fields(&mut fields);
            let missing = table.missing_columns(&fields);
            table.add_columns(&missing, &rows(&before));
            table.set_documents(&rows(&after));
            let count = before.len().max(after.len());
            for n in 0..count {
                table.put(id(n), &n.to_string());
            }
            let passing = table.passing(&filter);
            let present = after.iter().chain(before.iter().skip(after.len()));
            for (n, object) in present.enumerate() {
                prop_assert_eq!(passing.chunks.contains(n), filter.may_hold(object).0);
            }
            prop_assert_eq!(passing.count, passing.chunks.count_ones(..));
        }
    }
}
