//! How values of rows are ordered.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Order;

/// Characters of a text that count in an order.
const TEXT: usize = 256;

/// A value's place in an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Key {
    /// A number.
    Number(f64),
    /// The beginning of a text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// The beginning of a list or an object, as JSON.
    Json(String),
    /// None; last in every order.
    Missing,
}

/// The part of a text that counts in an order.
pub(super) fn text_key(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

impl Key {
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Missing,
            Some(Value::Number(n)) => n.as_f64().map_or(Self::Missing, Self::Number),
            Some(Value::String(text)) => Self::Text(text_key(text)),
            Some(Value::Bool(flag)) => Self::Bool(*flag),
            Some(other @ (Value::Array(_) | Value::Object(_))) => {
                Self::Json(text_key(&other.to_string()))
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Bool(_) => 2,
            Self::Json(_) => 3,
            Self::Missing => 4,
        }
    }

    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let ascending = match (self, other) {
            (Self::Missing, Self::Missing) => return Ordering::Equal,
            (Self::Missing, _) => return Ordering::Greater,
            (_, Self::Missing) => return Ordering::Less,
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) | (Self::Json(a), Self::Json(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        };
        match order {
            Order::Asc => ascending,
            Order::Desc => ascending.reverse(),
        }
    }
}

/// Compares the keys of two rows, the most important first.
pub(super) fn order(one: &[Key], other: &[Key], orders: impl Iterator<Item = Order>) -> Ordering {
    one.iter()
        .zip(other)
        .zip(orders)
        .map(|((a, b), order)| a.compare(b, order))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Keys with their orders, and what decides among equals.
#[derive(Debug, PartialEq)]
pub(super) struct Ordered {
    pub(super) keys: Vec<Key>,
    pub(super) orders: Vec<Order>,
    pub(super) own: Vec<Key>,
}

impl Eq for Ordered {}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.keys, &other.keys, self.orders.iter().copied()).then_with(|| {
            order(
                &self.own,
                &other.own,
                std::iter::repeat_n(Order::Asc, self.own.len()),
            )
        })
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A date in the form whose order as text is that of time: a time in UTC with milliseconds, a day as it is.
pub(super) fn date(text: &str) -> Option<String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(
            time.with_timezone(&Utc)
                .to_rfc3339_opts(SecondsFormat::Millis, true),
        );
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .map(|day| day.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_one_order_and_missing_ones_are_last() {
        let values = [
            json!(-1),
            json!(2.5),
            json!("a"),
            json!("b"),
            json!(true),
            json!([1]),
        ];
        let mut keys: Vec<Key> = values.iter().map(|v| Key::of(Some(v))).collect();
        keys.push(Key::Missing);
        let sorted = |order: Order| {
            let mut keys = keys.clone();
            keys.reverse();
            keys.sort_by(|a, b| a.compare(b, order));
            keys
        };
        assert_eq!(sorted(Order::Asc), keys);
        let down = sorted(Order::Desc);
        assert_eq!((&down[0], &down[6]), (&keys[5], &Key::Missing));
    }

    #[test]
    fn dates_order_as_time_does() {
        let at = |text: &str| date(text).expect("a date");
        assert!(at("2026-04-01T10:00:00+02:00") < at("2026-04-01T09:00:00Z"));
        assert!(
            at("2026-04-01") < at("2026-04-01T00:00:00Z")
                && at("2026-04-01T23:59:59Z") < at("2026-04-02")
        );
        assert_eq!(date("soon"), None);
    }
}
