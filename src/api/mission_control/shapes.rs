//! The shapes of bodies and answers, in the names and types of the contract.

use crate::api::shape::{Fill, Shape, Ty, def, opt, req, req_null};

macro_rules! shape {
    ($(#[$meta:meta])* $variable:ident = $name:literal, $($field:expr),* $(,)?) => {
        pub(super) static $variable: Shape = Shape {
            name: $name,
            fields: &[$($field),*],
        };
    };
}

shape!(
    ACTIVITY_EVENT_READ = "ActivityEventRead",
    req("id", Ty::Uuid),
    req("event_type", Ty::Text),
    req_null("message", Ty::Text),
    req_null("agent_id", Ty::Uuid),
    req_null("task_id", Ty::Uuid),
    opt("board_id", Ty::Uuid),
    opt("route_name", Ty::Text),
    opt("route_params", Ty::TextMap),
    req("created_at", Ty::Time)
);
shape!(
    ACTIVITY_TASK_COMMENT_FEED_ITEM_READ = "ActivityTaskCommentFeedItemRead",
    req("id", Ty::Uuid),
    req("created_at", Ty::Time),
    req_null("message", Ty::Text),
    req_null("agent_id", Ty::Uuid),
    opt("agent_name", Ty::Text),
    opt("agent_role", Ty::Text),
    req("task_id", Ty::Uuid),
    req("task_title", Ty::Text),
    req("board_id", Ty::Uuid),
    req("board_name", Ty::Text)
);
shape!(
    AGENT_CREATE = "AgentCreate",
    opt("board_id", Ty::Uuid),
    req("name", Ty::NonBlank),
    def("status", Ty::Text, Fill::Text("provisioning")),
    opt("heartbeat_config", Ty::Map),
    opt("identity_profile", Ty::Map),
    opt("identity_template", Ty::Text),
    opt("soul_template", Ty::Text)
);
shape!(
    AGENT_HEALTH_STATUS_RESPONSE = "AgentHealthStatusResponse",
    req("ok", Ty::Flag),
    req("agent_id", Ty::Uuid),
    opt("board_id", Ty::Uuid),
    req("gateway_id", Ty::Uuid),
    req("status", Ty::Text),
    req("is_board_lead", Ty::Flag)
);
shape!(AGENT_HEARTBEAT = "AgentHeartbeat", opt("status", Ty::Text));
shape!(
    AGENT_HEARTBEAT_CREATE = "AgentHeartbeatCreate",
    opt("status", Ty::Text),
    req("name", Ty::NonBlank),
    opt("board_id", Ty::Uuid)
);
shape!(AGENT_NUDGE = "AgentNudge", req("message", Ty::NonBlank));
shape!(
    AGENT_READ = "AgentRead",
    opt("board_id", Ty::Uuid),
    req("name", Ty::NonBlank),
    def("status", Ty::Text, Fill::Text("provisioning")),
    opt("heartbeat_config", Ty::Map),
    opt("identity_profile", Ty::Map),
    opt("identity_template", Ty::Text),
    opt("soul_template", Ty::Text),
    req("id", Ty::Uuid),
    req("gateway_id", Ty::Uuid),
    def("is_board_lead", Ty::Flag, Fill::Flag(false)),
    def("is_gateway_main", Ty::Flag, Fill::Flag(false)),
    opt("openclaw_session_id", Ty::Text),
    opt("last_seen_at", Ty::Time),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    AGENT_UPDATE = "AgentUpdate",
    opt("board_id", Ty::Uuid),
    opt("is_gateway_main", Ty::Flag),
    opt("name", Ty::NonBlank),
    opt("status", Ty::Text),
    opt("heartbeat_config", Ty::Map),
    opt("identity_profile", Ty::Map),
    opt("identity_template", Ty::Text),
    opt("soul_template", Ty::Text)
);
shape!(
    APPROVAL_CREATE = "ApprovalCreate",
    req("action_type", Ty::Text),
    opt("task_id", Ty::Uuid),
    def("task_ids", Ty::List(&Ty::Uuid), Fill::List),
    opt("payload", Ty::Map),
    req("confidence", Ty::Number(0.0, 100.0)),
    opt("rubric_scores", Ty::IntegerMap),
    def(
        "status",
        Ty::OneOf(&["pending", "approved", "rejected"]),
        Fill::Text("pending")
    ),
    opt("agent_id", Ty::Uuid),
    opt("lead_reasoning", Ty::Text)
);
shape!(
    APPROVAL_READ = "ApprovalRead",
    req("action_type", Ty::Text),
    opt("task_id", Ty::Uuid),
    def("task_ids", Ty::List(&Ty::Uuid), Fill::List),
    opt("payload", Ty::Map),
    req("confidence", Ty::Number(0.0, 100.0)),
    opt("rubric_scores", Ty::IntegerMap),
    def(
        "status",
        Ty::OneOf(&["pending", "approved", "rejected"]),
        Fill::Text("pending")
    ),
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    def("task_titles", Ty::List(&Ty::Text), Fill::List),
    opt("agent_id", Ty::Uuid),
    req("created_at", Ty::Time),
    opt("resolved_at", Ty::Time)
);
shape!(
    APPROVAL_UPDATE = "ApprovalUpdate",
    opt("status", Ty::OneOf(&["pending", "approved", "rejected"]))
);
shape!(
    BOARD_CREATE = "BoardCreate",
    req("name", Ty::Text),
    req("slug", Ty::Text),
    req("description", Ty::Text),
    opt("gateway_id", Ty::Uuid),
    opt("board_group_id", Ty::Uuid),
    def("board_type", Ty::Text, Fill::Text("goal")),
    opt("objective", Ty::Text),
    opt("success_metrics", Ty::Map),
    opt("target_date", Ty::Time),
    def("goal_confirmed", Ty::Flag, Fill::Flag(false)),
    opt("goal_source", Ty::Text),
    def("require_approval_for_done", Ty::Flag, Fill::Flag(true)),
    def("require_review_before_done", Ty::Flag, Fill::Flag(false)),
    def("comment_required_for_review", Ty::Flag, Fill::Flag(false)),
    def(
        "block_status_changes_with_pending_approval",
        Ty::Flag,
        Fill::Flag(false)
    ),
    def("only_lead_can_change_status", Ty::Flag, Fill::Flag(false)),
    def("max_agents", Ty::Integer(0), Fill::Integer(1))
);
shape!(
    BOARD_GROUP_BOARD_SNAPSHOT = "BoardGroupBoardSnapshot",
    req("board", Ty::Of(&BOARD_READ)),
    def("task_counts", Ty::IntegerMap, Fill::Map),
    def(
        "tasks",
        Ty::List(&Ty::Of(&BOARD_GROUP_TASK_SUMMARY)),
        Fill::List
    )
);
shape!(
    BOARD_GROUP_CREATE = "BoardGroupCreate",
    req("name", Ty::Text),
    req("slug", Ty::Text),
    opt("description", Ty::Text)
);
shape!(
    BOARD_GROUP_HEARTBEAT_APPLY = "BoardGroupHeartbeatApply",
    req("every", Ty::Text),
    def("include_board_leads", Ty::Flag, Fill::Flag(false))
);
shape!(
    BOARD_GROUP_HEARTBEAT_APPLY_RESULT = "BoardGroupHeartbeatApplyResult",
    req("board_group_id", Ty::Uuid),
    req("requested", Ty::Map),
    req("updated_agent_ids", Ty::List(&Ty::Uuid)),
    req("failed_agent_ids", Ty::List(&Ty::Uuid))
);
shape!(
    BOARD_GROUP_MEMORY_CREATE = "BoardGroupMemoryCreate",
    req("content", Ty::NonBlank),
    opt("tags", Ty::List(&Ty::Text)),
    opt("source", Ty::Text)
);
shape!(
    BOARD_GROUP_MEMORY_READ = "BoardGroupMemoryRead",
    req("id", Ty::Uuid),
    req("board_group_id", Ty::Uuid),
    req("content", Ty::Text),
    opt("tags", Ty::List(&Ty::Text)),
    opt("source", Ty::Text),
    def("is_chat", Ty::Flag, Fill::Flag(false)),
    req("created_at", Ty::Time)
);
shape!(
    BOARD_GROUP_READ = "BoardGroupRead",
    req("name", Ty::Text),
    req("slug", Ty::Text),
    opt("description", Ty::Text),
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    BOARD_GROUP_SNAPSHOT = "BoardGroupSnapshot",
    opt("group", Ty::Of(&BOARD_GROUP_READ)),
    def(
        "boards",
        Ty::List(&Ty::Of(&BOARD_GROUP_BOARD_SNAPSHOT)),
        Fill::List
    )
);
shape!(
    BOARD_GROUP_TASK_SUMMARY = "BoardGroupTaskSummary",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("board_name", Ty::Text),
    req("title", Ty::Text),
    req("status", Ty::Text),
    req("priority", Ty::Text),
    opt("assigned_agent_id", Ty::Uuid),
    opt("assignee", Ty::Text),
    opt("due_at", Ty::Time),
    opt("in_progress_at", Ty::Time),
    def("tags", Ty::List(&Ty::Of(&TAG_REF)), Fill::List),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    BOARD_GROUP_UPDATE = "BoardGroupUpdate",
    opt("name", Ty::Text),
    opt("slug", Ty::Text),
    opt("description", Ty::Text)
);
shape!(
    BOARD_MEMORY_CREATE = "BoardMemoryCreate",
    req("content", Ty::NonBlank),
    opt("tags", Ty::List(&Ty::Text)),
    opt("source", Ty::Text)
);
shape!(
    BOARD_MEMORY_READ = "BoardMemoryRead",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("content", Ty::Text),
    opt("tags", Ty::List(&Ty::Text)),
    opt("source", Ty::Text),
    def("is_chat", Ty::Flag, Fill::Flag(false)),
    req("created_at", Ty::Time)
);
shape!(
    BOARD_ONBOARDING_AGENT_COMPLETE = "BoardOnboardingAgentComplete",
    req("board_type", Ty::Text),
    opt("objective", Ty::Text),
    opt("success_metrics", Ty::Map),
    opt("target_date", Ty::Time),
    req("status", Ty::OneOf(&["complete"])),
    opt("user_profile", Ty::Of(&BOARD_ONBOARDING_USER_PROFILE)),
    opt("lead_agent", Ty::Of(&BOARD_ONBOARDING_LEAD_AGENT_DRAFT))
);
shape!(
    BOARD_ONBOARDING_AGENT_QUESTION = "BoardOnboardingAgentQuestion",
    req("question", Ty::NonBlank),
    req(
        "options",
        Ty::List(&Ty::Of(&BOARD_ONBOARDING_QUESTION_OPTION))
    )
);
shape!(
    BOARD_ONBOARDING_ANSWER = "BoardOnboardingAnswer",
    req("answer", Ty::NonBlank),
    opt("other_text", Ty::Text)
);
shape!(
    BOARD_ONBOARDING_CONFIRM = "BoardOnboardingConfirm",
    req("board_type", Ty::Text),
    opt("objective", Ty::Text),
    opt("success_metrics", Ty::Map),
    opt("target_date", Ty::Time)
);
shape!(
    BOARD_ONBOARDING_LEAD_AGENT_DRAFT = "BoardOnboardingLeadAgentDraft",
    opt("name", Ty::NonBlank),
    opt("identity_profile", Ty::TextMap),
    opt(
        "autonomy_level",
        Ty::OneOf(&["ask_first", "balanced", "autonomous"])
    ),
    opt("verbosity", Ty::OneOf(&["concise", "balanced", "detailed"])),
    opt(
        "output_format",
        Ty::OneOf(&["bullets", "mixed", "narrative"])
    ),
    opt(
        "update_cadence",
        Ty::OneOf(&["asap", "hourly", "daily", "weekly"])
    ),
    opt("custom_instructions", Ty::Text)
);
shape!(
    BOARD_ONBOARDING_QUESTION_OPTION = "BoardOnboardingQuestionOption",
    req("id", Ty::NonBlank),
    req("label", Ty::NonBlank)
);
shape!(
    BOARD_ONBOARDING_READ = "BoardOnboardingRead",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("session_key", Ty::Text),
    req("status", Ty::Text),
    opt("messages", Ty::List(&Ty::Map)),
    opt("draft_goal", Ty::Of(&BOARD_ONBOARDING_AGENT_COMPLETE)),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(BOARD_ONBOARDING_START = "BoardOnboardingStart",);
shape!(
    BOARD_ONBOARDING_USER_PROFILE = "BoardOnboardingUserProfile",
    opt("preferred_name", Ty::Text),
    opt("pronouns", Ty::Text),
    opt("timezone", Ty::Text),
    opt("notes", Ty::Text),
    opt("context", Ty::Text)
);
shape!(
    BOARD_READ = "BoardRead",
    req("name", Ty::Text),
    req("slug", Ty::Text),
    req("description", Ty::Text),
    opt("gateway_id", Ty::Uuid),
    opt("board_group_id", Ty::Uuid),
    def("board_type", Ty::Text, Fill::Text("goal")),
    opt("objective", Ty::Text),
    opt("success_metrics", Ty::Map),
    opt("target_date", Ty::Time),
    def("goal_confirmed", Ty::Flag, Fill::Flag(false)),
    opt("goal_source", Ty::Text),
    def("require_approval_for_done", Ty::Flag, Fill::Flag(true)),
    def("require_review_before_done", Ty::Flag, Fill::Flag(false)),
    def("comment_required_for_review", Ty::Flag, Fill::Flag(false)),
    def(
        "block_status_changes_with_pending_approval",
        Ty::Flag,
        Fill::Flag(false)
    ),
    def("only_lead_can_change_status", Ty::Flag, Fill::Flag(false)),
    def("max_agents", Ty::Integer(0), Fill::Integer(1)),
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    BOARD_SNAPSHOT = "BoardSnapshot",
    req("board", Ty::Of(&BOARD_READ)),
    req("tasks", Ty::List(&Ty::Of(&TASK_CARD_READ))),
    req("agents", Ty::List(&Ty::Of(&AGENT_READ))),
    req("approvals", Ty::List(&Ty::Of(&APPROVAL_READ))),
    req("chat_messages", Ty::List(&Ty::Of(&BOARD_MEMORY_READ))),
    def(
        "pending_approvals_count",
        Ty::Integer(i64::MIN),
        Fill::Integer(0)
    )
);
shape!(
    BOARD_UPDATE = "BoardUpdate",
    opt("name", Ty::Text),
    opt("slug", Ty::Text),
    opt("description", Ty::Text),
    opt("gateway_id", Ty::Uuid),
    opt("board_group_id", Ty::Uuid),
    opt("board_type", Ty::Text),
    opt("objective", Ty::Text),
    opt("success_metrics", Ty::Map),
    opt("target_date", Ty::Time),
    opt("goal_confirmed", Ty::Flag),
    opt("goal_source", Ty::Text),
    opt("require_approval_for_done", Ty::Flag),
    opt("require_review_before_done", Ty::Flag),
    opt("comment_required_for_review", Ty::Flag),
    opt("block_status_changes_with_pending_approval", Ty::Flag),
    opt("only_lead_can_change_status", Ty::Flag),
    opt("max_agents", Ty::Integer(0))
);
shape!(
    BOARD_WEBHOOK_CREATE = "BoardWebhookCreate",
    req("description", Ty::NonBlank),
    def("enabled", Ty::Flag, Fill::Flag(true)),
    opt("agent_id", Ty::Uuid),
    opt("secret", Ty::Text),
    opt("signature_header", Ty::Text)
);
shape!(
    BOARD_WEBHOOK_PAYLOAD_READ = "BoardWebhookPayloadRead",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("webhook_id", Ty::Uuid),
    opt("payload", Ty::Any),
    opt("headers", Ty::TextMap),
    opt("source_ip", Ty::Text),
    opt("content_type", Ty::Text),
    req("received_at", Ty::Time)
);
shape!(
    BOARD_WEBHOOK_READ = "BoardWebhookRead",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    opt("agent_id", Ty::Uuid),
    req("description", Ty::Text),
    req("enabled", Ty::Flag),
    def("has_secret", Ty::Flag, Fill::Flag(false)),
    opt("signature_header", Ty::Text),
    req("endpoint_path", Ty::Text),
    opt("endpoint_url", Ty::Text),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    BOARD_WEBHOOK_UPDATE = "BoardWebhookUpdate",
    opt("description", Ty::NonBlank),
    opt("enabled", Ty::Flag),
    opt("agent_id", Ty::Uuid),
    opt("secret", Ty::Text),
    opt("signature_header", Ty::Text)
);
shape!(
    DASHBOARD_KPIS = "DashboardKpis",
    req("active_agents", Ty::Integer(i64::MIN)),
    req("tasks_in_progress", Ty::Integer(i64::MIN)),
    req("inbox_tasks", Ty::Integer(i64::MIN)),
    req("in_progress_tasks", Ty::Integer(i64::MIN)),
    req("review_tasks", Ty::Integer(i64::MIN)),
    req("done_tasks", Ty::Integer(i64::MIN)),
    req("error_rate_pct", Ty::Float),
    req_null("median_cycle_time_hours_7d", Ty::Float)
);
shape!(
    DASHBOARD_METRICS = "DashboardMetrics",
    req(
        "range",
        Ty::OneOf(&["24h", "3d", "7d", "14d", "1m", "3m", "6m", "1y"])
    ),
    req("generated_at", Ty::Time),
    req("kpis", Ty::Of(&DASHBOARD_KPIS)),
    req("throughput", Ty::Of(&DASHBOARD_SERIES_SET)),
    req("cycle_time", Ty::Of(&DASHBOARD_SERIES_SET)),
    req("error_rate", Ty::Of(&DASHBOARD_SERIES_SET)),
    req("wip", Ty::Of(&DASHBOARD_WIP_SERIES_SET)),
    req("pending_approvals", Ty::Of(&DASHBOARD_PENDING_APPROVALS))
);
shape!(
    DASHBOARD_PENDING_APPROVAL = "DashboardPendingApproval",
    req("approval_id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("board_name", Ty::Text),
    req("action_type", Ty::Text),
    req("confidence", Ty::Float),
    req("created_at", Ty::Time),
    opt("task_title", Ty::Text)
);
shape!(
    DASHBOARD_PENDING_APPROVALS = "DashboardPendingApprovals",
    req("total", Ty::Integer(i64::MIN)),
    req("items", Ty::List(&Ty::Of(&DASHBOARD_PENDING_APPROVAL)))
);
shape!(
    DASHBOARD_RANGE_SERIES = "DashboardRangeSeries",
    req(
        "range",
        Ty::OneOf(&["24h", "3d", "7d", "14d", "1m", "3m", "6m", "1y"])
    ),
    req("bucket", Ty::OneOf(&["hour", "day", "week", "month"])),
    req("points", Ty::List(&Ty::Of(&DASHBOARD_SERIES_POINT)))
);
shape!(
    DASHBOARD_SERIES_POINT = "DashboardSeriesPoint",
    req("period", Ty::Time),
    req("value", Ty::Float)
);
shape!(
    DASHBOARD_SERIES_SET = "DashboardSeriesSet",
    req("primary", Ty::Of(&DASHBOARD_RANGE_SERIES)),
    req("comparison", Ty::Of(&DASHBOARD_RANGE_SERIES))
);
shape!(
    DASHBOARD_WIP_POINT = "DashboardWipPoint",
    req("period", Ty::Time),
    req("inbox", Ty::Integer(i64::MIN)),
    req("in_progress", Ty::Integer(i64::MIN)),
    req("review", Ty::Integer(i64::MIN)),
    req("done", Ty::Integer(i64::MIN))
);
shape!(
    DASHBOARD_WIP_RANGE_SERIES = "DashboardWipRangeSeries",
    req(
        "range",
        Ty::OneOf(&["24h", "3d", "7d", "14d", "1m", "3m", "6m", "1y"])
    ),
    req("bucket", Ty::OneOf(&["hour", "day", "week", "month"])),
    req("points", Ty::List(&Ty::Of(&DASHBOARD_WIP_POINT)))
);
shape!(
    DASHBOARD_WIP_SERIES_SET = "DashboardWipSeriesSet",
    req("primary", Ty::Of(&DASHBOARD_WIP_RANGE_SERIES)),
    req("comparison", Ty::Of(&DASHBOARD_WIP_RANGE_SERIES))
);
shape!(
    GATEWAY_COMMANDS_RESPONSE = "GatewayCommandsResponse",
    req("protocol_version", Ty::Integer(i64::MIN)),
    req("methods", Ty::List(&Ty::Text)),
    req("events", Ty::List(&Ty::Text))
);
shape!(
    GATEWAY_CREATE = "GatewayCreate",
    req("name", Ty::Text),
    req("url", Ty::Text),
    req("workspace_root", Ty::Text),
    def("allow_insecure_tls", Ty::Flag, Fill::Flag(false)),
    def("disable_device_pairing", Ty::Flag, Fill::Flag(false)),
    opt("token", Ty::Text)
);
shape!(
    GATEWAY_LEAD_BROADCAST_BOARD_RESULT = "GatewayLeadBroadcastBoardResult",
    req("board_id", Ty::Uuid),
    opt("lead_agent_id", Ty::Uuid),
    opt("lead_agent_name", Ty::Text),
    def("ok", Ty::Flag, Fill::Flag(false)),
    opt("error", Ty::Text)
);
shape!(
    GATEWAY_LEAD_BROADCAST_REQUEST = "GatewayLeadBroadcastRequest",
    def(
        "kind",
        Ty::OneOf(&["question", "handoff"]),
        Fill::Text("question")
    ),
    opt("correlation_id", Ty::Text),
    req("content", Ty::NonBlank),
    opt("board_ids", Ty::List(&Ty::Uuid)),
    def("reply_tags", Ty::List(&Ty::Text), Fill::List),
    opt("reply_source", Ty::Text).or(Fill::Text("lead_to_gateway_main"))
);
shape!(
    GATEWAY_LEAD_BROADCAST_RESPONSE = "GatewayLeadBroadcastResponse",
    def("ok", Ty::Flag, Fill::Flag(true)),
    def("sent", Ty::Integer(i64::MIN), Fill::Integer(0)),
    def("failed", Ty::Integer(i64::MIN), Fill::Integer(0)),
    def(
        "results",
        Ty::List(&Ty::Of(&GATEWAY_LEAD_BROADCAST_BOARD_RESULT)),
        Fill::List
    )
);
shape!(
    GATEWAY_LEAD_MESSAGE_REQUEST = "GatewayLeadMessageRequest",
    def(
        "kind",
        Ty::OneOf(&["question", "handoff"]),
        Fill::Text("question")
    ),
    opt("correlation_id", Ty::Text),
    req("content", Ty::NonBlank),
    def("reply_tags", Ty::List(&Ty::Text), Fill::List),
    opt("reply_source", Ty::Text).or(Fill::Text("lead_to_gateway_main"))
);
shape!(
    GATEWAY_LEAD_MESSAGE_RESPONSE = "GatewayLeadMessageResponse",
    def("ok", Ty::Flag, Fill::Flag(true)),
    req("board_id", Ty::Uuid),
    opt("lead_agent_id", Ty::Uuid),
    opt("lead_agent_name", Ty::Text),
    def("lead_created", Ty::Flag, Fill::Flag(false))
);
shape!(
    GATEWAY_MAIN_ASK_USER_REQUEST = "GatewayMainAskUserRequest",
    opt("correlation_id", Ty::Text),
    req("content", Ty::NonBlank),
    opt("preferred_channel", Ty::Text),
    def("reply_tags", Ty::List(&Ty::Text), Fill::List),
    opt("reply_source", Ty::Text).or(Fill::Text("user_via_gateway_main"))
);
shape!(
    GATEWAY_MAIN_ASK_USER_RESPONSE = "GatewayMainAskUserResponse",
    def("ok", Ty::Flag, Fill::Flag(true)),
    req("board_id", Ty::Uuid),
    opt("main_agent_id", Ty::Uuid),
    opt("main_agent_name", Ty::Text)
);
shape!(
    GATEWAY_READ = "GatewayRead",
    req("name", Ty::Text),
    req("url", Ty::Text),
    req("workspace_root", Ty::Text),
    def("allow_insecure_tls", Ty::Flag, Fill::Flag(false)),
    def("disable_device_pairing", Ty::Flag, Fill::Flag(false)),
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    opt("token", Ty::Text),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    GATEWAY_SESSION_HISTORY_RESPONSE = "GatewaySessionHistoryResponse",
    req("history", Ty::List(&Ty::Any))
);
shape!(
    GATEWAY_SESSION_MESSAGE_REQUEST = "GatewaySessionMessageRequest",
    req("content", Ty::NonBlank)
);
shape!(
    GATEWAY_SESSION_RESPONSE = "GatewaySessionResponse",
    req("session", Ty::Any)
);
shape!(
    GATEWAY_SESSIONS_RESPONSE = "GatewaySessionsResponse",
    req("sessions", Ty::List(&Ty::Any)),
    opt("main_session", Ty::Any)
);
shape!(
    GATEWAY_TEMPLATES_SYNC_ERROR = "GatewayTemplatesSyncError",
    opt("agent_id", Ty::Uuid),
    opt("agent_name", Ty::Text),
    opt("board_id", Ty::Uuid),
    req("message", Ty::Text)
);
shape!(
    GATEWAY_TEMPLATES_SYNC_RESULT = "GatewayTemplatesSyncResult",
    req("gateway_id", Ty::Uuid),
    req("include_main", Ty::Flag),
    req("reset_sessions", Ty::Flag),
    req("agents_updated", Ty::Integer(i64::MIN)),
    req("agents_skipped", Ty::Integer(i64::MIN)),
    req("main_updated", Ty::Flag),
    def(
        "errors",
        Ty::List(&Ty::Of(&GATEWAY_TEMPLATES_SYNC_ERROR)),
        Fill::List
    )
);
shape!(
    GATEWAY_UPDATE = "GatewayUpdate",
    opt("name", Ty::Text),
    opt("url", Ty::Text),
    opt("token", Ty::Text),
    opt("workspace_root", Ty::Text),
    opt("allow_insecure_tls", Ty::Flag),
    opt("disable_device_pairing", Ty::Flag)
);
shape!(
    GATEWAYS_STATUS_RESPONSE = "GatewaysStatusResponse",
    req("connected", Ty::Flag),
    req("gateway_url", Ty::Text),
    opt("sessions_count", Ty::Integer(i64::MIN)),
    opt("sessions", Ty::List(&Ty::Any)),
    opt("main_session", Ty::Any),
    opt("main_session_error", Ty::Text),
    opt("error", Ty::Text)
);
shape!(
    MARKETPLACE_SKILL_ACTION_RESPONSE = "MarketplaceSkillActionResponse",
    def("ok", Ty::Flag, Fill::Flag(true)),
    req("skill_id", Ty::Uuid),
    req("gateway_id", Ty::Uuid),
    req("installed", Ty::Flag)
);
shape!(
    MARKETPLACE_SKILL_CARD_READ = "MarketplaceSkillCardRead",
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("name", Ty::Text),
    opt("description", Ty::Text),
    opt("category", Ty::Text),
    opt("risk", Ty::Text),
    opt("source", Ty::Text),
    req("source_url", Ty::Text),
    def("metadata", Ty::Map, Fill::Map),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time),
    req("installed", Ty::Flag),
    opt("installed_at", Ty::Time)
);
shape!(
    MARKETPLACE_SKILL_CREATE = "MarketplaceSkillCreate",
    req("source_url", Ty::Uri),
    opt("name", Ty::NonBlank),
    opt("description", Ty::Text)
);
shape!(
    MARKETPLACE_SKILL_READ = "MarketplaceSkillRead",
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("name", Ty::Text),
    opt("description", Ty::Text),
    opt("category", Ty::Text),
    opt("risk", Ty::Text),
    opt("source", Ty::Text),
    req("source_url", Ty::Text),
    def("metadata", Ty::Map, Fill::Map),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    OK_RESPONSE = "OkResponse",
    def("ok", Ty::Flag, Fill::Flag(true))
);
shape!(
    ORGANIZATION_ACTIVE_UPDATE = "OrganizationActiveUpdate",
    req("organization_id", Ty::Uuid)
);
shape!(
    ORGANIZATION_BOARD_ACCESS_READ = "OrganizationBoardAccessRead",
    req("id", Ty::Uuid),
    req("board_id", Ty::Uuid),
    req("can_read", Ty::Flag),
    req("can_write", Ty::Flag),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    ORGANIZATION_BOARD_ACCESS_SPEC = "OrganizationBoardAccessSpec",
    req("board_id", Ty::Uuid),
    def("can_read", Ty::Flag, Fill::Flag(true)),
    def("can_write", Ty::Flag, Fill::Flag(false))
);
shape!(
    ORGANIZATION_CREATE = "OrganizationCreate",
    req("name", Ty::Text)
);
shape!(
    ORGANIZATION_INVITE_ACCEPT = "OrganizationInviteAccept",
    req("token", Ty::Text)
);
shape!(
    ORGANIZATION_INVITE_CREATE = "OrganizationInviteCreate",
    req("invited_email", Ty::Text),
    def("role", Ty::Text, Fill::Text("member")),
    def("all_boards_read", Ty::Flag, Fill::Flag(false)),
    def("all_boards_write", Ty::Flag, Fill::Flag(false)),
    def(
        "board_access",
        Ty::List(&Ty::Of(&ORGANIZATION_BOARD_ACCESS_SPEC)),
        Fill::List
    )
);
shape!(
    ORGANIZATION_INVITE_READ = "OrganizationInviteRead",
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("invited_email", Ty::Text),
    req("role", Ty::Text),
    req("all_boards_read", Ty::Flag),
    req("all_boards_write", Ty::Flag),
    req("token", Ty::Text),
    opt("created_by_user_id", Ty::Uuid),
    opt("accepted_by_user_id", Ty::Uuid),
    opt("accepted_at", Ty::Time),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    ORGANIZATION_LIST_ITEM = "OrganizationListItem",
    req("id", Ty::Uuid),
    req("name", Ty::Text),
    req("role", Ty::Text),
    req("is_active", Ty::Flag)
);
shape!(
    ORGANIZATION_MEMBER_ACCESS_UPDATE = "OrganizationMemberAccessUpdate",
    def("all_boards_read", Ty::Flag, Fill::Flag(false)),
    def("all_boards_write", Ty::Flag, Fill::Flag(false)),
    def(
        "board_access",
        Ty::List(&Ty::Of(&ORGANIZATION_BOARD_ACCESS_SPEC)),
        Fill::List
    )
);
shape!(
    ORGANIZATION_MEMBER_READ = "OrganizationMemberRead",
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("user_id", Ty::Uuid),
    req("role", Ty::Text),
    req("all_boards_read", Ty::Flag),
    req("all_boards_write", Ty::Flag),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time),
    opt("user", Ty::Of(&ORGANIZATION_USER_READ)),
    def(
        "board_access",
        Ty::List(&Ty::Of(&ORGANIZATION_BOARD_ACCESS_READ)),
        Fill::List
    )
);
shape!(
    ORGANIZATION_MEMBER_UPDATE = "OrganizationMemberUpdate",
    opt("role", Ty::Text)
);
shape!(
    ORGANIZATION_READ = "OrganizationRead",
    req("id", Ty::Uuid),
    req("name", Ty::Text),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    ORGANIZATION_USER_READ = "OrganizationUserRead",
    req("id", Ty::Uuid),
    opt("email", Ty::Text),
    opt("name", Ty::Text),
    opt("preferred_name", Ty::Text)
);
shape!(
    SKILL_PACK_CREATE = "SkillPackCreate",
    req("source_url", Ty::Uri),
    opt("name", Ty::NonBlank),
    opt("description", Ty::Text),
    def("branch", Ty::Text, Fill::Text("main")),
    def("metadata", Ty::Map, Fill::Map)
);
shape!(
    SKILL_PACK_READ = "SkillPackRead",
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    req("name", Ty::Text),
    opt("description", Ty::Text),
    req("source_url", Ty::Text),
    req("branch", Ty::Text),
    def("metadata", Ty::Map, Fill::Map),
    def("skill_count", Ty::Integer(i64::MIN), Fill::Integer(0)),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    SKILL_PACK_SYNC_RESPONSE = "SkillPackSyncResponse",
    def("ok", Ty::Flag, Fill::Flag(true)),
    req("pack_id", Ty::Uuid),
    req("synced", Ty::Integer(i64::MIN)),
    req("created", Ty::Integer(i64::MIN)),
    req("updated", Ty::Integer(i64::MIN)),
    def("warnings", Ty::List(&Ty::Text), Fill::List)
);
shape!(
    SOUL_UPDATE_REQUEST = "SoulUpdateRequest",
    req("content", Ty::Text),
    opt("source_url", Ty::Text),
    opt("reason", Ty::Text)
);
shape!(
    SOULS_DIRECTORY_MARKDOWN_RESPONSE = "SoulsDirectoryMarkdownResponse",
    req("handle", Ty::Text),
    req("slug", Ty::Text),
    req("content", Ty::Text)
);
shape!(
    SOULS_DIRECTORY_SEARCH_RESPONSE = "SoulsDirectorySearchResponse",
    req("items", Ty::List(&Ty::Of(&SOULS_DIRECTORY_SOUL_REF)))
);
shape!(
    SOULS_DIRECTORY_SOUL_REF = "SoulsDirectorySoulRef",
    req("handle", Ty::Text),
    req("slug", Ty::Text),
    req("page_url", Ty::Text),
    req("raw_md_url", Ty::Text)
);
shape!(
    TAG_CREATE = "TagCreate",
    req("name", Ty::NonBlank),
    opt("slug", Ty::Text),
    def("color", Ty::Text, Fill::Text("9e9e9e")),
    opt("description", Ty::Text)
);
shape!(
    TAG_READ = "TagRead",
    req("name", Ty::Text),
    req("slug", Ty::Text),
    def("color", Ty::Text, Fill::Text("9e9e9e")),
    opt("description", Ty::Text),
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    def("task_count", Ty::Integer(i64::MIN), Fill::Integer(0)),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    TAG_REF = "TagRef",
    req("id", Ty::Uuid),
    req("name", Ty::Text),
    req("slug", Ty::Text),
    req("color", Ty::Text)
);
shape!(
    TAG_UPDATE = "TagUpdate",
    opt("name", Ty::NonBlank),
    opt("slug", Ty::Text),
    opt("color", Ty::Text),
    opt("description", Ty::Text)
);
shape!(
    TASK_CARD_READ = "TaskCardRead",
    req("title", Ty::Text),
    opt("description", Ty::Text),
    def(
        "status",
        Ty::OneOf(&["inbox", "in_progress", "review", "done"]),
        Fill::Text("inbox")
    ),
    def("priority", Ty::Text, Fill::Text("medium")),
    opt("due_at", Ty::Time),
    opt("assigned_agent_id", Ty::Uuid),
    def("depends_on_task_ids", Ty::List(&Ty::Uuid), Fill::List),
    def("tag_ids", Ty::List(&Ty::Uuid), Fill::List),
    req("id", Ty::Uuid),
    req_null("board_id", Ty::Uuid),
    req_null("created_by_user_id", Ty::Uuid),
    req_null("in_progress_at", Ty::Time),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time),
    def("blocked_by_task_ids", Ty::List(&Ty::Uuid), Fill::List),
    def("is_blocked", Ty::Flag, Fill::Flag(false)),
    def("tags", Ty::List(&Ty::Of(&TAG_REF)), Fill::List),
    opt("custom_field_values", Ty::Map),
    opt("assignee", Ty::Text),
    def("approvals_count", Ty::Integer(i64::MIN), Fill::Integer(0)),
    def(
        "approvals_pending_count",
        Ty::Integer(i64::MIN),
        Fill::Integer(0)
    )
);
shape!(
    TASK_COMMENT_CREATE = "TaskCommentCreate",
    req("message", Ty::NonBlank)
);
shape!(
    TASK_COMMENT_READ = "TaskCommentRead",
    req("id", Ty::Uuid),
    req_null("message", Ty::Text),
    req_null("agent_id", Ty::Uuid),
    req_null("task_id", Ty::Uuid),
    req("created_at", Ty::Time)
);
shape!(
    TASK_CREATE = "TaskCreate",
    req("title", Ty::Text),
    opt("description", Ty::Text),
    def(
        "status",
        Ty::OneOf(&["inbox", "in_progress", "review", "done"]),
        Fill::Text("inbox")
    ),
    def("priority", Ty::Text, Fill::Text("medium")),
    opt("due_at", Ty::Time),
    opt("assigned_agent_id", Ty::Uuid),
    def("depends_on_task_ids", Ty::List(&Ty::Uuid), Fill::List),
    def("tag_ids", Ty::List(&Ty::Uuid), Fill::List),
    opt("created_by_user_id", Ty::Uuid),
    def("custom_field_values", Ty::Map, Fill::Map)
);
shape!(
    TASK_CUSTOM_FIELD_DEFINITION_CREATE = "TaskCustomFieldDefinitionCreate",
    req("field_key", Ty::NonBlank),
    opt("label", Ty::NonBlank),
    def(
        "field_type",
        Ty::OneOf(&[
            "text",
            "text_long",
            "integer",
            "decimal",
            "boolean",
            "date",
            "date_time",
            "url",
            "json"
        ]),
        Fill::Text("text")
    ),
    def(
        "ui_visibility",
        Ty::OneOf(&["always", "if_set", "hidden"]),
        Fill::Text("always")
    ),
    opt("validation_regex", Ty::Text),
    opt("description", Ty::Text),
    def("required", Ty::Flag, Fill::Flag(false)),
    opt("default_value", Ty::Any),
    req("board_ids", Ty::List(&Ty::Uuid))
);
shape!(
    TASK_CUSTOM_FIELD_DEFINITION_READ = "TaskCustomFieldDefinitionRead",
    req("field_key", Ty::Text),
    req("label", Ty::Text),
    req(
        "field_type",
        Ty::OneOf(&[
            "text",
            "text_long",
            "integer",
            "decimal",
            "boolean",
            "date",
            "date_time",
            "url",
            "json"
        ])
    ),
    req("ui_visibility", Ty::OneOf(&["always", "if_set", "hidden"])),
    opt("validation_regex", Ty::Text),
    opt("description", Ty::Text),
    def("required", Ty::Flag, Fill::Flag(false)),
    opt("default_value", Ty::Any),
    req("id", Ty::Uuid),
    req("organization_id", Ty::Uuid),
    def("board_ids", Ty::List(&Ty::Uuid), Fill::List),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time)
);
shape!(
    TASK_CUSTOM_FIELD_DEFINITION_UPDATE = "TaskCustomFieldDefinitionUpdate",
    opt("label", Ty::NonBlank),
    opt(
        "field_type",
        Ty::OneOf(&[
            "text",
            "text_long",
            "integer",
            "decimal",
            "boolean",
            "date",
            "date_time",
            "url",
            "json"
        ])
    ),
    opt("ui_visibility", Ty::OneOf(&["always", "if_set", "hidden"])),
    opt("validation_regex", Ty::Text),
    opt("description", Ty::Text),
    opt("required", Ty::Flag),
    opt("default_value", Ty::Any),
    opt("board_ids", Ty::List(&Ty::Uuid))
);
shape!(
    TASK_READ = "TaskRead",
    req("title", Ty::Text),
    opt("description", Ty::Text),
    def(
        "status",
        Ty::OneOf(&["inbox", "in_progress", "review", "done"]),
        Fill::Text("inbox")
    ),
    def("priority", Ty::Text, Fill::Text("medium")),
    opt("due_at", Ty::Time),
    opt("assigned_agent_id", Ty::Uuid),
    def("depends_on_task_ids", Ty::List(&Ty::Uuid), Fill::List),
    def("tag_ids", Ty::List(&Ty::Uuid), Fill::List),
    req("id", Ty::Uuid),
    req_null("board_id", Ty::Uuid),
    req_null("created_by_user_id", Ty::Uuid),
    req_null("in_progress_at", Ty::Time),
    req("created_at", Ty::Time),
    req("updated_at", Ty::Time),
    def("blocked_by_task_ids", Ty::List(&Ty::Uuid), Fill::List),
    def("is_blocked", Ty::Flag, Fill::Flag(false)),
    def("tags", Ty::List(&Ty::Of(&TAG_REF)), Fill::List),
    opt("custom_field_values", Ty::Map)
);
shape!(
    TASK_UPDATE = "TaskUpdate",
    opt("title", Ty::Text),
    opt("description", Ty::Text),
    opt(
        "status",
        Ty::OneOf(&["inbox", "in_progress", "review", "done"])
    ),
    opt("priority", Ty::Text),
    opt("due_at", Ty::Time),
    opt("assigned_agent_id", Ty::Uuid),
    opt("depends_on_task_ids", Ty::List(&Ty::Uuid)),
    opt("tag_ids", Ty::List(&Ty::Uuid)),
    opt("custom_field_values", Ty::Map),
    opt("comment", Ty::NonBlank)
);
shape!(
    USER_READ = "UserRead",
    req("clerk_user_id", Ty::Text),
    opt("email", Ty::Text),
    opt("name", Ty::Text),
    opt("preferred_name", Ty::Text),
    opt("pronouns", Ty::Text),
    opt("timezone", Ty::Text),
    opt("notes", Ty::Text),
    opt("context", Ty::Text),
    req("id", Ty::Uuid),
    req("is_super_admin", Ty::Flag)
);
shape!(
    USER_UPDATE = "UserUpdate",
    opt("name", Ty::Text),
    opt("preferred_name", Ty::Text),
    opt("pronouns", Ty::Text),
    opt("timezone", Ty::Text),
    opt("notes", Ty::Text),
    opt("context", Ty::Text)
);
