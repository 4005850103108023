//! The end of a run with an output: a review by people for content, completion for everything else.

use serde_json::json;

use super::Assignment;
use crate::agency::approvals::{self, NewApproval};
use crate::agency::deliverables::is_piece;
use crate::agency::notices::Output;
use crate::agency::runs::End;
use crate::agency::{ACTIVITY, activities, completion};
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Types of deliverables that a person approves before they count.
const REVIEWED: [&str; 5] = [
    "blog_post",
    "social_post",
    "gbp_post",
    "ad_copy",
    "email_newsletter",
];

/// Returns whether people approve the output of an activity.
fn is_reviewed(body: &Body) -> bool {
    let made = text(body, "deliverable_type").or(text(body, "type"));
    let is_request = body.contains_key("request_id");
    (is_piece(body) || is_request) && made.is_some_and(|made| REVIEWED.contains(&made))
}

impl Assignment<'_> {
    pub(super) fn ended(&self) -> Box<End> {
        Box::new(End {
            run: self.run.clone(),
            status: "completed",
            error: None,
        })
    }

    /// Ends the run with an output; `None` when it is saved already.
    pub(super) async fn finish(&self, output: Option<String>) -> Result<()> {
        let (output, sources) = (&output, &self.sources().await?);
        self.write(|activity: Record| async move {
            let mut plan = Plan::default();
            let mut body = activity.body()?;
            if let Some(output) = output {
                let now = self.app.clock.now().rfc3339();
                let cited = cited(output, sources);
                activities::set_output(&mut body, output, "markdown", &cited, &now);
            }
            plan.after.push(self.ended());
            if !is_reviewed(&body) {
                completion::complete(self.app, &self.caller, activity, body, &mut plan).await?;
                return Ok(plan);
            }
            let approval = NewApproval {
                title: format!("Review: {}", activity.title),
                approval_type: "content_review".to_owned(),
                risk_level: "medium".to_owned(),
                // The text itself is shown with the activity.
                description: None,
                options: Vec::new(),
                activity_ids: vec![activity.id.clone()],
                campaign_id: activity.parent_id.clone(),
                request_id: None,
            };
            let approval_id = approvals::add(self.app, &self.caller, &approval, &mut plan)?;
            body.insert("approval_id".to_owned(), json!(approval_id));
            plan.after.push(self.told("awaiting_approval"));
            let after = Record {
                status: Some("awaiting_approval".to_owned()),
                ..crate::agency::with_body(&activity, body)
            };
            plan.update(&ACTIVITY, activity, after, self.app.clock.now());
            Ok(plan)
        })
        .await
    }

    /// Completes an activity whose output was approved: no model is asked again.
    pub(super) async fn finish_approved(&self) -> Result<()> {
        self.write(|activity: Record| async move {
            let mut plan = Plan::default();
            let body = activity.body()?;
            plan.after.push(self.ended());
            completion::complete(self.app, &self.caller, activity, body, &mut plan).await?;
            Ok(plan)
        })
        .await
    }

    /// Returns the event that ends the stream of the activity with a status.
    pub(super) fn told(&self, status: &str) -> Box<Output> {
        Box::new(Output {
            tenant_id: self.tenant().to_owned(),
            activity_id: self.run.activity_id.clone(),
            event: "completed",
            data: json!({"status": status}),
        })
    }
}

/// Returns the sources that a text cites.
pub(super) fn cited(output: &str, sources: &[String]) -> Vec<String> {
    let cites = |source: &&String| output.contains(source.as_str());
    sources.iter().filter(cites).cloned().collect()
}
