//! Names of companies in the records that are linked to them: a record with `company_id` shows the company's name as `company_name`, and lists find it by that name.
//! A name that a caller gave stays as it is. No operation renames a company; one that does has to change the records that show its name.

use serde_json::{Map, Value, json};

use super::body::text;
use super::spec::{self, Kind};
use crate::error::Result;
use crate::records::Record;

/// The field that links a record to its company.
const LINK: &str = "company_id";
/// The field that shows the company's name.
const NAME: &str = "company_name";

/// Fills in the name of the company that a record is linked to, and returns the company, on which the plan relies then. `given` is what the caller sent,
/// `old` the record before the change, `found` what its links lead to.
///
/// # Errors
/// When a row is damaged.
pub(super) fn fill(
    kind: &Kind,
    body: &mut Map<String, Value>,
    given: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
    found: Vec<Record>,
) -> Result<Option<Record>> {
    if kind.field(LINK).is_none() || given.get(NAME).is_some_and(|name| !name.is_null()) {
        return Ok(None);
    }
    let is_same = old.is_some_and(|old| old.get(LINK) == body.get(LINK));
    if is_same && body.contains_key(NAME) && !given.contains_key(NAME) {
        return Ok(None);
    }
    let Some(id) = text(body, LINK) else {
        // The name of the company that it was linked to goes with the link.
        if old.is_some_and(|old| old.contains_key(LINK)) {
            body.shift_remove(NAME);
        }
        return Ok(None);
    };
    let is_company = |record: &Record| {
        record.kind == spec::COMPANY.name && spec::COMPANY.shown(&record.id) == id
    };
    let company = found.into_iter().find(is_company);
    if let Some(company) = &company {
        body.insert(NAME.to_owned(), json!(name_of(company)?));
    }
    Ok(company)
}

/// The name of a company as it was given; titles are cut.
fn name_of(company: &Record) -> Result<String> {
    let body = company.body()?;
    Ok(text(&body, "name").unwrap_or(&company.title).to_owned())
}
