//! The search of entries.

use serde_json::{Value, json};

use super::functions::limit;
use crate::api::operation::{Call, Data};
use crate::auth::Area;
use crate::content::ENTRY;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::kb::filter::Filter;
use crate::records::store::{self, ListQuery};
use crate::search;

/// Entries that a search finds, the best first; those that were written a moment ago, and are not in the index yet, come after them by their words.
pub(super) async fn search(call: Call<'_>) -> Result<Data> {
    let (app, caller) = (call.app, call.caller);
    let tenant_id = caller.tenant();
    let query = call.query("query").ok_or_else(|| {
        Error::invalid(
            "query_missing",
            "query is missing; send the text to search for",
        )
    })?;
    let most = limit(call)?;
    let limit = usize::try_from(most).unwrap_or(25);
    let dataset = datasets::area_dataset(app, tenant_id, Area::Cms).await?;
    let mut request = search::Request::new(query.to_owned(), vec![dataset.id]);
    request.top_k = limit;
    request.plain = true;
    request.per_document = Some(1);
    request.filter = Some(Filter::read(
        &json!({"field": "kind", "op": "eq", "value": ENTRY.name}),
    )?);
    let found = search::search(app, caller, &request).await?;
    let mut list: Vec<Value> = Vec::new();
    for hit in &found.hits {
        let metadata: Value = serde_json::from_str(&hit.metadata)?;
        let id = ENTRY.public_id(metadata["recordId"].as_str().unwrap_or_default());
        match store::load(app, tenant_id, &ENTRY, &id).await {
            Ok(entry) => {
                let mut shown = ENTRY.to_json(&entry)?;
                shown["score"] = json!(hit.score);
                shown["snippet"] = json!(hit.chunk.content.chars().take(300).collect::<String>());
                list.push(shown);
            }
            Err(error) if error.code() == "record_not_found" => {}
            Err(error) => return Err(error),
        }
    }
    let by_words = ListQuery {
        query: Some(query.to_owned()),
        limit: most,
        ..ListQuery::default()
    };
    let (fresh, _) = store::list(app, tenant_id, &ENTRY, &by_words).await?;
    for entry in &fresh {
        let shown = ENTRY.to_json(entry)?;
        if list.len() < limit && !list.iter().any(|known| known["id"] == shown["id"]) {
            list.push(shown);
        }
    }
    Ok(Data::Many(list, None))
}
