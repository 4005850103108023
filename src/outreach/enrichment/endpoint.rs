//! A configured HTTP endpoint (`enrichment_url`). It receives `{"lead": {"name", "email", "company", "domain", "website"}}` and answers
//! `{"fields": {"title": "…", "companySize": "…"}, "source": "…", "discussionPoints": [{"topic", "detail", "source"}]}`; 404 says that it knows nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::known::member;
use super::{Findings, Subject};
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing::{self, endpoint_client};

const PROVIDER: &str = "endpoint";
/// Bytes of an answer.
const ANSWER: usize = 256 << 10;
/// Points to talk about that are kept.
const POINTS: usize = 10;

pub(super) async fn ask(app: &App, subject: &Subject, found: &mut Findings) -> Result<()> {
    let failed = |message: String| Error::unavailable("enrichment_failed", message);
    let client = endpoint_client()
        .timeout(Duration::from_secs(15))
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let body = json!({"lead": {
        "name": subject.name, "email": subject.email, "company": subject.company, "domain": subject.domain, "website": subject.website
    }});
    let mut request = client.post(&app.config.enrichment_url).json(&body);
    if !app.config.enrichment_key.is_empty() {
        request = request.bearer_auth(&app.config.enrichment_key);
    }
    let response = request
        .send()
        .await
        .map_err(|e| failed(outgoing::cause(&e).1))?;
    if response.status().as_u16() == 404 {
        return Err(failed("it knows nothing about this lead".to_owned()));
    }
    if !response.status().is_success() {
        return Err(failed(format!(
            "it returned status {}",
            response.status().as_u16()
        )));
    }
    let bytes = outgoing::beginning(response, ANSWER)
        .await
        .map_err(|e| failed(outgoing::cause(&e).1))?;
    let answer: Value = serde_json::from_slice(&bytes).map_err(|e| {
        failed(format!(
            "its answer is no JSON of at most {ANSWER} bytes: {e}"
        ))
    })?;
    let source = member(&answer, "source").unwrap_or(&app.config.enrichment_url);
    for (name, value) in answer["fields"].as_object().into_iter().flatten() {
        match value {
            Value::String(text) => found.add(name, text, PROVIDER, source),
            Value::Number(number) => found.add(name, &number.to_string(), PROVIDER, source),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }
    let points = answer["discussionPoints"].as_array();
    for point in points.into_iter().flatten().take(POINTS) {
        if let (Some(topic), Some(detail)) = (member(point, "topic"), member(point, "detail")) {
            let source = member(point, "source").unwrap_or(source);
            found
                .points
                .push((topic.to_owned(), detail.to_owned(), source.to_owned()));
        }
    }
    Ok(())
}
