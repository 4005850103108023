//! Boards, groups, tags, custom fields, activity and figures.

use serde_json::{Value, json};

use super::wire::{cut, flag, id, number, optional_id, page, part};
use crate::api::operation::{Call, Data};
use crate::auth::{Principal, Scope};
use crate::boards::activity::Filter;
use crate::boards::snapshots::Of;
use crate::boards::{
    BOARD, CUSTOM_FIELD, GROUP, access, activity, board, custom_fields, gateways, groups, json_of,
    memory, metrics, snapshots, store, tags,
};
use crate::error::Result;
use crate::records::body::text;
use crate::records::plan::Plan;
use crate::records::{Kind, Record};

fn bodies(kind: &Kind, records: &[Record]) -> Result<Vec<crate::records::body::Body>> {
    records.iter().map(|r| json_of(kind, r)).collect()
}

pub(super) async fn list_boards(call: Call<'_>) -> Result<Data> {
    let (gateway, group) = (
        optional_id(call, "gateway_id")?,
        optional_id(call, "board_group_id")?,
    );
    let found = board::visible(call.app, call.caller, gateway.as_deref(), group.as_deref()).await?;
    Ok(cut(bodies(&BOARD, &found)?, part(call)?))
}

/// Boards of an agent, newest first.
pub(super) async fn agent_boards(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    let mut found = board::visible(call.app, call.caller, None, None).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(cut(bodies(&BOARD, &found)?, part(call)?))
}

pub(super) async fn create_board(call: Call<'_>) -> Result<Plan> {
    board::create(call.app, call.caller, call.body).await
}

pub(super) async fn get_board(call: Call<'_>) -> Result<Data> {
    let found = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    Ok(Data::One(Value::Object(json_of(&BOARD, &found)?)))
}

pub(super) async fn update_board(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    board::update(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn delete_board(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    board::delete(call.app, call.caller, &id(call, "board_id")?).await
}

pub(super) async fn board_snapshot(call: Call<'_>) -> Result<Data> {
    let found = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    Ok(Data::One(snapshots::board(call.app, &found).await?))
}

pub(super) async fn board_group_snapshot(call: Call<'_>) -> Result<Data> {
    let found = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let of = Of {
        without: (!flag(call, "include_self")?.unwrap_or_default()).then_some(&found.id),
        include_done: flag(call, "include_done")?.unwrap_or_default(),
        limit: number(call, "per_board_task_limit", 0, 100)?.unwrap_or(5),
    };
    let group = memory::group_of(call.app, &found).await?;
    let snapshot = snapshots::group(call.app, call.caller, group.as_ref(), of).await?;
    Ok(Data::One(snapshot))
}

pub(super) async fn list_groups(call: Call<'_>) -> Result<Data> {
    let found = groups::visible(call.app, call.caller).await?;
    Ok(cut(bodies(&GROUP, &found)?, part(call)?))
}

pub(super) fn create_group(call: Call<'_>) -> Result<Plan> {
    groups::create(call.app, call.caller, call.body)
}

pub(super) async fn get_group(call: Call<'_>) -> Result<Data> {
    let found = groups::get(call.app, call.caller, &id(call, "group_id")?, false).await?;
    Ok(Data::One(Value::Object(json_of(&GROUP, &found)?)))
}

pub(super) async fn update_group(call: Call<'_>) -> Result<Plan> {
    groups::update(call.app, call.caller, &id(call, "group_id")?, call.body).await
}

pub(super) async fn delete_group(call: Call<'_>) -> Result<Plan> {
    groups::delete(call.app, call.caller, &id(call, "group_id")?).await
}

pub(super) async fn group_snapshot(call: Call<'_>) -> Result<Data> {
    let found = groups::get(call.app, call.caller, &id(call, "group_id")?, false).await?;
    let of = Of {
        without: None,
        include_done: flag(call, "include_done")?.unwrap_or_default(),
        limit: number(call, "per_board_task_limit", 0, 100)?.unwrap_or(5),
    };
    let snapshot = snapshots::group(call.app, call.caller, Some(&found), of).await?;
    Ok(Data::One(snapshot))
}

pub(super) async fn group_heartbeat(call: Call<'_>) -> Result<Plan> {
    let every = text(call.body, "every").unwrap_or_default();
    let with_leads = call
        .body
        .get("include_board_leads")
        .and_then(Value::as_bool);
    let group_id = id(call, "group_id")?;
    let (plan, answer) = gateways::set_heartbeats(
        call.app,
        call.caller,
        &group_id,
        every,
        with_leads.unwrap_or_default(),
    )
    .await?;
    Ok(plan.data(200, answer))
}

pub(super) async fn list_tags(call: Call<'_>) -> Result<Data> {
    call.caller.need_unconfined(Scope::BoardsRead)?;
    let mut items = Vec::new();
    for tag in tags::all(call.app, call.caller.tenant()).await? {
        items.push(tags::shown(call.app, &tag).await?);
    }
    Ok(cut(items, part(call)?))
}

pub(super) async fn agent_tags(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let found = tags::all(call.app, call.caller.tenant()).await?;
    let items: Result<Vec<Value>> = found.iter().map(tags::reference).collect();
    Ok(Data::One(Value::Array(items?)))
}

pub(super) async fn create_tag(call: Call<'_>) -> Result<Plan> {
    tags::create(call.app, call.caller, call.body).await
}

pub(super) async fn get_tag(call: Call<'_>) -> Result<Data> {
    call.caller.need_unconfined(Scope::BoardsRead)?;
    let tag_id = id(call, "tag_id")?;
    let tag = store::get(call.app, call.caller.tenant(), &crate::boards::TAG, &tag_id).await?;
    Ok(Data::One(Value::Object(tags::shown(call.app, &tag).await?)))
}

pub(super) async fn update_tag(call: Call<'_>) -> Result<Plan> {
    tags::update(call.app, call.caller, &id(call, "tag_id")?, call.body).await
}

pub(super) async fn delete_tag(call: Call<'_>) -> Result<Plan> {
    tags::delete(call.app, call.caller, &id(call, "tag_id")?).await
}

pub(super) async fn list_fields(call: Call<'_>) -> Result<Data> {
    access::need_person(call.caller)?;
    let found = custom_fields::all(call.app, call.caller.tenant()).await?;
    let items = bodies(&CUSTOM_FIELD, &found)?
        .into_iter()
        .map(Value::Object);
    Ok(Data::One(Value::Array(items.collect())))
}

pub(super) async fn create_field(call: Call<'_>) -> Result<Plan> {
    custom_fields::create(call.app, call.caller, call.body).await
}

const FIELD: &str = "task_custom_field_definition_id";

pub(super) async fn update_field(call: Call<'_>) -> Result<Plan> {
    custom_fields::update(call.app, call.caller, &id(call, FIELD)?, call.body).await
}

pub(super) async fn delete_field(call: Call<'_>) -> Result<Plan> {
    custom_fields::delete(call.app, call.caller, &id(call, FIELD)?).await
}

/// Returns whose entries a caller sees: of readable boards, and agents only their own.
fn visible(call: Call<'_>) -> Filter {
    if let Principal::Agent { id, .. } = call.caller.principal() {
        return Filter {
            agent_id: Some(id.clone()),
            ..Filter::default()
        };
    }
    Filter {
        boards: call.caller.boards().readable(),
        ..Filter::default()
    }
}

pub(super) async fn list_activity(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let (found, total) =
        activity::list(&call.app.db, call.caller.tenant(), &visible(call), part).await?;
    let items = found.iter().map(activity::Entry::json).collect();
    Ok(page(items, total, part))
}

pub(super) async fn comment_feed(call: Call<'_>) -> Result<Data> {
    access::need_person(call.caller)?;
    let mut filter = Filter {
        comments: true,
        boards: call.caller.boards().readable(),
        ..Filter::default()
    };
    if let Some(board_id) = optional_id(call, "board_id")? {
        access::read(call.app, call.caller, &board_id).await?;
        filter.boards = Some(vec![board_id]);
    }
    let part = part(call)?;
    let tenant_id = call.caller.tenant();
    let (found, total) = activity::list(&call.app.db, tenant_id, &filter, part).await?;
    let items = activity::feed_items(call.app, tenant_id, found).await?;
    Ok(page(items, total, part))
}

pub(super) async fn dashboard(call: Call<'_>) -> Result<Data> {
    access::need_person(call.caller)?;
    let range = call.query("range_key").unwrap_or("24h");
    if !metrics::RANGE_KEYS.contains(&range) {
        let message = format!("Input should be one of {}", metrics::RANGE_KEYS.join(", "));
        return Err(crate::api::shape::wrong(
            &["query", "range_key"],
            "enum",
            &message,
            &json!(range),
        ));
    }
    let (board_id, group_id) = (
        optional_id(call, "board_id")?,
        optional_id(call, "group_id")?,
    );
    let figures = metrics::dashboard(
        call.app,
        call.caller,
        range,
        board_id.as_deref(),
        group_id.as_deref(),
    );
    Ok(Data::One(figures.await?))
}

/// Returns the memory of a group for a caller who may read it, or of the group of a board.
pub(super) async fn group_of(call: Call<'_>, writes: bool) -> Result<Option<Record>> {
    if call.path("group_id").is_empty() {
        let board_id = id(call, "board_id")?;
        let board = if writes {
            access::write(call.app, call.caller, &board_id).await?
        } else {
            access::read(call.app, call.caller, &board_id).await?
        };
        return memory::group_of(call.app, &board).await;
    }
    access::need_person(call.caller)?;
    let group_id = id(call, "group_id")?;
    groups::get(call.app, call.caller, &group_id, writes)
        .await
        .map(Some)
}
