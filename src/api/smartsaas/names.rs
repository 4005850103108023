//! Names of fields: those of the dialect, and the canonical ones under which records are stored. Values of leads that are not of the type of their field are kept
//! beside, and shown as they were sent.

use serde_json::{Map, Value, json};

use crate::crm::LEAD;
use crate::crm::leads::AS_SENT;
use crate::records::kind::Kind;
use crate::records::{body::Body, check};
use crate::work::PACKAGE_TASK;

/// Names in this dialect, and canonical names.
fn names(kind: &Kind) -> &'static [(&'static str, &'static str)] {
    if kind.is(&LEAD) {
        &[("company", "company_name")]
    } else if kind.is(&PACKAGE_TASK) {
        &[("assigned_to", "assignee_id")]
    } else {
        &[]
    }
}

/// Replaces the names of the dialect by canonical ones.
pub(super) fn to_canonical(kind: &Kind, body: &mut Body) {
    for (wire, canonical) in names(kind) {
        if let Some(value) = body.shift_remove(*wire) {
            body.insert((*canonical).to_owned(), value);
        }
    }
    if !kind.is(&LEAD) {
        return;
    }
    let mut as_sent = Map::new();
    for field in kind.fields {
        let Some(value) = body.get(field.name).filter(|v| !v.is_null()) else {
            continue;
        };
        if !check::fits(field, value) {
            as_sent.extend(
                body.shift_remove(field.name)
                    .map(|v| (field.name.to_owned(), v)),
            );
            if field.name == "source" {
                body.insert("source".to_owned(), json!("other"));
            }
        }
    }
    if !as_sent.is_empty() {
        body.insert(AS_SENT.to_owned(), Value::Object(as_sent));
    }
}

/// Replaces canonical names by those of the dialect.
pub(super) fn to_wire(kind: &Kind, body: &mut Body) {
    if kind.is(&LEAD)
        && let Some(Value::Object(as_sent)) = body.shift_remove(AS_SENT)
    {
        body.extend(as_sent);
    }
    for (wire, canonical) in names(kind) {
        if let Some(value) = body.shift_remove(*canonical) {
            body.insert((*wire).to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_shown_as_it_was_sent() {
        let sent = json!({"name": "Ada", "company": "Berg", "phone": 4711, "source": "the fair", "email": "ada@berg.test"});
        let mut body = sent.as_object().expect("an object").clone();
        to_canonical(&LEAD, &mut body);
        assert_eq!(
            (&body["company_name"], &body["source"], body.get("phone")),
            (&json!("Berg"), &json!("other"), None)
        );
        assert!(check::body(&LEAD, &body, true).is_ok());
        to_wire(&LEAD, &mut body);
        assert_eq!(Value::Object(body), sent);
    }
}
