//! Content: collections, sites and entries; marketing campaigns and posts; templates and media.

pub mod entries;

use serde_json::json;

use crate::auth::Area;
use crate::records::body::text;
use crate::records::kind::{
    CUSTOM, DESCRIPTION, Field, FieldType, KEY, Kind, LINE, Lifecycle, NAME, NOTE,
};

/// A collection, which says what fields its entries have.
pub static COLLECTION: Kind = Kind::new(
    "cms_collection",
    "col",
    Area::Cms,
    &[
        KEY,
        NAME,
        DESCRIPTION,
        Field::new("schema", FieldType::Object),
    ],
)
.titled("name")
.hook(|change| Box::pin(async move { entries::collection(&change.body) }));

/// A site.
pub static SITE: Kind = Kind::new(
    "cms_site",
    "site",
    Area::Cms,
    &[KEY, NAME, Field::new("primary_domain", LINE), DESCRIPTION],
)
.titled("name");

/// An entry of a collection.
pub static ENTRY: Kind = Kind::new(
    "cms_entry",
    "ent",
    Area::Cms,
    &[
        Field::new("collection_id", FieldType::Link(&[&COLLECTION]))
            .required()
            .filter(),
        Field::new("site_id", FieldType::Link(&[&SITE])).filter(),
        Field::new("campaign_id", FieldType::Link(&[&CAMPAIGN])).filter(),
        Field::new(
            "content_type",
            FieldType::OneOf(&[
                "website_page",
                "landing_page",
                "blog_post",
                "article",
                "social_post",
                "email",
                "case_study",
                "asset_brief",
                "other",
            ]),
        )
        .filter(),
        Field::new("title", LINE).required(),
        Field::new("fields", FieldType::Object),
        CUSTOM,
    ],
)
.lifecycle(Lifecycle {
    statuses: &["draft", "review", "published", "archived"],
    transitions: &[
        ("draft", &["review", "published", "archived"]),
        ("review", &["draft", "published", "archived"]),
        ("published", &["draft", "review", "archived"]),
        ("archived", &["draft"]),
    ],
})
.unique(|body| {
    let slug = body.get("fields")?.get("slug")?.as_str()?;
    Some(format!("slug:{}:{slug}", text(body, "collection_id")?))
})
.hook(|change| {
    Box::pin(async move {
        change.body.entry("fields").or_insert(json!({}));
        entries::check(change).await?;
        if change.becomes("published") {
            change.set("published_at", change.now.rfc3339());
        }
        Ok(())
    })
});

/// A marketing campaign.
pub static CAMPAIGN: Kind = Kind::new(
    "marketing_campaign",
    "camp",
    Area::Cms,
    &[
        KEY,
        NAME,
        Field::new("channel", FieldType::Line(50)).filter(),
        DESCRIPTION,
        Field::new("starts_on", FieldType::Time),
        Field::new("ends_on", FieldType::Time),
        CUSTOM,
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&[
    "draft",
    "active",
    "paused",
    "completed",
    "archived",
]));

/// A marketing post.
pub static POST: Kind = Kind::new(
    "marketing_post",
    "post",
    Area::Cms,
    &[
        Field::new("channel", FieldType::Line(50))
            .required()
            .filter(),
        Field::new("title", LINE),
        Field::new("body", NOTE),
        Field::new("campaign_id", FieldType::Link(&[&CAMPAIGN])).filter(),
        Field::new("scheduled_on", FieldType::Time),
        CUSTOM,
    ],
)
.lifecycle(Lifecycle::free(&[
    "draft",
    "scheduled",
    "published",
    "archived",
]));

/// An e-mail template.
pub static EMAIL_TEMPLATE: Kind = Kind::open("email_template", Area::Templates, None);
/// A document template.
pub static DOCUMENT_TEMPLATE: Kind = Kind::open("document_template", Area::Templates, None);
/// A web page template.
pub static WEBPAGE_TEMPLATE: Kind = Kind::open("webpage_template", Area::Templates, None);
/// An invoice template.
pub static INVOICE_TEMPLATE: Kind = Kind::open("invoice_template", Area::Templates, None);
/// Media for templates.
pub static MEDIA: Kind = Kind::open("media", Area::Templates, None);
