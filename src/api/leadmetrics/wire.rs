//! Errors, extractors, lists and authentication of the dashboard dialect.

use std::collections::{BTreeMap, HashMap};

use chrono::Days;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::agency::deliverables::read_day;
use crate::api::extract::{auth, body, parameters, problem};
use crate::api::fault::FaultBody;
use crate::api::operation::{Call, Operation};
pub use crate::api::paging::{Pagination, Paging};
use crate::api::secret::SecretHeader;
use crate::clock::Time;
use crate::error::{Error, Result as Outcome};
use crate::page::Page;

/// An error as returned to callers.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardFault {
    error: FaultBody,
}

/// Headers that carry the secret of the caller.
pub(super) const SECRETS: &[SecretHeader] = &[SecretHeader::Bearer];

problem!(|error| DashboardFault {
    error: error.into()
});
auth!(Problem, SECRETS);
parameters!(Problem);
body!(Problem);

/// Reads the query of an operation: `filter.x` or `filter[x]`. Unknown filters are an error, other unknown and empty parameters are ignored.
pub(super) fn query(
    operation: &Operation,
    _: &BTreeMap<String, String>,
    given: Vec<(String, String)>,
) -> Outcome<HashMap<String, String>> {
    let known = crate::api::document::parameters(operation);
    let mut read = HashMap::new();
    for (name, value) in given {
        let bracketed = name
            .strip_prefix("filter[")
            .and_then(|rest| rest.strip_suffix(']'));
        let name = bracketed.map_or(name.clone(), |inner| format!("filter.{inner}"));
        if value.contains('\0') {
            return Err(invalid(&name, "must not contain the character NUL"));
        }
        if name.starts_with("filter.") && !known.contains(&name.as_str()) {
            return Err(invalid(&name, "is no filter of this list"));
        }
        if !value.is_empty() {
            read.insert(name, value);
        }
    }
    Ok(read)
}

/// Returns the error of a query parameter.
pub(super) fn invalid(name: &str, problem: &str) -> Error {
    Error::invalid("parameter_invalid", format!("{name} {problem}"))
}

/// Sets a member of an answer; none for an absent or empty text.
pub(super) fn set(shown: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        shown[name] = json!(value);
    }
}

/// Reads limit and cursor.
pub(super) fn page(call: Call<'_>, default: i64) -> Outcome<Page> {
    let limit = match call.query("limit") {
        Some(limit) => Some(
            limit
                .parse()
                .map_err(|_| invalid("limit", "must be a number"))?,
        ),
        None => None,
    };
    Page::read(limit, call.query("cursor"), default)
}

/// Reads a parameter that is one of some words.
pub(super) fn word(call: Call<'_>, name: &str, words: &[&str]) -> Outcome<Option<String>> {
    match call.query(name) {
        Some(given) if words.contains(&given) => Ok(Some(given.to_owned())),
        Some(_) => Err(invalid(
            name,
            &format!("must be one of {}", words.join(", ")),
        )),
        None => Ok(None),
    }
}

fn midnight(day: chrono::NaiveDate) -> Time {
    Time(
        day.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_millis(),
    )
}

/// Reads the start and the end of a time from days or times; a day as the end is included.
pub(super) fn span(call: Call<'_>, names: [&str; 2]) -> Outcome<(Option<Time>, Option<Time>)> {
    let moment = |name: &str, adds: u64| -> Outcome<Option<Time>> {
        let Some(value) = call.query(name) else {
            return Ok(None);
        };
        if value.len() > 10
            && let Ok(time) = chrono::DateTime::parse_from_rfc3339(value)
        {
            return Ok(Some(Time(time.timestamp_millis())));
        }
        let day = read_day(name, value)?;
        Ok(Some(midnight(
            day.checked_add_days(Days::new(adds)).unwrap_or(day),
        )))
    };
    let [start, end] = names;
    let (start, end) = (moment(start, 0)?, moment(end, 1)?);
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(invalid(names[1], "is before the start"));
    }
    Ok((start, end))
}
