//! The operations of the dialect, in the order of the contract, and those that Cairn adds, at the end.

use Scope::*;

use super::entries;
use super::functions::*;
use crate::api::operation::{Member, Operation, Takes, Whole};
use crate::auth::Scope;
use crate::records::kind::Kind;
use crate::{analytics, assets, bi, content, crm, support, webhooks, work};

const fn list(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::get(path, id, scopes, |c| Box::pin(list_records(c)), summary)
        .of(kind)
        .filtered()
}

const fn list_of_ticket(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::get(
        path,
        id,
        scopes,
        |c| Box::pin(list_parts_of_ticket(c)),
        summary,
    )
    .of(kind)
    .filtered()
}

const fn create(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::post(path, id, scopes, |c| Box::pin(create_record(c)), summary)
        .of(kind)
        .takes(Takes::Fields(kind, Whole::Yes))
}

const fn update(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::patch(path, id, scopes, |c| Box::pin(update_record(c)), summary)
        .of(kind)
        .takes(Takes::Fields(kind, Whole::No))
}

const fn archive(
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    kind: &'static Kind,
    summary: &'static str,
) -> Operation {
    Operation::delete(path, id, scopes, |c| Box::pin(archive_record(c)), summary).of(kind)
}

const CONVERSION: Takes = Takes::Members(&[
    ("create_deal", Member::Flag),
    ("deal_name", Member::Text),
    ("amount_cents", Member::Integer),
    ("currency", Member::Text),
]);
const UPLOADED: Takes = Takes::Members(&[
    ("byte_size", Member::Integer),
    ("checksum_sha256", Member::Text),
]);
const EVENT: Takes = Takes::Members(&[("name", Member::Text), ("properties", Member::Object)]);
const QUESTION: Takes = Takes::Members(&[
    ("source", Member::Text),
    ("dataset_id", Member::Text),
    ("report_id", Member::Text),
    ("metric_id", Member::Text),
    ("query", Member::Object),
]);
const BI_CHANGE: Takes = Takes::Members(&[
    ("name", Member::Text),
    ("description", Member::Text),
    ("status", Member::Text),
]);

pub(super) static ALL: &[Operation] = &[
    Operation::get("/workspace", "getWorkspace", &[CrmRead, SupportRead, TasksRead, ActivityRead, CmsRead, AssetsRead, IntegrationsRead, AnalyticsRead, BiRead], |c| Box::pin(workspace(c)), "Shows the workspace of the key and its enabled modules. Requires any read scope."),
    list("/contacts", "listContacts", &[CrmRead], &crm::CONTACT, "Lists contacts, newest first."),
    create("/contacts", "createContact", &[CrmWrite], &crm::CONTACT, "Adds a contact."),
    list("/companies", "listCompanies", &[CrmRead], &crm::COMPANY, "Lists companies."),
    create("/companies", "createCompany", &[CrmWrite], &crm::COMPANY, "Adds a company."),
    list("/leads", "listLeads", &[CrmRead], &crm::LEAD, "Lists leads."),
    Operation::post("/leads", "createLead", &[CrmWrite], |c| Box::pin(create_lead(c)), "Adds a lead.")
        .of(&crm::LEAD)
        .takes(Takes::Fields(&LEAD_FIELDS, Whole::Yes)),
    Operation::post("/leads/{lead_id}/convert", "convertLead", &[CrmWrite], |c| Box::pin(convert_lead(c)), "Converts a lead into a contact, a company if the lead names one, and a deal if `create_deal` is true. Idempotent.").success(200).takes(CONVERSION).optional_body(),
    list("/deal-stages", "listDealStages", &[CrmRead], &crm::STAGE, "Lists the deal stages of the workspace."),
    create("/deal-stages", "createDealStage", &[CrmWrite], &crm::STAGE, "Adds a deal stage."),
    create("/deals", "createDeal", &[CrmWrite], &crm::DEAL, "Adds a deal. `stage` is the key or id of a stage, or one of new, discovery, qualified, proposal, negotiation, won, lost."),
    update("/deals/{deal_id}", "updateDeal", &[CrmWrite], &crm::DEAL, "Changes a deal; stage changes are recorded in `stage_moves`."),
    list("/invoices", "listInvoices", &[CrmRead], &crm::INVOICE, "Lists invoices."),
    create("/invoices", "createInvoice", &[CrmWrite], &crm::INVOICE, "Adds an invoice. Each line has a name, `unit_amount_cents`, and optionally `quantity` and `tax_cents`; totals are computed."),
    create("/payments", "recordPayment", &[CrmWrite], &crm::PAYMENT, "Records a payment and updates the status of its invoice; a payment above the open balance is rejected."),
    list("/accounting/accounts", "listAccountingAccounts", &[CrmRead], &crm::ACCOUNT, "Lists ledger accounts."),
    create("/accounting/accounts", "createAccountingAccount", &[CrmWrite], &crm::ACCOUNT, "Adds a ledger account."),
    list("/accounting/journal-entries", "listJournalEntries", &[CrmRead], &crm::JOURNAL, "Lists journal entries."),
    create("/accounting/journal-entries", "createJournalEntry", &[CrmWrite], &crm::JOURNAL, "Adds a journal entry; debits and credits must be equal."),
    list("/support/queues", "listSupportQueues", &[SupportRead], &support::QUEUE, "Lists support queues."),
    create("/support/queues", "createSupportQueue", &[SupportWrite], &support::QUEUE, "Adds a support queue."),
    list("/support/tickets", "listSupportTickets", &[SupportRead], &support::TICKET, "Lists tickets."),
    create("/support/tickets", "createSupportTicket", &[SupportWrite], &support::TICKET, "Opens a ticket."),
    update("/support/tickets/{ticket_id}", "updateSupportTicket", &[SupportWrite], &support::TICKET, "Changes a ticket."),
    list_of_ticket("/support/tickets/{ticket_id}/messages", "listSupportTicketMessages", &[SupportRead], &support::MESSAGE, "Lists the messages of a ticket."),
    Operation::post("/support/tickets/{ticket_id}/messages", "addSupportTicketMessage", &[SupportWrite], |c| Box::pin(add_message(c)), "Adds a message. The first outbound message counts as the first response; an inbound message reopens a waiting or resolved ticket.").of(&support::MESSAGE).takes(Takes::Fields(&support::MESSAGE, Whole::Yes)),
    list_of_ticket("/support/tickets/{ticket_id}/comments", "listSupportTicketComments", &[SupportRead], &support::COMMENT, "Lists the internal comments of a ticket."),
    Operation::post("/support/tickets/{ticket_id}/comments", "addSupportTicketComment", &[SupportWrite], |c| Box::pin(add_comment(c)), "Adds an internal comment.").of(&support::COMMENT).takes(Takes::Fields(&support::COMMENT, Whole::Yes)),
    list("/tasks", "listTasks", &[TasksRead], &work::TASK, "Lists tasks."),
    create("/tasks", "createTask", &[TasksWrite], &work::TASK, "Adds a task."),
    update("/tasks/{task_id}", "updateTask", &[TasksWrite], &work::TASK, "Changes a task."),
    list("/activities", "listActivities", &[ActivityRead], &work::ACTIVITY, "Lists activities."),
    create("/activities", "createActivity", &[ActivityWrite], &work::ACTIVITY, "Logs an activity."),
    create("/cms/collections", "createCmsCollection", &[CmsWrite], &content::COLLECTION, "Adds a collection with the schema of its entries."),
    list("/cms/sites", "listCmsSites", &[CmsRead], &content::SITE, "Lists sites."),
    create("/cms/sites", "createCmsSite", &[CmsWrite], &content::SITE, "Adds a site."),
    list("/cms/entries", "listCmsEntries", &[CmsRead], &content::ENTRY, "Lists entries."),
    create("/cms/entries", "createCmsEntry", &[CmsWrite], &content::ENTRY, "Adds an entry; its fields must match the schema of its collection, and its slug must be unique in it."),
    Operation::get("/cms/entries/search", "searchCmsEntries", &[CmsRead], |c| Box::pin(entries::search(c)), "Full-text search over entries, best match first: `query`, `limit`. A new entry is searchable immediately.").named(&["query", "limit"]).many(),
    update("/cms/entries/{entry_id}", "updateCmsEntry", &[CmsWrite], &content::ENTRY, "Changes an entry; publishing sets `published_at`."),
    list("/marketing/campaigns", "listMarketingCampaigns", &[CmsRead], &content::CAMPAIGN, "Lists campaigns."),
    create("/marketing/campaigns", "createMarketingCampaign", &[CmsWrite], &content::CAMPAIGN, "Adds a campaign."),
    list("/marketing/posts", "listMarketingPosts", &[CmsRead], &content::POST, "Lists posts."),
    create("/marketing/posts", "createMarketingPost", &[CmsWrite], &content::POST, "Adds a post."),
    list("/assets", "listAssets", &[AssetsRead], &assets::ASSET, "Lists assets."),
    Operation::post("/assets", "createAssetUploadIntent", &[AssetsWrite], |c| Box::pin(open_upload(c)), "Starts an asset upload: PUT the bytes to `upload_url` within an hour, then complete the upload.").of(&assets::ASSET).takes(Takes::Fields(&assets::ASSET, Whole::Yes)),
    Operation::get("/assets/{asset_id}", "getAsset", &[AssetsRead], |c| Box::pin(asset(c)), "Shows an asset with a download URL that is valid for an hour."),
    archive("/assets/{asset_id}", "archiveAsset", &[AssetsWrite], &assets::ASSET, "Archives an asset."),
    Operation::post("/assets/{asset_id}/complete", "completeAssetUpload", &[AssetsWrite], |c| Box::pin(complete_upload(c)), "Completes an upload: `byte_size` and `checksum_sha256` must match the uploaded bytes.").success(200).takes(UPLOADED),
    Operation::get("/integrations/events", "listIntegrationEventTypes", &[IntegrationsRead], |c| Box::pin(event_types(c)), "Lists event types: the built-in ones and those of the workspace.").named(&["query", "category", "cursor", "limit"]).many(),
    create("/integrations/events", "registerIntegrationEventType", &[IntegrationsWrite], &webhooks::EVENT_TYPE, "Adds an event type."),
    list("/webhooks", "listWebhookEndpoints", &[IntegrationsRead], &webhooks::WEBHOOK, "Lists webhook endpoints."),
    create("/webhooks", "createWebhookEndpoint", &[IntegrationsWrite], &webhooks::WEBHOOK, "Adds an endpoint. `signing_secret` is returned only once."),
    update("/webhooks/{webhook_id}", "updateWebhookEndpoint", &[IntegrationsWrite], &webhooks::WEBHOOK, "Changes an endpoint; deliveries queued while it was paused are sent once it is active again."),
    Operation::post("/webhooks/{webhook_id}/test", "sendTestWebhookEvent", &[IntegrationsWrite], |c| Box::pin(test_webhook(c)), "Queues a test delivery to an endpoint.").success(202).takes(Takes::Nothing),
    Operation::get("/webhooks/{webhook_id}/deliveries", "listWebhookDeliveries", &[IntegrationsRead], |c| Box::pin(deliveries(c)), "Lists deliveries of an endpoint, with attempts and responses.").named(&["limit", "cursor", "event_type", "status"]).many(),
    list("/analytics/events", "listAnalyticsEvents", &[AnalyticsRead], &analytics::EVENT, "Lists event definitions."),
    create("/analytics/events", "defineAnalyticsEvent", &[AnalyticsWrite], &analytics::EVENT, "Defines an event with its allowed properties."),
    create("/analytics/properties", "defineAnalyticsProperty", &[AnalyticsWrite], &analytics::PROPERTY, "Defines a property."),
    Operation::ask("/analytics/events/validate", "validateAnalyticsEvent", &[AnalyticsRead], |c| Box::pin(validate_event(c)), "Validates an event and its properties against their definitions.").takes(EVENT),
    list("/bi/dashboards", "listBiDashboards", &[BiRead], &bi::DASHBOARD, "Lists dashboards."),
    create("/bi/dashboards", "createBiDashboard", &[BiWrite], &bi::DASHBOARD, "Adds a dashboard."),
    list("/bi/datasets", "listBiDatasets", &[BiRead], &bi::DATASET, "Lists datasets."),
    create("/bi/datasets", "createBiDataset", &[BiWrite], &bi::DATASET, "Adds a dataset: a `source` (contacts, companies, leads, deal_stages, deals, invoices, payments, accounts, journal_entries, tickets, ticket_messages, queues, tasks, activities, cms_entries, marketing_campaigns, marketing_posts, assets, analytics_events, folder:ID) and optionally a `query` that filters it; a mock dataset has `rows`."),
    list("/bi/reports", "listBiReports", &[BiRead], &bi::REPORT, "Lists reports."),
    create("/bi/reports", "createBiReport", &[BiWrite], &bi::REPORT, "Adds a report: a dataset with a `query`."),
    list("/bi/metrics", "listBiMetrics", &[BiRead], &bi::METRIC, "Lists metrics."),
    create("/bi/metrics", "createBiMetric", &[BiWrite], &bi::METRIC, "Adds a metric: an `aggregate` {op, field, as} over a dataset."),
    Operation::ask("/bi/queries/run", "runBiQuery", &[BiWrite], |c| Box::pin(run_query(c)), "Queries a dataset, a report, a metric (`dataset_id`, `report_id`, `metric_id`) or a `source`, with a `query` in the syntax of folder row queries: filter, select, sort, limit, cursor, count, groupBy, aggregates. The key must be allowed to read the source.").takes(QUESTION),
    list("/bi/exports", "listBiExports", &[BiRead], &bi::EXPORT, "Lists exports; completed ones have a download URL."),
    create("/bi/exports", "createBiExport", &[BiWrite], &bi::EXPORT, "Starts an export of up to a million rows, as csv, jsonl or parquet."),
    list("/bi/scheduled-artifacts", "listBiScheduledArtifacts", &[BiRead], &bi::ARTIFACT, "Lists scheduled artifacts."),
    create("/bi/scheduled-artifacts", "createBiScheduledArtifact", &[BiWrite], &bi::ARTIFACT, "Schedules an export with a cron expression in UTC."),
    Operation::patch("/bi/{collection}/{id}", "updateBiObject", &[BiWrite], |c| Box::pin(update_bi(c)), "Changes an object of a collection: dashboards, datasets, reports, metrics, exports, scheduled-artifacts.").takes(BI_CHANGE),
    Operation::delete("/bi/{collection}/{id}", "archiveBiObject", &[BiWrite], |c| Box::pin(archive_bi(c)), "Archives an object of a collection."),
    Operation::post("/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", "replayWebhookDelivery", &[IntegrationsWrite], |c| Box::pin(replay_delivery(c)), "Resends a finished delivery with the same event id. Not in the contract.").success(200).takes(Takes::Nothing),
];
