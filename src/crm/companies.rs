//! Names of companies in the records that are linked to them: a record with `company_id` shows the company's name as `company_name`, and lists find it by that name.
//! A name that a caller gave stays as it is. No operation renames a company; one that does has to change the records that show its name.

use serde_json::json;

use super::COMPANY;
use crate::error::Result;
use crate::records::body::text;
use crate::records::plan::Change;

/// The field that links a record to its company.
const LINK: &str = "company_id";
/// The field that shows the company's name.
const NAME: &str = "company_name";

/// Fills in the name of the company that a record is linked to; the plan relies on the company then.
///
/// # Errors
/// When a row is damaged.
pub(crate) fn fill_in(change: &mut Change<'_>) -> Result<()> {
    let given = change.given;
    if change.kind.field(LINK).is_none() || given.get(NAME).is_some_and(|name| !name.is_null()) {
        return Ok(());
    }
    let is_same = !change.is_new() && !change.changes(LINK);
    if is_same && change.body.contains_key(NAME) && !given.contains_key(NAME) {
        return Ok(());
    }
    let Some(id) = text(&change.body, LINK) else {
        // The name of the company that it was linked to goes with the link.
        if change.old.contains_key(LINK) {
            change.remove(NAME);
        }
        return Ok(());
    };
    let company = change
        .linked
        .iter()
        .find(|record| record.kind == COMPANY.name && COMPANY.public_id(&record.id) == id)
        .cloned();
    if let Some(company) = company {
        // The whole name; titles are cut.
        let name = text(&company.body()?, "name").map(str::to_owned);
        change.set(NAME, json!(name.as_ref().unwrap_or(&company.title)));
        change.plan.relies_on.push(company);
    }
    Ok(())
}
