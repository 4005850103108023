//! Tasks, comments, approvals, memory, and search over what a caller may read.

use serde_json::{Value, json};

use super::boards::group_of;
use super::wire::{flag, id, number, page, part};
use crate::api::operation::{Call, Data};
use crate::auth::{Area, Scope};
use crate::boards::tasks::Filter;
use crate::boards::{
    APPROVAL_STATUSES, GROUP_MEMORY, MEMORY, TASK, access, approvals, comments, json_of, memory,
    tasks,
};
use crate::error::Result;
use crate::kb::datasets;
use crate::page::Page;
use crate::records::body::text;
use crate::records::plan::Plan;
use crate::records::{Kind, Record};
use crate::search;
use crate::search::request::MAX_DATASETS;

pub(super) async fn list_tasks(call: Call<'_>) -> Result<Data> {
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let filter = Filter {
        status: call.query("status").map(str::to_owned),
        assigned_agent_id: super::wire::optional_id(call, "assigned_agent_id")?,
        unassigned: flag(call, "unassigned")?.unwrap_or_default(),
    };
    let part = part(call)?;
    let (found, total) = tasks::list(call.app, &board, &filter, part).await?;
    Ok(page(
        tasks::shown(call.app, &board, &found).await?,
        total,
        part,
    ))
}

pub(super) async fn agent_tasks(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    list_tasks(call).await
}

pub(super) async fn create_task(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    tasks::create(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn agent_create_task(call: Call<'_>) -> Result<Plan> {
    access::need_lead(call.app, call.caller).await?;
    tasks::create(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn update_task(call: Call<'_>) -> Result<Plan> {
    let (board_id, task_id) = (id(call, "board_id")?, id(call, "task_id")?);
    tasks::update(call.app, call.caller, &board_id, &task_id, call.body).await
}

pub(super) async fn agent_update_task(call: Call<'_>) -> Result<Plan> {
    access::need_agent(call.app, call.caller).await?;
    update_task(call).await
}

pub(super) async fn delete_task(call: Call<'_>) -> Result<Plan> {
    let (board_id, task_id) = (id(call, "board_id")?, id(call, "task_id")?);
    tasks::delete(call.app, call.caller, &board_id, &task_id).await
}

pub(super) async fn agent_delete_task(call: Call<'_>) -> Result<Plan> {
    access::need_lead(call.app, call.caller).await?;
    delete_task(call).await
}

pub(super) async fn list_comments(call: Call<'_>) -> Result<Data> {
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let task = access::part(call.app, &TASK, &board, &id(call, "task_id")?).await?;
    let part = part(call)?;
    let (found, total) = comments::list(call.app, &task, part).await?;
    let items = found
        .iter()
        .map(crate::boards::activity::Entry::json)
        .collect();
    Ok(page(items, total, part))
}

pub(super) async fn agent_comments(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    list_comments(call).await
}

pub(super) async fn create_comment(call: Call<'_>) -> Result<Plan> {
    let (board_id, task_id) = (id(call, "board_id")?, id(call, "task_id")?);
    let message = text(call.body, "message").unwrap_or_default();
    comments::create(call.app, call.caller, &board_id, &task_id, message).await
}

pub(super) async fn agent_create_comment(call: Call<'_>) -> Result<Plan> {
    access::need_agent(call.app, call.caller).await?;
    create_comment(call).await
}

pub(super) async fn list_approvals(call: Call<'_>) -> Result<Data> {
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let status = call.query("status");
    if let Some(word) = status.filter(|s| !APPROVAL_STATUSES.contains(s)) {
        let message = format!("Input should be one of {}", APPROVAL_STATUSES.join(", "));
        let place = ["query", "status"];
        return Err(crate::api::shape::wrong(
            &place,
            "literal_error",
            &message,
            &json!(word),
        ));
    }
    let part = part(call)?;
    let (found, total) = approvals::list(call.app, &board, status, part).await?;
    Ok(page(approvals::shown(call.app, &found).await?, total, part))
}

pub(super) async fn agent_approvals(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    list_approvals(call).await
}

pub(super) async fn create_approval(call: Call<'_>) -> Result<Plan> {
    approvals::create(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn agent_create_approval(call: Call<'_>) -> Result<Plan> {
    access::need_agent(call.app, call.caller).await?;
    create_approval(call).await
}

pub(super) async fn update_approval(call: Call<'_>) -> Result<Plan> {
    let (board_id, approval_id) = (id(call, "board_id")?, id(call, "approval_id")?);
    approvals::update(call.app, call.caller, &board_id, &approval_id, call.body).await
}

async fn entries(call: Call<'_>, kind: &'static Kind, parent: Option<&Record>) -> Result<Data> {
    let part = part(call)?;
    let Some(parent) = parent else {
        return Ok(page(Vec::new(), 0, part));
    };
    let wanted = (flag(call, "is_chat")?, None);
    let (found, total) = memory::list(call.app, kind, parent, wanted, part).await?;
    let items: Result<Vec<_>> = found.iter().map(|r| json_of(kind, r)).collect();
    Ok(page(items?, total, part))
}

pub(super) async fn list_memory(call: Call<'_>) -> Result<Data> {
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    entries(call, &MEMORY, Some(&board)).await
}

pub(super) async fn agent_memory(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    list_memory(call).await
}

pub(super) async fn create_memory(call: Call<'_>) -> Result<Plan> {
    memory::create(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn agent_create_memory(call: Call<'_>) -> Result<Plan> {
    access::need_agent(call.app, call.caller).await?;
    create_memory(call).await
}

pub(super) async fn list_group_memory(call: Call<'_>) -> Result<Data> {
    let group = group_of(call, false).await?;
    entries(call, &GROUP_MEMORY, group.as_ref()).await
}

pub(super) async fn create_group_memory(call: Call<'_>) -> Result<Plan> {
    let group = group_of(call, true).await?.ok_or_else(memory::no_group)?;
    memory::create_in_group(call.app, call.caller, &group, call.body).await
}

/// Hits of a search, at most.
const HITS: i64 = 50;

/// Searches what is known: the memory, tasks, comments and approvals of one board and of its group, or with no board everything that the caller may read, the
/// documents of the knowledge base included.
pub(super) async fn search_knowledge(call: Call<'_>) -> Result<Data> {
    call.caller.need(Scope::KbSearch)?;
    let tenant_id = call.caller.tenant();
    let query = call.query("q").unwrap_or_default();
    let mut ids = Vec::new();
    if call.path("board_id").is_empty() {
        let first = Page {
            limit: i64::try_from(MAX_DATASETS).unwrap_or(50),
            after: String::new(),
        };
        let seen = datasets::visible(call.app, call.caller, &first).await?;
        ids.extend(seen.items.into_iter().map(|d| d.id));
    } else {
        let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
        ids.push(Area::Boards.part_dataset_id(tenant_id, &board.id));
        if let Some(group) = memory::group_of(call.app, &board).await? {
            let shared = Area::Boards.part_dataset_id(tenant_id, &group.id);
            let caller = crate::auth::Caller::local(tenant_id);
            if datasets::settings(call.app, &caller, &shared).await.is_ok() {
                ids.push(shared);
            }
        }
    }
    let limit = number(call, "limit", 1, HITS)?.unwrap_or(10);
    let mut request = search::Request::new(query, ids.clone());
    request.top_k = usize::try_from(limit).unwrap_or(10);
    if ids.is_empty() || query.trim().is_empty() {
        return Ok(Data::One(json!({"items": [], "query": query})));
    }
    let answer = search::search(call.app, call.caller, &request).await?;
    let mut items = Vec::with_capacity(answer.hits.len());
    for hit in answer.hits {
        let metadata: Value = serde_json::from_str(&hit.metadata)?;
        let record = metadata["recordId"].as_str();
        let kind = metadata["kind"].as_str();
        items.push(json!({
            "content": hit.chunk.content,
            "title": hit.title,
            "score": hit.score,
            "citation": hit.citation().to_string(),
            "kind": kind,
            "id": record.map(crate::boards::uuid_of),
            "explanation": hit.explanation,
        }));
    }
    Ok(Data::One(json!({"items": items, "query": query})))
}
