//! What the bodies of this dialect look like, for agents that ask before they write. Bodies may hold more than is listed: other fields are kept as they come.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::{AgentFault, Auth, One, Path, Problem, one};

/// A member of a body.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct BodyField {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
}

/// The body of an operation that creates something.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct BodySchema {
    /// Method and path of the operation.
    operation: &'static str,
    fields: Vec<BodyField>,
}

/// Reads `name:type`, with `!` behind what is required.
fn schema(operation: &'static str, fields: &'static [&'static str]) -> Json<One<BodySchema>> {
    let fields = fields.iter().map(|field| {
        let (name, kind) = field.split_once(':').unwrap_or((field, "string"));
        BodyField {
            name,
            kind: kind.trim_end_matches('!'),
            required: kind.ends_with('!'),
        }
    });
    one(BodySchema {
        operation,
        fields: fields.collect(),
    })
}

macro_rules! schemas {
    ($($(#[doc = $doc:literal])+ $name:ident $path:literal $id:literal $operation:literal [$($field:literal),*];)*) => {
        $(
            $(#[doc = $doc])+
            #[utoipa::path(get, path = $path, tag = "agents", operation_id = $id, security(("key" = [])),
                responses((status = 200, body = One<BodySchema>), (status = "4XX", body = AgentFault)))]
            pub(super) async fn $name(_: Auth) -> Json<One<BodySchema>> {
                schema($operation, &[$($field),*])
            }
        )*
    };
}

schemas! {
    /// Shows the body of a new folder.
    folder "/protected/data/get-dataset-schema" "getDatasetSchema" "POST /protected/data/folders"
        ["dataTitle:string!", "parentId:string", "dataSchema:object", "dataTags:array", "description:string", "searchText:string"];
    /// Shows the body of a new project.
    project "/protected/projects/get-project-schema" "getProjectSchema" "POST /protected/projects"
        ["title:string!", "description:string", "status:string", "start_date:date", "end_date:date", "tags:array", "teamMembers:array"];
    /// Shows the body of a new work package.
    package "/protected/projects/get-workpackage-schema" "getWorkPackageSchema" "POST /protected/projects/{projectId}/work-packages"
        ["title:string!", "description:string", "start_date:date", "end_date:date"];
    /// Shows the body of a new task.
    task "/protected/projects/get-task-schema" "getTaskSchema" "POST /protected/projects/{projectId}/work-packages/{wpId}/tasks"
        ["title:string!", "description:string", "assigned_to:string", "status:string", "start_date:date", "end_date:date", "notes:string"];
    /// Shows the body of a new article.
    knowledge "/protected/knowledge/schema" "getKnowledgeSchema" "POST /protected/knowledge"
        ["title:string", "content:string!", "summary:string", "source:string", "url:string", "sources:array", "supersedes:string"];
    /// Shows the body of a new business plan.
    plan "/protected/business-plans/schema" "getBusinessPlanSchema" "POST /protected/business-plans"
        ["title:string", "description:string"];
    /// Shows the body of a new campaign.
    campaign "/protected/sales/campaigns/schema" "getCampaignSchema" "POST /protected/sales/campaigns"
        ["title:string!", "description:string", "status:string", "start_date:date", "end_date:date", "stages:array", "leads:array", "target_audience:string", "goals:string", "tags:array"];
    /// Shows the body of a new forecast.
    forecast "/protected/sales/forecasts/schema" "getForecastSchema" "POST /protected/sales/forecasts"
        ["title:string", "description:string"];
}

/// Shows the body of a new template of a kind.
#[utoipa::path(get, path = "/protected/templates/{kind}/schema", tag = "agents", operation_id = "getTemplateSchema", security(("key" = [])), params(("kind" = String, Path)),
    responses((status = 200, body = One<BodySchema>), (status = "4XX", body = AgentFault)))]
pub(super) async fn template(
    _: Auth,
    Path(kind): Path<String>,
) -> Result<Json<One<BodySchema>>, Problem> {
    super::templates::kind(&kind)?;
    Ok(schema(
        "POST /protected/templates/{kind}",
        &[
            "title:string",
            "description:string",
            "content:string",
            "tags:array",
            "data:object",
        ],
    ))
}
