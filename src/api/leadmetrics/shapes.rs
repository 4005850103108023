//! Bodies and responses of the dashboard contract as tables of fields.

use crate::agency::ads::CLASSES;
use crate::agency::platforms::NAMES;
use crate::agency::{
    APPROVAL_STATUSES, APPROVAL_TYPES, CHANNEL_STATUSES, DELIVERABLE_TYPES, RISK_LEVELS,
};
use crate::api::shape::Ty::*;
use crate::api::shape::{Fill, Shape, def, maybe, opt, req, req_null};

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $title:literal { $($field:expr),* $(,)? })*) => {
        $($(#[$doc])* pub(super) static $name: Shape = Shape { name: $title, fields: &[$($field),*] };)*
    };
}

/// Platforms of social posts.
pub(super) const SOCIAL: [&str; 4] = ["linkedin", "facebook", "instagram", "tiktok"];
/// Priorities of requests.
const PRIORITIES: [&str; 2] = ["normal", "high"];
/// Roles of people.
pub(super) const TEAM_ROLES: [&str; 3] = ["admin", "member", "reviewer"];
/// Statuses of leads.
pub(super) const LEAD_STATUSES: [&str; 5] =
    ["new", "contacted", "qualified", "unqualified", "converted"];
/// Types of integrations.
pub(super) const INTEGRATIONS: [&str; 7] = [
    "semrush",
    "dataforseo",
    "ahrefs",
    "google_ads_api",
    "meta_ads_api",
    "sendgrid",
    "custom",
];

const ANY: f64 = f64::MAX;

shapes! {
    PERSON = "DashboardPerson" { req("id", Text), req("name", Text) }
    ACTOR = "DashboardActor" { req("id", Text), req("name", Text), req("type", OneOf(&["human", "agent"])) }

    // Campaigns.
    NEW_DELIVERABLE = "DashboardNewDeliverable" {
        req("type", OneOf(&DELIVERABLE_TYPES)), req("quantity", Integer(1)), opt("platformIds", List(&Text)), opt("templateId", Text)
    }
    NEW_CAMPAIGN = "DashboardNewCampaign" {
        req("name", NonBlank), req("brief", NonBlank), req("deliverables", List(&Of(&NEW_DELIVERABLE))),
        opt("budgetCapUsd", Number(0.0, 1e9)), opt("startDate", Text), opt("endDate", Text), opt("attachments", List(&Text))
    }
    CAMPAIGN_PATCH = "DashboardCampaignPatch" {
        maybe("name", NonBlank), maybe("brief", NonBlank), opt("budgetCapUsd", Number(0.0, 1e9)), maybe("status", OneOf(&["paused", "active"]))
    }
    CAMPAIGN_CREATED = "DashboardCampaignCreated" { req("id", Text), req("name", Text), req("status", Text) }
    ACTIVITY_COUNT = "DashboardActivityCount" {
        req("total", Integer(0)), req("inProgress", Integer(0)), req("pending", Integer(0)), req("done", Integer(0))
    }
    CAMPAIGN = "DashboardCampaign" {
        req("id", Text), req("name", Text), req("status", Text), req_null("budgetCapUsd", Float), req("spentUsd", Float),
        req("deliverableCount", Integer(0)), req("activityCount", Of(&ACTIVITY_COUNT)), req("pendingApprovals", Integer(0)),
        req("createdBy", Text), req("createdOn", Text), req_null("startDate", Text), req_null("endDate", Text)
    }
    PLATFORM = "DashboardPlatform" { req("id", Text), req("name", Text), req("type", Text) }
    CURRENT_PERIOD = "DashboardCurrentPeriod" {
        req("periodStart", Text), req("periodEnd", Text), req("target", Integer(0)), req("completed", Integer(0)), req("inProgress", Integer(0)),
        req("status", OneOf(&["on_track", "at_risk", "missed"]))
    }
    CAMPAIGN_DELIVERABLE = "DashboardCampaignDeliverable" {
        req("id", Text), req("type", Text), req("quantity", Integer(1)), req("platforms", List(&Of(&PLATFORM))), maybe("currentPeriod", Of(&CURRENT_PERIOD))
    }
    AGENT_COST = "DashboardAgentCost" { req("agentRole", Text), req("costUsd", Float) }
    CAMPAIGN_DETAIL = "DashboardCampaignDetail" {
        req("id", Text), req("name", Text), req("status", Text), req("brief", Text), req_null("budgetCapUsd", Float), req("spentUsd", Float),
        req_null("startDate", Text), req_null("endDate", Text), req("createdBy", Of(&PERSON)), req("createdOn", Text),
        req("deliverables", List(&Of(&CAMPAIGN_DELIVERABLE))), req("recentActivities", List(&Of(&ACTIVITY_SUMMARY))),
        req("pendingApprovals", Integer(0)), req("costByAgent", List(&Of(&AGENT_COST))), req("attachments", List(&Text))
    }
    PERIOD = "DashboardPeriod" {
        req("id", Text), req("periodStart", Text), req("periodEnd", Text), req("target", Integer(0)), req("completed", Integer(0)), req("inProgress", Integer(0)),
        req("status", OneOf(&["on_track", "at_risk", "missed"]))
    }
    DELIVERABLE = "DashboardDeliverable" { req("id", Text), req("type", Text), req("quantity", Integer(1)), req("periods", List(&Of(&PERIOD))) }
    DELIVERABLES = "DashboardDeliverables" { req("data", List(&Of(&DELIVERABLE))) }

    // Activities.
    ACTIVITY_SUMMARY = "DashboardActivitySummary" {
        req("id", Text), req("title", Text), req("type", Text), req("status", Text), req_null("agentRole", Text), req("assigneeName", Text),
        req_null("campaignId", Text), req_null("campaignName", Text), maybe("deliverableId", Text), maybe("approvalId", Text), maybe("wakeReason", Text),
        maybe("blockedReason", Text), maybe("startedAt", Text), maybe("completedAt", Text), req("costUsd", Float), req("createdOn", Text)
    }
    MENTION = "DashboardMention" { req("type", OneOf(&["agent", "human"])), req("id", Text), req("name", Text) }
    ACTIVITY_COMMENT = "DashboardActivityComment" {
        req("id", Text), req("text", Text), req("type", Text), req("author", Of(&ACTOR)), req("mentions", List(&Of(&MENTION))), req("createdOn", Text)
    }
    ACTIVITY_COMMENTS = "DashboardActivityComments" { req("data", List(&Of(&ACTIVITY_COMMENT))) }
    NEW_COMMENT = "DashboardNewComment" { req("text", NonBlank), def("type", OneOf(&["comment", "intervention_note"]), Fill::Text("comment")) }
    RUN = "DashboardRun" {
        req("id", Text), req("status", Text), req_null("model", Text), req("inputTokens", Integer(0)), req("outputTokens", Integer(0)), req("costUsd", Float),
        req("durationMs", Integer(0)), req_null("startedAt", Text), maybe("completedAt", Text), maybe("error", Text)
    }
    DELIVERABLE_REFERENCE = "DashboardDeliverableReference" { req("id", Text), req("type", Text) }
    APPROVAL_REFERENCE = "DashboardApprovalReference" { req("id", Text), req("type", Text), req("status", Text) }
    PUBLICATION = "DashboardPublication" {
        req("channelId", Text), req("channelName", Text), req("status", OneOf(&["started", "published", "failed", "not_published", "unknown"])), req_null("url", Text),
        req_null("reason", Text), req("at", Text)
    }
    REVISION = "DashboardRevision" { req("output", Text), req("savedAt", Text) }
    ACTIVITY_DETAIL = "DashboardActivityDetail" {
        req("id", Text), req("title", Text), req("type", Text), req("status", Text), req_null("agentRole", Text), req("assignee", Of(&ACTOR)),
        req_null("campaign", Of(&PERSON)), maybe("deliverable", Of(&DELIVERABLE_REFERENCE)), maybe("approval", Of(&APPROVAL_REFERENCE)),
        req("inputPrompt", Text), maybe("outputRef", Text), maybe("outputPreview", Text), req("sources", List(&Text)),
        req("revisions", List(&Of(&REVISION))), req("publications", List(&Of(&PUBLICATION))), maybe("blockedReason", Text), maybe("error", Text), req("comments", List(&Of(&ACTIVITY_COMMENT))),
        req("runs", List(&Of(&RUN))), req("subtasks", List(&Of(&ACTIVITY_SUMMARY))), req("createdOn", Text), req("updatedOn", Text)
    }
    ACTIVITY_OUTPUT = "DashboardActivityOutput" {
        req("activityId", Text), req("text", Text), req("format", OneOf(&["markdown", "html", "plain"])), req("createdOn", Text)
    }
    RETRIED = "DashboardRetried" { req("activityId", Text), req("runId", Text) }

    // Approvals.
    LINKED_ACTIVITY = "DashboardLinkedActivity" {
        req("id", Text), req("title", Text), req("status", Text), maybe("outputRef", Text), maybe("outputPreview", Text)
    }
    APPROVAL = "DashboardApproval" {
        req("id", Text), req("title", Text), req("type", OneOf(&APPROVAL_TYPES)), req("riskLevel", OneOf(&RISK_LEVELS)), req("status", OneOf(&APPROVAL_STATUSES)),
        maybe("description", Text), maybe("options", List(&Text)), req("linkedActivities", List(&Of(&LINKED_ACTIVITY))), req("createdBy", Of(&ACTOR)),
        req("createdOn", Text), req("expiresAt", Text), maybe("resolvedAt", Text), maybe("resolvedBy", Of(&PERSON)), maybe("resolution", Text),
        maybe("resolutionNote", Text), maybe("selectedOption", Text)
    }
    RESOLUTION = "DashboardResolution" {
        req("resolution", OneOf(&["approved", "rejected", "revision_requested"])), opt("selectedOption", Text), opt("note", Text)
    }
    RESOLVED = "DashboardResolved" { req("approvalId", Text), req("resolution", Text), req("reEnqueuedActivities", Integer(0)) }
    APPROVAL_STATS = "DashboardApprovalStats" {
        req("pending", Integer(0)), req("highRisk", Integer(0)), req("expiringIn24h", Integer(0)), req("resolvedThisWeek", Integer(0))
    }

    // Channels.
    CHANNEL = "DashboardChannel" {
        req("id", Text), req("name", Text), req("type", OneOf(&NAMES)), req("status", OneOf(&CHANNEL_STATUSES)), maybe("accountName", Text),
        maybe("healthScore", Integer(0)), maybe("lastCheckedAt", Text), req("connectedAt", Text), req("connectedBy", Text)
    }
    CHANNELS = "DashboardChannels" { req("data", List(&Of(&CHANNEL))) }
    CONNECT = "DashboardConnect" { req("redirectUrl", Uri) }
    CONNECTING = "DashboardConnecting" { req("authUrl", Text), req("state", Text) }
    HEALTH_BREAKDOWN = "DashboardHealthBreakdown" { req("completeness", Integer(0)), req("activityScore", Integer(0)), req("engagement", Integer(0)) }
    CHANNEL_HEALTH = "DashboardChannelHealth" {
        req("channelId", Text), req("healthScore", Integer(0)), req("breakdown", Of(&HEALTH_BREAKDOWN)), maybe("lastPublishedAt", Text), req("computedAt", Text)
    }

    // Leads.
    LEAD = "DashboardLead" {
        req("id", Text), req("firstName", Text), req("lastName", Text), maybe("email", Text), maybe("phone", Text), maybe("company", Text),
        req("status", OneOf(&LEAD_STATUSES)), req("source", Text), maybe("sourceRef", Text), maybe("score", Integer(0)), maybe("assignedTo", Of(&PERSON)),
        req("tags", List(&Text)), req("createdOn", Text)
    }
    TIMELINE_ENTRY = "DashboardTimelineEntry" {
        req("id", Text), req("type", Text), req("actor", Of(&ACTOR)), req("text", Text), req("details", Map), req("createdOn", Text)
    }
    LEAD_DETAIL = "DashboardLeadDetail" {
        req("id", Text), req("firstName", Text), req("lastName", Text), maybe("email", Text), maybe("phone", Text), maybe("company", Text),
        req("status", OneOf(&LEAD_STATUSES)), req("source", Text), maybe("sourceRef", Text), maybe("score", Integer(0)), maybe("assignedTo", Of(&PERSON)),
        req("tags", List(&Text)), maybe("notes", Text), req("timeline", List(&Of(&TIMELINE_ENTRY))), req("createdOn", Text), req("updatedOn", Text)
    }
    NEW_LEAD = "DashboardNewLead" {
        req("firstName", NonBlank), req("lastName", NonBlank), opt("email", Text), opt("phone", Text), opt("company", Text), opt("source", Text),
        opt("notes", Text), opt("tags", List(&Text))
    }
    LEAD_PATCH = "DashboardLeadPatch" {
        maybe("firstName", NonBlank), maybe("lastName", NonBlank), opt("email", Text), opt("phone", Text), opt("company", Text),
        maybe("status", OneOf(&LEAD_STATUSES)), opt("score", Number(0.0, 100.0)), opt("tags", List(&Text)), opt("assignedTo", Text)
    }
    IMPORT_ERROR = "DashboardImportError" { req("row", Integer(1)), req("reason", Text) }
    LEAD_IMPORT = "DashboardLeadImport" {
        req("importId", Text), req("status", OneOf(&["processing", "completed", "failed"])), req("total", Integer(0)), req("imported", Integer(0)),
        req("skipped", Integer(0)), req("errors", List(&Of(&IMPORT_ERROR)))
    }

    // Requests for content.
    NEW_BLOG_REQUEST = "DashboardNewBlogRequest" {
        req("topic", NonBlank), opt("targetKeyword", Text), opt("brief", Text), opt("channelId", Text), def("priority", OneOf(&PRIORITIES), Fill::Text("normal"))
    }
    BLOG_REQUEST = "DashboardBlogRequest" {
        req("id", Text), req("topic", Text), maybe("targetKeyword", Text), maybe("brief", Text), maybe("channelId", Text), maybe("channelName", Text),
        req("status", Text), req("priority", Text), maybe("blogPostId", Text), req("createdBy", Text), req("createdOn", Text)
    }
    NEW_SOCIAL_REQUEST = "DashboardNewSocialRequest" {
        req("topic", NonBlank), req("platforms", List(&OneOf(&SOCIAL))), opt("brief", Text), opt("scheduleFor", Time),
        def("priority", OneOf(&PRIORITIES), Fill::Text("normal"))
    }
    SOCIAL_REQUEST = "DashboardSocialRequest" {
        req("id", Text), req("topic", Text), req("platforms", List(&Text)), maybe("brief", Text), maybe("scheduleFor", Text), req("status", Text),
        req("priority", Text), maybe("socialPostId", Text), req("createdBy", Text), req("createdOn", Text)
    }

    // Team.
    PRINCIPAL = "DashboardPrincipal" {
        req("id", Text), req("type", OneOf(&["human", "agent"])), req("name", Text), maybe("email", Text), req("role", Text), req("status", Text),
        maybe("agentAdapter", Text), maybe("runningCount", Integer(0)), maybe("lastActiveAt", Text), req("createdOn", Text)
    }
    TEAM = "DashboardTeam" { req("data", List(&Of(&PRINCIPAL))) }
    INVITE = "DashboardInvite" { req("email", NonBlank), req("name", NonBlank), req("role", OneOf(&TEAM_ROLES)) }
    INVITED = "DashboardInvited" { req("inviteId", Text), req("inviteUrl", Text), req("expiresAt", Text) }
    ROLE_PATCH = "DashboardRolePatch" { req("role", OneOf(&TEAM_ROLES)) }
    ORG_NODE = "DashboardOrgNode" {
        req("id", Text), req("type", OneOf(&["human", "agent"])), req("name", Text), req("role", Text), req("status", Text), maybe("reportsTo", Text)
    }
    ORG_EDGE = "DashboardOrgEdge" { req("from", Text), req("to", Text), maybe("label", Text) }
    ORG_CHART = "DashboardOrgChart" { req("nodes", List(&Of(&ORG_NODE))), req("edges", List(&Of(&ORG_EDGE))) }

    // Agents.
    AGENT_CONFIG = "DashboardAgentConfig" {
        req("id", Text), req("role", Text), req("status", Text), req("runningCount", Integer(0)), req("model", Text), req("adapterType", Text),
        req("toolNames", List(&Text)), req("skillIds", List(&Text)), maybe("maxCostUsdPerActivity", Float), req("concurrency", Integer(1)),
        req("isGlobalDefault", Flag), maybe("lastErrorAt", Text), maybe("lastErrorMessage", Text)
    }
    AGENT_CONFIGS = "DashboardAgentConfigs" { req("data", List(&Of(&AGENT_CONFIG))) }
    ADAPTER_CONFIG = "DashboardAdapterConfig" {
        req("model", Text), req("promptTemplate", Text), req("timeoutSec", Integer(1)), req("maxTurnsPerRun", Integer(1)), req("env", TextMap)
    }
    AGENT_DETAIL = "DashboardAgentDetail" {
        req("id", Text), req("role", Text), req("name", Text), req("status", Text), req("runningCount", Integer(0)), req("model", Text), req("adapterType", Text),
        req("toolNames", List(&Text)), req("skillIds", List(&Text)), maybe("maxCostUsdPerActivity", Float), req("concurrency", Integer(1)),
        req("isGlobalDefault", Flag), maybe("lastErrorAt", Text), maybe("lastErrorMessage", Text), req("adapterConfig", Of(&ADAPTER_CONFIG))
    }
    ADAPTER_PATCH = "DashboardAdapterPatch" { opt("promptTemplate", NonBlank), opt("timeoutSec", Integer(1)), opt("maxTurnsPerRun", Integer(1)) }
    AGENT_PATCH = "DashboardAgentPatch" {
        maybe("model", NonBlank), maybe("maxCostUsdPerActivity", Number(0.0, 1e6)), maybe("toolNames", List(&Text)), maybe("concurrency", Integer(1)),
        maybe("adapterConfig", Of(&ADAPTER_PATCH))
    }
    CHECK = "DashboardCheck" { req("name", Text), req("ok", Flag), maybe("detail", Text) }
    TESTED = "DashboardTested" { req("ok", Flag), req("message", Text), req("checks", List(&Of(&CHECK))) }

    // Skills.
    SKILL = "DashboardSkill" {
        req("id", Text), req("name", Text), req("description", Text), req("scope", OneOf(&["tenant", "global"])), req("assignedAgents", List(&Text)),
        req("sizeBytes", Integer(0)), req("createdBy", Text), req("createdOn", Text), req("updatedOn", Text)
    }
    SKILLS = "DashboardSkills" { req("data", List(&Of(&SKILL))) }

    // Analytics and advertising.
    SPEND_PART = "DashboardSpendPart" { req("label", Text), req("costUsd", Float), req("pct", Float) }
    SPEND_DAY = "DashboardSpendDay" { req("date", Text), req("costUsd", Float) }
    SPEND = "DashboardSpend" {
        req("totalUsd", Float), maybe("budgetCapUsd", Float), maybe("budgetUsedPct", Float), req("breakdown", List(&Of(&SPEND_PART))),
        req("dailySeries", List(&Of(&SPEND_DAY)))
    }
    SPAN = "DashboardSpan" { req("start", Text), req("end", Text) }
    GOAL = "DashboardGoal" {
        req("goalId", Text), req("goalTitle", Text), req("metric", Text), req("targetValue", Float), req("currentValue", Float), req("progressPct", Float),
        req("trendDirection", OneOf(&["up", "down", "flat"])), req("period", Of(&SPAN))
    }
    GOALS = "DashboardGoals" { req("data", List(&Of(&GOAL))) }
    AD_CAMPAIGN = "DashboardAdCampaign" {
        req("id", Text), req("name", Text), req("platform", Text), req("status", Text), req("spendUsd", Float), req("impressions", Integer(0)),
        req("clicks", Integer(0)), req("conversions", Number(0.0, ANY)), req("ctr", Float), maybe("costPerConversionUsd", Float), req("syncedOn", Text)
    }
    SEARCH_TERM = "DashboardSearchTerm" {
        req("id", Text), req("term", Text), req_null("campaignId", Text), req("classification", OneOf(&CLASSES)), req("classificationSource", OneOf(&["rule", "manual"])),
        maybe("note", Text), req("spendUsd", Float), req("impressions", Integer(0)), req("clicks", Integer(0)), req("conversions", Number(0.0, ANY)), req("updatedOn", Text)
    }
    CLASSIFY = "DashboardClassify" { req("classification", OneOf(&CLASSES)), opt("note", Text) }

    // Reports.
    REPORT = "DashboardReport" {
        req("id", Text), req("title", Text), req("type", Text), req("status", Text), req("periodStart", Text), req("periodEnd", Text),
        req_null("campaignId", Text), req_null("deliveredAt", Text), req("createdOn", Text)
    }
    REPORT_DETAIL = "DashboardReportDetail" {
        req("id", Text), req("title", Text), req("type", Text), req("status", Text), req("periodStart", Text), req("periodEnd", Text),
        req_null("campaignId", Text), req_null("activityId", Text), req("content", Text), req_null("deliveredAt", Text), req_null("deliveredBy", Text),
        req_null("deliveryChannel", Text), req("createdOn", Text)
    }

    // Chat.
    CONVERSATION = "DashboardConversation" { req("id", Text), req("title", Text), req("lastMessage", Text), req("createdOn", Text), req("updatedOn", Text) }
    CONVERSATIONS = "DashboardConversations" { req("data", List(&Of(&CONVERSATION))) }
    CHAT_MESSAGE = "DashboardChatMessage" {
        req("id", Text), req("role", OneOf(&["user", "assistant"])), req("content", Text), req("citations", List(&Map)), req("createdOn", Text)
    }
    CONVERSATION_DETAIL = "DashboardConversationDetail" { req("id", Text), req("title", Text), req("messages", List(&Of(&CHAT_MESSAGE))) }
    DELETED = "DashboardDeleted" { req("deleted", Flag) }

    // Integrations.
    INTEGRATION = "DashboardIntegration" {
        req("id", Text), req("integrationType", OneOf(&INTEGRATIONS)), req("name", Text), req("status", Text), req("isActive", Flag),
        req("apiKey", Text), req_null("lastVerifiedAt", Text), req_null("errorMessage", Text)
    }
    INTEGRATION_LIST = "DashboardIntegrations" { req("data", List(&Of(&INTEGRATION))) }
    NEW_INTEGRATION = "DashboardNewIntegration" {
        req("integrationType", OneOf(&INTEGRATIONS)), req("name", NonBlank), req("apiKey", NonBlank), opt("apiSecret", NonBlank), opt("extraConfig", Map)
    }
    INTEGRATION_PATCH = "DashboardIntegrationPatch" {
        maybe("name", NonBlank), maybe("apiKey", NonBlank), maybe("apiSecret", NonBlank), opt("extraConfig", Map), maybe("isActive", Flag)
    }
    PROBED = "DashboardProbed" { req("ok", Flag), req("message", Text) }

    // Audit and logs.
    AUDIT_ENTRY = "DashboardAuditEntry" {
        req("id", Text), req("entityType", Text), req("entityId", Text), req("action", Text), req("actorType", OneOf(&["user", "agent", "system"])),
        req("actorId", Text), req("actorName", Text), req_null("changes", Map), req_null("ip", Text), req("createdOn", Text)
    }
    LOG_ENTRY = "DashboardLogEntry" {
        req("id", Text), req("level", Text), req("category", Text), req("message", Text), req("context", Map), req_null("activityId", Text),
        req_null("agentRole", Text), req("createdOn", Text)
    }

    // Recurring tasks.
    VARIABLE = "DashboardVariable" { req("key", Text), req("label", Text), req("type", Text), req("required", Flag) }
    RECURRING_TASK = "DashboardRecurringTask" {
        req("id", Text), req("name", Text), req("description", Text), req("assigneeType", OneOf(&["agent", "human"])), req_null("agentRole", Text),
        req("periodicity", Text), req("trigger", Text), req("isActive", Flag), req("variables", List(&Of(&VARIABLE))), req("variableValues", Map),
        req_null("nextRunAt", Text), req_null("lastRunAt", Text)
    }
    RECURRING_TASKS = "DashboardRecurringTasks" { req("data", List(&Of(&RECURRING_TASK))) }
    RECURRING_PATCH = "DashboardRecurringPatch" { maybe("isActive", Flag), maybe("variableValues", Map) }
    RECURRING_RUN = "DashboardRecurringRun" { req("activityId", Text) }
}
