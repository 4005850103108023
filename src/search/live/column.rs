//! One field of all documents of a set, stored as distinct values, so that a comparison is evaluated once per value.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use serde_json::Value;

use crate::kb::filter::Comparison;

/// Number of a document without a value.
const ABSENT: u32 = 0;

/// The values of a field, by the ordinal of the document.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// Distinct values; value `n` has the number `n + 1`.
    values: Vec<Value>,
    /// Number of each value, by its JSON text.
    numbers: HashMap<String, u32>,
    of_document: Vec<u32>,
}

impl Column {
    /// Sets the value of a document; `None` when it has no such field.
    pub(super) fn set(&mut self, document: u32, value: Option<&Value>) {
        let number = value.map_or(ABSENT, |value| {
            let text = value.to_string();
            if let Some(known) = self.numbers.get(&text) {
                return *known;
            }
            self.values.push(value.clone());
            let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
            self.numbers.insert(text, number);
            number
        });
        let index = document as usize;
        if self.of_document.len() <= index {
            self.of_document.resize(index + 1, ABSENT);
        }
        self.of_document[index] = number;
    }

    /// Returns the value of a document.
    pub(super) fn value(&self, document: u32) -> Option<&Value> {
        let number = *self.of_document.get(document as usize)?;
        self.values.get((number as usize).checked_sub(1)?)
    }

    /// Returns the documents that satisfy a comparison, among the first `count`.
    pub(super) fn satisfying(&self, comparison: &Comparison, count: usize) -> FixedBitSet {
        let satisfies: Vec<bool> = std::iter::once(comparison.holds_for(None))
            .chain(self.values.iter().map(|v| comparison.holds_for(Some(v))))
            .collect();
        let mut documents = FixedBitSet::with_capacity(count);
        for document in 0..count {
            let number = self.of_document.get(document).copied().unwrap_or(ABSENT);
            documents.set(document, satisfies[number as usize]);
        }
        documents
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn comparison(value: Value) -> Comparison {
        serde_json::from_value(value).expect("a comparison")
    }

    #[test]
    fn a_changed_value_replaces_the_old_one() {
        let mut column = Column::default();
        for (document, year) in [(0, 2020), (2, 2021), (0, 2022)] {
            column.set(document, Some(&json!(year)));
        }
        let recent = comparison(json!({"field": "year", "op": "gte", "value": 2021}));
        let found: Vec<usize> = column.satisfying(&recent, 4).ones().collect();
        assert_eq!(found, [0, 2]);
    }

    #[test]
    fn documents_without_the_field_satisfy_what_an_absent_field_satisfies() {
        let mut column = Column::default();
        column.set(1, Some(&json!("a")));
        column.set(2, None);
        let other = comparison(json!({"field": "team", "op": "ne", "value": "a"}));
        let found: Vec<usize> = column.satisfying(&other, 4).ones().collect();
        assert_eq!(found, [0, 2, 3]);
    }
}
