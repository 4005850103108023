//! Filters over the metadata of documents: a tree of and, or, not and comparisons, evaluated on the JSON object of each document.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// A filter condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, deny_unknown_fields)]
#[schema(no_recursion)]
pub enum Filter {
    /// All conditions hold.
    And {
        /// Conditions that have to hold.
        and: Vec<Filter>,
    },
    /// At least one condition holds.
    Or {
        /// Conditions of which one has to hold.
        or: Vec<Filter>,
    },
    /// The condition does not hold.
    Not {
        /// Negated condition.
        not: Box<Filter>,
    },
    /// A comparison of a field with a value.
    Is(Comparison),
}

/// A comparison of a field with a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Name of the field; dots address nested objects.
    pub field: String,
    /// Comparison operator.
    pub op: Operator,
    /// Value to compare with: a list for `in` and `nin`, true or false for `exists`.
    #[serde(default)]
    pub value: Value,
}

/// Comparison operator. An absent field satisfies only `ne`, `nin` and `exists: false`. A field that holds a list satisfies `eq`, `in`, `starts`, `ends` and
/// the orderings when one of its items does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// Equal to the value.
    Eq,
    /// Not equal to the value.
    Ne,
    /// Equal to one item of a list.
    In,
    /// Equal to no item of a list.
    Nin,
    /// Greater than the value; numbers by value, strings by character.
    Gt,
    /// Greater than or equal to the value.
    Gte,
    /// Less than the value.
    Lt,
    /// Less than or equal to the value.
    Lte,
    /// A string that contains the value, ignoring case, or a list that has it as an item.
    Contains,
    /// A string that begins with the value, ignoring case.
    Starts,
    /// A string that ends with the value, ignoring case.
    Ends,
    /// Present and not null.
    Exists,
}

/// Maximum nesting depth of a filter.
const DEPTH: usize = 16;
/// Maximum number of values in a filter; items of lists count one by one.
const SIZE: usize = 1000;

impl Filter {
    /// Parses a filter from JSON and validates its shape.
    ///
    /// # Errors
    /// `filter_invalid`, whose message names what was expected.
    pub fn read(value: &Value) -> Result<Self> {
        let filter: Self = serde_json::from_value(value.clone()).map_err(|_| {
            Error::invalid(
                "filter_invalid",
                "a filter must be {\"field\", \"op\", \"value\"} with op one of eq, ne, in, nin, gt, gte, lt, lte, contains, starts, ends, exists, or {\"and\": […]}, {\"or\": […]}, {\"not\": {…}}",
            )
        })?;
        filter.validate()?;
        Ok(filter)
    }

    /// Validates the shape, depth and size of a filter.
    ///
    /// # Errors
    /// `filter_invalid`, `field_unknown`.
    pub fn validate(&self) -> Result<()> {
        if self.check(1)? > SIZE {
            return Err(Error::invalid(
                "filter_invalid",
                format!("a filter may have at most {SIZE} values"),
            ));
        }
        Ok(())
    }

    fn check(&self, depth: usize) -> Result<usize> {
        if depth > DEPTH {
            return Err(Error::invalid(
                "filter_invalid",
                format!("a filter may be nested at most {DEPTH} levels deep"),
            ));
        }
        match self {
            Self::And { and: parts } | Self::Or { or: parts } => {
                parts.iter().map(|p| p.check(depth + 1)).sum()
            }
            Self::Not { not } => not.check(depth + 1),
            Self::Is(comparison) => {
                known_field(&comparison.field)?;
                let fits = match comparison.op {
                    Operator::In | Operator::Nin => comparison.value.is_array(),
                    Operator::Exists => comparison.value.is_boolean() || comparison.value.is_null(),
                    Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => {
                        comparison.value.is_number() || comparison.value.is_string()
                    }
                    Operator::Starts | Operator::Ends => comparison.value.is_string(),
                    Operator::Eq | Operator::Ne | Operator::Contains => {
                        !comparison.value.is_object()
                    }
                };
                if fits {
                    Ok(comparison.value.as_array().map_or(1, Vec::len).max(1))
                } else {
                    Err(Error::invalid(
                        "filter_invalid",
                        format!("the value for {} does not match its op", comparison.field),
                    ))
                }
            }
        }
    }

    /// Returns whether the filter refers to a field of chunks, not of documents.
    #[must_use]
    pub fn asks_chunks(&self) -> bool {
        match self {
            Self::And { and: parts } | Self::Or { or: parts } => {
                parts.iter().any(Self::asks_chunks)
            }
            Self::Not { not } => not.asks_chunks(),
            Self::Is(comparison) => comparison.is_of_chunk(),
        }
    }

    /// Adds the fields of documents that the filter refers to, each once.
    pub fn document_fields(&self, fields: &mut Vec<String>) {
        match self {
            Self::And { and: parts } | Self::Or { or: parts } => {
                parts.iter().for_each(|part| part.document_fields(fields));
            }
            Self::Not { not } => not.document_fields(fields),
            Self::Is(comparison) => {
                if !comparison.is_of_chunk() && !fields.contains(&comparison.field) {
                    fields.push(comparison.field.clone());
                }
            }
        }
    }

    /// Returns whether a chunk of a document may satisfy the filter, judging by the document alone, and whether one may fail it.
    #[must_use]
    pub fn may_hold(&self, document: &Value) -> (bool, bool) {
        match self {
            Self::And { and } => and
                .iter()
                .map(|f| f.may_hold(document))
                .fold((true, false), |(yes, no), (y, n)| (yes && y, no || n)),
            Self::Or { or } => or
                .iter()
                .map(|f| f.may_hold(document))
                .fold((false, true), |(yes, no), (y, n)| (yes || y, no && n)),
            Self::Not { not } => {
                let (yes, no) = not.may_hold(document);
                (no, yes)
            }
            Self::Is(comparison) if comparison.is_of_chunk() => (true, true),
            Self::Is(comparison) => {
                let holds = comparison.holds(document);
                (holds, !holds)
            }
        }
    }

    /// Returns the filter for `field:value` in a query: the field contains the value, ignoring case, or equals that number or truth value.
    #[must_use]
    pub fn typed(field: &str, value: &str) -> Self {
        let is = |op, value| {
            Self::Is(Comparison {
                field: field.to_owned(),
                op,
                value,
            })
        };
        let mut or = vec![is(Operator::Contains, Value::from(value))];
        if let Ok(parsed @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(value) {
            or.push(is(Operator::Eq, parsed));
        }
        Self::Or { or }
    }

    /// Returns the first comparison that an object fails, for explanations; `None` when the filter holds.
    #[must_use]
    pub fn failing(&self, object: &Value) -> Option<Self> {
        match self {
            Self::And { and } => and.iter().find_map(|f| f.failing(object)),
            Self::Or { .. } | Self::Not { .. } | Self::Is(_) => {
                (!self.holds(object)).then(|| self.clone())
            }
        }
    }

    /// Returns whether an object satisfies the filter.
    #[must_use]
    pub fn holds(&self, object: &Value) -> bool {
        match self {
            Self::And { and } => and.iter().all(|f| f.holds(object)),
            Self::Or { or } => or.iter().any(|f| f.holds(object)),
            Self::Not { not } => !not.holds(object),
            Self::Is(comparison) => comparison.holds(object),
        }
    }
}

impl Comparison {
    fn holds(&self, object: &Value) -> bool {
        self.holds_for(value_at(object, &self.field))
    }

    /// Returns whether the comparison refers to a field of chunks, not of documents.
    #[must_use]
    pub fn is_of_chunk(&self) -> bool {
        is_of_chunk(&self.field)
    }

    /// Returns whether a value of the field satisfies the comparison; `None` stands for an absent field.
    #[must_use]
    pub fn holds_for(&self, found: Option<&Value>) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| match found {
            Some(Value::Array(items)) => items.iter().any(test),
            Some(value) => test(value),
            None => false,
        };
        let equals =
            |wanted: &Value| any(&|v| same(v, wanted)) || found.is_some_and(|v| same(v, wanted));
        let within = || {
            self.value
                .as_array()
                .is_some_and(|list| list.iter().any(&equals))
        };
        let ordered = |wanted: &[std::cmp::Ordering]| {
            any(&|v| compare(v, &self.value).is_some_and(|o| wanted.contains(&o)))
        };
        let affix = |test: &dyn Fn(&str, &str) -> bool| {
            let part = self.value.as_str().map(str::to_lowercase);
            any(&|v| match (v.as_str(), &part) {
                (Some(text), Some(part)) => test(&text.to_lowercase(), part),
                _ => false,
            })
        };
        use std::cmp::Ordering::{Equal, Greater, Less};
        match self.op {
            Operator::Eq => equals(&self.value),
            Operator::Ne => !equals(&self.value),
            Operator::In => within(),
            Operator::Nin => !within(),
            Operator::Gt => ordered(&[Greater]),
            Operator::Gte => ordered(&[Greater, Equal]),
            Operator::Lt => ordered(&[Less]),
            Operator::Lte => ordered(&[Less, Equal]),
            Operator::Contains => match (found, &self.value) {
                (Some(Value::String(text)), Value::String(part)) => {
                    text.to_lowercase().contains(&part.to_lowercase())
                }
                (Some(Value::Array(items)), wanted) => items.iter().any(|item| same(item, wanted)),
                _ => false,
            },
            Operator::Starts => affix(&|text, part| text.starts_with(part)),
            Operator::Ends => affix(&|text, part| text.ends_with(part)),
            Operator::Exists => found.is_some() != (self.value == Value::Bool(false)),
        }
    }
}

/// Built-in fields of hits.
const BUILT_IN: [&str; 11] = [
    "$documentId",
    "$fileName",
    "$title",
    "$url",
    "$publishedAt",
    "$source",
    "$mimeType",
    "$createdOn",
    "$updatedOn",
    "$heading",
    "$page",
];

/// Rejects fields that begin with a dollar and are not built in.
///
/// # Errors
/// `field_unknown`, whose message lists the built-in ones.
pub fn known_field(field: &str) -> Result<()> {
    if field.starts_with('$') && !BUILT_IN.contains(&field) {
        return Err(Error::invalid(
            "field_unknown",
            format!("unknown field {field}; use one of {}", BUILT_IN.join(", ")),
        ));
    }
    Ok(())
}

/// Returns the value of a field that is present and not null; dots address nested objects.
#[must_use]
pub fn value_at<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    let nested = || {
        field
            .split('.')
            .try_fold(object, |value, part| value.get(part))
    };
    object.get(field).or_else(nested).filter(|v| !v.is_null())
}

/// Returns whether a built-in field, which begins with a dollar, belongs to the chunk.
#[must_use]
pub fn is_of_chunk(field: &str) -> bool {
    matches!(field, "$heading" | "$page")
}

/// Returns whether two values are equal: numbers by value (1 and 1.0), times as instants, everything else as JSON.
fn same(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b) == Some(std::cmp::Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => match (moment(a), moment(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        _ => None,
    }
}

/// Returns a number without fraction; above 2^53 a binary fraction does not represent all of them.
fn whole(number: &serde_json::Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// Parses an instant: a time of RFC 3339 in any offset, or a day, which begins at midnight UTC.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    if text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(filter: Value) -> bool {
        let object = json!({"lang": "de", "year": 2024, "tags": ["a", "b"], "author": {"name": "Ada Lovelace"}, "gone": null});
        Filter::read(&filter).expect("valid").holds(&object)
    }

    #[test]
    fn times_are_compared_as_moments_and_large_numbers_exactly() {
        let object = json!({"at": "2026-03-01T01:00:00+02:00", "day": "2026-03-01", "id": 9_007_199_254_740_993_i64});
        for (field, op, value, expected) in [
            ("at", "lt", json!("2026-03-01T00:00:00Z"), true),
            ("at", "eq", json!("2026-02-28T23:00:00Z"), true),
            ("at", "lt", json!("2026-03-01"), true),
            ("day", "gte", json!("2026-03-01T00:00:00Z"), true),
            ("day", "gt", json!("2026-02-30x"), true),
            ("id", "eq", json!(9_007_199_254_740_992_i64), false),
            ("id", "gt", json!(9_007_199_254_740_992_i64), true),
        ] {
            let filter = json!({"field": field, "op": op, "value": value});
            let read = Filter::read(&filter).expect("valid");
            assert_eq!(read.holds(&object), expected, "{filter}");
        }
    }

    #[test]
    fn every_operator() {
        for (op, value, expected) in [
            ("eq", json!(2024.0), true),
            ("ne", json!(2024), false),
            ("in", json!([1, 2024]), true),
            ("nin", json!([2024]), false),
            ("gt", json!(2024), false),
            ("gte", json!(2024), true),
            ("lt", json!(2025), true),
            ("lte", json!(2023), false),
            ("exists", json!(true), true),
            ("exists", json!(false), false),
            ("starts", json!("20"), false),
        ] {
            assert_eq!(
                holds(json!({"field": "year", "op": op, "value": value})),
                expected,
                "{op} {value}"
            );
        }
        for (op, value, expected) in [
            ("starts", "ada", true),
            ("ends", "LOVELACE", true),
            ("starts", "love", false),
        ] {
            assert_eq!(
                holds(json!({"field": "author.name", "op": op, "value": value})),
                expected,
                "{op} {value}"
            );
        }
        assert!(holds(
            json!({"field": "author.name", "op": "contains", "value": "love"})
        ));
        assert!(
            holds(json!({"field": "tags", "op": "contains", "value": "b"}))
                && holds(json!({"field": "tags", "op": "eq", "value": "a"}))
        );
    }

    #[test]
    fn absent_and_null_fields_only_satisfy_negations() {
        for field in ["gone", "never"] {
            assert!(
                holds(json!({"field": field, "op": "ne", "value": 1}))
                    && holds(json!({"field": field, "op": "exists", "value": false}))
            );
            assert!(
                !holds(json!({"field": field, "op": "lt", "value": 1}))
                    && !holds(json!({"field": field, "op": "eq", "value": null}))
            );
        }
    }

    #[test]
    fn conditions_combine() {
        let de = json!({"field": "lang", "op": "eq", "value": "de"});
        let old = json!({"field": "year", "op": "lt", "value": 2000});
        assert!(
            holds(json!({"or": [de, old]}))
                && !holds(json!({"and": [de, old]}))
                && holds(json!({"not": old}))
        );
    }

    #[test]
    fn bad_shapes_are_refused() {
        for bad in [
            json!({"field": "a"}),
            json!({"field": "a", "op": "like", "value": 1}),
            json!({"field": "a", "op": "in", "value": 1}),
            json!([]),
        ] {
            assert_eq!(
                Filter::read(&bad).expect_err("bad").code(),
                "filter_invalid",
                "{bad}"
            );
        }
        let deep = (0..20).fold(
            json!({"field": "a", "op": "exists"}),
            |f, _| json!({"not": f}),
        );
        assert_eq!(
            Filter::read(&deep).expect_err("deep").code(),
            "filter_invalid"
        );
    }
}
