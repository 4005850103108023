//! Publication of an approved piece on the channels of its deliverable. Each outcome is recorded: published with its address, failed with the reason, or why it was
//! not tried. A publication that was interrupted is not repeated, because the platform may have it.

use reqwest::{Method, StatusCode, Url, header};
use serde_json::{Value, json};

use super::Assignment;
use crate::agency::markdown::{headline, to_html, to_text, without_citations};
use crate::agency::platforms::{self, Platform};
use crate::agency::{ACTIVITY, CHANNEL, REQUEST, activities, channels, list, logs, store};
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Bytes of an answer that are read.
const ANSWER: usize = 256 << 10;
/// Outcome of a publication that is under way.
const STARTED: &str = "started";

/// An outcome: a word, and what belongs to it.
struct Outcome {
    status: &'static str,
    url: Option<String>,
    reason: Option<String>,
}

impl Outcome {
    fn not_tried(reason: String) -> Self {
        Self {
            status: "not_published",
            url: None,
            reason: Some(reason),
        }
    }
}

/// Returns the outcomes of an activity by channel.
fn outcomes(body: &Body) -> Vec<Value> {
    let known = body.get("publications").and_then(Value::as_array);
    known.cloned().unwrap_or_default()
}

/// Publishes the output of an activity on each of its channels.
///
/// # Errors
/// Those of the database.
pub(super) async fn publish(assignment: &Assignment<'_>) -> Result<()> {
    let activity = assignment.activity().await?;
    let body = activity.body()?;
    let ids = list(&body, "platforms");
    let Ok((output, ..)) = activities::output(&body) else {
        return Ok(());
    };
    let output = without_citations(output);
    let later = scheduled(assignment, &body).await?;
    for channel in store::some(&assignment.app.db, assignment.tenant(), &CHANNEL, &ids).await? {
        let known = outcomes(&body);
        let known = known.iter().find(|o| o["channelId"] == channel.id.as_str());
        let outcome = match known.map(|o| o["status"].as_str()) {
            Some(Some(STARTED)) => Outcome {
                status: "unknown",
                url: None,
                reason: Some("interrupted while it was published; look at the channel".to_owned()),
            },
            Some(_) => continue,
            None => {
                let started = Outcome {
                    status: STARTED,
                    url: None,
                    reason: None,
                };
                if let Some(time) = &later {
                    Outcome::not_tried(format!("it was asked for at {time}; post it then by hand"))
                } else {
                    record(assignment, &channel, &started).await?;
                    on_channel(assignment.app, &channel, &activity.title, &output).await?
                }
            }
        };
        record(assignment, &channel, &outcome).await?;
    }
    Ok(())
}

/// Returns the time at which a requested piece is to be posted, when that is later than now.
async fn scheduled(assignment: &Assignment<'_>, body: &Body) -> Result<Option<String>> {
    let Some(id) = text(body, "request_id") else {
        return Ok(None);
    };
    let Some(request) = store::optional(assignment.app, assignment.tenant(), &REQUEST, id).await?
    else {
        return Ok(None);
    };
    let request = request.body()?;
    let Some(asked) = text(&request, "schedule_for") else {
        return Ok(None);
    };
    let is_over = chrono::DateTime::parse_from_rfc3339(asked)
        .is_ok_and(|time| time.timestamp_millis() <= assignment.app.clock.now().0);
    Ok((!is_over).then(|| asked.to_owned()))
}

/// Stores the outcome of a channel.
async fn record(assignment: &Assignment<'_>, channel: &Record, outcome: &Outcome) -> Result<()> {
    let now = assignment.app.clock.now();
    assignment
        .write(|activity: Record| async move {
            let mut plan = Plan::default();
            let mut body = activity.body()?;
            let mut all = outcomes(&body);
            all.retain(|o| o["channelId"] != channel.id.as_str());
            all.push(json!({"channelId": channel.id, "channelName": channel.title, "status": outcome.status, "url": outcome.url, "reason": outcome.reason, "at": now.rfc3339()}));
            body.insert("publications".to_owned(), json!(all));
            let after = crate::agency::with_body(&activity, body);
            if outcome.status != STARTED {
                plan.after.push(Box::new(logs::NewEntry {
                    tenant_id: assignment.tenant().to_owned(),
                    level: if outcome.status == "published" { "info" } else { "warn" },
                    category: "system",
                    message: format!("{} on {}: {}", activity.title, channel.title, outcome.status),
                    context: json!({"channelId": channel.id, "url": outcome.url, "reason": outcome.reason}),
                    activity_id: Some(activity.id.clone()),
                    agent_role: Some(assignment.run.role.clone()),
                }));
            }
            plan.update_silently(&ACTIVITY, activity, after, now);
            Ok(plan)
        })
        .await
}

/// Publishes a text on a channel; what the platform refuses is an outcome.
async fn on_channel(app: &App, channel: &Record, title: &str, output: &str) -> Result<Outcome> {
    if channel.status.as_deref() != Some("connected") {
        let status = channel.status.as_deref().unwrap_or_default();
        return Ok(Outcome::not_tried(format!("the channel is {status}")));
    }
    let body = channel.body()?;
    let platform = platforms::named(text(&body, "type").unwrap_or_default())?;
    let published = match platform.name {
        "linkedin" => linkedin(app, channel, platform, output).await,
        "wordpress" => wordpress(app, channel, platform, title, output).await,
        _ => {
            return Ok(Outcome::not_tried(format!(
                "publishing on {} is not supported; post it there by hand",
                platform.title
            )));
        }
    };
    Ok(match published {
        Ok(url) => Outcome {
            status: "published",
            url: Some(url),
            reason: None,
        },
        Err(error) => Outcome {
            status: "failed",
            url: None,
            reason: Some(error.public_message().to_owned()),
        },
    })
}

/// Sends a request with the token of a channel. Returns the answer, with the id that some platforms send as header.
async fn send(
    app: &App,
    channel: &Record,
    platform: &Platform,
    (method, address): (Method, &str),
    body: Option<Value>,
) -> Result<Value> {
    let token = channels::access_token(app, channel).await?;
    let url: Url = platform.url(&app.config, address)?;
    let mut request = app
        .outgoing
        .request(method, url)?
        .bearer_auth(token)
        .header(header::ACCEPT, "application/json")
        .header("x-restli-protocol-version", "2.0.0");
    if let Some(body) = body {
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
    }
    let failed = |cause: String| {
        Error::upstream(
            "platform_unreachable",
            format!("{}: {cause}", platform.title),
        )
    };
    let response = request
        .send()
        .await
        .map_err(|e| failed(outgoing::cause(&e).1))?;
    let status = response.status();
    let id = response.headers().get("x-restli-id");
    let id = id.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bytes = outgoing::beginning(response, ANSWER)
        .await
        .map_err(|e| failed(outgoing::cause(&e).1))?;
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({}));
    if !status.is_success() {
        let said = answer["message"]
            .as_str()
            .or(answer["error_description"].as_str())
            .unwrap_or_default();
        let code = StatusCode::as_u16(&status);
        return Err(failed(format!("status {code} {said}")));
    }
    if let (Some(id), true) = (id, answer.is_object()) {
        answer["restliId"] = json!(id);
    }
    Ok(answer)
}

async fn linkedin(
    app: &App,
    channel: &Record,
    platform: &Platform,
    output: &str,
) -> Result<String> {
    let account = (Method::GET, platform.account);
    let account = send(app, channel, platform, account, None).await?;
    let member = account["sub"].as_str().ok_or_else(|| {
        Error::unprocessable(
            "account_unknown",
            "LinkedIn does not tell who the member is",
        )
    })?;
    let post = json!({
        "author": format!("urn:li:person:{member}"),
        "lifecycleState": "PUBLISHED",
        "specificContent": {"com.linkedin.ugc.ShareContent": {"shareCommentary": {"text": to_text(output)}, "shareMediaCategory": "NONE"}},
        "visibility": {"com.linkedin.ugc.MemberNetworkVisibility": "PUBLIC"},
    });
    let address = (Method::POST, "https://api.linkedin.com/v2/ugcPosts");
    let answer = send(app, channel, platform, address, Some(post)).await?;
    let id = answer["id"].as_str().or(answer["restliId"].as_str());
    Ok(format!(
        "https://www.linkedin.com/feed/update/{}",
        id.unwrap_or_default()
    ))
}

async fn wordpress(
    app: &App,
    channel: &Record,
    platform: &Platform,
    title: &str,
    output: &str,
) -> Result<String> {
    let account = (Method::GET, platform.account);
    let account = send(app, channel, platform, account, None).await?;
    let site = ["token_site_id", "primary_blog"]
        .iter()
        .find_map(|name| account[*name].as_i64())
        .ok_or_else(|| {
            Error::unprocessable(
                "account_unknown",
                "WordPress does not tell which site it is",
            )
        })?;
    let (heading, content) = headline(output);
    let post = json!({"title": heading.unwrap_or(title), "content": to_html(content), "status": "publish"});
    let address = format!("https://public-api.wordpress.com/rest/v1.1/sites/{site}/posts/new");
    let answer = send(app, channel, platform, (Method::POST, &address), Some(post)).await?;
    Ok(answer["URL"].as_str().unwrap_or_default().to_owned())
}
