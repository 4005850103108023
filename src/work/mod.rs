//! Work: projects with work packages and their tasks; tasks and activities about records of the workspace; what agents are doing.

pub mod projects;

use serde_json::json;

use crate::assets::ASSET;
use crate::auth::Area;
use crate::content::{CAMPAIGN, ENTRY, POST};
use crate::crm::{COMPANY, CONTACT, DEAL, INVOICE, LEAD};
use crate::records::kind::{CUSTOM, DESCRIPTION, Field, FieldType, Kind, LINE, Lifecycle, NOTE};
use crate::support::TICKET;

/// A project.
pub static PROJECT: Kind = Kind::open("project", Area::Projects, Some("active"));
/// A part of a project.
pub static WORK_PACKAGE: Kind = Kind::open("work_package", Area::Projects, None);
/// A task of a work package.
pub static PACKAGE_TASK: Kind =
    Kind::open("task", Area::Projects, Some("open")).noun("work_package_task");
/// A task of an agent, by the agent's own id.
pub static AGENT_TASK: Kind = Kind::open("agent_task", Area::Projects, Some("started"));

/// Kinds of records that tasks, activities and assets are about.
pub static SUBJECTS: [&Kind; 12] = [
    &CONTACT, &COMPANY, &LEAD, &DEAL, &INVOICE, &TICKET, &TASK, &ACTIVITY, &ENTRY, &CAMPAIGN,
    &POST, &ASSET,
];
/// The field that names the kind of the subject.
pub const SUBJECT_TYPE: Field = Field::new(
    "related_resource_type",
    FieldType::OneOf(&[
        "lead",
        "contact",
        "company",
        "deal",
        "task",
        "activity",
        "ticket",
        "cms_entry",
        "invoice",
        "marketing_campaign",
        "marketing_post",
        "asset",
    ]),
)
.filter();

/// A task, perhaps about a record.
pub static TASK: Kind = Kind::new(
    "crm_task",
    "task",
    Area::Tasks,
    &[
        Field::new("title", LINE).required(),
        DESCRIPTION,
        Field::new("assignee_id", FieldType::Actor).filter(),
        Field::new("due_on", FieldType::Time),
        SUBJECT_TYPE,
        Field::new("related_resource_id", FieldType::Link(&SUBJECTS)).filter(),
        Field::new("completed_note", FieldType::Text(10_000)),
        CUSTOM,
    ],
)
.noun("task")
.lifecycle(Lifecycle::free(&["open", "completed", "canceled"]))
.hook(|change| {
    Box::pin(async move {
        if change.status() == Some("completed") {
            change.default("completed_at", change.now.rfc3339());
        } else {
            change.remove("completed_at");
        }
        Ok(())
    })
});

/// A call, a mail, a meeting or a note, perhaps about a record.
pub static ACTIVITY: Kind = Kind::new(
    "activity",
    "act",
    Area::Activity,
    &[
        Field::new(
            "type",
            FieldType::OneOf(&["note", "call", "email", "meeting", "agent_action"]),
        )
        .required()
        .filter(),
        // What sales agents call it, such as `proposal_viewed`.
        Field::new("touchpoint_type", FieldType::Line(100)).filter(),
        Field::new("summary", FieldType::Line(1000)).required(),
        Field::new("body", NOTE),
        Field::new("occurred_on", FieldType::Time),
        SUBJECT_TYPE,
        Field::new("related_resource_id", FieldType::Link(&SUBJECTS)).filter(),
        CUSTOM,
    ],
)
.titled("summary")
.hook(|change| {
    Box::pin(async move {
        let now = change.now.rfc3339();
        change.body.entry("occurred_on").or_insert(json!(now));
        if let Some(own) = change.body.get("type").cloned() {
            change.default("touchpoint_type", own);
        }
        Ok(())
    })
});
