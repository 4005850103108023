//! Requests for content: approved by an administrator or through an approval, then produced by activities in a campaign that has room for the piece.

use serde_json::json;

use super::activities::{self, NewActivity};
use super::approvals::{self, NewApproval};
use super::deliverables::{Span, day_of, is_piece, period_of};
use super::{
    ACTIVITY, CAMPAIGN, CHANNEL, DELIVERABLE, REQUEST, access, list, roles, runs, store, whole,
};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// The form of the content that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Blog,
    Social,
}

impl Format {
    /// Returns its word in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Blog => "blog",
            Self::Social => "social",
        }
    }

    fn deliverable(self) -> &'static str {
        match self {
            Self::Blog => "blog_post",
            Self::Social => "social_post",
        }
    }

    fn of(body: &Body) -> Self {
        if text(body, "format") == Some("social") {
            Self::Social
        } else {
            Self::Blog
        }
    }
}

/// Returns a plan that creates a request. Those of administrators are approved at once, others when their approval is.
///
/// # Errors
/// `channel_unknown`.
pub async fn create(app: &App, caller: &Caller, format: Format, mut body: Body) -> Result<Plan> {
    access::write(caller)?;
    if let Some(id) = text(&body, "channel_id") {
        let channel = store::optional(app, caller.tenant(), &CHANNEL, id).await?;
        let kind = match &channel {
            Some(channel) => text(&channel.body()?, "type").map(str::to_owned),
            None => None,
        };
        if kind.as_deref() != Some("wordpress") {
            return Err(Error::unprocessable(
                "channel_unknown",
                "channelId must be a WordPress channel",
            ));
        }
    }
    body.insert("format".to_owned(), json!(format.word()));
    let mut plan = Plan::default();
    activities::tend(&mut plan);
    let is_approved = caller.may(Scope::KeysManage);
    let status = if is_approved { "approved" } else { "draft" };
    body.insert("status".to_owned(), json!(status));
    let mut request = write::draft(app, caller, &REQUEST, New::from(&body))?;
    if is_approved {
        request = produce(app, caller, request, &mut plan).await?;
    } else {
        let approval = NewApproval {
            title: format!("Request: {}", request.title),
            approval_type: "content_direction".to_owned(),
            risk_level: "low".to_owned(),
            description: text(&body, "brief").map(str::to_owned),
            options: Vec::new(),
            activity_ids: Vec::new(),
            campaign_id: None,
            request_id: Some(request.id.clone()),
        };
        approvals::add(app, caller, &approval, &mut plan)?;
    }
    plan.create(&REQUEST, request);
    Ok(plan)
}

/// Adds the activities of an approved request to a plan when a campaign has room for the piece. Returns the request as it is then.
///
/// # Errors
/// Those of the database.
pub async fn produce(
    app: &App,
    caller: &Caller,
    request: Record,
    plan: &mut Plan,
) -> Result<Record> {
    let mut body = request.body()?;
    let format = Format::of(&body);
    let Some((campaign, deliverable, period)) = room(app, caller.tenant(), format).await? else {
        return Ok(request);
    };
    let priority = if text(&body, "priority") == Some("high") {
        runs::HIGH
    } else {
        0
    };
    let made = (deliverable.id.clone(), format.deliverable().to_owned());
    let mut wish = format!("Topic: {}", request.title);
    for (name, label) in [
        ("target_keyword", "Target keyword"),
        ("brief", "Brief"),
        ("schedule_for", "To be posted at"),
    ] {
        if let Some(value) = super::filled(&body, name) {
            wish.push_str(&format!("\n{label}: {value}"));
        }
    }
    let platforms = list(&body, "platforms");
    if !platforms.is_empty() {
        wish.push_str(&format!("\nPlatforms: {}", platforms.join(", ")));
    }
    let mut depends_on = Vec::new();
    if format == Format::Blog {
        let brief = NewActivity {
            title: format!("Brief: {}", request.title),
            activity_type: "content_brief".to_owned(),
            prompt: format!("Write the brief of a blog post.\n\n{wish}"),
            campaign: Some(&campaign),
            deliverable: Some(made.clone()),
            period_start: Some(period.clone()),
            wake_reason: "content_request".to_owned(),
            priority,
            ..NewActivity::by(roles::named("content-brief-writer")?)
        };
        depends_on.push(activities::add(app, caller, brief, plan)?);
    }
    let role = roles::maker_of(format.deliverable())
        .ok_or_else(|| Error::internal("no role makes this deliverable"))?;
    let piece = NewActivity {
        title: request.title.clone(),
        prompt: format!("Write the piece that was requested.\n\n{wish}"),
        campaign: Some(&campaign),
        deliverable: Some(made),
        makes_piece: true,
        period_start: Some(period),
        wake_reason: "content_request".to_owned(),
        request_id: Some(request.id.clone()),
        platforms: channels_of(app, caller.tenant(), &body, &deliverable).await?,
        depends_on,
        priority,
        ..NewActivity::by(role)
    };
    let activity_id = activities::add(app, caller, piece, plan)?;
    body.insert("activity_id".to_owned(), json!(activity_id));
    plan.relies_on.push(campaign);
    Ok(Record {
        status: Some("in_production".to_owned()),
        ..super::with_body(&request, body)
    })
}

/// Returns the ids of the channels on which a requested piece is published: the one that was named, those of the platforms that were named, or those of the deliverable.
async fn channels_of(
    app: &App,
    tenant_id: &str,
    request: &Body,
    deliverable: &Record,
) -> Result<Vec<String>> {
    if let Some(id) = text(request, "channel_id") {
        return Ok(vec![id.to_owned()]);
    }
    let platforms = list(request, "platforms");
    if platforms.is_empty() {
        return Ok(list(&deliverable.body()?, "platform_ids"));
    }
    let mut found = Vec::new();
    for channel in store::all(&app.db, tenant_id, &CHANNEL).await? {
        let body = channel.body()?;
        if text(&body, "type").is_some_and(|kind| platforms.iter().any(|p| p == kind)) {
            found.push(channel.id);
        }
    }
    Ok(found)
}

/// Returns the oldest active campaign with a deliverable of the format whose present period lacks a piece: campaign, deliverable, first day of the period.
async fn room(
    app: &App,
    tenant_id: &str,
    format: Format,
) -> Result<Option<(Record, Record, String)>> {
    let active = vec![("status".to_owned(), "active".to_owned())];
    let mut campaigns = store::matching(app, tenant_id, &CAMPAIGN, active).await?;
    campaigns.reverse();
    let today = day_of(app.clock.now());
    for campaign in campaigns {
        let span = Span::of(&campaign)?;
        if today < span.start || span.end.is_some_and(|end| end < today) {
            continue;
        }
        let period = period_of(span.start, today).0.to_string();
        for deliverable in store::children(&app.db, tenant_id, &DELIVERABLE, &campaign.id).await? {
            let body = deliverable.body()?;
            if text(&body, "type") != Some(format.deliverable()) {
                continue;
            }
            let filters = vec![("deliverable_id".to_owned(), deliverable.id.clone())];
            let mut pieces = 0;
            for activity in store::matching(app, tenant_id, &ACTIVITY, filters).await? {
                let made = activity.body()?;
                let counts = is_piece(&made)
                    && text(&made, "period_start") == Some(&period)
                    && !matches!(activity.status.as_deref(), Some("failed" | "reassigned"));
                pieces += i64::from(counts);
            }
            if pieces < whole(&body, "quantity") {
                return Ok(Some((campaign, deliverable, period)));
            }
        }
    }
    Ok(None)
}

/// Decides a request in the plan that resolves its approval.
///
/// # Errors
/// Those of the database.
pub async fn decide(
    app: &App,
    caller: &Caller,
    request_id: &str,
    approves: bool,
    plan: &mut Plan,
) -> Result<()> {
    let Some(before) = store::optional(app, caller.tenant(), &REQUEST, request_id).await? else {
        return Ok(());
    };
    if before.status.as_deref() != Some("draft") {
        return Ok(());
    }
    let status = if approves { "approved" } else { "rejected" };
    let mut after = Record {
        status: Some(status.to_owned()),
        ..before.clone()
    };
    if approves {
        after = produce(app, caller, after, plan).await?;
    }
    plan.update(&REQUEST, before, after, app.clock.now());
    Ok(())
}

/// Completes the request that an activity fulfils, in the plan that completes the activity.
///
/// # Errors
/// Those of the database.
pub async fn fulfil(app: &App, tenant_id: &str, request_id: &str, plan: &mut Plan) -> Result<()> {
    let found = store::optional(app, tenant_id, &REQUEST, request_id).await?;
    if let Some(before) = found.filter(|r| r.status.as_deref() == Some("in_production")) {
        let after = Record {
            status: Some("completed".to_owned()),
            ..before.clone()
        };
        plan.update_silently(&REQUEST, before, after, app.clock.now());
    }
    Ok(())
}
