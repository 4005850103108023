//! Text recognition by an installed `tesseract`, for images and scanned pages. Disabled unless the caller gives languages.

use std::io::Write;
use std::process::{Command, Stdio};

use super::writer::Writer;
use super::{Input, ParseError};
use crate::document::Document;

/// Name of the program on the search path.
const PROGRAM: &str = "tesseract";

/// Parses an image as a document of one page.
pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let languages = input.ocr.ok_or_else(|| {
        ParseError::new(
            "unsupported_format",
            "images require OCR (CAIRN_OCR=true, needs tesseract)",
        )
    })?;
    let mut writer = Writer::default();
    writer.page(1, None);
    writer.block(&recognise(input.bytes, languages)?);
    Ok(writer.finish(PROGRAM))
}

/// Returns the text in an image; empty when there is none.
pub(super) fn recognise(picture: &[u8], languages: &str) -> Result<String, ParseError> {
    let failed = |cause: String| ParseError::new("ocr_failed", format!("OCR failed: {cause}"));
    let mut child = Command::new(PROGRAM)
        .args(["stdin", "stdout", "-l", languages])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            ParseError::new(
                "ocr_not_installed",
                format!("OCR is enabled, but {PROGRAM} cannot be started: {e}"),
            )
        })?;
    let input = child.stdin.take();
    let (written, output) = std::thread::scope(|scope| {
        // Written concurrently: the program may write output before it has read all input.
        let writing =
            scope.spawn(move || input.map_or(Ok(()), |mut input| input.write_all(picture)));
        let output = child.wait_with_output();
        (writing.join(), output)
    });
    let output = output.map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            said.lines().next().unwrap_or("no reason given").to_owned(),
        ));
    }
    if !matches!(written, Ok(Ok(()))) {
        return Err(failed("the image was only partly read".to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
