//! Reading some fields of a stored row; the others are passed over without being kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Result;

/// The position of a stored row.
pub(super) fn position(line: &str) -> Option<i64> {
    line.strip_prefix('[')?.split_once(',')?.0.parse().ok()
}

/// The position of a stored row, and those of its fields that have one of these names.
pub(super) fn row(line: &str, names: &[String]) -> Result<(i64, Value)> {
    let mut reader = serde_json::Deserializer::from_str(line);
    Ok(Line(names).deserialize(&mut reader)?)
}

/// The names of a stored row's fields.
pub(in crate::data::rows) fn names(line: &str) -> Result<Vec<String>> {
    let (.., Names(names)): (i64, IgnoredAny, i64, Names) = serde_json::from_str(line)?;
    Ok(names)
}

struct Names(Vec<String>);

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the fields of a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = fields.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        reader.deserialize_map(Keys)
    }
}

#[derive(Clone, Copy)]
struct Line<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = (i64, Value);

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = (i64, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let short = || A::Error::custom("a stored row is too short");
        let seq = parts.next_element()?.ok_or_else(short)?;
        let _id: IgnoredAny = parts.next_element()?.ok_or_else(short)?;
        let _on: IgnoredAny = parts.next_element()?.ok_or_else(short)?;
        let data = parts.next_element_seed(Fields(self.0))?.ok_or_else(short)?;
        Ok((seq, Value::Object(data)))
    }
}

struct Fields<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut picked = Map::new();
        while let Some(Name(name)) = fields.next_key()? {
            match self.0.iter().find(|n| **n == name) {
                Some(name) => {
                    picked.insert(name.clone(), fields.next_value()?);
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(picked)
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_named_fields_are_read() {
        let line = r#"[7,"f-7",0,{"a":1,"b":{"c":[1,"]}"]},"d\u0065":"x"}]"#;
        let (seq, data) = row(line, &["b".to_owned(), "de".to_owned()]).expect("a row");
        assert_eq!((seq, data), (7, json!({"b": {"c": [1, "]}"]}, "de": "x"})));
        assert_eq!(position(line), Some(7));
        assert!(row(r#"[7,"f-7"]"#, &[]).is_err());
    }
}
