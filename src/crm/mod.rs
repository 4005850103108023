//! Customers and sales: contacts, companies, leads, deals, invoices, payments, ledger accounts, journal entries; campaigns with their funnels, and forecasts.

pub mod campaigns;
mod companies;
pub(crate) use companies::fill_in as fill_in_company;
mod deals;
pub mod leads;
pub mod migration;
mod money;

use crate::auth::Area;
use crate::records::body::text;
use crate::records::kind::{
    CUSTOM, DESCRIPTION, Field, FieldType, KEY, Kind, LINE, Lifecycle, NAME, NOTES,
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
        Field::new("email", FieldType::Email).filter(),
        Field::new("phone", LINE),
        Field::new("company_name", LINE),
        Field::new(
            "source",
            FieldType::OneOf(&[
                "manual", "website", "referral", "campaign", "import", "api", "mcp", "other",
            ]),
        )
        .filter(),
        NOTES,
        CUSTOM,
    ],
)
.noun("lead")
.titled("name")
.lifecycle(LEAD_STATUSES)
.present(&["name"])
.hook(|change| Box::pin(async move { leads::complete(change) }));

/// A stage of deals.
pub static STAGE: Kind = Kind::new(
    "deal_stage",
    "stage",
    Area::Crm,
    &[
        KEY,
        NAME,
        Field::new("position", FieldType::Integer(0, 1_000_000)),
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
