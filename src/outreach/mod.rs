//! Selling with agents: leads on their way through the stages of a pipeline, what happens with them (touchpoints), scores, rules, playbooks, enrichment, sequences of
//! mails, sources that report leads, bookings, and the feedback of agents to the operator. The records themselves are those of [`crate::crm`] and [`crate::work`].

pub mod analytics;
pub mod contacts;
pub mod enrichment;
pub mod events;
pub mod feedback;
pub mod imports;
pub mod inbound;
pub mod leads;
mod once;
pub mod organisation;
pub mod playbooks;
pub mod rules;
pub mod score;
pub mod sequences;
pub mod signals;
pub mod stages;
pub mod stalled;
pub mod touchpoints;

use crate::auth::Area;
use crate::crm::STAGE;
use crate::records::kind::{DESCRIPTION, Field, FieldType, Kind, LINE, Lifecycle, NAME, NOTE};

/// A sequence of mails.
pub static SEQUENCE: Kind = Kind::new(
    "mail_sequence",
    "seq",
    Area::Crm,
    &[
        NAME,
        DESCRIPTION,
        Field::new("trigger", FieldType::OneOf(&sequences::TRIGGERS)).filter(),
        Field::new("steps", FieldType::List(sequences::STEPS)).required(),
        Field::new("ai_enabled", FieldType::Flag),
        Field::new("ai_config", FieldType::Object),
        Field::new("dataset_ids", FieldType::Words(20)),
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&["active", "paused", "archived"]))
.hook(|change| Box::pin(sequences::complete(change)));

/// A rule that moves leads to a stage.
pub static RULE: Kind = Kind::new(
    "automation_rule",
    "rule",
    Area::Crm,
    &[
        NAME,
        Field::new("trigger_event", FieldType::OneOf(&rules::TRIGGERS))
            .required()
            .filter(),
        Field::new("conditions", FieldType::Object),
        Field::new("stage_id", FieldType::Link(&[&STAGE])).required(),
        Field::new("priority", FieldType::Integer(0, 1_000_000)),
        Field::new("enabled", FieldType::Flag).filter(),
    ],
)
.titled("name")
.hook(|change| Box::pin(rules::complete(change)));

/// A source outside of Cairn that reports leads.
pub static SYNC_SOURCE: Kind = Kind::new(
    "sync_source",
    "src",
    Area::Integrations,
    &[
        NAME,
        Field::new("type", FieldType::OneOf(&inbound::SOURCE_TYPES))
            .required()
            .filter(),
        Field::new("stage_id", FieldType::Link(&[&STAGE])),
        Field::new("mapping", FieldType::Object),
        Field::new("event", FieldType::OneOf(&events::EVENTS)),
        Field::new("enabled", FieldType::Flag),
    ],
)
.titled("name")
.hook(|change| Box::pin(async move { inbound::complete(change) }));

/// A connection to the service of another company.
pub static CONNECTION: Kind = Kind::new(
    "connection",
    "conn",
    Area::Integrations,
    &[
        Field::new("provider", FieldType::OneOf(&["calendly"]))
            .required()
            .filter(),
        Field::new("account_name", LINE),
        Field::new("account_uri", FieldType::Line(2000)),
        Field::new("organization_uri", FieldType::Line(2000)),
        Field::new("webhook_uri", FieldType::Line(2000)),
        Field::new("callback_url", FieldType::Line(2000)),
    ],
)
.titled("provider")
.unique(|body| {
    Some(format!(
        "provider:{}",
        crate::records::body::text(body, "provider")?
    ))
});

/// A playbook of the tenant's own; those that every tenant has are in [`playbooks`].
pub static PLAYBOOK: Kind = Kind::new(
    "playbook",
    "playbook",
    Area::Crm,
    &[
        NAME,
        DESCRIPTION,
        Field::new("tiers", FieldType::Words(20)),
        Field::new("stages", FieldType::Words(50)),
        Field::new("steps", FieldType::List(20)).required(),
    ],
)
.titled("name");

/// A report of an agent to the operator, with the answer.
pub static FEEDBACK: Kind = Kind::new(
    "feedback",
    "fb",
    Area::Crm,
    &[
        Field::new("type", FieldType::OneOf(&feedback::TYPES))
            .required()
            .filter(),
        Field::new("agent", LINE).filter(),
        Field::new("priority", FieldType::OneOf(&feedback::PRIORITIES)).filter(),
        Field::new("title", LINE).required(),
        Field::new("description", NOTE),
        Field::new("context", FieldType::Object),
        Field::new("response", NOTE),
        Field::new("responded_at", FieldType::Time),
        Field::new("unread", FieldType::Flag).filter(),
    ],
)
.titled("title")
.lifecycle(Lifecycle::free(&[
    "submitted",
    "in_progress",
    "resolved",
    "declined",
]));
