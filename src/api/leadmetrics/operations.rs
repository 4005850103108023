//! The operations of the dashboard contract beside its knowledge base, in the order of the contract. Streams and forms are handlers of their own, in [`super`].

use Scope::{CrmRead, CrmWrite, MarketingRead, MarketingWrite};

use super::activities::*;
use super::campaigns::*;
use super::chat::*;
use super::connections::*;
use super::figures::*;
use super::leads::*;
use super::shapes::*;
use super::team::*;
use super::work::*;
use crate::api::operation::{Answers, Operation, Takes, Whole};
use crate::auth::Scope;

const READ: &[Scope] = &[MarketingRead];
const WRITE: &[Scope] = &[MarketingWrite];

const fn whole(shape: &'static crate::api::shape::Shape) -> Takes {
    Takes::Shape(shape, Whole::Yes)
}

const fn part(shape: &'static crate::api::shape::Shape) -> Takes {
    Takes::Shape(shape, Whole::No)
}

#[rustfmt::skip]
pub(super) static ALL: &[Operation] = &[
    // Campaigns and deliverables.
    Operation::get("/campaigns", "listCampaigns", READ, |c| Box::pin(list_campaigns(c)), "Lists campaigns; archived ones only with `filter.status=archived`.")
        .named(&["filter.status", "limit", "cursor", "order"]).answers(Answers::Pages(&CAMPAIGN)),
    Operation::post("/campaigns", "createCampaign", WRITE, |c| Box::pin(create_campaign(c)), "Creates a campaign as a draft from a brief; the Activity Planner plans its activities. For administrators.")
        .takes(whole(&NEW_CAMPAIGN)).answers(Answers::Shape(&CAMPAIGN_CREATED)),
    Operation::get("/campaigns/{campaignId}", "getCampaign", READ, |c| Box::pin(get_campaign(c)), "Shows a campaign with its deliverables, their current period, recent activities and costs by agent.")
        .answers(Answers::Shape(&CAMPAIGN_DETAIL)),
    Operation::patch("/campaigns/{campaignId}", "updateCampaign", WRITE, |c| Box::pin(update_campaign(c)), "Changes a campaign, pauses it (its activities stop) or resumes it. For administrators.")
        .takes(part(&CAMPAIGN_PATCH)).shown_by(|c, _| Box::pin(updated_campaign(c))).answers(Answers::Shape(&CAMPAIGN)),
    Operation::delete("/campaigns/{campaignId}", "archiveCampaign", WRITE, |c| Box::pin(archive_campaign(c)), "Archives a campaign: its activities stop, and no new ones begin. For administrators.").success(204),
    Operation::get("/campaigns/{campaignId}/deliverables", "listCampaignDeliverables", READ, |c| Box::pin(list_deliverables(c)), "Lists the deliverables of a campaign with the progress of their periods, the newest first.")
        .answers(Answers::Shape(&DELIVERABLES)),
    Operation::get("/deliverables/{deliverableId}/activities", "listDeliverableActivities", READ, |c| Box::pin(list_deliverable_activities(c)), "Lists the activities of a deliverable.")
        .named(&["filter.status", "limit", "cursor"]).answers(Answers::Pages(&ACTIVITY_SUMMARY)),
    // Activities.
    Operation::get("/activities", "listTeamActivities", READ, |c| Box::pin(list_activities(c)), "Lists activities.")
        .named(&["filter.status", "filter.agentRole", "filter.campaignId", "filter.deliverableId", "filter.wakeReason", "limit", "cursor"]).answers(Answers::Pages(&ACTIVITY_SUMMARY)),
    Operation::get("/activities/{activityId}", "getActivity", READ, |c| Box::pin(get_activity(c)), "Shows an activity with its runs, comments, subtasks, sources and the earlier versions of its output.")
        .answers(Answers::Shape(&ACTIVITY_DETAIL)),
    Operation::get("/activities/{activityId}/output", "getActivityOutput", READ, |c| Box::pin(get_output(c)), "Returns the whole output of an activity; 422 while it has none.")
        .answers(Answers::Shape(&ACTIVITY_OUTPUT)),
    Operation::post("/activities/{activityId}/retry", "retryActivity", WRITE, |c| Box::pin(retry_activity(c)), "Runs a failed activity again. For administrators.")
        .takes(Takes::Nothing).success(202).answers(Answers::Shape(&RETRIED)),
    Operation::post("/activities/{activityId}/comments", "addActivityComment", WRITE, |c| Box::pin(add_comment(c)), "Comments on an activity, with mentions as @agent:role and @human:userId. The agent reads an intervention_note before its next step.")
        .takes(whole(&NEW_COMMENT)).answers(Answers::Shape(&ACTIVITY_COMMENT)),
    Operation::get("/activities/{activityId}/comments", "listActivityComments", READ, |c| Box::pin(list_comments(c)), "Lists the comments on an activity, oldest first.")
        .answers(Answers::Shape(&ACTIVITY_COMMENTS)),
    // Approvals.
    Operation::get("/approvals", "listApprovals", READ, |c| Box::pin(list_approvals(c)), "Lists approvals: the pending ones without `filter.status`.")
        .named(&["filter.status", "filter.type", "filter.riskLevel", "limit", "cursor"]).answers(Answers::Pages(&APPROVAL)),
    Operation::get("/approvals/stats", "getApprovalStats", READ, |c| Box::pin(approval_stats(c)), "Counts approvals: pending, of high risk, expiring within a day, resolved in the last seven days.")
        .answers(Answers::Shape(&APPROVAL_STATS)),
    Operation::get("/approvals/{approvalId}", "getApproval", READ, |c| Box::pin(get_approval(c)), "Shows an approval with its activities and their output.")
        .answers(Answers::Shape(&APPROVAL)),
    Operation::post("/approvals/{approvalId}/resolve", "resolveApproval", WRITE, |c| Box::pin(resolve_approval(c)), "Approves, rejects, or asks for a revision; the activities go on. For administrators.")
        .takes(whole(&RESOLUTION)).success(200).answers(Answers::Shape(&RESOLVED)),
    // Channels; the callback is in `connections`.
    Operation::get("/channels", "listChannels", READ, |c| Box::pin(list_channels(c)), "Lists the connections to publishing platforms.").answers(Answers::Shape(&CHANNELS)),
    Operation::ask("/channels/{platform}/connect", "connectChannel", WRITE, |c| Box::pin(connect_channel(c)), "Begins to connect a platform: send the person to `authUrl`. It comes back to `redirectUrl` with `channelId` or `error`.")
        .takes(whole(&CONNECT)).answers(Answers::Shape(&CONNECTING)),
    Operation::erase("/channels/{channelId}", "disconnectChannel", WRITE, |c| Box::pin(disconnect_channel(c)), "Revokes and removes the tokens of a channel, which stays as disconnected. For administrators.").success(204),
    Operation::get("/channels/{channelId}/health", "getChannelHealth", READ, |c| Box::pin(channel_health(c)), "Shows the health of a channel from stored facts; engagement is 0 without figures of the platform.")
        .answers(Answers::Shape(&CHANNEL_HEALTH)),
    // Leads.
    Operation::get("/leads", "listDashboardLeads", &[CrmRead], |c| Box::pin(list_leads(c)), "Lists leads; `search` finds words of names and mail addresses, the last one by its beginning.")
        .named(&["filter.status", "filter.source", "search", "limit", "cursor"]).answers(Answers::Pages(&LEAD)),
    Operation::post("/leads", "createDashboardLead", &[CrmWrite], |c| Box::pin(create_lead(c)), "Creates a lead.")
        .takes(whole(&NEW_LEAD)).shown_by(|c, w| Box::pin(lead_written(c, w))).answers(Answers::Shape(&LEAD)),
    Operation::get("/leads/imports/{importId}", "getLeadImport", &[CrmRead], |c| Box::pin(get_import(c)), "Shows the progress of an import, with the rows that were skipped and why.")
        .answers(Answers::Shape(&LEAD_IMPORT)),
    Operation::get("/leads/{leadId}", "getDashboardLead", &[CrmRead], |c| Box::pin(get_lead(c)), "Shows a lead with its timeline.")
        .answers(Answers::Shape(&LEAD_DETAIL)),
    Operation::patch("/leads/{leadId}", "updateDashboardLead", &[CrmWrite], |c| Box::pin(update_lead(c)), "Changes a lead; `score` replaces the computed score, null gives it back.")
        .takes(part(&LEAD_PATCH)).shown_by(|c, w| Box::pin(lead_written(c, w))).answers(Answers::Shape(&LEAD)),
    // Requests for content.
    Operation::get("/blog-requests", "listBlogRequests", READ, |c| Box::pin(list_blog_requests(c)), "Lists requests for blog posts.")
        .named(&["filter.status", "limit", "cursor"]).answers(Answers::Pages(&BLOG_REQUEST)),
    Operation::post("/blog-requests", "createBlogRequest", WRITE, |c| Box::pin(create_blog_request(c)), "Requests a blog post. Requests of administrators are approved at once, others by an approval; an approved one is produced in an active campaign whose period lacks a blog post.")
        .takes(whole(&NEW_BLOG_REQUEST)).shown_by(|c, w| Box::pin(request_created(c, w))).answers(Answers::Shape(&BLOG_REQUEST)),
    Operation::get("/social-requests", "listSocialRequests", READ, |c| Box::pin(list_social_requests(c)), "Lists requests for social posts.")
        .named(&["filter.status", "filter.platform", "limit", "cursor"]).answers(Answers::Pages(&SOCIAL_REQUEST)),
    Operation::post("/social-requests", "createSocialRequest", WRITE, |c| Box::pin(create_social_request(c)), "Requests a social post, under the same rules as a blog post.")
        .takes(whole(&NEW_SOCIAL_REQUEST)).shown_by(|c, w| Box::pin(request_created(c, w))).answers(Answers::Shape(&SOCIAL_REQUEST)),
    // Team.
    Operation::get("/team", "listTeam", READ, |c| Box::pin(list_team(c)), "Lists people and agents.")
        .named(&["filter.type", "filter.status", "filter.role"]).answers(Answers::Shape(&TEAM)),
    Operation::ask("/team/invite", "inviteUser", WRITE, |c| Box::pin(invite_user(c)), "Invites a person by a link that is valid for seven days and shown only once. For administrators.")
        .takes(whole(&INVITE)).success(201).answers(Answers::Shape(&INVITED)),
    Operation::amend("/team/users/{userId}", "updateUserRole", WRITE, |c| Box::pin(update_role(c)), "Changes the role of a person; the last owner keeps it. For administrators.")
        .takes(whole(&ROLE_PATCH)).answers(Answers::Shape(&PRINCIPAL)),
    Operation::erase("/team/users/{userId}", "removeUser", WRITE, |c| Box::pin(remove_user(c)), "Removes a person, who is inactive from then on; activities stay. For administrators.").success(204),
    Operation::get("/org-chart", "getOrgChart", READ, |c| Box::pin(org_chart(c)), "Shows people and agents with their reporting lines.").answers(Answers::Shape(&ORG_CHART)),
    // Agents.
    Operation::get("/agents", "listAgentConfigs", READ, |c| Box::pin(list_agents(c)), "Lists the agents with their settings.").answers(Answers::Shape(&AGENT_CONFIGS)),
    Operation::get("/agents/{agentRole}", "getAgentConfig", READ, |c| Box::pin(get_agent(c)), "Shows the settings of an agent; keys are redacted.").answers(Answers::Shape(&AGENT_DETAIL)),
    Operation::patch("/agents/{agentRole}", "updateAgentConfig", WRITE, |c| Box::pin(update_agent(c)), "Overrides settings of an agent. For administrators.")
        .takes(part(&AGENT_PATCH)).shown_by(|c, _| Box::pin(agent_updated(c))).answers(Answers::Shape(&AGENT_DETAIL)),
    Operation::ask("/agents/{agentRole}/test", "testAgent", WRITE, |c| Box::pin(test_agent(c)), "Checks that the model of an agent is configured and answers.")
        .takes(Takes::Nothing).answers(Answers::Shape(&TESTED)),
    // Skills; uploads are forms.
    Operation::get("/skills", "listTeamSkills", READ, |c| Box::pin(list_skills(c)), "Lists the skills of the team and those of the platform.")
        .named(&["filter.scope", "filter.agentRole"]).answers(Answers::Shape(&SKILLS)),
    Operation::delete("/skills/{skillId}", "deleteTeamSkill", WRITE, |c| Box::pin(delete_skill(c)), "Deletes a skill of the team.").success(204),
    // Spending.
    Operation::get("/analytics/spend", "getSpend", READ, |c| Box::pin(spending(c)), "Shows what the calls of models cost, by agent, model, campaign or type of deliverable, and by day. Dates go before `period`.")
        .named(&["period", "startDate", "endDate", "groupBy"]).answers(Answers::Shape(&SPEND)),
    Operation::get("/analytics/performance", "getPerformance", READ, |c| Box::pin(performance(c)), "Shows the goals of the active campaigns: what each deliverable has reached of its target in the current period.")
        .answers(Answers::Shape(&GOALS)),
    Operation::get("/paid-ads/campaigns", "listAdCampaigns", READ, |c| Box::pin(list_ad_campaigns(c)), "Lists campaigns of advertising platforms with their figures.")
        .named(&["limit", "cursor"]).answers(Answers::Pages(&AD_CAMPAIGN)),
    Operation::get("/paid-ads/search-terms", "listSearchTerms", READ, |c| Box::pin(list_search_terms(c)), "Lists search terms with their class and figures.")
        .named(&["filter.classification", "filter.campaignId", "limit", "cursor"]).answers(Answers::Pages(&SEARCH_TERM)),
    Operation::patch("/paid-ads/search-terms/{termId}/classify", "classifySearchTerm", WRITE, |c| Box::pin(classify_term(c)), "Overrides the class of a search term; later imports keep it.")
        .takes(whole(&CLASSIFY)).shown_by(|c, _| Box::pin(term_classified(c))).answers(Answers::Shape(&SEARCH_TERM)),
    // Reports.
    Operation::get("/reports", "listPerformanceReports", READ, |c| Box::pin(list_reports(c)), "Lists performance reports.")
        .named(&["filter.status", "filter.campaignId", "filter.type", "filter.startDate", "filter.endDate", "limit", "cursor"]).answers(Answers::Pages(&REPORT)),
    Operation::get("/reports/{reportId}", "getPerformanceReport", READ, |c| Box::pin(get_report(c)), "Shows a report with its Markdown.").answers(Answers::Shape(&REPORT_DETAIL)),
    // Chat; messages are streams.
    Operation::get("/chat/conversations", "listConversations", READ, |c| Box::pin(list_conversations(c)), "Lists the conversations of the caller, the latest first.").answers(Answers::Shape(&CONVERSATIONS)),
    Operation::get("/chat/conversations/{conversationId}", "getConversation", READ, |c| Box::pin(get_conversation(c)), "Shows a conversation of the caller.").answers(Answers::Shape(&CONVERSATION_DETAIL)),
    Operation::erase("/chat/conversations/{conversationId}", "deleteConversation", READ, |c| Box::pin(delete_conversation(c)), "Deletes a conversation of the caller.").answers(Answers::Shape(&DELETED)),
    // Integrations.
    Operation::get("/integrations", "listIntegrations", READ, |c| Box::pin(list_integrations(c)), "Lists the integrations by key; keys are masked.").answers(Answers::Shape(&INTEGRATION_LIST)),
    Operation::ask("/integrations", "createIntegration", WRITE, |c| Box::pin(create_integration(c)), "Adds an integration and verifies its key by a request to the service.")
        .takes(whole(&NEW_INTEGRATION)).success(201).answers(Answers::Shape(&INTEGRATION)),
    Operation::amend("/integrations/{integrationId}", "updateIntegration", WRITE, |c| Box::pin(update_integration(c)), "Changes an integration; new credentials are verified.")
        .takes(part(&INTEGRATION_PATCH)).answers(Answers::Shape(&INTEGRATION)),
    Operation::delete("/integrations/{integrationId}", "deleteIntegration", WRITE, |c| Box::pin(delete_integration(c)), "Deletes an integration with its credentials.").answers(Answers::Shape(&DELETED)),
    Operation::ask("/integrations/{integrationId}/test", "testIntegration", WRITE, |c| Box::pin(test_integration(c)), "Verifies the key of an integration by a request to the service.")
        .takes(Takes::Nothing).answers(Answers::Shape(&PROBED)),
    // Audit and logs.
    Operation::get("/audit-log", "listAuditLog", READ, |c| Box::pin(list_audit(c)), "Lists who changed what, the newest first: the records of areas that the caller may read.")
        .named(&["filter.entityType", "filter.entityId", "filter.userId", "filter.action", "filter.startDate", "filter.endDate", "limit", "cursor"]).answers(Answers::Pages(&AUDIT_ENTRY)),
    Operation::get("/logs", "listLogs", READ, |c| Box::pin(list_logs(c)), "Lists what agents, tools, approvals and budgets did, the newest first.")
        .named(&["filter.level", "filter.category", "filter.agentRole", "filter.activityId", "filter.startDate", "filter.endDate", "limit", "cursor"]).answers(Answers::Pages(&LOG_ENTRY)),
    // Recurring tasks.
    Operation::get("/recurring-tasks", "listRecurringTasks", READ, |c| Box::pin(list_recurring(c)), "Lists the recurring tasks.").answers(Answers::Shape(&RECURRING_TASKS)),
    Operation::patch("/recurring-tasks/{taskId}", "updateRecurringTask", WRITE, |c| Box::pin(update_recurring(c)), "Switches a recurring task on or off, and sets its variables.")
        .takes(part(&RECURRING_PATCH)).shown_by(|c, _| Box::pin(recurring_updated(c))).answers(Answers::Shape(&RECURRING_TASK)),
    Operation::post("/recurring-tasks/{taskId}/run", "runRecurringTask", WRITE, |c| Box::pin(run_recurring(c)), "Runs a recurring task now.")
        .takes(Takes::Nothing).success(202).answers(Answers::Shape(&RECURRING_RUN)),
];
