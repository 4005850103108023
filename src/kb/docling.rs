//! A client of a Docling server (`docling-serve`): sends a file and receives Markdown with page breaks.

use std::time::Duration;

use bytes::Bytes;
use cairn_ingest::parse::from_markdown_pages;
use cairn_ingest::{Document, ParseError};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::outgoing::endpoint_client;

/// Separator of pages in the response.
const PAGE_BREAK: &str = "<!-- cairn page break -->";

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    document: Converted,
    #[serde(default)]
    status: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Converted {
    md_content: Option<String>,
}

/// Converts a file. The outer error is about the server and worth another attempt, the inner one about the file.
///
/// # Errors
/// `docling_not_configured`; `docling_unavailable` when the server cannot be reached or fails.
pub async fn convert(
    config: &Config,
    file_name: &str,
    mime_type: &str,
    bytes: Bytes,
) -> Result<std::result::Result<Document, ParseError>> {
    if config.docling_url.is_empty() {
        return Err(Error::unprocessable(
            "docling_not_configured",
            "no Docling server is configured (docling_url); use the parser engine NODE_NATIVE",
        ));
    }
    let unavailable = |cause: String| {
        Error::unavailable(
            "docling_unavailable",
            format!("the Docling server cannot be used: {cause}"),
        )
    };
    let part = Part::stream(bytes)
        .file_name(file_name.to_owned())
        .mime_str(mime_type)
        .map_err(|e| unavailable(e.to_string()))?;
    let form = Form::new()
        .part("files", part)
        .text("to_formats", "md")
        .text("image_export_mode", "placeholder")
        .text("md_page_break_placeholder", PAGE_BREAK);
    let client = endpoint_client()
        .timeout(Duration::from_secs(config.docling_seconds))
        .build()
        .map_err(|e| unavailable(e.to_string()))?;
    let mut request = client
        .post(format!(
            "{}/v1/convert/file",
            config.docling_url.trim_end_matches('/')
        ))
        .multipart(form);
    if !config.docling_api_key.is_empty() {
        request = request.header("X-Api-Key", &config.docling_api_key);
    }
    let response = request
        .send()
        .await
        .map_err(|e| unavailable(e.without_url().to_string()))?;
    let status = response.status();
    if !status.is_success() {
        // A request that the server rejects will be rejected again.
        return if status.is_client_error() && status.as_u16() != 429 {
            Ok(Err(ParseError::new(
                "docling_refused",
                format!("the Docling server rejected the file ({status})"),
            )))
        } else {
            Err(unavailable(status.to_string()))
        };
    }
    let answer: Answer = response
        .json()
        .await
        .map_err(|e| unavailable(e.without_url().to_string()))?;
    let Some(markdown) = answer.document.md_content.filter(|m| !m.trim().is_empty()) else {
        let cause = answer
            .errors
            .first()
            .and_then(|e| e["error_message"].as_str());
        return Ok(Err(ParseError::new(
            "no_text",
            format!(
                "the Docling server found no text ({})",
                cause.unwrap_or(&answer.status)
            ),
        )));
    };
    Ok(Ok(from_markdown_pages(&markdown, PAGE_BREAK, "docling")))
}
