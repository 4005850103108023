//! Groups of rows, and what is counted and added up in them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::values::{Key, text_key};
use super::{Order, invalid, values};
use crate::error::{Error, Result};
use crate::kb::filter::value_at;

/// Most groups of an answer.
const GROUPS: usize = 10_000;
/// Bytes of a value that makes a group.
const VALUE: usize = 1024;
/// Aggregates of a question.
const AGGREGATES: usize = 50;

/// Something to say of a group.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Operation of the aggregate.
    pub op: Operation,
    /// Of which field; `count` without one counts rows.
    pub field: Option<String>,
    /// Under which name to answer; `op_field` when absent, and `count`.
    #[serde(rename = "as")]
    pub name: Option<String>,
}

/// Aggregate operations. Values that are absent or null count nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// How many rows, or how many that have the field.
    Count,
    /// The sum of the numbers.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest number or text; of texts the first 256 characters.
    Min,
    /// The largest number or text; of texts the first 256 characters.
    Max,
}

/// Gives every aggregate a name, and checks them.
pub(super) fn named(given: &[Aggregate], group_by: &[String]) -> Result<Vec<Aggregate>> {
    if given.len() > AGGREGATES {
        return Err(invalid(format!(
            "a query may have at most {AGGREGATES} aggregates"
        )));
    }
    let mut named: Vec<Aggregate> = Vec::with_capacity(given.len());
    for aggregate in given {
        let op = json!(aggregate.op);
        let op = op.as_str().unwrap_or_default();
        let own = match &aggregate.field {
            None if aggregate.op == Operation::Count => op.to_owned(),
            None => return Err(invalid(format!("{op} requires a field"))),
            Some(field) => format!("{op}_{field}"),
        };
        let name = aggregate.name.clone().unwrap_or(own);
        if group_by.contains(&name) || named.iter().any(|a| a.name.as_ref() == Some(&name)) {
            return Err(invalid(format!(
                "{name} occurs twice; rename one of them with \"as\""
            )));
        }
        named.push(Aggregate {
            name: Some(name),
            ..aggregate.clone()
        });
    }
    Ok(named)
}

/// The groups of some rows, under the JSON of their values.
#[derive(Debug, Default)]
pub(super) struct Groups {
    found: HashMap<String, Group>,
}

#[derive(Debug, Default)]
struct Group {
    rows: u64,
    values: Vec<Worked>,
}

/// Intermediate state of one aggregate of one group.
#[derive(Debug, Clone, Default)]
struct Worked {
    count: u64,
    numbers: u64,
    /// Integers are added up exactly.
    whole: i128,
    /// The others with the error that rounding left behind (Neumaier's variant of Kahan's sum).
    part: f64,
    lost: f64,
    fractions: u64,
    extreme: Option<Value>,
}

impl Worked {
    fn add_part(&mut self, x: f64) {
        let sum = self.part + x;
        self.lost += if self.part.abs() >= x.abs() {
            (self.part - sum) + x
        } else {
            (x - sum) + self.part
        };
        self.part = sum;
    }

    fn add(&mut self, op: Operation, value: &Value) {
        self.count += 1;
        match op {
            Operation::Count => {}
            Operation::Sum | Operation::Avg => {
                if let Value::Number(n) = value {
                    self.numbers += 1;
                    match (n.as_i128(), n.as_f64()) {
                        (Some(whole), _) => self.whole += whole,
                        (None, Some(x)) => {
                            self.fractions += 1;
                            self.add_part(x);
                        }
                        (None, None) => {}
                    }
                }
            }
            Operation::Min | Operation::Max => match value {
                Value::Number(_) | Value::Bool(_) => self.meet(op, value.clone()),
                Value::String(text) => self.meet(op, Value::String(text_key(text))),
                Value::Null | Value::Array(_) | Value::Object(_) => {}
            },
        }
    }

    fn meet(&mut self, op: Operation, value: Value) {
        let order = if op == Operation::Min {
            Order::Asc
        } else {
            Order::Desc
        };
        let keys = |v: &Value| [Key::of(Some(v))];
        let better = self.extreme.as_ref().is_none_or(|there| {
            values::order(&keys(&value), &keys(there), std::iter::once(order)).is_lt()
        });
        if better {
            self.extreme = Some(value);
        }
    }

    fn merge(&mut self, op: Operation, other: Self) {
        self.count += other.count;
        self.numbers += other.numbers;
        self.whole += other.whole;
        self.fractions += other.fractions;
        self.add_part(other.part);
        self.lost += other.lost;
        if let Some(value) = other.extreme {
            self.meet(op, value);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean is as exact as a float")]
    fn finish(self, op: Operation) -> Value {
        let sum = self.whole as f64 + (self.part + self.lost);
        match op {
            Operation::Count => json!(self.count),
            Operation::Sum if self.fractions == 0 => {
                i64::try_from(self.whole).map_or_else(|_| json!(sum), |whole| json!(whole))
            }
            Operation::Sum => json!(sum),
            Operation::Avg if self.numbers == 0 => Value::Null,
            Operation::Avg => json!(sum / self.numbers as f64),
            Operation::Min | Operation::Max => self.extreme.unwrap_or(Value::Null),
        }
    }
}

impl Groups {
    /// Adds a row to its group.
    pub(super) fn add(
        &mut self,
        data: &Value,
        group_by: &[String],
        aggregates: &[Aggregate],
    ) -> Result<()> {
        let values: Vec<&Value> = group_by
            .iter()
            .map(|name| value_at(data, name).unwrap_or(&Value::Null))
            .collect();
        let key = serde_json::to_string(&values)?;
        if key.len() > VALUE * group_by.len().max(1) {
            return Err(invalid(format!(
                "values of groupBy may have at most {VALUE} bytes each"
            )));
        }
        let group = self.found.entry(key).or_default();
        group.rows += 1;
        group.values.resize_with(aggregates.len(), Worked::default);
        for (worked, aggregate) in group.values.iter_mut().zip(aggregates) {
            if let Some(value) = aggregate.field.as_ref().and_then(|f| value_at(data, f)) {
                worked.add(aggregate.op, value);
            }
        }
        self.bounded()
    }

    /// Adds what was found in other rows.
    pub(super) fn merge(&mut self, other: Self, aggregates: &[Aggregate]) -> Result<()> {
        for (key, group) in other.found {
            let there = self.found.entry(key).or_default();
            there.rows += group.rows;
            there.values.resize_with(aggregates.len(), Worked::default);
            for ((worked, more), aggregate) in
                there.values.iter_mut().zip(group.values).zip(aggregates)
            {
                worked.merge(aggregate.op, more);
            }
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<()> {
        if self.found.len() > GROUPS {
            return Err(Error::invalid(
                "too_many_groups",
                format!(
                    "there are more than {GROUPS} groups; use a filter or fewer fields in groupBy"
                ),
            ));
        }
        Ok(())
    }

    /// Each group as an object of its fields and its aggregates, in no particular order. Without fields there is one, even of no rows.
    pub(super) fn finish(
        mut self,
        group_by: &[String],
        aggregates: &[Aggregate],
    ) -> Result<Vec<Map<String, Value>>> {
        if group_by.is_empty() && self.found.is_empty() {
            self.found.insert("[]".to_owned(), Group::default());
        }
        self.found
            .into_iter()
            .map(|(key, mut group)| {
                let values: Vec<Value> = serde_json::from_str(&key)?;
                let mut object: Map<String, Value> = group_by.iter().cloned().zip(values).collect();
                group.values.resize_with(aggregates.len(), Worked::default);
                for (worked, aggregate) in group.values.into_iter().zip(aggregates) {
                    let value = match aggregate.field {
                        None => json!(group.rows),
                        Some(_) => worked.finish(aggregate.op),
                    };
                    object.insert(aggregate.name.clone().unwrap_or_default(), value);
                }
                Ok(object)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(rows: &[Value], group_by: &[&str], aggregates: Value) -> Vec<Map<String, Value>> {
        let group_by: Vec<String> = group_by.iter().map(|n| (*n).to_owned()).collect();
        let given: Vec<Aggregate> = serde_json::from_value(aggregates).expect("aggregates");
        let aggregates = named(&given, &group_by).expect("valid");
        let mut all = Groups::default();
        // In two parts, as blocks are.
        for half in rows.chunks(2) {
            let mut part = Groups::default();
            for row in half {
                part.add(row, &group_by, &aggregates).expect("added");
            }
            all.merge(part, &aggregates).expect("merged");
        }
        all.finish(&group_by, &aggregates).expect("finished")
    }

    #[test]
    fn groups_are_counted_and_added_up() {
        let rows = [
            json!({"kind": "a", "n": 1, "day": "2026-01-02"}),
            json!({"kind": "a", "n": 2.5, "day": "2026-01-01"}),
            json!({"kind": "b", "n": 9_007_199_254_740_993_i64}),
            json!({"n": "many"}),
            json!({"kind": "b", "n": 1}),
        ];
        let all = json!([{"op": "count"}, {"op": "count", "field": "n"}, {"op": "sum", "field": "n"}, {"op": "avg", "field": "n", "as": "mean"}, {"op": "min", "field": "day"}]);
        let mut found = ask(&rows, &["kind"], all.clone());
        found.sort_by_key(|g| g["kind"].to_string());
        assert_eq!(
            Value::from_iter(found),
            json!([
                {"kind": "a", "count": 2, "count_n": 2, "sum_n": 3.5, "mean": 1.75, "min_day": "2026-01-01"},
                {"kind": "b", "count": 2, "count_n": 2, "sum_n": 9_007_199_254_740_994_i64, "mean": 4_503_599_627_370_497.0, "min_day": null},
                {"kind": null, "count": 1, "count_n": 1, "sum_n": 0, "mean": null, "min_day": null},
            ])
        );
        assert_eq!(
            Value::from_iter(ask(&[], &[], all)),
            json!([{"count": 0, "count_n": 0, "sum_n": 0, "mean": null, "min_day": null}])
        );
    }

    #[test]
    fn sums_lose_nothing_on_the_way() {
        let rows: Vec<Value> = [1e100, 1.0, -1e100].map(|n| json!({"n": n})).into();
        assert_eq!(
            Value::from_iter(ask(&rows, &[], json!([{"op": "sum", "field": "n"}]))),
            json!([{"sum_n": 1.0}])
        );
    }

    #[test]
    fn names_are_used_once() {
        let twice: Vec<Aggregate> =
            serde_json::from_value(json!([{"op": "count"}, {"op": "count"}])).expect("aggregates");
        assert_eq!(
            named(&twice, &[]).expect_err("twice").code(),
            "query_invalid"
        );
        let none: Vec<Aggregate> =
            serde_json::from_value(json!([{"op": "sum"}])).expect("aggregates");
        assert!(named(&none, &[]).is_err());
    }
}
