//! The optional rendering endpoint, which runs a page's scripts. Cairn sends `POST {render_url}` with `{"url", "userAgent", "timeoutMs"}` and accepts
//! `{"html"}` with status 200; any other status fails the page. The operator restricts the endpoint's network access: Cairn has checked the address itself, not
//! the resources that the page loads.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::config::Config;
use crate::outgoing::endpoint_client;

#[derive(Debug, Deserialize)]
struct Rendered {
    html: String,
}

/// Returns the rendered HTML of a page, or a sentence about the failure.
pub(super) async fn render(config: &Config, url: &str, limit: usize) -> Result<Bytes, String> {
    let timeout = Duration::from_secs(config.crawl_seconds);
    let client = endpoint_client()
        .timeout(timeout)
        .build()
        .map_err(|e| format!("the rendering endpoint cannot be used: {e}"))?;
    let question = json!({"url": url, "userAgent": config.crawl_agent(), "timeoutMs": config.crawl_seconds.saturating_mul(1000)});
    let mut response = client
        .post(&config.render_url)
        .json(&question)
        .send()
        .await
        .map_err(|e| {
            format!(
                "the rendering endpoint cannot be reached: {}",
                e.without_url()
            )
        })?;
    if !response.status().is_success() {
        return Err(format!(
            "the rendering endpoint returned {}",
            response.status().as_u16()
        ));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| {
        format!(
            "the rendering endpoint's response was interrupted: {}",
            e.without_url()
        )
    })? {
        // JSON escaping can double the size of a page.
        if body.len() + piece.len() > 2 * limit {
            return Err("the rendered page is too large".to_owned());
        }
        body.extend_from_slice(&piece);
    }
    let rendered: Rendered = serde_json::from_slice(&body)
        .map_err(|e| format!("the rendering endpoint did not return {{\"html\"}}: {e}"))?;
    Ok(rendered.html.into())
}
