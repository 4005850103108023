//! The functions of the operations: they translate, and call the areas.

use serde_json::json;

use crate::api::operation::{Call, Data};
use crate::api::request_id;
use crate::auth::Area;
use crate::clock::Clock;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::deliveries::DeliveryStatus;
use crate::records::kind::{CUSTOM, Field, FieldType, Kind, LINE, NAME, NOTES};
use crate::records::plan::Plan;
use crate::records::store::{self, ListQuery};
use crate::records::{check, write};
use crate::{analytics, assets, bi, crm, page, support, webhooks};

/// Leads as this dialect takes them: they have a name.
pub(crate) static LEAD_FIELDS: Kind = Kind::new(
    "crm_lead",
    "lead",
    Area::Crm,
    &[
        NAME,
        Field::new("email", FieldType::Email).filter(),
        Field::new("phone", LINE),
        Field::new("company_name", LINE),
        Field::new(
            "source",
            FieldType::OneOf(&[
                "manual", "website", "referral", "campaign", "import", "api", "mcp", "other",
            ]),
        )
        .filter(),
        NOTES,
        CUSTOM,
    ],
)
.lifecycle(crm::LEAD_STATUSES);

/// Records of a page, when the caller does not say.
const LIMIT: i64 = 25;

pub(super) fn limit(call: Call<'_>) -> Result<i64> {
    let Some(limit) = call.query("limit") else {
        return Ok(LIMIT);
    };
    let limit = limit.parse().ok().filter(|n| (1..=100).contains(n));
    limit
        .ok_or_else(|| Error::invalid("limit_out_of_range", "limit must be a number from 1 to 100"))
}

/// Returns the id of the last record of the page before.
fn cursor(call: Call<'_>) -> Result<Option<String>> {
    let decoded = call.query("cursor").map(|cursor| {
        page::decode(cursor)
            .filter(|id| Clock::is_id(id))
            .ok_or_else(page::foreign)
    });
    decoded.transpose()
}

/// Reads what a list is asked for; `parent` restricts it to parts of a record.
fn list_query(call: Call<'_>, kind: &Kind, parent: Option<String>) -> Result<ListQuery> {
    let one_of = |name: &str, words: &[&str]| {
        Error::invalid(
            "parameter_invalid",
            format!("{name} must be one of {}", words.join(", ")),
        )
    };
    let mut filters: Vec<(String, String)> = Vec::new();
    match (
        call.query("custom_field_key"),
        call.query("custom_field_value"),
    ) {
        (None, None) => {}
        (Some(key), Some(value)) => filters.push((format!("custom:{key}"), value.to_owned())),
        _ => {
            return Err(Error::invalid(
                "parameter_invalid",
                "custom_field_key and custom_field_value must be sent together",
            ));
        }
    }
    for (name, value) in call.query {
        let filter = match name.as_str() {
            "query" | "limit" | "cursor" | "custom_field_key" | "custom_field_value" => continue,
            "status" => {
                let statuses = kind.statuses().map_or(&[][..], |l| l.statuses);
                if !statuses.contains(&value.as_str()) {
                    return Err(one_of(name, statuses));
                }
                name
            }
            "event_type" => "event_types",
            field => {
                if let Some(FieldType::OneOf(words)) = kind.field(field).map(|f| f.field_type)
                    && !words.contains(&value.as_str())
                {
                    return Err(one_of(field, words));
                }
                field
            }
        };
        filters.push((filter.to_owned(), value.clone()));
    }
    filters.extend(parent.map(|id| ("parent".to_owned(), id)));
    let present = kind.present.iter();
    filters.extend(present.map(|name| ("present".to_owned(), (*name).to_owned())));
    Ok(ListQuery {
        query: call.query("query").map(str::to_owned),
        filters,
        before: cursor(call)?,
        limit: limit(call)?,
    })
}

pub(super) async fn list_records(call: Call<'_>) -> Result<Data> {
    records_of(call, None).await
}

pub(super) async fn list_parts_of_ticket(call: Call<'_>) -> Result<Data> {
    let ticket = store::load(call.app, call.caller.tenant(), &support::TICKET, call.id()).await?;
    records_of(call, Some(ticket.id)).await
}

async fn records_of(call: Call<'_>, parent: Option<String>) -> Result<Data> {
    let kind = call.kind()?;
    let query = list_query(call, kind, parent)?;
    let (records, next) = store::list(call.app, call.caller.tenant(), kind, &query).await?;
    let mut list = Vec::with_capacity(records.len());
    for record in &records {
        let json = kind.to_json(record)?;
        list.push(if kind.is(&bi::EXPORT) {
            bi::with_download(call.app, call.caller, json).await?
        } else {
            json
        });
    }
    Ok(Data::Many(list, next))
}

pub(super) async fn create_record(call: Call<'_>) -> Result<Plan> {
    write::create(call.app, call.caller, call.kind()?, call.body.into()).await
}

pub(super) async fn create_lead(call: Call<'_>) -> Result<Plan> {
    check::computed(call.body)?;
    check::body(&LEAD_FIELDS, call.body, true)?;
    create_record(call).await
}

pub(super) async fn update_record(call: Call<'_>) -> Result<Plan> {
    let kind = call.kind()?;
    let record = store::load(call.app, call.caller.tenant(), kind, call.id()).await?;
    write::update(call.app, call.caller, kind, record, call.body.into()).await
}

pub(super) async fn archive_record(call: Call<'_>) -> Result<Plan> {
    let kind = call.kind()?;
    let record = store::load(call.app, call.caller.tenant(), kind, call.id()).await?;
    Ok(write::archive(call.app, kind, record))
}

pub(super) async fn workspace(call: Call<'_>) -> Result<Data> {
    let (app, caller) = (call.app, call.caller);
    let (name,): (String,) = app
        .db
        .one(
            "SELECT name FROM tenants WHERE id = $1",
            args![caller.tenant()],
        )
        .await?;
    let modules: Vec<&str> = Area::all()
        .filter(|area| caller.has_module(*area))
        .filter_map(Area::module)
        .collect();
    let id = format!("wrk_{}", caller.tenant());
    Ok(Data::One(
        json!({"id": id, "name": name, "enabled_modules": modules}),
    ))
}

pub(super) async fn convert_lead(call: Call<'_>) -> Result<Plan> {
    crm::leads::convert(call.app, call.caller, call.id(), call.body).await
}

pub(super) async fn add_message(call: Call<'_>) -> Result<Plan> {
    support::tickets::message(call.app, call.caller, call.id(), call.body).await
}

pub(super) async fn add_comment(call: Call<'_>) -> Result<Plan> {
    support::tickets::comment(call.app, call.caller, call.id(), call.body).await
}

pub(super) async fn open_upload(call: Call<'_>) -> Result<Plan> {
    assets::open_upload(call.app, call.caller, call.body).await
}

pub(super) async fn asset(call: Call<'_>) -> Result<Data> {
    let asset = assets::get(call.app, call.caller, call.id()).await?;
    Ok(Data::One(asset))
}

pub(super) async fn complete_upload(call: Call<'_>) -> Result<Plan> {
    assets::complete(call.app, call.caller, call.id(), call.body).await
}

/// Lists event types by key: those of every workspace on the first page, then its own.
pub(super) async fn event_types(call: Call<'_>) -> Result<Data> {
    let query = call.query("query").map(str::to_lowercase);
    let matches = |key: &str, category: &str, description: &str| {
        let has = |q: &String| key.contains(q) || description.to_lowercase().contains(q);
        query.as_ref().is_none_or(has) && call.query("category").is_none_or(|c| c == category)
    };
    let mut list = Vec::new();
    if call.query("cursor").is_none() {
        for (key, category, description) in webhooks::BUILT_IN {
            if matches(key, category, description) {
                let id = format!("iet_{}", key.replace('.', "_"));
                list.push(json!({"id": id, "key": key, "category": category, "description": description, "built_in": true}));
            }
        }
    }
    let kind = &webhooks::EVENT_TYPE;
    let query = list_query(call, kind, None)?;
    let (records, next) = store::list(call.app, call.caller.tenant(), kind, &query).await?;
    for record in &records {
        let mut json = kind.to_json(record)?;
        json["built_in"] = json!(false);
        list.push(json);
    }
    Ok(Data::Many(list, next))
}

pub(super) async fn test_webhook(call: Call<'_>) -> Result<Plan> {
    webhooks::test(call.app, call.caller, call.id()).await
}

pub(super) async fn deliveries(call: Call<'_>) -> Result<Data> {
    let status = call.query("status").map(|word| {
        word.parse().map_err(|_| {
            let words: Vec<&str> = DeliveryStatus::ALL.iter().map(|s| s.as_str()).collect();
            Error::invalid(
                "parameter_invalid",
                format!("status must be one of {}", words.join(", ")),
            )
        })
    });
    let (list, next) = webhooks::list_deliveries(
        call.app,
        call.caller,
        call.id(),
        call.query("event_type"),
        status.transpose()?,
        cursor(call)?.as_deref(),
        limit(call)?,
    )
    .await?;
    Ok(Data::Many(list, next))
}

pub(super) async fn replay_delivery(call: Call<'_>) -> Result<Plan> {
    webhooks::replay(call.app, call.caller, call.id(), call.path("delivery_id")).await
}

pub(super) async fn validate_event(call: Call<'_>) -> Result<Data> {
    let mut verdict = analytics::validate(call.app, call.caller, call.body).await?;
    verdict["request_id"] = json!(request_id());
    Ok(Data::One(verdict))
}

pub(super) async fn run_query(call: Call<'_>) -> Result<Data> {
    let answer = bi::run(call.app, call.caller, call.body).await?;
    Ok(Data::One(answer))
}

/// Returns the kind of a collection of business intelligence.
fn collection(call: Call<'_>) -> Result<&'static Kind> {
    match call.path("collection") {
        "dashboards" => Ok(&bi::DASHBOARD),
        "datasets" => Ok(&bi::DATASET),
        "reports" => Ok(&bi::REPORT),
        "metrics" => Ok(&bi::METRIC),
        "exports" => Ok(&bi::EXPORT),
        "scheduled-artifacts" | "scheduled_artifacts" => Ok(&bi::ARTIFACT),
        _ => Err(Error::not_found(
            "collection_unknown",
            "the collection must be dashboards, datasets, reports, metrics, exports or scheduled-artifacts",
        )),
    }
}

pub(super) async fn update_bi(call: Call<'_>) -> Result<Plan> {
    let kind = collection(call)?;
    let record = store::load(call.app, call.caller.tenant(), kind, call.path("id")).await?;
    write::update(call.app, call.caller, kind, record, call.body.into()).await
}

pub(super) async fn archive_bi(call: Call<'_>) -> Result<Plan> {
    let kind = collection(call)?;
    let record = store::load(call.app, call.caller.tenant(), kind, call.path("id")).await?;
    Ok(bi::archive(call.app, kind, record))
}
