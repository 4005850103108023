//! Reading rows from what callers send: a JSON array, JSON lines, or CSV. Every reader goes through the body once, row by row, and goes on after a faulty row
//! where the format allows it.

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::data::folders::Column;
use crate::data::rows::ROW;
use crate::error::{Error, Result};
use crate::records::ValueType;
use crate::records::check::is_date;

/// Format of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A JSON array of objects.
    Json,
    /// An object on each line.
    Jsonl,
    /// A line of names, then a line of values for each row.
    Csv {
        /// Delimiter of values; detected in the line of names when absent.
        delimiter: Option<u8>,
    },
}

/// Takes a row, or what is wrong with it.
type Take<'a> = dyn FnMut(Result<Map<String, Value>>) -> Result<()> + 'a;

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("rows_invalid", message.into())
}

/// Bytes that may be read for one row, with what is around it.
const RECORD_BYTES_MAX: usize = 4 * ROW;

/// A reader that stops when one row takes too much.
struct Metered<R> {
    inner: R,
    used: Rc<Cell<usize>>,
}

impl<R> Metered<R> {
    fn new(inner: R) -> (Self, Rc<Cell<usize>>) {
        let used = Rc::new(Cell::new(0));
        let meter = Rc::clone(&used);
        (Self { inner, used }, meter)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.used.get() > RECORD_BYTES_MAX {
            return Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                "a row is too large",
            ));
        }
        let count = self.inner.read(out)?;
        self.used.set(self.used.get() + count);
        Ok(count)
    }
}

fn too_large() -> Error {
    invalid(format!(
        "a row may have at most {ROW} bytes; the rest was not read"
    ))
}

/// Reads every row.
pub(super) fn rows(
    file: impl Read,
    source: &Source,
    columns: &[Column],
    take: &mut Take<'_>,
) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 18, file);
    match source {
        Source::Json => array(&mut reader, take),
        Source::Jsonl => lines(&mut reader, take),
        Source::Csv { delimiter } => csv(&mut reader, *delimiter, columns, take),
    }
}

fn object(value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(row) => Ok(row),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => Err(invalid(format!(
            "a row must be an object with fields, not {}",
            cut(&other.to_string())
        ))),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A JSON array, element by element.
fn array(reader: &mut impl BufRead, take: &mut Take<'_>) -> Result<()> {
    struct Elements<'a, 'b> {
        take: &'a mut Take<'b>,
        /// Error with which `take` stopped.
        stopped: &'a mut Option<Error>,
        meter: Rc<Cell<usize>>,
    }
    impl<'de> Visitor<'de> for Elements<'_, '_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of rows")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            while let Some(value) = elements.next_element::<Value>()? {
                self.meter.set(0);
                if let Err(error) = (self.take)(object(value)) {
                    *self.stopped = Some(error);
                    return Err(serde::de::Error::custom("stopped"));
                }
            }
            Ok(())
        }
    }
    impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
        type Value = ();

        fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
            reader.deserialize_seq(self)
        }
    }
    let mut stopped = None;
    let (reader, meter) = Metered::new(reader);
    let mut reader = serde_json::Deserializer::from_reader(reader);
    let elements = Elements {
        take,
        stopped: &mut stopped,
        meter: Rc::clone(&meter),
    };
    let read = elements
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    match (stopped, read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        // After a mistake in the writing there is no telling where the next row begins.
        (None, Err(_)) if meter.get() > RECORD_BYTES_MAX => take(Err(too_large())),
        (None, Err(error)) if error.is_io() => Err(std::io::Error::from(error).into()),
        (None, Err(error)) => take(Err(invalid(format!(
            "the body must be a JSON array of rows: {error}"
        )))),
    }
}

/// A line of JSON for each row; empty lines are passed over.
fn lines(reader: &mut impl BufRead, take: &mut Take<'_>) -> Result<()> {
    let longest = ROW as u64 * 2;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(longest).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 == longest && !line.ends_with(b"\n") {
            skip_line(reader)?;
            take(Err(invalid(format!("a row may have at most {ROW} bytes"))))?;
            continue;
        }
        let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line);
        if text.trim_ascii().is_empty() {
            continue;
        }
        let row = serde_json::from_slice::<Value>(text)
            .map_err(|e| invalid(format!("the line is not valid JSON: {e}")))
            .and_then(object);
        take(row)?;
    }
}

fn skip_line(reader: &mut impl BufRead) -> Result<()> {
    loop {
        let there = reader.fill_buf()?;
        if there.is_empty() {
            return Ok(());
        }
        let (used, ends) = match there.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (there.len(), false),
        };
        reader.consume(used);
        if ends {
            return Ok(());
        }
    }
}

/// Longest name of a column, in characters.
const NAME: usize = 200;

/// A CSV reader, and how much it has read for the row at hand.
type Table<'a, R> = (csv::Reader<Metered<&'a mut R>>, Rc<Cell<usize>>);

/// The values of a CSV body, and its line of names.
fn table<R: BufRead>(reader: &mut R, delimiter: Option<u8>) -> Result<(Table<'_, R>, Vec<String>)> {
    let delimiter = match delimiter {
        Some(delimiter) => delimiter,
        None => {
            // The names are in the first buffer, or they are no names.
            let head = reader.fill_buf()?;
            let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
            let count = |delimiter: u8| line.iter().filter(|b| **b == delimiter).count();
            // The last of equals is taken, which is the comma.
            [b'|', b'\t', b';', b',']
                .into_iter()
                .max_by_key(|d| count(*d))
                .unwrap_or(b',')
        }
    };
    let (reader, meter) = Metered::new(reader);
    let mut table = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(reader);
    let names: Vec<String> = table
        .headers()
        .map_err(|e| wrong(&e))?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let unnamed = names.iter().all(String::is_empty);
    let twice = names
        .iter()
        .enumerate()
        .find(|(at, name)| !name.is_empty() && names[..*at].contains(name));
    if unnamed || names.len() > 10_000 {
        return Err(invalid(
            "a CSV body must start with a header line of at most 10000 names",
        ));
    }
    match twice {
        Some((_, name)) => Err(invalid(format!("the column {name} occurs twice"))),
        None if names.iter().any(|n| n.chars().count() > NAME) => Err(invalid(format!(
            "column names may have at most {NAME} characters"
        ))),
        None => Ok(((table, meter), names)),
    }
}

fn wrong(error: &csv::Error) -> Error {
    if let csv::ErrorKind::Io(io) = error.kind() {
        if io.kind() == std::io::ErrorKind::FileTooLarge {
            return too_large();
        }
        return std::io::Error::new(io.kind(), io.to_string()).into();
    }
    if let csv::ErrorKind::Utf8 { err, .. } = error.kind() {
        return invalid(format!("the text is not UTF-8: {err}"));
    }
    invalid(format!("the body is not valid CSV: {error}"))
}

fn csv(
    reader: &mut impl BufRead,
    delimiter: Option<u8>,
    columns: &[Column],
    take: &mut Take<'_>,
) -> Result<()> {
    let ((mut table, meter), names) = table(reader, delimiter)?;
    let kinds: Vec<ValueType> = names
        .iter()
        .map(|name| {
            columns
                .iter()
                .find(|c| c.name == *name)
                .map_or(ValueType::Text, |c| c.kind)
        })
        .collect();
    let mut record = csv::StringRecord::new();
    loop {
        meter.set(0);
        match table.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => take(row(&names, &kinds, &record))?,
            Err(_) if meter.get() > RECORD_BYTES_MAX => return take(Err(too_large())),
            Err(error) => match wrong(&error) {
                error if error.kind() == crate::error::Kind::Invalid => take(Err(error))?,
                error => return Err(error),
            },
        }
    }
}

fn row(
    names: &[String],
    kinds: &[ValueType],
    record: &csv::StringRecord,
) -> Result<Map<String, Value>> {
    let mut row = Map::with_capacity(names.len());
    if record.len() != names.len() {
        return Err(invalid(format!(
            "the line has {} values, but the header has {} names",
            record.len(),
            names.len()
        )));
    }
    for ((name, kind), text) in names.iter().zip(kinds).zip(record) {
        if !name.is_empty() && !text.is_empty() {
            let value = value(*kind, text).ok_or_else(|| {
                invalid(format!(
                    "the column {name} must be {}, but is {}",
                    kind,
                    cut(text)
                ))
            })?;
            row.insert(name.clone(), value);
        }
    }
    Ok(row)
}

/// A value of CSV as its column has it.
fn value(kind: ValueType, text: &str) -> Option<Value> {
    match kind {
        ValueType::Number | ValueType::Integer => {
            let text = text.trim();
            text.parse::<i64>().map(Value::from).ok().or_else(|| {
                text.parse::<f64>()
                    .ok()
                    .filter(|n| n.is_finite())
                    .map(Value::from)
            })
        }
        ValueType::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(Value::Bool(true)),
            "false" | "no" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        ValueType::Json | ValueType::Object | ValueType::List | ValueType::Array => {
            serde_json::from_str(text).ok()
        }
        ValueType::Text
        | ValueType::String
        | ValueType::Markdown
        | ValueType::Html
        | ValueType::Date
        | ValueType::Datetime
        | ValueType::Url
        | ValueType::Email
        | ValueType::Reference => Some(Value::from(text)),
    }
}

/// Whether a cell's text is a value of a type.
type Matches = fn(&str) -> bool;

/// Returns the columns of a CSV body with the narrowest type that all non-empty values have: number, boolean, date or text.
pub(super) fn infer(file: impl Read, delimiter: Option<u8>) -> Result<Vec<Column>> {
    const KINDS: [(ValueType, Matches); 3] = [
        (ValueType::Number, is_number),
        (ValueType::Boolean, is_boolean),
        (ValueType::Date, is_date),
    ];
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let ((mut table, meter), names) = table(&mut reader, delimiter)?;
    let mut open: Vec<(bool, [bool; 3])> = vec![(false, [true; 3]); names.len()];
    let mut record = csv::StringRecord::new();
    loop {
        meter.set(0);
        match table.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            // Both errors are reported when the rows are read.
            Err(_) if meter.get() > RECORD_BYTES_MAX => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => {
                return Err(wrong(&error));
            }
            Err(_) => continue,
        }
        for (text, (seen, open)) in record.iter().zip(&mut open) {
            if !text.is_empty() {
                *seen = true;
                for ((_, is_kind), open) in KINDS.iter().zip(open) {
                    *open = *open && is_kind(text);
                }
            }
        }
    }
    Ok(names
        .into_iter()
        .zip(open)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, (seen, open))| Column {
            name,
            kind: KINDS
                .into_iter()
                .zip(open)
                .find(|(_, open)| seen && *open)
                .map_or(ValueType::Text, |((kind, _), _)| kind),
            required: false,
        })
        .collect())
}

/// Returns whether a text is certainly a number: written as numbers are, not a code such as 0042.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let is_plain = !whole.is_empty()
        && whole.bytes().all(|b| b.is_ascii_digit())
        && (whole == "0" || !whole.starts_with('0'))
        && whole.len() <= 15;
    is_plain && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(source: &Source, body: &str) -> Vec<std::result::Result<Value, String>> {
        let columns = match source {
            Source::Csv { delimiter } => infer(body.as_bytes(), *delimiter).expect("columns"),
            Source::Json | Source::Jsonl => Vec::new(),
        };
        let mut found = Vec::new();
        rows(body.as_bytes(), source, &columns, &mut |row| {
            found.push(
                row.map(Value::Object)
                    .map_err(|e| e.public_message().to_owned()),
            );
            Ok(())
        })
        .expect("readable");
        found
    }

    #[test]
    fn rows_come_from_every_format() {
        let expected = [Ok(json!({"a": 1, "b": "x"})), Ok(json!({"a": 2}))];
        assert_eq!(
            all(&Source::Json, r#" [{"a":1,"b":"x"},{"a":2}] "#),
            expected
        );
        assert_eq!(
            all(
                &Source::Jsonl,
                "\u{feff}{\"a\":1,\"b\":\"x\"}\r\n\n{\"a\":2}"
            ),
            expected
        );
        for body in [
            "\u{feff}a,b\r\n1,x\r\n2,\r\n",
            "a;b\n1;\"x\"\n2;\n",
            "a\tb\n1\tx\n2\t\n",
        ] {
            assert_eq!(
                all(&Source::Csv { delimiter: None }, body),
                expected,
                "{body}"
            );
        }
        assert_eq!(all(&Source::Json, "[]"), []);
    }

    #[test]
    fn reading_goes_on_after_a_faulty_row() {
        let ok = |found: &[std::result::Result<Value, String>]| -> Vec<bool> {
            found.iter().map(std::result::Result::is_ok).collect()
        };
        let long = format!(
            "{{\"a\":1}}\n{{\"a\":\"{}\"}}\n{{\"a\":2}}\n",
            "x".repeat(ROW * 3)
        );
        assert_eq!(ok(&all(&Source::Jsonl, &long)), [true, false, true]);
        assert_eq!(
            ok(&all(&Source::Jsonl, "{\"a\":1}\n{nope\n7\n{\"a\":2}")),
            [true, false, false, true]
        );
        assert_eq!(
            ok(&all(&Source::Json, r#"[{"a":1},7,{"a":2}]"#)),
            [true, false, true]
        );
        assert_eq!(ok(&all(&Source::Json, r#"[{"a":1},{"#)), [true, false]);
        assert_eq!(
            ok(&all(&Source::Csv { delimiter: None }, "a,b\n1,2\n1\n3,4\n")),
            [true, false, true]
        );
    }

    #[test]
    fn types_are_inferred_only_where_they_are_certain() {
        let body = "n,code,flag,day,mixed,empty\n1,007,true,2026-04-01,1,\n-2.5e3,12,FALSE,2026-04-02T10:00:00Z,x,\n";
        let kinds: Vec<ValueType> = infer(body.as_bytes(), None)
            .expect("columns")
            .iter()
            .map(|c| c.kind)
            .collect();
        use ValueType::{Boolean, Date, Number, Text};
        assert_eq!(kinds, [Number, Text, Boolean, Date, Text, Text]);
        assert!(infer("a,a\n".as_bytes(), None).is_err() && infer("".as_bytes(), None).is_err());
    }
}
