//! Support: queues with targets, tickets, their messages and internal comments.

pub mod tickets;

use crate::auth::Area;
use crate::crm::{COMPANY, CONTACT, DEAL, INVOICE, LEAD};
use crate::records::kind::{
    CUSTOM, DESCRIPTION, Field, FieldType, KEY, Kind, LINE, Lifecycle, NAME, NOTE,
};

/// A queue of tickets.
pub static QUEUE: Kind = Kind::new(
    "support_queue",
    "queue",
    Area::Support,
    &[
        KEY,
        NAME,
        DESCRIPTION,
        Field::new(
            "first_response_target_minutes",
            FieldType::Integer(1, 525_600),
        ),
        CUSTOM,
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&["active", "paused", "archived"]));

/// A ticket.
pub static TICKET: Kind = Kind::new(
    "ticket",
    "ticket",
    Area::Support,
    &[
        Field::new("subject", LINE).required(),
        DESCRIPTION,
        Field::new(
            "priority",
            FieldType::OneOf(&["low", "normal", "high", "urgent"]),
        )
        .filter(),
        Field::new(
            "source",
            FieldType::OneOf(&[
                "manual", "email", "chat", "phone", "web", "api", "mcp", "slack", "other",
            ]),
        )
        .filter(),
        Field::new("category", LINE).filter(),
        Field::new("queue_id", FieldType::Link(&[&QUEUE])).filter(),
        Field::new("assignee_id", FieldType::Actor).filter(),
        Field::new("contact_id", FieldType::Link(&[&CONTACT])).filter(),
        Field::new("company_id", FieldType::Link(&[&COMPANY])).filter(),
        Field::new("deal_id", FieldType::Link(&[&DEAL])).filter(),
        Field::new("lead_id", FieldType::Link(&[&LEAD])).filter(),
        Field::new("invoice_id", FieldType::Link(&[&INVOICE])).filter(),
        CUSTOM,
    ],
)
.titled("subject")
.lifecycle(Lifecycle {
    statuses: &[
        "new",
        "open",
        "pending",
        "waiting_on_customer",
        "resolved",
        "closed",
    ],
    transitions: &[
        (
            "new",
            &[
                "open",
                "pending",
                "waiting_on_customer",
                "resolved",
                "closed",
            ],
        ),
        (
            "open",
            &["pending", "waiting_on_customer", "resolved", "closed"],
        ),
        (
            "pending",
            &["open", "waiting_on_customer", "resolved", "closed"],
        ),
        (
            "waiting_on_customer",
            &["open", "pending", "resolved", "closed"],
        ),
        ("resolved", &["open", "closed"]),
        ("closed", &["open"]),
    ],
})
.hook(|change| Box::pin(tickets::complete(change)));

/// A message of a ticket, to or from a customer.
pub static MESSAGE: Kind = Kind::new(
    "ticket_message",
    "msg",
    Area::Support,
    &[
        Field::new("direction", FieldType::OneOf(&["inbound", "outbound"])),
        Field::new("channel", FieldType::Line(50)),
        Field::new("body", NOTE).required(),
        Field::new("author", LINE),
        CUSTOM,
    ],
)
.titled("body");

/// An internal comment on a ticket.
pub static COMMENT: Kind = Kind::new(
    "ticket_comment",
    "comment",
    Area::Support,
    &[
        Field::new("body", NOTE).required(),
        Field::new("pinned", FieldType::Flag),
        Field::new("author", LINE),
        CUSTOM,
    ],
)
.titled("body");
