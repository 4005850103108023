//! Requests for content, recurring tasks, skills, reports, spending, audit log and operational log.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::wire::{Auth, DashboardFault, Path, Problem, invalid, page, set, span, word};
use crate::agency::deliverables::day_of;
use crate::agency::logs;
use crate::agency::people::{Names, actor_type};
use crate::agency::reports::{self, TYPES};
use crate::agency::requests::{self, Format};
use crate::agency::routines::{self, Routine};
use crate::agency::skills::{self, Fields, GLOBAL};
use crate::agency::spend::{self, GroupBy};
use crate::agency::{
    CAMPAIGN, CHANNEL, REPORT, REPORT_STATUSES, REQUEST, REQUEST_STATUSES, SKILL, access, list,
    roles, store, usd,
};
use crate::agency::{pdf, report_page};
use crate::api::Service;
use crate::api::operation::{Call, Data};
use crate::app::App;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::kinds;
use crate::records::Record;
use crate::records::audit;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Longest topic and brief, in characters.
const TOPIC: usize = 300;
const BRIEF: usize = 20_000;

/// Returns the fields of a request under their canonical names.
fn wish(given: &Body) -> Result<Body> {
    let mut body = Body::new();
    for (name, field, most) in [
        ("topic", "topic", TOPIC),
        ("targetKeyword", "target_keyword", TOPIC),
        ("brief", "brief", BRIEF),
        ("channelId", "channel_id", TOPIC),
        ("priority", "priority", TOPIC),
        ("scheduleFor", "schedule_for", TOPIC),
    ] {
        let Some(value) = text(given, name) else {
            continue;
        };
        if value.chars().count() > most {
            return Err(Error::invalid(
                "text_too_long",
                format!("{name} may have at most {most} characters"),
            ));
        }
        body.insert(field.to_owned(), json!(value));
    }
    Ok(body)
}

pub(super) async fn create_blog_request(call: Call<'_>) -> Result<Plan> {
    let body = wish(call.body)?;
    requests::create(call.app, call.caller, Format::Blog, body).await
}

pub(super) async fn create_social_request(call: Call<'_>) -> Result<Plan> {
    let mut body = wish(call.body)?;
    let mut platforms = list(call.body, "platforms");
    platforms.sort();
    platforms.dedup();
    if platforms.is_empty() {
        return Err(Error::invalid(
            "platforms_missing",
            "platforms must name at least one platform",
        ));
    }
    body.insert("platforms".to_owned(), json!(platforms));
    requests::create(call.app, call.caller, Format::Social, body).await
}

/// Returns a request that was created as lists show it.
pub(super) async fn request_created(call: Call<'_>, written: &Value) -> Result<Option<Value>> {
    let id = written["id"].as_str().unwrap_or_default();
    let request = store::get(call.app, call.caller.tenant(), &REQUEST, id).await?;
    let mut shown = requests_shown(call.app, call.caller.tenant(), &[request]).await?;
    Ok(shown.pop())
}

async fn requests_shown(app: &App, tenant_id: &str, found: &[Record]) -> Result<Vec<Value>> {
    let names = Names::of_authors(app, tenant_id, found).await?;
    let mut shown = Vec::with_capacity(found.len());
    for request in found {
        let body = request.body()?;
        let mut one = json!({
            "id": request.id,
            "topic": request.title,
            "status": request.status,
            "priority": text(&body, "priority").unwrap_or("normal"),
            "createdBy": names.name(request.author.as_deref()),
            "createdOn": request.created_on.rfc3339(),
        });
        if let Some(topic) = text(&body, "topic") {
            one["topic"] = json!(topic);
        }
        set(&mut one, "targetKeyword", text(&body, "target_keyword"));
        set(&mut one, "brief", text(&body, "brief"));
        set(&mut one, "scheduleFor", text(&body, "schedule_for"));
        if let Some(id) = text(&body, "channel_id") {
            one["channelId"] = json!(id);
            if let Some(channel) = store::optional(app, tenant_id, &CHANNEL, id).await? {
                one["channelName"] = json!(channel.title);
            }
        }
        let is_social = text(&body, "format") == Some("social");
        if is_social {
            one["platforms"] = json!(list(&body, "platforms"));
        }
        let made = if is_social {
            "socialPostId"
        } else {
            "blogPostId"
        };
        set(&mut one, made, text(&body, "activity_id"));
        shown.push(one);
    }
    Ok(shown)
}

async fn list_requests(call: Call<'_>, format: Format) -> Result<Data> {
    access::read(call.caller)?;
    let mut filters = vec![("format".to_owned(), format.word().to_owned())];
    if let Some(status) = word(call, "filter.status", &REQUEST_STATUSES)? {
        filters.push(("status".to_owned(), status));
    }
    if let Some(platform) = word(call, "filter.platform", &super::shapes::SOCIAL)? {
        filters.push(("platforms".to_owned(), platform));
    }
    let tenant_id = call.caller.tenant();
    let page = page(call, 50)?;
    let found = store::page(call.app, tenant_id, &REQUEST, filters, None, &page).await?;
    let shown = requests_shown(call.app, tenant_id, &found.items).await?;
    Ok(Data::Many(shown, found.next))
}

pub(super) async fn list_blog_requests(call: Call<'_>) -> Result<Data> {
    list_requests(call, Format::Blog).await
}

pub(super) async fn list_social_requests(call: Call<'_>) -> Result<Data> {
    list_requests(call, Format::Social).await
}

fn routine_shown(routine: &Routine, now: Time) -> Result<Value> {
    let template = routine.template;
    let variables = template
        .variables
        .iter()
        .map(|v| json!({"key": v.key, "label": v.label, "type": v.kind, "required": v.required}));
    Ok(json!({
        "id": template.id,
        "name": template.name,
        "description": template.description,
        "assigneeType": "agent",
        "agentRole": template.role,
        "periodicity": template.periodicity,
        "trigger": template.cron,
        "isActive": routine.is_active,
        "variables": variables.collect::<Vec<_>>(),
        "variableValues": routine.values,
        "nextRunAt": routine.next_run(now)?.map(Time::rfc3339),
        "lastRunAt": routine.last_run_on.map(Time::rfc3339),
    }))
}

pub(super) async fn list_recurring(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let now = call.app.clock.now();
    let all = routines::all(call.app, call.caller.tenant()).await?;
    let shown: Vec<Value> = all
        .iter()
        .map(|r| routine_shown(r, now))
        .collect::<Result<_>>()?;
    Ok(Data::One(json!({"data": shown})))
}

pub(super) async fn update_recurring(call: Call<'_>) -> Result<Plan> {
    let is_active = call.body.get("isActive").and_then(Value::as_bool);
    let values = call.body.get("variableValues").and_then(Value::as_object);
    routines::update(call.app, call.caller, call.id(), is_active, values).await
}

/// Returns a changed recurring task.
pub(super) async fn recurring_updated(call: Call<'_>) -> Result<Option<Value>> {
    let routine = routines::get(call.app, call.caller.tenant(), call.id()).await?;
    routine_shown(&routine, call.app.clock.now()).map(Some)
}

pub(super) async fn run_recurring(call: Call<'_>) -> Result<Plan> {
    routines::run(call.app, call.caller, call.id(), "manual").await
}

async fn skill_shown(app: &App, tenant_id: &str, skill: &Record) -> Result<Value> {
    let names = Names::of_authors(app, tenant_id, std::slice::from_ref(skill)).await?;
    one_skill(skill, &names)
}

fn one_skill(skill: &Record, names: &Names) -> Result<Value> {
    let body = skill.body()?;
    Ok(json!({
        "id": skill.id,
        "name": skill.title,
        "description": text(&body, "description").unwrap_or_default(),
        "scope": "tenant",
        "assignedAgents": list(&body, "agent_roles"),
        "sizeBytes": text(&body, "content").map_or(0, str::len),
        "createdBy": names.name(skill.author.as_deref()),
        "createdOn": skill.created_on.rfc3339(),
        "updatedOn": skill.updated_on.rfc3339(),
    }))
}

/// Day on which the skills of the platform were written.
const PLATFORM: &str = "2026-11-30T00:00:00.000Z";

pub(super) async fn list_skills(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let scope = word(call, "filter.scope", &["tenant", "global"])?;
    let role = call.query("filter.agentRole");
    let role = role.map(|name| roles::named(name).map_or(name, |r| r.name));
    let mut data = Vec::new();
    if scope.as_deref() != Some("global") {
        let all = store::all(&call.app.db, call.caller.tenant(), &SKILL).await?;
        let names = Names::of_authors(call.app, call.caller.tenant(), &all).await?;
        for skill in &all {
            let own = list(&skill.body()?, "agent_roles");
            if role.is_none_or(|role| own.iter().any(|r| r == role)) {
                data.push(one_skill(skill, &names)?);
            }
        }
    }
    if scope.as_deref() != Some("tenant") {
        let wanted = |s: &&skills::Global| role.is_none_or(|role| s.roles.contains(&role));
        data.extend(GLOBAL.iter().filter(wanted).map(|skill| {
            json!({
                "id": skill.id, "name": skill.name, "description": skill.description, "scope": "global", "assignedAgents": skill.roles,
                "sizeBytes": skill.content.len(), "createdBy": "Cairn", "createdOn": PLATFORM, "updatedOn": PLATFORM,
            })
        }));
    }
    Ok(Data::One(json!({"data": data})))
}

pub(super) async fn delete_skill(call: Call<'_>) -> Result<Plan> {
    skills::delete(call.app, call.caller, call.id()).await
}

/// Returns a skill by its id as lists show it.
pub(super) async fn skill_of(app: &App, tenant_id: &str, id: &str) -> Result<Value> {
    let skill = store::get(app, tenant_id, &SKILL, id).await?;
    skill_shown(app, tenant_id, &skill).await
}

/// Returns the fields of a skill from a JSON body.
///
/// # Errors
/// `skill_invalid`.
pub(super) fn skill_fields(body: &Body) -> Result<Fields> {
    let own = |name: &str| text(body, name).map(str::to_owned);
    for (name, value) in body {
        let fits = match name.as_str() {
            "name" | "description" | "content" => value.is_string(),
            "agentRoles" => value
                .as_array()
                .is_some_and(|all| all.iter().all(Value::is_string)),
            _ => true,
        };
        if !fits {
            return Err(Error::invalid(
                "skill_invalid",
                format!("{name} has a wrong type"),
            ));
        }
    }
    Ok(Fields {
        name: own("name"),
        description: own("description"),
        agent_roles: body
            .contains_key("agentRoles")
            .then(|| list(body, "agentRoles")),
        content: own("content"),
    })
}

fn report_shown(report: &Record) -> Result<Value> {
    let body = report.body()?;
    Ok(json!({
        "id": report.id,
        "title": report.title,
        "type": text(&body, "type"),
        "status": report.status,
        "periodStart": text(&body, "period_start"),
        "periodEnd": text(&body, "period_end"),
        "campaignId": text(&body, "campaign_id"),
        "deliveredAt": text(&body, "delivered_at"),
        "createdOn": report.created_on.rfc3339(),
    }))
}

pub(super) async fn list_reports(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let day = |name: &str| -> Result<Option<String>> {
        let given = call.query(name);
        let read = given.map(|day| crate::agency::deliverables::read_day(name, day));
        Ok(read.transpose()?.map(|d| d.to_string()))
    };
    let filter = reports::Filter {
        status: word(call, "filter.status", &REPORT_STATUSES)?,
        report_type: word(call, "filter.type", &TYPES)?,
        campaign_id: call.query("filter.campaignId").map(str::to_owned),
        start: day("filter.startDate")?,
        end: day("filter.endDate")?,
    };
    let page = page(call, 25)?;
    let found = reports::list_page(call.app, call.caller.tenant(), &filter, &page).await?;
    let shown: Vec<Value> = found
        .items
        .iter()
        .map(report_shown)
        .collect::<Result<_>>()?;
    Ok(Data::Many(shown, found.next))
}

pub(super) async fn get_report(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let report = store::get(call.app, call.caller.tenant(), &REPORT, call.id()).await?;
    let body = report.body()?;
    let mut shown = report_shown(&report)?;
    for (name, field) in [
        ("activityId", "activity_id"),
        ("content", "content"),
        ("deliveredBy", "delivered_by"),
        ("deliveryChannel", "delivery_channel"),
    ] {
        shown[name] = json!(text(&body, field));
    }
    Ok(Data::One(shown))
}

/// Shows a report as a page for people: its Markdown as HTML, and its figures as charts. It is made for printing.
#[utoipa::path(get, path = "/dashboard/v1/reports/{reportId}/page", tag = "leadmetrics dashboard", operation_id = "showPerformanceReport", security(("key" = [])),
    params(("reportId" = String, Path)), responses((status = 200, content_type = "text/html", body = String), (status = "4XX", body = DashboardFault)))]
pub(super) async fn report_page(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    access::read(&caller)?;
    let report = store::get(&service.app, caller.tenant(), &REPORT, &id).await?;
    let page = report_page::page(&report)?;
    // Markup of agents is text already; the policy also keeps their images from telling others that the report is read.
    let policy = format!("{}; frame-ancestors 'none'", report_page::POLICY);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, page).into_response())
}

/// Shows the page of a report as a PDF file, printed by the Chromium or Chrome of the server's machine.
#[utoipa::path(get, path = "/dashboard/v1/reports/{reportId}/pdf", tag = "leadmetrics dashboard", operation_id = "printPerformanceReport", security(("key" = [])),
    params(("reportId" = String, Path)), responses((status = 200, content_type = "application/pdf", body = String), (status = "4XX", body = DashboardFault), (status = "5XX", body = DashboardFault)))]
pub(super) async fn report_pdf(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    access::read(&caller)?;
    let report = store::get(&service.app, caller.tenant(), &REPORT, &id).await?;
    let page = report_page::page(&report)?;
    let config = &service.app.config;
    let limit = Duration::from_secs(config.answer_seconds());
    let file = pdf::print(&config.pdf_browser, &page, limit).await?;
    let name = format!("inline; filename=\"report-{}.pdf\"", report.id);
    let headers = [
        (header::CONTENT_TYPE, "application/pdf"),
        (header::CONTENT_DISPOSITION, name.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, file).into_response())
}

/// Days of the periods of spending.
const PERIODS: [(&str, i64); 4] = [("day", 1), ("week", 7), ("month", 30), ("quarter", 91)];
/// Longest time of a report of spending, in days.
const LONGEST: i64 = 3660;

fn percent(part: i64, whole: i64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (usd(part) / usd(whole) * 10_000.0).round() / 100.0
}

pub(super) async fn spending(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let names: Vec<&str> = PERIODS.iter().map(|(name, _)| *name).collect();
    let period = word(call, "period", &names)?.unwrap_or_else(|| "month".to_owned());
    let days = PERIODS.iter().find(|(name, _)| *name == period);
    let days = days.map_or(30, |(_, days)| *days);
    let group_by = match word(
        call,
        "groupBy",
        &["agent", "model", "campaign", "deliverable_type"],
    )?
    .as_deref()
    {
        Some("model") => GroupBy::Model,
        Some("campaign") => GroupBy::Campaign,
        Some("deliverable_type") => GroupBy::DeliverableType,
        _ => GroupBy::Agent,
    };
    // Dates go before the period.
    let (start, end) = span(call, ["startDate", "endDate"])?;
    const DAY: i64 = 24 * 3600 * 1000;
    let now = call.app.clock.now();
    let end = end.unwrap_or(Time(now.0 + 1));
    let start = start.unwrap_or(Time(end.0 - days * DAY));
    if end.0 <= start.0 || (end.0 - start.0) / DAY > LONGEST {
        return Err(invalid(
            "startDate",
            &format!("must be before endDate, and at most {LONGEST} days"),
        ));
    }
    let report = spend::report(call.app, call.caller.tenant(), (start, end), group_by).await?;
    // Campaigns are counted by id, because two may have the same name.
    let mut names = std::collections::HashMap::new();
    if group_by == GroupBy::Campaign {
        let ids: Vec<String> = report.breakdown.iter().map(|(id, _)| id.clone()).collect();
        for campaign in store::some(&call.app.db, call.caller.tenant(), &CAMPAIGN, &ids).await? {
            names.insert(campaign.id, campaign.title);
        }
    }
    let breakdown: Vec<Value> = report
        .breakdown
        .iter()
        .map(|(label, cost)| (names.get(label).unwrap_or(label), cost))
        .map(|(label, cost)| json!({"label": label, "costUsd": usd(*cost), "pct": percent(*cost, report.total)}))
        .collect();
    let mut series = Vec::new();
    let mut day = day_of(start);
    let last = day_of(Time(end.0 - 1));
    while day <= last {
        let cost = report.days.get(&day.to_string()).copied();
        series.push(json!({"date": day.to_string(), "costUsd": usd(cost.unwrap_or_default())}));
        let Some(next) = day.succ_opt() else { break };
        day = next;
    }
    let mut shown =
        json!({"totalUsd": usd(report.total), "breakdown": breakdown, "dailySeries": series});
    if let Some((cap, spent)) = report.caps {
        shown["budgetCapUsd"] = json!(usd(cap));
        shown["budgetUsedPct"] = json!(percent(spent, cap));
    }
    Ok(Data::One(shown))
}

pub(super) async fn list_logs(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (start, end) = span(call, ["filter.startDate", "filter.endDate"])?;
    let filter = logs::Filter {
        level: word(call, "filter.level", &logs::LEVELS)?,
        category: word(call, "filter.category", &logs::CATEGORIES)?,
        agent_role: call.query("filter.agentRole").map(str::to_owned),
        activity_id: call.query("filter.activityId").map(str::to_owned),
        start,
        end,
    };
    let page = page(call, 100)?;
    let found = logs::list(call.app, call.caller.tenant(), &filter, &page).await?;
    let shown = found.items.iter().map(|entry| {
        Ok(json!({
            "id": entry.id,
            "level": entry.level,
            "category": entry.category,
            "message": entry.message,
            "context": serde_json::from_str::<Value>(&entry.context)?,
            "activityId": entry.activity_id,
            "agentRole": entry.agent_role,
            "createdOn": entry.created_on.rfc3339(),
        }))
    });
    Ok(Data::Many(shown.collect::<Result<_>>()?, found.next))
}

/// Beginnings of the names of kinds that the audit log leaves out.
const FAMILIES: [&str; 2] = ["agency_", "crm_"];

/// Returns a change as `{from, to}` by field.
fn changed(changes: &str) -> Result<Value> {
    let changes: Map<String, Value> = serde_json::from_str(changes)?;
    if changes.is_empty() {
        return Ok(Value::Null);
    }
    let mut shown = Map::new();
    for (field, values) in changes {
        let change = match values.as_array().map(Vec::as_slice) {
            Some([from, to]) => json!({"from": from, "to": to}),
            _ => json!({"from": null, "to": values}),
        };
        shown.insert(field, change);
    }
    Ok(Value::Object(shown))
}

pub(super) async fn list_audit(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (start, end) = span(call, ["filter.startDate", "filter.endDate"])?;
    let action = call.query("filter.action").map(|action| match action {
        "created" => "create",
        "updated" => "update",
        "deleted" => "delete",
        other => other,
    });
    let filter = audit::Filter {
        entity: call.query("filter.entityType").map(str::to_owned),
        entity_id: call.query("filter.entityId").map(str::to_owned),
        actor: call.query("filter.userId").map(str::to_owned),
        action: action.map(str::to_owned),
        start,
        end,
    };
    let page = page(call, 50)?;
    // Changes of records are for those who may read the records.
    let is_readable = |entry: &audit::Entry| match kinds::named(&entry.entity_kind) {
        Some(kind) => call.caller.may(kind.area.read()),
        None => true,
    };
    let found = audit::search(
        call.app,
        call.caller.tenant(),
        &filter,
        &FAMILIES,
        &page,
        is_readable,
    )
    .await?;
    let actors = found.items.iter().map(|e| e.actor.as_deref());
    let names = Names::of(call.app, call.caller.tenant(), actors).await?;
    let shown = found.items.iter().map(|entry| {
        let kind = entry.entity_kind.as_str();
        let kind = FAMILIES
            .iter()
            .find_map(|f| kind.strip_prefix(f))
            .unwrap_or(kind);
        let action = match entry.action.as_str() {
            action @ ("create" | "update" | "delete") => format!("{action}d"),
            other => other.to_owned(),
        };
        let actor = entry.actor.as_deref();
        let actor_type = match (actor, actor_type(actor)) {
            (None, _) => "system",
            (_, "agent") => "agent",
            _ => "user",
        };
        Ok(json!({
            "id": entry.id,
            "entityType": kind,
            "entityId": entry.entity_id,
            "action": action,
            "actorType": actor_type,
            "actorId": actor.unwrap_or("system"),
            "actorName": names.name(actor),
            "changes": changed(&entry.changes)?,
            "ip": null,
            "createdOn": entry.created_on.rfc3339(),
        }))
    });
    Ok(Data::Many(shown.collect::<Result<_>>()?, found.next))
}
