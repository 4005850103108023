//! Schemas of the bodies of this dialect, for agents that ask before they write. Bodies may hold more than is listed: other fields are kept as they come.

use serde_json::{Value, json};

use super::templates;
use crate::api::operation::{Call, Data};
use crate::error::{Error, Result};

/// By the operation that shows it: the operation whose body it is, and its fields as `name:type`, with `!` behind what is required.
const BODIES: &[(&str, &str, &[&str])] = &[
    (
        "getDatasetSchema",
        "POST /protected/data/folders",
        &[
            "dataTitle:string!",
            "parentId:string",
            "dataSchema:object",
            "dataTags:array",
            "description:string",
            "searchText:string",
        ],
    ),
    (
        "getProjectSchema",
        "POST /protected/projects",
        &[
            "title:string!",
            "description:string",
            "status:string",
            "start_date:date",
            "end_date:date",
            "tags:array",
            "teamMembers:array",
        ],
    ),
    (
        "getWorkPackageSchema",
        "POST /protected/projects/{projectId}/work-packages",
        &[
            "title:string!",
            "description:string",
            "start_date:date",
            "end_date:date",
        ],
    ),
    (
        "getTaskSchema",
        "POST /protected/projects/{projectId}/work-packages/{wpId}/tasks",
        &[
            "title:string!",
            "description:string",
            "assigned_to:string",
            "status:string",
            "start_date:date",
            "end_date:date",
            "notes:string",
        ],
    ),
    (
        "getKnowledgeSchema",
        "POST /protected/knowledge",
        &[
            "title:string",
            "content:string!",
            "summary:string",
            "source:string",
            "url:string",
            "sources:array",
            "supersedes:string",
        ],
    ),
    (
        "getBusinessPlanSchema",
        "POST /protected/business-plans",
        &["title:string", "description:string"],
    ),
    (
        "getCampaignSchema",
        "POST /protected/sales/campaigns",
        &[
            "title:string!",
            "description:string",
            "status:string",
            "start_date:date",
            "end_date:date",
            "stages:array",
            "leads:array",
            "target_audience:string",
            "goals:string",
            "tags:array",
        ],
    ),
    (
        "getForecastSchema",
        "POST /protected/sales/forecasts",
        &["title:string", "description:string"],
    ),
];

fn schema(operation: &str, fields: &[&str]) -> Value {
    let fields = fields.iter().map(|field| {
        let (name, of_type) = field.split_once(':').unwrap_or((field, "string"));
        json!({
            "name": name,
            "type": of_type.trim_end_matches('!'),
            "required": of_type.ends_with('!')
        })
    });
    json!({"operation": operation, "fields": fields.collect::<Vec<_>>()})
}

pub(super) fn show(call: Call<'_>) -> Result<Data> {
    let id = call.operation.id;
    let body = BODIES.iter().find(|(shown_by, ..)| *shown_by == id);
    let (_, operation, fields) =
        body.ok_or_else(|| Error::internal(format!("{id} shows no body")))?;
    Ok(Data::One(schema(operation, fields)))
}

pub(super) fn template(call: Call<'_>) -> Result<Data> {
    templates::kind(call.id())?;
    let fields = [
        "title:string",
        "description:string",
        "content:string",
        "tags:array",
        "data:object",
    ];
    Ok(Data::One(schema(
        "POST /protected/templates/{kind}",
        &fields,
    )))
}
