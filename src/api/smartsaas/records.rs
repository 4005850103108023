//! Operations on records of any kind.

use super::names;
use super::wire::{Fields, page, paging, view};
use crate::api::operation::{Call, Data};
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::store::{self, Filter};
use crate::records::write;

pub(super) async fn list(call: Call<'_>) -> Result<Data> {
    let (kind, paging) = (call.kind()?, paging(call)?);
    let filter = Filter::default();
    let listed = store::numbered(call.app, call.caller.tenant(), &[kind], &filter, &paging).await?;
    page(kind, &listed, paging)
}

pub(super) async fn get(call: Call<'_>) -> Result<Data> {
    let kind = call.kind()?;
    let record = store::get(call.app, call.caller.tenant(), kind, call.id()).await?;
    Ok(Data::One(view(kind, &record)?))
}

pub(super) async fn create(call: Call<'_>) -> Result<Plan> {
    let kind = call.kind()?;
    let mut new = Fields(call.body.clone()).record()?;
    names::to_canonical(kind, &mut new.body);
    write::create(call.app, call.caller, kind, new).await
}

/// Changes the record that `_id` or `id` in the body names.
pub(super) async fn update_named(call: Call<'_>) -> Result<Plan> {
    let kind = call.kind()?;
    let mut fields = Fields(call.body.clone());
    let id = fields.first(&["_id", "id"])?.ok_or_else(|| {
        Error::invalid("id_missing", "_id is missing; send the id of the template")
    })?;
    let record = store::get(call.app, call.caller.tenant(), kind, &id).await?;
    write::update(call.app, call.caller, kind, record, fields.patch()?).await
}

pub(super) async fn delete(call: Call<'_>) -> Result<Plan> {
    delete_by_id(call, call.id()).await
}

/// Deletes the record that `id` in the query string, or `id` or `_id` in the body names.
pub(super) async fn delete_named(call: Call<'_>) -> Result<Plan> {
    let in_body = call.body.get("id").or(call.body.get("_id"));
    let id = call.query("id").or(in_body.and_then(|id| id.as_str()));
    let id = id.ok_or_else(|| {
        Error::invalid(
            "id_missing",
            "id is missing; send the plan's id as query parameter id, or as id in the body",
        )
    })?;
    delete_by_id(call, id).await
}

async fn delete_by_id(call: Call<'_>, id: &str) -> Result<Plan> {
    let kind = call.kind()?;
    let record = store::get(call.app, call.caller.tenant(), kind, id).await?;
    let mut plan = Plan::default();
    plan.delete(kind, record);
    Ok(plan)
}
