//! Moves leads and tasks from before leads were shared: the fields of leads that came through the SmartSaaS dialect get their canonical names, and all leads get
//! their facets. The SQL migration 0018 has moved the rows, and lists in `data_migrations` what is left to do here, where JSON is read.

use serde_json::Value;

use super::LEAD;
use crate::app::App;
use crate::db::args;
use crate::error::Result;
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
    let pending: Option<(String,)> = app
        .db
        .optional(
            "SELECT name FROM data_migrations WHERE name = 'shared_leads'",
            args![],
        )
        .await?;
    if pending.is_none() {
        return Ok(());
    }
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
                if lead.area.is_some()
                    && !body.contains_key(canonical)
                    && let Some(value) = body.shift_remove(old)
                {
                    body.insert(canonical.to_owned(), value);
                }
            }
            // A position among the fields is that of the creation, and the lead may have moved.
            if lead.area.is_some() {
                body.shift_remove("stageIndex");
                body.shift_remove("stage");
            }
            lead.body = Value::Object(body.clone()).to_string();
            store::update(&mut tx, &lead).await?;
            let now = facets::of(&LEAD, &lead, &body);
            facets::update(&mut tx, &LEAD, &lead, &Facets::new(), &now).await?;
        }
        tx.commit().await?;
    }
    app.db
        .execute(
            "DELETE FROM data_migrations WHERE name = 'shared_leads'",
            args![],
        )
        .await?;
    Ok(())
}
