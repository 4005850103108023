//! The operations of the dialect as a table: from it come the routes, what each operation does, and the OpenAPI document.

use crate::auth::Scope;
use crate::workspace::spec::{self, Kind};

/// What an operation does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Does {
    /// Lists records of a kind.
    List(&'static Kind),
    /// Lists those of a ticket.
    ListOfTicket(&'static Kind),
    /// Makes a record.
    Create(&'static Kind),
    /// Changes a record.
    Update(&'static Kind),
    /// Archives a record.
    Archive(&'static Kind),
    /// Something of its own.
    Special(Special),
}

/// What has rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Workspace,
    ConvertLead,
    AddMessage,
    AddComment,
    SearchEntries,
    OpenUpload,
    GetAsset,
    CompleteUpload,
    EventTypes,
    TestWebhook,
    UpdateWebhook,
    Deliveries,
    ReplayDelivery,
    ValidateEvent,
    RunQuery,
    UpdateBi,
    ArchiveBi,
}

impl Special {
    /// Whether it answers with a list.
    pub(super) fn lists(self) -> bool {
        matches!(
            self,
            Self::EventTypes | Self::Deliveries | Self::SearchEntries
        )
    }
}

/// An operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub method: &'static str,
    /// Below the prefix.
    pub path: &'static str,
    pub id: &'static str,
    /// One of these is needed.
    pub scopes: &'static [Scope],
    pub does: Does,
    pub summary: &'static str,
}

const fn op(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    scopes: &'static [Scope],
    does: Does,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        id,
        scopes,
        does,
        summary,
    }
}

use Does::{Archive, Create, List, ListOfTicket, Special as Own, Update};
use Scope as S;

/// The operations of the contract, in its order, and those that Cairn adds, at the end.
pub(super) const ALL: &[Operation] = &[
    op(
        "GET",
        "/workspace",
        "getWorkspace",
        &[
            S::CrmRead,
            S::SupportRead,
            S::TasksRead,
            S::ActivityRead,
            S::CmsRead,
            S::AssetsRead,
            S::IntegrationsRead,
            S::AnalyticsRead,
            S::BiRead,
        ],
        Own(Special::Workspace),
        "The workspace of the key, and what is enabled in it. Any one of the reading scopes will do.",
    ),
    op(
        "GET",
        "/contacts",
        "listContacts",
        &[S::CrmRead],
        List(spec::CONTACT),
        "Lists contacts, the newest first.",
    ),
    op(
        "POST",
        "/contacts",
        "createContact",
        &[S::CrmWrite],
        Create(spec::CONTACT),
        "Adds a contact.",
    ),
    op(
        "GET",
        "/companies",
        "listCompanies",
        &[S::CrmRead],
        List(spec::COMPANY),
        "Lists companies.",
    ),
    op(
        "POST",
        "/companies",
        "createCompany",
        &[S::CrmWrite],
        Create(spec::COMPANY),
        "Adds a company.",
    ),
    op(
        "GET",
        "/leads",
        "listLeads",
        &[S::CrmRead],
        List(spec::LEAD),
        "Lists leads.",
    ),
    op(
        "POST",
        "/leads",
        "createLead",
        &[S::CrmWrite],
        Create(spec::LEAD),
        "Adds a lead.",
    ),
    op(
        "POST",
        "/leads/{lead_id}/convert",
        "convertLead",
        &[S::CrmWrite],
        Own(Special::ConvertLead),
        "Makes a contact of a lead, its company when it names one, and a deal when `create_deal` is true; once, however often it is called.",
    ),
    op(
        "GET",
        "/deal-stages",
        "listDealStages",
        &[S::CrmRead],
        List(spec::STAGE),
        "Lists the deal stages of the workspace.",
    ),
    op(
        "POST",
        "/deal-stages",
        "createDealStage",
        &[S::CrmWrite],
        Create(spec::STAGE),
        "Adds a deal stage.",
    ),
    op(
        "POST",
        "/deals",
        "createDeal",
        &[S::CrmWrite],
        Create(spec::DEAL),
        "Adds a deal. Its stage is the key or id of a stage, or one of new, discovery, qualified, proposal, negotiation, won, lost.",
    ),
    op(
        "PATCH",
        "/deals/{deal_id}",
        "updateDeal",
        &[S::CrmWrite],
        Update(spec::DEAL),
        "Changes a deal; moves between stages are kept in `stage_moves`.",
    ),
    op(
        "GET",
        "/invoices",
        "listInvoices",
        &[S::CrmRead],
        List(spec::INVOICE),
        "Lists invoices.",
    ),
    op(
        "POST",
        "/invoices",
        "createInvoice",
        &[S::CrmWrite],
        Create(spec::INVOICE),
        "Adds an invoice. Each line has a name, `unit_amount_cents`, and perhaps `quantity` and `tax_cents`; the sums are worked out.",
    ),
    op(
        "POST",
        "/payments",
        "recordPayment",
        &[S::CrmWrite],
        Create(spec::PAYMENT),
        "Records a payment and moves its invoice on; more than is left to pay is refused.",
    ),
    op(
        "GET",
        "/accounting/accounts",
        "listAccountingAccounts",
        &[S::CrmRead],
        List(spec::ACCOUNT),
        "Lists ledger accounts.",
    ),
    op(
        "POST",
        "/accounting/accounts",
        "createAccountingAccount",
        &[S::CrmWrite],
        Create(spec::ACCOUNT),
        "Adds a ledger account.",
    ),
    op(
        "GET",
        "/accounting/journal-entries",
        "listJournalEntries",
        &[S::CrmRead],
        List(spec::JOURNAL),
        "Lists journal entries.",
    ),
    op(
        "POST",
        "/accounting/journal-entries",
        "createJournalEntry",
        &[S::CrmWrite],
        Create(spec::JOURNAL),
        "Adds a journal entry; debits and credits must be the same.",
    ),
    op(
        "GET",
        "/support/queues",
        "listSupportQueues",
        &[S::SupportRead],
        List(spec::QUEUE),
        "Lists support queues.",
    ),
    op(
        "POST",
        "/support/queues",
        "createSupportQueue",
        &[S::SupportWrite],
        Create(spec::QUEUE),
        "Adds a support queue.",
    ),
    op(
        "GET",
        "/support/tickets",
        "listSupportTickets",
        &[S::SupportRead],
        List(spec::TICKET),
        "Lists tickets.",
    ),
    op(
        "POST",
        "/support/tickets",
        "createSupportTicket",
        &[S::SupportWrite],
        Create(spec::TICKET),
        "Opens a ticket.",
    ),
    op(
        "PATCH",
        "/support/tickets/{ticket_id}",
        "updateSupportTicket",
        &[S::SupportWrite],
        Update(spec::TICKET),
        "Changes a ticket.",
    ),
    op(
        "GET",
        "/support/tickets/{ticket_id}/messages",
        "listSupportTicketMessages",
        &[S::SupportRead],
        ListOfTicket(spec::MESSAGE),
        "Lists the messages of a ticket.",
    ),
    op(
        "POST",
        "/support/tickets/{ticket_id}/messages",
        "addSupportTicketMessage",
        &[S::SupportWrite],
        Own(Special::AddMessage),
        "Adds a message. The first outbound one is the first response; an inbound one opens a ticket that waited or was resolved.",
    ),
    op(
        "GET",
        "/support/tickets/{ticket_id}/comments",
        "listSupportTicketComments",
        &[S::SupportRead],
        ListOfTicket(spec::COMMENT),
        "Lists the internal comments of a ticket.",
    ),
    op(
        "POST",
        "/support/tickets/{ticket_id}/comments",
        "addSupportTicketComment",
        &[S::SupportWrite],
        Own(Special::AddComment),
        "Adds an internal comment.",
    ),
    op(
        "GET",
        "/tasks",
        "listTasks",
        &[S::TasksRead],
        List(spec::TASK),
        "Lists tasks.",
    ),
    op(
        "POST",
        "/tasks",
        "createTask",
        &[S::TasksWrite],
        Create(spec::TASK),
        "Adds a task.",
    ),
    op(
        "PATCH",
        "/tasks/{task_id}",
        "updateTask",
        &[S::TasksWrite],
        Update(spec::TASK),
        "Changes a task.",
    ),
    op(
        "GET",
        "/activities",
        "listActivities",
        &[S::ActivityRead],
        List(spec::ACTIVITY),
        "Lists activities.",
    ),
    op(
        "POST",
        "/activities",
        "createActivity",
        &[S::ActivityWrite],
        Create(spec::ACTIVITY),
        "Logs an activity.",
    ),
    op(
        "POST",
        "/cms/collections",
        "createCmsCollection",
        &[S::CmsWrite],
        Create(spec::COLLECTION),
        "Adds a collection with the schema of its entries.",
    ),
    op(
        "GET",
        "/cms/sites",
        "listCmsSites",
        &[S::CmsRead],
        List(spec::SITE),
        "Lists sites.",
    ),
    op(
        "POST",
        "/cms/sites",
        "createCmsSite",
        &[S::CmsWrite],
        Create(spec::SITE),
        "Adds a site.",
    ),
    op(
        "GET",
        "/cms/entries",
        "listCmsEntries",
        &[S::CmsRead],
        List(spec::ENTRY),
        "Lists entries.",
    ),
    op(
        "POST",
        "/cms/entries",
        "createCmsEntry",
        &[S::CmsWrite],
        Create(spec::ENTRY),
        "Adds an entry; its fields fit the schema of its collection, and its slug is the only one of its kind there.",
    ),
    op(
        "GET",
        "/cms/entries/search",
        "searchCmsEntries",
        &[S::CmsRead],
        Own(Special::SearchEntries),
        "Searches entries by their whole text, the best first: `query`, `limit`. An entry is found right after it was written.",
    ),
    op(
        "PATCH",
        "/cms/entries/{entry_id}",
        "updateCmsEntry",
        &[S::CmsWrite],
        Update(spec::ENTRY),
        "Changes an entry; publishing sets `published_at`.",
    ),
    op(
        "GET",
        "/marketing/campaigns",
        "listMarketingCampaigns",
        &[S::CmsRead],
        List(spec::CAMPAIGN),
        "Lists campaigns.",
    ),
    op(
        "POST",
        "/marketing/campaigns",
        "createMarketingCampaign",
        &[S::CmsWrite],
        Create(spec::CAMPAIGN),
        "Adds a campaign.",
    ),
    op(
        "GET",
        "/marketing/posts",
        "listMarketingPosts",
        &[S::CmsRead],
        List(spec::POST),
        "Lists posts.",
    ),
    op(
        "POST",
        "/marketing/posts",
        "createMarketingPost",
        &[S::CmsWrite],
        Create(spec::POST),
        "Adds a post.",
    ),
    op(
        "GET",
        "/assets",
        "listAssets",
        &[S::AssetsRead],
        List(spec::ASSET),
        "Lists assets.",
    ),
    op(
        "POST",
        "/assets",
        "createAssetUploadIntent",
        &[S::AssetsWrite],
        Own(Special::OpenUpload),
        "Announces an asset; its bytes go to `upload_url` with PUT, within an hour, and then it is completed.",
    ),
    op(
        "GET",
        "/assets/{asset_id}",
        "getAsset",
        &[S::AssetsRead],
        Own(Special::GetAsset),
        "An asset, with an address for its bytes that holds an hour.",
    ),
    op(
        "DELETE",
        "/assets/{asset_id}",
        "archiveAsset",
        &[S::AssetsWrite],
        Archive(spec::ASSET),
        "Archives an asset.",
    ),
    op(
        "POST",
        "/assets/{asset_id}/complete",
        "completeAssetUpload",
        &[S::AssetsWrite],
        Own(Special::CompleteUpload),
        "Completes an upload: `byte_size` and `checksum_sha256` must be those of the bytes that came.",
    ),
    op(
        "GET",
        "/integrations/events",
        "listIntegrationEventTypes",
        &[S::IntegrationsRead],
        Own(Special::EventTypes),
        "Lists event types: those of every workspace, and its own.",
    ),
    op(
        "POST",
        "/integrations/events",
        "registerIntegrationEventType",
        &[S::IntegrationsWrite],
        Create(spec::EVENT_TYPE),
        "Adds an event type.",
    ),
    op(
        "GET",
        "/webhooks",
        "listWebhookEndpoints",
        &[S::IntegrationsRead],
        List(spec::WEBHOOK),
        "Lists webhook endpoints.",
    ),
    op(
        "POST",
        "/webhooks",
        "createWebhookEndpoint",
        &[S::IntegrationsWrite],
        Create(spec::WEBHOOK),
        "Adds an endpoint. `signing_secret` is answered this once.",
    ),
    op(
        "PATCH",
        "/webhooks/{webhook_id}",
        "updateWebhookEndpoint",
        &[S::IntegrationsWrite],
        Own(Special::UpdateWebhook),
        "Changes an endpoint; what waited while it was paused is sent when it is active again.",
    ),
    op(
        "POST",
        "/webhooks/{webhook_id}/test",
        "sendTestWebhookEvent",
        &[S::IntegrationsWrite],
        Own(Special::TestWebhook),
        "Queues a test for an endpoint.",
    ),
    op(
        "GET",
        "/webhooks/{webhook_id}/deliveries",
        "listWebhookDeliveries",
        &[S::IntegrationsRead],
        Own(Special::Deliveries),
        "Lists deliveries of an endpoint, with attempts and answers.",
    ),
    op(
        "GET",
        "/analytics/events",
        "listAnalyticsEvents",
        &[S::AnalyticsRead],
        List(spec::ANALYTICS_EVENT),
        "Lists definitions of events.",
    ),
    op(
        "POST",
        "/analytics/events",
        "defineAnalyticsEvent",
        &[S::AnalyticsWrite],
        Create(spec::ANALYTICS_EVENT),
        "Defines an event with the properties it may carry.",
    ),
    op(
        "POST",
        "/analytics/properties",
        "defineAnalyticsProperty",
        &[S::AnalyticsWrite],
        Create(spec::ANALYTICS_PROPERTY),
        "Defines a property.",
    ),
    op(
        "POST",
        "/analytics/events/validate",
        "validateAnalyticsEvent",
        &[S::AnalyticsRead],
        Own(Special::ValidateEvent),
        "Checks an event against its definition, and its properties against theirs.",
    ),
    op(
        "GET",
        "/bi/dashboards",
        "listBiDashboards",
        &[S::BiRead],
        List(spec::DASHBOARD),
        "Lists dashboards.",
    ),
    op(
        "POST",
        "/bi/dashboards",
        "createBiDashboard",
        &[S::BiWrite],
        Create(spec::DASHBOARD),
        "Adds a dashboard.",
    ),
    op(
        "GET",
        "/bi/datasets",
        "listBiDatasets",
        &[S::BiRead],
        List(spec::DATASET),
        "Lists datasets.",
    ),
    op(
        "POST",
        "/bi/datasets",
        "createBiDataset",
        &[S::BiWrite],
        Create(spec::DATASET),
        "Adds a dataset: a `source` (contacts, companies, leads, deal_stages, deals, invoices, payments, accounts, journal_entries, tickets, ticket_messages, queues, tasks, activities, cms_entries, marketing_campaigns, marketing_posts, assets, analytics_events, folder:ID) and perhaps a `query` that narrows it; a mock dataset has `rows`.",
    ),
    op(
        "GET",
        "/bi/reports",
        "listBiReports",
        &[S::BiRead],
        List(spec::REPORT),
        "Lists reports.",
    ),
    op(
        "POST",
        "/bi/reports",
        "createBiReport",
        &[S::BiWrite],
        Create(spec::REPORT),
        "Adds a report: a dataset with a `query`.",
    ),
    op(
        "GET",
        "/bi/metrics",
        "listBiMetrics",
        &[S::BiRead],
        List(spec::METRIC),
        "Lists metrics.",
    ),
    op(
        "POST",
        "/bi/metrics",
        "createBiMetric",
        &[S::BiWrite],
        Create(spec::METRIC),
        "Adds a metric: an `aggregate` {op, field, as} over a dataset.",
    ),
    op(
        "POST",
        "/bi/queries/run",
        "runBiQuery",
        &[S::BiWrite],
        Own(Special::RunQuery),
        "Asks a dataset, a report, a metric (`dataset_id`, `report_id`, `metric_id`) or a `source`, with a `query` in the language of the rows of folders: filter, select, sort, limit, cursor, count, groupBy, aggregates. The source must be readable to the key.",
    ),
    op(
        "GET",
        "/bi/exports",
        "listBiExports",
        &[S::BiRead],
        List(spec::EXPORT),
        "Lists exports; those that are written have an address for their bytes.",
    ),
    op(
        "POST",
        "/bi/exports",
        "createBiExport",
        &[S::BiWrite],
        Create(spec::EXPORT),
        "Begins to write an export of up to a million rows, as csv, jsonl or parquet.",
    ),
    op(
        "GET",
        "/bi/scheduled-artifacts",
        "listBiScheduledArtifacts",
        &[S::BiRead],
        List(spec::ARTIFACT),
        "Lists scheduled artifacts.",
    ),
    op(
        "POST",
        "/bi/scheduled-artifacts",
        "createBiScheduledArtifact",
        &[S::BiWrite],
        Create(spec::ARTIFACT),
        "Schedules an export, by a cron expression in UTC.",
    ),
    op(
        "PATCH",
        "/bi/{collection}/{id}",
        "updateBiObject",
        &[S::BiWrite],
        Own(Special::UpdateBi),
        "Changes an object of a collection: dashboards, datasets, reports, metrics, exports, scheduled-artifacts.",
    ),
    op(
        "DELETE",
        "/bi/{collection}/{id}",
        "archiveBiObject",
        &[S::BiWrite],
        Own(Special::ArchiveBi),
        "Archives an object of a collection.",
    ),
    op(
        "POST",
        "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
        "replayWebhookDelivery",
        &[S::IntegrationsWrite],
        Own(Special::ReplayDelivery),
        "Sends a delivery that has ended again, with the id of its event. Not in the contract.",
    ),
];

impl Operation {
    /// Whether it changes something, and may be made safe to repeat.
    pub(super) fn writes(&self) -> bool {
        self.method != "GET"
            && !matches!(
                self.does,
                Own(Special::ValidateEvent | Special::RunQuery | Special::ReplayDelivery)
            )
    }

    /// Whether it takes a body.
    pub(super) fn has_body(&self) -> bool {
        matches!(self.method, "POST" | "PATCH")
            && !matches!(
                self.does,
                Own(Special::TestWebhook | Special::ReplayDelivery)
            )
    }

    /// Names of the parameters of the path.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// The kind that it is about, if it is about one.
    pub(super) fn kind(&self) -> Option<&'static Kind> {
        match self.does {
            List(kind) | ListOfTicket(kind) | Create(kind) | Update(kind) | Archive(kind) => {
                Some(kind)
            }
            Own(special) => match special {
                Special::AddMessage => Some(spec::MESSAGE),
                Special::AddComment => Some(spec::COMMENT),
                Special::OpenUpload => Some(spec::ASSET),
                Special::UpdateWebhook => Some(spec::WEBHOOK),
                Special::Workspace
                | Special::ConvertLead
                | Special::SearchEntries
                | Special::GetAsset
                | Special::CompleteUpload
                | Special::EventTypes
                | Special::TestWebhook
                | Special::Deliveries
                | Special::ReplayDelivery
                | Special::ValidateEvent
                | Special::RunQuery
                | Special::UpdateBi
                | Special::ArchiveBi => None,
            },
        }
    }

    /// Parameters of the query string.
    pub(super) fn parameters(&self) -> Vec<&'static str> {
        let paged = || vec!["limit", "cursor"];
        match self.does {
            List(kind) | ListOfTicket(kind) => {
                let mut names = paged();
                names.push("query");
                if kind.life.is_some() {
                    names.push("status");
                }
                names.extend(
                    kind.fields
                        .iter()
                        .filter(|f| f.filter)
                        .map(|f| match f.name {
                            "event_types" => "event_type",
                            name => name,
                        }),
                );
                if kind.field("custom_fields").is_some() {
                    names.extend(["custom_field_key", "custom_field_value"]);
                }
                names
            }
            Own(Special::SearchEntries) => vec!["query", "limit"],
            Own(Special::EventTypes) => vec!["query", "category", "cursor", "limit"],
            Own(Special::Deliveries) => {
                let mut names = paged();
                names.extend(["event_type", "status"]);
                names
            }
            Create(_) | Update(_) | Archive(_) | Own(_) => Vec::new(),
        }
    }
}

/// The kind of a collection of business intelligence.
pub(super) fn collection(name: &str) -> Option<&'static Kind> {
    match name {
        "dashboards" => Some(spec::DASHBOARD),
        "datasets" => Some(spec::DATASET),
        "reports" => Some(spec::REPORT),
        "metrics" => Some(spec::METRIC),
        "exports" => Some(spec::EXPORT),
        "scheduled-artifacts" | "scheduled_artifacts" => Some(spec::ARTIFACT),
        _ => None,
    }
}
