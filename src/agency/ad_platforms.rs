//! Figures of advertising platforms, asked from their APIs with the keys of integrations.

use serde_json::{Value, json};

use super::ads::{Figures, Row};
use super::integrations;
use super::services::{Ask, configured};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::error::Result;
use crate::records::Record;

/// Rows of an answer; those with the highest cost come first.
pub const ROWS: usize = 1000;

/// First and last day of a period, as `YYYY-MM-DD`.
#[derive(Debug, Clone)]
pub struct Period {
    pub start: String,
    pub end: String,
}

impl Period {
    /// Returns some days up to today, at least one.
    #[must_use]
    pub fn of_days(now: Time, days: u32) -> Self {
        let before = u64::from(days.saturating_sub(1)) * 24 * 3600;
        let day = |time: Time| time.rfc3339().chars().take(10).collect::<String>();
        Self {
            start: day(now.minus(std::time::Duration::from_secs(before))),
            end: day(now),
        }
    }
}

fn digits(id: &str) -> String {
    id.chars().filter(char::is_ascii_digit).collect()
}

/// Returns the request for the figures of Google Ads: of campaigns, or of their search terms.
///
/// # Errors
/// `config_invalid` without `extraConfig.customerId`.
pub fn google(record: &Record, period: &Period, wants_terms: bool, rows: usize) -> Result<Ask> {
    let customer = digits(&configured(record, "customerId")?);
    let mut ask = Ask::new(format!(
        "https://googleads.googleapis.com/v24/customers/{customer}/googleAds:search"
    ));
    if let Ok(manager) = configured(record, "loginCustomerId") {
        ask.headers.push(("login-customer-id", digits(&manager)));
    }
    let (term, source) = if wants_terms {
        ("search_term_view.search_term, ", "search_term_view")
    } else {
        ("", "campaign")
    };
    let Period { start, end } = period;
    ask.body = Some(json!({"query": format!(
        "SELECT {term}campaign.name, campaign.status, metrics.cost_micros, metrics.impressions, metrics.clicks, metrics.conversions \
         FROM {source} WHERE segments.date BETWEEN '{start}' AND '{end}' ORDER BY metrics.cost_micros DESC LIMIT {rows}"
    )}));
    Ok(ask)
}

/// Returns the request for the figures of campaigns of Meta Ads.
///
/// # Errors
/// `config_invalid` without `extraConfig.adAccountId`.
pub fn meta(record: &Record, period: &Period, rows: usize) -> Result<Ask> {
    let account = digits(&configured(record, "adAccountId")?);
    let mut ask = Ask::new(format!(
        "https://graph.facebook.com/v24.0/act_{account}/insights"
    ));
    let Period { start, end } = period;
    ask.query = vec![
        ("level", "campaign".to_owned()),
        (
            "fields",
            "campaign_name,spend,impressions,clicks,reach,account_currency".to_owned(),
        ),
        (
            "time_range",
            json!({"since": start, "until": end}).to_string(),
        ),
        ("limit", rows.to_string()),
    ];
    Ok(ask)
}

/// Returns a number, which both platforms may send as text.
fn number(value: &Value) -> f64 {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    value.as_f64().or(parsed).unwrap_or_default()
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

fn google_row(found: &Value) -> Option<Row> {
    let metrics = &found["metrics"];
    let status = found["campaign"]["status"].as_str().unwrap_or_default();
    Some(Row {
        campaign: short(found["campaign"]["name"].as_str()?),
        term: found["searchTermView"]["searchTerm"].as_str().map(short),
        status: Some(match status {
            "ENABLED" => "active".to_owned(),
            other => other.to_lowercase(),
        }),
        figures: Figures {
            spend: number(&metrics["costMicros"]) / 1e6,
            impressions: number(&metrics["impressions"]),
            clicks: number(&metrics["clicks"]),
            conversions: number(&metrics["conversions"]),
        },
    })
}

fn meta_row(found: &Value) -> Option<Row> {
    Some(Row {
        campaign: short(found["campaign_name"].as_str()?),
        term: None,
        status: None,
        figures: Figures {
            spend: number(&found["spend"]),
            impressions: number(&found["impressions"]),
            clicks: number(&found["clicks"]),
            conversions: 0.0,
        },
    })
}

fn rows(list: &Value, row: fn(&Value) -> Option<Row>) -> Vec<Row> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(row).collect()
}

/// Fetches the figures of some days from a platform: campaigns, and the search terms of Google Ads.
///
/// # Errors
/// `platform_unknown`, `integration_missing`, `config_invalid`, `service_refused`, `service_unreachable`.
pub(super) async fn fetch(
    app: &App,
    caller: &Caller,
    platform: &str,
    days: u32,
) -> Result<(Vec<Row>, Vec<Row>)> {
    let period = Period::of_days(app.clock.now(), days);
    match platform {
        "google_ads" => {
            let record = integrations::working(app, caller.tenant(), "google_ads_api").await?;
            let campaigns = google(&record, &period, false, ROWS)?;
            let terms = google(&record, &period, true, ROWS)?;
            let campaigns = integrations::ask_json(app, caller, &record, &campaigns).await?;
            let terms = integrations::ask_json(app, caller, &record, &terms).await?;
            Ok((
                rows(&campaigns["results"], google_row),
                rows(&terms["results"], google_row),
            ))
        }
        "meta_ads" => {
            let record = integrations::working(app, caller.tenant(), "meta_ads_api").await?;
            let campaigns = meta(&record, &period, ROWS)?;
            let campaigns = integrations::ask_json(app, caller, &record, &campaigns).await?;
            Ok((rows(&campaigns["data"], meta_row), Vec::new()))
        }
        other => Err(super::ads::unknown_platform(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_google_are_in_units_of_the_currency() {
        let found = json!({"campaign": {"name": "Spring", "status": "ENABLED"}, "searchTermView": {"searchTerm": "tide tables"},
            "metrics": {"costMicros": "12500000", "clicks": "7", "impressions": "100", "conversions": 1.5}});
        let row = google_row(&found).expect("a row");
        assert_eq!(
            (row.term.as_deref(), row.status.as_deref()),
            (Some("tide tables"), Some("active"))
        );
        let expected = Figures {
            spend: 12.5,
            impressions: 100.0,
            clicks: 7.0,
            conversions: 1.5,
        };
        assert_eq!(row.figures, expected);
        assert!(google_row(&json!({"metrics": {}})).is_none());
    }

    #[test]
    fn a_period_ends_today() {
        let now = Time(1_796_000_000_000);
        let period = Period::of_days(now, 1);
        assert_eq!(period.start, period.end);
        assert!(Period::of_days(now, 30).start < period.end);
    }
}
