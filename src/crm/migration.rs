//! Moves leads from earlier versions. The SQL migrations list in `data_migrations` what is left to do here, where JSON is read: 0018 shared the leads of all dialects
//! (`shared_leads`: the fields of the SmartSaaS dialect get their canonical names), and 0024 gave types to fields that were free (`typed_leads`: values of other
//! types are kept under `as_sent`); 0026 lists leads by their origin (`lead_origins`). Either way all leads get their facets.

use serde_json::{Map, Value, json};

use super::LEAD;
use super::leads::AS_SENT;
use crate::app::App;
use crate::db::args;
use crate::error::Result;
use crate::records::body::Body;
use crate::records::check;
use crate::records::facets::{self, Facets};
use crate::records::store;
use crate::records::{Record, columns};

/// Leads per transaction.
const BATCH: i64 = 200;

/// Old names of fields of leads, and their canonical names.
const NAMES: [(&str, &str); 1] = [("company", "company_name")];

/// Carries out what is left of the migration; doing it again changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn run(app: &App) -> Result<()> {
    let pending: Vec<(String,)> = app
        .db
        .all(
            "SELECT name FROM data_migrations WHERE name IN ('shared_leads', 'typed_leads', 'lead_origins')",
            args![],
        )
        .await?;
    if pending.is_empty() {
        return Ok(());
    }
    let is_shared = !pending.iter().any(|(name,)| name == "shared_leads");
    let mut after = String::new();
    loop {
        let leads: Vec<Record> = app
            .db
            .all(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM records WHERE kind = 'crm_lead' AND id > $1 ORDER BY id LIMIT $2"
                ),
                args![&after, BATCH],
            )
            .await?;
        let Some(last) = leads.last() else {
            break;
        };
        after.clone_from(&last.id);
        let mut tx = app.db.begin().await?;
        for mut lead in leads {
            let mut body = lead.body()?;
            for (old, canonical) in NAMES {
                if !is_shared
                    && lead.area.is_some()
                    && !body.contains_key(canonical)
                    && let Some(value) = body.shift_remove(old)
                {
                    body.insert(canonical.to_owned(), value);
                }
            }
            // A position among the fields is that of the creation, and the lead may have moved.
            if !is_shared && lead.area.is_some() {
                body.shift_remove("stageIndex");
                body.shift_remove("stage");
            }
            set_aside(&mut body);
            lead.body = Value::Object(body.clone()).to_string();
            store::update(&mut tx, &lead).await?;
            let now = facets::of(&LEAD, &lead, &body);
            facets::update(&mut tx, &LEAD, &lead, &Facets::new(), &now).await?;
        }
        tx.commit().await?;
    }
    app.db
        .execute(
            "DELETE FROM data_migrations WHERE name IN ('shared_leads', 'typed_leads', 'lead_origins')",
            args![],
        )
        .await?;
    Ok(())
}

/// Moves values that are not of the type of their field to `as_sent`.
fn set_aside(body: &mut Body) {
    let mut misfits = Map::new();
    for field in LEAD.fields {
        let value = body.get(field.name).filter(|v| !v.is_null());
        if value.is_some_and(|value| !check::fits(field, value)) {
            let value = body.shift_remove(field.name);
            misfits.extend(value.map(|v| (field.name.to_owned(), v)));
        }
    }
    if misfits.is_empty() {
        return;
    }
    let kept = body.entry(AS_SENT).or_insert_with(|| json!({}));
    if let Value::Object(kept) = kept {
        for (name, value) in misfits {
            kept.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_other_types_are_set_aside() {
        let body = json!({"name": "Ada", "tier": 3, "first_name": "A", "crm_data": "none", "as_sent": {"phone": 1}});
        let mut body = body.as_object().expect("an object").clone();
        set_aside(&mut body);
        let expected = json!({"name": "Ada", "first_name": "A", "as_sent": {"phone": 1, "tier": 3, "crm_data": "none"}});
        assert_eq!(Value::Object(body), expected);
    }
}
