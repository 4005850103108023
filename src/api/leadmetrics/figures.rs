//! Goals, and the figures of advertising platforms.

use axum::Json;
use axum::body::Body as RequestBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::wire::{Auth, Body, DashboardFault, Problem, page, word};
use crate::agency::ads::{self, CLASSES, Figures};
use crate::agency::deliverables::{self, Period, Span};
use crate::agency::{AD_CAMPAIGN, CAMPAIGN, DELIVERABLE, SEARCH_TERM, access, store};
use crate::api::Service;
use crate::api::operation::{Call, Data};
use crate::api::upload;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::text;
use crate::records::plan::Plan;

fn goal(campaign: &Record, kind: &str, deliverable: &Record, periods: &[Period]) -> Option<Value> {
    let now = periods.first()?;
    let before = periods.get(1).map_or(0, |period| period.completed);
    let trend = match now.completed.cmp(&before) {
        std::cmp::Ordering::Greater => "up",
        std::cmp::Ordering::Less => "down",
        std::cmp::Ordering::Equal => "flat",
    };
    let progress = 100 * now.completed / now.target.max(1);
    Some(json!({
        "goalId": deliverable.id,
        "goalTitle": format!("{}: {}", campaign.title, kind.replace('_', " ")),
        "metric": format!("{kind} per period"),
        "targetValue": now.target,
        "currentValue": now.completed,
        "progressPct": progress,
        "trendDirection": trend,
        "period": {"start": now.start.to_string(), "end": now.end.to_string()},
    }))
}

pub(super) async fn performance(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let active = vec![("status".to_owned(), "active".to_owned())];
    let mut data = Vec::new();
    for campaign in store::matching(app, tenant_id, &CAMPAIGN, active).await? {
        let span = Span::of(&campaign)?;
        for deliverable in store::children(&app.db, tenant_id, &DELIVERABLE, &campaign.id).await? {
            let periods = deliverables::periods(app, span, &deliverable).await?;
            let body = deliverable.body()?;
            let kind = text(&body, "type").unwrap_or_default();
            data.extend(goal(&campaign, kind, &deliverable, &periods));
        }
    }
    Ok(Data::One(json!({"data": data})))
}

fn count(figure: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let count = figure.round() as i64;
    count
}

pub(super) async fn list_ad_campaigns(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let page = page(call, 50)?;
    let tenant_id = call.caller.tenant();
    let found = store::page(call.app, tenant_id, &AD_CAMPAIGN, Vec::new(), None, &page).await?;
    let shown = found.items.iter().map(|campaign| {
        let body = campaign.body()?;
        let figures = Figures::of(&body);
        let ctr = if figures.impressions > 0.0 {
            figures.clicks / figures.impressions
        } else {
            0.0
        };
        let mut shown = json!({
            "id": campaign.id,
            "name": campaign.title,
            "platform": text(&body, "platform"),
            "status": text(&body, "ad_status").unwrap_or("active"),
            "spendUsd": figures.spend,
            "impressions": count(figures.impressions),
            "clicks": count(figures.clicks),
            "conversions": figures.conversions,
            "ctr": ctr,
            "syncedOn": campaign.updated_on.rfc3339(),
        });
        if figures.conversions > 0.0 {
            shown["costPerConversionUsd"] = json!(figures.spend / figures.conversions);
        }
        Ok(shown)
    });
    Ok(Data::Many(shown.collect::<Result<_>>()?, found.next))
}

fn search_term(term: &Record) -> Result<Value> {
    let body = term.body()?;
    let figures = Figures::of(&body);
    let mut shown = json!({
        "id": term.id,
        "term": term.title,
        "campaignId": text(&body, "campaign_id"),
        "classification": text(&body, "classification"),
        "classificationSource": text(&body, "class_source"),
        "spendUsd": figures.spend,
        "impressions": count(figures.impressions),
        "clicks": count(figures.clicks),
        "conversions": figures.conversions,
        "updatedOn": term.updated_on.rfc3339(),
    });
    if let Some(note) = text(&body, "note") {
        shown["note"] = json!(note);
    }
    Ok(shown)
}

pub(super) async fn list_search_terms(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let mut filters = Vec::new();
    if let Some(class) = word(call, "filter.classification", &CLASSES)? {
        filters.push(("classification".to_owned(), class));
    }
    if let Some(campaign) = call.query("filter.campaignId") {
        filters.push(("campaign_id".to_owned(), campaign.to_owned()));
    }
    let page = page(call, 50)?;
    let tenant_id = call.caller.tenant();
    let found = store::page(call.app, tenant_id, &SEARCH_TERM, filters, None, &page).await?;
    let shown: Vec<Value> = found.items.iter().map(search_term).collect::<Result<_>>()?;
    Ok(Data::Many(shown, found.next))
}

pub(super) async fn classify_term(call: Call<'_>) -> Result<Plan> {
    let class = text(call.body, "classification").unwrap_or_default();
    let note = text(call.body, "note");
    ads::override_class(call.app, call.caller, call.id(), class, note).await
}

/// Returns a search term with its new class.
pub(super) async fn term_classified(call: Call<'_>) -> Result<Option<Value>> {
    let term = store::get(call.app, call.caller.tenant(), &SEARCH_TERM, call.id()).await?;
    search_term(&term).map(Some)
}

/// The form of an import.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
pub(super) struct FiguresForm {
    /// A CSV export of at most 10 MB with the columns Campaign, Cost, Impressions, Clicks, Conversions, and Search term for search terms.
    #[schema(content_media_type = "text/csv")]
    file: String,
    /// `google_ads` or `meta_ads`.
    platform: String,
    /// `campaigns` or `search_terms`.
    kind: String,
}

/// Figures that were imported.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FiguresImported {
    rows: usize,
}

/// Imports the figures of campaigns or search terms from the export of an advertising platform.
#[utoipa::path(post, path = "/dashboard/v1/paid-ads/import", tag = "leadmetrics dashboard", operation_id = "importAdFigures", security(("key" = [])),
    request_body(content = FiguresForm, content_type = "multipart/form-data"),
    responses((status = 201, body = FiguresImported), (status = "4XX", body = DashboardFault)))]
pub(super) async fn import(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<(StatusCode, Json<FiguresImported>), Problem> {
    access::write(&caller)?;
    let mut form = upload::small_form(&headers, body, ads::LARGEST).await?;
    let content = form.text()?;
    let own = |name: &str| form.fields.get(name).map(String::as_str);
    let wants_terms = match own("kind") {
        Some("campaigns") => false,
        Some("search_terms") => true,
        _ => {
            return Err(
                Error::invalid("kind_unknown", "kind must be campaigns or search_terms").into(),
            );
        }
    };
    let platform = own("platform").unwrap_or_default();
    let rows = ads::import(&service.app, &caller, platform, wants_terms, &content).await?;
    Ok((StatusCode::CREATED, Json(FiguresImported { rows })))
}

/// Which figures to fetch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchFigures {
    /// `google_ads` or `meta_ads`.
    platform: String,
    /// Days up to today, 1 to 366; 30 unless they are named.
    #[serde(default)]
    days: Option<u32>,
}

/// Figures that were fetched.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FiguresFetched {
    campaigns: usize,
    search_terms: usize,
}

/// Imports the figures of the last days from the API of an advertising platform, with the key of its integration.
#[utoipa::path(post, path = "/dashboard/v1/paid-ads/fetch", tag = "leadmetrics dashboard", operation_id = "fetchAdFigures", security(("key" = [])), request_body = FetchFigures,
    responses((status = 201, body = FiguresFetched), (status = "4XX", body = DashboardFault)))]
pub(super) async fn fetch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(wanted): Body<FetchFigures>,
) -> Result<(StatusCode, Json<FiguresFetched>), Problem> {
    access::write(&caller)?;
    let days = wanted.days.unwrap_or(30);
    let (campaigns, search_terms) =
        ads::fetch(&service.app, &caller, &wanted.platform, days).await?;
    let fetched = FiguresFetched {
        campaigns,
        search_terms,
    };
    Ok((StatusCode::CREATED, Json(fetched)))
}
