//! The operations of the dialect, in the order of the contract, and those that Cairn adds, at the end. The two of `signup` need no key and are in [`super::signup`].

use std::future::ready;

use Scope::*;

use super::account::*;
use super::campaigns::*;
use super::leads::*;
use super::pipeline::*;
use super::timeline::*;
use super::{account, campaigns, leads};
use crate::api::operation::{Member, Operation, Takes};
use crate::auth::Scope;

const LIST: &[&str] = &["limit", "offset"];
const ID: &[&str] = &["id"];

const LEAD: Takes = Takes::Members(&[
    ("firstName", Member::Text),
    ("lastName", Member::Text),
    ("email", Member::Text),
    ("phone", Member::Text),
    ("organizationName", Member::Text),
    ("businessType", Member::Text),
    ("status", Member::Text),
    ("tier", Member::Text),
    ("stage", Member::Text),
    ("title", Member::Text),
    ("seniority", Member::Text),
    ("companyName", Member::Text),
    ("linkedinUrl", Member::Text),
    ("companySize", Member::Text),
    ("companyRevenue", Member::Text),
    ("timeZone", Member::Text),
    ("notes", Member::Text),
    ("customFields", Member::Object),
    ("crmData", Member::Object),
    ("restore", Member::Flag),
]);
const ONE_LEAD: Takes = Takes::Members(&[("leadId", Member::Text)]);
const ENRICH: Takes = Takes::Members(&[("leadId", Member::Text), ("force", Member::Flag)]);
const SCORE: Takes = Takes::Members(&[("leadId", Member::Text), ("all", Member::Flag)]);
const STAGE: Takes = Takes::Members(&[
    ("id", Member::Text),
    ("name", Member::Text),
    ("order", Member::Integer),
    ("color", Member::Text),
    ("isDefault", Member::Flag),
]);
const NOTE: Takes = Takes::Members(&[
    ("leadId", Member::Text),
    ("type", Member::Text),
    ("content", Member::Text),
    ("pinned", Member::Flag),
]);
const NOTE_CHANGE: Takes = Takes::Members(&[
    ("id", Member::Text),
    ("content", Member::Text),
    ("pinned", Member::Flag),
]);
const TOUCHPOINT: Takes = Takes::Members(&[
    ("leadId", Member::Text),
    ("type", Member::Text),
    ("summary", Member::Text),
    ("notes", Member::Text),
    ("occurredAt", Member::Text),
    ("value", Member::Integer),
    ("metadata", Member::Object),
]);
const RULE: Takes = Takes::Members(&[
    ("id", Member::Text),
    ("name", Member::Text),
    ("triggerEvent", Member::Text),
    ("conditions", Member::Object),
    ("targetStage", Member::Text),
    ("priority", Member::Integer),
    ("enabled", Member::Flag),
]);
const FEEDBACK: Takes = Takes::Members(&[
    ("type", Member::Text),
    ("agent", Member::Text),
    ("priority", Member::Text),
    ("title", Member::Text),
    ("description", Member::Text),
    ("context", Member::Object),
]);
const FEEDBACK_CHANGE: Takes = Takes::Members(&[
    ("acknowledged", Member::Flag),
    ("response", Member::Text),
    ("status", Member::Text),
]);

pub(super) static ALL: &[Operation] = &[
    // Setup.
    Operation::post("/setup", "setupWorkspace", &[CrmWrite], |c| Box::pin(setup(c)), "Sets the profile of the organisation and the stages of the pipeline. Repeatable: known stages are changed, others are added.").success(200),
    Operation::get("/setup", "getSetupSchema", &[CrmRead], |c| Box::pin(setup_schema(c)), "Shows the schema of a setup with an example and the current state."),
    // Leads.
    Operation::get("/leads", "listCrmLeads", &[CrmRead], |c| Box::pin(list_leads(c)), "Lists leads, newest first. `customFields.KEY=VALUE` filters by a custom field, `q` by words.")
        .named(&["status", "tier", "stage", "email", "q", "limit", "offset", "deletedOnly"]),
    Operation::post("/leads", "createCrmLead", &[CrmWrite], |c| Box::pin(leads::create(c)), "Creates a lead: `firstName` and `email` are required. Enrichment does not start by itself.").takes(LEAD),
    Operation::put("/leads", "replaceLead", &[CrmWrite], |c| Box::pin(replace(c)), "Replaces a lead, whose `id` is in the body: fields that are not sent are cleared; status, stage and enrichment stay.").takes(LEAD),
    Operation::patch("/leads", "patchLeadByBodyId", &[CrmWrite], |c| Box::pin(patch_named(c)), "Changes a lead, whose `id` is in the body.").takes(LEAD),
    Operation::patch("/leads/{leadId}", "patchLead", &[CrmWrite], |c| Box::pin(patch(c)), "Changes a lead: `crmData` and `customFields` are merged; `restore: true` restores a deleted lead.").takes(LEAD),
    Operation::get("/leads/{leadId}", "getLead", &[CrmRead], |c| Box::pin(leads::get(c)), "Shows a lead with its score, enrichment and the reasons of its moves between stages."),
    Operation::delete("/leads/{leadId}", "deleteLead", &[CrmWrite], |c| Box::pin(delete(c)), "Deletes a lead so that it can be restored; with `permanent=true` for good, with its notes, touchpoints and mails.").named(&["permanent"]),
    Operation::delete("/leads", "deleteLeadByQueryId", &[CrmWrite], |c| Box::pin(delete_named(c)), "Deletes the lead `id`.").named(&["id", "permanent"]),
    // Enrichment.
    Operation::ask("/enrich", "enrichLead", &[CrmWrite], |c| Box::pin(enrich(c)), "Enriches a lead and waits for it: from what Cairn knows, from the website of the company, from the configured endpoint. Every value has its source.").takes(ENRICH),
    Operation::get("/enrich", "getEnrichmentStatus", &[CrmRead], |c| Box::pin(enrichment_status(c)), "Shows the enrichment of a lead.").named(&["leadId"]),
    Operation::ask("/enrich/bulk", "enrichLeadsBulk", &[CrmWrite], |c| Box::pin(enrich_bulk(c)), "Enriches up to five leads, one after the other. A lead that fails does not fail the others."),
    Operation::ask("/enrich/spider-web", "analyzeLeadConnections", &[CrmRead], |c| Box::pin(spider_web(c)), "Shows the connections of a lead to others, each with its evidence.").takes(ONE_LEAD),
    // Stages.
    Operation::get("/stages", "listStages", &[CrmRead], |c| Box::pin(list_stages(c)), "Lists the stages of the pipeline in their order, with the number of leads in each."),
    Operation::post("/stages", "createStage", &[CrmWrite], |c| Box::pin(create_stage(c)), "Adds a stage.").takes(STAGE),
    Operation::put("/stages", "updateStage", &[CrmWrite], |c| Box::pin(update_stage(c)), "Changes the stage `id`.").takes(STAGE),
    Operation::delete("/stages", "deleteStage", &[CrmWrite], |c| Box::pin(delete_stage(c)), "Deletes the stage `id`; its leads move to the stage `moveTo`, or to the default stage.").named(&["id", "moveTo"]),
    // Sources.
    Operation::get("/stages/sync-sources", "listSyncSources", &[IntegrationsRead], |c| Box::pin(list_sources(c)), "Lists the sources that report leads.").named(LIST),
    Operation::post("/stages/sync-sources", "createSyncSource", &[IntegrationsWrite], |c| Box::pin(create_source(c)), "Adds a source, which changes leads and therefore needs `crm:write`, too: `type` (gmail, api_sdr, form_webhook, generic_webhook), `name`, `targetStage`, `mapping`, `event`. The answer shows its path and, once, its secret."),
    Operation::put("/stages/sync-sources", "updateSyncSource", &[IntegrationsWrite], |c| Box::pin(update_source(c)), "Changes the source `id`; `rotateSecret: true` gives it a new secret."),
    Operation::delete("/stages/sync-sources", "deleteSyncSource", &[IntegrationsWrite], |c| Box::pin(delete_source(c)), "Deletes the source `id`.").named(ID),
    // Custom fields.
    Operation::get("/fields", "listFields", &[CrmRead], |c| Box::pin(list_fields(c)), "Lists the definitions of custom fields.").named(LIST),
    Operation::post("/fields", "createField", &[CrmWrite], |c| Box::pin(create_field(c)), "Defines a custom field: `name`, `fieldType` (text, number, date, select, multiselect, boolean), `key`, `options`, `required`."),
    Operation::put("/fields", "updateField", &[CrmWrite], |c| Box::pin(update_field(c)), "Changes the definition `id`; its key and type stay."),
    Operation::delete("/fields", "deleteField", &[CrmWrite], |c| Box::pin(delete_field(c)), "Deletes the definition `id`; values of leads stay.").named(ID),
    // Figures.
    Operation::get("/analytics", "getPipelineAnalytics", &[CrmRead], |c| Box::pin(analytics(c)), "Shows figures of the pipeline and of the last `days` days (30).").named(&["days"]),
    // Campaigns.
    Operation::get("/campaigns", "listMailCampaigns", &[CrmRead], |c| Box::pin(list_campaigns(c)), "Lists campaigns with their enrolments and mails by state.").named(&["status", "trigger", "limit", "offset"]),
    Operation::post("/campaigns", "createMailCampaign", &[CrmWrite], |c| Box::pin(campaigns::create(c)), "Creates a campaign: `name`, `trigger`, `steps` (1 to 8, each with `delayMinutes`, `subject`, `body`), `ai_enabled`, `ai_config`, `datasetIds`."),
    Operation::post("/campaigns/{campaignId}/enroll", "enrollLead", &[CrmWrite], |c| Box::pin(enroll(c)), "Enrols a lead. Guardrails: no second enrolment, a cooldown, no blocked address; mails wait for the limits of their address.").takes(ONE_LEAD),
    // Notes and touchpoints.
    Operation::get("/notes", "listNotes", &[CrmRead], |c| Box::pin(list_notes(c)), "Lists the notes of the lead `leadId`, newest first.").named(&["leadId", "type", "pinned", "limit", "offset"]),
    Operation::post("/notes", "createNote", &[CrmWrite], |c| Box::pin(create_note(c)), "Adds a note to a lead.").takes(NOTE),
    Operation::put("/notes", "updateNote", &[CrmWrite], |c| Box::pin(update_note(c)), "Changes `content` or `pinned` of the note `id`.").takes(NOTE_CHANGE),
    Operation::delete("/notes", "deleteNote", &[CrmWrite], |c| Box::pin(delete_note(c)), "Deletes the note `id`.").named(ID),
    Operation::get("/touchpoints", "listTouchpoints", &[ActivityRead], |c| Box::pin(list_touchpoints(c)), "Lists what happened with the lead `leadId`, newest first.").named(&["leadId", "limit", "offset"]),
    Operation::post("/touchpoints", "logTouchpoint", &[ActivityWrite], |c| Box::pin(log_touchpoint(c)), "Logs a touchpoint: the lead is no longer stalled. `meeting_booked`, `proposal_viewed`, `cta_clicked`, `quiz_completed` and `video_watched` are counted, and fire rules and campaigns.").takes(TOUCHPOINT),
    // Playbooks.
    Operation::get("/playbooks", "listPlaybooks", &[CrmRead], |c| Box::pin(list_playbooks(c)), "Lists playbooks for a tier and a stage.").named(&["tier", "stage"]),
    Operation::ask("/playbooks", "recommendPlaybook", &[CrmRead], |c| Box::pin(recommend_playbook(c)), "Recommends a playbook for a lead, with the facts that decided.").takes(ONE_LEAD),
    // Scores.
    Operation::ask("/leads/score", "scoreLeads", &[CrmRead], |c| Box::pin(leads::score(c)), "Computes the score of a lead with its factors, or with `all: true` the scores of up to 500 leads.").takes(SCORE),
    Operation::get("/leads/stalled", "listStalledLeads", &[CrmRead], |c| Box::pin(leads::stalled(c)), "Lists the leads that are overdue for a contact, the most urgent first.").named(LIST),
    // Rules.
    Operation::get("/automation/rules", "listAutomationRules", &[CrmRead], |c| Box::pin(list_rules(c)), "Lists automation rules and the events that trigger them.").named(LIST),
    Operation::post("/automation/rules", "createAutomationRule", &[CrmWrite], |c| Box::pin(create_rule(c)), "Adds a rule: when `triggerEvent` happens and the `conditions` hold (`fromStage`, `tier`, `viewCount`, `confidenceScore`, `days`), the lead moves to `targetStage`. Lower priorities come first.").takes(RULE),
    Operation::put("/automation/rules", "updateAutomationRule", &[CrmWrite], |c| Box::pin(update_rule(c)), "Changes `enabled`, `targetStage`, `priority`, `name` or `conditions` of the rule `id`.").takes(RULE),
    Operation::delete("/automation/rules", "deleteAutomationRule", &[CrmWrite], |c| Box::pin(delete_rule(c)), "Deletes the rule `id`.").named(ID),
    // Calendly.
    Operation::ask("/integrations/calendly", "connectCalendly", &[IntegrationsWrite], |c| Box::pin(connect_calendly(c)), "Connects Calendly: checks `personal_access_token` and registers a webhook. Every booking then makes or finds a lead, logs a touchpoint and adds a task."),
    Operation::get("/integrations/calendly", "getCalendlyStatus", &[IntegrationsRead], |c| Box::pin(calendly_status(c)), "Shows the connection to Calendly."),
    Operation::erase("/integrations/calendly", "disconnectCalendly", &[IntegrationsWrite], |c| Box::pin(disconnect_calendly(c)), "Disconnects Calendly and removes the webhook there."),
    // Feedback.
    Operation::post("/feedback", "submitFeedback", &[CrmWrite], |c| Box::pin(submit_feedback(c)), "Reports a bug, a feature wish, an error or a question to the operator.").takes(FEEDBACK),
    Operation::get("/feedback", "listFeedback", &[CrmRead], |c| Box::pin(list_feedback(c)), "Lists the feedback of the workspace with the operator's responses.").named(&["id", "status", "type", "agent", "limit", "offset"]),
    Operation::patch("/feedback/{id}", "updateFeedback", &[CrmWrite], |c| Box::pin(update_feedback(c)), "Acknowledges a response (`acknowledged: true`). The operator sends `response` and `status`.").takes(FEEDBACK_CHANGE),
    // The workspace.
    Operation::get("/org/tier", "getOrgTier", &[CrmRead], |c| Box::pin(tier(c)), "Shows the plan, its limits and how much of them is used."),
    Operation::get("/health", "getHealth", &[CrmRead], |c| Box::pin(health(c)), "Checks the connection and shows responses that were not acknowledged."),
    // Operations that Cairn adds.
    Operation::patch("/campaigns/{campaignId}", "updateMailCampaign", &[CrmWrite], |c| Box::pin(campaigns::update(c)), "Changes a campaign; `status` is active, paused or archived."),
    Operation::get("/campaigns/{campaignId}/emails", "listMailCampaignEmails", &[CrmRead], |c| Box::pin(queue(c)), "Lists the mails of a campaign with their states, texts and citations, newest first.").named(&["leadId"]),
    Operation::post("/email/send-sequence", "sendSequence", &[CrmWrite], |c| Box::pin(send_sequence(c)), "Sends a sequence of mails to one lead, for older clients: `leadId`, `sequence`."),
    Operation::get("/email/blocked", "listBlockedAddresses", &[CrmRead], |c| Box::pin(blocked(c)), "Lists the addresses that get no mails, because one bounced or its owner has unsubscribed.").named(LIST),
    Operation::delete("/email/blocked", "unblockAddress", &[CrmWrite], |c| Box::pin(ready(unblock(c))), "Unblocks the address `address`, for example one that bounced by mistake.").named(&["address"]),
    Operation::put("/playbooks", "putPlaybook", &[CrmWrite], |c| Box::pin(put_playbook(c)), "Adds a playbook of the workspace, or changes the one `id`: `name`, `tiers`, `stages`, `steps`."),
    Operation::delete("/playbooks", "deletePlaybook", &[CrmWrite], |c| Box::pin(delete_playbook(c)), "Deletes the playbook `id` of the workspace.").named(ID),
    Operation::ask("/org/tier", "setOrgTier", &[TenantsManage], |c| Box::pin(account::set_plan(c)), "Changes the plan of a workspace, for the operator of the installation: `workspace`, `tier` (free, pro, ultra, none)."),
];
