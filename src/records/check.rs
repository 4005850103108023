//! Bodies against the fields of their kind.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::body::invalid;
use super::kind::{Field, FieldType, Kind, Status};
use super::record::{DEEPEST, is_deeper};
use crate::error::{Detail, Error, Result};

/// Largest amount, so that sums of many stay exact: a hundred trillion of a currency with two decimals.
const MOST_CENTS: i64 = 10_000_000_000_000_000;
/// Custom fields of a record, and characters of their values.
const CUSTOM: usize = 100;
const CUSTOM_VALUE: usize = 2000;

/// The error of fields that are wrong, which names all of them.
fn wrong(fields: Vec<(String, String)>) -> Error {
    let message = fields.iter().map(|(_, message)| message.as_str());
    invalid(message.collect::<Vec<_>>().join("; ")).with_detail(Detail::Fields(fields))
}

/// Checks the fields that a caller sent for a new record (`whole`) or for a change of one against their types. Other fields are kept as they come; null is absence.
///
/// # Errors
/// `body_invalid` names every field that is wrong.
pub(crate) fn body(kind: &Kind, body: &Map<String, Value>, whole: bool) -> Result<()> {
    let mut bad: Vec<(String, String)> = Vec::new();
    let mut note = |name: &str, message: String| bad.push((name.to_owned(), message));
    for field in kind.fields {
        match body.get(field.name) {
            None if !whole => {}
            None | Some(Value::Null) if field.required => {
                note(field.name, format!("{} is missing", field.name));
            }
            None | Some(Value::Null) => {}
            Some(value) => {
                if let Err(error) = check(field, value) {
                    note(field.name, error.public_message().to_owned());
                }
            }
        }
    }
    if let Some(status) = body.get("status").filter(|s| !s.is_null()) {
        match &kind.status {
            Status::None if kind.open => {}
            Status::None => note("status", "this kind of record has no status".to_owned()),
            Status::Lifecycle(lifecycle)
                if !status
                    .as_str()
                    .is_some_and(|s| lifecycle.statuses.contains(&s)) =>
            {
                note(
                    "status",
                    format!("status must be one of {}", lifecycle.statuses.join(", ")),
                );
            }
            Status::Lifecycle(_) | Status::Word(_) => {}
        }
    }
    match body.get("custom_fields") {
        None | Some(Value::Null) => {}
        Some(Value::Object(fields)) if !kind.open => {
            if let Err(error) = custom(fields) {
                note("custom_fields", error.public_message().to_owned());
            }
        }
        // Kinds that declare the field have noted it above.
        Some(_) if kind.open || kind.field("custom_fields").is_some() => {}
        Some(_) => note(
            "custom_fields",
            "custom_fields must be an object".to_owned(),
        ),
    }
    if !bad.is_empty() {
        return Err(wrong(bad));
    }
    if body.values().any(|v| is_deeper(v, DEEPEST)) {
        return Err(invalid(format!(
            "the body may be nested at most {} levels deep",
            DEEPEST
        )));
    }
    Ok(())
}

/// Fields that rules set and callers do not.
const COMPUTED: [&str; 27] = [
    "id",
    "created_at",
    "updated_at",
    "stage_moves",
    "moved_by",
    "sales_signals",
    "sales_enrichment",
    "total_cents",
    "paid_cents",
    "balance_cents",
    "paid_at",
    "posted_at",
    "first_responded_at",
    "first_response_due_at",
    "first_response_late",
    "last_message_at",
    "resolved_at",
    "completed_at",
    "published_at",
    "converted_at",
    "signing_secret",
    "signing_secret_preview",
    "upload_url",
    "download_url",
    "byte_size",
    "checksum_sha256",
    "source_area",
];

/// Refuses fields that rules set.
///
/// # Errors
/// `body_invalid` names the field.
pub(crate) fn computed(given: &Map<String, Value>) -> Result<()> {
    match COMPUTED.iter().find(|name| given.contains_key(**name)) {
        Some(name) => Err(wrong(vec![(
            (*name).to_owned(),
            format!("{name} cannot be set"),
        )])),
        None => Ok(()),
    }
}

/// Whether a value is of the type of a field.
pub(crate) fn fits(field: &Field, value: &Value) -> bool {
    check(field, value).is_ok()
}

fn check(field: &Field, value: &Value) -> Result<()> {
    let name = field.name;
    let text = |most: usize| match value.as_str() {
        Some(text) if text.contains('\0') => {
            Err(invalid(format!("{name} contains a null character")))
        }
        Some(text) if field.required && text.trim().is_empty() => {
            Err(invalid(format!("{name} must not be empty")))
        }
        Some(text) if text.chars().count() <= most => Ok(text),
        Some(_) => Err(invalid(format!(
            "{name} may have at most {most} characters"
        ))),
        None => Err(invalid(format!("{name} must be text"))),
    };
    let whole = |least: i64, most: i64| match value.as_i64() {
        Some(n) if (least..=most).contains(&n) => Ok(()),
        _ => Err(invalid(format!(
            "{name} must be a whole number from {least} to {most}"
        ))),
    };
    match field.field_type {
        FieldType::Line(most) => {
            if text(most)?.contains(['\n', '\r']) {
                return Err(invalid(format!("{name} must be a single line")));
            }
        }
        FieldType::Text(most) => {
            text(most)?;
        }
        FieldType::Key => {
            let key = text(100)?;
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
            if key.is_empty() || !key.chars().all(fits) {
                return Err(invalid(format!(
                    "{name} must have 1 to 100 lower-case letters, digits, dots, dashes and underscores"
                )));
            }
        }
        FieldType::Integer(least, most) => whole(least, most)?,
        FieldType::Cents => whole(0, MOST_CENTS)?,
        FieldType::Currency => {
            let code = text(3)?;
            if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(invalid(format!(
                    "{name} must be three capital letters such as USD"
                )));
            }
        }
        FieldType::Flag => {
            if !value.is_boolean() {
                return Err(invalid(format!("{name} must be true or false")));
            }
        }
        FieldType::OneOf(words) => {
            if !value.as_str().is_some_and(|w| words.contains(&w)) {
                return Err(invalid(format!(
                    "{name} must be one of {}",
                    words.join(", ")
                )));
            }
        }
        FieldType::Link(_) | FieldType::Actor => {
            text(100)?;
        }
        FieldType::Email => {
            let address = text(320)?;
            let fits = address.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && domain.contains('.') && !domain.contains('@')
            });
            if !fits || address.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(invalid(format!("{name} must be an email address")));
            }
        }
        FieldType::Url => {
            let fits = url::Url::parse(text(2000)?)
                .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
            if !fits {
                return Err(invalid(format!("{name} must be an http or https address")));
            }
        }
        FieldType::Time => {
            if !is_date(text(64)?) {
                return Err(invalid(format!(
                    "{name} must be a day (2026-04-01) or a time (2026-04-01T09:00:00Z)"
                )));
            }
        }
        FieldType::Object => {
            if !value.is_object() {
                return Err(invalid(format!("{name} must be an object")));
            }
        }
        FieldType::List(most) => match value.as_array() {
            Some(list) if list.len() <= most => {}
            _ => {
                return Err(invalid(format!(
                    "{name} must be a list of at most {most} items"
                )));
            }
        },
        FieldType::Words(most) => {
            let words = value.as_array().filter(|l| l.len() <= most);
            let fits = words.is_some_and(|l| {
                l.iter().all(|w| {
                    w.as_str()
                        .is_some_and(|w| !w.is_empty() && w.len() <= 200 && !w.contains('\0'))
                })
            });
            if !fits || (field.required && words.is_some_and(Vec::is_empty)) {
                return Err(invalid(format!(
                    "{name} must be a list of at most {most} words"
                )));
            }
        }
    }
    Ok(())
}

/// Words of a custom field that holds a list.
const CUSTOM_WORDS: usize = 100;

/// Custom fields are words, numbers, flags and lists of words under names.
fn custom(fields: &Map<String, Value>) -> Result<()> {
    if fields.len() > CUSTOM {
        return Err(invalid(format!(
            "a record may have at most {CUSTOM} custom fields"
        )));
    }
    for (name, value) in fields {
        let is_text = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.chars().count() <= CUSTOM_VALUE && !text.contains('\0'))
        };
        let fits = match value {
            Value::String(_) => is_text(value),
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
            Value::Array(list) => list.len() <= CUSTOM_WORDS && list.iter().all(is_text),
            Value::Object(_) => false,
        };
        if name.is_empty() || name.len() > 100 || name.contains('\0') || !fits {
            return Err(invalid(format!(
                "custom field {name:?}: names may have up to 100 bytes; values must be text up to {CUSTOM_VALUE} characters, numbers, true, false or lists of up to {CUSTOM_WORDS} texts"
            )));
        }
    }
    Ok(())
}

/// Whether a text is a day or a time as RFC 3339 has them.
pub(crate) fn is_date(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
        || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Longest word that can be asked for, in bytes.
const WORD: usize = 64;
/// Words of a record.
const WORDS: usize = 2000;

/// The words of a text as lists find them: runs of letters and digits, without case.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(|w| {
            let mut word = w.to_lowercase();
            while word.len() > WORD {
                word.pop();
            }
            word
        })
}

/// Fields of counters and sources, whose words say nothing about a record.
const NOT_WORDS: [&str; 2] = ["sales_signals", "sales_enrichment"];

/// All words of a record. Ids, times and what is one of a few words are asked for by filters.
pub(crate) fn words_of(kind: &Kind, body: &Map<String, Value>) -> BTreeSet<String> {
    fn gather(value: &Value, found: &mut BTreeSet<String>, depth: usize) {
        if found.len() >= WORDS || depth > 8 {
            return;
        }
        match value {
            Value::String(text) => found.extend(words(text).take(WORDS - found.len())),
            Value::Array(list) => list.iter().for_each(|v| gather(v, found, depth + 1)),
            Value::Object(map) => map.values().for_each(|v| gather(v, found, depth + 1)),
            Value::Number(number) => {
                found.insert(number.to_string());
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    for (name, value) in body {
        let field_type = kind
            .fields
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.field_type);
        let is_text = !matches!(
            field_type,
            Some(
                FieldType::Link(_)
                    | FieldType::Time
                    | FieldType::OneOf(_)
                    | FieldType::Currency
                    | FieldType::Cents
            )
        );
        let is_text = is_text && !NOT_WORDS.contains(&name.as_str());
        if is_text && !name.ends_with("_at") && !name.ends_with("_id") {
            gather(value, &mut found, 0);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Area;
    use crate::records::kind::{CUSTOM, LINE, NAME};

    static CONTACT: Kind = Kind::new(
        "contact",
        "con",
        Area::Crm,
        &[
            NAME,
            Field::new("email", FieldType::Email),
            Field::new("phone", LINE),
            CUSTOM,
        ],
    );
    static DEAL: Kind = Kind::new(
        "deal",
        "deal",
        Area::Crm,
        &[
            NAME,
            Field::new("amount_cents", FieldType::Cents),
            Field::new("currency", FieldType::Currency),
            Field::new("priority", FieldType::OneOf(&["low", "high"])),
            Field::new("url", FieldType::Url),
        ],
    );

    fn is_valid(kind: &Kind, value: Value) -> bool {
        body(kind, value.as_object().expect("an object"), true).is_ok()
    }

    #[test]
    fn fields_are_checked_against_their_types() {
        assert!(is_valid(
            &CONTACT,
            json!({"name": "Jane", "email": "jane@acme.com", "anything": [1], "phone": null})
        ));
        for wrong in [
            json!({}),
            json!({"name": " "}),
            json!({"name": 7}),
            json!({"name": "a\nb"}),
            json!({"name": "Jane", "email": "jane"}),
            json!({"name": "Jane", "status": "new"}),
            json!({"name": "Jane", "custom_fields": {"a": [1]}}),
        ] {
            assert!(!is_valid(&CONTACT, wrong.clone()), "{wrong}");
        }
        assert!(is_valid(
            &DEAL,
            json!({"name": "x", "amount_cents": 1, "currency": "EUR"})
        ));
        assert!(!is_valid(&DEAL, json!({"name": "x", "amount_cents": 1.5})));
        assert!(!is_valid(&DEAL, json!({"name": "x", "amount_cents": -1})));
        assert!(!is_valid(&DEAL, json!({"name": "x", "priority": "mild"})));
        assert!(!is_valid(&DEAL, json!({"name": "x", "url": "ftp://x"})));
    }

    #[test]
    fn computed_fields_are_refused() {
        let given = json!({"name": "Jane", "paid_cents": 7});
        assert!(computed(given.as_object().expect("an object")).is_err());
        assert!(computed(&Map::new()).is_ok());
    }

    #[test]
    fn words_are_found_without_case() {
        let record = json!({"email": "Jané@Acme.com", "n": 12, "company_id": "com_1"});
        let found = words_of(&CONTACT, record.as_object().expect("an object"));
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["12", "acme", "com", "jané"]
        );
    }
}
