//! Advertising figures: campaigns and search terms from the CSV exports of platforms and from their APIs.
//! Search terms are classified by rules, and people may override the classes.

use serde_json::{Value, json};

use super::{AD_CAMPAIGN, SEARCH_TERM, access, ad_platforms, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute};

/// Largest file, in bytes, and most rows.
pub const LARGEST: usize = 10 << 20;
const ROWS: usize = 50_000;
/// Rows of a transaction.
const BATCH: usize = 100;
/// Classes of search terms.
pub const CLASSES: [&str; 4] = ["high_intent", "low_intent", "negative", "watch"];
/// Platforms of figures.
pub const PLATFORMS: [&str; 2] = ["google_ads", "meta_ads"];

/// Words of people who want to buy, and of those who do not.
const BUYING: [&str; 12] = [
    "buy", "price", "pricing", "cost", "quote", "hire", "near", "book", "order", "demo", "trial",
    "agency",
];
const FOREIGN: [&str; 10] = [
    "free",
    "job",
    "jobs",
    "salary",
    "career",
    "login",
    "wikipedia",
    "meaning",
    "template",
    "course",
];
/// Clicks without a conversion after which a term is negative.
const WASTED: f64 = 20.0;

/// Figures of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub spend: f64,
    pub impressions: f64,
    pub clicks: f64,
    pub conversions: f64,
}

impl Figures {
    /// Returns the figures of a record.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        let number = |name: &str| body.get(name).and_then(Value::as_f64).unwrap_or_default();
        Self {
            spend: number("spend"),
            impressions: number("impressions"),
            clicks: number("clicks"),
            conversions: number("conversions"),
        }
    }

    fn set(self, body: &mut Body) {
        for (name, value) in [
            ("spend", self.spend),
            ("impressions", self.impressions),
            ("clicks", self.clicks),
            ("conversions", self.conversions),
        ] {
            body.insert(name.to_owned(), json!(value));
        }
    }
}

/// Returns the class of a search term: `high_intent` with a conversion or a word of buying, `negative` with a word of something else or 20 clicks without a
/// conversion, `low_intent` with a click, else `watch`.
#[must_use]
pub fn classify(term: &str, figures: Figures) -> &'static str {
    let lower = term.to_lowercase();
    let has = |words: &[&str]| lower.split_whitespace().any(|word| words.contains(&word));
    if figures.conversions > 0.0 {
        "high_intent"
    } else if has(&FOREIGN) || figures.clicks >= WASTED {
        "negative"
    } else if has(&BUYING) {
        "high_intent"
    } else if figures.clicks > 0.0 {
        "low_intent"
    } else {
        "watch"
    }
}

/// A row of an export.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Name of the campaign.
    pub(super) campaign: String,
    /// The search term; absent in exports of campaigns.
    pub(super) term: Option<String>,
    pub(super) status: Option<String>,
    pub(super) figures: Figures,
}

fn number(text: &str) -> Option<f64> {
    let clean: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-'))
        .collect();
    if clean.is_empty() {
        return text.trim().is_empty().then_some(0.0);
    }
    clean.parse().ok().filter(|n: &f64| (0.0..1e12).contains(n))
}

/// Reads an export with the columns campaign, search term, status, cost, impressions, clicks, conversions, in any order.
fn read(content: &str, wants_terms: bool) -> Result<Vec<Row>> {
    let invalid = |message: String| Error::invalid("csv_invalid", message);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(content.trim_start_matches('\u{feff}').as_bytes());
    let headers = reader
        .headers()
        .map_err(|e| invalid(e.to_string()))?
        .clone();
    let column = |names: &[&str]| {
        headers
            .iter()
            .position(|h| names.contains(&h.trim().to_lowercase().as_str()))
    };
    let campaign = column(&["campaign", "campaign name"]);
    let term = column(&["search term", "search_term", "term", "query"]);
    let (Some(campaign), true) = (campaign, term.is_some() || !wants_terms) else {
        return Err(invalid(format!(
            "the file needs the column Campaign{}",
            if wants_terms {
                " and the column Search term"
            } else {
                ""
            }
        )));
    };
    let status = column(&["status", "campaign status", "delivery"]);
    let columns = [
        column(&["cost", "spend", "amount spent", "amount spent (usd)"]),
        column(&["impressions", "impr."]),
        column(&["clicks", "link clicks"]),
        column(&["conversions", "results"]),
    ];
    let mut rows = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|e| invalid(e.to_string()))?;
        if rows.len() >= ROWS {
            return Err(invalid(format!("a file may have at most {ROWS} rows")));
        }
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
        let mut figures = [0.0; 4];
        for (figure, column) in figures.iter_mut().zip(columns) {
            *figure = number(cell(column)).ok_or_else(|| {
                invalid(format!("row {}: {:?} is no figure", at + 1, cell(column)))
            })?;
        }
        let [spend, impressions, clicks, conversions] = figures;
        let name = cell(Some(campaign));
        let term = wants_terms.then(|| cell(term).to_owned());
        if name.is_empty() || term.as_ref().is_some_and(String::is_empty) {
            continue;
        }
        rows.push(Row {
            campaign: name.chars().take(300).collect(),
            term: term.map(|t| t.chars().take(300).collect()),
            status: Some(cell(status).to_lowercase()).filter(|s| !s.is_empty()),
            figures: Figures {
                spend,
                impressions,
                clicks,
                conversions,
            },
        });
    }
    if rows.is_empty() {
        return Err(invalid("the file has no rows with figures".to_owned()));
    }
    Ok(rows)
}

/// Imports an export of campaigns, or of search terms. Rows replace the figures of the same campaign or term; overridden classes stay. Returns the number of rows.
///
/// # Errors
/// `csv_invalid`, `platform_unknown`.
pub async fn import(
    app: &App,
    caller: &Caller,
    platform: &str,
    wants_terms: bool,
    content: &str,
) -> Result<usize> {
    access::write(caller)?;
    if !PLATFORMS.contains(&platform) {
        return Err(unknown_platform(platform));
    }
    let rows = read(content, wants_terms)?;
    store_rows(app, caller, platform, &rows).await?;
    Ok(rows.len())
}

/// Returns the error for a platform without figures.
pub(super) fn unknown_platform(platform: &str) -> Error {
    Error::invalid(
        "platform_unknown",
        format!(
            "{platform:?} is no advertising platform; use one of {}",
            PLATFORMS.join(", ")
        ),
    )
}

async fn store_rows(app: &App, caller: &Caller, platform: &str, rows: &[Row]) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        let request = Request::internal(caller, "importAdFigures");
        execute(app, &request, || add(app, caller, platform, batch)).await?;
    }
    Ok(())
}

/// Imports the figures of some days from the API of a platform, with the key of its integration. Returns the numbers of campaigns and search terms.
///
/// # Errors
/// `days_out_of_range`, and those of [`ad_platforms::fetch`].
pub async fn fetch(
    app: &App,
    caller: &Caller,
    platform: &str,
    days: u32,
) -> Result<(usize, usize)> {
    access::write(caller)?;
    if !(1..=366).contains(&days) {
        return Err(Error::invalid(
            "days_out_of_range",
            "days must be between 1 and 366",
        ));
    }
    let (campaigns, terms) = ad_platforms::fetch(app, caller, platform, days).await?;
    // Search terms refer to their campaigns.
    store_rows(app, caller, platform, &campaigns).await?;
    store_rows(app, caller, platform, &terms).await?;
    Ok((campaigns.len(), terms.len()))
}

async fn add(app: &App, caller: &Caller, platform: &str, rows: &[Row]) -> Result<Plan> {
    let mut plan = Plan::default();
    let now = app.clock.now();
    for row in rows {
        let name = row.term.as_ref().unwrap_or(&row.campaign);
        let kind = if row.term.is_some() {
            &SEARCH_TERM
        } else {
            &AD_CAMPAIGN
        };
        let external_id = match &row.term {
            Some(term) => format!("{platform}/{}/{}", row.campaign, term.to_lowercase()),
            None => format!("{platform}/{}", row.campaign),
        };
        let before = store::by_external_id(app, caller.tenant(), kind, &external_id).await?;
        let mut body = match &before {
            Some(record) => record.body()?,
            None => Body::new(),
        };
        row.figures.set(&mut body);
        body.insert("platform".to_owned(), json!(platform));
        if row.term.is_some() {
            body.insert("term".to_owned(), json!(name));
            let campaign = format!("{platform}/{}", row.campaign);
            let campaign =
                store::by_external_id(app, caller.tenant(), &AD_CAMPAIGN, &campaign).await?;
            body.insert("campaign_id".to_owned(), json!(campaign.map(|c| c.id)));
            body.insert("campaign_name".to_owned(), json!(row.campaign));
            if text(&body, "class_source") != Some("manual") {
                let class = classify(name, row.figures);
                body.insert("classification".to_owned(), json!(class));
                body.insert("class_source".to_owned(), json!("rule"));
            }
        } else {
            body.insert("name".to_owned(), json!(name));
            let status = row.status.as_deref().unwrap_or("active");
            body.insert("ad_status".to_owned(), json!(status));
        }
        body.retain(|_, value| !value.is_null());
        match before {
            Some(before) => {
                let after = super::with_body(&before, body);
                plan.update_silently(kind, before, after, now);
            }
            None => {
                let new = New {
                    external_id: Some(external_id),
                    ..New::from(&body)
                };
                plan.create(kind, write::draft(app, caller, kind, new)?);
            }
        }
    }
    Ok(plan.data(200, Value::Null))
}

/// Returns a plan that overrides the class of a search term.
///
/// # Errors
/// `record_not_found`.
pub async fn override_class(
    app: &App,
    caller: &Caller,
    id: &str,
    class: &str,
    note: Option<&str>,
) -> Result<Plan> {
    access::write(caller)?;
    let before: Record = store::get(app, caller.tenant(), &SEARCH_TERM, id).await?;
    let mut body = before.body()?;
    body.insert("classification".to_owned(), json!(class));
    body.insert("class_source".to_owned(), json!("manual"));
    if let Some(note) = note {
        body.insert("note".to_owned(), json!(super::beginning(note, 2000)));
    }
    let after = super::with_body(&before, body);
    let mut plan = Plan::default();
    plan.update(&SEARCH_TERM, before, after, app.clock.now());
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_classified_by_words_and_figures() {
        let with = |clicks: f64, conversions: f64| Figures {
            clicks,
            conversions,
            ..Figures::default()
        };
        assert_eq!(classify("free template", with(1.0, 1.0)), "high_intent");
        assert_eq!(classify("crm jobs", with(0.0, 0.0)), "negative");
        assert_eq!(classify("crm", with(20.0, 0.0)), "negative");
        assert_eq!(classify("crm price", with(0.0, 0.0)), "high_intent");
        assert_eq!(classify("crm", with(1.0, 0.0)), "low_intent");
        assert_eq!(classify("crm", with(0.0, 0.0)), "watch");
    }

    #[test]
    fn exports_are_read_by_their_columns() {
        let content =
            "Search term,Campaign,Clicks,Cost\ncrm price,Spring,\"1,234\",$5.50\n,Spring,1,1\n";
        let rows = read(content, true).expect("rows");
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].figures.clicks, rows[0].figures.spend),
            (1234.0, 5.5)
        );
        assert!(read("Campaign,Cost\nA,1\n", true).is_err());
        assert!(read("Name\nA\n", false).is_err());
        assert!(read("Campaign,Cost\nA,1.2.3\n", false).is_err());
    }
}
