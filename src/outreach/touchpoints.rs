//! Touchpoints: what happened with a lead. They are activities about the lead ([`crate::work::ACTIVITY`]), so those of other dialects count, too.

use serde_json::{Value, json};

use super::{events, signals};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, invalid};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};
use crate::records::write::{self, New};
use crate::work::ACTIVITY;

/// A touchpoint to log.
#[derive(Debug, Clone, Default)]
pub struct Touch {
    /// Any word; those of [`events::EVENTS`] are counted on the lead and trigger rules and sequences.
    pub touchpoint_type: String,
    /// One line; the type when it is empty.
    pub summary: String,
    pub text: Option<String>,
    /// RFC 3339; now when absent.
    pub occurred_at: Option<String>,
    /// The score of a quiz or the watched part of a video, 0 to 100.
    pub value: Option<f64>,
    /// Anything else that the caller knows.
    pub metadata: Body,
}

/// Longest summary and text of an activity, in characters.
const SUMMARY: usize = 1000;
const TEXT: usize = 100_000;

impl Touch {
    /// Returns the touchpoint with texts that an activity takes: what comes from outside may be of any length, and is not lost for it.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        let clean = |text: &str, most: usize| {
            text.replace('\0', "")
                .chars()
                .take(most)
                .collect::<String>()
        };
        let line = self
            .summary
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        self.summary = clean(&line, SUMMARY);
        self.text = self.text.map(|text| clean(&text, TEXT));
        self
    }
}

/// Returns the type of an activity for a type of touchpoints.
fn activity_type(touchpoint_type: &str) -> &'static str {
    let word = touchpoint_type.to_lowercase();
    let has = |part: &str| word.contains(part);
    if has("call") || has("phone") {
        "call"
    } else if has("meeting") || has("demo") {
        "meeting"
    } else if has("mail") {
        "email"
    } else if has("note") {
        "note"
    } else {
        "agent_action"
    }
}

/// Returns a plan that logs a touchpoint of a lead. An event is counted on the lead, with the rules and sequences that follow from it.
///
/// # Errors
/// `body_invalid`, and those of [`signals::record`].
pub async fn log(app: &App, caller: &Caller, lead: Record, touch: Touch) -> Result<Plan> {
    let word = touch.touchpoint_type.trim().to_lowercase();
    if word.is_empty() || word.len() > 100 {
        return Err(invalid(
            "type is missing: the kind of contact, such as call, email, meeting, or an event such as proposal_viewed",
        ));
    }
    let summary = if touch.summary.trim().is_empty() {
        word.replace('_', " ")
    } else {
        touch.summary.trim().to_owned()
    };
    let mut body = Body::from_iter([
        ("type".to_owned(), json!(activity_type(&word))),
        ("touchpoint_type".to_owned(), json!(word)),
        ("summary".to_owned(), json!(summary)),
        ("related_resource_type".to_owned(), json!("lead")),
        (
            "related_resource_id".to_owned(),
            json!(LEAD.public_id(&lead.id)),
        ),
    ]);
    for (name, value) in [("body", &touch.text), ("occurred_on", &touch.occurred_at)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    if !touch.metadata.is_empty() {
        body.insert("metadata".to_owned(), Value::Object(touch.metadata));
    }
    let activity = write::create(app, caller, &ACTIVITY, New::from(&body)).await?;
    match events::named(&word) {
        Some(event) => {
            let counted = signals::record(app, caller, lead, event, touch.value).await?;
            Ok(counted.with(activity))
        }
        None => Ok(activity),
    }
}

/// Returns touchpoints of a lead, the newest first, with the number of all.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    tenant_id: &str,
    lead: &Record,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Record>, i64)> {
    let query = Offset {
        filters: vec![("related_resource_id".to_owned(), LEAD.public_id(&lead.id))],
        limit,
        offset,
        ..Offset::default()
    };
    store::at_offset(app, tenant_id, &ACTIVITY, &query).await
}

#[cfg(test)]
mod tests {
    use super::activity_type;

    #[test]
    fn touchpoints_are_activities_of_the_nearest_type() {
        let types = [
            "phone_call",
            "meeting_booked",
            "Email",
            "sticky note",
            "proposal_viewed",
        ];
        assert_eq!(
            types.map(activity_type),
            ["call", "meeting", "email", "note", "agent_action"]
        );
    }
}
