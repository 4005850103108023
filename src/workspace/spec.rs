//! What a workspace holds: every kind of thing as a table of its fields. Bodies are checked against it, lists filter by it, the OpenAPI document is written from it.

use crate::auth::Area;
use crate::clock::Clock;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text on one line, of at most so many characters.
    Line(usize),
    /// Text, of at most so many characters.
    Text(usize),
    /// A word of lower-case letters, digits, `_`, `-` and `.`, that no other record of its kind has.
    Key,
    /// A whole number between two.
    Integer(i64, i64),
    /// Money in minor units of its currency; never negative.
    Cents,
    /// A currency by its three letters (ISO 4217).
    Currency,
    /// True or false.
    Flag,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A record of one of these kinds, by id.
    Link(&'static [&'static str]),
    /// Somebody who is not kept here: a user or an agent, by an id of their own.
    Actor,
    /// A mail address.
    Email,
    /// An address on the web.
    Url,
    /// A time (RFC 3339) or a day.
    Time,
    /// An object.
    Object,
    /// A list of at most so many.
    List(usize),
    /// A list of words.
    Words(usize),
}

/// A field of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Type,
    /// Whether a record must have it.
    pub required: bool,
    /// Whether lists filter by it.
    pub filter: bool,
}

/// How the life of a kind's records goes.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// Every status; the first is where it begins.
    pub all: &'static [&'static str],
    /// From which to which; every change is allowed when empty.
    pub moves: &'static [(&'static str, &'static [&'static str])],
}

/// A kind of thing.
#[derive(Debug)]
pub struct Kind {
    /// Its name in rows.
    pub name: &'static str,
    /// What its ids begin with, before `_`.
    pub prefix: &'static str,
    /// Whose rights it needs, and on whose shelf it is searched.
    pub area: Area,
    /// The field that names it.
    pub title: &'static str,
    /// Its fields; others are kept as they come.
    pub fields: &'static [Field],
    /// Its life, for kinds that have one.
    pub life: Option<Life>,
}

const fn field(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        required: false,
        filter: false,
    }
}

impl Field {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn filter(mut self) -> Self {
        self.filter = true;
        self
    }
}

const LINE: Type = Type::Line(300);
const NOTE: Type = Type::Text(100_000);
const NAME: Field = field("name", LINE).required();
const NOTES: Field = field("notes", NOTE);
const DESCRIPTION: Field = field("description", NOTE);
const CUSTOM: Field = field("custom_fields", Type::Object);
const KEY: Field = field("key", Type::Key).required().filter();
const SUBJECTS: &[&str] = &[
    "contact",
    "company",
    "crm_lead",
    "deal",
    "invoice",
    "ticket",
    "crm_task",
    "activity",
    "cms_entry",
    "marketing_campaign",
    "marketing_post",
    "asset",
];
const SUBJECT_TYPE: Field = field(
    "related_resource_type",
    Type::OneOf(&[
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
const SUBJECT: Field = field("related_resource_id", Type::Link(SUBJECTS)).filter();
const CONTENT: Type = Type::OneOf(&[
    "website_page",
    "landing_page",
    "blog_post",
    "article",
    "social_post",
    "email",
    "case_study",
    "asset_brief",
    "other",
]);
const DRAFTED: Life = Life {
    all: &["draft", "active", "archived"],
    moves: &[],
};

macro_rules! kinds {
    ($($constant:ident = $name:literal, $prefix:literal, $area:ident, $title:literal, $life:expr, [$($field:expr),* $(,)?];)*) => {
        $(
            #[doc = concat!("The kind `", $name, "`.")]
            pub const $constant: &Kind = &Kind { name: $name, prefix: $prefix, area: Area::$area, title: $title, fields: &[$($field),*], life: $life };
        )*
        /// Every kind.
        pub const ALL: &[&Kind] = &[$($constant),*];
    };
}

kinds! {
    CONTACT = "contact", "con", Crm, "name", None, [
        NAME, field("email", Type::Email).filter(), field("phone", LINE), field("job_title", LINE), field("company_name", LINE),
        field("company_id", Type::Link(&["company"])).filter(), NOTES, CUSTOM,
    ];
    COMPANY = "company", "com", Crm, "name", None, [
        NAME.filter(), field("domain", LINE).filter(), field("website", Type::Url), field("phone", LINE), NOTES, CUSTOM,
    ];
    LEAD = "crm_lead", "lead", Crm, "name",
        Some(Life { all: &["new", "working", "qualified", "disqualified", "converted"], moves: &[] }), [
        NAME, field("email", Type::Email).filter(), field("phone", LINE), field("company_name", LINE),
        field("source", Type::OneOf(&["manual", "website", "referral", "campaign", "import", "api", "mcp", "other"])).filter(), NOTES, CUSTOM,
    ];
    STAGE = "deal_stage", "stage", Crm, "name", None, [KEY, NAME, field("position", Type::Integer(0, 1_000_000))];
    DEAL = "deal", "deal", Crm, "name", None, [
        NAME, field("company_id", Type::Link(&["company"])).filter(), field("contact_id", Type::Link(&["contact"])).filter(),
        field("lead_id", Type::Link(&["crm_lead"])).filter(), field("stage", LINE).filter(), field("amount_cents", Type::Cents),
        field("currency", Type::Currency), field("expected_close_on", Type::Time), NOTES, CUSTOM,
    ];
    INVOICE = "invoice", "inv", Crm, "invoice_number",
        Some(Life { all: &["sent", "draft", "partially_paid", "paid", "void"], moves: &[] }), [
        field("invoice_number", Type::Line(100)).required(), field("company_id", Type::Link(&["company"])).filter(),
        field("contact_id", Type::Link(&["contact"])).filter(), field("deal_id", Type::Link(&["deal"])).filter(), field("currency", Type::Currency),
        field("line_items", Type::List(500)).required(), field("due_on", Type::Time), NOTES, CUSTOM,
    ];
    PAYMENT = "payment", "pay", Crm, "reference", None, [
        field("invoice_id", Type::Link(&["invoice"])).required().filter(), field("amount_cents", Type::Cents).required(), field("currency", Type::Currency),
        field("method", LINE), field("reference", LINE), field("paid_on", Type::Time), NOTES,
    ];
    ACCOUNT = "account", "acct", Crm, "name", None, [
        field("code", Type::Key).required(), NAME,
        field("type", Type::OneOf(&["asset", "liability", "equity", "revenue", "expense"])).required().filter(), DESCRIPTION,
    ];
    JOURNAL = "journal_entry", "je", Crm, "memo", Some(Life { all: &["posted", "draft"], moves: &[] }), [
        field("memo", Type::Text(2000)), field("currency", Type::Currency), field("entry_date", Type::Time), field("lines", Type::List(500)).required(),
    ];
    QUEUE = "support_queue", "queue", Support, "name", Some(Life { all: &["active", "paused", "archived"], moves: &[] }), [
        KEY, NAME, DESCRIPTION, field("first_response_target_minutes", Type::Integer(1, 525_600)), CUSTOM,
    ];
    TICKET = "ticket", "ticket", Support, "subject",
        Some(Life {
            all: &["new", "open", "pending", "waiting_on_customer", "resolved", "closed"],
            moves: &[
                ("new", &["open", "pending", "waiting_on_customer", "resolved", "closed"]),
                ("open", &["pending", "waiting_on_customer", "resolved", "closed"]),
                ("pending", &["open", "waiting_on_customer", "resolved", "closed"]),
                ("waiting_on_customer", &["open", "pending", "resolved", "closed"]),
                ("resolved", &["open", "closed"]),
                ("closed", &["open"]),
            ],
        }), [
        field("subject", LINE).required(), DESCRIPTION, field("priority", Type::OneOf(&["low", "normal", "high", "urgent"])).filter(),
        field("source", Type::OneOf(&["manual", "email", "chat", "phone", "web", "api", "mcp", "slack", "other"])).filter(),
        field("category", LINE).filter(), field("queue_id", Type::Link(&["support_queue"])).filter(), field("assignee_id", Type::Actor).filter(),
        field("contact_id", Type::Link(&["contact"])).filter(), field("company_id", Type::Link(&["company"])).filter(),
        field("deal_id", Type::Link(&["deal"])).filter(), field("lead_id", Type::Link(&["crm_lead"])).filter(),
        field("invoice_id", Type::Link(&["invoice"])).filter(), CUSTOM,
    ];
    MESSAGE = "ticket_message", "msg", Support, "body", None, [
        field("direction", Type::OneOf(&["inbound", "outbound"])), field("channel", Type::Line(50)), field("body", NOTE).required(), field("author", LINE), CUSTOM,
    ];
    COMMENT = "ticket_comment", "comment", Support, "body", None, [
        field("body", NOTE).required(), field("pinned", Type::Flag), field("author", LINE), CUSTOM,
    ];
    TASK = "crm_task", "task", Tasks, "title",
        Some(Life { all: &["open", "completed", "canceled"], moves: &[] }), [
        field("title", LINE).required(), DESCRIPTION, field("assignee_id", Type::Actor).filter(), field("due_on", Type::Time), SUBJECT_TYPE, SUBJECT,
        field("completed_note", Type::Text(10_000)), CUSTOM,
    ];
    ACTIVITY = "activity", "act", Activity, "summary", None, [
        field("type", Type::OneOf(&["note", "call", "email", "meeting", "agent_action"])).required().filter(), field("summary", Type::Line(1000)).required(),
        field("body", NOTE), field("occurred_on", Type::Time), SUBJECT_TYPE, SUBJECT, CUSTOM,
    ];
    COLLECTION = "cms_collection", "col", Cms, "name", None, [KEY, NAME, DESCRIPTION, field("schema", Type::Object)];
    SITE = "cms_site", "site", Cms, "name", None, [KEY, NAME, field("primary_domain", LINE), DESCRIPTION];
    ENTRY = "cms_entry", "ent", Cms, "title",
        Some(Life {
            all: &["draft", "review", "published", "archived"],
            moves: &[
                ("draft", &["review", "published", "archived"]),
                ("review", &["draft", "published", "archived"]),
                ("published", &["draft", "review", "archived"]),
                ("archived", &["draft"]),
            ],
        }), [
        field("collection_id", Type::Link(&["cms_collection"])).required().filter(), field("site_id", Type::Link(&["cms_site"])).filter(),
        field("campaign_id", Type::Link(&["marketing_campaign"])).filter(), field("content_type", CONTENT).filter(), field("title", LINE).required(),
        field("fields", Type::Object), CUSTOM,
    ];
    CAMPAIGN = "marketing_campaign", "camp", Cms, "name",
        Some(Life { all: &["draft", "active", "paused", "completed", "archived"], moves: &[] }), [
        KEY, NAME, field("channel", Type::Line(50)).filter(), DESCRIPTION, field("starts_on", Type::Time), field("ends_on", Type::Time), CUSTOM,
    ];
    POST = "marketing_post", "post", Cms, "title",
        Some(Life { all: &["draft", "scheduled", "published", "archived"], moves: &[] }), [
        field("channel", Type::Line(50)).required().filter(), field("title", LINE), field("body", NOTE),
        field("campaign_id", Type::Link(&["marketing_campaign"])).filter(), field("scheduled_on", Type::Time), CUSTOM,
    ];
    ASSET = "asset", "asset", Assets, "name", Some(Life { all: &["upload_pending", "available", "archived"], moves: &[] }), [
        field("asset_type", Type::OneOf(&["document", "image", "video", "attachment"])).required().filter(), field("file_name", LINE).required(),
        field("name", LINE), field("description", NOTE), field("mime_type", Type::Line(200)).required(), SUBJECT_TYPE, SUBJECT, CUSTOM,
    ];
    EVENT_TYPE = "event_type", "iet", Integrations, "key", None, [KEY, field("category", Type::Line(50)).required().filter(), DESCRIPTION];
    WEBHOOK = "webhook", "wh", Integrations, "name", Some(Life { all: &["active", "paused", "disabled"], moves: &[] }), [
        NAME, field("url", Type::Url).required(), field("event_types", Type::Words(100)).required().filter(), DESCRIPTION,
        field("max_attempts", Type::Integer(1, 20)),
    ];
    ANALYTICS_EVENT = "analytics_event", "evt", Analytics, "name", None, [
        field("name", Type::Key).required(), DESCRIPTION, field("owner", LINE).filter(), field("properties", Type::Words(200)),
    ];
    ANALYTICS_PROPERTY = "analytics_property", "prop", Analytics, "key", None, [
        KEY, field("type", Type::OneOf(&["string", "number", "integer", "boolean", "datetime", "object", "array"])).required(), DESCRIPTION, field("required", Type::Flag),
    ];
    DASHBOARD = "bi_dashboard", "dash", Bi, "name", Some(DRAFTED), [NAME, DESCRIPTION, field("layout", Type::Object)];
    DATASET = "bi_dataset", "bids", Bi, "name", Some(DRAFTED), [
        NAME, DESCRIPTION, field("kind", Type::OneOf(&["mock", "table", "view", "semantic"])).required().filter(), field("source", LINE),
        field("query", Type::Object), field("rows", Type::List(1000)),
    ];
    REPORT = "bi_report", "rep", Bi, "name", Some(DRAFTED), [
        NAME, DESCRIPTION, field("dashboard_id", Type::Link(&["bi_dashboard"])).filter(), field("dataset_id", Type::Link(&["bi_dataset"])).required().filter(),
        field("query", Type::Object), field("chart", Type::Object),
    ];
    METRIC = "bi_metric", "metric", Bi, "name", Some(DRAFTED), [
        NAME, DESCRIPTION, field("dataset_id", Type::Link(&["bi_dataset"])).required().filter(), field("aggregate", Type::Object).required(),
        field("filter", Type::Object), field("unit", Type::Line(50)),
    ];
    EXPORT = "bi_export", "export", Bi, "name", Some(Life { all: &["pending", "completed", "failed", "archived"], moves: &[] }), [
        field("name", LINE), field("dataset_id", Type::Link(&["bi_dataset"])).filter(), field("report_id", Type::Link(&["bi_report"])).filter(),
        field("format", Type::OneOf(&["csv", "jsonl", "parquet"])).required(), field("query", Type::Object),
    ];
    ARTIFACT = "bi_artifact", "sched", Bi, "name", Some(Life { all: &["active", "paused", "archived"], moves: &[] }), [
        NAME, field("dataset_id", Type::Link(&["bi_dataset"])).filter(), field("report_id", Type::Link(&["bi_report"])).filter(),
        field("format", Type::OneOf(&["csv", "jsonl", "parquet"])).required(), field("cron", Type::Line(100)).required(), field("query", Type::Object),
    ];
}

impl Kind {
    /// A kind by its name in rows.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|k| k.name == name)
    }

    /// The kind of an id that callers see, by what it begins with.
    #[must_use]
    pub fn of_id(shown: &str) -> Option<&'static Self> {
        let (prefix, _) = shown.split_once('_')?;
        ALL.iter().copied().find(|k| k.prefix == prefix)
    }

    /// The id that callers see.
    #[must_use]
    pub fn shown(&self, id: &str) -> String {
        format!("{}_{id}", self.prefix)
    }

    /// The id in rows of what callers call it.
    #[must_use]
    pub fn id<'a>(&self, shown: &'a str) -> Option<&'a str> {
        let id = shown.strip_prefix(self.prefix)?.strip_prefix('_')?;
        Clock::is_id(id).then_some(id)
    }

    /// A field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field>
    where
        Self: 'static,
    {
        self.fields.iter().find(|f| f.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let names: HashSet<&str> = ALL.iter().map(|k| k.name).collect();
        let prefixes: HashSet<&str> = ALL.iter().map(|k| k.prefix).collect();
        assert_eq!((names.len(), prefixes.len()), (ALL.len(), ALL.len()));
        for kind in ALL {
            assert!(kind.field(kind.title).is_some(), "{}", kind.name);
            for field in kind.fields {
                if let Type::Link(kinds) = field.holds {
                    assert!(
                        kinds.iter().all(|k| Kind::named(k).is_some()),
                        "{} {}",
                        kind.name,
                        field.name
                    );
                }
            }
        }
        let id = "01M8253NYS60NEA3X8KANXMAXY";
        assert_eq!(CONTACT.id(&CONTACT.shown(id)), Some(id));
        assert_eq!(CONTACT.id("com_01M8253NYS60NEA3X8KANXMAXY"), None);
    }
}
