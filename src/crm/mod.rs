//! Customers and sales: contacts, companies, leads with their notes and custom fields, deals, stages, invoices, payments, ledger accounts, journal entries;
//! campaigns with their funnels, and forecasts.

pub mod campaigns;
mod companies;
pub mod custom_fields;
pub(crate) use companies::fill_in as fill_in_company;
mod deals;
pub mod leads;
pub mod migration;
mod money;

use crate::auth::Area;
use crate::records::body::text;
use crate::records::kind::{
    CUSTOM, DESCRIPTION, Field, FieldType, KEY, Kind, LINE, Lifecycle, NAME, NOTE, NOTES,
};

/// Currency of money that names none.
const CURRENCY: &str = "USD";

/// A person.
pub static CONTACT: Kind = Kind::new(
    "contact",
    "con",
    Area::Crm,
    &[
        NAME,
        Field::new("email", FieldType::Email).filter(),
        Field::new("phone", LINE),
        Field::new("job_title", LINE),
        Field::new("company_name", LINE),
        Field::new("company_id", FieldType::Link(&[&COMPANY])).filter(),
        NOTES,
        CUSTOM,
    ],
)
.titled("name")
.hook(|change| Box::pin(async move { companies::fill_in(change) }));

/// A company.
pub static COMPANY: Kind = Kind::new(
    "company",
    "com",
    Area::Crm,
    &[
        NAME.filter(),
        Field::new("domain", LINE).filter(),
        Field::new("website", FieldType::Url),
        Field::new("phone", LINE),
        NOTES,
        CUSTOM,
    ],
)
.titled("name");

/// The statuses of leads.
pub const LEAD_STATUSES: Lifecycle =
    Lifecycle::free(&["new", "working", "qualified", "disqualified", "converted"]);

/// A lead: somebody who may buy, alone or in a stage of a sales campaign. Dialects that require a name list those that have one.
pub static LEAD: Kind = Kind::new(
    "crm_lead",
    "lead",
    Area::Crm,
    &[
        Field::new("name", LINE),
        Field::new("first_name", LINE),
        Field::new("last_name", LINE),
        Field::new("email", FieldType::Email).filter(),
        Field::new("phone", LINE),
        Field::new("company_name", LINE).filter(),
        Field::new("business_type", LINE),
        Field::new("tier", FieldType::Line(100)).filter(),
        Field::new("stage_id", FieldType::Link(&[&STAGE])).filter(),
        Field::new(
            "source",
            FieldType::OneOf(&[
                "manual", "website", "referral", "campaign", "import", "api", "mcp", "other",
            ]),
        )
        .filter(),
        Field::new("job_title", LINE),
        Field::new("seniority", LINE),
        Field::new("linkedin_url", FieldType::Line(2000)),
        Field::new("enriched_company_name", LINE),
        Field::new("company_size", LINE),
        Field::new("company_revenue", LINE),
        Field::new("time_zone", FieldType::Line(100)),
        Field::new("crm_data", FieldType::Object),
        NOTES,
        CUSTOM,
    ],
)
.noun("lead")
.titled("name")
.lifecycle(LEAD_STATUSES)
.present(&["name"])
.derived(leads::derived)
.hook(|change| Box::pin(leads::complete(change)));

/// A lead that was deleted and can be restored: no list, search or link finds it, because it is of another kind than leads. Its fields are those of the lead.
pub static DELETED_LEAD: Kind = Kind::new(
    "deleted_lead",
    "deletedlead",
    Area::Crm,
    &[
        Field::new("name", LINE),
        Field::new("email", FieldType::Email).filter(),
        Field::new("tier", FieldType::Line(100)).filter(),
        Field::new("stage_id", LINE).filter(),
    ],
)
.titled("name")
.derived(leads::derived);

/// A note about a lead.
pub static LEAD_NOTE: Kind = Kind::new(
    "lead_note",
    "note",
    Area::Crm,
    &[
        Field::new("lead_id", FieldType::Link(&[&LEAD]))
            .required()
            .filter(),
        Field::new(
            "type",
            FieldType::OneOf(&["manual", "transcript_summary", "ai_insight", "system"]),
        )
        .filter(),
        Field::new("content", NOTE).required(),
        Field::new("pinned", FieldType::Flag).filter(),
    ],
)
.titled("content")
.hook(|change| {
    Box::pin(async move {
        change.default("type", "manual");
        change.default("pinned", false);
        Ok(())
    })
});

/// The definition of a custom field of leads.
pub static CUSTOM_FIELD: Kind = Kind::new(
    "lead_field",
    "field",
    Area::Crm,
    &[
        Field::new("key", FieldType::Line(100)).required().filter(),
        Field::new("name", LINE).required(),
        Field::new("field_type", FieldType::OneOf(&custom_fields::TYPES)).required(),
        Field::new("options", FieldType::Words(200)),
        Field::new("required", FieldType::Flag),
        DESCRIPTION,
    ],
)
.titled("name")
.unique(|body| Some(format!("key:{}", text(body, "key")?.trim().to_lowercase())))
.hook(|change| Box::pin(async move { custom_fields::complete(change) }));

/// A stage of deals and leads.
pub static STAGE: Kind = Kind::new(
    "deal_stage",
    "stage",
    Area::Crm,
    &[
        KEY,
        NAME,
        Field::new("position", FieldType::Integer(0, 1_000_000)),
        Field::new("color", FieldType::Line(50)),
        Field::new("is_default", FieldType::Flag),
    ],
)
.titled("name");

/// A deal.
pub static DEAL: Kind = Kind::new(
    "deal",
    "deal",
    Area::Crm,
    &[
        NAME,
        Field::new("company_id", FieldType::Link(&[&COMPANY])).filter(),
        Field::new("contact_id", FieldType::Link(&[&CONTACT])).filter(),
        Field::new("lead_id", FieldType::Link(&[&LEAD])).filter(),
        Field::new("stage", LINE).filter(),
        Field::new("amount_cents", FieldType::Cents),
        Field::new("currency", FieldType::Currency),
        Field::new("expected_close_on", FieldType::Time),
        NOTES,
        CUSTOM,
    ],
)
.titled("name")
.hook(|change| Box::pin(deals::complete(change)));

/// An invoice.
pub static INVOICE: Kind = Kind::new(
    "invoice",
    "inv",
    Area::Crm,
    &[
        Field::new("invoice_number", FieldType::Line(100)).required(),
        Field::new("company_id", FieldType::Link(&[&COMPANY])).filter(),
        Field::new("contact_id", FieldType::Link(&[&CONTACT])).filter(),
        Field::new("deal_id", FieldType::Link(&[&DEAL])).filter(),
        Field::new("currency", FieldType::Currency),
        Field::new("line_items", FieldType::List(500)).required(),
        Field::new("due_on", FieldType::Time),
        NOTES,
        CUSTOM,
    ],
)
.titled("invoice_number")
.lifecycle(Lifecycle::free(&[
    "sent",
    "draft",
    "partially_paid",
    "paid",
    "void",
]))
.unique(|body| {
    Some(format!(
        "invoice_number:{}",
        text(body, "invoice_number")?.trim()
    ))
})
.hook(|change| {
    Box::pin(async move {
        companies::fill_in(change)?;
        money::invoice(change)
    })
});

/// A payment of an invoice.
pub static PAYMENT: Kind = Kind::new(
    "payment",
    "pay",
    Area::Crm,
    &[
        Field::new("invoice_id", FieldType::Link(&[&INVOICE]))
            .required()
            .filter(),
        Field::new("amount_cents", FieldType::Cents).required(),
        Field::new("currency", FieldType::Currency),
        Field::new("method", LINE),
        Field::new("reference", LINE),
        Field::new("paid_on", FieldType::Time),
        NOTES,
    ],
)
.titled("reference")
.hook(|change| Box::pin(async move { money::payment(change) }));

/// A ledger account.
pub static ACCOUNT: Kind = Kind::new(
    "account",
    "acct",
    Area::Crm,
    &[
        Field::new("code", FieldType::Key).required(),
        NAME,
        Field::new(
            "type",
            FieldType::OneOf(&["asset", "liability", "equity", "revenue", "expense"]),
        )
        .required()
        .filter(),
        DESCRIPTION,
    ],
)
.titled("name");

/// A journal entry.
pub static JOURNAL: Kind = Kind::new(
    "journal_entry",
    "je",
    Area::Crm,
    &[
        Field::new("memo", FieldType::Text(2000)),
        Field::new("currency", FieldType::Currency),
        Field::new("entry_date", FieldType::Time),
        Field::new("lines", FieldType::List(500)).required(),
    ],
)
.titled("memo")
.lifecycle(Lifecycle::free(&["posted", "draft"]))
.hook(|change| Box::pin(money::journal(change)));

/// A sales campaign with ordered stages.
pub static CAMPAIGN: Kind =
    Kind::open("campaign", Area::Sales, None).hook(|change| Box::pin(campaigns::complete(change)));

/// A sales forecast.
pub static FORECAST: Kind = Kind::open("forecast", Area::Sales, None);
