//! The work of a marketing team of people and agents: campaigns with deliverables, activities that agents do, approvals by people, requests for content,
//! recurring tasks, skills, reports, advertising figures, publishing channels and integrations. [`crate::agents`] runs the activities.

pub mod access;
pub mod activities;
pub mod ad_platforms;
pub mod ads;
pub mod approvals;
pub mod campaigns;
pub mod channels;
pub mod chat;
pub mod comments;
pub mod completion;
pub mod deliverables;
pub mod figures;
pub mod integrations;
pub mod logs;
pub mod markdown;
pub mod notices;
pub mod pdf;
pub mod people;
pub mod platforms;
pub mod report_page;
pub mod reports;
pub mod requests;
pub mod roles;
pub mod routines;
pub mod runs;
pub mod services;
pub mod skills;
pub mod spend;
pub mod store;

use serde_json::Value;

use crate::auth::Area;
use crate::records::body::{Body, text};
use crate::records::kind::{Field, FieldType, Lifecycle};
use crate::records::{Kind, Record};

/// Statuses of campaigns.
pub const CAMPAIGN_STATUSES: [&str; 5] = ["draft", "active", "paused", "completed", "archived"];
/// Statuses of activities.
pub const ACTIVITY_STATUSES: [&str; 10] = [
    "created",
    "assigned",
    "in_progress",
    "awaiting_approval",
    "awaiting_subtask",
    "awaiting_review",
    "blocked",
    "done",
    "reassigned",
    "failed",
];
/// Statuses of approvals.
pub const APPROVAL_STATUSES: [&str; 4] = ["pending", "approved", "rejected", "expired"];
/// Types of approvals.
pub const APPROVAL_TYPES: [&str; 6] = [
    "content_review",
    "content_direction",
    "brand_direction",
    "strategy_change",
    "budget_authorization",
    "channel_action",
];
/// Risk levels of approvals.
pub const RISK_LEVELS: [&str; 3] = ["low", "medium", "high"];
/// Types of deliverables.
pub const DELIVERABLE_TYPES: [&str; 8] = [
    "blog_post",
    "social_post",
    "gbp_post",
    "ad_copy",
    "email_newsletter",
    "backlink",
    "website_audit",
    "performance_report",
];

/// Statuses of requests for content.
pub const REQUEST_STATUSES: [&str; 5] = [
    "draft",
    "approved",
    "in_production",
    "completed",
    "rejected",
];
/// Statuses of reports.
pub const REPORT_STATUSES: [&str; 4] = ["draft", "ready", "delivered", "archived"];
/// Statuses of channels.
pub const CHANNEL_STATUSES: [&str; 4] = ["connected", "expired", "error", "disconnected"];
/// Statuses of integrations.
pub const INTEGRATION_STATUSES: [&str; 4] = ["connected", "error", "quota_exceeded", "expired"];

/// A text whose length the operations check.
const fn line(name: &'static str) -> Field {
    Field::new(name, FieldType::Text(usize::MAX))
}

/// A word that lists filter by.
const fn word(name: &'static str) -> Field {
    Field::new(name, FieldType::Actor).filter()
}

const fn kind(name: &'static str, title: &'static str, fields: &'static [Field]) -> Kind {
    Kind::new(name, "", Area::Marketing, fields).titled(title)
}

/// A campaign: a brief, and deliverables per period.
pub static CAMPAIGN: Kind = kind("agency_campaign", "name", &[line("name")])
    .lifecycle(Lifecycle::free(&CAMPAIGN_STATUSES))
    .texts(&["name", "brief"]);
/// A deliverable of a campaign, its parent.
pub static DELIVERABLE: Kind = kind("agency_deliverable", "type", &[line("type")]);
/// A piece of work of one agent or person; its parent is its campaign, if it has one.
pub static ACTIVITY: Kind = kind(
    "agency_activity",
    "title",
    &[
        line("title"),
        word("type"),
        word("agent_role"),
        word("deliverable_id"),
        word("wake_reason"),
        word("parent_activity_id"),
        word("depends_on"),
    ],
)
.lifecycle(Lifecycle::free(&ACTIVITY_STATUSES))
.texts(&["title", "campaign_name", "output"]);
/// A comment on an activity, its parent.
pub static COMMENT: Kind =
    kind("agency_comment", "text", &[line("text")]).texts(&["text", "activity_title"]);
/// A decision that an agent asks a person for.
pub static APPROVAL: Kind = kind(
    "agency_approval",
    "title",
    &[
        line("title"),
        word("type"),
        word("risk_level"),
        word("activity_ids"),
        word("campaign"),
    ],
)
.lifecycle(Lifecycle::free(&APPROVAL_STATUSES))
.texts(&["title", "description", "resolution_note"]);
/// A request for a blog post or a social post.
pub static REQUEST: Kind = kind(
    "agency_request",
    "topic",
    &[line("topic"), word("format"), word("platforms")],
)
.lifecycle(Lifecycle::free(&REQUEST_STATUSES))
.texts(&["topic", "target_keyword", "brief"]);
/// A recurring task.
pub static ROUTINE: Kind = kind("agency_routine", "name", &[line("name")])
    .unique(|body| Some(format!("template:{}", text(body, "template")?)));
/// Instructions for agents, as Markdown.
pub static SKILL: Kind = kind("agency_skill", "name", &[line("name"), word("agent_roles")])
    .texts(&["name", "description", "content"]);
/// A performance report.
pub static REPORT: Kind = kind(
    "agency_report",
    "title",
    &[line("title"), word("type"), word("campaign_id")],
)
.lifecycle(Lifecycle::free(&REPORT_STATUSES))
.texts(&["title", "content"]);
/// A campaign of an advertising platform, with its figures.
pub static AD_CAMPAIGN: Kind = kind(
    "agency_ad_campaign",
    "name",
    &[line("name"), word("platform")],
)
.texts(&["name"]);
/// A search term of an advertising platform, with its figures.
pub static SEARCH_TERM: Kind = kind(
    "agency_search_term",
    "term",
    &[line("term"), word("classification"), word("campaign_id")],
)
.texts(&["term", "note"]);
/// A connection to a publishing platform.
pub static CHANNEL: Kind = kind("agency_channel", "name", &[line("name"), word("type")])
    .lifecycle(Lifecycle::free(&CHANNEL_STATUSES));
/// An integration by API key.
pub static INTEGRATION: Kind = kind("agency_integration", "name", &[line("name")])
    .lifecycle(Lifecycle::free(&INTEGRATION_STATUSES));
/// A member of the team, as the audit names it; members are no records.
pub static MEMBER: Kind = kind("agency_user", "name", &[line("name")]);
/// The settings of an agent role, where they differ from the built-in ones.
pub static AGENT: Kind = kind("agency_agent", "role", &[line("role")])
    .unique(|body| Some(format!("role:{}", text(body, "role")?)));

/// Returns a field that is text and not blank.
pub(crate) fn filled<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    text(body, name).filter(|t| !t.trim().is_empty())
}

/// Returns the texts of a list.
pub(crate) fn list(body: &Body, name: &str) -> Vec<String> {
    let values = body.get(name).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Error of the contract when a language model has had too many requests.
pub const RATE_LIMIT: &str = "rate_limit_exceeded";

/// Returns a whole number, or 0.
pub(crate) fn whole(body: &Body, name: &str) -> i64 {
    body.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// Returns an amount in US dollars.
#[must_use]
pub fn usd(micros: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "amounts below 2^52 millionths of a dollar are exact"
    )]
    let dollars = micros as f64 / 1e6;
    dollars
}

/// Returns an amount in millionths of a dollar.
#[must_use]
pub fn micros(usd: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let micros = (usd * 1e6).round() as i64;
    micros
}

/// Returns a record with another body.
pub(crate) fn with_body(record: &Record, body: Body) -> Record {
    Record {
        body: Value::Object(body).to_string(),
        ..record.clone()
    }
}

/// Returns the first characters of a text, as lists and previews show it.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::{micros, usd};

    #[test]
    fn amounts_survive_the_conversion() {
        for amount in [0.0, 0.000_001, 12.34, 1000.0, 99_999_999.99] {
            assert_eq!(usd(micros(amount)), amount);
        }
    }
}
