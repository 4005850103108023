//! The operations of the dialect.

use std::future::ready;

use Scope::*;

use super::wire::PAGING;
use super::{data, knowledge, people, projects, records, sales, schemas, templates};
use crate::api::operation::{Operation, Takes};
use crate::auth::Scope;
use crate::content::{EMAIL_TEMPLATE, WEBPAGE_TEMPLATE};
use crate::crm::{CAMPAIGN, FORECAST};
use crate::knowledge::{ARTICLE, BUSINESS_PLAN, FINDING};
use crate::records::kind::Kind;
use crate::work::PROJECT;

const fn list(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::get(path, id, scopes, |c| Box::pin(records::list(c)), summary)
        .of(kind)
        .named(PAGING)
        .many()
}

const fn get(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::get(path, id, scopes, |c| Box::pin(records::get(c)), summary).of(kind)
}

const fn create(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::post(path, id, scopes, |c| Box::pin(records::create(c)), summary).of(kind)
}

/// Those of the agents' API.
pub(super) static AGENTS: &[Operation] = &[
    // People and the channel.
    Operation::get("/users", "listUsers", &[UsersRead], |c| Box::pin(people::list(c)), "Lists the people of the key's company, oldest first.")
        .named(&["page", "pageSize"]).many(),
    Operation::post("/openclaw/webhook", "pushMessageOrTaskProgress", &[], |c| Box::pin(people::push(c)), "Pushes a message or a task's progress to the user's app; allowed for any key that is not restricted to datasets. The app receives it as `openclaw:message` and `agent-task-update` at `/kb/v1/events`.")
        .success(200),
    // Data.
    Operation::get("/data/folders", "listDataFolders", &[DataRead], |c| Box::pin(data::list(c)), "Lists folders with their row counts.")
        .named(&["page", "limit", "sortBy", "sortOrder", "parentId"])
        .many(),
    Operation::post("/data/folders", "createDataFolder", &[DataWrite], |c| Box::pin(data::create(c)), "Creates a folder: `title` (or `name`, `dataTitle`), `parentId`, `dataTags`, `dataSchema`, `searchText` (search text of its rows, see the update operation)."),
    Operation::get("/data/folders/{id}", "getDataFolder", &[DataRead], |c| Box::pin(data::folder(c)), "Shows a folder with its row count."),
    Operation::patch("/data/folders/{id}", "updateDataFolder", &[DataWrite], |c| Box::pin(data::update(c)), "Changes a folder: fields that are sent are replaced, and null removes a field. `searchText` sets the search text of its rows: a template such as `\"{{ name }}: {{ notes }}\"`, a list of fields, `true` for all of them (the default), or `false` for none."),
    Operation::delete("/data/folders/{id}", "deleteDataFolder", &[DataWrite], |c| Box::pin(data::remove(c)), "Permanently removes a folder with all its rows. A folder that contains folders is rejected."),
    Operation::get("/data/folders/{id}/content", "getDataFolderContent", &[DataRead], |c| Box::pin(data::content(c)), "Shows a folder with its subfolders and its rows in the order they were appended.")
        .named(&["type", "limit", "cursor"]),
    Operation::get("/data/folders/{id}/schema", "getDataFolderSchema", &[DataRead], |c| Box::pin(data::schema(c)), "Shows the columns of a folder, as they were sent."),
    Operation::post("/data/folders/{id}/items", "addDataItem", &[DataWrite], |c| Box::pin(data::append(c)), "Appends a row, any JSON object, to a folder."),
    Operation::ask("/data/folders/{id}/query", "queryDataItems", &[DataRead], |c| Box::pin(data::query(c)), "Queries rows: filter, sort, page, and group with counts, sums, averages, minima and maxima."),
    Operation::get("/data/folders/{id}/items/{rowId}", "getDataItem", &[DataRead], |c| Box::pin(data::row(c)), "Shows a row."),
    Operation::patch("/data/folders/{id}/items/{rowId}", "updateDataItem", &[DataWrite], |c| Box::pin(data::update_row(c)), "Changes fields of a row; null removes a field."),
    Operation::delete("/data/folders/{id}/items/{rowId}", "deleteDataItem", &[DataWrite], |c| Box::pin(data::remove_row(c)), "Permanently removes a row; the others keep their positions."),
    // Knowledge and plans.
    Operation::get("/knowledge", "listKnowledge", &[KnowledgeRead], |c| Box::pin(knowledge::list(c)), "Lists articles and findings.")
        .named(PAGING)
        .many(),
    Operation::post("/knowledge", "addKnowledge", &[KnowledgeWrite], |c| Box::pin(knowledge::post(c)), "Stores a knowledge article.").of(&ARTICLE),
    Operation::get("/knowledge/{id}", "getKnowledge", &[KnowledgeRead], |c| Box::pin(knowledge::get(c)), "Shows an article or a finding."),
    Operation::post("/research", "postResearch", &[KnowledgeWrite], |c| Box::pin(knowledge::post(c)), "Stores research findings and reports earlier near-duplicates.").of(&FINDING),
    list("/business-plans", "listBusinessPlans", &[PlansRead], &BUSINESS_PLAN, "Lists business plans."),
    create("/business-plans", "createBusinessPlan", &[PlansWrite], &BUSINESS_PLAN, "Creates a business plan: any JSON object."),
    Operation::delete("/business-plans", "deleteBusinessPlan", &[PlansWrite], |c| Box::pin(records::delete_named(c)), "Permanently removes a business plan.")
        .of(&BUSINESS_PLAN)
        .named(&["id"])
        .takes(Takes::Object)
        .optional_body(),
    get("/business-plans/{id}", "getBusinessPlan", &[PlansRead], &BUSINESS_PLAN, "Shows a business plan."),
    Operation::delete("/business-plans/{id}", "deleteBusinessPlanById", &[PlansWrite], |c| Box::pin(records::delete(c)), "Permanently removes a business plan.").of(&BUSINESS_PLAN),
    // Projects.
    list("/projects", "listProjects", &[ProjectsRead], &PROJECT, "Lists projects."),
    create("/projects", "createProject", &[ProjectsWrite], &PROJECT, "Creates a project: `title`, `description`, `tags`, `status`, `start_date`, `end_date`, and any other field."),
    Operation::get("/projects/{id}/detail", "getProjectDetail", &[ProjectsRead], |c| Box::pin(projects::detail(c)), "Shows a project with its work packages and tasks."),
    Operation::get("/projects/completed/list", "listCompletedProjects", &[ProjectsRead], |c| Box::pin(projects::completed(c)), "Lists completed projects, most recently changed first.")
        .named(PAGING)
        .many(),
    Operation::get("/projects/{projectId}/work-packages", "listWorkPackages", &[ProjectsRead], |c| Box::pin(projects::packages(c)), "Lists the work packages of a project.")
        .named(PAGING)
        .many(),
    Operation::post("/projects/{projectId}/work-packages", "createWorkPackage", &[ProjectsWrite], |c| Box::pin(projects::add_package(c)), "Adds a work package to a project."),
    Operation::get("/projects/{projectId}/work-packages/{wpId}/tasks", "listWorkPackageTasks", &[ProjectsRead], |c| Box::pin(projects::tasks(c)), "Lists the tasks of a work package.")
        .named(PAGING)
        .many(),
    Operation::post("/projects/{projectId}/work-packages/{wpId}/tasks", "addWorkPackageTask", &[ProjectsWrite], |c| Box::pin(projects::add_task(c)), "Adds a task to a work package."),
    Operation::patch("/projects/{projectId}/work-packages/{wpId}/tasks/{taskId}", "updateWorkPackageTask", &[ProjectsWrite], |c| Box::pin(projects::update_task(c)), "Changes a task: its status, its title, any field; null removes a field."),
    Operation::patch("/projects/{projectId}/tasks/{taskId}", "updateProjectTask", &[ProjectsWrite], |c| Box::pin(projects::update_task_of(c)), "Changes a task in any work package of a project: its status, its title, `assigned_to`, any field; null removes one."),
    Operation::post("/projects/{projectId}/team", "addProjectTeamMember", &[ProjectsWrite], |c| Box::pin(projects::add_member(c)), "Adds one person to a project: `userId`, optionally a `role`; returns the project with its whole team.")
        .success(200),
    Operation::post("/projects/{projectId}/team-members", "addProjectTeamMembers", &[ProjectsWrite], |c| Box::pin(projects::add_members(c)), "Adds people to a project: `teamMember`, or `teamMembers`; returns the project with its whole team.")
        .success(200),
    // Sales.
    list("/sales/campaigns", "listSalesCampaigns", &[SalesRead], &CAMPAIGN, "Lists campaigns."),
    Operation::post("/sales/campaigns", "createSalesCampaign", &[SalesWrite], |c| Box::pin(sales::create_campaign(c)), "Creates a campaign, with its `stages` in order and its first `leads`."),
    Operation::post("/sales/create-campaign", "createOrUpdateSalesCampaign", &[SalesWrite], |c| Box::pin(sales::put_campaign(c)), "Creates the campaign in `campaign`, or changes the one with `id`."),
    Operation::get("/sales/crm", "getSalesCrm", &[SalesRead], |c| Box::pin(sales::funnels(c)), "Shows the campaigns with their lead counts per stage.").many(),
    Operation::ask("/sales/crm", "querySalesCrm", &[SalesRead], |c| Box::pin(sales::leads(c)), "Pages through the leads of a campaign (`campaignId`), of one stage (`stageIndex`) or all.").many(),
    Operation::get("/sales/funnel", "getSalesFunnel", &[SalesRead], |c| Box::pin(sales::funnels(c)), "Shows the number of leads in each stage.")
        .named(&["campaignId"]).many(),
    Operation::ask("/sales/funnel", "querySalesFunnel", &[SalesRead], |c| Box::pin(sales::funnels(c)), "Shows the number of leads in each stage, with `campaignId` in the body.").many(),
    list("/sales/forecasts", "listSalesForecasts", &[SalesRead], &FORECAST, "Lists forecasts."),
    create("/sales/forecasts", "createSalesForecast", &[SalesWrite], &FORECAST, "Creates a forecast: any JSON object."),
    Operation::get("/sales/analytics", "getSalesAnalytics", &[SalesRead], |c| Box::pin(sales::analytics(c)), "Counts campaigns and leads by creation time.")
        .named(&["startDate", "endDate", "filterType", "forecastId", "dataItemIds"]),
    // Templates.
    Operation::get("/templates/{kind}", "listTemplates", &[TemplatesRead], |c| Box::pin(templates::list(c)), "Lists templates of a kind (`email`, `document`, `webpage`, `invoice`, or their plurals), or `media`.")
        .named(PAGING)
        .many(),
    Operation::post("/templates/{kind}", "createTemplate", &[TemplatesWrite], |c| Box::pin(templates::create(c)), "Creates a template of a kind, or adds media: any JSON object."),
    Operation::post("/templates/update-email-template", "updateEmailTemplate", &[TemplatesWrite], |c| Box::pin(records::update_named(c)), "Changes the e-mail template with `_id`: fields that are sent are replaced, and null removes a field.")
        .of(&EMAIL_TEMPLATE)
        .success(200),
    Operation::post("/templates/webpages/update-template", "updateWebpageTemplate", &[TemplatesWrite], |c| Box::pin(records::update_named(c)), "Changes the web page template with `_id`: fields that are sent are replaced, and null removes a field.")
        .of(&WEBPAGE_TEMPLATE)
        .success(200),
    // Bodies.
    Operation::get("/data/get-dataset-schema", "getDatasetSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new folder."),
    Operation::get("/projects/get-project-schema", "getProjectSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new project."),
    Operation::get("/projects/get-workpackage-schema", "getWorkPackageSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new work package."),
    Operation::get("/projects/get-task-schema", "getTaskSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new task."),
    Operation::get("/knowledge/schema", "getKnowledgeSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new article."),
    Operation::get("/business-plans/schema", "getBusinessPlanSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new business plan."),
    Operation::get("/sales/campaigns/schema", "getCampaignSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new campaign."),
    Operation::get("/sales/forecasts/schema", "getForecastSchema", &[], |c| Box::pin(ready(schemas::show(c))), "Shows the request body for a new forecast."),
    Operation::get("/templates/{kind}/schema", "getTemplateSchema", &[], |c| Box::pin(ready(schemas::template(c))), "Shows the request body for a new template of a kind."),
];

/// Those of the app itself.
pub(super) static APP: &[Operation] = &[
    Operation::post("/sales/create-lead", "createSalesLead", &[SalesWrite], |c| Box::pin(sales::create_lead(c)), "Adds a lead (`name`, `email`, `phone`, `company`, and any other field) to a campaign (`campaignId`), in its first stage or in `stageId`."),
    Operation::post("/sales/funnel/add-lead", "addLeadToCampaign", &[SalesWrite], |c| Box::pin(sales::add_lead(c)), "Moves a lead (`leadId`) into a campaign (`campaignId`), in its first stage or in `stageId`; it leaves its previous campaign.")
        .success(200),
    Operation::post("/sales/funnel/move-lead", "moveLead", &[SalesWrite], |c| Box::pin(sales::move_lead(c)), "Moves a lead (`leadId`) to another stage of its campaign (`toStageId`: name, id or position); with `fromStageId`, only if it is in that stage.")
        .success(200),
];
