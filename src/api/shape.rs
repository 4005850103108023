//! Shapes: tables of fields from which bodies are checked, responses are written and schemas are generated, for contracts whose answers have exact shapes.
//!
//! Ids inside Cairn are ULIDs. Contracts with UUIDs see the same 128 bits in the other notation, so the two convert without a table. Times are naive UTC, as in
//! `2026-04-04T15:15:02.123000`.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Number, Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, Ref, RefOr};

use crate::clock::{Clock, Time};
use crate::error::{Detail, Error, Result};
use crate::records::body::Body;
use crate::records::{DEEPEST, is_deeper};

/// Type of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ty {
    /// Text of at most [`LONGEST`] bytes.
    Text,
    /// Text that is trimmed and not empty.
    NonBlank,
    Uuid,
    Time,
    Flag,
    /// A whole number of at least so much.
    Integer(i64),
    /// A number in a range.
    Number(f64, f64),
    /// Any number.
    Float,
    OneOf(&'static [&'static str]),
    /// An address (http or https).
    Uri,
    /// An object.
    Map,
    /// An object of texts.
    TextMap,
    /// An object of whole numbers.
    IntegerMap,
    /// Any JSON.
    Any,
    List(&'static Ty),
    Of(&'static Shape),
}

/// Longest text, in bytes.
const LONGEST: usize = 1 << 20;
/// Most elements of a list in a body.
const MOST: usize = 1000;

/// Default of a field that a response or a body lacks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    Nothing,
    Text(&'static str),
    Flag(bool),
    Integer(i64),
    List,
    Map,
}

/// A field of a shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub name: &'static str,
    pub ty: Ty,
    pub required: bool,
    pub nullable: bool,
    pub fill: Fill,
}

impl Field {
    const fn new(name: &'static str, ty: Ty, required: bool, nullable: bool) -> Self {
        Self {
            name,
            ty,
            required,
            nullable,
            fill: Fill::Nothing,
        }
    }

    /// Returns the field with a default.
    pub(super) const fn or(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }
}

/// A field that is always there.
pub(super) const fn req(name: &'static str, ty: Ty) -> Field {
    Field::new(name, ty, true, false)
}

/// A field that is always there and may be null.
pub(super) const fn req_null(name: &'static str, ty: Ty) -> Field {
    Field::new(name, ty, true, true)
}

/// A field that may be absent or null.
pub(super) const fn opt(name: &'static str, ty: Ty) -> Field {
    Field::new(name, ty, false, true)
}

/// A field that may be absent, and then is left out of responses.
pub(super) const fn maybe(name: &'static str, ty: Ty) -> Field {
    Field::new(name, ty, false, false)
}

/// A field with a default.
pub(super) const fn def(name: &'static str, ty: Ty, fill: Fill) -> Field {
    Field::new(name, ty, false, false).or(fill)
}

/// An object with these fields.
#[derive(Debug)]
pub(super) struct Shape {
    pub name: &'static str,
    pub fields: &'static [Field],
}

/// A fault of a body: place, type, message and the value.
struct Fault {
    place: Vec<Value>,
    kind: &'static str,
    message: String,
    input: Value,
}

/// Faults of one body that are reported.
const FAULTS: usize = 50;

struct Faults(Vec<Fault>);

impl Faults {
    fn note(&mut self, place: &[Value], kind: &'static str, message: String, input: &Value) {
        if self.0.len() < FAULTS {
            let short = input.to_string().len() <= 500;
            self.0.push(Fault {
                place: place.to_vec(),
                kind,
                message,
                input: if short { input.clone() } else { Value::Null },
            });
        }
    }

    fn end(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let message: Vec<String> = self
            .0
            .iter()
            .map(|f| {
                let place = f
                    .place
                    .iter()
                    .skip(1)
                    .map(|p| p.as_str().map_or_else(|| p.to_string(), str::to_owned));
                format!("{}: {}", place.collect::<Vec<_>>().join("."), f.message)
            })
            .collect();
        let list: Vec<Value> = self
            .0
            .into_iter()
            .map(|f| json!({"type": f.kind, "loc": f.place, "msg": f.message, "input": f.input}))
            .collect();
        Err(Error::invalid("body_invalid", message.join("; "))
            .with_detail(Detail::Data(Value::Array(list))))
    }
}

/// Returns the error for one value of a request.
pub(super) fn wrong(place: &[&str], kind: &'static str, message: &str, input: &Value) -> Error {
    let mut faults = Faults(Vec::new());
    let place: Vec<Value> = place.iter().map(|p| json!(p)).collect();
    faults.note(&place, kind, message.to_owned(), input);
    match faults.end() {
        Err(error) => error,
        Ok(()) => Error::internal("no fault"),
    }
}

impl Shape {
    /// Checks a body and returns its fields in the canonical form: row ids, RFC 3339 times, trimmed texts. Unknown fields are left out. Defaults are filled in for
    /// a whole body, but not for a change (`whole` is false).
    ///
    /// # Errors
    /// `body_invalid`, with all faults as detail.
    pub(super) fn read(&self, body: &Body, whole: bool) -> Result<Body> {
        let mut faults = Faults(Vec::new());
        let read = self.object(body, whole, &mut vec![json!("body")], &mut faults);
        if body.values().any(|v| is_deeper(v, DEEPEST)) {
            let message = format!("the body may be nested at most {DEEPEST} levels deep");
            faults.note(&[json!("body")], "value_error", message, &Value::Null);
        }
        faults.end()?;
        Ok(read)
    }

    fn object(
        &self,
        body: &Body,
        whole: bool,
        place: &mut Vec<Value>,
        faults: &mut Faults,
    ) -> Body {
        let mut read = Body::new();
        for field in self.fields {
            place.push(json!(field.name));
            match body.get(field.name) {
                None if field.required => {
                    let message = "Field required".to_owned();
                    faults.note(place, "missing", message, &Value::Null);
                }
                None if whole => {
                    if let Some(value) = field.fill.value() {
                        read.insert(field.name.to_owned(), value);
                    }
                }
                None => {}
                Some(Value::Null) if field.nullable => {
                    read.insert(field.name.to_owned(), Value::Null);
                }
                Some(value) => {
                    let value = field.ty.read(value, place, faults);
                    read.insert(field.name.to_owned(), value);
                }
            }
            place.pop();
        }
        read
    }

    /// Writes an object in this shape.
    ///
    /// # Errors
    /// An internal error when a required field is absent or has another type.
    pub(super) fn write(&self, body: &Body) -> Result<Value> {
        let mut written = Map::with_capacity(self.fields.len());
        for field in self.fields {
            let value = match body.get(field.name) {
                Some(value) if !value.is_null() => field.ty.write(value)?,
                _ => match field.fill.value() {
                    Some(value) => value,
                    None if field.nullable => Value::Null,
                    None if !field.required => continue,
                    None => {
                        return Err(Error::internal(format!(
                            "{} lacks {}",
                            self.name, field.name
                        )));
                    }
                },
            };
            written.insert(field.name.to_owned(), value);
        }
        Ok(Value::Object(written))
    }

    /// Returns the schema of the object.
    pub(super) fn schema(&self) -> Schema {
        let mut object = typed(Type::Object);
        for field in self.fields {
            let schema = field.ty.schema();
            let schema = if field.nullable {
                let null = typed(Type::Null).build();
                let any = AnyOfBuilder::new().item(schema).item(Schema::from(null));
                RefOr::T(Schema::AnyOf(any.build()))
            } else {
                schema
            };
            object = object.property(field.name, schema);
            if field.required {
                object = object.required(field.name);
            }
        }
        object.build().into()
    }

    /// Returns the shape with those that it contains.
    pub(super) fn all(&'static self, found: &mut Vec<&'static Self>) {
        if found.iter().any(|s| s.name == self.name) {
            return;
        }
        found.push(self);
        for field in self.fields {
            let mut ty = field.ty;
            while let Ty::List(inner) = ty {
                ty = *inner;
            }
            if let Ty::Of(shape) = ty {
                shape.all(found);
            }
        }
    }
}

impl Fill {
    fn value(self) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Text(text) => Some(json!(text)),
            Self::Flag(flag) => Some(json!(flag)),
            Self::Integer(number) => Some(json!(number)),
            Self::List => Some(json!([])),
            Self::Map => Some(json!({})),
        }
    }
}

fn typed(ty: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(ty))
}

fn map_of(ty: Type) -> Schema {
    typed(Type::Object)
        .additional_properties(Some(RefOr::T(Schema::from(typed(ty).build()))))
        .build()
        .into()
}

impl Ty {
    fn read(self, value: &Value, place: &mut Vec<Value>, faults: &mut Faults) -> Value {
        let mut wrong = |kind: &'static str, message: String| {
            faults.note(place, kind, message, value);
            Value::Null
        };
        match (self, value) {
            (Self::Text | Self::NonBlank | Self::Uri, Value::String(text))
                if text.len() > LONGEST || text.contains('\0') =>
            {
                let message = format!("String must have at most {LONGEST} bytes, and no NUL");
                wrong("string_too_long", message)
            }
            (Self::Text, Value::String(_)) | (Self::Any, _) | (Self::Flag, Value::Bool(_)) => {
                value.clone()
            }
            (Self::NonBlank, Value::String(text)) => match text.trim() {
                "" => wrong(
                    "string_too_short",
                    "String should have at least 1 character".to_owned(),
                ),
                text => json!(text),
            },
            (Self::Text | Self::NonBlank, _) => {
                wrong("string_type", "Input should be a valid string".to_owned())
            }
            (Self::Uuid, _) => match value.as_str().and_then(Clock::read_id) {
                Some(id) => json!(id),
                None => wrong("uuid_parsing", "Input should be a valid UUID".to_owned()),
            },
            (Self::Time, _) => match value.as_str().and_then(time) {
                Some(time) => json!(time.rfc3339()),
                None => wrong(
                    "datetime_parsing",
                    "Input should be a valid datetime".to_owned(),
                ),
            },
            (Self::Flag, _) => wrong("bool_type", "Input should be a valid boolean".to_owned()),
            (Self::Integer(least), _) => match value.as_i64() {
                Some(number) if number >= least => value.clone(),
                Some(_) => wrong(
                    "greater_than_equal",
                    format!("Input should be greater than or equal to {least}"),
                ),
                None => wrong("int_type", "Input should be a valid integer".to_owned()),
            },
            (Self::Number(least, most), _) => match value.as_f64() {
                Some(number) if (least..=most).contains(&number) => value.clone(),
                Some(_) => wrong(
                    "value_error",
                    format!("Input should be between {least} and {most}"),
                ),
                None => wrong("float_type", "Input should be a valid number".to_owned()),
            },
            (Self::Float, Value::Number(_)) => value.clone(),
            (Self::Float, _) => wrong("float_type", "Input should be a valid number".to_owned()),
            (Self::OneOf(words), _) => match value.as_str() {
                Some(word) if words.contains(&word) => value.clone(),
                _ => wrong(
                    "literal_error",
                    format!("Input should be one of {}", words.join(", ")),
                ),
            },
            (Self::Uri, _) => match value.as_str().and_then(|u| url::Url::parse(u.trim()).ok()) {
                Some(url) if matches!(url.scheme(), "http" | "https") => json!(url.as_str()),
                _ => wrong("url_parsing", "Input should be a valid URL".to_owned()),
            },
            (Self::Map, Value::Object(_)) => value.clone(),
            (Self::TextMap, Value::Object(map)) if map.values().all(Value::is_string) => {
                value.clone()
            }
            (Self::IntegerMap, Value::Object(map)) if map.values().all(Value::is_i64) => {
                value.clone()
            }
            (Self::Map | Self::TextMap | Self::IntegerMap, _) => {
                wrong("dict_type", "Input should be a valid dictionary".to_owned())
            }
            (Self::List(_), Value::Array(list)) if list.len() > MOST => {
                wrong("too_long", format!("List should have at most {MOST} items"))
            }
            (Self::List(ty), Value::Array(list)) => {
                let mut read = Vec::with_capacity(list.len());
                for (at, item) in list.iter().enumerate() {
                    place.push(json!(at));
                    read.push(ty.read(item, place, faults));
                    place.pop();
                }
                Value::Array(read)
            }
            (Self::List(_), _) => wrong("list_type", "Input should be a valid list".to_owned()),
            (Self::Of(shape), Value::Object(body)) => {
                Value::Object(shape.object(body, true, place, faults))
            }
            (Self::Of(_), _) => wrong("dict_type", "Input should be an object".to_owned()),
        }
    }

    fn write(self, value: &Value) -> Result<Value> {
        let other = || Err(Error::internal(format!("{value} is no {self:?}")));
        Ok(match self {
            Self::Uuid => match value.as_str().and_then(Clock::uuid) {
                Some(uuid) => json!(uuid),
                None => return other(),
            },
            Self::Time => match value.as_str().and_then(time) {
                Some(time) => json!(naive(time)),
                None => return other(),
            },
            Self::List(ty) => match value {
                Value::Array(list) => {
                    let written = list.iter().map(|item| ty.write(item));
                    Value::Array(written.collect::<Result<_>>()?)
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => {
                    return other();
                }
            },
            Self::Of(shape) => match value {
                Value::Object(body) => shape.write(body)?,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => {
                    return other();
                }
            },
            Self::Text | Self::NonBlank | Self::OneOf(_) | Self::Uri if value.is_string() => {
                value.clone()
            }
            Self::Flag if value.is_boolean() => value.clone(),
            Self::Integer(_) if value.is_i64() => value.clone(),
            Self::Number(..) | Self::Float => match value.as_f64().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => return other(),
            },
            Self::Map | Self::TextMap | Self::IntegerMap if value.is_object() => value.clone(),
            Self::Any => value.clone(),
            Self::Text
            | Self::NonBlank
            | Self::OneOf(_)
            | Self::Uri
            | Self::Flag
            | Self::Integer(_)
            | Self::Map
            | Self::TextMap
            | Self::IntegerMap => return other(),
        })
    }

    /// Returns the schema of the type.
    pub(super) fn schema(self) -> RefOr<Schema> {
        let object = match self {
            Self::Text => typed(Type::String),
            Self::NonBlank => typed(Type::String).min_length(Some(1)),
            Self::Uuid => typed(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned()))),
            Self::Time => {
                typed(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            }
            Self::Flag => typed(Type::Boolean),
            Self::Integer(i64::MIN) => typed(Type::Integer),
            Self::Integer(least) => typed(Type::Integer).minimum(Some(least)),
            Self::Number(least, most) => {
                typed(Type::Number).minimum(Some(least)).maximum(Some(most))
            }
            Self::Float => typed(Type::Number),
            Self::OneOf(words) => typed(Type::String).enum_values(Some(words.iter().copied())),
            Self::Uri => typed(Type::String)
                .format(Some(SchemaFormat::Custom("uri".to_owned())))
                .min_length(Some(1)),
            Self::Map => typed(Type::Object)
                .additional_properties(Some(AdditionalProperties::FreeForm(true))),
            Self::TextMap => return map_of(Type::String).into(),
            Self::IntegerMap => return map_of(Type::Integer).into(),
            Self::Any => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
            Self::List(ty) => {
                return Schema::Array(ArrayBuilder::new().items(ty.schema()).build()).into();
            }
            Self::Of(shape) => return Ref::from_schema_name(shape.name).into(),
        };
        Schema::from(object.build()).into()
    }
}

/// Replaces row ids by UUIDs in any JSON.
pub(super) fn with_uuids(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown_id(text)),
        Value::Array(list) => Value::Array(list.into_iter().map(with_uuids).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(name, value)| (shown_id(name), with_uuids(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn shown_id(text: String) -> String {
    if Clock::is_id(&text) {
        Clock::uuid(&text).unwrap_or(text)
    } else {
        text
    }
}

/// Reads an ISO 8601 time; without a zone it is in UTC, and a day is its midnight.
pub(super) fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Time(time.timestamp_millis()));
    }
    // A plus sign in a query string that was not encoded is a space.
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replace(' ', "+")) {
        return Some(Time(time.timestamp_millis()));
    }
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(Time(time.and_utc().timestamp_millis()));
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Time(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()))
}

/// Returns a time without its zone, in microseconds.
pub(super) fn naive(time: Time) -> String {
    DateTime::from_timestamp_millis(time.0)
        .map(|t| t.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Shape = Shape {
        name: "Inner",
        fields: &[req("n", Ty::Integer(0))],
    };
    static OUTER: Shape = Shape {
        name: "Outer",
        fields: &[
            req("id", Ty::Uuid),
            opt("at", Ty::Time),
            def("name", Ty::NonBlank, Fill::Text("x")),
            def("list", Ty::List(&Ty::Of(&INNER)), Fill::List),
        ],
    };

    fn body(value: Value) -> Body {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn bodies_come_in_canonical_form_and_leave_in_that_of_the_contract() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let given = body(
            json!({"id": id, "at": "2026-04-04T15:15:02.5+02:00", "list": [{"n": 1}], "more": 1}),
        );
        let read = OUTER.read(&given, true).expect("valid");
        assert_eq!(read["id"], "01H455VB4PEX5VSKNK084SN02Q");
        assert_eq!(read["at"], "2026-04-04T13:15:02.500Z");
        assert!(read["name"] == "x" && !read.contains_key("more"));
        let written = OUTER.write(&read).expect("writable");
        assert_eq!(written["id"], id);
        assert_eq!(written["at"], "2026-04-04T13:15:02.500000");
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let given = body(json!({"id": 5, "name": " ", "list": [{"n": 1}, {"n": -1}, {}]}));
        let error = OUTER.read(&given, true).expect_err("wrong");
        let Some(Detail::Data(Value::Array(faults))) = error.detail() else {
            panic!("{error:?}");
        };
        let places: Vec<String> = faults.iter().map(|f| f["loc"].to_string()).collect();
        assert_eq!(
            places,
            [
                r#"["body","id"]"#,
                r#"["body","name"]"#,
                r#"["body","list",1,"n"]"#,
                r#"["body","list",2,"n"]"#
            ]
        );
    }

    #[test]
    fn what_does_not_fit_its_shape_is_not_answered() {
        assert!(OUTER.write(&body(json!({"at": null}))).is_err());
        assert!(OUTER.write(&body(json!({"id": "no id"}))).is_err());
    }
}
