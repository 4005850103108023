//! Types of events, and who may subscribe to them.

use serde_json::Value;

use crate::auth::{Area, Caller, Scope};
use crate::error::{Error, Result};
use crate::records::body::Body;

/// Event types that every workspace has: key, category, description.
pub const BUILT_IN: &[(&str, &str, &str)] = &[
    ("contact.created", "crm", "A contact was added."),
    ("company.created", "crm", "A company was added."),
    ("lead.created", "crm", "A lead was added."),
    ("lead.updated", "crm", "A lead changed."),
    (
        "lead.converted",
        "crm",
        "A lead was converted into a contact, and optionally a deal.",
    ),
    (
        "lead.deleted",
        "crm",
        "A lead was deleted, perhaps to be restored.",
    ),
    ("lead_note.created", "crm", "A note about a lead was added."),
    ("deal_stage.created", "crm", "A deal stage was added."),
    ("deal.created", "crm", "A deal was added."),
    ("deal.updated", "crm", "A deal changed."),
    ("invoice.created", "crm", "An invoice was added."),
    (
        "invoice.updated",
        "crm",
        "An invoice changed, for example by a payment.",
    ),
    ("invoice.paid", "crm", "An invoice was paid in full."),
    ("payment.created", "crm", "A payment was recorded."),
    ("account.created", "crm", "A ledger account was added."),
    ("journal_entry.created", "crm", "A journal entry was added."),
    ("support_queue.created", "support", "A queue was added."),
    ("ticket.created", "support", "A ticket was opened."),
    ("ticket.updated", "support", "A ticket changed."),
    (
        "ticket_message.created",
        "support",
        "A message was added to a ticket.",
    ),
    (
        "ticket_comment.created",
        "support",
        "A comment was added to a ticket.",
    ),
    ("task.created", "tasks", "A task was added."),
    ("task.updated", "tasks", "A task changed."),
    ("activity.created", "activity", "An activity was logged."),
    ("cms_collection.created", "cms", "A collection was added."),
    ("cms_site.created", "cms", "A site was added."),
    ("cms_entry.created", "cms", "An entry was added."),
    (
        "cms_entry.updated",
        "cms",
        "An entry changed, for example it was published.",
    ),
    ("marketing_campaign.created", "cms", "A campaign was added."),
    ("marketing_post.created", "cms", "A post was added."),
    ("asset.created", "assets", "An asset upload was started."),
    (
        "asset.updated",
        "assets",
        "An asset was uploaded or archived.",
    ),
    (
        "analytics_event.created",
        "analytics",
        "An analytics event was defined.",
    ),
    (
        "bi_export.updated",
        "usage",
        "An export was written, or failed.",
    ),
    (
        "document.indexed",
        "knowledge_base",
        "A document became searchable: a new one, a new version, an edited one, or one that was enabled again.",
    ),
    (
        "document.failed",
        "knowledge_base",
        "A document could not be ingested; the data has the reason.",
    ),
    (
        "crawl.finished",
        "knowledge_base",
        "A crawl ended: completed, failed or cancelled.",
    ),
    (
        "generation.switched",
        "knowledge_base",
        "Another generation of a dataset is searched from now on.",
    ),
    (
        "evaluation.regressed",
        "knowledge_base",
        "A run over a query set was significantly worse than the one before.",
    ),
    ("article.created", "knowledge", "An article was stored."),
    (
        "finding.created",
        "knowledge",
        "Research findings were stored.",
    ),
    (
        "business_plan.created",
        "business_plans",
        "A business plan was added.",
    ),
    (
        "business_plan.deleted",
        "business_plans",
        "A business plan was removed.",
    ),
    ("project.created", "projects", "A project was added."),
    ("project.updated", "projects", "A project changed."),
    (
        "work_package.created",
        "projects",
        "A work package was added.",
    ),
    (
        "work_package_task.created",
        "projects",
        "A task was added to a work package.",
    ),
    (
        "work_package_task.updated",
        "projects",
        "A task of a work package changed.",
    ),
    ("agent_task.created", "projects", "An agent started a task."),
    (
        "agent_task.updated",
        "projects",
        "An agent reported progress of a task.",
    ),
    ("campaign.created", "sales", "A sales campaign was added."),
    ("campaign.updated", "sales", "A sales campaign changed."),
    ("forecast.created", "sales", "A forecast was added."),
    ("folder.created", "data", "A folder was added."),
    ("folder.updated", "data", "A folder changed."),
    (
        "folder.deleted",
        "data",
        "A folder and its rows were removed.",
    ),
    ("board.created", "boards", "A board was added."),
    (
        "board_task.created",
        "boards",
        "A task was added to a board.",
    ),
    (
        "board_task.updated",
        "boards",
        "A task of a board changed, for example it was moved or assigned.",
    ),
    ("task_comment.created", "boards", "A task was commented on."),
    (
        "board_approval.created",
        "boards",
        "An agent asks for a decision.",
    ),
    ("board_approval.updated", "boards", "A decision was made."),
    (
        "board_memory.created",
        "boards",
        "A board remembers something, or a message of its chat.",
    ),
];

/// Types of events about the knowledge base, which [`super::forward`] makes of the event log.
pub(super) const KNOWLEDGE: [&str; 5] = [
    "document.indexed",
    "document.failed",
    "crawl.finished",
    "generation.switched",
    "evaluation.regressed",
];

/// The areas of the records that events are about, by what events call the records.
const NOUNS: &[(&str, Area)] = &[
    ("agency_campaign", Area::Marketing),
    ("agency_deliverable", Area::Marketing),
    ("agency_activity", Area::Marketing),
    ("agency_comment", Area::Marketing),
    ("agency_approval", Area::Marketing),
    ("agency_agent", Area::Marketing),
    ("agency_request", Area::Marketing),
    ("agency_routine", Area::Marketing),
    ("agency_skill", Area::Marketing),
    ("agency_report", Area::Marketing),
    ("agency_ad_campaign", Area::Marketing),
    ("agency_search_term", Area::Marketing),
    ("agency_channel", Area::Marketing),
    ("agency_integration", Area::Marketing),
    ("contact", Area::Crm),
    ("company", Area::Crm),
    ("lead", Area::Crm),
    ("deleted_lead", Area::Crm),
    ("lead_note", Area::Crm),
    ("lead_field", Area::Crm),
    ("deal_stage", Area::Crm),
    ("mail_sequence", Area::Crm),
    ("automation_rule", Area::Crm),
    ("playbook", Area::Crm),
    ("feedback", Area::Crm),
    ("sync_source", Area::Integrations),
    ("connection", Area::Integrations),
    ("deal", Area::Crm),
    ("invoice", Area::Crm),
    ("payment", Area::Crm),
    ("account", Area::Crm),
    ("journal_entry", Area::Crm),
    ("support_queue", Area::Support),
    ("ticket", Area::Support),
    ("ticket_message", Area::Support),
    ("ticket_comment", Area::Support),
    ("task", Area::Tasks),
    ("activity", Area::Activity),
    ("cms_collection", Area::Cms),
    ("cms_site", Area::Cms),
    ("cms_entry", Area::Cms),
    ("marketing_campaign", Area::Cms),
    ("marketing_post", Area::Cms),
    ("asset", Area::Assets),
    ("event_type", Area::Integrations),
    ("webhook", Area::Integrations),
    ("analytics_event", Area::Analytics),
    ("analytics_property", Area::Analytics),
    ("bi_dashboard", Area::Bi),
    ("bi_dataset", Area::Bi),
    ("bi_report", Area::Bi),
    ("bi_metric", Area::Bi),
    ("bi_export", Area::Bi),
    ("bi_artifact", Area::Bi),
    ("article", Area::Knowledge),
    ("finding", Area::Knowledge),
    ("business_plan", Area::Plans),
    ("project", Area::Projects),
    ("work_package", Area::Projects),
    ("work_package_task", Area::Projects),
    ("agent_task", Area::Projects),
    ("campaign", Area::Sales),
    ("forecast", Area::Sales),
    ("email_template", Area::Templates),
    ("document_template", Area::Templates),
    ("webpage_template", Area::Templates),
    ("invoice_template", Area::Templates),
    ("media", Area::Templates),
    ("folder", Area::Data),
    ("board", Area::Boards),
    ("board_group", Area::Boards),
    ("board_task", Area::Boards),
    ("task_comment", Area::Boards),
    ("board_memory", Area::Boards),
    ("board_group_memory", Area::Boards),
    ("board_approval", Area::Boards),
    ("gateway", Area::Boards),
    ("board_agent", Area::Boards),
    ("board_onboarding", Area::Boards),
    ("board_webhook", Area::Boards),
    ("task_tag", Area::Boards),
    ("task_field", Area::Boards),
    ("skill_pack", Area::Boards),
    ("skill", Area::Boards),
];

/// Returns the area of the records that an event is about; `None` for the test and for types that a workspace defines, which are about no record.
#[must_use]
pub fn area_of(event: &str) -> Option<Area> {
    let (noun, _) = event.split_once('.')?;
    let known = NOUNS.iter().find(|(known, _)| *known == noun);
    known.map(|(_, area)| *area)
}

/// Returns whether an event is about documents, datasets or websites, which are no records.
#[must_use]
pub fn is_of_documents(event: &str) -> bool {
    KNOWLEDGE.contains(&event)
}

/// Demands the right to read what an event is about. Events about boards are about all boards of the tenant.
pub(super) fn need_event(caller: &Caller, event: &str) -> Result<()> {
    if is_of_documents(event) {
        return caller.need_unconfined(Scope::KbRead);
    }
    let Some(area) = area_of(event) else {
        return Ok(());
    };
    caller.need_unconfined(area.read())?;
    if area == Area::Boards && caller.boards().readable().is_some() {
        return Err(Error::forbidden(
            "boards_restricted",
            "events about boards need access to all boards",
        ));
    }
    Ok(())
}

/// Refuses a subscription to events about what the caller may not read. `*` subscribes to all events of the modules of the workspace.
pub(super) fn can_subscribe(caller: &Caller, body: &Body) -> Result<()> {
    let wanted = body.get("event_types").and_then(Value::as_array);
    for event in wanted.into_iter().flatten().filter_map(Value::as_str) {
        if event == "*" {
            for area in Area::all().filter(|area| area.module().is_some()) {
                caller.need_unconfined(area.read())?;
            }
        }
        need_event(caller, event)?;
    }
    Ok(())
}
